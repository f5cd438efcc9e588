// base/bug.h -- the deliberate errors that a build for testing can have, and the one list of their names.
//
// Shape:   value.
// Threads: any; one error at most is in force in a process.
//
// A machine asks `bug(BUG_X)` where the error would be. Without OMEN_TESTING that is false when it is compiled, and nothing is
// left of it. With OMEN_TESTING the variable OMEN_BUG names the error, as written in the list; it is read once.
#ifndef OMEN_BASE_BUG_H
#define OMEN_BASE_BUG_H
#include <stdbool.h>

#define BUG_LIST(X)                                                                                \
    X(ACK_BEFORE_REPLICA, "ack_before_replica")                                                    \
    X(ACK_BEFORE_FSYNC, "ack_before_fsync")                                                        \
    X(SKIP_PROMISE, "skip_promise")                                                                \
    X(SHRINK_EARLY, "shrink_early")                                                                \
    X(NO_PENDING_ADD, "no_pending_add")                                                            \
    X(RESUME_SAME_TERM, "resume_same_term")                                                        \
    X(LEASE_IGNORE, "lease_ignore")                                                                \
    X(LEASE_NO_RECHECK, "lease_no_recheck")                                                        \
    X(LEASE_GRANT_UNCONFIRMED, "lease_grant_unconfirmed")                                          \
    X(LEASE_OLD_VIEW, "lease_old_view")                                                            \
    X(APPLY_UNCOMMITTED, "apply_uncommitted")                                                      \
    X(NO_DEDUPE, "no_dedupe")                                                                      \
    X(CUT_EARLY, "cut_early")                                                                      \
    X(CUT_READ_ON, "cut_read_on")                                                                  \
    X(STALE_ROUTE, "stale_route")                                                                  \
    X(FORGET_TOMBSTONE, "forget_tombstone")                                                        \
    X(CLAIM_STALE, "claim_stale")                                                                  \
    X(CLAIM_TWICE, "claim_twice")                                                                  \
    X(VOTE_NOT_PERSISTED, "vote_not_persisted")                                                    \
    X(SINGLE_CHANGE_BUG, "single_change_bug")                                                      \
    X(READINDEX_CTX_REUSE, "readindex_ctx_reuse")                                                  \
    X(COMMIT_OLD_TERM, "commit_old_term")

enum bug {
    BUG_NONE,
#define BUG_NUMBER(name, text) BUG_##name,
    BUG_LIST(BUG_NUMBER)
#undef BUG_NUMBER
        BUGS_END,
};

#ifdef OMEN_TESTING
bool bug(enum bug which); // whether it is in force

// Puts another in force from here on, whatever OMEN_BUG says.
void bug_choose(enum bug which);
const char *bug_name(enum bug which); // "none" for BUG_NONE

// BUGS_END: there is none of that name.
enum bug bug_parse(const char *name);
#else
// No function: not even a build without an optimizer has a branch for it.
#define bug(which) false
#endif

#endif
