// tests/unit/shard/test_heads.c -- the heads that loading left unread are looked at, by a thread where there are many.
//
// Halves: kv_lmdb kv_sim
#include "shard/heads.h"
#include "tests/lib/check_main.h"
#include "tests/lib/store.h"

#define PIECES 300u // more than one goes without a thread for

static const struct manifest manifest = {
    .checkpoint = 1, .seq = 1, .generation = 1, .rows = 1, .linked = 1};

// So many pieces, of which one has a head that is not its own: `damaged`, or none.
static struct kv *
make(uint32_t pieces, uint32_t damaged)
{
    static const unsigned char bytes[5000];
    struct kv *kv = store_open(KV_WRITE);
    struct blocks_save *save;
    ck_assert_int_eq(blocks_save_open(kv, &manifest, &save, NULL), OMEN_OK);
    const struct image_sink sink = blocks_save_sink(save);
    for (uint32_t i = 0; i < pieces; i++)
        ck_assert_int_eq(sink.put(sink.context, IMAGE_ROWS, i, bytes, sizeof bytes), OMEN_OK);
    ck_assert_int_eq(blocks_save_finish(save, &manifest, NULL), OMEN_OK);
    blocks_save_close(save);
    if (damaged < pieces) {
        struct kv_txn *txn = store_begin_write(kv);
        void *room;
        const uint64_t key = (uint64_t)IMAGE_ROWS << 56 | (uint64_t)1 << 32 | damaged;
        ck_assert_int_eq(kv_put(txn, TABLE_BLOCKS, key, 5048, &room, NULL), OMEN_OK);
        memset(room, 7, 5048);
        store_commit(txn);
    }
    return kv;
}

static struct blocks_load *
look_up(struct kv_txn *txn, uint32_t pieces)
{
    struct blocks_load *load;
    ck_assert_int_eq(blocks_load_open(txn, &manifest, &load, NULL), OMEN_OK);
    const struct image_source source = blocks_load_source(load);
    for (uint32_t i = 0; i < pieces; i++) {
        size_t count;
        ck_assert_ptr_nonnull(source.get(source.context, IMAGE_ROWS, i, &count));
        ck_assert_uint_eq(count, 5000);
    }
    ck_assert_uint_eq(blocks_load_heads(load), pieces);
    return load;
}

START_TEST(one_bad_head_among_many_or_few_is_named)
{
    static const struct {
        uint32_t pieces, damaged;
    } cases[] = {{PIECES, 0}, {PIECES, PIECES - 1}, {PIECES, PIECES}, {5, 4}, {5, 5}};
    const uint32_t pieces = cases[_i].pieces, damaged = cases[_i].damaged;
    struct kv *kv = make(pieces, damaged);
    struct kv_txn *txn = store_begin_read(kv);
    struct heads heads;
    struct omen_error error = {.text = ""};
    heads_begin(&heads, look_up(txn, pieces));
    ck_assert_int_eq(heads.begun, pieces == PIECES);
    const omen_status status = heads_end(&heads, &error);
    kv_abort(txn);
    ck_assert_int_eq(status, damaged < pieces ? OMEN_E_CORRUPT : OMEN_OK);
    char name[32];
    (void)snprintf(name, sizeof name, "piece %u of array %u,", damaged, (unsigned)IMAGE_ROWS);
    ck_assert_int_eq(strstr(error.text, name) != NULL, damaged < pieces);
    kv_close(kv);
}
END_TEST

START_TEST(nothing_was_loaded_and_nothing_is_wrong)
{
    struct heads heads;
    heads_begin(&heads, NULL);
    ck_assert_int_eq(heads_end(&heads, NULL), OMEN_OK);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("shard/heads");
    TCase *tcase = tcase_create("heads");
    tcase_add_checked_fixture(tcase, store_setup, store_teardown);
    tcase_add_loop_test(tcase, one_bad_head_among_many_or_few_is_named, 0, 5);
    tcase_add_test(tcase, nothing_was_loaded_and_nothing_is_wrong);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
