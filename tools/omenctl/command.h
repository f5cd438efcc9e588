// tools/omenctl/command.h -- the command line as a table: what is parsed, helped with, completed and run is said once.
//
// Shape: value. A noun's file has its table of verbs; command.c lists the nouns. A new noun is a file and a line.
#ifndef OMEN_TOOLS_OMENCTL_COMMAND_H
#define OMEN_TOOLS_OMENCTL_COMMAND_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "tools/omenctl/contexts.h"
#include "tools/omenctl/doc.h"

// How omenctl ends. Scripts hold on to the numbers: append, never renumber.
enum exit_code {
    EXIT_FINE = 0,
    EXIT_OTHER = 1,
    EXIT_USAGE = 2,
    EXIT_NOT_FOUND = 3,
    EXIT_PRECONDITION = 4,
    EXIT_UNREACHABLE = 5,
    EXIT_TIMEOUT = 6, // the outcome is not known
    EXIT_AUTH = 7,
    EXIT_PARTIAL = 8,
    EXIT_DEGRADED = 9,
    EXIT_CORRUPT = 10,
    EXIT_VERSION = 11,
    EXIT_CODES
};
extern const char *const exit_code_texts[EXIT_CODES]; // for the help and the manual
enum exit_code exit_code_of(omen_status status);

struct option_spec {
    const char *name;     // the long one, without its dashes
    char letter;          // 0: none
    bool is_path;         // completes to file names
    bool is_own;          // the verb's own: no key of the method that it asks
    const char *argument; // its name in the help; NULL: a switch
    const char *choices;  // NULL, or the words allowed, with a blank between
    const char *help;
};

enum verb_kind {
    VERB_READS,   // changes nothing
    VERB_CHANGES, // has --yes and --dry-run
    VERB_MAKES,   // makes something new: --dry-run alone
};

struct call;
typedef enum exit_code verb_run(struct call *call);

struct verb {
    const char *name;      // NULL: the noun is a command by itself
    const char *arguments; // as in the synopsis: "PATH DEST"
    uint32_t arguments_min, arguments_max;
    const char *argument_choices; // NULL, or the words that the first argument may be
    enum verb_kind kind;
    const char *summary;               // one line, no full stop
    const char *details;               // paragraphs, NULL: nothing more to say
    const struct option_spec *options; // ended by one without a name; NULL: none
    const struct remote *remote;       // of a cluster: remote.h; NULL: it asks nobody
    verb_run *run;
};

struct noun {
    const char *name;
    const char *summary;
    const struct verb *verbs;
    uint32_t verb_count;
};

extern const struct noun *const nouns[];
extern const uint32_t noun_count;
extern const struct noun noun_file; // tools/omenctl/file.c

// Options of every verb; those from COMMON_ENDPOINTS on of verbs that ask a cluster, those from COMMON_DRY_RUN on of some kinds.
enum {
    COMMON_OUTPUT,
    COMMON_QUIET,
    COMMON_HELP,
    COMMON_VERSION, // before a noun alone
    COMMON_ENDPOINTS,
    COMMON_CONTEXT,
    COMMON_API_KEY,
    COMMON_API_KEY_FILE,
    COMMON_TIMEOUT,
    COMMON_DRY_RUN,
    COMMON_YES,
    COMMON_WAIT,
    COMMON_COUNT
};
extern const struct option_spec common_options[COMMON_COUNT];
bool common_applies(uint32_t option, const struct verb *verb);
uint32_t verb_option_count(const struct verb *verb);

// One command line, parsed.
#define CALL_OPTIONS_MAX 32u
struct call {
    const struct noun *noun;
    const struct verb *verb;
    char **arguments; // borrowed from argv
    uint32_t argument_count;
    const char *values[CALL_OPTIONS_MAX]; // by place in the verb's options; a switch has ""
    enum doc_format format;
    bool quiet, yes, dry_run, wait;
    bool wants_help, wants_version;
    const char *endpoints, *api_key, *api_key_file,
        *timeout;          // NULL: the environment, else the context, else what help says
    const char *context;   // its name, as given; NULL: the environment, else the current one
    struct context chosen; // context.c: what is not said otherwise; without a name: none
    FILE *out, *talk;
};

// Parses and runs; argv may be reordered. The exit code.
enum exit_code command_main(int argc, char **argv);

// NULL when there is none of that name.
const struct noun *noun_find(const char *name);
const struct verb *verb_find(const struct noun *noun, const char *name);

// The value of an option of this verb, NULL when it was not given.
const char *call_value(const struct call *call, const char *option);
bool call_has(const struct call *call, const char *option);
// Numbers; *out stays as it is when the option was not given. False, and said, when the text is not in min..max.
bool call_u32(const struct call *call, const char *option, uint32_t min, uint32_t max,
              uint32_t *out);
bool call_u64(const struct call *call, const char *option, uint64_t max, uint64_t *out);
bool call_number(const struct call *call, const char *option, double min, double max, double *out);
// The place of the option's value among its choices, 0, 1, ...; -1 when it was not given.
int call_choice(const struct call *call, const char *option);

// What was given before or behind the noun, or the variable of the environment, which may be NULL; an empty one counts as none.
const char *call_setting(const char *given, const char *variable);

// Says "omenctl noun verb: ..." and returns `code`.
__attribute__((format(printf, 3, 4))) enum exit_code
call_fail(const struct call *call, enum exit_code code, const char *format, ...);
// The same with what the library said last, or what *error says.
enum exit_code call_fail_status(const struct call *call, const char *what, omen_status status);
enum exit_code call_fail_error(const struct call *call, const char *what,
                               const struct omen_error *error);
// A file in the place of the one that is there, if one is, at once: half of it is never to be seen. `secret`: its owner's alone. EXIT_OTHER,
// and what is wrong was said.
enum exit_code call_replace_file(const struct call *call, const char *path, const char *bytes,
                                 size_t count, bool secret);
// A line for people, unless they want quiet.
__attribute__((format(printf, 2, 3))) void call_talk(const struct call *call, const char *format,
                                                     ...);
// Prints the document as -o has it. EXIT_OTHER, and said, when memory or stdout fails.
enum exit_code call_print(const struct call *call, const struct doc *doc);
// Asks on the terminal, unless --yes was given. EXIT_FINE: go on.
__attribute__((format(printf, 2, 3))) enum exit_code call_confirm(const struct call *call,
                                                                  const char *question, ...);

// context.c: finds the context that the call is about, where something of it is wanted.
enum exit_code context_choose(struct call *call);

// help.c and completion.c: from the table, to `out`.
void help_all(FILE *out);
void help_noun(FILE *out, const struct noun *noun);
void help_verb(FILE *out, const struct noun *noun, const struct verb *verb);
void help_manual(FILE *out); // roff
void completion_bash(FILE *out);
void completion_zsh(FILE *out);
void completion_fish(FILE *out);

#endif
