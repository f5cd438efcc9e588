// tests/unit/node/test_clients_admin.c -- which requests about the map this node answers by its own map, and which the leader is asked about.
//
// Shape: shell. What would be sent, proposed or answered is written down.
#include <string.h>

#include "node/clients_int.h"
#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"

struct scene {
    struct world world;
    const struct map *map;
    struct clients clients;
    struct clients_call call;
    bool leads; // this node
    uint32_t looks, finished, refused, proposed;
    omen_status status;
};
static struct scene scene;
static char conn; // stands for a connection

// ---- what the loop and the metadata would do ----

bool
clients_led_look(struct clients *clients, struct clients_call *call)
{
    (void)clients;
    (void)call;
    scene.looks++;
    return scene.leads;
}

void
clients_head(const struct clients_call *call, struct encode *message)
{
    (void)call;
    encode_init(message, WIRE_FRAME_BYTES_MAX);
}

void
clients_finish(struct clients *clients, struct clients_call *call, struct encode *message)
{
    (void)clients;
    (void)call;
    scene.finished++;
    encode_fini(message);
}

void
clients_refuse(struct clients *clients, struct clients_call *call, const struct omen_error *error,
               enum api_outcome outcome)
{
    (void)clients;
    (void)call;
    (void)outcome;
    scene.refused++;
    scene.status = error->status;
}

void
clients_refuse_as(struct clients *clients, struct clients_call *call, omen_status status,
                  const char *why, enum api_outcome outcome)
{
    struct omen_error error = {.status = status};
    (void)why;
    clients_refuse(clients, call, &error, outcome);
}

struct clients_call *
clients_call_new(struct clients *clients, const struct method *method, void *owned)
{
    (void)clients;
    (void)method;
    (void)owned;
    return NULL;
}

void
clients_shards_ask(struct clients *clients, struct clients_call *call)
{
    (void)clients;
    (void)call;
}

void
meta_propose(struct meta *meta, const struct command *command, struct loop *answer_to, void *tag)
{
    (void)meta;
    (void)command;
    (void)answer_to;
    (void)tag;
    scene.proposed++;
}

void
meta_meet(struct meta *meta, const struct gossip_address *address)
{
    (void)meta;
    (void)address;
}

// ---- what happens ----

static struct node_clock heard;
static uint64_t job;

static void
set_up(void)
{
    memset(&scene, 0, sizeof scene);
    node_clock_init(&heard);
    world_init(&scene.world, 1);
    (void)world_collection(&scene.world, "docs", 1, 1);
    struct command command = command_of(COMMAND_JOB_CREATE);
    command.job = (struct command_job){.shard = scene.world.map.shards[0].id, .kind = JOB_BUILD};
    const struct command_result made = world_apply(&scene.world, &command);
    ck_assert_int_eq(made.status, OMEN_OK);
    job = made.value;
    ck_assert_int_eq(map_publish(&scene.world.map, &scene.map), OMEN_OK);
    scene.clients.map = scene.map;
    scene.clients.config.clock = &heard;
}

static void
tear_down(void)
{
    map_publish_end(scene.map);
    world_fini(&scene.world);
    node_clock_fini(&heard);
}

static void
begin(enum method_number method, const void *ask, void *from)
{
    scene.looks = scene.finished = scene.refused = scene.proposed = 0;
    scene.status = OMEN_OK;
    scene.call = (struct clients_call){.method = method_at(method), .conn = from};
    memcpy(&scene.call.ask, ask, scene.call.method->ask->bytes);
    clients_begin(&scene.clients, &scene.call);
}

START_TEST(a_job_that_this_node_knows_is_told_by_its_own_map)
{
    const struct api_of_job ask = {.job = job};
    begin(METHOD_JOB_GET, &ask, &conn);
    ck_assert_uint_eq(scene.looks, 0);
    ck_assert_uint_eq(scene.finished, 1);
}
END_TEST

// Who told the client of it may have a newer map.
START_TEST(a_job_that_it_knows_nothing_of_the_leader_is_asked_about)
{
    const struct api_of_job ask = {.job = job + 1000};
    begin(METHOD_JOB_GET, &ask, &conn);
    ck_assert_uint_eq(scene.looks, 1);
    ck_assert_uint_eq(scene.finished + scene.refused, 0); // it is on its way
}
END_TEST

// A move is the job of its shard, and where nothing moves yet there is none: who waits for it would take that for its end.
START_TEST(a_shard_in_which_nothing_moves_here_the_leader_is_asked_about)
{
    const struct api_of_job ask = {.job = scene.map->shards[0].id};
    begin(METHOD_JOB_GET, &ask, &conn);
    ck_assert_uint_eq(scene.looks, 1);
    ck_assert_uint_eq(scene.finished + scene.refused, 0);
}
END_TEST

START_TEST(what_the_leader_does_not_know_is_no_job)
{
    const struct api_of_job ask = {.job = job + 1000};
    scene.leads = true;
    begin(METHOD_JOB_GET, &ask, &conn);
    ck_assert_uint_eq(scene.refused, 1);
    ck_assert_int_eq(scene.status, OMEN_E_NOT_FOUND);
}
END_TEST

START_TEST(whom_another_node_asks_answers_by_what_it_has)
{
    const struct api_of_job ask = {.job = job + 1000};
    begin(METHOD_JOB_GET, &ask, NULL);
    ck_assert_uint_eq(scene.looks, 0);
    ck_assert_uint_eq(scene.refused, 1);
    ck_assert_int_eq(scene.status, OMEN_E_NOT_FOUND);
}
END_TEST

START_TEST(what_else_is_not_there_is_refused_at_once)
{
    const struct api_of_collection ask = {.collection = wire_text_of("none")};
    begin(METHOD_COLLECTION_STATS, &ask, &conn);
    ck_assert_uint_eq(scene.looks, 0);
    ck_assert_uint_eq(scene.refused, 1);
    ck_assert_int_eq(scene.status, OMEN_E_NOT_FOUND);
}
END_TEST

START_TEST(what_changes_something_is_the_leaders_alone)
{
    const struct api_change_job ask = {.job = job};
    begin(METHOD_JOB_CANCEL, &ask, &conn);
    ck_assert_uint_eq(scene.looks, 1);
    ck_assert_uint_eq(scene.proposed, 0);
    scene.leads = true;
    begin(METHOD_JOB_CANCEL, &ask, &conn);
    ck_assert_uint_eq(scene.proposed, 1);
}
END_TEST

static Suite *
clients_admin_suite(void)
{
    Suite *suite = suite_create("node/clients_admin");
    TCase *tcase = tcase_create("clients_admin");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_job_that_this_node_knows_is_told_by_its_own_map);
    tcase_add_test(tcase, a_job_that_it_knows_nothing_of_the_leader_is_asked_about);
    tcase_add_test(tcase, a_shard_in_which_nothing_moves_here_the_leader_is_asked_about);
    tcase_add_test(tcase, what_the_leader_does_not_know_is_no_job);
    tcase_add_test(tcase, whom_another_node_asks_answers_by_what_it_has);
    tcase_add_test(tcase, what_else_is_not_there_is_refused_at_once);
    tcase_add_test(tcase, what_changes_something_is_the_leaders_alone);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(clients_admin_suite)
