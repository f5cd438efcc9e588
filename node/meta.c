// node/meta.c -- the metadata loop: node/turn on a thread, with the disk, the bus and the clock.
//
// Shape: shell.
//
//      a note --> one input --> turn_step --> disk, bus (meta_send.c), this node (meta_tell.c), when to wake
#include "node/meta.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "base/os_log.h"
#include "base/os_wait.h"
#include "node/meta_int.h"
#include "wire/node_codec.h"

static void take(void *context, struct loop_note *note);
static void wake(void *context);
static void discard(void *context, struct loop_note *note);

enum { STARTING, STARTED, FAILED };

static const char *const halts[] = {
    [TURN_RUNS] = "it runs",
    [TURN_HALT_NO_MEMORY] = "no memory to apply what the cluster has agreed on",
    [TURN_HALT_CORRUPT] = "what should be the cluster's map is none",
    [TURN_HALT_INVALID] = "the metadata's log on the disk is damaged",
    [TURN_HALT_TOO_OLD] =
        "the cluster has features switched on that this program does not know; start a newer one",
};

omen_status
meta_open(const struct meta_config *config, struct meta **out)
{
    *out = NULL;
    struct meta *meta = mem_alloc_zero(1, sizeof *meta);
    if (meta == NULL)
        return OMEN_E_NO_MEMORY;
    meta->config = *config;
    meta->self = (struct cluster_uuid){config->turn->gossip.id.high, config->turn->gossip.id.low};
    lock_init(&meta->lock);
    encode_init(&meta->encode, PEER_BULK_BYTES_MAX);
    turn_init(&meta->turn, config->turn, config->seed);
    meta->addresses = mem_alloc(GOSSIP_PEERS_MAX * sizeof *meta->addresses);
    const struct loop_config loop = {"omen-meta", meta, take, wake, discard};
    if (meta->addresses == NULL || meta_watch_init(meta, config->seed) != OMEN_OK ||
        loop_open(&loop, &meta->loop) != OMEN_OK) {
        meta_close(meta);
        return OMEN_E_NO_MEMORY;
    }
    struct meta_start *start = meta_note_new(NOTE_META_START, sizeof *start);
    start->durable = config->durable;
    loop_post(meta->loop, &start->note);
    while (atomic_load(&meta->started) == STARTING)
        os_wait(&meta->started, STARTING);
    if (atomic_load(&meta->started) == FAILED) {
        const enum turn_halt halted = meta->halted;
        meta_close(meta);
        return halted == TURN_HALT_NO_MEMORY ? OMEN_E_NO_MEMORY
               : halted == TURN_HALT_TOO_OLD ? OMEN_E_VERSION
                                             : OMEN_E_CORRUPT;
    }
    *out = meta;
    return OMEN_OK;
}

void
meta_stop(struct meta *meta)
{
    loop_stop(meta->loop);
}

void
meta_close(struct meta *meta)
{
    if (meta == NULL)
        return;
    loop_close(meta->loop);
    for (uint32_t i = 0; i < meta->wait_count; i++)
        mem_free(meta->waits[i].answer);
    turn_fini(&meta->turn);
    meta_watch_fini(meta);
    encode_fini(&meta->encode);
    mem_free(meta->peers);
    mem_free(meta->addresses);
    mem_free(meta->keys);
    lock_fini(&meta->lock);
    mem_free(meta);
}

// ---- questions, from any thread ----

void
meta_feed(struct meta *meta, struct loop *data)
{
    struct meta_feed *feed = meta_note_new(NOTE_META_FEED, sizeof *feed);
    feed->data = data;
    loop_post(meta->loop, &feed->note);
}

void
meta_frame(struct meta *meta, struct cluster_uuid from, uint64_t boot, const struct peer_head *head,
           struct wire_bytes body)
{
    struct frame_note *frame = frame_note_make(from, boot, head, body);
    if (frame != NULL)
        loop_post(meta->loop, &frame->note);
}

void
meta_datagram(struct meta *meta, struct wire_bytes packet)
{
    struct datagram_note *datagram = datagram_note_make(packet);
    if (datagram != NULL)
        loop_post(meta->loop, &datagram->note);
}

static struct meta_ask *
ask_new(enum meta_ask_kind kind)
{
    struct meta_ask *ask = meta_note_new(NOTE_META_ASK, sizeof *ask);
    ask->kind = kind;
    return ask;
}

void
meta_propose(struct meta *meta, const struct command *command, struct loop *answer_to, void *tag)
{
    struct meta_ask *ask = ask_new(META_PROPOSE);
    ask->command = *command;
    ask->answer_to = answer_to;
    ask->answer = meta_note_new(NOTE_META_ANSWER, sizeof *ask->answer);
    ask->answer->tag = tag;
    loop_post(meta->loop, &ask->note);
}

static void
hear_of(struct meta *meta, enum meta_ask_kind kind, struct cluster_uuid node)
{
    struct meta_ask *ask = ask_new(kind);
    ask->node = node;
    loop_post(meta->loop, &ask->note);
}

void
meta_refused(struct meta *meta, struct cluster_uuid node)
{
    hear_of(meta, META_REFUSED, node);
}

void
meta_reached(struct meta *meta, struct cluster_uuid node)
{
    hear_of(meta, META_REACHED, node);
}

void
meta_wish(struct meta *meta, const struct command *command)
{
    struct meta_ask *ask = ask_new(META_WISH);
    ask->command = *command;
    loop_post(meta->loop, &ask->note);
}

void
meta_want(struct meta *meta, uint64_t version)
{
    struct meta_ask *ask = ask_new(META_WANT);
    ask->version = version;
    loop_post(meta->loop, &ask->note);
}

void
meta_meet(struct meta *meta, const struct gossip_address *address)
{
    struct meta_ask *ask = ask_new(META_MEET);
    ask->meet = *address;
    loop_post(meta->loop, &ask->note);
}

void
meta_leave(struct meta *meta)
{
    loop_post(meta->loop, &ask_new(META_LEAVE)->note);
}

void
meta_disk(struct meta *meta, enum meta_disk disk)
{
    struct meta_ask *ask = ask_new(META_DISK);
    ask->disk = disk;
    loop_post(meta->loop, &ask->note);
}

bool
meta_has_left(struct meta *meta)
{
    return atomic_load(&meta->left);
}

void
meta_go(struct meta *meta)
{
    loop_post(meta->loop, &ask_new(META_GO)->note);
}

bool
meta_is_gone(struct meta *meta)
{
    return atomic_load(&meta->gone);
}

struct cluster_uuid
meta_leader(struct meta *meta)
{
    lock_acquire(&meta->lock);
    const struct cluster_uuid leader = meta->leader;
    lock_release(&meta->lock);
    return leader;
}

bool
meta_key(struct meta *meta, const struct map_name *name, struct api_key *out)
{
    bool found = false;
    lock_acquire(&meta->lock);
    const struct map keys = {.keys = meta->keys, .key_count = meta->key_count};
    const struct api_key *key = map_key(&keys, name);
    if (key != NULL) {
        *out = *key;
        found = true;
    }
    lock_release(&meta->lock);
    return found;
}

bool
meta_has_keys(struct meta *meta)
{
    return atomic_load_explicit(&meta->has_keys, memory_order_relaxed);
}

uint64_t
meta_keys_seen(struct meta *meta)
{
    return atomic_load_explicit(&meta->keys_seen, memory_order_acquire); // released by tell_keys
}

bool
meta_is_current(struct meta *meta)
{
    return atomic_load_explicit(&meta->current, memory_order_acquire); // released by tell_current
}

void
meta_stats(struct meta *meta, struct meta_stats *out)
{
    lock_acquire(&meta->lock);
    *out = meta->stats;
    lock_release(&meta->lock);
}

// ---- the loop ----

static void
persist(struct meta *meta)
{
    const struct turn_output *out = &meta->out;
    const struct raft_output *raft = &out->raft;
    if (raft->sync || raft->hard_state_changed || raft->compact_through != 0 ||
        raft->chunk != NULL || out->checkpoint.count > 0)
        disk_write_meta(meta->config.disk, out, meta->loop);
}

void
meta_halt(struct meta *meta, enum turn_halt why)
{
    meta->halted = why;
    loop_due(meta->loop, UINT64_MAX);
    if (atomic_load(&meta->started) == STARTING)
        return; // meta_open says so
    log_say(LOG_LEVEL_ERROR, "meta.halted", "why", halts[meta->halted]);
    meta->config.halt(meta->config.context, halts[meta->halted]);
}

static void
set_due(struct meta *meta)
{
    uint64_t due_ns = meta->out.wake_ns;
    const uint64_t wish_ns = meta_wish_due(meta);
    if (wish_ns < due_ns)
        due_ns = wish_ns;
    if (meta_watch_due(meta) < due_ns)
        due_ns = meta_watch_due(meta);
    if (meta->clocks_due_ns < due_ns)
        due_ns = meta->clocks_due_ns;
    if (meta->wait_count > 0 && meta->waits[0].until_ns < due_ns)
        due_ns = meta->waits[0].until_ns;
    loop_due(meta->loop, due_ns);
}

// Since when it puts off what it should write, which is said once and once it is over.
static uint64_t
look_at_disk(struct meta *meta)
{
    const struct disk_stats stats = disk_stats(meta->config.disk);
    const bool stuck = stats.put_off_since_ns > 0;
    if (stuck && !meta->said_stuck)
        log_say(LOG_LEVEL_ERROR, "disk.stuck", "why",
                "no room on the disk, or no memory, for what must be durable; none of it is "
                "acknowledged");
    if (!stuck && meta->said_stuck)
        log_say(LOG_LEVEL_INFO, "disk.goes_on", "why", "what was put off is durable");
    meta->said_stuck = stuck;
    return stats.put_off_since_ns;
}

// False: it has ended, and nothing of the output may be looked at.
static bool
step(struct meta *meta, struct turn_input in)
{
    if (meta->halted != TURN_RUNS)
        return false;
    in.now_ns = os_clock_ns();
    in.wall_ms = node_clock_ms(meta->config.clock);
    in.put_off_since_ns = look_at_disk(meta);
    meta->turns++;
    turn_step(&meta->turn, &in, &meta->out);
    if (meta->out.halt != TURN_RUNS) {
        meta_halt(meta, meta->out.halt);
        return false;
    }
    persist(meta);
    meta_send(meta);
    meta_tell(meta);
    set_due(meta);
    return true;
}

static void
take_turn_msg(struct meta *meta, struct cluster_uuid from, struct wire_bytes body)
{
    struct wire_turn wire;
    if (!wire_turn_read(body, &wire) ||
        (wire.command_bytes > 0 &&
         command_decode(wire.command, wire.command_bytes, &meta->command) != OMEN_OK)) {
        meta->refused++;
        return;
    }
    if (wire.kind == WIRE_TURN_CLOCK_ASK || wire.kind == WIRE_TURN_CLOCK) {
        meta_clock_take(meta, from, &wire);
        return;
    }
    const struct turn_msg msg = {.kind = (enum turn_msg_kind)wire.kind,
                                 .node = wire.node,
                                 .boot = wire.boot,
                                 .sent_ns = wire.sent_ns,
                                 .lease_ns = wire.lease_ns,
                                 .position = wire.position,
                                 .command = wire.command_bytes > 0 ? &meta->command : NULL};
    (void)step(meta, (struct turn_input){.kind = TURN_IN_MSG, .msg = &msg});
}

static void
take_gossip(struct meta *meta, struct wire_bytes packet, enum gossip_lane lane)
{
    if (gossip_msg_decode(packet.bytes, packet.count, &meta->gossip) != OMEN_OK) {
        meta->refused++;
        return;
    }
    struct turn_input in = {.kind = TURN_IN_GOSSIP};
    in.gossip.message = &meta->gossip;
    in.gossip.lane = lane;
    (void)step(meta, in);
}

static void
take_frame(struct meta *meta, const struct frame_note *frame)
{
    const struct wire_bytes body = {frame->body, frame->count};
    struct wire_map_ask ask;
    struct wire_map piece;
    meta->frames++;
    switch (frame->head.kind) {
    case PEER_RAFT:
        if (raft_msg_read(body, &meta->room) && meta->room.msg.to == meta->turn.config.raft.id)
            (void)step(meta, (struct turn_input){.kind = TURN_IN_RAFT, .raft = &meta->room.msg});
        else
            meta->refused++;
        break;
    case PEER_GOSSIP:
        take_gossip(meta, body, GOSSIP_LANE_CONTROL);
        break;
    case PEER_TURN:
        take_turn_msg(meta, frame->from, body);
        break;
    case PEER_MAP_ASK:
        if (wire_map_ask_read(body, &ask))
            meta_send_map(meta, frame->from, ask.version);
        else
            meta->refused++;
        break;
    case PEER_MAP:
        if (!wire_map_read(body, &piece)) {
            meta->refused++;
            break;
        }
        meta_watch_piece(meta, frame->from, &piece);
        (void)step(meta, (struct turn_input){.kind = TURN_IN_WAKE});
        break;
    default:
        meta->refused++;
        break;
    }
}

static void
take_disk(struct meta *meta, const struct disk_done *done)
{
    ASSERT(done->kind == DISK_META_DONE);
    (void)step(meta,
               (struct turn_input){.kind = TURN_IN_PERSISTED, .persist_number = done->number});
}

static void
take_proposal(struct meta *meta, const struct meta_ask *ask)
{
    if (meta->wait_count == META_WAITS_MAX) {
        meta_answer_now(meta, ask, RAFT_ANSWER_BUSY);
        return;
    }
    if (!step(meta, (struct turn_input){.kind = TURN_IN_PROPOSE, .command = &ask->command})) {
        mem_free(ask->answer); // the process ends
        return;
    }
    if (meta->out.raft.answer != RAFT_ANSWER_OK) {
        meta_answer_now(meta, ask, meta->out.raft.answer);
        return;
    }
    meta_wait_for(meta, ask, os_clock_ns());
    set_due(meta);
}

static void
take_ask(struct meta *meta, const struct meta_ask *ask)
{
    switch (ask->kind) {
    case META_PROPOSE:
        take_proposal(meta, ask);
        break;
    case META_WISH:
        if (meta->turn.raft.lead == 0)
            meta_send_command(meta, &ask->command);
        else
            (void)step(meta, (struct turn_input){.kind = TURN_IN_WISH, .command = &ask->command});
        break;
    case META_REFUSED:
        (void)step(meta, (struct turn_input){.kind = TURN_IN_REFUSED, .node = ask->node});
        break;
    case META_REACHED:
        (void)step(meta, (struct turn_input){.kind = TURN_IN_REACHED, .node = ask->node});
        break;
    case META_MEET:
        (void)step(meta, (struct turn_input){.kind = TURN_IN_MEET, .meet = ask->meet});
        break;
    case META_LEAVE:
        (void)step(meta, (struct turn_input){.kind = TURN_IN_LEAVE});
        break;
    case META_GO:
        (void)step(meta, (struct turn_input){.kind = TURN_IN_GO});
        break;
    case META_DISK:
        (void)step(meta, (struct turn_input){.kind = TURN_IN_DISK,
                                             .disk_low = ask->disk == META_DISK_LOW});
        break;
    case META_WANT:
        meta_watch_word(meta, ask->version);
        set_due(meta);
        break;
    }
}

static void
take_start(struct meta *meta, const struct meta_start *start)
{
    const bool runs =
        step(meta, (struct turn_input){.kind = TURN_IN_START, .durable = start->durable});
    atomic_store(&meta->started, runs ? STARTED : FAILED);
    os_wake_all(&meta->started);
}

// It hears what there is, but for leases and words, which come again by themselves.
static void
take_feed(struct meta *meta, const struct meta_feed *feed)
{
    ASSERT(meta->listener_count < META_LISTENERS_MAX);
    meta->listeners[meta->listener_count++] = (struct meta_listener){.loop = feed->data};
    (void)step(meta, (struct turn_input){.kind = TURN_IN_WAKE});
}

static void
take(void *context, struct loop_note *note)
{
    struct meta *meta = context;
    switch (note->kind) {
    case NOTE_FRAME:
        take_frame(meta, (const struct frame_note *)note);
        break;
    case NOTE_DATAGRAM: {
        const struct datagram_note *datagram = (const struct datagram_note *)note;
        take_gossip(meta, (struct wire_bytes){datagram->packet, datagram->count},
                    GOSSIP_LANE_DATAGRAM);
        break;
    }
    case NOTE_DISK:
        take_disk(meta, (const struct disk_done *)note);
        break;
    case NOTE_META_START:
        take_start(meta, (const struct meta_start *)note);
        break;
    case NOTE_META_FEED:
        take_feed(meta, (const struct meta_feed *)note);
        break;
    case NOTE_META_ASK:
        take_ask(meta, (const struct meta_ask *)note);
        break;
    default:
        ASSERT(false);
    }
    mem_free(note);
}

static void
wake(void *context)
{
    struct meta *meta = context;
    const uint64_t now_ns = os_clock_ns();
    meta_give_up(meta, now_ns);
    meta_watch_wake(meta);
    meta_clock_wake(meta);
    if (meta->halted == TURN_RUNS && meta_wish_due(meta) <= now_ns) {
        meta_wish_now(meta, now_ns);
        (void)step(meta, (struct turn_input){.kind = TURN_IN_WISH, .command = &meta->wish});
    }
    (void)step(meta, (struct turn_input){.kind = TURN_IN_WAKE});
}

static void
discard(void *context, struct loop_note *note)
{
    (void)context;
    if (note->kind == NOTE_META_ASK)
        mem_free(((struct meta_ask *)note)->answer);
    mem_free(note);
}
