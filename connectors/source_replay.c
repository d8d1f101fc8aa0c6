/* source_replay.c - a recording as a source: tests, backtests, support cases.
 * Position: offset of the next frame in the file. */
#include "bus/source.h"

#include <event2/event.h>

#include "base/clock.h"
#include "base/file.h"
#include "recording.h"

struct replay_conf {
    char *path;
};

struct replay_source {
    struct dgf_source base; /* first: we cast from it */
    struct dgf_file *file;  /* owned; NULL while closed */
    struct event *turn;     /* owned */
    uint64_t offset, n_frames;
    struct dgf_buf frame;
    struct dgf_object *object; /* of the event before */
    bool paused, ended;
};

#define AT(f) offsetof(struct replay_conf, f)
static const struct dgf_opt replay_opts[] = {
    {"path", DGF_OPT_STR, AT(path), DGF_REQUIRED, .help = "file of recorded events",
     .example = "recording.dgr"},
    DGF_OPT_END};

static void position_text(struct dgf_bytes position, struct dgf_buf *out)
{
    struct dgf_rd rd = dgf_rd_of(position);

    dgf_buf_add_u64(out, dgf_rd_le64(&rd));
}

/* Reads the frame at offset.  DGF_AGAIN: the recording ends here. */
static enum dgf_rc read_frame(struct replay_source *self, struct dgf_bytes *ret,
                              struct dgf_err *err)
{
    uint8_t head[4], *to;
    struct dgf_rd rd;
    uint32_t len, crc;
    size_t n;
    enum dgf_rc rc =
        dgf_file_read(self->file, self->offset, head, sizeof(head), &n, err);

    if (rc || n == 0)
        return rc ? rc : DGF_AGAIN;
    rd = dgf_rd_of(dgf_bytes_of(head, n));
    len = dgf_rd_le32(&rd);
    if (rd.bad || len == 0 || len > DGF_RECORDING_FRAME_MAX)
        return dgf_err_set(err, DGF_FATAL, "the recording is damaged at offset %llu",
                           (unsigned long long)self->offset);
    dgf_buf_clear(&self->frame);
    to = dgf_buf_room(&self->frame, (size_t)len + 4);
    if (!to)
        return dgf_err_set(err, DGF_NOMEM, "out of memory");
    rc = dgf_file_read(self->file, self->offset + 4, to, (size_t)len + 4, &n, err);
    if (rc)
        return rc;
    rd = dgf_rd_of(dgf_bytes_of(to + len, 4));
    crc = n == (size_t)len + 4 ? dgf_rd_le32(&rd) : 0;
    if (n != (size_t)len + 4 || crc != dgf_crc32c(0, dgf_bytes_of(to, len)))
        return dgf_err_set(err, DGF_FATAL,
                           "the recording is cut or damaged at offset %llu",
                           (unsigned long long)self->offset);
    *ret = dgf_bytes_of(to, len);
    return DGF_OK;
}

/* Bytes that are whole but no event: said, and passed over. */
static enum dgf_rc emit_undecodable(struct replay_source *self,
                                    struct dgf_bytes payload, struct dgf_bytes position,
                                    const char *why)
{
    struct dgf_event_builder builder;
    struct dgf_event_meta meta = {.position = position, .commit_ns = dgf_clock_ns()};
    struct dgf_event *event = NULL;
    struct dgf_id_hash hash;
    uint8_t digest[DGF_SHA256_LEN];
    enum dgf_rc rc;

    dgf_sha256(payload, digest);
    dgf_id_begin(&hash, "replay");
    dgf_id_add(&hash, dgf_bytes_of(digest, sizeof(digest)));
    meta.id = dgf_id_end(&hash);
    meta.seen_ns = meta.commit_ns;
    dgf_event_builder_init(&builder, 65536);
    dgf_event_begin(&builder, NULL, DGF_KIND_UNDECODABLE, DGF_OP_NONE);
    dgf_event_section(&builder, DGF_SECTION_EXTRA);
    dgf_mp_put_int(dgf_event_named(&builder, DGF_BYTES("size")), (int64_t)payload.len);
    dgf_mp_put_bin(dgf_event_named(&builder, DGF_BYTES("hash")),
                   dgf_bytes_of(digest, sizeof(digest)));
    dgf_mp_put_str(dgf_event_named(&builder, DGF_BYTES("what")), DGF_BYTES("frame"));
    dgf_mp_put_str(dgf_event_named(&builder, DGF_BYTES("why")), dgf_bytes_str(why));
    dgf_event_section_end(&builder);
    rc = dgf_event_finish(&builder, &meta, &event);
    dgf_event_builder_release(&builder);
    return rc ? rc : dgf_source_emit(&self->base, event);
}

static enum dgf_rc emit_next(struct replay_source *self, struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf position = {0};
    struct dgf_event *event = NULL;
    struct dgf_bytes payload;
    enum dgf_rc rc = read_frame(self, &payload, err);

    if (rc == DGF_AGAIN) {
        self->ended = true;
        dgf_source_caught_up(&self->base);
        return DGF_AGAIN;
    }
    if (rc)
        return rc;
    dgf_buf_init(&position, 16);
    dgf_buf_add_le64(&position, self->offset + payload.len + 8);
    rc = dgf_recording_get(payload, dgf_buf_bytes(&position), &self->object, &event,
                           err);
    if (rc == DGF_BAD_DATA) {
        char why[DGF_ERR_TEXT_MAX];

        memcpy(why, err->text, sizeof(why));
        self->offset += payload.len + 8;
        return emit_undecodable(self, payload, dgf_buf_bytes(&position), why);
    }
    if (rc)
        return rc;
    self->offset += payload.len + 8;
    return dgf_source_emit(&self->base, event);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct replay_source *self = arg;
    struct dgf_err err = {0};
    enum dgf_rc rc = DGF_OK;

    (void)fd;
    (void)what;
    while (!rc && !self->paused && !self->ended)
        rc = emit_next(self, &err);
    if (rc && rc != DGF_AGAIN)
        dgf_source_fail(&self->base, rc, "%s",
                        err.text[0] ? err.text : "the event was refused");
}

static enum dgf_rc check_head(struct replay_source *self, const char *path,
                              struct dgf_err *err)
{
    char head[sizeof(DGF_RECORDING_HEAD) - 1];
    size_t n;
    enum dgf_rc rc = dgf_file_read(self->file, 0, head, sizeof(head), &n, err);

    if (!rc && (n != sizeof(head) || memcmp(head, DGF_RECORDING_HEAD, n) != 0))
        rc = dgf_err_set(err, DGF_BAD_CONFIG, "'%s' is not a recording", path);
    return rc;
}

static enum dgf_rc replay_open(struct dgf_source *src, struct dgf_bytes position,
                               struct dgf_err *err)
{
    struct replay_source *self = (struct replay_source *)src;
    const struct replay_conf *conf = src->conf;
    struct dgf_rd rd = dgf_rd_of(position);
    enum dgf_rc rc = dgf_file_open(conf->path, DGF_FILE_READ, &self->file, err);

    if (rc)
        return dgf_err_prefix(err, "cannot open the recording '%s'", conf->path);
    rc = check_head(self, conf->path, err);
    if (rc)
        return rc;
    dgf_buf_init(&self->frame, DGF_RECORDING_FRAME_MAX + 4);
    self->offset = position.len ? dgf_rd_le64(&rd) : sizeof(DGF_RECORDING_HEAD) - 1;
    self->paused = self->ended = false;
    self->turn = evtimer_new(src->loop, on_turn, self);
    if (!self->turn)
        return dgf_err_set(err, DGF_NOMEM, "out of memory");
    dgf_source_state(src, DGF_STATE_STREAMING, "%s", "");
    event_active(self->turn, EV_TIMEOUT, 0);
    return DGF_OK;
}

static void replay_pause(struct dgf_source *src)
{
    ((struct replay_source *)src)->paused = true;
}

static void replay_resume(struct dgf_source *src)
{
    struct replay_source *self = (struct replay_source *)src;

    self->paused = false;
    event_active(self->turn, EV_TIMEOUT, 0);
}

static void replay_durable(struct dgf_source *src, uint64_t seq)
{
    (void)src;
    (void)seq; /* a file needs no acknowledgement */
}

static void replay_close(struct dgf_source *src)
{
    struct replay_source *self = (struct replay_source *)src;

    if (self->turn)
        event_free(self->turn);
    self->turn = NULL;
    dgf_file_close(self->file);
    self->file = NULL;
    dgf_object_unref(self->object);
    self->object = NULL;
    dgf_buf_release(&self->frame);
}

static enum dgf_rc replay_check(struct dgf_source *src, struct dgf_findings *findings,
                                struct dgf_err *err)
{
    struct replay_source self = {.base = *src};
    const struct replay_conf *conf = src->conf;
    enum dgf_rc rc = dgf_file_open(conf->path, DGF_FILE_READ, &self.file, err);

    (void)findings;
    if (!rc)
        rc = check_head(&self, conf->path, err);
    dgf_file_close(self.file);
    return rc;
}

static unsigned replay_gives(struct dgf_source *src, const struct dgf_object *object)
{
    (void)src;
    (void)
        object; /* whatever was recorded: what is missing is unavailable in the event */
    return DGF_GIVES_BEFORE | DGF_GIVES_AFTER | DGF_GIVES_DELETES |
           DGF_GIVES_EVERY_VERSION | DGF_GIVES_ACTOR | DGF_GIVES_DDL | DGF_GIVES_KEY;
}

const struct dgf_source_type dgf_source_replay = {
    .name = "replay",
    .summary = "a recording of events",
    .guarantee = DGF_GUARANTEE_EXACTLY_ONCE,
    .opts = replay_opts,
    .conf_size = sizeof(struct replay_conf),
    .self_size = sizeof(struct replay_source),
    .check = replay_check,
    .open = replay_open,
    .pause = replay_pause,
    .resume = replay_resume,
    .durable = replay_durable,
    .close = replay_close,
    .position_text = position_text,
    .gives = replay_gives,
};
