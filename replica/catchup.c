// replica/catchup.c -- a snapshot from an in-sync copy to a learner, chunk by chunk; the learner asks.
//
//   NEED_SNAPSHOT (backup.c) -> ASK 0 -> HEAD -> ASK chunk -> CHUNK -> stored -> ... -> install -> the log goes on behind it
//
// Shape: machine.
//
// No names of files are said: a snapshot is a number that its source gave, and lives as long as the source likes. The copy's own uuid
// goes into what is installed, and only a learner installs, so that nothing that counts can be replaced.
#include "base/assert.h"
#include "base/hash.h"
#include "replica/replica_int.h"

#define PATIENCE 32u // retries without an answer until another source is waited for

static void
ask_chunk(struct step *step)
{
    struct replica_download *download = &step->replica->download;
    download->sent_ns = step->in->now_ns;
    struct replica_msg *msg = msg_add(step, REPLICA_SNAPSHOT_ASK, download->source);
    msg->snapshot = download->snapshot;
    msg->chunk = download->chunk;
}

static void
give_up(struct replica *replica)
{
    replica->download = (struct replica_download){.active = false};
}

static void
on_ask(struct step *step, const struct replica_msg *msg)
{
    struct replica *replica = step->replica;
    if (!meta_in_sync(&replica->meta, replica->config.uuid) || replica->rotten ||
        (!meta_learner(&replica->meta, msg->from) && !child_learner(&replica->meta, msg->from))) {
        replica->counters.fenced_msgs++;
        return;
    }
    step->out->serve = (struct replica_serve){.kind = msg->snapshot == 0 ? REPLICA_SERVE_SNAPSHOT
                                                                         : REPLICA_SERVE_CHUNK,
                                              .uuid = msg->from,
                                              .snapshot = msg->snapshot,
                                              .chunk = msg->chunk};
}

static bool
from_source(const struct replica *replica, const struct replica_msg *msg)
{
    const struct replica_download *download = &replica->download;
    return download->active && !download->storing && !download->installing &&
           replica_uuid_equal(msg->from, download->source);
}

static void
on_head(struct step *step, const struct replica_msg *msg)
{
    struct replica *replica = step->replica;
    struct replica_download *download = &replica->download;
    if (!from_source(replica, msg) || download->snapshot != 0)
        return;
    // Of a term that is not promised yet, it would put entries into the log for which an older primary could still have ours.
    if (msg->snapshot == 0 || msg->seq <= replica->commit_seq || msg->chunk_count == 0 ||
        msg->prev_term > replica->promised) {
        give_up(replica); // not now, or not for us: the primary says again that we need one
        return;
    }
    download->snapshot = msg->snapshot;
    download->seq = msg->seq;
    download->snapshot_term = msg->prev_term;
    download->chunk = 0;
    download->chunk_count = msg->chunk_count;
    ask_chunk(step);
}

static void
on_chunk(struct step *step, const struct replica_msg *msg)
{
    struct replica *replica = step->replica;
    struct replica_download *download = &replica->download;
    if (!from_source(replica, msg) || download->snapshot == 0 ||
        msg->snapshot != download->snapshot || msg->chunk != download->chunk)
        return;
    if (msg->byte_count == 0) { // the source has it no more
        give_up(replica);
        return;
    }
    if (msg->hash != hash_bytes(msg->bytes, msg->byte_count)) {
        replica->counters.bad_chunks++;
        note_add(step, REPLICA_NOTE_BAD_CHUNK, msg->from, msg->chunk);
        return; // asked for again
    }
    download->storing = true;
    step->out->serve = (struct replica_serve){.kind = REPLICA_SERVE_STORE,
                                              .uuid = msg->from,
                                              .snapshot = msg->snapshot,
                                              .chunk = msg->chunk,
                                              .bytes = msg->bytes,
                                              .byte_count = msg->byte_count,
                                              .hash = msg->hash};
}

void
catchup_message(struct step *step, const struct replica_msg *msg)
{
    if (msg->kind == REPLICA_SNAPSHOT_ASK)
        on_ask(step, msg);
    else if (msg->kind == REPLICA_SNAPSHOT_HEAD)
        on_head(step, msg);
    else
        on_chunk(step, msg);
}

// ---- what the shell did ----
static void
send_head(struct step *step)
{
    const struct replica_input *in = step->in;
    struct replica_msg *msg = msg_add(step, REPLICA_SNAPSHOT_HEAD, in->uuid);
    msg->snapshot = in->snapshot;
    msg->seq = in->seq;
    msg->prev_term = in->snapshot_term;
    msg->chunk_count = in->chunk_count;
}

static void
send_chunk(struct step *step)
{
    const struct replica_input *in = step->in;
    ASSERT(in->byte_count <= REPLICA_CHUNK_BYTES_MAX);
    struct replica_msg *msg = msg_add(step, REPLICA_CHUNK, in->uuid);
    msg->snapshot = in->snapshot;
    msg->chunk = in->chunk;
    msg->bytes = in->bytes;
    msg->byte_count = in->byte_count;
    msg->hash = in->hash;
}

static void
on_stored(struct step *step)
{
    struct replica_download *download = &step->replica->download;
    const struct replica_input *in = step->in;
    if (!download->storing || in->chunk != download->chunk)
        return;
    download->storing = false;
    if (in->status != OMEN_OK) {
        give_up(step->replica);
        return;
    }
    download->chunk++;
    download->retries = 0;
    download->sent_ns = step->in->now_ns;
    if (download->chunk < download->chunk_count)
        ask_chunk(step);
}

// All is here, and nothing of the old log is on its way to the disk.
static void
consider_install(struct step *step)
{
    struct replica *replica = step->replica;
    struct replica_download *download = &replica->download;
    if (download->snapshot == 0 || download->installing ||
        download->chunk < download->chunk_count || step->dirty || replica->ticket_count > 0 ||
        replica->applying_seq != replica->applied_seq ||
        step->out->serve.kind != REPLICA_SERVE_NONE)
        return;
    if (!meta_learner(&replica->meta, replica->config.uuid) ||
        download->seq <= replica->commit_seq) {
        give_up(replica);
        return;
    }
    download->installing = true;
    step->out->serve = (struct replica_serve){.kind = REPLICA_SERVE_INSTALL,
                                              .uuid = download->source,
                                              .snapshot = download->snapshot,
                                              .seq = download->seq};
}

static void
on_installed(struct step *step, const struct replica_disk *disk)
{
    struct replica *replica = step->replica;
    if (!replica->download.installing)
        return;
    give_up(replica);
    if (disk != NULL)
        log_load(step, disk);
}

void
catchup_input(struct step *step)
{
    switch (step->in->kind) {
    case REPLICA_IN_SNAPSHOT_READY:
        send_head(step);
        break;
    case REPLICA_IN_CHUNK_READ:
        send_chunk(step);
        break;
    case REPLICA_IN_CHUNK_STORED:
        on_stored(step);
        break;
    default:
        on_installed(step, step->in->disk);
        break;
    }
}

void
catchup_timers(struct step *step)
{
    struct replica *replica = step->replica;
    struct replica_download *download = &replica->download;
    if (!download->active)
        return;
    consider_install(step);
    if (!download->active || download->storing || download->installing ||
        (download->snapshot != 0 && download->chunk == download->chunk_count))
        return;
    const uint64_t retry_ns = download->sent_ns + replica->config.retry_ns;
    if (step->in->now_ns >= retry_ns) {
        if (++download->retries > PATIENCE) {
            give_up(replica);
            return;
        }
        ask_chunk(step);
    }
    wake_by(step, download->sent_ns + replica->config.retry_ns);
}
