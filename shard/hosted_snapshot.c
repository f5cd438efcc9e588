// shard/hosted_snapshot.c -- a hosted shard on its way to another node.
//
// Shape: handle, durable. storage/parcel.h carries the file; here is what is in it.
#include "shard/hosted_snapshot.h"

#include "base/alloc.h"
#include "shard/hosted_int.h"
#include "shard/journal.h"
#include "storage/parcel.h"

_Static_assert(HOSTED_CHUNK_BYTES == PARCEL_CHUNK_BYTES, "chunks are those of parcels");

struct hosted_snapshot {
    uint64_t seq;
    struct parcel *parcel; // NULL: not sealed
    char folder[];
};

struct hosted_receive {
    struct parcel_inbox *inbox;
    bool finished, installed;
    char folder[];
};

// ---- at the source ----

// Of what the copy has, and not of what is applied by now.
static omen_status
read_seq(const char *folder, uint64_t *seq, struct omen_error *error)
{
    omen_options options = OMEN_OPTIONS_INIT;
    const struct journal_options none = {0};
    struct journal_options kept;
    struct journal journal;
    options.path = folder;
    options.read_only = 1;
    const omen_status status = journal_open(&journal, &options, &none, &kept, error);
    if (status != OMEN_OK)
        return status;
    *seq = journal.manifest.seq;
    journal_close(&journal);
    return OMEN_OK;
}

omen_status
hosted_snapshot_make(struct hosted *hosted, const char *folder, struct hosted_snapshot **out,
                     struct omen_error *error)
{
    const size_t bytes = strlen(folder) + 1;
    *out = NULL;
    struct hosted_snapshot *snapshot = mem_alloc_zero(1, sizeof *snapshot + bytes);
    if (snapshot == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    memcpy(snapshot->folder, folder, bytes);
    omen_status status = shard_copy(hosted->shard, folder, error);
    if (status != OMEN_OK) {
        mem_free(snapshot); // and what is in the folder is not ours
        return status;
    }
    status = read_seq(folder, &snapshot->seq, error);
    if (status == OMEN_OK)
        *out = snapshot;
    else
        hosted_snapshot_close(snapshot);
    return status;
}

uint64_t
hosted_snapshot_seq(const struct hosted_snapshot *snapshot)
{
    return snapshot->seq;
}

omen_status
hosted_snapshot_seal(struct hosted_snapshot *snapshot, const void *extra, size_t extra_bytes,
                     struct omen_error *error)
{
    const struct parcel_what what = {.folder = snapshot->folder,
                                     .seq = snapshot->seq,
                                     .extra = extra,
                                     .extra_bytes = extra_bytes};
    if (snapshot->parcel != NULL)
        return error_set(error, OMEN_E_INVALID, "the snapshot is sealed already");
    return parcel_pack(&what, &snapshot->parcel, error);
}

void
hosted_snapshot_close(struct hosted_snapshot *snapshot)
{
    struct omen_error ignored; // whoever owns the folders erases what is left in them
    if (snapshot == NULL)
        return;
    parcel_close(snapshot->parcel);
    (void)!parcel_erase(snapshot->folder, &ignored);
    mem_free(snapshot);
}

uint32_t
hosted_snapshot_chunks(const struct hosted_snapshot *snapshot)
{
    return snapshot->parcel != NULL ? parcel_chunks(snapshot->parcel) : 0;
}

omen_status
hosted_snapshot_read(const struct hosted_snapshot *snapshot, struct hosted_chunk *chunk,
                     void *bytes, struct omen_error *error)
{
    struct parcel_chunk read = {.number = chunk->number};
    if (snapshot->parcel == NULL)
        return error_set(error, OMEN_E_INVALID, "the snapshot is not sealed");
    const omen_status status = parcel_read(snapshot->parcel, &read, bytes, error);
    chunk->count = read.count;
    chunk->hash = read.hash;
    return status;
}

// ---- at the copy that is to have it ----

omen_status
hosted_receive_open(const char *folder, struct hosted_receive **out, struct omen_error *error)
{
    const size_t bytes = strlen(folder) + 1;
    *out = NULL;
    struct hosted_receive *receive = mem_alloc_zero(1, sizeof *receive + bytes);
    if (receive == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    memcpy(receive->folder, folder, bytes);
    const omen_status status = parcel_inbox_open(folder, &receive->inbox, error);
    if (status == OMEN_OK)
        *out = receive;
    else
        mem_free(receive);
    return status;
}

void
hosted_receive_close(struct hosted_receive *receive)
{
    struct omen_error ignored;
    if (receive == NULL)
        return;
    parcel_inbox_close(receive->inbox);
    if (!receive->installed)
        (void)!parcel_erase(receive->folder, &ignored);
    mem_free(receive);
}

omen_status
hosted_receive_store(struct hosted_receive *receive, const struct hosted_chunk *chunk,
                     const void *bytes, struct omen_error *error)
{
    const struct parcel_chunk stored = {
        .number = chunk->number, .count = chunk->count, .hash = chunk->hash};
    return parcel_store(receive->inbox, &stored, bytes, error);
}

// It opens, it is of the entry that it should be of, its bytes and sums are right, and it answers for no more than the place.
static omen_status
prepare(const struct hosted_receive *receive, const struct hosted_place *place, uint64_t seq,
        struct omen_error *error)
{
    const struct hosted_options options = {.path = receive->folder, .threads = 1};
    struct hosted *hosted;
    omen_status status = hosted_open(&options, &hosted, error);
    if (status != OMEN_OK)
        return status;
    struct hosted_mark mark = hosted->outside.mark;
    if (hosted_applied(hosted) != seq)
        status = error_set(error, OMEN_E_CORRUPT, "it is of entry %llu, and not of %llu",
                           (unsigned long long)hosted_applied(hosted), (unsigned long long)seq);
    if (status == OMEN_OK && place->last != 0 &&
        (place->first < mark.first || place->last > mark.last))
        status =
            error_set(error, OMEN_E_INVALID,
                      "it answers for hashes %016llx to %016llx, and not for %016llx to %016llx",
                      (unsigned long long)mark.first, (unsigned long long)mark.last,
                      (unsigned long long)place->first, (unsigned long long)place->last);
    if (status == OMEN_OK)
        status = hosted_verify(hosted, error);
    if (status == OMEN_OK && place->last != 0 &&
        (place->first != mark.first || place->last != mark.last)) {
        mark.first = place->first;
        mark.last = place->last;
        status = hosted_narrow(hosted, &mark, error);
    }
    hosted_abandon(hosted); // what it should have is durable
    return status;
}

omen_status
hosted_receive_finish(struct hosted_receive *receive, const struct hosted_place *place,
                      struct hosted_extra *extra, struct omen_error *error)
{
    uint64_t seq = 0;
    omen_status status = parcel_finish(receive->inbox, &seq, error);
    if (status == OMEN_OK && !receive->finished)
        status = prepare(receive, place, seq, error);
    receive->finished = status == OMEN_OK;
    if (status == OMEN_OK && extra != NULL)
        status = hosted_extra(receive->folder, extra, error);
    return status;
}

omen_status
hosted_receive_install(struct hosted_receive *receive, const struct hosted_place *place,
                       struct omen_error *error)
{
    const struct parcel_move move = {.from = receive->folder, .to = place->path};
    omen_status status =
        receive->finished ? OMEN_OK : hosted_receive_finish(receive, place, NULL, error);
    if (status == OMEN_OK)
        status = parcel_repair(place->path, error);
    if (status == OMEN_OK)
        status = parcel_put(&move, error);
    receive->installed = status == OMEN_OK;
    return status;
}

omen_status
hosted_extra(const char *path, struct hosted_extra *out, struct omen_error *error)
{
    struct parcel_extra extra;
    const omen_status status = parcel_extra(path, &extra, error);
    *out = (struct hosted_extra){.seq = extra.seq, .bytes = extra.bytes, .count = extra.count};
    return status;
}

omen_status
hosted_extra_forget(const char *path, struct omen_error *error)
{
    return parcel_extra_forget(path, error);
}
