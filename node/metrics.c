// node/metrics.c -- the text of everything that a node tells who watches it, family by family.
//
// Shape: value.
#include "node/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "node/admin_int.h"
#include "wire/node_codec.h"

#define VALUES(...) ((const char *const[]){__VA_ARGS__})
#define COUNT(rows) ((uint32_t)(sizeof(rows) / sizeof(rows)[0]))

static const struct metric_row rows[METRICS_END] = {
#define METRICS_ROW(id, name, kind, labels, help)                                                  \
    [METRIC_##id##_ID] = {name, METRIC_##kind, labels, help},
    METRICS_TABLE(METRICS_ROW)
#undef METRICS_ROW
};

static const char *const kinds[METRICS_KINDS] = {
    [WIRE_PART_SEARCH] = "search", [WIRE_PART_GET] = "get", [WIRE_PART_WRITE] = "write"};

const struct metric_row *
metrics_row(enum metric_id id)
{
    ASSERT(id < METRICS_END);
    return &rows[id];
}

// ---- shapes that come again ----

struct named {
    const char *name;
    uint64_t value;
};

#define ONE(id, value) metrics_one(text, &rows[METRIC_##id##_ID], value)
#define FAMILY(id) metrics_family(text, &rows[METRIC_##id##_ID])
#define NAMED(id, ...)                                                                             \
    named(text, METRIC_##id##_ID, (const struct named[]){__VA_ARGS__},                             \
          COUNT(((const struct named[]){__VA_ARGS__})))

static void
named(struct metrics_text *text, enum metric_id id, const struct named *values, uint32_t count)
{
    metrics_family(text, &rows[id]);
    for (uint32_t i = 0; i < count; i++)
        metrics_sample(text, &values[i].name, values[i].value);
}

// Those that there are.
static void
by_status(struct metrics_text *text, const char *name,
          const _Atomic uint64_t counts[METRICS_STATUSES])
{
    for (int i = 0; i < METRICS_STATUSES; i++)
        if (metric_read(&counts[i]) > 0)
            metrics_sample(text, VALUES(name, status_name(-i)), metric_read(&counts[i]));
}

// ---- requests ----

static void
write_requests(struct metrics_text *text, const struct metrics *counted)
{
    FAMILY(REQUESTS);
    for (uint32_t i = 0; i < METHODS_END; i++)
        by_status(text, method_at((enum method_number)i)->name, counted->requests[i]);
    FAMILY(REQUEST_TIMES);
    for (uint32_t i = 0; i < METHODS_END; i++)
        if (metric_times_count(&counted->request_times[i]) > 0)
            metrics_sample_times(text, VALUES(method_at((enum method_number)i)->name),
                                 &counted->request_times[i]);
    FAMILY(REQUEST_WAITS);
    metrics_sample_times(text, NULL, &counted->request_waits);
    ONE(REQUESTS_SLOW, metric_read(&counted->slow));
    ONE(WRITTEN, metric_read(&counted->written));
}

static void
write_parts(struct metrics_text *text, const struct metrics *counted)
{
    FAMILY(PARTS);
    for (uint32_t i = 1; i < METRICS_KINDS; i++)
        by_status(text, kinds[i], counted->parts[i]);
    FAMILY(PART_TIMES);
    for (uint32_t i = 1; i < METRICS_KINDS; i++)
        metrics_sample_times(text, VALUES(kinds[i]), &counted->part_times[i]);
    FAMILY(PART_WAITS);
    metrics_sample_times(text, NULL, &counted->part_waits);
    ONE(EVALUATIONS, metric_read(&counted->evaluations));
    ONE(EXACT, metric_read(&counted->exact_distances));
    ONE(TAIL, metric_read(&counted->tail));
    FAMILY(DISK_TIMES);
    metrics_sample_times(text, NULL, &counted->commit_times);
}

static void
write_clients(struct metrics_text *text, const struct clients_seen *seen)
{
    const struct fanout_counters *fanout = &seen->fanout;
    const struct admin_seen *map = &seen->map;
    NAMED(REQUESTS_NOW, {"points", seen->points_under_way}, {"map", seen->map_under_way});
    NAMED(FANOUT, {"send", fanout->sends}, {"retry", fanout->retries}, {"hedge", fanout->hedges},
          {"split", fanout->splits}, {"cancel", fanout->cancels},
          {"late_reply", fanout->late_replies}, {"refused_reply", fanout->refused_replies},
          {"busy", fanout->busy}, {"no_memory", fanout->no_memory});
    ONE(NODES, map->nodes);
    NAMED(MEMBERS, {"alive", map->members[GOSSIP_ALIVE]}, {"suspect", map->members[GOSSIP_SUSPECT]},
          {"dead", map->members[GOSSIP_DEAD]}, {"left", map->members[GOSSIP_LEFT]});
    ONE(COLLECTIONS, map->collections);
    NAMED(SHARDS, {"all", map->shards}, {"degraded", map->degraded}, {"lost", map->lost});
}

// ---- copies ----

static void
sample_copy(struct metrics_text *text, const struct hosts_copy_seen *copy, uint64_t value)
{
    char collection[MAP_NAME_BYTES_MAX + 1], shard[24];
    snprintf(collection, sizeof collection, "%.*s", (int)copy->collection.count,
             (const char *)copy->collection.bytes);
    snprintf(shard, sizeof shard, "%" PRIu64, copy->shard);
    metrics_sample(text, VALUES(collection, shard), value);
}

static void
write_peer_lags(struct metrics_text *text, const struct hosts_copy_seen *copy)
{
    char collection[MAP_NAME_BYTES_MAX + 1], shard[24], uuid[UUID_TEXT_BYTES];
    snprintf(collection, sizeof collection, "%.*s", (int)copy->collection.count,
             (const char *)copy->collection.bytes);
    snprintf(shard, sizeof shard, "%" PRIu64, copy->shard);
    for (uint32_t i = 0; i < copy->peer_count; i++) {
        uuid_write(copy->peers[i].copy, uuid);
        metrics_sample(text, VALUES(collection, shard, uuid), copy->peers[i].lag);
    }
}

#define EACH_COPY(id, value)                                                                       \
    do {                                                                                           \
        FAMILY(id);                                                                                \
        for (uint32_t i = 0; i < seen->count; i++)                                                 \
            if (seen->copies[i].role != HOSTS_LOST && seen->copies[i].role != HOSTS_MAKING)        \
                sample_copy(text, &seen->copies[i], seen->copies[i].value);                        \
    } while (0)

static void
write_copies(struct metrics_text *text, const struct hosts_seen *seen)
{
    uint64_t roles[HOSTS_ROLES] = {0};
    for (uint32_t i = 0; i < seen->count; i++)
        roles[seen->copies[i].role]++;
    NAMED(COPIES, {"primary", roles[HOSTS_PRIMARY]}, {"backup", roles[HOSTS_BACKUP]},
          {"opening", roles[HOSTS_OPENING]}, {"making", roles[HOSTS_MAKING]},
          {"lost", roles[HOSTS_LOST]});
    EACH_COPY(SHARD_POINTS, points);
    EACH_COPY(SHARD_MEMORY, memory);
    EACH_COPY(SHARD_BYTES, bytes);
    EACH_COPY(SHARD_APPLIED, applied);
    EACH_COPY(SHARD_LAG, lag);
    FAMILY(PEER_LAG);
    for (uint32_t i = 0; i < seen->count; i++)
        write_peer_lags(text, &seen->copies[i]);
}

static void
write_hosts(struct metrics_text *text, const struct hosts_seen *seen)
{
    const struct hosts_stats *stats = &seen->stats;
    ONE(PARTS_NOW, stats->parts_under_way);
    NAMED(PARTS_REFUSED, {"busy", stats->busy}, {"stale_map", stats->stale},
          {"cancelled", stats->cancelled}, {"late", stats->late}, {"malformed", stats->bad_frames});
    ONE(PROPOSED, stats->proposed);
    ONE(APPLIED, stats->applied);
    NAMED(SNAPSHOTS, {"made", stats->snapshots_made}, {"installed", stats->snapshots_installed});
    ONE(SHARDS_LOST, stats->shards_lost);
    ONE(DISK_SIZE, seen->reserve.disk.bytes);
    ONE(DISK_AVAILABLE, seen->reserve.disk.available_bytes);
    ONE(DISK_RESERVE, seen->reserve.bytes);
    ONE(DISK_LOW, seen->reserve.low);
    write_copies(text, seen);
}

// ---- the disk, and connections ----

static void
write_disk(struct metrics_text *text, const struct disk_stats *stats)
{
    ONE(DISK_COMMITS, stats->commits);
    ONE(DISK_JOBS, stats->jobs);
    ONE(DISK_JOBS_MOST, stats->jobs_max);
    ONE(DISK_BYTES, stats->bytes);
    ONE(DISK_QUEUE, stats->queued);
    ONE(DISK_QUEUE_BYTES, stats->queued_bytes);
    NAMED(DISK_TROUBLE, {"full", stats->full}, {"no_memory", stats->no_memory},
          {"damaged", stats->damaged});
}

static void
write_rpc(struct metrics_text *text, const struct rpc_server_stats *stats, uint64_t too_fast)
{
    ONE(CLIENTS_NOW, stats->streams.open);
    ONE(CLIENTS, stats->streams.accepted);
    FAMILY(CLIENTS_ENDED);
    for (uint32_t i = STREAM_OPEN + 1; i < STREAM_ENDS; i++)
        metrics_sample(text, VALUES(stream_end_name((enum stream_end)i)), stats->streams.ended[i]);
    NAMED(CLIENTS_REFUSED, {"crowded", stats->streams.crowded},
          {"of_address", stats->streams.of_address},
          {"accept_failed", stats->streams.accept_failed}, {"no_message", stats->no_message},
          {"malformed", stats->malformed}, {"no_method", stats->no_method},
          {"no_right", stats->no_right}, {"no_hello", stats->no_hello},
          {"key_ended", stats->key_ended}, {"refused_hello", stats->refused_hellos},
          {"closing", stats->closing}, {"too_fast", too_fast});
    for (uint32_t i = FRAME_FINE + 1; i < FRAME_REASONS; i++) {
        char name[48];
        snprintf(name, sizeof name, "frame_%s", frame_reason_name((enum frame_reason)i));
        metrics_sample(text, VALUES(name), stats->refused_frames[i]);
    }
    NAMED(CLIENT_BYTES, {"in", stats->streams.bytes_in}, {"out", stats->streams.bytes_out});
    ONE(CLIENT_WAITING, stats->streams.waiting);
}

static void
write_bus(struct metrics_text *text, const struct bus_stats *stats)
{
    ONE(PEERS_NOW, stats->open);
    NAMED(PEERS, {"accepted", stats->accepted}, {"connected", stats->connected},
          {"missed", stats->missed});
    NAMED(PEERS_REFUSED, {"crowded", stats->crowded}, {"queue_full", stats->full},
          {"nobody", stats->nobody}, {"wrong_node", stats->wrong_node}, {"late", stats->late},
          {"clogged", stats->clogged}, {"datagram_refused", stats->datagrams_refused},
          {"datagram_lost", stats->datagrams_lost});
    for (uint32_t i = PEER_FINE + 1; i < PEER_REFUSALS; i++) {
        char name[48];
        snprintf(name, sizeof name, "frame_%s", peer_refusal_name((enum peer_refusal)i));
        metrics_sample(text, VALUES(name), stats->refusals[i]);
    }
    for (uint32_t i = HANDSHAKE_FINE + 1; i < HANDSHAKE_VERDICTS; i++) {
        char name[48];
        snprintf(name, sizeof name, "handshake_%s",
                 handshake_verdict_name((enum handshake_verdict)i));
        metrics_sample(text, VALUES(name), stats->verdicts[i]);
    }
    NAMED(PEER_FRAMES, {"in", stats->frames_in}, {"out", stats->frames_out});
    NAMED(PEER_BYTES, {"in", stats->bytes_in}, {"out", stats->bytes_out});
    NAMED(PEER_PACKETS, {"in", stats->datagrams_in}, {"out", stats->datagrams_out});
}

// ---- all of it ----

static void
write_meta(struct metrics_text *text, const struct meta_stats *stats)
{
    ONE(RAFT_TERM, stats->term);
    ONE(RAFT_LEADS, stats->state == RAFT_LEADER);
    ONE(RAFT_LED, stats->lead != 0);
    ONE(RAFT_COMMIT, stats->commit);
    ONE(RAFT_APPLIED, stats->applied);
    ONE(RAFT_VOTERS, stats->voters);
    ONE(MAP_VERSION, stats->map_version);
    FAMILY(CLOCK_APART);
    metrics_sample_ns(text, NULL, stats->clock_apart_ns);
}

static void
write_build(struct metrics_text *text, const struct build_stats *stats)
{
    NAMED(BUILDS, {"taken", stats->jobs}, {"failed", stats->failed}, {"graphs", stats->graphs});
    ONE(BUILD_ROWS, stats->rows);
}

static void
write_process(struct metrics_text *text, const struct os_process *process)
{
    FAMILY(CPU);
    metrics_sample_ns(text, NULL, process->cpu_ns);
    ONE(RESIDENT, process->resident_bytes);
    ONE(VIRTUAL, process->virtual_bytes);
    ONE(FILES, process->open_files);
    ONE(FILES_MOST, process->most_files);
    ONE(THREADS, process->threads);
}

void
metrics_write(struct metrics_text *text, const struct metrics_view *view)
{
    FAMILY(BUILD);
    metrics_sample(text, VALUES(view->version), 1);
    FAMILY(UPTIME);
    metrics_sample_ns(text, NULL, view->uptime_ns);
    ONE(READY, view->ready);
    write_requests(text, view->counted);
    write_parts(text, view->counted);
    if (view->clients != NULL)
        write_clients(text, view->clients);
    if (view->hosts != NULL)
        write_hosts(text, view->hosts);
    if (view->disk != NULL)
        write_disk(text, view->disk);
    if (view->rpc != NULL)
        write_rpc(text, view->rpc, metric_read(&view->counted->too_fast));
    if (view->bus != NULL)
        write_bus(text, view->bus);
    if (view->meta != NULL)
        write_meta(text, view->meta);
    if (view->build != NULL)
        write_build(text, view->build);
    if (view->process != NULL)
        write_process(text, view->process);
}
