// wire/rpc_server.h -- clients' connections: msgpack-RPC over TCP, with SECURITY's limits.
//
// Shape:   shell.
// Threads: callbacks come on the server's threads and must be short; answers from any thread.
#ifndef OMEN_WIRE_RPC_SERVER_H
#define OMEN_WIRE_RPC_SERVER_H
#include "base/limits.h"
#include "wire/rpc.h"

struct rpc_session { // of a connection
    uint8_t rights;  // enum method_right
    uint8_t errors;  // enum api_errors
    bool greeted;
    char key[WIRE_NAME_BYTES_MAX + 1];  // its name; empty: none
    char glob[WIRE_NAME_BYTES_MAX + 1]; // of collections; empty: all
};

struct rpc_request {
    uint32_t id;
    const struct method *method;
    uint8_t *frame; // owned: mem_free
    size_t bytes;
    struct wire_bytes params; // in the frame
    struct rpc_session session;
};

#endif
