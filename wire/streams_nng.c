// wire/streams_nng.c -- a set of connections: who connects is accepted, who is dialed is reached, and one thread ends them all.
//
// Shape: shell.
//
// What NNG 1.5.2 does wrong is gone around here. Its listeners and dialers of sockets have races with their ends, those of streams
// have not; but a dialer is freed by waiting for it, so each dial has one of its own and the set's thread frees it. Timeouts of
// operations are not used: an operation that is cancelled by time may touch a connection that is being freed. Neither listener nor
// dialer turns Nagle's delay off by itself. Where descriptors have run out, accepting fails at once and for ever: the set's
// thread tries again.
//
// The set's thread sleeps until what it found due the earliest, for a second at most. Whoever adds something that is due before wakes it: he
// writes his time and then reads the thread's, which writes that it is looking and then reads all times. Both sequentially
// consistent, so one of the two sees the other.
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "base/os_random.h"
#include "base/os_thread.h"
#include "base/os_wait.h"
#include "wire/stream_nng_int.h"

#define HOST_BYTES_MAX 255u
#define URL_BYTES (HOST_BYTES_MAX + sizeof "tcp4://[]:65535")
#define MS UINT64_C(1000000)
#define REST_NS (1000 * MS)
#define LATE_AT_ONCE 64u // connections that are closed without looking at the clock again
#define LEAVING_MAX 64u  // connections that make room, beside those that may be there

static omen_status count_callers(struct streams *set, struct omen_error *error);
static omen_status listen_there(struct streams *set, struct omen_error *error);
static void accepted(void *argument);
static uint32_t turn(void *context);

// ---- life ----

// NNG 1.5.2 starts its threads at its first call: 7, and 3 more for each processor but of 8 at most. Where the system refuses one behind
// the first few, it ends the process, or never returns.
static omen_status
nng_may_start(struct omen_error *error)
{
    static _Atomic bool started; // or about to be
    if (atomic_load(&started))
        return OMEN_OK;
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    const uint32_t each = online < 1 ? 1 : online > 8 ? 8 : (uint32_t)online;
    const uint32_t threads = 7 + 3 * each;
    if (!os_thread_room(threads))
        return error_set(error, OMEN_E_NO_MEMORY,
                         "the system gives no %" PRIu32 " threads more (TasksMax, ulimit -u)",
                         threads);
    atomic_store(&started, true);
    return OMEN_OK;
}

omen_status
streams_open(const struct streams_config *config, struct streams **out, struct omen_error *error)
{
    ASSERT(config->tick_ms > 0 && config->begin != NULL && config->read != NULL &&
           config->end != NULL);
    *out = NULL;
    omen_status status = nng_may_start(error);
    if (status != OMEN_OK)
        return status;
    struct streams *set = mem_alloc_zero(1, sizeof *set);
    if (set == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    set->config = *config;
    lock_init(&set->lock);
    status = count_callers(set, error);
    if (status == OMEN_OK && config->host != NULL)
        status = listen_there(set, error);
    if (status == OMEN_OK) {
        status = timer_open(turn, set, &set->timer);
        if (status != OMEN_OK)
            (void)error_set_plain(error, status);
    }
    if (status != OMEN_OK) {
        nng_stream_listener_free(set->listener);
        nng_aio_free(set->accept);
        callers_fini(&set->callers);
        lock_fini(&set->lock);
        mem_free(set);
        return status;
    }
    *out = set;
    if (set->listener != NULL)
        nng_stream_listener_accept(set->listener, set->accept);
    return OMEN_OK;
}

static omen_status
count_callers(struct streams *set, struct omen_error *error)
{
    uint64_t seed;
    if (set->config.accepted_of_address_max == 0)
        return OMEN_OK;
    os_random(&seed, sizeof seed);
    const omen_status status =
        callers_init(&set->callers, set->config.accepted_max + LEAVING_MAX + 1, seed);
    return status == OMEN_OK ? status : error_set_plain(error, status);
}

static omen_status
no_listening(const struct streams *set, int failed, struct omen_error *error)
{
    const omen_status status =
        failed == NNG_ENOMEM || failed == NNG_ENOFILES ? OMEN_E_NO_MEMORY : OMEN_E_INVALID;
    return error_set(error, status, "cannot listen on %s, port %" PRIu16 ": %s", set->config.host,
                     set->config.port, nng_strerror(failed));
}

static omen_status
listen_there(struct streams *set, struct omen_error *error)
{
    const char *host = set->config.host;
    const bool six = strchr(host, ':') != NULL;
    char url[URL_BYTES];
    if (host[0] == '\0' || strlen(host) > HOST_BYTES_MAX || strpbrk(host, "/[]@?#") != NULL)
        return error_set(error, OMEN_E_INVALID, "\"%.64s\" is neither a name nor an IP address",
                         host);
    (void)snprintf(url, sizeof url, "tcp%s://%s%s%s:%" PRIu16, six ? "6" : "", six ? "[" : "", host,
                   six ? "]" : "", set->config.port);
    int failed = nng_stream_listener_alloc(&set->listener, url);
    if (failed != 0)
        return no_listening(set, failed, error);
    (void)nng_stream_listener_set_bool(set->listener, NNG_OPT_TCP_NODELAY, true);
    (void)nng_stream_listener_set_bool(set->listener, NNG_OPT_TCP_KEEPALIVE, true);
    int port = 0;
    failed = nng_aio_alloc(&set->accept, accepted, set);
    if (failed == 0)
        failed = nng_stream_listener_listen(set->listener);
    if (failed == 0)
        failed = nng_stream_listener_get_int(set->listener, NNG_OPT_TCP_BOUND_PORT, &port);
    if (failed != 0)
        return no_listening(set, failed, error);
    set->port = (uint16_t)port;
    return OMEN_OK;
}

void
streams_deaf(struct streams *set)
{
    lock_acquire(&set->lock);
    const bool first = !set->deaf;
    set->deaf = true;
    lock_release(&set->lock);
    if (set->listener != NULL && first) {
        nng_stream_listener_close(set->listener);
        nng_aio_stop(set->accept);
    }
}

void
streams_close(struct streams *set)
{
    if (set == NULL)
        return;
    streams_deaf(set);
    lock_acquire(&set->lock);
    set->closing = true;
    lock_release(&set->lock);
    for (;;) {
        const uint32_t turns = atomic_load(&set->turns);
        lock_acquire(&set->lock);
        const bool empty = set->live == NULL && set->dials == NULL;
        lock_release(&set->lock);
        if (empty)
            break;
        timer_wake(set->timer);
        os_wait(&set->turns, turns);
    }
    timer_close(set->timer);
    nng_stream_listener_free(set->listener);
    nng_aio_free(set->accept);
    callers_fini(&set->callers);
    lock_fini(&set->lock);
    mem_free(set);
}

uint16_t
streams_port(const struct streams *set)
{
    return set->port;
}

void
streams_wake(struct streams *set)
{
    timer_wake(set->timer);
}

void
streams_stats(const struct streams *set, struct streams_stats *out)
{
    *out = (struct streams_stats){.accepted = atomic_load(&set->accepted),
                                  .dialed = atomic_load(&set->dialed),
                                  .missed = atomic_load(&set->missed),
                                  .crowded = atomic_load(&set->crowded),
                                  .of_address = atomic_load(&set->of_address),
                                  .accept_failed = atomic_load(&set->accepts_failed),
                                  .bytes_in = atomic_load(&set->bytes_in),
                                  .bytes_out = atomic_load(&set->bytes_out),
                                  .waiting = atomic_load(&set->waiting),
                                  .looks = atomic_load(&set->looks),
                                  .looks_found = atomic_load(&set->looks_found),
                                  .open = atomic_load(&set->open)};
    for (uint32_t i = 0; i < STREAM_ENDS; i++)
        out->ended[i] = atomic_load(&set->ended[i]);
}

// ---- who connects ----

// Counts it. One that was closed to make room is counted until the set's thread has finished it.
static bool
has_room(struct streams *set)
{
    const uint32_t most = set->config.accepted_max;
    const uint32_t open = atomic_fetch_add(&set->accepted_open, 1);
    if (open < most || (set->config.crowded != NULL && open < most + LEAVING_MAX &&
                        set->config.crowded(set->config.context)))
        return true;
    atomic_fetch_sub(&set->accepted_open, 1);
    atomic_fetch_add(&set->crowded, 1);
    return false;
}

// One that has gone already has no address any more; all of these count as one, for the moment until they have ended.
static void
ip_of(nng_stream *nng, uint8_t ip[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    nng_sockaddr from;
    memset(ip, 0, 16);
    if (nng_stream_get_addr(nng, NNG_OPT_REMADDR, &from) != 0)
        return;
    if (from.s_family == NNG_AF_INET) {
        memcpy(ip, mapped, sizeof mapped);
        memcpy(ip + sizeof mapped, &from.s_in.sa_addr, 4);
    } else if (from.s_family == NNG_AF_INET6) {
        memcpy(ip, from.s_in6.sa_addr, 16);
    }
}

// Whether its address may have one more. That comes before has_room: who has too many takes nobody else's place.
static bool
may_enter(struct streams *set, nng_stream *nng, uint8_t ip[16])
{
    if (set->callers.places == NULL)
        return true;
    ip_of(nng, ip);
    lock_acquire(&set->lock);
    const bool may = callers_enter(&set->callers, ip, set->config.accepted_of_address_max);
    lock_release(&set->lock);
    if (!may)
        atomic_fetch_add(&set->of_address, 1);
    return may;
}

static void
left_by(struct streams *set, const uint8_t ip[16])
{
    if (set->callers.places == NULL)
        return;
    lock_acquire(&set->lock);
    callers_leave(&set->callers, ip);
    lock_release(&set->lock);
}

void
streams_left(struct streams *set, const uint8_t ip[16])
{
    left_by(set, ip);
    atomic_fetch_sub(&set->accepted_open, 1);
}

static bool
lets_in(struct streams *set, nng_stream *nng, uint8_t ip[16])
{
    if (!may_enter(set, nng, ip))
        return false;
    if (has_room(set))
        return true;
    left_by(set, ip);
    return false;
}

static void
accepted(void *argument)
{
    struct streams *set = argument;
    const int failed = nng_aio_result(set->accept);
    if (failed == NNG_ECLOSED || failed == NNG_ECANCELED)
        return;
    if (failed != 0) {
        const uint64_t again_ns = os_clock_ns() + set->config.tick_ms * MS;
        atomic_fetch_add(&set->accepts_failed, 1);
        atomic_store(&set->accept_ns, again_ns);
        streams_due(set, again_ns);
        return;
    }
    nng_stream *nng = nng_aio_get_output(set->accept, 0);
    lock_acquire(&set->lock);
    const bool deaf = set->deaf;
    lock_release(&set->lock);
    if (deaf) {
        nng_stream_free(nng);
        return;
    }
    uint8_t ip[16] = {0};
    if (lets_in(set, nng, ip)) {
        atomic_fetch_add(&set->accepted, 1);
        stream_begin(set, nng, NULL, ip);
    } else {
        nng_stream_free(nng);
    }
    nng_stream_listener_accept(set->listener, set->accept);
}

// ---- whom we reach ----

static void
dial_ended(void *argument)
{
    struct dial *dial = argument;
    struct streams *set = dial->set;
    const int result = nng_aio_result(dial->aio);
    const bool reached = result == 0;
    nng_stream *nng = reached ? nng_aio_get_output(dial->aio, 0) : NULL;
    lock_acquire(&set->lock);
    const bool closing = set->closing;
    lock_release(&set->lock);
    if (reached && !closing) {
        atomic_fetch_add(&set->dialed, 1);
        stream_begin(set, nng, dial->dialed, NULL);
    } else {
        nng_stream_free(nng);
        atomic_fetch_add(&set->missed, 1);
        set->config.missed(set->config.context, dial->dialed,
                           result == NNG_ECONNREFUSED ? STREAM_MISS_REFUSED : STREAM_MISS_OTHER);
    }
    // The last: now the set's thread stops the operation, which waits for us.
    atomic_store(&dial->ended, true);
    timer_wake(set->timer);
}

static int
dialer_of(const struct gossip_address *to, nng_stream_dialer **out)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    char ip[INET6_ADDRSTRLEN];
    char url[URL_BYTES];
    const bool four = memcmp(to->ip, mapped, sizeof mapped) == 0;
    const char *made =
        inet_ntop(four ? AF_INET : AF_INET6, four ? to->ip + sizeof mapped : to->ip, ip, sizeof ip);
    ASSERT(made != NULL);
    (void)snprintf(url, sizeof url, four ? "tcp4://%s:%" PRIu16 : "tcp6://[%s]:%" PRIu16, ip,
                   to->port);
    const int failed = nng_stream_dialer_alloc(out, url);
    if (failed != 0)
        return failed;
    (void)nng_stream_dialer_set_bool(*out, NNG_OPT_TCP_NODELAY, true);
    (void)nng_stream_dialer_set_bool(*out, NNG_OPT_TCP_KEEPALIVE, true);
    return 0;
}

omen_status
streams_dial(struct streams *set, const struct gossip_address *to, uint64_t give_up_ns,
             void *dialed)
{
    ASSERT(set->config.missed != NULL);
    struct dial *dial = mem_alloc_zero(1, sizeof *dial);
    if (dial == NULL)
        return OMEN_E_NO_MEMORY;
    *dial = (struct dial){.set = set, .dialed = dialed, .give_up_ns = give_up_ns};
    int failed = nng_aio_alloc(&dial->aio, dial_ended, dial);
    if (failed == 0)
        failed = dialer_of(to, &dial->dialer);
    if (failed != 0) {
        nng_aio_free(dial->aio);
        mem_free(dial);
        return OMEN_E_NO_MEMORY; // an address is always one that NNG can read
    }
    lock_acquire(&set->lock);
    const bool deaf = set->deaf;
    if (!deaf) {
        dial->next = set->dials;
        set->dials = dial;
        nng_stream_dialer_dial(dial->dialer, dial->aio);
        streams_due(set, give_up_ns);
    }
    lock_release(&set->lock);
    if (deaf) {
        nng_stream_dialer_free(dial->dialer);
        nng_aio_free(dial->aio);
        mem_free(dial);
        return OMEN_E_CLOSED;
    }
    return OMEN_OK;
}

// ---- the set's thread ----

static uint64_t
earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

// Takes those that are over out of the list, and closes those that take too long, whose callback then comes. Returns when the next one does.
static uint64_t
look_after_dials(struct streams *set, uint64_t now_ns)
{
    struct dial *over = NULL;
    uint64_t due_ns = UINT64_MAX;
    lock_acquire(&set->lock);
    for (struct dial **at = &set->dials; *at != NULL;) {
        struct dial *dial = *at;
        if (atomic_load(&dial->ended)) {
            *at = dial->next;
            dial->next = over;
            over = dial;
            continue;
        }
        if (!dial->closed && (set->closing || now_ns >= dial->give_up_ns)) {
            dial->closed = true;
            nng_stream_dialer_close(dial->dialer);
        }
        if (!dial->closed)
            due_ns = earlier(due_ns, dial->give_up_ns);
        at = &dial->next;
    }
    lock_release(&set->lock);
    while (over != NULL) {
        struct dial *dial = over;
        over = dial->next;
        nng_aio_stop(dial->aio);
        nng_stream_dialer_free(dial->dialer);
        nng_aio_free(dial->aio);
        mem_free(dial);
    }
    return due_ns;
}

static void
finish_closed(struct streams *set)
{
    for (;;) {
        lock_acquire(&set->lock);
        struct stream *stream = set->closed;
        if (stream != NULL)
            set->closed = stream->next_closed;
        lock_release(&set->lock);
        if (stream == NULL)
            return;
        stream_finish(stream);
    }
}

// Or, where it is not, *due_ns becomes when it will be, where that is earlier.
static enum stream_end
overdue(const struct streams *set, struct stream *stream, uint64_t now_ns, uint64_t *due_ns)
{
    if (set->closing)
        return STREAM_CLOSED;
    const uint64_t deadline_ns = atomic_load(&stream->deadline_ns);
    if (deadline_ns <= now_ns)
        return STREAM_LATE;
    *due_ns = earlier(*due_ns, deadline_ns);
    const uint64_t stalled_ns = atomic_load(&stream->stalled_ns);
    const uint64_t most_ns = set->config.stall_ms * MS;
    if (most_ns == 0 || stalled_ns == 0)
        return STREAM_OPEN;
    if (stalled_ns + most_ns <= now_ns)
        return STREAM_CLOGGED;
    *due_ns = earlier(*due_ns, stalled_ns + most_ns);
    return STREAM_OPEN;
}

// A connection's lock is not taken inside of the set's: those that are overdue are kept and closed afterwards. One that is closed
// already, and not finished yet, is closed again, which does nothing; so only as many are looked at in one turn. Returns when the next
// one is overdue.
static uint64_t
close_overdue(struct streams *set, uint64_t now_ns)
{
    uint64_t due_ns = UINT64_MAX;
    struct stream *late[LATE_AT_ONCE];
    enum stream_end why[LATE_AT_ONCE];
    uint32_t count = 0;
    lock_acquire(&set->lock);
    for (struct stream *stream = set->live; stream != NULL && count < LATE_AT_ONCE;
         stream = stream->next) {
        why[count] = overdue(set, stream, now_ns, &due_ns);
        if (why[count] == STREAM_OPEN)
            continue;
        stream_keep(stream);
        late[count++] = stream;
    }
    lock_release(&set->lock);
    for (uint32_t i = 0; i < count; i++) {
        stream_close(late[i], why[i]); // wakes us, where it was not closed
        stream_release(late[i]);
    }
    return count > 0 ? now_ns : due_ns;
}

// Returns when it is tried again.
static uint64_t
accept_again(struct streams *set, uint64_t now_ns)
{
    const uint64_t at_ns = atomic_load(&set->accept_ns);
    if (at_ns == 0 || at_ns > now_ns)
        return at_ns == 0 ? UINT64_MAX : at_ns;
    atomic_store(&set->accept_ns, 0);
    lock_acquire(&set->lock);
    if (!set->deaf)
        nng_stream_listener_accept(set->listener, set->accept);
    lock_release(&set->lock);
    return UINT64_MAX;
}

void
streams_due(struct streams *set, uint64_t at_ns)
{
    if (at_ns < atomic_load(&set->turn_ns))
        timer_wake(set->timer);
}

static uint32_t
turn(void *context)
{
    struct streams *set = context;
    atomic_store(&set->turn_ns, UINT64_MAX);
    const uint64_t now_ns = os_clock_ns();
    uint64_t due_ns = now_ns + REST_NS;
    finish_closed(set);
    streams_lighten(set);
    due_ns = earlier(due_ns, close_overdue(set, now_ns));
    due_ns = earlier(due_ns, look_after_dials(set, now_ns));
    due_ns = earlier(due_ns, accept_again(set, now_ns));
    if (set->config.tick != NULL)
        due_ns = earlier(due_ns, set->config.tick(set->config.context, now_ns));
    if (due_ns <= now_ns) // what was tried just now
        due_ns = now_ns + set->config.tick_ms * MS;
    atomic_store(&set->turn_ns, due_ns);
    atomic_fetch_add(&set->turns, 1);
    os_wake_all(&set->turns);
    return (uint32_t)((due_ns - now_ns + MS - 1) / MS);
}
