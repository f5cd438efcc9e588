// gpu/device.c -- chooses a device: the plugin's where there is one, else the CPU.
//
// Shape: shell. The plugin is loaded at run time, so that neither the library nor the daemon needs CUDA or libstdc++.
#include "gpu/device.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/text.h"

#define PATH_BYTES 4096u

#ifndef DEVICE_PLUGIN_FOLDER // where `cmake --install` puts it, as seen from a program's folder
#define DEVICE_PLUGIN_FOLDER "../lib/omendb"
#endif

// The folder that this code's file is in, with a slash at its end; empty when that is not known. A program that was found by
// PATH is known to the linker by a name without one.
static void
our_folder(char *path, size_t capacity)
{
    Dl_info info;
    path[0] = '\0';
    if (dladdr((const void *)&device_cpu, &info) == 0 || info.dli_fname == NULL)
        return;
    const size_t length = strlen(info.dli_fname);
    if (strchr(info.dli_fname, '/') != NULL && length < capacity) {
        memcpy(path, info.dli_fname, length + 1);
    } else {
        const ssize_t got = readlink("/proc/self/exe", path, capacity - 1);
        path[got > 0 ? got : 0] = '\0';
    }
    char *slash = strrchr(path, '/');
    path[slash == NULL ? 0 : slash - path + 1] = '\0';
}

// What was tried, for people.
struct search {
    void *plugin;
    char tried[2 * PATH_BYTES];
    struct text text;
    const char *trouble; // of a file that is there
};

// False: it is not there.
static bool
try_file(struct search *search, const char *path)
{
    text_add(&search->text, "%s%s", search->text.length > 0 ? ", " : "", path);
    if (access(path, F_OK) != 0)
        return false;
    search->plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    search->trouble = search->plugin == NULL ? dlerror() : NULL;
    return true;
}

// The first that is there counts, also where it cannot be loaded.
static void
look_for_plugin(struct search *search)
{
    static const char *const places[] = {"", "omendb/", DEVICE_PLUGIN_FOLDER "/"};
    const char *named = getenv("OMEN_GPU_PLUGIN");
    text_init(&search->text, search->tried, sizeof search->tried);
    if (named != NULL && named[0] != '\0') {
        (void)!try_file(search, named);
        return;
    }
    char folder[PATH_BYTES], path[PATH_BYTES];
    our_folder(folder, sizeof folder);
    for (size_t i = 0; folder[0] != '\0' && i < sizeof places / sizeof *places; i++) {
        struct text text;
        text_init(&text, path, sizeof path);
        text_add(&text, "%s%s" DEVICE_PLUGIN_FILE, folder, places[i]);
        if (!text.truncated && try_file(search, path))
            return;
    }
    search->plugin = dlopen(DEVICE_PLUGIN_FILE, RTLD_NOW | RTLD_LOCAL);
}

// Loaded once and for good: CUDA keeps threads and handlers that must not lose their code.
static omen_status
open_gpu(struct device_handle *out, struct omen_error *error)
{
    struct search search = {0};
    look_for_plugin(&search);
    if (search.plugin == NULL && search.trouble != NULL)
        return error_set(error, OMEN_E_UNSUPPORTED, "no GPU: the plugin cannot be loaded: %s",
                         search.trouble);
    if (search.plugin == NULL)
        return error_set(error, OMEN_E_UNSUPPORTED,
                         "no GPU: the plugin " DEVICE_PLUGIN_FILE " is not installed (tried %s)",
                         search.tried);
    void *symbol = dlsym(search.plugin, DEVICE_PLUGIN_SYMBOL);
    device_ops_fn plugin_ops;
    memcpy(&plugin_ops, &symbol, sizeof plugin_ops); // ISO C has no cast from data to code
    if (plugin_ops == NULL)
        return error_set(error, OMEN_E_UNSUPPORTED,
                         "no GPU: " DEVICE_PLUGIN_FILE " lacks " DEVICE_PLUGIN_SYMBOL);
    const struct device_ops *ops = plugin_ops();
    if (ops->abi != DEVICE_ABI)
        return error_set(error, OMEN_E_UNSUPPORTED,
                         "no GPU: " DEVICE_PLUGIN_FILE
                         " is of version %u and this library wants %u; they are of one release",
                         ops->abi, DEVICE_ABI);
    const omen_status status = ops->open(0, &out->device, error);
    if (status != OMEN_OK)
        return error_about(error, status, "no GPU");
    out->ops = ops;
    return OMEN_OK;
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
