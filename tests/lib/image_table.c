// tests/lib/image_table.c -- pieces kept in memory: a sink and a source for what base/image.h saves.
//
// Shape: handle. Knows nothing of base/'s code, because it is linked into tests of the public library too.
#include "tests/lib/image_table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/tsan.h"

#define PAGE ((size_t)4096)
#define ARRAYS 64u

struct piece {
    struct piece *next;
    uint32_t array, piece;
    bool dead; // put anew or dropped; mapped until the end
    size_t count, mapped;
    uint8_t *map, *bytes;
};

struct image_table {
    struct piece *pieces[ARRAYS]; // the newest first
    uint32_t puts[ARRAYS], puts_all, fail_after;
};

static void
require(bool condition)
{
    if (!condition)
        abort();
}

struct image_table *
image_table_open(void)
{
    struct image_table *table = calloc(1, sizeof *table);
    require(table != NULL);
    return table;
}

void
image_table_close(struct image_table *table)
{
    for (uint32_t array = 0; table != NULL && array < ARRAYS; array++)
        for (struct piece *piece = table->pieces[array], *next; piece != NULL; piece = next) {
            next = piece->next;
            munmap(piece->map, piece->mapped + PAGE);
            free(piece);
        }
    free(table);
}

static struct piece *
find(const struct image_table *table, uint32_t array, uint32_t number)
{
    require(array < ARRAYS);
    for (struct piece *piece = table->pieces[array]; piece != NULL; piece = piece->next)
        if (piece->piece == number && !piece->dead)
            return piece;
    return NULL;
}

// What lies on pages that were used again. ThreadSanitizer would call it a race with readers that are late, as it is.
static void
kill_piece(struct piece *piece)
{
    piece->dead = true;
#ifndef OMEN_UNDER_TSAN
    mprotect(piece->map, piece->mapped, PROT_READ | PROT_WRITE);
    for (size_t i = 0; i < piece->mapped; i++)
        piece->map[i] = (uint8_t)(i * 37 + 5);
    mprotect(piece->map, piece->mapped, PROT_READ);
#endif
}

void
image_table_drop(struct image_table *table, uint32_t array, uint32_t number)
{
    struct piece *piece = find(table, array, number);
    if (piece != NULL)
        kill_piece(piece);
}

void
image_table_set(struct image_table *table, uint32_t array, uint32_t number, const void *bytes,
                size_t count)
{
    struct piece *piece = calloc(1, sizeof *piece);
    require(piece != NULL && array < ARRAYS);
    const size_t mapped = (count + PAGE) / PAGE * PAGE;
    *piece = (struct piece){.next = table->pieces[array],
                            .array = array,
                            .piece = number,
                            .count = count,
                            .mapped = mapped};
    // Behind it lies a page that nobody may touch.
    piece->map = mmap(NULL, mapped + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(piece->map != MAP_FAILED);
    mprotect(piece->map, mapped, PROT_READ | PROT_WRITE);
    piece->bytes = piece->map + mapped - (count + 63) / 64 * 64;
    memcpy(piece->bytes, bytes, count);
    mprotect(piece->map, mapped, PROT_READ);
    image_table_drop(table, array, number);
    table->pieces[array] = piece;
}

const uint8_t *
image_table_piece(const struct image_table *table, uint32_t array, uint32_t number, size_t *count)
{
    const struct piece *piece = find(table, array, number);
    *count = piece != NULL ? piece->count : 0;
    return piece != NULL ? piece->bytes : NULL;
}

uint32_t
image_table_puts(const struct image_table *table, uint32_t array)
{
    require(array < ARRAYS);
    return array == 0 ? table->puts_all : table->puts[array];
}

void
image_table_reset_counts(struct image_table *table)
{
    memset(table->puts, 0, sizeof table->puts);
    table->puts_all = 0;
}

void
image_table_fail_after(struct image_table *table, uint32_t n)
{
    table->fail_after = n;
}

static omen_status
put(void *context, uint32_t array, uint32_t piece, const void *bytes, size_t count)
{
    struct image_table *table = context;
    require(count >= 1 && count <= IMAGE_PIECE_BYTES);
    if (table->fail_after == 1)
        return OMEN_E_DISK_FULL;
    if (table->fail_after > 1)
        table->fail_after--;
    image_table_set(table, array, piece, bytes, count);
    table->puts[array]++;
    table->puts_all++;
    return OMEN_OK;
}

static omen_status
drop(void *context, uint32_t array, uint32_t piece)
{
    image_table_drop(context, array, piece);
    return OMEN_OK;
}

static const void *
get(void *context, uint32_t array, uint32_t piece, size_t *count)
{
    return image_table_piece(context, array, piece, count);
}

struct image_sink
image_table_sink(struct image_table *table)
{
    return (struct image_sink){.put = put, .drop = drop, .context = table};
}

struct image_source
image_table_source(struct image_table *table)
{
    return (struct image_source){.get = get, .context = table};
}
