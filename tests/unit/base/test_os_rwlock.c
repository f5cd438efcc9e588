// tests/unit/base/test_os_rwlock.c -- readers together, a writer alone.
//
// Labels: tsan
#include "base/os_rwlock.h"

#include <stdatomic.h>
#include <stdint.h>

#include "tests/lib/check_main.h"

#define ROUNDS 20000u

struct shared {
    struct rwlock lock;
    uint64_t first; // the two are equal whenever nobody writes
    uint64_t second;
    _Atomic uint32_t torn;
};

static void *
read_rounds(void *context)
{
    struct shared *shared = context;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        rwlock_acquire_shared(&shared->lock);
        if (shared->first != shared->second)
            atomic_fetch_add(&shared->torn, 1);
        rwlock_release_shared(&shared->lock);
    }
    return NULL;
}

static void *
write_rounds(void *context)
{
    struct shared *shared = context;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        rwlock_acquire_exclusive(&shared->lock);
        shared->first++;
        shared->second++;
        rwlock_release_exclusive(&shared->lock);
    }
    return NULL;
}

START_TEST(readers_never_see_a_half_done_write_and_no_write_is_lost)
{
    struct shared shared = {.first = 0};
    pthread_t threads[4];
    rwlock_init(&shared.lock);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(
            pthread_create(&threads[i], NULL, i < 2 ? read_rounds : write_rounds, &shared), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_uint_eq(atomic_load(&shared.torn), 0);
    ck_assert_uint_eq(shared.first, 2 * ROUNDS);
    rwlock_fini(&shared.lock);
}
END_TEST

static void *
read_once(void *context)
{
    struct rwlock *lock = context;
    rwlock_acquire_shared(lock);
    rwlock_release_shared(lock);
    return NULL;
}

START_TEST(second_reader_enters_while_the_first_is_inside)
{
    struct rwlock lock;
    pthread_t other;
    rwlock_init(&lock);
    rwlock_acquire_shared(&lock);
    ck_assert_int_eq(pthread_create(&other, NULL, read_once, &lock), 0);
    ck_assert_int_eq(pthread_join(other, NULL), 0); // returns only if it came in
    rwlock_release_shared(&lock);
    rwlock_fini(&lock);
}
END_TEST

static Suite *
rwlock_suite(void)
{
    Suite *suite = suite_create("base/os_rwlock");
    TCase *threads = tcase_create("threads");
    tcase_add_test(threads, readers_never_see_a_half_done_write_and_no_write_is_lost);
    tcase_add_test(threads, second_reader_enters_while_the_first_is_inside);
    suite_add_tcase(suite, threads);
    return suite;
}

CHECK_MAIN(rwlock_suite)
