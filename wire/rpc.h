// wire/rpc.h -- msgpack-RPC: requests, answers and notifications around what wire/method.h describes.
//
// Shape:   value. What is read borrows from the frame.
// Threads: any.
//
// Request [0, id, method, [params]], answer [1, id, error, result], notification [2, method, [params]]. Params are one map in an
// array, or nothing. An error is a text "NAME: sentence" unless the connection asked for maps: some clients break on anything
// else. Method names may come as binaries and params as a map without its array, since some clients send them so.
#ifndef OMEN_WIRE_RPC_H
#define OMEN_WIRE_RPC_H
#include "wire/method.h"

#define RPC_METHOD_BYTES_MAX 64u

enum rpc_kind { RPC_REQUEST, RPC_ANSWER, RPC_NOTIFICATION };

struct rpc_message {
    enum rpc_kind kind;
    uint32_t id;                     // REQUEST, ANSWER
    struct wire_text method;         // REQUEST, NOTIFICATION
    struct wire_bytes params;        // REQUEST, NOTIFICATION: packed
    struct wire_bytes error, result; // ANSWER: packed; error.count 0 where it is nil
};

struct rpc_error {
    omen_status status;    // INTERNAL where the name is none of ours
    struct wire_text name; // without prefix
    struct wire_text message;
    uint8_t retryable;       // 0 or 1
    uint8_t outcome;         // enum api_outcome; 0: nothing is said of it
    uint32_t retry_after_ms; // of `details`: refused again before that; 0: nothing is said of it
    struct wire_bytes
        details; // a packed object; none. Read alone: retry_after_ms is what is written
};

// A whole frame. OMEN_E_INVALID and in *error (may be NULL) what is wrong; of a request with a sound head, message->kind and id say
// whom to answer, else `kind` is not RPC_REQUEST.
OMEN_MUST_CHECK omen_status rpc_read(struct wire_bytes frame, const struct decode_limits *limits,
                                     struct rpc_message *message, struct omen_error *error);

// What a request asks with: `out` is the struct of method->ask, and passes method->check.
OMEN_MUST_CHECK omen_status rpc_read_ask(const struct rpc_message *message,
                                         const struct method *method,
                                         const struct decode_limits *limits, void *out,
                                         struct omen_error *error);
// What an answer without an error says: `out` is the struct of method->answer.
OMEN_MUST_CHECK omen_status rpc_read_answer(const struct rpc_message *message,
                                            const struct method *method, void *out,
                                            struct omen_error *error);
// The error of an answer that has one, in whichever form it came.
OMEN_MUST_CHECK omen_status rpc_read_error(const struct rpc_message *message, struct rpc_error *out,
                                           struct omen_error *error);

// One message each, behind what is there. A failure is the encode's.
void rpc_write_ask(struct encode *encode, uint32_t id, const struct method *method,
                   const void *ask);
void rpc_write_answer(struct encode *encode, uint32_t id, const struct method *method,
                      const void *answer);
void rpc_write_error(struct encode *encode, uint32_t id, enum api_errors form,
                     const struct rpc_error *error);

// With the name, and whether it is worth trying again, that belong to the status. The text is borrowed.
struct rpc_error rpc_error_of(const struct omen_error *error, enum api_outcome outcome);

#endif
