// tools/omenctl/inputs.c -- the options that say which files rows come from, and which of the rows.
//
// Shape: shell.
#include "tools/omenctl/inputs.h"

#include <inttypes.h>

#include "base/limits.h"

struct convert_files
inputs_files(const struct call *call, const char *input)
{
    const int format = call_choice(call, "format"), kind = call_choice(call, "id-kind");
    return (struct convert_files){
        .input = input,
        .format = format < 0 ? ROWS_FORMATS : (enum rows_format)format,
        .ids = call_value(call, "ids"),
        .payloads = call_value(call, "payloads"),
        .id_form = kind < 0 ? ID_FORM_AUTO : (enum id_form)kind,
    };
}

enum exit_code
inputs_range(const struct call *call, const struct convert *convert, struct inputs_range *range)
{
    const uint64_t count = convert->source.rows.count;
    if (range->skip > count)
        return call_fail(call, EXIT_USAGE,
                         "%" PRIu64 " rows are to be skipped, but the file has %" PRIu64 " rows",
                         range->skip, count);
    const uint64_t left = count - range->skip;
    range->end = range->skip + (range->limit < left ? range->limit : left);
    if (!call_has(call, "ids") && range->end > 0 && convert->first_id > ID_MAX - (range->end - 1))
        return call_fail(call, EXIT_USAGE, "--first-id is so large that ids would pass 2^63-1");
    return EXIT_FINE;
}
