// tests/unit/node/test_serve_shard.c -- what copies say of themselves, and that it is put together to what a client asked.
//
// Shape: shell. Two copies that have applied the same entries stand for the copies of a shard.
#include "node/admin_gather.h"
#include "node/serve.h"
#include "shard/hosted_build.h"
#include "tests/lib/check_main.h"
#include "tests/lib/hosted_world.h"
#include "wire/inner.h"

static struct folder folder;
static struct hosted *copies[2];
static struct hosted_options options;
static struct encode answer, ask;
static struct omen_error error;
static union method_body body;
static struct map map;

static void
setup(void)
{
    folder_init(&folder);
    encode_init(&answer, 1 << 20);
    encode_init(&ask, 1 << 20);
    for (uint32_t i = 0; i < 2; i++) {
        const char name[] = {(char)('a' + i), 0};
        options = (struct hosted_options){.path = folder_path(&folder, name),
                                          .dimension = 2,
                                          .metric = OMEN_L2,
                                          .dtype = OMEN_F32,
                                          .last = UINT64_MAX,
                                          .threads = 1};
        ck_assert_done(hosted_make(&options, &error), error);
        ck_assert_done(hosted_open(&options, &copies[i], &error), error);
    }
}

static void
tidy_up(void)
{
    for (uint32_t i = 0; i < 2; i++)
        hosted_close(copies[i]);
    encode_fini(&answer);
    encode_fini(&ask);
    folder_fini(&folder);
}

// Points first..first + count - 1 by one entry, on the first `on` copies.
static void
upsert(uint64_t first, uint32_t count, uint32_t on)
{
    uint64_t ids[512];
    float vectors[1024];
    struct hosted_bytes op;
    ck_assert_uint_le(count, 512);
    for (uint32_t i = 0; i < count; i++) {
        ids[i] = first + i;
        vectors[2 * i] = (float)(ids[i] * 7919 % 1009);
        vectors[2 * i + 1] = (float)(ids[i] * 104729 % 1013);
    }
    const struct hosted_ask asked = {
        .kind = HOSTED_UPSERT, .count = count, .ids = ids, .vectors = vectors, .dtype = OMEN_F32};
    ck_assert_done(hosted_prepare(copies[0], &asked, &op, &error), error);
    for (uint32_t i = 0; i < on; i++) {
        const struct hosted_entry entry = {hosted_applied(copies[i]) + 1, op.bytes, op.count};
        ck_assert_done(hosted_apply(copies[i], &(struct hosted_entries){&entry, 1}, NULL, &error),
                       error);
    }
    hosted_bytes_fini(&op);
}

// The packed answer of a copy to one of the methods that are asked of copies.
static omen_status
say(uint32_t at, enum method_number number, uint8_t backend)
{
    const struct method *method = method_at(number);
    const struct wire_text docs = wire_text_of("docs");
    struct serve_items items = {NULL, 0, 0};
    encode_reset(&ask);
    encode_reset(&answer);
    if (number == METHOD_COLLECTION_LIST)
        shape_write(&ask, method->ask, &(struct api_nothing){0});
    else if (number == METHOD_SHARD_LIST)
        shape_write(&ask, method->ask, &(struct api_shards_ask){.collection = docs});
    else if (number == METHOD_SHARD_GET)
        shape_write(&ask, method->ask, &(struct api_of_shard){.shard = 7});
    else if (number == METHOD_COLLECTION_BUILD)
        shape_write(&ask, method->ask, &(struct api_build){.collection = docs, .backend = backend});
    else
        shape_write(&ask, method->ask, &(struct api_of_collection){.collection = docs});
    const struct wire_part part = {.kind = WIRE_PART_GET,
                                   .method = (uint8_t)number,
                                   .shard = 7,
                                   .last = UINT64_MAX,
                                   .ask = ask.bytes,
                                   .ask_bytes = (uint32_t)ask.count};
    error = (struct omen_error){0};
    const omen_status status = serve_read(copies[at], &part, NULL, &answer, &items, &error);
    if (status == OMEN_OK) {
        struct decode decode;
        decode_init(&decode, (struct wire_bytes){answer.bytes, (uint32_t)answer.count},
                    &decode_answers, &error);
        shape_read(&decode, method->answer, &body);
        ck_assert_msg(decode_end(&decode) == OMEN_OK, "%s", error.text);
    }
    return status;
}

static void
index_field(const char *name, int type)
{
    struct hosted_bytes op;
    const struct hosted_ask field = {.kind = HOSTED_FIELD, .field = name, .field_type = type};
    ck_assert_done(hosted_prepare(copies[0], &field, &op, &error), error);
    const struct hosted_entry entry = {hosted_applied(copies[0]) + 1, op.bytes, op.count};
    ck_assert_done(hosted_apply(copies[0], &(struct hosted_entries){&entry, 1}, NULL, &error),
                   error);
    hosted_bytes_fini(&op);
}

static omen_status
say_hold(uint32_t hold_ms)
{
    struct serve_items items = {NULL, 0, 0};
    encode_reset(&ask);
    encode_reset(&answer);
    encode_map(&ask, 2); // by hand: a shape writes nothing that it would not read
    encode_word(&ask, "collection");
    encode_word(&ask, "docs");
    encode_word(&ask, "hold_ms");
    encode_u64(&ask, hold_ms);
    const struct wire_part part = {.kind = WIRE_PART_GET,
                                   .method = METHOD_COLLECTION_BUILD,
                                   .shard = 7,
                                   .last = UINT64_MAX,
                                   .ask = ask.bytes,
                                   .ask_bytes = (uint32_t)ask.count};
    return serve_read(copies[0], &part, NULL, &answer, &items, &error);
}

static uint64_t
tail(void)
{
    ck_assert_int_eq(say(0, METHOD_COLLECTION_STATS, 0), OMEN_OK);
    return ((const struct api_stats *)(const void *)&body)->tail.value;
}

// The longest time that there is; one more is refused.
START_TEST(rows_are_held_back_for_as_long_as_is_said_and_a_build_lets_them_go)
{
    enum { ROWS = 2000 };
    ck_assert_int_eq(say_hold(600001), OMEN_E_INVALID);
    ck_assert_int_eq(say_hold(600000), OMEN_OK);
    for (uint64_t first = 0; first < ROWS; first += 500)
        upsert(first, 500, 1);
    ck_assert_uint_eq(tail(), ROWS);
    ck_assert_int_eq(say(0, METHOD_COLLECTION_BUILD, 0), OMEN_OK);
    ck_assert_uint_eq(tail(), 0);
}
END_TEST

START_TEST(a_copy_says_which_fields_are_indexed)
{
    struct api_collection row;
    struct api_field field;
    struct list_cursor cursor;
    upsert(0, 100, 1);
    index_field("age", OMEN_FIELD_INTEGER);
    index_field("born.at", OMEN_FIELD_DATETIME);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(say(0, i == 0 ? METHOD_COLLECTION_GET : METHOD_COLLECTION_LIST, 0),
                         OMEN_OK);
        row = *(const struct api_collection *)(const void *)&body;
        if (i == 1) {
            list_begin(&cursor, shape_field(&api_collections, "collections"),
                       &((const struct api_collections *)(const void *)&body)->collections);
            ck_assert(list_next(&cursor, &row));
            ck_assert(!list_next(&cursor, &row));
        }
        ck_assert(row.points.given && row.points.value == 100);
        ck_assert_uint_eq(row.fields.count, 2);
        list_begin(&cursor, shape_field(&api_collection, "fields"), &row.fields);
        ck_assert(list_next(&cursor, &field));
        ck_assert_uint_eq(field.type, OMEN_FIELD_INTEGER);
        ck_assert(field.field.count == 3 && memcmp(field.field.bytes, "age", 3) == 0);
        ck_assert(list_next(&cursor, &field));
        ck_assert_uint_eq(field.type, OMEN_FIELD_DATETIME);
        ck_assert(field.field.count == 7 && memcmp(field.field.bytes, "born.at", 7) == 0);
    }
}
END_TEST

START_TEST(a_copy_says_how_much_it_holds)
{
    const struct api_stats *stats = (const void *)&body;
    ck_assert_int_eq(say(0, METHOD_COLLECTION_STATS, 0), OMEN_OK);
    ck_assert_uint_eq(stats->points, 0);
    ck_assert(stats->deleted.given && stats->deleted.value == 0); // which is known
    upsert(0, 100, 1);
    upsert(50, 10, 1);
    ck_assert_int_eq(say(0, METHOD_COLLECTION_STATS, 0), OMEN_OK);
    ck_assert_uint_eq(stats->points, 100);
    ck_assert_uint_eq(stats->shards, 1);
    ck_assert_uint_ge(stats->rows.value, 100);
    ck_assert_uint_gt(stats->memory_bytes.value,
                      stats->vector_bytes.value + stats->payload_bytes.value);
    ck_assert_uint_ge(stats->vector_bytes.value, 100 * 2 * sizeof(float));
    ck_assert_uint_gt(stats->disk_bytes.value, stats->vector_bytes.value);
}
END_TEST

// One shard with both copies, as the map has it.
static struct gather *
gather_of(enum method_number number)
{
    static struct map_node nodes[2];
    static struct map_collection collection;
    static struct map_shard shard;
    map = (struct map){.nodes = nodes,
                       .collections = &collection,
                       .shards = &shard,
                       .node_count = 2,
                       .collection_count = 1,
                       .shard_count = 1};
    collection = (struct map_collection){.id = 3, .replication = 2};
    shard = (struct map_shard){
        .id = 7, .collection = 3, .last = UINT64_MAX, .status = SHARD_OPEN, .replica_count = 2};
    for (uint32_t i = 0; i < 2; i++) {
        nodes[i] = (struct map_node){.uuid = {1, i + 1}, .number = i + 1};
        shard.replicas[i] =
            (struct map_replica){.uuid = {2, i + 1}, .node = i + 1, .role = MAP_REPLICA_IN_SYNC};
    }
    const struct admin_call call = {method_at(number), NULL};
    static struct admin_step step;
    struct gather *gather;
    step.whom = ADMIN_EVERY_COPY;
    step.collection = 3;
    ck_assert_done(gather_open(&map, &call, &step, &gather, &error), error);
    return gather;
}

static omen_status
verify(void)
{
    struct gather *gather = gather_of(METHOD_SHARD_VERIFY);
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_int_eq(say(i, METHOD_SHARD_VERIFY, 0), OMEN_OK);
        gather_take(gather, i, OMEN_OK, (struct wire_bytes){answer.bytes, (uint32_t)answer.count});
    }
    encode_reset(&answer);
    const omen_status status = gather_answer(gather, &map, &answer, &error);
    gather_close(gather);
    return status;
}

// The checksums of both copies in what was put together.
static bool
sums_are_equal(void)
{
    struct decode decode;
    struct list_cursor cursor;
    struct api_verified row;
    struct api_copy sums[2];
    decode_init(&decode, (struct wire_bytes){answer.bytes, (uint32_t)answer.count}, &decode_answers,
                &error);
    shape_read(&decode, &api_verify, &body);
    ck_assert_int_eq(decode_end(&decode), OMEN_OK);
    list_begin(&cursor, shape_field(&api_verify, "shards"),
               &((const struct api_verify *)(const void *)&body)->shards);
    ck_assert(list_next(&cursor, &row));
    ck_assert_uint_eq(row.shard, 7);
    ck_assert_uint_eq(row.seq, hosted_applied(copies[0]));
    list_begin(&cursor, shape_field(&api_verified, "copies"), &row.copies);
    ck_assert(list_next(&cursor, &sums[0]) && list_next(&cursor, &sums[1]));
    ck_assert_uint_eq(sums[0].checksum.count, 32);
    return memcmp(sums[0].checksum.bytes, sums[1].checksum.bytes, 32) == 0;
}

START_TEST(copies_that_applied_the_same_have_one_checksum)
{
    upsert(0, 200, 2);
    ck_assert_int_eq(verify(), OMEN_OK);
    ck_assert(sums_are_equal());
    ck_assert_int_eq(say(1, METHOD_COLLECTION_OPTIMIZE, 0), OMEN_OK); // other slots, same points
    ck_assert_int_eq(verify(), OMEN_OK);
    ck_assert(sums_are_equal());
}
END_TEST

START_TEST(copies_that_hold_other_points_at_one_place_differ)
{
    upsert(0, 10, 1);
    struct hosted *first = copies[0];
    copies[0] = copies[1];
    upsert(20, 10, 1);
    copies[1] = copies[0];
    copies[0] = first;
    ck_assert_int_eq(verify(), OMEN_OK);
    ck_assert(!sums_are_equal());
}
END_TEST

START_TEST(copies_at_two_places_are_to_be_asked_again)
{
    upsert(0, 10, 2);
    upsert(10, 10, 1);
    ck_assert_int_eq(verify(), OMEN_E_BUSY);
}
END_TEST

START_TEST(upkeep_is_answered_when_it_is_over)
{
    const struct api_started *started = (const void *)&body;
    for (uint64_t i = 0; i < 8; i++) // enough for a graph
        upsert(512 * i, 512, 1);
    upsert(0, 400, 1); // leaves deleted rows
    ck_assert_int_eq(say(0, METHOD_COLLECTION_BUILD, API_CPU), OMEN_OK);
    ck_assert_uint_eq(started->job, 7);
    ck_assert_int_eq(say(0, METHOD_COLLECTION_STATS, 0), OMEN_OK);
    ck_assert_uint_eq(((const struct api_stats *)(const void *)&body)->tail.value, 0);
    ck_assert_int_eq(say(0, METHOD_COLLECTION_OPTIMIZE, 0), OMEN_OK);
    ck_assert_uint_eq(started->job, 7);
    ck_assert_int_eq(say(0, METHOD_COLLECTION_STATS, 0), OMEN_OK);
    ck_assert_uint_eq(((const struct api_stats *)(const void *)&body)->deleted.value, 0);
    ck_assert_uint_eq(((const struct api_stats *)(const void *)&body)->points, 4096);
}
END_TEST

// ---- a graph that is built elsewhere ----

static struct inner_build heard;

static omen_status
ask_builder(uint32_t at, const struct inner_build_ask *wanted)
{
    struct serve_items items = {NULL, 0, 0};
    struct decode decode;
    encode_reset(&ask);
    encode_reset(&answer);
    shape_write(&ask, &inner_build_ask, wanted);
    const struct wire_part part = {.kind = WIRE_PART_SEARCH,
                                   .method = METHOD_COLLECTION_BUILD,
                                   .shard = 7,
                                   .last = UINT64_MAX,
                                   .ask = ask.bytes,
                                   .ask_bytes = (uint32_t)ask.count};
    error = (struct omen_error){0};
    const omen_status status = serve_read(copies[at], &part, NULL, &answer, &items, &error);
    if (status != OMEN_OK)
        return status;
    decode_init(&decode, (struct wire_bytes){answer.bytes, (uint32_t)answer.count}, &decode_answers,
                &error);
    shape_read(&decode, &inner_build, &heard);
    ck_assert_msg(decode_end(&decode) == OMEN_OK, "%s", error.text);
    return OMEN_OK;
}

START_TEST(copies_give_a_builder_their_rows_and_take_its_graph)
{
    static uint8_t chunk[BUILT_CHUNK_BYTES];
    struct inner_build_ask wanted = {.step = INNER_BUILD_FREEZE, .attempt = 5};
    struct built_rows rows = {0};
    struct built_graph graph;
    const struct built_work work = {.threads = 1};
    ck_assert_int_eq(ask_builder(0, &wanted), OMEN_E_NOT_FOUND);
    for (uint64_t first = 0; first < 1536; first += 512)
        upsert(first, 512, 2);
    while (ask_builder(0, &wanted) == OMEN_E_BUSY) { // a checkpoint may be at it
    }
    ck_assert_uint_eq(heard.rows, 1536);
    ck_assert_uint_eq(heard.chunks, 1);
    ck_assert_uint_eq(heard.seq, 3);
    wanted.step = INNER_BUILD_ROWS;
    ck_assert_int_eq(ask_builder(0, &wanted), OMEN_OK);
    ck_assert_int_eq(built_rows_take(&rows, heard.bytes.bytes, heard.bytes.count, &error), OMEN_OK);
    wanted.chunk = 1;
    ck_assert_int_eq(ask_builder(0, &wanted), OMEN_E_INVALID);
    ck_assert_int_eq(built_graph_make(&rows, &work, &graph), OMEN_OK);
    for (uint32_t at = 0; at < 2; at++) {
        const size_t bytes = built_graph_write(&graph, 0, chunk);
        wanted = (struct inner_build_ask){
            .step = INNER_BUILD_TAKE, .attempt = 5, .bytes = {chunk, (uint32_t)bytes}};
        ck_assert_int_eq(ask_builder(at, &wanted), OMEN_OK);
        wanted =
            (struct inner_build_ask){.step = INNER_BUILD_INSTALL, .attempt = 5, .trusted = at == 1};
        ck_assert_msg(ask_builder(at, &wanted) == OMEN_OK, "%s", error.text);
        ck_assert_uint_eq(heard.rows, 1536);
        ck_assert_uint_eq(heard.matched, 1536);
        ck_assert_uint_eq(heard.tail, 0);
        ck_assert(at == 1 ? heard.recall == 0.0 && heard.before == 0.0
                          : heard.recall >= 1.9 && heard.before >= 1.9);
        ck_assert_int_eq(ask_builder(at, &wanted), OMEN_E_CONFLICT); // it is done
    }
    built_graph_fini(&graph);
}
END_TEST

// An empty copy says so, too: 0 is a number.
START_TEST(a_copy_says_how_far_it_is_and_how_many_points_it_has)
{
    for (uint32_t points = 0; points <= 20; points += 20) {
        struct api_shard row;
        struct list_cursor cursor;
        if (points > 0)
            upsert(1, points, 2);
        ck_assert_int_eq(say(0, METHOD_SHARD_LIST, 0), OMEN_OK);
        const struct api_shards *list = (const void *)&body;
        ck_assert_uint_eq(list->shards.count, 1);
        list_begin(&cursor, shape_field(&api_shards, "shards"), &list->shards);
        ck_assert(list_next(&cursor, &row));
        for (uint32_t i = 0; i < 2; i++) {
            ck_assert_uint_eq(row.shard, 7);
            ck_assert(row.seq.given && row.points.given);
            ck_assert_uint_eq(row.seq.value, hosted_applied(copies[0]));
            ck_assert_uint_eq(row.points.value, points);
            ck_assert_int_eq(say(0, METHOD_SHARD_GET, 0), OMEN_OK);
            row = *(const struct api_shard *)(const void *)&body;
        }
    }
}
END_TEST

static Suite *
serve_shard_suite(void)
{
    Suite *suite = suite_create("node/serve_shard");
    TCase *tcase = tcase_create("serve_shard");
    tcase_add_checked_fixture(tcase, setup, tidy_up);
    tcase_add_test(tcase, a_copy_says_how_much_it_holds);
    tcase_add_test(tcase, a_copy_says_which_fields_are_indexed);
    tcase_add_test(tcase, a_copy_says_how_far_it_is_and_how_many_points_it_has);
    tcase_add_test(tcase, copies_that_applied_the_same_have_one_checksum);
    tcase_add_test(tcase, copies_that_hold_other_points_at_one_place_differ);
    tcase_add_test(tcase, copies_at_two_places_are_to_be_asked_again);
    tcase_add_test(tcase, rows_are_held_back_for_as_long_as_is_said_and_a_build_lets_them_go);
    tcase_add_test(tcase, copies_give_a_builder_their_rows_and_take_its_graph);
    tcase_add_test(tcase, upkeep_is_answered_when_it_is_over);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(serve_shard_suite)
