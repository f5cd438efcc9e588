// node/address.c -- "host:port" as people write it, and as nodes say it to each other.
//
// Shape: shell.
#include "node/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define HOST_BYTES_MAX 255u

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

struct parts {
    char host[HOST_BYTES_MAX + 1];
    const char *port; // NULL: none was said
};

static bool
split(const char *text, struct parts *parts)
{
    const char *host = text, *end, *colon;
    if (*text == '[') {
        host = text + 1;
        end = strchr(host, ']');
        if (end == NULL || (end[1] != ':' && end[1] != '\0'))
            return false;
        colon = end[1] == ':' ? end + 1 : NULL;
    } else {
        colon = strchr(text, ':');
        if (colon != NULL && strchr(colon + 1, ':') != NULL)
            return false; // IPv6 without brackets: nobody knows where its port would begin
        end = colon != NULL ? colon : text + strlen(text);
    }
    const size_t count = (size_t)(end - host);
    if (count == 0 || count > HOST_BYTES_MAX)
        return false;
    // A port alone; the resolver would take it for an IPv4 address of one number.
    if (strspn(host, "0123456789") == count)
        return false;
    memcpy(parts->host, host, count);
    parts->host[count] = '\0';
    parts->port = colon != NULL && colon[1] != '\0' ? colon + 1 : NULL;
    return true;
}

static bool
port_of(const char *text, uint16_t *port)
{
    uint32_t value = 0;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at < '0' || *at > '9' || at - text >= 5)
            return false;
        value = value * 10 + (uint32_t)(*at - '0');
    }
    *port = (uint16_t)value;
    return value <= UINT16_MAX;
}

static void
take(const struct sockaddr *found, struct gossip_address *out)
{
    if (found->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, found, sizeof v6);
        memcpy(out->ip, &v6.sin6_addr, 16);
        return;
    }
    struct sockaddr_in v4;
    memcpy(&v4, found, sizeof v4);
    memcpy(out->ip, mapped, sizeof mapped);
    memcpy(out->ip + sizeof mapped, &v4.sin_addr, 4);
}

omen_status
address_of(const char *text, uint16_t port, struct gossip_address *out, struct omen_error *error)
{
    struct parts parts;
    *out = (struct gossip_address){.port = port};
    if (!split(text, &parts))
        return error_set(error, OMEN_E_INVALID, "\"%s\" is no HOST:PORT", text);
    if (parts.port != NULL && !port_of(parts.port, &out->port))
        return error_set(error, OMEN_E_INVALID, "\"%s\": the port is no number from 0 to 65535",
                         text);
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    const int failed = getaddrinfo(parts.host, NULL, &hints, &found);
    if (failed != 0)
        return error_set(error, OMEN_E_INVALID, "\"%s\": %s", text, gai_strerror(failed));
    take(found->ai_addr, out);
    freeaddrinfo(found);
    return OMEN_OK;
}

bool
address_is_v4(const struct gossip_address *address)
{
    return memcmp(address->ip, mapped, sizeof mapped) == 0;
}

void
address_host(const struct gossip_address *address, char text[ADDRESS_TEXT_BYTES])
{
    const bool v4 = address_is_v4(address);
    const char *done = inet_ntop(v4 ? AF_INET : AF_INET6, address->ip + (v4 ? sizeof mapped : 0),
                                 text, ADDRESS_TEXT_BYTES);
    if (done == NULL)
        text[0] = '\0';
}

void
address_text(const struct gossip_address *address, char text[ADDRESS_TEXT_BYTES])
{
    char host[ADDRESS_TEXT_BYTES - 8]; // brackets, colon and port
    char whole[ADDRESS_TEXT_BYTES];
    address_host(address, whole);
    memcpy(host, whole, sizeof host - 1); // INET6_ADDRSTRLEN is 46
    host[sizeof host - 1] = '\0';
    snprintf(text, ADDRESS_TEXT_BYTES, address_is_v4(address) ? "%s:%u" : "[%s]:%u", host,
             address->port);
}

bool
address_is_loopback(const struct gossip_address *address)
{
    static const uint8_t one[16] = {[15] = 1};
    return address_is_v4(address) ? address->ip[12] == 127 : memcmp(address->ip, one, 16) == 0;
}

bool
address_is_any(const struct gossip_address *address)
{
    static const uint8_t zeros[16];
    return memcmp(address->ip, zeros, 16) == 0 ||
           (address_is_v4(address) && memcmp(address->ip + 12, zeros, 4) == 0);
}
