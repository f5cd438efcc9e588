// node/slow.c -- a line of the log for a request that took long.
//
// Shape: shell.
//
//      event=request.slow method=query.search collection=docs status=OK ms=212 wait_ns=... parts_ns=... answer_ns=... shards=4
//      slowest_us=... rounds=1 evaluations=... exact_distances=... k=10 ef=400
//
// wait: until the loop of the clients took it; parts: until the last copy was heard; answer: to put the answer together.
#include "node/slow.h"

#include <string.h>

#include "base/os_log.h"

static const struct field *
field_of(const struct shape *shape, const char *key, enum field_kind kind)
{
    for (uint32_t i = 0; i < shape->field_count; i++) {
        const struct field *field = &shape->fields[i];
        if (field->key != NULL && field->kind == kind && strcmp(field->key, key) == 0)
            return field;
    }
    return NULL;
}

static void
say_collection(struct log_line *line, const struct front_done *done)
{
    char name[WIRE_NAME_BYTES_MAX + 1];
    struct wire_text said;
    const struct field *field = field_of(done->method->ask, "collection", FIELD_NAME);
    if (field == NULL)
        return;
    memcpy(&said, (const uint8_t *)done->ask + field->at, sizeof said);
    if (said.count == 0 || said.count >= sizeof name)
        return;
    memcpy(name, said.bytes, said.count);
    name[said.count] = '\0';
    log_text(line, "collection", name);
}

static void
say_effort(struct log_line *line, const struct front_done *done)
{
    uint32_t ef;
    const struct field *field = field_of(done->method->ask, "ef", FIELD_U32);
    if (done->evaluations + done->exact_distances > 0) {
        log_number(line, "evaluations", done->evaluations);
        log_number(line, "exact_distances", done->exact_distances);
    }
    if (done->k > 0)
        log_number(line, "k", done->k);
    if (field == NULL)
        return;
    memcpy(&ef, (const uint8_t *)done->ask + field->at, sizeof ef);
    log_number(line, "ef", ef); // 0: the shards' own
}

void
slow_say(const struct front_done *done, uint64_t now_ns)
{
    static struct log_site site;
    struct log_line line;
    if (!log_begin(&line, &site, LOG_LEVEL_WARN, "request.slow"))
        return;
    log_text(&line, "method", done->method->name);
    say_collection(&line, done);
    log_text(&line, "status", status_name(done->status));
    log_number(&line, "ms", (now_ns - done->received_ns) / UINT64_C(1000000));
    log_number(&line, "wait_ns", done->begun_ns - done->received_ns);
    log_number(&line, "parts_ns", done->heard_ns - done->begun_ns);
    log_number(&line, "answer_ns", now_ns - done->heard_ns);
    log_number(&line, "shards", done->parts);
    if (done->slowest_us > 0)
        log_number(&line, "slowest_us", done->slowest_us);
    log_number(&line, "rounds", done->rounds);
    if (done->written > 0)
        log_number(&line, "written", done->written);
    say_effort(&line, done);
    log_end(&line);
}
