// tests/lib/router_fixture.h -- the fan-out of one test file, opened as usual before each test.
//
// Shape: shell.
#ifndef OMEN_TESTS_ROUTER_FIXTURE_H
#define OMEN_TESTS_ROUTER_FIXTURE_H
#include "tests/lib/router_alone.h"

static struct alone alone;

static inline void
setup(void)
{
    const struct fanout_config config = alone_config();
    alone_open(&alone, &config);
}

static inline void
teardown(void)
{
    alone_close(&alone);
}

#endif
