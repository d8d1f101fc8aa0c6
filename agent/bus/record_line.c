/* The parts every line has, and handing it over. */
#include "bus/record_part.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/parse.h"
#include "bus/detect.h"

/* Lines are first written whole and cut when they are too long. */
#define LINE_ROOM ((size_t)1 << 20)

static void set_common(struct dgf_recorder *recorder)
{
    struct dgf_buf *common = &recorder->common;

    lit(common, "\"");
    dgf_put_field(common, "agent", dgf_bytes_str(recorder->agent), DGF_NAME_MAX);
    dgf_put_field(common, "env", dgf_bytes_str(recorder->env), DGF_NAME_MAX);
}

enum dgf_rc dgf_recorder_init(struct dgf_recorder *recorder, struct dgf_record_out out,
                              const char *agent, const char *env,
                              const uint8_t tenant_key[32], const uint8_t token_key[32],
                              unsigned token_version, const uint8_t log_id[16])
{
    memset(recorder, 0, sizeof(*recorder));
    recorder->out = out;
    dgf_buf_init(&recorder->line, LINE_ROOM);
    dgf_buf_init(&recorder->header, LINE_ROOM);
    dgf_buf_init(&recorder->common, LINE_ROOM);
    dgf_buf_init(&recorder->tail, LINE_ROOM);
    dgf_buf_init(&recorder->scratch, (size_t)64 << 20);
    dgf_buf_init(&recorder->key, LINE_ROOM);
    dgf_mac_key_init(&recorder->tenant, dgf_bytes_of(tenant_key, 32));
    memcpy(recorder->log_id, log_id, sizeof(recorder->log_id));
    dgf_masker_init(&recorder->masker, token_key, token_version);
    recorder->last_logged_ns = INT64_MIN;
    recorder->agent = dgf_strdup(agent);
    recorder->env = dgf_strdup(env);
    if (recorder->agent && recorder->env)
        set_common(recorder);
    if (!recorder->agent || !recorder->env || dgf_buf_rc(&recorder->common)) {
        dgf_recorder_release(recorder);
        return DGF_NOMEM;
    }
    return DGF_OK;
}

void dgf_recorder_release(struct dgf_recorder *recorder)
{
    dgf_event_heads_free(recorder->heads);
    dgf_free(recorder->agent);
    dgf_free(recorder->env);
    dgf_free(recorder->policy_set);
    dgf_mac_key_wipe(&recorder->tenant);
    dgf_masker_release(&recorder->masker);
    dgf_buf_release(&recorder->line);
    dgf_buf_release(&recorder->header);
    dgf_buf_release(&recorder->common);
    dgf_buf_release(&recorder->tail);
    dgf_buf_release(&recorder->scratch);
    dgf_buf_release(&recorder->key);
    memset(recorder, 0, sizeof(*recorder));
}

enum dgf_rc dgf_recorder_policy_set(struct dgf_recorder *recorder, const char *digest)
{
    char *copy;

    if (recorder->policy_set && strcmp(recorder->policy_set, digest) == 0)
        return DGF_OK; /* asked before every event */
    copy = dgf_strdup(digest);
    if (!copy)
        return DGF_NOMEM;
    dgf_free(recorder->policy_set);
    recorder->policy_set = copy;
    dgf_buf_clear(&recorder->tail);
    dgf_put_field(&recorder->tail, "policy_set", dgf_bytes_str(copy), DGF_NAME_MAX);
    return dgf_buf_rc(&recorder->tail);
}

/* ---- text ---- */

/* End of the longest prefix of at most max bytes that cuts no character. */
static size_t prefix_of(struct dgf_bytes text, size_t max)
{
    size_t len = max;

    if (text.len <= max)
        return text.len;
    while (len > 0 && (text.ptr[len] & 0xc0) == 0x80)
        len--;
    return len;
}

/* Length of the character at ptr, 0 when it is none. */
static size_t char_len(const uint8_t *ptr, size_t left)
{
    size_t len = *ptr < 0x80 ? 1 : *ptr >= 0xf0 ? 4 : *ptr >= 0xe0 ? 3 : 2;

    return len <= left && dgf_utf8_valid(dgf_bytes_of(ptr, len)) ? len : 0;
}

static void put_escaped(struct dgf_buf *buf, struct dgf_bytes text)
{
    if (dgf_utf8_valid(text)) {
        dgf_json_escape(buf, text);
        return;
    }
    for (size_t at = 0, n; at < text.len; at += n ? n : 1) {
        n = char_len(text.ptr + at, text.len - at);
        if (n)
            dgf_json_escape(buf, dgf_bytes_of(text.ptr + at, n));
        else
            lit(buf, "\xef\xbf\xbd");
    }
}

void dgf_put_text(struct dgf_buf *buf, struct dgf_bytes text, size_t max)
{
    size_t len = prefix_of(text, max), at;

    lit(buf, "\"");
    at = buf->len;
    put_escaped(buf, dgf_bytes_of(text.ptr, len));
    while (buf->len - at > max) { /* one byte can become six */
        len = prefix_of(text,
                        (size_t)((double)len * (double)max / (double)(buf->len - at)));
        buf->len = at;
        put_escaped(buf, dgf_bytes_of(text.ptr, len));
    }
    if (len < text.len)
        lit(buf, "...");
    lit(buf, "\"");
}

void dgf_put_name(struct dgf_buf *buf, struct dgf_bytes text, size_t max)
{
    struct dgf_found found;
    struct dgf_buf masked;
    bool any;

    if (!dgf_detect(text, 0, DGF_DETECT_ANY, &found)) {
        dgf_put_text(buf, text, max);
        return;
    }
    dgf_buf_init(&masked, LINE_ROOM);
    dgf_mask_detected(dgf_bytes_of(text.ptr, prefix_of(text, max)), &masked, &any);
    dgf_put_text(buf, dgf_buf_bytes(&masked), max);
    if (dgf_buf_rc(&masked))
        buf->rc = DGF_NOMEM;
    dgf_buf_release(&masked);
}

void dgf_put_field(struct dgf_buf *buf, const char *field, struct dgf_bytes text,
                   size_t max)
{
    if (text.len == 0)
        return;
    lit(buf, ",\"");
    dgf_buf_add_str(buf, field);
    lit(buf, "\":");
    dgf_put_text(buf, text, max);
}

struct dgf_bytes dgf_event_text(const struct dgf_event *event, enum dgf_section section,
                                const char *name)
{
    struct dgf_bytes value = dgf_event_field(event, section, dgf_bytes_str(name));
    struct dgf_mp mp = dgf_mp_of(value);
    struct dgf_mp_token token;

    if (value.len == 0 || dgf_mp_next(&mp, &token) || token.kind != DGF_MP_STR)
        return dgf_bytes_of(NULL, 0);
    return token.bytes;
}

/* ---- one line ---- */

struct dgf_id dgf_judgement_id(const char *type, const struct dgf_event *event,
                               const char *policy)
{
    struct dgf_id_hash hash;

    dgf_id_begin(&hash, type);
    dgf_id_add(&hash, dgf_bytes_of(event->id.b, DGF_ID_LEN));
    if (policy)
        dgf_id_add(&hash, dgf_bytes_str(policy));
    return dgf_id_end(&hash);
}

static struct dgf_id own_id(const struct dgf_recorder *recorder, uint64_t seq)
{
    struct dgf_id_hash hash;

    dgf_id_begin(&hash, "own");
    dgf_id_add(&hash, dgf_bytes_of(recorder->log_id, sizeof(recorder->log_id)));
    dgf_id_add_u64(&hash, seq);
    return dgf_id_end(&hash);
}

void dgf_line_begin(struct dgf_recorder *recorder, struct dgf_line *line,
                    enum dgf_record_kind kind, const struct dgf_id *id, int64_t time_ns)
{
    struct dgf_buf *buf = &recorder->line;
    int64_t now = dgf_clock_ns();
    char text[DGF_ID_TEXT_LEN + 1];

    line->seq = recorder->out.next_seq(recorder->out.ctx);
    line->record = (struct dgf_record){
        .seq = line->seq,
        .kind = kind,
        .verdict = DGF_VERDICT_PASS,
        .time_ns = time_ns,
        .id = id ? *id : own_id(recorder, line->seq),
    };
    if (now > recorder->last_logged_ns)
        recorder->last_logged_ns = now;
    dgf_buf_clear(buf);
    lit(buf, "{\"v\":1,\"seq\":");
    dgf_buf_add_u64(buf, line->seq);
    lit(buf, ",\"id\":\"");
    dgf_id_text(&line->record.id, text);
    dgf_buf_add(buf, text, DGF_ID_TEXT_LEN);
    lit(buf, "\",\"kind\":\"");
    dgf_buf_add_str(buf, dgf_record_kind_text(kind));
    lit(buf, "\",\"time\":\"");
    dgf_format_time(buf, time_ns);
    lit(buf, "\",\"logged\":\"");
    dgf_format_time(buf, recorder->last_logged_ns);
    dgf_buf_add_bytes(buf, dgf_buf_bytes(&recorder->common));
}

void dgf_line_policy_set(struct dgf_recorder *recorder)
{
    dgf_buf_add_bytes(&recorder->line, dgf_buf_bytes(&recorder->tail));
}

enum dgf_rc dgf_line_end(struct dgf_recorder *recorder, struct dgf_line *line)
{
    lit(&recorder->line, "}");
    if (dgf_buf_rc(&recorder->line) || recorder->line.len > DGF_RECORD_MAX_BYTES)
        return DGF_NOMEM;
    dgf_buf_clear(&recorder->header);
    dgf_record_put_header(&line->record, &recorder->header);
    if (dgf_buf_rc(&recorder->header))
        return DGF_NOMEM;
    return recorder->out.put(recorder->out.ctx, dgf_buf_bytes(&recorder->header),
                             dgf_buf_bytes(&recorder->line));
}
