// tests/fuzz/fuzz_tools_note.c -- any bytes as an import's note: refused with a sentence, or just what a note of this import is.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "tools/omenctl/note.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static struct note note;
    struct omen_error error = {0};
    uint64_t rows;
    char *said = malloc(count + 1), written[256];
    struct text text;
    ASSERT(said != NULL);
    if (count > 0)
        memcpy(said, bytes, count);
    said[count] = '\0';
    note_init(&note);
    note_add(&note, "collection", "docs");
    note_add(&note, "input", "/v.npy");
    if (note_read(&note, said, &rows, &error) != OMEN_OK) {
        ASSERT(error.text[0] != '\0');
        ASSERT(error.status == OMEN_E_CONFLICT || error.status == OMEN_E_INVALID);
    } else {
        const char *number = strstr(said, "\nrows: ") + strlen("\nrows: ");
        text_init(&text, written, sizeof written);
        note_write(&note, rows, &text);
        const char *again = strstr(written, "\nrows: ") + strlen("\nrows: ");
        ASSERT(strncmp(said, written, (size_t)(again - written)) == 0);
        ASSERT(strcmp(number + strspn(number, "0"), again + strspn(again, "0")) == 0);
    }
    free(said);
    return 0;
}
