// tests/unit/node/test_join.c -- who asks a node learns its cluster, or a sentence that says why not, in time.
//
// Labels: tsan
#include "node/join.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/os_clock.h"
#include "node/address.h"
#include "tests/lib/check_main.h"
#include "wire/bus.h"

// How the node that is asked behaves.
enum manners { WELCOMES, OTHER_KEY, NEWER, SAYS_NONSENSE, HANGS_UP, STAYS_SILENT, TELLS_HALF };

struct peer {
    enum manners manners;
    int listener;
    struct gossip_address address;
    pthread_t thread;
    int release[2]; // a pipe: who stays silent goes when it is closed
};

static struct handshake ours = {.node = {7, 8}, .boot = 1, .version_least = 1, .version_most = 1};
static struct peer peer;
static struct handshake theirs;
static struct omen_error error;

static void
read_whole(int socket, uint8_t *bytes, size_t count)
{
    size_t got = 0;
    while (got < count) {
        const ssize_t done = read(socket, bytes + got, count - got);
        if (done <= 0)
            return;
        got += (size_t)done;
    }
}

static void
tell(int socket, const uint8_t hello[HANDSHAKE_HELLO_BYTES])
{
    uint8_t key[32] = {0}, head[PEER_HEAD_BYTES], welcome[HANDSHAKE_WELCOME_BYTES];
    struct handshake said = {
        .cluster = {1, 2}, .node = {3, 4}, .version_least = 1, .version_most = 1};
    key[0] = peer.manners == OTHER_KEY;
    if (peer.manners == NEWER)
        said.version_least = said.version_most = 2;
    handshake_welcome(key, &said, hello, welcome);
    peer_head_write((struct peer_head){.kind = PEER_WELCOME, .lane = PEER_CONTROL},
                    (struct wire_bytes){welcome, sizeof welcome}, head);
    if (peer.manners == SAYS_NONSENSE)
        head[0] ^= 1;
    // Who gives up soon may be gone already.
    (void)send(socket, head, sizeof head, MSG_NOSIGNAL);
    (void)send(socket, welcome, peer.manners == TELLS_HALF ? 10 : sizeof welcome, MSG_NOSIGNAL);
}

static void *
serve(void *argument)
{
    (void)argument;
    uint8_t head[PEER_HEAD_BYTES], hello[HANDSHAKE_HELLO_BYTES], byte;
    const int socket = accept(peer.listener, NULL, NULL);
    if (socket < 0)
        return NULL;
    if (peer.manners != HANGS_UP) {
        read_whole(socket, head, sizeof head);
        read_whole(socket, hello, sizeof hello);
        if (peer.manners != STAYS_SILENT)
            tell(socket, hello);
        if (peer.manners == STAYS_SILENT || peer.manners == TELLS_HALF)
            (void)!read(peer.release[0], &byte, 1);
    }
    close(socket);
    return NULL;
}

static void
begin(enum manners manners)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t count = sizeof name;
    ck_assert_int_eq(seal_init(), OMEN_OK);
    peer.manners = manners;
    peer.listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(peer.listener, (struct sockaddr *)&name, sizeof name), 0);
    ck_assert_int_eq(listen(peer.listener, 8), 0);
    ck_assert_int_eq(getsockname(peer.listener, (struct sockaddr *)&name, &count), 0);
    ck_assert_int_eq(address_of("127.0.0.1", ntohs(name.sin_port), &peer.address, &error), OMEN_OK);
    ck_assert_int_eq(pipe(peer.release), 0);
    ck_assert_int_eq(pthread_create(&peer.thread, NULL, serve, NULL), 0);
}

static omen_status
ask(uint32_t ms)
{
    static const uint8_t key[32];
    const omen_status status = join_ask(&peer.address, key, &ours, ms, &theirs, &error);
    close(peer.release[1]);
    pthread_join(peer.thread, NULL);
    close(peer.release[0]);
    close(peer.listener);
    return status;
}

START_TEST(who_asks_learns_the_cluster_and_who_answered)
{
    begin(WELCOMES);
    ck_assert_msg(ask(30000) == OMEN_OK, "%s", error.text);
    ck_assert_uint_eq(theirs.cluster.high, 1);
    ck_assert_uint_eq(theirs.cluster.low, 2);
    ck_assert_uint_eq(theirs.node.low, 4);
}
END_TEST

static const struct {
    enum manners manners;
    omen_status status;
    const char *sentence;
    uint32_t ms;
} refusals[] = {
    {OTHER_KEY, OMEN_E_AUTH, "has another cluster key", 30000},
    {NEWER, OMEN_E_VERSION, "speaks no version", 30000},
    {SAYS_NONSENSE, OMEN_E_INVALID, "is no peer port", 30000},
    {HANGS_UP, OMEN_E_TIMEOUT, "nobody answers at", 30000},
    {STAYS_SILENT, OMEN_E_TIMEOUT, "nobody answers at", 20},
    {TELLS_HALF, OMEN_E_TIMEOUT, "nobody answers at", 20},
};

START_TEST(what_went_wrong_is_said_with_the_address)
{
    char where[ADDRESS_TEXT_BYTES];
    begin(refusals[_i].manners);
    address_text(&peer.address, where);
    const uint64_t before_ns = os_clock_ns();
    ck_assert_int_eq(ask(refusals[_i].ms), refusals[_i].status);
    ck_assert_msg(strstr(error.text, refusals[_i].sentence) != NULL, "%s", error.text);
    ck_assert_msg(strstr(error.text, where) != NULL, "%s", error.text);
    if (refusals[_i].ms < 1000)
        ck_assert_uint_ge(os_clock_ns() - before_ns, refusals[_i].ms * 1000000ull);
}
END_TEST

START_TEST(where_nobody_listens_nobody_answers)
{
    begin(WELCOMES);
    const struct gossip_address there = peer.address;
    ck_assert_int_eq(ask(30000), OMEN_OK);
    static const uint8_t key[32];
    ck_assert_int_eq(join_ask(&there, key, &ours, 30000, &theirs, &error), OMEN_E_TIMEOUT);
}
END_TEST

static void
no_frame(void *context, struct wire_uuid from, uint64_t boot, const struct peer_head *head,
         struct wire_bytes body)
{
    (void)context;
    (void)from;
    (void)boot;
    (void)body;
    ck_abort_msg("a frame of kind %u from who is of no cluster", head->kind);
}

static void
no_datagram(void *context, const struct gossip_address *from, struct wire_bytes packet)
{
    (void)context;
    (void)from;
    ck_abort_msg("a datagram of %u bytes", packet.count);
}

static void
no_word(void *context, struct wire_uuid node)
{
    (void)context;
    ck_abort_msg("a word of node %llu", (unsigned long long)node.low);
}

START_TEST(a_real_bus_answers_and_lets_nothing_else_in)
{
    struct bus *bus;
    const struct bus_config config = {
        .ours = {.cluster = {1, 2}, .node = {3, 4}, .version_least = 1, .version_most = 1},
        .handshake_ms = 600000,
        .frame = no_frame,
        .datagram = no_datagram,
        .up = no_word,
        .down = no_word};
    struct bus_config listens = config;
    static const uint8_t key[32], other_key[32] = {1};
    ck_assert_int_eq(seal_init(), OMEN_OK);
    ck_assert_int_eq(address_of("127.0.0.1:0", 0, &listens.listen, &error), OMEN_OK);
    ck_assert_msg(bus_open(&listens, &bus, &error) == OMEN_OK, "%s", error.text);
    struct gossip_address there = listens.listen;
    there.port = bus_port(bus);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_msg(join_ask(&there, key, &ours, 30000, &theirs, &error) == OMEN_OK, "%s",
                      error.text);
        ck_assert_uint_eq(theirs.cluster.low, 2);
    }
    ck_assert_int_eq(join_ask(&there, other_key, &ours, 30000, &theirs, &error), OMEN_E_AUTH);
    struct handshake stranger = ours;
    stranger.cluster.low = 9;
    ck_assert_int_ne(join_ask(&there, key, &stranger, 30000, &theirs, &error), OMEN_OK);
    struct bus_stats stats;
    bus_stats(bus, &stats);
    ck_assert_uint_eq(stats.verdicts[HANDSHAKE_JOINS], 4);
    ck_assert_uint_eq(stats.verdicts[HANDSHAKE_OTHER_CLUSTER], 1);
    ck_assert_uint_eq(stats.verdicts[HANDSHAKE_FINE], 0);
    bus_close(bus);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("node/join");
    TCase *tcase = tcase_create("join");
    tcase_add_test(tcase, who_asks_learns_the_cluster_and_who_answered);
    tcase_add_loop_test(tcase, what_went_wrong_is_said_with_the_address, 0,
                        (int)(sizeof refusals / sizeof refusals[0]));
    tcase_add_test(tcase, where_nobody_listens_nobody_answers);
    tcase_add_test(tcase, a_real_bus_answers_and_lets_nothing_else_in);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
