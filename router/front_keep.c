// router/front_keep.c -- what a part asks, for who answers it where it is: how much it is, and bytes that outlive their request.
//
// Shape: handle, in memory.
//
// A request may be answered, and its frame go, while a copy in the same process still reads what it was asked: another was quicker, the
// client left, time was up. So the frame is counted once somebody keeps it; before that nothing is counted.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "router/front_int.h"

// About 100 us of one core of the development machine at the most (docs/internals/router.md, "The front").
#define LIGHT_MOST 65536u
#define LIGHT_EF 64u // about what an index takes where nobody says

bool
front_sends_light(const struct front *front)
{
    const struct front_call *call = front->sends;
    const struct api_query_search *ask = (const void *)&call->ask;
    if (call->method->number != METHOD_QUERY_SEARCH || call->asks != METHOD_QUERY_SEARCH)
        return false;
    if (ask->exact != 0 || ask->target_recall != 0 || ask->filter.form != FILTER_FORM_NONE)
        return false;
    const uint64_t ef = ask->ef == 0 ? LIGHT_EF : ask->ef;
    const uint64_t looks = ef > call->k ? ef : call->k;
    return looks * call->dimension <= LIGHT_MOST;
}

static struct front_kept *
kept_new(uint8_t *bytes, uint32_t users)
{
    struct front_kept *kept = mem_alloc(sizeof *kept);
    if (kept == NULL)
        return NULL;
    atomic_init(&kept->users, users);
    kept->bytes = bytes;
    return kept;
}

// What is not in the frame was put together, and its memory is used again.
static struct front_kept *
keep_copy(struct wire_bytes *ask)
{
    uint8_t *bytes = mem_alloc(ask->count + 1);
    struct front_kept *kept = bytes == NULL ? NULL : kept_new(bytes, 1);
    if (kept == NULL) {
        mem_free(bytes);
        return NULL;
    }
    memcpy(bytes, ask->bytes, ask->count);
    ask->bytes = bytes;
    return kept;
}

struct front_kept *
front_keep(struct front *front, struct wire_bytes *ask)
{
    struct front_call *call = front->sends;
    ASSERT(call != NULL);
    *ask = front->sent;
    if (ask->bytes != call->raw.bytes)
        return keep_copy(ask);
    if (call->kept == NULL)
        call->kept = kept_new(call->frame, 1);
    if (call->kept != NULL)
        atomic_fetch_add_explicit(&call->kept->users, 1, memory_order_relaxed);
    return call->kept;
}

void
front_unkeep(struct front_kept *kept)
{
    if (kept == NULL || atomic_fetch_sub(&kept->users, 1) != 1)
        return;
    mem_free(kept->bytes);
    mem_free(kept);
}

void
front_let_frame(struct front_call *call)
{
    if (call->kept != NULL)
        front_unkeep(call->kept);
    else
        mem_free(call->frame);
}
