// node/admin_op.c -- which operation a request is, so that a repeated one is answered and not done again.
//
// Shape: value.
//
// The map remembers the answers of commands by their op_id (cluster/session_int.h). What is remembered there is a client's op_id with a
// hash of what was asked in its lower half: who says an old op_id with something new asks for something new, and is never told that it
// was done. How long the client waits is no part of it. The command itself cannot tell: made of a newer map it has other versions in it.
//
// What is not remembered is judged as an operation of a shard is (base/opid.h), by who leads: what was drawn too long ago for the map to know,
// or too far ahead of its clock, is refused and not proposed. The map looks once more, for its clock may go on until the command is applied.
#include <string.h>

#include "base/hash.h"
#include "base/opid.h"
#include "cluster/apply.h"
#include "node/admin_int.h"

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
admin_complete(const struct method *method, union method_body *ask, uint64_t now_ms,
               const struct wire_uuid random[2])
{
    const struct opid op = opid_draw(now_ms, (struct opid){random[0].high, random[0].low});
    fill_in(field_at(method, ask->bytes, "op_id", FIELD_UUID), (struct wire_uuid){op.high, op.low});
    fill_in(field_at(method, ask->bytes, "seed", FIELD_UUID), random[1]);
}

uint64_t
admin_now_ms(const struct map *map, uint64_t wall_ms)
{
    return map != NULL && map->clock_ms > wall_ms ? map->clock_ms : wall_ms;
}

omen_status
admin_op(const struct admin_view *view, const struct admin_call *call, struct cluster_uuid *op,
         struct omen_error *error)
{
    const struct opid_clock clock = {.now_ms = admin_now_ms(view->map, view->wall_ms),
                                     .old_ms = OPID_OLD_MS,
                                     .ahead_ms = OPID_AHEAD_MS};
    struct command_result first;
    union method_body ask;
    struct encode encode;
    const struct method *method = call->method;
    *op = (struct cluster_uuid){0};
    memcpy(&ask, call->ask, method->ask->bytes);
    const struct wire_uuid said = uuid_at(field_at(method, ask.bytes, "op_id", FIELD_UUID));
    if ((said.high | said.low) == 0)
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
    if (status != OMEN_OK)
        return error_set(error, status, "no memory to look at what is asked");
    if (cluster_answered(view->map, *op, &first))
        return OMEN_OK;
    return opid_check((struct opid){said.high, said.low}, &clock, "the cluster", error);
}
