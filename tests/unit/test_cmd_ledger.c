#include "settings.h"

#include "ledger_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "bus/record.h"
#include "cmd.h"
#include "cmd_ledger.h"
#include "cmd_ledger_write.h"
#include "ledger/verify.h"

/* The command with a folder never needs a configuration; without one it asks. */
static struct dgf_settings settings;

enum dgf_rc dgf_settings_load(const char *path, struct dgf_findings *findings,
                              struct dgf_settings **ret)
{
    (void)path;
    (void)findings;
    settings.agent.data_dir = dir;
    *ret = &settings;
    return DGF_OK;
}

void dgf_settings_free(struct dgf_settings *given)
{
    (void)given;
}

int dgf_report_findings(const struct dgf_findings *findings)
{
    (void)findings;
    return DGF_EXIT_CONFIG;
}

/* What reads a container has tests with one (test_blob_archive.py). */
bool ledger_is_container(const char *where)
{
    (void)where;
    return false;
}

int ledger_use_sink(const struct dgf_settings *given, const char *name)
{
    (void)given;
    (void)name;
    return DGF_EXIT_CANNOT;
}

void ledger_use_log(const char *log_id)
{
    (void)log_id;
}

enum dgf_rc ledger_open_container(const char *where, struct dgf_store **ret,
                                  struct dgf_err *e)
{
    (void)ret;
    return dgf_err_set(e, DGF_FATAL, "'%s' is no container", where);
}

/* What writes has tests with a whole agent. */
bool ledger_write(const struct dgf_args *args, int *ret_exit)
{
    (void)args;
    (void)ret_exit;
    return false;
}

static char out[1 << 20], complaint[4096];

static void read_back(FILE *file, char *to, size_t size)
{
    size_t n;

    rewind(file);
    n = fread(to, 1, size - 1, file);
    to[n] = '\0';
    ck_assert_int_eq(fclose(file), 0);
}

/* Runs `dgf ledger ...`; out and complaint are what it printed. */
static int run(const char *const *words)
{
    int n = 0, exit_code, stdout_fd = dup(STDOUT_FILENO),
        stderr_fd = dup(STDERR_FILENO);
    FILE *to = tmpfile(), *to_err = tmpfile();
    char *argv[16];

    while (words[n]) {
        argv[n] = (char *)(uintptr_t)words[n];
        n++;
    }
    argv[n] = NULL;
    (void)fflush(stdout);
    ck_assert(dup2(fileno(to), STDOUT_FILENO) >= 0 &&
              dup2(fileno(to_err), STDERR_FILENO) >= 0);
    exit_code = dgf_cmd_ledger(n, argv);
    (void)fflush(stdout);
    ck_assert(dup2(stdout_fd, STDOUT_FILENO) >= 0 &&
              dup2(stderr_fd, STDERR_FILENO) >= 0);
    (void)close(stdout_fd);
    (void)close(stderr_fd);
    read_back(to, out, sizeof(out));
    read_back(to_err, complaint, sizeof(complaint));
    return exit_code;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

#define RUN(...) run((const char *const[]){"ledger", __VA_ARGS__, NULL})

/* A record of an hour of 2026-03-02, not committed. */
static void put(enum dgf_record_kind kind, const char *policy, const char *source,
                int hour)
{
    struct dgf_record r = {
        .kind = kind,
        .verdict = DGF_VERDICT_PASS,
        .time_ns = 1772409600000000000 + hour * 3600000000000,
        .policy = dgf_bytes_str(policy),
        .source = dgf_bytes_str(source),
    };
    struct dgf_buf header;
    char line[64];

    (void)snprintf(line, sizeof(line), "{\"v\":1,\"seq\":%d}",
                   (int)dgf_ledger_next_index(ledger));
    dgf_buf_init(&header, 1000);
    dgf_record_put_header(&r, &header);
    ck_assert_int_eq(
        dgf_batch_leaf(batch(), dgf_buf_bytes(&header), dgf_bytes_str(line), NULL),
        DGF_OK);
    dgf_buf_release(&header);
}

/* The same, committed alone. */
static void record(enum dgf_record_kind kind, const char *policy, const char *source,
                   int hour)
{
    put(kind, policy, source, hour);
    position("orders", "1/0/16B3748.3", (uint64_t)hour);
    commit();
}

static void four_records(void)
{
    fresh();
    record(DGF_RECORD_RESUME, "", "", 1);
    record(DGF_RECORD_VIOLATION, "CARD-001", "orders", 2);
    record(DGF_RECORD_AUDIT, "", "orders", 3);
    record(DGF_RECORD_VIOLATION, "SOX-7", "books", 4);
}

START_TEST(cat_prints_the_lines_unchanged)
{
    four_records();
    ck_assert_int_eq(RUN("cat", dir), 0);
    ck_assert_str_eq(out,
                     "{\"v\":1,\"seq\":0}\n{\"v\":1,\"seq\":1}\n{\"v\":1,\"seq\":2}\n"
                     "{\"v\":1,\"seq\":3}\n");
    ck_assert_int_eq(RUN("cat"), 0); /* the folder of the configuration */
    ck_assert_uint_eq(strlen(out), 4 * 16);
    done();
}
END_TEST

struct filter {
    const char *words[5], *seqs;
};

START_TEST(cat_gives_only_what_was_asked_for)
{
    static const struct filter filters[] = {
        {{"--kind", "violation"}, "13"},
        {{"--kind=audit,resume"}, "02"},
        {{"--policy", "CARD-001"}, "1"},
        {{"--policy", "SOX-*"}, "3"},
        {{"--source", "orders"}, "12"},
        {{"--since", "2"}, "23"},
        {{"--until", "2"}, "01"},
        {{"--since", "2026-03-02T02:00:00Z"}, "123"},
        {{"--until", "2026-03-02T02:00:00Z"}, "0"},
        {{"--since", "2026-03-02T02:00:00Z", "--until", "2026-03-02T04:00:00Z"}, "12"},
        {{"--since=1", "--kind=violation", "--source=books"}, "3"},
        {{"--since=99"}, ""},
    };

    four_records();
    for (size_t i = 0; i < DGF_ARRAY_LEN(filters); i++) {
        const char *words[10] = {"ledger", "cat", dir};
        char seqs[16] = "";

        for (int k = 0; k < 5; k++)
            words[3 + k] = filters[i].words[k];
        ck_assert_int_eq(run(words), 0);
        for (const char *c = out; (c = strstr(c, "\"seq\":")); c++)
            (void)snprintf(seqs + strlen(seqs), 2, "%c", c[6]);
        ck_assert_msg(strcmp(seqs, filters[i].seqs) == 0, "%s %s: %s", words[3],
                      words[4] ? words[4] : "", seqs);
    }
    done();
}
END_TEST

START_TEST(cat_says_which_names_there_are_when_the_one_asked_for_is_not)
{
    four_records();
    ck_assert_int_eq(RUN("cat", dir, "--source", "order"), 0);
    ck_assert_str_eq(out, "");
    ck_assert_str_eq(complaint, "dgf ledger: no record of source 'order'; there are "
                                "records of orders, books\n");
    ck_assert_int_eq(RUN("cat", dir, "--policy", "CARD-01", "--source", "books"), 0);
    ck_assert_str_eq(complaint, "dgf ledger: no record of policy 'CARD-01'; there are "
                                "records of CARD-001, SOX-7\n");
    ck_assert_int_eq(RUN("cat", dir, "--policy", "CARD-001", "--kind", "gap"), 0);
    ck_assert_str_eq(complaint, ""); /* it is there, and has no gaps */
    ck_assert_int_eq(RUN("cat", dir, "--until", "1", "--policy", "CARD-001"), 0);
    ck_assert_str_eq(complaint, "dgf ledger: no record of policy 'CARD-001'; the "
                                "records that were read name none\n");
    done();
}
END_TEST

START_TEST(stats_say_what_there_is)
{
    char expected[1000];
    uint64_t bytes;

    four_records();
    bytes = dgf_ledger_bytes(ledger);
    ck_assert_int_eq(RUN("stats", dir, "--format", "json"), 0);
    ck_assert_uint_ge(strlen(out), 64);
    (void)snprintf(expected, sizeof(expected),
                   "{\"log_id\":\"%s\",\"size\":4,\"root\":\"%.64s\","
                   "\"first\":0,\"batches\":4,\"bytes\":%" PRIu64
                   ",\"sources\":{\"orders\":\"1/0/16B3748.3\"}}\n",
                   dgf_ledger_log_id_text(ledger), strstr(out, "root") + 7, bytes);
    ck_assert_str_eq(out, expected);
    ck_assert_int_eq(RUN("stats", dir), 0);
    ck_assert(strstr(out, "records  4\n") &&
              strstr(out, "source   orders at 1/0/16B3748.3\n"));
    done();
}
END_TEST

START_TEST(ls_lists_the_segments)
{
    char expected[500];

    four_records();
    ck_assert_int_eq(RUN("ls", dir, "--format=json"), 0);
    (void)snprintf(expected, sizeof(expected),
                   "[{\"segment\":\"0.j\",\"first\":0,\"last\":3,\"bytes\":%" PRIu64
                   "}]\n",
                   dgf_ledger_bytes(ledger));
    ck_assert_str_eq(out, expected);
    fresh();
    ck_assert_int_eq(RUN("ls", dir, "--format=json"), 0);
    ck_assert(strstr(out, "\"last\":null") != NULL);
    ck_assert_int_eq(RUN("ls", dir), 0);
    (void)snprintf(expected, sizeof(expected),
                   "%-24s %20s %20s %14s\n%-24s %20d %20s %14d\n", "segment", "first",
                   "last", "bytes", "0.j", 0, "-", (int)dgf_ledger_bytes(ledger));
    ck_assert_str_eq(out, expected);
    done();
}
END_TEST

START_TEST(verify_says_ok_and_that_nothing_anchors_it)
{
    four_records();
    ck_assert_int_eq(RUN("verify", dir), 0);
    ck_assert(begins(out, "ok (local journal, not anchored)\nsize 4\nroot "));
    ck_assert_int_eq(RUN("verify", dir, "--format", "json"), 0);
    ck_assert(begins(
        out,
        "{\"result\":\"ok\",\"class\":null,\"index\":null,\"size\":4,\"root\":\""));
    ck_assert_str_eq(out + strlen(out) - 32, "\",\"anchored\":false,\"text\":null}\n");
    done();
}
END_TEST

START_TEST(verify_ends_with_1_and_the_index_when_a_bit_is_flipped)
{
    four_records();
    close_ledger();
    flip_bit(0, segment_size(0) / 2, 3);
    ck_assert_int_eq(RUN("verify", dir), 1);
    ck_assert(begins(out, "tampered: "));
    ck_assert_int_eq(RUN("verify", dir, "--format=json"), 1);
    ck_assert(begins(out, "{\"result\":\"tampered\",\"class\":\""));
    ck_assert(strstr(complaint, "is damaged at byte") != NULL);
    done();
}
END_TEST

START_TEST(all_of_it_works_after_kill_9)
{
    uint64_t size;

    four_records();
    size = segment_size(0);
    close_ledger();
    cut_file_to(0, size - 20); /* the last batch was not finished */
    ck_assert_int_eq(RUN("cat", dir), 0);
    ck_assert_uint_eq(strlen(out), 3 * 16);
    ck_assert_int_eq(RUN("stats", dir, "--format=json"), 0);
    ck_assert(strstr(out, "\"size\":3,") != NULL);
    ck_assert_int_eq(RUN("verify", dir), 0);
    ck_assert(strstr(out, " bytes of an unfinished batch follow\n") != NULL);
    done();
}
END_TEST

/* An agent at work until it is killed: batches, segments, pruning.  It says
 * when it has pruned for the first time. */
static _Noreturn void write_for_ever(int said)
{
    struct pollfd fd = {.events = POLLIN};
    bool first = true;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    reopen();
    fd.fd = dgf_ledger_fd(ledger);
    for (;;) {
        for (int i = 0; i < 10; i++)
            put(DGF_RECORD_AUDIT, "", "orders", 1);
        ck_assert_int_eq(dgf_ledger_hand_over(ledger, &err), DGF_OK);
        do {
            (void)poll(&fd, 1, 1000);
            ck_assert_msg(dgf_ledger_poll(ledger, &news, &err) == DGF_OK, "%s",
                          err.text);
            dgf_ledger_release(ledger, news.next_index);
            if (news.prune_before) {
                ck_assert_int_eq(dgf_batch_prune(batch(), news.prune_before), DGF_OK);
                if (first)
                    ck_assert_int_eq(write(said, "p", 1), 1);
                first = false;
            }
        } while (!news.idle);
    }
}

/* Whatever cat printed, as far as it is kept, is a row of records without a hole. */
static uint64_t count_lines(void)
{
    uint64_t n = 0, last = 0;

    for (const char *line = out, *end; (end = strchr(line, '\n')); line = end + 1) {
        uint64_t seq;

        ck_assert_int_eq(sscanf(line, "{\"v\":1,\"seq\":%" SCNu64 "}\n", &seq), 1);
        ck_assert(n == 0 || seq == last + 1);
        last = seq;
        n++;
    }
    return n;
}

START_TEST(all_of_it_works_beside_an_agent_that_writes_and_prunes)
{
    uint64_t n_read = 0;
    int said[2];
    char word;
    pid_t pid;

    fresh();
    conf.threaded = true;
    conf.segment_bytes = 16384;
    conf.journal_bytes = 256 << 10;
    conf.keep_ns = INT64_MAX;
    close_ledger();
    ck_assert_int_eq(pipe(said), 0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        write_for_ever(said[1]);
    ck_assert_int_eq(read(said[0], &word, 1), 1);
    for (int round = 0; round < 30; round++) {
        int exit_code;

        if (round == 25) { /* the last rounds read what kill -9 left */
            ck_assert_int_eq(kill(pid, SIGKILL), 0);
            ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        }
        exit_code = RUN("verify", dir);
        ck_assert_msg(exit_code == 0, "%s%s", out, complaint);
        ck_assert(begins(out, "ok (local journal, not anchored)\n"));
        exit_code = RUN("stats", dir, "--format=json");
        ck_assert_msg(exit_code == 0, "%s%s", out, complaint);
        exit_code = RUN("ls", dir);
        ck_assert_msg(exit_code == 0, "%s%s", out, complaint);
        exit_code = RUN("cat", dir);
        ck_assert_msg(exit_code == 0 || strstr(complaint, "were pruned before"), "%s",
                      complaint);
        n_read += count_lines();
    }
    ck_assert_uint_gt(n_read, 1000);
    ck_assert(close(said[0]) == 0 && close(said[1]) == 0);
    done();
}
END_TEST

START_TEST(records_that_were_pruned_are_named)
{
    char expected[200];
    uint64_t before;

    fresh();
    conf.segment_bytes = 4096;
    reopen();
    for (int i = 0; i < 100; i++)
        record(DGF_RECORD_AUDIT, "", "orders", 1);
    dgf_ledger_release(ledger, 100);
    ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_OK);
    before = news.prune_before;
    ck_assert_int_eq(dgf_batch_prune(batch(), before), DGF_OK);
    commit();
    ck_assert_int_eq(RUN("cat", dir), 0);
    ck_assert_uint_eq(count_lines(), 100 - before);
    ck_assert_str_eq(complaint, "");
    ck_assert_int_eq(RUN("cat", dir, "--since=1"), 0);
    (void)snprintf(expected, sizeof(expected),
                   "dgf ledger: records before %" PRIu64 " were pruned\n", before);
    ck_assert_str_eq(complaint, expected);
    ck_assert_int_eq(RUN("verify", dir), 0);
    (void)snprintf(expected, sizeof(expected),
                   "\npruned: records before %" PRIu64 " are not here\n", before);
    ck_assert(strstr(out, expected) != NULL);
    done();
}
END_TEST

START_TEST(verify_ends_with_2_when_a_segment_is_missing)
{
    struct dgf_ledger_summary summary;

    fresh();
    conf.segment_bytes = 4096;
    reopen();
    for (int i = 0; i < 100; i++)
        record(DGF_RECORD_AUDIT, "", "orders", 1);
    ck_assert_int_eq(dgf_ledger_summarize(dir, &summary, &err), DGF_OK);
    close_ledger();
    ck_assert_int_eq(unlink(segment_path(summary.parts[1].first)), 0);
    dgf_ledger_summary_release(&summary);
    ck_assert_int_eq(RUN("verify", dir), 2);
    ck_assert(begins(out, "incomplete: missing at index "));
    ck_assert_int_eq(RUN("verify", dir, "--format=json"), 2);
    ck_assert(
        begins(out, "{\"result\":\"incomplete\",\"class\":\"missing\",\"index\":"));
    done();
}
END_TEST

struct misuse {
    const char *words[5], *complaint;
};

START_TEST(what_is_wrong_with_a_call_is_said)
{
#define SEE "; see 'dgf help ledger'\n"
    static const struct misuse misuses[] = {
        {{NULL},
         "dgf ledger: what to do? ls, cat, stats, verify, prove, check-proof, "
         "consistency, export, recover, key or rotate-key" SEE},
        {{"veryfy"}, "dgf ledger: cannot 'veryfy'; did you mean 'verify'?" SEE},
        {{"frobnicate"},
         "dgf ledger: cannot 'frobnicate': it is ls, cat, stats, verify, prove, "
         "check-proof, consistency, export, recover, key or rotate-key" SEE},
        {{"ls", "a", "b"}, "dgf ledger: one folder, container or sink at a time" SEE},
        {{"cat", "a", "--since", "noon"},
         "dgf ledger: --since must be an index or a time like "
         "2026-03-02T09:00:00Z" SEE},
        {{"cat", "a", "--kind", "violation,foo"}, "dgf ledger: unknown kind 'foo'" SEE},
        {{"cat", "a", "--kind", "violatoin"},
         "dgf ledger: unknown kind 'violatoin'; did you mean 'violation'?" SEE},
        {{"ls", "a", "--format", "xml"},
         "dgf ledger: --format must be human or json" SEE},
        {{"verify", "a", "--kind", "gap"}, "dgf ledger: --kind is for cat export" SEE},
        {{"prove"}, "dgf ledger: prove needs a record: its index or its id" SEE},
        {{"consistency", "a"}, "dgf ledger: consistency needs two checkpoints" SEE},
        {{"ls", "a", "--csv"}, "dgf ledger: --csv is for export" SEE},
        {{"check-proof", "a"},
         "dgf ledger: check-proof needs the log's key: --key" SEE},
        {{"ls", "a", "--data-dir", "b"},
         "dgf ledger: one folder, container or sink at a time" SEE},
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(misuses); i++) {
        const char *words[8] = {"ledger"};

        for (int k = 0; k < 5; k++)
            words[1 + k] = misuses[i].words[k];
        ck_assert_int_eq(run(words), DGF_EXIT_USAGE);
        ck_assert_str_eq(complaint, misuses[i].complaint);
        ck_assert_str_eq(out, "");
    }
    ck_assert_int_eq(RUN("verify", "/nowhere"), DGF_EXIT_CANNOT);
    ck_assert_str_eq(complaint, "dgf ledger: no journal in '/nowhere'\n");
    ck_assert_int_eq(RUN("cat", "/nowhere"), DGF_EXIT_CANNOT);
    ck_assert_int_eq(RUN("stats", "/nowhere"), DGF_EXIT_CANNOT);
    ck_assert_str_eq(complaint, "dgf ledger: no journal in '/nowhere'\n");
}
END_TEST

DGF_UNIT(cmd_ledger, cat_prints_the_lines_unchanged, cat_gives_only_what_was_asked_for,
         cat_says_which_names_there_are_when_the_one_asked_for_is_not,
         stats_say_what_there_is, ls_lists_the_segments,
         verify_says_ok_and_that_nothing_anchors_it,
         verify_ends_with_1_and_the_index_when_a_bit_is_flipped,
         all_of_it_works_after_kill_9,
         all_of_it_works_beside_an_agent_that_writes_and_prunes,
         records_that_were_pruned_are_named,
         verify_ends_with_2_when_a_segment_is_missing,
         what_is_wrong_with_a_call_is_said)
