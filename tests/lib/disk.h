// tests/lib/disk.h -- a disk that a test has in its hand: it remembers what was written, forgets what was not synced, fails.
//
// Shape:   shell. disk.c stands in front of libc's calls, for LMDB's library as well; for programs that link it.
// Threads: any may write; the functions here are the test's own thread's.
//
// What happens to the files of one directory, lock files excepted, is kept in order. From that follows everything the
// disk may hold if the power fails after the n-th operation: what was synced before, and of the rest any part, a sector
// of 512 bytes at a time; names in the order in which they were given, at least up to the directory's last sync.
#ifndef OMEN_TESTS_DISK_H
#define OMEN_TESTS_DISK_H
#include <stddef.h>
#include <stdint.h>

// Begins to keep what happens in `directory`, which is empty; what was kept before is forgotten. NULL ends it.
void disk_watch(const char *directory);
// Keeps a number in the order of the operations.
void disk_note(uint64_t note);
size_t disk_count(void);           // operations kept, notes among them
int disk_is_sync(size_t i);        // whether the i-th one brings something to the disk for good
uint64_t disk_noted(size_t count); // the last note among the first `count`; 0: none

enum disk_keeps { DISK_KEEPS_SYNCED, DISK_KEEPS_ALL, DISK_KEEPS_WRITES, DISK_KEEPS_SECTORS };

// Puts into `directory`, which is emptied, what the disk holds after a power failure. `count` may only grow from call to
// call, since disk_watch.
void disk_crash(const char *directory, size_t count, enum disk_keeps keeps, uint64_t seed);

// What lies under an in-place write has its space; LMDB's heads are written so, through a file that syncs each.
enum disk_calls { DISK_ALL, DISK_IN_PLACE, DISK_NOT_IN_PLACE };
// The n-th write, growth or sync of a kind from now on in the watched directory fails with `code`, and no other; 0: none.
void disk_fail(uint64_t n, enum disk_calls calls, int code);
uint64_t disk_failed(void); // how many have, since

enum disk_moment { DISK_BEFORE, DISK_AFTER };
// This process kills itself (SIGKILL) before or after the n-th call of a kind from now on that writes to, grows, syncs, makes,
// renames or erases a file of the watched directory, lock files among them; 0: none. Only heads are written in place.
// To be called where nobody uses the directory.
void disk_kill(uint64_t n, enum disk_calls calls, enum disk_moment moment);

#endif
