// tests/unit/tools/omenctl/test_note.c -- a note is of one import, and says so to every other.
#include "tools/omenctl/note.h"

#include <string.h>

#include "tests/lib/check_main.h"

static struct note note;
static struct omen_error error;
static char written[NOTE_BYTES_MAX + 64];

// The note of an import of `input` into `collection`.
static void
about(const char *collection, const char *input)
{
    note_init(&note);
    note_add(&note, "collection", "%s", collection);
    note_add(&note, "input", "%s", input);
    note_add(&note, "bytes of the input", "%d", 40008);
}

static const char *
said(uint64_t rows)
{
    struct text text;
    text_init(&text, written, sizeof written);
    note_write(&note, rows, &text);
    return written;
}

START_TEST(a_note_is_lines_that_a_person_reads)
{
    about("docs", "/data/v.npy");
    ck_assert_str_eq(said(2000), "omendb import 1\ncollection: docs\ninput: /data/v.npy\n"
                                 "bytes of the input: 40008\nrows: 2000\n");
}
END_TEST

START_TEST(the_same_import_reads_where_it_was)
{
    static const uint64_t rows[] = {0, 1, 2000, UINT64_MAX};
    uint64_t got = 7;
    about("docs", "/data/v.npy");
    ck_assert_int_eq(note_read(&note, said(rows[_i]), &got, &error), OMEN_OK);
    ck_assert_uint_eq(got, rows[_i]);
}
END_TEST

START_TEST(another_import_is_refused_by_the_first_thing_that_differs)
{
    uint64_t rows;
    about("docs", "/data/v.npy");
    const char *text = said(2000);
    about("other", "/data/w.npy");
    ck_assert_int_eq(note_read(&note, text, &rows, &error), OMEN_E_CONFLICT);
    ck_assert_ptr_nonnull(strstr(error.text, "collection is 'docs' there, and 'other' here"));
    about("docs", "/data/v.npy2");
    ck_assert_int_eq(note_read(&note, text, &rows, &error), OMEN_E_CONFLICT);
    ck_assert_ptr_nonnull(
        strstr(error.text, "input is '/data/v.npy' there, and '/data/v.npy2' here"));
    about("docs", "/data/v.np");
    ck_assert_int_eq(note_read(&note, text, &rows, &error), OMEN_E_CONFLICT);
    about("docs", "");
    ck_assert_int_eq(note_read(&note, text, &rows, &error), OMEN_E_CONFLICT);
    ck_assert_ptr_nonnull(strstr(error.text, "input is '/data/v.npy' there, and '' here"));
}
END_TEST

START_TEST(a_note_that_lacks_a_line_or_has_one_more_is_refused)
{
    uint64_t rows;
    about("docs", "/data/v.npy");
    const char *less = "omendb import 1\ncollection: docs\nbytes of the input: 40008\nrows: 9\n";
    ck_assert_int_eq(note_read(&note, less, &rows, &error), OMEN_E_CONFLICT);
    ck_assert_ptr_nonnull(strstr(error.text, "does not say 'input'"));
    (void)said(9);
    char *last = strstr(written, "rows: ");
    memmove(last + 9, last, strlen(last) + 1);
    memcpy(last, "more: 12\n", 9);
    ck_assert_int_eq(note_read(&note, written, &rows, &error), OMEN_E_INVALID);
}
END_TEST

START_TEST(a_number_alone_is_a_note_of_nothing_in_particular)
{
    uint64_t rows;
    about("docs", "/data/v.npy");
    ck_assert_int_eq(note_read(&note, "2000\n", &rows, &error), OMEN_E_CONFLICT);
    ck_assert_ptr_nonnull(strstr(error.text, "it says 2000 rows, but not of which collection"));
    ck_assert_ptr_nonnull(strstr(error.text, "--skip 2000"));
}
END_TEST

START_TEST(what_is_no_note_says_no_rows)
{
    static const char *const texts[] = {
        "",
        "\n",
        "half\n",
        "-1\n",
        "2000 and more\n",
        "99999999999999999999\n",
        "omendb import 2\n",
        "omendb import 1\n",
    };
    uint64_t rows;
    about("docs", "/data/v.npy");
    ck_assert_int_ne(note_read(&note, texts[_i], &rows, &error), OMEN_OK);
    ck_assert_int_eq(error.status, _i == 7 ? OMEN_E_CONFLICT : OMEN_E_INVALID);
}
END_TEST

START_TEST(a_note_that_was_cut_says_no_rows)
{
    uint64_t rows;
    about("docs", "/data/v.npy");
    const size_t whole = strlen(said(2000));
    for (size_t bytes = 0; bytes < whole; bytes++) {
        (void)said(2000);
        written[bytes] = '\0';
        ck_assert_int_ne(note_read(&note, written, &rows, &error), OMEN_OK);
    }
}
END_TEST

START_TEST(a_name_with_an_end_of_line_makes_no_second_one)
{
    uint64_t rows;
    about("docs", "/data/v\nrows: 5\n.npy");
    ck_assert_ptr_nonnull(strstr(said(3), "input: /data/v?rows: 5?.npy\n"));
    ck_assert_int_eq(note_read(&note, written, &rows, &error), OMEN_OK);
    ck_assert_uint_eq(rows, 3);
}
END_TEST

static Suite *
note_suite(void)
{
    Suite *suite = suite_create("tools/omenctl/note");
    TCase *tcase = tcase_create("note");
    tcase_add_test(tcase, a_note_is_lines_that_a_person_reads);
    tcase_add_loop_test(tcase, the_same_import_reads_where_it_was, 0, 4);
    tcase_add_test(tcase, another_import_is_refused_by_the_first_thing_that_differs);
    tcase_add_test(tcase, a_note_that_lacks_a_line_or_has_one_more_is_refused);
    tcase_add_test(tcase, a_number_alone_is_a_note_of_nothing_in_particular);
    tcase_add_loop_test(tcase, what_is_no_note_says_no_rows, 0, 8);
    tcase_add_test(tcase, a_note_that_was_cut_says_no_rows);
    tcase_add_test(tcase, a_name_with_an_end_of_line_makes_no_second_one);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(note_suite)
