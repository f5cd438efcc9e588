// tools/omenctl/sample.c -- what a node's metrics say of how busy it is.
//
// Shape: value.
#include "tools/omenctl/sample.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define LABELS_MAX 8u
#define NUMBER_BYTES_MAX 40u

struct piece {
    const char *bytes;
    size_t count;
};

// One line: name{label="value",...} number
struct line {
    struct piece name;
    struct {
        struct piece name, value;
    } labels[LABELS_MAX];
    uint32_t label_count;
    double value;
};

static bool
is(struct piece piece, const char *text)
{
    return piece.count == strlen(text) && memcmp(piece.bytes, text, piece.count) == 0;
}

// Of the line's rest; false where there is none.
static bool
read_number(struct piece rest, double *out)
{
    char text[NUMBER_BYTES_MAX];
    char *end;
    if (rest.count == 0 || rest.count >= sizeof text)
        return false;
    memcpy(text, rest.bytes, rest.count);
    text[rest.count] = '\0';
    *out = strtod(text, &end);
    return end != text && *end == '\0' && !isnan(*out);
}

static size_t
find(struct piece in, size_t from, char wanted)
{
    const char *at = from < in.count ? memchr(in.bytes + from, wanted, in.count - from) : NULL;
    return at != NULL ? (size_t)(at - in.bytes) : in.count;
}

// Behind the '{'; where the labels end, or in.count. Values are taken as they stand: what is looked for has nothing to escape, but a
// '"' that is escaped ends no value.
static size_t
read_labels(struct piece in, size_t at, struct line *line)
{
    while (at < in.count && in.bytes[at] != '}') {
        const size_t equals = find(in, at, '=');
        size_t end = equals + 2;
        if (end > in.count || in.bytes[equals + 1] != '"')
            return in.count;
        while (end < in.count && in.bytes[end] != '"')
            end += in.bytes[end] == '\\' ? 2 : 1;
        if (end >= in.count)
            return in.count;
        if (line->label_count < LABELS_MAX) {
            line->labels[line->label_count].name = (struct piece){in.bytes + at, equals - at};
            line->labels[line->label_count++].value =
                (struct piece){in.bytes + equals + 2, end - equals - 2};
        }
        at = end + 1;
        at += at < in.count && in.bytes[at] == ',';
    }
    return at;
}

static bool
read_line(struct piece in, struct line *out)
{
    size_t at = 0;
    *out = (struct line){.name = {in.bytes, 0}};
    while (at < in.count && in.bytes[at] != '{' && in.bytes[at] != ' ')
        at++;
    out->name.count = at;
    if (at == 0 || in.bytes[0] == '#')
        return false;
    if (at < in.count && in.bytes[at] == '{')
        at = read_labels(in, at + 1, out) + 1;
    return at < in.count && in.bytes[at] == ' ' &&
           read_number((struct piece){in.bytes + at + 1, in.count - at - 1}, &out->value);
}

// No such label: a piece without bytes.
static struct piece
label(const struct line *line, const char *name)
{
    for (uint32_t i = 0; i < line->label_count; i++)
        if (is(line->labels[i].name, name))
            return line->labels[i].value;
    return (struct piece){"", 0};
}

static void
add_bucket(struct sample *sample, const struct line *line)
{
    double seconds;
    uint32_t at = 0;
    if (!read_number(label(line, "le"), &seconds))
        return;
    while (at < sample->bucket_count && sample->buckets[at].seconds < seconds)
        at++;
    if (at < sample->bucket_count && !(sample->buckets[at].seconds > seconds)) {
        sample->buckets[at].count += line->value;
        return;
    }
    if (sample->bucket_count == SAMPLE_BUCKETS_MAX)
        return;
    memmove(&sample->buckets[at + 1], &sample->buckets[at],
            (sample->bucket_count - at) * sizeof sample->buckets[0]);
    sample->buckets[at].seconds = seconds;
    sample->buckets[at].count = line->value;
    sample->bucket_count++;
}

static void
take(struct sample *sample, const struct line *line)
{
    const struct piece method = label(line, "method"), name = line->name;
    const bool looks = method.count > 7 && memcmp(method.bytes, "system.", 7) == 0;
    if (is(name, "omen_requests_total") && !looks) {
        sample->requests += line->value;
        sample->failed += is(label(line, "status"), "OK") ? 0 : line->value;
    } else if (is(name, "omen_request_seconds_bucket") && !looks) {
        add_bucket(sample, line);
    } else if (is(name, "omen_requests_under_way")) {
        sample->in_flight += line->value;
    } else if (is(name, "omen_copies")) {
        const struct piece role = label(line, "role");
        sample->copies += is(role, "primary") || is(role, "backup") ? line->value : 0;
    } else if (is(name, "omen_shard_lag_entries") || is(name, "omen_shard_peer_lag_entries")) {
        sample->lag = line->value > sample->lag ? line->value : sample->lag;
    } else if (is(name, "process_resident_memory_bytes")) {
        sample->memory_bytes = line->value;
    } else if (is(name, "omen_uptime_seconds")) {
        sample->uptime_seconds = line->value;
    }
}

void
sample_read(const char *text, size_t bytes, struct sample *out)
{
    const struct piece all = {text, bytes};
    *out = (struct sample){0};
    for (size_t at = 0; at < bytes;) {
        const size_t end = find(all, at, '\n');
        struct line line;
        if (read_line((struct piece){text + at, end - at}, &line))
            take(out, &line);
        at = end + 1;
    }
    // Who looks has one request under way, whose answer this is.
    out->in_flight -= out->in_flight > 0;
}

// ---- between two ----

// How many requests took as long as bucket `at` says, or less, since then.
static double
since(const struct sample *before, const struct sample *after, uint32_t at)
{
    const double seconds = after->buckets[at].seconds;
    for (uint32_t i = 0; i < before->bucket_count; i++)
        if (!(before->buckets[i].seconds < seconds) && !(before->buckets[i].seconds > seconds))
            return after->buckets[at].count - before->buckets[i].count;
    return after->buckets[at].count;
}

// Within a bucket as if they were spread evenly, as Prometheus has it; in the last, its beginning.
static double
quantile_ms(const struct sample *before, const struct sample *after, double share)
{
    const uint32_t count = after->bucket_count;
    const double all = count > 0 ? since(before, after, count - 1) : 0;
    double below = 0, from = 0;
    if (!(all > 0))
        return -1;
    for (uint32_t i = 0; i < count; i++) {
        const double here = since(before, after, i), to = after->buckets[i].seconds;
        if (here >= share * all && here > below) {
            if (isinf(to))
                return from * 1e3;
            return (from + (to - from) * (share * all - below) / (here - below)) * 1e3;
        }
        below = here;
        from = to;
    }
    return from * 1e3;
}

void
sample_rates_of(const struct sample *before, const struct sample *after, double seconds,
                struct sample_rates *out)
{
    static const struct sample none;
    const struct sample *from =
        after->uptime_seconds < before->uptime_seconds || after->requests < before->requests
            ? &none
            : before;
    *out = (struct sample_rates){.p50_ms = quantile_ms(from, after, 0.5),
                                 .p99_ms = quantile_ms(from, after, 0.99)};
    if (!(seconds > 0))
        return;
    out->qps = (after->requests - from->requests) / seconds;
    out->failed_per_second = (after->failed - from->failed) / seconds;
}
