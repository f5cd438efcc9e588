// tools/omenctl/remote.c -- a method of the protocol as a command.
//
// Shape: shell.
#include "tools/omenctl/remote.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "tools/omenctl/answer.h"
#include "tools/omenctl/names.h"
#include "tools/omenctl/pack.h"
#include "tools/omenctl/progress.h"

#define JOB_LOOK_MS 200

// ---- what is asked ----

static const struct field *
field_of(const struct shape *shape, const char *name, size_t bytes)
{
    for (uint32_t i = 0; i < shape->field_count; i++) {
        const char *key = shape->fields[i].key;
        size_t same = 0;
        while (same < bytes && (key[same] == name[same] || (key[same] == '_' && name[same] == '-')))
            same++;
        if (same == bytes && key[bytes] == '\0' && (shape->fields[i].flags & FIELD_ALIAS) == 0)
            return &shape->fields[i];
    }
    return NULL;
}

struct asking {
    struct call *call;
    const struct method *method;
    struct encode pairs;
    uint32_t count;
};

static enum exit_code
add_pair(struct asking *asking, const char *shown, const struct field *field, char *const *texts,
         uint32_t count)
{
    struct omen_error error = {0};
    encode_word(&asking->pairs, field->key);
    if (pack_value(&asking->pairs, field, texts, count, &error) != OMEN_OK)
        return call_fail_error(asking->call, shown, &error);
    asking->count++;
    return EXIT_FINE;
}

// The last key takes all the words that are left.
static enum exit_code
add_arguments(struct asking *asking)
{
    const struct call *call = asking->call;
    const char *keys = call->verb->remote->keys;
    for (uint32_t at = 0; at < call->argument_count;) {
        const size_t bytes = strcspn(keys, " ");
        const struct field *field = field_of(asking->method->ask, keys, bytes);
        ASSERT(bytes > 0 && field != NULL);
        const uint32_t count = keys[bytes] == '\0' ? call->argument_count - at : 1;
        const enum exit_code code =
            add_pair(asking, field->key, field, call->arguments + at, count);
        if (code != EXIT_FINE)
            return code;
        at += count;
        keys += bytes + (keys[bytes] == ' ');
    }
    return EXIT_FINE;
}

static enum exit_code
add_options(struct asking *asking)
{
    const struct call *call = asking->call;
    for (uint32_t i = 0; i < verb_option_count(call->verb); i++) {
        const char *name = call->verb->options[i].name;
        const struct field *field = field_of(asking->method->ask, name, strlen(name));
        char *value = (char *)(uintptr_t)call->values[i];
        char shown[64];
        if (field == NULL || value == NULL)
            continue;
        snprintf(shown, sizeof shown, "--%s", name);
        const enum exit_code code = add_pair(asking, shown, field, &value, 1);
        if (code != EXIT_FINE)
            return code;
    }
    return EXIT_FINE;
}

// Whether the server itself says what would happen.
static bool
can_try(const struct method *method)
{
    return field_of(method->ask, "dry_run", 7) != NULL;
}

static void
add_true(struct asking *asking, const char *key)
{
    encode_word(&asking->pairs, key);
    encode_bool(&asking->pairs, 1);
    asking->count++;
}

static void
add_uuid(struct asking *asking, const char *key, struct wire_uuid uuid)
{
    uint8_t bytes[16];
    for (uint32_t i = 0; i < 16; i++)
        bytes[i] = (uint8_t)((i < 8 ? uuid.high : uuid.low) >> (56 - 8 * (i % 8)));
    encode_word(&asking->pairs, key);
    encode_bytes(&asking->pairs, (struct wire_bytes){bytes, sizeof bytes});
    asking->count++;
}

// What nobody gives by hand.
static void
add_own(struct asking *asking, uint32_t timeout_ms)
{
    const struct shape *shape = asking->method->ask;
    const char *always = asking->call->verb->remote->always;
    if (always != NULL)
        add_true(asking, always);
    if (asking->call->verb->remote->word != NULL) {
        encode_word(&asking->pairs, asking->call->verb->remote->word);
        encode_word(&asking->pairs, asking->call->verb->remote->value);
        asking->count++;
    }
    if (field_of(shape, "deadline_ms", 11) != NULL) {
        encode_word(&asking->pairs, "deadline_ms");
        encode_u64(&asking->pairs, timeout_ms);
        asking->count++;
    }
    if (field_of(shape, "seed", 4) != NULL)
        add_uuid(asking, "seed", client_seed());
    if (field_of(shape, "yes", 3) != NULL) // nothing is sent before somebody has said so
        add_true(asking, "yes");
    if (asking->call->dry_run)
        add_true(asking, "dry_run");
}

// All but what is drawn by a node's clock.
static enum exit_code
make_ask(struct asking *asking)
{
    uint32_t timeout_ms;
    enum exit_code code = remote_timeout(asking->call, &timeout_ms);
    if (code == EXIT_FINE)
        code = add_arguments(asking);
    if (code == EXIT_FINE)
        code = add_options(asking);
    if (code != EXIT_FINE)
        return code;
    if (!asking->call->dry_run || can_try(asking->method))
        add_own(asking, timeout_ms);
    return code;
}

static enum exit_code
pack_ask(const struct asking *asking, struct encode *params)
{
    encode_map(params, asking->count);
    encode_raw(params, asking->pairs.bytes, asking->pairs.count);
    if (params->status != OMEN_OK || asking->pairs.status != OMEN_OK)
        return call_fail(asking->call, EXIT_USAGE, "the request has more than %u bytes",
                         WIRE_FRAME_BYTES_MAX);
    return EXIT_FINE;
}

enum exit_code
remote_ask(const struct call *call, struct client *client, enum method_number method,
           const void *ask, struct client_reply *reply, void *answer)
{
    struct client_error error;
    if (client_call_method(client, method, ask, reply, answer, &error) != OMEN_OK)
        return remote_fail(call, method_at(method)->name, &error);
    return EXIT_FINE;
}

// ---- what is answered ----

static const struct wire_list *
list_of(const struct shape *shape, const void *answer, const char *key)
{
    const struct field *field = field_of(shape, key, strlen(key));
    return field != NULL ? (const void *)((const uint8_t *)answer + field->at) : NULL;
}

static enum exit_code
say_failed_shards(const struct call *call, const struct wire_list *shards)
{
    struct list_cursor cursor;
    struct api_shard_failed failed;
    enum exit_code code = EXIT_FINE;
    list_begin(&cursor, shape_field(&api_hits, "shards_failed"), shards);
    while (list_next(&cursor, &failed))
        code = call_fail(call, EXIT_PARTIAL, "shard %" PRIu64 " is missing in this answer: %.*s",
                         failed.shard, (int)failed.name.count, failed.name.bytes);
    return code;
}

static enum exit_code
say_failed_rows(const struct call *call, const struct wire_list *rows)
{
    struct list_cursor cursor;
    struct api_failed failed;
    enum exit_code code = EXIT_FINE;
    list_begin(&cursor, shape_field(&api_written, "failed"), rows);
    while (list_next(&cursor, &failed))
        code = call_fail(call, EXIT_PARTIAL, "row %u: %.*s: %.*s", failed.row,
                         (int)failed.name.count, failed.name.bytes, (int)failed.message.count,
                         failed.message.count > 0 ? failed.message.bytes : "");
    return code;
}

// Says on stderr what an answer has besides what is shown: parts that are missing, warnings. EXIT_PARTIAL for the former.
static enum exit_code
remote_remarks(const struct call *call, const struct shape *shape, const void *answer)
{
    enum exit_code code = EXIT_FINE;
    const struct wire_list *shards = list_of(shape, answer, "shards_failed");
    const struct wire_list *rows = list_of(shape, answer, "failed");
    const struct field *warnings = field_of(shape, "warnings", 8);
    const struct field *cursor = field_of(shape, "cursor", 6);
    if (shards != NULL && shape != &api_stats)
        code = say_failed_shards(call, shards);
    if (code == EXIT_FINE && rows != NULL)
        code = say_failed_rows(call, rows);
    for (uint32_t i = 0; warnings != NULL && warnings->words[i] != NULL; i++)
        if ((*(const uint32_t *)(const void *)((const uint8_t *)answer + warnings->at) >> i & 1) !=
            0)
            call_talk(call, "warning: %s", warnings->words[i]);
    if (cursor != NULL) {
        const struct wire_text *text = (const void *)((const uint8_t *)answer + cursor->at);
        if (text->count > 0)
            call_talk(call, "there is more: --cursor %.*s", (int)text->count, text->bytes);
    }
    return code;
}

// The items of each row's list, one behind the other.
static void
add_inside(struct doc *doc, const struct remote *remote, const struct field *field,
           const struct wire_list *list)
{
    const struct field *inside = shape_field(field->shape, remote->inside);
    struct list_cursor rows, items;
    union method_body row, item;
    list_begin(&rows, field, list);
    for (uint64_t number = 0; list_next(&rows, &row); number++) {
        list_begin(&items, inside, (const void *)(row.bytes + inside->at));
        while (list_next(&items, &item)) {
            struct doc_node *shown = doc_map(doc, doc_root(doc), NULL);
            doc_uint(doc, shown, remote->numbered, number);
            answer_fields(doc, shown, inside->shape, &item, NULL);
        }
    }
}

static void
add_rows(struct doc *doc, const struct call *call, const struct method *method, const void *answer)
{
    const struct remote *remote = call->verb->remote;
    const bool is_table = call->format == DOC_AS_TABLE;
    const struct field *field = shape_field(method->answer, remote->rows);
    const struct wire_list *list = (const void *)((const uint8_t *)answer + field->at);
    if (is_table && remote->table != NULL)
        remote->table(doc, answer);
    else if (remote->inside != NULL)
        add_inside(doc, remote, field, list);
    else
        answer_items(doc, doc_root(doc), field, list, is_table ? remote->columns : NULL);
    if (is_table && remote->nothing != NULL && doc_root(doc)->children.count == 0)
        call_talk(call, "%s", remote->nothing);
}

static enum exit_code
show(struct call *call, struct client *client, const struct method *method, const void *answer)
{
    const struct remote *remote = call->verb->remote;
    const bool is_table = call->format == DOC_AS_TABLE;
    struct doc *doc = NULL;
    if (method->number == METHOD_SYSTEM_METRICS && is_table) {
        const struct api_metrics *metrics = answer;
        fwrite(metrics->text.bytes, 1, metrics->text.count, call->out);
        return EXIT_FINE;
    }
    if (doc_open(remote->rows != NULL ? DOC_LIST : DOC_MAP, &doc) != OMEN_OK)
        return call_fail(call, EXIT_OTHER, "no memory");
    if (remote->rows != NULL)
        add_rows(doc, call, method, answer);
    else
        answer_fields(doc, doc_root(doc), method->answer, answer,
                      is_table ? remote->columns : NULL);
    if (is_table && remote->names)
        names_show(client, doc);
    const enum exit_code code = call_print(call, doc);
    doc_close(doc);
    return code;
}

// ---- jobs ----

// Nobody is at it: why, once for each reason.
static void
say_waits(const struct call *call, const struct api_job *job, char *said, size_t said_bytes)
{
    char text[256];
    snprintf(text, sizeof text, "%.*s", (int)job->text.count,
             job->text.count > 0 ? job->text.bytes : "");
    if (job->state != API_JOB_WAITING || strncmp(said, text, said_bytes - 1) == 0)
        return;
    call_talk(call, "job %" PRIu64 " is waiting: %s", job->job, text);
    snprintf(said, said_bytes, "%s", text);
}

// Of a move or a split nothing is kept when it is over. The last look says what it was; before the first, who began it.
static bool
ends_unseen(const struct call *call, uint8_t last_kind)
{
    const enum method_number number = (enum method_number)call->verb->remote->method;
    return last_kind == API_JOB_MOVE || last_kind == API_JOB_SPLIT || number == METHOD_SHARD_MOVE ||
           number == METHOD_SHARD_SPLIT;
}

static enum exit_code
look_at_job(const struct call *call, struct client *client, const struct api_of_job *ask,
            struct client_reply *reply, struct api_job *job)
{
    struct client_error error;
    const uint8_t last_kind = job->kind;
    const omen_status status = client_call_method(client, METHOD_JOB_GET, ask, reply, job, &error);
    if (status == OMEN_OK)
        return EXIT_FINE;
    if (status != OMEN_E_NOT_FOUND || !ends_unseen(call, last_kind))
        return remote_fail(call, method_at(METHOD_JOB_GET)->name, &error);
    *job = (struct api_job){.job = ask->job, .kind = last_kind, .state = API_JOB_DONE};
    return EXIT_FINE;
}

// Looks at the job again and again until it has ended.
enum exit_code
remote_wait(const struct call *call, struct client *client, uint64_t number)
{
    const struct api_of_job ask = {.job = number};
    struct api_job job = {0};
    struct progress progress;
    char said[256] = "";
    progress_init(&progress, call, "job");
    enum exit_code code = EXIT_FINE;
    for (;;) {
        struct client_reply reply;
        code = look_at_job(call, client, &ask, &reply, &job);
        if (code == EXIT_FINE && (job.state == API_JOB_FAILED || job.state == API_JOB_CANCELLED))
            code = call_fail(call, EXIT_OTHER, "job %" PRIu64 " %s: %.*s", number,
                             job.state == API_JOB_FAILED ? "failed" : "was cancelled",
                             (int)job.text.count, job.text.count > 0 ? job.text.bytes : "");
        if (code == EXIT_FINE)
            say_waits(call, &job, said, sizeof said);
        client_reply_fini(&reply);
        if (code != EXIT_FINE || job.state == API_JOB_DONE)
            break;
        progress_show(&progress, job.permille, 1000);
        (void)poll(NULL, 0, JOB_LOOK_MS);
    }
    progress_end(&progress);
    return code;
}

// ---- the run ----

// What changes something is an operation, which is done once.
static enum exit_code
ask(struct asking *asking, struct client *client, struct encode *params, struct client_reply *reply,
    union method_body *answer)
{
    const struct method *method = asking->method;
    const bool operation = field_of(method->ask, "op_id", 5) != NULL;
    struct client_error error;
    struct client_ask how = {
        .method = wire_text_of(method->name),
        .repeatable = client_reads(method) || operation,
        .impatient = 1,
    };
    if (operation && client_meet(client, &how, &error) != OMEN_OK)
        return remote_fail(asking->call, "", &error);
    if (operation)
        add_uuid(asking, "op_id", client_op_id(client));
    const enum exit_code code = pack_ask(asking, params);
    if (code != EXIT_FINE)
        return code;
    how.params = (struct wire_bytes){params->bytes, (uint32_t)params->count};
    if (client_call(client, &how, reply, &error) != OMEN_OK ||
        client_read_answer(reply, method, answer, &error) != OMEN_OK)
        return remote_fail(asking->call, "", &error);
    return EXIT_FINE;
}

static enum exit_code
ask_and_show(struct asking *asking, struct encode *params)
{
    struct call *call = asking->call;
    const struct method *method = asking->method;
    struct client *client;
    struct client_reply reply = {0};
    union method_body answer;
    enum exit_code code = remote_open(call, &client);
    if (code != EXIT_FINE)
        return code;
    code = ask(asking, client, params, &reply, &answer);
    if (code == EXIT_FINE)
        code = show(call, client, method, &answer);
    if (code == EXIT_FINE)
        code = remote_remarks(call, method->answer, &answer);
    if (code == EXIT_FINE && call->verb->remote->judge != NULL)
        code = call->verb->remote->judge(call, &answer);
    if (code == EXIT_FINE && call->wait) {
        const struct api_started *started = (const void *)&answer;
        code = remote_wait(call, client, started->job);
    }
    client_reply_fini(&reply);
    client_close(client);
    return code;
}

// What would be asked.
static enum exit_code
show_ask(const struct asking *asking, struct encode *params)
{
    const struct call *call = asking->call;
    const struct method *method = asking->method;
    struct doc *doc = NULL;
    const enum exit_code packed = pack_ask(asking, params);
    if (packed != EXIT_FINE)
        return packed;
    if (doc_open(DOC_MAP, &doc) != OMEN_OK)
        return call_fail(call, EXIT_OTHER, "no memory");
    doc_bool(doc, doc_root(doc), "dry_run", true);
    doc_text(doc, doc_root(doc), "method", method->name);
    doc_msgpack(doc, doc_root(doc), "params", params->bytes, params->count);
    const enum exit_code code = call_print(call, doc);
    doc_close(doc);
    return code;
}

static enum exit_code
confirm(const struct call *call)
{
    const char *question = call->verb->remote->question;
    const char *about = call->argument_count > 0 ? call->arguments[0] : "";
    if (question == NULL)
        return EXIT_FINE;
    const int before = (int)strcspn(question, "%");
    const char *after = question[before] == '%' ? question + before + 2 : "";
    return call_confirm(call, "%.*s%s%s", before, question, question[before] == '%' ? about : "",
                        after);
}

enum exit_code
remote_run(struct call *call)
{
    const struct method *method = method_at(call->verb->remote->method);
    struct asking asking = {.call = call, .method = method};
    struct encode params;
    encode_init(&asking.pairs, WIRE_FRAME_BYTES_MAX);
    encode_init(&params, WIRE_FRAME_BYTES_MAX);
    enum exit_code code = make_ask(&asking);
    if (code == EXIT_FINE && call->dry_run && !can_try(method))
        code = show_ask(&asking, &params);
    else if (code == EXIT_FINE && (call->dry_run || (code = confirm(call)) == EXIT_FINE))
        code = ask_and_show(&asking, &params);
    encode_fini(&params);
    encode_fini(&asking.pairs);
    return code;
}
