// base/utf8.h -- is this UTF-8?
//
// Shape: value. As RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. A NUL byte is a
// character like any other here.
#ifndef OMEN_BASE_UTF8_H
#define OMEN_BASE_UTF8_H
#include <stdbool.h>
#include <stddef.h>

// Bytes of the well-formed character at the front of `bytes`, 1..4; 0 when there is none within `count`.
static inline size_t
utf8_char_bytes(const unsigned char *bytes, size_t count)
{
    if (count == 0)
        return 0;
    const unsigned char first = bytes[0];
    if (first < 0x80)
        return 1;
    const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || count < length)
        return 0;
    // The second byte's range is what rules out overlong forms, surrogates and the planes above 16.
    const unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    const unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (bytes[1] < low || bytes[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

// `bytes` may be NULL when count is 0.
static inline bool
utf8_valid(const void *bytes, size_t count)
{
    const unsigned char *at = bytes;
    while (count > 0) {
        const size_t length = utf8_char_bytes(at, count);
        if (length == 0)
            return false;
        at += length;
        count -= length;
    }
    return true;
}

// How many of the first `limit` bytes to show so that no character is cut in half.
static inline size_t
utf8_cut(const void *bytes, size_t count, size_t limit)
{
    if (count <= limit)
        return count;
    const unsigned char *at = bytes;
    while (limit > 0 && (at[limit] & 0xc0) == 0x80)
        limit--;
    return limit;
}

#endif
