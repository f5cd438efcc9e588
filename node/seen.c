// node/seen.c -- a node as it is seen from outside.
//
// Shape: shell.
#include "node/seen.h"

#include "base/os_clock.h"
#include "omendb.h"

// Loops show what there is every second. One that has not for so long will not any more.
#define DEAD_NS (UINT64_C(60) * 1000000000)

void
seen_begin(struct seen *seen)
{
    seen->begun_ns = os_clock_ns();
}

void
seen_text(struct seen *seen, struct metrics_text *text)
{
    struct os_process process;
    struct meta_stats meta;
    struct rpc_server_stats rpc;
    struct bus_stats bus;
    struct disk_stats disk;
    struct clients_seen clients;
    struct hosts_seen *hosts = NULL;
    struct build_stats build = {0};
    struct metrics_view view = {.version = omen_version(),
                                .uptime_ns = os_clock_ns() - seen->begun_ns,
                                .ready = seen_not_ready(seen) == NULL,
                                .counted = &seen->counted,
                                .process = &process};
    os_process(&process);
    if (atomic_load(&seen->whole)) {
        meta_stats(seen->meta, &meta);
        rpc_server_stats(seen->rpc, &rpc);
        bus_stats(seen->bus, &bus);
        disk = disk_stats(seen->disk);
        clients_look(seen->clients, &clients);
        hosts = hosts_look(seen->hosts);
        view.meta = &meta;
        view.rpc = &rpc;
        view.bus = &bus;
        view.disk = &disk;
        view.clients = &clients;
        view.hosts = hosts;
        if (seen->build != NULL)
            build = build_stats(seen->build);
        view.build = &build;
    }
    metrics_write(text, &view);
    hosts_look_end(hosts);
}

const char *
seen_not_live(struct seen *seen)
{
    if (!atomic_load(&seen->whole))
        return NULL; // it looks for its cluster
    struct clients_seen clients;
    struct hosts_seen *hosts = hosts_look(seen->hosts);
    const uint64_t now_ns = os_clock_ns();
    const bool data = hosts == NULL || now_ns < hosts->at_ns + DEAD_NS;
    hosts_look_end(hosts);
    clients_look(seen->clients, &clients);
    if (!data)
        return "the loop of the data has stopped";
    if (clients.at_ns != 0 && now_ns >= clients.at_ns + DEAD_NS)
        return "the loop of the clients has stopped";
    return NULL;
}

const char *
seen_not_ready(struct seen *seen)
{
    struct clients_seen clients;
    if (!atomic_load(&seen->whole))
        return "the node looks for its cluster";
    if (disk_stats(seen->disk).put_off_since_ns > 0)
        return "no room on the disk, or no memory, for what must be durable";
    clients_look(seen->clients, &clients);
    return clients.at_ns == 0 ? "this node has not heard of the cluster yet"
                              : clients.map.not_ready;
}
