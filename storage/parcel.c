// storage/parcel.c -- a store's file on its way to another machine.
//
// Shape: handle, durable.
//
//   chunk 0:   the head below
//   1, 2, ...: the owner's bytes and then the file, PARCEL_CHUNK_BYTES at a time
// A received folder has data.mdb, and `extra`: the head of 32 bytes {magic, version, seq, bytes, checksum} and the owner's bytes.
#include "storage/parcel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "storage/parcel_int.h"

#define PARCEL_MAGIC 0x504e4d4fu // "OMNP"
#define EXTRA_MAGIC 0x584e4d4fu  // "OMNX"
#define PARCEL_VERSION 1u

struct parcel_head {
    uint32_t magic, version;
    uint64_t seq, extra_bytes, data_bytes;
    uint64_t root;     // checksum of the checksums of the other chunks
    uint64_t checksum; // of the above
};

struct extra_head {
    uint32_t magic, version;
    uint64_t seq, bytes;
    // Of the head with 0 here, and the bytes' checksum in the place of their number.
    uint64_t checksum;
};

struct parcel {
    struct parcel_head head;
    int fd;
    uint8_t *extra;
    uint64_t *hashes; // of chunk 1, 2, ...
    uint32_t chunks;
};

struct parcel_inbox {
    struct parcel_head head;
    char *folder;
    int folder_fd, data_fd, extra_fd;
    uint64_t *hashes;
    uint32_t chunks, stored; // chunks 0: none is known
};

// ---- bytes in files ----

omen_status
parcel_failed(int code, const char *what, const char *path, struct omen_error *error)
{
    const omen_status status = code == ENOSPC || code == EDQUOT ? OMEN_E_DISK_FULL
                               : code == EEXIST                 ? OMEN_E_EXISTS
                               : code == ENOENT                 ? OMEN_E_NOT_FOUND
                                                                : OMEN_E_IO;
    return error_set(error, status, "%s: %s: %s", path, what, strerror(code));
}

static omen_status
read_at(int fd, void *bytes, size_t count, uint64_t at, struct omen_error *error)
{
    while (count > 0) {
        const ssize_t got = pread(fd, bytes, count, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return parcel_failed(errno, "reading", PARCEL_DATA_FILE, error);
        if (got == 0)
            return error_set(error, OMEN_E_CORRUPT, "%s: it ends early", PARCEL_DATA_FILE);
        bytes = (char *)bytes + got;
        count -= (size_t)got;
        at += (uint64_t)got;
    }
    return OMEN_OK;
}

static omen_status
write_at(int fd, const void *bytes, size_t count, uint64_t at, struct omen_error *error)
{
    while (count > 0) {
        const ssize_t put = pwrite(fd, bytes, count, (off_t)at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return parcel_failed(errno, "writing", PARCEL_DATA_FILE, error);
        bytes = (const char *)bytes + put;
        count -= (size_t)put;
        at += (uint64_t)put;
    }
    return OMEN_OK;
}

static uint64_t
seal_of(const struct parcel_head *head)
{
    return hash_bytes(head, offsetof(struct parcel_head, checksum));
}

// The number of chunks, with the head; 0: too many.
static uint32_t
chunks_of(const struct parcel_head *head)
{
    const uint64_t limit = (uint64_t)(PARCEL_CHUNKS_MAX - 1) * PARCEL_CHUNK_BYTES;
    if (head->extra_bytes > limit || head->data_bytes > limit - head->extra_bytes)
        return 0;
    const uint64_t bytes = head->extra_bytes + head->data_bytes;
    return 1 + (uint32_t)((bytes + PARCEL_CHUNK_BYTES - 1) / PARCEL_CHUNK_BYTES);
}

// Where chunk 1, 2, ... lies in the owner's bytes and the file behind each other.
static uint64_t
chunk_at(uint32_t chunk)
{
    return (uint64_t)(chunk - 1) * PARCEL_CHUNK_BYTES;
}

static size_t
chunk_bytes(const struct parcel_head *head, uint32_t chunk)
{
    const uint64_t left = head->extra_bytes + head->data_bytes - chunk_at(chunk);
    return left < PARCEL_CHUNK_BYTES ? (size_t)left : PARCEL_CHUNK_BYTES;
}

// ---- sending ----

static omen_status
read_stream(const struct parcel *parcel, uint32_t chunk, uint8_t *bytes, struct omen_error *error)
{
    const uint64_t at = chunk_at(chunk), extra = parcel->head.extra_bytes;
    const size_t count = chunk_bytes(&parcel->head, chunk);
    size_t first = 0;
    if (at < extra) {
        first = extra - at < count ? (size_t)(extra - at) : count;
        memcpy(bytes, parcel->extra + at, first);
    }
    if (first == count)
        return OMEN_OK;
    return read_at(parcel->fd, bytes + first, count - first, at + first - extra, error);
}

static omen_status
hash_all(struct parcel *parcel, struct omen_error *error)
{
    uint8_t *bytes = mem_alloc(PARCEL_CHUNK_BYTES);
    omen_status status = bytes == NULL ? error_set_plain(error, OMEN_E_NO_MEMORY) : OMEN_OK;
    for (uint32_t chunk = 1; chunk < parcel->chunks && status == OMEN_OK; chunk++) {
        status = read_stream(parcel, chunk, bytes, error);
        parcel->hashes[chunk - 1] = hash_bytes(bytes, chunk_bytes(&parcel->head, chunk));
    }
    mem_free(bytes);
    parcel->head.root = hash_bytes(parcel->hashes, (parcel->chunks - 1) * sizeof(uint64_t));
    parcel->head.checksum = seal_of(&parcel->head);
    return status;
}

static omen_status
open_data(struct parcel *parcel, const char *folder, struct omen_error *error)
{
    struct stat stat;
    char path[PARCEL_PATH_MAX];
    if (!parcel_path(path, folder, PARCEL_DATA_FILE))
        return error_set(error, OMEN_E_INVALID, "%s: too long a path", folder);
    parcel->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (parcel->fd < 0 || fstat(parcel->fd, &stat) != 0)
        return parcel_failed(errno, "opening", path, error);
    parcel->head.data_bytes = (uint64_t)stat.st_size;
    return OMEN_OK;
}

omen_status
parcel_pack(const struct parcel_what *what, struct parcel **out, struct omen_error *error)
{
    *out = NULL;
    struct parcel *parcel = mem_alloc_zero(1, sizeof *parcel);
    if (parcel == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    parcel->fd = -1;
    parcel->head = (struct parcel_head){.magic = PARCEL_MAGIC,
                                        .version = PARCEL_VERSION,
                                        .seq = what->seq,
                                        .extra_bytes = what->extra_bytes};
    omen_status status = open_data(parcel, what->folder, error);
    if (status == OMEN_OK) {
        parcel->chunks = chunks_of(&parcel->head);
        if (parcel->chunks == 0)
            status = error_set(error, OMEN_E_UNSUPPORTED, "%s: too large for %u chunks",
                               what->folder, PARCEL_CHUNKS_MAX);
    }
    if (status == OMEN_OK) {
        parcel->hashes = mem_alloc(parcel->chunks * sizeof *parcel->hashes);
        parcel->extra = mem_alloc(what->extra_bytes);
        if (parcel->hashes == NULL || parcel->extra == NULL)
            status = error_set_plain(error, OMEN_E_NO_MEMORY);
    }
    if (status == OMEN_OK && what->extra_bytes > 0)
        memcpy(parcel->extra, what->extra, what->extra_bytes);
    if (status == OMEN_OK)
        status = hash_all(parcel, error);
    if (status == OMEN_OK)
        *out = parcel;
    else
        parcel_close(parcel);
    return status;
}

void
parcel_close(struct parcel *parcel)
{
    if (parcel == NULL)
        return;
    if (parcel->fd >= 0)
        close(parcel->fd);
    mem_free(parcel->extra);
    mem_free(parcel->hashes);
    mem_free(parcel);
}

uint32_t
parcel_chunks(const struct parcel *parcel)
{
    return parcel->chunks;
}

omen_status
parcel_read(const struct parcel *parcel, struct parcel_chunk *chunk, void *bytes,
            struct omen_error *error)
{
    if (chunk->number >= parcel->chunks)
        return error_set(error, OMEN_E_INVALID, "chunk %u of %u", chunk->number, parcel->chunks);
    if (chunk->number == 0) {
        chunk->count = sizeof parcel->head;
        memcpy(bytes, &parcel->head, sizeof parcel->head);
        chunk->hash = hash_bytes(bytes, chunk->count);
        return OMEN_OK;
    }
    chunk->count = chunk_bytes(&parcel->head, chunk->number);
    const omen_status status = read_stream(parcel, chunk->number, bytes, error);
    if (status != OMEN_OK)
        return status;
    chunk->hash = hash_bytes(bytes, chunk->count);
    return chunk->hash == parcel->hashes[chunk->number - 1]
               ? OMEN_OK
               : error_set(error, OMEN_E_CORRUPT, "chunk %u is not what it was", chunk->number);
}

// ---- receiving ----

static int
make_file(int folder_fd, const char *name)
{
    return openat(folder_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
}

omen_status
parcel_inbox_open(const char *folder, struct parcel_inbox **out, struct omen_error *error)
{
    *out = NULL;
    struct parcel_inbox *inbox = mem_alloc_zero(1, sizeof *inbox);
    if (inbox == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    inbox->folder_fd = inbox->data_fd = inbox->extra_fd = -1;
    inbox->folder = mem_alloc(strlen(folder) + 1);
    omen_status status = OMEN_OK;
    if (inbox->folder == NULL)
        status = error_set_plain(error, OMEN_E_NO_MEMORY);
    else
        memcpy(inbox->folder, folder, strlen(folder) + 1);
    if (status == OMEN_OK && mkdir(folder, 0777) != 0)
        status = parcel_failed(errno, "making the folder", folder, error);
    if (status == OMEN_OK) {
        inbox->folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (inbox->folder_fd >= 0)
            inbox->data_fd = make_file(inbox->folder_fd, PARCEL_DATA_FILE);
        if (inbox->data_fd >= 0)
            inbox->extra_fd = make_file(inbox->folder_fd, PARCEL_EXTRA_FILE);
        if (inbox->extra_fd < 0)
            status = parcel_failed(errno, "making files", folder, error);
    }
    if (status == OMEN_OK)
        *out = inbox;
    else
        parcel_inbox_close(inbox);
    return status;
}

void
parcel_inbox_close(struct parcel_inbox *inbox)
{
    if (inbox == NULL)
        return;
    const int fds[] = {inbox->folder_fd, inbox->data_fd, inbox->extra_fd};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    mem_free(inbox->folder);
    mem_free(inbox->hashes);
    mem_free(inbox);
}

static omen_status
store_head(struct parcel_inbox *inbox, const void *bytes, size_t count, struct omen_error *error)
{
    struct parcel_head head;
    if (count != sizeof head)
        return error_set(error, OMEN_E_CORRUPT, "chunk 0 has %zu bytes", count);
    memcpy(&head, bytes, sizeof head);
    if (head.magic != PARCEL_MAGIC || head.checksum != seal_of(&head) || chunks_of(&head) == 0)
        return error_set(error, OMEN_E_CORRUPT, "chunk 0 is no head");
    if (head.version > PARCEL_VERSION)
        return error_set(error, OMEN_E_VERSION, "a parcel of version %u", head.version);
    if (inbox->chunks != 0)
        return memcmp(&head, &inbox->head, sizeof head) == 0
                   ? OMEN_OK
                   : error_set(error, OMEN_E_CORRUPT, "chunk 0 is that of another parcel");
    inbox->hashes = mem_alloc(chunks_of(&head) * sizeof *inbox->hashes);
    if (inbox->hashes == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    inbox->head = head;
    inbox->chunks = chunks_of(&head);
    inbox->stored = 1;
    return OMEN_OK;
}

omen_status
parcel_store(struct parcel_inbox *inbox, const struct parcel_chunk *chunk, const void *bytes,
             struct omen_error *error)
{
    if (chunk->hash != hash_bytes(bytes, chunk->count))
        return error_set(error, OMEN_E_CORRUPT, "the checksum of chunk %u does not hold",
                         chunk->number);
    if (chunk->number == 0)
        return store_head(inbox, bytes, chunk->count, error);
    if (inbox->chunks == 0 || chunk->number > inbox->stored || chunk->number >= inbox->chunks)
        return error_set(error, OMEN_E_INVALID, "chunk %u cannot follow chunk %lld", chunk->number,
                         (long long)inbox->stored - 1);
    if (chunk->count != chunk_bytes(&inbox->head, chunk->number))
        return error_set(error, OMEN_E_CORRUPT, "chunk %u has %zu bytes", chunk->number,
                         chunk->count);
    const uint64_t at = chunk_at(chunk->number), extra = inbox->head.extra_bytes;
    size_t first = 0;
    omen_status status = OMEN_OK;
    if (at < extra) {
        first = extra - at < chunk->count ? (size_t)(extra - at) : chunk->count;
        status = write_at(inbox->extra_fd, bytes, first, sizeof(struct extra_head) + at, error);
    }
    if (status == OMEN_OK && first < chunk->count)
        status = write_at(inbox->data_fd, (const char *)bytes + first, chunk->count - first,
                          at + first - extra, error);
    if (status != OMEN_OK)
        return status;
    inbox->hashes[chunk->number - 1] = chunk->hash;
    if (chunk->number == inbox->stored)
        inbox->stored++;
    return OMEN_OK;
}

static uint64_t
extra_seal(struct extra_head head, const void *bytes)
{
    head.checksum = 0;
    head.bytes = hash_bytes(bytes, (size_t)head.bytes);
    return hash_bytes(&head, sizeof head);
}

// Its checksum is of what lies in the file.
static omen_status
seal_extra(struct parcel_inbox *inbox, struct omen_error *error)
{
    struct extra_head head = {.magic = EXTRA_MAGIC,
                              .version = PARCEL_VERSION,
                              .seq = inbox->head.seq,
                              .bytes = inbox->head.extra_bytes};
    void *bytes = mem_alloc((size_t)head.bytes);
    if (bytes == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    omen_status status = read_at(inbox->extra_fd, bytes, (size_t)head.bytes, sizeof head, error);
    if (status == OMEN_OK) {
        head.checksum = extra_seal(head, bytes);
        status = write_at(inbox->extra_fd, &head, sizeof head, 0, error);
    }
    mem_free(bytes);
    return status;
}

omen_status
parcel_finish(struct parcel_inbox *inbox, uint64_t *seq, struct omen_error *error)
{
    if (inbox->chunks == 0 || inbox->stored < inbox->chunks)
        return error_set(error, OMEN_E_INVALID, "%u of %u chunks are there", inbox->stored,
                         inbox->chunks);
    if (inbox->head.root != hash_bytes(inbox->hashes, (inbox->chunks - 1) * sizeof(uint64_t)))
        return error_set(error, OMEN_E_CORRUPT, "the chunks do not belong together");
    const omen_status status = seal_extra(inbox, error);
    if (status != OMEN_OK)
        return status;
    if (fsync(inbox->data_fd) != 0 || fsync(inbox->extra_fd) != 0 || fsync(inbox->folder_fd) != 0)
        return parcel_failed(errno, "syncing", inbox->folder, error);
    *seq = inbox->head.seq;
    return OMEN_OK;
}

// ---- the owner's bytes ----

static omen_status
read_extra(int fd, struct parcel_extra *out, struct omen_error *error)
{
    struct extra_head head;
    struct stat stat;
    omen_status status = read_at(fd, &head, sizeof head, 0, error);
    if (status != OMEN_OK)
        return status;
    if (fstat(fd, &stat) != 0 || head.magic != EXTRA_MAGIC ||
        head.bytes != (uint64_t)stat.st_size - sizeof head)
        return error_set(error, OMEN_E_CORRUPT, "its head is none");
    out->seq = head.seq;
    out->count = (size_t)head.bytes;
    out->bytes = mem_alloc(out->count);
    if (out->bytes == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    status = read_at(fd, out->bytes, out->count, sizeof head, error);
    if (status == OMEN_OK && head.checksum != extra_seal(head, out->bytes))
        status = error_set(error, OMEN_E_CORRUPT, "its checksum does not hold");
    if (status != OMEN_OK)
        mem_free(out->bytes);
    return status;
}

omen_status
parcel_extra(const char *folder, struct parcel_extra *out, struct omen_error *error)
{
    char path[PARCEL_PATH_MAX];
    *out = (struct parcel_extra){0};
    if (!parcel_path(path, folder, PARCEL_EXTRA_FILE))
        return error_set(error, OMEN_E_INVALID, "%s: too long a path", folder);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return parcel_failed(errno, "opening", path, error);
    const omen_status status = read_extra(fd, out, error);
    close(fd);
    if (status == OMEN_OK)
        return OMEN_OK;
    *out = (struct parcel_extra){0};
    return error_about(error, status, path);
}

omen_status
parcel_extra_forget(const char *folder, struct omen_error *error)
{
    char path[PARCEL_PATH_MAX];
    if (!parcel_path(path, folder, PARCEL_EXTRA_FILE))
        return error_set(error, OMEN_E_INVALID, "%s: too long a path", folder);
    if (unlink(path) != 0 && errno != ENOENT)
        return parcel_failed(errno, "erasing", path, error);
    return OMEN_OK;
}
