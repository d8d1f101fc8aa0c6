#include "ledger_fixture.h"

#include <poll.h>
#include <sys/resource.h>
#include <signal.h>

START_TEST(a_new_ledger_has_an_id_of_its_own_and_no_leaf)
{
    char first[DGF_LOG_ID_TEXT_LEN + 1];

    fresh();
    ck_assert(dgf_ledger_was_new(ledger));
    ck_assert_uint_eq(dgf_ledger_next_index(ledger), 0);
    ck_assert_uint_eq(strlen(dgf_ledger_log_id_text(ledger)), 32);
    memcpy(first, dgf_ledger_log_id_text(ledger), sizeof(first));
    reopen();
    ck_assert_str_eq(dgf_ledger_log_id_text(ledger), first);
    ck_assert(dgf_ledger_was_new(ledger));
    append_batch("{}");
    reopen();
    ck_assert(!dgf_ledger_was_new(ledger));
    ck_assert_str_eq(dgf_ledger_log_id_text(ledger), first);
    fresh();
    ck_assert_str_ne(dgf_ledger_log_id_text(ledger), first);
    done();
}
END_TEST

START_TEST(leaves_get_gapless_indices_also_across_a_restart)
{
    fresh();
    ck_assert_uint_eq(leaf("one"), 0);
    ck_assert_uint_eq(leaf("two"), 1);
    commit();
    ck_assert_uint_eq(news.batch_no, 1);
    ck_assert_uint_eq(news.next_index, 2);
    ck_assert_uint_eq(leaf("three"), 2);
    commit();
    reopen();
    ck_assert_uint_eq(dgf_ledger_next_index(ledger), 3);
    ck_assert_uint_eq(leaf("four"), 3);
    done();
}
END_TEST

START_TEST(a_batch_that_was_not_handed_over_never_happened)
{
    fresh();
    append_batch("one");
    leaf("two");
    state("key", "value");
    position("pg", "0/1", 1);
    reopen();
    ck_assert_uint_eq(dgf_ledger_next_index(ledger), 1);
    ck_assert_ptr_null(state_of("key"));
    ck_assert_ptr_null(dgf_ledger_position(ledger, 0));
    done();
}
END_TEST

START_TEST(a_batch_handed_over_is_not_durable_before_it_is_written)
{
    fresh();
    leaf("one");
    ck_assert_int_eq(dgf_ledger_hand_over(ledger, &err), DGF_OK);
    ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_OK);
    ck_assert(!news.durable && !news.idle);
    ck_assert_uint_eq(news.next_index, 0);
    ck_assert_int_eq(dgf_ledger_step(ledger, &err), DGF_OK);
    ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_OK);
    ck_assert(news.durable && news.idle);
    ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_OK);
    ck_assert(!news.durable && news.idle);
    done();
}
END_TEST

START_TEST(one_batch_collects_while_another_is_written)
{
    fresh();
    leaf("one");
    ck_assert_int_eq(dgf_ledger_hand_over(ledger, &err), DGF_OK);
    ck_assert_uint_eq(leaf("two"), 1);
    ck_assert_int_eq(dgf_ledger_hand_over(ledger, &err), DGF_AGAIN);
    ck_assert_int_eq(dgf_ledger_step(ledger, &err), DGF_OK);
    ck_assert_int_eq(dgf_ledger_hand_over(ledger, &err), DGF_AGAIN);
    ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_OK);
    ck_assert_uint_eq(news.next_index, 1);
    commit();
    ck_assert_uint_eq(news.next_index, 2);
    done();
}
END_TEST

START_TEST(an_empty_batch_is_not_handed_over)
{
    fresh();
    ck_assert(dgf_batch_empty(batch()));
    ck_assert_int_eq(dgf_ledger_hand_over(ledger, &err), DGF_AGAIN);
    ck_assert_int_eq(dgf_ledger_step(ledger, &err), DGF_AGAIN);
    done();
}
END_TEST

START_TEST(only_positions_and_cursors_are_not_urgent)
{
    fresh();
    position("pg", "0/1", 1);
    ck_assert_int_eq(dgf_batch_cursor(batch(), DGF_BYTES("kafka"), DGF_BYTES("7")),
                     DGF_OK);
    ck_assert(!dgf_batch_empty(batch()) && !dgf_batch_is_urgent(batch()));
    state("key", "value");
    ck_assert(dgf_batch_is_urgent(batch()) && !dgf_batch_has_leaves(batch()));
    leaf("{}");
    ck_assert(dgf_batch_has_leaves(batch()));
    done();
}
END_TEST

START_TEST(what_breaks_a_cap_is_refused)
{
    static uint8_t big[DGF_LEDGER_VALUE_MAX + 1];
    struct dgf_bytes ok = DGF_BYTES("ok");

    fresh();
    ck_assert_int_eq(dgf_batch_leaf(batch(), ok, dgf_bytes_of(big, 1), NULL),
                     DGF_NOMEM);
    ck_assert_int_eq(dgf_batch_leaf(batch(), ok, dgf_bytes_of(big, 65536), NULL),
                     DGF_NOMEM);
    ck_assert_int_eq(dgf_batch_leaf(batch(), dgf_bytes_of(big, 65536), ok, NULL),
                     DGF_NOMEM);
    ck_assert_int_eq(dgf_batch_state(batch(), dgf_bytes_of(big, 4097), ok), DGF_NOMEM);
    ck_assert_int_eq(dgf_batch_state(batch(), ok, dgf_bytes_of(big, sizeof(big))),
                     DGF_NOMEM);
    ck_assert_int_eq(dgf_batch_cursor(batch(), dgf_bytes_of(big, 4097), ok), DGF_NOMEM);
    ck_assert(dgf_batch_empty(batch()));
    ck_assert_int_eq(dgf_batch_leaf(batch(), dgf_bytes_of(big, 65535),
                                    dgf_bytes_of(big, 65535), NULL),
                     DGF_OK);
    commit();
    reopen();
    ck_assert_uint_eq(dgf_ledger_next_index(ledger), 1);
    done();
}
END_TEST

START_TEST(a_full_batch_says_so_and_refuses_more_at_its_limit)
{
    static uint8_t line[65535];
    int n = 0;

    fresh();
    conf.batch_bytes = 100000;
    reopen();
    leaf("{}");
    ck_assert(!dgf_batch_full(batch()));
    while (dgf_batch_leaf(batch(), DGF_BYTES(""), dgf_bytes_of(line, sizeof(line)),
                          NULL) == DGF_OK)
        n++;
    ck_assert(dgf_batch_full(batch()));
    ck_assert_int_eq(n, (4 << 20) / (65535 + 11));
    commit();
    ck_assert_uint_eq(dgf_batch_bytes(batch()), 0);
    done();
}
END_TEST

START_TEST(the_last_position_of_a_source_wins_and_every_commit_carries_all)
{
    const struct dgf_ledger_position *p;

    fresh();
    position("pg", "0/1", 1);
    position("redis", "1-0", 5);
    commit();
    position("pg", "0/2", 2);
    position("pg", "0/3", 3);
    leaf("{}");
    commit();
    reopen();
    p = dgf_ledger_find_position(ledger, DGF_BYTES("pg"));
    ck_assert_ptr_nonnull(p);
    ck_assert(dgf_bytes_eq(p->position, DGF_BYTES("0/3")));
    ck_assert(dgf_bytes_eq(p->text, DGF_BYTES("0/3")));
    ck_assert(dgf_bytes_eq(p->counters, DGF_BYTES("n")));
    ck_assert_uint_eq(p->seq, 3);
    p = dgf_ledger_find_position(ledger, DGF_BYTES("redis"));
    ck_assert_uint_eq(p->seq, 5);
    ck_assert_ptr_null(dgf_ledger_position(ledger, 2));
    ck_assert_int_eq(dgf_batch_position_forget(batch(), DGF_BYTES("redis")), DGF_OK);
    commit();
    reopen();
    ck_assert_ptr_null(dgf_ledger_find_position(ledger, DGF_BYTES("redis")));
    ck_assert_ptr_nonnull(dgf_ledger_find_position(ledger, DGF_BYTES("pg")));
    done();
}
END_TEST

START_TEST(cursors_cut_and_policy_set_survive_a_restart_and_a_rotation)
{
    uint8_t digest[DGF_SHA256_LEN];
    const struct dgf_ledger_cursor *c;

    memset(digest, 7, sizeof(digest));
    fresh();
    conf.segment_bytes = 4096;
    reopen();
    ck_assert_int_eq(dgf_batch_cursor(batch(), DGF_BYTES("kafka"), DGF_BYTES("1")),
                     DGF_OK);
    ck_assert_int_eq(dgf_batch_cursor(batch(), DGF_BYTES("file"), DGF_BYTES("x")),
                     DGF_OK);
    ck_assert_int_eq(dgf_batch_cut(batch(), 12), DGF_OK);
    dgf_batch_policy_set(batch(), digest);
    position("pg", "0/9", 9);
    commit();
    for (int pass = 0; pass < 2; pass++) {
        ck_assert_int_eq(dgf_batch_cursor(batch(), DGF_BYTES("kafka"), DGF_BYTES("22")),
                         DGF_OK);
        commit();
        reopen();
        c = dgf_ledger_find_cursor(ledger, DGF_BYTES("kafka"));
        ck_assert(c && dgf_bytes_eq(c->value, DGF_BYTES("22")));
        c = dgf_ledger_find_cursor(ledger, DGF_BYTES("file"));
        ck_assert(c && dgf_bytes_eq(c->value, DGF_BYTES("x")));
        ck_assert_uint_eq(dgf_ledger_archive_cut(ledger), 12);
        ck_assert_mem_eq(dgf_ledger_policy_set(ledger), digest, sizeof(digest));
        ck_assert_uint_eq(dgf_ledger_find_position(ledger, DGF_BYTES("pg"))->seq, 9);
        for (int i = 0; i < 100; i++)
            append_batch(
                "a line that fills the segment until a new one begins ........");
    }
    ck_assert(access(segment_path(0), F_OK) == 0);
    ck_assert_uint_gt(dgf_ledger_bytes(ledger), segment_size(0));
    done();
}
END_TEST

START_TEST(state_is_read_back_before_it_is_written_while_and_after)
{
    fresh();
    state("a", "1");
    state("b", "1");
    ck_assert_str_eq(state_of("a"), "1");
    ck_assert_int_eq(dgf_ledger_hand_over(ledger, &err), DGF_OK);
    state("a", "2");
    state("b", NULL);
    state("c", "");
    ck_assert_str_eq(state_of("a"), "2");
    ck_assert_ptr_null(state_of("b"));
    ck_assert_str_eq(state_of("c"), "");
    ck_assert_int_eq(dgf_ledger_step(ledger, &err), DGF_OK);
    ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_OK);
    ck_assert_str_eq(state_of("a"), "2");
    ck_assert_ptr_null(state_of("b"));
    reopen();
    ck_assert_str_eq(state_of("a"), "1"); /* the second batch was never handed over */
    ck_assert_str_eq(state_of("b"), "1");
    ck_assert_ptr_null(state_of("c"));
    done();
}
END_TEST

static char seen[256];

static enum dgf_rc note_state(void *ctx, struct dgf_bytes key, struct dgf_bytes value)
{
    size_t n = strlen(seen);

    (void)ctx;
    (void)snprintf(seen + n, sizeof(seen) - n, "%.*s=%.*s ", (int)key.len,
                   (const char *)key.ptr, (int)value.len, (const char *)value.ptr);
    return DGF_OK;
}

START_TEST(each_key_with_a_prefix_is_visited_once_with_its_newest_value)
{
    fresh();
    state("w/1", "a");
    state("w/2", "a");
    state("w/3", "a");
    state("x/1", "a");
    commit();
    state("w/2", "b");
    state("w/4", "b");
    ck_assert_int_eq(dgf_ledger_hand_over(ledger, &err), DGF_OK);
    state("w/1", NULL);
    state("w/4", "c");
    seen[0] = '\0';
    ck_assert_int_eq(
        dgf_ledger_state_each(ledger, DGF_BYTES("w/"), note_state, NULL, &err), DGF_OK);
    ck_assert_str_eq(seen, "w/3=a w/2=b w/4=c ");
    done();
}
END_TEST

START_TEST(state_db_is_rebuilt_from_the_journal_when_it_is_lost)
{
    char path[128];

    fresh();
    state("a", "1");
    commit();
    state("a", "2");
    state("b", "3");
    commit();
    close_ledger();
    (void)snprintf(path, sizeof(path), "%s/state.db", dir);
    ck_assert_int_eq(unlink(path), 0);
    reopen();
    ck_assert_str_eq(state_of("a"), "2");
    ck_assert_str_eq(state_of("b"), "3");
    done();
}
END_TEST

/* Copies state.db aside, or back. */
static void copy_state(const char *from, const char *to)
{
    char one[128], other[128];

    (void)snprintf(one, sizeof(one), "%s/%s", dir, from);
    (void)snprintf(other, sizeof(other), "%s/%s", dir, to);
    copy_file(one, other);
}

START_TEST(an_old_state_db_is_brought_up_to_date_across_segments)
{
    fresh();
    conf.segment_bytes = 4096;
    reopen();
    state("a", "1");
    state("gone", "1");
    commit();
    close_ledger();
    copy_state("state.db", "old.db");
    reopen();
    for (int i = 0; i < 200; i++) {
        char value[32];

        (void)snprintf(value, sizeof(value), "%d", i);
        state("a", value);
        append_batch("a line that fills the segment until a new one begins ........");
    }
    state("gone", NULL);
    commit();
    ck_assert_uint_lt(segment_size(0), dgf_ledger_bytes(ledger) / 3);
    close_ledger();
    copy_state("old.db", "state.db");
    reopen();
    ck_assert_str_eq(state_of("a"), "199");
    ck_assert_ptr_null(state_of("gone"));
    done();
}
END_TEST

START_TEST(a_second_process_is_told_who_owns_the_directory)
{
    char expected[256];
    struct dgf_ledger *second;

    fresh();
    (void)snprintf(expected, sizeof(expected),
                   "cannot use data directory '%s': another agent owns it, process %d",
                   dir, (int)getpid());
    ck_assert_int_eq(dgf_ledger_open(&conf, &second, &cut, &err), DGF_AGAIN);
    ck_assert_str_eq(err.text, expected);
    done();
}
END_TEST

START_TEST(released_segments_are_announced_and_go_with_their_record)
{
    uint64_t before;

    fresh();
    conf.segment_bytes = 4096;
    reopen();
    for (int i = 0; i < 100; i++)
        append_batch("a line that fills the segment until a new one begins ........");
    ck_assert_uint_eq(news.prune_before, 0);
    dgf_ledger_release(ledger, 100);
    ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_OK);
    before = news.prune_before;
    ck_assert_uint_gt(before, 50);
    ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_OK);
    ck_assert_uint_eq(news.prune_before, 0); /* said once */
    ck_assert_uint_eq(dgf_ledger_first_index(ledger), 0);
    leaf("{\"pruned\":true}");
    ck_assert_int_eq(dgf_batch_prune(batch(), before), DGF_OK);
    commit();
    ck_assert_uint_eq(dgf_ledger_first_index(ledger), before);
    ck_assert(access(segment_path(0), F_OK) != 0);
    ck_assert(access(segment_path(before), F_OK) == 0);
    reopen();
    ck_assert_uint_eq(dgf_ledger_first_index(ledger), before);
    ck_assert_uint_eq(dgf_ledger_next_index(ledger), 101);
    done();
}
END_TEST

START_TEST(segments_stay_while_they_are_needed_or_young_and_the_budget_allows)
{
    fresh();
    conf.segment_bytes = 4096;
    conf.keep_ns = INT64_MAX / 2;
    conf.journal_bytes = 1 << 30;
    reopen();
    for (int i = 0; i < 100; i++)
        append_batch("a line that fills the segment until a new one begins ........");
    dgf_ledger_release(ledger, 100);
    ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_OK);
    ck_assert_uint_eq(news.prune_before, 0);
    ck_assert(!dgf_ledger_over_budget(ledger));
    conf.journal_bytes = 8192;
    reopen();
    ck_assert(dgf_ledger_over_budget(ledger));
    ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_OK);
    ck_assert_uint_eq(news.prune_before, 0);
    dgf_ledger_release(ledger, 100);
    ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_OK);
    ck_assert_uint_gt(news.prune_before, 0);
    ck_assert_int_eq(dgf_batch_prune(batch(), news.prune_before), DGF_OK);
    commit();
    ck_assert(!dgf_ledger_over_budget(ledger));
    done();
}
END_TEST

START_TEST(segments_larger_than_the_budget_do_not_stop_it_for_ever)
{
    fresh();
    conf.segment_bytes = 1 << 20;
    conf.journal_bytes = 64 << 10;
    reopen();
    for (uint64_t i = 0; i < 2000; i++) {
        append_batch("a line that fills the segment until a new one begins ........");
        dgf_ledger_release(ledger, i + 1);
        ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_OK);
        if (news.prune_before > 0) {
            ck_assert_int_eq(dgf_batch_prune(batch(), news.prune_before), DGF_OK);
            commit();
        }
        ck_assert(!dgf_ledger_over_budget(ledger));
    }
    done();
}
END_TEST

START_TEST(a_pruned_journal_without_its_state_db_is_refused)
{
    char path[128], expected[512];
    uint64_t first;

    fresh();
    conf.segment_bytes = 4096;
    reopen();
    state("key", "value");
    for (int i = 0; i < 60; i++)
        append_batch("a line that fills the segment until a new one begins ........");
    dgf_ledger_release(ledger, 60);
    ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_OK);
    ck_assert_int_eq(dgf_batch_prune(batch(), news.prune_before), DGF_OK);
    commit();
    reopen();
    ck_assert_str_eq(state_of("key"), "value");
    first = dgf_ledger_first_index(ledger);
    close_ledger();
    (void)snprintf(path, sizeof(path), "%s/state.db", dir);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(try_open(), DGF_FATAL);
    (void)snprintf(
        expected, sizeof(expected),
        "'%s' is missing and cannot be rebuilt: the journal was pruned and begins "
        "behind batch %" PRIu64,
        path, first); /* one leaf a batch: the numbers are the same */
    ck_assert_str_eq(err.text, expected);
    done();
}
END_TEST

/* Everything below with the ledger's own thread. */
static void wait_for(uint64_t batch_no)
{
    struct pollfd fd = {.fd = dgf_ledger_fd(ledger), .events = POLLIN};

    for (;;) {
        ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_OK);
        if (news.batch_no >= batch_no && news.idle)
            return;
        ck_assert_int_eq(poll(&fd, 1, 20000), 1);
    }
}

START_TEST(its_own_thread_makes_batches_durable_while_the_loop_goes_on)
{
    uint64_t n = 0, handed = 0;

    fresh();
    conf.threaded = true;
    conf.segment_bytes = 65536;
    reopen();
    while (n < 20000) {
        char key[32];

        leaf("a line of some length, so that segments end now and then ..........");
        (void)snprintf(key, sizeof(key), "key %d", (int)(n % 97));
        state(key, "value");
        position("pg", key, ++n);
        ck_assert_str_eq(state_of(key), "value");
        ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_OK);
        if (news.idle) {
            ck_assert_int_eq(dgf_ledger_hand_over(ledger, &err), DGF_OK);
            handed++;
        }
    }
    wait_for(handed);
    if (!dgf_batch_empty(batch())) {
        ck_assert_int_eq(dgf_ledger_hand_over(ledger, &err), DGF_OK);
        wait_for(handed + 1);
    }
    ck_assert_uint_eq(news.next_index, n);
    reopen();
    ck_assert_uint_eq(dgf_ledger_next_index(ledger), n);
    ck_assert_uint_eq(dgf_ledger_position(ledger, 0)->seq, n);
    done();
}
END_TEST

START_TEST(a_batch_handed_over_is_finished_when_the_ledger_is_freed)
{
    fresh();
    conf.threaded = true;
    reopen();
    leaf("{}");
    ck_assert_int_eq(dgf_ledger_hand_over(ledger, &err), DGF_OK);
    reopen();
    ck_assert_uint_eq(dgf_ledger_next_index(ledger), 1);
    done();
}
END_TEST

START_TEST(a_path_that_cannot_be_made_is_a_persons_to_mend)
{
    struct dgf_ledger *none;

    conf = (struct dgf_ledger_conf){.dir = "/proc/nowhere/ledger"};
    ck_assert_int_eq(dgf_ledger_open(&conf, &none, &cut, &err), DGF_BAD_CONFIG);
    ck_assert_str_eq(
        err.text,
        "cannot create folder '/proc/nowhere/ledger': No such file or directory");
}
END_TEST

START_TEST(a_failed_write_ends_the_ledger_for_good)
{
    struct rlimit limit = {4096, RLIM_INFINITY};
    static uint8_t line[8000];
    char expected[DGF_ERR_TEXT_MAX];

    fresh();
    append_batch("one");
    ck_assert_int_eq(
        dgf_batch_leaf(batch(), DGF_BYTES(""), dgf_bytes_of(line, sizeof(line)), NULL),
        DGF_OK);
    ck_assert_int_eq(dgf_ledger_hand_over(ledger, &err), DGF_OK);
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_int_eq(dgf_ledger_step(ledger, &err), DGF_FATAL);
    ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_FATAL);
    (void)snprintf(expected, sizeof(expected), "%s", err.text);
    ck_assert_int_eq(dgf_ledger_step(ledger, &err), DGF_FATAL);
    ck_assert_str_eq(err.text, expected);
    ck_assert_msg(strstr(err.text, "0.j': File too large") != NULL, "%s", err.text);
    limit.rlim_cur = RLIM_INFINITY;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    reopen();
    ck_assert_uint_eq(dgf_ledger_next_index(ledger), 1);
    done();
}
END_TEST

DGF_UNIT(ledger, a_new_ledger_has_an_id_of_its_own_and_no_leaf,
         leaves_get_gapless_indices_also_across_a_restart,
         a_batch_that_was_not_handed_over_never_happened,
         a_batch_handed_over_is_not_durable_before_it_is_written,
         one_batch_collects_while_another_is_written, an_empty_batch_is_not_handed_over,
         only_positions_and_cursors_are_not_urgent, what_breaks_a_cap_is_refused,
         a_full_batch_says_so_and_refuses_more_at_its_limit,
         the_last_position_of_a_source_wins_and_every_commit_carries_all,
         cursors_cut_and_policy_set_survive_a_restart_and_a_rotation,
         state_is_read_back_before_it_is_written_while_and_after,
         each_key_with_a_prefix_is_visited_once_with_its_newest_value,
         state_db_is_rebuilt_from_the_journal_when_it_is_lost,
         an_old_state_db_is_brought_up_to_date_across_segments,
         a_second_process_is_told_who_owns_the_directory,
         released_segments_are_announced_and_go_with_their_record,
         segments_larger_than_the_budget_do_not_stop_it_for_ever,
         segments_stay_while_they_are_needed_or_young_and_the_budget_allows,
         a_pruned_journal_without_its_state_db_is_refused,
         its_own_thread_makes_batches_durable_while_the_loop_goes_on,
         a_batch_handed_over_is_finished_when_the_ledger_is_freed,
         a_path_that_cannot_be_made_is_a_persons_to_mend,
         a_failed_write_ends_the_ledger_for_good)
