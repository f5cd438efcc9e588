// replica/lease.c -- a question waits for the round that begins after it; one round serves all who wait.
//
//   LEAD -> leads, nothing is granted by us yet   ASK -> waits   ROUND -> grants   FOLLOW -> forgets who waits
//   NODE, GONE -> who may ask, as the map says; whoever leads
//
// Shape: machine.
#include "replica/lease.h"

#include "base/assert.h"
#include "base/bug.h"
#include "base/text.h"

void
lease_init(struct lease *lease, const struct lease_config *config)
{
    ASSERT(config->lease_ns > 0 && config->guard_ns > config->lease_ns);
    *lease = (struct lease){.config = *config};
}

// Where the node's row is, or would be.
static uint32_t
place_of(struct lease *lease, uint64_t node)
{
    uint32_t low = 0, high = lease->row_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        lease->compared++;
        if (lease->rows[middle].node < node)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct lease_row *
row_of(struct lease *lease, uint64_t node)
{
    const uint32_t at = place_of(lease, node);
    return at < lease->row_count && lease->rows[at].node == node ? &lease->rows[at] : NULL;
}

// Whether a lease that it was granted may still hold.
static bool
is_held(const struct lease *lease, const struct lease_row *row)
{
    return row->granted_ns != 0 && lease->now_ns - row->granted_ns < lease->config.guard_ns;
}

// Of those that left the map: what they were granted has run out.
static void
forget_gone(struct lease *lease)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < lease->row_count; i++)
        if (!lease->rows[i].gone || is_held(lease, &lease->rows[i]))
            lease->rows[kept++] = lease->rows[i];
    lease->row_count = kept;
}

static void
begin_round(struct lease *lease, struct lease_output *out)
{
    if (lease->asked_count == 0 || lease->round_sent != lease->round_confirmed)
        return; // those who came meanwhile get the next
    lease->round_sent = ++lease->round;
    out->round = lease->round;
}

static void
stop_asking(struct lease *lease, struct lease_row *row)
{
    lease->asked_count -= row->asked;
    row->asked = false;
}

static void
grant(struct lease *lease, struct lease_row *row, struct lease_output *out)
{
    stop_asking(lease, row);
    row->granted_ns = lease->now_ns;
    out->grants[out->grant_count++] = (struct lease_grant){
        row->node, row->boot, row->sent_ns, lease->config.lease_ns, lease->map_version};
}

static void
on_ask(struct lease *lease, const struct lease_input *in, struct lease_output *out)
{
    struct lease_row *row = lease->leads ? row_of(lease, in->node) : NULL;
    if (row == NULL || row->gone || in->boot != row->boot) {
        lease->refused++;
        return;
    }
    row->sent_ns = in->sent_ns;
    row->round = lease->round + 1;
    lease->asked_count += !row->asked;
    row->asked = true;
    if (bug(BUG_LEASE_GRANT_UNCONFIRMED))
        grant(lease, row, out);
    begin_round(lease, out);
}

static void
on_round(struct lease *lease, const struct lease_input *in, struct lease_output *out)
{
    if (!lease->leads || in->round != lease->round_sent)
        return; // of an earlier time as leader
    lease->round_confirmed = in->round;
    if (in->map_version > lease->map_version)
        lease->map_version = in->map_version;
    for (uint32_t i = 0; i < lease->row_count; i++)
        if (lease->rows[i].asked && lease->rows[i].round <= in->round)
            grant(lease, &lease->rows[i], out);
    begin_round(lease, out);
}

static struct lease_row *
new_row(struct lease *lease, uint64_t node, uint64_t boot)
{
    if (lease->row_count == LEASE_NODES_MAX)
        forget_gone(lease);
    if (lease->row_count == LEASE_NODES_MAX)
        return NULL;
    const uint32_t at = place_of(lease, node);
    for (uint32_t i = lease->row_count++; i > at; i--)
        lease->rows[i] = lease->rows[i - 1];
    lease->rows[at] = (struct lease_row){.node = node, .boot = boot};
    return &lease->rows[at];
}

static void
on_node(struct lease *lease, const struct lease_input *in)
{
    struct lease_row *row = row_of(lease, in->node);
    if (row == NULL)
        row = new_row(lease, in->node, in->boot);
    if (row == NULL) {
        lease->refused++;
        return;
    }
    if (in->boot > row->boot) {
        stop_asking(lease, row);
        *row = (struct lease_row){.node = in->node, .boot = in->boot};
    }
    row->gone = false;
}

static void
on_gone(struct lease *lease, const struct lease_input *in)
{
    struct lease_row *row = row_of(lease, in->node);
    if (row == NULL)
        return;
    row->gone = true;
    stop_asking(lease, row);
    if (is_held(lease, row))
        return;
    lease->row_count--;
    for (uint32_t i = (uint32_t)(row - lease->rows); i < lease->row_count; i++)
        lease->rows[i] = lease->rows[i + 1];
}

// Rounds go on counting: an old answer fits no new question. What another leader granted, or this one before, is not known: the
// first guard is for that.
static void
on_role(struct lease *lease, const struct lease_input *in)
{
    lease->leads = in->kind == LEASE_IN_LEAD;
    lease->since_ns = lease->now_ns;
    lease->round_sent = lease->round_confirmed = ++lease->round;
    lease->asked_count = 0;
    for (uint32_t i = 0; i < lease->row_count; i++) {
        struct lease_row *row = &lease->rows[i];
        *row = (struct lease_row){.node = row->node, .boot = row->boot, .gone = row->gone};
    }
    forget_gone(lease);
}

void
lease_step(struct lease *lease, const struct lease_input *in, struct lease_output *out)
{
    out->round = 0;
    out->grant_count = 0;
    if (in->now_ns > lease->now_ns)
        lease->now_ns = in->now_ns;
    switch (in->kind) {
    case LEASE_IN_LEAD:
    case LEASE_IN_FOLLOW:
        on_role(lease, in);
        break;
    case LEASE_IN_ASK:
        on_ask(lease, in, out);
        break;
    case LEASE_IN_ROUND:
        on_round(lease, in, out);
        break;
    case LEASE_IN_NODE:
        on_node(lease, in);
        break;
    case LEASE_IN_GONE:
        on_gone(lease, in);
        break;
    }
}

bool
lease_may_promote(struct lease *lease, uint64_t node, uint64_t boot)
{
    if (!lease->leads)
        return false;
    const struct lease_row *row = row_of(lease, node);
    if (row != NULL && row->boot > boot)
        return true; // the process that may hold a lease is no more
    if (lease->now_ns - lease->since_ns < lease->config.guard_ns)
        return false;
    return row == NULL || !is_held(lease, row);
}

void
lease_check(const struct lease *lease)
{
    ASSERT(lease->round_confirmed <= lease->round_sent && lease->round_sent <= lease->round);
    ASSERT(lease->since_ns <= lease->now_ns);
    uint32_t asked = 0;
    for (uint32_t i = 0; i < lease->row_count; i++) {
        const struct lease_row *row = &lease->rows[i];
        asked += row->asked;
        ASSERT(i == 0 || lease->rows[i - 1].node < row->node);
        ASSERT(lease->leads || (!row->asked && row->granted_ns == 0));
        ASSERT(row->granted_ns <= lease->now_ns);
        ASSERT(!row->asked ||
               (row->round > lease->round_confirmed && row->round <= lease->round + 1));
        ASSERT(!row->gone || (!row->asked && row->granted_ns != 0));
    }
    ASSERT(asked == lease->asked_count);
}

void
lease_describe(const struct lease *lease, char *line, size_t cap)
{
    struct text text;
    text_init(&text, line, cap);
    text_add(&text, "lease %s round=%llu/%llu", lease->leads ? "leads" : "follows",
             (unsigned long long)lease->round_confirmed, (unsigned long long)lease->round_sent);
    for (uint32_t i = 0; i < lease->row_count; i++) {
        const struct lease_row *row = &lease->rows[i];
        text_add(&text, " %llu.%llu%s", (unsigned long long)row->node,
                 (unsigned long long)row->boot,
                 row->gone    ? " gone"
                 : row->asked ? "?"
                              : "");
    }
}
