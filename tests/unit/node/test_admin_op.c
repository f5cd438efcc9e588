// tests/unit/node/test_admin_op.c -- what is asked again with its op_id is answered as the first time, whatever the map is by then.
//
// Shape: shell.
#include "tests/lib/admin_world.h"
#include "tests/lib/check_main.h"
#include "wire/seal.h"

#define MINUTES UINT64_C(60000)

static uint64_t drawn;

static void
setup(void)
{
    ck_assert_int_eq(seal_init(), OMEN_OK);
    admin_open(3);
    world_shard(&world, 2, 2);
    admin_look();
    drawn = 0;
}

// Drawn at that time; each is another.
static struct wire_uuid
op_at(uint64_t ms)
{
    return (struct wire_uuid){ms << 16 | 0x7000, UINT64_C(1) << 63 | ++drawn};
}

static struct wire_uuid
op_now(void)
{
    return op_at(ADMIN_WALL_MS);
}

// An answer as bytes, which are to be the same.
struct said {
    uint8_t bytes[512];
    size_t count;
};

static struct said
say(void)
{
    struct said said = {.count = admin.answer.count};
    ck_assert_uint_le(said.count, sizeof said.bytes);
    memcpy(said.bytes, admin.answer.bytes, said.count);
    return said;
}

// The first try goes through the log; the second, as another leader hears it, is answered alike at once.
static void
claim_once(enum method_number number, const void *ask)
{
    ck_assert_msg(admin_begin(number, ask) == ADMIN_PROPOSE, "%s: %s", method_at(number)->name,
                  admin.error.text);
    ck_assert_int_eq(admin_end(), OMEN_OK);
    const struct said first = say();
    const uint64_t version = world.map.version;
    ck_assert_msg(admin_begin(number, ask) == ADMIN_ANSWERED, "%s: %s", method_at(number)->name,
                  admin.error.text);
    const struct said again = say();
    ck_assert_msg(again.count == first.count && memcmp(again.bytes, first.bytes, first.count) == 0,
                  "%s answers something else", method_at(number)->name);
    ck_assert_uint_eq(world.map.version, version);
}

START_TEST(every_method_that_is_led_takes_an_op_id)
{
    for (uint32_t i = 0; i < METHODS_END; i++)
        if (admin_is_led((enum method_number)i)) {
            const struct field *field = shape_field(method_at((enum method_number)i)->ask, "op_id");
            ck_assert_uint_eq(field->kind, FIELD_UUID);
        }
}
END_TEST

START_TEST(collections_and_aliases_are_made_and_changed_once)
{
    const struct api_collection_create create = {
        .name = TEXT("mine"), .dimension = 3, .replicas = 2, .op_id = op_now()};
    const struct api_collection_update update = {
        .collection = TEXT("mine"), .replicas = 3, .op_id = op_now()};
    const struct api_alias_set set = {
        .alias = TEXT("now"), .collection = TEXT("mine"), .op_id = op_now()};
    const struct api_alias_drop unset = {.alias = TEXT("now"), .op_id = op_now()};
    const struct api_collection_drop drop = {.collection = TEXT("mine"), .op_id = op_now()};
    claim_once(METHOD_COLLECTION_CREATE, &create);
    claim_once(METHOD_COLLECTION_UPDATE, &update);
    claim_once(METHOD_ALIAS_SET, &set);
    claim_once(METHOD_ALIAS_DROP, &unset);
    claim_once(METHOD_COLLECTION_DROP, &drop);
    // Even of what is gone by now nobody is told that he has not made it.
    ck_assert_int_eq(admin_begin(METHOD_ALIAS_SET, &set), ADMIN_ANSWERED);
    ck_assert_int_eq(admin_begin(METHOD_COLLECTION_CREATE, &create), ADMIN_REFUSED);
    ck_assert_int_eq(admin.error.status, OMEN_E_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(admin.error.text, "dropped again meanwhile"));
}
END_TEST

START_TEST(shards_nodes_and_jobs_are_changed_once)
{
    const uint64_t shard = world.map.shards[0].id;
    const struct api_shard_move move = {
        .shard = shard, .from = TEXT("n1"), .to = TEXT("n3"), .op_id = op_now()};
    const struct api_change_job cancel = {.job = shard, .op_id = op_now()};
    const struct api_shard_split split = {.shard = shard, .op_id = op_now()};
    const struct api_change_node drain = {.node = TEXT("n2"), .op_id = op_now()};
    const struct api_change_node undrain = {.node = TEXT("n2"), .op_id = op_now()};
    claim_once(METHOD_SHARD_MOVE, &move);
    claim_once(METHOD_JOB_CANCEL, &cancel);
    claim_once(METHOD_SHARD_SPLIT, &split);
    claim_once(METHOD_NODE_DRAIN, &drain);
    claim_once(METHOD_NODE_UNDRAIN, &undrain);
}
END_TEST

START_TEST(a_rebalance_that_is_asked_again_says_what_is_on_its_way)
{
    world_collection(&world, "more", 6, 1);
    for (uint32_t i = 1; i < world.map.shard_count; i++) { // all of them on node 1
        const uint64_t id = world.map.shards[i].id;
        world_step(&world, id, (struct shard_step){.kind = STEP_ASSIGN, .node = 1});
        world_step(
            &world, id,
            (struct shard_step){.kind = STEP_BORN, .node = 1, .replica = world_uuid(&world)});
    }
    admin_look();
    claim_once(METHOD_CLUSTER_REBALANCE, &(struct api_rebalance_ask){.op_id = op_now()});
    ck_assert_uint_gt(OUT(api_rebalance)->moves.count, 0);
    struct api_move row;
    admin_row("moves", &OUT(api_rebalance)->moves, 0, &row);
    ck_assert_text_eq(row.from, "00000000-0000-0000-0000-000000000100");
}
END_TEST

START_TEST(a_key_that_is_asked_for_again_is_the_same_key)
{
    const struct api_key_create create = {
        .name = TEXT("ci"), .role = API_KEY_WRITE, .seed = {3, 4}, .op_id = op_now()};
    claim_once(METHOD_KEY_CREATE, &create);
    char text[256];
    const struct wire_text said = OUT(api_key_made)->api_key;
    memcpy(text, said.bytes, said.count);
    const struct api_key *key;
    ck_assert_int_eq(admin_key(&world.map, (struct wire_text){text, said.count}, ADMIN_WALL_MS,
                               &key, &admin.error),
                     OMEN_OK);
    // Who knows the op_id, as the map does, but not the seed is told nothing.
    struct api_key_create other = create;
    other.seed.low++;
    admin_claim_refused(METHOD_KEY_CREATE, &other, OMEN_E_EXISTS, "'ci' exists already");
    claim_once(METHOD_KEY_REVOKE, &(struct api_key_revoke){.name = TEXT("ci"), .op_id = op_now()});
}
END_TEST

START_TEST(a_seed_of_the_clients_and_one_of_the_servers_make_different_secrets)
{
    char first[256] = "";
    for (uint32_t i = 0; i < 3; i++) {
        struct api_key_create create = {.name = TEXT("a"), .role = API_KEY_READ};
        create.seed = (struct wire_uuid){i == 1, 0}; // none of the first and the third
        admin.drawn[1].low += i;
        ck_assert_int_eq(admin_do(METHOD_KEY_CREATE, &create), OMEN_OK);
        const struct wire_text said = OUT(api_key_made)->api_key;
        ck_assert_uint_eq(said.count, 2 + 2 * ADMIN_SECRET_BYTES);
        ck_assert(memcmp(first, said.bytes, said.count) != 0);
        memcpy(first, said.bytes, said.count);
        ck_assert_int_eq(admin_do(METHOD_KEY_REVOKE, &(struct api_key_revoke){.name = TEXT("a")}),
                         OMEN_OK);
    }
}
END_TEST

START_TEST(two_tries_that_are_both_in_the_log_are_one_operation)
{
    const struct api_collection_create create = {
        .name = TEXT("mine"), .dimension = 3, .op_id = op_now()};
    ck_assert_int_eq(admin_begin(METHOD_COLLECTION_CREATE, &create), ADMIN_PROPOSE);
    struct command early = admin.step.command; // of a leader that is gone; its map was another
    early.collection.shards++;
    ck_assert_int_eq(world_apply(&world, &early).status, OMEN_OK);
    const uint64_t version = world.map.version;
    ck_assert_int_eq(admin_end(), OMEN_OK);
    ck_assert_text_eq(OUT(api_collection)->name, "mine");
    ck_assert_uint_eq(OUT(api_collection)->version, version);
    ck_assert_uint_eq(OUT(api_collection)->shards, early.collection.shards);
    ck_assert_uint_eq(world.map.version, version);
}
END_TEST

START_TEST(a_refusal_of_the_first_try_is_that_of_the_second)
{
    const struct api_collection_create create = {
        .name = TEXT("mine"), .dimension = 3, .op_id = op_now()};
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_CREATE, &create), OMEN_OK);
    const struct api_collection_update update = {
        .collection = TEXT("mine"), .replicas = 2, .op_id = op_now()};
    ck_assert_int_eq(admin_begin(METHOD_COLLECTION_UPDATE, &update), ADMIN_PROPOSE);
    struct command other = command_of(COMMAND_COLLECTION_ALTER);
    const struct map_collection *row =
        map_collection_named(&world.map, &admin.step.command.collection.name);
    ck_assert_ptr_null(row); // the command has its number
    row = map_collection(&world.map, admin.step.command.alter.collection);
    other.alter = alter_of(row->id, row->version, 1, 1);
    ck_assert_int_eq(world_apply(&world, &other).status, OMEN_OK);
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_int_eq(i == 0 ? admin_end() : admin_do(METHOD_COLLECTION_UPDATE, &update),
                         OMEN_E_CONFLICT);
        ck_assert_uint_eq(map_collection(&world.map, row->id)->replication, 1);
    }
}
END_TEST

START_TEST(an_op_id_with_something_else_is_something_else)
{
    struct api_collection_create create = {.name = TEXT("mine"), .dimension = 3, .op_id = op_now()};
    claim_once(METHOD_COLLECTION_CREATE, &create);
    create.deadline_ms = 77; // that alone is the same
    ck_assert_int_eq(admin_begin(METHOD_COLLECTION_CREATE, &create), ADMIN_ANSWERED);
    create.name = TEXT("other");
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_CREATE, &create), OMEN_OK);
    ck_assert_text_eq(OUT(api_collection)->name, "other");
    create.dimension = 4;
    admin_claim_refused(METHOD_COLLECTION_CREATE, &create, OMEN_E_EXISTS, "exists already");
    // And of two methods with the same ask.
    const struct api_change_node ask = {.node = TEXT("n2"), .op_id = op_now()};
    claim_once(METHOD_NODE_DRAIN, &ask);
    claim_once(METHOD_NODE_UNDRAIN, &ask);
    ck_assert_uint_eq(map_node(&world.map, 2)->state, NODE_UP);
}
END_TEST

START_TEST(what_was_drawn_too_long_ago_or_too_far_ahead_is_refused_and_not_done)
{
    static const struct {
        int64_t off_ms;
        omen_status status;
        const char *says;
    } clocks[] = {{-600000, OMEN_OK, ""},
                  {-600001, OMEN_E_OP_EXPIRED, "drawn 600 s before the clock of the cluster"},
                  {300000, OMEN_OK, ""},
                  {300001, OMEN_E_INVALID, "drawn 300 s ahead of the clock of the cluster"}};
    const struct api_collection_create create = {
        .name = TEXT("mine"),
        .dimension = 3,
        .op_id = op_at(ADMIN_WALL_MS + (uint64_t)clocks[_i].off_ms)};
    if (clocks[_i].status == OMEN_OK) {
        claim_once(METHOD_COLLECTION_CREATE, &create);
        return;
    }
    admin_claim_refused(METHOD_COLLECTION_CREATE, &create, clocks[_i].status, clocks[_i].says);
    ck_assert_uint_eq(world.map.collection_count, 1);
}
END_TEST

START_TEST(what_is_no_uuid7_is_refused_and_none_is_drawn_here)
{
    struct api_collection_create create = {
        .name = TEXT("mine"), .dimension = 3, .op_id = {ADMIN_WALL_MS << 16 | 0x4000, 5}};
    admin_claim_refused(METHOD_COLLECTION_CREATE, &create, OMEN_E_INVALID, "no UUIDv7: version 4");
    ck_assert_uint_eq(world.map.collection_count, 1);
    create.op_id = (struct wire_uuid){0, 0};
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_CREATE, &create), OMEN_OK);
}
END_TEST

START_TEST(what_the_map_knows_is_answered_whatever_its_age)
{
    const struct api_collection_create create = {
        .name = TEXT("mine"), .dimension = 3, .op_id = op_now()};
    claim_once(METHOD_COLLECTION_CREATE, &create);
    admin.view.wall_ms += 60 * MINUTES; // of another leader, and the map's clock stands still
    ck_assert_int_eq(admin_begin(METHOD_COLLECTION_CREATE, &create), ADMIN_ANSWERED);
    struct api_collection_create other = create;
    other.op_id.low++;
    admin_claim_refused(METHOD_COLLECTION_CREATE, &other, OMEN_E_OP_EXPIRED, "3600 s before");
}
END_TEST

START_TEST(the_later_of_the_two_clocks_is_the_clusters)
{
    struct map map = {.clock_ms = 5};
    ck_assert_uint_eq(admin_now_ms(&map, 4), 5);
    ck_assert_uint_eq(admin_now_ms(&map, 6), 6);
    ck_assert_uint_eq(admin_now_ms(NULL, 6), 6);
}
END_TEST

// The map's clock went on while the command was on its way.
START_TEST(what_may_have_been_forgotten_meanwhile_is_not_done)
{
    const struct api_collection_create create = {
        .name = TEXT("mine"), .dimension = 3, .op_id = op_at(ADMIN_WALL_MS - 9 * MINUTES)};
    ck_assert_int_eq(admin_begin(METHOD_COLLECTION_CREATE, &create), ADMIN_PROPOSE);
    struct command tick = command_of(COMMAND_TICK);
    tick.time_ms = ADMIN_WALL_MS + 2 * MINUTES;
    ck_assert_int_eq(world_apply(&world, &tick).status, OMEN_OK);
    admin.view.wall_ms = tick.time_ms - 1 * MINUTES;
    ck_assert_int_eq(admin_end(), OMEN_E_OP_EXPIRED);
    ck_assert_uint_eq(world.map.collection_count, 1);
}
END_TEST

START_TEST(what_is_left_open_is_drawn_once_and_what_is_said_stays)
{
    static const struct wire_uuid random[2] = {{UINT64_MAX, UINT64_MAX}, {5, 6}};
    union method_body body = {.align = 0};
    struct api_key_create *ask = (struct api_key_create *)(void *)&body;
    const struct method *method = method_at(METHOD_KEY_CREATE);
    admin_complete(method, &body, 0x123456789abc, random);
    ck_assert_uint_eq(ask->op_id.high, UINT64_C(0x123456789abc7fff)); // a UUIDv7
    ck_assert_uint_eq(ask->op_id.low >> 62, 2);
    ck_assert_uint_eq(ask->seed.high, 5);
    ck_assert_uint_eq(ask->seed.low, 6);
    const struct api_key_create before = *ask;
    admin_complete(method, &body, 7, (struct wire_uuid[2]){{1, 1}, {1, 1}});
    ck_assert_mem_eq(&before, ask, sizeof before);
    union method_body nothing = {.align = 0};
    admin_complete(method_at(METHOD_NODE_LIST), &nothing, 7, random); // has neither
    ck_assert_uint_eq(nothing.align, 0);
}
END_TEST

static Suite *
admin_op_suite(void)
{
    Suite *suite = suite_create("node/admin_op");
    TCase *tcase = tcase_create("admin_op");
    tcase_add_checked_fixture(tcase, setup, admin_close);
    tcase_add_test(tcase, every_method_that_is_led_takes_an_op_id);
    tcase_add_test(tcase, collections_and_aliases_are_made_and_changed_once);
    tcase_add_test(tcase, shards_nodes_and_jobs_are_changed_once);
    tcase_add_test(tcase, a_rebalance_that_is_asked_again_says_what_is_on_its_way);
    tcase_add_test(tcase, a_key_that_is_asked_for_again_is_the_same_key);
    tcase_add_test(tcase, a_seed_of_the_clients_and_one_of_the_servers_make_different_secrets);
    tcase_add_test(tcase, two_tries_that_are_both_in_the_log_are_one_operation);
    tcase_add_test(tcase, a_refusal_of_the_first_try_is_that_of_the_second);
    tcase_add_test(tcase, an_op_id_with_something_else_is_something_else);
    tcase_add_loop_test(tcase, what_was_drawn_too_long_ago_or_too_far_ahead_is_refused_and_not_done,
                        0, 4);
    tcase_add_test(tcase, what_is_no_uuid7_is_refused_and_none_is_drawn_here);
    tcase_add_test(tcase, what_the_map_knows_is_answered_whatever_its_age);
    tcase_add_test(tcase, the_later_of_the_two_clocks_is_the_clusters);
    tcase_add_test(tcase, what_may_have_been_forgotten_meanwhile_is_not_done);
    tcase_add_test(tcase, what_is_left_open_is_drawn_once_and_what_is_said_stays);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(admin_op_suite)
