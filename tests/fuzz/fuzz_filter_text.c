// tests/fuzz/fuzz_filter_text.c -- any bytes as a filter's text: refused with a sentence, or
// printed and read back alike.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static const uint8_t payload[] = "\x83\xa1"
                                     "a\x93\x01\xa1x\xc0\xa1"
                                     "b\x81\xa1"
                                     "c\xc3\xa3"
                                     "b.d\xcb\x40\x04\0\0\0\0\0\0";
    struct filter *filter;
    struct omen_error error = {0};
    if (filter_parse_text((const char *)bytes, count, &filter, &error) != OMEN_OK) {
        ASSERT(filter == NULL && error.status == OMEN_E_FILTER && error.text[0] != '\0');
        return 0;
    }
    const size_t length = filter_describe(filter, (char[1]){0}, 1);
    char *text = malloc(length + 1);
    char *second = malloc(length + 1);
    ASSERT(text != NULL && second != NULL);
    ASSERT(filter_describe(filter, text, length + 1) == length);

    // Escapes make the printed form longer than what was read; it may pass the limit then.
    struct filter *again;
    if (filter_parse_text(text, length, &again, &error) == OMEN_OK) {
        ASSERT(filter_describe(again, second, length + 1) == length);
        ASSERT(memcmp(text, second, length) == 0);
        ASSERT(filter_match(filter, payload, sizeof payload - 1) ==
               filter_match(again, payload, sizeof payload - 1));
        ASSERT(filter_match(filter, NULL, 0) == filter_match(again, NULL, 0));
        filter_close(again);
    } else {
        ASSERT(length > 65536);
    }
    free(text);
    free(second);
    filter_close(filter);
    return 0;
}
