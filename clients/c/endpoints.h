// clients/c/endpoints.h -- where a cluster is: "omen://host:7700,[::1]:7701", taken apart.
//
// Shape: value.
#ifndef OMEN_CLIENTS_C_ENDPOINTS_H
#define OMEN_CLIENTS_C_ENDPOINTS_H
#include <stdint.h>

#include "base/error.h"

#define ENDPOINTS_MAX 32u
#define ENDPOINT_PORT "7700" // of one that names none

struct endpoint {
    char host[256]; // a name or an address, without brackets
    char port[6];
    char text[272]; // for messages: as it was written, with its port
};

struct endpoints {
    struct endpoint at[ENDPOINTS_MAX];
    uint32_t count; // at least 1
};

// OMEN_E_INVALID names the entry that is wrong.
OMEN_MUST_CHECK omen_status endpoints_parse(const char *text, struct endpoints *out,
                                            struct omen_error *error);

#endif
