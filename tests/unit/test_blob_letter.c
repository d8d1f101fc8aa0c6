#include "blob_letter.h"

#include "unit.h"

#define HOUR INT64_C(3600000000000)
#define DAY (24 * HOUR)
#define JANUARY INT64_C(1767225600000000000) /* 2026-01-01T00:00:00Z */

static enum dgf_blob_letter_folder folder(const char *name, int64_t *begin,
                                          int64_t *end)
{
    *begin = *end = -1;
    return dgf_blob_letter_folder(dgf_bytes_str(name), begin, end);
}

START_TEST(folders_are_of_hours_by_the_end_of_their_names)
{
    static const struct {
        const char *name;
        enum dgf_blob_letter_folder is;
        int64_t begin, length; /* in hours since JANUARY */
    } cases[] = {
        {"T/S/2026/1/9/5/", DGF_BLOB_FOLDER_HOUR, 8 * 24 + 5, 1},
        {"T/S/2026/01/09/05/", DGF_BLOB_FOLDER_HOUR, 8 * 24 + 5, 1},
        {"S/2026/1/9/23/", DGF_BLOB_FOLDER_HOUR, 8 * 24 + 23, 1},
        {"2026/1/9/0/", DGF_BLOB_FOLDER_HOUR, 8 * 24, 1},
        {"T/S/2026/1/9/", DGF_BLOB_FOLDER_DATED, 8 * 24, 24},
        {"T/S/2026/1/", DGF_BLOB_FOLDER_DATED, 0, 31 * 24},
        {"T/S/2026/02/", DGF_BLOB_FOLDER_DATED, 31 * 24, 28 * 24},
        {"T/S/2025/12/", DGF_BLOB_FOLDER_DATED, -31 * 24, 31 * 24},
        {"T/2026/2026/1/", DGF_BLOB_FOLDER_DATED, 0, 31 * 24}, /* of such a name */
        {"T/S/2026/", DGF_BLOB_FOLDER_ABOVE, 0, 0},
        {"T/2026/2026/", DGF_BLOB_FOLDER_ABOVE, 0, 0},
        {"T/S/2026/1/9/24/", DGF_BLOB_FOLDER_ABOVE, 0, 0},
        {"T/S/2026/2/30/", DGF_BLOB_FOLDER_ABOVE, 0, 0},
        {"T/S/2026/13/", DGF_BLOB_FOLDER_ABOVE, 0, 0},
        {"T/S/2026/0/", DGF_BLOB_FOLDER_ABOVE, 0, 0},
        {"T/S/2026/1/0/", DGF_BLOB_FOLDER_ABOVE, 0, 0},
        {"T/S/2026/001/9/5/", DGF_BLOB_FOLDER_ABOVE, 0, 0},
        {"T/S/1601/1/9/5/", DGF_BLOB_FOLDER_ABOVE, 0, 0},
        {"T/S/2026/1/9/5", DGF_BLOB_FOLDER_ABOVE, 0, 0}, /* no folder */
        {"T/S/2026//9/", DGF_BLOB_FOLDER_ABOVE, 0, 0},
        {"T/S/+026/1/9/", DGF_BLOB_FOLDER_ABOVE, 0, 0},
        {"/", DGF_BLOB_FOLDER_ABOVE, 0, 0},
        {"", DGF_BLOB_FOLDER_ABOVE, 0, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t begin, end;

        ck_assert_msg(folder(cases[i].name, &begin, &end) == cases[i].is, "%s",
                      cases[i].name);
        if (cases[i].is == DGF_BLOB_FOLDER_ABOVE) {
            ck_assert(begin == -1 && end == -1);
            continue;
        }
        ck_assert_msg(begin == JANUARY + cases[i].begin * HOUR, "%s", cases[i].name);
        ck_assert_msg(end == begin + cases[i].length * HOUR, "%s", cases[i].name);
    }
}
END_TEST

START_TEST(hours_are_done_with_two_days_later_and_not_before_they_were_read)
{
    int64_t now = JANUARY + 9 * DAY + 5 * HOUR + 7;

    ck_assert_int_eq(dgf_blob_letter_hour(now), JANUARY + 9 * DAY + 5 * HOUR);
    ck_assert_int_eq(dgf_blob_letter_settled(now, now), JANUARY + 7 * DAY + 5 * HOUR);
    ck_assert_int_eq(dgf_blob_letter_settled(JANUARY + DAY, now), JANUARY + DAY);
    ck_assert_int_eq(dgf_blob_letter_settled(JANUARY + 8 * DAY, now),
                     JANUARY + 7 * DAY + 5 * HOUR);
}
END_TEST

/* Elements of a text, with '|' between them, and how it ended. */
static enum dgf_rc elements(const char *text, struct dgf_buf *out)
{
    struct dgf_bytes rest = dgf_bytes_str(text), one;
    bool in_list = false;
    enum dgf_rc rc;

    dgf_buf_clear(out);
    while ((rc = dgf_blob_letter_next(&rest, &in_list, &one)) == DGF_OK) {
        if (out->len)
            dgf_buf_add_byte(out, '|');
        dgf_buf_add_bytes(out, one);
    }
    return rc;
}

START_TEST(elements_of_a_list_are_found_without_reading_them)
{
    static const struct {
        const char *text, *found;
        enum dgf_rc rc;
    } cases[] = {
        {"", "", DGF_AGAIN},
        {" \n", "", DGF_AGAIN},
        {"[]", "", DGF_AGAIN},
        {" [ ] ", "", DGF_AGAIN},
        {"{\"a\": [1]}", "{\"a\": [1]}", DGF_AGAIN},
        {"\xef\xbb\xbf[{}]", "{}", DGF_AGAIN},
        {"[{\"a\":\"]},\\\"\"} , {\"b\":[[1],{}]}\n]\n",
         "{\"a\":\"]},\\\"\"}|{\"b\":[[1],{}]}", DGF_AGAIN},
        {"[5,null]", "5|null", DGF_AGAIN},
        {"[\x02 ,{}]", "\x02|{}", DGF_AGAIN},
        {"[{},]", "{}", DGF_BAD_DATA},
        {"[,{}]", "", DGF_BAD_DATA},
        {"[{}", "", DGF_BAD_DATA},
        {"[{},", "{}", DGF_BAD_DATA},
        {"[{}, {\"a\"", "{}", DGF_BAD_DATA},
        {"[{}, \"a\\", "{}", DGF_BAD_DATA},
        {"[{}] x", "{}", DGF_BAD_DATA},
        {"[}]", "", DGF_BAD_DATA},
        {"[", "", DGF_BAD_DATA},
        {"hello", "", DGF_BAD_DATA},
        {"5", "", DGF_BAD_DATA},
    };
    struct dgf_buf out;

    dgf_buf_init(&out, 4096);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(elements(cases[i].text, &out) == cases[i].rc, "%s",
                      cases[i].text);
        ck_assert_str_eq(dgf_buf_str(&out), cases[i].found);
    }
    dgf_buf_release(&out);
}
END_TEST

START_TEST(what_was_read_survives_a_restart_and_nothing_else_is_believed)
{
    struct dgf_blob_letters letters = {.where = "acct/dead",
                                       .from_ns = JANUARY,
                                       .first_bucket = 3,
                                       .end_bucket = 3 + DGF_BLOB_LETTER_NAMES_MAX};
    struct dgf_blob_letters back;
    struct dgf_buf bytes;

    dgf_buf_init(&bytes, 4096);
    dgf_blob_letters_put(&letters, &bytes);
    ck_assert(dgf_blob_letters_get(dgf_buf_bytes(&bytes), &back) == DGF_OK);
    ck_assert_str_eq(back.where, letters.where);
    ck_assert_int_eq(back.from_ns, letters.from_ns);
    ck_assert_uint_eq(back.first_bucket, letters.first_bucket);
    ck_assert_uint_eq(back.end_bucket, letters.end_bucket);
    for (size_t len = 0; len < bytes.len; len++)
        ck_assert(dgf_blob_letters_get(dgf_bytes_of(bytes.ptr, len), &back) ==
                  DGF_FATAL);
    bytes.ptr[0] = 9;
    ck_assert(dgf_blob_letters_get(dgf_buf_bytes(&bytes), &back) == DGF_FATAL);
    dgf_buf_clear(&bytes);
    letters.end_bucket++; /* more than there may be */
    dgf_blob_letters_put(&letters, &bytes);
    ck_assert(dgf_blob_letters_get(dgf_buf_bytes(&bytes), &back) == DGF_FATAL);
    dgf_buf_clear(&bytes);
    letters.end_bucket = 2; /* before the first */
    dgf_blob_letters_put(&letters, &bytes);
    ck_assert(dgf_blob_letters_get(dgf_buf_bytes(&bytes), &back) == DGF_FATAL);
    dgf_buf_release(&bytes);
}
END_TEST

DGF_UNIT(blob_letter, folders_are_of_hours_by_the_end_of_their_names,
         hours_are_done_with_two_days_later_and_not_before_they_were_read,
         elements_of_a_list_are_found_without_reading_them,
         what_was_read_survives_a_restart_and_nothing_else_is_believed)
