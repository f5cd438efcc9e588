// node/meta_watch.c -- the map of a node that gets nothing of the metadata's log: asked of others, piece by piece.
//
// Shape: shell.
//
// router/watch decides whom to ask. What comes is put together here and believed when it is whole, is a map, and is newer than what there is.
// A node that had the log, and has it no more, shows its own map until a newer one came. Who has the log and is cut off from whoever leads it
// asks as well, so that it learns by a node between them who leads its shards now; the log goes on where it was, and its map is shown
// again once it is as new.
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/os_clock.h"
#include "base/os_log.h"
#include "node/meta_int.h"
#include "node/turn_int.h"

#define MS UINT64_C(1000000)
#define MAP_BYTES_MAX (256u << 20)

// Without a leader: one that was just elected is heard before, and brings the log.
#define ALONE_NS (1000 * MS)
#define NO_NODES UINT64_MAX

static void drop(struct meta_pull *pull);

static const struct watch_config times = {.answer_ns = 500 * MS, .retry_ns = 100 * MS};

static bool
has_log(const struct meta *meta)
{
    return meta->turn.config.weight != 0;
}

static bool
is_on(const struct meta *meta)
{
    const uint64_t since_ns = meta->pull.alone_since_ns;
    return !has_log(meta) || (since_ns != 0 && os_clock_ns() - since_ns >= ALONE_NS);
}

omen_status
meta_watch_init(struct meta *meta, uint64_t seed)
{
    struct meta_pull *pull = &meta->pull;
    map_init(&pull->map);
    watch_init(&pull->watch, &times, seed);
    pull->wake_ns = UINT64_MAX;
    pull->sources = mem_alloc(WATCH_SOURCES_MAX * sizeof *pull->sources);
    return pull->sources != NULL ? OMEN_OK : OMEN_E_NO_MEMORY;
}

void
meta_watch_fini(struct meta *meta)
{
    map_fini(&meta->pull.map);
    mem_free(meta->pull.bytes);
    mem_free(meta->pull.sources);
}

const struct map *
meta_map(const struct meta *meta)
{
    const struct map *own = &meta->turn.map, *pulled = &meta->pull.map;
    return pulled->version > own->version ? pulled : own;
}

// Gossip knows of every leader that was; the one of the highest term is the last.
static struct meta_lead
told_lead(const struct meta *meta)
{
    struct meta_lead lead = {0};
    uint32_t cursor = 0;
    const struct gossip_member *member;
    while ((member = gossip_next(&meta->turn.gossip, &cursor)) != NULL) {
        const struct turn_said said = turn_said_read(&member->meta);
        const bool there = member->state <= GOSSIP_SUSPECT && !member->superseded;
        if (there && said.lead_term > lead.term)
            lead =
                (struct meta_lead){{member->id.high, member->id.low}, said.lead_term, said.voters};
    }
    return lead;
}

struct meta_lead
meta_lead(const struct meta *meta)
{
    const struct raft *raft = &meta->turn.raft;
    if (!has_log(meta) && raft->lead == 0)
        return told_lead(meta);
    return (struct meta_lead){meta_node_of(meta, raft->lead), raft->term,
                              turn_voters_count(&meta->turn)};
}

// ---- asking ----

static void
watch(struct meta *meta, struct watch_input in)
{
    struct watch_output out;
    in.now_ns = os_clock_ns();
    in.have = meta_map(meta)->version;
    watch_step(&meta->pull.watch, &in, &out);
    while (out.asks && !meta_send_map_ask(meta, out.node, in.have)) {
        const struct watch_input failed = {
            .now_ns = in.now_ns, .have = in.have, .kind = WATCH_IN_FAILED, .node = out.node};
        watch_step(&meta->pull.watch, &failed, &out); // the second in a row waits
    }
    meta->pull.wake_ns = out.wake_ns;
}

static void
note_lead(struct meta *meta)
{
    const bool alone = meta->turn.raft.lead == 0;
    if (!alone)
        meta->pull.alone_since_ns = 0;
    else if (meta->pull.alone_since_ns == 0)
        meta->pull.alone_since_ns = os_clock_ns();
}

static void
rest(struct meta *meta)
{
    struct meta_pull *pull = &meta->pull;
    pull->nodes = NO_NODES;
    pull->wake_ns = UINT64_MAX;
    drop(pull);
    if (pull->map.version != 0 && pull->map.version <= meta->turn.map.version) {
        map_fini(&pull->map);
        map_init(&pull->map);
    }
}

void
meta_watch_nodes(struct meta *meta)
{
    struct meta_pull *pull = &meta->pull;
    const struct gossip *gossip = &meta->turn.gossip;
    note_lead(meta);
    if (!is_on(meta)) {
        rest(meta);
        return;
    }
    if (pull->nodes == gossip->members_version)
        return;
    struct watch_input in = {.kind = WATCH_IN_NODES, .sources = pull->sources};
    uint32_t cursor = 0;
    const struct gossip_member *member;
    pull->nodes = gossip->members_version;
    while ((member = gossip_next(gossip, &cursor)) != NULL && in.source_count < WATCH_SOURCES_MAX)
        if (member->state <= GOSSIP_SUSPECT && !member->superseded && member->meta.map_version > 0)
            pull->sources[in.source_count++] =
                (struct watch_source){{member->id.high, member->id.low}, member->meta.map_version};
    watch(meta, in);
}

void
meta_watch_word(struct meta *meta, uint64_t version)
{
    if (is_on(meta))
        watch(meta, (struct watch_input){.kind = WATCH_IN_WORD, .version = version});
}

void
meta_watch_wake(struct meta *meta)
{
    if (meta->pull.wake_ns <= os_clock_ns())
        watch(meta, (struct watch_input){.kind = WATCH_IN_WAKE});
}

uint64_t
meta_watch_due(const struct meta *meta)
{
    return meta->pull.wake_ns;
}

// ---- what comes ----

static void
drop(struct meta_pull *pull)
{
    mem_free(pull->bytes);
    pull->bytes = NULL;
    pull->got = pull->total = 0;
}

// False: it is a piece of nothing that is put together here.
static bool
add_piece(struct meta_pull *pull, struct cluster_uuid from, const struct wire_map *piece)
{
    if (piece->offset == 0) {
        drop(pull);
        if (piece->total_bytes > MAP_BYTES_MAX)
            return false;
        pull->bytes = mem_alloc(piece->total_bytes);
        pull->from = from;
        pull->version = piece->version;
        pull->hash = piece->hash;
        pull->total = piece->total_bytes;
    }
    if (pull->bytes == NULL || !uuid_equal(from, pull->from) || piece->version != pull->version ||
        piece->hash != pull->hash || piece->total_bytes != pull->total ||
        piece->offset != pull->got || piece->piece_bytes > pull->total - pull->got)
        return false;
    memcpy(pull->bytes + pull->got, piece->piece, piece->piece_bytes);
    pull->got += piece->piece_bytes;
    return true;
}

static void
log_source(const struct meta *meta, struct cluster_uuid before)
{
    const struct meta_pull *pull = &meta->pull;
    struct log_line line;
    static struct log_site site;
    if (uuid_equal(before, pull->watch.asked) ||
        !log_begin(&line, &site, LOG_LEVEL_INFO, "meta.source"))
        return;
    log_uuid(&line, "node", pull->watch.asked.high, pull->watch.asked.low);
    log_number(&line, "version", pull->map.version);
    log_end(&line);
}

// False: it is no map, or none that is newer, or one that this program does not understand: then it ends.
static bool
take_map(struct meta *meta)
{
    struct meta_pull *pull = &meta->pull;
    struct map map;
    if (hash_bytes(pull->bytes, pull->total) != pull->hash)
        return false;
    const omen_status status = snapshot_decode(pull->bytes, pull->total, &map);
    const bool unknown = status == OMEN_OK && (map.features & ~meta->turn.config.features) != 0;
    if (unknown || status == OMEN_E_VERSION)
        meta_halt(meta, TURN_HALT_TOO_OLD);
    if (status != OMEN_OK)
        return false;
    if (unknown || map.version <= meta_map(meta)->version) {
        map_fini(&map);
        return false;
    }
    map_fini(&pull->map);
    pull->map = map;
    log_source(meta, pull->watch.gave);
    return true;
}

void
meta_watch_piece(struct meta *meta, struct cluster_uuid from, const struct wire_map *piece)
{
    struct meta_pull *pull = &meta->pull;
    struct watch_input in = {.kind = WATCH_IN_PROGRESS, .node = from};
    if (!is_on(meta) || !uuid_equal(from, pull->watch.asked))
        return; // another was asked meanwhile
    if (!add_piece(pull, from, piece)) {
        in.kind = WATCH_IN_FAILED;
    } else if (pull->got == pull->total) {
        if (!take_map(meta))
            in.kind = WATCH_IN_FAILED;
        drop(pull);
    }
    watch(meta, in);
}
