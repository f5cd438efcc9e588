// tests/lib/kv_sim.h -- what a test may do to the simulated half of storage/kv.h.
//
// Shape: handle. For tests of one thread, where faults are injected; others share it under its one lock.
//
// A "disk" is a store's committed state under its path; it outlives the handles. Values lie as awkwardly as LMDB's: small
// ones at an odd multiple of 2, large ones 16 bytes behind a multiple of 64.
#ifndef OMEN_TESTS_KV_SIM_H
#define OMEN_TESTS_KV_SIM_H
#include "storage/kv.h"

// Forgets all disks and faults. No handle may be open.
void kv_sim_reset(void);

enum kv_sim_loss { KV_SIM_LOST, KV_SIM_KEPT };
// The n-th commit from now (1: the next) fails with OMEN_E_DISK_FULL (nothing was written) or OMEN_E_IO (and then what it
// wrote is lost or kept); 0 ends it.
void kv_sim_fail_commit(uint32_t n, omen_status status, enum kv_sim_loss loss);

// As if the process had been killed: the handle and its transactions are gone, and what was not committed.
void kv_sim_crash(struct kv *kv);

// The committed bytes of a value, to be damaged; NULL where there is none.
void *kv_sim_value(struct kv *kv, uint32_t table, uint64_t key, size_t *count);
// Puts or, with count 0, erases a value behind everybody's back.
void kv_sim_set(struct kv *kv, uint32_t table, uint64_t key, const void *bytes, size_t count);

#endif
