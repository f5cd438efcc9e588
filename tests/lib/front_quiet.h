// tests/lib/front_quiet.h -- what a front tells that has nobody to tell it to, and a date that stands still: for programs that look at parts
// and answers only.
//
// Shape: value.
#ifndef OMEN_TESTS_FRONT_QUIET_H
#define OMEN_TESTS_FRONT_QUIET_H
#include "router/front.h"

static inline void
quiet_cancel(void *context, uint32_t node, uint64_t request, uint32_t part, uint32_t attempt)
{
    (void)context, (void)node, (void)request, (void)part, (void)attempt;
}

static inline void
quiet_want_map(void *context, uint64_t version)
{
    (void)context, (void)version;
}

static inline uint64_t
quiet_date_ms(void *context)
{
    (void)context;
    return 1;
}

#endif
