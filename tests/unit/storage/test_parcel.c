// tests/unit/storage/test_parcel.c -- folders take each other's place at once, or so that a cut is repaired; chunks are believed by sums.
//
// Halves: kv_lmdb
#include "storage/parcel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "tests/lib/check_main.h"
#include "tests/lib/folder.h"

static struct folder folder;
static struct omen_error error;
static bool exchanges; // whether the file system does
static char from[320], to[320], aside[330];

// In front of libc's.
int
renameat2(int old_fd, const char *old, int new_fd, const char *new, unsigned flags)
{
    if (!exchanges) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_renameat2, old_fd, old, new_fd, new, flags);
}

static void
put_file(const char *where, const char *name, const void *bytes, size_t count)
{
    char path[400];
    (void)mkdir(where, 0777);
    (void)snprintf(path, sizeof path, "%s/%s", where, name);
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, count, file), count);
    ck_assert_int_eq(fclose(file), 0);
}

static void
holds(const char *where, const char *expected)
{
    char path[400], bytes[64] = {0};
    (void)snprintf(path, sizeof path, "%s/%s", where, PARCEL_DATA_FILE);
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s is missing", path);
    (void)!fread(bytes, 1, sizeof bytes - 1, file);
    ck_assert_str_eq(bytes, expected);
    fclose(file);
}

static void
setup(void)
{
    folder_init(&folder);
    (void)snprintf(from, sizeof from, "%s/from", folder.path);
    (void)snprintf(to, sizeof to, "%s/to", folder.path);
    (void)snprintf(aside, sizeof aside, "%s.old", to);
    put_file(from, PARCEL_DATA_FILE, "new", 3);
    exchanges = true;
}

static void
teardown(void)
{
    folder_fini(&folder);
}

START_TEST(a_folder_takes_the_place_of_another_which_is_erased)
{
    const struct parcel_move move = {from, to};
    exchanges = _i % 2 == 0;
    if (_i < 4) {
        put_file(to, PARCEL_DATA_FILE, "old", 3);
        put_file(to, "lock.mdb", "lock", 4);
    }
    if (_i >= 2)
        put_file(aside, PARCEL_DATA_FILE, "older", 5); // left over
    ck_assert_int_eq(parcel_put(&move, &error), OMEN_OK);
    holds(to, "new");
    ck_assert_int_ne(access(from, F_OK), 0);
    ck_assert_int_ne(access(aside, F_OK), 0);
    char lock[340];
    (void)snprintf(lock, sizeof lock, "%s/lock.mdb", to);
    ck_assert_int_ne(access(lock, F_OK), 0);
}
END_TEST

START_TEST(a_folder_that_was_put_aside_comes_back_where_nothing_took_its_place)
{
    put_file(aside, PARCEL_DATA_FILE, "old", 3);
    ck_assert_int_eq(parcel_repair(to, &error), OMEN_OK);
    holds(to, "old");
    ck_assert_int_ne(access(aside, F_OK), 0);
    put_file(aside, PARCEL_DATA_FILE, "older", 5);
    ck_assert_int_eq(parcel_repair(to, &error), OMEN_OK);
    holds(to, "old");
    ck_assert_int_ne(access(aside, F_OK), 0);
    ck_assert_int_eq(parcel_repair(to, &error), OMEN_OK);
}
END_TEST

START_TEST(what_cannot_be_put_leaves_all_as_it_was)
{
    const struct parcel_move move = {"/dev/null/none", to};
    put_file(to, PARCEL_DATA_FILE, "old", 3);
    for (int i = 0; i < 2; i++) {
        exchanges = i == 0;
        ck_assert_int_ne(parcel_put(&move, &error), OMEN_OK);
        ck_assert_ptr_nonnull(strstr(error.text, "putting a folder in its place"));
        holds(to, "old");
    }
}
END_TEST

// ---- chunks ----

static uint8_t sent[PARCEL_CHUNK_BYTES];

static struct parcel *
pack(size_t data_bytes, size_t extra_bytes)
{
    struct parcel *parcel;
    uint8_t *data = malloc(data_bytes + extra_bytes + 1);
    for (size_t i = 0; i < data_bytes + extra_bytes; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 22);
    put_file(from, PARCEL_DATA_FILE, data, data_bytes);
    const struct parcel_what what = {
        .folder = from, .seq = 9, .extra = data + data_bytes, .extra_bytes = extra_bytes};
    ck_assert_int_eq(parcel_pack(&what, &parcel, &error), OMEN_OK);
    free(data);
    return parcel;
}

START_TEST(every_size_goes_through_whole)
{
    static const size_t sizes[] = {0,
                                   1,
                                   PARCEL_CHUNK_BYTES - 1,
                                   PARCEL_CHUNK_BYTES,
                                   PARCEL_CHUNK_BYTES + 1,
                                   3 * PARCEL_CHUNK_BYTES};
    const size_t data_bytes = sizes[_i % 6], extra_bytes = sizes[_i / 6];
    struct parcel *parcel = pack(data_bytes, extra_bytes);
    struct parcel_inbox *inbox;
    struct parcel_extra extra;
    uint64_t seq = 0;
    ck_assert_int_eq(parcel_inbox_open(to, &inbox, &error), OMEN_OK);
    for (uint32_t i = 0; i < parcel_chunks(parcel); i++) {
        struct parcel_chunk chunk = {.number = i};
        ck_assert_int_eq(parcel_read(parcel, &chunk, sent, &error), OMEN_OK);
        ck_assert_int_eq(parcel_store(inbox, &chunk, sent, &error), OMEN_OK);
    }
    ck_assert_int_eq(parcel_finish(inbox, &seq, &error), OMEN_OK);
    ck_assert_uint_eq(seq, 9);
    parcel_inbox_close(inbox);
    parcel_close(parcel);
    ck_assert_int_eq(parcel_extra(to, &extra, &error), OMEN_OK);
    ck_assert_uint_eq(extra.count, extra_bytes);
    size_t wrong = 0;
    for (size_t i = 0; i < extra_bytes; i++)
        wrong += ((uint8_t *)extra.bytes)[i] != (uint8_t)((data_bytes + i) * 2654435761u >> 22);
    ck_assert_uint_eq(wrong, 0);
    mem_free(extra.bytes);
    struct stat stat_from, stat_to;
    char path[400];
    (void)snprintf(path, sizeof path, "%s/%s", from, PARCEL_DATA_FILE);
    ck_assert_int_eq(stat(path, &stat_from), 0);
    (void)snprintf(path, sizeof path, "%s/%s", to, PARCEL_DATA_FILE);
    ck_assert_int_eq(stat(path, &stat_to), 0);
    ck_assert_int_eq(stat_from.st_size, stat_to.st_size);
}
END_TEST

START_TEST(a_file_that_changes_under_the_parcel_is_noticed)
{
    struct parcel *parcel = pack(100, 3);
    struct parcel_chunk chunk = {.number = 1};
    put_file(from, PARCEL_DATA_FILE, sent, 100);
    ck_assert_int_eq(parcel_read(parcel, &chunk, sent, &error), OMEN_E_CORRUPT);
    ck_assert_str_eq(error.text, "chunk 1 is not what it was");
    put_file(from, PARCEL_DATA_FILE, sent, 10);
    ck_assert_int_eq(parcel_read(parcel, &chunk, sent, &error), OMEN_E_CORRUPT);
    ck_assert_str_eq(error.text, "data.mdb: it ends early");
    parcel_close(parcel);
}
END_TEST

static void
refuse_head(struct parcel_inbox *inbox, const uint8_t *head, size_t count)
{
    const struct parcel_chunk chunk = {.count = count, .hash = hash_bytes(head, count)};
    ck_assert_int_eq(parcel_store(inbox, &chunk, head, &error), OMEN_E_CORRUPT);
}

START_TEST(a_head_that_is_none_is_refused_whatever_its_checksum_says)
{
    struct parcel *parcel = pack(100, 3);
    struct parcel_inbox *inbox;
    struct parcel_chunk chunk = {.number = 0};
    ck_assert_int_eq(parcel_read(parcel, &chunk, sent, &error), OMEN_OK);
    ck_assert_int_eq(parcel_inbox_open(to, &inbox, &error), OMEN_OK);
    refuse_head(inbox, sent, chunk.count - 1);
    for (size_t i = 0; i < chunk.count; i++) {
        sent[i] ^= 4;
        refuse_head(inbox, sent, chunk.count);
        sent[i] ^= 4;
    }
    ck_assert_int_eq(parcel_store(inbox, &chunk, sent, &error), OMEN_OK);
    chunk.number = 1;
    chunk.count = 7;
    chunk.hash = hash_bytes(sent, 7);
    ck_assert_int_eq(parcel_store(inbox, &chunk, sent, &error), OMEN_E_CORRUPT);
    ck_assert_str_eq(error.text, "chunk 1 has 7 bytes");
    parcel_inbox_close(inbox);
    parcel_close(parcel);
}
END_TEST

START_TEST(extra_bytes_that_rot_are_refused)
{
    struct parcel_extra extra;
    put_file(to, PARCEL_EXTRA_FILE, "short", 5);
    ck_assert_int_eq(parcel_extra(to, &extra, &error), OMEN_E_CORRUPT);
    memset(sent, 0, 64);
    put_file(to, PARCEL_EXTRA_FILE, sent, 64);
    ck_assert_int_eq(parcel_extra(to, &extra, &error), OMEN_E_CORRUPT);
    ck_assert_ptr_nonnull(strstr(error.text, "its head is none"));
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("storage/parcel");
    TCase *put = tcase_create("put");
    tcase_add_checked_fixture(put, setup, teardown);
    tcase_add_loop_test(put, a_folder_takes_the_place_of_another_which_is_erased, 0, 6);
    tcase_add_test(put, a_folder_that_was_put_aside_comes_back_where_nothing_took_its_place);
    tcase_add_test(put, what_cannot_be_put_leaves_all_as_it_was);
    suite_add_tcase(suite, put);
    TCase *chunks = tcase_create("chunks");
    tcase_add_checked_fixture(chunks, setup, teardown);
    tcase_add_loop_test(chunks, every_size_goes_through_whole, 0, 36);
    tcase_add_test(chunks, a_file_that_changes_under_the_parcel_is_noticed);
    tcase_add_test(chunks, a_head_that_is_none_is_refused_whatever_its_checksum_says);
    tcase_add_test(chunks, extra_bytes_that_rot_are_refused);
    suite_add_tcase(suite, chunks);
    return suite;
}

CHECK_MAIN(suite)
