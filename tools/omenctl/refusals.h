// tools/omenctl/refusals.h -- rows that were not stored, counted by reason.
//
// Shape: handle in the owner's memory (_init/_fini).
#ifndef OMEN_TOOLS_OMENCTL_REFUSALS_H
#define OMEN_TOOLS_OMENCTL_REFUSALS_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "tools/omenctl/doc.h"

#define REFUSAL_REASONS_MAX 16u

struct refusal_reason {
    omen_status status;
    uint64_t count, first_row;
    char example[160]; // what was said of the first row
};

struct refusals {
    uint64_t count;
    struct refusal_reason reasons[REFUSAL_REASONS_MAX];
    uint32_t reason_count;
    FILE *list; // NULL, or where each goes, a JSON object a line
};

// `path` (NULL: none) is where the list goes; false with errno when it cannot be made.
bool refusals_init(struct refusals *refusals, const char *path);
bool refusals_fini(struct refusals *refusals); // false when the list could not be written whole

// Whether a status speaks of a row and not of the index, the disk or us.
bool refusals_is_about_row(omen_status status);
// `text` may begin with the library's "row 3: ", which counts within a batch and is left out.
void refusals_add(struct refusals *refusals, uint64_t row, omen_status status, const char *text);
// A list "reasons" in `parent`.
void refusals_doc(const struct refusals *refusals, struct doc *doc, struct doc_node *parent);

#endif
