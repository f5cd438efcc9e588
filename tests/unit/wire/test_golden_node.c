// tests/unit/wire/test_golden_node.c -- what nodes of an earlier build said within and around their frames is read, and written again to
// the same bytes.
//
// tests/golden/wire/node-1.bin has records: a byte for what it is, the count of its bytes (four, little-endian), and these: a handshake, every
// kind of turn, lists of hits, the shapes of wire/inner.h, and a sealed datagram. It is kept for ever. OMEN_GOLDEN=write made it.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/lib/check_main.h"
#include "tests/lib/wire_random.h"
#include "wire/found.h"
#include "wire/handshake.h"
#include "wire/inner.h"
#include "wire/node_codec.h"

#define PATH "tests/golden/wire/node-1.bin"

enum { SHAPES = 5, ROUNDS = 8, TURNS = WIRE_TURN_CLOCK, LISTS = 3, HITS = 4 };
enum { HELLO, WELCOME, CONFIRM, TURN, FOUND, DATAGRAM, SHAPE };
enum { RECORDS = 3 + TURNS + ROUNDS + 1 + SHAPES * ROUNDS };

static const struct shape *const shapes[SHAPES] = {&inner_why_ask, &inner_why, &inner_page,
                                                   &inner_build_ask, &inner_build};
static const struct handshake alice = {.cluster = {1, 2},
                                       .node = {3, 4},
                                       .boot = 5,
                                       .features = 6,
                                       .version_least = 1,
                                       .version_most = 3,
                                       .nonce = "alice's thirty-two random bytes"};
static const struct handshake bob = {.cluster = {1, 2},
                                     .node = {7, 8},
                                     .boot = 9,
                                     .features = 1,
                                     .version_least = 1,
                                     .version_most = 1,
                                     .nonce = "bob's own thirty-two random byte"};
static const uint8_t packet[] = "what gossip says",
                     nonce[SEAL_NONCE_BYTES] = "twenty-four random byte";
static uint8_t hello[HANDSHAKE_HELLO_BYTES], welcome[HANDSHAKE_WELCOME_BYTES];
static struct seal_keys keys;
static struct encode file, body;
static struct wire_pool pool;
static union method_body one;

static void
fresh(void)
{
    static const uint8_t secret[32] = "a key of thirty-two bytes, and o";
    ck_assert_int_eq(seal_init(), OMEN_OK);
    ck_assert_int_eq(seal_keys_of((struct wire_bytes){secret, 32}, &keys), OMEN_OK);
    encode_init(&file, 1 << 24);
    encode_init(&body, 1 << 24);
}

static void
tidy_up(void)
{
    encode_fini(&file);
    encode_fini(&body);
}

// ---- making it ----

static void
add(uint8_t what)
{
    const uint32_t count = (uint32_t)body.count;
    const uint8_t head[] = {what, (uint8_t)count, (uint8_t)(count >> 8), (uint8_t)(count >> 16),
                            (uint8_t)(count >> 24)};
    encode_raw(&file, head, sizeof head);
    encode_raw(&file, body.bytes, body.count);
    encode_reset(&body);
    pool.used = 0;
}

static void
add_handshake(void)
{
    uint8_t confirm[HANDSHAKE_CONFIRM_BYTES];
    handshake_hello(&alice, hello);
    encode_raw(&body, hello, sizeof hello);
    add(HELLO);
    handshake_welcome(keys.peer, &bob, hello, welcome);
    encode_raw(&body, welcome, sizeof welcome);
    add(WELCOME);
    handshake_confirm(keys.peer, hello, welcome, confirm);
    encode_raw(&body, confirm, sizeof confirm);
    add(CONFIRM);
}

static void
add_turns(void)
{
    for (uint8_t kind = WIRE_TURN_COMMAND; kind <= TURNS; kind++) {
        const bool command = kind == WIRE_TURN_COMMAND;
        wire_turn_write(&body,
                        &(struct wire_turn){.kind = kind,
                                            .node = 6,
                                            .boot = 7,
                                            .sent_ns = 8,
                                            .lease_ns = 9,
                                            .position = 10,
                                            .command_bytes = command ? 3 : 0,
                                            .command = command ? (const uint8_t *)"abc" : NULL});
        add(TURN);
    }
}

static void
add_hit(struct prng *prng)
{
    struct found_hit hit = {.distance = prng_unit(prng),
                            .version = prng_next(prng),
                            .id = {.given = 1, .number = random_within(prng, 0, ID_MAX)}};
    if (prng_below(prng, 2) == 0) {
        const struct wire_text text = random_text(prng, &pool, 1, ID_TEXT_BYTES_MAX);
        hit.id = (struct wire_id){.given = 1, .text = text.bytes, .text_bytes = text.count};
    }
    if (prng_below(prng, 2) == 0)
        hit.payload = random_map(prng, &pool);
    if (prng_below(prng, 2) == 0)
        hit.vector = (struct wire_vectors){.form = VECTORS_RAW,
                                           .dtype = WIRE_U8,
                                           .count = 5,
                                           .bytes = random_bytes(prng, &pool, 5)};
    found_hit_write(&body, &hit);
}

static void
add_found(struct prng *prng)
{
    found_write(&body, &(struct found){.shard = 1 + prng_below(prng, 1000),
                                       .took_us = prng_below(prng, 100),
                                       .evaluations = prng_next(prng),
                                       .exact_distances = prng_next(prng),
                                       .tail = prng_below(prng, 2),
                                       .matches = prng_below(prng, 2),
                                       .warnings = prng_below(prng, 8),
                                       .list_count = LISTS,
                                       .strategy = (uint8_t)prng_below(prng, 3)});
    for (uint32_t i = 0; i < LISTS; i++) {
        found_list_write(&body, HITS);
        for (uint32_t j = 0; j < HITS; j++)
            add_hit(prng);
    }
    add(FOUND);
}

static void
make(void)
{
    struct prng prng;
    uint8_t datagram[GOSSIP_DATAGRAM_BYTES_MAX];
    prng_init(&prng, 2);
    add_handshake();
    add_turns();
    for (uint32_t i = 0; i < ROUNDS; i++)
        add_found(&prng);
    encode_raw(&body, datagram,
               seal_datagram(&keys, nonce, (struct wire_bytes){packet, sizeof packet}, datagram));
    add(DATAGRAM);
    for (uint32_t i = 0; i < SHAPES * ROUNDS; i++) {
        random_struct(&prng, &pool, shapes[i / ROUNDS], &one);
        shape_write(&body, shapes[i / ROUNDS], &one);
        add((uint8_t)(SHAPE + i / ROUNDS));
    }
    FILE *out = fopen(PATH, "wbx");
    ck_assert_ptr_nonnull(out);
    ck_assert_uint_eq(fwrite(file.bytes, 1, file.count, out), file.count);
    fclose(out);
}

// ---- reading it, and writing what was read ----

static void
again_hello(struct wire_bytes bytes)
{
    struct handshake theirs;
    ck_assert_int_eq(handshake_take_hello(&bob, bytes, &theirs), HANDSHAKE_FINE);
    ck_assert(memcmp(&theirs, &alice, sizeof theirs) == 0);
    handshake_hello(&theirs, hello);
    encode_raw(&body, hello, sizeof hello);
}

static void
again_welcome(struct wire_bytes bytes)
{
    struct handshake theirs;
    ck_assert_int_eq(handshake_take_welcome(keys.peer, &alice, hello, bytes, &theirs),
                     HANDSHAKE_FINE);
    ck_assert(memcmp(&theirs, &bob, sizeof theirs) == 0);
    handshake_welcome(keys.peer, &theirs, hello, welcome);
    encode_raw(&body, welcome, sizeof welcome);
}

static void
again_confirm(struct wire_bytes bytes)
{
    uint8_t confirm[HANDSHAKE_CONFIRM_BYTES];
    ck_assert_int_eq(handshake_take_confirm(keys.peer, hello, welcome, bytes), HANDSHAKE_FINE);
    handshake_confirm(keys.peer, hello, welcome, confirm);
    encode_raw(&body, confirm, sizeof confirm);
}

static void
again_found(struct wire_bytes bytes)
{
    struct plain plain = plain_of(bytes);
    struct found found;
    found_read(&plain, &found);
    ck_assert_uint_eq(found.list_count, LISTS);
    found_write(&body, &found);
    for (uint32_t i = 0; i < LISTS; i++) {
        ck_assert_uint_eq(found_list_read(&plain), HITS);
        found_list_write(&body, HITS);
        for (uint32_t j = 0; j < HITS; j++) {
            struct found_hit hit;
            found_hit_read(&plain, &hit, NULL);
            ck_assert(!plain.failed);
            found_hit_write(&body, &hit);
        }
    }
    ck_assert(plain_done(&plain));
}

static void
again_datagram(struct wire_bytes bytes)
{
    uint8_t datagram[GOSSIP_DATAGRAM_BYTES_MAX], opened[GOSSIP_PACKET_BYTES_MAX];
    ck_assert_uint_eq(seal_open_datagram(&keys, bytes, opened), sizeof packet);
    ck_assert(memcmp(opened, packet, sizeof packet) == 0);
    encode_raw(&body, datagram,
               seal_datagram(&keys, nonce, (struct wire_bytes){packet, sizeof packet}, datagram));
}

static void
again_shape(const struct shape *shape, struct wire_bytes bytes)
{
    struct decode decode;
    struct omen_error error = {0};
    decode_init(&decode, bytes, &decode_answers, &error);
    shape_read(&decode, shape, &one);
    ck_assert_msg(decode_end(&decode) == OMEN_OK, "%s", error.text);
    shape_write(&body, shape, &one);
}

static void
again(uint8_t what, struct wire_bytes bytes)
{
    static void (*const others[])(struct wire_bytes) = {[HELLO] = again_hello,
                                                        [WELCOME] = again_welcome,
                                                        [CONFIRM] = again_confirm,
                                                        [FOUND] = again_found,
                                                        [DATAGRAM] = again_datagram};
    struct wire_turn turn;
    if (what == TURN) {
        ck_assert(wire_turn_read(bytes, &turn));
        wire_turn_write(&body, &turn);
    } else if (what >= SHAPE) {
        ck_assert_uint_lt(what, SHAPE + SHAPES);
        again_shape(shapes[what - SHAPE], bytes);
    } else {
        others[what](bytes);
    }
}

START_TEST(what_an_earlier_build_sent_is_read_and_written_alike)
{
    static uint8_t bytes[1 << 20];
    const char *want = getenv("OMEN_GOLDEN");
    if (want != NULL && strcmp(want, "write") == 0 && access(PATH, F_OK) != 0)
        make();
    FILE *in = fopen(PATH, "rb");
    ck_assert_ptr_nonnull(in);
    const size_t count = fread(bytes, 1, sizeof bytes, in);
    fclose(in);
    uint32_t records = 0;
    for (size_t at = 0; at < count; records++) {
        ck_assert_uint_ge(count - at, 5);
        const struct wire_bytes said = {bytes + at + 5, plain_u32_at(bytes + at + 1)};
        ck_assert_uint_le(said.count, count - at - 5);
        encode_reset(&body);
        again(bytes[at], said);
        ck_assert_uint_eq(body.count, said.count);
        ck_assert(memcmp(body.bytes, said.bytes, said.count) == 0);
        at += 5 + said.count;
    }
    ck_assert_uint_eq(records, RECORDS);
}
END_TEST

static Suite *
golden_node_suite(void)
{
    Suite *suite = suite_create("wire/golden_node");
    TCase *tcase = tcase_create("golden_node");
    tcase_add_checked_fixture(tcase, fresh, tidy_up);
    tcase_add_test(tcase, what_an_earlier_build_sent_is_read_and_written_alike);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(golden_node_suite)
