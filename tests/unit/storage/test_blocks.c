// tests/unit/storage/test_blocks.c -- pieces and records come back as they were put, or it is said what is wrong.
//
// Halves: kv_lmdb kv_sim
#include "base/alloc.h"
#include "tests/lib/check_main.h"
#include "tests/lib/store.h"

static const struct manifest first = {
    .checkpoint = 1, .seq = 10, .generation = 1, .rows = 5, .linked = 3};

static unsigned char bytes[IMAGE_PIECE_BYTES];

static struct blocks_save *
save_open(struct kv *kv, const struct manifest *manifest)
{
    struct blocks_save *save;
    ck_assert_int_eq(blocks_save_open(kv, manifest, &save, NULL), OMEN_OK);
    return save;
}

static void
put(struct blocks_save *save, uint32_t array, uint32_t piece, size_t count)
{
    const struct image_sink sink = blocks_save_sink(save);
    store_fill(bytes, array * 1000 + piece, count);
    const omen_status status = sink.put(sink.context, array, piece, bytes, count);
    ck_assert_msg(status == OMEN_OK, "%d: %s", status, blocks_save_error(save)->text);
}

static void
finish(struct blocks_save *save, const struct manifest *manifest)
{
    struct omen_error error = {.text = ""};
    const omen_status status = blocks_save_finish(save, manifest, &error);
    ck_assert_msg(status == OMEN_OK, "%d: %s", status, error.text);
    blocks_save_close(save);
}

// A piece of `count` bytes, 0: none.
static void
check_piece(struct kv *kv, const struct manifest *manifest, uint32_t array, uint32_t piece,
            size_t count)
{
    struct kv_txn *txn = store_begin_read(kv);
    struct blocks_load *load;
    struct omen_error error = {.text = ""};
    size_t found = 0;
    ck_assert_int_eq(blocks_load_open(txn, manifest, &load, NULL), OMEN_OK);
    const struct image_source source = blocks_load_source(load);
    const void *at = source.get(source.context, array, piece, &found);
    ck_assert_msg(blocks_load_status(load, &error) == OMEN_OK, "%s", error.text);
    blocks_load_close(load);
    kv_abort(txn);
    ck_assert_int_eq(at != NULL, count > 0);
    if (count > 0) { // behind the transaction: it is pinned
        ck_assert_uint_eq(found, count);
        ck_assert_uint_eq((uintptr_t)at % 64, 0);
        store_check(at, array * 1000 + piece, count);
    }
}

static void
check_manifest(struct kv *kv, const struct manifest *expected)
{
    struct kv_txn *txn = store_begin_read(kv);
    struct manifest manifest;
    ck_assert_int_eq(manifest_read(txn, &manifest, NULL), OMEN_OK);
    ck_assert_mem_eq(&manifest, expected, sizeof manifest);
    kv_abort(txn);
}

static omen_status
verify(struct kv *kv, struct blocks_report *report, struct omen_error *error)
{
    struct kv_txn *txn = store_begin_read(kv);
    const omen_status status = blocks_verify(txn, report, error);
    kv_abort(txn);
    return status;
}

START_TEST(no_manifest_is_one_of_zeroes)
{
    struct kv *kv = store_open(KV_WRITE);
    check_manifest(kv, &(struct manifest){0});
    kv_close(kv);
}
END_TEST

START_TEST(pieces_of_every_size_come_back)
{
    static const size_t sizes[] = {1, 63, 64, 2000, 2047, 2048, 4032, 4033, 65536, 262143, 262144};
    const uint32_t count = sizeof sizes / sizeof sizes[0];
    struct kv *kv = store_open(KV_WRITE);
    struct blocks_save *save = save_open(kv, &first);
    for (uint32_t i = 0; i < count; i++)
        put(save, IMAGE_ROWS, i, sizes[i]);
    put(save, IMAGE_INDEX_HEAD, 0, 40);
    put(save, IMAGE_ROWS, UINT32_MAX, 10);
    finish(save, &first);
    kv_close(kv);
    kv = store_open(KV_READ);
    check_manifest(kv, &first);
    for (uint32_t i = 0; i < count; i++)
        check_piece(kv, &first, IMAGE_ROWS, i, sizes[i]);
    check_piece(kv, &first, IMAGE_ROWS, UINT32_MAX, 10);
    check_piece(kv, &first, IMAGE_INDEX_HEAD, 0, 40);
    check_piece(kv, &first, IMAGE_ROWS, count, 0);
    check_piece(kv, &first, IMAGE_HIGH, 0, 0);
    struct blocks_report report;
    ck_assert_int_eq(verify(kv, &report, NULL), OMEN_OK);
    ck_assert_uint_eq(report.pieces, count + 2);
    ck_assert_uint_ge(report.bytes, 65536 + 262143 + 262144);
    kv_close(kv);
}
END_TEST

START_TEST(piece_put_again_replaces_and_dropped_piece_is_gone)
{
    struct kv *kv = store_open(KV_WRITE);
    struct blocks_save *save = save_open(kv, &first);
    const struct image_sink sink = blocks_save_sink(save);
    put(save, IMAGE_ROWS, 0, 100);
    put(save, IMAGE_ROWS, 0, 200); // within a transaction
    put(save, IMAGE_ROWS, 1, 100);
    ck_assert_int_eq(blocks_save_flush(save, NULL), OMEN_OK);
    put(save, IMAGE_ROWS, 1, 5000); // and after one
    put(save, IMAGE_ROWS, 2, 100);
    ck_assert_int_eq(sink.drop(sink.context, IMAGE_ROWS, 2), OMEN_OK);
    ck_assert_int_eq(sink.drop(sink.context, IMAGE_ROWS, 77), OMEN_OK); // that never was
    finish(save, &first);
    check_piece(kv, &first, IMAGE_ROWS, 0, 200);
    check_piece(kv, &first, IMAGE_ROWS, 1, 5000);
    check_piece(kv, &first, IMAGE_ROWS, 2, 0);
    kv_close(kv);
}
END_TEST

START_TEST(sink_refuses_what_is_no_piece)
{
    struct kv *kv = store_open(KV_WRITE);
    struct blocks_save *save = save_open(kv, &first);
    const struct image_sink sink = blocks_save_sink(save);
    ck_assert_int_eq(sink.put(sink.context, IMAGE_ROWS, 0, bytes, 0), OMEN_E_INVALID);
    ck_assert_int_eq(sink.put(sink.context, IMAGE_ROWS, 0, bytes, IMAGE_PIECE_BYTES + 1),
                     OMEN_E_INVALID);
    ck_assert_int_eq(sink.put(sink.context, 256, 0, bytes, 1), OMEN_E_INVALID);
    ck_assert_int_eq(blocks_save_error(save)->status, OMEN_E_INVALID);
    finish(save, &first);
    check_piece(kv, &first, IMAGE_ROWS, 0, 0);
    kv_close(kv);
}
END_TEST

START_TEST(save_without_finish_leaves_the_manifest)
{
    struct kv *kv = store_open(KV_WRITE);
    struct blocks_save *save = save_open(kv, &first);
    put(save, IMAGE_ROWS, 0, 100);
    put(save, IMAGE_INDEX_HEAD, 0, 100);
    finish(save, &first);
    const struct manifest second = {
        .checkpoint = 2, .seq = 20, .generation = 1, .rows = 9, .linked = 9};
    save = save_open(kv, &second);
    put(save, IMAGE_INDEX_HEAD, 0, 50);
    ck_assert_int_eq(blocks_save_flush(save, NULL), OMEN_OK);
    put(save, IMAGE_INDEX_HEAD, 1, 50); // never committed
    blocks_save_close(save);
    check_manifest(kv, &first);
    check_piece(kv, &first, IMAGE_INDEX_HEAD, 0, 100); // a whole array has a version of its own
    check_piece(kv, &second, IMAGE_INDEX_HEAD, 0, 50);
    check_piece(kv, &second, IMAGE_INDEX_HEAD, 1, 0);
    check_piece(kv, &second, IMAGE_ROWS, 0, 100); // of the same generation
    kv_close(kv);
}
END_TEST

START_TEST(clean_erases_what_no_manifest_names)
{
    struct kv *kv = store_open(KV_WRITE);
    struct blocks_save *save = save_open(kv, &first);
    for (uint32_t i = 0; i < 150; i++)
        put(save, IMAGE_ROWS, i, 3000);
    put(save, IMAGE_INDEX_HEAD, 0, 100);
    put(save, IMAGE_CALIBRATION, UINT32_MAX, 100);
    finish(save, &first);
    const struct manifest second = {.checkpoint = 2, .seq = 20, .generation = 2, .rows = 1};
    save = save_open(kv, &second);
    put(save, IMAGE_ROWS, 0, 3000);
    put(save, IMAGE_ROWS, UINT32_MAX, 3000);
    put(save, IMAGE_INDEX_HEAD, 0, 50);
    finish(save, &second);
    bool done = false;
    uint32_t calls = 0;
    for (; !done; calls++)
        ck_assert_int_eq(blocks_clean(kv, &second, &done, NULL), OMEN_OK);
    ck_assert_uint_ge(calls, 3); // a few pieces each
    check_piece(kv, &first, IMAGE_ROWS, 1, 0);
    check_piece(kv, &first, IMAGE_INDEX_HEAD, 0, 0);
    check_piece(kv, &first, IMAGE_CALIBRATION, UINT32_MAX, 0);
    check_piece(kv, &second, IMAGE_ROWS, 0, 3000);
    check_piece(kv, &second, IMAGE_ROWS, UINT32_MAX, 3000);
    check_piece(kv, &second, IMAGE_INDEX_HEAD, 0, 50);
    struct blocks_report report;
    ck_assert_int_eq(verify(kv, &report, NULL), OMEN_OK);
    ck_assert_uint_eq(report.pieces, 3);
    kv_close(kv);
}
END_TEST

// More than a transaction of usual size takes, and none of it before the manifest.
START_TEST(late_pieces_come_with_the_manifest_and_not_before)
{
    enum { PIECES = 160 }; // 40 MiB
    static struct blocks_late late[PIECES + 1];
    const struct manifest second = {.checkpoint = 2, .seq = 20, .generation = 1, .rows = 9};
    struct blocks_late_list list = {.pieces = late, .count = PIECES + 1};
    struct kv *kv = store_open(KV_WRITE);
    struct blocks_save *save = save_open(kv, &first);
    unsigned char *all = malloc(PIECES * IMAGE_PIECE_BYTES);
    put(save, IMAGE_PAYLOAD_AT, 0, 700);
    put(save, IMAGE_PAYLOADS, 7, 700);
    finish(save, &first);
    for (uint32_t i = 0; i < PIECES; i++) {
        unsigned char *piece = all + i * IMAGE_PIECE_BYTES;
        store_fill(piece, IMAGE_PAYLOAD_AT * 1000 + i, IMAGE_PIECE_BYTES);
        late[i] = (struct blocks_late){IMAGE_PAYLOAD_AT, i, IMAGE_PIECE_BYTES, piece};
    }
    late[PIECES] = (struct blocks_late){IMAGE_PAYLOADS, 7, 0, NULL}; // dropped

    save = save_open(kv, &second);
    put(save, IMAGE_ROWS, 0, 100);
    ck_assert_int_eq(blocks_save_flush(save, NULL), OMEN_OK);
    blocks_save_close(save); // given up
    check_manifest(kv, &first);
    check_piece(kv, &first, IMAGE_PAYLOAD_AT, 0, 700);
    check_piece(kv, &first, IMAGE_PAYLOADS, 7, 700);

    save = save_open(kv, &second);
    put(save, IMAGE_ROWS, 0, 100);
    ck_assert_int_eq(blocks_save_finish_late(save, &second, &list, NULL), OMEN_OK);
    blocks_save_close(save);
    check_manifest(kv, &second);
    check_piece(kv, &second, IMAGE_ROWS, 0, 100);
    for (uint32_t i = 0; i < PIECES; i++)
        check_piece(kv, &second, IMAGE_PAYLOAD_AT, i, IMAGE_PIECE_BYTES);
    check_piece(kv, &second, IMAGE_PAYLOADS, 7, 0);
    struct blocks_report report;
    ck_assert_int_eq(verify(kv, &report, NULL), OMEN_OK);
    ck_assert_uint_eq(report.pieces, PIECES + 1);
    free(all);
    kv_close(kv);
}
END_TEST

START_TEST(log_commits_between_two_puts)
{
    struct kv *kv = store_open(KV_WRITE);
    struct blocks_save *save = save_open(kv, &first);
    put(save, IMAGE_ROWS, 0, 3000);
    struct kv_txn *txn = store_begin_write(kv); // would wait for ever if the save held one
    store_put(txn, TABLE_META, META_DEDUPE, 100);
    store_commit(txn);
    put(save, IMAGE_ROWS, 1, 3000);
    finish(save, &first);
    check_piece(kv, &first, IMAGE_ROWS, 0, 3000);
    kv_close(kv);
}
END_TEST

// What looking a piece up says, and the check of what it left unread.
static omen_status
look_up(struct kv *kv, uint32_t array, uint32_t piece, struct omen_error *error)
{
    struct blocks_load *load;
    size_t found;
    struct kv_txn *txn = store_begin_read(kv);
    ck_assert_int_eq(blocks_load_open(txn, &first, &load, NULL), OMEN_OK);
    const struct image_source source = blocks_load_source(load);
    const void *bytes_at = source.get(source.context, array, piece, &found);
    omen_status status = blocks_load_status(load, error);
    ck_assert_int_eq(bytes_at != NULL, status == OMEN_OK);
    kv_abort(txn);
    if (status == OMEN_OK)
        status = blocks_load_check_heads(load, error);
    ck_assert_uint_eq(blocks_load_heads(load), 0);
    blocks_load_close(load);
    return status;
}

// Any one byte of a piece's value that is another, and a value that is shorter. A small piece; and one whose head lookups leave
// unread.
START_TEST(damaged_piece_is_found)
{
    struct kv *kv = store_open(KV_WRITE);
    struct blocks_save *save = save_open(kv, &first);
    put(save, IMAGE_ROWS, 3, _i == 0 ? 100 : 5000);
    finish(save, &first);
    const uint64_t key = (uint64_t)IMAGE_ROWS << 56 | (uint64_t)1 << 32 | 3;
    struct kv_txn *txn = store_begin_read(kv);
    struct kv_value value;
    static char sound[8192];
    ck_assert_int_eq(kv_get(txn, TABLE_BLOCKS, key, &value, NULL), OMEN_OK);
    const size_t count = value.count;
    ck_assert_uint_le(count, sizeof sound);
    memcpy(sound, value.bytes, count);
    kv_abort(txn);
    for (size_t i = 0; i < count; i += i < 160 ? 1 : 301) {
        struct blocks_report report;
        struct omen_error error = {.text = ""};
        void *room;
        txn = store_begin_write(kv);
        ck_assert_int_eq(kv_put(txn, TABLE_BLOCKS, key, count, &room, NULL), OMEN_OK);
        memcpy(room, sound, count);
        ((char *)room)[i] ^= 1;
        store_commit(txn);
        omen_status status = verify(kv, &report, &error);
        ck_assert_msg(status == OMEN_E_CORRUPT || status == OMEN_E_VERSION, "byte %zu", i);
        ck_assert_str_ne(error.text, "");
        if (i >= BLOCK_HEAD_BYTES)
            continue;
        status = look_up(kv, IMAGE_ROWS, 3, &error);
        ck_assert_msg(status == OMEN_E_CORRUPT || status == OMEN_E_VERSION, "byte %zu", i);
        ck_assert_str_ne(error.text, "");
    }
    for (size_t cut = 1; cut < 147; cut++) { // to within the head, and to within the bytes
        struct blocks_report report;
        void *room;
        txn = store_begin_write(kv);
        ck_assert_int_eq(kv_put(txn, TABLE_BLOCKS, key, cut, &room, NULL), OMEN_OK);
        memcpy(room, sound, cut);
        store_commit(txn);
        ck_assert_int_eq(verify(kv, &report, NULL), OMEN_E_CORRUPT);
    }
    kv_close(kv);
}
END_TEST

START_TEST(only_pieces_used_where_they_lie_stay_unread)
{
    static const struct {
        uint32_t array;
        size_t count;
        uint32_t unread;
    } cases[] = {{IMAGE_ROWS, IMAGE_PIECE_BYTES, 1},
                 {IMAGE_ROWS, 2200, 1},
                 {IMAGE_ROWS, 100, 0},
                 {IMAGE_IDS, 5000, 1},
                 {IMAGE_NAMES, 5000, 1},
                 {IMAGE_ERASED, 5000, 0},
                 {IMAGE_ID_TABLE, 5000, 0}};
    struct kv *kv = store_open(KV_WRITE);
    struct blocks_save *save = save_open(kv, &first);
    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        put(save, cases[i].array, i, cases[i].count);
    finish(save, &first);
    struct kv_txn *txn = store_begin_read(kv);
    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct blocks_load *load;
        size_t found;
        ck_assert_int_eq(blocks_load_open(txn, &first, &load, NULL), OMEN_OK);
        const struct image_source source = blocks_load_source(load);
        ck_assert_ptr_nonnull(source.get(source.context, cases[i].array, i, &found));
        ck_assert_uint_eq(found, cases[i].count);
        ck_assert_uint_eq(blocks_load_heads(load), cases[i].unread);
        ck_assert_int_eq(blocks_load_check_heads(load, NULL), OMEN_OK);
        blocks_load_close(load);
    }
    kv_abort(txn);
    kv_close(kv);
}
END_TEST

// What is put may be made of what was there: a good checksum would hide for ever that it was damaged.
START_TEST(piece_in_place_of_a_damaged_one_is_refused)
{
    struct kv *kv = store_open(KV_WRITE);
    struct manifest second = first;
    struct omen_error error = {.text = ""};
    const uint32_t array = _i == 0 ? IMAGE_ROWS : IMAGE_ERASED; // in place; under a new version
    struct blocks_save *save = save_open(kv, &first);
    put(save, array, 3, 5000);
    finish(save, &first);
    const uint64_t key = (uint64_t)array << 56 | (uint64_t)1 << 32 | 3;
    struct kv_txn *txn = store_begin_read(kv);
    static char value[8192];
    struct kv_value found;
    void *room;
    ck_assert_int_eq(kv_get(txn, TABLE_BLOCKS, key, &found, NULL), OMEN_OK);
    const size_t count = found.count;
    memcpy(value, found.bytes, count);
    kv_abort(txn);
    value[BLOCK_HEAD_BYTES + 4000] ^= 4;
    txn = store_begin_write(kv);
    ck_assert_int_eq(kv_put(txn, TABLE_BLOCKS, key, count, &room, NULL), OMEN_OK);
    memcpy(room, value, count);
    store_commit(txn);

    second.checkpoint = 2;
    save = save_open(kv, &second);
    put(save, array, 3, 5000);
    ck_assert_int_eq(blocks_save_finish(save, &second, &error), OMEN_E_CORRUPT);
    ck_assert_ptr_nonnull(strstr(error.text, "checksum"));
    blocks_save_close(save);
    check_manifest(kv, &first);
    kv_close(kv);
}
END_TEST

START_TEST(records_come_back_and_keep_their_limit)
{
    static unsigned char record[65537];
    struct kv *kv = store_open(KV_WRITE);
    struct kv_txn *txn = store_begin_write(kv);
    struct kv_value value;
    struct omen_error error;
    store_fill(record, 1, sizeof record);
    ck_assert_int_eq(meta_get(txn, META_OPTIONS, &value, NULL), OMEN_E_NOT_FOUND);
    ck_assert_int_eq(meta_put(txn, META_OPTIONS, record, 65537, &error), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "65537"));
    ck_assert_int_eq(meta_put(txn, META_OPTIONS, record, 65536, NULL), OMEN_OK);
    ck_assert_int_eq(meta_put(txn, META_TERMS, NULL, 0, NULL), OMEN_OK);
    store_commit(txn);
    txn = store_begin_read(kv);
    ck_assert_int_eq(meta_get(txn, META_OPTIONS, &value, NULL), OMEN_OK);
    ck_assert_uint_eq(value.count, 65536);
    ck_assert_mem_eq(value.bytes, record, 65536);
    ck_assert_int_eq(meta_get(txn, META_TERMS, &value, NULL), OMEN_OK);
    ck_assert_uint_eq(value.count, 0);
    kv_abort(txn);
    kv_close(kv);
}
END_TEST

START_TEST(damaged_record_is_found)
{
    struct kv *kv = store_open(KV_WRITE);
    struct blocks_save *save = save_open(kv, &first);
    finish(save, &first);
    struct kv_txn *txn = store_begin_read(kv);
    struct kv_value value;
    char sound[64];
    ck_assert_int_eq(kv_get(txn, TABLE_META, META_MANIFEST, &value, NULL), OMEN_OK);
    const size_t count = value.count;
    ck_assert_uint_le(count, sizeof sound);
    memcpy(sound, value.bytes, count);
    kv_abort(txn);
    for (size_t i = 0; i < 2 * count - 1; i++) { // flipped, then cut
        void *room;
        struct manifest manifest;
        struct blocks_report report;
        const size_t put_count = i < count ? count : i - count + 1;
        txn = store_begin_write(kv);
        ck_assert_int_eq(kv_put(txn, TABLE_META, META_MANIFEST, put_count, &room, NULL), OMEN_OK);
        memcpy(room, sound, put_count);
        if (i < count)
            ((char *)room)[i] ^= 0x40;
        store_commit(txn);
        txn = store_begin_read(kv);
        ck_assert_int_eq(manifest_read(txn, &manifest, NULL), OMEN_E_CORRUPT);
        kv_abort(txn);
        ck_assert_int_eq(verify(kv, &report, NULL), OMEN_E_CORRUPT);
    }
    kv_close(kv);
}
END_TEST

START_TEST(failed_allocation_changes_nothing)
{
    struct kv *kv = store_open(KV_WRITE);
    for (uint64_t n = 1;; n++) {
        ck_assert_uint_lt(n, 100);
        struct blocks_save *save = NULL;
        store_fill(bytes, IMAGE_ROWS * 1000, 100);
        mem_fail_after(n);
        omen_status status = blocks_save_open(kv, &first, &save, NULL);
        if (status == OMEN_OK) {
            const struct image_sink sink = blocks_save_sink(save);
            status = sink.put(sink.context, IMAGE_ROWS, 0, bytes, 100);
        }
        if (status == OMEN_OK)
            status = blocks_save_finish(save, &first, NULL);
        const bool enough = mem_refused() == 0;
        mem_fail_after(0);
        ck_assert_int_eq(status, enough ? OMEN_OK : OMEN_E_NO_MEMORY);
        blocks_save_close(save);
        check_piece(kv, &first, IMAGE_ROWS, 0, enough ? 100 : 0);
        check_manifest(kv, enough ? &first : &(struct manifest){0});
        if (enough)
            break;
    }
    kv_close(kv);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("storage/blocks");
    TCase *tcase = tcase_create("blocks");
    tcase_add_checked_fixture(tcase, store_setup, store_teardown);
    tcase_add_test(tcase, no_manifest_is_one_of_zeroes);
    tcase_add_test(tcase, pieces_of_every_size_come_back);
    tcase_add_test(tcase, piece_put_again_replaces_and_dropped_piece_is_gone);
    tcase_add_test(tcase, sink_refuses_what_is_no_piece);
    tcase_add_test(tcase, save_without_finish_leaves_the_manifest);
    tcase_add_test(tcase, clean_erases_what_no_manifest_names);
    tcase_add_test(tcase, late_pieces_come_with_the_manifest_and_not_before);
    tcase_add_test(tcase, log_commits_between_two_puts);
    tcase_add_loop_test(tcase, damaged_piece_is_found, 0, 2);
    tcase_add_test(tcase, only_pieces_used_where_they_lie_stay_unread);
    tcase_add_loop_test(tcase, piece_in_place_of_a_damaged_one_is_refused, 0, 2);
    tcase_add_test(tcase, records_come_back_and_keep_their_limit);
    tcase_add_test(tcase, damaged_record_is_found);
    tcase_add_test(tcase, failed_allocation_changes_nothing);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
