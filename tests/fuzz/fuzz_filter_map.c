// tests/fuzz/fuzz_filter_map.c -- any bytes as a filter's dict form: refused with a sentence, or
// the same as its text.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct filter *filter;
    struct omen_error error = {0};
    if (filter_parse_map(bytes, count, &filter, &error) != OMEN_OK) {
        ASSERT(filter == NULL && error.status == OMEN_E_FILTER && error.text[0] != '\0');
        return 0;
    }
    const size_t length = filter_describe(filter, (char[1]){0}, 1);
    char *text = malloc(length + 1);
    char *second = malloc(length + 1);
    ASSERT(text != NULL && second != NULL);
    (void)filter_describe(filter, text, length + 1);
    struct filter *again;
    if (filter_parse_text(text, length, &again, &error) == OMEN_OK) {
        ASSERT(filter_describe(again, second, length + 1) == length);
        ASSERT(memcmp(text, second, length) == 0);
        filter_close(again);
    } else {
        ASSERT(length > 65536);
    }
    // The same bytes may be a payload as well: whatever it says, matching stays inside of it.
    if (msgpack_check_map(bytes, count, NULL) == OMEN_OK)
        (void)filter_match(filter, bytes, count);
    free(text);
    free(second);
    filter_close(filter);
    return 0;
}
