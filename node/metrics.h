// node/metrics.h -- everything that a node tells who watches it: one table of names, what is counted on the way, and the text of it all.
//
// Shape:   value. What is counted on the way (struct metrics) costs a few nanoseconds; the rest is looked up when somebody asks
//          (struct metrics_view).
// Threads: counting as struct metrics says, whose it is; reading from any.
//
// A new metric is a row here and a line in metrics.c; docs/OPERATING.md has the same table (tools/metrics prints it, and a test compares).
#ifndef OMEN_NODE_METRICS_H
#define OMEN_NODE_METRICS_H
#include "base/metrics.h"
#include "base/os_process.h"
#include "node/admin.h"
#include "node/build.h"
#include "node/clients.h"
#include "node/disk.h"
#include "node/hosts.h"
#include "node/meta.h"
#include "wire/bus.h"
#include "wire/method.h"
#include "wire/rpc_server.h"

// id, name, kind, labels, what it is
#define METRICS_TABLE(X)                                                                           \
    X(BUILD, "omen_build_info", GAUGE, "version", "Always 1; the version of the program.")         \
    X(UPTIME, "omen_uptime_seconds", GAUGE, "", "Since this process began.")                       \
    X(READY, "omen_ready", GAUGE, "", "1: it serves; 0: /health/ready says why not.")              \
    X(REQUESTS, "omen_requests_total", COUNTER, "method,status",                                   \
      "Requests of clients that were answered, by how.")                                           \
    X(REQUEST_TIMES, "omen_request_seconds", HISTOGRAM, "method",                                  \
      "From the whole request to its answer, at the node that the client asked.")                  \
    X(REQUEST_WAITS, "omen_request_wait_seconds", HISTOGRAM, "",                                   \
      "Of it, until the loop of the clients took the request.")                                    \
    X(REQUESTS_SLOW, "omen_slow_requests_total", COUNTER, "",                                      \
      "Requests that took longer than --slow-ms.")                                                 \
    X(REQUESTS_NOW, "omen_requests_under_way", GAUGE, "kind",                                      \
      "Requests that wait for their answer: about points, or about the map.")                      \
    X(WRITTEN, "omen_points_written_total", COUNTER, "",                                           \
      "Points that clients of this node have written, patched or deleted.")                        \
    X(FANOUT, "omen_fanout_total", COUNTER, "what",                                                \
      "Parts that were sent to copies: all sends, tries again, hedges, and so on.")                \
    X(PARTS, "omen_parts_total", COUNTER, "kind,status",                                           \
      "Parts of requests that copies on this node have ended, by how.")                            \
    X(PART_TIMES, "omen_part_seconds", HISTOGRAM, "kind",                                          \
      "A worker's time for a part: for a write, what comes before the log.")                       \
    X(PART_WAITS, "omen_part_wait_seconds", HISTOGRAM, "", "Of a part, until a worker took it.")   \
    X(PARTS_NOW, "omen_parts_under_way", GAUGE, "", "Parts that copies on this node have.")        \
    X(PARTS_REFUSED, "omen_parts_refused_total", COUNTER, "reason",                                \
      "Parts that were not begun, or given up.")                                                   \
    X(EVALUATIONS, "omen_search_evaluations_total", COUNTER, "",                                   \
      "Distances to codes that searches here have computed.")                                      \
    X(EXACT, "omen_search_exact_distances_total", COUNTER, "",                                     \
      "Distances to whole vectors that searches here have computed.")                              \
    X(TAIL, "omen_search_tail_rows_total", COUNTER, "",                                            \
      "Rows not linked yet that searches here have scanned.")                                      \
    X(PROPOSED, "omen_entries_proposed_total", COUNTER, "",                                        \
      "Entries that primaries on this node have put into their logs.")                             \
    X(APPLIED, "omen_entries_applied_total", COUNTER, "", "Entries that copies here applied.")     \
    X(COPIES, "omen_copies", GAUGE, "role", "Copies on this node.")                                \
    X(SHARD_POINTS, "omen_shard_points", GAUGE, "collection,shard",                                \
      "Points in the copy here, as of a few seconds ago.")                                         \
    X(SHARD_MEMORY, "omen_shard_memory_bytes", GAUGE, "collection,shard",                          \
      "Memory of a copy on this node, its pages of the file that are looked at included.")         \
    X(SHARD_BYTES, "omen_shard_file_bytes", GAUGE, "collection,shard",                             \
      "The copy's file, as of a few seconds ago.")                                                 \
    X(SHARD_APPLIED, "omen_shard_applied_seq", GAUGE, "collection,shard",                          \
      "The last entry of the log that the copy here has applied.")                                 \
    X(SHARD_LAG, "omen_shard_lag_entries", GAUGE, "collection,shard",                              \
      "Committed entries that the copy here has yet to apply.")                                    \
    X(PEER_LAG, "omen_shard_peer_lag_entries", GAUGE, "collection,shard,copy",                     \
      "At a primary: entries that another copy is not known to have.")                             \
    X(SNAPSHOTS, "omen_snapshots_total", COUNTER, "what", "Whole shards that were copied.")        \
    X(SHARDS_LOST, "omen_copies_lost_total", COUNTER, "",                                          \
      "Copies that were found damaged or missing at the start, or since.")                         \
    X(DISK_COMMITS, "omen_disk_commits_total", COUNTER, "", "Commits of the log, one sync each.")  \
    X(DISK_JOBS, "omen_disk_jobs_total", COUNTER, "",                                              \
      "What was made durable by them; by omen_disk_commits_total: jobs a commit.")                 \
    X(DISK_JOBS_MOST, "omen_disk_commit_jobs_max", GAUGE, "", "The most jobs in one commit.")      \
    X(DISK_BYTES, "omen_disk_written_bytes_total", COUNTER, "", "Bytes of those jobs.")            \
    X(DISK_TIMES, "omen_disk_commit_seconds", HISTOGRAM, "", "A commit, with its sync.")           \
    X(DISK_QUEUE, "omen_disk_queued_jobs", GAUGE, "", "Jobs that wait for the disk.")              \
    X(DISK_QUEUE_BYTES, "omen_disk_queued_bytes", GAUGE, "", "Bytes of those jobs.")               \
    X(DISK_TROUBLE, "omen_disk_trouble_total", COUNTER, "reason",                                  \
      "Commits that were put off, and jobs refused for damaged bytes.")                            \
    X(DISK_SIZE, "omen_disk_size_bytes", GAUGE, "", "Of the file system that the data are on.")    \
    X(DISK_AVAILABLE, "omen_disk_available_bytes", GAUGE, "", "What is left of it.")               \
    X(DISK_RESERVE, "omen_disk_reserve_bytes", GAUGE, "",                                          \
      "What shall be left for deletes and the log (--disk-reserve).")                              \
    X(DISK_LOW, "omen_disk_low", GAUGE, "", "1: less is left, and writes that add are refused.")   \
    X(CLIENTS_NOW, "omen_client_connections", GAUGE, "", "Connections of clients.")                \
    X(CLIENTS, "omen_client_connections_total", COUNTER, "", "Connections that clients made.")     \
    X(CLIENTS_ENDED, "omen_client_connections_closed_total", COUNTER, "reason",                    \
      "Connections of clients that ended, by why.")                                                \
    X(CLIENTS_REFUSED, "omen_client_refused_total", COUNTER, "reason",                             \
      "Requests and connections of clients that were refused before they reached a method.")       \
    X(CLIENT_BYTES, "omen_client_bytes_total", COUNTER, "direction", "Bytes of clients.")          \
    X(CLIENT_WAITING, "omen_client_waiting_bytes", GAUGE, "",                                      \
      "Of messages that are not whole and answers that are not read (--max-waiting-mib).")         \
    X(PEERS_NOW, "omen_peer_connections", GAUGE, "", "Connections between nodes.")                 \
    X(PEERS, "omen_peer_connections_total", COUNTER, "how", "Connections between nodes.")          \
    X(PEERS_REFUSED, "omen_peer_refused_total", COUNTER, "reason",                                 \
      "Connections and messages of nodes that were refused or lost.")                              \
    X(PEER_FRAMES, "omen_peer_frames_total", COUNTER, "direction", "Messages between nodes.")      \
    X(PEER_BYTES, "omen_peer_bytes_total", COUNTER, "direction", "Their bytes.")                   \
    X(PEER_PACKETS, "omen_peer_datagrams_total", COUNTER, "direction", "Packets of gossip.")       \
    X(RAFT_TERM, "omen_raft_term", GAUGE, "", "Of the metadata's group.")                          \
    X(RAFT_LEADS, "omen_raft_leader", GAUGE, "", "1: this node leads the metadata.")               \
    X(RAFT_LED, "omen_raft_has_leader", GAUGE, "", "1: this node knows who leads the metadata.")   \
    X(RAFT_COMMIT, "omen_raft_commit_index", GAUGE, "", "The last entry that is committed.")       \
    X(RAFT_APPLIED, "omen_raft_applied_index", GAUGE, "", "The last entry that is applied here.")  \
    X(RAFT_VOTERS, "omen_raft_voters", GAUGE, "", "Members of the metadata's group that vote.")    \
    X(MAP_VERSION, "omen_map_version", GAUGE, "", "The map of the cluster that this node has.")    \
    X(CLOCK_APART, "omen_clock_apart_seconds", GAUGE, "",                                          \
      "How far this node's clock is from the cluster's, either way.")                              \
    X(NODES, "omen_nodes", GAUGE, "", "Nodes in the map.")                                         \
    X(MEMBERS, "omen_members", GAUGE, "state", "What gossip says of nodes, this one among them.")  \
    X(COLLECTIONS, "omen_collections", GAUGE, "", "Collections in the map.")                       \
    X(SHARDS, "omen_shards", GAUGE, "state",                                                       \
      "Shards in the map: all; degraded: too few copies in sync live; lost: no primary lives.")    \
    X(BUILDS, "omen_builds_total", COUNTER, "what",                                                \
      "At a builder: jobs that it took, those that failed, graphs that it made.")                  \
    X(BUILD_ROWS, "omen_build_rows_total", COUNTER, "", "At a builder: rows of those graphs.")     \
    X(CPU, "process_cpu_seconds_total", COUNTER, "", "User and system time.")                      \
    X(RESIDENT, "process_resident_memory_bytes", GAUGE, "",                                        \
      "Memory that is there, pages of mapped files among it.")                                     \
    X(VIRTUAL, "process_virtual_memory_bytes", GAUGE, "", "Address space.")                        \
    X(FILES, "process_open_fds", GAUGE, "", "Open descriptors.")                                   \
    X(FILES_MOST, "process_max_fds", GAUGE, "", "As many may be open.")                            \
    X(THREADS, "process_threads", GAUGE, "", "Threads.")

enum metric_id {
#define METRICS_ENUM(id, name, kind, labels, help) METRIC_##id##_ID,
    METRICS_TABLE(METRICS_ENUM)
#undef METRICS_ENUM
        METRICS_END
};

const struct metric_row *metrics_row(enum metric_id id);

#define METRICS_COUNT_STATUS(name, number, act, text) +1
#define METRICS_STATUSES (0 OMEN_STATUS_LIST(METRICS_COUNT_STATUS))
#define METRICS_KINDS 4u // by enum wire_part_kind, from 1

// What is counted on the way. Each part is one loop's, so that they do not write into each other's cache lines.
struct metrics {
    // the clients'
    _Atomic uint64_t requests[METHODS_END][METRICS_STATUSES];
    struct metric_times request_times[METHODS_END], request_waits;
    _Atomic uint64_t slow, written, too_fast;
    // the data's
    uint8_t apart[64];
    _Atomic uint64_t parts[METRICS_KINDS][METRICS_STATUSES];
    struct metric_times part_times[METRICS_KINDS], part_waits;
    _Atomic uint64_t evaluations, exact_distances, tail;
    // the disk's
    uint8_t away[64];
    struct metric_times commit_times;
};

static inline void
metrics_request(struct metrics *metrics, const struct method *method, omen_status status,
                uint64_t took_ns)
{
    metric_add(&metrics->requests[method->number][-status], 1);
    metric_time(&metrics->request_times[method->number], took_ns);
}

// What is looked up. NULL: it is not there yet.
struct metrics_view {
    const char *version;
    uint64_t uptime_ns;
    bool ready;
    const struct metrics *counted;
    const struct os_process *process;
    const struct meta_stats *meta;
    const struct rpc_server_stats *rpc;
    const struct bus_stats *bus;
    const struct disk_stats *disk;
    const struct clients_seen *clients;
    const struct hosts_seen *hosts;
    const struct build_stats *build; // zeros of who is no builder
};

void metrics_write(struct metrics_text *text, const struct metrics_view *view);

#endif
