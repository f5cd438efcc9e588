// tests/sim/routers.c -- the routers of a simulation (tests/lib/sim_routers.h), for tests/sim/omensim.c.
//
// Shape: shell, simulated.
#include "tests/lib/sim_routers.h"
