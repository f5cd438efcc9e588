// tools/omenctl/vector_text.h -- a vector as people give it: JSON, "@FILE" (JSON or npy), or "-".
//
// Shape: shell.
#ifndef OMEN_TOOLS_OMENCTL_VECTOR_TEXT_H
#define OMEN_TOOLS_OMENCTL_VECTOR_TEXT_H
#include "tools/omenctl/json.h"

#define VECTOR_TEXT_BYTES_MAX ((size_t)16 << 20)

// Appends f32 to *out, which is empty.
OMEN_MUST_CHECK omen_status vector_text_read(const char *given, struct buffer *out,
                                             struct omen_error *error);
// A text itself, or what is in the file behind '@', or standard input for "-"; *out is empty.
OMEN_MUST_CHECK omen_status text_read(const char *given, struct buffer *out,
                                      struct omen_error *error);

#endif
