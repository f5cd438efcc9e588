// tests/unit/node/test_admin_key.c -- a key's secret is said once and stored nowhere, and opens what its glob says.
//
// Shape: shell.
#include "tests/lib/admin_world.h"
#include "tests/lib/check_main.h"
#include "wire/seal.h"

static struct api_key_create create;
static char made[256];

static void
setup(void)
{
    ck_assert_int_eq(seal_init(), OMEN_OK);
    admin_open(1);
    create = (struct api_key_create){.name = TEXT("ci"), .role = API_KEY_WRITE};
}

static void
make(void)
{
    ck_assert_int_eq(admin_do(METHOD_KEY_CREATE, &create), OMEN_OK);
    const struct wire_text key = OUT(api_key_made)->api_key;
    ck_assert_text_eq(OUT(api_key_made)->name, "ci");
    ck_assert_uint_eq(key.count, 3 + 2 * ADMIN_SECRET_BYTES);
    memcpy(made, key.bytes, key.count);
    made[key.count] = '\0';
}

static omen_status
opens(const char *text, uint64_t wall_ms)
{
    const struct api_key *key;
    const omen_status status = admin_key(&world.map, TEXT(text), wall_ms, &key, &admin.error);
    ck_assert((key != NULL) == (status == OMEN_OK));
    return status;
}

START_TEST(the_secret_is_said_once_and_only_its_hash_is_kept)
{
    make();
    ck_assert_int_eq(opens(made, ADMIN_WALL_MS), OMEN_OK);
    uint64_t words[4];
    seal_hash_secret(TEXT(made + 3), words);
    ck_assert(seal_hash_equal(words, world.map.keys[0].hash_words));
    ck_assert_uint_eq(world.map.keys[0].role, KEY_WRITE);
    ck_assert_int_eq(admin_do(METHOD_KEY_LIST, &(struct api_nothing){0}), OMEN_OK);
    struct api_key_info row;
    admin_row("keys", &OUT(api_keys)->keys, 0, &row);
    ck_assert_text_eq(row.name, "ci");
    ck_assert_text_eq(row.collections, "*");
    ck_assert_uint_eq(row.role, API_KEY_WRITE);
    ck_assert_ptr_null(memmem(admin.answer.bytes, admin.answer.count, made + 3, 16));
}
END_TEST

START_TEST(a_rate_is_kept_and_listed_and_waits_for_all_to_know_of_rates)
{
    struct api_key_info row;
    create.rate = 250;
    ck_assert_int_eq(admin_do(METHOD_KEY_CREATE, &create), OMEN_E_UNSUPPORTED);
    ck_assert_msg(strstr(admin.error.text, "a rate waits for all nodes") != NULL, "%s",
                  admin.error.text);
    ck_assert_uint_eq(world.map.key_count, 0);
    struct command command = command_of(COMMAND_FEATURES);
    command.features = MAP_FEATURE_LIMITS;
    ck_assert_int_eq(world_apply(&world, &command).status, OMEN_OK);
    admin_look();
    make();
    ck_assert_uint_eq(world.map.keys[0].rate, 250);
    ck_assert_int_eq(admin_do(METHOD_KEY_LIST, &(struct api_nothing){0}), OMEN_OK);
    admin_row("keys", &OUT(api_keys)->keys, 0, &row);
    ck_assert_uint_eq(row.rate, 250);
}
END_TEST

START_TEST(a_wrong_key_is_refused_alike_whatever_is_wrong)
{
    make();
    char other[sizeof made];
    snprintf(other, sizeof other, "cj%s", made + 2);
    const char *const wrong[] = {other, "ci.0", "ci.", "ci", "", ".", "ci ", "ci.ci.00"};
    char text[sizeof admin.error.text] = "";
    for (uint32_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert_int_eq(opens(wrong[i], ADMIN_WALL_MS), OMEN_E_AUTH);
        ck_assert(i == 0 || strcmp(text, admin.error.text) == 0);
        memcpy(text, admin.error.text, sizeof text);
    }
}
END_TEST

START_TEST(a_key_ends_when_it_is_over_or_revoked)
{
    create.expires_ms = ADMIN_WALL_MS + 1000;
    make();
    ck_assert_int_eq(opens(made, ADMIN_WALL_MS + 999), OMEN_OK);
    ck_assert_int_eq(opens(made, ADMIN_WALL_MS + 1000), OMEN_E_AUTH);
    ck_assert_ptr_nonnull(strstr(admin.error.text, "'ci' has expired"));
    const struct api_key_revoke ask = {.name = TEXT("ci")};
    ck_assert_int_eq(admin_do(METHOD_KEY_REVOKE, &ask), OMEN_OK);
    ck_assert_int_eq(opens(made, ADMIN_WALL_MS), OMEN_E_AUTH);
    admin_claim_refused(METHOD_KEY_REVOKE, &ask, OMEN_E_NOT_FOUND, "no key 'ci'");
}
END_TEST

START_TEST(bad_keys_are_refused_by_name)
{
    create.expires_ms = ADMIN_WALL_MS;
    admin_claim_refused(METHOD_KEY_CREATE, &create, OMEN_E_INVALID, "lies in the past");
    create.expires_ms = UINT64_C(1) << 48;
    admin_claim_refused(METHOD_KEY_CREATE, &create, OMEN_E_INVALID, "expected at most");
    create.expires_ms = 0;
    create.collections = TEXT("a b");
    admin_claim_refused(METHOD_KEY_CREATE, &create, OMEN_E_INVALID, "collections is 'a b'");
    create.collections = TEXT("docs-*");
    make();
    admin_claim_refused(METHOD_KEY_CREATE, &create, OMEN_E_EXISTS, "the key 'ci' exists already");
}
END_TEST

START_TEST(of_two_keys_with_one_name_the_first_stays)
{
    ck_assert_int_eq(admin_begin(METHOD_KEY_CREATE, &create), ADMIN_PROPOSE);
    struct command other = command_of(COMMAND_KEY_PUT);
    other.key = (struct command_key){.name = name_of("ci"), .glob = name_of("x"), .role = KEY_READ};
    ck_assert_int_eq(world_apply(&world, &other).status, OMEN_OK);
    ck_assert_int_eq(admin_end(), OMEN_E_EXISTS);
    ck_assert_uint_eq(world.map.keys[0].role, KEY_READ);
}
END_TEST

START_TEST(the_most_keys_and_one_more)
{
    for (uint32_t i = 0; i < MAP_KEYS_MAX; i++) {
        char name[16];
        struct command command = command_of(COMMAND_KEY_PUT);
        snprintf(name, sizeof name, "k%u", i);
        command.key =
            (struct command_key){.name = name_of(name), .glob = name_of("x"), .role = KEY_READ};
        admin_fill(&command);
    }
    admin_look();
    admin_claim_refused(METHOD_KEY_CREATE, &create, OMEN_E_FULL, "1024 keys, which is the most");
}
END_TEST

START_TEST(a_glob_lets_through_what_it_says)
{
    static const struct {
        const char *glob, *name;
        bool opens;
    } cases[] = {
        {"*", "docs", true},        {"docs", "docs", true},
        {"docs", "docs2", false},   {"docs", "doc", false},
        {"docs-*", "docs-a", true}, {"docs-*", "docs-", true},
        {"docs-*", "docs", false},  {"*-a", "b-a-a", true},
        {"*-a", "b-a-b", false},    {"a*b*c", "aXbXbc", true},
        {"a*b*c", "aXbXb", false},  {"d?cs", "docs", true},
        {"d?cs", "dcs", false},     {"??", "ab", true},
        {"??", "abc", false},       {"*?", "a", true},
        {"***", "a", true},         {"a*a*a*a*b", "aaaaaaaaaaaaaaaa", false},
    };
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct map_name glob = {.count = (uint8_t)strlen(cases[i].glob)};
        memcpy(glob.bytes, cases[i].glob, glob.count);
        ck_assert_msg(admin_key_opens(&glob, TEXT(cases[i].name)) == cases[i].opens, "%s %s",
                      cases[i].glob, cases[i].name);
    }
}
END_TEST

static Suite *
admin_key_suite(void)
{
    Suite *suite = suite_create("node/admin_key");
    TCase *tcase = tcase_create("admin_key");
    tcase_add_checked_fixture(tcase, setup, admin_close);
    tcase_add_test(tcase, the_secret_is_said_once_and_only_its_hash_is_kept);
    tcase_add_test(tcase, a_rate_is_kept_and_listed_and_waits_for_all_to_know_of_rates);
    tcase_add_test(tcase, a_wrong_key_is_refused_alike_whatever_is_wrong);
    tcase_add_test(tcase, a_key_ends_when_it_is_over_or_revoked);
    tcase_add_test(tcase, bad_keys_are_refused_by_name);
    tcase_add_test(tcase, of_two_keys_with_one_name_the_first_stays);
    tcase_add_test(tcase, the_most_keys_and_one_more);
    tcase_add_test(tcase, a_glob_lets_through_what_it_says);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(admin_key_suite)
