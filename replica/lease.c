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

static const struct lease_row *
row_of(const struct lease *lease, uint64_t node)
{
    for (uint32_t i = 0; i < lease->row_count; i++)
        if (lease->rows[i].node == node)
            return &lease->rows[i];
    return NULL;
}

static struct lease_row *
row_own(struct lease *lease, uint64_t node)
{
    const struct lease_row *row = row_of(lease, node);
    return row != NULL ? &lease->rows[row - lease->rows] : NULL;
}

// Whether a lease that it was granted may still hold.
static bool
is_held(const struct lease *lease, const struct lease_row *row)
{
    return row->granted_ns != 0 && lease->now_ns - row->granted_ns < lease->config.guard_ns;
}

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
    if (lease->round_sent != lease->round_confirmed)
        return; // those who came meanwhile get the next
    for (uint32_t i = 0; i < lease->row_count; i++)
        if (lease->rows[i].asked) {
            lease->round_sent = ++lease->round;
            out->round = lease->round;
            return;
        }
}

static void
grant(struct lease *lease, struct lease_row *row, struct lease_output *out)
{
    row->asked = false;
    row->granted_ns = lease->now_ns;
    out->grants[out->grant_count++] = (struct lease_grant){
        row->node, row->boot, row->sent_ns, lease->config.lease_ns, lease->map_version};
}

static void
on_ask(struct lease *lease, const struct lease_input *in, struct lease_output *out)
{
    struct lease_row *row = lease->leads ? row_own(lease, in->node) : NULL;
    if (row == NULL || row->gone || in->boot != row->boot) {
        lease->refused++;
        return;
    }
    row->sent_ns = in->sent_ns;
    row->round = lease->round + 1;
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

static void
on_node(struct lease *lease, const struct lease_input *in)
{
    struct lease_row *row = row_own(lease, in->node);
    if (row == NULL) {
        forget_gone(lease);
        if (lease->row_count == LEASE_NODES_MAX) {
            lease->refused++;
            return;
        }
        row = &lease->rows[lease->row_count++];
        *row = (struct lease_row){.node = in->node, .boot = in->boot};
    }
    if (in->boot > row->boot)
        *row = (struct lease_row){.node = in->node, .boot = in->boot};
    row->gone = false;
}

static void
on_gone(struct lease *lease, const struct lease_input *in)
{
    struct lease_row *row = row_own(lease, in->node);
    if (row == NULL)
        return;
    row->gone = true;
    row->asked = false;
    forget_gone(lease);
}

// Rounds go on counting: an old answer fits no new question. What another leader granted, or this one before, is not known: the
// first guard is for that.
static void
on_role(struct lease *lease, const struct lease_input *in)
{
    lease->leads = in->kind == LEASE_IN_LEAD;
    lease->since_ns = lease->now_ns;
    lease->round_sent = lease->round_confirmed = ++lease->round;
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
lease_may_promote(const struct lease *lease, uint64_t node, uint64_t boot)
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
    for (uint32_t i = 0; i < lease->row_count; i++) {
        const struct lease_row *row = &lease->rows[i];
        ASSERT(lease->leads || (!row->asked && row->granted_ns == 0));
        ASSERT(row->granted_ns <= lease->now_ns);
        ASSERT(!row->asked ||
               (row->round > lease->round_confirmed && row->round <= lease->round + 1));
        ASSERT(!row->gone || (!row->asked && row->granted_ns != 0));
    }
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
