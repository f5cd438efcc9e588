// base/opid.c -- ids of operations: drawn, judged, and refused in words.
//
// Shape: value.
#include "base/opid.h"

#include <inttypes.h>

struct opid
opid_draw(uint64_t ms, struct opid chance)
{
    return (struct opid){ms << 16 | UINT64_C(7) << 12 | (chance.high & 0xfff),
                         UINT64_C(1) << 63 | (chance.low & UINT64_MAX >> 2)};
}

enum opid_verdict
opid_judge(struct opid id, const struct opid_clock *clock)
{
    const uint64_t drawn_ms = opid_ms(id);
    if (!opid_is_uuid7(id))
        return OPID_FOREIGN;
    if (drawn_ms > clock->now_ms && drawn_ms - clock->now_ms > clock->ahead_ms)
        return OPID_AHEAD;
    if (clock->old_ms > 0 && drawn_ms < clock->now_ms && clock->now_ms - drawn_ms > clock->old_ms)
        return OPID_OLD;
    return drawn_ms < clock->forgot_ms ? OPID_FORGOTTEN : OPID_FRESH;
}

omen_status
opid_check(struct opid id, const struct opid_clock *clock, const char *whose,
           struct omen_error *error)
{
    const uint64_t drawn_ms = opid_ms(id);
    switch (opid_judge(id, clock)) {
    case OPID_OLD:
        return error_set(error, OMEN_E_OP_EXPIRED,
                         "op_id was drawn %" PRIu64 " s before the clock of %s, which answers for "
                         "%" PRIu32 " s: nothing was done now, and whether it was before is not "
                         "known any more",
                         (clock->now_ms - drawn_ms) / 1000, whose, clock->old_ms / 1000);
    case OPID_FORGOTTEN:
        return error_set(error, OMEN_E_OP_EXPIRED,
                         "op_id was drawn before others that %s had to forget for newer ones: "
                         "nothing was done now, and whether it was before is not known any more",
                         whose);
    case OPID_AHEAD:
        return error_set(
            error, OMEN_E_INVALID,
            "op_id was drawn %" PRIu64 " s ahead of the clock of %s, of %" PRIu32
            " s at most: one of the two clocks is wrong (system.hello tells the cluster's)",
            (drawn_ms - clock->now_ms) / 1000, whose, clock->ahead_ms / 1000);
    case OPID_FOREIGN:
        return error_set(error, OMEN_E_INVALID,
                         "op_id is no UUIDv7: version %u and variant %u, expected 7 and 2",
                         (unsigned)(id.high >> 12 & 15), (unsigned)(id.low >> 62));
    default:
        return OMEN_OK;
    }
}
