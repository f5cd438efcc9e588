// shard/op_change.c -- conditional changes as bytes.
//
// Shape: value.
//
//   change:  u16 version | u8 mode | u8 reserved | u32 sections | u64 count | u32 bytes of `set` | u32 bytes of `unset`
//            | versions: u64 each | set | unset | rows, as shard/op.c has them
// Every section begins at a multiple of 8.
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "shard/op.h"

#define CHANGE_VERSION 1u

enum { SECTION_VERSIONS = 1, SECTION_PATCH = 2, SECTIONS_KNOWN = 3 };

struct change_head {
    uint16_t version;
    uint8_t mode; // enum op_mode
    uint8_t reserved;
    uint32_t sections;
    uint64_t count;
    uint32_t set_bytes, unset_bytes;
};
_Static_assert(sizeof(struct op_begin) == 8 && sizeof(struct change_head) == 24, "the format");

static size_t
padded(size_t bytes)
{
    return (bytes + 7) & ~(size_t)7;
}

static char *
put(char *at, const void *bytes, size_t count)
{
    if (count > 0)
        memcpy(at, bytes, count);
    return at + padded(count);
}

omen_status
op_encode_change(const struct op_change *change, void **bytes, size_t *count)
{
    struct op_parts parts;
    const struct op_begin begin = {.type = OP_CHANGE};
    struct change_head head = {
        .version = CHANGE_VERSION,
        .mode = (uint8_t)change->mode,
        .count = change->rows.count,
        .set_bytes = (uint32_t)change->set_bytes,
        .unset_bytes = (uint32_t)change->unset_bytes,
    };
    *bytes = NULL;
    const omen_status status = op_encode(&change->rows, &parts);
    if (status != OMEN_OK)
        return status;
    const size_t versions = change->if_versions != NULL ? change->rows.count * 8 : 0;
    head.sections |= change->if_versions != NULL ? SECTION_VERSIONS : 0;
    head.sections |= change->mode == OP_MODE_PATCH ? SECTION_PATCH : 0;
    *count = sizeof begin + sizeof head + versions + padded(change->set_bytes) +
             padded(change->unset_bytes) + parts.bytes;
    char *memory = mem_alloc_zero(1, *count);
    if (memory != NULL) {
        char *at = put(memory, &begin, sizeof begin);
        at = put(at, &head, sizeof head);
        at = put(at, change->if_versions, versions);
        at = put(at, change->set, change->set_bytes);
        at = put(at, change->unset, change->unset_bytes);
        for (uint32_t i = 0; i < parts.count; i++) {
            memcpy(at, parts.parts[i].bytes, parts.parts[i].count);
            at += parts.parts[i].count;
        }
    }
    op_parts_fini(&parts);
    *bytes = memory;
    return memory != NULL ? OMEN_OK : OMEN_E_NO_MEMORY;
}

static omen_status
bad(const char *what, struct omen_error *error)
{
    return error_set(error, OMEN_E_CORRUPT, "change: %s", what);
}

static omen_status
check_head(const struct change_head *head, size_t left, struct omen_error *error)
{
    if (head->version > CHANGE_VERSION || head->mode > OP_MODE_DELETE ||
        (head->sections & ~(uint32_t)SECTIONS_KNOWN) != 0)
        return error_set(
            error, OMEN_E_VERSION,
            "change: version %u, mode %u, sections %#x were written by a newer version",
            head->version, head->mode, head->sections);
    if (head->version == 0 || head->mode == 0)
        return bad("a damaged head", error);
    if (head->count > left || head->count > SLOTS_MAX)
        return bad("more rows than bytes", error);
    return OMEN_OK;
}

// The next `bytes` with their padding; NULL where there are fewer.
static const char *
take(const char **at, size_t *left, uint64_t bytes)
{
    const char *taken = *at;
    if (bytes > *left || padded((size_t)bytes) > *left)
        return NULL;
    *at += padded((size_t)bytes);
    *left -= padded((size_t)bytes);
    return taken;
}

omen_status
op_decode_change(const void *bytes, size_t count, struct op_change *out, void **memory,
                 struct omen_error *error)
{
    struct change_head head;
    const char *at = bytes;
    size_t left = count;
    *memory = NULL;
    *out = (struct op_change){0};
    if (count < sizeof head)
        return bad("shorter than its head", error);
    memcpy(&head, take(&at, &left, sizeof head), sizeof head);
    omen_status status = check_head(&head, left, error);
    if (status != OMEN_OK)
        return status;
    out->mode = (enum op_mode)head.mode;
    if ((head.sections & SECTION_VERSIONS) != 0) {
        out->if_versions = (const uint64_t *)(const void *)take(&at, &left, head.count * 8);
        if (out->if_versions == NULL)
            return bad("its versions end early", error);
    }
    if (((head.sections & SECTION_PATCH) != 0) != (out->mode == OP_MODE_PATCH))
        return bad("a patch of another mode", error);
    if (out->mode == OP_MODE_PATCH) {
        out->set = take(&at, &left, head.set_bytes);
        out->unset = out->set != NULL ? take(&at, &left, head.unset_bytes) : NULL;
        if (out->unset == NULL)
            return bad("its patch ends early", error);
        out->set_bytes = head.set_bytes;
        out->unset_bytes = head.unset_bytes;
    }
    status = op_decode(at, left, &out->rows, memory, error);
    if (status == OMEN_OK && out->rows.count != head.count) {
        mem_free(*memory);
        *memory = NULL;
        return bad("its rows are of another number", error);
    }
    return status;
}
