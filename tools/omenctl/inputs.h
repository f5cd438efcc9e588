// tools/omenctl/inputs.h -- which files rows come from, and which of the rows, as the command line says it.
//
// Shape: shell. Of the commands whose options are --format, --ids, --payloads, --id-kind, --skip, --limit and --first-id.
#ifndef OMEN_TOOLS_OMENCTL_INPUTS_H
#define OMEN_TOOLS_OMENCTL_INPUTS_H
#include "tools/omenctl/command.h"
#include "tools/omenctl/convert.h"

struct inputs_range {
    uint64_t skip, limit; // rows; UINT64_MAX: as far as the file goes
    uint64_t end;         // the row after the last
};

struct convert_files inputs_files(const struct call *call, const char *input);
// Of open sources: fills in `end`. EXIT_USAGE where rows are skipped that are not there, or ids would pass 2^63-1.
enum exit_code inputs_range(const struct call *call, const struct convert *convert,
                            struct inputs_range *range);

#endif
