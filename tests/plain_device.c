// tests/plain_device.c -- the plain half of gpu/device.h as a plugin, so that what wants a GPU can be tested without one.
//
// Shape: shell.
//
// Compiled with PLAIN_OLD it is of another version than the library, with PLAIN_FAILS it finds no row's nearest, and
// with PLAIN_SMALL it says that it has little memory.
#include "gpu/device.h"

__attribute__((visibility("default"))) const struct device_ops *omendb_gpu_ops(void);

#ifdef PLAIN_FAILS
static omen_status
fail(struct device *device, const struct device_nearest *nearest)
{
    (void)device;
    (void)nearest;
    return OMEN_E_INTERNAL;
}

static const char *
trouble(const struct device *device)
{
    (void)device;
    return "the driver fell over";
}
#endif

#ifdef PLAIN_SMALL
static void
say_little(struct device *device, struct device_facts *facts)
{
    device_cpu.facts(device, facts);
    facts->bytes = 64u << 20;
    facts->bytes_free = 8u << 20;
}
#endif

const struct device_ops *
omendb_gpu_ops(void)
{
    static struct device_ops ops;
    ops = device_cpu;
#ifdef PLAIN_OLD
    ops.abi = DEVICE_ABI - 1;
#endif
#ifdef PLAIN_FAILS
    ops.nearest = fail;
    ops.trouble = trouble;
#endif
#ifdef PLAIN_SMALL
    ops.facts = say_little;
#endif
    return &ops;
}
