// bench/rpc.c -- what the way to a node costs: searches of 384 dimensions (1.6 KB) that are sent back as they came.
//
// Shape: shell. usage: omen_rpc_bench [requests]        (50,000)
//
// The client is another process with a plain blocking socket. "callback" answers at once on the thread that read the request;
// "thread" hands it to another one, as a node's loop would be. Microseconds of one request: median and 99 of 100; and how many in a
// second. On a machine with few cores the client takes a part of them.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os_lock.h"
#include "base/os_thread.h"
#include "base/os_wait.h"
#include "bench/clock.h"
#include "wire/rpc_server.h"

enum { DIMENSION = 384, WARM = 2000, WINDOW_MAX = 64 };

struct asked {
    struct asked *next;
    struct rpc_conn *conn;
    struct rpc_request request;
};

static struct lock lock = LOCK_INIT;
static struct asked *first, **last = &first;
static _Atomic uint32_t asked_count;
static bool by_thread;

// ---- the server ----

static void
echo(struct rpc_conn *conn, const struct rpc_request *request)
{
    struct encode answer;
    encode_init(&answer, 1u << 20);
    encode_array(&answer, 4);
    encode_u64(&answer, RPC_ANSWER);
    encode_u64(&answer, request->id);
    encode_nil(&answer);
    encode_raw(&answer, request->params.bytes, request->params.count);
    rpc_conn_answer(conn, request->id, &answer);
    mem_free(request->frame);
    rpc_conn_release(conn);
}

static void
take(void *context, struct rpc_conn *conn, const struct rpc_request *request)
{
    (void)context;
    if (!by_thread) {
        echo(conn, request);
        return;
    }
    struct asked *asked = mem_alloc(sizeof *asked);
    if (asked == NULL)
        die("no memory");
    *asked = (struct asked){.conn = conn, .request = *request};
    lock_acquire(&lock);
    *last = asked;
    last = &asked->next;
    lock_release(&lock);
    atomic_fetch_add(&asked_count, 1);
    os_wake_all(&asked_count);
}

static void *
answer_all(void *unused)
{
    (void)unused;
    for (;;) {
        const uint32_t count = atomic_load(&asked_count);
        lock_acquire(&lock);
        struct asked *asked = first;
        first = NULL;
        last = &first;
        lock_release(&lock);
        if (asked == NULL)
            os_wait(&asked_count, count);
        while (asked != NULL) {
            struct asked *next = asked->next;
            echo(asked->conn, &asked->request);
            mem_free(asked);
            asked = next;
        }
    }
    return NULL;
}

static void
gone(void *context, struct rpc_conn *conn)
{
    (void)context;
    (void)conn;
}

static void
welcome(void *context, struct api_welcome *out)
{
    (void)context;
    out->version = out->cluster = wire_text_of("bench");
}

// ---- the client ----

static double times_us[1u << 22];
static double sent_s[WINDOW_MAX];
static uint8_t buffer[1u << 20];

// Keeps `window` requests in flight, of equal size as their answers are.
static void
measure(int fd, size_t requests, size_t window, const char *how)
{
    static const uint8_t key[] = "\x94\x00\xcc"; // the id is one byte here: its place in the window
    float vector[DIMENSION];
    for (uint32_t i = 0; i < DIMENSION; i++)
        vector[i] = (float)i;
    struct encode encode;
    encode_init(&encode, 1u << 20);
    const struct api_query_search search = {
        .collection = wire_text_of("docs"),
        .vector = {.form = VECTORS_RAW,
                   .dtype = WIRE_F32,
                   .count = 1,
                   .bytes = {(const uint8_t *)vector, sizeof vector}},
        .k = 10,
    };
    rpc_write_ask(&encode, 200, method_at(METHOD_QUERY_SEARCH), &search);
    if (encode.status != OMEN_OK || memcmp(encode.bytes, key, sizeof key - 1) != 0)
        die("the request is not as expected");

    static const struct decode_limits limits = {
        .bytes_max = 1u << 20, .depth_max = 24, .nodes_max = 65536};
    struct frame frame;
    frame_init(&frame, &limits);
    size_t there = 0, sent = 0, answered = 0;
    const double begin_s = clock_s(CLOCK_MONOTONIC);
    double warm_s = begin_s;
    while (answered < requests + WARM) {
        while (sent < requests + WARM && sent - answered < window) {
            encode.bytes[3] = (uint8_t)(128 + sent % window);
            sent_s[sent % window] = clock_s(CLOCK_MONOTONIC);
            if (send(fd, encode.bytes, encode.count, 0) != (ssize_t)encode.count)
                die("send failed");
            sent++;
        }
        const ssize_t came = recv(fd, buffer + there, sizeof buffer - there, 0);
        if (came <= 0)
            die("receive failed");
        there += (size_t)came;
        size_t at = 0, bytes;
        while (frame_find(&frame, buffer + at, there - at, &bytes) == FRAME_WHOLE) {
            const double now_s = clock_s(CLOCK_MONOTONIC);
            const size_t id = buffer[at + 3] - 128u;
            if (answered >= WARM)
                times_us[answered - WARM] = (now_s - sent_s[id]) * 1e6;
            else
                warm_s = now_s;
            answered++;
            at += bytes;
        }
        memmove(buffer, buffer + at, there - at);
        there -= at;
    }
    const double took_s = clock_s(CLOCK_MONOTONIC) - warm_s;
    qsort(times_us, requests, sizeof times_us[0], by_value);
    printf("%-8s %2zu in flight: %6.1f us p50 %7.1f us p99 %8.0f /s  (%zu bytes)\n", how, window,
           times_us[requests / 2], times_us[requests * 99 / 100], (double)requests / took_s,
           encode.count);
    fflush(stdout);
    encode_fini(&encode);
}

static int
client_main(int ports, size_t requests, const char *how)
{
    uint16_t port;
    if (read(ports, &port, sizeof port) != sizeof port)
        return 1;
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const int at_once = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) != 0)
        die("cannot connect");
    measure(fd, requests, 1, how);
    measure(fd, requests, WINDOW_MAX, how);
    return 0;
}

static void
run(size_t requests, const char *how)
{
    int ports[2];
    if (pipe(ports) != 0)
        die("no pipe");
    const pid_t client = fork(); // before NNG has threads
    if (client == 0)
        exit(client_main(ports[0], requests, how));
    struct rpc_server *server;
    struct omen_error error;
    const struct rpc_server_config config = {
        .host = "127.0.0.1", .welcome = welcome, .request = take, .gone = gone};
    pthread_t thread;
    if (by_thread && os_thread_start(&thread, answer_all, NULL) != 0)
        die("no thread");
    if (rpc_server_open(&config, &server, &error) != OMEN_OK)
        die("%s", error.text);
    const uint16_t port = rpc_server_port(server);
    int status;
    if (write(ports[1], &port, sizeof port) != sizeof port || waitpid(client, &status, 0) < 0)
        die("the client is lost");
    rpc_server_close(server);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        die("the client has failed");
}

int
main(int argc, char **argv)
{
    const size_t requests = argc > 1 ? number(argv[1], "requests") : 50000;
    if (requests == 0 || requests > sizeof times_us / sizeof times_us[0])
        die("requests: 1 to %zu", sizeof times_us / sizeof times_us[0]);
    const pid_t other = fork();
    by_thread = other == 0;
    if (!by_thread)
        waitpid(other, NULL, 0);
    run(requests, by_thread ? "thread" : "callback");
    return 0;
}
