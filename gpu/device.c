// gpu/device.c -- chooses a device: the plugin's where there is one, else the CPU.
//
// Shape: shell. The plugin is loaded at run time, so that neither the library nor the daemon needs CUDA or libstdc++.
#include "gpu/device.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/text.h"

#define PATH_BYTES 4096u

// The plugin's file beside the one that this code is in; an empty path when that is not known.
static void
beside_us(char *path, size_t capacity)
{
    Dl_info info;
    path[0] = '\0';
    if (dladdr((const void *)&device_cpu, &info) == 0 || info.dli_fname == NULL)
        return;
    const char *slash = strrchr(info.dli_fname, '/');
    const size_t folder = slash == NULL ? 0 : (size_t)(slash - info.dli_fname) + 1;
    if (folder + sizeof DEVICE_PLUGIN_FILE > capacity)
        return;
    memcpy(path, info.dli_fname, folder);
    memcpy(path + folder, DEVICE_PLUGIN_FILE, sizeof DEVICE_PLUGIN_FILE);
}

static void *
load_plugin(void)
{
    const char *named = getenv("OMEN_GPU_PLUGIN");
    if (named != NULL && named[0] != '\0')
        return dlopen(named, RTLD_NOW | RTLD_LOCAL);
    char path[PATH_BYTES];
    beside_us(path, sizeof path);
    void *plugin = strchr(path, '/') != NULL ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    return plugin != NULL ? plugin : dlopen(DEVICE_PLUGIN_FILE, RTLD_NOW | RTLD_LOCAL);
}

// Loaded once and for good: CUDA keeps threads and handlers that must not lose their code.
static omen_status
open_gpu(struct device_handle *out, struct omen_error *error)
{
    void *plugin = load_plugin();
    if (plugin == NULL)
        return error_set(error, OMEN_E_UNSUPPORTED, "no GPU: the plugin cannot be loaded: %s",
                         dlerror());
    void *symbol = dlsym(plugin, DEVICE_PLUGIN_SYMBOL);
    device_ops_fn plugin_ops;
    memcpy(&plugin_ops, &symbol, sizeof plugin_ops); // ISO C has no cast from data to code
    if (plugin_ops == NULL)
        return error_set(error, OMEN_E_UNSUPPORTED,
                         "no GPU: " DEVICE_PLUGIN_FILE " lacks " DEVICE_PLUGIN_SYMBOL);
    const struct device_ops *ops = plugin_ops();
    if (ops->abi != DEVICE_ABI)
        return error_set(error, OMEN_E_UNSUPPORTED,
                         "no GPU: " DEVICE_PLUGIN_FILE " is of version %u, this is %u", ops->abi,
                         DEVICE_ABI);
    out->ops = ops;
    return ops->open(0, &out->device, error);
}

omen_status
device_open(enum device_want want, struct device_handle *out, struct omen_error *error)
{
    *out = (struct device_handle){0};
    if (want != DEVICE_NEVER) {
        const omen_status status = open_gpu(out, error);
        if (status == OMEN_OK || want == DEVICE_REQUIRE || status == OMEN_E_NO_MEMORY)
            return status;
    }
    out->ops = &device_cpu;
    struct omen_error own;
    return device_cpu.open(0, &out->device, &own);
}

void
device_close(struct device_handle *handle)
{
    if (handle->ops != NULL)
        handle->ops->close(handle->device);
    *handle = (struct device_handle){0};
}
