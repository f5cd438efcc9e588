// storage/parcel_int.h -- what the two files of parcels share.
//
// Shape: value; private to storage/parcel*.c.
#ifndef OMEN_STORAGE_PARCEL_INT_H
#define OMEN_STORAGE_PARCEL_INT_H
#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"

#define PARCEL_PATH_MAX 4096u

// "folder/name"; false where it is too long.
static inline bool
parcel_path(char path[PARCEL_PATH_MAX], const char *folder, const char *name)
{
    const int bytes = snprintf(path, PARCEL_PATH_MAX, "%s/%s", folder, name);
    return bytes >= 0 && (unsigned)bytes < PARCEL_PATH_MAX;
}

omen_status parcel_failed(int code, const char *what, const char *path, struct omen_error *error);

#endif
