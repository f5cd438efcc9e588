// tests/unit/node/test_node.c -- whole nodes in one process, over real sockets and disks: what clients are told of the map, and that a
// node ends with all that it had under way.
//
// Labels: tsan waits
#include "node/node.h"

#include <string.h>

#include "base/os_log.h"
#include "tests/lib/check_main.h"
#include "tests/lib/folder.h"
#include "tests/lib/tcp_client.h"

#define NODES 3u

static struct folder folder;
static struct config configs[NODES];
static struct node *nodes[NODES];
static struct seal_keys keys;
static struct tcp_client
    asking[NODES]; // one connection each: whoever asks again and again would use up all ports
static uint32_t requests;
static uint16_t ports[NODES]; // of clients; 0: any

// ---- nodes ----

// Whom it shall join is there: who was not answered in time, because one of the two had no processor, asks again at once.
static bool
no_pause(void *context, uint32_t ms)
{
    (void)context;
    (void)ms;
    return false;
}

static void
set_address(struct gossip_address *address, uint16_t port)
{
    *address = (struct gossip_address){.port = port};
    address->ip[10] = address->ip[11] = 0xff;
    address->ip[12] = 127;
    address->ip[15] = 1;
}

static void
start(uint32_t at)
{
    struct omen_error error = {0};
    struct config *config = &configs[at];
    *config = (struct config){.roles = NODE_ROLES_ALL,
                              .profile = CONFIG_FAST,
                              .weight = 100,
                              .voters = 3,
                              .threads = 1,
                              .log_level = LOG_LEVEL_ERROR};
    snprintf(config->data, sizeof config->data, "%s/%u", folder.path, at);
    set_address(&config->listen, ports[at]);
    set_address(&config->peer, 0);
    if (at > 0) {
        set_address(&config->join[0], node_peer_port(nodes[0]));
        config->join_count = 1;
    }
    const struct node_config node = {.config = config, .keys = &keys, .pause = no_pause};
    ck_assert_msg(node_open(&node, &nodes[at], &error) == EXIT_DONE, "%s", error.text);
    ck_assert_ptr_nonnull(nodes[at]);
    asking[at] = tcp_connect(node_client_port(nodes[at]));
}

static void
stop(uint32_t at)
{
    if (nodes[at] == NULL)
        return;
    node_close(nodes[at]);
    nodes[at] = NULL;
    tcp_leave(&asking[at]);
}

static void
setup(void)
{
    ck_assert_int_eq(seal_init(), OMEN_OK);
    log_level_set(LOG_LEVEL_ERROR);
    folder_init(&folder);
    memset(nodes, 0, sizeof nodes);
    memset(ports, 0, sizeof ports);
}

static void
teardown(void)
{
    for (uint32_t i = 0; i < NODES; i++)
        stop(i);
    folder_fini(&folder);
}

// ---- what they are asked ----

struct said {
    char error[64]; // its name; "": none
    char text[256];
    uint64_t voters, nodes, shards; // of cluster.info
};

static void
keep_error(const struct rpc_message *message, struct said *said)
{
    struct rpc_error error;
    ck_assert_int_eq(rpc_read_error(message, &error, NULL), OMEN_OK);
    snprintf(said->error, sizeof said->error, "%.*s", (int)error.name.count, error.name.bytes);
    snprintf(said->text, sizeof said->text, "%.*s", (int)error.message.count, error.message.bytes);
}

static struct said
ask(uint32_t at, enum method_number method, const void *what)
{
    struct said said = {.error = ""};
    struct rpc_message message;
    union method_body body;
    struct tcp_client *client = &asking[at];
    rpc_ask(client, ++requests, method, what);
    const size_t bytes = rpc_receive(client, &message);
    ck_assert_uint_eq(message.id, requests);
    if (message.error.count > 0) {
        keep_error(&message, &said);
    } else {
        ck_assert_int_eq(rpc_read_answer(&message, method_at(method), &body, NULL), OMEN_OK);
        const struct api_cluster_info *info = (const void *)&body;
        if (method == METHOD_CLUSTER_INFO)
            said = (struct said){"", "", info->voters, info->nodes, info->shards};
    }
    tcp_forget(client, bytes);
    return said;
}

static struct said
create(uint32_t at, const char *name, uint32_t deadline_ms)
{
    const struct api_collection_create what = {.name = wire_text_of(name),
                                               .dimension = 4,
                                               .shards = 2,
                                               .replicas = 1,
                                               .metric = 1,
                                               .deadline_ms = deadline_ms};
    return ask(at, METHOD_COLLECTION_CREATE, &what);
}

static bool
has(uint32_t at, const char *name)
{
    const struct api_of_collection what = {.collection = wire_text_of(name)};
    const struct said said = ask(at, METHOD_COLLECTION_GET, &what);
    ck_assert(said.error[0] == '\0' || strcmp(said.error, "NOT_FOUND") == 0 ||
              strcmp(said.error, "BUSY") == 0);
    return said.error[0] == '\0';
}

// Asks until it is so.
static void
wait_for_voters(uint32_t at, uint64_t voters)
{
    const struct api_nothing nothing = {0};
    struct said said;
    do
        said = ask(at, METHOD_CLUSTER_INFO, &nothing);
    while (said.error[0] != '\0' || said.voters != voters || said.nodes != voters);
}

// Until somebody leads and what came of it is known: on a slow machine that may change at any moment.
static struct said
create_until_known(uint32_t at, const char *name)
{
    struct said said;
    do
        said = create(at, name, 2000);
    while (strcmp(said.error, "BUSY") == 0 || strcmp(said.error, "TIMEOUT") == 0);
    return said;
}

static void
create_in_the_end(uint32_t at, const char *name)
{
    const struct said said = create_until_known(at, name);
    ck_assert_msg(said.error[0] == '\0' || strcmp(said.error, "EXISTS") == 0, "%s: %s", said.error,
                  said.text);
}

static void
start_all(void)
{
    for (uint32_t i = 0; i < NODES; i++)
        start(i);
    for (uint32_t i = 0; i < NODES; i++)
        wait_for_voters(i, NODES);
}

START_TEST(a_collection_made_at_one_node_is_there_where_it_was_asked_for_and_soon_everywhere)
{
    start_all();
    static const char *const names[] = {"a", "b", "c"};
    for (uint32_t i = 0; i < NODES; i++) {
        create_in_the_end(i, names[i]);
        ck_assert(has(i, names[i]));
        ck_assert_str_eq(create_until_known((i + 1) % NODES, names[i]).error, "EXISTS");
    }
    for (uint32_t i = 0; i < NODES * NODES; i++)
        while (!has(i / NODES, names[i % NODES]))
            ;
}
END_TEST

// False: it was elected before it was asked, because this thread had no processor for so long.
static bool
is_asked_before_it_is_elected(void)
{
    start(0);
    const struct said said = create(0, "early", 2000);
    if (said.error[0] == '\0') {
        stop(0);
        folder_fini(&folder);
        folder_init(&folder);
        return false;
    }
    ck_assert_str_eq(said.error, "BUSY");
    return true;
}

START_TEST(a_node_that_knows_no_leader_says_so_and_does_nothing)
{
    while (!is_asked_before_it_is_elected())
        continue;
    create_in_the_end(0, "early");
    ck_assert(has(0, "early"));
}
END_TEST

// The folder of who was refused can still become a node of the other's cluster.
START_TEST(an_address_that_is_taken_ends_a_start_before_anything_is_founded_or_written)
{
    start(0);
    struct omen_error error = {0};
    for (uint32_t i = 0; i < 3; i++) {
        struct config *config = &configs[1];
        *config = configs[0];
        snprintf(config->data, sizeof config->data, "%s/1", folder.path);
        set_address(&config->listen, i == 0 ? node_client_port(nodes[0]) : 0);
        set_address(&config->peer, i == 1 ? node_peer_port(nodes[0]) : 0);
        set_address(&config->admin, i == 2 ? node_client_port(nodes[0]) : 0);
        config->admin_said = i == 2;
        const struct node_config node = {.config = config, .keys = &keys, .pause = no_pause};
        ck_assert_int_eq(node_open(&node, &nodes[1], &error), EXIT_NO_ADDRESS);
        ck_assert_ptr_null(nodes[1]);
        ck_assert_int_ne(access(config->data, F_OK), 0);
    }
    start(1);
    create_in_the_end(0, "both");
    while (!has(1, "both"))
        ;
}
END_TEST

START_TEST(without_a_majority_nobody_is_told_that_something_was_done)
{
    start_all();
    create_in_the_end(0, "before");
    stop(1);
    stop(2);
    const struct said said = create(0, "after", 300);
    ck_assert_msg(strcmp(said.error, "TIMEOUT") == 0 || strcmp(said.error, "BUSY") == 0, "%s: %s",
                  said.error, said.text);
    ck_assert(has(0, "before"));
    ck_assert(!has(0, "after"));
}
END_TEST

START_TEST(clients_that_leave_before_they_are_answered_cost_nothing)
{
    start_all();
    const struct api_collection_create what = {
        .name = wire_text_of("left"), .dimension = 4, .shards = 2, .replicas = 1, .metric = 1};
    for (uint32_t i = 0; i < 20; i++) {
        struct tcp_client client = tcp_connect(node_client_port(nodes[i % NODES]));
        rpc_ask(&client, i, METHOD_COLLECTION_CREATE, &what);
        tcp_leave(&client);
    }
    create_in_the_end(1, "here");
    ck_assert(has(1, "here"));
}
END_TEST

START_TEST(a_node_ends_while_its_clients_wait)
{
    start_all();
    struct tcp_client clients[8];
    const struct api_collection_create what = {
        .name = wire_text_of("late"), .dimension = 4, .shards = 2, .replicas = 1, .metric = 1};
    for (uint32_t i = 0; i < 8; i++) {
        clients[i] = tcp_connect(node_client_port(nodes[1]));
        rpc_ask(&clients[i], i, METHOD_COLLECTION_CREATE, &what);
    }
    stop(1);
    for (uint32_t i = 0; i < 8; i++) {
        while (tcp_receive_more(&clients[i])) // an answer perhaps, and then the end
            ;
        tcp_leave(&clients[i]);
    }
}
END_TEST

// ---- searches of this node's own copies ----

#define POINTS 100u
#define AT_ONCE 60u // a few less than a connection may have under way

static float places[POINTS][4];

static struct wire_vectors
raw(const float *values, uint32_t count)
{
    return (struct wire_vectors){.form = VECTORS_RAW,
                                 .dtype = WIRE_F32,
                                 .count = count,
                                 .bytes = {(const uint8_t *)values, 4 * count}};
}

// Whether it should be asked again: nobody leads yet, or a shard is not open.
static bool
is_early(struct said said)
{
    const bool early = strcmp(said.error, "BUSY") == 0 || strcmp(said.error, "TIMEOUT") == 0;
    ck_assert_msg(early || said.error[0] == '\0', "%s: %s", said.error, said.text);
    return early;
}

// Point i lies at (i, 0, 0, 0).
static void
fill(const char *name, uint32_t shards)
{
    static struct wire_id ids[POINTS];
    const struct api_collection_create what = {
        .name = wire_text_of(name), .dimension = 4, .shards = shards, .replicas = 1, .metric = 2};
    for (uint32_t i = 0; i < POINTS; i++) {
        ids[i] = (struct wire_id){.given = 1, .number = i};
        places[i][0] = (float)i;
    }
    const struct api_point_upsert points = {.collection = wire_text_of(name),
                                            .ids = {.count = POINTS, .items = ids},
                                            .vectors = raw(places[0], 4 * POINTS)};
    start(0);
    while (is_early(ask(0, METHOD_COLLECTION_CREATE, &what)) && !has(0, name))
        continue;
    while (is_early(ask(0, METHOD_POINT_UPSERT, &points)))
        continue;
}

static void
send_search(struct tcp_client *client, const char *name, uint32_t at, uint8_t consistency)
{
    const struct api_query_search what = {.collection = wire_text_of(name),
                                          .vector = raw(places[at], 4),
                                          .k = 3,
                                          .consistency = consistency};
    rpc_ask(client, at, METHOD_QUERY_SEARCH, &what);
}

// Of the one that is answered next, which is any of those under way: its own point is the nearest.
static void
hear_search(struct tcp_client *client)
{
    struct rpc_message message;
    union method_body body;
    struct list_cursor cursor;
    struct api_hit hit;
    const size_t bytes = rpc_receive(client, &message);
    ck_assert_uint_eq(message.error.count, 0);
    ck_assert_int_eq(rpc_read_answer(&message, method_at(METHOD_QUERY_SEARCH), &body, NULL),
                     OMEN_OK);
    const struct api_hits *hits = (const void *)&body;
    ck_assert_uint_eq(hits->hits.count, 3);
    ck_assert_uint_ge(hits->token.count, 1);
    list_begin(&cursor, shape_field(&api_hits, "hits"), &hits->hits);
    ck_assert(list_next(&cursor, &hit));
    ck_assert_uint_eq(hit.id.number, message.id);
    tcp_forget(client, bytes);
}

// 1: of one shard, which the loop may serve itself; 2: of several, which workers do.
START_TEST(searches_one_after_the_other_and_many_at_once_find_what_is_there)
{
    fill("docs", (uint32_t)_i);
    struct tcp_client *client = &asking[0];
    for (uint32_t i = 0; i < 3 * POINTS; i++) {
        send_search(client, "docs", i % POINTS, i % 2 == 0 ? API_EVENTUAL : API_STRONG);
        hear_search(client);
    }
    for (uint32_t round = 0; round < 5; round++) {
        for (uint32_t i = 0; i < AT_ONCE; i++)
            send_search(client, "docs", i, API_EVENTUAL);
        for (uint32_t i = 0; i < AT_ONCE; i++)
            hear_search(client);
    }
}
END_TEST

START_TEST(who_asks_a_node_that_has_just_started_again_is_answered_when_it_knows_what_is_there)
{
    fill("docs", (uint32_t)_i);
    ports[0] = node_client_port(nodes[0]);
    stop(0);
    start(0); // it has no lease yet, and perhaps no map
    for (uint32_t i = 0; i < AT_ONCE; i++)
        send_search(&asking[0], "docs", i, API_EVENTUAL);
    for (uint32_t i = 0; i < AT_ONCE; i++)
        hear_search(&asking[0]);
}
END_TEST

START_TEST(a_node_ends_while_requests_wait_for_what_it_does_not_know_yet)
{
    fill("docs", (uint32_t)_i);
    stop(0);
    start(0);
    for (uint32_t i = 0; i < AT_ONCE; i++)
        send_search(&asking[0], "docs", i, API_EVENTUAL);
    stop(0);
}
END_TEST

START_TEST(who_leaves_before_his_searches_are_answered_costs_nothing)
{
    fill("docs", (uint32_t)_i);
    for (uint32_t round = 0; round < 10; round++) {
        struct tcp_client client = tcp_connect(node_client_port(nodes[0]));
        for (uint32_t i = 0; i < AT_ONCE; i++)
            send_search(&client, "docs", i, API_EVENTUAL);
        if (round % 2 == 0)
            hear_search(&client);
        tcp_leave(&client);
    }
    send_search(&asking[0], "docs", 7, API_EVENTUAL);
    hear_search(&asking[0]);
}
END_TEST

START_TEST(a_node_ends_while_searches_are_under_way)
{
    fill("docs", (uint32_t)_i);
    struct tcp_client client = tcp_connect(node_client_port(nodes[0]));
    for (uint32_t i = 0; i < AT_ONCE; i++)
        send_search(&client, "docs", i, API_EVENTUAL);
    stop(0);
    while (tcp_receive_more(&client)) // answers perhaps, and then the end
        continue;
    tcp_leave(&client);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("node/node");
    TCase *tcase = tcase_create("node");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(
        tcase, a_collection_made_at_one_node_is_there_where_it_was_asked_for_and_soon_everywhere);
    tcase_add_test(tcase, a_node_that_knows_no_leader_says_so_and_does_nothing);
    tcase_add_test(tcase,
                   an_address_that_is_taken_ends_a_start_before_anything_is_founded_or_written);
    tcase_add_test(tcase, without_a_majority_nobody_is_told_that_something_was_done);
    tcase_add_test(tcase, clients_that_leave_before_they_are_answered_cost_nothing);
    tcase_add_test(tcase, a_node_ends_while_its_clients_wait);
    tcase_add_loop_test(tcase, searches_one_after_the_other_and_many_at_once_find_what_is_there, 1,
                        3);
    tcase_add_loop_test(
        tcase, who_asks_a_node_that_has_just_started_again_is_answered_when_it_knows_what_is_there,
        1, 3);
    tcase_add_loop_test(tcase, a_node_ends_while_requests_wait_for_what_it_does_not_know_yet, 1, 3);
    tcase_add_loop_test(tcase, who_leaves_before_his_searches_are_answered_costs_nothing, 1, 3);
    tcase_add_loop_test(tcase, a_node_ends_while_searches_are_under_way, 1, 3);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
