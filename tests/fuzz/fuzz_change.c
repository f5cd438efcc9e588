// tests/fuzz/fuzz_change.c -- any bytes as a conditional change: refused with a sentence, or the same again; and as a patch.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "shard/op.h"
#include "shard/patch.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

// What is left of the bytes is the payload that is patched.
static void
patch_with(const struct op_change *change, const void *old, size_t old_bytes)
{
    static uint8_t out[PATCH_ROOM];
    struct omen_error error = {0};
    struct patch *patch;
    if (patch_open(change->set, change->set_bytes, change->unset, change->unset_bytes, &patch,
                   &error) != OMEN_OK) {
        ASSERT(patch == NULL && error.text[0] != '\0');
        return;
    }
    ASSERT(patch_payload(patch, old, old_bytes, out) <= PATCH_ROOM);
    (void)patch_payload(patch, NULL, 0, out);
    patch_close(patch);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    uint64_t *aligned = malloc(count + 8);
    ASSERT(aligned != NULL);
    memcpy(aligned, bytes, count);
    struct omen_error error = {0};
    struct op_change change;
    void *memory, *again;
    size_t again_count;
    if (op_decode_change(aligned, count, &change, &memory, &error) != OMEN_OK) {
        ASSERT(memory == NULL && error.text[0] != '\0');
    } else {
        ASSERT(op_encode_change(&change, &again, &again_count) == OMEN_OK);
        ASSERT(again_count == count + sizeof(struct op_begin));
        mem_free(again);
        mem_free(memory);
    }
    // As a patch: a byte says how much of the rest is set, and one how much is unset.
    if (count >= 2) {
        const size_t set = bytes[0] < count - 2 ? bytes[0] : count - 2;
        const size_t unset = bytes[1] < count - 2 - set ? bytes[1] : count - 2 - set;
        const struct op_change patch = {
            .set = bytes + 2, .set_bytes = set, .unset = bytes + 2 + set, .unset_bytes = unset};
        const size_t left = count - 2 - set - unset;
        patch_with(&patch, bytes + 2 + set + unset,
                   left < PAYLOAD_BYTES_MAX ? left : PAYLOAD_BYTES_MAX);
    }
    free(aligned);
    return 0;
}
