/* record_write.h - the only place that makes records.
 *
 * Each function composes one line (RECORDS in contrib/doc says which fields),
 * gives it the next leaf index, and hands it to `put`.  Field order is fixed.
 * A violation over 65,535 bytes has its evidence and message cut, longest
 * first; lists that are too long become parts.  Thread: loop. */
#ifndef DGF_BUS_RECORD_WRITE_H
#define DGF_BUS_RECORD_WRITE_H

#include "bus/event.h"
#include "bus/mask.h"
#include "bus/record.h"
#include "bus/source.h"

/* Where records go: the ledger's open batch.  next_seq is asked before the
 * line is written, because the index stands in it. */
struct dgf_record_out {
    void *ctx;
    uint64_t (*next_seq)(void *ctx);
    enum dgf_rc (*put)(void *ctx, struct dgf_bytes header, struct dgf_bytes line);
};

struct dgf_event_head; /* cached constant JSON of an object's events */

struct dgf_recorder {
    struct dgf_record_out out;
    char *agent, *env;
    char *policy_set; /* "sha256:..." ; set by dgf_recorder_policy_set */
    struct dgf_mac_key tenant;
    uint8_t log_id[16];
    int64_t last_logged_ns; /* logged never decreases */
    struct dgf_masker masker;
    struct dgf_buf line, header, common, tail, scratch, key;
    struct dgf_event_head *heads;
    char key_text[DGF_ID_TEXT_LEN + 1];
};

enum dgf_rc dgf_recorder_init(struct dgf_recorder *recorder, struct dgf_record_out out,
                              const char *agent, const char *env,
                              const uint8_t tenant_key[32], const uint8_t token_key[32],
                              unsigned token_version, const uint8_t log_id[16])
    DGF_MUST_USE;
void dgf_recorder_release(struct dgf_recorder *recorder);
enum dgf_rc dgf_recorder_policy_set(struct dgf_recorder *recorder, const char *digest)
    DGF_MUST_USE;

/* What a record says of a policy; owned by the policy set. */
struct dgf_policy_ref {
    const char *id, *title;
    enum dgf_severity severity;
    enum dgf_mode mode;
    const char
        *json; /* {"id":..,"title":..,"severity":..,"frameworks":{..}} ready made */
    const char *fix; /* NULL: none */
};

struct dgf_evidence {
    struct dgf_bytes field; /* name as the policy wrote it: "note", "before.note" */
    struct dgf_bytes value; /* msgpack */
    enum dgf_class class_;  /* given class, NONE: by type */
    enum dgf_type type;
};

/* One policy's word on one event; valid until the next judge call. */
struct dgf_judgement {
    const struct dgf_policy_ref *policy;
    enum dgf_verdict verdict; /* VIOLATION, REVIEW, WAIVED or ERROR */
    struct dgf_bytes message; /* already through the formatter */
    bool truncated;
    const struct dgf_evidence *evidence;
    size_t n_evidence;
    /* WAIVED: who allowed it and until when */
    const char *waiver_json; /* {"reason":..,"approver":..,"ticket":..,"until":..};
                                NULL: none */
    /* ERROR */
    const char *error_code; /* "E0401" */
};

struct dgf_judged {
    const struct dgf_judgement *list;
    size_t n;
    unsigned n_policies;      /* that watched and were evaluated */
    enum dgf_verdict verdict; /* strictest; UNWATCHED when no policy watches */
    bool audit;               /* write an audit record for this event */
};

enum dgf_rc dgf_record_violation(struct dgf_recorder *recorder,
                                 const struct dgf_event *event,
                                 const struct dgf_judgement *judgement) DGF_MUST_USE;
enum dgf_rc dgf_record_rule_error(struct dgf_recorder *recorder,
                                  const struct dgf_event *event,
                                  const struct dgf_judgement *judgement) DGF_MUST_USE;
enum dgf_rc dgf_record_audit(struct dgf_recorder *recorder,
                             const struct dgf_event *event,
                             const struct dgf_judged *judged) DGF_MUST_USE;
/* For gap, undecodable and resume events. */
enum dgf_rc dgf_record_of_event(struct dgf_recorder *recorder,
                                const struct dgf_event *event) DGF_MUST_USE;

/* Every commit carries the counts: what is over this is due for a record. */
#define DGF_COVERAGE_MAX_BYTES ((size_t)128 * 1024)
#define DGF_COVERAGE_SET_MAX 79

/* Counts of one source since its last coverage record; survives restarts in
 * the commit (encode, decode). */
/* Things that are no events, under a word of their source's. */
#define DGF_COVERAGE_NOTES 16
#define DGF_COVERAGE_WORD_MAX 31
struct dgf_coverage_note {
    char word[DGF_COVERAGE_WORD_MAX + 1];
    uint64_t n;
};

struct dgf_coverage {
    struct dgf_buf from;                       /* position text; empty: unknown */
    char policy_set[DGF_COVERAGE_SET_MAX + 1]; /* that judged; "": not known */
    size_t bytes;                              /* of objects when encoded, at most */
    uint64_t events, transactions;
    uint64_t verdicts[DGF_VERDICT_N];
    struct dgf_map objects; /* text -> u64[DGF_OP_N] */
    int64_t since_ns;
    uint64_t last_object; /* serial and counts of the object seen last */
    uint64_t *last_counts;
    struct dgf_coverage_note notes[DGF_COVERAGE_NOTES];
    unsigned n_notes;
};
void dgf_coverage_init(struct dgf_coverage *coverage);
void dgf_coverage_release(struct dgf_coverage *coverage);
enum dgf_rc dgf_coverage_count(struct dgf_coverage *coverage,
                               const struct dgf_event *event, enum dgf_verdict verdict)
    DGF_MUST_USE;
/* word: letters, digits and '_'.  DGF_NOMEM: another word than there is room for. */
enum dgf_rc dgf_coverage_note(struct dgf_coverage *coverage, const char *word,
                              uint64_t n) DGF_MUST_USE;
/* Write a record before more is counted. */
static inline bool dgf_coverage_is_full(const struct dgf_coverage *coverage)
{
    return coverage->bytes >= DGF_COVERAGE_MAX_BYTES;
}
void dgf_coverage_policy_set(struct dgf_coverage *coverage, const char *digest);
void dgf_coverage_encode(const struct dgf_coverage *coverage, struct dgf_buf *out);
enum dgf_rc dgf_coverage_decode(struct dgf_coverage *coverage, struct dgf_bytes bytes)
    DGF_MUST_USE;
/* Writes (from, to] and starts anew at `to`.  The record names the set of the
 * coverage, or the recorder's when none is known. */
enum dgf_rc dgf_record_coverage(struct dgf_recorder *recorder,
                                struct dgf_coverage *coverage, const char *source,
                                const char *to, int64_t time_ns,
                                enum dgf_guarantee guarantee) DGF_MUST_USE;

/* The agent's own acts: kind is RESUME, BACKPRESSURE, CONFIG, POLICY_SET, KEY,
 * GAP, CLOCK ...; detail is a JSON object text or NULL; source may be NULL.
 * Of a GAP, the members reason, from and to of detail become the record's own.
 * A detail that is too long is divided: lists and maps in it over the parts,
 * everything else in each. */
enum dgf_rc dgf_record_own(struct dgf_recorder *recorder, enum dgf_record_kind kind,
                           const char *source, const char *message,
                           const char *detail_json) DGF_MUST_USE;

#endif
