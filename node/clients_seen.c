// node/clients_seen.c -- what the clients' loop counts of requests, and what it shows to who watches it.
//
// Shape: shell.
#include "base/os_clock.h"
#include "node/clients_int.h"
#include "node/slow.h"

#define SHOW_NS UINT64_C(1000000000)

void
clients_count(struct clients *clients, const struct front_done *done)
{
    struct metrics *metrics = clients->config.metrics;
    const uint64_t now_ns = os_clock_ns();
    const bool slow = now_ns - done->received_ns > clients->config.slow_ns;
    if (metrics != NULL) {
        metrics_request(metrics, done->method, done->status, now_ns - done->received_ns);
        metric_time(&metrics->request_waits, done->begun_ns - done->received_ns);
        metric_add(&metrics->written, done->written);
        metric_add(&metrics->slow, slow);
    }
    if (slow)
        slow_say(done, now_ns);
}

void
clients_show(struct clients *clients)
{
    struct clients_seen seen = {.at_ns = os_clock_ns(),
                                .fanout = *front_counters(clients->front),
                                .points_under_way = front_pending(clients->front),
                                .map_under_way = clients->call_count};
    if (clients->map == NULL)
        return;
    const struct admin_view view = clients_view(clients);
    admin_look_at(&view, &seen.map);
    clients->show_ns = seen.at_ns + SHOW_NS;
    lock_acquire(&clients->lock);
    clients->seen = seen;
    lock_release(&clients->lock);
}

void
clients_look(struct clients *clients, struct clients_seen *out)
{
    lock_acquire(&clients->lock);
    *out = clients->seen;
    lock_release(&clients->lock);
}
