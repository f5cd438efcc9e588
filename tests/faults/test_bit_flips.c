// tests/faults/test_bit_flips.c -- a file that is damaged anywhere: opening or verifying says so, or nothing was lost; and
// nobody crashes, hangs, or makes of what is damaged something that passes for sound.
//
// Labels: faults
//
// One trial damages one place of a file that has everything in it, and then does everything with it. The trial's number is
// its seed. OMEN_FAULTS=n makes n times as many.
#include "base/hash.h"
#include "base/image.h"
#include "tests/lib/check_main.h"
#include "tests/lib/fault_world.h"
#include "tests/lib/faults.h"
#include "tests/lib/file_copy.h"
#include "tests/lib/folder.h"

#define TRIALS 60 // of each test and kind of file
#define PAGE 4096u
#define SECTOR 512u
#define TEXTS 1200u // more than found the graph
#define NEW_ID 77777u

enum ids { IDS_NUMBERS, IDS_TEXTS };
enum damage { DAMAGE_BIT, DAMAGE_BYTE, DAMAGE_SECTOR, DAMAGE_PAGE, DAMAGES };

static struct folder folder;
static char path[320], data[400];
static struct fault_world *world;
static struct file_bytes sound; // the file before
static enum ids kind;

// What can be read from an index, but for what a trial adds.
struct seen {
    uint64_t rows;   // ids, their texts, vectors, payloads and versions, in order
    uint64_t counts; // of filters
};

static struct seen before;
static const char new_text[] = "a new one";

// A status that says that something is damaged, or that it is not what it was.
static bool
refused(omen_status status)
{
    return status == OMEN_E_CORRUPT || status == OMEN_E_INVALID || status == OMEN_E_VERSION ||
           status == OMEN_E_NOT_FOUND || status == OMEN_E_IO || status == OMEN_E_UNSUPPORTED;
}

static void
may(omen_status status, const char *what, uint64_t trial)
{
    ck_assert_msg(status == OMEN_OK || refused(status), "trial %d, %s: %d %s", (int)trial, what,
                  status, omen_error_message());
    ck_assert(status == OMEN_OK || strlen(omen_error_message()) > 0);
}

static omen_status
see_points(omen_index_t index, omen_points_t points, uint64_t *sum)
{
    for (size_t i = 0; i < omen_points_count(points); i++) {
        char text[256] = "";
        size_t bytes = 0;
        const uint64_t id = omen_points_id(points, i);
        const void *payload = omen_points_payload(points, i, &bytes);
        const omen_status status =
            kind == IDS_TEXTS ? omen_id_text(index, id, text, sizeof text) : OMEN_OK;
        if (status != OMEN_OK)
            return status;
        if (id == NEW_ID || strcmp(text, new_text) == 0)
            continue;
        const uint64_t parts[6] = {
            *sum,
            id,
            hash_bytes(text, strlen(text)),
            hash_bytes(omen_points_vector(points, i), MODEL_DIM * sizeof(float)),
            payload != NULL ? hash_bytes(payload, bytes) : 0,
            omen_points_version(points, i) != 0, // compaction gives new ones
        };
        *sum = hash_bytes(parts, sizeof parts);
    }
    return OMEN_OK;
}

// Everything that is in an index; a status where something cannot be read.
static omen_status
see(omen_index_t index, struct seen *seen)
{
    static const char *const filters[] = {"age >= 50", "city == 'Oslo'",
                                          "age < 30 and city == 'Bodo'"};
    *seen = (struct seen){0, 0};
    for (uint64_t cursor = 0; cursor != UINT64_MAX;) {
        omen_points_t points;
        omen_status status =
            omen_scroll(index, NULL, OMEN_WITH_VECTOR | OMEN_WITH_PAYLOAD, 500, &cursor, &points);
        if (status != OMEN_OK)
            return status;
        status = see_points(index, points, &seen->rows);
        omen_points_free(points);
        if (status != OMEN_OK)
            return status;
    }
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        uint64_t count;
        const omen_status status = omen_count(index, filters[i], &count);
        if (status != OMEN_OK)
            return status;
        seen->counts = seen->counts * 10007 + count;
    }
    return OMEN_OK;
}

// ---- files with everything in them ----

static void
write_texts(uint32_t first, uint32_t count, bool upsert)
{
    static char texts[TEXTS][48];
    static const char *ids[TEXTS];
    static struct model_point points[TEXTS];
    struct model_batch batch;
    for (uint32_t i = 0; i < count; i++) {
        model_draw(&world->prng, first + i, &points[i]);
        (void)snprintf(texts[i], sizeof texts[i], "a text that is an id, number %u", first + i);
        ids[i] = texts[i];
    }
    model_batch_init(&batch, points, count);
    batch.batch.ids = NULL;
    batch.batch.text_ids = ids;
    must(upsert ? omen_upsert(world->index, &batch.batch) : omen_add(world->index, &batch.batch));
    model_batch_fini(&batch);
}

static void
write_everything(void)
{
    static const char *const gone[] = {"a text that is an id, number 5",
                                       "a text that is an id, number 1150"};
    if (kind == IDS_NUMBERS) {
        must(fault_step(world, FAULT_FIRST));
        must(fault_step(world, FAULT_DELETE));
        must(fault_step(world, FAULT_CHECKPOINT));
        must(fault_step(world, FAULT_UPSERT));
        must(fault_step(world, FAULT_CHECKPOINT));
        must(fault_step(world, FAULT_UPSERT));
        must(fault_step(world, FAULT_DELETE));
        must(fault_step(world, FAULT_PAYLOADS));
        must(fault_step(world, FAULT_ADD));
        return;
    }
    write_texts(0, TEXTS - 50, false);
    must(omen_flush(world->index));
    write_texts(100, 30, true);
    must(omen_flush(world->index));
    write_texts(TEXTS - 50, 50, false);
    write_texts(20, 10, true);
    must(omen_delete_text(world->index, gone, 2, NULL));
}

static void
setup(void)
{
    folder_init(&folder);
    (void)snprintf(path, sizeof path, "%s", folder_path(&folder, "shard"));
    (void)snprintf(data, sizeof data, "%s/data.mdb", path);
    world = malloc(sizeof *world);
    fault_world_init(world, path, 3);
    must(fault_world_open(world));
    must(omen_field_index(world->index, "age", OMEN_FIELD_INTEGER));
    must(omen_field_index(world->index, "city", OMEN_FIELD_KEYWORD));
    write_everything();
    must(omen_verify(world->index));
    must(see(world->index, &before));
    omen_close(world->index);
    sound = file_read(data);
}

static void
setup_numbers(void)
{
    kind = IDS_NUMBERS;
    setup();
}

static void
setup_texts(void)
{
    kind = IDS_TEXTS;
    setup();
}

static void
teardown(void)
{
    free(sound.bytes);
    free(world);
    folder_fini(&folder);
}

// ---- a trial ----

static bool
all_zero(const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

// Half of the trials fall on pages that hold something.
static size_t
draw_page(struct prng *prng)
{
    const uint32_t pages = (uint32_t)(sound.count / PAGE);
    size_t page = prng_below(prng, pages);
    for (uint32_t i = 0; i < pages && prng_below(prng, 8) != 0; i++, page = (page + 1) % pages)
        if (!all_zero(sound.bytes + page * PAGE, PAGE))
            break;
    return page;
}

static void
damage(struct prng *prng)
{
    struct file_bytes file = {malloc(sound.count), sound.count};
    char lock[400];
    memcpy(file.bytes, sound.bytes, sound.count);
    uint8_t *page = file.bytes + draw_page(prng) * PAGE;
    uint8_t *at = page + prng_below(prng, prng_below(prng, 3) == 0 ? 64 : PAGE);
    switch ((enum damage)prng_below(prng, DAMAGES)) {
    case DAMAGE_BIT:
        *at ^= (uint8_t)(1u << prng_below(prng, 8));
        break;
    case DAMAGE_BYTE:
        *at = (uint8_t)prng_below(prng, 256);
        break;
    case DAMAGE_SECTOR:
        memset(page + prng_below(prng, PAGE / SECTOR) * SECTOR, 0, SECTOR);
        break;
    default: // a write that went to another place
        memcpy(page, sound.bytes + draw_page(prng) * PAGE, PAGE);
    }
    (void)snprintf(lock, sizeof lock, "%s/lock.mdb", path);
    (void)unlink(lock);
    file_write(data, &file);
    free(file.bytes);
}

static void
ask_everything(omen_index_t index, uint64_t trial)
{
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    struct model_point query;
    struct seen seen;
    uint64_t ids[10], cursor = 0;
    uint32_t found;
    omen_points_t points;
    model_draw(&world->prng, 0, &query);
    for (uint32_t i = 0; i < 4; i++) {
        options.exact = i % 2 == 1;
        options.filter = i < 2 ? NULL : "age >= 20 and city != 'Oslo'";
        may(omen_query(index, query.vector, &options, ids, NULL, &found), "query", trial);
    }
    may(omen_range(index, query.vector, 0.2f, NULL, &points), "range", trial);
    omen_points_free(points);
    may(omen_get(index, (const uint64_t[]){1, 5, 900}, 3, OMEN_WITH_VECTOR | OMEN_WITH_PAYLOAD,
                 &points),
        "get", trial);
    omen_points_free(points);
    may(omen_scroll(index, "age >= 20", OMEN_WITH_PAYLOAD, 50, &cursor, &points), "scroll", trial);
    omen_points_free(points);
    may(see(index, &seen), "reading everything", trial);
}

// Verified, and the same as before it was damaged.
static void
check_sound(omen_index_t index, const char *when, uint64_t trial)
{
    struct seen seen = {0, 0};
    const omen_status status = see(index, &seen);
    ck_assert_msg(status == OMEN_OK, "trial %d, %s: verified, but %s", (int)trial, when,
                  omen_error_message());
    ck_assert_msg(seen.rows == before.rows, "trial %d, %s: verified, but other rows", (int)trial,
                  when);
    ck_assert_msg(seen.counts == before.counts, "trial %d, %s: verified, but filters count others",
                  (int)trial, when);
}

static omen_status
open_again(int read_only, omen_index_t *index)
{
    omen_options options = world->options;
    options.read_only = read_only;
    return omen_open(&options, index);
}

static omen_status
write_one(omen_index_t index)
{
    struct model_batch batch;
    struct model_point point;
    const char *text = new_text;
    model_draw(&world->prng, NEW_ID, &point);
    point.city = NULL; // no filter counts it
    model_batch_init(&batch, &point, 1);
    if (kind == IDS_TEXTS) {
        batch.batch.ids = NULL;
        batch.batch.text_ids = &text;
    }
    const omen_status status = omen_upsert(index, &batch.batch);
    model_batch_fini(&batch);
    return status;
}

// Writes to what is damaged. Where verifying finds nothing any more, nothing may have got lost.
static void
write_trial(omen_index_t index, bool compact, uint64_t trial)
{
    may(compact ? omen_compact(index) : write_one(index), compact ? "compact" : "upsert", trial);
    may(omen_flush(index), "flush", trial);
    if (omen_verify(index) == OMEN_OK)
        check_sound(index, compact ? "compacted" : "written", trial);
    ask_everything(index, trial);
    may(write_one(index), "another upsert", trial);
}

static void
run_trial(uint64_t trial)
{
    struct prng prng;
    omen_index_t index;
    prng_init(&prng, trial);
    damage(&prng);
    const int read_only = prng_below(&prng, 4) == 0;
    const bool compact = prng_below(&prng, 2) == 0;
    omen_status status = open_again(read_only, &index);
    may(status, "opening", trial);
    if (status != OMEN_OK)
        return;
    if (prng_below(&prng, 2) == 0) {
        status = omen_verify(index);
        may(status, "verify", trial);
        if (status == OMEN_OK)
            check_sound(index, "opened", trial);
    }
    if (prng_below(&prng, 2) == 0)
        ask_everything(index, trial);
    if (!read_only)
        write_trial(index, compact, trial);
    omen_close(index);
    status = open_again(0, &index);
    may(status, "opening again", trial);
    if (status != OMEN_OK)
        return;
    if (omen_verify(index) == OMEN_OK)
        check_sound(index, "opened again", trial);
    ask_everything(index, trial);
    may(omen_delete(index, (const uint64_t[]){3, 4}, 2, NULL), "delete", trial);
    may(omen_flush(index), "last flush", trial);
    omen_close(index);
}

START_TEST(damage_is_found_or_does_no_harm)
{
    for (uint32_t i = 0; i < faults_more(); i++)
        run_trial((uint64_t)_i + (uint64_t)i * TRIALS);
}
END_TEST

// Flips a bit near the end of every piece of an array; returns how many there were, those on free pages among them.
static uint32_t
damage_array(uint32_t array)
{
    uint32_t found = 0;
    for (size_t at = 16; at + PAGE <= sound.count; at += PAGE) { // behind the page's head
        uint8_t *piece = sound.bytes + at;
        uint64_t count;
        memcpy(&count, piece + 16, sizeof count);
        if (memcmp(piece, "OMNB", 4) != 0 || piece[6] != array || count > sound.count - at - 48)
            continue;
        piece[48 + count - 3] ^= 1;
        found++;
    }
    file_write(data, &sound);
    return found;
}

START_TEST(a_damaged_field_index_is_made_again_of_the_payloads)
{
    omen_index_t index;
    ck_assert_uint_gt(damage_array(IMAGE_FIELDS), 0);
    must(open_again(0, &index));
    ck_assert_int_eq(omen_verify(index), OMEN_E_CORRUPT);
    check_sound(index, "opened", 0);
    must(write_one(index));
    must(omen_flush(index));
    must(omen_verify(index));
    omen_close(index);
    must(open_again(0, &index));
    must(omen_verify(index));
    check_sound(index, "opened again", 0);
    omen_close(index);
}
END_TEST

START_TEST(a_damaged_field_index_keeps_nobody_from_compacting)
{
    omen_index_t index;
    ck_assert_uint_gt(damage_array(IMAGE_FIELDS), 0);
    must(open_again(0, &index));
    must(omen_compact(index));
    must(omen_verify(index));
    check_sound(index, "compacted", 0);
    omen_close(index);
}
END_TEST

// Compaction and checkpoints would give what is damaged a good checksum.
START_TEST(damaged_rows_are_not_made_to_look_sound)
{
    static const uint32_t arrays[] = {IMAGE_ROWS, IMAGE_IDS, IMAGE_PAYLOADS, IMAGE_LINKS};
    omen_index_t index;
    ck_assert_uint_gt(damage_array(arrays[_i]), 0);
    const omen_status status = open_again(0, &index);
    if (status == OMEN_E_CORRUPT) // some are read already then
        return;
    must(status);
    ck_assert_int_eq(omen_verify(index), OMEN_E_CORRUPT);
    ck_assert_int_eq(omen_compact(index), OMEN_E_CORRUPT);
    ck_assert_ptr_nonnull(strstr(omen_error_message(), "checksum"));
    may(write_one(index), "upsert", 0);
    may(omen_flush(index), "flush", 0);
    ck_assert_int_eq(omen_verify(index), OMEN_E_CORRUPT);
    omen_close(index);
}
END_TEST

static Suite *
suite(void)
{
    static void (*const setups[])(void) = {setup_numbers, setup_texts};
    Suite *suite = suite_create("faults/bit_flips");
    for (size_t i = 0; i < 2; i++) {
        TCase *tcase = tcase_create(i == 0 ? "numbers" : "texts");
        tcase_add_unchecked_fixture(tcase, setups[i], teardown);
        tcase_set_timeout(tcase, 600);
        tcase_add_loop_test(tcase, damage_is_found_or_does_no_harm, 0, TRIALS);
        tcase_add_test(tcase, a_damaged_field_index_is_made_again_of_the_payloads);
        tcase_add_test(tcase, a_damaged_field_index_keeps_nobody_from_compacting);
        tcase_add_loop_test(tcase, damaged_rows_are_not_made_to_look_sound, 0, 4);
        suite_add_tcase(suite, tcase);
    }
    return suite;
}

CHECK_MAIN(suite)
