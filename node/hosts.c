// node/hosts.c -- the data loop: what it takes, one note after the other, and when it wakes.
//
// Shape: shell.
#include "node/hosts.h"

#include <stdio.h>

#include "base/os_random.h"
#include "base/os_wait.h"
#include "node/hosts_int.h"

#define RETRY_NS UINT64_C(100000000) // of replicas, and of commands for the map
#define IDLE_NS UINT64_C(20000000)
#define WAKES_AT_ONCE 64u // then notes have their turn

static void take(void *context, struct loop_note *note);
static void wake(void *context);
static void discard(void *context, struct loop_note *note);
static void rest(struct hosts *hosts);

// ---- its life ----

static omen_status
make_tables(struct hosts *hosts)
{
    hosts->out = mem_alloc_zero(1, sizeof *hosts->out);
    hosts->room = mem_alloc(sizeof *hosts->room);
    hosts->statuses = mem_alloc(WIRE_ITEMS_MAX * sizeof *hosts->statuses);
    hosts->parts = mem_alloc_zero(HOST_PARTS_MAX, sizeof *hosts->parts);
    hosts->free_parts = mem_alloc(HOST_PARTS_MAX * sizeof *hosts->free_parts);
    if (hosts->out == NULL || hosts->room == NULL || hosts->statuses == NULL ||
        hosts->parts == NULL || hosts->free_parts == NULL)
        return OMEN_E_NO_MEMORY;
    for (uint32_t i = 0; i < HOST_PARTS_MAX; i++)
        hosts->free_parts[i] = HOST_PARTS_MAX - 1 - i;
    hosts->free_count = HOST_PARTS_MAX;
    return OMEN_OK;
}

static void
init_copies(struct hosts *hosts)
{
    const struct copies_config config = {.node = hosts->config.node,
                                         .boot = hosts->config.boot,
                                         .retry_ns = RETRY_NS,
                                         .idle_ns = IDLE_NS,
                                         .shrink_ms = hosts->config.shrink_ms,
                                         .ops_max = DEDUPE_OPS_MAX,
                                         .terms_max = REPLICA_TERMS_MAX,
                                         .window_ms = DEDUPE_WINDOW_MS};
    uint64_t seed;
    os_random(&seed, sizeof seed);
    copies_init(&hosts->copies, &config, seed);
    hosts->copies_wake_ns = UINT64_MAX;
    hosts->upkeep_ns = os_clock_ns() + HOST_UPKEEP_NS;
}

// The copies that were found are given to the machine in its own thread.
static omen_status
start_loop(struct hosts *hosts)
{
    const struct loop_config config = {
        .name = "omen-data", .context = hosts, .take = take, .wake = wake, .discard = discard};
    struct loop_note *note = mem_alloc_zero(1, sizeof *note);
    omen_status status = note != NULL ? work_open(hosts, hosts->config.threads) : OMEN_E_NO_MEMORY;
    if (status == OMEN_OK)
        status = loop_open(&config, &hosts->loop);
    if (status != OMEN_OK) {
        mem_free(note);
        return status;
    }
    note->kind = HOST_NOTE_START;
    loop_post(hosts->loop, note);
    while (atomic_load(&hosts->started) == 0)
        os_wait(&hosts->started, 0);
    return hosts->failed ? OMEN_E_NO_MEMORY : status;
}

static omen_status
begin(struct hosts *hosts, struct omen_error *error)
{
    const char *folder = hosts->config.folder;
    const int length = snprintf(hosts->folder, sizeof hosts->folder, "%s", folder);
    if (length < 0 || (size_t)length >= sizeof hosts->folder)
        return error_set(error, OMEN_E_INVALID, "%s: the path is too long", folder);
    hosts->config.folder = hosts->folder;
    omen_status status = make_tables(hosts);
    if (status != OMEN_OK)
        return error_set_plain(error, status);
    status = hosts_find_copies(hosts, error);
    if (status != OMEN_OK)
        return status;
    status = start_loop(hosts);
    hosts_found_end(hosts);
    return status == OMEN_OK ? OMEN_OK : error_set_plain(error, status);
}

static void
fill_in(struct hosts_config *config)
{
    if (config->part_bytes_max == 0)
        config->part_bytes_max = HOST_PARTS_BYTES_MAX;
    if (config->keep_entries == 0)
        config->keep_entries = HOST_KEEP_ENTRIES;
    if (config->keep_bytes == 0)
        config->keep_bytes = HOST_KEEP_BYTES;
}

omen_status
hosts_open(const struct hosts_config *config, struct hosts **out, struct omen_error *error)
{
    ASSERT(config->threads >= 1 && config->disk != NULL);
    *out = NULL;
    struct hosts *hosts = mem_alloc_zero(1, sizeof *hosts);
    if (hosts == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    hosts->config = *config;
    fill_in(&hosts->config);
    lock_init(&hosts->state);
    lock_init(&hosts->works.lock);
    lock_init(&hosts->seen_lock);
    hosts->retry_ns = UINT64_MAX;
    encode_init(&hosts->encode, PEER_BULK_BYTES_MAX);
    init_copies(hosts);
    const omen_status status = begin(hosts, error);
    if (status != OMEN_OK) {
        hosts_stop(hosts);
        hosts_close(hosts);
        return status;
    }
    *out = hosts;
    return OMEN_OK;
}

struct loop *
hosts_loop(struct hosts *hosts)
{
    return hosts->loop;
}

void
hosts_stop(struct hosts *hosts)
{
    if (hosts->loop != NULL)
        loop_stop(hosts->loop);
    work_close(hosts);
}

void
hosts_close(struct hosts *hosts)
{
    if (hosts == NULL)
        return;
    hosts_stop(hosts);
    host_parts_close(hosts);
    hosts_found_end(hosts);
    hosts_close_shards(hosts);
    for (uint32_t i = 0; i < HOST_BUCKETS; i++)
        while (hosts->rows[i] != NULL)
            host_copy_free(hosts, hosts->rows[i]);
    loop_close(hosts->loop);
    copies_fini(&hosts->copies);
    map_publish_end(hosts->map);
    mem_free(hosts->members);
    encode_fini(&hosts->encode);
    mem_free(hosts->free_parts);
    mem_free(hosts->parts);
    mem_free(hosts->statuses);
    mem_free(hosts->room);
    mem_free(hosts->out);
    hosts_look_end(hosts->seen);
    lock_fini(&hosts->seen_lock);
    lock_fini(&hosts->works.lock);
    lock_fini(&hosts->state);
    mem_free(hosts);
}

void
hosts_fail(struct hosts *hosts, const char *why)
{
    if (hosts->failed)
        return;
    hosts->failed = true;
    hosts->config.halt(hosts->config.context, why);
}

// ---- what comes in ----

void
hosts_frame(struct hosts *hosts, struct cluster_uuid from, uint64_t boot,
            const struct peer_head *head, struct wire_bytes body)
{
    const size_t before = atomic_fetch_add(&hosts->frame_bytes, body.count);
    struct frame_note *frame = before + body.count <= HOST_FRAME_BYTES_MAX
                                   ? frame_note_make(from, boot, head, body)
                                   : NULL;
    if (frame != NULL)
        loop_post(hosts->loop, &frame->note);
    else // it is lost, as frames are
        atomic_fetch_sub(&hosts->frame_bytes, body.count);
}

static void
take_message(struct hosts *hosts, const struct frame_note *frame)
{
    if (!replica_msg_read((struct wire_bytes){frame->body, frame->count}, hosts->room)) {
        hosts->stats.bad_frames++;
        return;
    }
    const struct replica_msg *msg = &hosts->room->msg;
    hosts_give(hosts, (struct cluster_uuid){msg->to.high, msg->to.low},
               (struct replica_input){.kind = REPLICA_IN_MESSAGE, .message = msg});
}

// True: the note is somebody's from now on.
static bool
take_frame(struct hosts *hosts, struct frame_note *frame)
{
    hosts->stats.frames++;
    atomic_fetch_sub(&hosts->frame_bytes, frame->count);
    switch (frame->head.kind) {
    case PEER_REPLICA:
        take_message(hosts, frame);
        return false;
    case PEER_PART:
        hosts_part(hosts, frame);
        return true;
    case PEER_CANCEL:
        hosts_cancel(hosts, frame);
        return false;
    default:
        hosts->stats.bad_frames++;
        return false;
    }
}

static void
take_map(struct hosts *hosts, struct meta_map *note)
{
    const struct map *old = hosts->map;
    hosts->map = note->map;
    hosts_step(hosts, &(struct copies_input){.kind = COPIES_IN_MAP, .map = hosts->map});
    map_publish_end(old);
}

static void
take_lease(struct hosts *hosts, const struct meta_lease *lease)
{
    struct copies_input in = {.kind = COPIES_IN_LEASE};
    in.sent_ns = lease->sent_ns;
    in.lease_ns = lease->lease_ns;
    hosts_step(hosts, &in);
}

static void
take_word(struct hosts *hosts, const struct meta_word *word)
{
    struct copies_input in = {.kind = COPIES_IN_WORD};
    in.word.node = word->node;
    in.word.dead = word->dead;
    hosts_step(hosts, &in);
}

static void
take_work(struct hosts *hosts, struct work *work)
{
    switch (work->kind) {
    case WORK_MAKE:
        host_made(hosts, work);
        break;
    case WORK_ERASE:
        host_erased(hosts, work);
        break;
    case WORK_APPLY:
        host_applied(hosts, work);
        break;
    case WORK_LOG:
        host_log_was_read(hosts, work);
        break;
    case WORK_READ:
    case WORK_PREPARE:
        host_part_worked(hosts, work);
        break;
    case WORK_NEAR:
        host_near_worked(hosts, work);
        return; // it went where it belongs
    case WORK_SNAPSHOT:
    case WORK_SEAL:
    case WORK_CHUNK:
    case WORK_STORE:
    case WORK_INSTALL:
    case WORK_FORGET:
        host_served(hosts, work);
        break;
    case WORK_LOOK:
        host_looked(hosts, work);
        break;
    }
    work_free(work);
}

static void
take_input(struct hosts *hosts, struct host_input *input)
{
    const struct host_copy *copy = host_copy_find(hosts, input->copy);
    if (copy != NULL && copy->serial == input->serial)
        hosts_give(hosts, copy->uuid, input->given);
}

static void
start(struct hosts *hosts)
{
    hosts_give_found(hosts);
    hosts_look_at_disk(hosts);
    hosts_show(hosts, os_clock_ns());
    atomic_store(&hosts->started, 1);
    os_wake_all(&hosts->started);
}

static void
take(void *context, struct loop_note *note)
{
    struct hosts *hosts = context;
    bool kept = false;
    lock_acquire(&hosts->state);
    if (note->kind == NOTE_FRAME) {
        kept = take_frame(hosts, (struct frame_note *)note);
    } else if (note->kind == NOTE_DISK) {
        host_disk_done(hosts, (const struct disk_done *)note);
    } else if (note->kind == NOTE_META_MAP) {
        take_map(hosts, (struct meta_map *)note);
    } else if (note->kind == NOTE_META_LEASE) {
        take_lease(hosts, (const struct meta_lease *)note);
    } else if (note->kind == NOTE_META_WORD) {
        take_word(hosts, (const struct meta_word *)note);
    } else if (note->kind == NOTE_META_MEMBERS) {
        hosts_take_members(hosts, (struct meta_members *)note);
        kept = true;
    } else if (note->kind == NOTE_META_LED) {
        hosts_step(hosts, &(struct copies_input){.kind = COPIES_IN_LED});
    } else if (note->kind == HOST_NOTE_WORK) {
        take_work(hosts, (struct work *)note);
        kept = true; // gone already
    } else if (note->kind == HOST_NOTE_INPUT) {
        take_input(hosts, (struct host_input *)note);
    } else if (note->kind == HOST_NOTE_START) {
        start(hosts);
    }
    if (!kept)
        mem_free(note);
    rest(hosts);
    lock_release(&hosts->state);
}

static void
discard(void *context, struct loop_note *note)
{
    struct hosts *hosts = context;
    (void)hosts;
    if (note->kind == NOTE_META_MAP)
        map_publish_end(((struct meta_map *)note)->map);
    if (note->kind == HOST_NOTE_WORK)
        work_free((struct work *)note);
    else
        mem_free(note);
}

// ---- what is due ----

static void
upkeep(struct hosts *hosts, uint64_t now_ns)
{
    hosts->upkeep_ns = now_ns + HOST_UPKEEP_NS;
    for (uint32_t i = 0; i < HOST_BUCKETS; i++)
        for (struct host_copy *copy = hosts->rows[i]; copy != NULL; copy = copy->next) {
            host_forget_lost(hosts, copy);
            host_trim(hosts, copy);
            host_check(hosts, copy, now_ns);
            host_snapshots_idle(copy, now_ns);
        }
    hosts_look_at_disk(hosts);
    hosts_show(hosts, now_ns);
}

// What could not be begun, for want of memory or of room on the disk. Returns when to look again.
static uint64_t
go_on(struct hosts *hosts, uint64_t now_ns)
{
    hosts->retry_ns = UINT64_MAX;
    for (uint32_t i = 0; i < HOST_BUCKETS; i++)
        for (struct host_copy *copy = hosts->rows[i]; copy != NULL; copy = copy->next) {
            if (copy->again_ns == 0)
                continue;
            if (copy->again_ns > now_ns) {
                hosts->retry_ns =
                    copy->again_ns < hosts->retry_ns ? copy->again_ns : hosts->retry_ns;
                continue;
            }
            copy->again_ns = 0;
            if (copy->state == HOST_MAKING && copy->users == 0 && copy->hosted == NULL)
                host_make_shard(hosts, copy);
            host_apply(hosts, copy);
            host_unused(hosts, copy);
        }
    return hosts->retry_ns;
}

static void
rest(struct hosts *hosts)
{
    uint64_t due = hosts->copies_wake_ns;
    if (hosts->upkeep_ns < due)
        due = hosts->upkeep_ns;
    if (hosts->retry_ns < due)
        due = hosts->retry_ns;
    loop_due(hosts->loop, due);
}

static void
wake(void *context)
{
    struct hosts *hosts = context;
    const uint64_t now_ns = os_clock_ns();
    lock_acquire(&hosts->state);
    for (uint32_t i = 0; i < WAKES_AT_ONCE && hosts->copies_wake_ns <= os_clock_ns(); i++)
        hosts_step(hosts, &(struct copies_input){.kind = COPIES_IN_WAKE});
    if (hosts->retry_ns <= now_ns)
        hosts->retry_ns = go_on(hosts, now_ns);
    if (hosts->upkeep_ns <= now_ns)
        upkeep(hosts, now_ns);
    rest(hosts);
    lock_release(&hosts->state);
}

struct hosts_stats
hosts_stats(const struct hosts *hosts)
{
    struct hosts_stats stats = hosts->stats;
    stats.parts_under_way = host_parts_under_way(hosts);
    return stats;
}
