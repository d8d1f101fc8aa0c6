#include "policy_load.h"

#define AT(f) offsetof(struct dgf_policy_info_conf, f)
static const struct dgf_opt info_opts[] = {
    {"title", DGF_OPT_STR, AT(title), 0, .help = "what this file is about"},
    {"owner", DGF_OPT_STR, AT(owner), 0, .help = "who answers for it"},
    {"review_by", DGF_OPT_STR, AT(review_by), 0,
     .help = "day (or time) somebody looks at it again; then a warning"},
    DGF_OPT_END,
};
#undef AT

#define AT(f) offsetof(struct dgf_policy_file_conf, f)
const struct dgf_opt dgf_policy_file_opts[] = {
    {"version", DGF_OPT_INT, AT(version), DGF_REQUIRED, NULL, "1", "1",
     .help = "of this format: 1", .example = "1"},
    {"info", DGF_OPT_GROUP, AT(info), 0, .help = "title, owner, review_by",
     .group = info_opts},
    {"lists", DGF_OPT_NODE, AT(lists), 0,
     .help =
         "named lists of values: lists.NAME in expressions, \"@NAME\" in exceptions"},
    {"let", DGF_OPT_NODE, AT(let), 0, .help = "named expressions"},
    {"classes", DGF_OPT_NODE, AT(classes), 0,
     .help = "object -> field -> public, internal, confidential or restricted"},
    {"policies", DGF_OPT_NODE, AT(policies), DGF_REQUIRED, .help = "the policies",
     .example = "[{id: CARD-001, title: No card numbers, severity: high, ...}]"},
    DGF_OPT_END,
};
#undef AT

#define AT(f) offsetof(struct dgf_policy_watch_conf, f)
const struct dgf_opt dgf_policy_watch_opts[] = {
    {"sources", DGF_OPT_STR_LIST, AT(sources), 0,
     .help = "names of sources; default: all"},
    {"objects", DGF_OPT_STR_LIST, AT(objects), 0,
     .help =
         "patterns of objects: * in one part of a name, ** across parts; default: all"},
    {"ops", DGF_OPT_STR_LIST, AT(ops), 0, .help = "operations; default: all"},
    {"kinds", DGF_OPT_STR_LIST, AT(kinds), 0,
     .help = "change, schema, access, setting, message, notice; default: change"},
    DGF_OPT_END,
};
#undef AT

#define AT(f) offsetof(struct dgf_policy_conf, f)
const struct dgf_opt dgf_policy_opts[] = {
    {"id", DGF_OPT_STR, AT(id), DGF_REQUIRED,
     .help = "stable name: letters, digits, '-', '_', '.'", .example = "CARD-001"},
    {"title", DGF_OPT_STR, AT(title), DGF_REQUIRED,
     .help = "what must hold, in plain words",
     .example = "No card numbers in free text"},
    {"why", DGF_OPT_STR, AT(why), 0, .help = "the reason behind it"},
    {"severity", DGF_OPT_ENUM, AT(severity), DGF_REQUIRED,
     .help = "how bad a violation is", .words = "info|low|medium|high|critical",
     .example = "high"},
    {"frameworks", DGF_OPT_NODE, AT(frameworks), 0,
     .help = "framework -> requirements it serves"},
    {"watch", DGF_OPT_NODE, AT(watch), 0, .help = "which events are judged"},
    {"needs", DGF_OPT_STR_LIST, AT(needs), 0,
     .help = "what the source must give: before, after, deletes, every_version, actor, "
             "ddl, key"},
    {"when", DGF_OPT_NODE, AT(when), 0, .help = "expression: true is a violation"},
    {"require", DGF_OPT_NODE, AT(require), 0,
     .help = "expression: false is a violation"},
    {"on_unknown", DGF_OPT_ENUM, AT(on_unknown), 0, "review",
     .help = "what an unknown result means", .words = "review|violate|pass"},
    {"on_error", DGF_OPT_ENUM, AT(on_error), 0, "violate",
     .help = "whether an evaluation error is a violation too or only recorded",
     .words = "violate|record"},
    {"exceptions", DGF_OPT_NODE, AT(exceptions), 0,
     .help = "violations that are allowed, by whom and until when"},
    {"message", DGF_OPT_NODE, AT(message), 0,
     .help = "text of the violation; {{expression}} is replaced; default: the title"},
    {"evidence", DGF_OPT_STR_LIST, AT(evidence), 0,
     .help = "fields whose values are recorded, masked by class"},
    {"fix", DGF_OPT_STR, AT(fix), 0, .help = "what to do about a violation"},
    {"audit", DGF_OPT_ENUM, AT(audit), 0, "summary",
     .help = "a record of every judged event, or counts a minute",
     .words = "summary|every_event"},
    {"mode", DGF_OPT_ENUM, AT(mode), 0, "on", .help = "off, tried only, or in force",
     .words = "off|shadow|on"},
    {"examples", DGF_OPT_NODE, AT(examples), 0,
     .help = "events that violate and events that pass; run by dgf rules test"},
    {"window", DGF_OPT_NODE, AT(window), 0, .help = "not there yet"},
    {"sequence", DGF_OPT_NODE, AT(sequence), 0, .help = "not there yet"},
    {"absence", DGF_OPT_NODE, AT(absence), 0, .help = "not there yet"},
    {"state", DGF_OPT_NODE, AT(state), 0, .help = "not there yet"},
    {"check", DGF_OPT_NODE, AT(check), 0, .help = "not there yet"},
    {"with", DGF_OPT_NODE, AT(with), 0, .help = "not there yet"},
    {"repeat", DGF_OPT_NODE, AT(repeat), 0, .help = "not there yet"},
    DGF_OPT_END,
};
#undef AT

#define AT(f) offsetof(struct dgf_policy_waiver_conf, f)
#define WHO_AND_WHEN                                                              \
    {"reason", DGF_OPT_STR, AT(reason), 0, .help = "why it is allowed"},          \
        {"approver", DGF_OPT_STR, AT(approver), 0, .help = "who allowed it"},     \
        {"ticket", DGF_OPT_STR, AT(ticket), 0, .help = "where it was asked for"}, \
    {                                                                             \
        "until", DGF_OPT_STR, AT(until), 0,                                       \
            .help = "when it ends: 2027-01-31T00:00:00Z"                          \
    }
const struct dgf_opt dgf_policy_exceptions_opts[] = {
    {"fields", DGF_OPT_NODE, AT(fields), 0,
     .help = "expressions the values are compared with"},
    {"allow", DGF_OPT_NODE, AT(allow), 0,
     .help = "the exceptions, filled in one by one"},
    {"when", DGF_OPT_NODE, AT(when), 0, .help = "one exception as a free expression"},
    WHO_AND_WHEN,
    DGF_OPT_END,
};

const struct dgf_opt dgf_policy_waiver_opts[] = {
    {"values", DGF_OPT_NODE, AT(values), 0,
     .help = "one value, list of values or \"@LIST\" for each of `fields`"},
    {"when", DGF_OPT_NODE, AT(when), 0, .help = "a free expression instead of values"},
    WHO_AND_WHEN,
    DGF_OPT_END,
};
#undef AT
