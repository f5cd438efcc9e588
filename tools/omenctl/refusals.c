// tools/omenctl/refusals.c -- rows that were not stored, counted by reason.
//
// Shape: handle.
#include "tools/omenctl/refusals.h"

#include <string.h>

bool
refusals_init(struct refusals *refusals, const char *path)
{
    *refusals = (struct refusals){0};
    refusals->list = path != NULL ? fopen(path, "we") : NULL;
    return path == NULL || refusals->list != NULL;
}

bool
refusals_fini(struct refusals *refusals)
{
    const bool failed = refusals->list != NULL && ferror(refusals->list);
    const bool unclosed = refusals->list != NULL && fclose(refusals->list) != 0;
    refusals->list = NULL;
    return !failed && !unclosed;
}

bool
refusals_is_about_row(omen_status status)
{
    switch (status) {
    case OMEN_E_DIMENSION:
    case OMEN_E_NOT_FINITE:
    case OMEN_E_ZERO_VECTOR:
    case OMEN_E_DUPLICATE_ID:
    case OMEN_E_EXISTS:
    case OMEN_E_ID_RANGE:
    case OMEN_E_ID_LENGTH:
    case OMEN_E_ID_KIND:
    case OMEN_E_FIELD_TYPE:
    case OMEN_E_PAYLOAD:
        return true;
    default:
        return false;
    }
}

static void
list_one(struct refusals *refusals, uint64_t row, omen_status status, const char *text)
{
    struct doc *doc = NULL;
    if (refusals->list == NULL || doc_open(DOC_MAP, &doc) != OMEN_OK)
        return;
    doc_uint(doc, doc_root(doc), "row", row);
    doc_text(doc, doc_root(doc), "status", status_name(status));
    doc_text(doc, doc_root(doc), "reason", text);
    if (doc_print(doc, DOC_AS_NDJSON, refusals->list) != OMEN_OK)
        fprintf(refusals->list, "{\"row\": %llu}\n", (unsigned long long)row);
    doc_close(doc);
}

void
refusals_add(struct refusals *refusals, uint64_t row, omen_status status, const char *text)
{
    if (strncmp(text, "row ", 4) == 0) {
        const size_t digits = strspn(text + 4, "0123456789");
        if (digits > 0 && strncmp(text + 4 + digits, ": ", 2) == 0)
            text += 4 + digits + 2;
    }
    refusals->count++;
    list_one(refusals, row, status, text);
    uint32_t i = 0;
    while (i < refusals->reason_count && refusals->reasons[i].status != status)
        i++;
    if (i == REFUSAL_REASONS_MAX)
        return;
    struct refusal_reason *reason = &refusals->reasons[i];
    if (i == refusals->reason_count) {
        refusals->reason_count++;
        *reason = (struct refusal_reason){.status = status, .first_row = row};
        snprintf(reason->example, sizeof reason->example, "%s", text);
    }
    reason->count++;
}

void
refusals_doc(const struct refusals *refusals, struct doc *doc, struct doc_node *parent)
{
    struct doc_node *list = doc_list(doc, parent, "reasons");
    for (uint32_t i = 0; i < refusals->reason_count; i++) {
        const struct refusal_reason *reason = &refusals->reasons[i];
        struct doc_node *entry = doc_map(doc, list, NULL);
        doc_text(doc, entry, "status", status_name(reason->status));
        doc_uint(doc, entry, "rows", reason->count);
        doc_uint(doc, entry, "first_row", reason->first_row);
        doc_text(doc, entry, "example", reason->example);
    }
}
