// node/hosts_say.c -- what happens to copies, for the operator: a line of the log each.
//
// Shape: shell.
#include "base/os_log.h"
#include "node/hosts_int.h"

static bool
begin(struct log_line *line, struct log_site *site, enum log_level level, const char *event,
      const struct host_copy *copy)
{
    if (!log_begin(line, site, level, event))
        return false;
    log_number(line, "shard", copy->shard);
    log_uuid(line, "copy", copy->uuid.high, copy->uuid.low);
    return true;
}

void
host_say(const struct host_copy *copy, const char *event, const char *key, uint64_t number)
{
    static struct log_site site;
    struct log_line line;
    if (!begin(&line, &site, LOG_LEVEL_INFO, event, copy))
        return;
    log_number(&line, key, number);
    log_end(&line);
}

void
host_say_error(const struct host_copy *copy, const char *event, omen_status status,
               const struct omen_error *error)
{
    static struct log_site site;
    struct log_line line;
    if (!begin(&line, &site, LOG_LEVEL_WARN, event, copy))
        return;
    log_text(&line, "status", status_name(status));
    if (error->text[0] != '\0')
        log_text(&line, "why", error->text);
    log_end(&line);
}

void
host_say_note(const struct host_copy *copy, const struct replica_note *note)
{
    static const struct {
        const char *event;
        enum log_level level;
    } kinds[] = {
        [REPLICA_NOTE_OPEN] = {"copy.leads", LOG_LEVEL_INFO},
        [REPLICA_NOTE_STEPPED_DOWN] = {"copy.stepped_down", LOG_LEVEL_INFO},
        [REPLICA_NOTE_NEEDS_TERM] = {"copy.needs_term", LOG_LEVEL_INFO},
        [REPLICA_NOTE_WANT_META] = {"copy.wants_map", LOG_LEVEL_DEBUG},
        [REPLICA_NOTE_CONFLICT] = {"copy.conflict", LOG_LEVEL_ERROR},
        [REPLICA_NOTE_DIVERGED] = {"copy.diverged", LOG_LEVEL_ERROR},
        [REPLICA_NOTE_HALTED] = {"copy.halted", LOG_LEVEL_ERROR},
        [REPLICA_NOTE_CORRUPT] = {"copy.corrupt", LOG_LEVEL_ERROR},
        [REPLICA_NOTE_HALVES] = {"copy.halves_differ", LOG_LEVEL_ERROR},
        [REPLICA_NOTE_BELOW_MIN] = {"copy.below_min", LOG_LEVEL_WARN},
        [REPLICA_NOTE_BAD_CHUNK] = {"copy.bad_chunk", LOG_LEVEL_WARN},
        [REPLICA_NOTE_NO_MEMORY] = {"copy.no_memory", LOG_LEVEL_WARN},
    };
    static struct log_site sites[REPLICA_NOTE_NO_MEMORY + 1];
    struct log_line line;
    if (!begin(&line, &sites[note->kind], kinds[note->kind].level, kinds[note->kind].event, copy))
        return;
    log_uuid(&line, "about", note->uuid.high, note->uuid.low);
    log_number(&line, "number", note->number);
    log_end(&line);
}
