// tests/plain_device.c -- the plain half of gpu/device.h as a plugin, so that what wants a GPU can be tested without one.
//
// Shape: shell.
#include "gpu/device.h"

__attribute__((visibility("default"))) const struct device_ops *omendb_gpu_ops(void);

const struct device_ops *
omendb_gpu_ops(void)
{
    return &device_cpu;
}
