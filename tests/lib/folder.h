// tests/lib/folder.h -- a folder of a test's own, gone afterwards.
//
// Shape: value. In TMPDIR, or /tmp: what is tested there is order, not how long a disk takes.
#ifndef OMEN_TESTS_FOLDER_H
#define OMEN_TESTS_FOLDER_H
#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct folder {
    char path[256];
};

static inline void
folder_init(struct folder *folder)
{
    const char *where = getenv("TMPDIR");
    (void)snprintf(folder->path, sizeof folder->path, "%s/omendb-test-XXXXXX",
                   where != NULL ? where : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder->path));
}

static inline int
folder_remove_one(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
    (void)stat;
    (void)type;
    (void)walk;
    return remove(path);
}

static inline void
folder_fini(struct folder *folder)
{
    ck_assert_int_eq(nftw(folder->path, folder_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

// A path inside of it, in static memory until the next call.
static inline const char *
folder_path(const struct folder *folder, const char *name)
{
    static char path[320];
    (void)snprintf(path, sizeof path, "%s/%s", folder->path, name);
    return path;
}

#endif
