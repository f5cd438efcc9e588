// shard/backend.c -- who makes the links of a bulk build.
//
// Shape: handle.
//
// Asking for a GPU is not free: loading the plugin and making a context takes some tenths of a second. Two cores link six million
// components a second (17,282 rows of 384, README), so what AUTO leaves to them takes three seconds at most.
#include "shard/backend.h"

#include <stdlib.h>
#include <string.h>

#define AUTO_COMPONENTS 20000000u

// As OMEN_GPU_LEAST says, or as above.
static uint64_t
components_least(void)
{
    const char *named = getenv("OMEN_GPU_LEAST");
    if (named == NULL || named[0] < '0' || named[0] > '9')
        return AUTO_COMPONENTS;
    char *end;
    const unsigned long long least = strtoull(named, &end, 10);
    return *end == '\0' ? least : AUTO_COMPONENTS;
}

omen_status
backend_open(struct backend *backend, omen_backend wanted, uint64_t components,
             struct omen_error *error)
{
    *backend = (struct backend){.wanted = wanted};
    if (wanted != OMEN_BACKEND_AUTO && wanted != OMEN_BACKEND_CPU && wanted != OMEN_BACKEND_CUDA)
        return error_set(error, OMEN_E_INVALID,
                         "backend %d: there are 0 (auto), 1 (cpu) and 2 (cuda)", (int)wanted);
    if (wanted == OMEN_BACKEND_CPU)
        return OMEN_OK;
    if (wanted == OMEN_BACKEND_AUTO && components < components_least()) {
        (void)error_set(&backend->why, OMEN_E_UNSUPPORTED, "too little to do for a GPU");
        return OMEN_OK;
    }
    const omen_status status = device_open(DEVICE_REQUIRE, &backend->gpu.device, &backend->why);
    if (status != OMEN_OK && wanted == OMEN_BACKEND_AUTO)
        return OMEN_OK;
    if (status != OMEN_OK)
        return error_set(error, status, "backend cuda: %s", backend->why.text);
    struct device_facts facts;
    backend->gpu.device.ops->facts(backend->gpu.device.device, &facts);
    memcpy(backend->device, facts.name, sizeof backend->device);
    backend->gpu.yields = wanted == OMEN_BACKEND_AUTO;
    backend->maker = gpu_maker_of(&backend->gpu);
    backend->is_open = true;
    return OMEN_OK;
}

bool
backend_has_gpu(char device[256], struct omen_error *error)
{
    struct backend backend;
    const bool has = backend_open(&backend, OMEN_BACKEND_CUDA, 0, error) == OMEN_OK;
    memcpy(device, backend.device, sizeof backend.device);
    backend_close(&backend);
    return has;
}

void
backend_close(struct backend *backend)
{
    if (backend->is_open)
        device_close(&backend->gpu.device);
    backend->is_open = false;
}

const struct build_maker *
backend_maker(const struct backend *backend)
{
    return backend->is_open ? &backend->maker : NULL;
}

bool
backend_gives_up(struct backend *backend, omen_status status)
{
    struct omen_error *const told = &backend->gpu.error;
    if (told->text[0] == '\0' || told->status != status)
        (void)error_set_plain(told, status); // not the device's word: no memory, say
    if (!backend->is_open || backend->wanted != OMEN_BACKEND_AUTO || status == OMEN_E_CANCELLED)
        return false;
    backend->why = *told;
    backend_close(backend);
    return true;
}
