#include "pg_position.h"

#include "base/mem.h"
#include "unit.h"

static const struct dgf_pg_position after = {
    .system = 7, .timeline = 2, .end_lsn = 0x16b374d848, .options = 9};
static const struct dgf_pg_position inside = {.system = 7,
                                              .timeline = 2,
                                              .commit_lsn = 0x16b374d848,
                                              .ordinal = 3,
                                              .messages = 1,
                                              .options = 9};

/* A server that has the position, and a slot that waits there. */
static struct dgf_pg_server good(void)
{
    return (struct dgf_pg_server){.system = 7,
                                  .timeline = 2,
                                  .flush_lsn = 0x1700000000,
                                  .slot_exists = true,
                                  .restart_lsn = 0x1600000000,
                                  .confirmed_lsn = 0x16b374d848};
}

START_TEST(a_position_comes_back_whole)
{
    uint8_t bytes[DGF_PG_POSITION_BYTES];
    struct dgf_pg_position back;

    dgf_pg_position_write(&inside, bytes);
    ck_assert(dgf_pg_position_read(dgf_bytes_of(bytes, sizeof(bytes)), &back));
    ck_assert(back.system == 7 && back.timeline == 2 && back.end_lsn == 0);
    ck_assert(back.commit_lsn == inside.commit_lsn && back.ordinal == 3);
    ck_assert(back.messages == 1 && back.options == 9 && !back.no_slot);
}
END_TEST

START_TEST(other_bytes_are_no_position)
{
    uint8_t bytes[DGF_PG_POSITION_BYTES + 1] = {0};
    struct dgf_pg_position back;

    dgf_pg_position_write(&after, bytes);
    ck_assert(!dgf_pg_position_read(dgf_bytes_of(bytes, sizeof(bytes)), &back));
    ck_assert(!dgf_pg_position_read(dgf_bytes_of(bytes, sizeof(bytes) - 2), &back));
    bytes[0] = 2;
    ck_assert(!dgf_pg_position_read(dgf_bytes_of(bytes, sizeof(bytes) - 1), &back));
    bytes[0] = 1;
    bytes[1] = 2;
    ck_assert(!dgf_pg_position_read(dgf_bytes_of(bytes, sizeof(bytes) - 1), &back));
}
END_TEST

static void text_is(const struct dgf_pg_position *position, const char *wanted)
{
    uint8_t bytes[DGF_PG_POSITION_BYTES];
    struct dgf_buf text;

    dgf_buf_init(&text, 256);
    dgf_pg_position_write(position, bytes);
    dgf_pg_position_text(dgf_bytes_of(bytes, sizeof(bytes)), &text);
    ck_assert_str_eq(dgf_buf_str(&text), wanted);
    dgf_buf_release(&text);
}

START_TEST(people_read_timeline_lsn_and_ordinal)
{
    text_is(&after, "2/16/B374D848.0");
    text_is(&inside, "2/16/B374D848.3");
}
END_TEST

START_TEST(what_people_read_can_be_read_back)
{
    static const char *const bad[] = {"",
                                      "1",
                                      "1/0/16",
                                      "1/0.3",
                                      "/0/16.0",
                                      "x/0/16.0",
                                      "0/0/16.0",
                                      "1/0/G.0",
                                      "1/0/16.",
                                      "1/0/16.x",
                                      "1/0/16.0 ",
                                      ".1/0/16",
                                      "1/0/123456789.0",
                                      "4294967296/0/16.0",
                                      "1/00000000000000000000000000000/16.0"};
    struct dgf_pg_position position;

    ck_assert(dgf_pg_position_parse("3/16/B374D848.0", &position));
    ck_assert_uint_eq(position.timeline, 3);
    ck_assert_uint_eq(position.end_lsn, 0x16b374d848);
    ck_assert_uint_eq(position.commit_lsn, 0);
    ck_assert(dgf_pg_position_parse("1/FFFFFFFF/FFFFFFFF.17", &position));
    ck_assert_uint_eq(position.commit_lsn, UINT64_MAX);
    ck_assert_uint_eq(position.ordinal, 17);
    for (size_t i = 0; i < DGF_ARRAY_LEN(bad); i++)
        ck_assert_msg(!dgf_pg_position_parse(bad[i], &position), "%s", bad[i]);
}
END_TEST

START_TEST(an_lsn_is_two_numbers_in_hex)
{
    static const char *const bad[] = {
        "", "/", "1", "1/", "/1", "123456789/0", "0/123456789", "1/G", "-1/0", "1/0/0"};
    uint64_t lsn;

    ck_assert(dgf_pg_lsn_parse("16/B374D848", &lsn) && lsn == 0x16b374d848);
    ck_assert(dgf_pg_lsn_parse("0/0", &lsn) && lsn == 0);
    ck_assert(dgf_pg_lsn_parse("FFFFFFFF/FFFFFFFF", &lsn) && lsn == UINT64_MAX);
    for (size_t i = 0; i < DGF_ARRAY_LEN(bad); i++)
        ck_assert_msg(!dgf_pg_lsn_parse(bad[i], &lsn), "'%s' was taken", bad[i]);
}
END_TEST

START_TEST(a_history_says_where_a_timeline_was_left)
{
    struct dgf_bytes history =
        DGF_BYTES("# a comment\n1\t0/A0000A0\tno recovery target\n"
                  "\n2\t16/B374D848\tbefore 2026-03-02\n");

    ck_assert_uint_eq(dgf_pg_history_left(history, 1), 0xa0000a0);
    ck_assert_uint_eq(dgf_pg_history_left(history, 2), 0x16b374d848);
    ck_assert_uint_eq(dgf_pg_history_left(history, 3), 0);
    ck_assert_uint_eq(dgf_pg_history_left((struct dgf_bytes){0}, 1), 0);
}
END_TEST

START_TEST(a_slot_that_waits_at_the_position_is_gone_on_from)
{
    struct dgf_pg_server server = good();
    struct dgf_pg_plan plan = dgf_pg_plan_of(&after, &server, true);

    ck_assert(plan.gap < 0 && plan.action == DGF_PG_START && plan.from_position);
    ck_assert_uint_eq(plan.start_lsn, after.end_lsn);
    plan = dgf_pg_plan_of(&inside, &server, true);
    ck_assert(plan.gap < 0 && plan.from_position);
    ck_assert_uint_eq(plan.start_lsn, inside.commit_lsn);
    /* Confirmed less than we hold: our last confirmation was lost, no more. */
    server.confirmed_lsn = 0x1600000000;
    plan = dgf_pg_plan_of(&after, &server, true);
    ck_assert(plan.gap < 0 && plan.start_lsn == after.end_lsn);
}
END_TEST

static struct dgf_pg_server changed(const char *what)
{
    struct dgf_pg_server server = good();

    if (strcmp(what, "system") == 0)
        server.system = 8;
    else if (strcmp(what, "timeline") == 0)
        server.timeline = 3;
    else if (strcmp(what, "left before") == 0)
        server.timeline = 3, server.left_lsn = 0x1600000000;
    else if (strcmp(what, "behind") == 0)
        server.flush_lsn = 0x1600000000;
    else if (strcmp(what, "missing") == 0)
        server.slot_exists = false;
    else if (strcmp(what, "lost") == 0)
        server.slot_lost = true;
    else if (strcmp(what, "ahead") == 0)
        server.confirmed_lsn++;
    else if (strcmp(what, "recreated") == 0)
        server.confirmed_lsn = server.restart_lsn = 0x16c0000000;
    return server;
}

START_TEST(every_loss_is_named_and_acted_on)
{
    static const struct {
        const char *what;
        enum dgf_gap gap;
        enum dgf_pg_action action;
        bool anew;
    } table[] = {
        {"system", DGF_GAP_SYSTEM_CHANGED, DGF_PG_START, true},
        {"timeline", DGF_GAP_TIMELINE_SWITCHED, DGF_PG_START, false},
        {"left before", DGF_GAP_TIMELINE_SWITCHED, DGF_PG_START, false},
        {"behind", DGF_GAP_HISTORY_LOST, DGF_PG_START, false},
        {"missing", DGF_GAP_SLOT_MISSING, DGF_PG_CREATE_SLOT, false},
        {"lost", DGF_GAP_SLOT_LOST, DGF_PG_RECREATE_SLOT, false},
        {"ahead", DGF_GAP_SLOT_AHEAD, DGF_PG_START, false},
        {"recreated", DGF_GAP_SLOT_RECREATED, DGF_PG_START, false},
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(table); i++) {
        struct dgf_pg_server server = changed(table[i].what);
        struct dgf_pg_plan plan = dgf_pg_plan_of(&after, &server, true);

        ck_assert_msg(plan.gap == (int)table[i].gap, "%s: gap %d", table[i].what,
                      plan.gap);
        ck_assert_msg(plan.action == table[i].action, "%s: action", table[i].what);
        ck_assert_msg(plan.anew == table[i].anew, "%s: anew", table[i].what);
        ck_assert(!plan.from_position);
        if (plan.action == DGF_PG_START)
            ck_assert_uint_eq(plan.start_lsn, server.confirmed_lsn);
    }
}
END_TEST

START_TEST(a_promoted_server_that_has_our_position_is_gone_on_from)
{
    struct dgf_pg_server server = good();
    struct dgf_pg_plan plan;

    server.timeline = 3;
    server.left_lsn = after.end_lsn; /* left exactly there: everything is in it */
    plan = dgf_pg_plan_of(&after, &server, true);
    ck_assert(plan.gap < 0 && plan.from_position);
}
END_TEST

START_TEST(a_first_start_begins_anew)
{
    struct dgf_pg_server server = good();
    struct dgf_pg_position about = {.system = 7, .timeline = 2, .no_slot = true};
    struct dgf_pg_plan plan = dgf_pg_plan_of(NULL, &server, true);

    /* Our own slot is there, but what we knew is not. */
    ck_assert(plan.gap == DGF_GAP_STATE_LOST && plan.anew);
    /* A slot that was handed to us is no loss. */
    plan = dgf_pg_plan_of(NULL, &server, false);
    ck_assert(plan.gap < 0 && plan.anew && plan.start_lsn == server.confirmed_lsn);
    /* A crash between writing down the intention and the first position. */
    plan = dgf_pg_plan_of(&about, &server, true);
    ck_assert(plan.gap < 0 && plan.anew && plan.action == DGF_PG_START);
    server.slot_exists = false;
    plan = dgf_pg_plan_of(NULL, &server, true);
    ck_assert(plan.gap < 0 && plan.anew && plan.action == DGF_PG_CREATE_SLOT);
}
END_TEST

DGF_UNIT(pg_position, a_position_comes_back_whole, other_bytes_are_no_position,
         people_read_timeline_lsn_and_ordinal, what_people_read_can_be_read_back,
         an_lsn_is_two_numbers_in_hex, a_history_says_where_a_timeline_was_left,
         a_slot_that_waits_at_the_position_is_gone_on_from,
         every_loss_is_named_and_acted_on,
         a_promoted_server_that_has_our_position_is_gone_on_from,
         a_first_start_begins_anew)
