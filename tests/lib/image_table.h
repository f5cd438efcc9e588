// tests/lib/image_table.h -- pieces kept in memory: a sink and a source for what base/image.h saves.
//
// Shape: handle. One thread at a time, as the sink's and source's users promise.
//
// Every piece has pages of its own that may only be read, and ends where they end: whoever writes to a lent piece, or reads
// far beyond it, crashes. A piece that was put anew stays mapped, but its bytes are others then, as in a file
// whose pages are used again.
#ifndef OMEN_TESTS_IMAGE_TABLE_H
#define OMEN_TESTS_IMAGE_TABLE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/image.h"

struct image_table;

struct image_table *image_table_open(void); // aborts without memory
void image_table_close(struct image_table *table);

struct image_sink image_table_sink(struct image_table *table);
struct image_source image_table_source(struct image_table *table);

// Puts since the last image_table_reset_counts: of one array, or of all (array 0).
uint32_t image_table_puts(const struct image_table *table, uint32_t array);
void image_table_reset_counts(struct image_table *table);

// The n-th put from now (1 = the next) and all later ones fail with OMEN_E_DISK_FULL; 0 ends it.
void image_table_fail_after(struct image_table *table, uint32_t n);

// The piece's bytes, NULL where there is none; and what a broken file would have in their place.
const uint8_t *image_table_piece(const struct image_table *table, uint32_t array, uint32_t piece,
                                 size_t *count);
void image_table_set(struct image_table *table, uint32_t array, uint32_t piece, const void *bytes,
                     size_t count);
void image_table_drop(struct image_table *table, uint32_t array, uint32_t piece);

#endif
