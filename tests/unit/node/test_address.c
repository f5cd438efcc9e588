// tests/unit/node/test_address.c -- addresses are read as people write them, said as nodes need them, and refused with what is wrong.
#include "node/address.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/check_main.h"

static struct omen_error error;

static void
claim_reads(const char *text, const char *said)
{
    struct gossip_address address;
    char back[ADDRESS_TEXT_BYTES];
    ck_assert_msg(address_of(text, 7701, &address, &error) == OMEN_OK, "%s", error.text);
    address_text(&address, back);
    ck_assert_str_eq(back, said);
}

START_TEST(an_address_comes_back_as_it_was_written)
{
    claim_reads("127.0.0.1:80", "127.0.0.1:80");
    claim_reads("127.0.0.1", "127.0.0.1:7701");
    claim_reads("127.0.0.1:", "127.0.0.1:7701");
    claim_reads("192.0.2.255:65535", "192.0.2.255:65535");
    claim_reads("[::1]:0", "[::1]:0");
    claim_reads("[2001:db8::1]", "[2001:db8::1]:7701");
    claim_reads("[2001:0db8:1111:2222:3333:4444:5555:6666]:65535",
                "[2001:db8:1111:2222:3333:4444:5555:6666]:65535");
}
END_TEST

START_TEST(what_is_no_address_is_refused_and_quoted)
{
    static const char *const bad[] = {
        "",       ":1",           "127.0.0.1:65536", "127.0.0.1:-1",   "::1:7", "[::1",
        "[::1]7", "127.0.0.1:1x", "1.2.3.4:000001",  "no such host:1", "7700",  "7700:1"};
    for (uint32_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct gossip_address address;
        ck_assert_msg(address_of(bad[i], 1, &address, &error) == OMEN_E_INVALID, "%s", bad[i]);
        char quoted[64];
        snprintf(quoted, sizeof quoted, "\"%s\"", bad[i]);
        ck_assert_msg(strstr(error.text, quoted) != NULL, "%s", error.text);
    }
    char long_one[400];
    memset(long_one, 'a', sizeof long_one - 1);
    long_one[sizeof long_one - 1] = '\0';
    struct gossip_address address;
    ck_assert_int_eq(address_of(long_one, 1, &address, &error), OMEN_E_INVALID);
}
END_TEST

START_TEST(loopback_and_anywhere_are_known_in_both_families)
{
    static const struct {
        const char *text;
        bool loopback, any;
    } cases[] = {{"127.0.0.1", true, false}, {"127.9.9.9", true, false},
                 {"[::1]", true, false},     {"0.0.0.0", false, true},
                 {"[::]", false, true},      {"192.0.2.1", false, false},
                 {"[::2]", false, false},    {"[1::1]", false, false}};
    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gossip_address address;
        ck_assert_int_eq(address_of(cases[i].text, 1, &address, &error), OMEN_OK);
        ck_assert_msg(address_is_loopback(&address) == cases[i].loopback, "%s", cases[i].text);
        ck_assert_msg(address_is_any(&address) == cases[i].any, "%s", cases[i].text);
    }
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("node/address");
    TCase *tcase = tcase_create("address");
    tcase_add_test(tcase, an_address_comes_back_as_it_was_written);
    tcase_add_test(tcase, what_is_no_address_is_refused_and_quoted);
    tcase_add_test(tcase, loopback_and_anywhere_are_known_in_both_families);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
