// node/meta_tell.c -- what a turn has brought for the rest of this node: maps, leases, words, who is there, and answers.
//
// Shape: shell.
//
// The order is what the data loop relies on: the map, then the lease that is good for it, then the answers to who changed it.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/os_clock.h"
#include "base/os_log.h"
#include "node/meta_int.h"

#define MS UINT64_C(1000000)

static void meta_log(struct meta *meta);

void *
meta_note_new(uint32_t kind, size_t bytes)
{
    struct loop_note *note = mem_alloc_zero(1, bytes);
    ASSERT(note != NULL);
    note->kind = kind;
    return note;
}

// ---- to the loops of this node ----

// False: it is not told of the newest map; at the next turn then.
static bool
tell_map(const struct meta *meta, struct meta_listener *to)
{
    const struct map *map = meta_map(meta);
    const uint64_t version = map->version;
    if (version == 0 || (to->map && to->version == version))
        return true;
    const struct map *published;
    if (map_publish(map, &published) != OMEN_OK)
        return false;
    struct meta_map *note = meta_note_new(NOTE_META_MAP, sizeof *note);
    note->map = published;
    loop_post(to->loop, &note->note);
    to->version = version;
    to->map = true;
    return true;
}

static void
tell_lease(const struct meta *meta, const struct meta_listener *to)
{
    const struct turn_lease lease = meta->out.lease;
    if (lease.lease_ns == 0)
        return;
    struct meta_lease *note = meta_note_new(NOTE_META_LEASE, sizeof *note);
    note->sent_ns = lease.sent_ns;
    note->lease_ns = lease.lease_ns;
    loop_post(to->loop, &note->note);
}

static void
tell_words(const struct meta *meta, const struct meta_listener *to)
{
    for (uint32_t i = 0; i < meta->out.word_count; i++) {
        struct meta_word *note = meta_note_new(NOTE_META_WORD, sizeof *note);
        note->node = meta->out.words[i].node;
        note->dead = meta->out.words[i].dead;
        loop_post(to->loop, &note->note);
    }
}

static void
tell_led(const struct meta *meta, const struct meta_listener *to)
{
    if (meta->out.led)
        loop_post(to->loop, meta_note_new(NOTE_META_LED, sizeof(struct loop_note)));
}

static struct gossip_claim
claim_of(const struct gossip_member *member)
{
    return (struct gossip_claim){.state = member->state,
                                 .has_meta = 1,
                                 .incarnation = member->incarnation,
                                 .boot = member->boot,
                                 .subject = member->id,
                                 .meta = member->meta};
}

static uint32_t
list_voting(const struct meta *meta, uint64_t voting[RAFT_MEMBERS_MAX])
{
    const struct raft_group *group = &meta->turn.group;
    uint32_t count = 0;
    for (uint32_t i = 0; i < group->count; i++)
        if ((group->members[i].roles & (RAFT_VOTER | RAFT_OUTGOING)) != 0)
            voting[count++] = group->members[i].id;
    return count;
}

static void
tell_members(const struct meta *meta, struct meta_listener *to)
{
    const struct gossip *gossip = &meta->turn.gossip;
    const struct raft *raft = &meta->turn.raft;
    const struct meta_lead lead = meta_lead(meta);
    uint64_t voting[RAFT_MEMBERS_MAX];
    const uint32_t voting_count = list_voting(meta, voting);
    const uint64_t voting_hash = hash_bytes(voting, voting_count * sizeof voting[0]);
    if (to->anything && to->members == gossip->members_version && to->term == lead.term &&
        to->lead == raft->lead && to->voters == lead.voters && to->voting == voting_hash)
        return;
    uint32_t others = 0, cursor = 0;
    while (gossip_next(gossip, &cursor) != NULL)
        others++;
    struct meta_members *note =
        meta_note_new(NOTE_META_MEMBERS, sizeof *note + (others + 1) * sizeof note->members[0]);
    note->leader = lead.node;
    note->term = lead.term;
    note->voters = lead.voters;
    note->voting_count = voting_count;
    memcpy(note->voting, voting, voting_count * sizeof voting[0]);
    const struct gossip_id own = meta->turn.config.gossip.id;
    note->members[note->count++] = claim_of(gossip_find(gossip, own));
    const struct gossip_member *member;
    cursor = 0;
    while ((member = gossip_next(gossip, &cursor)) != NULL)
        note->members[note->count++] = claim_of(member);
    loop_post(to->loop, &note->note);
    to->anything = true;
    to->members = gossip->members_version;
    to->term = lead.term;
    to->lead = raft->lead;
    to->voters = lead.voters;
    to->voting = voting_hash;
}

// ---- to who asked ----

static void
answer(struct meta *meta, struct loop *to, struct meta_answer *note, enum meta_outcome outcome)
{
    static const omen_status statuses[] = {
        [META_DONE] = OMEN_OK,         [META_NOT_LEADER] = OMEN_E_BUSY,
        [META_BUSY] = OMEN_E_BUSY,     [META_INVALID] = OMEN_E_INVALID,
        [META_NOT_DONE] = OMEN_E_BUSY, [META_UNKNOWN] = OMEN_E_TIMEOUT};
    note->outcome = outcome;
    note->status = statuses[outcome];
    note->leader = meta_node_of(meta, meta->turn.raft.lead);
    loop_post(to, &note->note);
}

void
meta_answer_now(struct meta *meta, const struct meta_ask *ask, enum raft_answer said)
{
    static const enum meta_outcome outcomes[] = {
        [RAFT_ANSWER_NONE] = META_INVALID,          [RAFT_ANSWER_OK] = META_DONE,
        [RAFT_ANSWER_NOT_LEADER] = META_NOT_LEADER, [RAFT_ANSWER_BUSY] = META_BUSY,
        [RAFT_ANSWER_NO_MEMORY] = META_BUSY,        [RAFT_ANSWER_INVALID] = META_INVALID};
    answer(meta, ask->answer_to, ask->answer, outcomes[said]);
}

void
meta_wait_for(struct meta *meta, const struct meta_ask *ask, uint64_t now_ns)
{
    ASSERT(meta->wait_count < META_WAITS_MAX);
    meta->waits[meta->wait_count++] = (struct meta_wait){.position = meta->out.raft.answer_position,
                                                         .term = meta->out.raft.term,
                                                         .until_ns = now_ns + META_WAIT_NS,
                                                         .answer_to = ask->answer_to,
                                                         .answer = ask->answer};
}

static void
settle(struct meta *meta, const struct meta_wait *wait)
{
    const struct turn_result *results = meta->out.results;
    const uint64_t first = meta->out.result_count > 0 ? results[0].position : UINT64_MAX;
    if (wait->position < first) { // the state was taken over as a whole, by a snapshot
        answer(meta, wait->answer_to, wait->answer, META_UNKNOWN);
        return;
    }
    const struct turn_result *result = &results[wait->position - first];
    if (result->term != wait->term) {
        answer(meta, wait->answer_to, wait->answer, META_NOT_DONE);
        return;
    }
    wait->answer->result = result->result;
    wait->answer->position = result->position;
    answer(meta, wait->answer_to, wait->answer, META_DONE);
}

static void
tell_answers(struct meta *meta)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < meta->wait_count; i++) {
        if (meta->waits[i].position <= meta->turn.applied)
            settle(meta, &meta->waits[i]);
        else
            meta->waits[kept++] = meta->waits[i];
    }
    meta->wait_count = kept;
}

void
meta_give_up(struct meta *meta, uint64_t now_ns)
{
    uint32_t late = 0;
    while (late < meta->wait_count && meta->waits[late].until_ns <= now_ns) {
        answer(meta, meta->waits[late].answer_to, meta->waits[late].answer, META_UNKNOWN);
        late++;
    }
    meta->wait_count -= late;
    memmove(meta->waits, meta->waits + late, meta->wait_count * sizeof meta->waits[0]);
}

// Where there is no memory the older ones hold on; at the next turn then.
static void
tell_keys(struct meta *meta)
{
    const struct map *map = meta_map(meta);
    if (meta->keys_version == map->version)
        return;
    const size_t bytes = map->key_count * sizeof *map->keys;
    struct api_key *keys = mem_alloc(bytes);
    if (keys == NULL)
        return;
    if (bytes > 0)
        memcpy(keys, map->keys, bytes);
    const bool same =
        meta->key_count == map->key_count && (bytes == 0 || memcmp(meta->keys, keys, bytes) == 0);
    lock_acquire(&meta->lock);
    mem_free(meta->keys);
    meta->keys = keys;
    meta->key_count = map->key_count;
    lock_release(&meta->lock);
    atomic_store_explicit(&meta->has_keys, map->key_count > 0, memory_order_relaxed);
    if (!same)
        atomic_fetch_add_explicit(&meta->keys_seen, 1, memory_order_release); // to meta_keys_seen
    meta->keys_version = map->version;
}

// A lease counts when all is applied that there was when it was granted. Who has no log gets none, and his map from somebody who has the
// newest. Where there is no memory for the keys they are not those of that map.
static void
tell_current(struct meta *meta)
{
    const uint64_t version = meta_map(meta)->version;
    const bool knows = meta->out.lease.lease_ns != 0 || meta->pull.map.version != 0;
    if (knows && meta->keys_version == version)
        atomic_store_explicit(&meta->current, true, memory_order_release); // to meta_is_current
}

static void
tell_others(struct meta *meta)
{
    const struct raft *raft = &meta->turn.raft;
    const struct meta_lead lead = meta_lead(meta);
    const int64_t ahead_ms = node_clock_ahead_ms(meta->config.clock);
    const uint64_t apart_ms = (uint64_t)(ahead_ms < 0 ? -ahead_ms : ahead_ms);
    lock_acquire(&meta->lock);
    meta->leader = lead.node;
    meta->stats = (struct meta_stats){.term = lead.term,
                                      .lead = raft->lead,
                                      .commit = raft->commit,
                                      .applied = meta->turn.applied,
                                      .map_version = meta_map(meta)->version,
                                      .state = (uint32_t)raft->state,
                                      .voters = lead.voters,
                                      .living = gossip_living(&meta->turn.gossip),
                                      .clock_apart_ns = apart_ms * MS,
                                      .turns = meta->turns,
                                      .frames = meta->frames,
                                      .refused = meta->refused};
    lock_release(&meta->lock);
}

void
meta_tell(struct meta *meta)
{
    if (meta->out.gossip.members_changed)
        meta_learn_peers(meta);
    meta_watch_nodes(meta);
    if (meta->turn.leaving)
        atomic_store(&meta->left, turn_has_left(&meta->turn));
    const uint64_t leases_version = meta->turn.map.leases.version;
    if (meta->leases_version != leases_version) {
        meta->leases_version = leases_version;
        meta->leases_seen_ns = os_clock_ns();
    }
    tell_keys(meta); // who hears of a map finds its keys,
    tell_current(meta);
    tell_others(meta); // and finds it, and who leads, with meta_stats and meta_leader
    for (uint32_t i = 0; i < meta->listener_count; i++) {
        struct meta_listener *to = &meta->listeners[i];
        if (tell_map(meta, to))
            tell_lease(meta, to);
        tell_words(meta, to);
        tell_led(meta, to);
        tell_members(meta, to);
    }
    tell_answers(meta);
    meta_log(meta);
}

// ---- to the operator ----

static void
log_gossip(const struct gossip_note *note)
{
    static const char *const events[] = {[GOSSIP_NOTE_ALIVE] = "gossip.alive",
                                         [GOSSIP_NOTE_SUSPECT] = "gossip.suspect",
                                         [GOSSIP_NOTE_DEAD] = "gossip.dead",
                                         [GOSSIP_NOTE_LEFT] = "gossip.left",
                                         [GOSSIP_NOTE_REFUTED] = "gossip.refuted",
                                         [GOSSIP_NOTE_LATE] = "gossip.late",
                                         [GOSSIP_NOTE_FOREIGN] = "gossip.foreign",
                                         [GOSSIP_NOTE_TWIN] = "gossip.twin",
                                         [GOSSIP_NOTE_GONE] = "gossip.gone",
                                         [GOSSIP_NOTE_NO_MEMORY] = "gossip.no_memory",
                                         [GOSSIP_NOTE_SUPERSEDED] = "gossip.superseded",
                                         [GOSSIP_NOTE_FULL] = "gossip.full"};
    static struct log_site site;
    struct log_line line;
    const bool good = note->kind == GOSSIP_NOTE_ALIVE || note->kind == GOSSIP_NOTE_LEFT ||
                      note->kind == GOSSIP_NOTE_GONE;
    if (!log_begin(&line, &site, good ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, events[note->kind]))
        return;
    log_uuid(&line, "node", note->id.high, note->id.low);
    log_number(&line, "number", note->number);
    log_end(&line);
}

static void
log_raft(const struct raft_note *note)
{
    static const char *const events[] = {[RAFT_NOTE_STATE] = "raft.state",
                                         [RAFT_NOTE_QUORUM_LOST] = "raft.quorum_lost",
                                         [RAFT_NOTE_MESSAGE_REFUSED] = "raft.message_refused",
                                         [RAFT_NOTE_NO_MEMORY] = "raft.no_memory",
                                         [RAFT_NOTE_TAIL_FULL] = "raft.tail_full",
                                         [RAFT_NOTE_OUTBOX_FULL] = "raft.outbox_full",
                                         [RAFT_NOTE_CHANGE_FAILED] = "raft.change_failed",
                                         [RAFT_NOTE_LOG_LOST] = "raft.log_lost",
                                         [RAFT_NOTE_RESTORED] = "raft.restored",
                                         [RAFT_NOTE_TRANSFER_ABORTED] = "raft.transfer_aborted",
                                         [RAFT_NOTE_DISK_SLOW] = "raft.disk_slow"};
    static struct log_site site;
    struct log_line line;
    const bool good = note->kind == RAFT_NOTE_STATE || note->kind == RAFT_NOTE_RESTORED;
    if (!log_begin(&line, &site, good ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, events[note->kind]))
        return;
    log_number(&line, "a", note->a);
    log_number(&line, "b", note->b);
    log_end(&line);
}

// Who is in the map, and who votes on it.
static void
log_nodes(struct meta *meta)
{
    const struct map *map = meta_map(meta);
    const uint32_t voters = meta_lead(meta).voters;
    if (meta->logged_version == map->version && meta->logged_voters == voters)
        return;
    uint32_t up = 0;
    for (uint32_t i = 0; i < map->node_count; i++)
        up += map->nodes[i].state == NODE_UP;
    const bool same = meta->logged_nodes == map->node_count && meta->logged_up == up &&
                      meta->logged_voters == voters;
    meta->logged_version = map->version;
    meta->logged_nodes = map->node_count;
    meta->logged_up = up;
    meta->logged_voters = voters;
    static struct log_site site;
    struct log_line line;
    if (same || !log_begin(&line, &site, LOG_LEVEL_INFO, "meta.nodes"))
        return;
    log_number(&line, "nodes", map->node_count);
    log_number(&line, "up", up);
    log_number(&line, "voters", voters);
    log_number(&line, "version", map->version);
    log_end(&line);
}

// Whether this node votes on the map, once a change of who does is through: what an operator waits for before the next one goes.
static void
log_vote(struct meta *meta)
{
    const struct raft_group *group = &meta->turn.group;
    struct log_line line;
    bool votes = false;
    for (uint32_t i = 0; i < group->count; i++)
        votes |= group->members[i].id == meta->turn.config.raft.id &&
                 (group->members[i].roles & RAFT_VOTER) != 0;
    if (member_is_joint(group) || votes == meta->logged_vote)
        return;
    meta->logged_vote = votes;
    if (!log_begin(&line, NULL, LOG_LEVEL_INFO, "meta.vote"))
        return;
    log_text(&line, "votes", votes ? "yes" : "no");
    log_end(&line);
}

// The first of this process: from here on it may be primary of something.
static void
log_lease(struct meta *meta)
{
    struct log_line line;
    if (meta->out.lease.lease_ns == 0 || meta->logged_lease)
        return;
    meta->logged_lease = true;
    if (!log_begin(&line, NULL, LOG_LEVEL_INFO, "meta.lease"))
        return;
    log_number(&line, "ms", meta->out.lease.lease_ns / 1000000);
    log_number(&line, "boot", meta->turn.config.gossip.boot);
    log_end(&line);
}

static void
meta_log(struct meta *meta)
{
    const struct raft *raft = &meta->turn.raft;
    bool superseded = false, outdated = meta->out.outdated;
    for (uint32_t i = 0; i < meta->out.gossip.note_count; i++) {
        log_gossip(&meta->out.gossip.notes[i]);
        superseded |= meta->out.gossip.notes[i].kind == GOSSIP_NOTE_SUPERSEDED;
        if (meta->out.gossip.notes[i].kind == GOSSIP_NOTE_GONE)
            atomic_store(&meta->gone, true);
    }
    if (superseded)
        meta->config.superseded(meta->config.context);
    log_nodes(meta);
    log_vote(meta);
    log_lease(meta);
    for (uint32_t i = 0; i < meta->out.raft.note_count; i++) {
        log_raft(&meta->out.raft.notes[i]);
        outdated |= meta->out.raft.notes[i].kind == RAFT_NOTE_LOG_LOST;
    }
    if (outdated)
        meta->config.outdated(meta->config.context);
    if (raft->lead == meta->logged_lead && raft->term == meta->logged_term)
        return;
    struct log_line line;
    static struct log_site site;
    const struct cluster_uuid leader = meta_node_of(meta, raft->lead);
    if (raft->lead != 0 && log_begin(&line, &site, LOG_LEVEL_INFO, "meta.leader")) {
        log_uuid(&line, "node", leader.high, leader.low);
        log_number(&line, "member", raft->lead);
        log_number(&line, "term", raft->term);
        log_text(&line, "self", raft->state == RAFT_LEADER ? "yes" : "no");
        log_end(&line);
    }
    meta->logged_lead = raft->lead;
    meta->logged_term = raft->term;
}
