#include "avro_blocks.h"

#include "base/json.h"
#include "base/mp.h"
#include "unit.h"

#ifndef DGF_SRCDIR
#define DGF_SRCDIR "."
#endif

static struct dgf_buf file, out, text;
static struct dgf_err err;

static void setup(void)
{
    dgf_buf_init(&file, 1 << 20);
    dgf_buf_init(&out, 1 << 20);
    dgf_buf_init(&text, 1 << 20);
    err.text[0] = '\0';
}

static void teardown(void)
{
    dgf_buf_release(&file);
    dgf_buf_release(&out);
    dgf_buf_release(&text);
}

static void load(const char *name)
{
    char path[1024];
    FILE *from;
    int c;

    (void)snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/avro/%s", DGF_SRCDIR,
                   name);
    from = fopen(path, "rb");
    ck_assert_msg(from != NULL, "no file '%s'", path);
    while ((c = fgetc(from)) != EOF)
        dgf_buf_add_byte(&file, (uint8_t)c);
    (void)fclose(from);
}

/* All values of the file as JSON, one a line. */
static enum dgf_rc decode_all(void)
{
    struct dgf_bytes bytes = dgf_buf_bytes(&file);
    struct dgf_avro_header header = {0};
    struct dgf_avro_block block;
    size_t at, need;
    enum dgf_rc rc = dgf_avro_header_read(bytes, &header, &err);

    if (rc)
        return rc;
    for (at = header.len; !rc && at < bytes.len; at += block.len) {
        rc = dgf_avro_block_read(dgf_bytes_of(bytes.ptr + at, bytes.len - at),
                                 header.sync, &block, &need, &err);
        struct dgf_rd rd = dgf_rd_of(rc ? (struct dgf_bytes){0} : block.data);

        for (uint64_t i = 0; !rc && i < block.count; i++) {
            struct dgf_json json = dgf_json_of(&text);

            dgf_buf_clear(&out);
            rc = dgf_avro_decode(header.schema, &rd, &out, &err);
            if (rc)
                break;
            ck_assert(dgf_mp_check(dgf_buf_bytes(&out)) == DGF_OK);
            ck_assert(dgf_json_msgpack(&json, dgf_buf_bytes(&out)) == DGF_OK);
            dgf_buf_add_byte(&text, '\n');
        }
        if (rc)
            break;
        ck_assert_uint_eq(dgf_rd_left(&rd), 0);
    }
    dgf_avro_header_release(&header);
    return rc;
}

static unsigned count(const char *what)
{
    unsigned n = 0;

    for (const char *at = dgf_buf_str(&text); (at = strstr(at, what)); at++)
        n++;
    return n;
}

START_TEST(every_version_of_the_change_feed_is_read_by_its_own_schema)
{
    static const struct {
        const char *name;
        unsigned n;
    } files[] = {{"v1", 3}, {"v3", 4}, {"v4", 4}, {"v5", 5}, {"v6", 5}, {"v8", 5}};

    for (size_t i = 0; i < DGF_ARRAY_LEN(files); i++) {
        dgf_buf_clear(&file);
        dgf_buf_clear(&text);
        load(files[i].name);
        ck_assert_msg(decode_all() == DGF_OK, "%s: %s", files[i].name, err.text);
        ck_assert_uint_eq(count("\n"), files[i].n);
        ck_assert_uint_eq(count("\"eventType\":\"BlobCreated\""), 1);
        ck_assert_uint_eq(count("\"eventType\":\"BlobDeleted\""), 1);
        ck_assert_uint_eq(count("\"contentLength\":524289"), 1);
        ck_assert_uint_eq(count("\"ContentLanguage\":{\"current\":\"pl\",\"previous\":"
                                "\"nl\"}"),
                          files[i].n > 3);
        ck_assert_uint_eq(count("\"current\":{\"a\":\"2\"}"), files[i].n > 4);
    }
}
END_TEST

START_TEST(a_torn_last_block_is_told_from_a_broken_one)
{
    struct dgf_avro_header header = {0};
    struct dgf_avro_block block;
    struct dgf_bytes bytes;
    size_t need;

    load("torn");
    ck_assert(decode_all() == DGF_AGAIN);
    ck_assert_uint_eq(count("\n"), 4);
    bytes = dgf_buf_bytes(&file);
    ck_assert(dgf_avro_header_read(bytes, &header, &err) == DGF_OK);
    for (size_t n = 0; n < 100; n++) {
        struct dgf_bytes part = dgf_bytes_of(bytes.ptr + header.len, n);

        ck_assert(dgf_avro_block_read(part, header.sync, &block, &need, &err) ==
                  DGF_AGAIN);
        ck_assert(n < 3 || need > 100);
    }
    header.sync[3] ^= 1;
    ck_assert(dgf_avro_block_read(
                  dgf_bytes_of(bytes.ptr + header.len, bytes.len - header.len),
                  header.sync, &block, &need, &err) == DGF_BAD_DATA);
    ck_assert_str_eq(err.text, "a block does not end in the file's marker");
    dgf_avro_header_release(&header);
}
END_TEST

START_TEST(a_header_in_pieces_waits_for_the_rest)
{
    struct dgf_avro_header header = {0};
    struct dgf_bytes bytes;
    size_t len;

    load("v5");
    bytes = dgf_buf_bytes(&file);
    ck_assert(dgf_avro_header_read(bytes, &header, &err) == DGF_OK);
    len = header.len;
    dgf_avro_header_release(&header);
    for (size_t n = 0; n < len; n++) {
        enum dgf_rc rc =
            dgf_avro_header_read(dgf_bytes_of(bytes.ptr, n), &header, &err);

        ck_assert_msg(rc == DGF_AGAIN, "%zu of %zu bytes: %s", n, len, err.text);
    }
}
END_TEST

static void header_is_refused(struct dgf_bytes bytes, const char *why)
{
    struct dgf_avro_header header = {0};

    ck_assert(dgf_avro_header_read(bytes, &header, &err) == DGF_BAD_DATA);
    ck_assert_str_eq(err.text, why);
}

START_TEST(headers_that_are_none_are_refused_with_the_reason)
{
    load("deflate");
    header_is_refused(dgf_buf_bytes(&file), "its codec is 'deflate', not null");
    header_is_refused(DGF_BYTES("PK\3\4zip"), "it is no Avro file");
    header_is_refused(DGF_BYTES("Obj\1\0"
                                "0123456789abcdef"),
                      "its header holds no schema");
    /* A name of 2^62 bytes. */
    header_is_refused(DGF_BYTES("Obj\1\2\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
                      "its header is damaged");
    header_is_refused(DGF_BYTES("Obj\1\2\x16"
                                "avro.schema\x02{\0"
                                "0123456789abcdef"),
                      "its schema cannot be read: it is no JSON");
}
END_TEST

START_TEST(hostile_blocks_are_refused_before_anything_is_allocated)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *why;
    } blocks[] = {
        {"\x02\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10, "a block has no size"},
        {"\x02\xfe\xff\xff\xff\xff\xff\xff\xff\x7f", 10,
         "a block is larger than 64 MiB"},
        {"\x01\x02", 2, "a block has no size"},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11, "a block has no size"},
        {"\xc8\x01\x02x", 4, "a block promises more than it has"},
    };
    uint8_t sync[DGF_AVRO_SYNC_LEN] = {0};
    struct dgf_avro_block block;
    size_t need;

    for (size_t i = 0; i < DGF_ARRAY_LEN(blocks); i++) {
        ck_assert(dgf_avro_block_read(dgf_bytes_of(blocks[i].bytes, blocks[i].len),
                                      sync, &block, &need, &err) == DGF_BAD_DATA);
        ck_assert_str_eq(err.text, blocks[i].why);
    }
}
END_TEST

static enum dgf_rc decode_one(const char *schema, struct dgf_bytes bytes)
{
    DGF_CLEANUP(dgf_avro_schema_free) struct dgf_avro_schema *made = NULL;
    struct dgf_json json = dgf_json_of(&text);
    struct dgf_rd rd = dgf_rd_of(bytes);
    enum dgf_rc rc = dgf_avro_schema_parse(dgf_bytes_str(schema), &made, &err);

    dgf_buf_clear(&out);
    dgf_buf_clear(&text);
    if (!rc)
        rc = dgf_avro_decode(made, &rd, &out, &err);
    if (!rc)
        ck_assert(dgf_json_msgpack(&json, dgf_buf_bytes(&out)) == DGF_OK);
    return rc;
}

#define RECORD(type)                                                                 \
    "{\"type\":\"record\",\"name\":\"r\",\"fields\":[{\"name\":\"f\",\"type\":" type \
    "}]}"

START_TEST(values_of_every_type_are_read)
{
    static const struct {
        const char *schema, *bytes;
        size_t len;
        const char *json;
    } rows[] = {
        {RECORD("\"null\""), "", 0, "{\"f\":null}"},
        {RECORD("\"boolean\""), "\1", 1, "{\"f\":true}"},
        {RECORD("\"int\""), "\x80\x01", 2, "{\"f\":64}"},
        {RECORD("\"long\""), "\x03", 1, "{\"f\":-2}"},
        {RECORD("\"double\""), "\0\0\0\0\0\0\xf8\x3f", 8, "{\"f\":1.5}"},
        {RECORD("\"float\""), "\0\0\x20\xc0", 4, "{\"f\":-2.5}"},
        {RECORD("\"string\""), "\x04hi", 3, "{\"f\":\"hi\"}"},
        {RECORD("[\"null\",\"string\"]"), "\x02\x02x", 3, "{\"f\":\"x\"}"},
        {RECORD("{\"type\":\"map\",\"values\":\"long\"}"),
         "\x02\x02"
         "a\x02\x01\x06\x02"
         "b\x04\0",
         10, "{\"f\":{\"a\":1,\"b\":2}}"},
        {RECORD("{\"type\":\"array\",\"items\":\"string\"}"), "\x04\x02x\x02y\0", 6,
         "{\"f\":[\"x\",\"y\"]}"},
        {RECORD("{\"type\":\"enum\",\"name\":\"e\",\"symbols\":[\"A\",\"B\"]}"), "\x02",
         1, "{\"f\":\"B\"}"},
        {RECORD("{\"type\":\"fixed\",\"name\":\"x\",\"size\":1}"), "\xff", 1,
         "{\"f\":{\"$binary\":{\"base64\":\"/w==\",\"subType\":\"00\"}}}"},
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(rows); i++) {
        ck_assert_msg(decode_one(rows[i].schema,
                                 dgf_bytes_of(rows[i].bytes, rows[i].len)) == DGF_OK,
                      "%s: %s", rows[i].schema, err.text);
        ck_assert_str_eq(dgf_buf_str(&text), rows[i].json);
    }
}
END_TEST

START_TEST(values_that_lie_about_themselves_are_refused)
{
    static const struct {
        const char *schema, *bytes;
        size_t len;
        const char *why;
    } rows[] = {
        {RECORD("\"string\""), "\xfe\xff\xff\xff\x0fx", 6,
         "a text is longer than what is there"},
        {RECORD("\"string\""), "\x01", 1, "a text is longer than what is there"},
        {RECORD("{\"type\":\"array\",\"items\":\"null\"}"),
         "\xfe\xff\xff\xff\xff\xff\xff\xff\x7f", 9,
         "a value has more than 100,000 items"},
        {RECORD("[\"null\",\"string\"]"), "\x04", 1,
         "a branch is none of the schema's"},
        {RECORD("{\"type\":\"enum\",\"name\":\"e\",\"symbols\":[\"A\"]}"), "\x02", 1,
         "a symbol is none of the schema's"},
        {RECORD("\"boolean\""), "\2", 1, "a boolean is none"},
        {RECORD("\"int\""), "\xfe\xff\xff\xff\x1f", 5, "an int is larger than one"},
        {RECORD("\"long\""), "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10,
         "a number is none"},
        {RECORD("\"double\""), "\0", 1, "it ends inside a value"},
        {RECORD("[\"null\",\"r\"]"),
         "\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\0",
         37, "a value is nested more than 32 levels"},
        {RECORD("\"unheard\""), "", 0,
         "its schema cannot be read: it names a type nobody defined"},
        {"[]", "", 0, "its schema cannot be read: a union is of nothing"},
        {"5", "", 0,
         "its schema cannot be read: a type is neither text, list nor object"},
        {"{\"type\":\"record\",\"name\":\"r\"}", "", 0,
         "its schema cannot be read: a record has no fields"},
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(rows); i++) {
        ck_assert_msg(
            decode_one(rows[i].schema, dgf_bytes_of(rows[i].bytes, rows[i].len)) ==
                DGF_BAD_DATA,
            "row %zu", i);
        ck_assert_str_eq(err.text, rows[i].why);
    }
}
END_TEST

static void with_buffers(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
}

int main(void)
{
    const TTest *const tests[] = {
        every_version_of_the_change_feed_is_read_by_its_own_schema,
        a_torn_last_block_is_told_from_a_broken_one,
        a_header_in_pieces_waits_for_the_rest,
        headers_that_are_none_are_refused_with_the_reason,
        hostile_blocks_are_refused_before_anything_is_allocated,
        values_of_every_type_are_read,
        values_that_lie_about_themselves_are_refused,
    };
    Suite *suite = suite_create("avro_blocks");
    SRunner *runner = srunner_create(suite);
    int failed;

    for (size_t i = 0; i < DGF_ARRAY_LEN(tests); i++) {
        TCase *tc = tcase_create(tests[i]->name);

        with_buffers(tc);
        tcase_set_timeout(tc, 60);
        tcase_add_test(tc, tests[i]);
        suite_add_tcase(suite, tc);
    }
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
