// tools/omenctl/pack.h -- values of a method's keys out of the words of a command line.
//
// Shape: value, but for "@FILE" and "-", which are read.
#ifndef OMEN_TOOLS_OMENCTL_PACK_H
#define OMEN_TOOLS_OMENCTL_PACK_H
#include "base/error.h"
#include "wire/encode.h"
#include "wire/shape.h"

// One value, packed as the field's kind wants it; `texts` are several words for a list, which may have commas too. OMEN_E_INVALID
// when a word is none of that kind; whether its value is within limits is the server's to say.
OMEN_MUST_CHECK omen_status pack_value(struct encode *encode, const struct field *field,
                                       char *const *texts, uint32_t count,
                                       struct omen_error *error);

#endif
