// tests/unit/node/test_admin_collection.c -- collections and aliases: made, changed and dropped through the map, or refused by name.
//
// Shape: shell.
#include "tests/lib/admin_world.h"
#include "tests/lib/check_main.h"

static struct api_collection_create create;

static void
setup(void)
{
    admin_open(3);
    create = (struct api_collection_create){.name = TEXT("docs"), .dimension = 384};
}

static omen_status
make(const char *name)
{
    create.name = TEXT(name);
    return admin_do(METHOD_COLLECTION_CREATE, &create);
}

static omen_status
of(enum method_number number, const char *name)
{
    const struct api_of_collection ask = {.collection = TEXT(name)};
    return admin_do(number, &ask);
}

static omen_status
set_alias(const char *alias, const char *collection)
{
    const struct api_alias_set ask = {.alias = TEXT(alias), .collection = TEXT(collection)};
    return admin_do(METHOD_ALIAS_SET, &ask);
}

START_TEST(what_was_created_is_what_get_and_list_show)
{
    create.metric = API_L2;
    create.dtype = WIRE_I8;
    create.quantization = API_UNQUANTIZED;
    create.shards = 4;
    create.replicas = 2;
    create.min_insync = 2;
    create.m = 32;
    create.ef_construction = 100;
    ck_assert_int_eq(make("docs"), OMEN_OK);
    for (int i = 0; i < 3; i++) {
        struct api_collection row = *OUT(api_collection); // of create, then of get
        if (i == 2)
            admin_row("collections", &OUT(api_collections)->collections, 0, &row);
        ck_assert_text_eq(row.name, "docs");
        ck_assert_uint_eq(row.id, world.map.collections[0].id);
        ck_assert_uint_eq(row.version, world.map.version);
        ck_assert_uint_eq(row.dimension, 384);
        ck_assert_uint_eq(row.metric, API_L2);
        ck_assert_uint_eq(row.dtype, WIRE_I8);
        ck_assert_uint_eq(row.quantization, API_UNQUANTIZED);
        ck_assert_uint_eq(row.shards, 4);
        ck_assert_uint_eq(row.replicas, 2);
        ck_assert_uint_eq(row.min_insync, 2);
        ck_assert_uint_eq(row.m, 32);
        ck_assert_uint_eq(row.ef_construction, 100);
        ck_assert_int_eq(i == 0 ? of(METHOD_COLLECTION_GET, "docs")
                                : admin_do(METHOD_COLLECTION_LIST, &(struct api_nothing){0}),
                         OMEN_OK);
    }
    ck_assert_uint_eq(world.map.collections[0].metric, 1); // as omendb.h numbers them
    ck_assert_uint_eq(world.map.collections[0].dtype, 4);
    ck_assert_uint_eq(world.map.collections[0].quantization, 1);
}
END_TEST

START_TEST(what_is_not_said_has_the_defaults_of_an_index_and_a_shard_a_node)
{
    ck_assert_int_eq(make("docs"), OMEN_OK);
    const struct api_collection *row = OUT(api_collection);
    ck_assert_uint_eq(row->metric, API_COSINE);
    ck_assert_uint_eq(row->dtype, WIRE_F32);
    ck_assert_uint_eq(row->quantization, API_INT8);
    ck_assert_uint_eq(row->shards, 3);
    ck_assert_uint_eq(row->replicas, 3);
    ck_assert_uint_eq(row->min_insync, 2);
    ck_assert_uint_eq(row->m, 16);
    ck_assert_uint_eq(row->ef_construction, 200);
}
END_TEST

START_TEST(a_small_cluster_has_as_many_replicas_as_nodes)
{
    admin_close();
    admin_open(1);
    ck_assert_int_eq(make("docs"), OMEN_OK);
    ck_assert_uint_eq(OUT(api_collection)->replicas, 1);
    ck_assert_uint_eq(OUT(api_collection)->min_insync, 1);
    ck_assert_uint_eq(OUT(api_collection)->shards, 1);
}
END_TEST

START_TEST(a_duplicate_is_refused_unless_it_may_exist_and_is_the_same)
{
    create.metric = API_L2;
    ck_assert_int_eq(make("docs"), OMEN_OK);
    admin_claim_refused(METHOD_COLLECTION_CREATE, &create, OMEN_E_EXISTS,
                        "the collection 'docs' exists already");
    create.if_not_exists = 1;
    const uint64_t version = world.map.version;
    ck_assert_int_eq(make("docs"), OMEN_OK);
    ck_assert_uint_eq(OUT(api_collection)->id, world.map.collections[0].id);
    create.shards = 7; // may have been split since
    create.metric = 0; // not said: nothing to compare
    ck_assert_int_eq(make("docs"), OMEN_OK);
    ck_assert_uint_eq(world.map.version, version);
}
END_TEST

START_TEST(what_exists_with_other_facts_is_refused_with_the_key_that_differs)
{
    static const char *const keys[] = {"dimension", "metric",          "dtype",
                                       "m",         "ef_construction", "quantization"};
    char words[64];
    ck_assert_int_eq(make("docs"), OMEN_OK);
    create.if_not_exists = 1;
    create.dimension = _i == 0 ? 385 : 384;
    create.metric = _i == 1 ? API_IP : 0;
    create.dtype = _i == 2 ? WIRE_F16 : 0;
    create.m = _i == 3 ? 17 : 0;
    create.ef_construction = _i == 4 ? 201 : 0;
    create.quantization = _i == 5 ? API_UNQUANTIZED : 0;
    snprintf(words, sizeof words, "with another %s", keys[_i]);
    admin_claim_refused(METHOD_COLLECTION_CREATE, &create, OMEN_E_EXISTS, words);
}
END_TEST

START_TEST(more_replicas_than_nodes_are_refused)
{
    create.replicas = 4;
    admin_claim_refused(METHOD_COLLECTION_CREATE, &create, OMEN_E_INVALID,
                        "replicas is 4, but the cluster has 3 nodes");
    world_node_state(&world, 3, NODE_DRAINING);
    admin_look();
    create.replicas = 3;
    admin_claim_refused(METHOD_COLLECTION_CREATE, &create, OMEN_E_INVALID, "has 2 nodes");
    create.replicas = 2;
    create.min_insync = 3;
    admin_claim_refused(METHOD_COLLECTION_CREATE, &create, OMEN_E_INVALID,
                        "min_insync is 3, more than the 2 replicas");
    create.min_insync = 2;
    ck_assert_int_eq(make("docs"), OMEN_OK);
}
END_TEST

START_TEST(a_cluster_without_a_node_that_is_up_says_later)
{
    for (uint32_t node = 1; node <= 3; node++)
        world_node_state(&world, node, NODE_DRAINING);
    admin_look();
    admin_claim_refused(
        METHOD_COLLECTION_CREATE, &create, OMEN_E_BUSY,
        "no node of the cluster takes copies now: those that keep data drain, or none is up");
}
END_TEST

START_TEST(the_most_collections_and_one_more)
{
    create.shards = create.replicas = 1;
    for (uint32_t i = 0; i < MAP_COLLECTIONS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "c%u", i);
        const struct command command = create_command(name, 1, 1);
        admin_fill(&command);
    }
    admin_look();
    admin_claim_refused(METHOD_COLLECTION_CREATE, &create, OMEN_E_FULL,
                        "has 1024 collections, which is the most");
}
END_TEST

START_TEST(the_most_shards_and_one_more)
{
    for (uint32_t i = 0; i < MAP_SHARDS_MAX / MAP_COLLECTION_SHARDS_MAX - 1; i++) {
        char name[16];
        snprintf(name, sizeof name, "c%u", i);
        world_collection(&world, name, MAP_COLLECTION_SHARDS_MAX, 1);
    }
    world_collection(&world, "last", MAP_COLLECTION_SHARDS_MAX - 2, 1);
    admin_look();
    create.shards = 3;
    admin_claim_refused(METHOD_COLLECTION_CREATE, &create, OMEN_E_FULL,
                        "shards is 3, but the cluster has 16382 shards and can have 16384");
    create.shards = 2;
    ck_assert_int_eq(make("docs"), OMEN_OK);
    ck_assert_uint_eq(world.map.shard_count, MAP_SHARDS_MAX);
}
END_TEST

// ---- update and drop ----

START_TEST(an_update_changes_what_it_says_and_leaves_the_rest)
{
    create.min_insync = 1;
    ck_assert_int_eq(make("docs"), OMEN_OK);
    struct api_collection_update ask = {.collection = TEXT("docs"), .replicas = 2};
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_UPDATE, &ask), OMEN_OK);
    ck_assert_uint_eq(OUT(api_collection)->replicas, 2);
    ck_assert_uint_eq(OUT(api_collection)->min_insync, 1);
    ask = (struct api_collection_update){.collection = TEXT("docs"), .min_insync = 2};
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_UPDATE, &ask), OMEN_OK);
    ck_assert_uint_eq(OUT(api_collection)->min_insync, 2);
    ask = (struct api_collection_update){.collection = TEXT("docs"), .replicas = 2};
    const uint64_t version = world.map.version;
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_UPDATE, &ask), OMEN_OK); // as it is
    ck_assert_uint_eq(OUT(api_collection)->min_insync, 2);
    ck_assert_uint_eq(world.map.version, version);
}
END_TEST

// A write that was to be on three disks is not on one from then on because somebody wanted a copy less.
START_TEST(an_update_of_replicas_leaves_a_min_insync_that_was_chosen)
{
    create.min_insync = 3;
    ck_assert_int_eq(make("docs"), OMEN_OK);
    struct api_collection_update ask = {.collection = TEXT("docs"), .replicas = 2};
    admin_claim_refused(METHOD_COLLECTION_UPDATE, &ask, OMEN_E_INVALID,
                        "min_insync is 3, more than the 2 replicas");
    ask.min_insync = 2;
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_UPDATE, &ask), OMEN_OK);
    ask = (struct api_collection_update){.collection = TEXT("docs"), .replicas = 3};
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_UPDATE, &ask), OMEN_OK);
    ck_assert_uint_eq(OUT(api_collection)->min_insync, 2); // chosen, and the default of three
    ask.replicas = 1;
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_UPDATE, &ask), OMEN_OK);
    ck_assert_uint_eq(OUT(api_collection)->min_insync, 1);
}
END_TEST

START_TEST(an_update_that_says_nothing_or_too_much_is_refused)
{
    ck_assert_int_eq(make("docs"), OMEN_OK);
    struct api_collection_update ask = {.collection = TEXT("docs")};
    admin_claim_refused(METHOD_COLLECTION_UPDATE, &ask, OMEN_E_INVALID,
                        "has neither replicas nor min_insync, nor memory_quota or disk_quota");
    ask.replicas = 4;
    admin_claim_refused(METHOD_COLLECTION_UPDATE, &ask, OMEN_E_INVALID, "has 3 nodes");
    ask.replicas = 0;
    ask.min_insync = 4;
    admin_claim_refused(METHOD_COLLECTION_UPDATE, &ask, OMEN_E_INVALID,
                        "min_insync is 4, more than the 3 replicas");
    ask.collection = TEXT("other");
    admin_claim_refused(METHOD_COLLECTION_UPDATE, &ask, OMEN_E_NOT_FOUND, "no collection 'other'");
}
END_TEST

START_TEST(a_dropped_collection_is_gone_with_its_aliases)
{
    ck_assert_int_eq(make("docs"), OMEN_OK);
    ck_assert_int_eq(set_alias("live", "docs"), OMEN_OK);
    struct api_collection_drop ask = {.collection = TEXT("live")};
    admin_claim_refused(METHOD_COLLECTION_DROP, &ask, OMEN_E_INVALID, "'live' is an alias");
    ask.collection = TEXT("docs");
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_DROP, &ask), OMEN_OK);
    ck_assert_uint_eq(OUT(api_changed)->version, world.map.version);
    ck_assert_int_eq(of(METHOD_COLLECTION_GET, "docs"), OMEN_E_NOT_FOUND);
    ck_assert_int_eq(of(METHOD_COLLECTION_GET, "live"), OMEN_E_NOT_FOUND);
    admin_claim_refused(METHOD_COLLECTION_DROP, &ask, OMEN_E_NOT_FOUND, "no collection 'docs'");
    ask.if_exists = 1;
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_DROP, &ask), OMEN_OK);
}
END_TEST

// ---- two at once ----

START_TEST(who_comes_second_is_told_that_the_collection_exists)
{
    ck_assert_int_eq(admin_begin(METHOD_COLLECTION_CREATE, &create), ADMIN_PROPOSE);
    world_collection(&world, "docs", 1, 1);
    ck_assert_int_eq(admin_end(), OMEN_E_EXISTS);
    ck_assert_ptr_nonnull(strstr(admin.error.text, "the collection 'docs' exists already"));
}
END_TEST

START_TEST(who_comes_second_and_wanted_the_same_is_answered)
{
    create.if_not_exists = 1;
    ck_assert_int_eq(admin_begin(METHOD_COLLECTION_CREATE, &create), ADMIN_PROPOSE);
    struct command first = admin.step.command;
    first.op.low++; // of somebody else
    ck_assert_int_eq(world_apply(&world, &first).status, OMEN_OK);
    ck_assert_int_eq(admin_end(), OMEN_OK);
    ck_assert_text_eq(OUT(api_collection)->name, "docs");
    ck_assert_uint_eq(world.map.collection_count, 1);
}
END_TEST

START_TEST(a_conflict_says_both_versions_and_changes_nothing)
{
    ck_assert_int_eq(make("docs"), OMEN_OK);
    const struct api_collection_update ask = {.collection = TEXT("docs"), .replicas = 2};
    ck_assert_int_eq(admin_begin(METHOD_COLLECTION_UPDATE, &ask), ADMIN_PROPOSE);
    const uint64_t then = world.map.collections[0].version;
    struct command other = command_of(COMMAND_COLLECTION_ALTER);
    other.alter = alter_of(world.map.collections[0].id, then, 1, 1);
    ck_assert_int_eq(world_apply(&world, &other).status, OMEN_OK);
    ck_assert_int_eq(admin_end(), OMEN_E_CONFLICT);
    char words[80];
    snprintf(words, sizeof words, "version %u then, %u now", (unsigned)then,
             (unsigned)world.map.version);
    ck_assert_msg(strstr(admin.error.text, words) != NULL, "%s", admin.error.text);
    ck_assert_uint_eq(world.map.collections[0].replication, 1);
}
END_TEST

START_TEST(a_collection_that_is_dropped_meanwhile_is_not_found)
{
    ck_assert_int_eq(make("docs"), OMEN_OK);
    const struct api_collection_update ask = {.collection = TEXT("docs"), .replicas = 2};
    ck_assert_int_eq(admin_begin(METHOD_COLLECTION_UPDATE, &ask), ADMIN_PROPOSE);
    struct command other = command_of(COMMAND_COLLECTION_DROP);
    other.alter =
        (struct command_alter){.collection = world.map.collections[0].id, .expected = VERSION_ANY};
    ck_assert_int_eq(world_apply(&world, &other).status, OMEN_OK);
    ck_assert_int_eq(admin_end(), OMEN_E_NOT_FOUND);
}
END_TEST

// ---- aliases ----

START_TEST(an_alias_names_its_collection_and_changes_hands)
{
    ck_assert_int_eq(make("one"), OMEN_OK);
    ck_assert_int_eq(make("two"), OMEN_OK);
    ck_assert_int_eq(set_alias("live", "one"), OMEN_OK);
    ck_assert_int_eq(of(METHOD_COLLECTION_GET, "live"), OMEN_OK);
    ck_assert_text_eq(OUT(api_collection)->name, "one");
    ck_assert_int_eq(set_alias("live", "two"), OMEN_OK);
    const uint64_t version = world.map.version;
    ck_assert_int_eq(set_alias("live", "two"), OMEN_OK);
    ck_assert_uint_eq(world.map.version, version); // it is so already
    ck_assert_int_eq(admin_do(METHOD_ALIAS_LIST, &(struct api_nothing){0}), OMEN_OK);
    ck_assert_uint_eq(OUT(api_aliases)->aliases.count, 1);
    struct api_alias row;
    admin_row("aliases", &OUT(api_aliases)->aliases, 0, &row);
    ck_assert_text_eq(row.alias, "live");
    ck_assert_text_eq(row.collection, "two");
    const struct api_alias_drop drop = {.alias = TEXT("live")};
    ck_assert_int_eq(admin_do(METHOD_ALIAS_DROP, &drop), OMEN_OK);
    admin_claim_refused(METHOD_ALIAS_DROP, &drop, OMEN_E_NOT_FOUND, "no alias 'live'");
}
END_TEST

START_TEST(an_alias_of_nothing_of_an_alias_or_in_place_of_a_collection_is_refused)
{
    ck_assert_int_eq(make("one"), OMEN_OK);
    ck_assert_int_eq(make("two"), OMEN_OK);
    ck_assert_int_eq(set_alias("live", "one"), OMEN_OK);
    const struct api_alias_set none = {.alias = TEXT("x"), .collection = TEXT("three")};
    admin_claim_refused(METHOD_ALIAS_SET, &none, OMEN_E_NOT_FOUND, "no collection 'three'");
    const struct api_alias_set chain = {.alias = TEXT("x"), .collection = TEXT("live")};
    admin_claim_refused(METHOD_ALIAS_SET, &chain, OMEN_E_INVALID, "'live' is an alias itself");
    const struct api_alias_set taken = {.alias = TEXT("two"), .collection = TEXT("one")};
    admin_claim_refused(METHOD_ALIAS_SET, &taken, OMEN_E_EXISTS, "'two' is a collection");
    create.name = TEXT("live");
    admin_claim_refused(METHOD_COLLECTION_CREATE, &create, OMEN_E_EXISTS,
                        "'live' is an alias of the collection 'one'");
}
END_TEST

START_TEST(the_most_aliases_and_one_more)
{
    ck_assert_int_eq(make("docs"), OMEN_OK);
    for (uint32_t i = 0; i < MAP_ALIASES_MAX; i++) {
        struct command command = command_of(COMMAND_ALIASES);
        char name[16];
        snprintf(name, sizeof name, "a%u", i);
        command.aliases.count = 1;
        command.aliases.changes[0] =
            (struct alias_change){name_of(name), world.map.collections[0].id, 0};
        admin_fill(&command);
    }
    admin_look();
    const struct api_alias_set more = {.alias = TEXT("more"), .collection = TEXT("docs")};
    admin_claim_refused(METHOD_ALIAS_SET, &more, OMEN_E_FULL, "1024 aliases, which is the most");
}
END_TEST

// ---- of every shard ----

START_TEST(what_only_copies_know_is_asked_of_them)
{
    static const struct {
        enum method_number number;
        enum admin_whom whom;
    } asks[] = {{METHOD_COLLECTION_STATS, ADMIN_ANY_COPY},
                {METHOD_SHARD_VERIFY, ADMIN_EVERY_COPY},
                {METHOD_COLLECTION_OPTIMIZE, ADMIN_EVERY_COPY}};
    ck_assert_int_eq(make("docs"), OMEN_OK);
    ck_assert_int_eq(set_alias("live", "docs"), OMEN_OK);
    for (uint32_t i = 0; i < 3; i++) {
        const struct api_of_collection ask = {.collection = TEXT("live")};
        ck_assert_int_eq(admin_begin(asks[i].number, &ask), ADMIN_ASK_SHARDS);
        ck_assert_int_eq(admin.step.whom, asks[i].whom);
        ck_assert_uint_eq(admin.step.collection, world.map.collections[0].id);
        ck_assert_int_eq(of(asks[i].number, "other"), OMEN_E_NOT_FOUND);
    }
    const struct api_index_field index = {
        .collection = TEXT("docs"), .field = TEXT("age"), .type = 2};
    ck_assert_int_eq(admin_begin(METHOD_COLLECTION_INDEX_FIELD, &index), ADMIN_ASK_SHARDS);
    ck_assert_int_eq(admin.step.whom, ADMIN_PRIMARIES);
    const struct api_drop_field drop = {.collection = TEXT("docs"), .field = TEXT("age")};
    ck_assert_int_eq(admin_begin(METHOD_COLLECTION_DROP_FIELD, &drop), ADMIN_ASK_SHARDS);
    ck_assert_int_eq(admin.step.whom, ADMIN_PRIMARIES);
    const struct api_build build = {.collection = TEXT("docs")};
    ck_assert_int_eq(admin_begin(METHOD_COLLECTION_BUILD, &build), ADMIN_ASK_SHARDS);
    ck_assert_int_eq(admin.step.whom, ADMIN_EVERY_COPY);
}
END_TEST

START_TEST(a_build_is_a_job_where_a_builder_lives_that_keeps_no_data)
{
    struct api_build build = {.collection = TEXT("docs")};
    struct command command = command_of(COMMAND_NODE_REGISTER);
    create.shards = 4;
    ck_assert_int_eq(make("docs"), OMEN_OK);
    command.node = (struct command_node){.uuid = world_uuid(&world),
                                         .boot = 1,
                                         .weight = 1,
                                         .roles = NODE_BUILDER,
                                         .zone = name_of("here")};
    const uint32_t builder = (uint32_t)world_apply(&world, &command).value;
    world.alive[builder] = true;
    admin_look();
    ck_assert_int_eq(admin_begin(METHOD_COLLECTION_BUILD, &build),
                     ADMIN_ASK_SHARDS); // it is not up
    ck_assert_int_eq(world_node_state(&world, builder, NODE_UP), OMEN_OK);
    admin_look();
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_BUILD, &build), OMEN_OK);
    const uint64_t number = OUT(api_started)->job;
    ck_assert_uint_eq(world.map.job_count, 1);
    const struct job *job = &world.map.jobs[0];
    ck_assert_uint_eq(job->id, number);
    ck_assert_int_eq(job->kind, JOB_BUILD);
    ck_assert_int_eq(job->state, JOB_WAITING);
    ck_assert_uint_eq(job->shard, map_route(admin.map, world.map.collections[0].id, 0)->id);
    // Asked again it is the same job, and its row says what it is about.
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_BUILD, &build), OMEN_OK);
    ck_assert_uint_eq(OUT(api_started)->job, number);
    ck_assert_uint_eq(world.map.job_count, 1);
    const struct api_of_job of_job = {.job = number};
    ck_assert_int_eq(admin_do(METHOD_JOB_GET, &of_job), OMEN_OK);
    ck_assert_text_eq(OUT(api_job)->text, "the collection docs; waits for a builder to be free");
    world.alive[builder] = false;
    admin_look();
    ck_assert_int_eq(admin_do(METHOD_JOB_GET, &of_job), OMEN_OK);
    ck_assert_text_eq(OUT(api_job)->text,
                      "the collection docs; waits for a builder: none is in the cluster");
    world.alive[builder] = true;
    admin_look();
    const struct api_change_job cancel = {.job = number};
    ck_assert_int_eq(admin_do(METHOD_JOB_CANCEL, &cancel), OMEN_OK);
    ck_assert_int_eq(admin_do(METHOD_JOB_GET, &of_job), OMEN_OK);
    ck_assert_text_eq(OUT(api_job)->text,
                      "the collection docs; no builder took it before it was given up");
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_BUILD, &build), OMEN_OK);
    ck_assert_uint_ne(OUT(api_started)->job, number);

    // Whether a GPU builds stands in the job.
    static const enum job_build_by by[] = {JOB_BUILD_AUTO, JOB_BUILD_AUTO, JOB_BUILD_CPU,
                                           JOB_BUILD_GPU};
    for (uint8_t backend = 0; backend <= API_CUDA; backend++) {
        const struct api_change_job last = {.job = OUT(api_started)->job};
        ck_assert_int_eq(admin_do(METHOD_JOB_CANCEL, &last), OMEN_OK);
        build.backend = backend;
        ck_assert_int_eq(admin_do(METHOD_COLLECTION_BUILD, &build), OMEN_OK);
        ck_assert_uint_eq(map_job(&world.map, OUT(api_started)->job)->argument, by[backend]);
    }
    build = (struct api_build){.collection = TEXT("others")};
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_BUILD, &build), OMEN_E_NOT_FOUND);
    build.collection = TEXT("docs");
    world.alive[builder] = false;
    admin_look();
    ck_assert_int_eq(admin_begin(METHOD_COLLECTION_BUILD, &build), ADMIN_ASK_SHARDS);
}
END_TEST

START_TEST(a_build_that_requires_a_gpu_is_a_job_that_waits_for_a_builder_to_come)
{
    const struct api_build build = {.collection = TEXT("docs"), .backend = 3}; // cuda
    create.shards = 1;
    ck_assert_int_eq(make("docs"), OMEN_OK);
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_BUILD, &build), OMEN_OK);
    const struct api_of_job of_job = {.job = OUT(api_started)->job};
    ck_assert_uint_eq(world.map.jobs[0].argument, JOB_BUILD_GPU);
    ck_assert_int_eq(admin_do(METHOD_JOB_GET, &of_job), OMEN_OK);
    ck_assert_uint_eq(OUT(api_job)->state, API_JOB_WAITING);
    ck_assert_text_eq(
        OUT(api_job)->text,
        "the collection docs; waits for a builder with a GPU: no builder is in the cluster");
    const struct api_change_job cancel = {.job = of_job.job};
    ck_assert_int_eq(admin_do(METHOD_JOB_CANCEL, &cancel), OMEN_OK);
    ck_assert_int_eq(admin_do(METHOD_JOB_GET, &of_job), OMEN_OK);
    ck_assert_text_eq(OUT(api_job)->text,
                      "the collection docs; no builder with a GPU took it before it was given up");
}
END_TEST

START_TEST(the_kind_of_a_collections_ids_is_shown_once_it_has_one)
{
    struct command command = command_of(COMMAND_FEATURES);
    command.features = MAP_FEATURE_ID_KINDS;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    ck_assert_int_eq(make("docs"), OMEN_OK);
    ck_assert_uint_eq(OUT(api_collection)->id_kind, 0);
    command = command_of(COMMAND_COLLECTION_IDS);
    command.ids =
        (struct command_ids){OUT(api_collection)->id, _i == 0 ? MAP_IDS_INTEGER : MAP_IDS_TEXT};
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    admin_look();
    create.if_not_exists = 1;
    ck_assert_int_eq(make("docs"), OMEN_OK);
    ck_assert_uint_eq(OUT(api_collection)->id_kind, (uint8_t)(_i + 1));
}
END_TEST

static void
know_limits(void)
{
    struct command command = command_of(COMMAND_FEATURES);
    command.features = MAP_FEATURE_LIMITS;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    admin_look();
}

START_TEST(a_quota_is_set_kept_changed_and_given_up_by_itself)
{
    know_limits();
    create.memory_quota = 1;
    create.disk_quota = UINT64_MAX;
    ck_assert_int_eq(make("docs"), OMEN_OK);
    ck_assert_uint_eq(OUT(api_collection)->memory_quota, 1);
    ck_assert_uint_eq(OUT(api_collection)->disk_quota, UINT64_MAX);
    struct api_collection_update update = {.collection = TEXT("docs"), .replicas = 2};
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_UPDATE, &update), OMEN_OK);
    ck_assert_uint_eq(OUT(api_collection)->memory_quota, 1);
    ck_assert_uint_eq(OUT(api_collection)->disk_quota, UINT64_MAX);
    update =
        (struct api_collection_update){.collection = TEXT("docs"), .disk_quota = wire_given(0)};
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_UPDATE, &update), OMEN_OK);
    ck_assert_uint_eq(OUT(api_collection)->replicas, 2);
    ck_assert_uint_eq(OUT(api_collection)->memory_quota, 1);
    ck_assert_uint_eq(OUT(api_collection)->disk_quota, 0);
    const uint64_t version = world.map.version;
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_UPDATE, &update), OMEN_OK);
    ck_assert_uint_eq(world.map.version, version); // it is so already
}
END_TEST

START_TEST(a_quota_waits_until_every_node_knows_of_quotas)
{
    create.memory_quota = 1000;
    ck_assert_int_eq(make("docs"), OMEN_E_UNSUPPORTED);
    ck_assert_uint_eq(world.map.collection_count, 0);
    create.memory_quota = 0;
    ck_assert_int_eq(make("docs"), OMEN_OK);
    struct api_collection_update update = {.collection = TEXT("docs"),
                                           .memory_quota = wire_given(1000)};
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_UPDATE, &update), OMEN_E_UNSUPPORTED);
    update.memory_quota = wire_given(0); // which it has
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_UPDATE, &update), OMEN_OK);
    know_limits();
    update.memory_quota = wire_given(1000);
    ck_assert_int_eq(admin_do(METHOD_COLLECTION_UPDATE, &update), OMEN_OK);
    ck_assert_uint_eq(OUT(api_collection)->memory_quota, 1000);
}
END_TEST

static Suite *
admin_collection_suite(void)
{
    Suite *suite = suite_create("node/admin_collection");
    TCase *tcase = tcase_create("admin_collection");
    tcase_add_checked_fixture(tcase, setup, admin_close);
    tcase_add_test(tcase, what_was_created_is_what_get_and_list_show);
    tcase_add_loop_test(tcase, the_kind_of_a_collections_ids_is_shown_once_it_has_one, 0, 2);
    tcase_add_test(tcase, a_quota_is_set_kept_changed_and_given_up_by_itself);
    tcase_add_test(tcase, a_quota_waits_until_every_node_knows_of_quotas);
    tcase_add_test(tcase, what_is_not_said_has_the_defaults_of_an_index_and_a_shard_a_node);
    tcase_add_test(tcase, a_small_cluster_has_as_many_replicas_as_nodes);
    tcase_add_test(tcase, a_duplicate_is_refused_unless_it_may_exist_and_is_the_same);
    tcase_add_loop_test(tcase, what_exists_with_other_facts_is_refused_with_the_key_that_differs, 0,
                        6);
    tcase_add_test(tcase, more_replicas_than_nodes_are_refused);
    tcase_add_test(tcase, a_cluster_without_a_node_that_is_up_says_later);
    tcase_add_test(tcase, the_most_collections_and_one_more);
    tcase_add_test(tcase, the_most_shards_and_one_more);
    tcase_add_test(tcase, an_update_changes_what_it_says_and_leaves_the_rest);
    tcase_add_test(tcase, an_update_of_replicas_leaves_a_min_insync_that_was_chosen);
    tcase_add_test(tcase, an_update_that_says_nothing_or_too_much_is_refused);
    tcase_add_test(tcase, a_dropped_collection_is_gone_with_its_aliases);
    tcase_add_test(tcase, who_comes_second_is_told_that_the_collection_exists);
    tcase_add_test(tcase, who_comes_second_and_wanted_the_same_is_answered);
    tcase_add_test(tcase, a_conflict_says_both_versions_and_changes_nothing);
    tcase_add_test(tcase, a_collection_that_is_dropped_meanwhile_is_not_found);
    tcase_add_test(tcase, an_alias_names_its_collection_and_changes_hands);
    tcase_add_test(tcase, an_alias_of_nothing_of_an_alias_or_in_place_of_a_collection_is_refused);
    tcase_add_test(tcase, the_most_aliases_and_one_more);
    tcase_add_test(tcase, a_build_is_a_job_where_a_builder_lives_that_keeps_no_data);
    tcase_add_test(tcase, a_build_that_requires_a_gpu_is_a_job_that_waits_for_a_builder_to_come);
    tcase_add_test(tcase, what_only_copies_know_is_asked_of_them);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(admin_collection_suite)
