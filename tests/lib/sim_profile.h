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
     .strong = 30,
     .members_ms = 5000,
     .rumours_ms = 3000,
     .admin_ms = 5000,
     .sticky = 50,
     .amid_turn = 200,
     .voters_fall = 50,
     .leaders_alone = 50,
     .leaders_fall = 100,
     .halves_fall = 200,
     .splits = 50,
     .kinds = 60},
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
    // Primaries that move while routers are cut off from the map.
    {.name = "routers",
     .fault_mask = SIM_BIT(CUT) | SIM_BIT(SPLIT) | SIM_BIT(PAUSE) | SIM_BIT(CRASH),
     .gap_ms = 900,
     .length_ms = 4000,
     .patient = 100,
     .strong = 20,
     .fast_leases = true,
     .quiet_settings = true},
    // A network that loses, doubles and reorders; copies come and go.
    {.name = "net",
     .fault_mask = SIM_NET | SIM_BIT(CRASH),
     .gap_ms = 700,
     .length_ms = 4000,
     .patient = 150,
     .strong = 30,
     .fast_leases = true},
    // A primary's node stops between its clock and its mailbox for longer than its lease, and others lead; a router that is slow
    // to take the newer map asks it meanwhile. When it goes on it takes the read by the time of before, and hears nobody who
    // knows better: that the lease is over is seen only when the shard was read (lease_no_recheck).
    {.name = "amid",
     .fault_mask = SIM_BIT(PAUSE) | SIM_BIT(SPLIT),
     .gap_ms = 3000,
     .length_ms = 2500,
     .patient = 50,
     .strong = 60,
     .fast_leases = true,
     .quiet_settings = true,
     .short_ms = 1500,
     .think_ms = 40,
     .patience_ms = 400,
     .sticky = 900,
     .amid_turn = 1000},
    // Raft's group changes all the time, most of all when somebody has just begun to lead.
    {.name = "members",
     .fault_mask = SIM_BIT(SPLIT) | SIM_BIT(CUT) | SIM_BIT(PAUSE) | SIM_BIT(CRASH) | SIM_BIT(DISK) |
                   SIM_BIT(LOST),
     .gap_ms = 1600,
     .length_ms = 3000,
     .patient = 150,
     .strong = 30,
     .fast_leases = true,
     .members_ms = 500,
     .members_hot = true},
    // Disks that rot, and copies that are made anew meanwhile.
    {.name = "rot",
     .fault_mask = SIM_BIT(ROT) | SIM_BIT(CRASH) | SIM_BIT(CUT) | SIM_BIT(DISK) | SIM_BIT(PAUSE),
     .gap_ms = 500,
     .length_ms = 2500,
     .patient = 150,
     .strong = 30,
     .fast_leases = true,
     .quiet_settings = true},
    // Shards that are split and moved all the time, on a network and disks that fail.
    {.name = "splits",
     .fault_mask = SIM_ALL_FAULTS & ~(SIM_BIT(ROT) | SIM_BIT(LOST)),
     .gap_ms = 1600,
     .length_ms = 4000,
     .patient = 150,
     .strong = 30,
     .fast_leases = true,
     .quiet_settings = true,
     .splits = 250},
    // At a cut one half has no copy beside the primary, which does not hear from the metadata's leader; routers go where they went
    // before (cut_read_on). Other faults are few, or a split seldom comes to its cut.
    {.name = "halves",
     .fault_mask = SIM_BIT(CUT) | SIM_BIT(PAUSE),
     .gap_ms = 1600,
     .length_ms = 6000,
     .patient = 50,
     .strong = 60,
     .fast_leases = true,
     .quiet_settings = true,
     .think_ms = 40,
     .patience_ms = 400,
     .sticky = 700,
     .halves_fall = 700,
     .splits = 250},
    // Collections come and go, and who writes the first points of one claims their kind of ids beside others that want the other
    // kind, by maps that are old (claim_stale, claim_twice); programs are exchanged meanwhile.
    {.name = "kinds",
     .fault_mask = SIM_BIT(CUT) | SIM_BIT(SPLIT) | SIM_BIT(PAUSE) | SIM_BIT(CRASH) | SIM_BIT(DISK),
     .gap_ms = 900,
     .length_ms = 3000,
     .patient = 150,
     .strong = 30,
     .fast_leases = true,
     .quiet_settings = true,
     .sticky = 200,
     .leaders_alone = 50,
     .leaders_fall = 200,
     .splits = 50,
     .kinds = 400},
    // Who votes forgets it: two candidates of a term, the disk of one slow, so that its request comes when the node that
    // voted for the other has crashed and is back. Then a term has two leaders (vote_not_persisted).
    {.name = "votes",
     .fault_mask = SIM_BIT(DISK) | SIM_BIT(DELAY) | SIM_BIT(CRASH) | SIM_BIT(CUT),
     .gap_ms = 500,
     .length_ms = 2500,
     .patient = 150,
     .strong = 30,
     .fast_leases = true,
     .quiet_settings = true,
     .short_ms = 20,
     .late_ms = 150,
     .voters_fall = 400,
     .leaders_fall = 600},
    // The paper's figure 8: leaders are cut off with what they just wrote, so that nodes have ends of several terms; one leads
    // again and counts its old entry while its new one is not on its disk, falls, and who has a newer end leads
    // (commit_old_term).
    {.name = "ends",
     .fault_mask = SIM_BIT(DISK) | SIM_BIT(SPLIT) | SIM_BIT(CRASH),
     .gap_ms = 500,
     .length_ms = 1500,
     .patient = 150,
     .strong = 30,
     .fast_leases = true,
     .nodes = 3,
     .slow_ms = 300,
     .leaders_alone = 500,
     .leaders_fall = 900},
    // A leader is cut off while answers to it are still on their way; it does not notice, and takes reads that began when others
    // led already (readindex_ctx_reuse).
    {.name = "reads",
     .fault_mask = SIM_BIT(SPLIT) | SIM_BIT(DELAY),
     .gap_ms = 600,
     .length_ms = 1500,
     .patient = 150,
     .strong = 30,
     .fast_leases = true,
     .no_check_quorum = true,
     .late_ms = 1500,
     .looks = 900,
     .queues = true},
    // Routers that go where they went before find copies that were deposed: by a transfer, or while their node could not be
    // heard; it reaches copies that have promised a newer term (skip_promise).
    {.name = "habits",
     .fault_mask = SIM_BIT(PAUSE) | SIM_BIT(CUT) | SIM_BIT(SPLIT) | SIM_BIT(DISK),
     .gap_ms = 1200,
     .length_ms = 5000,
     .patient = 50,
     .strong = 50,
     .fast_leases = true,
     .quiet_settings = true,
     .think_ms = 40,
     .patience_ms = 400,
     .sticky = 700,
     .amid_turn = 700,
     .pairs = true},
    // As habits, on a network where a grant overtakes by far what was decided before it: a node that comes back takes the lease for that
    // of a shard which another has by now (lease_old_view).
    {.name = "views",
     .fault_mask = SIM_BIT(PAUSE) | SIM_BIT(CUT) | SIM_BIT(SPLIT) | SIM_BIT(DELAY) | SIM_BIT(DISK),
     .gap_ms = 1200,
     .length_ms = 5000,
     .patient = 50,
     .strong = 60,
     .fast_leases = true,
     .quiet_settings = true,
     .think_ms = 40,
     .patience_ms = 400,
     .sticky = 700,
     .late_ms = 400,
     .pairs = true},
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
