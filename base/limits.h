// base/limits.h -- every maximum of the product in one place, so that each is tested at it and one past it.
//
// Shape: value.
#ifndef OMEN_BASE_LIMITS_H
#define OMEN_BASE_LIMITS_H

#define VECTOR_DIM_MAX 65536u        // components per vector
#define SLOTS_MAX 2147483646u        // 2^31 - 2: slots of one numbering, see index/nearest.h
#define TOPK_MAX 10000u              // k of a search
#define BEAM_MAX 10000u              // ef of a search
#define LINKS_PER_NODE_MAX 64u       // M; level 0 holds twice as many, at most LINK_ROW_MAX
#define ID_MAX 0x7fffffffffffffffull // integer ids are 0..2^63-1
#define ID_TEXT_BYTES_MAX 255u
#define PAYLOAD_BYTES_MAX 65536u
#define PAYLOAD_DEPTH_MAX 16u
#define PAYLOAD_NODES_MAX 65536u
#define FILTER_NODES_MAX 256u // nodes of one filter's tree
#define FILTER_DEPTH_MAX 16u
#define FILTER_LIST_MAX 4096u         // values of one `in` list
#define FILTER_TEXT_BYTES_MAX 65536u  // the string form
#define FILTER_MAP_BYTES_MAX 1048576u // the dict form as msgpack
#define FIELD_NAME_BYTES_MAX 255u     // with its dots
#define FIELDS_MAX 64u                // indexed fields of one shard
#define THREADS_MAX 256u              // workers of one index

#define WIRE_HELLO_BYTES_MAX                                                                       \
    4096u // a client's message before system.hello, where that is asked for
#define WIRE_FRAME_BYTES_MAX 16777216u // a message of a client, and its answer
#define WIRE_FRAME_BYTES_MIN                                                                       \
    65536u                      // the least that an operator may set instead, of what clients ask
#define WIRE_DEPTH_MAX 24u      // containers in containers of one message, payloads included
#define WIRE_NODES_MAX 65536u   // objects of one message besides numbers of vectors and payloads
#define WIRE_BATCH_MAX 10000u   // points, ids or queries of one request
#define WIRE_NAME_BYTES_MAX 64u // of a collection, an alias, a key, a node

#endif
