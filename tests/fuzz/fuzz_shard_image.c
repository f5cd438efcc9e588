// tests/fuzz/fuzz_shard_image.c -- saved ids, names, payloads and versions with any bytes changed: refused, or safe to use.
//
// Every four bytes change one byte of what was saved: which piece, its place (two bytes), what it is XORed with. A place
// of 0xffff halves the piece instead.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/prng.h"
#include "shard/idmap.h"
#include "shard/names.h"
#include "shard/payload.h"
#include "shard/versions.h"

#define ROWS 1500u
#define SLOTS_HERE 4000u
#define PIECES_MAX 32u

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

struct piece {
    uint32_t array, number;
    size_t count;
    uint8_t *bytes;
};

static struct piece saved[PIECES_MAX];
static uint32_t saved_count;

static omen_status
put(void *context, uint32_t array, uint32_t number, const void *bytes, size_t count)
{
    (void)context;
    ASSERT(saved_count < PIECES_MAX);
    struct piece *piece = &saved[saved_count++];
    *piece = (struct piece){array, number, count, malloc(count)};
    ASSERT(piece->bytes != NULL);
    memcpy(piece->bytes, bytes, count);
    return OMEN_OK;
}

static omen_status
drop(void *context, uint32_t array, uint32_t number)
{
    (void)context;
    (void)array;
    (void)number;
    return OMEN_OK;
}

static omen_status
put_nowhere(void *context, uint32_t array, uint32_t number, const void *bytes, size_t count)
{
    (void)context;
    (void)array;
    (void)number;
    ASSERT(bytes != NULL && count >= 1 && count <= IMAGE_PIECE_BYTES);
    return OMEN_OK;
}

static const void *
get(void *context, uint32_t array, uint32_t number, size_t *count)
{
    const struct piece *pieces = context;
    if (number >= PIECES_MAX) // heads may ask for millions
        return NULL;
    for (uint32_t i = 0; i < saved_count; i++)
        if (pieces[i].array == array && pieces[i].number == number) {
            *count = pieces[i].count;
            return pieces[i].bytes;
        }
    return NULL;
}

static size_t
text_of(uint32_t i, char text[32])
{
    return (size_t)snprintf(text, 32, "name-%u", i);
}

static void
save_ids(struct epoch *gate, const struct image_sink *sink)
{
    static uint64_t erased[ROWS / 64 + 1];
    struct idmap *map;
    ASSERT(idmap_open(SLOTS_HERE, gate, &map) == OMEN_OK);
    ASSERT(idmap_reserve(map, ROWS, ROWS) == OMEN_OK);
    for (uint32_t slot = 0; slot < ROWS; slot++) {
        idmap_name(map, slot, slot * 3);
        ASSERT(idmap_put(map, slot) == IDMAP_NONE);
    }
    erased[0] = 0xff;
    ASSERT(idmap_save_ids(map, ROWS, sink) == OMEN_OK);
    ASSERT(idmap_save_table(map, ROWS, erased, sink) == OMEN_OK);
    idmap_close(map);
}

static void
save_names(struct epoch *gate, const struct image_sink *sink)
{
    char text[32];
    struct names *names;
    struct names_mark mark;
    ASSERT(names_open(gate, &names) == OMEN_OK);
    ASSERT(names_reserve(names, ROWS, (size_t)ROWS * 32) == OMEN_OK);
    for (uint32_t i = 0; i < ROWS; i++)
        ASSERT(names_add(names, text, text_of(i, text)) == i);
    ASSERT(names_mark(names, &mark) == OMEN_OK && names_save(names, &mark, sink) == OMEN_OK);
    names_close(names);
}

static void
save_payloads(struct epoch *gate, const struct image_sink *sink)
{
    static const uint8_t bytes[700] = {1};
    struct payloads *payloads;
    ASSERT(payloads_open(SLOTS_HERE, gate, &payloads) == OMEN_OK);
    for (uint32_t slot = 0; slot < ROWS; slot++) {
        const struct payload_room room = {slot + 1, 1, 1 + slot % 700};
        ASSERT(payloads_reserve(payloads, &room) == OMEN_OK);
        payloads_set(payloads, slot, bytes, 1 + slot % 700);
    }
    ASSERT(payloads_save(payloads, ROWS, sink) == OMEN_OK);
    payloads_close(payloads);
}

static void
save_versions(const struct image_sink *sink)
{
    struct versions *versions;
    ASSERT(versions_open(SLOTS_HERE, &versions) == OMEN_OK);
    ASSERT(versions_reserve(versions, ROWS) == OMEN_OK);
    for (uint32_t slot = 0; slot < ROWS; slot++)
        versions_set(versions, slot, slot);
    ASSERT(versions_save(versions, ROWS, sink) == OMEN_OK);
    versions_close(versions);
}

static void
use_ids(struct epoch *gate, const struct image_source *source)
{
    struct idmap *map;
    if (idmap_load(SLOTS_HERE, gate, ROWS, source, &map) != OMEN_OK)
        return;
    for (int turn = 0; turn < 2; turn++) {
        for (uint32_t i = 0; i < ROWS; i++) {
            const uint32_t slot = idmap_find(map, i * 3);
            ASSERT(slot == IDMAP_NONE || (slot < ROWS && idmap_id(map, slot) == i * 3));
        }
        if (idmap_reserve(map, ROWS + 100, 100) != OMEN_OK)
            break;
        for (uint32_t slot = ROWS + (uint32_t)turn * 50; slot < ROWS + 50; slot++) {
            idmap_name(map, slot, slot * 3);
            (void)idmap_put(map, slot);
            ASSERT(idmap_find(map, slot * 3) == slot);
            (void)idmap_remove(map, (slot - ROWS) * 3);
        }
    }
    idmap_close(map);
}

static void
use_names(struct epoch *gate, const struct image_source *source)
{
    char text[32];
    struct names *names;
    if (names_load(gate, source, &names) != OMEN_OK)
        return;
    const uint64_t count = names_count(names);
    for (int turn = 0; turn < 2; turn++) {
        for (uint32_t i = 0; i < ROWS; i++) {
            size_t bytes = text_of(i, text), other_bytes;
            const uint64_t key = names_find(names, text, bytes);
            const char *other = key == NAMES_NONE ? NULL : names_text(names, key, &other_bytes);
            ASSERT(key == NAMES_NONE ||
                   (other != NULL && other_bytes == bytes && memcmp(text, other, bytes) == 0));
            other = names_text(names, i, &other_bytes);
            ASSERT(other == NULL || other[other_bytes] == '\0');
        }
        if (turn == 0 && count <= ROWS && names_reserve(names, 1, 5) == OMEN_OK) {
            const uint64_t key = names_add(names, "other", 5);
            ASSERT(key == count && names_find(names, "other", 5) != NAMES_NONE);
        }
    }
    names_close(names);
}

static uint32_t
read_all(const struct payloads *payloads)
{
    uint32_t sum = 0;
    for (uint32_t slot = 0; slot < SLOTS_HERE; slot++) {
        size_t count;
        const uint8_t *at = payloads_get(payloads, slot, &count);
        for (size_t i = 0; i < count; i += 61)
            sum += at[i];
        if (count > 0)
            sum += at[count - 1];
    }
    return sum;
}

static void
use_payloads(struct epoch *gate, const struct image_source *source)
{
    uint32_t bad;
    struct payloads *payloads;
    if (payloads_load(SLOTS_HERE, gate, ROWS, source, &payloads) != OMEN_OK)
        return;
    uint32_t sum = read_all(payloads) + (payloads_verify(payloads, &bad) == OMEN_OK);
    for (uint32_t slot = 0; slot < ROWS; slot += 3)
        payloads_clear(payloads, slot);
    for (uint32_t slot = 0; slot < ROWS + 100; slot += 7) {
        const struct payload_room room = {slot + 1, 1, 5};
        size_t count;
        if (payloads_reserve(payloads, &room) != OMEN_OK)
            break;
        payloads_set(payloads, slot, "hello", 5);
        const void *at = payloads_get(payloads, slot, &count);
        ASSERT(count == 5 && memcmp(at, "hello", 5) == 0);
    }
    const struct image_sink sink = {.put = put_nowhere, .drop = drop};
    ASSERT(payloads_save(payloads, ROWS, &sink) == OMEN_OK);
    sum += read_all(payloads);
    (void)sum;
    payloads_close(payloads);
}

static void
use_versions(const struct image_source *source)
{
    struct versions *versions;
    if (versions_load(SLOTS_HERE, ROWS, source, &versions) != OMEN_OK)
        return;
    versions_set(versions, ROWS - 1, 7);
    ASSERT(versions_get(versions, ROWS - 1) == 7);
    versions_close(versions);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static struct epoch gate;
    if (saved_count == 0) {
        const struct image_sink sink = {.put = put, .drop = drop};
        epoch_init(&gate);
        save_ids(&gate, &sink);
        save_names(&gate, &sink);
        save_payloads(&gate, &sink);
        save_versions(&sink);
    }
    // A copy of each, as long as it is: whoever reads beyond it is seen.
    struct piece pieces[PIECES_MAX];
    for (uint32_t i = 0; i < saved_count; i++) {
        pieces[i] = saved[i];
        for (size_t at = 0; at + 4 <= count; at += 4)
            if (bytes[at] % saved_count == i && bytes[at + 1] == 0xff && bytes[at + 2] == 0xff)
                pieces[i].count = pieces[i].count / 2 + 1;
        void *copy = NULL;
        ASSERT(posix_memalign(&copy, 64, pieces[i].count) == 0);
        pieces[i].bytes = copy;
        memcpy(copy, saved[i].bytes, pieces[i].count);
    }
    for (size_t at = 0; at + 4 <= count; at += 4) {
        const struct piece *piece = &pieces[bytes[at] % saved_count];
        const size_t place = (size_t)bytes[at + 1] << 8 | bytes[at + 2];
        // Places go round in a small piece, and are spread over a large one.
        piece->bytes[(piece->count > 0xffff ? place * 4 : place) % piece->count] ^= bytes[at + 3];
    }
    const struct image_source source = {.get = get, .context = pieces};
    use_ids(&gate, &source);
    use_names(&gate, &source);
    use_payloads(&gate, &source);
    use_versions(&source);
    epoch_wait(&gate); // what was replaced is freed before the pieces are
    for (uint32_t i = 0; i < saved_count; i++)
        free(pieces[i].bytes);
    return 0;
}
