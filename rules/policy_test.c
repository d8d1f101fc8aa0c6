#include "policy_test.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/parse.h"
#include "policy_event.h"
#include "policy_load.h"
#include "policy_test_part.h"

/* ---- test files ---- */

struct test_file {
    int64_t version;
    struct dgf_str_list policies;
    char *clock;
    const struct dgf_yaml_node *fixtures, *tests;
};

#define AT(f) offsetof(struct test_file, f)
static const struct dgf_opt test_file_opts[] = {
    {"version", DGF_OPT_INT, AT(version), DGF_REQUIRED, NULL, "1", "1", .help = "1",
     .example = "1"},
    {"policies", DGF_OPT_STR_LIST, AT(policies), DGF_REQUIRED,
     .help = "files under test, beside this one", .example = "[payments.yaml]"},
    {"clock", DGF_OPT_STR, AT(clock), 0, .help = "time of events that say none"},
    {"fixtures", DGF_OPT_NODE, AT(fixtures), 0, .help = "named events"},
    {"tests", DGF_OPT_NODE, AT(tests), DGF_REQUIRED,
     .help = "events and what is expected",
     .example = "[{name: ..., events: [...], expect: none}]"},
    DGF_OPT_END,
};
#undef AT

struct test {
    char *name;
    const struct dgf_yaml_node *events, *expect, *generate;
};

#define AT(f) offsetof(struct test, f)
static const struct dgf_opt test_opts[] = {
    {"name", DGF_OPT_STR, AT(name), DGF_REQUIRED, .help = "a sentence",
     .example = "creator may not approve"},
    {"events", DGF_OPT_NODE, AT(events), 0, .help = "events, or names of fixtures"},
    {"expect", DGF_OPT_NODE, AT(expect), DGF_REQUIRED, .help = "none, or all verdicts",
     .example = "none"},
    {"generate", DGF_OPT_NODE, AT(generate), 0, .help = "not there yet"},
    DGF_OPT_END,
};
#undef AT

struct expectation {
    char *policy, *message;
    int verdict, severity;
    int64_t times;
    const struct dgf_yaml_node *at;
    int64_t got;
};

#define AT(f) offsetof(struct expectation, f)
static const struct dgf_opt expect_opts[] = {
    {"policy", DGF_OPT_STR, AT(policy), DGF_REQUIRED, .help = "id",
     .example = "SOD-007"},
    {"verdict", DGF_OPT_ENUM, AT(verdict), 0, "violation", .help = "what it says",
     .words = "violation|review|waived|error"},
    {"severity", DGF_OPT_ENUM, AT(severity), 0, "any", .help = "of the policy",
     .words = "info|low|medium|high|critical|any"},
    {"message", DGF_OPT_STR, AT(message), 0, .help = "its exact text"},
    {"times", DGF_OPT_INT, AT(times), 0, "1", "0", "1000000", "how often"},
    {"at", DGF_OPT_NODE, AT(at), 0, .help = "not there yet"},
    DGF_OPT_END,
};
#undef AT

/* A verdict that no expectation wanted. */
struct unwanted {
    const struct dgf_policy_ref *policy; /* of the set */
    enum dgf_verdict verdict;
    char *message; /* owned */
};

struct testing {
    struct dgf_running *running;
    const struct dgf_yaml *doc;
    struct dgf_policy_set *set;
    const struct dgf_yaml_node *fixtures;
    int64_t clock_ns;
    struct expectation *expected;
    size_t n_expected;
    struct unwanted *unwanted;
    size_t n_unwanted, cap_unwanted;
    struct dgf_buf failure; /* what is wrong so far, "; " between */
};

static const enum dgf_verdict verdicts[] = {DGF_VERDICT_VIOLATION, DGF_VERDICT_REVIEW,
                                            DGF_VERDICT_WAIVED, DGF_VERDICT_ERROR};
#define ANY_SEVERITY 5

DGF_PRINTF(2, 3) static void fail(struct testing *testing, const char *fmt, ...)
{
    char text[LINE_MAX_BYTES];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (testing->failure.len > 0)
        dgf_buf_add_str(&testing->failure, "; ");
    dgf_buf_add_str(&testing->failure, text);
}

/* All but the message. */
static bool fits(const struct expectation *expected,
                 const struct dgf_policy_ref *policy, enum dgf_verdict verdict)
{
    return expected->policy && strcmp(expected->policy, policy->id) == 0 &&
           verdicts[expected->verdict] == verdict &&
           (expected->severity == ANY_SEVERITY ||
            expected->severity == (int)policy->severity) &&
           expected->got < expected->times;
}

static void keep_unwanted(struct testing *testing,
                          const struct dgf_judgement *judgement)
{
    struct unwanted *list = dgf_policy_array_grow(
        testing->unwanted, testing->n_unwanted, &testing->cap_unwanted, sizeof(*list));
    char *message =
        dgf_strndup((const char *)judgement->message.ptr, judgement->message.len);

    if (list)
        testing->unwanted = list;
    if (!list || !message) {
        dgf_free(message);
        testing->running->nomem = true;
        return;
    }
    list[testing->n_unwanted++] =
        (struct unwanted){judgement->policy, judgement->verdict, message};
}

/* Judged by the same engine, so state a policy will keep one day is kept from
 * event to event. */
static void compare(struct testing *testing, const struct dgf_judgement *judgement)
{
    dgf_running_note(testing->running, &testing->running->fired, judgement->policy->id);
    for (size_t i = 0; i < testing->n_expected; i++) {
        struct expectation *expected = &testing->expected[i];

        if (fits(expected, judgement->policy, judgement->verdict) &&
            (!expected->message ||
             dgf_bytes_eq(dgf_bytes_str(expected->message), judgement->message))) {
            expected->got++;
            return;
        }
    }
    keep_unwanted(testing, judgement);
}

static void note_passes(struct testing *testing, const struct dgf_judged *judged)
{
    const struct dgf_policy_set *set = testing->set;

    /* which policies were evaluated is the engine's business: one that was not
     * silent did not pass, and a single one that watches did */
    if (judged->n_policies > 0)
        for (size_t i = 0; i < set->n_policies; i++)
            if (!dgf_running_judgement(judged, set->policies[i]->ref.id))
                dgf_running_note(testing->running, &testing->running->passed,
                                 set->policies[i]->ref.id);
}

static const struct dgf_yaml_node *fixture(struct testing *testing,
                                           const struct dgf_yaml_node *name)
{
    const struct dgf_yaml_node *node =
        testing->fixtures ? dgf_yaml_get(testing->fixtures, name->text) : NULL;
    const char *names[64], *near;
    size_t n = 0;

    if (node)
        return node;
    for (; testing->fixtures && n < testing->fixtures->n && n < DGF_ARRAY_LEN(names);
         n++)
        names[n] = testing->fixtures->keys[n]->text;
    near = dgf_nearest(name->text, names, n);
    if (near)
        dgf_yaml_finding(testing->doc, testing->running->findings, DGF_FINDING_ERROR,
                         "E0454", name, "there is no fixture '%s'; did you mean '%s'?",
                         name->text, near);
    else
        dgf_yaml_finding(testing->doc, testing->running->findings, DGF_FINDING_ERROR,
                         "E0454", name, "there is no fixture '%s'", name->text);
    return NULL;
}

static void run_event(struct testing *testing, struct dgf_engine *engine,
                      const struct dgf_yaml_node *node)
{
    DGF_CLEANUP(dgf_policy_event_free) struct dgf_policy_event *event = NULL;
    struct dgf_policy_event_defaults defaults = {.kind = DGF_KIND_CHANGE,
                                                 .op = -1,
                                                 .time_ns = testing->clock_ns,
                                                 .n = ++testing->running->n_events};
    const struct dgf_yaml_node *use = NULL, *base = NULL;
    struct dgf_judged judged;

    if (node->kind == DGF_YAML_MAP && dgf_yaml_get(node, "commit"))
        return; /* the end of a transaction: nothing to judge before `absence` */
    if (node->kind == DGF_YAML_STR) {
        node = fixture(testing, node);
        if (!node)
            return;
    } else if (node->kind == DGF_YAML_MAP && (use = dgf_yaml_get(node, "use"))) {
        base = use->text ? fixture(testing, use) : NULL;
        if (!base)
            return;
    }
    if (dgf_policy_event_make(testing->doc, node, base, &defaults,
                              testing->running->findings, &event))
        return;
    if (dgf_engine_judge(engine, event->event, &judged)) {
        testing->running->nomem = true;
        return;
    }
    for (size_t i = 0; i < judged.n; i++)
        compare(testing, &judged.list[i]);
    note_passes(testing, &judged);
}

static bool read_expectations(struct testing *testing, const struct dgf_yaml_node *node)
{
    struct dgf_findings *findings = testing->running->findings;
    size_t before = findings->n_errors;

    if (node->text && strcmp(node->text, "none") == 0)
        return true;
    if (node->kind != DGF_YAML_LIST) {
        dgf_yaml_finding(testing->doc, findings, DGF_FINDING_ERROR, "E0453", node,
                         "'expect' is %s; it must be a list of verdicts, or none",
                         dgf_yaml_kind_text(node->kind));
        return false;
    }
    testing->expected = dgf_calloc(node->n + 1, sizeof(*testing->expected));
    if (!testing->expected)
        return false;
    for (size_t i = 0; i < node->n; i++) {
        struct expectation *expected = &testing->expected[testing->n_expected++];

        dgf_opt_load(expect_opts, expected, testing->doc, node->items[i], "expect",
                     NULL, findings);
        if (expected->at)
            dgf_yaml_finding(
                testing->doc, findings, DGF_FINDING_ERROR, "E0410", expected->at,
                "'at' is not supported yet: times of windows come in a later "
                "version");
        if (expected->policy &&
            !dgf_map_get(&testing->set->by_id, dgf_bytes_str(expected->policy)))
            dgf_yaml_finding(
                testing->doc, findings, DGF_FINDING_ERROR, "E0455", node->items[i],
                "there is no policy '%s' in the files under test", expected->policy);
    }
    return findings->n_errors == before;
}

/* Messages show values as records do, which is not what a person expects first. */
static const char *masked_hint(const char *got, const char *expected)
{
    return (strstr(got, "***") && !strstr(expected, "***")) ||
                   (strstr(got, "h1:") && !strstr(expected, "h1:"))
               ? " (it hides what the class of a field hides: expect it so, or name a "
                 "readable class in 'classes')"
               : "";
}

static void tell_unwanted(struct testing *testing, const struct unwanted *unwanted)
{
    for (size_t i = 0; i < testing->n_expected; i++) {
        struct expectation *expected = &testing->expected[i];

        if (!fits(expected, unwanted->policy, unwanted->verdict))
            continue;
        expected->got++;
        fail(testing, "the message of %s is '%s', expected '%s'%s", expected->policy,
             unwanted->message, expected->message,
             masked_hint(unwanted->message, expected->message));
        return;
    }
    fail(testing, "unexpected %s of %s (%s): %s",
         unwanted->verdict == DGF_VERDICT_WAIVED ? "waived violation"
                                                 : dgf_verdict_text(unwanted->verdict),
         unwanted->policy->id, dgf_severity_text(unwanted->policy->severity),
         unwanted->message);
}

static void check_missing(struct testing *testing)
{
    for (size_t i = 0; i < testing->n_unwanted; i++)
        tell_unwanted(testing, &testing->unwanted[i]);
    for (size_t i = 0; i < testing->n_expected; i++) {
        const struct expectation *expected = &testing->expected[i];

        if (expected->got != expected->times)
            fail(testing, "expected %s of %s%s%s %lld times, got %lld",
                 dgf_verdict_text(verdicts[expected->verdict]), expected->policy,
                 expected->message ? ": " : "",
                 expected->message ? expected->message : "", (long long)expected->times,
                 (long long)expected->got);
    }
}

static void run_events(struct testing *testing, const struct test *test,
                       const struct dgf_yaml_node *node)
{
    size_t errors = testing->running->findings->n_errors;
    struct dgf_engine *engine = NULL;
    char name[256];

    if (dgf_engine_new(testing->set, &testing->running->masker, &engine, NULL)) {
        testing->running->nomem = true;
        return;
    }
    for (size_t i = 0; i < test->events->n; i++)
        run_event(testing, engine, test->events->items[i]);
    dgf_engine_free(engine);
    if (testing->running->findings->n_errors > errors)
        return;
    check_missing(testing);
    snprintf(name, sizeof(name), "test '%s'", test->name);
    dgf_running_tell(testing->running, testing->doc, node, "E0450", false, name,
                     testing->failure.len > 0 ? dgf_buf_str(&testing->failure) : NULL);
}

static void run_test(struct testing *testing, const struct dgf_yaml_node *node)
{
    struct dgf_findings *findings = testing->running->findings;
    struct test test = {.name = NULL};
    size_t errors = findings->n_errors;

    testing->n_expected = 0;
    testing->expected = NULL;
    dgf_buf_clear(&testing->failure);
    dgf_opt_load(test_opts, &test, testing->doc, node, "test", NULL, findings);
    if (test.generate)
        dgf_yaml_finding(
            testing->doc, findings, DGF_FINDING_ERROR, "E0409", test.generate,
            "'generate' is not supported yet: made series of events come in a "
            "later version");
    else if (!test.events || test.events->kind != DGF_YAML_LIST)
        dgf_yaml_finding(testing->doc, findings, DGF_FINDING_ERROR, "E0453",
                         test.events ? test.events : node,
                         "a test needs 'events', a list");
    if (findings->n_errors == errors && read_expectations(testing, test.expect))
        run_events(testing, &test, node);
    for (size_t i = 0; i < testing->n_expected; i++)
        dgf_opt_release(expect_opts, &testing->expected[i]);
    dgf_free(testing->expected);
    for (size_t i = 0; i < testing->n_unwanted; i++)
        dgf_free(testing->unwanted[i].message);
    testing->n_unwanted = 0;
    dgf_opt_release(test_opts, &test);
}

/* Policies are named relative to the test file. */
static char *beside(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash && name[0] != '/' ? (size_t)(slash - path) + 1 : 0;
    char *joined = dgf_malloc(len + strlen(name) + 1);

    if (joined) {
        memcpy(joined, path, len);
        memcpy(joined + len, name, strlen(name) + 1);
    }
    return joined;
}

static struct dgf_policy_set *load_beside(struct dgf_running *running, const char *path,
                                          const struct dgf_str_list *names)
{
    char **paths = dgf_calloc(names->n + 1, sizeof(*paths));
    struct dgf_policy_set *set = NULL;
    struct dgf_findings once;
    bool fine = paths != NULL;

    for (size_t i = 0; fine && i < names->n; i++)
        fine = (paths[i] = beside(path, names->list[i])) != NULL;
    dgf_findings_init(&once);
    /* what is only a warning was told when the files themselves were read */
    if (fine &&
        dgf_policy_set_load((const char *const *)paths, names->n, running->world, &once,
                            &set) &&
        dgf_policy_set_load((const char *const *)paths, names->n, running->world,
                            running->findings, &set))
        set = NULL;
    dgf_findings_release(&once);
    for (size_t i = 0; paths && i < names->n; i++)
        dgf_free(paths[i]);
    dgf_free(paths);
    return set;
}

static void run_root(struct dgf_running *running, const struct dgf_yaml *doc,
                     const struct dgf_yaml_node *root, const char *path)
{
    struct test_file file = {.clock = NULL};
    struct testing testing = {
        .running = running, .doc = doc, .clock_ns = EXAMPLE_TIME_NS};
    size_t errors = running->findings->n_errors;

    dgf_opt_load(test_file_opts, &file, doc, root, "test file", NULL,
                 running->findings);
    if (file.clock && !dgf_parse_time(dgf_bytes_str(file.clock), &testing.clock_ns))
        dgf_yaml_finding(doc, running->findings, DGF_FINDING_ERROR, "E0453",
                         dgf_yaml_get(root, "clock"),
                         "'clock' is not a time; example: 2026-03-02T09:00:00Z");
    if (file.tests && file.tests->kind != DGF_YAML_LIST)
        dgf_yaml_finding(doc, running->findings, DGF_FINDING_ERROR, "E0453", file.tests,
                         "'tests' is %s; it must be a list",
                         dgf_yaml_kind_text(file.tests->kind));
    testing.fixtures =
        file.fixtures && file.fixtures->kind == DGF_YAML_MAP ? file.fixtures : NULL;
    dgf_buf_init(&testing.failure, 64 * 1024);
    if (running->findings->n_errors == errors)
        testing.set = load_beside(running, path, &file.policies);
    for (size_t i = 0; testing.set && i < testing.set->n_policies; i++)
        if (testing.set->policies[i]->ref.mode != DGF_MODE_OFF)
            dgf_running_note(running, &running->ids, testing.set->policies[i]->ref.id);
    for (size_t i = 0; testing.set && i < file.tests->n && !running->nomem; i++)
        run_test(&testing, file.tests->items[i]);
    dgf_policy_set_unref(testing.set);
    dgf_free(testing.unwanted);
    dgf_buf_release(&testing.failure);
    dgf_opt_release(test_file_opts, &file);
}

static void run_test_file(struct dgf_running *running, const char *path)
{
    DGF_CLEANUP(dgf_yaml_free) struct dgf_yaml *doc = NULL;
    const struct dgf_yaml_node *root;

    if (dgf_yaml_load(path, running->findings, &doc))
        return;
    root = dgf_yaml_root(doc);
    if (root && root->kind == DGF_YAML_MAP)
        run_root(running, doc, root, path);
    else
        dgf_findings_add(
            running->findings, DGF_FINDING_ERROR, "E0453",
            (struct dgf_mark){.file = path, .line = 1, .col = 1, .len = 1},
            dgf_yaml_line(doc, 1),
            "a test file must be a map with 'version', 'policies' and 'tests'");
}

/* ---- all ---- */

static void gather(struct dgf_running *running, const struct dgf_map *seen,
                   struct dgf_str_list *ret)
{
    struct dgf_map_entry *entry;
    size_t n = running->ids.n;

    ret->list = dgf_calloc(n + 1, sizeof(*ret->list));
    for (size_t at = 0; ret->list && (entry = dgf_map_next(&running->ids, &at));) {
        if (dgf_map_get(seen, entry->key))
            continue;
        ret->list[ret->n] = dgf_strndup((const char *)entry->key.ptr, entry->key.len);
        ret->n += ret->list[ret->n] != NULL;
    }
}

static enum dgf_rc run_all(struct dgf_running *running,
                           const struct dgf_str_list *files,
                           const struct dgf_str_list *test_files)
{
    struct dgf_policy_set *set = NULL;

    if (files->n > 0) {
        enum dgf_rc rc = dgf_policy_set_load((const char *const *)files->list, files->n,
                                             running->world, running->findings, &set);

        if (rc)
            return rc;
    }
    for (size_t i = 0; i < files->n && !running->nomem; i++)
        dgf_running_examples(running, set, files->list[i]);
    dgf_policy_set_unref(set);
    for (size_t i = 0; i < test_files->n && !running->nomem; i++)
        run_test_file(running, test_files->list[i]);
    gather(running, &running->fired, &running->tests->never_fired);
    gather(running, &running->passed, &running->tests->never_passed);
    return running->nomem ? DGF_NOMEM : DGF_OK;
}

enum dgf_rc dgf_policy_tests_run(const char *const *paths, size_t n_paths,
                                 const struct dgf_policy_world *world,
                                 struct dgf_findings *findings,
                                 struct dgf_policy_tests *tests)
{
    static const uint8_t key[DGF_TOKEN_KEY_BYTES];
    struct dgf_running running = {.tests = tests, .world = world, .findings = findings};
    struct dgf_str_list files = {.list = NULL}, test_files = {.list = NULL};
    enum dgf_rc rc = dgf_policy_files(paths, n_paths, false, findings, &files);

    dgf_masker_init(&running.masker, key, 0);
    dgf_map_init(&running.fired);
    dgf_map_init(&running.passed);
    dgf_map_init(&running.ids);
    if (!rc)
        rc = dgf_policy_files(paths, n_paths, true, findings, &test_files);
    if (!rc)
        rc = run_all(&running, &files, &test_files);
    if (!rc && findings->n_errors > tests->n_failed)
        rc = DGF_BAD_CONFIG;
    dgf_policy_files_release(&files);
    dgf_policy_files_release(&test_files);
    dgf_map_release(&running.fired, NULL);
    dgf_map_release(&running.passed, NULL);
    dgf_map_release(&running.ids, NULL);
    dgf_masker_release(&running.masker);
    return rc;
}

void dgf_policy_tests_release(struct dgf_policy_tests *tests)
{
    dgf_policy_files_release(&tests->never_fired);
    dgf_policy_files_release(&tests->never_passed);
}
