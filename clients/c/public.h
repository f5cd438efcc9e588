// clients/c/public.h -- what the files behind omen_client.h share.
//
// Shape: value.
#ifndef OMEN_CLIENTS_C_PUBLIC_H
#define OMEN_CLIENTS_C_PUBLIC_H
#include "clients/c/client.h"
#include "include/omen_client.h"

// The calling thread's last failure: what client_fail and the rest write to.
struct client_error *public_error(void);

static inline struct client *
public_client(omen_client_t client)
{
    return (struct client *)client;
}

// A name or a filter that was given, or nothing.
static inline struct wire_text
public_text(const char *text)
{
    return text != NULL ? wire_text_of(text) : (struct wire_text){0};
}

// An INVALID that names the call.
omen_status public_refuse(const char *what);

#endif
