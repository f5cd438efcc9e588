// tools/omenctl/resume.c -- an import's --resume: where the note says that it begins, and the note while it goes on.
//
// Shape: shell.
//
// What makes an import another one: the cluster, the collection (one that was dropped and made again has another number), the files with
// their sizes and times, and how rows of them become points. Not how many rows a request has, nor where it ends.
#include "tools/omenctl/resume.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void
add_file(struct note *note, const char *key, const char *path)
{
    struct stat about = {0};
    char *whole = path != NULL ? realpath(path, NULL) : NULL; // libc's own memory
    note_add(note, key, "%s", whole != NULL ? whole : path != NULL ? path : "none");
    free(whole);
    if (path == NULL || stat(path, &about) != 0)
        return;
    char what[64];
    snprintf(what, sizeof what, "bytes of the %s", key);
    note_add(note, what, "%jd", (intmax_t)about.st_size);
    snprintf(what, sizeof what, "last change of the %s", key);
    note_add(note, what, "%jd.%09ld", (intmax_t)about.st_mtim.tv_sec, about.st_mtim.tv_nsec);
}

static const char *
or_default(const struct call *call, const char *option, const char *value)
{
    return call_has(call, option) ? call_value(call, option) : value;
}

static enum exit_code
describe(const struct call *call, struct client *client, const struct convert *convert,
         const struct api_collection *collection, struct note *note)
{
    static const struct api_nothing nothing;
    struct api_cluster_info info = {0};
    struct client_reply reply = {0};
    const enum exit_code code =
        remote_ask(call, client, METHOD_CLUSTER_INFO, &nothing, &reply, &info);
    note_init(note);
    if (code == EXIT_FINE)
        note_add(note, "cluster", "%.*s", (int)info.cluster.count, info.cluster.bytes);
    client_reply_fini(&reply);
    note_add(note, "collection", "%.*s", (int)collection->name.count, collection->name.bytes);
    note_add(note, "number of the collection", "%" PRIu64, collection->id);
    add_file(note, "input", call->arguments[1]);
    note_add(note, "format", "%s", rows_format_names[convert->source.rows.format]);
    add_file(note, "ids", call_value(call, "ids"));
    note_add(note, "id-kind", "%s", or_default(call, "id-kind", "auto"));
    note_add(note, "first-id", "%" PRIu64, convert->first_id);
    add_file(note, "payloads", call_value(call, "payloads"));
    note_add(note, "mode", "%s", or_default(call, "mode", "upsert"));
    return code;
}

// One that is not there yet says nothing.
static enum exit_code
read_note(const struct call *call, struct resume *resume)
{
    const char *path = call_value(call, "resume");
    struct buffer said = {0};
    struct omen_error error = {0};
    omen_status status = source_read_all(path, NOTE_BYTES_MAX, &said, &error);
    if (status == OMEN_E_NOT_FOUND)
        return EXIT_FINE;
    if (status == OMEN_OK && buffer_add(&said, "", 1) != OMEN_OK)
        status = error_set_plain(&error, OMEN_E_NO_MEMORY);
    if (status == OMEN_OK)
        status = note_read(&resume->note, (const char *)said.bytes, &resume->rows, &error);
    buffer_fini(&said);
    resume->found = status == OMEN_OK;
    return status == OMEN_OK ? EXIT_FINE : call_fail_error(call, path, &error);
}

enum exit_code
resume_open(const struct call *call, struct client *client, const struct convert *convert,
            const struct api_collection *collection, struct resume *resume)
{
    if (!call_has(call, "resume"))
        return EXIT_FINE;
    if (strcmp(call_value(call, "resume"), "-") == 0)
        return call_fail(call, EXIT_USAGE, "--resume is a file's name, not stdin");
    const enum exit_code code = describe(call, client, convert, collection, &resume->note);
    return code == EXIT_FINE ? read_note(call, resume) : code;
}

enum exit_code
resume_note(const struct resume *resume, const struct call *call, uint64_t rows)
{
    const char *path = call_value(call, "resume");
    char bytes[NOTE_BYTES_MAX + 64];
    struct text text;
    if (path == NULL)
        return EXIT_FINE;
    text_init(&text, bytes, sizeof bytes);
    note_write(&resume->note, rows, &text);
    return call_replace_file(call, path, bytes, text.length, false);
}
