// router/front_ask.c -- a client's request is read, its collection found, and its first round made ready.
//
// Shape: handle, in memory.
//
// Here is refused what can be known before anybody else is asked: the collection, the key's right to it, numbers of components,
// ids of two kinds, cursors that nobody gave. The rest (is a filter one, is a component NaN) is the shard's to say.
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/opid.h"
#include "router/claim.h"
#include "router/front_int.h"
#include "router/front_round.h"

#define MS_NS UINT64_C(1000000)

bool
front_takes(const struct method *method)
{
    return method->number >= METHOD_POINT_UPSERT && method->number <= METHOD_RECALL_MEASURE;
}

static bool
is_write(const struct front_call *call)
{
    const uint8_t number = call->method->number;
    return number == METHOD_POINT_UPSERT || number == METHOD_POINT_DELETE ||
           number == METHOD_POINT_PATCH;
}

// ---- the collection ----

static bool
glob_fits(const char *glob, struct wire_text name)
{
    // One star stands for any bytes; after a mismatch the last one takes a byte more.
    const char *star = NULL;
    uint32_t i = 0, back = 0;
    while (i < name.count) {
        if (*glob == '*') {
            star = glob++;
            back = i;
        } else if (*glob == '?' || *glob == name.bytes[i]) {
            glob++;
            i++;
        } else if (star != NULL) {
            glob = star + 1;
            i = ++back;
        } else
            return false;
    }
    while (*glob == '*')
        glob++;
    return *glob == '\0';
}

static omen_status
find_collection(const struct front *front, struct front_call *call,
                const struct rpc_session *session, struct omen_error *error)
{
    const struct front_read *ask = (const void *)&call->ask;
    const struct wire_text name = ask->collection;
    struct map_name given;
    if (front->map == NULL)
        return error_set(error, OMEN_E_BUSY, "this node has no map of the cluster yet");
    const bool named = map_name_set(&given, name.bytes, name.count);
    const struct map_collection *found = named ? map_resolve(front->map, &given) : NULL;
    // Who may not know of a collection does not learn whether it is there.
    const struct wire_text real =
        found == NULL ? name : (struct wire_text){found->name.bytes, found->name.count};
    if (session->glob[0] != '\0' && !glob_fits(session->glob, real))
        return error_set(error, OMEN_E_AUTH, "the key is for collections '%s', not for '%.*s'",
                         session->glob, (int)name.count, name.bytes);
    if (found == NULL)
        return error_set(error, OMEN_E_NOT_FOUND, "there is no collection or alias '%.*s'",
                         (int)name.count, name.bytes);
    call->collection = found->id;
    call->dimension = found->dimension;
    call->metric = found->metric;
    call->dtype = found->dtype;
    call->id_kind = found->id_kind;
    return OMEN_OK;
}

// ---- what is checked against it ----

// A collection of floats takes any numbers, and any are looked for; whole numbers of 8 bits are written as what they are alone.
static omen_status
check_dtype(const struct front_call *call, uint8_t dtype, struct omen_error *error)
{
    static const char *const names[] = {"?", "f32", "f16", "bf16", "i8", "u8"};
    if (call->asks != METHOD_POINT_UPSERT || dtype == call->dtype ||
        (call->dtype != WIRE_I8 && call->dtype != WIRE_U8))
        return OMEN_OK;
    return error_set(error, OMEN_E_DTYPE,
                     "vectors are %s; the collection takes %s, or arrays of whole numbers",
                     names[dtype], names[call->dtype]);
}

omen_status
front_check_vector(const struct front_call *call, const struct wire_vectors *vector,
                   struct omen_error *error)
{
    if (vector->count != call->dimension)
        return error_set(error, OMEN_E_DIMENSION,
                         "vector has %" PRIu32 " components; the collection has %" PRIu32,
                         vector->count, call->dimension);
    return vector->form == VECTORS_RAW ? check_dtype(call, vector->dtype, error) : OMEN_OK;
}

// Rows of an array are looked at by the shard, which goes through them anyway.
static omen_status
check_vectors(const struct front_call *call, const struct wire_vectors *vectors, uint64_t rows,
              struct omen_error *error)
{
    if (vectors->form != VECTORS_RAW)
        return OMEN_OK;
    if (vectors->count != rows * call->dimension)
        return error_set(error, OMEN_E_DIMENSION,
                         "vectors has %" PRIu32 " components, expected %" PRIu64 ": %" PRIu64
                         " of the collection's %" PRIu32,
                         vectors->count, rows * call->dimension, rows, call->dimension);
    return check_dtype(call, vectors->dtype, error);
}

static uint64_t
hash_of(const struct wire_id *id)
{
    return id->text_bytes > 0 ? hash_id_text(id->text, id->text_bytes) : hash_id_u64(id->number);
}

omen_status
front_items(struct front_call *call, const struct wire_list *ids, struct omen_error *error)
{
    struct list_cursor cursor;
    struct wire_id id;
    const uint32_t before = call->start.item_count;
    struct fanout_item *items =
        mem_resize(call->items, (before + (size_t)ids->count) * sizeof *items);
    if (items == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    call->items = call->start.items = items;
    bool text = false;
    ids_begin(&cursor, ids);
    for (uint32_t i = 0; list_next(&cursor, &id); i++) {
        if (i > 0 && text != (id.text_bytes > 0))
            return error_set(error, OMEN_E_ID_KIND,
                             "ids[%" PRIu32 "] is %s, ids[0] is %s; a collection has one kind", i,
                             text ? "an integer" : "a text", text ? "a text" : "an integer");
        text = id.text_bytes > 0;
        items[before + i] = (struct fanout_item){.hash = hash_of(&id)};
    }
    call->start.item_count = before + ids->count;
    call->texts = text;
    return OMEN_OK;
}

// ---- what all have ----

static omen_status
take_tokens(struct front_call *call, const struct wire_list *after, struct omen_error *error)
{
    struct list_cursor cursor;
    struct wire_token token;
    if (call->start.consistency != FANOUT_SESSION || after->count == 0)
        return OMEN_OK;
    call->tokens = mem_alloc(after->count * sizeof *call->tokens);
    if (call->tokens == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    call->start.tokens = call->tokens;
    token_begin(&cursor, after);
    while (list_next(&cursor, &token))
        call->tokens[call->start.token_count++] =
            (struct fanout_token){token.shard, token.term, token.seq};
    return OMEN_OK;
}

static struct fanout_op
op_of(struct front *front, const struct wire_uuid *given)
{
    if ((given->high | given->low) != 0)
        return (struct fanout_op){given->high, given->low};
    struct opid chance = {.high = prng_next(&front->prng)};
    chance.low = prng_next(&front->prng);
    const struct opid drawn = opid_draw(front->config.date_ms(front->config.context), chance);
    return (struct fanout_op){drawn.high, drawn.low};
}

static omen_status
take_common(struct front *front, struct front_call *call, struct omen_error *error)
{
    const struct front_read *read = (const void *)&call->ask;
    const struct front_write *write = (const void *)&call->ask;
    uint32_t deadline_ms = is_write(call) ? write->deadline_ms : read->deadline_ms;
    if (deadline_ms == 0)
        deadline_ms = FRONT_DEADLINE_MS;
    call->asks = call->method->number;
    call->start =
        (struct fanout_start){.client = (uint64_t)(uintptr_t)call,
                              .kind = FANOUT_SEARCH,
                              .collection = call->collection,
                              .deadline_ns = call->done.received_ns + deadline_ms * MS_NS};
    if (is_write(call)) {
        call->start.kind = FANOUT_WRITE;
        call->start.op_id = op_of(front, &write->op_id);
        return OMEN_OK;
    }
    if (read->consistency == API_STRONG)
        call->start.consistency = FANOUT_STRONG;
    else if (read->consistency == API_SESSION || (read->consistency == 0 && read->after.count > 0))
        call->start.consistency = FANOUT_SESSION;
    return take_tokens(call, &read->after, error);
}

// ---- methods ----

static omen_status
ask_write(struct front_call *call, const struct wire_list *ids, struct omen_error *error)
{
    return ids->count == 0 ? OMEN_OK : front_items(call, ids, error); // none: by a filter
}

static omen_status
ask_upsert(struct front_call *call, struct omen_error *error)
{
    const struct api_point_upsert *ask = (const void *)&call->ask;
    const omen_status status = ask->vectors.form == VECTORS_NONE
                                   ? OMEN_OK
                                   : check_vectors(call, &ask->vectors, ask->ids.count, error);
    return status != OMEN_OK ? status : ask_write(call, &ask->ids, error);
}

static omen_status
ask_batch(struct front_call *call, struct omen_error *error)
{
    const struct api_query_batch *ask = (const void *)&call->ask;
    const struct wire_vectors *vectors = &ask->vectors;
    uint64_t rows = vectors->count;
    if (vectors->form == VECTORS_RAW)
        rows = vectors->count >= call->dimension ? vectors->count / call->dimension : 1;
    call->k = ask->k == 0 ? FRONT_K : ask->k;
    call->start.partial = ask->partial != 0;
    if (rows > WIRE_BATCH_MAX)
        return error_set(error, OMEN_E_INVALID, "vectors has %" PRIu64 " queries, more than %u",
                         rows, WIRE_BATCH_MAX);
    if (rows * call->k > WIRE_FRAME_BYTES_MAX / 12)
        return error_set(error, OMEN_E_INVALID,
                         "%" PRIu64 " queries of k = %" PRIu32
                         " do not fit into an answer of %u bytes",
                         rows, call->k, WIRE_FRAME_BYTES_MAX);
    if (ask->result == API_MATRIX && ask->with != 0)
        return error_set(error, OMEN_E_INVALID,
                         "result 'matrix' has no place for what `with` asks for");
    call->queries = (uint32_t)rows;
    return check_vectors(call, vectors, rows, error);
}

static omen_status
ask_of_method(struct front *front, struct front_call *call, struct omen_error *error)
{
    switch (call->method->number) {
    case METHOD_POINT_UPSERT:
        return ask_upsert(call, error);
    case METHOD_POINT_DELETE:
        return ask_write(call, &((const struct api_point_delete *)(void *)&call->ask)->ids, error);
    case METHOD_POINT_PATCH:
        return ask_write(call, &((const struct api_point_patch *)(void *)&call->ask)->ids, error);
    case METHOD_POINT_GET:
        call->start.kind = FANOUT_GET;
        call->ids = ((const struct api_point_get *)(void *)&call->ask)->ids;
        call->with = ((const struct api_point_get *)(void *)&call->ask)->with;
        return front_items(call, &call->ids, error);
    case METHOD_QUERY_BATCH:
        return ask_batch(call, error);
    case METHOD_POINT_COUNT:
    case METHOD_POINT_FACET:
        return OMEN_OK;
    default:
        return front_round_first(front, call, error);
    }
}

// The one map of [{..}] or {..}.
static struct wire_bytes
map_of(struct wire_bytes params)
{
    struct decode decode;
    struct msgpack_value value;
    decode_init(&decode, params, &decode_after_hello, NULL);
    if (decode_peek(&decode, &value) && value.kind == MSGPACK_ARRAY)
        decode_array(&decode);
    return decode_raw(&decode);
}

// ---- the kind of its ids ----

static bool
makes_points(const struct front_call *call)
{
    const struct api_point_upsert *ask = (const void *)&call->ask;
    return call->method->number == METHOD_POINT_UPSERT && ask->mode != API_UPDATE;
}

// Shards have points of it alone, and each knows of its own only: two of them could take ids of two kinds.
omen_status
front_claims(const struct front_call *call, uint8_t *kind, struct omen_error *error)
{
    *kind = MAP_IDS_UNKEPT;
    if (!is_write(call) || call->start.item_count == 0)
        return OMEN_OK;
    const struct claim_write write = {.known = call->id_kind,
                                      .given = call->texts ? MAP_IDS_TEXT : MAP_IDS_INTEGER,
                                      .makes_points = makes_points(call)};
    const enum claim judged = claim_judge(&write);
    if (judged == CLAIM_REFUSED)
        return error_set(error, OMEN_E_ID_KIND, "the collection holds %s ids; %s ids were given",
                         call->texts ? "integer" : "text", call->texts ? "text" : "integer");
    if (judged == CLAIM_WAITS)
        *kind = write.given;
    return OMEN_OK;
}

omen_status
front_ask(struct front *front, struct front_call *call, const struct rpc_request *request,
          struct omen_error *error)
{
    const struct rpc_message message = rpc_request_message(request);
    if (is_write(call))
        call->start.kind = FANOUT_WRITE; // so that a refusal says that nothing was done
    omen_status status =
        rpc_read_ask(&message, call->method, &decode_after_hello, &call->ask, error);
    if (status == OMEN_OK)
        status = find_collection(front, call, &request->session, error);
    if (status == OMEN_OK)
        status = take_common(front, call, error);
    if (status != OMEN_OK)
        return status;
    call->raw = call->whole = map_of(request->params);
    return ask_of_method(front, call, error);
}
