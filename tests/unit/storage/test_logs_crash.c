// tests/unit/storage/test_logs_crash.c -- whatever fails and whenever it stops: what is found in the logs is what was committed.
//
// Halves: kv_sim
//
// Random transactions of random changes to several logs and records, beside a twin of arrays in memory. Commits fail with a full disk or with
// an error after which nobody knows, transactions are given up, the process is killed between any two calls. Then the store
// is compared with the twin: entries, terms, operations, notes, records. The seed is the loop's index.
#include "base/alloc.h"
#include "base/prng.h"
#include "storage/logs_int.h"
#include "tests/lib/check_main.h"
#include "tests/lib/kv_sim.h"
#include "tests/lib/logs_store.h"

#define STEPS 150u
#define NAMES 5u
#define ENTRIES_MAX 3000u
#define RECORDS 3u

struct twin_entry {
    uint32_t number, bytes;
};

struct twin_op {
    uint64_t seq;
    uint32_t number;
    bool must; // else it may be forgotten
};

struct twin_log {
    bool there;
    uint64_t first_seq, last_seq;
    uint32_t base; // number of the entry before the first, 0: none
    uint8_t note[4];
    struct twin_entry entries[ENTRIES_MAX]; // by seq
    struct twin_op ops[ENTRIES_MAX];        // of trimmed ones
    uint32_t op_count;
};

struct twin {
    struct twin_log logs[NAMES];
    struct {
        uint32_t number, bytes; // 0: none
    } records[RECORDS];
};

struct world {
    struct prng prng;
    struct kv *kv;
    struct kv_txn *txn;
    uint32_t number; // of the last entry made
    uint32_t clean_at;
    struct twin now, next; // as committed, and with the transaction
};

static struct world world;
static struct omen_error error;

static uint32_t
draw(uint32_t below)
{
    return (uint32_t)(prng_next(&world.prng) % below);
}

static struct logs_name
name_of(uint32_t at)
{
    return (struct logs_name){100 + at, at};
}

// ---- comparing ----

static void
compare_entries(struct kv_txn *txn, uint32_t at, const struct twin_log *log)
{
    struct logs_reader *reader;
    struct logs_entry entry;
    const uint64_t from = log->first_seq + draw((uint32_t)(log->last_seq + 2 - log->first_seq));
    logs_ok(logs_reader_open(txn, name_of(at), from, LOGS_WHOLE, &reader, &error), &error);
    for (uint64_t seq = from; seq <= log->last_seq; seq++) {
        logs_ok(logs_reader_next(reader, &entry, &error), &error);
        logs_same(&entry, seq, log->entries[seq].number, log->entries[seq].bytes);
    }
    ck_assert_int_eq(logs_reader_next(reader, &entry, &error), OMEN_E_NOT_FOUND);
    logs_reader_close(reader);
}

static uint64_t
term_of(uint32_t number)
{
    return number == 0 ? 0 : number / 16 + 1;
}

static void
compare_terms(const struct logs_known *known, const struct twin_log *log)
{
    uint32_t at = 0;
    uint64_t term = 0;
    for (uint64_t seq = log->first_seq - 1; seq <= log->last_seq; seq++) {
        const uint64_t here = term_of(seq < log->first_seq ? log->base : log->entries[seq].number);
        if (seq == 0 || (at > 0 && here == term))
            continue;
        ck_assert_uint_lt(at, known->term_count);
        ck_assert_uint_eq(known->terms[at].term, here);
        ck_assert_uint_eq(known->terms[at++].first_seq, seq);
        term = here;
    }
    ck_assert_uint_eq(at, known->term_count);
}

static void
check_op(const struct logs_op *op, uint64_t seq, uint32_t number)
{
    ck_assert_uint_eq(op->seq, seq);
    ck_assert_uint_eq(op->op.high, 7);
    ck_assert_uint_eq(op->op.low, number);
    ck_assert_uint_eq(op->stamp_ms, (uint64_t)number * 10);
}

static void
compare_ops(const struct logs_known *known, const struct twin_log *log)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < log->op_count; i++) {
        const struct twin_op *op = &log->ops[i];
        if (at < known->op_count && known->ops[at].seq == op->seq)
            check_op(&known->ops[at++], op->seq, op->number);
        else
            ck_assert_msg(!op->must, "operation of entry %llu", (unsigned long long)op->seq);
    }
    for (uint64_t seq = log->first_seq; seq <= log->last_seq; seq++) {
        const uint32_t number = log->entries[seq].number;
        if (number % 3 == 0)
            continue;
        ck_assert_uint_lt(at, known->op_count);
        check_op(&known->ops[at++], seq, number);
    }
    ck_assert_uint_eq(at, known->op_count);
}

static void
compare_log(struct kv_txn *txn, uint32_t at, const struct twin_log *log)
{
    struct logs_state state;
    struct logs_known known;
    const omen_status status = logs_find(txn, name_of(at), &state, &error);
    ck_assert_int_eq(status, log->there ? OMEN_OK : OMEN_E_NOT_FOUND);
    if (!log->there)
        return;
    ck_assert_uint_eq(state.first_seq, log->first_seq);
    ck_assert_uint_eq(state.last_seq, log->last_seq);
    ck_assert_uint_eq(state.base_term, term_of(log->base));
    const uint32_t newest =
        log->first_seq <= log->last_seq ? log->entries[log->last_seq].number : log->base;
    ck_assert_uint_eq(state.stamp_ms, (uint64_t)newest * 10);
    ck_assert_mem_eq(state.note, log->note, sizeof log->note);
    logs_ok(logs_know(txn, name_of(at), &known, &error), &error);
    compare_terms(&known, log);
    compare_ops(&known, log);
    logs_known_fini(&known);
    compare_entries(txn, at, log);
}

static void
compare(struct kv_txn *txn, const struct twin *twin)
{
    static uint8_t expected[200000];
    for (uint32_t i = 0; i < NAMES; i++)
        compare_log(txn, i, &twin->logs[i]);
    for (uint32_t i = 0; i < RECORDS; i++) {
        uint8_t *bytes;
        size_t count;
        const omen_status status = logs_record_get(txn, i, &bytes, &count, &error);
        const uint32_t there = twin->records[i].bytes;
        ck_assert_int_eq(status, there > 0 ? OMEN_OK : OMEN_E_NOT_FOUND);
        ck_assert_uint_eq(count, there);
        store_fill(expected, twin->records[i].number, there);
        if (there > 0)
            ck_assert_mem_eq(bytes, expected, there);
        mem_free(bytes);
    }
    logs_ok(logs_verify(txn, &error), &error);
}

// ---- changes ----

static void
do_make(uint32_t at, struct twin_log *log)
{
    const omen_status status = logs_make(world.txn, name_of(at), "1234", 4, &error);
    ck_assert_int_eq(status, log->there ? OMEN_E_EXISTS : OMEN_OK);
    if (log->there)
        return;
    *log = (struct twin_log){.there = true, .first_seq = 1};
    memcpy(log->note, "1234", 4);
}

static uint32_t
draw_bytes(void)
{
    const uint32_t kind = draw(40);
    return kind == 0 ? 60000 + draw(80000) : kind < 4 ? draw(6000) : draw(100);
}

static void
do_write(uint32_t at, struct twin_log *log)
{
    struct logs_group group = {0};
    struct logs_change change = {.cut = draw(4) == 0, .append = &group};
    uint64_t last = log->last_seq;
    if (change.cut) {
        change.above = log->first_seq - 1 + draw((uint32_t)(last + 2 - log->first_seq) + 1);
        if (change.above < last)
            last = change.above;
    }
    uint32_t count = draw(3) == 0 ? 0 : draw(8);
    if (draw(60) == 0)
        count = 1170 + draw(3);
    if (last + count >= ENTRIES_MAX)
        count = 0;
    for (uint32_t i = 1; i <= count; i++) {
        const uint32_t number = ++world.number, bytes = count > 100 ? draw(20) : draw_bytes();
        const struct logs_entry entry = logs_made(last + i, number, bytes);
        ck_assert_int_eq(logs_group_add(&group, &entry), OMEN_OK);
        log->entries[last + i] = (struct twin_entry){number, bytes};
    }
    if (draw(2) == 0) {
        change.note = &world.number;
        change.note_at = draw(4);
        change.note_bytes = draw(5 - change.note_at);
        memcpy(log->note + change.note_at, change.note, change.note_bytes);
    }
    log->last_seq = last + count;
    logs_ok(logs_write(world.txn, name_of(at), &change, &error), &error);
    logs_group_fini(&group);
}

static void
do_trim(uint32_t at, struct twin_log *log)
{
    const struct logs_trim trim = {.through = log->first_seq + draw(20) + draw(2) * draw(3000),
                                   .window_ms = draw(3) * 1000 + draw(2000),
                                   .ops_max = 1 + draw(100)};
    const uint32_t newest =
        log->first_seq <= log->last_seq ? log->entries[log->last_seq].number : log->base;
    uint64_t first_seq;
    logs_ok(logs_trim(world.txn, name_of(at), &trim, &first_seq, &error), &error);
    const uint64_t end = trim.through < log->last_seq ? trim.through + 1 : log->last_seq + 1;
    ck_assert_uint_eq(first_seq, end);
    if (end == log->first_seq)
        return;
    const uint64_t since =
        (uint64_t)newest * 10 > trim.window_ms ? (uint64_t)newest * 10 - trim.window_ms : 0;
    for (; log->first_seq < end; log->first_seq++) {
        log->base = log->entries[log->first_seq].number;
        if (log->base % 3 == 0 || (uint64_t)log->base * 10 < since)
            continue;
        ck_assert_uint_lt(log->op_count, ENTRIES_MAX);
        log->ops[log->op_count++] = (struct twin_op){log->first_seq, log->base, true};
    }
    for (uint32_t i = 0; i < log->op_count; i++)
        if ((uint64_t)log->ops[i].number * 10 < since || log->op_count - i > trim.ops_max)
            log->ops[i].must = false;
}

static void
do_empty(uint32_t at, struct twin_log *log)
{
    struct logs_op ops[20];
    const uint32_t ahead = 1 + draw(30), count = draw(20);
    if (log->last_seq + ahead + 1 >= ENTRIES_MAX)
        return;
    log->op_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t number = ++world.number;
        ops[i] = (struct logs_op){{7, number}, log->last_seq + 1, (uint64_t)number * 10};
        log->ops[log->op_count++] = (struct twin_op){log->last_seq + 1, number, true};
    }
    log->base = ++world.number;
    log->last_seq += ahead;
    log->first_seq = log->last_seq + 1;
    const struct logs_base base = {.seq = log->last_seq,
                                   .term = term_of(log->base),
                                   .stamp_ms = (uint64_t)log->base * 10,
                                   .ops = ops,
                                   .op_count = count};
    logs_ok(logs_empty(world.txn, name_of(at), &base, &error), &error);
}

static void
do_record(void)
{
    static uint8_t bytes[200000];
    const uint32_t record = draw(RECORDS), number = ++world.number;
    const uint32_t count = draw(3) == 0 ? 0 : draw(10) == 0 ? draw(200000) : draw(500);
    store_fill(bytes, number, count);
    logs_ok(logs_record_put(world.txn, record, bytes, count, &error), &error);
    world.next.records[record].number = number;
    world.next.records[record].bytes = count;
}

static void
do_one(void)
{
    const uint32_t at = draw(NAMES), kind = draw(100);
    struct twin_log *log = &world.next.logs[at];
    if (kind < 12) {
        do_make(at, log);
    } else if (kind < 20) {
        do_record();
    } else if (kind < 35) {
        bool done;
        logs_ok(logs_clean(world.txn, &world.clean_at, 1 + draw(30), &done, &error), &error);
        if (done)
            world.clean_at = 0;
    } else if (!log->there) {
        ck_assert_int_eq(logs_drop(world.txn, name_of(at), &error), OMEN_E_NOT_FOUND);
    } else if (kind < 38) {
        logs_ok(logs_drop(world.txn, name_of(at), &error), &error);
        *log = (struct twin_log){.there = false};
    } else if (kind < 42) {
        do_empty(at, log);
    } else if (kind < 60) {
        do_trim(at, log);
    } else {
        do_write(at, log);
    }
}

static void
restart(void)
{
    kv_sim_crash(world.kv);
    world.kv = logs_store();
    world.clean_at = 0;
}

// Which of the two it is, is found out.
static void
commit_in_doubt(enum kv_sim_loss loss)
{
    kv_sim_fail_commit(1, OMEN_E_IO, loss);
    ck_assert_int_eq(kv_commit(world.txn, &error), OMEN_E_IO);
    ck_assert_int_eq(kv_begin_write(world.kv, &world.txn, &error), OMEN_E_IO);
    restart();
    if (loss == KV_SIM_KEPT)
        world.now = world.next;
}

static void
step(void)
{
    world.next = world.now;
    logs_ok(kv_begin_write_large(world.kv, (uint64_t)64 << 20, &world.txn, &error), &error);
    for (uint32_t count = 1 + draw(6); count > 0; count--)
        do_one();
    const uint32_t end = draw(20);
    if (end == 0) {
        kv_sim_fail_commit(1, OMEN_E_DISK_FULL, KV_SIM_LOST);
        ck_assert_int_eq(kv_commit(world.txn, &error), OMEN_E_DISK_FULL);
    } else if (end == 1) {
        commit_in_doubt(draw(2) == 0 ? KV_SIM_LOST : KV_SIM_KEPT);
    } else if (end == 2) {
        kv_abort(world.txn);
    } else if (end == 3) {
        restart(); // with the transaction under way
    } else {
        logs_ok(kv_commit(world.txn, &error), &error);
        world.now = world.next;
    }
    if (draw(10) == 0)
        restart();
    struct kv_txn *txn = store_begin_read(world.kv);
    compare(txn, &world.now);
    kv_abort(txn);
}

START_TEST(what_is_found_is_what_was_committed)
{
    store_setup();
    world = (struct world){.kv = logs_store()};
    prng_init(&world.prng, (uint64_t)_i);
    for (uint32_t i = 0; i < STEPS; i++)
        step();
    kv_close(world.kv);
    kv_sim_reset();
    store_teardown();
}
END_TEST

static Suite *
crash_suite(void)
{
    Suite *suite = suite_create("storage/logs_crash");
    TCase *tcase = tcase_create("crash");
    tcase_add_loop_test(tcase, what_is_found_is_what_was_committed, 0, 40);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(crash_suite)
