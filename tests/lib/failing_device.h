// tests/lib/failing_device.h -- the plain device, of which one call fails, and whose pieces of memory are counted.
//
// Shape: value. Header only: one test each includes it.
#ifndef OMEN_TESTS_FAILING_DEVICE_H
#define OMEN_TESTS_FAILING_DEVICE_H
#include <stdatomic.h>
#include <stdbool.h>

#include "gpu/device.h"
#include "gpu/search.h"

static struct device_ops failing_ops;
static uint32_t calls_left; // until one fails
static omen_status failure;
static int64_t held; // pieces of memory, of the device and pinned
static _Atomic uint32_t cancel;
static enum { FAILS, CANCELS } then;

// One more call; true when it is the one.
static inline bool
fails(void)
{
    if (calls_left == 0 || --calls_left > 0)
        return false;
    if (then == CANCELS)
        atomic_store_explicit(&cancel, 1, memory_order_relaxed);
    return then == FAILS;
}

#define FAILING(op, type)                                                                          \
    static inline omen_status failing_##op(struct device *of, const type *in)                      \
    {                                                                                              \
        return fails() ? failure : device_cpu.op(of, in);                                          \
    }
FAILING(join, struct device_join)
FAILING(gather, struct device_gather)
FAILING(nearest, struct device_nearest)
FAILING(group, struct device_group)
FAILING(merge, struct device_merge)
FAILING(measure, struct device_measure)
FAILING(prune, struct device_prune)
FAILING(reverse, struct device_reverse)
FAILING(reach, struct device_reach)
FAILING(pack, struct device_pack)
FAILING(walk, struct device_walk)
FAILING(rerank, struct device_rerank)
FAILING(knn, struct device_knn)

static inline omen_status
failing_alloc(struct device *of, size_t bytes, void **memory)
{
    *memory = NULL;
    if (fails())
        return failure;
    const omen_status status = device_cpu.alloc(of, bytes, memory);
    held += status == OMEN_OK;
    return status;
}

static inline void
failing_free(struct device *of, void *memory)
{
    held -= memory != NULL;
    device_cpu.free(of, memory);
}

static inline omen_status
failing_put(struct device *of, void *to, const void *host, size_t bytes)
{
    return fails() ? failure : device_cpu.put(of, to, host, bytes);
}

static inline omen_status
failing_get(struct device *of, void *host, const void *from, size_t bytes)
{
    return fails() ? failure : device_cpu.get(of, host, from, bytes);
}

static inline omen_status
failing_fill(struct device *of, void *memory, uint8_t byte, size_t bytes)
{
    return fails() ? failure : device_cpu.fill(of, memory, byte, bytes);
}

static inline omen_status
failing_wait(struct device *of)
{
    return fails() ? failure : device_cpu.wait(of);
}

static inline omen_status
failing_mark(struct device *of, uint32_t mark)
{
    return fails() ? failure : device_cpu.mark(of, mark);
}

static inline omen_status
failing_between(struct device *of, uint32_t from, uint32_t to, float *ms)
{
    return fails() ? failure : device_cpu.between(of, from, to, ms);
}

static inline const char *
failing_trouble(const struct device *of)
{
    (void)of;
    return "the driver fell over";
}

// Makes an open plain device one of these, whose next failure is the driver's.
static inline void
failing_device(struct device_handle *device)
{
    failing_ops = device_cpu;
    failing_ops.name = "made";
    failing_ops.alloc = failing_ops.host_alloc = failing_alloc;
    failing_ops.free = failing_ops.host_free = failing_free;
    failing_ops.join = failing_join;
    failing_ops.gather = failing_gather;
    failing_ops.nearest = failing_nearest;
    failing_ops.group = failing_group;
    failing_ops.merge = failing_merge;
    failing_ops.measure = failing_measure;
    failing_ops.prune = failing_prune;
    failing_ops.reverse = failing_reverse;
    failing_ops.reach = failing_reach;
    failing_ops.pack = failing_pack;
    failing_ops.walk = failing_walk;
    failing_ops.rerank = failing_rerank;
    failing_ops.knn = failing_knn;
    failing_ops.put = failing_put;
    failing_ops.get = failing_get;
    failing_ops.fill = failing_fill;
    failing_ops.wait = failing_wait;
    failing_ops.mark = failing_mark;
    failing_ops.between = failing_between;
    failing_ops.trouble = failing_trouble;
    device->ops = &failing_ops;
    calls_left = 0;
    held = 0;
    then = FAILS;
    failure = OMEN_E_INTERNAL;
}

#endif
