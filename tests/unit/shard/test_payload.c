// tests/unit/shard/test_payload.c -- the payload store beside an array of copies.
//
// Labels: tsan
#include "shard/payload.h"

#include <pthread.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/prng.h"
#include "tests/lib/check_main.h"

static void
reserve(struct payloads *payloads, uint32_t slots, uint32_t count, uint64_t bytes)
{
    const struct payload_room room = {slots, count, bytes};
    ck_assert_int_eq(payloads_reserve(payloads, &room), OMEN_OK);
}

// The bytes of a payload follow from its slot and version, so a reader can tell a whole one from
// a torn one.
static void
make(uint8_t *bytes, size_t count, uint32_t slot, uint32_t version)
{
    struct prng prng;
    prng_init(&prng, (uint64_t)slot << 32 | version);
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)prng_next(&prng);
}

#define TWIN_SLOTS 10000u

START_TEST(store_gives_back_what_a_plain_array_holds)
{
    static uint8_t bytes[PAYLOAD_BYTES_MAX];
    static uint32_t version[TWIN_SLOTS];
    static size_t length[TWIN_SLOTS];
    struct epoch gate;
    struct payloads *payloads;
    struct prng prng;
    epoch_init(&gate);
    prng_init(&prng, 3);
    ck_assert_int_eq(payloads_open(TWIN_SLOTS, &gate, &payloads), OMEN_OK);
    uint64_t live = 0;
    for (uint32_t round = 1; round <= 30000; round++) {
        const uint32_t slot = prng_below(&prng, TWIN_SLOTS);
        if (prng_below(&prng, 4) == 0) {
            payloads_clear(payloads, slot);
            live -= length[slot];
            length[slot] = 0;
        } else {
            const size_t count =
                1 + prng_below(&prng, prng_below(&prng, 50) == 0 ? PAYLOAD_BYTES_MAX : 200);
            make(bytes, count, slot, round);
            reserve(payloads, slot + 1, 1, count);
            payloads_set(payloads, slot, bytes, count);
            live += count;
            live -= length[slot];
            length[slot] = count;
            version[slot] = round;
        }
        struct payload_memory memory;
        payloads_memory(payloads, &memory);
        ck_assert_uint_eq(memory.live, live);
        ck_assert_uint_eq(memory.live + memory.dead + memory.overhead, payloads_bytes(payloads));
        ck_assert_uint_lt(memory.overhead, 8u << 20);
    }
    for (uint32_t slot = 0; slot < TWIN_SLOTS; slot++) {
        size_t count;
        const void *at = payloads_get(payloads, slot, &count);
        ck_assert_uint_eq(count, length[slot]);
        ck_assert((at == NULL) == (count == 0));
        make(bytes, count, slot, version[slot]);
        if (count > 0)
            ck_assert_mem_eq(at, bytes, count);
    }
    payloads_close(payloads);
    epoch_fini(&gate);
}
END_TEST

START_TEST(replacing_everything_gives_the_old_bytes_back)
{
    struct epoch gate;
    struct payloads *payloads;
    static uint8_t bytes[1000];
    epoch_init(&gate);
    ck_assert_int_eq(payloads_open(20000, &gate, &payloads), OMEN_OK);
    uint64_t first = 0;
    for (int turn = 0; turn < 5; turn++) {
        for (uint32_t slot = 0; slot < 20000; slot++) {
            reserve(payloads, slot + 1, 1, sizeof bytes);
            payloads_set(payloads, slot, bytes, sizeof bytes);
        }
        struct payload_memory memory;
        payloads_memory(payloads, &memory);
        ck_assert_uint_eq(memory.live, 20000 * sizeof bytes);
        first = turn == 0 ? payloads_bytes(payloads) : first;
        ck_assert_uint_le(memory.dead, 3u << 20);
        ck_assert_uint_le(payloads_bytes(payloads), first + (4u << 20));
    }
    for (uint32_t slot = 0; slot < 20000; slot++)
        payloads_clear(payloads, slot);
    struct payload_memory memory;
    payloads_memory(payloads, &memory);
    ck_assert_uint_eq(memory.live, 0);
    ck_assert_uint_le(payloads_bytes(payloads), 2u << 20);
    payloads_close(payloads);
    epoch_fini(&gate);
}
END_TEST

START_TEST(a_batch_that_was_reserved_fits_whatever_the_sizes)
{
    static uint8_t bytes[PAYLOAD_BYTES_MAX];
    struct epoch gate;
    struct payloads *payloads;
    struct prng prng;
    epoch_init(&gate);
    prng_init(&prng, 11);
    ck_assert_int_eq(payloads_open(100000, &gate, &payloads), OMEN_OK);
    uint32_t slot = 0;
    for (int batch = 0; batch < 200; batch++) {
        size_t sizes[100];
        uint64_t total = 0;
        const uint32_t count = 1 + prng_below(&prng, 100);
        for (uint32_t i = 0; i < count; i++) {
            sizes[i] = 1 + prng_below(&prng, prng_below(&prng, 10) == 0 ? PAYLOAD_BYTES_MAX : 64);
            total += sizes[i];
        }
        reserve(payloads, slot + count, count, total);
        mem_fail_after(1); // from here nothing may be allocated
        for (uint32_t i = 0; i < count; i++)
            payloads_set(payloads, slot++, bytes, sizes[i]);
        ck_assert_uint_eq(mem_refused(), 0);
        mem_fail_after(0);
    }
    payloads_close(payloads);
    epoch_fini(&gate);
}
END_TEST

START_TEST(failed_reservations_change_nothing)
{
    struct epoch gate;
    epoch_init(&gate);
    for (uint64_t n = 1;; n++) {
        struct payloads *payloads;
        mem_fail_after(n);
        if (payloads_open(10000, &gate, &payloads) != OMEN_OK) {
            ck_assert_ptr_null(payloads);
            continue;
        }
        const struct payload_room one = {1, 1, 5};
        const struct payload_room many = {10000, 100, 100 * 60000};
        omen_status status = payloads_reserve(payloads, &one);
        if (status == OMEN_OK) {
            payloads_set(payloads, 0, "hello", 5);
            status = payloads_reserve(payloads, &many);
        }
        const uint64_t refused = mem_refused();
        mem_fail_after(0);
        ck_assert(status == OMEN_OK || (status == OMEN_E_NO_MEMORY && refused > 0));
        size_t count;
        const void *at = payloads_get(payloads, 0, &count);
        ck_assert(at == NULL || (count == 5 && memcmp(at, "hello", 5) == 0));
        ck_assert_ptr_null(payloads_get(payloads, 9999, &count));
        payloads_clear(payloads, 9999);
        payloads_close(payloads);
        if (refused == 0)
            break;
    }
    epoch_fini(&gate);
}
END_TEST

// ---- readers beside the writer ----

#define SHARED_SLOTS 64u

struct shared {
    struct epoch gate;
    struct payloads *payloads;
    _Atomic bool stop;
    _Atomic uint64_t seen;
};

static void *
read_all(void *context)
{
    struct shared *shared = context;
    static _Thread_local uint8_t expected[400];
    while (!atomic_load(&shared->stop)) {
        const uint32_t ticket = epoch_enter(&shared->gate);
        for (uint32_t slot = 0; slot < SHARED_SLOTS; slot++) {
            size_t count;
            const uint8_t *at = payloads_get(shared->payloads, slot, &count);
            if (at == NULL)
                continue;
            uint32_t version;
            memcpy(&version, at, sizeof version);
            make(expected, count - sizeof version, slot, version);
            if (memcmp(at + sizeof version, expected, count - sizeof version) != 0)
                abort();
            atomic_fetch_add(&shared->seen, 1);
        }
        epoch_leave(&shared->gate, ticket);
    }
    return NULL;
}

START_TEST(readers_beside_a_writer_see_whole_payloads)
{
    static struct shared shared;
    pthread_t readers[2];
    struct prng prng;
    prng_init(&prng, 8);
    epoch_init(&shared.gate);
    ck_assert_int_eq(payloads_open(SHARED_SLOTS, &shared.gate, &shared.payloads), OMEN_OK);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&readers[i], NULL, read_all, &shared), 0);
    uint32_t version = 1;
    do {
        for (uint32_t i = 0; i < 2000; i++, version++) {
            uint8_t bytes[404];
            const uint32_t slot = prng_below(&prng, SHARED_SLOTS);
            const size_t count = 1 + prng_below(&prng, 400);
            memcpy(bytes, &version, sizeof version);
            make(bytes + sizeof version, count, slot, version);
            if (prng_below(&prng, 10) == 0) {
                payloads_clear(shared.payloads, slot);
                continue;
            }
            reserve(shared.payloads, SHARED_SLOTS, 1, sizeof version + count);
            payloads_set(shared.payloads, slot, bytes, sizeof version + count);
        }
    } while (atomic_load(&shared.seen) < 1000);
    atomic_store(&shared.stop, true);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_join(readers[i], NULL), 0);
    payloads_close(shared.payloads);
    epoch_fini(&shared.gate);
}
END_TEST

static Suite *
payload_suite(void)
{
    Suite *suite = suite_create("shard/payload");
    TCase *alone = tcase_create("alone");
    tcase_add_test(alone, store_gives_back_what_a_plain_array_holds);
    tcase_add_test(alone, replacing_everything_gives_the_old_bytes_back);
    tcase_add_test(alone, a_batch_that_was_reserved_fits_whatever_the_sizes);
    tcase_add_test(alone, failed_reservations_change_nothing);
    suite_add_one_thread(suite, alone);
    TCase *threads = tcase_create("threads");
    tcase_add_test(threads, readers_beside_a_writer_see_whole_payloads);
    suite_add_tcase(suite, threads);
    return suite;
}

CHECK_MAIN(payload_suite)
