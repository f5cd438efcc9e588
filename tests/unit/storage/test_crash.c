// tests/unit/storage/test_crash.c -- whatever fails and whenever it stops: what is found is what was committed.
//
// Halves: kv_sim
//
// Random operations on a log and on blocks in one store, beside a model that knows only what was answered. Commits fail
// with a full disk or with an error after which nobody knows, the process is killed between any two calls. Then the
// store is opened again and compared. The seed is the loop's index.
#include "base/prng.h"
#include "storage/log.h"
#include "tests/lib/check_main.h"
#include "tests/lib/kv_sim.h"
#include "tests/lib/store.h"

#define STEPS 400u
#define PIECES 6u
#define ENTRIES_MAX 4000u

struct model {
    uint64_t after, last;        // the log holds at least what is behind `after`
    uint64_t unknown;            // entries that may be there, too: of a commit with OMEN_E_IO
    uint32_t sizes[ENTRIES_MAX]; // of entries
    struct manifest manifest;
    struct manifest unknown_manifest; // may hold instead, if its checkpoint is not 0
    size_t pieces[PIECES];            // sizes as of the last flush that went well; 0: none
    size_t unknown_pieces[PIECES];    // or these
};

struct world {
    struct prng prng;
    struct kv *kv;
    struct log log;
    struct model model;
    struct blocks_save *save; // NULL: none
    struct manifest next;
    size_t pending[PIECES]; // of the save, SIZE_MAX: not put
};

static struct world world;

static uint32_t
draw(uint32_t below)
{
    return (uint32_t)(prng_next(&world.prng) % below);
}

static void
forget_save(void)
{
    blocks_save_close(world.save);
    world.save = NULL;
}

// What is on the disk becomes what is known.
static void
compare(void)
{
    struct model *model = &world.model;
    struct kv_txn *txn = store_begin_read(world.kv);
    struct manifest manifest;
    struct log_reader *reader;
    struct log_entry entry;
    struct blocks_load *load;
    ck_assert_int_eq(manifest_read(txn, &manifest, NULL), OMEN_OK);
    if (model->unknown_manifest.checkpoint > 0 &&
        manifest.checkpoint == model->unknown_manifest.checkpoint)
        model->manifest = model->unknown_manifest;
    ck_assert_mem_eq(&manifest, &model->manifest, sizeof manifest);

    ck_assert_int_eq(log_reader_open(txn, TABLE_LOG, model->after, &reader, NULL), OMEN_OK);
    uint64_t last = model->after;
    omen_status status;
    while ((status = log_reader_next(reader, &entry, NULL)) == OMEN_OK) {
        ck_assert_uint_eq(entry.seq, ++last);
        ck_assert_uint_eq(entry.count, model->sizes[last]);
        store_check(entry.bytes, entry.seq, entry.count);
    }
    ck_assert_int_eq(status, OMEN_E_NOT_FOUND);
    ck_assert(last == model->last || (model->unknown > 0 && last == model->last + model->unknown));
    model->last = last;
    model->unknown = 0;
    log_reader_close(reader);

    ck_assert_int_eq(blocks_load_open(txn, &world.next, &load, NULL), OMEN_OK);
    const struct image_source source = blocks_load_source(load);
    for (uint32_t i = 0; i < PIECES; i++) {
        size_t count = 0;
        const void *bytes = source.get(source.context, IMAGE_ROWS, i, &count);
        ck_assert(count == model->pieces[i] || count == model->unknown_pieces[i]);
        if (bytes != NULL)
            store_check(bytes, i, count);
        model->pieces[i] = model->unknown_pieces[i] = count;
    }
    blocks_load_close(load);
    struct blocks_report report;
    ck_assert_int_eq(blocks_verify(txn, &report, NULL), OMEN_OK);
    model->unknown_manifest = (struct manifest){0};
    kv_abort(txn);
}

static void
crash(void)
{
    forget_save();
    kv_sim_crash(world.kv);
    world.kv = store_open(KV_EXISTING);
    compare();
    ck_assert_int_eq(log_init(&world.log, world.kv, TABLE_LOG, world.model.manifest.seq, NULL),
                     OMEN_OK);
    ck_assert_uint_eq(world.log.last_seq, world.model.last);
}

// What follows from a commit's end; true when it was one.
static bool
ended(omen_status status)
{
    ck_assert(status == OMEN_OK || status == OMEN_E_DISK_FULL || status == OMEN_E_IO);
    return status == OMEN_OK;
}

static void
append(void)
{
    static unsigned char bytes[70000 * 3];
    struct model *model = &world.model;
    const uint32_t entries = 1 + draw(3);
    struct log_draft *draft;
    if (model->last + 2 * entries >= ENTRIES_MAX)
        return;
    ck_assert_int_eq(log_draft_open(&draft), OMEN_OK);
    for (uint32_t i = 0; i < entries; i++) {
        const uint64_t seq = model->last + 1 + i;
        const uint32_t count = draw(8) == 0 ? draw(70000) : draw(300);
        unsigned char *at = bytes + i * 70000;
        store_fill(at, seq, count);
        model->sizes[seq] = count;
        const struct log_entry head = {.type = 1};
        const struct log_part part = {.bytes = at, .count = count};
        ck_assert_int_eq(log_draft_add(draft, &head, &part, 1), OMEN_OK);
    }
    const omen_status status = log_commit(&world.log, draft, NULL);
    log_draft_close(draft);
    if (ended(status)) {
        model->last += entries;
    } else if (status == OMEN_E_IO) {
        model->unknown = entries;
        crash();
    }
}

static void
put(void)
{
    static unsigned char bytes[20000];
    if (world.save == NULL) {
        world.next = world.model.manifest;
        world.next.checkpoint++;
        world.next.seq = world.model.last;
        world.next.rows += 10;
        world.next.linked += draw(10);
        ck_assert_int_eq(blocks_save_open(world.kv, &world.next, &world.save, NULL), OMEN_OK);
        for (uint32_t i = 0; i < PIECES; i++)
            world.pending[i] = SIZE_MAX;
    }
    const struct image_sink sink = blocks_save_sink(world.save);
    const uint32_t piece = draw(PIECES);
    const size_t count = draw(4) == 0 ? 0 : 1 + draw(sizeof bytes);
    store_fill(bytes, piece, count);
    if (count == 0)
        ck_assert_int_eq(sink.drop(sink.context, IMAGE_ROWS, piece), OMEN_OK);
    else
        ck_assert_int_eq(sink.put(sink.context, IMAGE_ROWS, piece, bytes, count), OMEN_OK);
    world.pending[piece] = count;
}

static void
write_save(bool finish)
{
    struct model *model = &world.model;
    if (world.save == NULL)
        return;
    const omen_status status = finish ? blocks_save_finish(world.save, &world.next, NULL)
                                      : blocks_save_flush(world.save, NULL);
    const bool done = ended(status);
    for (uint32_t i = 0; i < PIECES && status != OMEN_E_DISK_FULL; i++)
        if (world.pending[i] != SIZE_MAX) {
            model->unknown_pieces[i] = world.pending[i];
            model->pieces[i] = done ? world.pending[i] : model->pieces[i];
            world.pending[i] = SIZE_MAX;
        }
    if (done && finish) {
        model->manifest = world.next;
        forget_save();
    } else if (status == OMEN_E_IO) {
        if (finish)
            model->unknown_manifest = world.next;
        crash();
    }
}

static void
trim(void)
{
    struct model *model = &world.model;
    const uint64_t through = model->manifest.seq;
    const omen_status status = log_trim(&world.log, through, NULL);
    if (model->after < through)
        model->after = through; // what is before may be there or not
    if (!ended(status) && status == OMEN_E_IO)
        crash();
}

static void
clean(void)
{
    bool done;
    if (world.save == NULL &&
        blocks_clean(world.kv, &world.model.manifest, &done, NULL) == OMEN_E_IO)
        crash();
}

START_TEST(what_was_committed_is_found_and_nothing_else)
{
    world = (struct world){0};
    prng_init(&world.prng, (uint64_t)_i);
    world.kv = store_open(KV_WRITE);
    world.next = world.model.manifest = (struct manifest){0};
    ck_assert_int_eq(log_init(&world.log, world.kv, TABLE_LOG, 0, NULL), OMEN_OK);
    for (uint32_t step = 0; step < STEPS; step++) {
        const uint32_t what = draw(100);
        if (draw(12) == 0) {
            const uint32_t nth = 1 + draw(3);
            const omen_status status = draw(2) == 0 ? OMEN_E_DISK_FULL : OMEN_E_IO;
            kv_sim_fail_commit(nth, status, draw(2) == 0 ? KV_SIM_LOST : KV_SIM_KEPT);
        }
        if (what < 45)
            append();
        else if (what < 70)
            put();
        else if (what < 76)
            write_save(false);
        else if (what < 84)
            write_save(true);
        else if (what < 90)
            trim();
        else if (what < 93)
            clean();
        else
            crash();
    }
    kv_sim_fail_commit(0, OMEN_OK, KV_SIM_LOST);
    crash();
    ck_assert_uint_gt(world.model.last, 50); // it got somewhere
    ck_assert_uint_gt(world.model.manifest.checkpoint, 3);
    kv_close(world.kv);
    kv_sim_reset();
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("storage/crash");
    TCase *tcase = tcase_create("crash");
    tcase_add_checked_fixture(tcase, store_setup, store_teardown);
    tcase_add_loop_test(tcase, what_was_committed_is_found_and_nothing_else, 0, 60);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
