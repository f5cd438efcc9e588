// tools/omenctl/command.c -- from argv to a verb that runs.
//
// Shape: shell.
//
// Options may stand anywhere; those before the noun are the common ones. getopt_long does the reading, with a table
// that is made from the verb's. What there is to run is in nouns.c; what a verb then has of its call in call.c.
#include "tools/omenctl/command.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "tools/omenctl/remote.h"

#define OPTION_CODE 256 // getopt_long's value of a long option: 256 + place

const struct option_spec common_options[COMMON_COUNT] = {
    [COMMON_ENDPOINTS] = {.name = "endpoints",
                          .letter = 'e',
                          .argument = "HOST:PORT,...",
                          .help = "OMEN_ENDPOINTS, else the context, else 127.0.0.1:7700"},
    [COMMON_CONTEXT] = {.name = "context",
                        .argument = "NAME",
                        .help = "the cluster of this name: omenctl help context; OMEN_CONTEXT"},
    [COMMON_API_KEY] = {.name = "api-key",
                        .argument = "KEY",
                        .help = "who asks; others see it in the list of processes: OMEN_API_KEY"},
    [COMMON_API_KEY_FILE] = {.name = "api-key-file",
                             .is_path = true,
                             .argument = "FILE",
                             .help = "the key is this file's first line; OMEN_API_KEY_FILE"},
    [COMMON_TIMEOUT] = {.name = "timeout",
                        .argument = "SECONDS",
                        .help = "of a request, all its tries together; OMEN_TIMEOUT, else 10"},
    [COMMON_WAIT] = {.name = "wait", .help = "until the job that this begins is done"},
    [COMMON_OUTPUT] = {.name = "output",
                       .letter = 'o',
                       .argument = "FORMAT",
                       .choices = "table json yaml ndjson",
                       .help =
                           "how stdout looks: table (default), json, yaml, ndjson; OMEN_OUTPUT"},
    [COMMON_QUIET] = {.name = "quiet", .letter = 'q', .help = "say nothing on stderr but errors"},
    [COMMON_HELP] = {.name = "help", .letter = 'h', .help = "show this and end"},
    [COMMON_VERSION] = {.name = "version", .help = "say the version and end; without a command"},
    [COMMON_DRY_RUN] = {.name = "dry-run", .help = "check everything and change nothing"},
    [COMMON_YES] = {.name = "yes", .letter = 'y', .help = "do not ask"},
};

bool
common_applies(uint32_t option, const struct verb *verb)
{
    if (option >= COMMON_ENDPOINTS && option <= COMMON_TIMEOUT)
        return verb == NULL || verb->remote != NULL;
    if (option == COMMON_VERSION)
        return verb == NULL;
    if (option == COMMON_WAIT)
        return verb != NULL && verb->remote != NULL && verb->remote->waits;
    if (option == COMMON_YES)
        return verb != NULL && verb->kind == VERB_CHANGES;
    return option != COMMON_DRY_RUN || (verb != NULL && verb->kind != VERB_READS);
}

uint32_t
verb_option_count(const struct verb *verb)
{
    uint32_t count = 0;
    while (verb != NULL && verb->options != NULL && verb->options[count].name != NULL)
        count++;
    return count;
}

static bool
is_choice(const char *choices, const char *text)
{
    const size_t length = strlen(text);
    for (const char *at = choices; *at != '\0';) {
        const size_t word = strcspn(at, " ");
        if (word == length && memcmp(at, text, word) == 0)
            return true;
        at += word + (at[word] == ' ');
    }
    return false;
}

struct parser {
    struct option longs[CALL_OPTIONS_MAX + COMMON_COUNT + 1];
    char letters[2 * (CALL_OPTIONS_MAX + COMMON_COUNT) + 3];
    size_t letter_count;
    uint32_t long_count;
};

static void
parser_add(struct parser *parser, const struct option_spec *spec, int code)
{
    parser->longs[parser->long_count++] = (struct option){
        spec->name, spec->argument != NULL ? required_argument : no_argument, NULL, code};
    if (spec->letter == 0)
        return;
    parser->letters[parser->letter_count++] = spec->letter;
    if (spec->argument != NULL)
        parser->letters[parser->letter_count++] = ':';
}

// `verb` is NULL for what stands before the noun; then parsing ends at the first word.
static void
parser_init(struct parser *parser, const struct verb *verb)
{
    memset(parser, 0, sizeof *parser);
    if (verb == NULL)
        parser->letters[parser->letter_count++] = '+';
    parser->letters[parser->letter_count++] =
        ':'; // tells a missing argument from an unknown option
    for (uint32_t i = 0; i < COMMON_COUNT; i++)
        if (common_applies(i, verb))
            parser_add(parser, &common_options[i], OPTION_CODE + (int)i);
    ASSERT(verb_option_count(verb) <= CALL_OPTIONS_MAX);
    for (uint32_t i = 0; i < verb_option_count(verb); i++)
        parser_add(parser, &verb->options[i], OPTION_CODE + COMMON_COUNT + (int)i);
}

// What getopt answered as a place: in the common options, or behind them in the verb's.
static int
place_of(int code, const struct verb *verb)
{
    if (code >= OPTION_CODE)
        return code - OPTION_CODE;
    for (int i = 0; i < COMMON_COUNT; i++)
        if (common_options[i].letter == code && common_applies((uint32_t)i, verb))
            return i;
    for (uint32_t i = 0; i < verb_option_count(verb); i++)
        if (verb->options[i].letter == code)
            return COMMON_COUNT + (int)i;
    return -1;
}

static enum doc_format
format_of(const char *text)
{
    static const char *const names[] = {"table", "json", "yaml", "ndjson"};
    for (int i = 0; i < 4; i++)
        if (strcmp(names[i], text) == 0)
            return (enum doc_format)i;
    return DOC_AS_TABLE;
}

static enum exit_code
take_option(struct call *call, int place, const char *value)
{
    const struct option_spec *spec =
        place < COMMON_COUNT ? &common_options[place] : &call->verb->options[place - COMMON_COUNT];
    if (spec->choices != NULL && !is_choice(spec->choices, value))
        return call_fail(call, EXIT_USAGE, "--%s is '%s', not one of: %s", spec->name, value,
                         spec->choices);
    if (place < COMMON_COUNT && value != NULL && value[0] == '\0') // of a variable that is not set
        return call_fail(call, EXIT_USAGE, "--%s is empty", spec->name);
    switch (place) {
    case COMMON_OUTPUT:
        call->format = format_of(value);
        break;
    case COMMON_QUIET:
        call->quiet = true;
        break;
    case COMMON_HELP:
        call->wants_help = true;
        break;
    case COMMON_VERSION:
        call->wants_version = true;
        break;
    case COMMON_ENDPOINTS:
        call->endpoints = value;
        break;
    case COMMON_CONTEXT:
        call->context = value;
        break;
    case COMMON_API_KEY:
        call->api_key = value;
        break;
    case COMMON_API_KEY_FILE:
        call->api_key_file = value;
        break;
    case COMMON_TIMEOUT:
        call->timeout = value;
        break;
    case COMMON_WAIT:
        call->wait = true;
        break;
    case COMMON_DRY_RUN:
        call->dry_run = true;
        break;
    case COMMON_YES:
        call->yes = true;
        break;
    default:
        call->values[place - COMMON_COUNT] = value != NULL ? value : "";
        break;
    }
    return EXIT_FINE;
}

// Reads options from argv[1] on; *rest is where the words begin.
static enum exit_code
parse_options(struct call *call, int argc, char **argv, int *rest)
{
    struct parser parser;
    parser_init(&parser, call->verb);
    opterr = 0;
    optind = 0; // GNU: begin anew
    for (;;) {
        const int code = getopt_long(argc, argv, parser.letters, parser.longs, NULL);
        if (code == -1)
            break;
        if (code == ':')
            return call_fail(call, EXIT_USAGE, "%s wants an argument", argv[optind - 1]);
        const int place = code == '?' ? -1 : place_of(code, call->verb);
        if (place < 0 && optopt > 0 && optopt < OPTION_CODE)
            return call_fail(call, EXIT_USAGE, "there is no option -%c", optopt);
        if (place < 0)
            return call_fail(call, EXIT_USAGE, "%s: no such option, or not with such an argument",
                             argv[optind - 1]);
        const enum exit_code bad = take_option(call, place, optarg);
        if (bad != EXIT_FINE)
            return bad;
    }
    *rest = optind;
    return EXIT_FINE;
}

static enum exit_code
check_arguments(const struct call *call)
{
    const struct verb *verb = call->verb;
    if (call->argument_count < verb->arguments_min)
        return call_fail(call, EXIT_USAGE, "something is missing: %s", verb->arguments);
    if (call->argument_count > verb->arguments_max)
        return call_fail(call, EXIT_USAGE, "'%s' is one too many%s%s",
                         call->arguments[verb->arguments_max],
                         verb->arguments != NULL ? "; wanted: " : "",
                         verb->arguments != NULL ? verb->arguments : "");
    if (verb->argument_choices != NULL && !is_choice(verb->argument_choices, call->arguments[0]))
        return call_fail(call, EXIT_USAGE, "'%s' is not one of: %s", call->arguments[0],
                         verb->argument_choices);
    return EXIT_FINE;
}

// Finds noun and verb at argv[0], argv[1] and leaves *used words behind.
static enum exit_code
find_verb(struct call *call, int argc, char **argv, int *used)
{
    call->noun = noun_find(argv[0]);
    if (call->noun == NULL)
        return call_fail(call, EXIT_USAGE, "there is no command '%s'; see: omenctl help", argv[0]);
    *used = 1;
    call->verb = verb_find(call->noun, NULL);
    if (call->verb != NULL)
        return EXIT_FINE;
    if (argc < 2 || argv[1][0] == '-') {
        const bool asks =
            argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
        help_noun(asks ? call->out : call->talk, call->noun);
        return asks ? EXIT_FINE : EXIT_USAGE;
    }
    call->verb = verb_find(call->noun, argv[1]);
    if (call->verb == NULL)
        return call_fail(call, EXIT_USAGE, "there is no verb '%s'; see: omenctl help %s", argv[1],
                         call->noun->name);
    *used = 2;
    return EXIT_FINE;
}

static enum exit_code
run_words(struct call *call, int argc, char **argv)
{
    int used = 0, rest = 0;
    enum exit_code code = find_verb(call, argc, argv, &used);
    if (code != EXIT_FINE || call->verb == NULL)
        return code;
    // getopt begins behind argv[0]: the last word of the command stands in for the program's name.
    argc -= used - 1;
    argv += used - 1;
    code = parse_options(call, argc, argv, &rest);
    if (code != EXIT_FINE)
        return code;
    if (call->wants_help) {
        help_verb(call->out, call->noun, call->verb);
        return EXIT_FINE;
    }
    call->arguments = argv + rest;
    call->argument_count = (uint32_t)(argc - rest);
    code = check_arguments(call);
    if (code == EXIT_FINE && call->verb->remote != NULL && call->noun != &noun_context)
        code = context_choose(call);
    return code == EXIT_FINE ? call->verb->run(call) : code;
}

const char *
call_setting(const char *given, const char *variable)
{
    const char *set = given != NULL ? given : getenv(variable);
    return set != NULL && set[0] != '\0' ? set : NULL;
}

enum exit_code
command_main(int argc, char **argv)
{
    static char version[] = "version";
    struct call call = {.out = stdout, .talk = stderr};
    int rest = 0;
    const char *output = call_setting(NULL, "OMEN_OUTPUT");
    if (output != NULL && !is_choice(common_options[COMMON_OUTPUT].choices, output))
        return call_fail(&call, EXIT_USAGE, "OMEN_OUTPUT is '%s', not one of: %s", output,
                         common_options[COMMON_OUTPUT].choices);
    if (output != NULL)
        call.format = format_of(output);
    enum exit_code code = parse_options(&call, argc, argv, &rest);
    if (code != EXIT_FINE)
        return code;
    if (call.wants_version && !call.wants_help) {
        code = run_words(&call, 1, (char *[]){version, NULL});
    } else if (call.wants_help || rest == argc) {
        help_all(call.wants_help ? call.out : call.talk);
        code = call.wants_help ? EXIT_FINE : EXIT_USAGE;
    } else {
        code = run_words(&call, argc - rest, argv + rest);
    }
    // A full disk behind stdout must not look like success.
    if (fflush(call.out) != 0 || ferror(call.out))
        return code != EXIT_FINE ? code
                                 : call_fail(&call, EXIT_OTHER, "stdout: %s", strerror(errno));
    return code;
}
