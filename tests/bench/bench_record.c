/* What one row costs between a connector and the ledger: building its event,
 * writing its audit record.  One JSON line each: the median of the runs. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "bus/detect.h"
#include "bus/record_write.h"

#define RUNS 11
#define ROWS 200000

static const struct dgf_column columns[10] = {
    {.name = "id", .type = DGF_TYPE_INT, .key = true},
    {.name = "customer_id", .type = DGF_TYPE_INT},
    {.name = "status", .type = DGF_TYPE_TEXT},
    {.name = "amount", .type = DGF_TYPE_DECIMAL},
    {.name = "currency", .type = DGF_TYPE_TEXT},
    {.name = "note", .type = DGF_TYPE_TEXT},
    {.name = "created_at", .type = DGF_TYPE_TIMESTAMP},
    {.name = "created_by", .type = DGF_TYPE_TEXT},
    {.name = "active", .type = DGF_TYPE_BOOL},
    {.name = "version", .type = DGF_TYPE_INT},
};

static struct dgf_object *object;
static struct dgf_event_builder builder;
static struct dgf_recorder recorder;
static struct dgf_event *event;
static uint64_t seq, bytes;

static void need(enum dgf_rc rc)
{
    if (rc) {
        fprintf(stderr, "bench_record: failed with %d\n", (int)rc);
        exit(EXIT_FAILURE);
    }
}

/* A position as PostgreSQL's: three numbers as hex, decimal and ordinal. */
static void position_text(struct dgf_bytes position, struct dgf_buf *out)
{
    static const char digits[] = "0123456789ABCDEF";
    char low[8];

    dgf_buf_add_str(out, "1/0/");
    for (int i = 0; i < 4; i++) {
        low[2 * i] = digits[position.ptr[i] >> 4];
        low[2 * i + 1] = digits[position.ptr[i] & 15];
    }
    dgf_buf_add(out, low, sizeof(low));
    dgf_buf_add_byte(out, '.');
    dgf_buf_add_u64(out, position.ptr[7]);
}

static const struct dgf_source_type type = {.name = "postgres",
                                            .position_text = position_text};
static struct dgf_source source = {.type = &type, .name = "orders"};

static uint64_t next_seq(void *ctx)
{
    (void)ctx;
    return seq;
}

static enum dgf_rc put(void *ctx, struct dgf_bytes header, struct dgf_bytes line)
{
    (void)ctx;
    seq++;
    bytes += header.len + line.len;
    return DGF_OK;
}

static struct dgf_event *build(uint64_t n)
{
    uint8_t position[24] = {0x16, 0xb3, (uint8_t)(n >> 8), (uint8_t)n, 0, 0, 0, 3};
    struct dgf_event_meta meta = {.commit_ns =
                                      1772442000000000000 + (int64_t)(n * 1000),
                                  .seen_ns = 1772442000000000000,
                                  .tx_n = 3,
                                  .tx = DGF_BYTES("748"),
                                  .position = dgf_bytes_of(position, sizeof(position))};
    struct dgf_event *built = NULL;

    memcpy(meta.id.b, &n, sizeof(n));
    dgf_event_begin(&builder, object, DGF_KIND_CHANGE, DGF_OP_INSERT);
    dgf_event_section_nil(&builder, DGF_SECTION_BEFORE);
    dgf_event_section(&builder, DGF_SECTION_AFTER);
    dgf_mp_put_int(dgf_event_column(&builder, 0), (int64_t)n);
    dgf_mp_put_int(dgf_event_column(&builder, 1), 123456);
    dgf_mp_put_str(dgf_event_column(&builder, 2), DGF_BYTES("approved"));
    dgf_mp_put_decimal(dgf_event_column(&builder, 3), DGF_BYTES("12000.50"));
    dgf_mp_put_str(dgf_event_column(&builder, 4), DGF_BYTES("EUR"));
    dgf_mp_put_str(dgf_event_column(&builder, 5),
                   DGF_BYTES("a short note on the order"));
    dgf_mp_put_time_ns(dgf_event_column(&builder, 6), meta.commit_ns);
    dgf_mp_put_str(dgf_event_column(&builder, 7), DGF_BYTES("user_a"));
    dgf_mp_put_bool(dgf_event_column(&builder, 8), true);
    dgf_mp_put_int(dgf_event_column(&builder, 9), 7);
    dgf_event_section_end(&builder);
    need(dgf_event_finish(&builder, &meta, &built));
    built->source = &source;
    return built;
}

static void build_rows(void)
{
    for (uint64_t i = 0; i < ROWS; i++)
        dgf_event_unref(build(1000000 + i));
}

static void audit_rows(void)
{
    struct dgf_judged judged = {
        .n_policies = 4, .verdict = DGF_VERDICT_PASS, .audit = true};

    for (uint64_t i = 0; i < ROWS; i++)
        need(dgf_record_audit(&recorder, event, &judged));
}

static void detect_rows(void)
{
    static const char text[] =
        "Customer called about order 1042 of 2026-03-02 and asks for a copy of the invoice "
        "over 12,000.50 EUR; warehouse says parcel 00340434161094021501 left on Monday. "
        "Please answer before Friday, ticket #48213, and note that the address in Lyon changed "
        "to 12 rue de la Paix, 69001.  Nothing else to do here.";
    struct dgf_found found;

    for (uint64_t i = 0; i < ROWS; i++)
        bytes +=
            dgf_detect(dgf_bytes_of(text, sizeof(text) - 1), 0, DGF_DETECT_ANY, &found);
}

static int by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void measure(const char *what, void (*run)(void))
{
    int64_t times[RUNS];

    for (int i = 0; i < RUNS; i++) {
        int64_t start = dgf_clock_mono_ns();

        run();
        times[i] = dgf_clock_mono_ns() - start;
    }
    qsort(times, RUNS, sizeof(times[0]), by_time);
    printf("{\"what\":\"%s\",\"ns\":%.1f,\"runs\":%d,\"spread\":%.2f}\n", what,
           (double)times[RUNS / 2] / ROWS, RUNS,
           (double)(times[RUNS - 1] - times[0]) / (double)times[RUNS / 2]);
}

int main(void)
{
    const uint8_t key[32] = {1}, log_id[16] = {2};
    struct dgf_record_out out = {NULL, next_seq, put};

    need(dgf_object_new("postgres", "shop", "shop", "order_notes", columns, 10, 1,
                        &object));
    dgf_event_builder_init(&builder, (size_t)1 << 20);
    need(dgf_recorder_init(&recorder, out, "orders-sidecar", "prod", key, key, 1,
                           log_id));
    need(dgf_recorder_policy_set(
        &recorder,
        "sha256:1f0a1f0a1f0a1f0a1f0a1f0a1f0a1f0a1f0a1f0a1f0a1f0a1f0a1f0a1f0a1f0a"));
    event = build(1000000);
    measure("event of 10 columns", build_rows);
    measure("audit record", audit_rows);
    measure("detectors over 300 clean bytes", detect_rows);
    fprintf(stderr, "%llu bytes a record\n",
            (unsigned long long)(seq ? bytes / seq : 0));
    dgf_event_unref(event);
    dgf_recorder_release(&recorder);
    dgf_event_builder_release(&builder);
    dgf_object_unref(object);
    return EXIT_SUCCESS;
}
