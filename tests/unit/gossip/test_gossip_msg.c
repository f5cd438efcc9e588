// tests/unit/gossip/test_gossip_msg.c -- messages come out of their bytes as they went in, and anything else is refused.
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/prng.h"
#include "gossip/gossip_msg.h"
#include "tests/lib/check_main.h"

#define CLAIM(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg(__VA_ARGS__);                                                             \
    } while (0)

static struct gossip_address
random_address(struct prng *prng)
{
    struct gossip_address address = {.port = (uint16_t)(1 + prng_below(prng, 65535))};
    for (size_t i = 0; i < sizeof address.ip; i++)
        address.ip[i] = (uint8_t)prng_next(prng);
    return address;
}

static struct gossip_id
random_id(struct prng *prng)
{
    const uint64_t high = prng_next(prng); // each draw is a statement: lists have no order
    return (struct gossip_id){.high = high, .low = prng_next(prng) | 1};
}

static struct gossip_meta
random_meta(struct prng *prng)
{
    struct gossip_meta meta = {0};
    meta.address = random_address(prng);
    meta.client = random_address(prng);
    meta.map_version = prng_next(prng);
    meta.load = (uint32_t)prng_next(prng);
    meta.roles = (uint8_t)prng_next(prng);
    meta.zone_bytes = (uint8_t)prng_below(prng, GOSSIP_ZONE_BYTES_MAX + 1);
    meta.data_bytes = (uint8_t)prng_below(prng, GOSSIP_DATA_BYTES_MAX + 1);
    memset(meta.zone, 'z', meta.zone_bytes);
    memset(meta.data, 'd', meta.data_bytes);
    return meta;
}

static struct gossip_claim
random_claim(struct prng *prng)
{
    struct gossip_claim claim = {0};
    claim.state = (uint8_t)prng_below(prng, 4);
    claim.has_meta = (uint8_t)prng_below(prng, 2);
    claim.incarnation = prng_below(prng, GOSSIP_INCARNATION_MAX) + 1;
    claim.boot = prng_next(prng);
    claim.subject = random_id(prng);
    if (claim.state == GOSSIP_ALIVE)
        claim.has_meta = 1;
    if (claim.state == GOSSIP_SUSPECT)
        claim.by = random_id(prng);
    if (claim.has_meta != 0)
        claim.meta = random_meta(prng);
    return claim;
}

// As many claims as there is room for, at most `claims`.
static void
random_msg(struct prng *prng, struct gossip_msg *msg, uint32_t claims)
{
    memset(msg, 0, sizeof *msg);
    msg->kind = (uint8_t)(GOSSIP_PING + prng_below(prng, GOSSIP_STATE));
    msg->flags = (uint8_t)prng_below(prng, 2);
    msg->cluster = random_id(prng);
    msg->from = random_id(prng);
    msg->from_boot = prng_next(prng);
    msg->from_address = random_address(prng);
    msg->seq = (uint32_t)prng_next(prng);
    if (msg->kind <= GOSSIP_PING_REQ) {
        msg->target = random_id(prng);
        msg->target_boot = prng_next(prng);
    }
    if (msg->kind == GOSSIP_ASK)
        msg->digest = prng_next(prng);
    for (uint32_t i = 0; i < claims; i++) {
        const struct gossip_claim claim = random_claim(prng);
        if (gossip_msg_bytes(msg) + gossip_claim_bytes(&claim) > GOSSIP_PACKET_BYTES_MAX)
            break;
        msg->claims[msg->claim_count++] = claim;
    }
}

static bool
msg_equal(const struct gossip_msg *a, const struct gossip_msg *b)
{
    if (a->kind != b->kind || a->flags != b->flags || a->seq != b->seq || a->digest != b->digest ||
        a->claim_count != b->claim_count || !gossip_id_equal(a->cluster, b->cluster) ||
        !gossip_id_equal(a->from, b->from) || a->from_boot != b->from_boot ||
        !gossip_address_equal(&a->from_address, &b->from_address) ||
        !gossip_id_equal(a->target, b->target) || a->target_boot != b->target_boot)
        return false;
    for (uint32_t i = 0; i < a->claim_count; i++) {
        const struct gossip_claim *x = &a->claims[i], *y = &b->claims[i];
        if (x->state != y->state || x->has_meta != y->has_meta || x->boot != y->boot ||
            x->incarnation != y->incarnation || !gossip_id_equal(x->subject, y->subject) ||
            !gossip_id_equal(x->by, y->by) || !gossip_meta_equal(&x->meta, &y->meta))
            return false;
    }
    return true;
}

START_TEST(message_comes_out_as_it_went_in)
{
    struct prng prng;
    struct gossip_msg in, out;
    uint8_t bytes[GOSSIP_PACKET_BYTES_MAX];
    prng_init(&prng, (uint64_t)_i);
    for (int i = 0; i < 200; i++) {
        random_msg(&prng, &in, prng_below(&prng, GOSSIP_CLAIMS_MAX + 1));
        const size_t count = gossip_msg_encode(&in, bytes);
        CLAIM(count == gossip_msg_bytes(&in), "size was foretold wrongly");
        CLAIM(gossip_msg_decode(bytes, count, &out) == OMEN_OK, "refused");
        CLAIM(msg_equal(&in, &out), "another message");
    }
}
END_TEST

START_TEST(every_cut_message_is_refused)
{
    struct prng prng;
    struct gossip_msg in, out;
    uint8_t bytes[GOSSIP_PACKET_BYTES_MAX + 1] = {0};
    prng_init(&prng, (uint64_t)_i);
    random_msg(&prng, &in, 5);
    const size_t count = gossip_msg_encode(&in, bytes);
    for (size_t cut = 0; cut < count; cut++)
        CLAIM(gossip_msg_decode(bytes, cut, &out) == OMEN_E_CORRUPT, "%zu of %zu", cut, count);
    ck_assert_int_eq(gossip_msg_decode(bytes, count + 1, &out), OMEN_E_CORRUPT);
}
END_TEST

START_TEST(another_version_is_told_apart)
{
    struct prng prng;
    struct gossip_msg in, out;
    uint8_t bytes[GOSSIP_PACKET_BYTES_MAX];
    prng_init(&prng, 1);
    random_msg(&prng, &in, 1);
    const size_t count = gossip_msg_encode(&in, bytes);
    bytes[0] = GOSSIP_VERSION + 1;
    ck_assert_int_eq(gossip_msg_decode(bytes, count, &out), OMEN_E_VERSION);
}
END_TEST

START_TEST(more_bytes_than_a_datagram_has_are_refused)
{
    static uint8_t bytes[GOSSIP_PACKET_BYTES_MAX + 1] = {GOSSIP_VERSION};
    struct gossip_msg out;
    ck_assert_int_eq(gossip_msg_decode(bytes, sizeof bytes, &out), OMEN_E_CORRUPT);
}
END_TEST

// A flipped byte may well be another valid message; it must not be anything worse.
START_TEST(damaged_messages_are_refused_or_valid)
{
    struct prng prng;
    struct gossip_msg in, out;
    uint8_t bytes[GOSSIP_PACKET_BYTES_MAX], again[GOSSIP_PACKET_BYTES_MAX];
    prng_init(&prng, (uint64_t)_i);
    for (int i = 0; i < 2000; i++) {
        random_msg(&prng, &in, 6);
        const size_t count = gossip_msg_encode(&in, bytes);
        for (uint32_t flips = 1 + prng_below(&prng, 3); flips > 0; flips--) {
            const uint32_t at = prng_below(&prng, (uint32_t)count);
            bytes[at] = (uint8_t)prng_next(&prng);
        }
        if (gossip_msg_decode(bytes, count, &out) != OMEN_OK)
            continue;
        CLAIM(gossip_msg_valid(&out), "not valid");
        CLAIM(gossip_msg_encode(&out, again) == count, "another size");
        CLAIM(memcmp(bytes, again, count) == 0, "other bytes: two forms of one message");
    }
}
END_TEST

static struct gossip_claim
good_claim(enum gossip_state state)
{
    struct prng prng;
    prng_init(&prng, 3);
    struct gossip_claim claim = random_claim(&prng);
    claim.state = (uint8_t)state;
    claim.has_meta = 1;
    claim.meta = random_meta(&prng);
    claim.by = random_id(&prng);
    ck_assert(gossip_claim_valid(&claim));
    return claim;
}

START_TEST(claims_beyond_their_limits_are_refused)
{
    struct gossip_claim claim = good_claim(GOSSIP_ALIVE);
    claim.state = GOSSIP_LEFT + 1;
    ck_assert(!gossip_claim_valid(&claim));
    claim = good_claim(GOSSIP_ALIVE);
    claim.has_meta = 2;
    ck_assert(!gossip_claim_valid(&claim));
    claim.has_meta = 0;
    ck_assert_msg(!gossip_claim_valid(&claim), "alive without an address");
    claim = good_claim(GOSSIP_DEAD);
    claim.incarnation = GOSSIP_INCARNATION_MAX;
    ck_assert(gossip_claim_valid(&claim));
    claim.incarnation++;
    ck_assert(!gossip_claim_valid(&claim));
    claim = good_claim(GOSSIP_DEAD);
    claim.subject = (struct gossip_id){0};
    ck_assert(!gossip_claim_valid(&claim));
    claim = good_claim(GOSSIP_SUSPECT);
    claim.by = claim.subject;
    ck_assert_msg(!gossip_claim_valid(&claim), "nobody suspects itself");
    claim.by = (struct gossip_id){0};
    ck_assert(!gossip_claim_valid(&claim));
    claim = good_claim(GOSSIP_ALIVE);
    claim.meta.address.port = 0;
    ck_assert(!gossip_claim_valid(&claim));
    claim = good_claim(GOSSIP_ALIVE);
    claim.meta.zone_bytes = GOSSIP_ZONE_BYTES_MAX + 1;
    ck_assert(!gossip_claim_valid(&claim));
    claim = good_claim(GOSSIP_ALIVE);
    claim.meta.data_bytes = UINT8_MAX;
    ck_assert(!gossip_claim_valid(&claim));
}
END_TEST

START_TEST(messages_beyond_their_limits_are_refused)
{
    struct prng prng;
    struct gossip_msg good, bad;
    prng_init(&prng, 4);
    do
        random_msg(&prng, &good, 3);
    while (good.kind != GOSSIP_PING);
    ck_assert(gossip_msg_valid(&good));
#define REFUSED(change)                                                                            \
    bad = good;                                                                                    \
    change;                                                                                        \
    ck_assert_msg(!gossip_msg_valid(&bad), #change)
    REFUSED(bad.kind = 0);
    REFUSED(bad.kind = GOSSIP_STATE + 1);
    REFUSED(bad.flags = 2);
    REFUSED(bad.claim_count = GOSSIP_CLAIMS_MAX + 1);
    REFUSED(bad.claim_count = UINT8_MAX);
    REFUSED(bad.from_address.port = 0);
    REFUSED(bad.cluster = (struct gossip_id){0});
    REFUSED(bad.from = (struct gossip_id){0});
    REFUSED(bad.target = (struct gossip_id){0});
    REFUSED(bad.claims[2].state = 77);
#undef REFUSED
    bad = good;
    for (bad.claim_count = 0; bad.claim_count < GOSSIP_CLAIMS_MAX; bad.claim_count++)
        bad.claims[bad.claim_count] = good_claim(GOSSIP_ALIVE);
    ck_assert_msg(!gossip_msg_valid(&bad), "more than a datagram holds");
}
END_TEST

// tests/golden/wire/gossip-1.bin is kept for ever: messages, each behind its size in two bytes, little-endian. OMEN_GOLDEN=write made it.
#define GOLDEN "tests/golden/wire/gossip-1.bin"
enum { GOLDEN_MESSAGES = 40 };

static void
make_golden(void)
{
    struct prng prng;
    struct gossip_msg msg;
    uint8_t bytes[2 + GOSSIP_PACKET_BYTES_MAX];
    FILE *file = fopen(GOLDEN, "wbx");
    ck_assert_ptr_nonnull(file);
    prng_init(&prng, 1);
    for (uint32_t i = 0; i < GOLDEN_MESSAGES; i++) {
        random_msg(&prng, &msg, i % 7);
        const size_t count = gossip_msg_encode(&msg, bytes + 2);
        bytes[0] = (uint8_t)count;
        bytes[1] = (uint8_t)(count >> 8);
        ck_assert_uint_eq(fwrite(bytes, 1, 2 + count, file), 2 + count);
    }
    fclose(file);
}

START_TEST(what_an_earlier_build_said_is_read_and_said_alike)
{
    struct gossip_msg msg;
    uint8_t size[2], bytes[GOSSIP_PACKET_BYTES_MAX], again[GOSSIP_PACKET_BYTES_MAX];
    uint32_t messages = 0, kinds = 0;
    const char *want = getenv("OMEN_GOLDEN");
    if (want != NULL && strcmp(want, "write") == 0 && access(GOLDEN, F_OK) != 0)
        make_golden();
    FILE *file = fopen(GOLDEN, "rb");
    ck_assert_ptr_nonnull(file);
    for (; fread(size, 1, 2, file) == 2; messages++) {
        const size_t count = size[0] | (size_t)size[1] << 8;
        ck_assert(count <= sizeof bytes && fread(bytes, 1, count, file) == count);
        ck_assert_int_eq(gossip_msg_decode(bytes, count, &msg), OMEN_OK);
        ck_assert_uint_eq(gossip_msg_encode(&msg, again), count);
        ck_assert(memcmp(again, bytes, count) == 0);
        kinds |= 1u << msg.kind;
    }
    fclose(file);
    ck_assert_uint_eq(messages, GOLDEN_MESSAGES);
    ck_assert_uint_eq(kinds, (2u << GOSSIP_STATE) - 2);
}
END_TEST

static Suite *
suite(void)
{
    Suite *s = suite_create("gossip/gossip_msg");
    TCase *bytes = tcase_create("bytes");
    tcase_add_loop_test(bytes, message_comes_out_as_it_went_in, 0, 5);
    tcase_add_loop_test(bytes, every_cut_message_is_refused, 0, 20);
    tcase_add_test(bytes, another_version_is_told_apart);
    tcase_add_test(bytes, more_bytes_than_a_datagram_has_are_refused);
    tcase_add_loop_test(bytes, damaged_messages_are_refused_or_valid, 0, 5);
    tcase_add_test(bytes, what_an_earlier_build_said_is_read_and_said_alike);
    suite_add_tcase(s, bytes);
    TCase *limits = tcase_create("limits");
    tcase_add_test(limits, claims_beyond_their_limits_are_refused);
    tcase_add_test(limits, messages_beyond_their_limits_are_refused);
    suite_add_tcase(s, limits);
    return s;
}

CHECK_MAIN(suite)
