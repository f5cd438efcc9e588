// tools/omenctl/inputs.h -- which files rows come from, and which of the rows, as the command line says it.
//
// Shape: shell. Of the commands that have these options.
#ifndef OMEN_TOOLS_OMENCTL_INPUTS_H
#define OMEN_TOOLS_OMENCTL_INPUTS_H
#include "tools/omenctl/command.h"
#include "tools/omenctl/convert.h"

// Rows of a command's table of options.
// clang-format off
#define INPUTS_FORMAT_OPTION \
    {.name = "format", .argument = "FORMAT", .choices = "npy fvecs bvecs fbin u8bin i8bin ndjson csv", \
     .help = "of INPUT; by the ending of its name"}
#define INPUTS_POINT_OPTIONS \
    {.name = "ids", .is_path = true, .argument = "FILE", .help = "npy of integers, or one id a line"}, \
    {.name = "id-kind", .argument = "KIND", .choices = "auto integer text", \
     .help = "what the lines of --ids are; auto: as the first looks"}, \
    {.name = "first-id", .argument = "N", .help = "the id of row 0 without --ids (0)"}, \
    {.name = "payloads", .is_path = true, .argument = "FILE", .help = "one JSON object a line"}
#define INPUTS_RANGE_OPTIONS \
    {.name = "skip", .argument = "N", .help = "leave out the first N rows"}, \
    {.name = "limit", .argument = "N", .help = "stop after N rows"}
#define INPUTS_REFUSED_OPTION \
    {.name = "refused", .is_path = true, .argument = "FILE", .help = "list rows that are refused, as NDJSON"}
// clang-format on

struct inputs_range {
    uint64_t skip, limit; // rows; UINT64_MAX: as far as the file goes
    uint64_t end;         // the row after the last
};

struct convert_files inputs_files(const struct call *call, const char *input);
// Of open sources: fills in `end`. EXIT_USAGE where rows are skipped that are not there, or ids would pass 2^63-1.
enum exit_code inputs_range(const struct call *call, const struct convert *convert,
                            struct inputs_range *range);

// The list that --refused names, before the first row and after the last. Both say what went wrong; what did before stays `code`.
enum exit_code inputs_refused_open(const struct call *call, struct refusals *refusals);
enum exit_code inputs_refused_close(const struct call *call, struct refusals *refusals,
                                    enum exit_code code);
// Prints the summary, which is taken; EXIT_PARTIAL where rows were refused.
enum exit_code inputs_summary(const struct call *call, const struct convert *convert,
                              const struct inputs_range *range, struct doc *doc);

#endif
