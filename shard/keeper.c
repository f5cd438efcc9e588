// shard/keeper.c -- the thread that looks after a durable shard.
//
// Shape: shell. What is due is decided in shard/checkpoint.c; nothing here can harm: what fails is tried again.
#include "shard/keeper.h"

#include "base/alloc.h"
#include "base/os_clock.h"
#include "base/os_timer.h"
#include "shard/checkpoint.h"

#define INTERVAL_MS_DEFAULT 200u
#define IDLE_NS 5000000000ull
// After a checkpoint that failed, or did not make the log shorter: most of its work was in vain.
#define RETRY_NS 5000000000ull

struct keeper {
    struct shard *shard;
    struct timer *timer;
    uint64_t retry_ns;          // no checkpoint before; 0: at once
    uint64_t seen_seq, seen_ns; // the last entry of the log, and since when it is that
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

// Whether nobody has written for a while, all is linked, and the file's links are not those: the last checkpoint left some out, or
// all were made at once since.
static bool
is_idle(struct keeper *keeper)
{
    struct shard *shard = keeper->shard;
    const uint64_t now_ns = os_clock_ns();
    const uint64_t accepted = atomic_load(&shard->journal->accepted_seq);
    if (accepted != keeper->seen_seq) {
        keeper->seen_seq = accepted;
        keeper->seen_ns = now_ns;
    }
    if (now_ns - keeper->seen_ns < IDLE_NS || now_ns < keeper->retry_ns)
        return false;
    const uint32_t ticket = epoch_enter(&shard->gate);
    const struct hnsw *hnsw = shard_generation(shard)->hnsw;
    const bool idle = hnsw_links_behind(hnsw) && hnsw_idle(hnsw);
    epoch_leave(&shard->gate, ticket);
    return idle;
}

// The time before which there is no other checkpoint. One that left the log as it was would be due again at once.
static uint64_t
retry_after(const struct shard *shard, omen_status status)
{
    const bool failed = status != OMEN_OK || atomic_load(&shard->journal->untrimmed);
    return failed ? os_clock_ns() + RETRY_NS : 0;
}

// True: there may be more to do. A bulk build reads codes where they are.
static bool
promote(struct shard *shard)
{
    if (!lock_try(&shard->builds))
        return false;
    const uint32_t ticket = epoch_enter(&shard->gate);
    const bool links = hnsw_promote_next(shard_generation(shard)->hnsw);
    epoch_leave(&shard->gate, ticket);
    lock_release(&shard->builds);
    return links;
}

// One piece of upkeep, the most pressing first.
static bool
keep(void *context)
{
    struct keeper *keeper = context;
    struct shard *shard = keeper->shard;
    struct omen_error error;
    bulk_look(shard);
    if (shard->journal->interval)
        (void)!journal_sync(shard->journal, &error);
    if (checkpoint_due(shard) && os_clock_ns() >= keeper->retry_ns) {
        compact_before_checkpoint(shard);
        const omen_status status = checkpoint_grown(shard, &error);
        keeper->retry_ns = retry_after(shard, status);
        if (status == OMEN_OK)
            checkpoint_settle(shard);
    } else if (is_idle(keeper)) {
        const omen_status status = checkpoint(shard, &error);
        keeper->retry_ns = retry_after(shard, status);
    }
    if (!linkers_have_workers(&shard->linkers))
        (void)compact_spare(shard);
    const bool fields = shard_load_field(shard);
    return promote(shard) || fields;
}
