/* words.h - enums and texts of words.def.
 *
 * One enum a group: enum dgf_op has DGF_OP_INSERT ..., dgf_op_text() gives the
 * word and dgf_op_of() finds it.  Numbers are internal: only texts leave the
 * process.  Thread: any. */
#ifndef DGF_BUS_WORDS_H
#define DGF_BUS_WORDS_H

#include "base/buf.h"

/* WORD(GROUP, ...) calls ITEM_GROUP(...); exactly one of those is not empty
 * while an enum is made. */
#define WORD(group, name, text, meaning) ITEM_##group(DGF_##group##_##name)
#define ITEM_KIND(x)
#define ITEM_OP(x)
#define ITEM_VERDICT(x)
#define ITEM_STATUS(x)
#define ITEM_MODE(x)
#define ITEM_SEVERITY(x)
#define ITEM_CLASS(x)
#define ITEM_RECORD(x)
#define ITEM_GAP(x)
#define ITEM_UNAVAILABLE(x)
#define ITEM_CAUSE(x)
#define ITEM_GUARANTEE(x)
#define ITEM_STATE(x)
#define ITEM_TYPE(x)

#undef ITEM_KIND
#define ITEM_KIND(x) x,
enum dgf_event_kind {
#include "bus/words.def"
    DGF_KIND_N
};
#undef ITEM_KIND
#define ITEM_KIND(x)

#undef ITEM_OP
#define ITEM_OP(x) x,
enum dgf_op {
#include "bus/words.def"
    DGF_OP_N
};
#undef ITEM_OP
#define ITEM_OP(x)

#undef ITEM_VERDICT
#define ITEM_VERDICT(x) x,
enum dgf_verdict {
#include "bus/words.def"
    DGF_VERDICT_N
};
#undef ITEM_VERDICT
#define ITEM_VERDICT(x)

#undef ITEM_STATUS
#define ITEM_STATUS(x) x,
enum dgf_status {
#include "bus/words.def"
    DGF_STATUS_N
};
#undef ITEM_STATUS
#define ITEM_STATUS(x)

#undef ITEM_MODE
#define ITEM_MODE(x) x,
enum dgf_mode {
#include "bus/words.def"
    DGF_MODE_N
};
#undef ITEM_MODE
#define ITEM_MODE(x)

#undef ITEM_SEVERITY
#define ITEM_SEVERITY(x) x,
enum dgf_severity {
#include "bus/words.def"
    DGF_SEVERITY_N
};
#undef ITEM_SEVERITY
#define ITEM_SEVERITY(x)

#undef ITEM_CLASS
#define ITEM_CLASS(x) x,
enum dgf_class {
#include "bus/words.def"
    DGF_CLASS_N
};
#undef ITEM_CLASS
#define ITEM_CLASS(x)

#undef ITEM_RECORD
#define ITEM_RECORD(x) x,
enum dgf_record_kind {
#include "bus/words.def"
    DGF_RECORD_N
};
#undef ITEM_RECORD
#define ITEM_RECORD(x)

#undef ITEM_GAP
#define ITEM_GAP(x) x,
enum dgf_gap {
#include "bus/words.def"
    DGF_GAP_N
};
#undef ITEM_GAP
#define ITEM_GAP(x)

#undef ITEM_UNAVAILABLE
#define ITEM_UNAVAILABLE(x) x,
enum dgf_unavailable {
#include "bus/words.def"
    DGF_UNAVAILABLE_N
};
#undef ITEM_UNAVAILABLE
#define ITEM_UNAVAILABLE(x)

#undef ITEM_CAUSE
#define ITEM_CAUSE(x) x,
enum dgf_cause {
#include "bus/words.def"
    DGF_CAUSE_N
};
#undef ITEM_CAUSE
#define ITEM_CAUSE(x)

#undef ITEM_GUARANTEE
#define ITEM_GUARANTEE(x) x,
enum dgf_guarantee {
#include "bus/words.def"
    DGF_GUARANTEE_N
};
#undef ITEM_GUARANTEE
#define ITEM_GUARANTEE(x)

#undef ITEM_STATE
#define ITEM_STATE(x) x,
enum dgf_source_state {
#include "bus/words.def"
    DGF_STATE_N
};
#undef ITEM_STATE
#define ITEM_STATE(x)

#undef ITEM_TYPE
#define ITEM_TYPE(x) x,
enum dgf_type {
#include "bus/words.def"
    DGF_TYPE_N
};
#undef ITEM_TYPE
#define ITEM_TYPE(x)

#undef ITEM_KIND
#undef ITEM_OP
#undef ITEM_VERDICT
#undef ITEM_STATUS
#undef ITEM_MODE
#undef ITEM_SEVERITY
#undef ITEM_CLASS
#undef ITEM_RECORD
#undef ITEM_GAP
#undef ITEM_UNAVAILABLE
#undef ITEM_CAUSE
#undef ITEM_GUARANTEE
#undef ITEM_STATE
#undef ITEM_TYPE
#undef WORD

const char *dgf_event_kind_text(enum dgf_event_kind word);
const char *dgf_op_text(enum dgf_op word);
const char *dgf_verdict_text(enum dgf_verdict word);
const char *dgf_status_text(enum dgf_status word);
const char *dgf_mode_text(enum dgf_mode word);
const char *dgf_severity_text(enum dgf_severity word);
const char *dgf_class_text(enum dgf_class word);
const char *dgf_record_kind_text(enum dgf_record_kind word);
const char *dgf_gap_text(enum dgf_gap word);
const char *dgf_unavailable_text(enum dgf_unavailable word);
const char *dgf_cause_text(enum dgf_cause word);
const char *dgf_guarantee_text(enum dgf_guarantee word);
const char *dgf_source_state_text(enum dgf_source_state word);
const char *dgf_type_text(enum dgf_type word);

/* Give -1 when there is no such word. */
int dgf_event_kind_of(struct dgf_bytes text);
int dgf_op_of(struct dgf_bytes text);
int dgf_verdict_of(struct dgf_bytes text);
int dgf_status_of(struct dgf_bytes text);
int dgf_mode_of(struct dgf_bytes text);
int dgf_severity_of(struct dgf_bytes text);
int dgf_class_of(struct dgf_bytes text);
int dgf_record_kind_of(struct dgf_bytes text);
int dgf_gap_of(struct dgf_bytes text);
int dgf_unavailable_of(struct dgf_bytes text);
int dgf_cause_of(struct dgf_bytes text);
int dgf_guarantee_of(struct dgf_bytes text);
int dgf_source_state_of(struct dgf_bytes text);
int dgf_type_of(struct dgf_bytes text);

/* Every word with its meaning, for the docs and the schemas: group is "OP",
 * "GAP" ...; false past the last. */
bool dgf_words_at(size_t at, const char **ret_group, const char **ret_text,
                  const char **ret_meaning);

#endif
