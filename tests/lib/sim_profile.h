// tests/lib/sim_profile.h -- the profiles of a simulation: which faults, how often, for how long, and what clients do.
//
// Shape: value.
#ifndef OMEN_TESTS_SIM_PROFILE_H
#define OMEN_TESTS_SIM_PROFILE_H
#include <string.h>

#include "tests/lib/sim_types.h"

#define SIM_BIT(kind) (1u << SIM_FAULT_##kind)
#define SIM_ALL_FAULTS ((1u << SIM_FAULT_KINDS) - 1)
#define SIM_NET (SIM_BIT(LOSS) | SIM_BIT(DOUBLE) | SIM_BIT(DELAY) | SIM_BIT(CUT) | SIM_BIT(SPLIT))

// The first is the default.
static const struct sim_profile sim_profiles[] = {
    {"all", SIM_ALL_FAULTS, 1600, 5200, 150, 30, false, false, false},
    // Crashes and slow disks: what is said before it is durable shows.
    {"disks", SIM_BIT(CRASH) | SIM_BIT(DISK) | SIM_BIT(POWER) | SIM_BIT(WIPE) | SIM_BIT(CUT), 900,
     3000, 150, 20, true, false, false},
    // Nodes that sleep or are cut off longer than their leases, while others go on.
    {"leases", SIM_BIT(PAUSE) | SIM_BIT(SPLIT) | SIM_BIT(CUT) | SIM_BIT(DISK), 1600, 6000, 700, 60,
     true, false, true},
    // Leaders of the metadata that do not notice that they are cut off.
    {"deposed", SIM_BIT(SPLIT) | SIM_BIT(CUT) | SIM_BIT(PAUSE), 2500, 8000, 500, 60, true, true,
     true},
    // A network that loses, doubles and reorders; copies come and go.
    {"net", SIM_NET | SIM_BIT(CRASH), 700, 4000, 150, 30, true, false, false},
};

static inline const struct sim_profile *
sim_profile_named(const char *name)
{
    for (size_t i = 0; i < sizeof sim_profiles / sizeof *sim_profiles; i++)
        if (strcmp(sim_profiles[i].name, name) == 0)
            return &sim_profiles[i];
    return NULL;
}

#endif
