// gossip/gossip_msg.c -- the messages' limits and their bytes.
//
// Shape: value.
//
// Little-endian, no padding, no compression, nothing optional but what the kind or a bit says: the size of a claim is known
// before it is written, which is how a datagram is filled to its limit and never beyond it.
//
//   message  version 1, kind 1, flags 1, claims 1, seq 4, cluster 16, from 16, from_boot 8, from_address 18
//            [target 16, target_boot 8] [digest 8] claims
//   claim    state 1 (bit 7: with meta), boot 8, incarnation 4, subject 16 [by 16] [meta]
//   meta     address 18, client 18, map_version 8, load 4, roles 1, zone 1 + n, data 1 + n
#include "gossip/gossip_msg.h"

#include "base/assert.h"

#define WITH_META 0x80u
#define META_BYTES_MIN 51u

struct reader {
    const uint8_t *at, *end;
    bool short_of; // something was asked for that is not there; all reads after it give zeros
};

static bool
kind_has_target(uint8_t kind)
{
    return kind == GOSSIP_PING || kind == GOSSIP_ACK || kind == GOSSIP_PING_REQ;
}

bool
gossip_meta_equal(const struct gossip_meta *a, const struct gossip_meta *b)
{
    return gossip_address_equal(&a->address, &b->address) &&
           gossip_address_equal(&a->client, &b->client) && a->map_version == b->map_version &&
           a->load == b->load && a->roles == b->roles && a->zone_bytes == b->zone_bytes &&
           a->data_bytes == b->data_bytes && memcmp(a->zone, b->zone, a->zone_bytes) == 0 &&
           memcmp(a->data, b->data, a->data_bytes) == 0;
}

bool
gossip_meta_valid(const struct gossip_meta *meta)
{
    return meta->address.port != 0 && meta->zone_bytes <= GOSSIP_ZONE_BYTES_MAX &&
           meta->data_bytes <= GOSSIP_DATA_BYTES_MAX;
}

bool
gossip_claim_valid(const struct gossip_claim *claim)
{
    if (claim->state > GOSSIP_LEFT || claim->has_meta > 1 ||
        claim->incarnation > GOSSIP_INCARNATION_MAX || gossip_id_is_none(claim->subject))
        return false;
    if (claim->state == GOSSIP_ALIVE && claim->has_meta == 0)
        return false;
    if (claim->state == GOSSIP_SUSPECT &&
        (gossip_id_is_none(claim->by) || gossip_id_equal(claim->by, claim->subject)))
        return false;
    return claim->has_meta == 0 || gossip_meta_valid(&claim->meta);
}

bool
gossip_msg_valid(const struct gossip_msg *msg)
{
    if (msg->kind < GOSSIP_PING || msg->kind > GOSSIP_STATE || msg->flags > GOSSIP_FLAG_WANT ||
        msg->claim_count > GOSSIP_CLAIMS_MAX || msg->from_address.port == 0 ||
        gossip_id_is_none(msg->cluster) || gossip_id_is_none(msg->from))
        return false;
    if (kind_has_target(msg->kind) && gossip_id_is_none(msg->target))
        return false;
    for (uint32_t i = 0; i < msg->claim_count; i++)
        if (!gossip_claim_valid(&msg->claims[i]))
            return false;
    return gossip_msg_bytes(msg) <= GOSSIP_PACKET_BYTES_MAX;
}

size_t
gossip_claim_bytes(const struct gossip_claim *claim)
{
    size_t bytes = GOSSIP_CLAIM_BYTES_MIN;
    if (claim->state == GOSSIP_SUSPECT)
        bytes += 16;
    if (claim->has_meta != 0)
        bytes += META_BYTES_MIN + claim->meta.zone_bytes + claim->meta.data_bytes;
    return bytes;
}

// Without claims.
static size_t
gossip_msg_head_bytes(uint8_t kind)
{
    return GOSSIP_HEADER_BYTES + (kind_has_target(kind) ? GOSSIP_TARGET_BYTES : 0) +
           (kind == GOSSIP_ASK ? GOSSIP_DIGEST_BYTES : 0);
}

size_t
gossip_msg_bytes(const struct gossip_msg *msg)
{
    size_t bytes = gossip_msg_head_bytes(msg->kind);
    for (uint32_t i = 0; i < msg->claim_count; i++)
        bytes += gossip_claim_bytes(&msg->claims[i]);
    return bytes;
}

static uint8_t *
put_number(uint8_t *at, uint64_t number, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(number >> (8 * i));
    return at + bytes;
}

static uint8_t *
put_bytes(uint8_t *at, const uint8_t *bytes, size_t count)
{
    memcpy(at, bytes, count);
    return at + count;
}

static uint8_t *
put_id(uint8_t *at, struct gossip_id id)
{
    return put_number(put_number(at, id.high, 8), id.low, 8);
}

static uint8_t *
put_address(uint8_t *at, const struct gossip_address *address)
{
    return put_number(put_bytes(at, address->ip, sizeof address->ip), address->port, 2);
}

static uint8_t *
put_claim(uint8_t *at, const struct gossip_claim *claim)
{
    at = put_number(at, claim->state | (claim->has_meta != 0 ? WITH_META : 0), 1);
    at = put_number(at, claim->boot, 8);
    at = put_number(at, claim->incarnation, 4);
    at = put_id(at, claim->subject);
    if (claim->state == GOSSIP_SUSPECT)
        at = put_id(at, claim->by);
    if (claim->has_meta == 0)
        return at;
    const struct gossip_meta *meta = &claim->meta;
    at = put_address(at, &meta->address);
    at = put_address(at, &meta->client);
    at = put_number(at, meta->map_version, 8);
    at = put_number(at, meta->load, 4);
    at = put_number(at, meta->roles, 1);
    at = put_number(at, meta->zone_bytes, 1);
    at = put_bytes(at, meta->zone, meta->zone_bytes);
    at = put_number(at, meta->data_bytes, 1);
    return put_bytes(at, meta->data, meta->data_bytes);
}

size_t
gossip_msg_encode(const struct gossip_msg *msg, uint8_t bytes[GOSSIP_PACKET_BYTES_MAX])
{
    ASSERT(gossip_msg_valid(msg));
    uint8_t *at = put_number(bytes, GOSSIP_VERSION, 1);
    at = put_number(at, msg->kind, 1);
    at = put_number(at, msg->flags, 1);
    at = put_number(at, msg->claim_count, 1);
    at = put_number(at, msg->seq, 4);
    at = put_id(at, msg->cluster);
    at = put_id(at, msg->from);
    at = put_number(at, msg->from_boot, 8);
    at = put_address(at, &msg->from_address);
    if (kind_has_target(msg->kind)) {
        at = put_id(at, msg->target);
        at = put_number(at, msg->target_boot, 8);
    }
    if (msg->kind == GOSSIP_ASK)
        at = put_number(at, msg->digest, 8);
    for (uint32_t i = 0; i < msg->claim_count; i++)
        at = put_claim(at, &msg->claims[i]);
    ASSERT((size_t)(at - bytes) == gossip_msg_bytes(msg));
    return (size_t)(at - bytes);
}

static uint64_t
take_number(struct reader *reader, uint32_t bytes)
{
    uint64_t number = 0;
    if ((size_t)(reader->end - reader->at) < bytes) {
        reader->short_of = true;
        reader->at = reader->end;
        return 0;
    }
    for (uint32_t i = 0; i < bytes; i++)
        number |= (uint64_t)reader->at[i] << (8 * i);
    reader->at += bytes;
    return number;
}

static void
take_bytes(struct reader *reader, uint8_t *bytes, size_t count)
{
    if ((size_t)(reader->end - reader->at) < count) {
        reader->short_of = true;
        reader->at = reader->end;
        return;
    }
    memcpy(bytes, reader->at, count);
    reader->at += count;
}

static struct gossip_id
take_id(struct reader *reader)
{
    const uint64_t high = take_number(reader, 8);
    return (struct gossip_id){.high = high, .low = take_number(reader, 8)};
}

static struct gossip_address
take_address(struct reader *reader)
{
    struct gossip_address address = {.port = 0};
    take_bytes(reader, address.ip, sizeof address.ip);
    address.port = (uint16_t)take_number(reader, 2);
    return address;
}

static void
take_claim(struct reader *reader, struct gossip_claim *claim)
{
    memset(claim, 0, sizeof *claim);
    const uint8_t head = (uint8_t)take_number(reader, 1);
    claim->state = head & (uint8_t)~WITH_META;
    claim->has_meta = head >> 7;
    claim->boot = take_number(reader, 8);
    claim->incarnation = (uint32_t)take_number(reader, 4);
    claim->subject = take_id(reader);
    if (claim->state == GOSSIP_SUSPECT)
        claim->by = take_id(reader);
    if (claim->has_meta == 0)
        return;
    struct gossip_meta *meta = &claim->meta;
    meta->address = take_address(reader);
    meta->client = take_address(reader);
    meta->map_version = take_number(reader, 8);
    meta->load = (uint32_t)take_number(reader, 4);
    meta->roles = (uint8_t)take_number(reader, 1);
    meta->zone_bytes = (uint8_t)take_number(reader, 1);
    if (meta->zone_bytes > GOSSIP_ZONE_BYTES_MAX) {
        reader->short_of = true;
        return;
    }
    take_bytes(reader, meta->zone, meta->zone_bytes);
    meta->data_bytes = (uint8_t)take_number(reader, 1);
    if (meta->data_bytes > GOSSIP_DATA_BYTES_MAX) {
        reader->short_of = true;
        return;
    }
    take_bytes(reader, meta->data, meta->data_bytes);
}

omen_status
gossip_msg_decode(const uint8_t *bytes, size_t count, struct gossip_msg *msg)
{
    struct reader reader = {.at = bytes, .end = bytes + count};
    if (count == 0 || count > GOSSIP_PACKET_BYTES_MAX)
        return OMEN_E_CORRUPT;
    if (take_number(&reader, 1) != GOSSIP_VERSION)
        return OMEN_E_VERSION;
    memset(msg, 0, offsetof(struct gossip_msg, claims));
    msg->kind = (uint8_t)take_number(&reader, 1);
    msg->flags = (uint8_t)take_number(&reader, 1);
    const uint8_t claims = (uint8_t)take_number(&reader, 1);
    msg->seq = (uint32_t)take_number(&reader, 4);
    msg->cluster = take_id(&reader);
    msg->from = take_id(&reader);
    msg->from_boot = take_number(&reader, 8);
    msg->from_address = take_address(&reader);
    if (kind_has_target(msg->kind)) {
        msg->target = take_id(&reader);
        msg->target_boot = take_number(&reader, 8);
    }
    if (msg->kind == GOSSIP_ASK)
        msg->digest = take_number(&reader, 8);
    if (claims > GOSSIP_CLAIMS_MAX)
        return OMEN_E_CORRUPT;
    while (msg->claim_count < claims && !reader.short_of)
        take_claim(&reader, &msg->claims[msg->claim_count++]);
    if (reader.short_of || reader.at != reader.end || !gossip_msg_valid(msg))
        return OMEN_E_CORRUPT;
    return OMEN_OK;
}
