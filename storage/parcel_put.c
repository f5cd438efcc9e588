// storage/parcel_put.c -- a folder takes the place of another.
//
// Shape: handle, durable.
//
// Linux exchanges two names at once. Where a file system cannot, the old folder is first put aside, under the name with ".old" behind
// it, and then the new one in its place; who finds only the one that was put aside puts it back.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "storage/parcel.h"
#include "storage/parcel_int.h"

#define ASIDE ".old"

static bool
is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

static bool
aside_of(char path[PARCEL_PATH_MAX], const char *folder)
{
    const int bytes = snprintf(path, PARCEL_PATH_MAX, "%s" ASIDE, folder);
    return bytes >= 0 && (unsigned)bytes < PARCEL_PATH_MAX;
}

// The folder that has `path` in it.
static omen_status
sync_parent(const char *path, struct omen_error *error)
{
    char parent[PARCEL_PATH_MAX];
    const char *slash = strrchr(path, '/');
    const size_t bytes = slash != NULL ? (size_t)(slash - path) : 0;
    if (bytes >= sizeof parent)
        return error_set(error, OMEN_E_INVALID, "%s: too long a path", path);
    memcpy(parent, path, bytes);
    parent[bytes] = '\0';
    const int fd = open(slash == NULL ? "."
                        : bytes == 0  ? "/"
                                      : parent,
                        O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int code = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return code == 0 ? OMEN_OK : parcel_failed(code, "syncing its folder", path, error);
}

static int
put_aside(const struct parcel_move *move)
{
    char aside[PARCEL_PATH_MAX];
    struct omen_error ignored;
    if (!aside_of(aside, move->to))
        return ENAMETOOLONG;
    if (parcel_erase(aside, &ignored) != OMEN_OK || rename(move->to, aside) != 0)
        return errno;
    if (rename(move->from, move->to) == 0)
        return 0;
    const int code = errno;
    (void)rename(aside, move->to);
    return code;
}

omen_status
parcel_put(const struct parcel_move *move, struct omen_error *error)
{
    int code = 0;
    if (!is_there(move->to)) {
        code = rename(move->from, move->to) != 0 ? errno : 0;
    } else if (renameat2(AT_FDCWD, move->from, AT_FDCWD, move->to, RENAME_EXCHANGE) != 0) {
        code = errno == EINVAL || errno == ENOSYS ? put_aside(move) : errno;
    }
    if (code != 0)
        return parcel_failed(code, "putting a folder in its place", move->to, error);
    omen_status status = sync_parent(move->to, error);
    if (status == OMEN_OK)
        status = sync_parent(move->from, error);
    if (status == OMEN_OK)
        status = parcel_erase(move->from, error); // what was there, by exchange
    return status == OMEN_OK ? parcel_repair(move->to, error) : status;
}

omen_status
parcel_repair(const char *folder, struct omen_error *error)
{
    char aside[PARCEL_PATH_MAX];
    if (!aside_of(aside, folder))
        return error_set(error, OMEN_E_INVALID, "%s: too long a path", folder);
    if (!is_there(aside))
        return OMEN_OK;
    if (is_there(folder))
        return parcel_erase(aside, error);
    if (rename(aside, folder) != 0)
        return parcel_failed(errno, "putting a folder back", folder, error);
    return sync_parent(folder, error);
}

omen_status
parcel_erase(const char *folder, struct omen_error *error)
{
    DIR *directory = opendir(folder);
    if (directory == NULL)
        return errno == ENOENT ? OMEN_OK : parcel_failed(errno, "erasing", folder, error);
    int code = 0;
    for (struct dirent *entry; code == 0 && (entry = readdir(directory)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        code = unlinkat(dirfd(directory), entry->d_name, 0) != 0 ? errno : 0;
    }
    closedir(directory);
    if (code == 0 && rmdir(folder) != 0)
        code = errno;
    return code == 0 ? OMEN_OK : parcel_failed(code, "erasing", folder, error);
}
