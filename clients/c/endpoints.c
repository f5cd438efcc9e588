// clients/c/endpoints.c -- where a cluster is, taken apart.
//
// Shape: value.
#include "clients/c/endpoints.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define SCHEME "omen://"
#define PORT_MAX 65535u

static omen_status
refuse(struct omen_error *error, const char *entry, size_t bytes, const char *why)
{
    return error_set(error, OMEN_E_INVALID, "endpoint '%.*s' %s", (int)(bytes < 100 ? bytes : 100),
                     entry, why);
}

static omen_status
parse_port(const char *text, size_t bytes, char out[6])
{
    uint32_t port = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9')
            return OMEN_E_INVALID;
        port = port * 10 + (uint32_t)(text[i] - '0');
        if (port > PORT_MAX)
            return OMEN_E_INVALID;
    }
    if (port == 0)
        return OMEN_E_INVALID;
    snprintf(out, 6, "%u", port);
    return OMEN_OK;
}

// "host", "host:port", "[address]", "[address]:port"; an address of IPv6 without brackets has no port.
static omen_status
parse_one(const char *entry, size_t bytes, struct endpoint *out, struct omen_error *error)
{
    const bool in_brackets = bytes > 0 && entry[0] == '[';
    const char *host = entry + in_brackets, *port = NULL;
    const char *end = entry + bytes;
    if (in_brackets) {
        const char *close = memchr(entry, ']', bytes);
        if (close == NULL)
            return refuse(error, entry, bytes, "has no closing bracket");
        if (close + 1 < end && close[1] != ':')
            return refuse(error, entry, bytes, "has something behind its bracket");
        port = close + 1 < end ? close + 2 : NULL;
        end = close;
    } else {
        const char *colon = memchr(entry, ':', bytes);
        if (colon != NULL && memchr(colon + 1, ':', (size_t)(end - colon - 1)) == NULL) {
            port = colon + 1;
            end = colon;
        }
    }
    const size_t host_bytes = (size_t)(end - host);
    if (host_bytes == 0)
        return refuse(error, entry, bytes, "has no host");
    if (host_bytes >= sizeof out->host)
        return refuse(error, entry, bytes, "has a host of more than 255 bytes");
    memcpy(out->host, host, host_bytes);
    out->host[host_bytes] = '\0';
    if (port == NULL)
        memcpy(out->port, ENDPOINT_PORT, sizeof ENDPOINT_PORT);
    else if (parse_port(port, (size_t)(entry + bytes - port), out->port) != OMEN_OK)
        return refuse(error, entry, bytes, "has no port in 1..65535");
    struct text text;
    text_init(&text, out->text, sizeof out->text);
    text_add(&text, strchr(out->host, ':') != NULL ? "[%s]" : "%s", out->host);
    text_add(&text, ":%s", out->port);
    return OMEN_OK;
}

omen_status
endpoints_parse(const char *text, struct endpoints *out, struct omen_error *error)
{
    out->count = 0;
    if (strncmp(text, SCHEME, sizeof SCHEME - 1) == 0)
        text += sizeof SCHEME - 1;
    for (;;) {
        const size_t bytes = strcspn(text, ",");
        if (out->count == ENDPOINTS_MAX)
            return error_set(error, OMEN_E_INVALID, "more than %u endpoints", ENDPOINTS_MAX);
        const omen_status status = parse_one(text, bytes, &out->at[out->count], error);
        if (status != OMEN_OK)
            return status;
        out->count++;
        if (text[bytes] == '\0')
            return OMEN_OK;
        text += bytes + 1;
    }
}
