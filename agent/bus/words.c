#include "bus/words.h"

struct word {
    const char *group, *text, *meaning;
    int number;
};

#define WORD(group, name, text, meaning) {#group, text, meaning, DGF_##group##_##name},
static const struct word words[] = {
#include "bus/words.def"
};
#undef WORD

#define N_WORDS (sizeof(words) / sizeof(words[0]))

static int find(const char *group, struct dgf_bytes text)
{
    for (size_t i = 0; i < N_WORDS; i++)
        if (strcmp(words[i].group, group) == 0 &&
            dgf_bytes_eq(dgf_bytes_str(words[i].text), text))
            return words[i].number;
    return -1;
}

#define WORD(group, name, text, meaning) ITEM_##group(text)
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
static const char *const texts_KIND[] = {
#include "bus/words.def"
};
#undef ITEM_KIND
#define ITEM_KIND(x)

#undef ITEM_OP
#define ITEM_OP(x) x,
static const char *const texts_OP[] = {
#include "bus/words.def"
};
#undef ITEM_OP
#define ITEM_OP(x)

#undef ITEM_VERDICT
#define ITEM_VERDICT(x) x,
static const char *const texts_VERDICT[] = {
#include "bus/words.def"
};
#undef ITEM_VERDICT
#define ITEM_VERDICT(x)

#undef ITEM_STATUS
#define ITEM_STATUS(x) x,
static const char *const texts_STATUS[] = {
#include "bus/words.def"
};
#undef ITEM_STATUS
#define ITEM_STATUS(x)

#undef ITEM_MODE
#define ITEM_MODE(x) x,
static const char *const texts_MODE[] = {
#include "bus/words.def"
};
#undef ITEM_MODE
#define ITEM_MODE(x)

#undef ITEM_SEVERITY
#define ITEM_SEVERITY(x) x,
static const char *const texts_SEVERITY[] = {
#include "bus/words.def"
};
#undef ITEM_SEVERITY
#define ITEM_SEVERITY(x)

#undef ITEM_CLASS
#define ITEM_CLASS(x) x,
static const char *const texts_CLASS[] = {
#include "bus/words.def"
};
#undef ITEM_CLASS
#define ITEM_CLASS(x)

#undef ITEM_RECORD
#define ITEM_RECORD(x) x,
static const char *const texts_RECORD[] = {
#include "bus/words.def"
};
#undef ITEM_RECORD
#define ITEM_RECORD(x)

#undef ITEM_GAP
#define ITEM_GAP(x) x,
static const char *const texts_GAP[] = {
#include "bus/words.def"
};
#undef ITEM_GAP
#define ITEM_GAP(x)

#undef ITEM_UNAVAILABLE
#define ITEM_UNAVAILABLE(x) x,
static const char *const texts_UNAVAILABLE[] = {
#include "bus/words.def"
};
#undef ITEM_UNAVAILABLE
#define ITEM_UNAVAILABLE(x)

#undef ITEM_CAUSE
#define ITEM_CAUSE(x) x,
static const char *const texts_CAUSE[] = {
#include "bus/words.def"
};
#undef ITEM_CAUSE
#define ITEM_CAUSE(x)

#undef ITEM_GUARANTEE
#define ITEM_GUARANTEE(x) x,
static const char *const texts_GUARANTEE[] = {
#include "bus/words.def"
};
#undef ITEM_GUARANTEE
#define ITEM_GUARANTEE(x)

#undef ITEM_STATE
#define ITEM_STATE(x) x,
static const char *const texts_STATE[] = {
#include "bus/words.def"
};
#undef ITEM_STATE
#define ITEM_STATE(x)

#undef ITEM_TYPE
#define ITEM_TYPE(x) x,
static const char *const texts_TYPE[] = {
#include "bus/words.def"
};
#undef ITEM_TYPE
#define ITEM_TYPE(x)

#define GROUP(group, lower)                                                  \
    const char *dgf_##lower##_text(enum dgf_##lower word)                    \
    {                                                                        \
        return (unsigned)word < DGF_##group##_N ? texts_##group[word] : "?"; \
    }                                                                        \
                                                                             \
    int dgf_##lower##_of(struct dgf_bytes text)                              \
    {                                                                        \
        return find(#group, text);                                           \
    }

GROUP(KIND, event_kind)
GROUP(OP, op)
GROUP(VERDICT, verdict)
GROUP(STATUS, status)
GROUP(MODE, mode)
GROUP(SEVERITY, severity)
GROUP(CLASS, class)
GROUP(RECORD, record_kind)
GROUP(GAP, gap)
GROUP(UNAVAILABLE, unavailable)
GROUP(CAUSE, cause)
GROUP(GUARANTEE, guarantee)
GROUP(STATE, source_state)
GROUP(TYPE, type)

bool dgf_words_at(size_t at, const char **ret_group, const char **ret_text,
                  const char **ret_meaning)
{
    if (at >= N_WORDS)
        return false;
    *ret_group = words[at].group;
    *ret_text = words[at].text;
    *ret_meaning = words[at].meaning;
    return true;
}
