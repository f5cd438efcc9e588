// bench/driver.h -- what the timing programs have in common that call the library.
//
// Shape: shell. Header only: each program is one file besides.
#ifndef OMEN_BENCH_DRIVER_H
#define OMEN_BENCH_DRIVER_H
#include "bench/clock.h"
#include "omendb.h"

static inline void
check(omen_status status, const char *what)
{
    if (status != OMEN_OK)
        die("%s: %s: %s", what, omen_strerror(status), omen_error_message());
}

#endif
