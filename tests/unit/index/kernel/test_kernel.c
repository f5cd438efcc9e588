// tests/unit/index/kernel/test_kernel.c -- which table is chosen.
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "index/kernel/kernel.h"
#include "tests/lib/check_main.h"

// The choice is made once in a process, so each is looked at in a process of its own: the index, in
// kernels_list, of what kernels_best answers, twice, when OMEN_KERNEL is `name` at first and
// something else later.
static uint32_t
best_in_child(const char *name, const char *later)
{
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        const struct kernels *list[4];
        const uint32_t count = kernels_list(list);
        if (name != NULL)
            setenv("OMEN_KERNEL", name, 1);
        else
            unsetenv("OMEN_KERNEL");
        const struct kernels *first = kernels_best();
        setenv("OMEN_KERNEL", later, 1);
        for (uint32_t i = 0; i < count; i++)
            if (list[i] == first && kernels_best() == first)
                _exit((int)i);
        _exit(99);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    return (uint32_t)WEXITSTATUS(status);
}

START_TEST(list_starts_with_the_oracle_and_names_differ)
{
    const struct kernels *list[4];
    const uint32_t count = kernels_list(list);
    ck_assert_uint_ge(count, 1);
    ck_assert_uint_le(count, 4);
    ck_assert_ptr_eq(list[0], &kernels_scalar);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < i; j++)
            ck_assert_str_ne(list[i]->name, list[j]->name);
}
END_TEST

START_TEST(every_table_is_whole)
{
    const struct kernels *list[4];
    const uint32_t count = kernels_list(list);
    for (uint32_t i = 0; i < count; i++) {
        const struct kernels *table = list[i];
        ck_assert(table->nibble != NULL && table->byte != NULL && table->join != NULL &&
                  table->dots != NULL);
        ck_assert(table->unpack != NULL && table->unpack32 != NULL);
        ck_assert(table->butterfly != NULL && table->encode != NULL);
        ck_assert(table->finite != NULL);
        ck_assert(table->within != NULL);
        ck_assert(table->insert != NULL);
        for (uint32_t metric = 0; metric < 3; metric++) {
            for (uint32_t type = 0; type < 5; type++)
                ck_assert(table->exact[metric][type] != NULL);
            ck_assert(table->integer[metric][0] != NULL && table->integer[metric][1] != NULL);
        }
    }
}
END_TEST

START_TEST(find_knows_what_runs_here_and_nothing_else)
{
    const struct kernels *list[4];
    const uint32_t count = kernels_list(list);
    for (uint32_t i = 0; i < count; i++)
        ck_assert_ptr_eq(kernels_find(list[i]->name), list[i]);
    ck_assert_ptr_null(kernels_find("abacus"));
    ck_assert_ptr_null(kernels_find(""));
}
END_TEST

START_TEST(best_is_the_last_of_the_list_unless_named)
{
    const struct kernels *list[4];
    const uint32_t count = kernels_list(list);
    ck_assert_uint_eq(best_in_child(NULL, "scalar"), count - 1);
    ck_assert_uint_eq(best_in_child("abacus", "scalar"), count - 1);
    for (uint32_t i = 0; i < count; i++)
        ck_assert_uint_eq(best_in_child(list[i]->name, "abacus"), i);
}
END_TEST

static Suite *
kernel_suite(void)
{
    Suite *suite = suite_create("index/kernel/kernel");
    TCase *tcase = tcase_create("choice");
    tcase_add_test(tcase, list_starts_with_the_oracle_and_names_differ);
    tcase_add_test(tcase, every_table_is_whole);
    tcase_add_test(tcase, find_knows_what_runs_here_and_nothing_else);
    tcase_add_test(tcase, best_is_the_last_of_the_list_unless_named);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(kernel_suite)
