#include "bus/source.h"
#include "mongo_event.h"
#include "mongo_fixture.h"
#include "mongo_position.h"

static enum dgf_mongo_full full_of(const char *name)
{
    return strstr(name, "lookup")  ? DGF_MONGO_FULL_LOOKUP
           : strstr(name, "image") ? DGF_MONGO_FULL_AVAILABLE
                                   : DGF_MONGO_FULL_DEFAULT;
}

/* kind, op, transaction, and the body; or why there is none. */
static void event_gives(const char *name, struct dgf_bytes document, const char *wanted)
{
    struct dgf_mongo_change change = {0};
    struct dgf_event_meta meta = {0};
    struct dgf_event_builder builder;
    struct dgf_object *object = NULL;
    struct dgf_event *event = NULL;
    const char *why = "?";
    struct dgf_buf text;
    enum dgf_rc rc;

    dgf_buf_init(&text, 1 << 20);
    dgf_event_builder_init(&builder, 1 << 20);
    ck_assert(!dgf_object_new("mongo", "shop", "shop", "rows", NULL, 0, 1, &object));
    rc = dgf_mongo_change_read(document, &change, &why);
    if (!rc)
        rc =
            dgf_mongo_change_build(&change, full_of(name),
                                   change.database.len ? object : NULL, &builder, &why);
    if (rc) {
        ck_assert_int_eq(rc, DGF_BAD_DATA);
        dgf_buf_addf(&text, "bad data: %s", why);
    } else {
        ck_assert(!dgf_event_finish(&builder, &meta, &event));
        dgf_buf_addf(&text, "%s %s%s ", dgf_event_kind_text(event->kind),
                     dgf_op_text(event->op), change.in_tx ? " in a transaction" : "");
        ck_assert_msg(dgf_mp_check(event->body) == DGF_OK, "%s", name);
        show(event->body, &text);
    }
    ck_assert_msg(!strcmp(dgf_buf_str(&text), wanted), "%s:\n got    %s\n wanted %s",
                  name, dgf_buf_str(&text), wanted);
    dgf_event_unref(event);
    dgf_object_unref(object);
    dgf_event_builder_release(&builder);
    dgf_buf_release(&text);
}

START_TEST(recorded_events_give_what_stands_beside_them)
{
    ck_assert_int_ge(each_line("mongo_events.txt", event_gives), 40);
}
END_TEST

START_TEST(a_star_stays_inside_a_part_and_two_cross)
{
    static const struct {
        const char *pattern, *name;
        bool matches;
    } cases[] = {{"shop.*", "shop.rows", true},   {"shop.*", "shop.a.b", false},
                 {"shop.**", "shop.a.b", true},   {"*.rows", "shop.rows", true},
                 {"*.rows", "shop.rows2", false}, {"**", "a.b.c", true},
                 {"shop.r*s", "shop.rows", true}, {"shop.rows", "shop.row", false},
                 {"shop.row", "shop.rows", false}};

    for (size_t i = 0; i < DGF_ARRAY_LEN(cases); i++)
        ck_assert_msg(
            dgf_mongo_name_matches(cases[i].pattern, dgf_bytes_str(cases[i].name)) ==
                cases[i].matches,
            "%s %s", cases[i].pattern, cases[i].name);
}
END_TEST

static const uint8_t token[] = "\x0e\0\0\0\x02x\0\x02\0\0\0y\0";

START_TEST(a_position_comes_back_whole_and_shows_time_and_token)
{
    struct dgf_mongo_position position = {.how = DGF_MONGO_START_AFTER,
                                          .stopped = true,
                                          .system = "set",
                                          .time = 7ULL << 32 | 3,
                                          .floor = 6ULL << 32 | 1,
                                          .ordinal = 4,
                                          .tx_len = 2,
                                          .tx = "ab",
                                          .shape = {"scope", "names", "images"}},
                              back;
    struct dgf_buf bytes, text;

    position.token = dgf_bytes_of(token, 14);
    dgf_buf_init(&bytes, 1000);
    dgf_buf_init(&text, 1000);
    dgf_mongo_position_write(&position, &bytes);
    ck_assert(dgf_mongo_position_read(dgf_buf_bytes(&bytes), &back));
    ck_assert(back.how == DGF_MONGO_START_AFTER && back.stopped && back.ordinal == 4);
    ck_assert(back.time == position.time && back.floor == position.floor);
    ck_assert(back.tx_len == 2 && !memcmp(back.tx, "ab", 2));
    ck_assert(dgf_bytes_eq(back.token, position.token));
    ck_assert(!memcmp(back.system, position.system, sizeof(back.system)));
    ck_assert(!memcmp(&back.shape, &position.shape, sizeof(back.shape)));
    dgf_mongo_position_text(dgf_buf_bytes(&bytes), &text);
    ck_assert_int_eq(strncmp(dgf_buf_str(&text), "7.3:", 4), 0);
    ck_assert_uint_eq(text.len, 12);
    for (size_t len = 0; len < bytes.len; len++)
        ck_assert(!dgf_mongo_position_read(dgf_bytes_of(bytes.ptr, len), &back));
    dgf_buf_clear(&bytes);
    dgf_buf_clear(&text);
    position.how = DGF_MONGO_AT_TIME;
    position.token = (struct dgf_bytes){0};
    dgf_mongo_position_write(&position, &bytes);
    dgf_mongo_position_text(dgf_buf_bytes(&bytes), &text);
    ck_assert_str_eq(dgf_buf_str(&text), "7.3:-");
    bytes.ptr[1] = DGF_MONGO_RESUME_AFTER; /* which needs a token */
    ck_assert(!dgf_mongo_position_read(dgf_buf_bytes(&bytes), &back));
    dgf_buf_release(&bytes);
    dgf_buf_release(&text);
}
END_TEST

START_TEST(a_position_of_the_first_version_has_no_shape)
{
    static const uint8_t head[] = {1, DGF_MONGO_RESUME_AFTER, 0};
    struct dgf_mongo_position back;
    static const struct dgf_mongo_shape unknown;
    struct dgf_buf bytes;

    dgf_buf_init(&bytes, 1000);
    dgf_buf_add(&bytes, head, sizeof(head));
    dgf_buf_add(&bytes, "replica set ", 12);
    dgf_buf_add_le64(&bytes, 7ULL << 32 | 3);
    dgf_buf_add_le64(&bytes, 6ULL << 32 | 1);
    dgf_buf_add_le32(&bytes, 0);
    dgf_buf_add_byte(&bytes, 0);
    dgf_buf_add(&bytes, token, 14);
    ck_assert(dgf_mongo_position_read(dgf_buf_bytes(&bytes), &back));
    ck_assert(back.floor == (6ULL << 32 | 1) && back.token.len == 14);
    ck_assert(!memcmp(&back.shape, &unknown, sizeof(unknown)));
    bytes.ptr[0] = 3; /* a later one */
    ck_assert(!dgf_mongo_position_read(dgf_buf_bytes(&bytes), &back));
    dgf_buf_release(&bytes);
}
END_TEST

/* {_data: text} */
static struct dgf_bytes data_token(const char *text, struct dgf_buf *buf)
{
    size_t len = strlen(text) + 1;

    dgf_buf_init(buf, 100);
    dgf_buf_add_le32(buf, (uint32_t)(4 + 1 + 6 + 4 + len + 1));
    dgf_buf_add(buf, "\x02_data", 7);
    dgf_buf_add_le32(buf, (uint32_t)len);
    dgf_buf_add(buf, text, len);
    dgf_buf_add_byte(buf, 0);
    return dgf_buf_bytes(buf);
}

START_TEST(tokens_are_compared_by_their_text)
{
    struct dgf_buf a, b, c;
    struct dgf_bytes one = data_token("8265AA", &a), two = data_token("8265AB", &b),
                     longer = data_token("8265AA00", &c);

    ck_assert(dgf_mongo_token_is_behind(two, one));
    ck_assert(dgf_mongo_token_is_behind(longer, one));
    ck_assert(!dgf_mongo_token_is_behind(one, one));
    ck_assert(!dgf_mongo_token_is_behind(one, two));
    ck_assert(!dgf_mongo_token_is_behind(one, longer));
    ck_assert(!dgf_mongo_token_is_behind(dgf_bytes_of(token, 14), one));
    ck_assert(!dgf_mongo_token_is_behind(one, (struct dgf_bytes){0}));
    dgf_buf_release(&a);
    dgf_buf_release(&b);
    dgf_buf_release(&c);
}
END_TEST

START_TEST(errors_mean_what_the_specification_says)
{
    ck_assert_int_eq(dgf_mongo_fate_of(286, true, false), DGF_MONGO_FATE_LOST);
    ck_assert_int_eq(dgf_mongo_fate_of(286, false, false), DGF_MONGO_FATE_LOST);
    ck_assert_int_eq(dgf_mongo_fate_of(464, false, false), DGF_MONGO_FATE_LOST);
    ck_assert_int_eq(dgf_mongo_fate_of(136, true, true), DGF_MONGO_FATE_LOST);
    ck_assert_int_eq(dgf_mongo_fate_of(136, false, true), DGF_MONGO_FATE_RESUME);
    ck_assert_int_eq(dgf_mongo_fate_of(280, true, false), DGF_MONGO_FATE_INVALID);
    ck_assert_int_eq(dgf_mongo_fate_of(280, false, false), DGF_MONGO_FATE_POISON);
    ck_assert_int_eq(dgf_mongo_fate_of(10334, false, false), DGF_MONGO_FATE_POISON);
    ck_assert_int_eq(dgf_mongo_fate_of(47, false, false), DGF_MONGO_FATE_POISON);
    ck_assert_int_eq(dgf_mongo_fate_of(260, true, false), DGF_MONGO_FATE_INVALID);
    ck_assert_int_eq(dgf_mongo_fate_of(260, false, false), DGF_MONGO_FATE_FAIL);
    ck_assert_int_eq(dgf_mongo_fate_of(50811, true, false), DGF_MONGO_FATE_INVALID);
    ck_assert_int_eq(dgf_mongo_fate_of(43, false, false), DGF_MONGO_FATE_RESUME);
    /* An error of aggregate is never resumed. */
    ck_assert_int_eq(dgf_mongo_fate_of(43, true, true), DGF_MONGO_FATE_FAIL);
    ck_assert_int_eq(dgf_mongo_fate_of(13, false, false), DGF_MONGO_FATE_FAIL);
    ck_assert_int_eq(dgf_mongo_fate_of(8000, false, true), DGF_MONGO_FATE_RESUME);
}
END_TEST

DGF_UNIT(mongo_event, recorded_events_give_what_stands_beside_them,
         a_star_stays_inside_a_part_and_two_cross,
         a_position_comes_back_whole_and_shows_time_and_token,
         a_position_of_the_first_version_has_no_shape,
         tokens_are_compared_by_their_text, errors_mean_what_the_specification_says)
