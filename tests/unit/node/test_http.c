// tests/unit/node/test_http.c -- who has asked nothing whole keeps nobody from the admin port.
#include "node/http.h"

#include "tests/lib/tcp_client.h"

static const char half[] = "GET /health/live HTTP/1.1\r\nHost: ";
static const char rest[] = "x\r\n\r\n";
static const char ok[] = "HTTP/1.1 200 OK\r\n", body[] = "\r\n\r\nok\n";

static struct http *http;

static void
no_metrics(void *context, struct metrics_text *text)
{
    (void)context;
    (void)text;
}

static const char *
it_is_so(void *context)
{
    (void)context;
    return NULL;
}

static void
setup(void)
{
    struct omen_error error = {0};
    struct http_config config = {
        .idle_seconds = 600, .metrics = no_metrics, .not_live = it_is_so, .not_ready = it_is_so};
    config.listen.ip[10] = config.listen.ip[11] = 0xff;
    config.listen.ip[12] = 127;
    config.listen.ip[15] = 1;
    ck_assert_msg(http_open(&config, &http, &error) == OMEN_OK, "%s", error.text);
}

static void
teardown(void)
{
    http_close(http);
}

static struct tcp_client
begin(void)
{
    struct tcp_client client = tcp_connect(http_port(http));
    tcp_send(&client, half, sizeof half - 1);
    return client;
}

static void
end(struct tcp_client *client)
{
    char said[512] = {0};
    size_t count = 0;
    tcp_send(client, rest, sizeof rest - 1);
    while (strstr(said, body) == NULL) {
        ck_assert_uint_lt(count, sizeof said - 1);
        const ssize_t more = recv(client->fd, said + count, sizeof said - 1 - count, 0);
        ck_assert_int_gt(more, 0);
        count += (size_t)more;
    }
    ck_assert_int_eq(strncmp(said, ok, sizeof ok - 1), 0);
}

static void
ask(struct tcp_client *client)
{
    *client = begin();
    end(client);
}

START_TEST(as_many_half_requests_as_may_be_are_waited_for)
{
    struct tcp_client clients[HTTP_CONNECTIONS_MAX];
    for (uint32_t i = 0; i + 1 < HTTP_CONNECTIONS_MAX; i++)
        clients[i] = begin();
    ask(&clients[HTTP_CONNECTIONS_MAX - 1]); // is the last place; so all are there
    for (uint32_t i = 0; i + 1 < HTTP_CONNECTIONS_MAX; i++)
        end(&clients[i]);
    for (uint32_t i = 0; i < HTTP_CONNECTIONS_MAX; i++)
        tcp_leave(&clients[i]);
}
END_TEST

START_TEST(for_one_more_the_oldest_of_them_makes_room)
{
    struct tcp_client first, more[3], clients[HTTP_CONNECTIONS_MAX];
    ask(&first); // has been there longest, but has asked
    for (uint32_t i = 1; i < HTTP_CONNECTIONS_MAX; i++)
        clients[i] = begin();
    for (uint32_t i = 0; i < 3; i++) {
        ask(&more[i]);
        tcp_expect_end(&clients[1 + i]);
    }
    tcp_send(&first, half, sizeof half - 1);
    end(&first);
    for (uint32_t i = 4; i < HTTP_CONNECTIONS_MAX; i++) {
        end(&clients[i]);
        tcp_leave(&clients[i]);
    }
    for (uint32_t i = 0; i < 3; i++) {
        tcp_leave(&clients[1 + i]);
        tcp_leave(&more[i]);
    }
    tcp_leave(&first);
}
END_TEST

START_TEST(where_all_have_asked_the_oldest_makes_room)
{
    struct tcp_client clients[HTTP_CONNECTIONS_MAX + 1];
    for (uint32_t i = 0; i <= HTTP_CONNECTIONS_MAX; i++)
        ask(&clients[i]);
    tcp_expect_end(&clients[0]);
    for (uint32_t i = 0; i <= HTTP_CONNECTIONS_MAX; i++)
        tcp_leave(&clients[i]);
}
END_TEST

static Suite *
http_suite(void)
{
    Suite *suite = suite_create("node/http");
    TCase *tcase = tcase_create("http");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, as_many_half_requests_as_may_be_are_waited_for);
    tcase_add_test(tcase, for_one_more_the_oldest_of_them_makes_room);
    tcase_add_test(tcase, where_all_have_asked_the_oldest_makes_room);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(http_suite)
