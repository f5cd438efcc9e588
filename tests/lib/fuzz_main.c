// tests/lib/fuzz_main.c -- runs a fuzz target over the files given, where there is no libFuzzer.
//
// Shape: shell. With gcc, or on a foreign machine, the kept seeds are still worth a run: each argument is a file
// or a folder of files. Prints how many it ran; a target reports a failure by crashing, as under libFuzzer.
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_BYTES_MAX ((size_t)16 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static size_t run_folder(const char *path);
static void run_file(const char *path);
static _Noreturn void cannot(const char *what, const char *path);

int
main(int argc, char **argv)
{
    size_t inputs = 1;
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0); // libFuzzer, too, begins with nothing
    for (int i = 1; i < argc; i++) {
        struct stat stat_of;
        if (stat(argv[i], &stat_of) != 0)
            cannot("look at", argv[i]);
        if (S_ISDIR(stat_of.st_mode)) {
            inputs += run_folder(argv[i]);
        } else {
            run_file(argv[i]);
            inputs++;
        }
    }
    printf("%zu inputs, no failure\n", inputs);
    return EXIT_SUCCESS;
}

static size_t
run_folder(const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL)
        cannot("open", path);
    size_t inputs = 0;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char name[4096];
        if (entry->d_name[0] == '.')
            continue;
        if (snprintf(name, sizeof name, "%s/%s", path, entry->d_name) >= (int)sizeof name)
            cannot("name a file below", path);
        run_file(name);
        inputs++;
    }
    closedir(folder);
    return inputs;
}

// The copy is exactly as long as the input, so that AddressSanitizer sees a read past its end.
static void
run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        cannot("open", path);
    struct stat stat_of;
    if (fstat(fileno(file), &stat_of) != 0 || (size_t)stat_of.st_size > INPUT_BYTES_MAX)
        cannot("take in", path);
    const size_t count = (size_t)stat_of.st_size;
    uint8_t *bytes = malloc(count > 0 ? count : 1);
    if (bytes == NULL || fread(bytes, 1, count, file) != count)
        cannot("read", path);
    fclose(file);
    LLVMFuzzerTestOneInput(bytes, count);
    free(bytes);
}

static void
cannot(const char *what, const char *path)
{
    fprintf(stderr, "fuzz_main: cannot %s %s: %s\n", what, path, strerror(errno));
    exit(EXIT_FAILURE);
}
