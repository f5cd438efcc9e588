// shard/keeper.c -- the thread that looks after a durable shard.
//
// Shape: shell. What is due is decided in shard/checkpoint.c; nothing here can harm: what fails is tried again.
//
// A node has hundreds of shards that nobody writes to, so a keeper that has found nothing to do rests for a minute. Whoever writes
// makes it look: the keeper says that it rests and then reads `accepted_seq`, the writer raises that and then looks whether the keeper rests. Both
// sequentially consistent, so one of the two sees the other.
#include "shard/keeper.h"

#include "base/alloc.h"
#include "base/os_clock.h"
#include "base/os_timer.h"
#include "shard/checkpoint.h"
#include "shard/outside.h"

#define INTERVAL_MS_DEFAULT 200u
#define IDLE_NS 5000000000ull
// After a checkpoint that failed, or did not make the log shorter: most of its work was in vain.
#define RETRY_NS 5000000000ull
#define REST_MS 60000u

struct keeper {
    struct shard *shard;
    struct timer *timer;
    uint32_t interval_ms;
    _Atomic bool rests;
    uint64_t retry_ns;          // no checkpoint before; 0: at once
    uint64_t seen_seq, seen_ns; // the last entry of the log, and since when it is that
    uint64_t looked_seq;        // the same at the end of the last look
};

static uint32_t look(void *context);

omen_status
keeper_open(struct shard *shard, struct keeper **out)
{
    const uint32_t asked = shard->options.interval_ms;
    *out = NULL;
    struct keeper *keeper = mem_alloc_zero(1, sizeof *keeper);
    if (keeper == NULL)
        return OMEN_E_NO_MEMORY;
    keeper->shard = shard;
    keeper->interval_ms = asked != 0 ? asked : INTERVAL_MS_DEFAULT;
    atomic_init(&keeper->rests, false);
    const omen_status status = timer_open(look, keeper, &keeper->timer);
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

void
keeper_stir(struct keeper *keeper)
{
    if (keeper != NULL && atomic_load(&keeper->rests) && atomic_exchange(&keeper->rests, false))
        timer_wake(keeper->timer);
}

bool
keeper_rests(const struct keeper *keeper)
{
    return atomic_load(&keeper->rests);
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

// One piece of upkeep, the most pressing first. True: there may be more.
static bool
keep(struct keeper *keeper)
{
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

// Whether there was something that a look may find done, due or possible the next time.
static bool
has_news(struct keeper *keeper, uint64_t accepted)
{
    struct shard *shard = keeper->shard;
    const bool written = accepted != keeper->looked_seq;
    keeper->looked_seq = accepted;
    if (written || shard->journal->interval || os_clock_ns() < keeper->retry_ns ||
        atomic_load(&shard->linkers.held_until_ns) != 0 ||
        atomic_load(&shard->compaction_due) != 0 ||
        (shard->outside != NULL && atomic_load(&shard->outside->bytes) != 0))
        return true;
    if (!lock_try(&shard->upkeep)) // whoever has it kept this look from its work
        return true;
    lock_release(&shard->upkeep);
    const uint32_t ticket = epoch_enter(&shard->gate);
    const struct hnsw *hnsw = shard_generation(shard)->hnsw;
    const bool idle = !hnsw_links_behind(hnsw) && hnsw_idle(hnsw);
    epoch_leave(&shard->gate, ticket);
    return !idle;
}

// The interval, or less where rows are held back for less.
static uint32_t
next_look_ms(const struct keeper *keeper)
{
    const uint64_t until_ns = atomic_load(&keeper->shard->linkers.held_until_ns);
    const uint64_t now_ns = os_clock_ns();
    if (until_ns == 0)
        return keeper->interval_ms;
    const uint64_t left_ms = until_ns > now_ns ? (until_ns - now_ns) / 1000000 + 1 : 1;
    return left_ms < keeper->interval_ms ? (uint32_t)left_ms : keeper->interval_ms;
}

static uint32_t
look(void *context)
{
    struct keeper *keeper = context;
    atomic_store(&keeper->rests, false);
    if (keep(keeper))
        return 0;
    const _Atomic uint64_t *seq = &keeper->shard->journal->accepted_seq;
    const uint64_t accepted = atomic_load(seq);
    if (has_news(keeper, accepted) || keeper->interval_ms >= REST_MS)
        return next_look_ms(keeper);
    atomic_store(&keeper->rests, true);
    return atomic_load(seq) == accepted ? REST_MS : 0;
}
