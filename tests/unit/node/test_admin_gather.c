// tests/unit/node/test_admin_gather.c -- the copies that a step names, and what they say together.
//
// Shape: shell.
#include "node/admin_gather.h"
#include "tests/lib/admin_world.h"
#include "tests/lib/check_main.h"

static struct gather *gather;
static struct encode said;
static const struct gather_copy *copies;
static uint32_t count;

// Three nodes; a collection of two shards with three copies each, led by whom the rebalancer chose.
static void
setup(void)
{
    admin_open(3);
    world_collection(&world, "docs", 2, 3);
    ck_assert_uint_lt(world_settle(&world, 100), 100);
    admin_look();
    encode_init(&said, 1 << 20);
    gather = NULL;
}

static void
tidy_up(void)
{
    gather_close(gather);
    encode_fini(&said);
    admin_close();
}

static omen_status
begin(enum method_number number, const void *ask)
{
    ck_assert_int_eq(admin_begin(number, ask), ADMIN_ASK_SHARDS);
    gather_close(gather);
    const omen_status status =
        gather_open(admin.map, &admin.call, &admin.step, &gather, &admin.error);
    if (status == OMEN_OK)
        copies = gather_copies(gather, &count);
    return status;
}

static omen_status
begin_of(enum method_number number)
{
    return begin(number, &(struct api_of_collection){.collection = TEXT("docs")});
}

static void
tell(uint32_t at, const void *answer)
{
    encode_reset(&said);
    shape_write(&said, admin.call.method->answer, answer);
    gather_take(gather, at, OMEN_OK, (struct wire_bytes){said.bytes, (uint32_t)said.count});
}

static void
refuse(uint32_t at, omen_status status)
{
    gather_take(gather, at, status, (struct wire_bytes){0});
}

// The checksum of a copy at places from..from + 2.
static void
tell_sums(uint32_t at, uint64_t from, char digit)
{
    char digits[3][33];
    struct api_copy sums[3];
    struct api_verified rows[3];
    for (uint32_t i = 0; i < 3; i++) {
        memset(digits[i], digit, 32);
        digits[i][32] = '\0';
        snprintf(digits[i] + 28, 5, "%04u", (unsigned)(from + i));
        sums[i] = (struct api_copy){TEXT("me"), TEXT(digits[i])};
        rows[i] = (struct api_verified){
            .shard = copies[at].shard, .seq = from + i, .copies = {.count = 1, .items = &sums[i]}};
    }
    tell(at, &(struct api_verify){.shards = {.count = 3, .items = rows}});
}

static omen_status
answer(void)
{
    encode_reset(&admin.answer);
    const omen_status status = gather_answer(gather, admin.map, &admin.answer, &admin.error);
    if (status == OMEN_OK)
        admin_read();
    return status;
}

START_TEST(each_step_names_its_copies)
{
    ck_assert_int_eq(begin_of(METHOD_COLLECTION_STATS), OMEN_OK);
    ck_assert_uint_eq(count, 2);
    const struct api_drop_field drop = {.collection = TEXT("docs"), .field = TEXT("x")};
    ck_assert_int_eq(begin(METHOD_COLLECTION_DROP_FIELD, &drop), OMEN_OK);
    ck_assert_uint_eq(count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        const struct map_shard *shard = map_shard(&world.map, copies[i].shard);
        ck_assert(uuid_equal(copies[i].copy, shard->primary));
        ck_assert_uint_eq(copies[i].node, shard_replica(shard, shard->primary)->node);
    }
    ck_assert_int_eq(begin_of(METHOD_SHARD_VERIFY), OMEN_OK);
    ck_assert_uint_eq(count, 6);
    ck_assert_uint_eq(gather_pending(gather), 6);
}
END_TEST

START_TEST(a_shard_without_a_copy_to_ask_says_later)
{
    world_collection(&world, "new", 1, 1);
    admin_look();
    const struct api_of_collection ask = {.collection = TEXT("new")};
    ck_assert_int_eq(begin(METHOD_COLLECTION_STATS, &ask), OMEN_E_BUSY);
    ck_assert_ptr_nonnull(strstr(admin.error.text, "has no copy in sync that could be asked"));
    ck_assert_ptr_null(gather);
}
END_TEST

START_TEST(a_shard_that_lost_its_primary_answers_reads_and_no_writes)
{
    const uint64_t shard = world.map.shards[0].id;
    ck_assert_int_eq(
        world_step(&world, shard,
                   (struct shard_step){.kind = STEP_LOST, .replica = world.map.shards[0].primary}),
        OMEN_OK);
    admin_look();
    ck_assert_int_eq(begin_of(METHOD_COLLECTION_STATS), OMEN_OK);
    ck_assert_uint_eq(count, 2);
    const struct api_drop_field drop = {.collection = TEXT("docs"), .field = TEXT("x")};
    ck_assert_int_eq(begin(METHOD_COLLECTION_DROP_FIELD, &drop), OMEN_E_BUSY);
    ck_assert_ptr_nonnull(strstr(admin.error.text, "has no primary"));
}
END_TEST

START_TEST(stats_are_added_up_and_missing_shards_counted)
{
    struct api_stats stats = {
        .points = 100, .memory_bytes = wire_given(1000), .recall = 0.9, .shards = 1};
    ck_assert_int_eq(begin_of(METHOD_COLLECTION_STATS), OMEN_OK);
    tell(0, &stats);
    stats = (struct api_stats){
        .points = 300, .memory_bytes = wire_given(5000), .recall = 0.98, .shards = 1};
    if (_i == 0)
        tell(1, &stats);
    else if (_i == 1)
        refuse(1, OMEN_E_BUSY);
    ck_assert_uint_eq(gather_pending(gather), _i == 2);
    ck_assert_int_eq(answer(), OMEN_OK);
    const struct api_stats *got = OUT(api_stats);
    ck_assert_uint_eq(got->shards, 2);
    ck_assert_uint_eq(got->shards_failed, _i != 0);
    ck_assert_uint_eq(got->points, _i == 0 ? 400 : 100);
    ck_assert_uint_eq(got->memory_bytes.value, _i == 0 ? 6000 : 1000);
    ck_assert(!got->deleted.given); // nobody said it
    ck_assert_double_eq_tol(got->bytes_per_vector, _i == 0 ? 15 : 10, 1e-9);
    ck_assert_double_eq_tol(got->recall, _i == 0 ? 0.96 : 0.9, 1e-9);
}
END_TEST

START_TEST(checksums_are_those_of_the_last_place_that_all_copies_know)
{
    ck_assert_int_eq(begin_of(METHOD_SHARD_VERIFY), OMEN_OK);
    for (uint32_t i = 0; i < 6; i++)
        tell_sums(i, i < 3 ? 10 + i : 20, (char)('a' + (i == 5)));
    ck_assert_int_eq(answer(), OMEN_OK);
    ck_assert_uint_eq(OUT(api_verify)->shards.count, 2);
    struct api_verified row;
    struct api_copy copy;
    struct list_cursor cursor;
    admin_row("shards", &OUT(api_verify)->shards, 0, &row);
    ck_assert_uint_eq(row.shard, copies[0].shard);
    ck_assert_uint_eq(row.seq, 12); // 10..12, 11..13, 12..14
    ck_assert_uint_eq(row.copies.count, 3);
    list_begin(&cursor, shape_field(&api_verified, "copies"), &row.copies);
    while (list_next(&cursor, &copy))
        ck_assert_text_eq(copy.checksum, "aaaaaaaaaaaaaaaaaaaaaaaaaaaa0012");
    admin_row("shards", &OUT(api_verify)->shards, 1, &row);
    ck_assert_uint_eq(row.seq, 22);
    list_begin(&cursor, shape_field(&api_verified, "copies"), &row.copies);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert(list_next(&cursor, &copy));
        ck_assert_uint_eq(copy.node.count, 36); // as the map knows it, not as the copy says
        ck_assert_int_eq(copy.checksum.bytes[0], i == 2 ? 'b' : 'a'); // told, not judged
    }
}
END_TEST

START_TEST(copies_without_a_place_in_common_say_later)
{
    ck_assert_int_eq(begin_of(METHOD_SHARD_VERIFY), OMEN_OK);
    for (uint32_t i = 0; i < 6; i++)
        tell_sums(i, i == 4 ? 30 : 20, 'a');
    ck_assert_int_eq(answer(), OMEN_E_BUSY);
    ck_assert_ptr_nonnull(strstr(
        admin.error.text, "know no place in the log in common yet (they are at 22, 32, 22)"));
}
END_TEST

// Of the first shard's copies the second is lost (0), silent (1), says nonsense (2), or refuses for good (3).
START_TEST(copies_that_cannot_be_compared_are_named_with_the_reason_and_the_others_are)
{
    static const char *const reasons[] = {"its node is dead", "no answer in time",
                                          "stored bytes fail their checksum",
                                          "no room for it on this disk"};
    ck_assert_int_eq(begin_of(METHOD_SHARD_VERIFY), OMEN_OK);
    for (uint32_t i = 0; i < 6; i++)
        if (i != 1)
            tell_sums(i, i == 0 ? 10 : 11, 'a');
    ck_assert(gather_waits(gather, 1) && !gather_waits(gather, 0));
    if (_i == 0)
        gather_lose(gather, 1, OMEN_E_TIMEOUT, reasons[0]);
    else if (_i == 2)
        gather_take(gather, 1, OMEN_OK, (struct wire_bytes){(const uint8_t *)"\x01", 1});
    else if (_i == 3)
        gather_lose(gather, 1, OMEN_E_DISK_FULL, reasons[3]);
    ck_assert_int_eq(answer(), OMEN_OK);
    struct api_verified row;
    struct api_missing missing;
    struct api_copy copy;
    struct list_cursor cursor;
    char node[40];
    admin_row("shards", &OUT(api_verify)->shards, 0, &row);
    ck_assert_uint_eq(row.seq, 12);
    ck_assert_uint_eq(row.copies.count, 2);
    ck_assert_uint_eq(row.missing.count, 1);
    list_begin(&cursor, shape_field(&api_verified, "copies"), &row.copies);
    while (list_next(&cursor, &copy))
        ck_assert_text_eq(copy.checksum, "aaaaaaaaaaaaaaaaaaaaaaaaaaaa0012");
    list_begin(&cursor, shape_field(&api_verified, "missing"), &row.missing);
    ck_assert(list_next(&cursor, &missing));
    snprintf(node, sizeof node, "00000000-0000-0000-0000-%012x", (unsigned)copies[1].node_uuid.low);
    ck_assert_text_eq(missing.node, node);
    ck_assert_text_eq(missing.reason, reasons[_i]);
    admin_row("shards", &OUT(api_verify)->shards, 1, &row);
    ck_assert_uint_eq(row.copies.count, 3);
    ck_assert_uint_eq(row.missing.count, 0);
}
END_TEST

START_TEST(a_shard_of_which_no_copy_answers_has_only_missing_ones)
{
    struct api_verified row;
    ck_assert_int_eq(begin_of(METHOD_SHARD_VERIFY), OMEN_OK);
    for (uint32_t i = 3; i < 6; i++)
        tell_sums(i, 20, 'a');
    ck_assert_int_eq(answer(), OMEN_OK);
    admin_row("shards", &OUT(api_verify)->shards, 0, &row);
    ck_assert_uint_eq(row.seq, 0);
    ck_assert_uint_eq(row.copies.count, 0);
    ck_assert_uint_eq(row.missing.count, 3);
    admin_row("shards", &OUT(api_verify)->shards, 1, &row);
    ck_assert_uint_eq(row.seq, 22);
}
END_TEST

// BUSY and STALE_MAP are a copy's word that it will answer, but not where its node is gone.
START_TEST(a_copy_that_says_later_makes_it_later)
{
    ck_assert_int_eq(begin_of(METHOD_SHARD_VERIFY), OMEN_OK);
    for (uint32_t i = 0; i < 6; i++)
        if (i != 4)
            tell_sums(i, 20, 'a');
    static const omen_status statuses[] = {OMEN_E_BUSY, OMEN_E_STALE_MAP, OMEN_E_BUSY};
    if (_i == 2)
        gather_lose(gather, 4, statuses[_i], "its node is dead");
    else
        refuse(4, statuses[_i]);
    ck_assert_int_eq(answer(), _i == 2 ? OMEN_OK : statuses[_i]);
}
END_TEST

START_TEST(what_a_dead_node_should_have_done_is_refused_with_that_reason)
{
    ck_assert_int_eq(begin_of(METHOD_COLLECTION_OPTIMIZE), OMEN_OK);
    for (uint32_t i = 0; i < 6; i++)
        if (i == 4)
            gather_lose(gather, i, OMEN_E_BUSY, "its node is dead");
        else
            tell(i, &(struct api_started){.job = copies[i].shard});
    ck_assert_int_eq(answer(), OMEN_E_BUSY);
    ck_assert_ptr_nonnull(strstr(admin.error.text, ": its node is dead"));
}
END_TEST

START_TEST(the_first_copy_that_did_not_do_it_is_named)
{
    ck_assert_int_eq(begin_of(METHOD_COLLECTION_OPTIMIZE), OMEN_OK);
    for (uint32_t i = 0; i < 6; i++) {
        if (i == 4 && _i == 0)
            refuse(i, OMEN_E_DISK_FULL);
        else if (i == 4 && _i == 1)
            gather_take(gather, i, OMEN_OK, (struct wire_bytes){(const uint8_t *)"\x01", 1});
        else if (i != 4 || _i == 3)
            tell(i, &(struct api_started){.job = copies[i].shard});
    }
    static const omen_status statuses[] = {OMEN_E_DISK_FULL, OMEN_E_CORRUPT, OMEN_E_TIMEOUT,
                                           OMEN_OK};
    ck_assert_int_eq(answer(), statuses[_i]);
    char words[64];
    snprintf(words, sizeof words, "the copy of shard %u on node 00000000-0000-0000",
             (unsigned)copies[4].shard);
    ck_assert(_i == 3 || strstr(admin.error.text, words) != NULL);
    if (_i == 3) { // and the job that is answered is over
        const struct api_of_job ask = {.job = OUT(api_started)->job};
        ck_assert_uint_eq(ask.job, world.map.collections[0].id);
        ck_assert_int_eq(admin_do(METHOD_JOB_GET, &ask), OMEN_OK);
        ck_assert_uint_eq(OUT(api_job)->state, API_JOB_DONE);
        ck_assert_text_eq(OUT(api_job)->text, "nothing goes on in the collection now that has its "
                                              "number: what was asked for is over");
        ck_assert_uint_eq(OUT(api_job)->kind, API_JOB_BUILD);
    }
}
END_TEST

// The reason may be anything: it came from a peer.
START_TEST(the_reason_of_a_copy_that_refuses_is_told)
{
    static const struct {
        const char *reason, *told;
    } cases[] = {{"id 7: field \"n\" as integer: there is a value that is a text",
                  ": id 7: field \"n\" as integer"},
                 {"", ": value does not have the field's type"},
                 {"\xff", ": value does not have the field's type"}};
    const struct api_index_field index = {
        .collection = TEXT("docs"), .field = TEXT("n"), .type = 2};
    const char *reason = cases[_i].reason;
    ck_assert_int_eq(begin(METHOD_COLLECTION_INDEX_FIELD, &index), OMEN_OK);
    gather_refuse(gather, 0, OMEN_E_FIELD_TYPE,
                  (struct wire_bytes){(const uint8_t *)reason, (uint32_t)strlen(reason)});
    gather_refuse(gather, 0, OMEN_E_IO, (struct wire_bytes){(const uint8_t *)"late", 4});
    tell(1, &(struct api_nothing){0});
    ck_assert_int_eq(answer(), OMEN_E_FIELD_TYPE);
    ck_assert_msg(strstr(admin.error.text, cases[_i].told) != NULL, "%s", admin.error.text);
}
END_TEST

START_TEST(the_first_word_of_a_copy_counts)
{
    const struct api_drop_field drop = {.collection = TEXT("docs"), .field = TEXT("x")};
    ck_assert_int_eq(begin(METHOD_COLLECTION_DROP_FIELD, &drop), OMEN_OK);
    tell(0, &(struct api_nothing){0});
    refuse(0, OMEN_E_IO);
    ck_assert_uint_eq(gather_pending(gather), 1);
    tell(1, &(struct api_nothing){0});
    ck_assert_int_eq(answer(), OMEN_OK);
    ck_assert_uint_eq(admin.answer.count, 1);
}
END_TEST

START_TEST(an_index_that_some_shards_have_lost_already_is_dropped)
{
    const struct api_drop_field drop = {.collection = TEXT("docs"), .field = TEXT("x")};
    ck_assert_int_eq(begin(METHOD_COLLECTION_DROP_FIELD, &drop), OMEN_OK);
    refuse(0, OMEN_E_NOT_FOUND);
    if (_i == 0)
        tell(1, &(struct api_nothing){0});
    else
        refuse(1, _i == 1 ? OMEN_E_NOT_FOUND : OMEN_E_BUSY);
    ck_assert_int_eq(answer(), _i == 0 ? OMEN_OK : OMEN_E_NOT_FOUND);
}
END_TEST

// ---- what copies add to a row of the map ----

static struct api_shard
place_row(uint64_t number, uint64_t seq, uint64_t points)
{
    return (struct api_shard){.shard = number,
                              .collection = TEXT("shard"),
                              .state = API_OPEN,
                              .seq = {.value = seq, .given = 1},
                              .points = wire_given(points)};
}

static void
tell_place(uint32_t at, uint64_t number, uint64_t seq, uint64_t points)
{
    const struct api_shard row = place_row(number, seq, points);
    tell(at, &(struct api_shards){.shards = {.count = 1, .items = &row}});
}

// Of a replica of the row; UINT64_MAX: it is not said.
static uint64_t
seq_of(const struct api_shard *row, uint32_t at)
{
    struct list_cursor cursor;
    struct api_replica replica;
    list_begin(&cursor, shape_field(&api_shard, "replicas"), &row->replicas);
    for (uint32_t i = 0; i <= at; i++)
        ck_assert(list_next(&cursor, &replica));
    return replica.seq.given ? replica.seq.value : UINT64_MAX;
}

START_TEST(a_list_of_shards_says_how_far_each_copy_is_and_what_the_primary_has)
{
    ck_assert_int_eq(begin(METHOD_SHARD_LIST, &(struct api_shards_ask){0}), OMEN_OK);
    ck_assert_uint_eq(count, 6);
    for (uint32_t i = 0; i < 6; i++) {
        const bool leads =
            uuid_equal(copies[i].copy, map_shard(&world.map, copies[i].shard)->primary);
        if (_i == 0 || !leads)
            tell_place(i, copies[i].shard, leads ? 0 : 10 + i, leads ? 0 : 100 + i);
    }
    ck_assert_int_eq(answer(), OMEN_OK);
    ck_assert_uint_eq(OUT(api_shards)->shards.count, 2);
    for (uint32_t s = 0; s < 2; s++) {
        struct api_shard row;
        uint64_t most = 0;
        admin_row("shards", &OUT(api_shards)->shards, s, &row);
        for (uint32_t i = 3 * s; i < 3 * s + 3; i++) {
            const bool leads =
                uuid_equal(copies[i].copy, map_shard(&world.map, copies[i].shard)->primary);
            ck_assert_uint_eq(seq_of(&row, i - 3 * s), !leads ? 10 + i : _i == 0 ? 0 : UINT64_MAX);
            most = leads ? most : i;
        }
        ck_assert(row.seq.given && row.points.given);
        ck_assert_uint_eq(row.seq.value, _i == 0 ? 0 : 10 + most); // none is a number as well
        ck_assert_uint_eq(row.points.value, _i == 0 ? 0 : 100 + most);
    }
}
END_TEST

START_TEST(a_shard_is_shown_as_the_map_has_it_where_its_copies_say_nothing_or_nonsense)
{
    const struct api_of_shard ask = {.shard = world.map.shards[1].id};
    ck_assert_int_eq(begin(METHOD_SHARD_GET, &ask), OMEN_OK);
    ck_assert_uint_eq(count, 3);
    struct api_shard row = place_row(ask.shard + 1, 5, 5); // of another one
    if (_i == 1)
        tell(0, &row);
    row = place_row(ask.shard, 5, 5);
    row.points.given = 0;
    if (_i == 2)
        tell(0, &row);
    row.points.given = 1;
    if (_i == 3)
        tell(0, &row);
    ck_assert_int_eq(answer(), OMEN_OK);
    const struct api_shard *got = OUT(api_shard);
    ck_assert_uint_eq(got->shard, ask.shard);
    ck_assert_uint_eq(got->in_sync.count, 3);
    ck_assert_uint_eq(got->points.given, _i == 3);
    ck_assert_uint_eq(got->points.value, _i == 3 ? 5 : 0);
    ck_assert_uint_eq(seq_of(got, 0), _i == 3 ? 5 : UINT64_MAX);
    ck_assert_uint_eq(seq_of(got, 1), UINT64_MAX);
}
END_TEST

START_TEST(a_list_with_no_shard_of_the_copy_says_nothing_of_it)
{
    ck_assert_int_eq(begin(METHOD_SHARD_LIST, &(struct api_shards_ask){0}), OMEN_OK);
    tell(0, &(struct api_shards){0});
    ck_assert_int_eq(answer(), OMEN_OK);
    struct api_shard row;
    admin_row("shards", &OUT(api_shards)->shards, 0, &row);
    ck_assert_uint_eq(row.points.given, 0);
}
END_TEST

START_TEST(a_shard_that_is_gone_when_its_copies_have_answered_is_not_found)
{
    const struct api_of_shard ask = {.shard = world.map.shards[1].id};
    ck_assert_int_eq(begin(METHOD_SHARD_GET, &ask), OMEN_OK);
    const struct api_collection_drop drop = {.collection = TEXT("docs")};
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_DROP, &drop), OMEN_OK);
    admin.call.method = method_at(METHOD_SHARD_GET);
    ck_assert_int_eq(answer(), OMEN_E_NOT_FOUND);
}
END_TEST

static const struct api_field fields[] = {{.field = {"age", 3}, .type = 2},
                                          {.field = {"city", 4}, .type = 1},
                                          {.field = {"age", 3}, .type = 2}};

static struct api_collection
row_of(uint64_t points, const struct api_field *first, uint32_t fields_count)
{
    return (struct api_collection){.name = TEXT("shard"),
                                   .id = 1,
                                   .points = {.value = points, .given = 1},
                                   .dimension = 4,
                                   .metric = 1,
                                   .dtype = 1,
                                   .shards = 1,
                                   .replicas = 1,
                                   .min_insync = 1,
                                   .fields = {.count = fields_count, .items = first}};
}

// Clients may be told of them: the world's have a type that a client would not know.
static void
look_at_typed(void)
{
    for (uint32_t i = 0; i < world.map.collection_count; i++)
        world.map.collections[i].dtype = WIRE_F32;
    admin_look();
}

static void
expect_fields(const struct wire_list *list, uint32_t expected)
{
    struct list_cursor cursor;
    struct api_field field;
    ck_assert_uint_eq(list->count, expected);
    list_begin(&cursor, shape_field(&api_collection, "fields"), list);
    for (uint32_t i = 0; list_next(&cursor, &field); i++) {
        ck_assert_uint_eq(field.type, fields[i].type);
        ck_assert_text_eq(field.field, i == 0 ? "age" : "city");
    }
}

START_TEST(a_collection_has_the_points_of_all_its_shards_and_the_indexes_of_any)
{
    look_at_typed();
    ck_assert_int_eq(begin_of(METHOD_COLLECTION_GET), OMEN_OK);
    ck_assert_uint_eq(count, 2);
    struct api_collection row = row_of(30, fields, 1);
    tell(0, &row);
    row = row_of(12, fields + 1, 2);
    if (_i == 0)
        tell(1, &row);
    else if (_i == 1)
        refuse(1, OMEN_E_BUSY);
    ck_assert_int_eq(answer(), OMEN_OK);
    const struct api_collection *got = OUT(api_collection);
    ck_assert_text_eq(got->name, "docs");
    ck_assert_uint_eq(got->shards, 2);
    ck_assert_uint_eq(got->points.given, _i == 0); // of some shards it would be wrong
    ck_assert_uint_eq(got->points.value, _i == 0 ? 42 : 0);
    expect_fields(&got->fields, _i == 0 ? 2 : 1);
}
END_TEST

START_TEST(no_points_are_a_number_whether_a_copy_says_so_or_leaves_it_out)
{
    look_at_typed();
    ck_assert_int_eq(begin_of(METHOD_COLLECTION_GET), OMEN_OK);
    struct api_collection row = row_of(0, NULL, 0);
    tell(0, &row);
    row.points.given = _i == 0; // as a program did before the key could say 0
    tell(1, &row);
    ck_assert_int_eq(answer(), OMEN_OK);
    ck_assert(OUT(api_collection)->points.given);
    ck_assert_uint_eq(OUT(api_collection)->points.value, 0);
}
END_TEST

START_TEST(a_list_asks_a_copy_of_each_shard_of_all_collections)
{
    world_collection(&world, "maps", 1, 3);
    ck_assert_uint_lt(world_settle(&world, 100), 100);
    world_collection(&world, "new", 1, 3); // without copies yet
    look_at_typed();
    ck_assert_int_eq(begin(METHOD_COLLECTION_LIST, &(struct api_nothing){0}), OMEN_OK);
    ck_assert_uint_eq(count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        const bool is_docs = copies[i].collection == world.map.collections[0].id;
        const struct api_collection row = is_docs ? row_of(30, fields, 2) : row_of(7, NULL, 0);
        tell(i, &(struct api_collections){.collections = {.count = 1, .items = &row}});
    }
    ck_assert_int_eq(answer(), OMEN_OK);
    static const char *const names[] = {"docs", "maps", "new"};
    static const uint32_t points[] = {60, 7, 0}, field_counts[] = {2, 0, 0};
    ck_assert_uint_eq(OUT(api_collections)->collections.count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        struct api_collection row;
        admin_row("collections", &OUT(api_collections)->collections, i, &row);
        ck_assert_text_eq(row.name, names[i]);
        ck_assert_uint_eq(row.points.given, i < 2); // the last one's copies are yet to be made
        ck_assert_uint_eq(row.points.value, points[i]);
        expect_fields(&row.fields, field_counts[i]);
    }
}
END_TEST

START_TEST(a_collection_that_is_gone_when_its_copies_have_answered_is_not_found)
{
    ck_assert_int_eq(begin_of(METHOD_COLLECTION_GET), OMEN_OK);
    const struct api_collection_drop drop = {.collection = TEXT("docs")};
    struct gather *before = gather;
    gather = NULL;
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_DROP, &drop), OMEN_OK);
    gather = before;
    ck_assert_int_eq(answer(), OMEN_E_NOT_FOUND);
}
END_TEST

static Suite *
admin_gather_suite(void)
{
    Suite *suite = suite_create("node/admin_gather");
    TCase *tcase = tcase_create("admin_gather");
    tcase_add_checked_fixture(tcase, setup, tidy_up);
    tcase_add_test(tcase, each_step_names_its_copies);
    tcase_add_test(tcase, a_shard_without_a_copy_to_ask_says_later);
    tcase_add_test(tcase, a_shard_that_lost_its_primary_answers_reads_and_no_writes);
    tcase_add_loop_test(tcase, stats_are_added_up_and_missing_shards_counted, 0, 3);
    tcase_add_test(tcase, checksums_are_those_of_the_last_place_that_all_copies_know);
    tcase_add_test(tcase, copies_without_a_place_in_common_say_later);
    tcase_add_loop_test(
        tcase, copies_that_cannot_be_compared_are_named_with_the_reason_and_the_others_are, 0, 4);
    tcase_add_test(tcase, a_shard_of_which_no_copy_answers_has_only_missing_ones);
    tcase_add_loop_test(tcase, a_copy_that_says_later_makes_it_later, 0, 3);
    tcase_add_test(tcase, what_a_dead_node_should_have_done_is_refused_with_that_reason);
    tcase_add_loop_test(tcase, a_list_of_shards_says_how_far_each_copy_is_and_what_the_primary_has,
                        0, 2);
    tcase_add_loop_test(
        tcase, a_shard_is_shown_as_the_map_has_it_where_its_copies_say_nothing_or_nonsense, 0, 4);
    tcase_add_test(tcase, a_list_with_no_shard_of_the_copy_says_nothing_of_it);
    tcase_add_test(tcase, a_shard_that_is_gone_when_its_copies_have_answered_is_not_found);
    tcase_add_loop_test(tcase, the_first_copy_that_did_not_do_it_is_named, 0, 4);
    tcase_add_loop_test(tcase, the_reason_of_a_copy_that_refuses_is_told, 0, 3);
    tcase_add_test(tcase, the_first_word_of_a_copy_counts);
    tcase_add_loop_test(tcase, an_index_that_some_shards_have_lost_already_is_dropped, 0, 3);
    tcase_add_loop_test(tcase, a_collection_has_the_points_of_all_its_shards_and_the_indexes_of_any,
                        0, 3);
    tcase_add_loop_test(tcase, no_points_are_a_number_whether_a_copy_says_so_or_leaves_it_out, 0,
                        2);
    tcase_add_test(tcase, a_list_asks_a_copy_of_each_shard_of_all_collections);
    tcase_add_test(tcase, a_collection_that_is_gone_when_its_copies_have_answered_is_not_found);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(admin_gather_suite)
