// tests/unit/node/test_clients_claim.c -- writes that wait for their collection's kind of ids: what is wished for and when, and that each is
// given back, refused or dropped once.
//
// Shape: shell. Two loops of clients, each with a map of its own; what they wish for, give back and refuse is written down.
#include <string.h>

#include "base/alloc.h"
#include "base/os_clock.h"
#include "node/clients_int.h"
#include "tests/lib/check_main.h"
#include "tests/lib/cluster_world.h"

#define NODES 2u
#define WISHES_MAX 64u
#define MS UINT64_C(1000000)

struct ended { // of one request, by its number
    uint32_t given, refused, dropped;
    omen_status status;
};

struct scene {
    struct world world;
    struct clients clients[NODES];
    const struct map *maps[NODES];
    bool nobody_leads;
    struct command wishes[WISHES_MAX];
    uint32_t wish_count;
    uint64_t wanted; // version of the map
    uint32_t wants;
    struct ended ended[2048];
};
static struct scene scene;
static const struct method *upsert;
static char conns[3]; // stand for connections

// ---- what the loop and the metadata would do ----

struct cluster_uuid
clients_leader(const struct clients *clients)
{
    (void)clients;
    return (struct cluster_uuid){0, scene.nobody_leads ? 0 : 1};
}

void
meta_wish(struct meta *meta, const struct command *command)
{
    (void)meta;
    ck_assert_uint_lt(scene.wish_count, WISHES_MAX);
    ck_assert_uint_eq(command->kind, COMMAND_COLLECTION_IDS);
    scene.wishes[scene.wish_count++] = *command;
}

void
meta_want(struct meta *meta, uint64_t version)
{
    (void)meta;
    scene.wanted = version;
    scene.wants++;
}

void
clients_take_request(struct clients *clients, struct clients_request_note *note)
{
    (void)clients;
    scene.ended[note->request.id].given++;
}

void
clients_refuse_request(struct clients *clients, const struct clients_request_note *note,
                       const struct omen_error *error)
{
    (void)clients;
    scene.ended[note->request.id].refused++;
    scene.ended[note->request.id].status = error->status;
}

void
clients_drop_request(struct clients_request_note *note)
{
    scene.ended[note->request.id].dropped++;
}

// ---- what happens ----

static uint64_t docs, other;

static void
hear_map(uint32_t at)
{
    map_publish_end(scene.maps[at]);
    ck_assert_int_eq(map_publish(&scene.world.map, &scene.maps[at]), OMEN_OK);
    scene.clients[at].map = scene.maps[at];
    clients_claims_map(&scene.clients[at]);
}

static void
set_up(void)
{
    memset(&scene, 0, sizeof scene);
    upsert = method_at(METHOD_POINT_UPSERT);
    world_init(&scene.world, 1);
    struct command command = command_of(COMMAND_FEATURES);
    command.features = MAP_FEATURE_ID_KINDS;
    ck_assert_int_eq(world_apply(&scene.world, &command).status, OMEN_OK);
    docs = world_collection(&scene.world, "docs", 4, 1);
    other = world_collection(&scene.world, "other", 4, 1);
    for (uint32_t i = 0; i < NODES; i++) {
        clients_claims_init(&scene.clients[i]);
        hear_map(i);
    }
}

static void
tear_down(void)
{
    for (uint32_t i = 0; i < NODES; i++) {
        clients_claims_close(&scene.clients[i]);
        ck_assert_uint_eq(clients_claims_due(&scene.clients[i]), UINT64_MAX);
        map_publish_end(scene.maps[i]);
    }
    for (uint32_t i = 0; i < 2048; i++) {
        const struct ended *ended = &scene.ended[i];
        ck_assert_uint_le(ended->given + ended->refused + ended->dropped, 1);
    }
    world_fini(&scene.world);
}

static void
claim_of(uint32_t at, uint32_t id, uint64_t collection, enum map_id_kind kind, uint64_t deadline_ns)
{
    const struct rpc_request request = {.id = id, .method = upsert};
    const struct front_claim claim = {collection, deadline_ns, (uint8_t)kind};
    clients_claim(&scene.clients[at], &conns[id % 3], &request, &claim);
}

// The leader takes what was wished for, in that order.
static void
lead(void)
{
    for (uint32_t i = 0; i < scene.wish_count; i++)
        (void)world_apply(&scene.world, &scene.wishes[i]);
    scene.wish_count = 0;
}

START_TEST(a_write_goes_on_when_its_own_map_has_the_kind_and_not_before)
{
    claim_of(0, 1, docs, MAP_IDS_INTEGER, UINT64_MAX);
    claim_of(0, 2, other, MAP_IDS_TEXT, UINT64_MAX);
    ck_assert_uint_eq(scene.wish_count, 2);
    ck_assert_uint_eq(scene.wishes[0].ids.collection, docs);
    ck_assert_uint_eq(scene.wishes[0].ids.kind, MAP_IDS_INTEGER);
    ck_assert_int_eq(world_apply(&scene.world, &scene.wishes[0]).status, OMEN_OK);
    ck_assert_uint_eq(scene.ended[1].given, 0);
    hear_map(0);
    ck_assert_uint_eq(scene.ended[1].given, 1);
    ck_assert_uint_eq(scene.ended[2].given, 0); // nobody has heard of its own
    lead();
    hear_map(0);
    ck_assert_uint_eq(scene.ended[2].given, 1);
}
END_TEST

START_TEST(of_two_nodes_that_claim_different_kinds_both_go_on_with_the_kind_of_one)
{
    claim_of(0, 1, docs, MAP_IDS_INTEGER, UINT64_MAX);
    claim_of(1, 2, docs, MAP_IDS_TEXT, UINT64_MAX);
    ck_assert_uint_eq(scene.wish_count, 2);
    lead();
    for (uint32_t i = 0; i < NODES; i++) {
        hear_map(i);
        ck_assert_uint_eq(map_collection(scene.maps[i], docs)->id_kind, MAP_IDS_INTEGER);
        ck_assert_uint_eq(scene.ended[1 + i].given, 1); // to the front, which refuses the text
    }
}
END_TEST

START_TEST(where_nobody_leads_it_is_refused_at_once)
{
    scene.nobody_leads = true;
    claim_of(0, 1, docs, MAP_IDS_INTEGER, UINT64_MAX);
    ck_assert_uint_eq(scene.ended[1].refused, 1);
    ck_assert_int_eq(scene.ended[1].status, OMEN_E_BUSY);
    ck_assert_uint_eq(scene.wish_count, 0);
}
END_TEST

START_TEST(a_wish_that_was_lost_is_said_again_and_at_once_to_a_new_leader)
{
    claim_of(0, 1, docs, MAP_IDS_INTEGER, UINT64_MAX);
    scene.wish_count = 0; // it was lost
    const uint64_t due_ns = scene.clients[0].claims.again_ns;
    ck_assert_uint_le(clients_claims_due(&scene.clients[0]), due_ns);
    ck_assert_uint_lt(due_ns, os_clock_ns() + 1000 * MS);
    clients_claims_late(&scene.clients[0], due_ns - 1);
    ck_assert_uint_eq(scene.wish_count, 0);
    clients_claims_late(&scene.clients[0], due_ns);
    ck_assert_uint_eq(scene.wish_count, 1);
    ck_assert_uint_gt(scene.clients[0].claims.again_ns, due_ns);
    scene.nobody_leads = true;
    clients_claims_led(&scene.clients[0]);
    ck_assert_uint_eq(scene.wish_count, 1);
    scene.nobody_leads = false;
    clients_claims_led(&scene.clients[0]);
    ck_assert_uint_eq(scene.wish_count, 2);
    lead();
    hear_map(0);
    ck_assert_uint_eq(scene.ended[1].given, 1);
    ck_assert_uint_eq(clients_claims_due(&scene.clients[0]), UINT64_MAX);
}
END_TEST

START_TEST(a_deadline_ends_its_own_and_nothing_was_done)
{
    const uint64_t now_ns = os_clock_ns();
    claim_of(0, 1, docs, MAP_IDS_INTEGER, now_ns + 50 * MS);
    claim_of(0, 2, docs, MAP_IDS_INTEGER, UINT64_MAX);
    scene.clients[0].claims.again_ns = scene.clients[0].claims.look_ns = now_ns + 1000 * MS;
    ck_assert_uint_eq(clients_claims_due(&scene.clients[0]), now_ns + 50 * MS);
    clients_claims_late(&scene.clients[0], now_ns + 50 * MS);
    ck_assert_uint_eq(scene.ended[1].refused, 1);
    ck_assert_int_eq(scene.ended[1].status, OMEN_E_TIMEOUT);
    ck_assert_uint_eq(scene.ended[2].refused, 0);
    lead();
    hear_map(0);
    ck_assert_uint_eq(scene.ended[1].given, 0);
    ck_assert_uint_eq(scene.ended[2].given, 1);
}
END_TEST

START_TEST(what_a_client_that_is_gone_asked_for_is_dropped)
{
    claim_of(0, 1, docs, MAP_IDS_INTEGER, UINT64_MAX);
    claim_of(0, 2, docs, MAP_IDS_INTEGER, UINT64_MAX);
    claim_of(0, 4, docs, MAP_IDS_INTEGER, UINT64_MAX); // of the first's connection
    clients_claims_gone(&scene.clients[0], (const struct rpc_conn *)(const void *)&conns[1]);
    ck_assert_uint_eq(scene.ended[1].dropped, 1);
    ck_assert_uint_eq(scene.ended[4].dropped, 1);
    claim_of(0, 5, docs, MAP_IDS_INTEGER, UINT64_MAX); // behind what is left
    lead();
    hear_map(0);
    ck_assert_uint_eq(scene.ended[2].given, 1);
    ck_assert_uint_eq(scene.ended[5].given, 1);
}
END_TEST

// Who has no log hears of a newer map by gossip only, which takes longer than to agree on it.
START_TEST(a_newer_map_is_asked_for_less_and_less_often)
{
    claim_of(0, 1, docs, MAP_IDS_INTEGER, UINT64_MAX);
    uint64_t between_ns = 0;
    for (uint32_t i = 0; i < 5; i++) {
        const uint64_t due_ns = scene.clients[0].claims.look_ns;
        clients_claims_late(&scene.clients[0], due_ns - 1);
        ck_assert_uint_eq(scene.wants, i);
        clients_claims_late(&scene.clients[0], due_ns);
        ck_assert_uint_eq(scene.wants, i + 1);
        ck_assert_uint_eq(scene.wanted, scene.maps[0]->version + 1);
        ck_assert_uint_gt(scene.clients[0].claims.look_ns - due_ns, between_ns);
        between_ns = scene.clients[0].claims.look_ns - due_ns;
    }
    lead();
    hear_map(0);
    ck_assert_uint_eq(clients_claims_due(&scene.clients[0]), UINT64_MAX);
}
END_TEST

START_TEST(writes_of_one_collection_say_one_wish)
{
    for (uint32_t id = 1; id <= 50; id++)
        claim_of(0, id, docs, id % 2 != 0 ? MAP_IDS_INTEGER : MAP_IDS_TEXT, UINT64_MAX);
    ck_assert_uint_eq(scene.wish_count, 1);
    lead();
    hear_map(0);
    for (uint32_t id = 1; id <= 50; id++)
        ck_assert_uint_eq(scene.ended[id].given, 1);
}
END_TEST

START_TEST(where_the_collection_is_dropped_the_front_says_so)
{
    claim_of(0, 1, docs, MAP_IDS_INTEGER, UINT64_MAX);
    struct command command = command_of(COMMAND_COLLECTION_DROP);
    command.alter = (struct command_alter){.collection = docs, .expected = VERSION_ANY};
    ck_assert_int_eq(world_apply(&scene.world, &command).status, OMEN_OK);
    lead();
    hear_map(0);
    ck_assert_uint_eq(scene.ended[1].given, 1);
}
END_TEST

START_TEST(so_many_wait_and_one_more_is_refused)
{
    for (uint32_t id = 0; id < 1024; id++)
        claim_of(0, id, docs, MAP_IDS_INTEGER, UINT64_MAX);
    claim_of(0, 1024, docs, MAP_IDS_INTEGER, UINT64_MAX);
    ck_assert_int_eq(scene.ended[1024].status, OMEN_E_BUSY);
    mem_fail_once(1);
    claim_of(1, 1025, docs, MAP_IDS_INTEGER, UINT64_MAX);
    ck_assert_int_eq(scene.ended[1025].status, OMEN_E_BUSY);
    ck_assert_uint_eq(scene.wish_count, 1);
    clients_claims_close(&scene.clients[0]);
    for (uint32_t id = 0; id < 1024; id++)
        ck_assert_uint_eq(scene.ended[id].dropped, 1);
}
END_TEST

static Suite *
clients_claim_suite(void)
{
    Suite *suite = suite_create("node/clients_claim");
    TCase *tcase = tcase_create("clients_claim");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_write_goes_on_when_its_own_map_has_the_kind_and_not_before);
    tcase_add_test(tcase, of_two_nodes_that_claim_different_kinds_both_go_on_with_the_kind_of_one);
    tcase_add_test(tcase, where_nobody_leads_it_is_refused_at_once);
    tcase_add_test(tcase, a_wish_that_was_lost_is_said_again_and_at_once_to_a_new_leader);
    tcase_add_test(tcase, a_deadline_ends_its_own_and_nothing_was_done);
    tcase_add_test(tcase, what_a_client_that_is_gone_asked_for_is_dropped);
    tcase_add_test(tcase, a_newer_map_is_asked_for_less_and_less_often);
    tcase_add_test(tcase, writes_of_one_collection_say_one_wish);
    tcase_add_test(tcase, where_the_collection_is_dropped_the_front_says_so);
    tcase_add_test(tcase, so_many_wait_and_one_more_is_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(clients_claim_suite)
