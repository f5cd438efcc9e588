// tests/lib/disk_found.h -- what a start finds of the copies on a disk, kept for a test.
//
// Shape: shell.
#ifndef OMEN_TESTS_DISK_FOUND_H
#define OMEN_TESTS_DISK_FOUND_H
#include "tests/lib/disk_alone.h"

static struct disk_copy held; // of the last start
static struct replica_term held_terms[8];
static struct dedupe_op held_ops[256];
static uint32_t held_count;

static inline void
hold_copy(void *context, const struct disk_copy *copy)
{
    (void)context;
    held = *copy;
    held_count++;
    ck_assert_uint_le(copy->durable.disk.term_count, 8);
    ck_assert_uint_le(copy->durable.disk.op_count, 256);
    if (copy->durable.disk.term_count > 0)
        memcpy(held_terms, copy->durable.disk.terms,
               copy->durable.disk.term_count * sizeof held_terms[0]);
    if (copy->durable.disk.op_count > 0)
        memcpy(held_ops, copy->durable.disk.ops, copy->durable.disk.op_count * sizeof held_ops[0]);
}

static inline void
start_copies(uint32_t count)
{
    held_count = 0;
    ok(disk_start_copies(disk, hold_copy, NULL, &error));
    ck_assert_uint_eq(held_count, count);
}

#endif
