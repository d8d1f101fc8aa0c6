/* sink_blob.h - parts of the sink that keeps the evidence archive in a container;
 * nobody else includes this.
 *
 * A sealed set is a list of files.  Each becomes an object of the same name below
 * <prefix><log id>/, is read back, and compared to the byte.  What is there already
 * is never written over: equal is done, other is an alarm.  Thread: loop. */
#ifndef DGF_SINK_BLOB_H
#define DGF_SINK_BLOB_H

#include "azure_rest.h"
#include "base/hash.h"
#include "base/worker.h"
#include "bus/sink.h"

#define DGF_BLOB_TRANSFERS 6          /* at most so many objects under way */
#define DGF_BLOB_NAME_MAX 512         /* bytes of "<prefix><log id>/<name>" */
#define DGF_BLOB_SMALL_MAX (2u << 20) /* checkpoint, manifest: what is looked into */
#define DGF_BLOB_KEPT 8192 /* objects of a set whose success outlives a close */

/* ---- sink_blob_conf.c ---- */

struct dgf_blob_conf {
    struct dgf_sink_conf base;
    char *url, *prefix;
    struct dgf_azure_conf azure;
    int64_t timeout_ns;
    uint64_t block_bytes;
};

extern const struct dgf_opt dgf_blob_opts[];
void dgf_blob_validate(const void *conf, const char *what, struct dgf_mark mark,
                       struct dgf_findings *findings);
const char *dgf_blob_prefix(const struct dgf_blob_conf *conf); /* never NULL */
/* What to do about an answer, behind "; "; "": nothing is known. */
const char *dgf_blob_hint(enum dgf_azure_is is);

/* ---- sink_blob_note.c: what stands in manifests and checkpoints; pure ---- */

/* Size a checkpoint is of: its second line.  False: that is none. */
bool dgf_blob_checkpoint_size(struct dgf_bytes note, uint64_t *ret);
/* root_after of a manifest, hexadecimal; false: that is none. */
bool dgf_blob_manifest_root(struct dgf_bytes manifest, char ret[65]);
/* "bytes 0-9/10": 10. */
bool dgf_blob_range_total(const char *content_range, uint64_t *ret);

/* ---- sink_blob_put.c: one object ---- */

struct dgf_blob_sink;
struct dgf_blob_piece;

enum dgf_blob_step {
    DGF_BLOB_LOOK,   /* what is there under this name? */
    DGF_BLOB_SEND,   /* a small object at once, or the next block */
    DGF_BLOB_COMMIT, /* the list of blocks */
    DGF_BLOB_VERIFY, /* read back, piece by piece */
};

enum dgf_blob_end {
    DGF_BLOB_VERIFIED, /* there, to the byte */
    DGF_BLOB_ABSENT,   /* only looked for, and not there */
    DGF_BLOB_FAILED,   /* self->failure says why */
};

struct dgf_blob_transfer {
    struct dgf_blob_sink *sink; /* NULL: free */
    size_t index;               /* of the object in the set */
    bool only_look;             /* is an equal one there? */
    enum dgf_blob_step step;
    struct dgf_blob_piece *reading; /* a worker has it */
    uint8_t *bytes;                 /* of the file, from offset on; owned */
    size_t len;
    uint64_t offset, size;
    uint8_t head[DGF_SHA256_LEN]; /* hash of the first piece */
    bool ours;                    /* this attempt wrote it */
    char etag[96];         /* of what is there: to replace it, or to read on in it */
    char wrote[96];        /* ETag our write got */
    struct dgf_buf blocks; /* the list to commit */
};

/* Begins with an object; dgf_blob_transfer_done follows, never from inside. */
enum dgf_rc dgf_blob_transfer_start(struct dgf_blob_transfer *transfer,
                                    struct dgf_err *err) DGF_MUST_USE;
/* Frees what it holds; a worker's piece frees itself. */
void dgf_blob_transfer_release(struct dgf_blob_transfer *transfer);

/* ---- sink_blob.c ---- */

struct dgf_blob_sink {
    struct dgf_sink base;
    struct dgf_azure_rest *rest; /* NULL while closed */
    char *account, *container;   /* of url */
    struct dgf_buf cursor;

    const struct dgf_sealed *sealed; /* borrowed; NULL: waits for one */
    size_t next_object;
    size_t probe; /* index of the manifest; SIZE_MAX: none */
    bool probed;
    bool alone; /* the object under way has to be there before the next begins */
    /* What is there of the set with these objects: kept over close, so that each
     * attempt ends with more than the one before. */
    struct dgf_id set;
    uint8_t verified[DGF_BLOB_KEPT / 8];
    struct dgf_blob_transfer transfers[DGF_BLOB_TRANSFERS];
    unsigned n_transfers;

    bool reached; /* the container answered */
    bool blocked; /* the host waits for dgf_sink_room */
    bool failed;  /* told the host */
    bool failing; /* `failure` stands; what is under way ends first */
    struct dgf_err failure;
};

/* "<prefix><log id>/<name>"; false when that is too long. */
bool dgf_blob_name(const struct dgf_blob_sink *self, const char *name,
                   char ret[DGF_BLOB_NAME_MAX]);
/* Ends this attempt, once: the first failure counts, an alarm more than others.
 * alarm: NULL, or the word dgf_sink.alarm gets. */
void dgf_blob_fail(struct dgf_blob_sink *self, enum dgf_rc rc, const char *alarm,
                   const char *fmt, ...) DGF_PRINTF(4, 5);
void dgf_blob_transfer_done(struct dgf_blob_transfer *transfer, enum dgf_blob_end end);

/* ---- sink_blob_check.c ---- */

enum dgf_rc dgf_blob_check(struct dgf_sink *sink, struct dgf_findings *findings,
                           struct dgf_err *err);

#endif
