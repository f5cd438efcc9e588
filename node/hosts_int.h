// node/hosts_int.h -- what the files of the data loop share: its notes, its copies, its parts, and the work that it gives away.
//
// Shape: shell; private to node/hosts*.c.
//
// One rule keeps it simple: hosts_step is the only place where a machine is stepped, and nothing that it does steps again. What a
// step brings about at once comes back as a note of the loop's own.
//
//   note --> hosts.c: take --> a machine's input --> hosts_step --> hosts_copy.c: obey --> disk, bus, work, answers
//                                                                                            |
//   note <--------------------- the loop's own, disk_done, work that was done <--------------+
#ifndef OMEN_NODE_HOSTS_INT_H
#define OMEN_NODE_HOSTS_INT_H
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/os_clock.h"
#include "base/os_lock.h"
#include "base/os_loop.h"
#include "base/pool.h"
#include "node/admit.h"
#include "node/disk.h"
#include "node/hosts.h"
#include "node/look.h"
#include "node/meta.h"
#include "node/metrics.h"
#include "node/serve.h"
#include "shard/hosted_snapshot.h"
#include "wire/node_codec.h"
#include "wire/replica_codec.h"

#define HOST_BUCKETS 64u                      // of the tables by hash
#define HOST_COPY_PARTS_MAX REPLICA_WAITS_MAX // under way at one copy; one more is answered BUSY
#define HOST_PARTS_MAX 16384u                 // of all copies together
#define HOST_PARTS_BYTES_MAX ((size_t)256 << 20)
// Of proposals that go in together, and of entries that are read for a peer: their frame has room for more than that.
#define HOST_BATCH_BYTES_MAX ((size_t)16 << 20)
#define HOST_APPLY_ENTRIES 256u // of one work; then the loop hears of it
#define HOST_APPLY_BYTES ((size_t)4 << 20)
#define HOST_RESULTS_MAX 4096u  // entries of whose results the loop remembers: as many as may wait
#define HOST_RESULTS_SPARE 256u // where nobody waits: for who asks again after a failover
// Frames that the loop has not taken yet; more are as if they were lost on their way.
#define HOST_FRAME_BYTES_MAX ((size_t)512 << 20)
#define HOST_CHECK_NS (UINT64_C(3600) * 1000000000) // copies compare what they hold
#define HOST_LINKERS_MIN 2u
#define HOST_LINKERS_MAX 8u                     // threads that link the rows of one shard
#define HOST_LIGHT_NS UINT64_C(100000)          // so long a search may keep a loop
#define HOST_SEARCH_MOST_NS (8 * HOST_LIGHT_NS) // as which one that took longer is counted
#define HOST_BRIEF_NS UINT64_C(5000000)         // parts that take so long may have every worker
#define HOST_RETRY_NS UINT64_C(100000000)       // where memory or the disk is full
#define HOST_UPKEEP_NS UINT64_C(1000000000)
// What stays of a log behind what everybody has: so that a copy that was away a while needs no snapshot.
#define HOST_KEEP_ENTRIES 65536u
#define HOST_KEEP_BYTES (UINT64_C(1) << 30)
#define HOST_MARKS 512u // places in the log whose distance in bytes is known
#define HOST_MARK_EVERY 256u
#define HOST_PATH_BYTES 512u
#define HOST_SNAPSHOTS_MAX 4u       // that one copy serves at once
#define HOST_LINE_BYTES (64u << 10) // a message above it goes over the lane for large ones

struct host_copy;
struct host_part;

// ---- notes of the loop's own; those of others are in node/notes.h ----

enum host_note {
    HOST_NOTE_WORK = NOTE_OTHERS, // struct work, done
    HOST_NOTE_INPUT,              // struct host_input
    HOST_NOTE_START,              // what was found is given to the machine
};

// An input of a replica that its shell has for it.
struct host_input {
    struct loop_note note;
    struct cluster_uuid copy;
    uint64_t serial;
    struct replica_input given;
    struct replica_sum buckets[REPLICA_BUCKETS_PER_MSG];
};

// ---- work: what takes time, for the workers of the pool (hosts_work.c) ----

enum work_lane { LANE_APPLY, LANE_PARTS, LANE_BRIEF, LANE_LIGHT, LANE_LOG, LANE_SLOW, LANES };

enum work_kind {
    WORK_MAKE,    // the shard of a new copy, empty
    WORK_ERASE,   // of a copy that goes
    WORK_APPLY,   // entries of the log
    WORK_LOG,     // read some for a peer
    WORK_READ,    // a part
    WORK_PREPARE, // a part: what goes into the log
    WORK_NEAR,    // a part of this node's own clients
    WORK_SNAPSHOT,
    WORK_SEAL, // with what the loop adds to it
    WORK_CHUNK,
    WORK_STORE,
    WORK_INSTALL, // what has come, in the place of what was there
    WORK_FORGET,  // what came with it, when the log is as it says
    WORK_LOOK,    // how much the copy holds
};

struct work_results { // of the entries first..first + count - 1
    struct work_results *next;
    uint64_t first;
    uint32_t count;
    struct hosted_results results;
};

struct work_apply {
    uint64_t first, last; // wanted
    uint64_t through;     // done
    struct work_results *results, **results_end;
    uint64_t check_seq; // an entry CHECKSUM was the last; 0: none
    struct replica_sum root;
    struct replica_sum *buckets; // [REPLICA_BUCKETS]
};

struct work_log {
    struct replica_log_read read;
    struct disk_entries entries;
};

struct work_snapshot { // of any of those about snapshots
    struct replica_uuid uuid;
    uint64_t number; // of a snapshot
    struct hosted_chunk chunk;
    uint8_t *bytes; // owned: a chunk; what the copy adds
    size_t count;
    struct hosted_snapshot *snapshot; // that is read
    struct hosted_snapshot *made;     // owned
    struct hosted_receive *receive;   // owned
    struct host_image *image;         // owned: what came with what is installed
    uint64_t seq;                     // that it should be of
};

struct work_look {
    struct look_at at;
    uint64_t log_bytes; // of the copy then
    uint64_t points, bytes, memory;
    bool builds; // somebody builds for it elsewhere
};

struct work {
    struct loop_note note; // HOST_NOTE_WORK, when it is done
    struct work *next;     // of a lane
    enum work_kind kind;
    uint8_t lane; // enum work_lane, since it was posted
    struct cluster_uuid copy;
    uint64_t serial;
    struct hosted *hosted; // of the copy, which keeps it open
    struct hosted *opened; // owned: by MAKE and INSTALL; ERASE closes it
    struct hosted_options options;
    const char *path; // of the copy
    omen_status status;
    struct omen_error error;
    struct host_part *part;
    bool brief;                  // a part of a copy whose parts are over soon
    uint64_t begun_ns, ended_ns; // of a part
    union {
        struct work_apply apply;
        struct work_log log;
        struct work_snapshot snapshot;
        struct work_look look;
    };
};

struct work_queue {
    struct lock lock;
    struct work *first[LANES], *last[LANES];
    uint32_t waiting[LANES];              // works
    uint32_t running[LANES], most[LANES]; // workers in a lane
    uint32_t turn;                        // the lane that is looked at first
    bool closed;
    struct pool *pool;
};

// Fills in what is common; NULL: no memory.
struct work *work_new(const struct host_copy *copy, enum work_kind kind);
void work_free(struct work *work);
void work_post(struct hosts *hosts, struct work *work);
void work_post_all(struct hosts *hosts, struct work *const *works, uint32_t count);
omen_status work_open(struct hosts *hosts, uint32_t threads);
void work_close(struct hosts *hosts); // what waits is thrown away

void work_do_apply(struct hosts *hosts, struct work *work);    // hosts_apply.c
void work_do_log(struct hosts *hosts, struct work *work);      // hosts_apply.c
void work_do_part(struct hosts *hosts, struct work *work);     // hosts_part.c
void work_do_snapshot(struct hosts *hosts, struct work *work); // hosts_exchange.c
void work_do_shard(struct work *work);                         // hosts_shard.c
void work_do_look(struct work *work);                          // hosts_seen.c

// ---- copies (hosts_copy.c) ----

enum host_copy_state {
    HOST_MAKING,
    HOST_OPEN,
    HOST_INSTALLING, // another shard takes the place of this one's
    HOST_GOING,      // it was dropped; waits for what is under way
    HOST_LOST,       // the start found no shard to its log; the machine does not know it
};

struct host_snapshot { // that is served
    struct hosted_snapshot *snapshot;
    uint64_t number, seq, term;
    uint32_t chunk_count;
    uint32_t readers; // work under way
    uint64_t used_ns;
};

struct host_mark {       // of the log
    uint64_t seq, bytes; // behind it, since the start
};

struct host_copy {
    struct host_copy *next; // in its bucket
    struct cluster_uuid uuid;
    uint64_t shard, serial;
    enum host_copy_state state;
    struct hosted *hosted;
    struct copies_env env;
    struct hosted_options options;                        // as the map has them
    char path[HOST_PATH_BYTES], staging[HOST_PATH_BYTES]; // of its folder; of a snapshot that comes
    bool unlogged;                                        // the disk has no log of it (any more)
    uint64_t again_ns;      // what could not be begun is tried again; 0: nothing
    uint32_t users;         // works that have `hosted`
    struct work *exclusive; // waits until nobody has

    uint64_t apply_next, apply_last; // apply_next > apply_last: nothing
    bool applying;
    struct work_results *results, *results_last;
    uint32_t result_entries;
    uint64_t check_seq;
    struct replica_sum *buckets; // as they were there
    uint64_t check_at_ns;        // while it leads: of the next one; 0: it does not
    bool corrupt;                // it was said

    uint32_t tickets; // on their way to the disk
    struct host_part *ready_first, *ready_last;
    uint32_t part_count, proposed_count;

    struct host_snapshot snapshots[HOST_SNAPSHOTS_MAX];
    struct replica_uuid snapshot_for; // who asked for the one that is made
    bool snapshot_busy;
    struct hosted_receive *receive; // what comes
    bool receiving;                 // a worker has it
    struct host_image *image;       // of the snapshot that is put in place

    struct host_mark marks[HOST_MARKS]; // a ring
    uint32_t mark_first, mark_count;
    uint64_t log_bytes; // appended since the start
    bool trimming;

    bool looking; // a worker does
    struct look look;
    uint64_t points, bytes, memory;
    uint64_t looked_log_bytes; // log_bytes at that look
    uint64_t search_ns;        // a moving mean of what searches took; 0: there was none
    uint64_t read_ns;          // and of what all parts that read did, however long
};

struct host_copy *host_copy_find(const struct hosts *hosts, struct cluster_uuid uuid);
struct host_copy *host_copy_of(const struct hosts *hosts, const struct work *work); // NULL: it went
struct host_copy *host_copy_add(struct hosts *hosts, const struct copies_env *env);
void host_copy_free(struct hosts *hosts, struct host_copy *copy);
const struct replica *host_replica(const struct hosts *hosts, const struct host_copy *copy);
// As the map has it, with its shard; NULL: it has none, or there is no map.
const struct map_collection *host_collection(const struct hosts *hosts,
                                             const struct host_copy *copy,
                                             const struct map_shard **shard);
bool
host_usable(const struct host_copy *copy); // its shard is there, and sound as far as anybody knows
void host_again(struct hosts *hosts, struct host_copy *copy); // memory or the disk is full
void hosts_step(struct hosts *hosts, struct copies_input *in);
void hosts_give(struct hosts *hosts, struct cluster_uuid copy, struct replica_input given);
// As a note, for who is within a step.
void hosts_give_later(struct hosts *hosts, const struct host_copy *copy,
                      const struct replica_input *given);
void host_corrupt(struct hosts *hosts, struct host_copy *copy);
void host_disk_done(struct hosts *hosts, const struct disk_done *done);
// To a node, which may be this one. What is lost is said again by who cares.
void host_send(struct hosts *hosts, struct cluster_uuid to, const struct bus_frame *frame);

// ---- shards (hosts_shard.c) ----

// What a copy's shell adds to a snapshot: what its log knew of terms and operations.
struct host_image {
    uint64_t seq, stamp_ms;
    struct replica_term *terms;
    struct dedupe_op *ops;
    uint32_t term_count, op_count;
};

struct host_found { // by a start
    struct host_found *next;
    struct copies_durable durable; // with memory of its own
    struct host_image *image;      // of a snapshot that was being put in place
    bool forgets;                  // it is in place
    struct host_copy *copy;
    omen_status status; // OMEN_OK, or it is lost
    struct omen_error error;
};

void host_path(const struct hosts *hosts, struct host_copy *copy);
uint32_t host_linkers(const struct hosts *hosts);
void hosts_close_shards(struct hosts *hosts);
void host_remove(const char *path); // with everything in it
bool host_options(const struct hosts *hosts,
                  struct host_copy *copy); // false: the map has no such shard
void host_make(struct hosts *hosts, const struct copies_env *env);
void host_make_shard(struct hosts *hosts, struct host_copy *copy);
void host_made(struct hosts *hosts, struct work *work);
void host_drop(struct hosts *hosts, struct cluster_uuid uuid);
void host_unused(struct hosts *hosts, struct host_copy *copy); // a work has come back
void host_erased(struct hosts *hosts, struct work *work);
void host_forget_lost(struct hosts *hosts, struct host_copy *copy);
omen_status hosts_find_copies(struct hosts *hosts, struct omen_error *error);
void hosts_give_found(struct hosts *hosts);
void hosts_found_end(struct hosts *hosts);

// ---- what is applied (hosts_apply.c) ----

void host_apply(struct hosts *hosts, struct host_copy *copy);
void host_applied(struct hosts *hosts, struct work *work);
const struct work_results *host_results_at(const struct host_copy *copy, uint64_t seq);
void host_results_end(struct host_copy *copy);
void work_results_free(struct work_results *results); // and those behind it
void host_read_log(struct hosts *hosts, struct host_copy *copy,
                   const struct replica_log_read *read);
void host_log_was_read(struct hosts *hosts, struct work *work);
void host_say_buckets(struct hosts *hosts, struct host_copy *copy,
                      const struct replica_serve *serve);
void host_compare(struct hosts *hosts, const struct host_copy *copy,
                  const struct replica_serve *serve);
void host_weigh(struct host_copy *copy, const struct replica_output *out);
void host_trim(struct hosts *hosts, struct host_copy *copy);
void host_check(struct hosts *hosts, struct host_copy *copy, uint64_t now_ns);

// ---- snapshots (hosts_snapshot.c) ----

void host_serve(struct hosts *hosts, struct host_copy *copy, const struct replica_serve *serve);
void host_served(struct hosts *hosts, struct work *work);
void host_installed(struct hosts *hosts, struct host_copy *copy);
void host_snapshots_close(struct host_copy *copy);
void host_snapshots_idle(struct host_copy *copy, uint64_t now_ns);
void host_forget(struct hosts *hosts, struct host_copy *copy);
// hosts_exchange.c: what came with a snapshot that is in place; OMEN_E_NOT_FOUND: nothing.
omen_status host_image_of(const char *path, struct host_image **image, struct omen_error *error);
// hosts_image.c
// Whether a copy that has promised so much may have it: nothing of a later term.
bool host_image_fits(const struct host_image *image, uint64_t promised);
struct replica_disk host_image_disk(const struct host_image *image, uint64_t promised); // borrows
uint8_t *host_image_write(const struct replica *replica, size_t *count); // NULL: no memory
// As of `seq`; NULL: no memory, or the bytes are none.
struct host_image *host_image_read(const uint8_t *bytes, size_t count, uint64_t seq);
void host_image_free(struct host_image *image); // accepts NULL

// ---- parts (hosts_part.c) ----

enum host_part_state {
    PART_WORKING,  // a worker has it
    PART_READY,    // a write: waits for its turn to go into the log
    PART_PROPOSED, // it is in the log, perhaps
    PART_ASKED,    // a strong read: the replica says when
    PART_READ,     // and has yet to hear that it was read
};

struct host_part {
    struct host_part *next;  // READY
    struct host_part *chain; // by who sent it
    uint64_t id;             // of the replica's request
    enum host_part_state state;
    bool strong;
    _Atomic bool gone; // nobody waits for it any more
    struct cluster_uuid copy;
    uint64_t serial;
    struct frame_note *frame; // owned
    struct wire_part part;    // borrows from it
    uint64_t arrived_ns, deadline_ns;
    // what came of it
    struct omen_error error;
    struct hosted_bytes op;
    // A write by a filter may be several entries, one after the other.
    bool begun;                    // one of them is done, so that the rest decides nothing any more
    uint64_t cursor;               // of the one that was proposed; UINT64_MAX: it is the last
    struct hosted_results results; // of those that are done
    struct replica_answer done;    // the last of them
    struct encode answer;
    uint8_t *failures; // of items, as they go over the wire
    uint32_t item_count;
    uint64_t seq; // the shard had applied that much
};

// For node/admit.h.
struct fanout_send host_send_of(const struct wire_part *part);
uint32_t host_parts_under_way(const struct hosts *hosts);
bool host_has_room(const struct hosts *hosts, const struct host_copy *copy, size_t bytes);
// Takes what a worker did into the counts; of reads, whatever their way.
void host_count_worked(struct hosts *hosts, struct host_copy *copy, const struct work *work);
// Of what was read, or of why not.
struct wire_reply host_reply_well(const struct host_part *part, uint64_t term, uint64_t seq);
struct wire_reply host_reply_refused(struct hosts *hosts, omen_status status,
                                     const struct omen_error *error);
// What all replies say; counted, so once for each.
void host_reply_fill(struct hosts *hosts, const struct wire_part *part, struct wire_reply *reply);
void hosts_part(struct hosts *hosts, struct frame_note *frame); // takes it
void hosts_cancel(struct hosts *hosts, const struct frame_note *frame);
void host_part_worked(struct hosts *hosts, struct work *work);
struct host_part *host_part_find(const struct hosts *hosts, uint64_t id);
bool host_give_worker(struct hosts *hosts, struct host_copy *copy, struct host_part *part);
bool host_take_items(struct host_part *part, const struct serve_items *items);
// Answered, and gone.
void host_end_with(struct hosts *hosts, struct host_part *part, omen_status status);
void host_end_well(struct hosts *hosts, struct host_part *part, uint64_t term, uint64_t seq);
// The replica takes it no further. What a worker has is answered now, and gone once the worker brings it back.
void host_refused(struct hosts *hosts, struct host_part *part, omen_status status);
void host_parts_end(struct hosts *hosts, struct host_copy *copy); // it goes
void host_parts_close(struct hosts *hosts);
// hosts_write.c
void host_flush(struct hosts *hosts, struct host_copy *copy);
void host_answer(struct hosts *hosts, struct host_copy *copy, const struct replica_answer *answer);
void host_serve_read(struct hosts *hosts, struct host_copy *copy, uint64_t request);
OMEN_MUST_CHECK omen_status host_check_op(const struct hosts *hosts, const struct host_copy *copy,
                                          const struct wire_part *part, struct omen_error *error);
void host_end_written(struct hosts *hosts, struct host_part *part,
                      const struct hosted_results *results, const struct replica_answer *answer);

// ---- room on the disks (hosts_reserve.c) ----

void hosts_look_at_disk(struct hosts *hosts);
void hosts_take_members(struct hosts *hosts, struct meta_members *members); // takes it
// Whether a write that adds may be begun; OMEN_E_DISK_FULL: a disk that it needs is low. The sentence says which.
OMEN_MUST_CHECK omen_status host_check_room(const struct hosts *hosts, const struct host_copy *copy,
                                            struct omen_error *error);

// ---- parts of this node's own clients (hosts_near.c) ----

struct host_near {
    struct near near;
    struct hosts *hosts;
    struct work work;
    struct host_part part; // without a frame, and in no table
};

void host_near_worked(struct hosts *hosts, struct work *work); // in the loop's thread
bool host_near_is_light(struct work *work);
bool host_is_brief(const struct host_copy *copy); // as far as its last parts tell
// By a worker: those that the loop has to hear of go to it, the others are answered.
void host_nears_done(struct hosts *hosts, struct work *const *works, uint32_t count);
void host_near_end(struct work *work); // of a hosts that was stopped: nothing was done

// ---- for who watches (hosts_seen.c) ----

void hosts_show(struct hosts *hosts, uint64_t now_ns);
void host_looked(struct hosts *hosts, struct work *work);

// ---- for the operator (hosts_say.c) ----

void host_say(const struct host_copy *copy, const char *event, const char *key, uint64_t number);
void host_say_error(const struct host_copy *copy, const char *event, omen_status status,
                    const struct omen_error *error);
void host_say_note(const struct host_copy *copy, const struct replica_note *note);

// ---- the loop ----

struct hosts {
    struct hosts_config config;
    // Held by the loop while it has a note in hand, and for a moment by who begins or ends a near part. So what is below is changed by one
    // thread at a time; the machines only by the loop's own.
    struct lock state;
    char folder[HOST_PATH_BYTES - 64];
    struct loop *loop;
    struct work_queue works;
    struct copies copies;
    struct copies_output *out;
    bool stepping;
    struct host_found *found; // by the start, until it is over
    uint32_t found_count;
    omen_status find_status;
    _Atomic uint32_t started;
    const struct map *map; // the newest; owned
    struct reserve reserve;
    struct meta_members *members; // as last told; owned. NULL: not yet
    uint32_t low_count;           // of the others whose disk is low
    uint64_t copies_wake_ns, upkeep_ns, retry_ns;
    uint64_t serials, part_serials, snapshot_serials;
    struct host_copy *rows[HOST_BUCKETS];
    uint32_t copy_count;
    struct host_part **parts; // [HOST_PARTS_MAX], by id
    uint32_t *free_parts;     // a stack of places
    uint32_t free_count;
    struct host_part *chains[1024]; // by who sent it
    size_t part_bytes;
    uint32_t near_count;        // parts under way that are in no table
    _Atomic size_t frame_bytes; // on their way to the loop
    struct encode encode;       // of what is sent
    struct replica_room *room;  // of a message that is read
    omen_status *statuses;      // [WIRE_ITEMS_MAX], of a write that is answered
    bool failed;                // fatal was called
    struct hosts_stats stats;
    struct lock seen_lock;
    struct hosts_seen *seen; // under `seen_lock`
};

void hosts_fail(struct hosts *hosts, const char *why);

#endif
