// tests/fuzz/fuzz_tools_contexts.c -- any bytes as the file of contexts: refused with a line, or the same contexts when written and read again.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "tools/omenctl/contexts.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static struct contexts first, again;
    struct omen_error error = {0};
    if (contexts_read((const char *)bytes, count, &first, &error) != OMEN_OK) {
        ASSERT(error.text[0] != '\0');
        return 0;
    }
    const size_t room = contexts_write(&first, NULL, 0) + 1;
    char *text = malloc(room);
    ASSERT(text != NULL && contexts_write(&first, text, room) == room - 1);
    ASSERT(contexts_read(text, room - 1, &again, &error) == OMEN_OK);
    ASSERT(again.count == first.count && strcmp(again.current, first.current) == 0);
    for (uint32_t i = 0; i < first.count; i++)
        ASSERT(strcmp(again.list[i].name, first.list[i].name) == 0 &&
               strcmp(again.list[i].endpoints, first.list[i].endpoints) == 0 &&
               strcmp(again.list[i].api_key, first.list[i].api_key) == 0 &&
               strcmp(again.list[i].api_key_file, first.list[i].api_key_file) == 0);
    free(text);
    return 0;
}
