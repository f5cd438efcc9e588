// base/os_log.h -- what a daemon says to its operator: one structured line (logfmt) each, on stderr.
//
// Shape:   shell.
// Threads: any; a line is one write, so lines of two threads do not mix.
//
//      time=2026-11-26T18:40:00.123Z level=warn event=disk.slow ms=812 copy=0190...
//
// Each place in the program that may say something often has a log_site: LOG_BURST lines a second pass, the rest is counted, and
// the next line that passes says how many were not (suppressed=). So whoever floods a node does not flood its log, and nothing
// is silent.
#ifndef OMEN_BASE_OS_LOG_H
#define OMEN_BASE_OS_LOG_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

#define LOG_BURST 10u
#define LOG_LINE_BYTES 1024u // what is longer is cut, and shows it

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVELS };

// Zeroed at first: `static struct log_site site;`
struct log_site {
    _Atomic uint64_t second;
    _Atomic uint32_t said; // in that second
    _Atomic uint32_t kept; // since the last line that passed
};

struct log_line {
    struct text text;
    char bytes[LOG_LINE_BYTES];
};

// What is below is not said. At first LOG_LEVEL_INFO.
void log_level_set(enum log_level level);
// By its name ("warn"); false: there is none of that name.
bool log_level_named(const char *name, enum log_level *level);
// Where lines go; at first 2, stderr.
void log_to(int descriptor);

// False: this one is not said, by its level or by the site's rate (site NULL: no limit); then nothing else may be called. The
// event is a name of ours: "meta.leader".
bool log_begin(struct log_line *line, struct log_site *site, enum log_level level,
               const char *event);
// Keys are ours; texts are quoted where they need it, and may be anything.
void log_text(struct log_line *line, const char *key, const char *text);
void log_number(struct log_line *line, const char *key, uint64_t value);
void log_uuid(struct log_line *line, const char *key, uint64_t high, uint64_t low);
void log_end(struct log_line *line);

// A line of one text at once: log_say(LOG_LEVEL_ERROR, "disk.failed", "why", text).
void log_say(enum log_level level, const char *event, const char *key, const char *text);

#endif
