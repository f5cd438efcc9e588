// tests/lib/hosts_world.h -- data loops of a few nodes in one process, around a map that a test makes by hand, and somebody who asks them.
//
// Shape: shell. Loops and workers are real threads; bus and metadata are simulated, and so are disk and shard unless HOSTS_WORLD_REAL
// is defined. Nothing sleeps: whoever waits is woken by what happens.
#ifndef OMEN_TESTS_HOSTS_WORLD_H
#define OMEN_TESTS_HOSTS_WORLD_H
#include "base/os_clock.h"
#include "base/os_log.h"
#include "node/hosts.h"
#include "tests/lib/cluster_world.h"
#include "tests/lib/folder.h"
#ifdef HOSTS_WORLD_REAL
#include "tests/lib/hosts_real.h"
#else
#include "tests/lib/disk_model.h"
#include "tests/lib/hosted_model.h"
#endif

#define HOSTS_NODES_MAX 4u
#define HOSTS_REPLIES_MAX 4096u // remembered: who asks more forgets the oldest
#define HOSTS_LEASE_NS (UINT64_C(1000) * 1000000000)
// No copy goes because this process, or one of its threads, had no processor for a while.
#define HOSTS_SHRINK_MS 1000000u

struct bus {
    struct hosts_world *world;
    uint32_t node;
};

struct meta {
    struct hosts_world *world;
    uint32_t node;
};

struct hosts_reply { // that came to who asks
    uint64_t correlation;
    bool there;
    struct wire_reply reply;
    uint8_t *bytes;
};

struct hosts_node {
    struct hosts *hosts; // NULL: down
    struct disk *disk;
    struct folder folder;
    struct bus bus;
    struct meta meta;
    uint64_t boot;
    bool disk_low; // it said
    bool cut;      // nobody hears it, and it hears nobody
    const char *halted;
};

struct hosts_world {
    struct lock lock; // of the map
    struct lock bus_lock;
    struct world world;
    struct hosts_node nodes[HOSTS_NODES_MAX + 1]; // by number
    uint32_t node_count;
    uint32_t threads; // of the pool of a node that starts
    uint64_t shard;
    bool leases;
    uint64_t asked;    // correlations
    uint64_t drawn_ms; // operations that hosts_name names; 0: none yet
    struct hosts_reply replies[HOSTS_REPLIES_MAX];
    struct near *near;      // those that are done, the newest first
    uint32_t nears_most;    // came together
    uint64_t lost_commands; // while somebody's wishes are not heard
    bool deaf;              // the metadata hear no wish
};

static struct hosts_world hosts;
static uint32_t hosts_reserve_percent; // of nodes that start

static const struct cluster_uuid asker = {7, 7};

static inline struct cluster_uuid
hosts_uuid(uint32_t node)
{
    return hosts.world.map.nodes[node - 1].uuid;
}

// ---- the bus ----

static inline void
hosts_hear_reply(const struct bus_frame *frame)
{
    struct hosts_reply *reply = &hosts.replies[frame->correlation % HOSTS_REPLIES_MAX];
    ck_assert_int_eq(frame->kind, PEER_REPLY);
    if (reply->correlation != frame->correlation)
        return; // forgotten
    ck_assert_msg(!reply->there, "a part is answered once");
    reply->bytes = malloc(frame->body.count + 1);
    ck_assert_ptr_nonnull(reply->bytes);
    memcpy(reply->bytes, frame->body.bytes, frame->body.count);
    ck_assert(wire_reply_read((struct wire_bytes){reply->bytes, frame->body.count}, &reply->reply));
    reply->there = true;
    model_happened();
}

bool
bus_send(struct bus *bus, struct wire_uuid to, const struct bus_frame *frame)
{
    bool sent = false;
    lock_acquire(&hosts.bus_lock);
    const struct hosts_node *from = &hosts.nodes[bus->node];
    if (to.high == asker.high && to.low == asker.low) {
        hosts_hear_reply(frame);
        sent = true;
    }
    for (uint32_t i = 1; i <= hosts.node_count && !sent; i++) {
        struct hosts_node *node = &hosts.nodes[i];
        const struct cluster_uuid uuid = hosts_uuid(i);
        if (uuid.high != to.high || uuid.low != to.low || node->hosts == NULL || node->cut ||
            from->cut)
            continue;
        const struct peer_head head = {.correlation = frame->correlation,
                                       .body_bytes = frame->body.count,
                                       .deadline_ms = frame->deadline_ms,
                                       .kind = frame->kind,
                                       .lane = frame->lane};
        hosts_frame(node->hosts, hosts_uuid(bus->node), from->boot, &head, frame->body);
        sent = true;
    }
    lock_release(&hosts.bus_lock);
    return sent;
}

// ---- the metadata ----

// Under the lock.
static inline void
hosts_tell(uint32_t at)
{
    struct hosts_node *node = &hosts.nodes[at];
    if (node->hosts == NULL)
        return;
    struct meta_map *map = mem_alloc_zero(1, sizeof *map);
    ck_assert_ptr_nonnull(map);
    map->note.kind = NOTE_META_MAP;
    ck_assert_int_eq(map_publish(&hosts.world.map, &map->map), OMEN_OK);
    loop_post(hosts_loop(node->hosts), &map->note);
    struct meta_lease *lease = mem_alloc_zero(1, sizeof *lease);
    ck_assert_ptr_nonnull(lease);
    lease->note.kind = NOTE_META_LEASE;
    lease->sent_ns = os_clock_ns();
    lease->lease_ns = hosts.leases ? HOSTS_LEASE_NS : 1;
    loop_post(hosts_loop(node->hosts), &lease->note);
}

static inline void
hosts_tell_all(void)
{
    for (uint32_t i = 1; i <= hosts.node_count; i++)
        hosts_tell(i);
    model_happened();
}

void
meta_wish(struct meta *meta, const struct command *command)
{
    (void)meta;
    lock_acquire(&hosts.lock);
    if (hosts.deaf) {
        hosts.lost_commands++;
    } else {
        const uint64_t version = hosts.world.map.version;
        (void)world_apply(&hosts.world, command);
        if (hosts.world.map.version != version)
            hosts_tell_all();
    }
    lock_release(&hosts.lock);
}

void
meta_disk(struct meta *meta, enum meta_disk disk)
{
    lock_acquire(&hosts.lock);
    hosts.nodes[meta->node].disk_low = disk == META_DISK_LOW;
    model_happened();
    lock_release(&hosts.lock);
}

static inline omen_status
hosts_map_step(struct shard_step step)
{
    lock_acquire(&hosts.lock);
    const omen_status status = world_step(&hosts.world, hosts.shard, step);
    hosts_tell_all();
    lock_release(&hosts.lock);
    return status;
}

// ---- parts that go without the loop ----

static inline void
hosts_hear_near(void *context, struct near *near)
{
    (void)context;
    lock_acquire(&hosts.bus_lock);
    near->next = hosts.near;
    hosts.near = near;
    lock_release(&hosts.bus_lock);
    model_happened();
}

static inline void
hosts_hear_nears(void *context, struct near *const *nears, uint32_t count)
{
    lock_acquire(&hosts.bus_lock);
    if (count > hosts.nears_most)
        hosts.nears_most = count;
    lock_release(&hosts.bus_lock);
    for (uint32_t i = 0; i < count; i++)
        hosts_hear_near(context, nears[i]);
}

// Takes it out; NULL: it is not done yet. Under no lock.
static inline struct near *
hosts_near_heard(uint64_t request)
{
    lock_acquire(&hosts.bus_lock);
    struct near **link = &hosts.near;
    while (*link != NULL && (*link)->part.request != request)
        link = &(*link)->next;
    struct near *near = *link;
    if (near != NULL)
        *link = near->next;
    lock_release(&hosts.bus_lock);
    return near;
}

// ---- nodes ----

static inline void
hosts_halted(void *context, const char *why)
{
    ((struct hosts_node *)context)->halted = why;
}

static inline void
hosts_node_start(uint32_t at)
{
    struct hosts_node *node = &hosts.nodes[at];
    struct omen_error error;
    struct hosts *opened = NULL;
    disk_place_start(&node->disk, node->folder.path);
    const struct hosts_config config = {.node = hosts_uuid(at),
                                        .boot = ++node->boot,
                                        .folder = node->folder.path,
                                        .threads = hosts.threads,
                                        .reserve_percent = hosts_reserve_percent,
                                        .disk = node->disk,
                                        .bus = &node->bus,
                                        .meta = &node->meta,
                                        .part_bytes_max = 1 << 20,
                                        .keep_entries = 100,
                                        .shrink_ms = HOSTS_SHRINK_MS,
                                        .context = node,
                                        .halt = hosts_halted,
                                        .near = hosts_hear_near,
                                        .nears = hosts_hear_nears};
    const omen_status status = hosts_open(&config, &opened, &error);
    ck_assert_msg(status == OMEN_OK, "%s", error.text);
    lock_acquire(&hosts.lock);
    struct command command = command_of(COMMAND_NODE_REGISTER);
    command.node = (struct command_node){.uuid = config.node,
                                         .boot = config.boot,
                                         .features = 7,
                                         .weight = 100,
                                         .roles = NODE_ROLES_ALL,
                                         .zone = name_of("a")};
    if (config.boot > 1)
        (void)world_apply(&hosts.world, &command);
    lock_acquire(&hosts.bus_lock);
    node->hosts = opened;
    lock_release(&hosts.bus_lock);
    hosts_tell_all();
    lock_release(&hosts.lock);
}

static inline void
hosts_node_stop(uint32_t at)
{
    struct hosts_node *node = &hosts.nodes[at];
    lock_acquire(&hosts.lock);
    lock_acquire(&hosts.bus_lock);
    struct hosts *stopped = node->hosts;
    node->hosts = NULL;
    lock_release(&hosts.bus_lock);
    lock_release(&hosts.lock);
    if (stopped == NULL)
        return;
    hosts_stop(stopped);
    disk_place_stop(&node->disk);
    hosts_close(stopped);
}

// So many nodes, and a collection of one shard that is not on any of them yet.
static inline void
hosts_world_init(uint32_t nodes, uint8_t replication)
{
    memset(&hosts, 0, sizeof hosts);
    lock_init(&hosts.lock);
    lock_init(&hosts.bus_lock);
    world_init(&hosts.world, 1);
    hosts.leases = true;
    hosts.threads = 2;
    log_level_set(LOG_LEVEL_ERROR);
    for (uint32_t i = 1; i <= nodes; i++) {
        struct hosts_node *node = &hosts.nodes[i];
        ck_assert_uint_eq(world_node(&hosts.world, "a", 100), i);
        folder_init(&node->folder);
        node->bus = (struct bus){&hosts, i};
        node->meta = (struct meta){&hosts, i};
    }
    hosts.node_count = nodes;
    struct command create = create_command("docs", 1, replication);
    create.collection.dimension = 8;
    create.collection.dtype = 1;
    create.collection.links_max = 16;
    create.collection.build_beam = 100;
    ck_assert_int_eq(world_apply(&hosts.world, &create).status, OMEN_OK);
    hosts.shard = hosts.world.map.shards[0].id;
    for (uint32_t i = 1; i <= nodes; i++)
        hosts_node_start(i);
}

static inline void
hosts_world_fini(void)
{
    model_restore();
    for (uint32_t i = 1; i <= hosts.node_count; i++) {
        hosts_node_stop(i);
        disk_place_end(&hosts.nodes[i].disk);
        folder_fini(&hosts.nodes[i].folder);
    }
    ck_assert_uint_eq(atomic_load(&model_opened), 0);
    while (hosts.near != NULL) {
        struct near *near = hosts.near;
        hosts.near = near->next;
        hosts_near_free(near);
    }
    for (uint32_t i = 0; i < HOSTS_REPLIES_MAX; i++)
        free(hosts.replies[i].bytes);
    world_fini(&hosts.world);
    lock_fini(&hosts.lock);
    lock_fini(&hosts.bus_lock);
}

// ---- waiting ----

#define HOSTS_WAIT(condition)                                                                      \
    do {                                                                                           \
        for (;;) {                                                                                 \
            const uint32_t before_ = atomic_load(&model_events);                                   \
            lock_acquire(&hosts.lock);                                                             \
            const bool is_ = (condition);                                                          \
            lock_release(&hosts.lock);                                                             \
            if (is_)                                                                               \
                break;                                                                             \
            os_wait(&model_events, before_);                                                       \
        }                                                                                          \
    } while (0)

static inline const struct map_shard *
hosts_row(void)
{
    return map_shard(&hosts.world.map, hosts.shard);
}

// ---- asking ----

static inline struct wire_part
hosts_part_to(uint32_t node, enum wire_part_kind kind)
{
    lock_acquire(&hosts.lock);
    const struct map_shard *row = hosts_row();
    const struct map_replica *replica = shard_replica_on(row, node);
    const struct wire_part part = {.kind = (uint8_t)kind,
                                   .method = kind == WIRE_PART_WRITE ? METHOD_POINT_UPSERT
                                                                     : METHOD_POINT_GET,
                                   .request = hosts.asked + 1,
                                   .copy_high = replica != NULL ? replica->uuid.high : 1,
                                   .copy_low = replica != NULL ? replica->uuid.low : 1,
                                   .shard = row->id,
                                   .term = row->term,
                                   .cfg_ver = row->cfg_ver,
                                   .map_version = hosts.world.map.version,
                                   .first = row->first,
                                   .last = row->last};
    lock_release(&hosts.lock);
    return part;
}

// The operation of that number; all of a test's are drawn when it names its first.
static inline void
hosts_name(struct wire_part *part, uint64_t number)
{
    if (hosts.drawn_ms == 0)
        hosts.drawn_ms = os_ms_since_1970();
    const struct opid id = opid_draw(hosts.drawn_ms, (struct opid){0, number});
    part->op_high = id.high;
    part->op_low = id.low;
}

static inline void
hosts_frame_to(uint32_t node, const struct peer_head *head, struct wire_bytes body)
{
    hosts_frame(hosts.nodes[node].hosts, asker, 1, head, body);
}

// Answers the number of the reply that will come.
static inline uint64_t
hosts_ask_bytes(uint32_t node, struct wire_part part, struct wire_bytes ask, uint32_t deadline_ms)
{
    struct encode encode;
    const uint64_t correlation = ++hosts.asked;
    lock_acquire(&hosts.bus_lock);
    struct hosts_reply *reply = &hosts.replies[correlation % HOSTS_REPLIES_MAX];
    free(reply->bytes);
    *reply = (struct hosts_reply){.correlation = correlation};
    lock_release(&hosts.bus_lock);
    encode_init(&encode, 1 << 26);
    part.ask = ask.bytes;
    part.ask_bytes = ask.count;
    if (part.kind == WIRE_PART_WRITE && part.op_low == 0) { // none that a test has named
        hosts_name(&part, UINT64_C(1) << 32 | correlation);
    }
    wire_part_write(&encode, &part);
    ck_assert_int_eq(encode.status, OMEN_OK);
    const struct peer_head head = {.kind = PEER_PART,
                                   .lane = PEER_CONTROL,
                                   .correlation = correlation,
                                   .deadline_ms = deadline_ms};
    hosts_frame_to(node, &head, (struct wire_bytes){encode.bytes, (uint32_t)encode.count});
    encode_fini(&encode);
    return correlation;
}

static inline uint64_t
hosts_write(uint32_t node, uint64_t key, uint64_t value)
{
    struct encode ask;
    encode_init(&ask, 1 << 20);
    hosts_pack_write(&ask, key, value);
    const uint64_t asked = hosts_ask_bytes(node, hosts_part_to(node, WIRE_PART_WRITE),
                                           (struct wire_bytes){ask.bytes, (uint32_t)ask.count}, 0);
    encode_fini(&ask);
    return asked;
}

static inline uint64_t
hosts_read_with(uint32_t node, struct wire_part part, uint64_t key)
{
    struct encode ask;
    encode_init(&ask, 1 << 20);
    hosts_pack_read(&ask, key);
    const uint64_t asked =
        hosts_ask_bytes(node, part, (struct wire_bytes){ask.bytes, (uint32_t)ask.count}, 0);
    encode_fini(&ask);
    return asked;
}

static inline uint64_t
hosts_read(uint32_t node, uint64_t key, enum wire_part_consistency consistency)
{
    struct wire_part part = hosts_part_to(node, WIRE_PART_GET);
    part.consistency = (uint8_t)consistency;
    return hosts_read_with(node, part, key);
}

static inline void
hosts_cancel_part(uint32_t node, uint64_t correlation)
{
    const struct peer_head head = {
        .kind = PEER_CANCEL, .lane = PEER_CONTROL, .correlation = correlation};
    hosts_frame_to(node, &head, (struct wire_bytes){NULL, 0});
}

// Under no lock.
static inline bool
hosts_has_reply(uint64_t correlation)
{
    lock_acquire(&hosts.bus_lock);
    const struct hosts_reply *reply = &hosts.replies[correlation % HOSTS_REPLIES_MAX];
    ck_assert_uint_eq(reply->correlation, correlation);
    const bool there = reply->there;
    lock_release(&hosts.bus_lock);
    return there;
}

static inline const struct wire_reply *
hosts_reply(uint64_t correlation)
{
    HOSTS_WAIT(hosts_has_reply(correlation));
    return &hosts.replies[correlation % HOSTS_REPLIES_MAX].reply;
}

static inline omen_status
hosts_reply_status(uint64_t correlation)
{
    return -(omen_status)hosts_reply(correlation)->failure;
}

// Until it is done: who is refused because of an older map, or a primary that is not open yet, asks again.
static inline const struct wire_reply *
hosts_written(uint64_t key, uint64_t value)
{
    for (;;) {
        lock_acquire(&hosts.lock);
        const struct map_replica *primary = shard_replica(hosts_row(), hosts_row()->primary);
        const uint32_t node = primary != NULL ? primary->node : 0;
        lock_release(&hosts.lock);
        if (node == 0 || hosts.nodes[node].hosts == NULL)
            continue;
        const uint64_t asked = hosts_write(node, key, value);
        const omen_status status = hosts_reply_status(asked);
        if (status == OMEN_OK)
            return hosts_reply(asked);
        ck_assert(status == OMEN_E_STALE_MAP || status == OMEN_E_BUSY);
    }
}

// Of a copy that is not behind.
static inline uint64_t
hosts_value(uint32_t node, uint64_t key, uint64_t after_seq)
{
    for (;;) {
        struct wire_part part = hosts_part_to(node, WIRE_PART_GET);
        part.consistency = WIRE_SESSION;
        part.after_seq = after_seq;
        const uint64_t asked = hosts_read_with(node, part, key);
        const omen_status status = hosts_reply_status(asked);
        if (status == OMEN_OK)
            return hosts_unpack_value(hosts_reply(asked));
        ck_assert(status == OMEN_E_STALE_MAP || status == OMEN_E_BUSY);
    }
}

// ---- the shard ----

static inline void
hosts_assign(uint32_t node)
{
    ck_assert_int_eq(hosts_map_step((struct shard_step){.kind = STEP_ASSIGN, .node = node}),
                     OMEN_OK);
}

static inline uint32_t
hosts_in_sync(void)
{
    return hosts_row() != NULL ? shard_in_sync(hosts_row()) : 0;
}

// Copies on the first so many nodes, open.
static inline void
hosts_open_shard(uint32_t copies)
{
    lock_acquire(&hosts.lock); // or it would open with the first one
    for (uint32_t node = 1; node <= copies; node++)
        ck_assert_int_eq(world_step(&hosts.world, hosts.shard,
                                    (struct shard_step){.kind = STEP_ASSIGN, .node = node}),
                         OMEN_OK);
    hosts_tell_all();
    lock_release(&hosts.lock);
    HOSTS_WAIT(hosts_row()->status == SHARD_OPEN);
}

#endif
