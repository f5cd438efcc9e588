// tests/abi/test_header.c -- what a user's compiler and linker see: only omen_* is exported, all of it, and the header is
// C and C++.
//
// Labels: abi
#include <check.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "include/omendb.h"
#include "tests/lib/check_main.h"

#define LINE_BYTES 4096

// The file that omen_version was loaded from.
static const char *
library_path(void)
{
    Dl_info info;
    void *(*symbol)(void);
    const char *(*version)(void) = omen_version;
    memcpy(&symbol, &version, sizeof symbol);
    void *address;
    memcpy(&address, &symbol, sizeof address);
    ck_assert_int_ne(dladdr(address, &info), 0);
    return info.dli_fname;
}

// Every declaration of the header has its line.
static unsigned
calls_of_header(void)
{
    char line[LINE_BYTES];
    unsigned calls = 0;
    FILE *header = fopen("include/omendb.h", "r");
    ck_assert_ptr_nonnull(header);
    while (fgets(line, sizeof line, header) != NULL)
        calls += strncmp(line, "OMEN_API ", 9) == 0;
    ck_assert_int_eq(fclose(header), 0);
    return calls;
}

START_TEST(library_exports_omen_calls_and_nothing_else)
{
    char command[LINE_BYTES], line[LINE_BYTES];
    unsigned calls = 0;
    ck_assert_msg(strstr(library_path(), "libomendb.so") != NULL, "%s", library_path());
    ck_assert_int_lt(snprintf(command, sizeof command, "nm -D --defined-only '%s'", library_path()),
                     LINE_BYTES);
    FILE *lines = popen(command, "r");
    ck_assert_ptr_nonnull(lines);
    while (fgets(line, sizeof line, lines) != NULL) {
        const char *type = strchr(line, ' ');
        ck_assert_ptr_nonnull(type);
        if (type[1] == 'A') // the name of the symbol version
            continue;
        ck_assert_msg(strncmp(type + 1, "T omen_", 7) == 0, "exported: %s", line);
        calls++;
    }
    ck_assert_int_eq(pclose(lines), 0);
    ck_assert_uint_eq(calls, calls_of_header());
}
END_TEST

START_TEST(header_compiles_alone)
{
    static const char *const commands[] = {
        "cc -std=c99 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x c include/omendb.h",
        "cc -std=c17 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x c include/omendb.h",
        "c++ -std=c++11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x c++ include/omendb.h",
        "c++ -std=c++20 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x c++ include/omendb.h",
    };
    ck_assert_msg(system(commands[_i]) == 0, "%s", commands[_i]);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("abi/header");
    TCase *tcase = tcase_create("abi");
    tcase_add_test(tcase, library_exports_omen_calls_and_nothing_else);
    tcase_add_loop_test(tcase, header_compiles_alone, 0, 4);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
