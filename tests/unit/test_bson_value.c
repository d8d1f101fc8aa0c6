#include "mongo_fixture.h"

static void value_gives(const char *name, struct dgf_bytes document, const char *wanted)
{
    struct dgf_bson_element element = {.type = DGF_BSON_DOCUMENT, .value = document};
    struct dgf_buf packed, text;
    struct dgf_bson bson;

    dgf_buf_init(&packed, 1 << 20);
    dgf_buf_init(&text, 1 << 20);
    if (dgf_bson_of(document, &bson) || dgf_bson_put(&element, 0, &packed)) {
        ck_assert_msg(!strcmp(wanted, "bad data"), "%s: bad data, wanted %s", name,
                      wanted);
    } else {
        ck_assert_msg(dgf_mp_check(dgf_buf_bytes(&packed)) == DGF_OK, "%s: msgpack",
                      name);
        show(dgf_buf_bytes(&packed), &text);
        ck_assert_msg(!strcmp(dgf_buf_str(&text), wanted), "%s: got %s, wanted %s",
                      name, dgf_buf_str(&text), wanted);
    }
    dgf_buf_release(&packed);
    dgf_buf_release(&text);
}

START_TEST(every_type_of_value_arrives_without_loss)
{
    ck_assert_int_ge(each_line("bson_values.txt", value_gives), 60);
}
END_TEST

static void cut(const char *name, struct dgf_bytes document, const char *wanted)
{
    struct dgf_bson_element element = {.type = DGF_BSON_DOCUMENT};
    uint8_t *copy;

    (void)name;
    (void)wanted;
    for (size_t len = 0; len < document.len && document.len < 2000; len++) {
        struct dgf_buf packed;
        struct dgf_bson bson;

        /* Of its own size, so that a sanitizer sees a read beyond it. */
        copy = dgf_malloc(len ? len : 1);
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, document.ptr, len);
        element.value = dgf_bytes_of(copy, len);
        ck_assert(dgf_bson_of(element.value, &bson) == DGF_BAD_DATA);
        if (len >= 5) { /* a frame that fits, with a content that does not */
            memcpy(copy, (uint8_t[4]){(uint8_t)len, (uint8_t)(len >> 8), 0, 0}, 4);
            copy[len - 1] = 0;
            dgf_buf_init(&packed, 1 << 20);
            if (dgf_bson_put(&element, 0, &packed) == DGF_OK)
                ck_assert_int_eq(dgf_mp_check(dgf_buf_bytes(&packed)), DGF_OK);
            dgf_buf_release(&packed);
        }
        dgf_free(copy);
    }
}

START_TEST(a_document_cut_anywhere_is_bad_data_and_never_read_beyond)
{
    ck_assert_int_ge(each_line("bson_values.txt", cut), 60);
}
END_TEST

/* {"a": {"a": ... }}, n documents inside each other. */
static struct dgf_bytes nested(int n, struct dgf_buf *out)
{
    dgf_buf_clear(out);
    for (int i = 0; i < n; i++) {
        uint32_t len = (uint32_t)(5 + 8 * (n - 1 - i));

        dgf_buf_add_le32(out, len);
        if (i < n - 1)
            dgf_buf_add(out,
                        "\x03"
                        "a",
                        3);
    }
    for (int i = 0; i < n; i++)
        dgf_buf_add_byte(out, 0);
    return dgf_buf_bytes(out);
}

START_TEST(a_hundred_levels_are_kept_and_the_deepest_as_their_bytes)
{
    struct dgf_bson_element element = {.type = DGF_BSON_DOCUMENT};
    struct dgf_buf document, packed;

    dgf_buf_init(&document, 1 << 20);
    dgf_buf_init(&packed, 1 << 20);
    for (int levels = 1; levels <= 200; levels++) {
        struct dgf_mp mp;
        struct dgf_mp_token token;
        int seen = 0;

        dgf_buf_clear(&packed);
        element.value = nested(levels, &document);
        ck_assert_int_eq(dgf_bson_put(&element, 0, &packed), DGF_OK);
        ck_assert_int_eq(dgf_mp_check(dgf_buf_bytes(&packed)), DGF_OK);
        mp = dgf_mp_of(dgf_buf_bytes(&packed));
        while (dgf_mp_next(&mp, &token) == DGF_OK)
            seen += token.kind == DGF_MP_MAP;
        ck_assert_int_eq(seen,
                         levels < DGF_BSON_MAX_DEPTH ? levels : DGF_BSON_MAX_DEPTH);
    }
    dgf_buf_release(&document);
    dgf_buf_release(&packed);
}
END_TEST

START_TEST(a_document_of_sixteen_mebibytes_is_read)
{
    size_t n = (16u << 20) - 20;
    struct dgf_bson_element element = {.type = DGF_BSON_DOCUMENT}, found;
    struct dgf_buf document, packed;
    struct dgf_bytes text;
    uint8_t *room;

    dgf_buf_init(&document, 17u << 20);
    dgf_buf_init(&packed, 17u << 20);
    dgf_buf_add_le32(&document, (uint32_t)(n + 13));
    dgf_buf_add(&document,
                "\x02"
                "a",
                3);
    dgf_buf_add_le32(&document, (uint32_t)(n + 1));
    room = dgf_buf_room(&document, n + 2);
    ck_assert_ptr_nonnull(room);
    memset(room, 'x', n);
    room[n] = room[n + 1] = 0;
    document.len += n + 2;
    element.value = dgf_buf_bytes(&document);
    ck_assert(dgf_bson_find(element.value, "a", &found));
    ck_assert(dgf_bson_text(&found, &text) && text.len == n);
    ck_assert_int_eq(dgf_bson_put(&element, 0, &packed), DGF_OK);
    ck_assert_int_eq(dgf_mp_check(dgf_buf_bytes(&packed)), DGF_OK);
    dgf_buf_release(&document);
    dgf_buf_release(&packed);
}
END_TEST

START_TEST(a_document_of_many_repeated_names_is_kept_as_its_bytes)
{
    struct dgf_bson_element element = {.type = DGF_BSON_DOCUMENT};
    struct dgf_buf document, packed;
    struct dgf_mp mp;
    struct dgf_mp_token token;

    dgf_buf_init(&document, 1 << 20);
    dgf_buf_init(&packed, 1 << 20);
    dgf_buf_add_le32(&document, 0);
    for (int i = 0; i < 2000; i++)
        dgf_buf_addf(&document, "\x0a%03d%c", i % 1000, 0);
    dgf_buf_add_byte(&document, 0);
    memcpy(document.ptr,
           (uint8_t[4]){(uint8_t)document.len, (uint8_t)(document.len >> 8)}, 4);
    element.value = dgf_buf_bytes(&document);
    ck_assert_int_eq(dgf_bson_put(&element, 0, &packed), DGF_OK);
    mp = dgf_mp_of(dgf_buf_bytes(&packed));
    ck_assert_int_eq(dgf_mp_next(&mp, &token), DGF_OK);
    ck_assert(token.kind == DGF_MP_EXT && token.ext == DGF_EXT_OPAQUE);
    ck_assert(token.bytes.len > document.len);
    dgf_buf_release(&document);
    dgf_buf_release(&packed);
}
END_TEST

DGF_UNIT(bson_value, every_type_of_value_arrives_without_loss,
         a_document_cut_anywhere_is_bad_data_and_never_read_beyond,
         a_hundred_levels_are_kept_and_the_deepest_as_their_bytes,
         a_document_of_sixteen_mebibytes_is_read,
         a_document_of_many_repeated_names_is_kept_as_its_bytes)
