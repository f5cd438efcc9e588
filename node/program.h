// node/program.h -- what this program understands of what nodes say to each other, and what it may switch on.
//
// Shape: value.
//
// Two nodes talk by a version that both understand; if there is none, neither takes the other in. A feature is a bit: what is new in
// the map, in a command or in a message is written only once all nodes know its bit, and then the leader switches it on
// (COMMAND_FEATURES), for good. A program that does not know a bit that is on ends, and says so. cluster/map.h has the bits. A build of a
// test has other numbers (tests/CMakeLists.txt: omend_former, omend_next, omend_far).
#ifndef OMEN_NODE_PROGRAM_H
#define OMEN_NODE_PROGRAM_H

#ifndef PROGRAM_VERSION_LEAST
#define PROGRAM_VERSION_LEAST 1u
#endif
#ifndef PROGRAM_VERSION_MOST
#define PROGRAM_VERSION_MOST 1u
#endif
#ifndef PROGRAM_FEATURES
#define PROGRAM_FEATURES 3u // MAP_FEATURE_ID_KINDS, MAP_FEATURE_LIMITS
#endif

#endif
