// node/hosts_copy.c -- one copy's shell: does what its replica says, in the order of replica.h's numbered steps.
//
// Shape: shell.
//
// What a step wants durable goes to the disk's thread, what it wants applied, read or made goes to the workers, messages to the bus. All
// of it comes back as notes; here nothing is waited for, and nothing is stepped again.
#include "node/hosts_int.h"

// ---- the table ----

static struct host_copy **
bucket_of(const struct hosts *hosts, struct cluster_uuid uuid)
{
    return (struct host_copy **)&hosts->rows[(uuid.low ^ uuid.high) % HOST_BUCKETS];
}

struct host_copy *
host_copy_find(const struct hosts *hosts, struct cluster_uuid uuid)
{
    struct host_copy *copy = *bucket_of(hosts, uuid);
    while (copy != NULL && !uuid_equal(copy->uuid, uuid))
        copy = copy->next;
    return copy;
}

struct host_copy *
host_copy_of(const struct hosts *hosts, const struct work *work)
{
    struct host_copy *copy = host_copy_find(hosts, work->copy);
    return copy != NULL && copy->serial == work->serial ? copy : NULL;
}

struct host_copy *
host_copy_add(struct hosts *hosts, const struct copies_env *env)
{
    struct host_copy *copy = mem_alloc_zero(1, sizeof *copy);
    if (copy == NULL)
        return NULL;
    copy->uuid = env->uuid;
    copy->shard = env->shard;
    copy->serial = ++hosts->serials;
    copy->apply_next = 1;
    host_path(hosts, copy);
    struct host_copy **bucket = bucket_of(hosts, env->uuid);
    copy->next = *bucket;
    *bucket = copy;
    hosts->stats.copies++;
    return copy;
}

void
host_copy_free(struct hosts *hosts, struct host_copy *copy)
{
    struct host_copy **link = bucket_of(hosts, copy->uuid);
    while (*link != copy)
        link = &(*link)->next;
    *link = copy->next;
    hosts->stats.copies--;
    host_snapshots_close(copy);
    host_results_end(copy);
    work_free(copy->exclusive);
    hosted_close(copy->hosted);
    hosted_receive_close(copy->receive);
    host_image_free(copy->image);
    mem_free(copy->buckets);
    mem_free(copy);
}

const struct replica *
host_replica(const struct hosts *hosts, const struct host_copy *copy)
{
    const struct copy *row = copies_find(&hosts->copies, copy->uuid);
    return row != NULL && row->made ? &row->replica : NULL;
}

const struct map_collection *
host_collection(const struct hosts *hosts, const struct host_copy *copy,
                const struct map_shard **shard)
{
    *shard = hosts->map != NULL ? map_shard(hosts->map, copy->shard) : NULL;
    return *shard != NULL ? map_collection(hosts->map, (*shard)->collection) : NULL;
}

void
host_again(struct hosts *hosts, struct host_copy *copy)
{
    copy->again_ns = os_clock_ns() + HOST_RETRY_NS;
    if (copy->again_ns < hosts->retry_ns)
        hosts->retry_ns = copy->again_ns;
}

bool
host_usable(const struct host_copy *copy)
{
    return copy->state == HOST_OPEN && copy->hosted != NULL && !copy->corrupt;
}

// ---- what is sent ----

void
host_send(struct hosts *hosts, struct cluster_uuid to, const struct bus_frame *frame)
{
    if (!uuid_equal(to, hosts->config.node)) {
        (void)bus_send(hosts->config.bus, (struct wire_uuid){to.high, to.low}, frame);
        return; // what is lost is sent again by who cares
    }
    const struct peer_head head = {.correlation = frame->correlation,
                                   .body_bytes = frame->body.count,
                                   .deadline_ms = frame->deadline_ms,
                                   .kind = frame->kind,
                                   .lane = frame->lane};
    if (frame->kind == PEER_REPLY)
        hosts->config.reply(hosts->config.context, &head, frame->body);
    else
        hosts_frame(hosts, to, hosts->config.boot, &head, frame->body);
}

// Entries go over the lane for what is large whatever they weigh, or they would overtake each other.
static void
send_message(struct hosts *hosts, struct cluster_uuid to, const struct replica_msg *msg)
{
    const bool large = msg->entry_count > 0 || msg->byte_count > 0;
    if (uuid_is_none(to))
        return;
    encode_reset(&hosts->encode);
    replica_msg_write(&hosts->encode, msg);
    if (hosts->encode.status != OMEN_OK)
        return; // lost
    host_send(hosts, to,
              &(struct bus_frame){.lane = large ? PEER_BULK : PEER_CONTROL,
                                  .kind = PEER_REPLICA,
                                  .body = {hosts->encode.bytes, (uint32_t)hosts->encode.count}});
}

// ---- one step ----

static void
obey_notes(struct hosts *hosts, struct host_copy *copy)
{
    const struct replica_output *out = &hosts->out->replica;
    for (uint32_t i = 0; i < out->note_count; i++) {
        const struct replica_note *note = &out->notes[i];
        if (note->kind == REPLICA_NOTE_CORRUPT)
            copy->corrupt = true;
        hosts->stats.notes[note->kind]++;
        host_say_note(copy, note);
    }
}

static void
obey_log(struct hosts *hosts, struct host_copy *copy)
{
    const struct replica_output *out = &hosts->out->replica;
    if (out->ticket == 0)
        return;
    disk_write_copy(hosts->config.disk, copy->uuid, out, hosts->loop);
    copy->tickets++;
    host_weigh(copy, out);
}

static void
obey_replica(struct hosts *hosts, struct host_copy *copy)
{
    const struct copies_output *out = hosts->out;
    const struct replica_output *replica = &out->replica;
    obey_log(hosts, copy);
    for (uint32_t i = 0; i < replica->msg_count; i++)
        send_message(hosts, out->nodes[i], &replica->msgs[i]);
    if (replica->apply_first != 0) {
        copy->apply_last = replica->apply_last;
        host_apply(hosts, copy);
    }
    for (uint32_t i = 0; i < replica->answer_count; i++)
        host_answer(hosts, copy, &replica->answers[i]);
    for (uint32_t i = 0; i < replica->serve_read_count; i++)
        host_serve_read(hosts, copy, replica->serve_reads[i]);
    for (uint32_t i = 0; i < replica->read_count; i++)
        host_read_log(hosts, copy, &replica->reads[i]);
    host_serve(hosts, copy, &replica->serve);
    obey_notes(hosts, copy);
}

static void
obey(struct hosts *hosts)
{
    const struct copies_output *out = hosts->out;
    if (out->refused)
        hosts_fail(hosts, "no memory for a copy that this node holds");
    if (!uuid_is_none(out->make.uuid))
        host_make(hosts, &out->make);
    if (!uuid_is_none(out->drop))
        host_drop(hosts, out->drop);
    struct host_copy *copy = out->stepped ? host_copy_find(hosts, out->uuid) : NULL;
    ASSERT(copy != NULL || !out->stepped);
    if (copy != NULL)
        obey_replica(hosts, copy);
    if (out->command.kind != 0)
        meta_wish(hosts->config.meta, &out->command);
}

void
hosts_step(struct hosts *hosts, struct copies_input *in)
{
    ASSERT(!hosts->stepping);
    hosts->stepping = true;
    in->now_ns = os_clock_ns();
    in->wall_ms = node_clock_ms(hosts->config.clock);
    copies_step(&hosts->copies, in, hosts->out);
    hosts->copies_wake_ns = hosts->out->wake_ns;
    obey(hosts);
    hosts->stepping = false;
}

void
hosts_give(struct hosts *hosts, struct cluster_uuid copy, struct replica_input given)
{
    hosts_step(hosts,
               &(struct copies_input){.kind = COPIES_IN_REPLICA, .uuid = copy, .replica = &given});
}

void
hosts_give_later(struct hosts *hosts, const struct host_copy *copy,
                 const struct replica_input *given)
{
    struct host_input *input = mem_alloc(sizeof *input);
    if (input == NULL)
        return; // it was a message, or will be asked for again
    input->note.kind = HOST_NOTE_INPUT;
    input->copy = copy->uuid;
    input->serial = copy->serial;
    input->given = *given;
    if (given->kind == REPLICA_IN_BUCKETS) {
        ASSERT(given->bucket_count <= REPLICA_BUCKETS_PER_MSG);
        memcpy(input->buckets, given->buckets, given->bucket_count * sizeof *given->buckets);
        input->given.buckets = input->buckets;
    }
    loop_post(hosts->loop, &input->note);
}

// Bytes of it fail their checksums: it answers nothing more, and is made anew elsewhere.
void
host_corrupt(struct hosts *hosts, struct host_copy *copy)
{
    if (copy->corrupt)
        return;
    copy->corrupt = true;
    hosts->stats.shards_lost++;
    hosts_give(hosts, copy->uuid, (struct replica_input){.kind = REPLICA_IN_CORRUPT});
    host_flush(hosts, copy); // what waits for the disk is refused
}

// ---- what became durable ----

static void
was_persisted(struct hosts *hosts, struct host_copy *copy, uint64_t ticket)
{
    ASSERT(copy->tickets > 0);
    copy->tickets--;
    hosts_give(hosts, copy->uuid,
               (struct replica_input){.kind = REPLICA_IN_PERSISTED, .ticket = ticket});
    host_flush(hosts, copy);
}

void
host_disk_done(struct hosts *hosts, const struct disk_done *done)
{
    struct host_copy *copy = host_copy_find(hosts, done->copy);
    if (copy == NULL)
        return; // it was dropped and erased meanwhile
    switch (done->kind) {
    case DISK_META_DONE:
        break;
    case DISK_COPY_DONE:
        was_persisted(hosts, copy, done->number);
        break;
    case DISK_MADE:
        if (copy->state == HOST_MAKING)
            copy->state = HOST_OPEN;
        hosts_step(hosts, &(struct copies_input){.kind = COPIES_IN_MADE, .uuid = done->copy});
        // It is the one that the map has as pending only for who reads the map when it is there, and the next may be long in coming.
        hosts_step(hosts, &(struct copies_input){.kind = COPIES_IN_MAP, .map = hosts->map});
        break;
    case DISK_DROPPED:
        copy->unlogged = true;
        host_unused(hosts, copy);
        break;
    case DISK_TRIMMED:
        copy->trimming = false;
        hosts_give(hosts, copy->uuid,
                   (struct replica_input){.kind = REPLICA_IN_TRIMMED, .seq = done->number});
        break;
    case DISK_INSTALLED:
        host_installed(hosts, copy);
        break;
    case DISK_DAMAGED:
        host_corrupt(hosts, copy);
        break;
    }
}
