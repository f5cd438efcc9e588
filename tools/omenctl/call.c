// tools/omenctl/call.c -- what a verb asks of its call: its options as numbers and words; and what it says, on stdout, on stderr, by its exit code.
//
// Shape: shell.
#include "tools/omenctl/command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "include/omendb.h"
#include "tools/omenctl/remote.h"

const char *const exit_code_texts[EXIT_CODES] = {
    "it went well",
    "another failure",
    "the command line, or what it names, is wrong",
    "there is no such thing",
    "a precondition fails: it exists already, is read-only, or another process writes to it",
    "the cluster cannot be reached",
    "a deadline passed; it may have happened",
    "not allowed",
    "done in part: some rows were refused",
    "degraded",
    "stored bytes are damaged",
    "written in a format that this version does not know",
};

// ---- what a verb asks of its call ----

const char *
call_value(const struct call *call, const char *option)
{
    for (uint32_t i = 0; i < verb_option_count(call->verb); i++)
        if (strcmp(call->verb->options[i].name, option) == 0)
            return call->values[i];
    const bool is_in_table = false;
    ASSERT(is_in_table);
    return NULL;
}

bool
call_has(const struct call *call, const char *option)
{
    return call_value(call, option) != NULL;
}

// Without the option *out stays as it is.
static bool
whole_number(const struct call *call, const char *option, uint64_t min, uint64_t max, uint64_t *out)
{
    const char *text = call_value(call, option);
    char *end = NULL;
    if (text == NULL)
        return true;
    errno = 0;
    const uint64_t value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < min ||
        value > max) {
        (void)call_fail(call, EXIT_USAGE, "--%s is '%s', not a number in %" PRIu64 "..%" PRIu64,
                        option, text, min, max);
        return false;
    }
    *out = value;
    return true;
}

bool
call_u64(const struct call *call, const char *option, uint64_t max, uint64_t *out)
{
    return whole_number(call, option, 0, max, out);
}

bool
call_u32(const struct call *call, const char *option, uint32_t min, uint32_t max, uint32_t *out)
{
    uint64_t value = *out;
    const bool good = whole_number(call, option, min, max, &value);
    *out = (uint32_t)value;
    return good;
}

bool
call_number(const struct call *call, const char *option, double min, double max, double *out)
{
    const char *text = call_value(call, option);
    char *end = NULL;
    if (text == NULL)
        return true;
    const double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= min && value <= max)) {
        (void)call_fail(call, EXIT_USAGE, "--%s is '%s', not a number in %g..%g", option, text, min,
                        max);
        return false;
    }
    *out = value;
    return true;
}

int
call_choice(const struct call *call, const char *option)
{
    const char *text = call_value(call, option);
    if (text == NULL)
        return -1;
    for (uint32_t i = 0; i < verb_option_count(call->verb); i++) {
        if (strcmp(call->verb->options[i].name, option) != 0)
            continue;
        int place = 0;
        for (const char *at = call->verb->options[i].choices; *at != '\0'; place++) {
            const size_t word = strcspn(at, " ");
            if (word == strlen(text) && memcmp(at, text, word) == 0)
                return place;
            at += word + (at[word] == ' ');
        }
    }
    return -1;
}

// ---- saying things ----

enum exit_code
exit_code_of(omen_status status)
{
    switch (status) {
    case OMEN_OK:
        return EXIT_FINE;
    case OMEN_E_NOT_FOUND:
        return EXIT_NOT_FOUND;
    case OMEN_E_TIMEOUT:
    case OMEN_E_OP_EXPIRED:
        return EXIT_TIMEOUT;
    case OMEN_E_AUTH:
        return EXIT_AUTH;
    case OMEN_E_CORRUPT:
        return EXIT_CORRUPT;
    case OMEN_E_VERSION:
    case OMEN_E_METHOD: // of another version than ours
        return EXIT_VERSION;
    case OMEN_E_EXISTS:
    case OMEN_E_LOCKED:
    case OMEN_E_READ_ONLY:
    case OMEN_E_UNSUPPORTED:
    case OMEN_E_CONFLICT:
    case OMEN_E_QUOTA:
    case OMEN_E_ID_KIND:
        return EXIT_PRECONDITION;
    case OMEN_E_INVALID:
    case OMEN_E_DIMENSION:
    case OMEN_E_NOT_FINITE:
    case OMEN_E_ZERO_VECTOR:
    case OMEN_E_DUPLICATE_ID:
    case OMEN_E_ID_RANGE:
    case OMEN_E_ID_LENGTH:
    case OMEN_E_K:
    case OMEN_E_DTYPE:
    case OMEN_E_FILTER:
    case OMEN_E_FIELD_TYPE:
    case OMEN_E_PAYLOAD:
        return EXIT_USAGE;
    default:
        return EXIT_OTHER;
    }
}

static void
say_name(const struct call *call)
{
    fputs("omenctl", call->talk);
    if (call->noun != NULL)
        fprintf(call->talk, " %s", call->noun->name);
    if (call->verb != NULL && call->verb->name != NULL)
        fprintf(call->talk, " %s", call->verb->name);
    fputs(": ", call->talk);
}

enum exit_code
call_fail(const struct call *call, enum exit_code code, const char *format, ...)
{
    va_list arguments;
    say_name(call);
    va_start(arguments, format);
    vfprintf(call->talk, format, arguments);
    va_end(arguments);
    fputc('\n', call->talk);
    return code;
}

// Names what it is about, unless what is said begins with it already.
static enum exit_code
fail_with(const struct call *call, const char *what, omen_status status, const char *said)
{
    const size_t length = strlen(what);
    if (said[0] == '\0')
        said = omen_strerror(status);
    if (length > 0 && strncmp(said, what, length) == 0 &&
        (said[length] == ':' || said[length] == '/'))
        return call_fail(call, exit_code_of(status), "%s", said);
    return call_fail(call, exit_code_of(status), "%s: %s", what, said);
}

enum exit_code
call_fail_status(const struct call *call, const char *what, omen_status status)
{
    return fail_with(call, what, status, omen_error_message());
}

enum exit_code
call_fail_error(const struct call *call, const char *what, const struct omen_error *error)
{
    return fail_with(call, what, error->status, error->text);
}

void
call_talk(const struct call *call, const char *format, ...)
{
    va_list arguments;
    if (call->quiet)
        return;
    va_start(arguments, format);
    vfprintf(call->talk, format, arguments);
    va_end(arguments);
    fputc('\n', call->talk);
}

enum exit_code
call_replace_file(const struct call *call, const char *path, const char *bytes, size_t count,
                  bool secret)
{
    const size_t room = strlen(path) + sizeof ".new";
    char *next = mem_alloc(room);
    if (next == NULL)
        return call_fail(call, EXIT_OTHER, "no memory");
    snprintf(next, room, "%s.new", path);
    const mode_t before = secret ? umask(077) : 0;
    FILE *file = fopen(next, "we");
    if (secret)
        (void)umask(before);
    bool is_good = file != NULL && fwrite(bytes, 1, count, file) == count;
    is_good = file != NULL && fclose(file) == 0 && is_good;
    is_good = is_good && rename(next, path) == 0;
    const int failed = errno;
    mem_free(next);
    return is_good ? EXIT_FINE : call_fail(call, EXIT_OTHER, "%s: %s", path, strerror(failed));
}

enum exit_code
call_print(const struct call *call, const struct doc *doc)
{
    if (doc_print(doc, call->format, call->out) != OMEN_OK)
        return call_fail(call, EXIT_OTHER, "no memory for the answer");
    return EXIT_FINE;
}

enum exit_code
call_confirm(const struct call *call, const char *question, ...)
{
    char answer[16] = "";
    va_list arguments;
    if (call->yes)
        return EXIT_FINE;
    if (!isatty(STDIN_FILENO))
        return call_fail(call, EXIT_USAGE,
                         "this changes data, and there is no terminal to ask on: say --yes");
    va_start(arguments, question);
    vfprintf(call->talk, question, arguments);
    va_end(arguments);
    fputs(" [y/N] ", call->talk);
    fflush(call->talk);
    if (fgets(answer, sizeof answer, stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y'))
        return EXIT_FINE;
    return call_fail(call, EXIT_OTHER, "nothing was changed");
}
