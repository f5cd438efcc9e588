// tests/unit/shard/test_held_rows.c -- what somebody has in hand stays what it was, whatever becomes of where it lies.
//
// Labels: tsan
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "base/alloc.h"
#include "base/prng.h"
#include "shard/checkpoint.h"
#include "tests/lib/check_main.h"
#include "tests/lib/folder.h"

#define DIM 256u   // 256 rows a piece
#define LINKS_M 64 // 512 rows of links a piece
#define ROWS 1600u
#define BATCH 50u
#define STABLE 700u // rows from the first on that stay as they are
#define K 10u
#define WIDE_DIM 4096u // 16 rows a piece
#define WIDE_ROWS 47u  // the last piece is not whole
#define WIDE_MORE 850u // 13 MiB

static struct folder folder;
static omen_index_t shared;
static atomic_bool ending;
static float vectors[ROWS][DIM];

// Components are small integers, so distances are exact however they are summed.
static void
setup(void)
{
    struct prng prng;
    folder_init(&folder);
    atomic_init(&ending, false);
    prng_init(&prng, 11);
    for (uint32_t row = 0; row < ROWS; row++)
        for (uint32_t i = 0; i < DIM; i++)
            vectors[row][i] = (float)prng_below(&prng, 16);
}

static void
teardown(void)
{
    omen_close(shared);
    folder_fini(&folder);
}

static void
open_index(void)
{
    omen_options options = OMEN_OPTIONS_INIT;
    options.path = folder_path(&folder, "shard");
    options.dimension = DIM;
    options.metric = OMEN_L2;
    options.m = LINKS_M;
    options.ef_construction = 64;
    options.threads = 2;
    ck_assert_msg(omen_open(&options, &shared) == OMEN_OK, "%s", omen_error_message());
}

static struct shard *
shard_of(omen_index_t index)
{
    return (struct shard *)(void *)index;
}

static void
put(uint32_t first, uint32_t count)
{
    omen_batch batch = OMEN_BATCH_INIT;
    uint64_t ids[ROWS];
    for (uint32_t i = 0; i < count; i++)
        ids[i] = first + i;
    batch.count = count;
    batch.vectors = vectors[first];
    batch.ids = ids;
    ck_assert_msg(omen_upsert(shared, &batch) == OMEN_OK, "%s", omen_error_message());
}

// As after a restart: everything lies in the map, and the last pieces are not whole.
static void
reopen(void)
{
    ck_assert_int_eq(omen_flush(shared), OMEN_OK);
    omen_close(shared);
    open_index();
}

static void
save(bool grown)
{
    struct omen_error error;
    struct shard *shard = shard_of(shared);
    const omen_status status = grown ? checkpoint_grown(shard, &error) : checkpoint(shard, &error);
    ck_assert_msg(status == OMEN_OK, "%s", error.text);
}

static void *
add_wide(void *vectors_of)
{
    omen_batch batch = OMEN_BATCH_INIT;
    batch.count = WIDE_MORE;
    batch.vectors = vectors_of;
    ck_assert_msg(omen_add(shared, &batch) == OMEN_OK, "%s", omen_error_message());
    return NULL;
}

// Where the file has a piece of rows now.
static const void *
piece_in_file(struct shard *shard, uint32_t piece)
{
    struct omen_error error;
    struct manifest manifest;
    struct blocks_load *load;
    struct kv_txn *txn;
    size_t count;
    ck_assert_int_eq(kv_begin_read(shard->journal->kv, &txn, &error), OMEN_OK);
    ck_assert_int_eq(manifest_read(txn, &manifest, &error), OMEN_OK);
    ck_assert_int_eq(blocks_load_open(txn, &manifest, &load, &error), OMEN_OK);
    const struct image_source source = blocks_load_source(load);
    const void *bytes = source.get(source.context, IMAGE_ROWS, piece, &count);
    blocks_load_close(load);
    kv_abort(txn);
    return bytes;
}

// So much comes that the keeper makes a checkpoint of several transactions; the later ones may write to pages that the first
// set free.
START_TEST(a_row_in_hand_is_what_it_was_while_a_checkpoint_puts_its_piece_again)
{
    float *wide = mem_alloc_zero((size_t)(WIDE_ROWS + WIDE_MORE) * WIDE_DIM, sizeof *wide);
    ck_assert_ptr_nonnull(wide);
    for (size_t i = 0; i < (size_t)(WIDE_ROWS + WIDE_MORE) * WIDE_DIM; i++)
        wide[i] = (float)(i % 10007 + 1);
    omen_options options = OMEN_OPTIONS_INIT;
    options.path = folder_path(&folder, "shard");
    options.dimension = WIDE_DIM;
    options.metric = OMEN_L2;
    options.algorithm = OMEN_FLAT;
    omen_batch batch = OMEN_BATCH_INIT;
    batch.count = WIDE_ROWS;
    batch.vectors = wide;
    ck_assert_int_eq(omen_open(&options, &shared), OMEN_OK);
    ck_assert_int_eq(omen_add(shared, &batch), OMEN_OK);
    omen_close(shared);
    ck_assert_int_eq(omen_open(&options, &shared), OMEN_OK);

    struct shard *shard = shard_of(shared);
    pthread_t adder;
    const uint32_t ticket = epoch_enter(&shard->gate), piece = WIDE_ROWS / 16, first = piece * 16;
    const struct hnsw *hnsw = shard_generation(shard)->hnsw;
    const float *row = hnsw_row(hnsw, first);
    ck_assert_int_eq(pthread_create(&adder, NULL, add_wide, wide + WIDE_ROWS * WIDE_DIM), 0);
    while (atomic_load(&shard->gate.waiting) == 0)
        (void)sched_yield();
    ck_assert_ptr_ne(row, hnsw_row(hnsw, first)); // the piece is ours, and is to be put
    ck_assert_ptr_eq(row, piece_in_file(shard, piece));
    ck_assert_mem_eq(row, wide + first * WIDE_DIM, (WIDE_ROWS - first) * WIDE_DIM * sizeof *wide);
    epoch_leave(&shard->gate, ticket);
    ck_assert_int_eq(pthread_join(adder, NULL), 0);
    save(false);
    ck_assert_ptr_ne(row, piece_in_file(shard, piece));
    ck_assert_msg(omen_verify(shared) == OMEN_OK, "%s", omen_error_message());
    mem_free(wide);
}
END_TEST

static float
distance_to(const float *query, uint64_t id)
{
    float sum = 0.0f;
    for (uint32_t i = 0; i < DIM; i++)
        sum += (query[i] - vectors[id][i]) * (query[i] - vectors[id][i]);
    return sum;
}

// The nearest K; every distance is that of the row that was written.
static uint32_t
search(uint32_t of, int exact, uint64_t *ids)
{
    float distances[K];
    uint32_t found;
    omen_query_options options = OMEN_QUERY_OPTIONS_INIT;
    options.k = K;
    options.ef = 200;
    options.exact = exact;
    ck_assert_int_eq(omen_query(shared, vectors[of], &options, ids, distances, &found), OMEN_OK);
    for (uint32_t i = 0; i < found; i++)
        ck_assert(ids[i] < ROWS && distances[i] == distance_to(vectors[of], ids[i]));
    return found;
}

static void *
search_on(void *argument)
{
    for (uint32_t of = *(const uint32_t *)argument; !atomic_load(&ending);
         of = (of + 13) % STABLE) {
        uint64_t ids[K];
        omen_points_t points;
        const uint64_t id = of;
        ck_assert(search(of, 1, ids) == K && ids[0] == of);
        ck_assert_uint_eq(search(of, 0, ids), K);
        ck_assert_int_eq(omen_get(shared, &id, 1, OMEN_WITH_VECTOR, &points), OMEN_OK);
        ck_assert_mem_eq(omen_points_vector(points, 0), vectors[of], sizeof vectors[of]);
        omen_points_free(points);
    }
    return NULL;
}

static void *
promote_on(void *unused)
{
    struct shard *shard = shard_of(shared);
    while (!atomic_load(&ending)) {
        const uint32_t ticket = epoch_enter(&shard->gate);
        const bool more = hnsw_promote_next(shard_generation(shard)->hnsw);
        epoch_leave(&shard->gate, ticket);
        if (!more)
            break;
        (void)sched_yield();
    }
    return unused;
}

// Rows come, are deleted and replaced; each time another kind of checkpoint.
static void
write_all(void)
{
    for (uint32_t first = STABLE; first < ROWS; first += BATCH) {
        put(first, BATCH);
        if (first % (2 * BATCH) == 0) {
            uint64_t ids[BATCH / 2];
            for (uint32_t i = 0; i < BATCH / 2; i++)
                ids[i] = first + i;
            ck_assert_int_eq(omen_delete(shared, ids, BATCH / 2, NULL), OMEN_OK);
            put(first, BATCH / 4);
        }
        save(first % (3 * BATCH) != 0);
        checkpoint_settle(shard_of(shared));
    }
}

START_TEST(answers_are_exact_while_rows_settle_and_links_become_ours)
{
    const uint32_t starts[2] = {0, STABLE / 2};
    pthread_t searchers[2], promoter;
    open_index();
    put(0, STABLE);
    reopen();
    for (uint32_t i = 0; i < 2; i++)
        ck_assert_int_eq(
            pthread_create(&searchers[i], NULL, search_on, (void *)(uintptr_t)&starts[i]), 0);
    ck_assert_int_eq(pthread_create(&promoter, NULL, promote_on, NULL), 0);
    write_all();
    atomic_store(&ending, true);
    for (uint32_t i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_join(searchers[i], NULL), 0);
    ck_assert_int_eq(pthread_join(promoter, NULL), 0);
    ck_assert_int_eq(omen_flush(shared), OMEN_OK);
    ck_assert_msg(omen_verify(shared) == OMEN_OK, "%s", omen_error_message());
    uint32_t same = 0;
    for (uint32_t of = 0; of < STABLE; of += 10) {
        uint64_t exact[K], near[K];
        ck_assert(search(of, 1, exact) == K && search(of, 0, near) == K);
        for (uint32_t i = 0; i < K; i++)
            for (uint32_t j = 0; j < K; j++)
                same += exact[i] == near[j];
    }
    ck_assert_uint_ge(same, STABLE / 10 * K * 9 / 10);
}
END_TEST

static Suite *
suite(void)
{
    Suite *all = suite_create("shard/held_rows");
    TCase *tcase = tcase_create("held_rows");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 180);
    tcase_add_test(tcase, a_row_in_hand_is_what_it_was_while_a_checkpoint_puts_its_piece_again);
    tcase_add_test(tcase, answers_are_exact_while_rows_settle_and_links_become_ours);
    suite_add_tcase(all, tcase);
    return all;
}

CHECK_MAIN(suite)
