// tools/omenctl/upsert.c -- batches of rows into a collection.
//
// Shape: handle.
#include "tools/omenctl/upsert.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/os_clock.h"

#define NS_PER_MS 1000000ull
#define PAUSE_MS 50
#define HEAD_BYTES 4096u // of a request: keys and heads, beside its rows

// Rows of a batch by their places in it.
struct part {
    const omen_batch *batch;
    size_t first; // of the batch, in convert->rows
    uint32_t *places;
    uint32_t count;
};

struct request {
    struct wire_id *ids;
    struct wire_bytes *payloads;
    uint8_t *vectors; // gathered
    struct api_point_upsert ask;
};

static omen_status write_part(struct upsert *upsert, const struct part *part,
                              struct omen_error *error);

static size_t
batch_bytes(const omen_batch *batch, const struct convert *convert)
{
    size_t bytes = batch->count * (convert->row_bytes + 16);
    for (size_t i = 0; i < batch->count; i++) {
        bytes += batch->text_ids != NULL ? strlen(batch->text_ids[i]) : 0;
        bytes +=
            batch->payloads != NULL && batch->payloads[i] != NULL ? batch->payload_bytes[i] : 0;
    }
    return bytes;
}

omen_status
upsert_add(void *context, size_t first, const omen_batch *batch, struct omen_error *error)
{
    struct upsert *upsert = context;
    const size_t frame = client_frame_bytes(upsert->client);
    const size_t most = frame > HEAD_BYTES ? frame - HEAD_BYTES : 0;
    if (batch_bytes(batch, upsert->convert) > most && batch->count > 1)
        return OMEN_E_FULL; // halved by the converter
    struct part part = {.batch = batch, .first = first, .count = (uint32_t)batch->count};
    part.places = mem_alloc(batch->count * sizeof *part.places);
    if (part.places == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    for (uint32_t i = 0; i < part.count; i++)
        part.places[i] = i;
    const omen_status status = write_part(upsert, &part, error);
    mem_free(part.places);
    return status;
}

// ---- a request ----

static void
request_fini(struct request *request)
{
    mem_free(request->ids);
    mem_free(request->payloads);
    mem_free(request->vectors);
}

static void
request_fill(struct request *request, const struct part *part, size_t row_bytes)
{
    const omen_batch *batch = part->batch;
    for (uint32_t i = 0; i < part->count; i++) {
        const uint32_t at = part->places[i];
        request->ids[i] = (struct wire_id){.given = 1};
        if (batch->text_ids != NULL) {
            request->ids[i].text = batch->text_ids[at];
            request->ids[i].text_bytes = (uint32_t)strlen(batch->text_ids[at]);
        } else {
            request->ids[i].number = batch->ids[at];
        }
        if (batch->payloads != NULL && batch->payloads[at] != NULL)
            request->payloads[i] =
                (struct wire_bytes){batch->payloads[at], (uint32_t)batch->payload_bytes[at]};
        memcpy(request->vectors + i * row_bytes, (const uint8_t *)batch->vectors + at * row_bytes,
               row_bytes);
    }
}

static omen_status
request_make(struct request *request, const struct upsert *upsert, const struct part *part)
{
    const size_t row_bytes = upsert->convert->row_bytes, bytes = part->count * row_bytes;
    const uint8_t dtype = (uint8_t)part->batch->dtype;
    request->ids = mem_alloc(part->count * sizeof *request->ids);
    request->payloads = mem_alloc_zero(part->count, sizeof *request->payloads);
    request->vectors = mem_alloc(bytes);
    if (request->ids == NULL || request->payloads == NULL || request->vectors == NULL)
        return OMEN_E_NO_MEMORY;
    request_fill(request, part, row_bytes);
    request->ask = (struct api_point_upsert){
        .collection = wire_text_of(upsert->collection),
        .op_id = client_op_id(upsert->client),
        .mode = upsert->mode,
        .deadline_ms = upsert->timeout_ms,
        .ids = {.count = part->count, .items = request->ids},
        .vectors = {.form = VECTORS_RAW,
                    .dtype = dtype,
                    .count = (uint32_t)(bytes / wire_dtype_bytes(dtype)),
                    .bytes = {request->vectors, (uint32_t)bytes}},
    };
    if (part->batch->payloads != NULL)
        request->ask.payloads =
            (struct wire_list){.count = part->count, .items = request->payloads};
    return OMEN_OK;
}

// ---- an answer ----

static omen_status
status_named(const struct wire_text *name)
{
    for (omen_status status = -1; status > CLIENT_E_UNREACHABLE; status--)
        if (strlen(status_name(status)) == name->count &&
            memcmp(status_name(status), name->bytes, name->count) == 0)
            return status;
    return OMEN_E_INTERNAL;
}

static bool
is_of_this_row(omen_status status)
{
    return status == OMEN_E_EXISTS || status == OMEN_E_NOT_FOUND;
}

// OK: every row that was not written is one that cannot be. Else why not, and whether it may be done yet.
static omen_status
look_at_failed(const struct api_written *written, bool *may_repeat, struct omen_error *error)
{
    struct list_cursor cursor;
    struct api_failed failed;
    omen_status worst = OMEN_OK;
    *may_repeat = true;
    list_begin(&cursor, shape_field(&api_written, "failed"), &written->failed);
    while (list_next(&cursor, &failed)) {
        const omen_status status = status_named(&failed.name);
        if (refusals_is_about_row(status) || is_of_this_row(status))
            continue;
        const enum status_act act = status_act(status);
        *may_repeat =
            *may_repeat && (act == ACT_RETRY || act == ACT_REROUTE || status == OMEN_E_TIMEOUT);
        worst = error_set(error, status, "%.*s", (int)failed.message.count,
                          failed.message.count > 0 ? failed.message.bytes : "");
    }
    return worst;
}

// Behind the method's name and the row's number in its request, which mislead beside its number in the file.
static const char *
without_place(const char *text)
{
    static const char method[] = "point.upsert: ", row[] = "row ";
    if (strncmp(text, method, sizeof method - 1) == 0)
        text += sizeof method - 1;
    if (strncmp(text, row, sizeof row - 1) != 0)
        return text;
    const char *end = text + sizeof row - 1;
    end += strspn(end, "0123456789");
    return strncmp(end, ": ", 2) == 0 ? end + 2 : text;
}

static void
refuse(struct upsert *upsert, const struct part *part, uint32_t place, omen_status status,
       const struct wire_text *message)
{
    char text[160];
    snprintf(text, sizeof text, "%.*s", (int)message->count,
             message->count > 0 ? message->bytes : "");
    refusals_add(&upsert->convert->refusals, upsert->convert->rows[part->first + place], status,
                 without_place(text));
}

// Counts what is settled; the others' places go to `again`.
static void
settle(struct upsert *upsert, const struct part *part, const struct api_written *written,
       struct part *again)
{
    struct list_cursor cursor;
    struct api_failed failed, last = {0};
    upsert->convert->added += part->count;
    list_begin(&cursor, shape_field(&api_written, "failed"), &written->failed);
    while (list_next(&cursor, &failed)) {
        if (failed.row >= part->count || again->count == part->count)
            continue; // no server of ours
        upsert->convert->added--;
        if (is_of_this_row(status_named(&failed.name))) {
            refuse(upsert, part, part->places[failed.row], status_named(&failed.name),
                   &failed.message);
            continue;
        }
        again->places[again->count++] = part->places[failed.row];
        last = failed;
    }
    if (again->count == 1) {
        refuse(upsert, part, again->places[0], status_named(&last.name), &last.message);
        again->count = 0;
    }
}

// The same where nothing was written, because of some row.
static void
settle_none(struct upsert *upsert, const struct part *part, const struct client_error *said,
            struct part *again)
{
    const struct wire_text message = wire_text_of(said->text);
    if (part->count == 1) {
        refuse(upsert, part, part->places[0], said->status, &message);
        return;
    }
    memcpy(again->places, part->places, part->count * sizeof *part->places);
    again->count = part->count;
}

// ---- a part ----

// Until every row is written, or refused, or one of `again`, or the time is up.
static omen_status
ask_until_settled(struct upsert *upsert, const struct part *part, const struct request *request,
                  struct part *again, struct omen_error *error)
{
    const uint64_t deadline_ns = os_clock_ns() + upsert->timeout_ms * NS_PER_MS;
    for (;;) {
        struct api_written written = {0};
        struct client_reply reply;
        struct client_error said;
        bool may_repeat = false;
        omen_status status = client_call_method(upsert->client, METHOD_POINT_UPSERT, &request->ask,
                                                &reply, &written, &said);
        if (refusals_is_about_row(status)) {
            settle_none(upsert, part, &said, again);
            return OMEN_OK;
        }
        if (status != OMEN_OK)
            return error_set(error, status, "%s", said.text);
        status = look_at_failed(&written, &may_repeat, error);
        if (status == OMEN_OK)
            settle(upsert, part, &written, again);
        client_reply_fini(&reply);
        if (status == OMEN_OK || !may_repeat || os_clock_ns() >= deadline_ns)
            return status;
        (void)poll(NULL, 0, PAUSE_MS);
    }
}

// Recursion is as deep as a batch can be halved.
static omen_status
write_part(struct upsert *upsert, const struct part *part, struct omen_error *error)
{
    struct request request = {0};
    struct part again = {.batch = part->batch, .first = part->first};
    again.places = mem_alloc(part->count * sizeof *again.places);
    omen_status status =
        again.places != NULL ? request_make(&request, upsert, part) : OMEN_E_NO_MEMORY;
    if (status == OMEN_OK)
        status = ask_until_settled(upsert, part, &request, &again, error);
    else
        error_set_plain(error, status);
    request_fini(&request);
    const struct part left = {part->batch, part->first, again.places, again.count / 2};
    const struct part right = {part->batch, part->first, again.places + left.count,
                               again.count - left.count};
    if (status == OMEN_OK && again.count > 0)
        status = write_part(upsert, &left, error);
    if (status == OMEN_OK && again.count > 0)
        status = write_part(upsert, &right, error);
    mem_free(again.places);
    return status;
}
