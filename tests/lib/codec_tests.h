// tests/lib/codec_tests.h -- the three tests that a codec of one kind of message has, and what they write into.
//
// Shape: shell. Who includes it defines `codec`, opens with codec_open before each test and closes with codec_close behind it.
#ifndef OMEN_TESTS_CODEC_TESTS_H
#define OMEN_TESTS_CODEC_TESTS_H
#include "tests/lib/codec_claims.h"

static const struct codec_claims codec; // the test's

static struct encode written, rewritten;

static inline void
codec_open(size_t bytes_max)
{
    encode_init(&written, bytes_max);
    encode_init(&rewritten, bytes_max);
}

static inline void
codec_close(void)
{
    encode_fini(&written);
    encode_fini(&rewritten);
}

// What is in `written`.
static inline bool
codec_reads(void)
{
    return codec.read(codec_written(&written));
}

START_TEST(what_is_written_is_read_as_it_was)
{
    codec_reads_what_it_wrote(&codec, &written, &rewritten, (uint64_t)_i, 100);
}
END_TEST

START_TEST(every_cut_and_every_byte_more_is_refused)
{
    codec_refuses_cuts(&codec, &written, (uint64_t)_i);
}
END_TEST

START_TEST(every_flipped_bit_is_refused_or_another_message)
{
    codec_knows_flips(&codec, &written, &rewritten, (uint64_t)_i);
}
END_TEST

static inline void
codec_add_tests(TCase *tcase)
{
    tcase_add_loop_test(tcase, what_is_written_is_read_as_it_was, 0, 10);
    tcase_add_loop_test(tcase, every_cut_and_every_byte_more_is_refused, 0, 30);
    tcase_add_loop_test(tcase, every_flipped_bit_is_refused_or_another_message, 0, 30);
}

#endif
