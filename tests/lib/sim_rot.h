// tests/lib/sim_rot.h -- what of a simulated shard's disk is not any more what was written there.
//
// Shape: value.
//
// Three kinds. A record whose bytes have changed fails the checksum that is kept with it, as does an entry of the log: whoever
// reads it, and whoever verifies the shard, finds it alone. A state that is wrong and has the sums to match (memory that
// flipped a bit before the sums were made) looks sound to its copy: only the others can tell.
#ifndef OMEN_TESTS_SIM_ROT_H
#define OMEN_TESTS_SIM_ROT_H
#include "tests/lib/sim_table.h"

enum sim_rot_kind { SIM_SOUND, SIM_ROT_RECORD, SIM_ROT_ENTRY, SIM_ROT_STATE };

struct sim_rot {
    enum sim_rot_kind kind;
    uint32_t key;
    uint64_t seq; // of the write whose record, or entry, it is; what is written over is gone
};

// Whether there still is any, in a shard with that table whose log begins at first_seq.
static inline bool
sim_rot_is_there(const struct sim_rot *rot, const struct sim_table *table, uint64_t first_seq)
{
    if (rot->kind == SIM_ROT_ENTRY)
        return rot->seq >= first_seq;
    return rot->kind != SIM_SOUND && table->cells[rot->key].seq == rot->seq;
}

// The table as somebody sees it who trusts its sums.
static inline struct sim_table
sim_rot_seen(const struct sim_rot *rot, const struct sim_table *table)
{
    struct sim_table seen = *table;
    if (rot->kind == SIM_ROT_STATE && seen.cells[rot->key].seq == rot->seq)
        seen.cells[rot->key].op ^= UINT64_C(1) << 40;
    return seen;
}

#endif
