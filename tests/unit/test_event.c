#include "bus/event.h"

#include <stdio.h>

#include "bus/source.h"
#include "unit.h"

#define B(text) dgf_bytes_str(text)

static const struct dgf_column columns[] = {
    {.name = "id", .type = DGF_TYPE_INT, .key = true},
    {.name = "note",
     .type = DGF_TYPE_TEXT,
     .comment = "free text",
     .type_name = "text"},
    {.name = "body", .type = DGF_TYPE_TEXT},
};

static struct dgf_object *new_object(void)
{
    struct dgf_object *object = NULL;

    ck_assert_int_eq(
        dgf_object_new("postgres", "db", "shop", "order_notes", columns, 3, 7, &object),
        DGF_OK);
    return object;
}

static struct dgf_event *finish(struct dgf_event_builder *builder)
{
    struct dgf_event_meta meta = {.commit_ns = 5,
                                  .tx = DGF_BYTES("748"),
                                  .position = DGF_BYTES("pos"),
                                  .tx_n = 2};
    struct dgf_event *event = NULL;

    ck_assert_int_eq(dgf_event_finish(builder, &meta, &event), DGF_OK);
    return event;
}

/* after: {id: 7, note: null, body: unavailable}, before: not there */
static struct dgf_event *new_insert(struct dgf_event_builder *builder,
                                    struct dgf_object *object)
{
    dgf_event_begin(builder, object, DGF_KIND_CHANGE, DGF_OP_INSERT);
    dgf_event_section_nil(builder, DGF_SECTION_BEFORE);
    dgf_event_section(builder, DGF_SECTION_AFTER);
    dgf_mp_put_int(dgf_event_column(builder, 0), 7);
    dgf_mp_put_nil(dgf_event_column(builder, 1));
    dgf_mp_put_unavailable(dgf_event_column(builder, 2), DGF_UNAVAILABLE_TOAST);
    dgf_event_section_end(builder);
    return finish(builder);
}

static struct dgf_mp_token token_of(struct dgf_bytes value)
{
    struct dgf_mp mp = dgf_mp_of(value);
    struct dgf_mp_token token;

    ck_assert_int_eq(dgf_mp_next(&mp, &token), DGF_OK);
    ck_assert_ptr_eq(mp.ptr, mp.end); /* exactly one */
    return token;
}

START_TEST(present_null_absent_and_unavailable_stay_apart)
{
    struct dgf_object *object = new_object();
    struct dgf_event_builder builder;
    struct dgf_event *event;

    dgf_event_builder_init(&builder, 4096);
    event = new_insert(&builder, object);
    ck_assert_int_eq(token_of(dgf_event_field(event, DGF_SECTION_AFTER, B("id"))).i64,
                     7);
    ck_assert_int_eq(
        token_of(dgf_event_field(event, DGF_SECTION_AFTER, B("note"))).kind,
        DGF_MP_NIL);
    ck_assert_int_eq(token_of(dgf_event_field(event, DGF_SECTION_AFTER, B("body"))).ext,
                     DGF_EXT_UNAVAILABLE);
    ck_assert_uint_eq(dgf_event_field(event, DGF_SECTION_AFTER, B("other")).len, 0);
    ck_assert_uint_eq(dgf_event_field(event, DGF_SECTION_BEFORE, B("id")).len, 0);
    ck_assert(dgf_event_section_is_null(event, DGF_SECTION_BEFORE));
    ck_assert(!dgf_event_section_is_null(event, DGF_SECTION_AFTER));
    ck_assert(dgf_event_section_is_map(event, DGF_SECTION_AFTER));
    ck_assert(dgf_event_section_is_null(event, DGF_SECTION_ACTOR));
    ck_assert(!dgf_event_section_is_unavailable(event, DGF_SECTION_BEFORE));
    ck_assert_int_eq(dgf_mp_check(event->body), DGF_OK);
    dgf_event_unref(event);
    dgf_event_builder_release(&builder);
    dgf_object_unref(object);
}
END_TEST

START_TEST(an_event_outlives_its_builder_and_holds_its_object)
{
    struct dgf_object *object = new_object();
    struct dgf_event_builder builder;
    struct dgf_event *event;

    dgf_event_builder_init(&builder, 4096);
    event = new_insert(&builder, object);
    dgf_event_builder_release(&builder);
    dgf_object_unref(object);
    ck_assert_str_eq(event->object->text, "shop.order_notes");
    ck_assert(dgf_bytes_eq(event->tx, B("748")));
    ck_assert(dgf_bytes_eq(event->position, B("pos")));
    ck_assert_uint_eq(event->tx_n, 2);
    ck_assert_ptr_eq(dgf_event_ref(event), event);
    dgf_event_unref(event);
    ck_assert_int_eq(token_of(dgf_event_field(event, DGF_SECTION_AFTER, B("id"))).i64,
                     7);
    dgf_event_unref(event);
    dgf_event_unref(NULL);
}
END_TEST

START_TEST(a_builder_forgets_the_slots_of_the_event_before)
{
    struct dgf_object *object = new_object();
    struct dgf_event_builder builder;
    struct dgf_event *event;

    dgf_event_builder_init(&builder, 4096);
    dgf_event_unref(new_insert(&builder, object));
    dgf_event_begin(&builder, object, DGF_KIND_CHANGE, DGF_OP_DELETE);
    dgf_event_section(&builder, DGF_SECTION_BEFORE);
    dgf_mp_put_int(dgf_event_named(&builder, B("id")), 300);
    dgf_event_section_end(&builder);
    event = finish(&builder);
    ck_assert_uint_eq(dgf_event_slot(event, true, 0).len, 0);
    ck_assert_uint_eq(dgf_event_slot(event, false, 1).len, 0);
    ck_assert_uint_eq(dgf_event_slot(event, false, 99).len, 0);
    /* by name it got its slot too */
    ck_assert_uint_gt(dgf_event_slot(event, false, 0).len, 0);
    ck_assert_int_eq(token_of(dgf_event_field(event, DGF_SECTION_BEFORE, B("id"))).i64,
                     300);
    dgf_event_unref(event);
    dgf_event_builder_release(&builder);
    dgf_object_unref(object);
}
END_TEST

struct keys {
    char text[256];
};

static void add_key(void *ctx, struct dgf_bytes name, struct dgf_bytes value,
                    int column)
{
    struct keys *keys = ctx;
    size_t len = strlen(keys->text);

    (void)snprintf(keys->text + len, sizeof(keys->text) - len, "%.*s=%d@%d;",
                   (int)name.len, (const char *)name.ptr, (int)token_of(value).i64,
                   column);
}

static const char *key_of(const struct dgf_event *event, struct keys *keys)
{
    keys->text[0] = '\0';
    dgf_event_key(event, add_key, keys);
    return keys->text;
}

START_TEST(the_key_is_the_section_or_the_key_columns_of_the_row)
{
    struct dgf_object *object = new_object();
    struct dgf_event_builder builder;
    struct dgf_event *event;
    struct keys keys;

    dgf_event_builder_init(&builder, 4096);
    event = new_insert(&builder, object);
    ck_assert_str_eq(key_of(event, &keys), "id=7@0;");
    dgf_event_unref(event);

    dgf_event_begin(&builder, object, DGF_KIND_CHANGE, DGF_OP_UPDATE);
    dgf_event_section(&builder, DGF_SECTION_BEFORE);
    dgf_mp_put_int(dgf_event_column(&builder, 0), 1);
    dgf_event_section_end(&builder);
    dgf_event_section(&builder, DGF_SECTION_AFTER);
    dgf_mp_put_int(dgf_event_column(&builder, 0), 2);
    dgf_event_section_end(&builder);
    event = finish(&builder);
    ck_assert_str_eq(key_of(event, &keys), "id=2@0;");
    dgf_event_unref(event);

    dgf_event_begin(&builder, object, DGF_KIND_CHANGE, DGF_OP_DELETE);
    dgf_event_section(&builder, DGF_SECTION_BEFORE);
    dgf_mp_put_int(dgf_event_column(&builder, 0), 3);
    dgf_event_section_end(&builder);
    dgf_event_section_nil(&builder, DGF_SECTION_AFTER);
    event = finish(&builder);
    ck_assert_str_eq(key_of(event, &keys), "id=3@0;");
    dgf_event_unref(event);

    dgf_event_begin(&builder, object, DGF_KIND_CHANGE, DGF_OP_DELETE);
    dgf_event_section(&builder, DGF_SECTION_KEY);
    dgf_mp_put_int(dgf_event_named(&builder, B("path")), 4);
    dgf_mp_put_int(dgf_event_named(&builder, B("id")), 5);
    dgf_event_section_end(&builder);
    event = finish(&builder);
    ck_assert_str_eq(key_of(event, &keys), "path=4@-1;id=5@0;");
    dgf_event_unref(event);

    dgf_event_builder_release(&builder);
    dgf_object_unref(object);
}
END_TEST

START_TEST(documents_have_fields_without_columns)
{
    struct dgf_object *object = NULL;
    struct dgf_event_builder builder;
    struct dgf_event *event;

    ck_assert_int_eq(dgf_object_new("mongo", NULL, "shop", "a.b", NULL, 0, 1, &object),
                     DGF_OK);
    ck_assert_str_eq(object->text, "shop.\"a.b\"");
    dgf_event_builder_init(&builder, 4096);
    dgf_event_begin(&builder, object, DGF_KIND_CHANGE, DGF_OP_REPLACE);
    dgf_event_section(&builder, DGF_SECTION_AFTER);
    dgf_mp_put_str(dgf_event_named(&builder, B("x")), B("y"));
    dgf_event_section_end(&builder);
    event = finish(&builder);
    ck_assert_uint_eq(event->n_slots, 0);
    ck_assert(dgf_bytes_eq(
        token_of(dgf_event_field(event, DGF_SECTION_AFTER, B("x"))).bytes, B("y")));
    dgf_event_unref(event);
    dgf_event_builder_release(&builder);
    dgf_object_unref(object);
}
END_TEST

START_TEST(a_body_over_its_cap_is_refused_and_the_builder_goes_on)
{
    struct dgf_object *object = new_object();
    struct dgf_event_builder builder;
    struct dgf_event_meta meta = {.commit_ns = 1};
    struct dgf_event *event = NULL;
    char big[300] = {0};

    dgf_event_builder_init(&builder, 128);
    dgf_event_begin(&builder, object, DGF_KIND_CHANGE, DGF_OP_INSERT);
    dgf_event_section(&builder, DGF_SECTION_AFTER);
    dgf_mp_put_str(dgf_event_column(&builder, 1), dgf_bytes_of(big, sizeof(big)));
    dgf_event_section_end(&builder);
    ck_assert_int_eq(dgf_event_finish(&builder, &meta, &event), DGF_NOMEM);
    ck_assert_ptr_null(event);
    dgf_event_unref(new_insert(&builder, object));
    dgf_event_builder_release(&builder);
    dgf_object_unref(object);
}
END_TEST

START_TEST(a_gap_says_why_and_where)
{
    struct dgf_event_builder builder;
    struct dgf_event_meta meta = {.commit_ns = 1, .position = DGF_BYTES("p")};
    const char *const detail[] = {"slot", "dgf_orders", "sqlstate", ""};
    struct dgf_event *event = NULL;
    struct dgf_bytes found, value;

    dgf_event_builder_init(&builder, 4096);
    ck_assert_int_eq(dgf_event_gap(&builder, DGF_GAP_SLOT_RECREATED, NULL, "1/0/5.0",
                                   "slot was made anew", detail, 2, &meta, &event),
                     DGF_OK);
    ck_assert_int_eq(event->kind, DGF_KIND_GAP);
    ck_assert(dgf_bytes_eq(
        token_of(dgf_event_field(event, DGF_SECTION_EXTRA, B("reason"))).bytes,
        B("slot_recreated")));
    ck_assert_uint_eq(dgf_event_field(event, DGF_SECTION_EXTRA, B("from")).len, 0);
    ck_assert(
        dgf_bytes_eq(token_of(dgf_event_field(event, DGF_SECTION_EXTRA, B("to"))).bytes,
                     B("1/0/5.0")));
    found = dgf_event_field(event, DGF_SECTION_EXTRA, B("detail"));
    ck_assert_int_eq(dgf_mp_find(found, B("slot"), &value), DGF_OK);
    ck_assert(dgf_bytes_eq(token_of(value).bytes, B("dgf_orders")));
    dgf_event_unref(event);
    dgf_event_builder_release(&builder);
}
END_TEST

START_TEST(names_are_quoted_only_where_they_must_be)
{
    static const char *const table[][3] = {
        {"shop", "orders", "shop.orders"},  {"a.b", "c", "\"a.b\".c"},
        {"a", "b\"c", "a.\"b\"\"c\""},      {"", "x", "\"\".x"},
        {NULL, "stream:1.2", "stream:1.2"}, {"a b", "C", "a b.C"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct dgf_buf buf;

        dgf_buf_init(&buf, 256);
        dgf_object_name(&buf, table[i][0], table[i][1]);
        ck_assert_str_eq(dgf_buf_str(&buf), table[i][2]);
        dgf_buf_release(&buf);
    }
}
END_TEST

START_TEST(an_object_copies_its_columns_and_finds_them_by_name)
{
    struct dgf_object *object = new_object(), *second = new_object();

    ck_assert_int_eq(dgf_object_column(object, B("body")), 2);
    ck_assert_int_eq(dgf_object_column(object, B("Body")), -1);
    ck_assert_ptr_ne(object->columns[1].name, columns[1].name);
    ck_assert_str_eq(object->columns[1].comment, "free text");
    ck_assert_str_eq(object->columns[1].type_name, "text");
    ck_assert_ptr_null(object->columns[0].comment);
    ck_assert_uint_eq(object->n_keys, 1);
    ck_assert_uint_eq(object->version, 7);
    ck_assert_uint_ne(object->serial, second->serial);
    dgf_object_unref(object);
    dgf_object_unref(second);
    dgf_object_unref(NULL);
}
END_TEST

/* ---- from outside ---- */

struct outside {
    struct dgf_object *object;
    struct dgf_event_builder builder;
    struct dgf_event *event;
    struct dgf_err err;
};

static enum dgf_rc read_body(struct outside *self, struct dgf_bytes body)
{
    struct dgf_event_meta meta = {.commit_ns = 1};

    return dgf_event_from_msgpack(&self->builder, self->object, DGF_KIND_CHANGE,
                                  DGF_OP_UPDATE, body, &meta, &self->event, &self->err);
}

static void open_outside(struct outside *self)
{
    memset(self, 0, sizeof(*self));
    self->object = new_object();
    dgf_event_builder_init(&self->builder, 4096);
}

static void close_outside(struct outside *self)
{
    dgf_event_unref(self->event);
    dgf_event_builder_release(&self->builder);
    dgf_object_unref(self->object);
}

START_TEST(an_event_read_from_its_own_body_is_the_same)
{
    struct outside self;
    struct dgf_event *event;

    open_outside(&self);
    event = new_insert(&self.builder, self.object);
    ck_assert_int_eq(read_body(&self, event->body), DGF_OK);
    ck_assert(dgf_bytes_eq(self.event->body, event->body));
    for (uint32_t i = 0; i < 2 * event->n_slots; i++)
        ck_assert_uint_eq(self.event->slots[i], event->slots[i]);
    dgf_event_unref(event);
    close_outside(&self);
}
END_TEST

START_TEST(short_maps_of_other_writers_are_read_too)
{
    struct outside self;

    open_outside(&self);
    /* {after: {note: "x", id: 300}, changed: ["id"], before: nil} */
    ck_assert_int_eq(
        read_body(&self, DGF_BYTES("\x83\xa5"
                                   "after\x82\xa4note\xa1x\xa2id\xcd\x01\x2c"
                                   "\xa7"
                                   "changed\x91\xa2id\xa6"
                                   "before\xc0")),
        DGF_OK);
    ck_assert_int_eq(
        token_of(dgf_event_field(self.event, DGF_SECTION_AFTER, B("id"))).i64, 300);
    ck_assert(dgf_event_section_is_null(self.event, DGF_SECTION_BEFORE));
    ck_assert_uint_eq(self.event->sections[DGF_SECTION_CHANGED].len, 4);
    close_outside(&self);
}
END_TEST

START_TEST(a_body_that_is_no_event_is_refused_with_its_reason)
{
    static const struct {
        struct dgf_bytes body;
        const char *text;
    } table[] = {
        {DGF_BYTES(""), "cannot read event: its body is not msgpack"},
        {DGF_BYTES("\xc1"), "cannot read event: its body is not msgpack"},
        {DGF_BYTES("\x80\x80"), "cannot read event: its body is not msgpack"},
        {DGF_BYTES("\x90"), "cannot read event: its body is not a map"},
        {DGF_BYTES("\x81\x01\x02"), "cannot read event: a section name is not a text"},
        {DGF_BYTES("\x81\xa3"
                   "foo\x80"),
         "cannot read event: unknown section"},
        {DGF_BYTES("\x82\xa3key\x80\xa3key\x80"),
         "cannot read event: section 'key' is there twice"},
        {DGF_BYTES("\x81\xa5"
                   "after\x01"),
         "cannot read section 'after': it is not a map"},
        {DGF_BYTES("\x81\xa7"
                   "changed\x80"),
         "cannot read section 'changed': it is not a list of names"},
        {DGF_BYTES("\x81\xa7"
                   "changed\x91\x01"),
         "cannot read section 'changed': it is not a list of names"},
        {DGF_BYTES("\x81\xa5"
                   "after\x81\x01\x02"),
         "cannot read section 'after': a field name is not a text"},
        {DGF_BYTES("\x81\xa5"
                   "after\x82\xa2id\x01\xa2id\x02"),
         "cannot read section 'after': a field is there twice"},
    };
    struct outside self;

    open_outside(&self);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        ck_assert_int_eq(read_body(&self, table[i].body), DGF_BAD_DATA);
        ck_assert_str_eq(self.err.text, table[i].text);
        ck_assert_ptr_null(self.event);
    }
    close_outside(&self);
}
END_TEST

START_TEST(a_field_that_is_there_twice_among_many_is_found)
{
    struct outside self;
    struct dgf_buf body;

    open_outside(&self);
    dgf_buf_init(&body, 4096);
    for (int twice = 0; twice < 2; twice++) {
        dgf_buf_clear(&body);
        dgf_buf_add_str(&body, "\x81\xa5"
                               "after");
        dgf_mp_put_map(&body, 40);
        for (int i = 0; i < 40; i++) {
            char name[2] = {(char)('A' + (twice && i == 39 ? 20 : i)), '\0'};

            dgf_mp_put_str(&body, B(name));
            dgf_mp_put_int(&body, i);
        }
        ck_assert_int_eq(read_body(&self, dgf_buf_bytes(&body)),
                         twice ? DGF_BAD_DATA : DGF_OK);
    }
    dgf_buf_release(&body);
    close_outside(&self);
}
END_TEST

START_TEST(a_body_from_outside_over_the_cap_is_refused)
{
    struct outside self;
    struct dgf_buf body;
    char big[5000] = {0};

    open_outside(&self);
    dgf_buf_init(&body, 8192);
    dgf_buf_add_str(&body, "\x81\xa5"
                           "after\x81\xa4note");
    dgf_mp_put_str(&body, dgf_bytes_of(big, sizeof(big)));
    ck_assert_int_eq(read_body(&self, dgf_buf_bytes(&body)), DGF_NOMEM);
    ck_assert_str_eq(self.err.text,
                     "cannot read event: out of memory or over 4096 bytes");
    dgf_buf_release(&body);
    close_outside(&self);
}
END_TEST

/* ---- source.h ---- */

static char said[256];
static enum dgf_rc said_rc;

static void host_fail(struct dgf_source *src, enum dgf_rc rc, const char *text)
{
    (void)src;
    said_rc = rc;
    (void)snprintf(said, sizeof(said), "%s", text);
}

static void host_state(struct dgf_source *src, enum dgf_source_state state,
                       const char *reason)
{
    (void)src;
    (void)snprintf(said, sizeof(said), "%s: %s", dgf_source_state_text(state), reason);
}

START_TEST(a_source_speaks_to_its_host)
{
    const struct dgf_source_host host = {.fail = host_fail, .state = host_state};
    struct dgf_source source = {.host = &host};

    dgf_source_fail(&source, DGF_RETRY, "cannot read '%s': %d", "slot", 7);
    ck_assert_str_eq(said, "cannot read 'slot': 7");
    ck_assert_int_eq(said_rc, DGF_RETRY);
    dgf_source_state(&source, DGF_STATE_STANDBY, "slot is active for pid %d", 812);
    ck_assert_str_eq(said, "standby: slot is active for pid 812");
}
END_TEST

START_TEST(a_finding_about_a_source_begins_with_its_name_and_type)
{
    const struct dgf_source_type type = {.name = "postgres"};
    struct dgf_source source = {.type = &type, .name = "orders"};
    struct dgf_findings findings;

    dgf_findings_init(&findings);
    dgf_source_finding(&source, &findings, DGF_FINDING_WARNING, "W0614",
                       "slot '%s' is %d bytes behind", "dgf", 7);
    ck_assert_uint_eq(findings.n, 1);
    ck_assert_uint_eq(findings.n_warnings, 1);
    ck_assert_str_eq(findings.list[0].code, "W0614");
    ck_assert_str_eq(findings.list[0].text,
                     "sources.orders (postgres): slot 'dgf' is 7 bytes behind");
    ck_assert_ptr_null(findings.list[0].mark.file);
    dgf_findings_release(&findings);
}
END_TEST

DGF_UNIT(event, present_null_absent_and_unavailable_stay_apart,
         an_event_outlives_its_builder_and_holds_its_object,
         a_builder_forgets_the_slots_of_the_event_before,
         the_key_is_the_section_or_the_key_columns_of_the_row,
         documents_have_fields_without_columns,
         a_body_over_its_cap_is_refused_and_the_builder_goes_on,
         a_gap_says_why_and_where, names_are_quoted_only_where_they_must_be,
         an_object_copies_its_columns_and_finds_them_by_name,
         an_event_read_from_its_own_body_is_the_same,
         short_maps_of_other_writers_are_read_too,
         a_body_that_is_no_event_is_refused_with_its_reason,
         a_field_that_is_there_twice_among_many_is_found,
         a_body_from_outside_over_the_cap_is_refused, a_source_speaks_to_its_host,
         a_finding_about_a_source_begins_with_its_name_and_type)
