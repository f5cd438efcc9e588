// tests/lib/nng_faults.h -- NNG's memory in a test's hand: the n-th thing that it is to make is not made, and operations that live are
// counted.
//
// Shape: shell. In one file of a program: its own functions come before those of the library, to which they pass on what succeeds.
#ifndef OMEN_TESTS_NNG_FAULTS_H
#define OMEN_TESTS_NNG_FAULTS_H
#include <check.h>
#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>

#include "wire/stream_nng_int.h"

static _Atomic uint32_t nng_fail_at; // 1: the next; 0: none
static _Atomic uint32_t nng_alive;   // made, and not freed

static inline void *
nng_own(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    ck_assert_ptr_nonnull(found);
    return found;
}

static inline bool
nng_fails(void)
{
    uint32_t at = atomic_load(&nng_fail_at);
    while (at > 0 && !atomic_compare_exchange_weak(&nng_fail_at, &at, at - 1))
        continue;
    return at == 1;
}

int
nng_stream_listener_alloc(nng_stream_listener **out, const char *url)
{
    int (*own)(nng_stream_listener **, const char *);
    *(void **)&own = nng_own("nng_stream_listener_alloc");
    return nng_fails() ? NNG_ENOMEM : own(out, url);
}

int
nng_stream_dialer_alloc(nng_stream_dialer **out, const char *url)
{
    int (*own)(nng_stream_dialer **, const char *);
    *(void **)&own = nng_own("nng_stream_dialer_alloc");
    return nng_fails() ? NNG_ENOMEM : own(out, url);
}

int
nng_aio_alloc(nng_aio **out, void (*callback)(void *), void *context)
{
    int (*own)(nng_aio **, void (*)(void *), void *);
    *(void **)&own = nng_own("nng_aio_alloc");
    if (nng_fails())
        return NNG_ENOMEM;
    const int failed = own(out, callback, context);
    if (failed == 0)
        atomic_fetch_add(&nng_alive, 1);
    return failed;
}

void
nng_aio_free(nng_aio *operation)
{
    void (*own)(nng_aio *);
    *(void **)&own = nng_own("nng_aio_free");
    if (operation != NULL)
        atomic_fetch_sub(&nng_alive, 1);
    own(operation);
}

#endif
