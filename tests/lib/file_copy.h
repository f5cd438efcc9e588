// tests/lib/file_copy.h -- whole files of a test: copied, read, written.
//
// Shape: value.
#ifndef OMEN_TESTS_FILE_COPY_H
#define OMEN_TESTS_FILE_COPY_H
#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct file_bytes {
    uint8_t *bytes; // malloc'd
    size_t count;
};

static inline struct file_bytes
file_read(const char *path)
{
    struct file_bytes file = {NULL, 0};
    FILE *stream = fopen(path, "rb");
    ck_assert_msg(stream != NULL, "%s", path);
    ck_assert_int_eq(fseek(stream, 0, SEEK_END), 0);
    file.count = (size_t)ftell(stream);
    rewind(stream);
    file.bytes = malloc(file.count + 1);
    ck_assert_uint_eq(fread(file.bytes, 1, file.count, stream), file.count);
    (void)fclose(stream);
    return file;
}

static inline void
file_write(const char *path, const struct file_bytes *file)
{
    FILE *stream = fopen(path, "wb");
    ck_assert_msg(stream != NULL, "%s", path);
    ck_assert_uint_eq(fwrite(file->bytes, 1, file->count, stream), file->count);
    ck_assert_int_eq(fclose(stream), 0);
}

static inline void
file_copy(const char *from, const char *to)
{
    struct file_bytes file = file_read(from);
    file_write(to, &file);
    free(file.bytes);
}

#endif
