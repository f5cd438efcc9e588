// node/admin_text.c -- names, uuids, addresses and hashes as clients write them.
//
// Shape: value.
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "node/admin_int.h"

static int
digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

void
uuid_write(struct cluster_uuid uuid, char text[UUID_TEXT_BYTES])
{
    text[0] = '\0';
    if (uuid_is_none(uuid))
        return;
    snprintf(text, UUID_TEXT_BYTES,
             "%08" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%012" PRIx64, uuid.high >> 32,
             uuid.high >> 16 & 0xffff, uuid.high & 0xffff, uuid.low >> 48,
             uuid.low & 0xffffffffffff);
}

bool
uuid_read(struct wire_text text, struct cluster_uuid *uuid)
{
    uint32_t digits = 0;
    *uuid = (struct cluster_uuid){0};
    if (text.count != UUID_TEXT_BYTES - 1)
        return false;
    for (uint32_t i = 0; i < text.count; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text.bytes[i] != '-')
                return false;
            continue;
        }
        const int digit = digit_of(text.bytes[i]);
        if (digit < 0)
            return false;
        uint64_t *half = digits++ < 16 ? &uuid->high : &uuid->low;
        *half = *half << 4 | (uint64_t)digit;
    }
    return !uuid_is_none(*uuid);
}

bool
hash_read(struct wire_text text, uint64_t *hash)
{
    *hash = 0;
    if (text.count != 16)
        return false;
    for (uint32_t i = 0; i < text.count; i++) {
        const int digit = digit_of(text.bytes[i]);
        if (digit < 0)
            return false;
        *hash = *hash << 4 | (uint64_t)digit;
    }
    return true;
}

// ---- addresses ----

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

void
address_write(const struct gossip_address *address, char text[ADDRESS_TEXT_BYTES])
{
    char host[INET6_ADDRSTRLEN];
    text[0] = '\0';
    if (address->port == 0)
        return;
    const bool is_v4 = memcmp(address->ip, mapped, sizeof mapped) == 0;
    const void *bytes = is_v4 ? address->ip + sizeof mapped : address->ip;
    const char *made = inet_ntop(is_v4 ? AF_INET : AF_INET6, bytes, host, sizeof host);
    ASSERT(made != NULL);
    snprintf(text, ADDRESS_TEXT_BYTES, is_v4 ? "%s:%u" : "[%s]:%u", host, address->port);
}

static bool
port_read(const char *text, uint16_t *port)
{
    uint32_t value = 0;
    for (; *text >= '0' && *text <= '9' && value <= UINT16_MAX; text++)
        value = value * 10 + (uint32_t)(*text - '0');
    *port = (uint16_t)value;
    return *text == '\0' && value > 0 && value <= UINT16_MAX;
}

// "1.2.3.4:7701" or "[::1]:7701". Names of hosts are for who may wait for an answer.
bool
address_read(struct wire_text text, struct gossip_address *address)
{
    char line[ADDRESS_TEXT_BYTES];
    *address = (struct gossip_address){0};
    if (text.count >= sizeof line || memchr(text.bytes, '\0', text.count) != NULL)
        return false;
    memcpy(line, text.bytes, text.count);
    line[text.count] = '\0';
    char *colon = strrchr(line, ':');
    if (colon == NULL || !port_read(colon + 1, &address->port))
        return false;
    if (line[0] == '[' && colon > line && colon[-1] == ']') {
        colon[-1] = '\0';
        return inet_pton(AF_INET6, line + 1, address->ip) == 1;
    }
    *colon = '\0';
    memcpy(address->ip, mapped, sizeof mapped);
    return inet_pton(AF_INET, line, address->ip + sizeof mapped) == 1;
}

// ---- names ----

struct map_name
name_of_text(struct wire_text text)
{
    struct map_name name;
    const bool valid = map_name_set(&name, text.bytes, text.count);
    ASSERT(valid);
    return name;
}

struct wire_text
text_of_name(const struct map_name *name)
{
    return (struct wire_text){name->bytes, name->count};
}
