/* model.c - the pipeline and the ledger against a model of what must hold.
 *
 * Links the shipped objects; only the file layer, the clock and the allocator
 * (which gives back a dead process's memory) are replaced.  A scripted source
 * tells a known history; a sink outlives the process as Kafka would.  Each life
 * of the agent ends at a crash point or between two steps; then the disk has
 * its accidents, and the next life starts from what is left.  After each life:
 *
 *  1. judged rows in the ledger = a prefix of the history: none missing, none
 *     twice, in order; a row violates if and only if the history says so
 *  2. a source is never opened before what it was told is durable
 *  3. records a sink ever saw keep their index and bytes
 *  4. state, position and records are of the same moment
 *  5. a sink goes on where a durable batch said it was
 *  6. coverage counts equal the rows judged
 *  7. one transaction is judged by one policy set, unless a life ended inside
 *  8. a coverage record names the policy set that judged what it counts
 *  9. an open source knows all that is durable, also what became so meanwhile
 * 10. coverage comes every minute, wherever the wall clock jumps
 * 11. the archive's checkpoint signs the tree of these records; its segments hold their
 *     bytes, its manifests are one chain, its sealed state is of the moment of the cut
 * 12. what was offered to a sink that keeps the archive is offered again with the same
 *     bytes or not at all, segment after segment
 * 13. coverage records of a source, and checkpoints, that are more than two minutes
 *     apart have a resume record between them
 *
 * usage: flow_model [lives] [seed] [mutant]
 * A mutant breaks one promise on purpose; the model must then fail. */
#include "model.h"

#include <setjmp.h>
#include "model.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "simdisk.h"

#define LIVES_A_WORLD 25

/* ---- mutants -------------------------------------------------------------------- */

enum mutant { NONE, ACK_EARLY, NO_CURSOR, HALF_TRANSACTION };
static const char *const mutant_names[] = {"none", "ack_early", "no_cursor",
                                           "half_transaction"};
static enum mutant mutant;

enum dgf_rc __real_dgf_ledger_poll(struct dgf_ledger *ledger,
                                   struct dgf_ledger_news *news, struct dgf_err *err);
enum dgf_rc __real_dgf_batch_cursor(struct dgf_batch *batch, struct dgf_bytes name,
                                    struct dgf_bytes value);
enum dgf_rc __real_dgf_batch_position(struct dgf_batch *batch,
                                      const struct dgf_ledger_position *position);
enum dgf_rc __real_dgf_ledger_hand_over(struct dgf_ledger *ledger, struct dgf_err *err);
enum dgf_rc __wrap_dgf_ledger_poll(struct dgf_ledger *ledger,
                                   struct dgf_ledger_news *news, struct dgf_err *err);
enum dgf_rc __wrap_dgf_batch_cursor(struct dgf_batch *batch, struct dgf_bytes name,
                                    struct dgf_bytes value);
enum dgf_rc __wrap_dgf_batch_position(struct dgf_batch *batch,
                                      const struct dgf_ledger_position *position);
enum dgf_rc __wrap_dgf_ledger_hand_over(struct dgf_ledger *ledger, struct dgf_err *err);

/* ---- the world: what survives a life ---- */

struct world world;
struct tally tally;

static jmp_buf dead;
static bool armed;
static const char *target;
static unsigned target_after, steps_left;

struct point {
    const char *name;
    uint64_t visits, deaths;
};
#define CRASH_POINT(name, meaning) {#name, 0, 0},
static struct point points[] = {
#include "crash_points.def"
};
#undef CRASH_POINT

void fail(const char *what, uint64_t a, uint64_t b)
{
    printf("model: BROKEN: %s (%llu, %llu) in life %llu of seed %llu, mutant %s\n",
           what, (unsigned long long)a, (unsigned long long)b,
           (unsigned long long)tally.lives, (unsigned long long)world.seed,
           mutant_names[mutant]);
    exit(mutant == NONE ? 1 : 3);
}

static void on_crash_point(const char *name)
{
    for (size_t i = 0; i < DGF_ARRAY_LEN(points); i++) {
        if (strcmp(points[i].name, name) != 0)
            continue;
        points[i].visits++;
        if (armed && target && strcmp(target, name) == 0 && target_after-- == 0) {
            points[i].deaths++;
            longjmp(dead, 1);
        }
        return;
    }
    fail("a crash point that stands in no list", 0, 0);
}

/* ---- wrapped calls: where the model looks, and where mutants live ---- */

static bool handed_over;

enum dgf_rc __wrap_dgf_ledger_hand_over(struct dgf_ledger *ledger, struct dgf_err *err)
{
    enum dgf_rc rc = __real_dgf_ledger_hand_over(ledger, err);

    if (!rc)
        handed_over = true;
    return rc;
}

enum dgf_rc __wrap_dgf_ledger_poll(struct dgf_ledger *ledger,
                                   struct dgf_ledger_news *news, struct dgf_err *err)
{
    enum dgf_rc rc = __real_dgf_ledger_poll(ledger, news, err);

    if (!rc && news->durable)
        memcpy(world.floor, world.handed, sizeof(world.floor));
    if (!rc && mutant == ACK_EARLY && handed_over)
        news->durable = true;
    handed_over = false;
    return rc;
}

enum dgf_rc __wrap_dgf_batch_cursor(struct dgf_batch *batch, struct dgf_bytes name,
                                    struct dgf_bytes value)
{
    struct dgf_rd rd = dgf_rd_of(value);

    world.handed[name.ptr[0] - '0'] = dgf_rd_le64(&rd);
    return mutant == NO_CURSOR ? DGF_OK : __real_dgf_batch_cursor(batch, name, value);
}

enum dgf_rc __wrap_dgf_batch_position(struct dgf_batch *batch,
                                      const struct dgf_ledger_position *position)
{
    struct dgf_ledger_position at = *position;
    struct dgf_rd rd = dgf_rd_of(at.position);
    uint64_t tx = dgf_rd_le64(&rd), row = dgf_rd_le64(&rd);
    DGF_RELEASE(dgf_buf_release) struct dgf_buf whole;

    dgf_buf_init(&whole, 64);
    if (mutant == HALF_TRANSACTION && row > 0) {
        put_position(&whole, tx, n_rows(tx)); /* "we have all of it" */
        at.position = dgf_buf_bytes(&whole);
    }
    return __real_dgf_batch_position(batch, &at);
}

/* ---- one life ---- */

static struct dgf_policy_set *sets[2];
static int set_now;

static void add_rows(const struct pipe_source *ps)
{
    /* 6: what the kept counters hold and what records say is all that was judged */
    const struct dgf_ledger_position *kept =
        dgf_ledger_find_position(ps->pipeline->ledger, dgf_bytes_str(ps->conf->name));
    struct dgf_coverage coverage;
    struct look look = {0};

    dgf_coverage_init(&coverage);
    if (!kept || dgf_coverage_decode(&coverage, kept->counters))
        fail("the ledger has no counters", 0, 0);

    for (size_t i = 0; i < world.n_leaves; i++)
        look_at(&look, world.leaves[i]);
    if (look.counted + coverage.events != look.judged)
        fail("coverage and judged rows differ", look.counted + coverage.events,
             look.judged);
    dgf_coverage_release(&coverage);
}

static void act(struct dgf_pipeline *p)
{
    struct dgf_err err = {0};
    enum dgf_rc rc;

    switch (simdisk_random() % 20) {
    case 0:
        now_ns += (int64_t)(simdisk_random() % 3) * DGF_SECOND_NS;
        break;
    case 1:
        if (source_now && source_now->open && simdisk_random() % 4 == 0) {
            tally.reopened++;
            dgf_source_fail(&source_now->base, DGF_RETRY, "connection lost");
        }
        break;
    case 2:
        if (simdisk_random() % 4 == 0) {
            rc = dgf_pipeline_reload(p, sets[set_now ^ 1], &err);
            if (rc == DGF_RETRY) /* the text has no room on the disk */
                break;
            if (rc)
                fail(err.text, 0, 0);
            set_now ^= 1;
            tally.reloads++;
        }
        break;
    case 3:
        if (simdisk_random() % 8 == 0) {
            simdisk_set_full(true);
            tally.full_disks++;
        }
        break;
    case 4:
        simdisk_set_full(false);
        now_ns += 2 * DGF_SECOND_NS;
        break;
    case 5:
        if (simdisk_random() % 10 == 0)
            now_ns += 61 * DGF_SECOND_NS;
        else if (simdisk_random() % 10 == 0)
            wall_shift_ns =
                (int64_t)(simdisk_random() % 3) * 3600 * DGF_SECOND_NS - DGF_SECOND_NS;
        break;
    case 6:
    case 7:
        if (sinks_now[simdisk_random() % N_SINKS])
            for (int i = 0; i < N_SINKS; i++)
                if (sinks_now[i] && simdisk_random() % 2)
                    deliver(i);
        (void)!dgf_archive_step(p->archive.archive);
        break;
    case 8:
    case 9:
    case 10:
        rc = dgf_ledger_step(p->ledger, &err);
        if (rc && rc != DGF_AGAIN)
            fail(err.text, 0, 0);
        break;
    default:
        for (uint64_t n = simdisk_random() % 12;
             n > 0 && source_now && source_now->open && source_now->reading; n--)
            read_one(source_now);
    }
}

/* Since when the open counters count, by the clock that never jumps. */
static struct {
    int64_t wall_ns, mono_ns;
} counting;

static void look_at_source(const struct pipe_source *ps)
{
    if (source_now && source_now->open && !ps->failed &&
        source_now->told != ps->told_seq)
        fail("an open source does not know what is durable", source_now->told,
             ps->told_seq);
    if (ps->coverage.since_ns != counting.wall_ns) {
        counting.wall_ns = ps->coverage.since_ns;
        counting.mono_ns = now_ns;
    }
    if (now_ns - counting.mono_ns > 2 * DGF_COVERAGE_NS + DGF_SECOND_NS)
        fail("no coverage record for two minutes", (uint64_t)counting.mono_ns,
             (uint64_t)now_ns);
}

static void live(struct dgf_pipeline_conf *conf)
{
    struct dgf_pipeline *p = NULL;
    struct dgf_err err = {0};
    int64_t wait_ns;
    enum dgf_rc rc;

    for (;;) {
        rc = dgf_pipeline_open(NULL, conf, sets[set_now], &p, &err);
        if (rc != DGF_RETRY)
            break;
        simdisk_set_full(false);
    }
    if (rc)
        fail(err.text, 0, 0);
    snprintf(world.log_id, sizeof(world.log_id), "%s",
             dgf_ledger_log_id_text(p->ledger));
    if (p->sources[0].position.len)
        add_rows(&p->sources[0]);
    counting.wall_ns = INT64_MIN;
    while (steps_left-- > 0) {
        act(p);
        if (dgf_pipeline_turn(p, &wait_ns, &err))
            fail(err.text, 0, 0);
        look_at_source(&p->sources[0]);
        if (p->archive.news.state == DGF_ARCHIVE_STOPPED)
            fail(p->archive.news.text, 0, 0);
    }
    if (simdisk_random() % 4) {
        longjmp(dead, 1);
    }
    simdisk_set_full(false);
    dgf_pipeline_drain(p, DGF_SECOND_NS);
    for (int i = 0; i < 200 && !dgf_pipeline_done(p); i++) {
        rc = dgf_ledger_step(p->ledger, &err);
        if (rc && rc != DGF_AGAIN)
            fail(err.text, 0, 0);
        for (int s = 0; s < N_SINKS; s++)
            deliver(s);
        (void)!dgf_archive_step(p->archive.archive);
        if (dgf_pipeline_turn(p, &wait_ns, &err))
            fail(err.text, 0, 0);
        now_ns += DGF_SECOND_NS / 20;
    }
    dgf_pipeline_free(p);
}

static void one_life(struct dgf_pipeline_conf *conf)
{
    static volatile uint64_t turn;

    turn++;
    /* Two of three lives have a point to end at; a first life may end at the two
     * points that no other passes. */
    target = turn % 3 ? points[simdisk_random() % DGF_ARRAY_LEN(points)].name : NULL;
    if (tally.lives % LIVES_A_WORLD == 0 && simdisk_random() % 2)
        target = points[simdisk_random() % 2].name;
    target_after = (unsigned)(simdisk_random() % (simdisk_random() % 2 ? 2 : 12));
    steps_left = (unsigned)(20 + simdisk_random() % 120);
    source_now = NULL;
    memset(sinks_now, 0, sizeof(sinks_now));
    memcpy(world.handed, world.floor, sizeof(world.handed));
    handed_over = false;
    tracking = true;
    armed = true;
    if (setjmp(dead) == 0)
        live(conf);
    armed = false;
    end_of_life();
    if (simdisk_random() % 5 == 0)
        simdisk_kill(); /* kill -9: the page cache survives */
    else
        simdisk_crash();
    tracking = true;
    look_at_disk();
    look_at_archive();
    end_of_life();
    tally.lives++;
}

/* ---- policies ---- */

static const char *const policy_paths[] = {"/policies/first.yaml",
                                           "/policies/second.yaml"};

static void put_policy(int number, char text[1024])
{
    snprintf(text, 1024,
             "version: 1\n"
             "info: {title: Model, owner: model@example.org}\n"
             "policies:\n"
             "  - id: BAD-001\n"
             "    title: set %d\n"
             "    severity: high\n"
             "    watch: {objects: [m.rows]}\n"
             "    when: after.bad == true\n"
             "    message: \"row {{after.id}} is bad\"\n"
             "    audit: every_event\n",
             number);
    simdisk_put(policy_paths[number], text);
}

static struct dgf_policy_set *load_set(int number)
{
    DGF_RELEASE(dgf_findings_release) struct dgf_findings findings;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf out;
    struct dgf_policy_world where = {0};
    struct dgf_policy_set *set = NULL;
    char text[1024];

    put_policy(number, text);
    dgf_findings_init(&findings);
    dgf_buf_init(&out, 1 << 20);
    if (dgf_policy_set_load(&policy_paths[number], 1, &where, &findings, &set)) {
        dgf_findings_print(&findings, DGF_FINDINGS_HUMAN, false, &out);
        printf("%s", dgf_buf_str(&out));
        exit(1);
    }
    return set;
}

static void new_world(uint64_t seed)
{
    for (size_t i = 0; i < world.n_leaves; i++)
        free(world.leaves[i]);
    memset(&world, 0, sizeof(world));
    tally.rows_this_world = 0;
    world.seed = seed;
    simdisk_format(seed);
    for (int i = 0; i < 2; i++) {
        char text[1024];

        put_policy(i, text);
    }
}

static int report(void)
{
    int missing = 0;

    for (size_t i = 0; i < DGF_ARRAY_LEN(points); i++) {
        printf("  %-30s visited %8llu  died %6llu\n", points[i].name,
               (unsigned long long)points[i].visits,
               (unsigned long long)points[i].deaths);
        missing += points[i].deaths == 0;
    }
    printf(
        "model: %llu lives, %llu rows, %llu reopened sources, %llu reloads, %llu full disks; "
        "%llu archive segments checked, %llu offered; %d crash points never hit\n",
        (unsigned long long)tally.lives, (unsigned long long)tally.rows,
        (unsigned long long)tally.reopened, (unsigned long long)tally.reloads,
        (unsigned long long)tally.full_disks, (unsigned long long)tally.segments,
        (unsigned long long)tally.offered, missing);
    return missing ? 1 : 0;
}

int main(int argc, char **argv)
{
    uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    static struct dgf_sink_conf sink_confs[N_SINKS] = {
        {.required = true}, {.required = false}, {.required = true}};
    static const struct dgf_source_conf sources[] = {
        {.name = "m", .type = &model_source_type}};
    static const struct dgf_sink_setup sinks[] = {
        {.name = "0", .type = &model_sink_type, .conf = &sink_confs[0]},
        {.name = "1", .type = &model_sink_type, .conf = &sink_confs[1]},
        {.name = "2", .type = &archive_sink_type, .conf = &sink_confs[2]}};
    struct dgf_pipeline_conf conf = {
        .agent = "model",
        .env = "test",
        .ledger = {.dir = DIR,
                   .journal_bytes = 1 << 30,
                   .segment_bytes = 30000,
                   .keep_ns = 0,
                   .batch_bytes = 20000,
                   .threaded = false},
        .event_bytes = 1 << 16,
        .archive = true,
        .cut_bytes = 8000,
        .sources = sources,
        .n_sources = 1,
        .sinks = sinks,
        .n_sinks = N_SINKS,
    };

    for (size_t i = 0; argc > 3 && i < DGF_ARRAY_LEN(mutant_names); i++)
        if (strcmp(argv[3], mutant_names[i]) == 0)
            mutant = (enum mutant)i;
    start_sqlite();
    simdisk_on_crash_point = on_crash_point;
    dgf_log_init(2, DGF_LOG_ERROR, 0);
    new_world(seed);
    sets[0] = load_set(0);
    sets[1] = load_set(1);
    while (tally.lives < n) {
        if (tally.lives % LIVES_A_WORLD == 0)
            new_world(seed + tally.lives);
        conf.ack_sinks = tally.lives / LIVES_A_WORLD % 4 == 3;
        one_life(&conf);
    }
    return mutant == NONE ? report() : 0;
}
