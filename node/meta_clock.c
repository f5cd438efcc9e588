// node/meta_clock.c -- asks other nodes what time it is, and says what this node's clock says.
//
// Shape: shell.
//
// What comes of it is node/clock.h's. Over connections, which know who speaks, and not by gossip, whose packets could be sent again
// later. An answer that took long says little, and is left out. A node of before this does not know the question, and counts it as none.
#include <string.h>

#include "base/os_clock.h"
#include "base/os_log.h"
#include "node/meta_int.h"

#define MS UINT64_C(1000000)
#define SOON_NS (1000 * MS)  // as long as somebody has not answered
#define LATE_NS (10000 * MS) // else
#define ANSWER_NS (1000 * MS)
#define APART_MS 10000                  // is worth a line in the log
#define TIME_MAX_MS (UINT64_C(1) << 48) // as in an op_id

static bool
is_there(const struct gossip_member *member)
{
    return member->state <= GOSSIP_SUSPECT && !member->superseded;
}

// Who was asked and is gone for good says nothing more; who is dead may come back, and its clock goes on.
static void
forget_gone(struct meta *meta)
{
    struct clocks *clocks = &meta->clocks;
    for (uint32_t i = clocks->count; i-- > 0;) {
        const struct cluster_uuid node = clocks->rows[i].node;
        const struct gossip_member *member =
            gossip_find(&meta->turn.gossip, (struct gossip_id){node.high, node.low});
        if (member == NULL || member->superseded || member->state == GOSSIP_LEFT)
            clocks_forget(clocks, i);
    }
}

// All; of more than there is room for, others each time.
static uint32_t
ask_some(struct meta *meta, uint64_t now_ns)
{
    const struct wire_turn ask = {.kind = WIRE_TURN_CLOCK_ASK, .sent_ns = now_ns};
    const struct gossip_member *member;
    uint32_t cursor = 0, there = 0, asked = 0;
    while ((member = gossip_next(&meta->turn.gossip, &cursor)) != NULL)
        there += is_there(member);
    const uint32_t first = there > CLOCKS_MAX ? meta->clocks_from % there : 0;
    meta->clocks_from = first + CLOCKS_MAX;
    cursor = 0;
    for (uint32_t i = 0; (member = gossip_next(&meta->turn.gossip, &cursor)) != NULL;) {
        if (!is_there(member))
            continue;
        if ((i++ + there - first) % there >= CLOCKS_MAX)
            continue;
        asked++;
        meta_send_clock(meta, (struct cluster_uuid){member->id.high, member->id.low}, &ask);
    }
    return asked;
}

void
meta_clock_wake(struct meta *meta)
{
    const uint64_t now_ns = os_clock_ns();
    if (now_ns < meta->clocks_due_ns)
        return;
    forget_gone(meta);
    const uint32_t asked = ask_some(meta, now_ns);
    const bool all = asked > 0 && meta->clocks.count >= asked;
    meta->clocks_due_ns = now_ns + (all ? LATE_NS : SOON_NS);
}

static void
log_apart(struct meta *meta, int64_t ahead_ms)
{
    static struct log_site site;
    struct log_line line;
    const bool apart = ahead_ms > APART_MS || ahead_ms < -APART_MS;
    if (apart == meta->logged_apart)
        return;
    meta->logged_apart = apart;
    if (!log_begin(&line, &site, apart ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
                   apart ? "clock.apart" : "clock.together"))
        return;
    log_number(&line, ahead_ms < 0 ? "behind_ms" : "ahead_ms",
               (uint64_t)(ahead_ms < 0 ? -ahead_ms : ahead_ms));
    log_number(&line, "clocks", meta->clocks.count + 1);
    log_end(&line);
}

static void
hear(struct meta *meta, struct cluster_uuid from, const struct wire_turn *said, uint64_t now_ns)
{
    if (said->sent_ns > now_ns || now_ns - said->sent_ns > ANSWER_NS || said->position == 0 ||
        said->position > TIME_MAX_MS || uuid_equal(from, meta->self))
        return;
    const uint64_t then_ms = (said->sent_ns + (now_ns - said->sent_ns) / 2) / MS;
    const struct clocks_row row = {from, (int64_t)said->position - (int64_t)then_ms, now_ns};
    clocks_hear(&meta->clocks, &row);
    if (meta->config.clock == NULL)
        return;
    node_clock_show(meta->config.clock, &meta->clocks);
    log_apart(meta, node_clock_ahead_ms(meta->config.clock));
}

void
meta_clock_take(struct meta *meta, struct cluster_uuid from, const struct wire_turn *said)
{
    if (said->kind == WIRE_TURN_CLOCK) {
        hear(meta, from, said, os_clock_ns());
        return;
    }
    const struct wire_turn answer = {
        .kind = WIRE_TURN_CLOCK, .sent_ns = said->sent_ns, .position = os_ms_since_1970()};
    meta_send_clock(meta, from, &answer);
}
