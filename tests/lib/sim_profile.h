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
    {.name = "all",
     .fault_mask = SIM_ALL_FAULTS,
     .gap_ms = 1600,
     .length_ms = 5200,
     .patient = 150,
     .strong = 30},
    // Crashes and slow disks: what is said before it is durable shows.
    {.name = "disks",
     .fault_mask = SIM_BIT(CRASH) | SIM_BIT(DISK) | SIM_BIT(POWER) | SIM_BIT(WIPE) | SIM_BIT(CUT),
     .gap_ms = 900,
     .length_ms = 3000,
     .patient = 150,
     .strong = 20,
     .fast_leases = true},
    // Nodes that sleep or are cut off longer than their leases, while others go on.
    {.name = "leases",
     .fault_mask = SIM_BIT(PAUSE) | SIM_BIT(SPLIT) | SIM_BIT(CUT) | SIM_BIT(DISK),
     .gap_ms = 1600,
     .length_ms = 6000,
     .patient = 700,
     .strong = 60,
     .fast_leases = true,
     .quiet_settings = true},
    // Leaders of the metadata that do not notice that they are cut off.
    {.name = "deposed",
     .fault_mask = SIM_BIT(SPLIT) | SIM_BIT(CUT) | SIM_BIT(PAUSE),
     .gap_ms = 2500,
     .length_ms = 8000,
     .patient = 500,
     .strong = 60,
     .fast_leases = true,
     .no_check_quorum = true,
     .quiet_settings = true},
    // A network that loses, doubles and reorders; copies come and go.
    {.name = "net",
     .fault_mask = SIM_NET | SIM_BIT(CRASH),
     .gap_ms = 700,
     .length_ms = 4000,
     .patient = 150,
     .strong = 30,
     .fast_leases = true},
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
