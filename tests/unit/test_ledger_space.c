/* Linked with --wrap for the calls below: a disk that fills up and fails. */
#include "ledger_fixture.h"

#include <poll.h>

#include "ledger/state_db.h"

enum dgf_rc __real_dgf_file_reserve(struct dgf_file *file, uint64_t offset,
                                    uint64_t len, struct dgf_err *e);
enum dgf_rc __wrap_dgf_file_reserve(struct dgf_file *file, uint64_t offset,
                                    uint64_t len, struct dgf_err *e);
enum dgf_rc __real_dgf_file_sync(struct dgf_file *file, struct dgf_err *e);
enum dgf_rc __wrap_dgf_file_sync(struct dgf_file *file, struct dgf_err *e);
enum dgf_rc __real_dgf_state_db_begin(struct dgf_state_db *db, struct dgf_err *e);
enum dgf_rc __wrap_dgf_state_db_begin(struct dgf_state_db *db, struct dgf_err *e);

static _Atomic uint64_t space = UINT64_MAX; /* what a reservation may ask for at most */
static _Atomic int fail_syncs, n_syncs;
static bool state_db_full;

enum dgf_rc __wrap_dgf_file_reserve(struct dgf_file *file, uint64_t offset,
                                    uint64_t len, struct dgf_err *e)
{
    if (len > space)
        return dgf_err_set(e, DGF_AGAIN, "cannot reserve space: no space left");
    return __real_dgf_file_reserve(file, offset, len, e);
}

enum dgf_rc __wrap_dgf_file_sync(struct dgf_file *file, struct dgf_err *e)
{
    n_syncs++;
    if (fail_syncs)
        return dgf_err_set(e, DGF_FATAL, "cannot sync '0.j': Input/output error");
    return __real_dgf_file_sync(file, e);
}

enum dgf_rc __wrap_dgf_state_db_begin(struct dgf_state_db *db, struct dgf_err *e)
{
    return state_db_full ? dgf_err_set(e, DGF_AGAIN, "cannot write 'state.db': full")
                         : __real_dgf_state_db_begin(db, e);
}

/* A step that finds no space, and what poll says then. */
static void step_without_space(void)
{
    ck_assert_int_eq(dgf_ledger_step(ledger, &err), DGF_AGAIN);
    ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_OK);
    ck_assert(news.no_space && !news.idle);
    ck_assert_int_eq(dgf_ledger_hand_over(ledger, &err), DGF_AGAIN);
}

static void step_with_space(void)
{
    ck_assert_msg(dgf_ledger_step(ledger, &err) == DGF_OK, "%s", err.text);
    ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_OK);
    ck_assert(!news.no_space && news.idle);
}

/* So much that the space reserved ahead does not do. */
static void large_leaves(void)
{
    static uint8_t line[60000];

    memset(line, 'x', sizeof(line));
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(dgf_batch_leaf(batch(), DGF_BYTES(""),
                                        dgf_bytes_of(line, sizeof(line)), NULL),
                         DGF_OK);
}

START_TEST(a_batch_waits_for_space_and_goes_on_by_itself)
{
    fresh();
    append_batch("one");
    large_leaves();
    space = 1000;
    ck_assert_int_eq(dgf_ledger_hand_over(ledger, &err), DGF_OK);
    step_without_space();
    step_without_space();
    ck_assert(!news.durable);
    ck_assert_uint_eq(news.next_index, 1);
    ck_assert_uint_eq(leaf("meanwhile"), 11);
    space = UINT64_MAX;
    step_with_space();
    ck_assert_uint_eq(news.next_index, 11);
    commit();
    reopen();
    ck_assert_uint_eq(dgf_ledger_next_index(ledger), 12);
    done();
}
END_TEST

START_TEST(space_for_the_batch_is_enough_even_when_there_is_none_to_go_ahead)
{
    fresh();
    large_leaves();
    space = 700000; /* the batch has 600,200 bytes; 131,072 more would be ahead */
    commit();
    ck_assert_uint_eq(news.next_index, 10);
    done();
}
END_TEST

START_TEST(the_thread_looks_for_space_again_and_wakes_the_loop)
{
    struct pollfd fd = {.events = POLLIN};
    bool waited = false;

    fresh();
    conf.threaded = true;
    reopen();
    large_leaves();
    space = 1000;
    ck_assert_int_eq(dgf_ledger_hand_over(ledger, &err), DGF_OK);
    fd.fd = dgf_ledger_fd(ledger);
    do {
        ck_assert_int_eq(poll(&fd, 1, 20000), 1);
        ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_OK);
        waited = waited || news.no_space;
        if (news.no_space)
            space = UINT64_MAX;
    } while (!news.durable);
    ck_assert(waited);
    ck_assert_uint_eq(news.next_index, 10);
    done();
}
END_TEST

START_TEST(a_new_segment_waits_for_space_behind_a_batch_that_is_durable)
{
    fresh();
    conf.segment_bytes = 4096;
    reopen();
    large_leaves();
    ck_assert_int_eq(dgf_ledger_hand_over(ledger, &err), DGF_OK);
    /* enough for the batch, which goes into what is reserved, not for a head */
    space = 700000;
    state_db_full = true;
    step_without_space();
    ck_assert(news.durable);
    ck_assert_uint_eq(news.next_index, 10);
    state_db_full = false;
    space = 10;
    step_without_space();
    ck_assert(access(segment_path(10), F_OK) != 0);
    space = UINT64_MAX;
    step_with_space();
    ck_assert(access(segment_path(10), F_OK) == 0);
    reopen();
    ck_assert_uint_eq(dgf_ledger_next_index(ledger), 10);
    done();
}
END_TEST

START_TEST(state_db_waits_for_space_while_its_batch_is_durable)
{
    fresh();
    state("key", "1");
    state_db_full = true;
    ck_assert_int_eq(dgf_ledger_hand_over(ledger, &err), DGF_OK);
    step_without_space();
    ck_assert(news.durable);
    ck_assert_str_eq(state_of("key"), "1");
    state("key", "2");
    ck_assert_str_eq(state_of("key"), "2");
    state_db_full = false;
    step_with_space();
    ck_assert(!news.durable); /* was said before */
    reopen();
    ck_assert_str_eq(state_of("key"), "1");
    done();
}
END_TEST

START_TEST(a_start_without_space_can_be_tried_again)
{
    fresh();
    close_ledger();
    remove_folder();
    space = 10;
    ck_assert_int_eq(try_open(), DGF_RETRY);
    ck_assert_str_eq(err.text, "cannot reserve space: no space left");
    space = UINT64_MAX;
    ck_assert_int_eq(try_open(), DGF_OK);
    state_db_full = true;
    state("key", "1");
    ck_assert_int_eq(dgf_ledger_hand_over(ledger, &err), DGF_OK);
    step_without_space();
    close_ledger(); /* durable, and not in state.db */
    ck_assert_int_eq(try_open(), DGF_RETRY);
    ck_assert_str_eq(err.text, "cannot write 'state.db': full");
    state_db_full = false;
    reopen();
    ck_assert_str_eq(state_of("key"), "1");
    done();
}
END_TEST

START_TEST(a_sync_that_failed_is_never_tried_again)
{
    int before;

    for (int threaded = 0; threaded < 2; threaded++) {
        struct pollfd fd = {.events = POLLIN};

        fresh();
        conf.threaded = threaded;
        reopen();
        leaf("one");
        fail_syncs = 1;
        before = n_syncs;
        ck_assert_int_eq(dgf_ledger_hand_over(ledger, &err), DGF_OK);
        fd.fd = dgf_ledger_fd(ledger);
        if (threaded)
            ck_assert_int_eq(poll(&fd, 1, 20000), 1);
        else
            ck_assert_int_eq(dgf_ledger_step(ledger, &err), DGF_FATAL);
        err.text[0] = '\0';
        ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_FATAL);
        ck_assert_str_eq(err.text, "cannot sync '0.j': Input/output error");
        fail_syncs = 0;
        ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_FATAL);
        ck_assert_int_eq(dgf_ledger_hand_over(ledger, &err), DGF_AGAIN);
        close_ledger();
        ck_assert_int_eq(n_syncs, before + 1);
        done();
    }
}
END_TEST

DGF_UNIT(ledger_space, a_batch_waits_for_space_and_goes_on_by_itself,
         space_for_the_batch_is_enough_even_when_there_is_none_to_go_ahead,
         the_thread_looks_for_space_again_and_wakes_the_loop,
         a_new_segment_waits_for_space_behind_a_batch_that_is_durable,
         state_db_waits_for_space_while_its_batch_is_durable,
         a_start_without_space_can_be_tried_again,
         a_sync_that_failed_is_never_tried_again)
