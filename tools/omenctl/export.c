// tools/omenctl/export.c -- omenctl export: the points of a collection as NDJSON, which import reads.
//
// Shape: shell.
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/limits.h"
#include "tools/omenctl/answer.h"
#include "tools/omenctl/interrupt.h"
#include "tools/omenctl/progress.h"
#include "tools/omenctl/remote.h"

#define CURSOR_BYTES_MAX 1024u

const struct option_spec export_options[] = {
    {.name = "filter",
     .argument = "TEXT",
     .help = "only points that match: \"age >= 30 and city == 'Oslo'\""},
    {.name = "batch", .argument = "N", .help = "points of a request, 1..10000 (1000)"},
    {.name = "limit", .argument = "N", .help = "end after N points"},
    {.name = "consistency",
     .argument = "KIND",
     .choices = "eventual strong",
     .help = "eventual, or strong: with all that was written before (strong)"},
    {0},
};

struct export
{
    struct call *call;
    struct client *client;
    FILE *out;
    const char *name; // of it, for messages
    struct api_point_scroll ask;
    char cursor[CURSOR_BYTES_MAX];
    uint64_t written, limit;
};

// A line as record.h has it.
static enum exit_code
write_point(struct export *export, const struct api_point *point)
{
    struct doc *doc = NULL;
    if (doc_open(DOC_MAP, &doc) != OMEN_OK)
        return call_fail(export->call, EXIT_OTHER, "no memory");
    struct doc_node *root = doc_root(doc);
    if (point->id.text_bytes > 0)
        doc_text_bytes(doc, root, "id", point->id.text, point->id.text_bytes);
    else
        doc_uint(doc, root, "id", point->id.number);
    answer_vector(doc, root, "vector", &point->vector);
    if (point->payload.count > 0)
        doc_msgpack(doc, root, "payload", point->payload.bytes, point->payload.count);
    const omen_status status = doc_print(doc, DOC_AS_NDJSON, export->out);
    doc_close(doc);
    if (status != OMEN_OK)
        return call_fail(export->call, EXIT_OTHER, "no memory");
    if (ferror(export->out) != 0)
        return call_fail(export->call, EXIT_OTHER, "%s: %s", export->name, strerror(errno));
    export->written++;
    return EXIT_FINE;
}

// One page; *more says whether another follows.
static enum exit_code
write_page(struct export *export, bool *more)
{
    const uint64_t left = export->limit - export->written;
    struct client_reply reply = {0};
    struct api_page page = {.token = {0}};
    struct list_cursor cursor;
    struct api_point point;
    *more = false;
    if (left < export->ask.limit)
        export->ask.limit = (uint32_t)left;
    enum exit_code code =
        remote_ask(export->call, export->client, METHOD_POINT_SCROLL, &export->ask, &reply, &page);
    list_begin(&cursor, shape_field(&api_page, "points"), &page.points);
    while (code == EXIT_FINE && list_next(&cursor, &point))
        code = write_point(export, &point);
    if (code == EXIT_FINE && page.cursor.count > 0 && page.cursor.count <= CURSOR_BYTES_MAX) {
        memcpy(export->cursor, page.cursor.bytes, page.cursor.count);
        export->ask.cursor = (struct wire_text){export->cursor, page.cursor.count};
        *more = export->written < export->limit;
    }
    client_reply_fini(&reply);
    return code;
}

static enum exit_code
write_all(struct export *export)
{
    const struct api_point_count ask = {.collection = export->ask.collection,
                                        .deadline_ms = export->ask.deadline_ms,
                                        .consistency = export->ask.consistency,
                                        .filter = export->ask.filter};
    struct client_reply reply = {0};
    struct api_count count = {.count = 0};
    struct progress progress;
    bool more = true;
    enum exit_code code =
        remote_ask(export->call, export->client, METHOD_POINT_COUNT, &ask, &reply, &count);
    client_reply_fini(&reply);
    progress_init(&progress, export->call, "exporting");
    while (code == EXIT_FINE && more && !interrupt_came()) {
        code = write_page(export, &more);
        progress_show(&progress, export->written,
                      count.count > export->written ? count.count : export->written);
    }
    progress_end(&progress);
    if (code == EXIT_FINE && more)
        code = call_fail(export->call, EXIT_OTHER, "interrupted");
    return code;
}

static enum exit_code
read_options(struct export *export)
{
    struct call *call = export->call;
    const char *filter = call_value(call, "filter");
    struct api_point_scroll *ask = &export->ask;
    ask->collection = wire_text_of(call->arguments[0]);
    ask->limit = 1000;
    ask->with = API_WITH_VECTOR | API_WITH_PAYLOAD;
    ask->consistency = call_choice(call, "consistency") == 0 ? API_EVENTUAL : API_STRONG;
    export->limit = UINT64_MAX;
    if (filter != NULL)
        ask->filter = (struct wire_filter){FILTER_FORM_TEXT,
                                           {(const uint8_t *)filter, (uint32_t)strlen(filter)}};
    if (!call_u32(call, "batch", 1, WIRE_BATCH_MAX, &ask->limit) ||
        !call_u64(call, "limit", UINT64_MAX, &export->limit))
        return EXIT_USAGE;
    if (export->limit == 0)
        return call_fail(call, EXIT_USAGE, "--limit is 0");
    return remote_timeout(call, &ask->deadline_ms);
}

static enum exit_code
open_output(struct export *export)
{
    const struct call *call = export->call;
    export->name = call->argument_count > 1 ? call->arguments[1] : "-";
    if (strcmp(export->name, "-") == 0) {
        export->out = call->out;
        export->name = "stdout";
        return EXIT_FINE;
    }
    export->out = fopen(export->name, "wxe"); // what is there is not written over
    if (export->out == NULL)
        return call_fail(call, errno == EEXIST ? EXIT_PRECONDITION : EXIT_USAGE, "%s: %s",
                         export->name, strerror(errno));
    return EXIT_FINE;
}

enum exit_code
export_run(struct call *call)
{
    struct export export = {.call = call};
    enum exit_code code = read_options(&export);
    if (code == EXIT_FINE)
        code = remote_open(call, &export.client);
    if (code == EXIT_FINE)
        code = open_output(&export);
    if (code == EXIT_FINE) {
        interrupt_watch();
        code = write_all(&export);
    }
    if (export.out != NULL && export.out != call->out && fclose(export.out) != 0 &&
        code == EXIT_FINE)
        code = call_fail(call, EXIT_OTHER, "%s: %s", export.name, strerror(errno));
    if (export.out != NULL && export.out != call->out && export.written == 0 && code != EXIT_FINE)
        (void)remove(export.name); // so that the same command can be given again
    if (export.out != NULL && (code == EXIT_FINE || export.written > 0))
        call_talk(call, "%" PRIu64 " points are written", export.written);
    client_close(export.client);
    return code;
}
