#include "redis_memory.h"

#include "unit.h"

static struct dgf_redis_memory memory;
static struct dgf_redis_facts facts;

/* 100 entries were read: 1-1 to 100-1; the newest ten are marked. */
static void begin(void)
{
    memory = (struct dgf_redis_memory){.epoch = 1,
                                       .last = {100, 1},
                                       .added = 100,
                                       .added_known = true,
                                       .verified = {100, 1},
                                       .n_marks = 10};
    for (uint32_t i = 0; i < 10; i++)
        memory.marks[i] = (struct dgf_redis_mark){{91 + i, 1}, 1000 + i};
    facts = (struct dgf_redis_facts){
        .length = 100, .added = 100, .last = {100, 1}, .first = {1, 1}};
}

START_TEST(what_is_remembered_comes_back_whole)
{
    struct dgf_redis_memory back;
    struct dgf_buf buf;

    begin();
    ck_assert(dgf_redis_memory_claim(&memory, (struct dgf_redis_id){7, 8}));
    ck_assert(dgf_redis_memory_claim(&memory, (struct dgf_redis_id){9, 8}));
    dgf_redis_memory_unclaim(&memory, (struct dgf_redis_id){7, 8});
    dgf_buf_init(&buf, 1 << 20);
    memory.group_due = true;
    dgf_redis_memory_put(&memory, &buf);
    ck_assert(dgf_redis_memory_get(dgf_buf_bytes(&buf), &back) == DGF_OK);
    ck_assert(back.group_due);
    ck_assert(back.epoch == 1 && back.last.ms == 100 && back.added == 100);
    ck_assert(back.added_known && back.n_marks == 10 && back.marks[9].hash == 1009);
    ck_assert(dgf_redis_memory_claimed(&back, (struct dgf_redis_id){9, 8}));
    ck_assert(!dgf_redis_memory_claimed(&back, (struct dgf_redis_id){7, 8}));
    for (size_t i = 0; i < buf.len; i++) {
        struct dgf_redis_memory no;

        ck_assert(dgf_redis_memory_get(dgf_bytes_of(buf.ptr, i), &no) == DGF_FATAL);
    }
    dgf_buf_release(&buf);
    dgf_redis_memory_release(&back);
    dgf_redis_memory_release(&memory);
}
END_TEST

START_TEST(what_an_agent_before_this_remembered_owes_no_group)
{
    /* version 1, epoch 3, last 7-1, added known, 9 added, verified 7-1, no marks,
     * nothing claimed */
    static const uint8_t before[] = {1, 3, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1,
                                     0, 0, 0, 0, 0, 0, 0, 1, 9, 0, 0, 0, 0, 0,
                                     0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0,
                                     0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    uint8_t later[sizeof(before)];
    struct dgf_redis_memory back;

    ck_assert(dgf_redis_memory_get(dgf_bytes_of(before, sizeof(before)), &back) ==
              DGF_OK);
    ck_assert(back.epoch == 3 && back.last.ms == 7 && back.added == 9);
    ck_assert(back.added_known && !back.group_due);
    memcpy(later, before, sizeof(before));
    later[21] = 4; /* what nobody writes yet is not taken for something else */
    ck_assert(dgf_redis_memory_get(dgf_bytes_of(later, sizeof(later)), &back) ==
              DGF_FATAL);
}
END_TEST

START_TEST(nothing_new_and_something_new_are_the_same_stream)
{
    begin();
    ck_assert(dgf_redis_judge(&memory, &facts).change == DGF_REDIS_SAME);
    facts.length = facts.added = 130;
    facts.last.ms = 130;
    ck_assert(dgf_redis_judge(&memory, &facts).change == DGF_REDIS_SAME);
    facts.length = 30; /* exactly what we read was trimmed */
    facts.first.ms = 101;
    ck_assert(dgf_redis_judge(&memory, &facts).change == DGF_REDIS_SAME);
}
END_TEST

START_TEST(what_was_trimmed_unread_is_counted)
{
    struct dgf_redis_verdict verdict;

    begin();
    facts = (struct dgf_redis_facts){
        .length = 10, .added = 130, .last = {130, 1}, .first = {121, 1}};
    verdict = dgf_redis_judge(&memory, &facts);
    ck_assert(verdict.change == DGF_REDIS_TRIMMED && verdict.lost == 20);
    ck_assert(verdict.to.ms == 121 && verdict.to.seq == 0);
    facts.length = 0;
    verdict = dgf_redis_judge(&memory, &facts);
    ck_assert(verdict.change == DGF_REDIS_TRIMMED && verdict.lost == 30);
    ck_assert(verdict.to.ms == 130 && verdict.to.seq == 1);
}
END_TEST

START_TEST(a_stream_that_never_had_what_we_read_is_another_one)
{
    begin();
    facts = (struct dgf_redis_facts){
        .length = 150, .added = 150, .last = {350, 1}, .first = {201, 1}};
    ck_assert(dgf_redis_judge(&memory, &facts).change == DGF_REDIS_RECREATED);
    facts.length = facts.added = 5; /* fewer than we read */
    ck_assert(dgf_redis_judge(&memory, &facts).change == DGF_REDIS_LOOK);
    facts = (struct dgf_redis_facts){
        .length = 100, .added = 100, .last = {50, 1}, .first = {1, 1}};
    ck_assert(dgf_redis_judge(&memory, &facts).change == DGF_REDIS_LOOK);
}
END_TEST

static enum dgf_redis_past compare(size_t n, uint64_t last_hash,
                                   struct dgf_redis_id *common)
{
    struct dgf_redis_mark present[10];

    for (uint32_t i = 0; i < 10; i++)
        present[i] = (struct dgf_redis_mark){{91 + i, 1}, 1000 + i};
    if (n)
        present[n - 1].hash = last_hash;
    return dgf_redis_compare(&memory, &facts, present, n, true, common);
}

START_TEST(the_last_entries_tell_a_failover_from_a_trim)
{
    struct dgf_redis_id common = {0};

    begin();
    ck_assert(compare(10, 1009, &common) == DGF_REDIS_PAST_KEPT && common.ms == 100);
    /* The tail is gone. */
    facts.last.ms = 97;
    ck_assert(compare(7, 1006, &common) == DGF_REDIS_PAST_BRANCHED && common.ms == 97);
    /* Another entry stands at an id of ours. */
    begin();
    ck_assert(compare(10, 5, &common) == DGF_REDIS_PAST_BRANCHED && common.ms == 99);
    /* Deleted by somebody: still ours. */
    begin();
    facts.max_deleted.ms = 100;
    facts.max_deleted.seq = 1;
    ck_assert(compare(9, 1008, &common) == DGF_REDIS_PAST_KEPT);
    /* Nothing of it. */
    begin();
    facts.last.ms = 50;
    ck_assert(compare(0, 0, &common) == DGF_REDIS_PAST_OTHER);
}
END_TEST

START_TEST(an_entry_between_ours_is_a_branch_unless_others_read_too)
{
    struct dgf_redis_mark present[3] = {{{91, 1}, 1000}, {{91, 5}, 1}, {{92, 1}, 1001}};
    struct dgf_redis_id common = {0};

    begin();
    memory.n_marks = 2;
    ck_assert(dgf_redis_compare(&memory, &facts, present, 3, true, &common) ==
              DGF_REDIS_PAST_BRANCHED);
    ck_assert(common.ms == 91 && common.seq == 1);
    ck_assert(dgf_redis_compare(&memory, &facts, present, 3, false, &common) ==
              DGF_REDIS_PAST_KEPT);
}
END_TEST

START_TEST(people_read_stream_epoch_and_id)
{
    struct dgf_buf position, text;

    dgf_buf_init(&position, 256);
    dgf_buf_init(&text, 256);
    dgf_redis_position_put(DGF_BYTES("a@b:c"), 3, (struct dgf_redis_id){17, 4},
                           &position);
    dgf_redis_position_text(dgf_buf_bytes(&position), &text);
    ck_assert_str_eq(dgf_buf_str(&text), "a@b:c@3:17-4");
    dgf_buf_clear(&text);
    dgf_redis_position_text(dgf_bytes_of(position.ptr, 20), &text);
    ck_assert_uint_eq(text.len, 0);
    dgf_buf_release(&position);
    dgf_buf_release(&text);
}
END_TEST

START_TEST(the_facts_are_read_from_what_the_server_says)
{
    static const char answer[] =
        "*20\r\n$6\r\nlength\r\n:3\r\n$15\r\nradix-tree-keys\r\n:1\r\n"
        "$16\r\nradix-tree-nodes\r\n:2\r\n$17\r\nlast-generated-id\r\n$3\r\n9-2\r\n"
        "$20\r\nmax-deleted-entry-id\r\n$3\r\n0-0\r\n$13\r\nentries-added\r\n:7\r\n"
        "$23\r\nrecorded-first-entry-id\r\n$3\r\n5-1\r\n$6\r\ngroups\r\n:0\r\n"
        "$11\r\nfirst-entry\r\n*2\r\n$3\r\n5-1\r\n*2\r\n$1\r\na\r\n$10000\r\ncut here";

    ck_assert(dgf_redis_facts_read(DGF_BYTES(answer), &facts));
    ck_assert(facts.length == 3 && facts.added == 7 && facts.last.ms == 9 &&
              facts.last.seq == 2 && facts.first.ms == 5);
    ck_assert(!dgf_redis_facts_read(DGF_BYTES("*2\r\n$6\r\nlength\r\n:3\r\n"), &facts));
    ck_assert(!dgf_redis_facts_read(DGF_BYTES("-ERR no such key\r\n"), &facts));
    ck_assert(!dgf_redis_facts_read(DGF_BYTES(""), &facts));
}
END_TEST

DGF_UNIT(redis_memory, what_is_remembered_comes_back_whole,
         what_an_agent_before_this_remembered_owes_no_group,
         nothing_new_and_something_new_are_the_same_stream,
         what_was_trimmed_unread_is_counted,
         a_stream_that_never_had_what_we_read_is_another_one,
         the_last_entries_tell_a_failover_from_a_trim,
         an_entry_between_ours_is_a_branch_unless_others_read_too,
         people_read_stream_epoch_and_id, the_facts_are_read_from_what_the_server_says)
