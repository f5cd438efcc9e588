// replica/dedupe.h -- which operations the log holds already, so that one that is sent twice is done once.
//
// Shape:   value; on the heap, with what is known, up to `room_max` operations: 39 to 41 bytes each.
// Threads: one at a time.
//
// It mirrors the log: an operation enters when its entry is appended, leaves when the entry is cut off again, and is forgotten when
// newer ones need the room or its stamp is older than the window. So it is the same on every copy that has the same log, and a
// new primary knows what the old one accepted. Only what is committed is forgotten.
//
// What is forgotten leaves a mark (base/opid.h): what was drawn before it may have been done. It is exact while a process lives, and in
// an image of the table, where it goes as an operation of a kind that no client can have. A disk says what it has forgotten for newer
// ones; what it can have forgotten for its age is made up when the table is loaded.
#ifndef OMEN_REPLICA_DEDUPE_H
#define OMEN_REPLICA_DEDUPE_H
#include "base/opid.h"
#include "base/status.h"
#include "replica/replica_msg.h"

#define DEDUPE_OPS_MAX (1u << 20)
#define DEDUPE_WINDOW_MS (OPID_OLD_MS + OPID_AHEAD_MS)
#define DEDUPE_PAGE_OPS 64u

struct dedupe_op {
    struct replica_uuid id;
    uint64_t seq;
    uint64_t stamp_ms;
};

struct dedupe_page {
    struct dedupe_op ops[DEDUPE_PAGE_OPS];
    uint32_t next[DEDUPE_PAGE_OPS]; // in its bucket, the number of one that is older
};

// Operations have numbers in the order of the log, modulo 2^32.
struct dedupe {
    struct dedupe_page **pages;     // [page_room], by number / DEDUPE_PAGE_OPS modulo page_room
    uint32_t *newest;               // [bucket_count], by hash: a number
    uint32_t page_room, page_count; // those that are there begin with that of `first`
    uint32_t bucket_count;          // a power of two, as page_room is; 0: nothing is there yet
    uint32_t first, count, room_max;
    uint64_t window_ms; // a third of it is for clocks that are ahead
    uint64_t forgot_ms; // the mark; 0: nothing was forgotten
};

void dedupe_init(struct dedupe *dedupe, uint32_t room_max, uint64_t window_ms);
void dedupe_fini(struct dedupe *dedupe);

// What an operation that is not known is judged by. `now_ms`: the primary's clock, or the log's newest stamp where that is later. What was
// drawn behind the mark was never forgotten, however long ago that is; so a clock that is wrong makes nothing too old.
struct opid_clock dedupe_clock(const struct dedupe *dedupe, uint64_t now_ms);

// The place of the operation in the log; 0 when it is not known.
uint64_t dedupe_find(const struct dedupe *dedupe, struct replica_uuid id);

// The i-th of `count`, by seq. Good until one is forgotten or cut off.
const struct dedupe_op *dedupe_at(const struct dedupe *dedupe, uint32_t i);

// Makes room for `count` more, forgetting what is at or below `commit` where it has to. OMEN_E_BUSY: too much of it is not
// committed. OMEN_E_NO_MEMORY: nothing was changed but what was forgotten.
OMEN_MUST_CHECK omen_status dedupe_reserve(struct dedupe *dedupe, uint32_t count, uint64_t commit);

// There is room, and its seq is above that of every other.
void dedupe_add(struct dedupe *dedupe, const struct dedupe_op *op);

// Entries above `seq` were cut off.
void dedupe_cut(struct dedupe *dedupe, uint64_t seq);

// Forgets what is at or below `commit` and older than the window at `stamp_ms`.
void dedupe_expire(struct dedupe *dedupe, uint64_t commit, uint64_t stamp_ms);

// What is kept of the table elsewhere: so many operations, DEDUPE_OPS_MAX at most, by seq; the first may be the mark.
uint32_t dedupe_kept(const struct dedupe *dedupe);
struct dedupe_op dedupe_kept_at(const struct dedupe *dedupe, uint32_t i);

struct dedupe_kept {
    const struct dedupe_op *ops; // borrowed
    uint32_t count;
    bool whole;        // nothing was ever forgotten
    uint64_t commit;   // of the log
    uint64_t stamp_ms; // of its newest entry
    // What was drawn before had to make room, whoever kept it says; 0: nothing had to.
    uint64_t forgot_ms;
    uint64_t now_ms; // of the clock
};
// In place of what it has, but for the mark, which never goes back. OMEN_E_BUSY, OMEN_E_NO_MEMORY: the table lacks some.
OMEN_MUST_CHECK omen_status dedupe_load(struct dedupe *dedupe, const struct dedupe_kept *given);

void dedupe_check(const struct dedupe *dedupe);

#endif
