// base/os_log.c -- what a daemon says to its operator: one structured line (logfmt) each, on stderr.
//
// Shape: shell.
#include "base/os_log.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/os_clock.h"

static const char *const names[] = {"error", "warn", "info", "debug"};
static _Atomic uint32_t level_most = LOG_LEVEL_INFO;
static _Atomic int descriptor = 2;

void
log_level_set(enum log_level level)
{
    ASSERT(level < LOG_LEVELS);
    atomic_store(&level_most, (uint32_t)level);
}

bool
log_level_named(const char *name, enum log_level *level)
{
    for (uint32_t i = 0; i < LOG_LEVELS; i++) {
        if (strcmp(name, names[i]) != 0)
            continue;
        *level = (enum log_level)i;
        return true;
    }
    return false;
}

void
log_to(int to)
{
    atomic_store(&descriptor, to);
}

// Two threads at a second's turn may let a few more pass.
static bool
passes(struct log_site *site)
{
    const uint64_t second = os_clock_ns() / 1000000000;
    if (atomic_exchange(&site->second, second) != second)
        atomic_store(&site->said, 0);
    if (atomic_fetch_add(&site->said, 1) < LOG_BURST)
        return true;
    atomic_fetch_add(&site->kept, 1);
    return false;
}

bool
log_begin(struct log_line *line, struct log_site *site, enum log_level level, const char *event)
{
    if ((uint32_t)level > atomic_load(&level_most) || (site != NULL && !passes(site)))
        return false;
    const uint64_t ms = os_ms_since_1970();
    const time_t seconds = (time_t)(ms / 1000);
    struct tm date;
    gmtime_r(&seconds, &date);
    text_init(&line->text, line->bytes, sizeof line->bytes - 1); // and a newline
    text_add(&line->text, "time=%04d-%02d-%02dT%02d:%02d:%02d.%03uZ level=%s event=%s",
             date.tm_year + 1900, date.tm_mon + 1, date.tm_mday, date.tm_hour, date.tm_min,
             date.tm_sec, (unsigned)(ms % 1000), names[level], event);
    const uint32_t kept = site != NULL ? atomic_exchange(&site->kept, 0) : 0;
    if (kept > 0)
        log_number(line, "suppressed", kept);
    return true;
}

static bool
needs_quotes(const char *text)
{
    for (const char *at = text; *at != '\0'; at++)
        if ((unsigned char)*at <= ' ' || *at == '"' || *at == '=' || *at == '\\' || *at == 0x7f)
            return true;
    return *text == '\0';
}

void
log_text(struct log_line *line, const char *key, const char *text)
{
    text_add(&line->text, " %s=", key);
    if (!needs_quotes(text)) {
        text_add_bytes(&line->text, text, strlen(text));
        return;
    }
    text_add(&line->text, "\"");
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\')
            text_add(&line->text, "\\%c", *at);
        else if ((unsigned char)*at < ' ' || *at == 0x7f)
            text_add(&line->text, "\\x%02x", (unsigned char)*at);
        else
            text_add_bytes(&line->text, at, 1);
    }
    text_add(&line->text, "\"");
}

void
log_number(struct log_line *line, const char *key, uint64_t value)
{
    text_add(&line->text, " %s=%" PRIu64, key, value);
}

void
log_uuid(struct log_line *line, const char *key, uint64_t high, uint64_t low)
{
    text_add(&line->text, " %s=%08" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%012" PRIx64,
             key, high >> 32, high >> 16 & 0xffff, high & 0xffff, low >> 48,
             low & UINT64_C(0xffffffffffff));
}

void
log_end(struct log_line *line)
{
    line->bytes[line->text.length] = '\n';
    // There is nobody to tell that the log cannot be written.
    const ssize_t written = write(atomic_load(&descriptor), line->bytes, line->text.length + 1);
    (void)written;
}

void
log_say(enum log_level level, const char *event, const char *key, const char *text)
{
    struct log_line line;
    if (!log_begin(&line, NULL, level, event))
        return;
    log_text(&line, key, text);
    log_end(&line);
}
