// tools/omenctl/answer.h -- the structs of the protocol as documents.
//
// Shape: value.
#ifndef OMEN_TOOLS_OMENCTL_ANSWER_H
#define OMEN_TOOLS_OMENCTL_ANSWER_H
#include "tools/omenctl/doc.h"
#include "wire/shape.h"

// The fields of a struct into the map `parent`: those that are there, or of `columns` (NULL: all) those, in their order, and null
// where one is not there.
void answer_fields(struct doc *doc, struct doc_node *parent, const struct shape *shape,
                   const void *from, const char *columns);
// The items of a list into the list `parent`.
void answer_items(struct doc *doc, struct doc_node *parent, const struct field *field,
                  const struct wire_list *list, const char *columns);
void answer_vector(struct doc *doc, struct doc_node *parent, const char *key,
                   const struct wire_vectors *vector);

#endif
