// router/watch.c -- one step of who is asked for the cluster's map.
//
// Shape: machine.
//
//      (nobody asked) --a newer version is known, and it is time--> asked
//      asked --the own map is newer--> nobody asked, all failures forgotten
//      asked --its time is over, FAILED, it is gone--> nobody asked
#include "router/watch.h"

#include <string.h>

#include "base/assert.h"

#define DOUBLINGS_MAX 4u

static void take_nodes(struct watch *watch, const struct watch_input *in);
static void note_have(struct watch *watch, uint64_t have);
static void note_failure(struct watch *watch, uint64_t now_ns);
static bool is_behind(const struct watch *watch);
static struct watch_row *choose(struct watch *watch);
static struct watch_row *row_of(struct watch *watch, struct cluster_uuid node, uint32_t guess);
static uint64_t doubled(uint64_t ns, uint32_t times);

void
watch_init(struct watch *watch, const struct watch_config *config, uint64_t seed)
{
    ASSERT(config->answer_ns > 0 && config->retry_ns > 0);
    memset(watch, 0, sizeof *watch);
    watch->config = *config;
    prng_init(&watch->prng, seed);
}

// Its time begins: for the first piece, and for each that follows.
static void
begin_wait(struct watch *watch, uint64_t now_ns)
{
    watch->until_ns = now_ns + doubled(watch->config.answer_ns, watch->failures);
}

static void
take(struct watch *watch, const struct watch_input *in)
{
    const bool known = !uuid_is_none(watch->asked);
    switch (in->kind) {
    case WATCH_IN_NODES:
        take_nodes(watch, in);
        break;
    case WATCH_IN_WORD:
        if (in->version > watch->heard)
            watch->heard = in->version;
        break;
    case WATCH_IN_PROGRESS:
        if (known && uuid_equal(in->node, watch->asked))
            begin_wait(watch, in->now_ns);
        break;
    case WATCH_IN_FAILED:
        if (known && uuid_equal(in->node, watch->asked))
            note_failure(watch, in->now_ns);
        break;
    case WATCH_IN_WAKE:
        break;
    }
}

void
watch_step(struct watch *watch, const struct watch_input *in, struct watch_output *out)
{
    *out = (struct watch_output){.wake_ns = UINT64_MAX};
    note_have(watch, in->have);
    take(watch, in);
    if (!uuid_is_none(watch->asked) && watch->until_ns <= in->now_ns)
        note_failure(watch, in->now_ns);
    if (uuid_is_none(watch->asked) && is_behind(watch) && watch->not_before_ns <= in->now_ns) {
        const struct watch_row *row = choose(watch);
        watch->asked = out->node = row->source.node;
        out->asks = true;
        begin_wait(watch, in->now_ns);
    }
    if (!uuid_is_none(watch->asked))
        out->wake_ns = watch->until_ns;
    else if (is_behind(watch))
        out->wake_ns = watch->not_before_ns;
}

static void
note_have(struct watch *watch, uint64_t have)
{
    if (have <= watch->have)
        return;
    watch->have = have;
    if (!uuid_is_none(watch->asked))
        watch->gave = watch->asked;
    watch->asked = (struct cluster_uuid){0};
    watch->not_before_ns = 0;
    watch->failures = 0;
    for (uint32_t i = 0; i < watch->count; i++)
        watch->rows[i].failures = 0;
}

// Who was there keeps its failures. Who is asked and is there no more is waited for no longer.
static void
take_nodes(struct watch *watch, const struct watch_input *in)
{
    struct watch_row rows[WATCH_SOURCES_MAX];
    const uint32_t count =
        in->source_count < WATCH_SOURCES_MAX ? in->source_count : WATCH_SOURCES_MAX;
    bool there = false;
    for (uint32_t i = 0; i < count; i++) {
        const struct watch_row *before = row_of(watch, in->sources[i].node, i);
        rows[i] = (struct watch_row){in->sources[i], before != NULL ? before->failures : 0};
        there |= uuid_equal(in->sources[i].node, watch->asked);
    }
    memcpy(watch->rows, rows, count * sizeof rows[0]);
    watch->count = count;
    if (!uuid_is_none(watch->asked) && !there)
        note_failure(watch, in->now_ns);
}

static void
note_failure(struct watch *watch, uint64_t now_ns)
{
    struct watch_row *row = row_of(watch, watch->asked, 0);
    if (row != NULL)
        row->failures++;
    watch->asked = (struct cluster_uuid){0};
    watch->not_before_ns = watch->failures == 0
                               ? now_ns
                               : now_ns + doubled(watch->config.retry_ns, watch->failures - 1);
    watch->failures++;
    for (uint32_t i = 0; i < watch->count; i++)
        if (watch->rows[i].failures == 0)
            return;
    watch->heard = watch->have; // nobody has it
}

static bool
is_behind(const struct watch *watch)
{
    bool behind = watch->heard > watch->have && watch->count > 0;
    for (uint32_t i = 0; i < watch->count && !behind; i++)
        behind = watch->rows[i].source.version > watch->have;
    return behind;
}

// Less is better.
static uint32_t
rank_of(const struct watch *watch, const struct watch_row *row)
{
    const uint32_t failures = row->failures < UINT16_MAX ? row->failures : UINT16_MAX;
    return 2 * failures + (row->source.version > watch->have ? 0 : 1);
}

static struct watch_row *
choose(struct watch *watch)
{
    struct watch_row *best = NULL;
    uint32_t least = UINT32_MAX, equals = 0;
    for (uint32_t i = 0; i < watch->count; i++) {
        struct watch_row *row = &watch->rows[i];
        const uint32_t rank = rank_of(watch, row);
        if (rank > least)
            continue;
        equals = rank < least ? 1 : equals + 1;
        least = rank;
        if (prng_below(&watch->prng, equals) == 0)
            best = row;
    }
    ASSERT(best != NULL);
    struct watch_row *gave = row_of(watch, watch->gave, 0);
    return gave != NULL && rank_of(watch, gave) == least ? gave : best;
}

// They mostly come in the order of before.
static struct watch_row *
row_of(struct watch *watch, struct cluster_uuid node, uint32_t guess)
{
    if (guess < watch->count && uuid_equal(watch->rows[guess].source.node, node))
        return &watch->rows[guess];
    for (uint32_t i = 0; i < watch->count; i++)
        if (uuid_equal(watch->rows[i].source.node, node))
            return &watch->rows[i];
    return NULL;
}

static uint64_t
doubled(uint64_t ns, uint32_t times)
{
    return ns << (times < DOUBLINGS_MAX ? times : DOUBLINGS_MAX);
}

void
watch_check(const struct watch *watch)
{
    ASSERT(watch->count <= WATCH_SOURCES_MAX);
    for (uint32_t i = 0; i < watch->count; i++)
        ASSERT(!uuid_is_none(watch->rows[i].source.node));
    if (watch->failures == 0)
        for (uint32_t i = 0; i < watch->count; i++)
            ASSERT(watch->rows[i].failures == 0);
}
