// replica/lease.c -- a question waits for the round that begins after it; one round serves all who wait.
//
//   LEAD -> leads, nothing is granted by us yet   ASK -> waits   ROUND -> grants   FOLLOW -> forgets who waits
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

static struct lease_row *
row_of(struct lease *lease, uint64_t node)
{
    for (uint32_t i = 0; i < lease->row_count; i++)
        if (lease->rows[i].node == node)
            return &lease->rows[i];
    if (lease->row_count == LEASE_NODES_MAX)
        return NULL;
    lease->rows[lease->row_count] = (struct lease_row){.node = node};
    return &lease->rows[lease->row_count++];
}

static void
begin_round(struct lease *lease, struct lease_output *out)
{
    if (lease->round_sent != lease->round_confirmed)
        return; // those who came meanwhile get the next
    for (uint32_t i = 0; i < lease->row_count; i++)
        if (lease->rows[i].asked && lease->rows[i].round > lease->round_sent) {
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
    struct lease_row *row = lease->leads ? row_of(lease, in->node) : NULL;
    if (row == NULL || in->boot < row->boot) {
        lease->refused++;
        return;
    }
    if (in->boot > row->boot)
        *row = (struct lease_row){.node = in->node, .boot = in->boot};
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
on_boot(struct lease *lease, const struct lease_input *in)
{
    struct lease_row *row = lease->leads ? row_of(lease, in->node) : NULL;
    if (row != NULL && in->boot > row->boot)
        *row = (struct lease_row){.node = in->node, .boot = in->boot};
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
        lease->leads = in->kind == LEASE_IN_LEAD;
        lease->since_ns = lease->now_ns;
        lease->row_count = 0; // rounds go on counting: an old answer fits no new question
        lease->round_sent = lease->round_confirmed = ++lease->round;
        break;
    case LEASE_IN_ASK:
        on_ask(lease, in, out);
        break;
    case LEASE_IN_ROUND:
        on_round(lease, in, out);
        break;
    case LEASE_IN_BOOT:
        on_boot(lease, in);
        break;
    }
}

bool
lease_may_promote(const struct lease *lease, uint64_t node, uint64_t boot)
{
    if (!lease->leads)
        return false;
    const struct lease_row *row = NULL;
    for (uint32_t i = 0; i < lease->row_count; i++)
        if (lease->rows[i].node == node)
            row = &lease->rows[i];
    if (row != NULL && row->boot > boot)
        return true; // the process that may hold a lease is no more
    if (lease->now_ns - lease->since_ns < lease->config.guard_ns)
        return false;
    return row == NULL || row->granted_ns == 0 ||
           lease->now_ns - row->granted_ns >= lease->config.guard_ns;
}

void
lease_check(const struct lease *lease)
{
    ASSERT(lease->round_confirmed <= lease->round_sent && lease->round_sent <= lease->round);
    ASSERT(lease->leads || lease->row_count == 0);
    ASSERT(lease->since_ns <= lease->now_ns);
    for (uint32_t i = 0; i < lease->row_count; i++) {
        ASSERT(lease->rows[i].granted_ns <= lease->now_ns);
        ASSERT(!lease->rows[i].asked || lease->rows[i].round <= lease->round + 1);
    }
}

void
lease_describe(const struct lease *lease, char *line, size_t cap)
{
    struct text text;
    text_init(&text, line, cap);
    text_add(&text, "lease %s round=%llu/%llu", lease->leads ? "leads" : "follows",
             (unsigned long long)lease->round_confirmed, (unsigned long long)lease->round_sent);
    for (uint32_t i = 0; i < lease->row_count; i++)
        text_add(&text, " %llu.%llu%s", (unsigned long long)lease->rows[i].node,
                 (unsigned long long)lease->rows[i].boot, lease->rows[i].asked ? "?" : "");
}
