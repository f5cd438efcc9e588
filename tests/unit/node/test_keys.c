// tests/unit/node/test_keys.c -- a key opens with its secret and with nothing else, for as long as it is good.
#include "node/keys.h"

#include <string.h>

#include "tests/lib/check_main.h"
#include "wire/method.h"

static struct api_key key;
static struct rpc_session session;

static void
setup(void)
{
    ck_assert_int_eq(seal_init(), OMEN_OK);
    memset(&session, 0, sizeof session);
    key = (struct api_key){.role = KEY_WRITE, .expires_ms = 1000};
    ck_assert(map_name_set(&key.name, "ops", 3));
    key.glob.count = 5;
    memcpy(key.glob.bytes, "docs*", 5);
    seal_hash_secret(wire_text_of("s3cret.with.dots"), key.hash_words);
}

START_TEST(its_secret_opens_a_key_and_gives_its_rights)
{
    ck_assert(keys_open(&key, wire_text_of("ops.s3cret.with.dots"), 999, &session));
    ck_assert_uint_eq(session.rights, RIGHT_WRITE);
    ck_assert_str_eq(session.key, "ops");
    ck_assert_str_eq(session.glob, "docs*");
}
END_TEST

START_TEST(nothing_else_opens_it_and_the_session_stays_as_it_was)
{
    static const char *const said[] = {"ops.", "ops.s3cret", "ops.s3cret.with.dotsx",
                                       "ops.S3cret.with.dots"};
    for (uint32_t i = 0; i < sizeof said / sizeof said[0]; i++)
        ck_assert(!keys_open(&key, wire_text_of(said[i]), 0, &session));
    ck_assert(!keys_open(&key, wire_text_of("ops.s3cret.with.dots"), 1000, &session));
    ck_assert_uint_eq(session.rights, 0);
    key.expires_ms = 0;
    ck_assert(keys_open(&key, wire_text_of("ops.s3cret.with.dots"), UINT64_MAX, &session));
}
END_TEST

START_TEST(a_session_goes_on_by_the_same_key_and_with_its_rights_of_now)
{
    key.expires_ms = 2000;
    ck_assert(keys_open(&key, wire_text_of("ops.s3cret.with.dots"), 999, &session));
    ck_assert_uint_eq(session.key_until_ms, 2000);
    key.role = KEY_READ;
    key.glob.count = 0;
    ck_assert(keys_same(&key, 1999, &session));
    ck_assert_uint_eq(session.rights, RIGHT_READ);
    ck_assert_str_eq(session.glob, "");
    ck_assert(!keys_same(&key, 2000, &session));
    key.expires_ms = 0;
    ck_assert(keys_same(&key, UINT64_MAX, &session));
    seal_hash_secret(wire_text_of("another"),
                     key.hash_words); // revoked, and made again under its name
    ck_assert(!keys_same(&key, 0, &session));
}
END_TEST

START_TEST(a_name_ends_at_the_first_dot)
{
    struct map_name name;
    ck_assert(keys_name(wire_text_of("ops.a.b"), &name));
    ck_assert_uint_eq(name.count, 3);
    ck_assert(!keys_name(wire_text_of("ops"), &name));
    ck_assert(!keys_name(wire_text_of(".secret"), &name));
    ck_assert(!keys_name(wire_text_of("o ps.secret"), &name));
    ck_assert(!keys_name((struct wire_text){NULL, 0}, &name));
}
END_TEST

START_TEST(a_configured_key_is_found_by_its_whole_name)
{
    static struct config config;
    struct api_key found;
    config = (struct config){.key_count = 2};
    config.keys[1] = (struct config_key){.name = key.name, .role = KEY_ADMIN};
    memcpy(config.keys[1].hash_words, key.hash_words, sizeof key.hash_words);
    ck_assert(map_name_set(&config.keys[0].name, "op", 2));
    ck_assert(keys_configured(&config, &key.name, &found));
    ck_assert(keys_open(&found, wire_text_of("ops.s3cret.with.dots"), 5, &session));
    ck_assert_uint_eq(session.rights, RIGHT_ADMIN);
    struct map_name other;
    ck_assert(map_name_set(&other, "opsy", 4));
    ck_assert(!keys_configured(&config, &other, &found));
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("node/keys");
    TCase *tcase = tcase_create("keys");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, its_secret_opens_a_key_and_gives_its_rights);
    tcase_add_test(tcase, nothing_else_opens_it_and_the_session_stays_as_it_was);
    tcase_add_test(tcase, a_session_goes_on_by_the_same_key_and_with_its_rights_of_now);
    tcase_add_test(tcase, a_name_ends_at_the_first_dot);
    tcase_add_test(tcase, a_configured_key_is_found_by_its_whole_name);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
