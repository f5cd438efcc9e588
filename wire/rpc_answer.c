// wire/rpc_answer.c -- what a client is answered, from whatever thread, and when its connection is read again.
//
// Shape: shell.
#include "wire/rpc_nng_int.h"

#include "base/assert.h"
#include "base/os_clock.h"

typedef omen_status (*write_fn)(struct stream *stream, uint8_t *bytes, size_t count);

void
rpc_conn_asks(struct rpc_conn *conn)
{
    atomic_fetch_add(&conn->in_flight, 1);
    atomic_fetch_add(&conn->load->in_flight, 1);
}

// Who does not get an answer must not wait for it: the connection ends.
static void
write_by(struct rpc_conn *conn, struct encode *message, write_fn write)
{
    uint8_t *bytes = message->bytes;
    const size_t bytes_count = message->count;
    *message = (struct encode){0};
    const omen_status status = write(conn->stream, bytes, bytes_count);
    if (status == OMEN_E_FULL)
        stream_close(conn->stream, STREAM_CLOGGED);
    else if (status == OMEN_E_NO_MEMORY)
        stream_close(conn->stream, STREAM_NO_MEMORY);
}

void
rpc_conn_write(struct rpc_conn *conn, struct encode *message)
{
    write_by(conn, message, stream_write);
}

void
rpc_conn_error(struct rpc_conn *conn, uint32_t id, const struct omen_error *error,
               enum api_outcome outcome)
{
    const struct rpc_error told = rpc_error_of(error, outcome);
    struct encode message;
    encode_init(&message, RPC_ERROR_BYTES_MAX);
    rpc_write_error(&message, id, (enum api_errors)atomic_load(&conn->errors), &told);
    if (message.status == OMEN_OK) {
        rpc_conn_write(conn, &message);
    } else {
        encode_fini(&message);
        stream_close(conn->stream, STREAM_NO_MEMORY);
    }
}

static void
answer_by(struct rpc_conn *conn, uint32_t id, struct encode *answer, write_fn write)
{
    if (answer->status == OMEN_OK && answer->count > 0) {
        write_by(conn, answer, write);
    } else {
        // What was asked for may have been done: nothing is said of it.
        const bool large = answer->status == OMEN_E_FULL;
        struct omen_error error;
        if (large)
            (void)error_set(&error, OMEN_E_INVALID, "the answer is larger than a message may be");
        else
            (void)error_set_plain(&error, OMEN_E_NO_MEMORY);
        encode_fini(answer);
        rpc_conn_error(conn, id, &error, API_UNKNOWN);
    }
    stream_deadline(conn->stream, os_clock_ns() + conn->idle_ns);
    atomic_fetch_sub(&conn->load->in_flight, 1);
    const uint32_t before = atomic_fetch_sub(&conn->in_flight, 1);
    ASSERT(before > 0);
    if (before - 1 <= conn->in_flight_max / 2 && atomic_exchange(&conn->waiting, false))
        stream_resume(conn->stream);
}

void
rpc_conn_answer(struct rpc_conn *conn, uint32_t id, struct encode *answer)
{
    answer_by(conn, id, answer, stream_write);
}

void
rpc_conn_gather(struct rpc_conn *conn, uint32_t id, struct encode *answer)
{
    answer_by(conn, id, answer, stream_gather);
}

void
rpc_conn_send(struct rpc_conn *conn)
{
    stream_send(conn->stream);
}

void
rpc_conn_refuse(struct rpc_conn *conn, uint32_t id, struct omen_error *error,
                _Atomic uint64_t *counter)
{
    rpc_count(counter);
    rpc_conn_error(conn, id, error, API_NOT_APPLIED);
}
