// node/admin_op.c -- which operation a request is, so that a repeated one is answered and not done again.
//
// Shape: value.
//
// The map remembers the answers of commands by their op_id (cluster/session_int.h). What is remembered there is a client's op_id with a
// hash of what was asked in its lower half: who says an old op_id with something new asks for something new, and is never told that it
// was done. How long the client waits is no part of it. The command itself cannot tell: made of a newer map it has other versions in it.
//
// An op_id says when it was drawn, and the map refuses what it may have forgotten by then. A client whose clock is wrong shall do no worse
// than one that says no op_id: what is drawn too far from the cluster's time is done as if it had none, by compare-and-swap alone.
#include <string.h>

#include "base/hash.h"
#include "node/admin_int.h"

// Less than the ten minutes that the map remembers: its clock may go on until the command is applied.
#define OP_DRAWN_MS UINT64_C(570000)

// Where the ask has a field of this name and kind; NULL: nowhere.
static uint8_t *
field_at(const struct method *method, uint8_t *ask, const char *key, enum field_kind kind)
{
    for (uint32_t i = 0; i < method->ask->field_count; i++) {
        const struct field *field = &method->ask->fields[i];
        if (field->kind == kind && strcmp(field->key, key) == 0)
            return ask + field->at;
    }
    return NULL;
}

static struct wire_uuid
uuid_at(const uint8_t *at)
{
    struct wire_uuid uuid = {0};
    if (at != NULL)
        memcpy(&uuid, at, sizeof uuid);
    return uuid;
}

static void
fill_in(uint8_t *at, struct wire_uuid drawn)
{
    const struct wire_uuid now = uuid_at(at);
    if (at != NULL && (now.high | now.low) == 0)
        memcpy(at, &drawn, sizeof drawn);
}

void
admin_complete(const struct method *method, union method_body *ask, uint64_t wall_ms,
               const struct wire_uuid random[2])
{
    const struct wire_uuid op = {wall_ms << 16 | 0x7000 | (random[0].high & 0xfff),
                                 (random[0].low & UINT64_MAX >> 2) | UINT64_C(1) << 63};
    fill_in(field_at(method, ask->bytes, "op_id", FIELD_UUID), op);
    fill_in(field_at(method, ask->bytes, "seed", FIELD_UUID), random[1]);
}

static bool
is_remembered(const struct admin_view *view, struct wire_uuid op)
{
    const uint64_t drawn_ms = uuid_time_ms((struct cluster_uuid){op.high, op.low});
    const uint64_t now_ms =
        view->wall_ms > view->map->clock_ms ? view->wall_ms : view->map->clock_ms;
    return drawn_ms + OP_DRAWN_MS >= now_ms && drawn_ms <= now_ms + OP_DRAWN_MS;
}

omen_status
admin_op(const struct admin_view *view, const struct admin_call *call, struct cluster_uuid *op)
{
    union method_body ask;
    struct encode encode;
    const struct method *method = call->method;
    *op = (struct cluster_uuid){0};
    memcpy(&ask, call->ask, method->ask->bytes);
    const struct wire_uuid said = uuid_at(field_at(method, ask.bytes, "op_id", FIELD_UUID));
    if ((said.high | said.low) == 0 || !is_remembered(view, said))
        return OMEN_OK;
    uint8_t *deadline = field_at(method, ask.bytes, "deadline_ms", FIELD_U32);
    if (deadline != NULL)
        memset(deadline, 0, sizeof(uint32_t));
    encode_init(&encode, WIRE_FRAME_BYTES_MAX);
    encode_word(&encode, method->name);
    shape_write(&encode, method->ask, &ask);
    *op = (struct cluster_uuid){said.high, hash_bytes(encode.bytes, encode.count)};
    const omen_status status = encode.status;
    encode_fini(&encode);
    return status;
}
