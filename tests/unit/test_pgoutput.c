#include "pgoutput.h"

#include <stdio.h>

#include "base/mem.h"
#include "unit.h"

static struct dgf_pgoutput message;
static struct dgf_err err;

static enum dgf_rc decode(const char *ptr, size_t len)
{
    err = (struct dgf_err){0};
    return dgf_pgoutput_decode(dgf_bytes_of(ptr, len), &message, &err);
}
#define DECODE(text) decode((text), sizeof(text) - 1)

#define BEGIN "B\0\0\0\x16\xb3\x74\xd8\x48\0\x02\xee\x9f\x1c\xbd\x10\x80\0\0\x02\xec"
#define COMMIT                                                  \
    "C\0\0\0\0\x16\xb3\x74\xd8\x48\0\0\0\x16\xb3\x74\xd8\x78\0" \
    "\x02\xee\x9f\x1c\xbd\x10\x80"
#define RELATION                         \
    "R\0\0\x40\x01shop\0notes\0d\0\x02"  \
    "\x01id\0\0\0\0\x14\xff\xff\xff\xff" \
    "\0note\0\0\0\x04\x13\0\0\0\x18"
#define INSERT "I\0\0\x40\x01N\0\x03t\0\0\0\x01\x37nu"
#define UPDATE_KEY                    \
    "U\0\0\x40\x01K\0\x02t\0\0\0\x01" \
    "1n"                              \
    "N\0\x02t\0\0\0\x01"              \
    "2b\0\0\0\x02hi"
#define DELETE_FULL "D\0\0\x40\x01O\0\x01t\0\0\0\x01\x39"
#define TRUNCATE "T\0\0\0\x02\x03\0\0\x40\x01\0\0\x40\x09"
#define LOGICAL                       \
    "M\x01\0\0\0\x16\xb3\x74\xd8\x48" \
    "dgf.actor\0\0\0\0\x02{}"
#define ORIGIN "O\0\0\0\0\0\0\0\x01node\0"
#define TYPE "Y\0\0\x40\x05shop\0mood\0"

START_TEST(a_transaction_has_its_commit_lsn_time_and_xid)
{
    ck_assert_int_eq(DECODE(BEGIN), DGF_OK);
    ck_assert_int_eq(message.type, DGF_PG_BEGIN);
    ck_assert_uint_eq(message.begin.final_lsn, 0x16b374d848);
    ck_assert_uint_eq(message.begin.xid, 748);
    ck_assert_int_eq(message.begin.commit_us, 0x2ee9f1cbd1080);
    ck_assert_int_eq(DECODE(COMMIT), DGF_OK);
    ck_assert_uint_eq(message.commit.commit_lsn, 0x16b374d848);
    ck_assert_uint_eq(message.commit.end_lsn, 0x16b374d878);
}
END_TEST

START_TEST(a_relation_has_its_columns_types_and_keys)
{
    ck_assert_int_eq(DECODE(RELATION), DGF_OK);
    ck_assert_uint_eq(message.relation.oid, 0x4001);
    ck_assert(dgf_bytes_eq(message.relation.schema, DGF_BYTES("shop")));
    ck_assert(dgf_bytes_eq(message.relation.name, DGF_BYTES("notes")));
    ck_assert_int_eq(message.relation.identity, 'd');
    ck_assert_uint_eq(message.relation.n, 2);
    ck_assert(message.attributes[0].identity && !message.attributes[1].identity);
    ck_assert(dgf_bytes_eq(message.attributes[1].name, DGF_BYTES("note")));
    ck_assert_uint_eq(message.attributes[1].type, 1043);
    ck_assert_int_eq(message.attributes[0].typmod, -1);
    ck_assert_int_eq(message.attributes[1].typmod, 24);
}
END_TEST

START_TEST(null_unchanged_text_and_binary_are_kept_apart)
{
    ck_assert_int_eq(DECODE(INSERT), DGF_OK);
    ck_assert_uint_eq(message.row.relation, 0x4001);
    ck_assert_int_eq(message.row.old_kind, 0);
    ck_assert_uint_eq(message.new_row.n, 3);
    ck_assert_int_eq(message.new_row.datums[0].kind, DGF_PG_TEXT);
    ck_assert(dgf_bytes_eq(message.new_row.datums[0].bytes, DGF_BYTES("7")));
    ck_assert_int_eq(message.new_row.datums[1].kind, DGF_PG_NULL);
    ck_assert_int_eq(message.new_row.datums[2].kind, DGF_PG_UNCHANGED);
}
END_TEST

START_TEST(an_old_row_is_a_key_or_whole)
{
    ck_assert_int_eq(DECODE(UPDATE_KEY), DGF_OK);
    ck_assert_int_eq(message.row.old_kind, 'K');
    ck_assert_uint_eq(message.old_row.n, 2);
    ck_assert_uint_eq(message.new_row.n, 2);
    ck_assert_int_eq(message.new_row.datums[1].kind, DGF_PG_BINARY);
    ck_assert(dgf_bytes_eq(message.new_row.datums[1].bytes, DGF_BYTES("hi")));
    ck_assert_int_eq(DECODE(DELETE_FULL), DGF_OK);
    ck_assert_int_eq(message.row.old_kind, 'O');
    ck_assert_uint_eq(message.new_row.n, 0);
}
END_TEST

START_TEST(a_truncate_names_all_its_tables)
{
    ck_assert_int_eq(DECODE(TRUNCATE), DGF_OK);
    ck_assert(message.truncate.cascade && message.truncate.restart);
    ck_assert_uint_eq(message.truncate.n, 2);
    ck_assert_uint_eq(dgf_pgoutput_truncated(&message, 0), 0x4001);
    ck_assert_uint_eq(dgf_pgoutput_truncated(&message, 1), 0x4009);
}
END_TEST

START_TEST(messages_origins_and_types_are_read)
{
    ck_assert_int_eq(DECODE(LOGICAL), DGF_OK);
    ck_assert(message.message.transactional);
    ck_assert(dgf_bytes_eq(message.message.prefix, DGF_BYTES("dgf.actor")));
    ck_assert(dgf_bytes_eq(message.message.content, DGF_BYTES("{}")));
    ck_assert_int_eq(DECODE(ORIGIN), DGF_OK);
    ck_assert(dgf_bytes_eq(message.origin.name, DGF_BYTES("node")));
    ck_assert_int_eq(DECODE(TYPE), DGF_OK);
    ck_assert(dgf_bytes_eq(message.type_.name, DGF_BYTES("mood")));
}
END_TEST

START_TEST(every_message_cut_anywhere_is_refused)
{
    static const struct {
        const char *ptr;
        size_t len;
    } table[] = {
        {BEGIN, sizeof(BEGIN) - 1},           {COMMIT, sizeof(COMMIT) - 1},
        {RELATION, sizeof(RELATION) - 1},     {INSERT, sizeof(INSERT) - 1},
        {UPDATE_KEY, sizeof(UPDATE_KEY) - 1}, {DELETE_FULL, sizeof(DELETE_FULL) - 1},
        {TRUNCATE, sizeof(TRUNCATE) - 1},     {LOGICAL, sizeof(LOGICAL) - 1},
        {ORIGIN, sizeof(ORIGIN) - 1},         {TYPE, sizeof(TYPE) - 1},
    };
    char longer[256], text[128];

    for (size_t i = 0; i < DGF_ARRAY_LEN(table); i++) {
        for (size_t len = 1; len < table[i].len; len++) {
            ck_assert_int_eq(decode(table[i].ptr, len), DGF_BAD_DATA);
            (void)snprintf(text, sizeof(text),
                           "message '%c' of %zu bytes is cut short or malformed",
                           *table[i].ptr, len);
            ck_assert_str_eq(err.text, text);
        }
        memcpy(longer, table[i].ptr, table[i].len);
        longer[table[i].len] = 0;
        ck_assert_int_eq(decode(longer, table[i].len + 1), DGF_BAD_DATA);
        (void)snprintf(text, sizeof(text), "message '%c' of %zu bytes has 1 to spare",
                       *longer, table[i].len + 1);
        ck_assert_str_eq(err.text, text);
    }
}
END_TEST

START_TEST(what_is_unknown_stops_the_stream)
{
    ck_assert_int_eq(DECODE(""), DGF_BAD_DATA);
    ck_assert_str_eq(err.text, "empty message");
    ck_assert_int_eq(DECODE("S\0\0\0\x01\x01"), DGF_BAD_DATA);
    ck_assert_str_eq(err.text, "unknown message type 0x53, 6 bytes");
    ck_assert_int_eq(DECODE("I\0\0\x40\x01N\0\x01x"), DGF_BAD_DATA);
    ck_assert_int_eq(DECODE("U\0\0\x40\x01X\0\x01n"), DGF_BAD_DATA);
    ck_assert_int_eq(DECODE("D\0\0\x40\x01N\0\x01n"), DGF_BAD_DATA);
}
END_TEST

START_TEST(counts_beyond_what_a_server_has_are_refused)
{
    ck_assert_int_eq(DECODE("I\0\0\x40\x01N\xff\xff"), DGF_BAD_DATA);
    ck_assert_int_eq(DECODE("R\0\0\x40\x01s\0t\0d\xff\xff"), DGF_BAD_DATA);
    ck_assert_int_eq(DECODE("T\xff\xff\xff\xff\0"), DGF_BAD_DATA);
    ck_assert_int_eq(DECODE("I\0\0\x40\x01N\0\x01t\xff\xff\xff\xff"), DGF_BAD_DATA);
}
END_TEST

START_TEST(times_beyond_our_range_stay_at_its_end)
{
    ck_assert_int_eq(dgf_pg_time_ns(0), INT64_C(946684800000000000));
    ck_assert_int_eq(dgf_pg_time_ns(INT64_MAX), INT64_MAX);
    ck_assert_int_eq(dgf_pg_time_ns(INT64_MIN), INT64_MIN);
}
END_TEST

DGF_UNIT(pgoutput, a_transaction_has_its_commit_lsn_time_and_xid,
         a_relation_has_its_columns_types_and_keys,
         null_unchanged_text_and_binary_are_kept_apart, an_old_row_is_a_key_or_whole,
         a_truncate_names_all_its_tables, messages_origins_and_types_are_read,
         every_message_cut_anywhere_is_refused, what_is_unknown_stops_the_stream,
         counts_beyond_what_a_server_has_are_refused,
         times_beyond_our_range_stay_at_its_end)
