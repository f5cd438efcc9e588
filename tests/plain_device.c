// tests/plain_device.c -- the plain half of gpu/device.h as a plugin, so that what wants a GPU can be tested without one.
//
// Shape: shell.
//
// Compiled with PLAIN_OLD it is of another version than the library, and with PLAIN_FAILS it finds no row's nearest.
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
    return &ops;
}
