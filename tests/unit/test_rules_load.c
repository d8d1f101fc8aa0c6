/* Files as half an editor leaves them, and what a set says of itself. */
#include <dirent.h>
#include <string.h>

#include "base/file.h"
#include "engine.h"
#include "unit.h"

#define T0 1772442000000000000 /* 2026-03-02T09:00:00Z */

static const struct dgf_policy_world world = {.now_ns = T0};

static void path_of(const char *folder, const char *name, char *ret, size_t size)
{
    const char *srcdir = getenv("srcdir");

    (void)snprintf(ret, size, "%s/%s/%s", srcdir ? srcdir : ".", folder, name);
}

/* A set or findings, never both, never neither; every place is in the text. */
static void read_once(struct dgf_bytes text)
{
    struct dgf_policy_set *set = NULL;
    struct dgf_findings findings;
    enum dgf_rc rc;

    dgf_findings_init(&findings);
    rc = dgf_policy_set_parse("p.yaml", text, &world, &findings, &set);
    if (rc == DGF_OK) {
        ck_assert_ptr_nonnull(set);
        ck_assert_uint_eq(findings.n_errors, 0);
    } else {
        ck_assert_int_eq(rc, DGF_BAD_CONFIG);
        ck_assert_ptr_null(set);
        ck_assert_uint_gt(findings.n_errors, 0);
    }
    for (size_t i = 0; i < findings.n; i++) {
        ck_assert_uint_le(findings.list[i].mark.line, text.len + 2);
        ck_assert_str_ne(findings.list[i].text, "");
    }
    dgf_policy_set_unref(set);
    dgf_findings_release(&findings);
}

static unsigned cut_all(const char *folder)
{
    char path[4096];
    struct dirent *entry;
    unsigned n = 0;
    DIR *dir;

    path_of(folder, "", path, sizeof(path));
    dir = opendir(path);
    ck_assert_msg(dir != NULL, "no folder %s", path);
    while ((entry = readdir(dir))) {
        const char *end = strrchr(entry->d_name, '.');
        struct dgf_buf text;
        struct dgf_err err;
        size_t step;

        if (!end || strcmp(end, ".yaml") != 0)
            continue;
        path_of(folder, entry->d_name, path, sizeof(path));
        dgf_buf_init(&text, 1 << 20);
        ck_assert_int_eq(dgf_file_slurp(path, 1 << 20, &text, &err), DGF_OK);
        step = text.len > 2000 ? 37 : 1; /* long ones repeat themselves */
        for (size_t len = 0; len <= text.len; len += step, n++) {
            /* of its own size, so that a sanitizer sees one byte too many */
            uint8_t *copy = malloc(len ? len : 1);

            ck_assert_ptr_nonnull(copy);
            memcpy(copy, text.ptr, len);
            read_once(dgf_bytes_of(copy, len));
            free(copy);
        }
        dgf_buf_release(&text);
    }
    closedir(dir);
    return n;
}

START_TEST(a_policy_file_cut_at_any_byte_loads_or_says_why_not)
{
    ck_assert_uint_gt(cut_all("tests/data/bad_policies"), 10000);
    ck_assert_uint_gt(cut_all("contrib/examples"), 300);
}
END_TEST

static struct dgf_policy_set *load(const char *text)
{
    struct dgf_policy_set *set = NULL;
    struct dgf_findings findings;

    dgf_findings_init(&findings);
    if (dgf_policy_set_parse("p.yaml", dgf_bytes_str(text), &world, &findings, &set))
        ck_abort_msg("%s", findings.list[0].text);
    dgf_findings_release(&findings);
    return set;
}

#define ONE(id, when)                                                                  \
    "  - {id: " id ", title: t, severity: low, watch: {objects: ['**']}, when: '" when \
    "'}\n"

START_TEST(the_difference_of_two_sets_names_policies)
{
    DGF_CLEANUP(dgf_policy_set_unref)
    struct dgf_policy_set *old_set = load("version: 1\npolicies:\n" ONE("A", "true")
                                              ONE("B", "true") ONE("C", "true"));
    DGF_CLEANUP(dgf_policy_set_unref)
    struct dgf_policy_set *new_set = load("version: 1\npolicies:\n" ONE("D", "true")
                                              ONE("B", "false") ONE("C", "true"));
    struct dgf_buf out;
    char expected[512];

    dgf_buf_init(&out, 64 * 1024);
    dgf_policy_set_diff(old_set, new_set, &out);
    (void)snprintf(expected, sizeof(expected),
                   "{\"old\":\"%s\",\"new\":\"%s\",\"added\":[\"D\"],\"removed\":"
                   "[\"A\"],\"changed\":[\"B\"]}",
                   dgf_policy_set_digest(old_set), dgf_policy_set_digest(new_set));
    ck_assert_str_eq(dgf_buf_str(&out), expected);
    ck_assert_uint_eq(dgf_policy_set_count(new_set), 3);
    dgf_buf_release(&out);
}
END_TEST

START_TEST(layout_changes_the_digest_of_a_file_but_no_policy)
{
    DGF_CLEANUP(dgf_policy_set_unref)
    struct dgf_policy_set *old_set = load("version: 1\npolicies:\n" ONE("A", "true"));
    DGF_CLEANUP(dgf_policy_set_unref)
    struct dgf_policy_set *new_set =
        load("# A comment\nversion: 1\npolicies:\n\n" ONE("A", "true"));
    struct dgf_buf out;

    dgf_buf_init(&out, 64 * 1024);
    dgf_policy_set_diff(old_set, new_set, &out);
    ck_assert_ptr_nonnull(
        strstr(dgf_buf_str(&out), "\"added\":[],\"removed\":[],\"changed\":[]"));
    ck_assert_str_ne(dgf_policy_set_digest(old_set), dgf_policy_set_digest(new_set));
    ck_assert_int_eq(strncmp(dgf_policy_set_digest(old_set), "sha256:", 7), 0);
    dgf_buf_release(&out);
}
END_TEST

DGF_UNIT(rules_load, a_policy_file_cut_at_any_byte_loads_or_says_why_not,
         the_difference_of_two_sets_names_policies,
         layout_changes_the_digest_of_a_file_but_no_policy)
