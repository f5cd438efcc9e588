// tests/lib/disk_notes.h -- a loop that keeps what a disk says, and a test that waits for it.
//
// Shape: shell.
#ifndef OMEN_TESTS_DISK_NOTES_H
#define OMEN_TESTS_DISK_NOTES_H
#include <check.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_wait.h"
#include "node/disk_int.h"

#define NOTES_MAX 20000u

static struct disk_done notes[NOTES_MAX]; // in their order; below note_count
static _Atomic uint32_t note_count;
static struct loop *notes_loop;
static void (*notes_heard)(const struct disk_done *done); // called in the loop's thread, or NULL
static _Atomic uint32_t fatals;
static char fatal_sentence[256];

static inline void
notes_take(void *context, struct loop_note *note)
{
    (void)context;
    const uint32_t at = atomic_load(&note_count);
    ASSERT(at < NOTES_MAX); // Check's own are for the test's thread
    memcpy(&notes[at], note, sizeof notes[at]);
    mem_free(note);
    if (notes_heard != NULL)
        notes_heard(&notes[at]);
    atomic_store(&note_count, at + 1);
    os_wake_all(&note_count);
}

static inline void
notes_discard(void *context, struct loop_note *note)
{
    (void)context;
    mem_free(note);
}

static inline void
notes_open(void)
{
    const struct loop_config config = {
        .name = "notes", .take = notes_take, .discard = notes_discard};
    atomic_store(&note_count, 0);
    ck_assert_int_eq(loop_open(&config, &notes_loop), OMEN_OK);
}

static inline void
notes_wait(uint32_t count)
{
    for (uint32_t seen; (seen = atomic_load(&note_count)) < count;)
        os_wait(&note_count, seen);
}

static inline void
notes_fatal(void *context, const char *sentence)
{
    (void)context;
    (void)snprintf(fatal_sentence, sizeof fatal_sentence, "%s", sentence);
    atomic_fetch_add(&fatals, 1);
    os_wake_all(&fatals);
}

static inline void
fatal_wait(void)
{
    while (atomic_load(&fatals) == 0)
        os_wait(&fatals, 0);
}

static inline struct disk *
notes_disk(const char *path)
{
    const struct disk_config config = {.path = path, .fatal = notes_fatal};
    struct omen_error error = {.text = ""};
    struct disk *disk;
    const omen_status status = disk_open(&config, &disk, &error);
    ck_assert_msg(status == OMEN_OK, "%d: %s", status, error.text);
    return disk;
}

#endif
