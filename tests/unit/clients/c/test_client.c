// tests/unit/clients/c/test_client.c -- requests on their way: in any order, broken off, refused, late, and tried again.
//
// Labels: tsan
#include "clients/c/client.h"

#include "base/os_clock.h"
#include "base/os_thread.h"
#include "base/text.h"
#include "clients/c/session.h"
#include "tests/lib/fake_node.h"

#define NS_PER_S 1000000000ull
#define PATIENT_MS (TCP_PATIENCE_S * 1000u)

static struct fake_node node, other; // of the client's endpoints the first and the second
static struct client *client;        // NULL: closed

static void
setup(void)
{
    node = fake_node_open();
    other = fake_node_open();
    client = NULL;
}

static void
teardown(void)
{
    client_close(client);
    fake_node_close(&node);
    fake_node_close(&other);
}

static void
connect_to(uint32_t nodes, const char *key)
{
    char endpoints[64];
    struct client_error error = {0};
    struct text text;
    text_init(&text, endpoints, sizeof endpoints);
    text_add(&text, "127.0.0.1:%u", node.port);
    if (nodes == 2)
        text_add(&text, ",127.0.0.1:%u", other.port);
    const struct client_config config = {
        .endpoints = endpoints, .api_key = key, .program = "test", .timeout_ms = PATIENT_MS};
    ck_assert_msg(client_open(&config, &client, &error) == OMEN_OK, "%s", error.text);
}

static struct flight *
begin_for(uint64_t timeout_ns)
{
    static const uint8_t nothing[] = {0x80};
    const struct client_ask ask = {.method = wire_text_of("alias.drop"),
                                   .params = {nothing, sizeof nothing}};
    const uint64_t now_ns = os_clock_ns();
    struct flight *flight = client_begin(client, &ask, now_ns, now_ns + timeout_ns);
    ck_assert_ptr_nonnull(flight);
    return flight;
}

static struct flight *
begin(void)
{
    return begin_for(60 * NS_PER_S);
}

// One that the first node has welcomed and heard.
static struct flight *
begin_heard(uint32_t *id)
{
    connect_to(1, NULL);
    struct flight *flight = begin();
    fake_node_greet(&node, NULL);
    *id = fake_node_hear(&node).id;
    return flight;
}

static void
end_fine(struct flight *flight, uint64_t version)
{
    struct client_reply reply;
    struct client_error error = {0};
    struct api_changed answer;
    ck_assert_msg(client_end(flight, &reply, &error) == OMEN_OK, "%s", error.text);
    ck_assert_int_eq(client_read_answer(&reply, method_at(METHOD_ALIAS_DROP), &answer, &error),
                     OMEN_OK);
    ck_assert_uint_eq(answer.version, version);
    client_reply_fini(&reply);
}

static struct client_error
end_badly(struct flight *flight)
{
    struct client_reply reply;
    struct client_error error = {0};
    ck_assert_int_ne(client_end(flight, &reply, &error), OMEN_OK);
    ck_assert_ptr_null(reply.frame);
    return error;
}

static void
answer(struct fake_node *by, uint32_t id, uint64_t version)
{
    const struct api_changed changed = {.version = version};
    fake_node_answer(by, id, METHOD_ALIAS_DROP, &changed);
}

// ---- a caller that waits, beside the test, which plays the node ----

struct caller {
    enum method_number method;
    union method_body ask, answer;
    struct client_reply reply;
    struct client_error error;
    omen_status status;
    pthread_t thread;
};

static void *
caller_main(void *argument)
{
    struct caller *caller = argument;
    caller->status = client_call_method(client, caller->method, &caller->ask, &caller->reply,
                                        &caller->answer, &caller->error);
    return NULL;
}

static void
caller_start(struct caller *caller, enum method_number method, const void *ask)
{
    *caller = (struct caller){.method = method};
    memcpy(&caller->ask, ask, method_at(method)->ask->bytes);
    ck_assert_int_eq(os_thread_start(&caller->thread, caller_main, caller), 0);
}

// Once more, over a new line.
static struct fake_ask
break_and_hear(void)
{
    tcp_reset(&node.conn);
    node.conn.fd = -1;
    fake_node_greet(&node, NULL);
    return fake_node_hear(&node);
}

static void
caller_join(struct caller *caller)
{
    ck_assert_int_eq(pthread_join(caller->thread, NULL), 0);
    client_reply_fini(&caller->reply);
}

static const struct wire_id one_id = {.given = 1, .number = 1};

static struct api_point_delete
a_write(void)
{
    return (struct api_point_delete){.collection = wire_text_of("docs"),
                                     .ids = {.count = 1, .items = &one_id}};
}

// ---- hello ----

START_TEST(hello_says_who_asks_and_that_errors_shall_be_maps)
{
    connect_to(1, "root.secret");
    struct fake_ask hello;
    struct api_hello said;
    struct flight *flight = begin();
    fake_node_greet(&node, &hello);
    fake_node_read(&hello, &said);
    ck_assert_uint_eq(said.errors, API_ERRORS_MAP);
    ck_assert_uint_eq(said.client.count, 4);
    ck_assert_uint_eq(said.api_key.count, 11);
    ck_assert_int_eq(memcmp(said.api_key.bytes, "root.secret", 11), 0);
    answer(&node, fake_node_hear(&node).id, 7);
    end_fine(flight, 7);
}
END_TEST

START_TEST(a_key_that_is_refused_ends_what_waits_with_auth)
{
    connect_to(1, "wrong");
    struct flight *flight = begin();
    fake_node_accept(&node);
    fake_node_refuse(&node, fake_node_hear(&node).id, OMEN_E_AUTH, API_NOT_APPLIED);
    const struct client_error error = end_badly(flight);
    ck_assert_int_eq(error.status, OMEN_E_AUTH);
    ck_assert_uint_eq(error.outcome, API_NOT_APPLIED);
    ck_assert_uint_eq(error.retryable, 0);
    ck_assert_str_eq(error.text, "on demand");
}
END_TEST

// ---- answers ----

START_TEST(pipelined_requests_take_their_answers_in_any_order)
{
    connect_to(1, NULL);
    struct flight *flights[3];
    uint32_t ids[3];
    flights[0] = begin();
    fake_node_greet(&node, NULL);
    ids[0] = fake_node_hear(&node).id;
    for (int i = 1; i < 3; i++) {
        flights[i] = begin();
        ids[i] = fake_node_hear(&node).id;
    }
    answer(&node, ids[2], 102);
    answer(&node, 4000000, 1); // nobody's
    answer(&node, ids[0], 100);
    answer(&node, ids[1], 101);
    for (uint32_t i = 0; i < 3; i++)
        end_fine(flights[i], 100 + i);
}
END_TEST

START_TEST(no_more_is_on_its_way_than_the_welcome_allows)
{
    // The welcome allows 4.
    connect_to(1, NULL);
    struct flight *flights[6];
    uint32_t ids[6];
    for (int i = 0; i < 6; i++)
        flights[i] = begin();
    fake_node_greet(&node, NULL);
    for (int i = 0; i < 4; i++)
        ids[i] = fake_node_hear(&node).id;
    ck_assert_int_lt(recv(node.conn.fd, &(uint8_t){0}, 1, MSG_DONTWAIT), 0);
    for (uint32_t i = 0; i < 2; i++) {
        answer(&node, ids[i], i);
        ids[4 + i] = fake_node_hear(&node).id;
    }
    for (uint32_t i = 2; i < 6; i++)
        answer(&node, ids[i], i);
    for (uint32_t i = 0; i < 6; i++)
        end_fine(flights[i], i);
}
END_TEST

START_TEST(an_error_comes_with_its_name_its_outcome_and_whether_to_try_again)
{
    uint32_t id;
    struct flight *flight = begin_heard(&id);
    fake_node_refuse(&node, id, OMEN_E_BUSY, API_NOT_APPLIED);
    const struct client_error error = end_badly(flight);
    ck_assert_int_eq(error.status, OMEN_E_BUSY);
    ck_assert_str_eq(error.name, "BUSY");
    ck_assert_uint_eq(error.outcome, API_NOT_APPLIED);
    ck_assert_uint_eq(error.retryable, 1);
}
END_TEST

// ---- lines that break ----

START_TEST(what_is_on_its_way_when_the_line_breaks_ends_as_unknown)
{
    uint32_t id;
    struct flight *flight = begin_heard(&id);
    tcp_reset(&node.conn);
    const struct client_error error = end_badly(flight);
    ck_assert_int_eq(error.status, CLIENT_E_UNREACHABLE);
    ck_assert_str_eq(error.name, "UNREACHABLE");
    ck_assert_uint_eq(error.outcome, API_UNKNOWN);
}
END_TEST

START_TEST(where_nobody_listens_the_next_endpoint_is_asked)
{
    connect_to(2, NULL);
    fake_node_close(&node);
    struct flight *flight = begin();
    fake_node_greet(&other, NULL);
    answer(&other, fake_node_hear(&other).id, 1);
    end_fine(flight, 1);
}
END_TEST

START_TEST(where_nobody_listens_anywhere_nothing_was_done)
{
    connect_to(2, NULL);
    fake_node_close(&node);
    fake_node_close(&other);
    const struct client_error error = end_badly(begin());
    ck_assert_int_eq(error.status, CLIENT_E_UNREACHABLE);
    ck_assert_uint_eq(error.outcome, API_NOT_APPLIED);
    ck_assert_msg(strstr(error.text, "nor any other endpoint") != NULL, "%s", error.text);
}
END_TEST

START_TEST(a_node_that_does_not_answer_in_time_is_left_for_the_next)
{
    connect_to(2, NULL);
    struct flight *flight = begin();
    fake_node_greet(&node, NULL);
    answer(&node, fake_node_hear(&node).id, 1);
    end_fine(flight, 1);
    flight = begin_for(NS_PER_S); // which is sent at once, now that the line is open
    (void)fake_node_hear(&node);
    const struct client_error error = end_badly(flight);
    ck_assert_int_eq(error.status, OMEN_E_TIMEOUT);
    ck_assert_uint_eq(error.outcome, API_UNKNOWN);
    flight = begin();
    fake_node_greet(&other, NULL);
    answer(&other, fake_node_hear(&other).id, 2);
    end_fine(flight, 2);
}
END_TEST

START_TEST(who_speaks_another_protocol_is_left)
{
    connect_to(1, NULL);
    struct flight *flight = begin();
    fake_node_accept(&node);
    (void)fake_node_hear(&node);
    tcp_send(&node.conn, "HTTP/1.1 400 Bad Request\r\n", 26);
    const struct client_error error = end_badly(flight);
    ck_assert_int_eq(error.status, CLIENT_E_UNREACHABLE);
    ck_assert_msg(strstr(error.text, "no answer of msgpack-RPC") != NULL, "%s", error.text);
}
END_TEST

START_TEST(closing_ends_what_is_on_its_way)
{
    uint32_t id;
    struct flight *sent = begin_heard(&id);
    client_close(client);
    client = NULL;
    ck_assert_int_eq(end_badly(sent).status, OMEN_E_CLOSED);
}
END_TEST

// ---- trying again ----

START_TEST(a_write_is_tried_again_under_the_same_name_when_its_line_breaks)
{
    connect_to(1, NULL);
    const struct api_point_delete ask = a_write();
    struct api_point_delete first, second;
    struct caller caller;
    caller_start(&caller, METHOD_POINT_DELETE, &ask);
    fake_node_greet(&node, NULL);
    const struct fake_ask heard = fake_node_hear(&node);
    fake_node_read(&heard, &first);
    const struct fake_ask again = break_and_hear();
    fake_node_read(&again, &second);
    ck_assert_uint_ne(first.op_id.high | first.op_id.low, 0);
    ck_assert_uint_eq(first.op_id.high >> 12 & 15, 7); // a UUIDv7
    ck_assert_uint_eq(first.op_id.low >> 62, 2);
    ck_assert_uint_eq(first.op_id.high, second.op_id.high);
    ck_assert_uint_eq(first.op_id.low, second.op_id.low);
    ck_assert_uint_eq(first.deadline_ms, PATIENT_MS);
    const struct api_written written = {.count = 1};
    fake_node_answer(&node, again.id, METHOD_POINT_DELETE, &written);
    caller_join(&caller);
    ck_assert_int_eq(caller.status, OMEN_OK);
}
END_TEST

// What a read of a session has asked with; it is answered with that token.
static struct api_point_get
hear_get(uint8_t asked, const struct wire_token *told)
{
    const struct api_point_get ask = {.collection = wire_text_of("docs"),
                                      .consistency = asked,
                                      .ids = {.count = 1, .items = &one_id}};
    struct api_point_get said;
    struct caller caller;
    caller_start(&caller, METHOD_POINT_GET, &ask);
    const struct fake_ask heard = fake_node_hear(&node);
    fake_node_read(&heard, &said);
    const struct api_points points = {.token = {.count = told != NULL, .items = told}};
    fake_node_answer(&node, heard.id, METHOD_POINT_GET, &points);
    caller_join(&caller);
    ck_assert_int_eq(caller.status, OMEN_OK);
    struct api_point_get found = {.consistency = said.consistency,
                                  .after = {.count = said.after.count}};
    struct list_cursor cursor;
    static struct wire_token first;
    token_begin(&cursor, &said.after);
    if (list_next(&cursor, &first))
        found.after.items = &first;
    return found;
}

START_TEST(a_read_of_a_session_asks_for_what_writes_and_reads_have_seen)
{
    static const struct wire_token written = {7, 2, 30}, read = {7, 2, 31};
    connect_to(1, NULL);
    const struct api_point_delete ask = a_write();
    struct caller caller;
    caller_start(&caller, METHOD_POINT_DELETE, &ask);
    fake_node_greet(&node, NULL);
    const struct fake_ask heard = fake_node_hear(&node);
    const struct api_written done = {.count = 1, .token = {.count = 1, .items = &written}};
    fake_node_answer(&node, heard.id, METHOD_POINT_DELETE, &done);
    caller_join(&caller);
    ck_assert_int_eq(caller.status, OMEN_OK);

    struct api_point_get said = hear_get(API_SESSION, &read);
    ck_assert_uint_eq(said.consistency, API_SESSION);
    ck_assert_uint_eq(said.after.count, 1);
    ck_assert_uint_eq(((const struct wire_token *)said.after.items)->seq, 30);
    said = hear_get(API_SESSION, NULL);
    ck_assert_uint_eq(((const struct wire_token *)said.after.items)->seq, 31);
    said = hear_get(API_STRONG, NULL);
    ck_assert_uint_eq(said.consistency, API_STRONG);
    ck_assert_uint_eq(said.after.count, 0);
    said = hear_get(0, NULL);
    ck_assert_uint_eq(said.consistency, 0);
    session_forget(client_session(client));
    said = hear_get(API_SESSION, NULL);
    ck_assert_uint_eq(said.consistency, API_EVENTUAL);
    ck_assert_uint_eq(said.after.count, 0);
}
END_TEST

// An hour behind, by the node's clock; it goes on from there.
START_TEST(operations_are_drawn_by_the_clock_of_the_node_that_was_met)
{
    const uint64_t told_ms = os_ms_since_1970() - 3600000, begun_ns = os_clock_ns();
    const struct api_point_delete ask = a_write();
    const struct api_written written = {.count = 1};
    node.time_ms = told_ms;
    connect_to(1, NULL);
    ck_assert(!client_has_met(client));
    for (uint32_t i = 0; i < 2; i++) { // the first of them before a node was met
        struct api_point_delete heard;
        struct caller caller;
        caller_start(&caller, METHOD_POINT_DELETE, &ask);
        if (i == 0)
            fake_node_greet(&node, NULL);
        const struct fake_ask said = fake_node_hear(&node);
        fake_node_read(&said, &heard);
        fake_node_answer(&node, said.id, METHOD_POINT_DELETE, &written);
        caller_join(&caller);
        ck_assert_int_eq(caller.status, OMEN_OK);
        ck_assert_uint_ge(heard.op_id.high >> 16, told_ms);
        ck_assert_uint_le(heard.op_id.high >> 16,
                          told_ms + (os_clock_ns() - begun_ns) / 1000000 + 1);
    }
    ck_assert(client_has_met(client));
}
END_TEST

START_TEST(a_node_that_says_no_time_is_of_an_older_version_and_ours_is_taken)
{
    connect_to(1, NULL);
    const uint64_t before_ms = os_ms_since_1970();
    ck_assert_uint_ge(client_now_ms(client), before_ms);
    struct flight *flight = begin();
    fake_node_greet(&node, NULL);
    answer(&node, fake_node_hear(&node).id, 1);
    end_fine(flight, 1);
    ck_assert(client_has_met(client));
    const struct wire_uuid drawn = client_op_id(client);
    ck_assert_uint_ge(drawn.high >> 16, before_ms);
    ck_assert_uint_le(drawn.high >> 16, os_ms_since_1970());
}
END_TEST

START_TEST(a_write_that_meets_nobody_has_done_nothing)
{
    struct client_error error;
    struct client_reply reply;
    struct api_written written;
    const struct client_ask how = {.impatient = 1};
    struct api_point_delete ask = a_write();
    fake_node_close(&node);
    connect_to(1, NULL);
    ck_assert_int_eq(client_meet(client, &how, &error), CLIENT_E_UNREACHABLE);
    ask.deadline_ms = 50;
    ck_assert_int_ne(
        client_call_method(client, METHOD_POINT_DELETE, &ask, &reply, &written, &error), OMEN_OK);
    ck_assert_int_eq(error.outcome, API_NOT_APPLIED);
}
END_TEST

// It has just started, and does not know the key yet.
START_TEST(a_hello_that_is_told_busy_is_said_again)
{
    const struct api_point_delete ask = a_write();
    const struct api_written written = {.count = 1};
    struct caller caller;
    connect_to(1, "ops.s3cret");
    caller_start(&caller, METHOD_POINT_DELETE, &ask);
    fake_node_accept(&node);
    const struct fake_ask hello = fake_node_hear(&node);
    ck_assert_str_eq(hello.method, "system.hello");
    fake_node_refuse(&node, hello.id, OMEN_E_BUSY, API_NOT_APPLIED);
    fake_node_greet(&node, NULL);
    const struct fake_ask said = fake_node_hear(&node);
    fake_node_answer(&node, said.id, METHOD_POINT_DELETE, &written);
    caller_join(&caller);
    ck_assert_int_eq(caller.status, OMEN_OK);
}
END_TEST

START_TEST(a_change_of_the_cluster_is_the_same_in_each_of_its_tries)
{
    connect_to(1, NULL);
    const struct api_key_create ask = {.name = wire_text_of("ci"), .role = API_KEY_READ};
    struct api_key_create first, second;
    struct caller caller;
    caller_start(&caller, METHOD_KEY_CREATE, &ask);
    fake_node_greet(&node, NULL);
    const struct fake_ask heard = fake_node_hear(&node);
    fake_node_read(&heard, &first);
    const struct fake_ask again = break_and_hear();
    fake_node_read(&again, &second);
    ck_assert_uint_ne(first.op_id.high, 0);
    ck_assert_uint_ne(first.seed.low, 0);
    ck_assert_mem_eq(&first.op_id, &second.op_id, sizeof first.op_id);
    ck_assert_mem_eq(&first.seed, &second.seed, sizeof first.seed);
    const struct api_key_made made = {.name = ask.name, .api_key = wire_text_of("ci.0")};
    fake_node_answer(&node, again.id, METHOD_KEY_CREATE, &made);
    caller_join(&caller);
    ck_assert_int_eq(caller.status, OMEN_OK);
}
END_TEST

START_TEST(what_may_not_happen_twice_is_not_tried_again_when_its_line_breaks)
{
    connect_to(1, NULL);
    const struct api_join ask = {.address = wire_text_of("127.0.0.1:7701")};
    struct caller caller;
    caller_start(&caller, METHOD_CLUSTER_JOIN, &ask);
    fake_node_greet(&node, NULL);
    (void)fake_node_hear(&node);
    tcp_reset(&node.conn);
    node.conn.fd = -1;
    caller_join(&caller);
    ck_assert_int_eq(caller.status, CLIENT_E_UNREACHABLE);
    ck_assert_uint_eq(caller.error.outcome, API_UNKNOWN);
}
END_TEST

START_TEST(what_an_earlier_try_left_open_stays_open)
{
    static const struct {
        omen_status status;
        enum api_outcome outcome;
    } cases[] = {{OMEN_E_INVALID, API_UNKNOWN},
                 {OMEN_E_EXISTS, API_NOT_APPLIED},
                 {OMEN_E_NOT_FOUND, API_NOT_APPLIED},
                 {OMEN_E_CONFLICT, API_NOT_APPLIED}};
    connect_to(1, NULL);
    const struct api_point_delete ask = a_write();
    struct caller caller;
    caller_start(&caller, METHOD_POINT_DELETE, &ask);
    fake_node_greet(&node, NULL);
    (void)fake_node_hear(&node);
    fake_node_refuse(&node, break_and_hear().id, cases[_i].status, API_NOT_APPLIED);
    caller_join(&caller);
    ck_assert_int_eq(caller.status, cases[_i].status);
    ck_assert_uint_eq(caller.error.outcome, cases[_i].outcome);
}
END_TEST

START_TEST(what_the_server_calls_retryable_is_tried_again)
{
    connect_to(1, NULL);
    const struct api_alias_drop ask = {.alias = wire_text_of("a")};
    struct caller caller;
    caller_start(&caller, METHOD_ALIAS_DROP, &ask);
    fake_node_greet(&node, NULL);
    for (int i = 0; i < 3; i++)
        fake_node_refuse(&node, fake_node_hear(&node).id, OMEN_E_BUSY, API_NOT_APPLIED);
    answer(&node, fake_node_hear(&node).id, 5);
    caller_join(&caller);
    ck_assert_int_eq(caller.status, OMEN_OK);
    ck_assert_uint_eq(((const struct api_changed *)(const void *)&caller.answer)->version, 5);
}
END_TEST

START_TEST(who_is_told_when_to_come_again_waits_so_long)
{
    enum { WAIT_MS = 250 };
    connect_to(1, NULL);
    const struct api_alias_drop ask = {.alias = wire_text_of("a")};
    struct caller caller;
    caller_start(&caller, METHOD_ALIAS_DROP, &ask);
    fake_node_greet(&node, NULL);
    const uint32_t first = fake_node_hear(&node).id;
    const uint64_t refused_ns = os_clock_ns();
    fake_node_refuse_for(&node, first, WAIT_MS);
    const uint32_t second = fake_node_hear(&node).id;
    ck_assert_uint_ge(os_clock_ns() - refused_ns, WAIT_MS * UINT64_C(1000000));
    fake_node_refuse_for(&node, second, UINT32_MAX); // longer than there is: that is the answer
    caller_join(&caller);
    ck_assert_int_eq(caller.status, OMEN_E_BUSY);
    ck_assert_uint_eq(caller.error.retry_after_ms, UINT32_MAX);
    ck_assert_uint_lt(os_clock_ns() - refused_ns, PATIENT_MS * UINT64_C(1000000));
}
END_TEST

// The node would close the line, on which another request waits for its answer.
START_TEST(a_request_that_is_too_long_for_its_node_is_not_sent_and_the_line_stays)
{
    static uint8_t long_text[3000];
    const struct client_ask ask = {.method = wire_text_of("alias.drop"),
                                   .params = {long_text, sizeof long_text}};
    node.frame_bytes = 2000;
    uint32_t id;
    struct flight *beside = begin_heard(&id);
    const uint64_t now_ns = os_clock_ns();
    struct flight *longer = client_begin(client, &ask, now_ns, now_ns + 60 * NS_PER_S);
    const struct client_error error = end_badly(longer);
    ck_assert_int_eq(error.status, OMEN_E_INVALID);
    ck_assert_uint_eq(error.outcome, API_NOT_APPLIED);
    ck_assert_msg(strstr(error.text, "the node takes 2000") != NULL, "%s", error.text);
    answer(&node, id, 4);
    end_fine(beside, 4);
}
END_TEST

START_TEST(where_a_node_routes_by_an_old_map_the_next_one_is_asked)
{
    connect_to(2, NULL);
    const struct api_alias_drop ask = {.alias = wire_text_of("a")};
    struct caller caller;
    caller_start(&caller, METHOD_ALIAS_DROP, &ask);
    fake_node_greet(&node, NULL);
    const uint32_t first = fake_node_hear(&node).id;
    struct flight *beside = begin();
    const uint32_t second = fake_node_hear(&node).id;
    fake_node_refuse(&node, first, OMEN_E_STALE_MAP, API_NOT_APPLIED);
    answer(&node, second, 2); // what is on its way there is not broken off
    end_fine(beside, 2);
    fake_node_greet(&other, NULL);
    answer(&other, fake_node_hear(&other).id, 5);
    caller_join(&caller);
    ck_assert_int_eq(caller.status, OMEN_OK);
    struct flight *later = begin();
    answer(&other, fake_node_hear(&other).id, 6); // and it stays there
    end_fine(later, 6);
}
END_TEST

START_TEST(the_only_node_there_is_is_asked_again_although_its_map_is_old)
{
    connect_to(1, NULL);
    const struct api_alias_drop ask = {.alias = wire_text_of("a")};
    struct caller caller;
    caller_start(&caller, METHOD_ALIAS_DROP, &ask);
    fake_node_greet(&node, NULL);
    fake_node_refuse(&node, fake_node_hear(&node).id, OMEN_E_STALE_MAP, API_NOT_APPLIED);
    answer(&node, fake_node_hear(&node).id, 5);
    caller_join(&caller);
    ck_assert_int_eq(caller.status, OMEN_OK);
}
END_TEST

START_TEST(what_the_server_calls_final_is_not_tried_again)
{
    connect_to(1, NULL);
    const struct api_point_delete ask = a_write();
    struct caller caller;
    caller_start(&caller, METHOD_POINT_DELETE, &ask);
    fake_node_greet(&node, NULL);
    fake_node_refuse(&node, fake_node_hear(&node).id, OMEN_E_NOT_FOUND, API_NOT_APPLIED);
    caller_join(&caller);
    ck_assert_int_eq(caller.status, OMEN_E_NOT_FOUND);
    ck_assert_str_eq(caller.error.name, "NOT_FOUND");
}
END_TEST

START_TEST(numbers_beyond_the_protocols_limits_are_refused_before_anything_is_sent)
{
    connect_to(1, NULL);
    const struct api_query_search ask = {
        .collection = wire_text_of("docs"), .id = one_id, .k = 10001};
    struct api_hits hits;
    struct client_reply reply;
    struct client_error error = {0};
    ck_assert_int_eq(client_call_method(client, METHOD_QUERY_SEARCH, &ask, &reply, &hits, &error),
                     OMEN_E_K);
    ck_assert_msg(strstr(error.text, "query.search: k is 10001") != NULL, "%s", error.text);
}
END_TEST

static Suite *
client_suite(void)
{
    Suite *suite = suite_create("clients/c/client");
    TCase *tests = tcase_create("client");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, hello_says_who_asks_and_that_errors_shall_be_maps);
    tcase_add_test(tests, a_key_that_is_refused_ends_what_waits_with_auth);
    tcase_add_test(tests, pipelined_requests_take_their_answers_in_any_order);
    tcase_add_test(tests, no_more_is_on_its_way_than_the_welcome_allows);
    tcase_add_test(tests, an_error_comes_with_its_name_its_outcome_and_whether_to_try_again);
    tcase_add_test(tests, what_is_on_its_way_when_the_line_breaks_ends_as_unknown);
    tcase_add_test(tests, where_nobody_listens_the_next_endpoint_is_asked);
    tcase_add_test(tests, where_nobody_listens_anywhere_nothing_was_done);
    tcase_add_test(tests, a_node_that_does_not_answer_in_time_is_left_for_the_next);
    tcase_add_test(tests, who_speaks_another_protocol_is_left);
    tcase_add_test(tests, closing_ends_what_is_on_its_way);
    tcase_add_test(tests, a_write_is_tried_again_under_the_same_name_when_its_line_breaks);
    tcase_add_test(tests, a_read_of_a_session_asks_for_what_writes_and_reads_have_seen);
    tcase_add_test(tests, operations_are_drawn_by_the_clock_of_the_node_that_was_met);
    tcase_add_test(tests, a_node_that_says_no_time_is_of_an_older_version_and_ours_is_taken);
    tcase_add_test(tests, a_write_that_meets_nobody_has_done_nothing);
    tcase_add_test(tests, a_hello_that_is_told_busy_is_said_again);
    tcase_add_test(tests, a_change_of_the_cluster_is_the_same_in_each_of_its_tries);
    tcase_add_test(tests, what_may_not_happen_twice_is_not_tried_again_when_its_line_breaks);
    tcase_add_loop_test(tests, what_an_earlier_try_left_open_stays_open, 0, 4);
    tcase_add_test(tests, what_the_server_calls_retryable_is_tried_again);
    tcase_add_test(tests, who_is_told_when_to_come_again_waits_so_long);
    tcase_add_test(tests, a_request_that_is_too_long_for_its_node_is_not_sent_and_the_line_stays);
    tcase_add_test(tests, where_a_node_routes_by_an_old_map_the_next_one_is_asked);
    tcase_add_test(tests, the_only_node_there_is_is_asked_again_although_its_map_is_old);
    tcase_add_test(tests, what_the_server_calls_final_is_not_tried_again);
    tcase_add_test(tests, numbers_beyond_the_protocols_limits_are_refused_before_anything_is_sent);
    suite_add_tcase(suite, tests);
    return suite;
}

CHECK_MAIN(client_suite)
