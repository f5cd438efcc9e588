// base/opid.h -- an operation's id says when it was drawn, and so whether one that is not remembered can still be done once.
//
// Shape: value.
// Units: milliseconds since 1970.
//
// An id is a UUIDv7 (RFC 9562): 48 bits of time, then chance; all zeros are none. Who keeps a table of operations remembers each for
// old_ms + ahead_ms of his clock at least, and what he forgets leaves a mark, behind the newest time drawn of it. So one that is not in the
// table and was drawn behind the mark was never done, and one from before may have been: it is refused. So are those that were drawn more
// than ahead_ms ahead of the clock, since a mark behind one of them would refuse what everybody else draws.
//
// Who keeps no mark says so by old_ms: at most so long before his clock one that he does not know was never done, since had it been forgotten
// it would have been done when his clock was ahead_ms before the time drawn or later, and be old_ms old by now.
#ifndef OMEN_BASE_OPID_H
#define OMEN_BASE_OPID_H
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define OPID_OLD_MS 600000u
#define OPID_AHEAD_MS 300000u

struct opid { // the 16 bytes, big-endian
    uint64_t high, low;
};

struct opid_clock {
    uint64_t now_ms;    // of who keeps the table
    uint64_t forgot_ms; // what was drawn before may have been forgotten; 0: nothing was
    uint32_t old_ms,
        ahead_ms; // OPID_OLD_MS, OPID_AHEAD_MS; tests have others. old_ms 0: there is a mark
};

enum opid_verdict {
    OPID_FRESH,     // it was never done
    OPID_OLD,       // drawn too long ago to know
    OPID_FORGOTTEN, // drawn before others that had to be forgotten
    OPID_AHEAD,     // drawn too far ahead of the clock
    OPID_FOREIGN,   // no UUIDv7
};

static inline bool
opid_is_none(struct opid id)
{
    return (id.high | id.low) == 0;
}

// Version and variant.
static inline bool
opid_is_uuid7(struct opid id)
{
    return (id.high >> 12 & 15) == 7 && id.low >> 62 == 2;
}

// When it was drawn, if it is a UUIDv7.
static inline uint64_t
opid_ms(struct opid id)
{
    return id.high >> 16;
}

// A new one. Of `ms` the lower 48 bits count, of `chance` 74.
struct opid opid_draw(uint64_t ms, struct opid chance);

// Of an id that is not none, and not in the table.
enum opid_verdict opid_judge(struct opid id, const struct opid_clock *clock);

// OMEN_OK where it is fresh; OMEN_E_OP_EXPIRED for old and forgotten ones; else OMEN_E_INVALID. *error (NULL is allowed) says why, of the
// table of `whose`: "shard 7".
OMEN_MUST_CHECK omen_status opid_check(struct opid id, const struct opid_clock *clock,
                                       const char *whose, struct omen_error *error);

#endif
