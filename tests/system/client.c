// tests/system/client.c -- a program of the C client's users: every call of omen_client.h against a real node. Says "fine".
//
// Shape: shell.
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "omen_client.h"

#define DIMENSION 4u
#define ROWS 3u

static void
expect(int holds, const char *what)
{
    omen_client_failure failure;
    if (holds)
        return;
    omen_client_last_failure(&failure);
    fprintf(stderr, "not so: %s; the last failure: %s: %s\n", what, failure.name, failure.message);
    exit(1);
}

static const float rows[ROWS][DIMENSION] = {{1, 2, 3, 4}, {0, 0, 0, 1}, {9, 9, 9, 9}};

static void
write_some(omen_client_t client)
{
    static const uint64_t ids[ROWS] = {10, 11, 12};
    static const uint8_t payload[] = {0x81, 0xa1, 'a', 0x07}; // {"a": 7}
    const void *const payloads[ROWS] = {payload, NULL, payload};
    const size_t payload_bytes[ROWS] = {sizeof payload, 0, sizeof payload};
    omen_client_collection collection = OMEN_CLIENT_COLLECTION_INIT;
    omen_client_batch batch = OMEN_CLIENT_BATCH_INIT;
    omen_client_failure failure;
    size_t written = 0;
    collection.name = "from_c";
    collection.dimension = DIMENSION;
    collection.metric = OMEN_L2;
    collection.replicas = 1;
    expect(omen_client_collection_create(client, &collection) == OMEN_OK, "a collection is made");
    expect(omen_client_collection_create(client, &collection) == OMEN_E_EXISTS, "and not twice");
    omen_client_last_failure(&failure);
    expect(failure.status == OMEN_E_EXISTS && strcmp(failure.name, "EXISTS") == 0 &&
               !failure.retryable && failure.message[0] != '\0',
           "the failure is told");
    collection.if_not_exists = 1;
    expect(omen_client_collection_create(client, &collection) == OMEN_OK, "unless it may exist");

    batch.collection = "from_c";
    batch.count = ROWS;
    batch.ids = ids;
    batch.vectors = rows;
    batch.dimension = DIMENSION;
    batch.payloads = payloads;
    batch.payload_bytes = payload_bytes;
    expect(omen_client_upsert(client, &batch, &written) == OMEN_OK && written == ROWS,
           "points are written");
    batch.dimension = DIMENSION - 1;
    expect(omen_client_upsert(client, &batch, &written) == OMEN_E_DIMENSION && written == 0,
           "points of another dimension are not");
    batch.dimension = DIMENSION;
    batch.payload_bytes = NULL;
    expect(omen_client_upsert(client, &batch, &written) == OMEN_E_INVALID && written == 0,
           "payloads of no known length are not");
}

static void
read_some(omen_client_t client)
{
    static const uint64_t ids[] = {12, 99};
    omen_client_points_t points;
    omen_dtype dtype = 0;
    size_t bytes = 0;
    uint64_t count = 0;
    expect(omen_client_get(client, "from_c", ids, NULL, 2, OMEN_WITH_VECTOR | OMEN_WITH_PAYLOAD,
                           &points) == OMEN_OK,
           "points are read");
    expect(omen_client_points_count(points) == 2 && omen_client_points_found(points, 0) &&
               !omen_client_points_found(points, 1),
           "one is there, and one is not");
    expect(omen_client_points_id(points, 0) == 12 && omen_client_points_version(points, 0) > 0 &&
               omen_client_points_text_id(points, 0) == NULL,
           "it has its id");
    const void *vector = omen_client_points_vector(points, 0, &dtype, &bytes);
    expect(vector != NULL && dtype == OMEN_F32 && bytes == sizeof rows[2] &&
               memcmp(vector, rows[2], bytes) == 0,
           "it has its vector");
    expect(omen_client_points_payload(points, 0, &bytes) != NULL && bytes == 4,
           "it has its payload");
    omen_client_points_free(points);
    expect(omen_client_count(client, "from_c", NULL, &count) == OMEN_OK && count == 3, "all");
    expect(omen_client_count(client, "from_c", "a = 7", &count) == OMEN_OK && count == 2, "two");
    expect(omen_client_count(client, "from_c", "a =", &count) == OMEN_E_FILTER, "no filter");
}

static void
search_some(omen_client_t client)
{
    omen_client_query query = OMEN_CLIENT_QUERY_INIT;
    omen_client_points_t hits;
    int64_t ids[2 * 4];
    float distances[2 * 4];
    query.collection = "from_c";
    query.vectors = rows;
    query.dimension = DIMENSION;
    query.k = 2;
    query.consistency = OMEN_STRONG;
    expect(omen_client_search(client, &query, &hits) == OMEN_OK, "a search");
    expect(omen_client_points_count(hits) == 2 && omen_client_points_id(hits, 0) == 10 &&
               omen_client_points_distance(hits, 0) == 0.0f &&
               omen_client_points_distance(hits, 1) == 23.0f,
           "the nearest two");
    omen_client_points_free(hits);
    query.count = 2;
    query.k = 4;
    expect(omen_client_search_batch(client, &query, ids, distances) == OMEN_OK, "two at once");
    expect(ids[0] == 10 && ids[4] == 11 && ids[3] == -1 && isinf(distances[3]) &&
               distances[4] == 0.0f,
           "nearest first, -1 and infinity where there are fewer");
    query.k = 0;
    expect(omen_client_search(client, &query, &hits) == OMEN_E_K && hits == NULL, "no k");
    expect(omen_client_search_batch(client, &query, ids, distances) == OMEN_E_K, "nor of many");
    query.k = 10001;
    expect(omen_client_search(client, &query, &hits) == OMEN_E_K && hits == NULL, "k too large");
    query.k = 2;
    query.target_recall = 1.5;
    omen_client_failure failure;
    expect(omen_client_search(client, &query, &hits) == OMEN_E_INVALID, "more than all");
    omen_client_last_failure(&failure);
    expect(strstr(failure.message, "target_recall is 1.5") != NULL, "by its name");
}

// What was just written is read each time, however soon.
static void
read_in_a_session(omen_client_t client)
{
    enum { TURNS = 100 };
    static const uint8_t ask[] = "\x82\xaa"
                                 "collection\xa6"
                                 "from_c\xa3"
                                 "ids\x91\x0a";
    omen_client_batch batch = OMEN_CLIENT_BATCH_INIT;
    omen_client_points_t points;
    uint64_t count = 0, id = 10, before = 0;
    void *result;
    size_t bytes;
    batch.collection = "from_c";
    batch.count = 1;
    batch.ids = &id;
    batch.vectors = rows;
    batch.dimension = DIMENSION;
    for (int turn = 0; turn < TURNS; turn++) {
        expect(omen_client_upsert(client, &batch, NULL) == OMEN_OK, "a point is written again");
        expect(omen_client_get(client, "from_c", &id, NULL, 1, 0, &points) == OMEN_OK &&
                   omen_client_points_version(points, 0) > before,
               "and its newest version is read");
        before = omen_client_points_version(points, 0);
        omen_client_points_free(points);
    }
    expect(omen_client_get_as(client, OMEN_STRONG, "from_c", &id, NULL, 1, 0, &points) == OMEN_OK &&
               omen_client_points_version(points, 0) == before,
           "a strong read says the same");
    omen_client_points_free(points);
    expect(omen_client_count_as(client, OMEN_SESSION, "from_c", NULL, &count) == OMEN_OK &&
               count == ROWS,
           "a session counts");
    expect(omen_client_count_as(client, (omen_consistency)4, "from_c", NULL, &count) ==
                   OMEN_E_INVALID &&
               omen_client_get_as(client, (omen_consistency)-1, "from_c", &id, NULL, 1, 0,
                                  &points) == OMEN_E_INVALID &&
               points == NULL,
           "another consistency is none");
    expect(omen_client_call(client, "point.get", ask, sizeof ask - 1, 0, OMEN_CALL_SESSION, &result,
                            &bytes) == OMEN_OK,
           "any method is a session's where one says so");
    omen_client_free(result);
    omen_client_session_begin(client);
    expect(omen_client_count(client, "from_c", NULL, &count) == OMEN_OK, "another session begins");
}

static void
call_some(omen_client_t client)
{
    enum { CALLS = 20 };
    static const uint8_t nothing[] = {0x80}, broken[] = {0x81, 0xa1};
    omen_client_call_t calls[CALLS];
    void *result;
    size_t bytes;
    for (int i = 0; i < CALLS; i++)
        expect(omen_client_begin(client, "cluster.info", nothing, 1, 0, &calls[i]) == OMEN_OK,
               "many are on their way");
    for (int i = CALLS; i-- > 0;) {
        expect(omen_client_wait(calls[i], &result, &bytes) == OMEN_OK && bytes > 10, "all arrive");
        omen_client_free(result);
    }
    expect(omen_client_call(client, "collection.list", nothing, 1, 0, 0, &result, &bytes) ==
               OMEN_OK,
           "any method");
    omen_client_free(result);
    expect(omen_client_call(client, "no.method", nothing, 1, 0, 0, &result, &bytes) ==
                   OMEN_E_METHOD &&
               result == NULL,
           "no such method");
    expect(omen_client_call(client, "system.ping", broken, 2, 0, 0, &result, &bytes) ==
               OMEN_E_INVALID,
           "what is no msgpack is not sent");
    expect(omen_client_ping(client) == OMEN_OK, "and costs nobody else anything");
}

static void
delete_some(omen_client_t client)
{
    static const uint64_t ids[] = {10, 99};
    size_t deleted = 0;
    expect(omen_client_delete(client, "from_c", ids, NULL, 2, &deleted) == OMEN_OK && deleted == 1,
           "one was there");
    expect(omen_client_delete_where(client, "from_c", "a = 7", &deleted) == OMEN_OK && deleted == 1,
           "one matches");
    expect(omen_client_delete_where(client, "from_c", "", &deleted) == OMEN_E_INVALID,
           "no filter is not everything");
    expect(omen_client_collection_drop(client, "from_c") == OMEN_OK, "the collection goes");
    expect(omen_client_collection_drop(client, "from_c") == OMEN_E_NOT_FOUND, "once");
}

int
main(int argc, char **argv)
{
    omen_client_options options = OMEN_CLIENT_OPTIONS_INIT;
    omen_client_t client = NULL;
    options.endpoints = "127.0.0.1:1";
    if (argc != 2)
        return 2;
    expect(omen_client_open(&options, &client) == OMEN_CLIENT_E_UNREACHABLE && client == NULL,
           "where nobody is nobody answers");
    options.endpoints = argv[1];
    options.program = "tests/system/client.c";
    options.timeout_ms = 60000;
    options.consistency = (omen_consistency)4;
    expect(omen_client_open(&options, &client) == OMEN_E_INVALID, "no such consistency");
    options.struct_size = offsetof(omen_client_options, consistency); // as before there was any
    expect(omen_client_open(&options, &client) == OMEN_OK, "a client is opened by old options");
    omen_client_close(client);
    options.struct_size--;
    expect(omen_client_open(&options, &client) == OMEN_E_INVALID, "not by less than these");
    options.struct_size = sizeof options;
    options.consistency = OMEN_SESSION;
    expect(omen_client_open(&options, &client) == OMEN_OK, "a client is opened");
    expect(strcmp(omen_client_version(), "0.1.0") == 0, "it has a version");
    write_some(client);
    read_some(client);
    search_some(client);
    read_in_a_session(client);
    call_some(client);
    delete_some(client);
    omen_client_close(client);
    puts("fine");
    return 0;
}
