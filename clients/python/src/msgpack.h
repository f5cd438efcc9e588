// clients/python/src/msgpack.h -- what both directions of msgpack go by.
//
// Shape: value.
#ifndef OMEN_PYTHON_MSGPACK_H
#define OMEN_PYTHON_MSGPACK_H
#include "core.h"

#define DEPTH_MAX 64 // of nesting; the engine allows less, and says so itself
#define TIMESTAMP (-1)

#endif
