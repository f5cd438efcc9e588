// tests/lib/sim_teeth.h -- how many seeds it takes to find each deliberate error of base/bug.h.
//
// Shape: shell.
#ifndef OMEN_TESTS_SIM_TEETH_H
#define OMEN_TESTS_SIM_TEETH_H
#include "base/bug.h"
#include "tests/lib/sim_batch.h"
#include "tests/lib/sim_profile.h"

#ifdef OMEN_TESTING
// Where an error shows best.
static const struct sim_tooth {
    enum bug bug;
    const char *profile;
} sim_teeth_list[] = {
    {BUG_ACK_BEFORE_REPLICA, "disks"}, {BUG_ACK_BEFORE_FSYNC, "disks"},
    {BUG_SKIP_PROMISE, "habits"},      {BUG_SHRINK_EARLY, "net"},
    {BUG_NO_PENDING_ADD, "disks"},     {BUG_RESUME_SAME_TERM, "disks"},
    {BUG_LEASE_IGNORE, "leases"},      {BUG_LEASE_NO_RECHECK, "amid"},
    {BUG_LEASE_OLD_VIEW, "habits"},    {BUG_LEASE_GRANT_UNCONFIRMED, "deposed"},
    {BUG_APPLY_UNCOMMITTED, "net"},    {BUG_NO_DEDUPE, "net"},
    {BUG_VOTE_NOT_PERSISTED, "votes"}, {BUG_READINDEX_CTX_REUSE, "reads"},
    {BUG_COMMIT_OLD_TERM, "ends"},     {BUG_SINGLE_CHANGE_BUG, "members"},
    {BUG_FORGET_TOMBSTONE, "rot"},     {BUG_CUT_EARLY, "splits"},
    {BUG_CUT_READ_ON, "halves"},       {BUG_STALE_ROUTE, "routers"},
    {BUG_CLAIM_STALE, "kinds"},        {BUG_CLAIM_TWICE, "kinds"},
};

static inline int
sim_teeth(const char *name, uint64_t seeds, const struct sim_options *given)
{
    int missed = 0;
    if (name != NULL && bug_parse(name) == BUGS_END) {
        fprintf(stderr, "omensim: there is no error '%s'\n", name);
        return 2;
    }
    for (size_t i = 0; i < sizeof sim_teeth_list / sizeof *sim_teeth_list; i++) {
        if (name != NULL && sim_teeth_list[i].bug != bug_parse(name))
            continue;
        struct sim_options options = *given;
        if (options.profile == NULL)
            options.profile = sim_profile_named(sim_teeth_list[i].profile);
        bug_choose(sim_teeth_list[i].bug);
        uint64_t tried = 0;
        bool found = false;
        while (!found && tried < seeds) {
            options.seed = given->seed + tried++;
            options.nodes = given->nodes;
            sim_choose_nodes(&options);
            found = sim_seed_fails(&options);
        }
        missed += !found;
        printf("| %s | %s | %s%" PRIu64 " |\n", bug_name(sim_teeth_list[i].bug),
               options.profile->name, found ? "" : "not in ", tried);
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
