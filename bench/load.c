// bench/load.c -- keeps a node busy as many clients would, and says what it answered when, and what that cost the node.
//
// Shape: shell. usage: omen_load_bench JOB --to HOST:PORT[,...] --collection NAME --vectors FILE --dimension N [--option value...]
//
// One thread, plain sockets, as many requests in flight as told over as many connections; one line of JSON at the end.
//   search  one vector each; or, with --batch N, query.batch of N
//   upsert  rows --from and on, --batch of them each, until --count rows are acknowledged
//   lanes   lane i writes the row with id i again and again, one at a time: --flight lanes. What is refused is asked again at once
// Requests of a connection that breaks are asked again over another one, as a client library would; `took` counts from the first
// asking. --log FILE: a record of each answer (struct record). CPU is that of the processes --pids, by their own clocks.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "bench/clock.h"
#include "wire/frame.h"
#include "wire/rpc.h"

enum { CONNS_MAX = 16, FLIGHT_MAX = 1024, PIDS_MAX = 8, ID_FIRST = 0x10000, FRAME_MAX = 64 << 20 };

enum job { SEARCH, UPSERT, LANES };

struct record { // of an answer
    double asked_s, took_s;
    uint64_t shard; // of the first token; 0: none
    int32_t status; // 0, or of an omen_error
    uint32_t item;
};

struct conn {
    struct sockaddr_in to;
    int fd; // -1: broken
    double again_s;
    struct encode out;
    size_t sent; // of `out`
    uint8_t *in;
    size_t there, room;
    struct frame frame;
};

struct slot {
    bool busy;
    uint32_t conn, item;
    double asked_s;
};

static struct {
    enum job job;
    const char *collection, *log;
    const float *vectors;
    size_t rows, dimension, from, count, batch, flight, k, ef, deadline_ms, connections;
    double seconds, warm_s;
} want = {
    .collection = "docs", .flight = 1, .k = 10, .seconds = 5, .warm_s = 0.5, .connections = 1};

static struct conn conns[CONNS_MAX];
static uint32_t conn_count, next_conn;
static struct slot slots[FLIGHT_MAX];
static struct record *records;
static size_t record_count, record_room;
static struct wire_id *ids;
static size_t next_item, busy_count, rows_acknowledged, errors, again_count;
static pid_t pids[PIDS_MAX];
static size_t pid_count;

// ---- requests ----

static void
write_search(struct encode *out, uint32_t id, size_t item)
{
    const size_t count = want.batch > 0 ? want.batch : 1;
    const size_t first = item * count % (want.rows - count + 1);
    const struct wire_vectors vectors = {
        .form = VECTORS_RAW,
        .dtype = WIRE_F32,
        .count = (uint32_t)count,
        .bytes = {(const uint8_t *)(want.vectors + first * want.dimension),
                  (uint32_t)(count * want.dimension * sizeof(float))}};
    const struct wire_text collection = wire_text_of(want.collection);
    const struct api_query_search one = {.collection = collection,
                                         .vector = vectors,
                                         .k = (uint32_t)want.k,
                                         .ef = (uint32_t)want.ef,
                                         .deadline_ms = (uint32_t)want.deadline_ms};
    const struct api_query_batch many = {.collection = collection,
                                         .vectors = vectors,
                                         .k = (uint32_t)want.k,
                                         .ef = (uint32_t)want.ef,
                                         .deadline_ms = (uint32_t)want.deadline_ms};
    if (want.batch > 0)
        rpc_write_ask(out, id, method_at(METHOD_QUERY_BATCH), &many);
    else
        rpc_write_ask(out, id, method_at(METHOD_QUERY_SEARCH), &one);
}

static size_t
upsert_rows(size_t item)
{
    if (want.job == LANES)
        return 1;
    const size_t left = want.count - item * want.batch;
    return left < want.batch ? left : want.batch;
}

static void
write_upsert(struct encode *out, uint32_t id, size_t item)
{
    const size_t count = upsert_rows(item);
    const size_t first = want.from + (want.job == LANES ? item : item * want.batch);
    for (size_t i = 0; i < count; i++)
        ids[i] = (struct wire_id){.given = 1, .number = first + i};
    const struct api_point_upsert ask = {
        .collection = wire_text_of(want.collection),
        .ids = {.count = (uint32_t)count, .items = ids},
        .vectors = {.form = VECTORS_RAW,
                    .dtype = WIRE_F32,
                    .count = (uint32_t)count,
                    .bytes = {(const uint8_t *)(want.vectors +
                                                first % (want.rows - count + 1) * want.dimension),
                              (uint32_t)(count * want.dimension * sizeof(float))}},
        .deadline_ms = (uint32_t)want.deadline_ms};
    rpc_write_ask(out, id, method_at(METHOD_POINT_UPSERT), &ask);
}

// ---- connections ----

static void
conn_open(struct conn *conn)
{
    static const struct decode_limits limits = {
        .bytes_max = FRAME_MAX, .depth_max = 24, .nodes_max = 1u << 20};
    const int at_once = 1;
    frame_init(&conn->frame, &limits);
    encode_reset(&conn->out);
    conn->there = conn->sent = 0;
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (conn->fd < 0)
        die("no socket");
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
    if (connect(conn->fd, (const struct sockaddr *)&conn->to, sizeof conn->to) != 0 ||
        fcntl(conn->fd, F_SETFL, O_NONBLOCK) != 0) {
        close(conn->fd);
        conn->fd = -1;
        conn->again_s = clock_s(CLOCK_MONOTONIC) + 0.005;
    }
}

static uint32_t
conn_any(void)
{
    for (uint32_t i = 0; i < conn_count; i++) {
        const uint32_t at = next_conn++ % conn_count;
        if (conns[at].fd >= 0)
            return at;
    }
    return UINT32_MAX;
}

static void
ask(uint32_t slot)
{
    const uint32_t at = conn_any();
    slots[slot].conn = at;
    if (at == UINT32_MAX)
        return; // once there is a connection again
    struct encode *out = &conns[at].out;
    if (want.job == SEARCH)
        write_search(out, ID_FIRST + slot, slots[slot].item);
    else
        write_upsert(out, ID_FIRST + slot, slots[slot].item);
    if (out->status != OMEN_OK)
        die("a request cannot be written: %d", out->status);
}

static void
conn_break(uint32_t at)
{
    struct conn *conn = &conns[at];
    close(conn->fd);
    conn->fd = -1;
    conn->again_s = clock_s(CLOCK_MONOTONIC) + 0.005;
    for (uint32_t i = 0; i < want.flight; i++)
        if (slots[i].busy && slots[i].conn == at) {
            again_count++;
            ask(i);
        }
}

static void
conns_again(double now_s)
{
    bool opened = false;
    for (uint32_t i = 0; i < conn_count; i++)
        if (conns[i].fd < 0 && now_s >= conns[i].again_s) {
            conn_open(&conns[i]);
            opened = opened || conns[i].fd >= 0;
        }
    for (uint32_t i = 0; opened && i < want.flight; i++)
        if (slots[i].busy && slots[i].conn == UINT32_MAX)
            ask(i);
}

static void
conn_send(uint32_t at)
{
    struct conn *conn = &conns[at];
    while (conn->fd >= 0 && conn->sent < conn->out.count) {
        const ssize_t sent = send(conn->fd, conn->out.bytes + conn->sent,
                                  conn->out.count - conn->sent, MSG_NOSIGNAL);
        if (sent > 0)
            conn->sent += (size_t)sent;
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            return;
        else
            conn_break(at);
    }
    encode_reset(&conn->out);
    conn->sent = 0;
}

// ---- answers ----

static void
note(const struct slot *slot, double now_s, int32_t status, uint64_t shard)
{
    if (record_count == record_room) {
        record_room = record_room > 0 ? 2 * record_room : 1u << 16;
        records = mem_resize(records, record_room * sizeof *records);
        if (records == NULL)
            die("no memory");
    }
    records[record_count++] = (struct record){.asked_s = slot->asked_s,
                                              .took_s = now_s - slot->asked_s,
                                              .shard = shard,
                                              .status = status,
                                              .item = slot->item};
}

// The status of an answer, and the shard that it was about.
static int32_t
look(const struct rpc_message *message, const struct slot *slot, uint64_t *shard)
{
    static bool said;
    struct omen_error error;
    if (message->error.count > 0) {
        struct rpc_error why;
        if (rpc_read_error(message, &why, &error) != OMEN_OK)
            die("an error cannot be read");
        if (!said)
            fprintf(stderr, "first error: %.*s: %.*s\n", (int)why.name.count, why.name.bytes,
                    (int)why.message.count, why.message.bytes);
        said = true;
        return why.status;
    }
    if (want.job == SEARCH)
        return OMEN_OK;
    struct api_written written;
    if (rpc_read_answer(message, method_at(METHOD_POINT_UPSERT), &written, &error) != OMEN_OK)
        die("an answer cannot be read: %s", error.text);
    struct list_cursor cursor;
    struct wire_token token;
    token_begin(&cursor, &written.token);
    if (list_next(&cursor, &token))
        *shard = token.shard;
    rows_acknowledged += written.count;
    return written.count == upsert_rows(slot->item) ? OMEN_OK : OMEN_E_INTERNAL;
}

static bool
take_next(struct slot *slot, double now_s, double end_s)
{
    const bool over = want.job == UPSERT ? next_item * want.batch >= want.count : now_s >= end_s;
    if (over)
        return false;
    slot->item = want.job == LANES ? (uint32_t)(slot - slots) : (uint32_t)next_item;
    next_item++;
    slot->asked_s = now_s;
    slot->busy = true;
    return true;
}

static void
heard(struct wire_bytes frame, double end_s)
{
    struct rpc_message message;
    struct omen_error error;
    const struct decode_limits limits = {
        .bytes_max = FRAME_MAX, .depth_max = 24, .nodes_max = 1u << 20};
    if (rpc_read(frame, &limits, &message, &error) != OMEN_OK || message.kind != RPC_ANSWER ||
        message.id - ID_FIRST >= want.flight)
        die("the server's message cannot be read");
    struct slot *slot = &slots[message.id - ID_FIRST];
    const double now_s = clock_s(CLOCK_MONOTONIC);
    uint64_t shard = 0;
    const int32_t status = look(&message, slot, &shard);
    note(slot, now_s, status, shard);
    errors += status != OMEN_OK;
    slot->busy = false;
    if (status != OMEN_OK && want.job == UPSERT) { // until it is there
        slot->busy = true;
        again_count++;
        ask((uint32_t)(slot - slots));
    } else if (take_next(slot, now_s, end_s)) {
        ask((uint32_t)(slot - slots));
    } else {
        busy_count--;
    }
}

static void
conn_receive(uint32_t at, double end_s)
{
    struct conn *conn = &conns[at];
    const size_t wanted = conn->there + (256u << 10);
    if (conn->room < wanted) {
        conn->room = 2 * wanted;
        conn->in = mem_resize(conn->in, conn->room);
        if (conn->in == NULL)
            die("no memory");
    }
    const ssize_t came = recv(conn->fd, conn->in + conn->there, conn->room - conn->there, 0);
    if (came <= 0) {
        if (came == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
            conn_break(at);
        return;
    }
    conn->there += (size_t)came;
    size_t begin = 0, bytes;
    while (frame_find(&conn->frame, conn->in + begin, conn->there - begin, &bytes) == FRAME_WHOLE) {
        heard((struct wire_bytes){conn->in + begin, (uint32_t)bytes}, end_s);
        begin += bytes;
    }
    memmove(conn->in, conn->in + begin, conn->there - begin);
    conn->there -= begin;
}

// ---- the run ----

static double
servers_cpu_s(void)
{
    double sum = 0;
    for (size_t i = 0; i < pid_count; i++) {
        clockid_t clock;
        if (clock_getcpuclockid(pids[i], &clock) == 0)
            sum += clock_s(clock);
    }
    return sum;
}

static void
turn(double end_s)
{
    struct pollfd polls[CONNS_MAX];
    for (uint32_t i = 0; i < conn_count; i++) {
        if (conns[i].fd >= 0 && conns[i].out.count > 0)
            conn_send(i);
        polls[i] = (struct pollfd){
            .fd = conns[i].fd,
            .events = (short)(POLLIN | (conns[i].out.count > conns[i].sent ? POLLOUT : 0))};
    }
    if (poll(polls, conn_count, 5) < 0 && errno != EINTR)
        die("poll failed");
    for (uint32_t i = 0; i < conn_count; i++)
        if (conns[i].fd >= 0 && (polls[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
            conn_receive(i, end_s);
    conns_again(clock_s(CLOCK_MONOTONIC));
}

static void
report(double begin_s, double end_s, double cpu_s)
{
    double *times = mem_alloc((record_count + 1) * sizeof *times);
    if (times == NULL)
        die("no memory");
    size_t count = 0, late = 0;
    for (size_t i = 0; i < record_count; i++)
        if (records[i].asked_s + records[i].took_s >= begin_s && records[i].status == OMEN_OK) {
            times[count++] = records[i].took_s * 1e6;
            late +=
                want.deadline_ms > 0 && records[i].took_s * 1e3 > (double)want.deadline_ms + 50.0;
        }
    if (count == 0)
        die("nothing was answered; %zu errors", errors);
    qsort(times, count, sizeof times[0], by_value);
    printf("{\"count\": %zu, \"seconds\": %.4f, \"rate\": %.2f, \"rows\": %zu, \"p50_us\": %.2f, "
           "\"p99_us\": %.2f, \"max_us\": %.2f, \"cpu_us\": %.3f, \"errors\": %zu, \"late\": %zu, "
           "\"again\": %zu}\n",
           count, end_s - begin_s, (double)count / (end_s - begin_s), rows_acknowledged,
           times[count / 2], times[count * 99 / 100], times[count - 1], cpu_s * 1e6 / (double)count,
           errors, late, again_count);
    mem_free(times);
}

static void
run(void)
{
    for (uint32_t i = 0; i < conn_count; i++) {
        encode_init(&conns[i].out, (size_t)FRAME_MAX);
        conn_open(&conns[i]); // or a little later, where nobody listens yet
    }
    const double start_s = clock_s(CLOCK_MONOTONIC);
    const double end_s = start_s + want.warm_s + want.seconds;
    double begin_s = start_s, cpu_s = servers_cpu_s();
    for (uint32_t i = 0; i < want.flight; i++)
        if (take_next(&slots[i], start_s, end_s)) {
            busy_count++;
            ask(i);
        }
    bool warm = want.job != SEARCH;
    while (busy_count > 0) {
        turn(end_s);
        if (!warm && clock_s(CLOCK_MONOTONIC) >= start_s + want.warm_s) {
            warm = true;
            begin_s = clock_s(CLOCK_MONOTONIC);
            cpu_s = servers_cpu_s();
        }
    }
    report(begin_s, clock_s(CLOCK_MONOTONIC), servers_cpu_s() - cpu_s);
    if (want.log != NULL) {
        FILE *file = fopen(want.log, "wb");
        if (file == NULL || fwrite(records, sizeof *records, record_count, file) != record_count ||
            fclose(file) != 0)
            die("%s cannot be written", want.log);
    }
}

// ---- options ----

// What stands before the next comma; NULL at the end.
static char *
next_of(char **list)
{
    char *item = *list;
    if (item == NULL || *item == '\0')
        return NULL;
    char *comma = strchr(item, ',');
    *list = comma != NULL ? comma + 1 : NULL;
    if (comma != NULL)
        *comma = '\0';
    return item;
}

static void
read_addresses(char *text)
{
    for (char *at; (at = next_of(&text)) != NULL;) {
        char *colon = strrchr(at, ':');
        if (colon == NULL || conn_count == CONNS_MAX)
            die("--to: HOST:PORT, at most %d of them", CONNS_MAX);
        *colon = '\0';
        struct sockaddr_in *to = &conns[conn_count++].to;
        to->sin_family = AF_INET;
        to->sin_port = htons((uint16_t)number(colon + 1, "--to"));
        if (inet_pton(AF_INET, at, &to->sin_addr) != 1)
            die("--to: %s is no IPv4 address", at);
    }
}

static void
read_vectors(const char *path)
{
    struct stat stat;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat) != 0)
        die("%s cannot be read", path);
    void *at = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (at == MAP_FAILED)
        die("%s cannot be mapped", path);
    want.vectors = at;
    want.rows = (size_t)stat.st_size / sizeof(float);
}

static void
read_option(const char *name, char *value)
{
    static const struct {
        const char *name;
        size_t *number;
    } numbers[] = {
        {"--dimension", &want.dimension},
        {"--from", &want.from},
        {"--count", &want.count},
        {"--batch", &want.batch},
        {"--flight", &want.flight},
        {"--k", &want.k},
        {"--ef", &want.ef},
        {"--deadline-ms", &want.deadline_ms},
        {"--connections", &want.connections},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (strcmp(name, numbers[i].name) == 0) {
            *numbers[i].number = number(value, name);
            return;
        }
    if (strcmp(name, "--to") == 0)
        read_addresses(value);
    else if (strcmp(name, "--collection") == 0)
        want.collection = value;
    else if (strcmp(name, "--vectors") == 0)
        read_vectors(value);
    else if (strcmp(name, "--log") == 0)
        want.log = value;
    else if (strcmp(name, "--seconds") == 0)
        want.seconds = strtod(value, NULL);
    else if (strcmp(name, "--pids") == 0)
        for (char *at; pid_count < PIDS_MAX && (at = next_of(&value)) != NULL;)
            pids[pid_count++] = (pid_t)number(at, name);
    else
        die("%s: no such option", name);
}

int
main(int argc, char **argv)
{
    static const char *const jobs[] = {[SEARCH] = "search", [UPSERT] = "upsert", [LANES] = "lanes"};
    size_t job = 0;
    while (argc > 1 && job < sizeof jobs / sizeof jobs[0] && strcmp(argv[1], jobs[job]) != 0)
        job++;
    if (argc < 2 || argc % 2 != 0 || job == sizeof jobs / sizeof jobs[0])
        die("usage: omen_load_bench search|upsert|lanes --to HOST:PORT[,...] --vectors FILE "
            "--dimension N [--option value...]");
    want.job = (enum job)job;
    for (int i = 2; i < argc; i += 2)
        read_option(argv[i], argv[i + 1]);
    if (conn_count == 0 || want.vectors == NULL || want.dimension == 0 || want.flight == 0 ||
        want.flight > FLIGHT_MAX || (want.job == UPSERT && (want.batch == 0 || want.count == 0)))
        die("--to, --vectors, --dimension, --flight up to %d; of upsert --batch and --count",
            FLIGHT_MAX);
    for (const uint32_t given = conn_count; conn_count < want.connections;)
        if (conn_count == CONNS_MAX)
            die("--connections: at most %d", CONNS_MAX);
        else {
            conns[conn_count].to = conns[conn_count % given].to;
            conn_count++;
        }
    want.rows /= want.dimension;
    ids = mem_alloc((want.batch + 1) * sizeof *ids);
    if (ids == NULL || want.rows <= want.batch)
        die("too few rows");
    run();
    return 0;
}
