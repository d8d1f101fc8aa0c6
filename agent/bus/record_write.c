/* Records of judgements. */
#include "bus/record_write.h"

#include "base/json.h"
#include "bus/record_part.h"

/* What may be cut, and how much of it is left. */
struct limits {
    size_t text;     /* bytes of the message and of each shown value */
    size_t evidence; /* items */
};

static bool put_message(struct dgf_recorder *recorder, struct dgf_bytes message,
                        const struct limits *limits)
{
    struct dgf_buf *buf = &recorder->line;
    size_t at = buf->len;

    dgf_put_field(buf, "message", message, SIZE_MAX);
    if (buf->len - at <= limits->text || dgf_buf_rc(buf))
        return false;
    buf->len = at;
    dgf_put_field(buf, "message", message, limits->text);
    return true;
}

/* ,"message_hash":"h1:..." of the whole message */
static void put_message_hash(struct dgf_recorder *recorder, struct dgf_bytes message)
{
    struct dgf_buf *buf = &recorder->line;

    dgf_buf_clear(&recorder->scratch);
    dgf_mp_put_str(&recorder->scratch, message);
    lit(buf, ",\"message_hash\":\"");
    dgf_mask_token(&recorder->masker, dgf_buf_bytes(&recorder->scratch), buf);
    lit(buf, "\"");
}

/* Only so much of a text can be shown at all: the rest need not be searched. */
static struct dgf_bytes shorten(struct dgf_recorder *recorder, struct dgf_bytes value)
{
    struct dgf_mp mp = dgf_mp_of(value);
    struct dgf_mp_token token;
    size_t len = DGF_RECORD_MAX_BYTES;

    if (value.len <= len || dgf_mp_next(&mp, &token) || token.kind != DGF_MP_STR)
        return value;
    while (len > 0 && (token.bytes.ptr[len] & 0xc0) == 0x80)
        len--;
    dgf_buf_clear(&recorder->scratch);
    dgf_mp_put_str(&recorder->scratch, dgf_bytes_of(token.bytes.ptr, len));
    return dgf_buf_rc(&recorder->scratch) ? value : dgf_buf_bytes(&recorder->scratch);
}

/* Puts the JSON at buf->ptr + at again as a text of at most max bytes. */
static void cut_json(struct dgf_recorder *recorder, size_t at, size_t max)
{
    struct dgf_buf *buf = &recorder->line;
    size_t whole = buf->len - at;
    bool text = buf->ptr[at] == '"';

    dgf_buf_clear(&recorder->key);
    dgf_buf_add(&recorder->key, buf->ptr + at + text, whole - 2 * text);
    buf->len = at;
    if (!text) {
        dgf_put_text(buf, dgf_buf_bytes(&recorder->key), max);
        return;
    }
    /* Still escaped: no cut inside an escape or a character. */
    while (max > 0 && (recorder->key.ptr[max] & 0xc0) == 0x80)
        max--;
    for (size_t i = 0, n; i < max; i += n) {
        n = recorder->key.ptr[i] != '\\' ? 1 : recorder->key.ptr[i + 1] == 'u' ? 6 : 2;
        if (i + n > max)
            max = i;
    }
    lit(buf, "\"");
    dgf_buf_add(buf, recorder->key.ptr, max);
    lit(buf, "...\"");
}

static bool put_evidence_item(struct dgf_recorder *recorder,
                              const struct dgf_evidence *item,
                              const struct limits *limits)
{
    enum dgf_class class_ = dgf_class_in_force(item->class_, item->type, item->value);
    struct dgf_buf *buf = &recorder->line;
    struct dgf_bytes value = shorten(recorder, item->value);
    struct dgf_json json = dgf_json_of(buf);
    bool masked = false, cut = value.len < item->value.len;
    size_t at, start;

    lit(buf, "{\"field\":");
    dgf_put_name(buf, item->field, DGF_NAME_MAX);
    lit(buf, ",\"class\":\"");
    dgf_buf_add_str(buf, dgf_class_text(class_));
    lit(buf, "\"");
    at = buf->len;
    if (class_ != DGF_CLASS_RESTRICTED) {
        lit(buf, ",\"masked\":");
        start = buf->len;
        dgf_mask_json(&recorder->masker, class_, value, &json, &masked);
        if (!masked && !dgf_buf_rc(buf)) { /* the other word has a letter less */
            memmove(buf->ptr + at, ",\"shown\":", 9);
            memmove(buf->ptr + at + 9, buf->ptr + start, buf->len - start);
            buf->len--;
            start--;
        }
        if (buf->len - start > limits->text && !dgf_buf_rc(buf)) {
            cut_json(recorder, start, limits->text);
            cut = true;
        }
    }
    lit(buf, ",\"token\":\"");
    dgf_mask_token(&recorder->masker, item->value, buf);
    dgf_buf_add_str(buf, cut ? "\",\"truncated\":true}" : "\"}");
    return cut;
}

static bool put_evidence(struct dgf_recorder *recorder,
                         const struct dgf_judgement *judgement,
                         const struct limits *limits)
{
    size_t n = judgement->n_evidence < limits->evidence ? judgement->n_evidence
                                                        : limits->evidence;
    bool cut = n < judgement->n_evidence;

    if (n == 0)
        return cut;
    lit(&recorder->line, ",\"evidence\":[");
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            lit(&recorder->line, ",");
        cut |= put_evidence_item(recorder, &judgement->evidence[i], limits);
    }
    lit(&recorder->line, "]");
    return cut;
}

/* ,"policy":{...} and the mode when it was only tried. */
static void put_policy(struct dgf_recorder *recorder,
                       const struct dgf_policy_ref *policy)
{
    struct dgf_buf *buf = &recorder->line;

    lit(buf, ",\"policy\":");
    if (policy->json && strlen(policy->json) <= DGF_POLICY_MAX) {
        dgf_buf_add_str(buf, policy->json);
        return;
    }
    lit(buf, "{\"id\":");
    dgf_put_text(buf, dgf_bytes_str(policy->id), DGF_NAME_MAX);
    dgf_put_field(buf, "title", dgf_bytes_str(policy->title), DGF_NAME_MAX);
    lit(buf, ",\"severity\":\"");
    dgf_buf_add_str(buf, dgf_severity_text(policy->severity));
    lit(buf, "\"}");
}

static void put_mode(struct dgf_buf *buf, const struct dgf_policy_ref *policy)
{
    if (policy->mode == DGF_MODE_SHADOW)
        lit(buf, ",\"mode\":\"shadow\"");
}

/* The stable id of a violation that is an act: of the policy and the event. */
static void violation_id(const struct dgf_recorder *recorder,
                         const struct dgf_event *event, const char *policy,
                         char ret[DGF_ID_TEXT_LEN + 1])
{
    uint8_t digest[DGF_SHA256_LEN], bytes[DGF_ID_LEN + DGF_NAME_MAX];
    size_t len = strnlen(policy, DGF_NAME_MAX);
    struct dgf_id id;

    memcpy(bytes, event->id.b, DGF_ID_LEN);
    memcpy(bytes + DGF_ID_LEN, policy, len);
    dgf_mac(&recorder->tenant, dgf_bytes_of(bytes, DGF_ID_LEN + len), digest);
    memcpy(id.b, digest, sizeof(id.b));
    dgf_id_text(&id, ret);
}

static void fill_header(struct dgf_recorder *recorder, struct dgf_line *line,
                        const struct dgf_event *event,
                        const struct dgf_judgement *judgement)
{
    line->record.severity = judgement->policy->severity;
    line->record.shadow = judgement->policy->mode == DGF_MODE_SHADOW;
    line->record.verdict = (uint8_t)judgement->verdict;
    line->record.policy = dgf_bytes_str(judgement->policy->id);
    line->record.source = dgf_event_source_name(event);
    line->record.subject = dgf_event_subject(recorder, event);
}

static void write_violation(struct dgf_recorder *recorder, struct dgf_line *line,
                            const struct dgf_event *event,
                            const struct dgf_judgement *judgement,
                            const char *violation, const struct limits *limits)
{
    struct dgf_id id = dgf_judgement_id("violation", event, judgement->policy->id);
    struct dgf_buf *buf = &recorder->line;
    bool cut_message, cut;

    dgf_line_begin(recorder, line, DGF_RECORD_VIOLATION, &id, event->commit_ns);
    put_policy(recorder, judgement->policy);
    dgf_put_field(buf, "violation", dgf_bytes_str(violation), DGF_NAME_MAX);
    lit(buf, ",\"verdict\":\"");
    dgf_buf_add_str(buf, dgf_verdict_text(judgement->verdict));
    lit(buf, "\",\"status\":\"event\"");
    put_mode(buf, judgement->policy);
    cut_message = put_message(recorder, judgement->message, limits);
    dgf_put_field(buf, "fix", dgf_bytes_str(judgement->policy->fix), DGF_FIX_MAX);
    if (judgement->waiver_json) {
        lit(buf, ",\"waiver\":");
        dgf_buf_add_str(buf, judgement->waiver_json);
    }
    dgf_line_event(recorder, event);
    dgf_line_actor(recorder, event);
    cut = put_evidence(recorder, judgement, limits);
    if (cut || cut_message || judgement->truncated)
        lit(buf, ",\"truncated\":true");
    if (cut_message)
        put_message_hash(recorder, judgement->message);
    dgf_line_policy_set(recorder);
}

static bool fits(const struct dgf_recorder *recorder)
{
    return !dgf_buf_rc(&recorder->line) && recorder->line.len < DGF_RECORD_MAX_BYTES;
}

/* Longest first: the greatest common limit with which the line fits; when even
 * none is too much, items go from the end. */
static void cut_violation(struct dgf_recorder *recorder, struct dgf_line *line,
                          const struct dgf_event *event,
                          const struct dgf_judgement *judgement, const char *violation)
{
    struct limits limits = {0, judgement->n_evidence};
    size_t *what, low = 0, high;

    write_violation(recorder, line, event, judgement, violation, &limits);
    what = fits(recorder) ? &limits.text : &limits.evidence;
    high = fits(recorder) ? DGF_RECORD_MAX_BYTES : judgement->n_evidence;
    while (low + 1 < high) { /* low fits, high does not */
        *what = low + (high - low) / 2;
        write_violation(recorder, line, event, judgement, violation, &limits);
        if (fits(recorder))
            low = *what;
        else
            high = *what;
    }
    *what = low;
    write_violation(recorder, line, event, judgement, violation, &limits);
}

enum dgf_rc dgf_record_violation(struct dgf_recorder *recorder,
                                 const struct dgf_event *event,
                                 const struct dgf_judgement *judgement)
{
    const struct limits whole = {SIZE_MAX, SIZE_MAX};
    char violation[DGF_ID_TEXT_LEN + 1];
    struct dgf_line line;

    violation_id(recorder, event, judgement->policy->id, violation);
    write_violation(recorder, &line, event, judgement, violation, &whole);
    if (!fits(recorder))
        cut_violation(recorder, &line, event, judgement, violation);
    fill_header(recorder, &line, event, judgement);
    line.record.key = dgf_bytes_of(violation, DGF_ID_TEXT_LEN);
    return dgf_line_end(recorder, &line);
}

enum dgf_rc dgf_record_rule_error(struct dgf_recorder *recorder,
                                  const struct dgf_event *event,
                                  const struct dgf_judgement *judgement)
{
    struct dgf_id id = dgf_judgement_id("rule_error", event, judgement->policy->id);
    struct dgf_line line;

    dgf_line_begin(recorder, &line, DGF_RECORD_RULE_ERROR, &id, event->commit_ns);
    put_policy(recorder, judgement->policy);
    put_mode(&recorder->line, judgement->policy);
    dgf_line_event(recorder, event);
    dgf_put_field(&recorder->line, "code", dgf_bytes_str(judgement->error_code),
                  DGF_NAME_MAX);
    dgf_put_field(&recorder->line, "message", judgement->message, DGF_TEXT_MAX / 4);
    dgf_line_policy_set(recorder);
    fill_header(recorder, &line, event, judgement);
    line.record.key = dgf_event_key_hash(recorder, event);
    return dgf_line_end(recorder, &line);
}

/* ---- audit ---- */

/* ,"violations":[ids] of policies in force; false when there are too many. */
static bool put_violations(struct dgf_buf *buf, const struct dgf_judged *judged)
{
    bool any = false;

    for (size_t i = 0; i < judged->n; i++) {
        const struct dgf_judgement *judgement = &judged->list[i];

        if (judgement->verdict != DGF_VERDICT_VIOLATION ||
            judgement->policy->mode == DGF_MODE_SHADOW)
            continue;
        if (buf->len > DGF_RECORD_MAX_BYTES - 2 * DGF_KEY_MAX)
            break;
        dgf_buf_add_str(buf, any ? "," : ",\"violations\":[");
        dgf_put_text(buf, dgf_bytes_str(judgement->policy->id), DGF_NAME_MAX);
        any = true;
    }
    if (any)
        lit(buf, "]");
    return buf->len <= DGF_RECORD_MAX_BYTES - 2 * DGF_KEY_MAX;
}

enum dgf_rc dgf_record_audit(struct dgf_recorder *recorder,
                             const struct dgf_event *event,
                             const struct dgf_judged *judged)
{
    struct dgf_id id = dgf_judgement_id("audit", event, NULL);
    struct dgf_buf *buf = &recorder->line;
    struct dgf_line line;

    dgf_line_begin(recorder, &line, DGF_RECORD_AUDIT, &id, event->commit_ns);
    dgf_line_event(recorder, event);
    lit(buf, ",\"policies\":");
    dgf_buf_add_u64(buf, judged->n_policies);
    lit(buf, ",\"verdict\":\"");
    dgf_buf_add_str(buf, dgf_verdict_text(judged->verdict));
    lit(buf, "\"");
    if (judged->n > 0 && !put_violations(buf, judged))
        lit(buf, ",\"truncated\":true");
    dgf_line_policy_set(recorder);
    line.record.verdict = (uint8_t)judged->verdict;
    line.record.source = dgf_event_source_name(event);
    line.record.subject = dgf_event_subject(recorder, event);
    line.record.key = dgf_event_key_hash(recorder, event);
    return dgf_line_end(recorder, &line);
}
