// tools/omenctl/inputs.c -- the options that say which files rows come from, and which of the rows.
//
// Shape: shell.
#include "tools/omenctl/inputs.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

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

enum exit_code
inputs_refused_open(const struct call *call, struct refusals *refusals)
{
    const char *list = call_value(call, "refused");
    if (refusals_init(refusals, list))
        return EXIT_FINE;
    return call_fail(call, EXIT_USAGE, "%s: %s", list, strerror(errno));
}

enum exit_code
inputs_refused_close(const struct call *call, struct refusals *refusals, enum exit_code code)
{
    if (refusals_fini(refusals) || code != EXIT_FINE)
        return code;
    return call_fail(call, EXIT_OTHER, "%s could not be written whole",
                     call_value(call, "refused"));
}

enum exit_code
inputs_summary(const struct call *call, const struct convert *convert,
               const struct inputs_range *range, struct doc *doc)
{
    const enum exit_code code = call_print(call, doc);
    doc_close(doc);
    if (code != EXIT_FINE || convert->refusals.count == 0)
        return code;
    return call_fail(call, EXIT_PARTIAL, "%" PRIu64 " of %" PRIu64 " rows were refused",
                     convert->refusals.count, range->end - range->skip);
}
