// shard/fields.h -- the field indexes of one shard, and the lock between those who ask and the
// one who writes.
//
// Shape:   handle, in memory. Slots and payloads only; no ids.
// Threads: one writer at a time (the shard's write lock). Filters are evaluated beside it
//          (shard/filter_plan.h). A reader-writer lock inside is held shared while index answers
//          are made, and exclusively for some rows of a batch at a time, so that neither waits
//          longer than microseconds. A search without a filter never comes here.
// Memory:  see shard/field_index.h; beside it each field notes which slots have it at all, about
//          a bit a slot.
//
// A batch goes: fields_check for every row (changes nothing); fields_reserve for the batch (may
// fail, then nothing changed); fields_put (cannot fail). Between the last two, fields_cancel
// gives the room back. Slots that are put but not published are in the answers: the caller masks
// slots that are deleted or that a search must not see yet.
#ifndef OMEN_SHARD_FIELDS_H
#define OMEN_SHARD_FIELDS_H
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/image.h"
#include "shard/field_names.h"
#include "shard/field_value.h"
#include "shard/payload.h"

struct fields; // opaque

struct field_spec {
    const char *name; // borrowed; with dots
    size_t name_bytes;
    enum field_type type;
};

struct field_rows {
    size_t count;
    const uint32_t *slots; // of each row; NULL: first_slot, first_slot + 1, ...
    uint32_t first_slot;
    const void *const
        *payloads; // of each row, validated; an entry may be NULL; NULL: no row has one
    const size_t *bytes;
    const void *const
        *old; // NULL, or what each row's slot was put with before, removed in the same moment
    const size_t *old_bytes;
};

OMEN_MUST_CHECK omen_status fields_open(struct fields **out);
void fields_close(struct fields *fields); // accepts NULL; nobody may be inside

// Adds an index on a field and fills it from the payloads of all slots below `slots`; filters use
// it from then on. The same name and type again is fine and does nothing. OMEN_E_INVALID for a
// bad name or type, OMEN_E_EXISTS for another type, OMEN_E_FULL past FIELDS_MAX,
// OMEN_E_NO_MEMORY; OMEN_E_FIELD_TYPE when a payload's value does not fit, and then *bad_slot is
// the first such slot. On failure nothing changed. `payloads` may be NULL when slots is 0.
OMEN_MUST_CHECK omen_status fields_declare(struct fields *fields, const struct field_spec *spec,
                                           const struct payloads *payloads, uint32_t slots,
                                           uint32_t *bad_slot, struct omen_error *error);
// The same in two steps, for who has to do something between them; with no write between them. *out is NULL where there is
// nothing to add; else fields_publish or field_close ends it.
struct field; // opaque
OMEN_MUST_CHECK omen_status fields_prepare(const struct fields *fields,
                                           const struct field_spec *spec,
                                           const struct payloads *payloads, uint32_t slots,
                                           uint32_t *bad_slot, struct field **out,
                                           struct omen_error *error);
void fields_publish(struct fields *fields, struct field *field, uint32_t slots);
void field_close(struct field *field);

bool fields_has(const struct fields *fields, const char *name, size_t name_bytes); // for the writer
// Takes the index of a field away, by the writer; NULL: there is none. Who comes from now on does not find it. Filters that
// found it before may ask it until they leave the gate, of what it said in this moment; then field_close ends it.
OMEN_MUST_CHECK struct field *fields_take(struct fields *fields, const char *name,
                                          size_t name_bytes);

// From any thread.
void fields_names(struct fields *fields, struct field_names *out);

// Do the values of this payload have the types of the indexed fields? Else OMEN_E_FIELD_TYPE
// naming `row`, the field, its type and what was found. The payload must have passed
// msgpack_check_map; NULL is fine.
OMEN_MUST_CHECK omen_status fields_check(const struct fields *fields, const void *payload,
                                         size_t bytes, size_t row, struct omen_error *error);

// Rows must have passed fields_check. `old` is not looked at here. OMEN_E_NO_MEMORY, or
// OMEN_E_CORRUPT of a field that was stored.
OMEN_MUST_CHECK omen_status fields_reserve(struct fields *fields, const struct field_rows *rows);
void fields_put(struct fields *fields,
                const struct field_rows *rows); // the same rows, after fields_reserve
void fields_cancel(struct fields *fields, const struct field_rows *rows); // instead of fields_put
// Takes a slot out; `payload` is what it was put with.
void fields_remove(struct fields *fields, uint32_t slot, const void *payload, size_t bytes);

// ---- the image: IMAGE_FIELDS, whole; shard/fields_int.h has its format ----

// Copies everything about slots below `rows`, as it is now. By the writer; filters go on beside it. It takes some
// tens of nanoseconds for each distinct value, and brings in what is still pending.
struct fields_frozen; // opaque
OMEN_MUST_CHECK omen_status fields_freeze(struct fields *fields, uint32_t rows,
                                          struct fields_frozen **out);
// One piece at least. The statuses are the sink's. Anywhere, any time later.
OMEN_MUST_CHECK omen_status fields_frozen_put(const struct fields_frozen *frozen,
                                              const struct image_sink *sink);
size_t fields_frozen_bytes(const struct fields_frozen *frozen); // of the stream
void fields_frozen_close(struct fields_frozen *frozen);         // accepts NULL

// The three together, for who has no lock to give back.
OMEN_MUST_CHECK omen_status fields_save(struct fields *fields, uint32_t rows,
                                        const struct image_sink *sink);

// Reads names and types only. The source is asked for the pieces of IMAGE_FIELDS until fields_load_next has found
// nothing pending, fields_freeze has succeeded, or the fields are closed; from any thread, one at a time.
// OMEN_E_CORRUPT, OMEN_E_VERSION, OMEN_E_NO_MEMORY; then *out is NULL.
OMEN_MUST_CHECK omen_status fields_load(const struct image_source *source, struct fields **out);
// Where the stream turns out to be damaged, fields are made of the payloads instead: of those below `rows` that `erased`
// does not name. Before anything else is done with the fields. OMEN_E_CORRUPT where the image is not of as many rows.
struct fields_origin {
    const struct payloads *payloads; // borrowed, like the context
    uint32_t rows;
    bool (*erased)(const void *context, uint32_t slot);
    const void *context;
};
OMEN_MUST_CHECK omen_status fields_rebuild_from(struct fields *fields,
                                                const struct fields_origin *origin);
// Brings in one field that is pending; from any thread. OMEN_E_NOT_FOUND when none is. One that is damaged is left to who asks
// for it, with OMEN_E_BUSY: payloads are looked into inside the gate only, or by the writer. While it works filters on
// indexed fields and writes wait: some tens of nanoseconds for each distinct value.
OMEN_MUST_CHECK omen_status fields_load_next(struct fields *fields);
// What the image says of this slot does not hold any more; allowed while everything is pending. For who applies
// a log to payloads that may be newer than the image: the slots that the log changes are forgotten first, and put again
// without `old`. (After a slot was forgotten, taking out what it does not have is fine.)
void fields_forget(struct fields *fields, uint32_t slot);

uint32_t fields_count(const struct fields *fields); // for the writer, like the next
// The i-th index; name borrowed from the fields.
void fields_spec(const struct fields *fields, uint32_t i, struct field_spec *spec);
size_t fields_bytes(struct fields *fields); // memory; what is pending has none

#endif
