// node/hosts_exchange.c -- what workers do for snapshots: make, seal and read them, store chunks, and put one in a shard's place.
//
// Shape: shell.
#include "node/hosts_int.h"

#include <stdio.h>

static void
make(const struct hosts *hosts, struct work *work)
{
    char folder[HOST_PATH_BYTES];
    (void)snprintf(folder, sizeof folder, "%s/tmp/out-%llx", hosts->folder,
                   (unsigned long long)work->snapshot.number);
    work->status = hosted_snapshot_make(work->hosted, folder, &work->snapshot.made, &work->error);
}

static void
read_chunk(struct work *work)
{
    struct work_snapshot *snapshot = &work->snapshot;
    snapshot->bytes = mem_alloc(HOSTED_CHUNK_BYTES);
    work->status = snapshot->bytes == NULL
                       ? OMEN_E_NO_MEMORY
                       : hosted_snapshot_read(snapshot->snapshot, &snapshot->chunk, snapshot->bytes,
                                              &work->error);
}

// The first one begins anew: what was given up goes.
static void
store_chunk(struct work *work)
{
    struct work_snapshot *snapshot = &work->snapshot;
    if (snapshot->chunk.number == 0) {
        hosted_receive_close(snapshot->receive);
        snapshot->receive = NULL;
        host_remove(work->path);
        work->status = hosted_receive_open(work->path, &snapshot->receive, &work->error);
    } else if (snapshot->receive == NULL) {
        work->status = OMEN_E_NOT_FOUND;
    }
    if (work->status == OMEN_OK)
        work->status = hosted_receive_store(snapshot->receive, &snapshot->chunk, snapshot->bytes,
                                            &work->error);
}

omen_status
host_image_of(const char *path, struct host_image **image, struct omen_error *error)
{
    struct hosted_extra extra = {0};
    *image = NULL;
    omen_status status = hosted_extra(path, &extra, error);
    if (status == OMEN_OK) {
        *image = host_image_read(extra.bytes, extra.count, extra.seq);
        status = *image != NULL ? OMEN_OK : OMEN_E_CORRUPT;
    }
    mem_free(extra.bytes);
    return status;
}

// Where it fails, what was there is opened again.
static void
exchange(struct work *work)
{
    struct work_snapshot *snapshot = &work->snapshot;
    struct omen_error ignored;
    const struct hosted_place place = {
        .path = work->options.path, .first = work->options.first, .last = work->options.last};
    hosted_close(work->opened);
    work->opened = NULL;
    work->status = hosted_receive_install(snapshot->receive, &place, &work->error);
    hosted_receive_close(snapshot->receive);
    snapshot->receive = NULL;
    if (work->status == OMEN_OK)
        work->status = host_image_of(place.path, &snapshot->image, &work->error);
    if (work->status == OMEN_OK && snapshot->image->seq != snapshot->seq)
        work->status = OMEN_E_CORRUPT;
    const bool exchanged = snapshot->image != NULL;
    if (work->status == OMEN_OK)
        work->status = hosted_open(&work->options, &work->opened, &work->error);
    else if (!exchanged)
        (void)!hosted_open(&work->options, &work->opened, &ignored);
}

void
work_do_snapshot(struct hosts *hosts, struct work *work)
{
    struct work_snapshot *snapshot = &work->snapshot;
    if (work->kind == WORK_SNAPSHOT)
        make(hosts, work);
    else if (work->kind == WORK_SEAL)
        work->status =
            hosted_snapshot_seal(snapshot->made, snapshot->bytes, snapshot->count, &work->error);
    else if (work->kind == WORK_CHUNK)
        read_chunk(work);
    else if (work->kind == WORK_STORE)
        store_chunk(work);
    else if (work->kind == WORK_INSTALL)
        exchange(work);
    else
        work->status = hosted_extra_forget(work->path, &work->error);
}
