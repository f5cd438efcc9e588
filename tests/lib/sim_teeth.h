// tests/lib/sim_teeth.h -- how many seeds of a range find each deliberate error of base/bug.h, and how many must.
//
// Shape: shell.
//
// Which seed is the first to find an error says little: it is another one after any change of what is drawn. So there is a floor: of
// the first `seeds` seeds so many at least, far fewer than were measured. As long as an error is found as often as then, chance alone
// brings fewer in less than one run of 10,000; docs/TESTING.md has what was measured.
#ifndef OMEN_TESTS_SIM_TEETH_H
#define OMEN_TESTS_SIM_TEETH_H
#include "base/bug.h"
#include "tests/lib/sim_batch.h"
#include "tests/lib/sim_profile.h"

#ifdef OMEN_TESTING
static const struct sim_tooth {
    enum bug bug;
    const char *profile; // where it shows best
    uint32_t seeds, floor;
} sim_teeth_list[] = {
    {BUG_ACK_BEFORE_REPLICA, "disks", 40, 10}, {BUG_ACK_BEFORE_FSYNC, "disks", 40, 10},
    {BUG_SKIP_PROMISE, "habits", 160, 3},      {BUG_SHRINK_EARLY, "net", 40, 10},
    {BUG_NO_PENDING_ADD, "disks", 40, 3},      {BUG_RESUME_SAME_TERM, "disks", 40, 10},
    {BUG_LEASE_IGNORE, "leases", 40, 8},       {BUG_LEASE_NO_RECHECK, "amid", 180, 2},
    {BUG_LEASE_OLD_VIEW, "views", 360, 1},     {BUG_LEASE_GRANT_UNCONFIRMED, "deposed", 80, 8},
    {BUG_APPLY_UNCOMMITTED, "net", 40, 10},    {BUG_NO_DEDUPE, "net", 40, 10},
    {BUG_VOTE_NOT_PERSISTED, "votes", 40, 10}, {BUG_READINDEX_CTX_REUSE, "reads", 40, 10},
    {BUG_COMMIT_OLD_TERM, "ends", 40, 10},     {BUG_SINGLE_CHANGE_BUG, "members", 400, 1},
    {BUG_FORGET_TOMBSTONE, "rot", 40, 10},     {BUG_CUT_EARLY, "splits", 130, 3},
    {BUG_CUT_READ_ON, "halves", 110, 3},       {BUG_STALE_ROUTE, "routers", 40, 8},
    {BUG_CLAIM_STALE, "kinds", 40, 10},        {BUG_CLAIM_TWICE, "kinds", 40, 10},
};

struct sim_bite {
    uint64_t tried, found;
};

// Goes on until `enough` found it.
static inline struct sim_bite
sim_try_tooth(const struct sim_options *given, uint64_t seeds, uint64_t enough)
{
    struct sim_bite bite = {0};
    while (bite.tried < seeds && bite.found < enough) {
        struct sim_options options = *given;
        options.seed = given->seed + bite.tried++;
        sim_choose_nodes(&options);
        bite.found += sim_seed_fails(&options);
    }
    return bite;
}

// With `seeds` it counts how many of so many find each, as far as there is one; without, whether as many do as must.
static inline int
sim_teeth(const char *name, uint64_t seeds, const struct sim_options *given)
{
    int missed = 0;
    if (name != NULL && bug_parse(name) == BUGS_END) {
        fprintf(stderr, "omensim: there is no error '%s'\n", name);
        return 2;
    }
    for (size_t i = 0; i < sizeof sim_teeth_list / sizeof *sim_teeth_list; i++) {
        const struct sim_tooth *tooth = &sim_teeth_list[i];
        if (name != NULL && tooth->bug != bug_parse(name))
            continue;
        struct sim_options options = *given;
        if (options.profile == NULL)
            options.profile = sim_profile_named(tooth->profile);
        bug_choose(tooth->bug);
        const struct sim_bite bite = sim_try_tooth(&options, seeds != 0 ? seeds : tooth->seeds,
                                                   seeds != 0 ? UINT64_MAX : tooth->floor);
        const bool enough = bite.found >= (seeds != 0 ? 1 : tooth->floor);
        missed += !enough;
        printf("| %s | %s | %" PRIu64 " of %" PRIu64 " |%s\n", bug_name(tooth->bug),
               options.profile->name, bite.found, bite.tried, enough ? "" : " TOO FEW");
        fflush(stdout);
    }
    return missed > 0;
}
#else
static inline int
sim_teeth(const char *name, uint64_t seeds, const struct sim_options *given)
{
    (void)name, (void)seeds, (void)given;
    fprintf(stderr, "omensim: --teeth needs a build with OMEN_TESTING (omensim_bugs)\n");
    return 2;
}
#endif

#endif
