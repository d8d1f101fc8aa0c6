#include "resp_reader.h"

#include <hiredis/hiredis.h>

#include "base/mem.h"
#include "unit.h"

static struct dgf_resp_reader reader;
static struct dgf_resp_item item;

static void begin(size_t max_item)
{
    dgf_resp_reader_init(&reader, max_item);
}

static void end(void)
{
    dgf_resp_reader_release(&reader);
}

static void feed(const char *bytes, size_t len)
{
    size_t room;
    uint8_t *to = dgf_resp_room(&reader, len, &room);

    ck_assert(to && room >= len);
    memcpy(to, bytes, len);
    dgf_resp_put(&reader, len);
}

static void item_is(const char *bytes, unsigned depth, uint64_t index, bool last)
{
    ck_assert(dgf_bytes_eq(item.bytes, dgf_bytes_str(bytes)));
    ck_assert_uint_eq(item.depth, depth);
    ck_assert_uint_eq(item.index, index);
    ck_assert(item.last == last);
}

#define ENTRY "*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"

START_TEST(a_reply_is_handed_out_whole_or_piece_by_piece)
{
    begin(4096);
    feed("*2\r\n" ENTRY ENTRY ":5\r\n", 2 * strlen(ENTRY) + 8);
    ck_assert(dgf_resp_reader_next(&reader, 1, &item) == DGF_OK);
    item_is(ENTRY, 1, 0, false);
    ck_assert_uint_eq(item.n, 2);
    ck_assert(dgf_resp_reader_next(&reader, 1, &item) == DGF_OK);
    item_is(ENTRY, 1, 1, true);
    ck_assert(dgf_resp_reader_next(&reader, 0, &item) == DGF_OK);
    item_is(":5\r\n", 0, 0, true);
    ck_assert(dgf_resp_reader_next(&reader, 0, &item) == DGF_AGAIN);
    end();
}
END_TEST

START_TEST(one_byte_at_a_time_gives_the_same)
{
    static const char reply[] = "*1\r\n*2\r\n$1\r\ns\r\n*2\r\n" ENTRY ENTRY "$-1\r\n";
    unsigned n = 0;

    begin(4096);
    for (size_t i = 0; i + 1 < sizeof(reply); i++) {
        feed(reply + i, 1);
        while (dgf_resp_reader_next(&reader, 3, &item) == DGF_OK) {
            if (n == 0)
                item_is("$1\r\ns\r\n", 2, 0, false);
            else if (n < 3)
                item_is(ENTRY, 3, n - 1, n == 2);
            else
                item_is("$-1\r\n", 0, 0, true);
            n++;
        }
    }
    ck_assert_uint_eq(n, 4);
    end();
}
END_TEST

START_TEST(an_empty_array_and_an_error_are_items)
{
    begin(4096);
    feed("*0\r\n-ERR no\r\n*-1\r\n", 18);
    ck_assert(dgf_resp_reader_next(&reader, 3, &item) == DGF_OK);
    item_is("*0\r\n", 0, 0, true);
    ck_assert(dgf_resp_reader_next(&reader, 3, &item) == DGF_OK);
    item_is("-ERR no\r\n", 0, 0, true);
    ck_assert(dgf_resp_reader_next(&reader, 3, &item) == DGF_OK);
    item_is("*-1\r\n", 0, 0, true);
    end();
}
END_TEST

START_TEST(an_item_that_is_too_large_leaves_its_head_and_its_size)
{
    char filler[1000];
    size_t n = 0;

    memset(filler, 'x', sizeof(filler));
    begin(2048);
    feed("*2\r\n*2\r\n$3\r\n1-1\r\n$100000\r\n", 26);
    while (n < 100) {
        feed(filler, sizeof(filler));
        ck_assert(dgf_resp_reader_next(&reader, 1, &item) == DGF_AGAIN);
        n++;
    }
    feed("\r\n:7\r\n", 6);
    ck_assert(dgf_resp_reader_next(&reader, 1, &item) == DGF_OK);
    ck_assert(item.cut && !item.last);
    ck_assert_uint_eq(item.bytes.len, DGF_RESP_HEAD);
    ck_assert_uint_eq(item.size, 100000 + 22 + 2);
    ck_assert(memcmp(item.bytes.ptr, "*2\r\n$3\r\n1-1\r\n", 13) == 0);
    ck_assert(dgf_resp_reader_next(&reader, 1, &item) == DGF_OK);
    item_is(":7\r\n", 1, 1, true);
    ck_assert(!item.cut);
    ck_assert_uint_lt(reader.in.cap, 1 << 20);
    end();
}
END_TEST

START_TEST(what_is_no_resp2_is_refused)
{
    static const char *const bad[] = {
        "HTTP/1.1 400\r\n",
        "$x\r\n",
        "$-2\r\n",
        "*99999999999\r\n",
        "$1\r\nabc",
        ":1\n",
        "%1\r\n",
        "_\r\n",
        "$3\r\nabcde",
        "*1\r\n!\r\n",
        "$99999999999999\r\n",
        ":\r\n",
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(bad); i++) {
        begin(4096);
        feed(bad[i], strlen(bad[i]));
        ck_assert_msg(dgf_resp_reader_next(&reader, 0, &item) == DGF_BAD_DATA,
                      "'%s' was taken", bad[i]);
        end();
    }
}
END_TEST

START_TEST(arrays_end_at_twelve_levels)
{
    begin(4096);
    for (int i = 0; i < 11; i++)
        feed("*1\r\n", 4);
    feed(":1\r\n", 4);
    ck_assert(dgf_resp_reader_next(&reader, 0, &item) == DGF_OK);
    for (int i = 0; i < 12; i++)
        feed("*1\r\n", 4);
    ck_assert(dgf_resp_reader_next(&reader, 0, &item) == DGF_BAD_DATA);
    end();
}
END_TEST

START_TEST(a_promise_of_many_items_costs_nothing)
{
    begin(4096);
    feed("*2000000000\r\n", 13);
    ck_assert(dgf_resp_reader_next(&reader, 1, &item) == DGF_AGAIN);
    feed(":1\r\n", 4);
    ck_assert(dgf_resp_reader_next(&reader, 1, &item) == DGF_OK);
    ck_assert(!item.last);
    ck_assert_uint_eq(item.n, 2000000000);
    end();
}
END_TEST

/* Both say the same of every value hiredis can hold. */
static void same(struct dgf_resp *resp, const redisReply *wanted)
{
    struct dgf_resp_token token;

    ck_assert(dgf_resp_next(resp, &token) == DGF_OK);
    switch (wanted->type) {
    case REDIS_REPLY_ARRAY:
        ck_assert(token.kind == DGF_RESP_ARRAY);
        ck_assert_uint_eq((size_t)token.number, wanted->elements);
        for (size_t i = 0; i < wanted->elements; i++)
            same(resp, wanted->element[i]);
        break;
    case REDIS_REPLY_INTEGER:
        ck_assert(token.kind == DGF_RESP_INT && token.number == wanted->integer);
        break;
    case REDIS_REPLY_NIL:
        ck_assert(token.kind == DGF_RESP_NIL);
        break;
    default:
        ck_assert(token.kind == (wanted->type == REDIS_REPLY_STRING ? DGF_RESP_BULK
                                 : wanted->type == REDIS_REPLY_ERROR
                                     ? DGF_RESP_ERROR
                                     : DGF_RESP_STATUS));
        ck_assert(dgf_bytes_eq(token.bytes, dgf_bytes_of(wanted->str, wanted->len)));
    }
}

START_TEST(hiredis_reads_the_same)
{
    static const char *const replies[] = {"+OK\r\n",
                                          "-ERR x\r\n",
                                          ":-12\r\n",
                                          "$0\r\n\r\n",
                                          "$-1\r\n",
                                          "*0\r\n",
                                          "*3\r\n:1\r\n$2\r\n\r\n\r\n*1\r\n*-1\r\n",
                                          "*1\r\n" ENTRY};

    for (size_t i = 0; i < DGF_ARRAY_LEN(replies); i++) {
        struct dgf_resp resp = dgf_resp_of(dgf_bytes_str(replies[i]));
        redisReader *theirs = redisReaderCreate();
        void *reply = NULL;

        ck_assert(redisReaderFeed(theirs, replies[i], strlen(replies[i])) == REDIS_OK);
        ck_assert(redisReaderGetReply(theirs, &reply) == REDIS_OK && reply);
        same(&resp, reply);
        ck_assert(resp.ptr == resp.end);
        freeReplyObject(reply);
        redisReaderFree(theirs);
    }
}
END_TEST

DGF_UNIT(resp_reader, a_reply_is_handed_out_whole_or_piece_by_piece,
         one_byte_at_a_time_gives_the_same, an_empty_array_and_an_error_are_items,
         an_item_that_is_too_large_leaves_its_head_and_its_size,
         what_is_no_resp2_is_refused, arrays_end_at_twelve_levels,
         a_promise_of_many_items_costs_nothing, hiredis_reads_the_same)
