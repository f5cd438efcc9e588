// shard/keeper.c -- the thread that looks after a durable shard.
//
// Shape: shell. What is due is decided in shard/checkpoint.c; nothing here can harm: what fails is tried again.
#include "shard/keeper.h"

#include "base/alloc.h"
#include "base/os_clock.h"
#include "base/os_timer.h"
#include "shard/checkpoint.h"

#define INTERVAL_MS_DEFAULT 200u
#define RETRY_NS 5000000000ull // after a checkpoint that failed: most of its work was in vain

struct keeper {
    struct shard *shard;
    struct timer *timer;
    uint64_t retry_ns; // no checkpoint before; 0: at once
};

static bool keep(void *context);

omen_status
keeper_open(struct shard *shard, struct keeper **out)
{
    const uint32_t asked = shard->options.interval_ms;
    *out = NULL;
    struct keeper *keeper = mem_alloc_zero(1, sizeof *keeper);
    if (keeper == NULL)
        return OMEN_E_NO_MEMORY;
    keeper->shard = shard;
    const omen_status status =
        timer_open(asked != 0 ? asked : INTERVAL_MS_DEFAULT, keep, keeper, &keeper->timer);
    if (status == OMEN_OK)
        *out = keeper;
    else
        mem_free(keeper);
    return status;
}

void
keeper_close(struct keeper *keeper)
{
    if (keeper == NULL)
        return;
    timer_close(keeper->timer);
    mem_free(keeper);
}

void
keeper_wake(struct keeper *keeper)
{
    if (keeper != NULL)
        timer_wake(keeper->timer);
}

// One piece of upkeep, the most pressing first.
static bool
keep(void *context)
{
    struct keeper *keeper = context;
    struct shard *shard = keeper->shard;
    struct omen_error error;
    if (shard->journal->interval)
        (void)!journal_sync(shard->journal, &error);
    if (checkpoint_due(shard) && os_clock_ns() >= keeper->retry_ns) {
        const omen_status status = checkpoint(shard, &error);
        keeper->retry_ns = status == OMEN_OK ? 0 : os_clock_ns() + RETRY_NS;
        if (status == OMEN_OK)
            checkpoint_settle(shard);
    }
    const uint32_t ticket = epoch_enter(&shard->gate);
    const bool more = hnsw_promote_next(shard_generation(shard)->hnsw);
    epoch_leave(&shard->gate, ticket);
    return more;
}
