// clients/c/public.h -- what the files behind omen_client.h share.
//
// Shape: value.
#ifndef OMEN_CLIENTS_C_PUBLIC_H
#define OMEN_CLIENTS_C_PUBLIC_H
#include "clients/c/client.h"
#include "include/omen_client.h"

// The calling thread's last failure: what client_fail and the rest write to.
struct client_error *public_error(void);

struct OmenClient {
    struct client *client; // owned
    omen_consistency consistency;
};

static inline struct client *
public_client(omen_client_t client)
{
    return client->client;
}

// A name or a filter that was given, or nothing.
static inline struct wire_text
public_text(const char *text)
{
    return text != NULL ? wire_text_of(text) : (struct wire_text){0};
}

// The one that is asked for where a caller says this one; a negative number where there is none such.
int public_consistency(omen_client_t client, omen_consistency said);

// An INVALID that names the call.
omen_status public_refuse(const char *what);

#endif
