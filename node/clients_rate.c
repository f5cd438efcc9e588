// node/clients_rate.c -- a key's requests are let in as fast as it may ask, and the others told when to come again.
//
// Shape: shell. Decides nothing: node/rate does.
//
// What a request costs is known when it was read, by the front; to read what is refused would be to do the most of the work of a small one.
// So it is let in by the debt of those before it, pays for one, and for the rest of its points and queries when it is begun. What is refused
// after it was let in, for what it says, has paid for one.
#include <inttypes.h>

#include "base/os_clock.h"
#include "node/clients_int.h"

#define MS_NS UINT64_C(1000000)

// Of a session that has a rate. NULL: nobody counts: it has no key, or there is no memory, for want of which none is refused.
static struct rate *
bucket_of(struct clients *clients, const struct rpc_session *session, uint64_t now_ns)
{
    if (session->key[0] == '\0')
        return NULL;
    return rates_of(&clients->rates, session->key, now_ns);
}

bool
clients_rate_admits(struct clients *clients, const struct rpc_request *request,
                    struct omen_error *error, uint32_t *retry_after_ms)
{
    const struct rpc_session *session = &request->session;
    if (session->rate == 0)
        return true;
    const uint64_t now_ns = os_clock_ns();
    struct rate *rate = bucket_of(clients, session, now_ns);
    if (rate == NULL)
        return true;
    const uint64_t wait_ns = rate_wait_ns(rate, now_ns);
    if (wait_ns == 0) {
        rate_pay(rate, now_ns, 1, session->rate);
        return true;
    }
    const uint64_t wait_ms = (wait_ns + MS_NS - 1) / MS_NS;
    *retry_after_ms = wait_ms < UINT32_MAX ? (uint32_t)wait_ms : UINT32_MAX;
    (void)error_set(error, OMEN_E_BUSY,
                    "%s: the key \"%s\" may ask for %" PRIu32
                    " points and queries a second here; again in %" PRIu32 " ms",
                    request->method->name, session->key, session->rate, *retry_after_ms);
    if (clients->config.metrics != NULL)
        metric_add(&clients->config.metrics->too_fast, 1);
    return false;
}

void
clients_rate_cost(void *context, const struct rpc_session *session, uint32_t items)
{
    struct clients *clients = context;
    if (session->rate == 0 || items <= 1)
        return;
    const uint64_t now_ns = os_clock_ns();
    struct rate *rate = bucket_of(clients, session, now_ns);
    if (rate != NULL)
        rate_pay(rate, now_ns, items - 1, session->rate);
}
