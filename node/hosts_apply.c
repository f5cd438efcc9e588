// node/hosts_apply.c -- what is committed becomes the shard's, in order; and the log is read for peers, and trimmed.
//
// Shape: shell.
//
// Of one copy one worker applies at a time, and as much as a work may; then the loop hears how far it came, with what came of each
// operation if somebody waits for that. A work ends at an entry CHECKSUM: what the shard holds at exactly that place is kept until
// the next one, because a primary may ask for it piece by piece.
#include "node/hosts_int.h"

#define READ_BYTES ((size_t)1 << 20)
#define READ_ENTRIES 64u
#define TRIM_LEAST 256u // entries; less is not worth a commit

static void
end_results(struct work_results *results)
{
    hosted_results_fini(&results->results);
    mem_free(results);
}

void
work_results_free(struct work_results *results)
{
    while (results != NULL) {
        struct work_results *next = results->next;
        end_results(results);
        results = next;
    }
}

// ---- at the worker ----

static omen_status
keep_sums(struct work *work, uint64_t seq)
{
    struct work_apply *apply = &work->apply;
    apply->buckets = mem_alloc(REPLICA_BUCKETS * sizeof *apply->buckets);
    if (apply->buckets == NULL)
        return OMEN_E_NO_MEMORY;
    struct hosted_sum sums[REPLICA_BUCKETS_PER_MSG];
    for (uint32_t first = 0; first < REPLICA_BUCKETS; first += REPLICA_BUCKETS_PER_MSG) {
        hosted_buckets(work->hosted, first, REPLICA_BUCKETS_PER_MSG, sums);
        for (uint32_t i = 0; i < REPLICA_BUCKETS_PER_MSG; i++)
            apply->buckets[first + i] = (struct replica_sum){sums[i].high, sums[i].low};
    }
    const struct hosted_sum root = hosted_sum(work->hosted);
    apply->root = (struct replica_sum){root.high, root.low};
    apply->check_seq = seq;
    return OMEN_OK;
}

// Entries up to the first CHECKSUM, and that one.
static uint32_t
run_of(const struct disk_entries *read)
{
    uint32_t count = 0;
    while (count < read->count && read->entries[count].kind != REPLICA_ENTRY_CHECKSUM)
        count++;
    return count < read->count ? count + 1 : count;
}

static omen_status
apply_run(struct work *work, const struct disk_entries *read, uint32_t count)
{
    struct work_apply *apply = &work->apply;
    struct hosted_entry entries[READ_ENTRIES];
    struct work_results *results = mem_alloc_zero(1, sizeof *results);
    if (results == NULL)
        return OMEN_E_NO_MEMORY;
    results->first = read->entries[0].seq;
    for (uint32_t i = 0; i < count; i++)
        entries[i] = (struct hosted_entry){.seq = read->entries[i].seq,
                                           .bytes = read->entries[i].bytes,
                                           .count = read->entries[i].byte_count};
    const struct hosted_entries given = {entries, count};
    const omen_status status = hosted_apply(work->hosted, &given, &results->results, &work->error);
    const uint64_t before = apply->through;
    apply->through = hosted_applied(work->hosted); // all of them, or those before one that failed
    ASSERT(apply->through >= before && apply->through <= entries[count - 1].seq);
    results->count = (uint32_t)(apply->through - before);
    *apply->results_end = results;
    apply->results_end = &results->next;
    if (status == OMEN_OK && read->entries[count - 1].kind == REPLICA_ENTRY_CHECKSUM)
        return keep_sums(work, apply->through);
    return status;
}

void
work_do_apply(struct hosts *hosts, struct work *work)
{
    struct work_apply *apply = &work->apply;
    size_t bytes = 0;
    apply->through = apply->first - 1;
    apply->results_end = &apply->results;
    while (work->status == OMEN_OK && apply->through < apply->last && bytes < HOST_APPLY_BYTES &&
           apply->through - apply->first + 1 < HOST_APPLY_ENTRIES && apply->check_seq == 0) {
        const uint64_t left = apply->last - apply->through;
        struct disk_entries read;
        work->status = disk_read(hosts->config.disk, work->copy, apply->through + 1,
                                 left < READ_ENTRIES ? (uint32_t)left : READ_ENTRIES, READ_BYTES,
                                 &read, &work->error);
        if (work->status != OMEN_OK)
            return;
        if (read.count == 0) // what is committed and durable is not there
            work->status = OMEN_E_CORRUPT;
        for (uint32_t i = 0; i < read.count; i++)
            bytes += read.entries[i].byte_count;
        if (read.count > 0)
            work->status = apply_run(work, &read, run_of(&read));
        disk_entries_fini(&read);
    }
}

void
work_do_log(struct hosts *hosts, struct work *work)
{
    const struct replica_log_read *read = &work->log.read;
    work->status = disk_read(hosts->config.disk, work->copy, read->first_seq, read->count,
                             HOST_BATCH_BYTES_MAX, &work->log.entries, &work->error);
}

// ---- in the loop ----

void
host_apply(struct hosts *hosts, struct host_copy *copy)
{
    if (copy->applying || !host_usable(copy) || copy->apply_next > copy->apply_last ||
        copy->again_ns > os_clock_ns())
        return;
    struct work *work = work_new(copy, WORK_APPLY);
    if (work == NULL) {
        host_again(hosts, copy);
        return;
    }
    work->apply.first = copy->apply_next;
    work->apply.last = copy->apply_last;
    copy->applying = true;
    copy->users++;
    work_post(hosts, work);
}

const struct work_results *
host_results_at(const struct host_copy *copy, uint64_t seq)
{
    const struct work_results *results = copy->results;
    while (results != NULL && seq >= results->first + results->count)
        results = results->next;
    return results != NULL && seq >= results->first ? results : NULL;
}

void
host_results_end(struct host_copy *copy)
{
    work_results_free(copy->results);
    copy->results = copy->results_last = NULL;
    copy->result_entries = 0;
}

// The newest are remembered: as many as may wait, or, where nobody does, as somebody may ask for once more who was answered by
// nobody when the primary before this one failed.
static void
keep_results(struct host_copy *copy, struct work_apply *apply)
{
    while (apply->results != NULL) {
        struct work_results *results = apply->results;
        apply->results = results->next;
        results->next = NULL;
        if (copy->results == NULL)
            copy->results = results;
        else
            copy->results_last->next = results;
        copy->results_last = results;
        copy->result_entries += results->count;
    }
    const uint32_t most = copy->proposed_count > 0 ? HOST_RESULTS_MAX : HOST_RESULTS_SPARE;
    while (copy->results != NULL && copy->result_entries > most + copy->results->count) {
        struct work_results *oldest = copy->results;
        copy->results = oldest->next;
        copy->result_entries -= oldest->count;
        end_results(oldest);
    }
}

static void
give_sums(struct hosts *hosts, struct host_copy *copy, struct work_apply *apply)
{
    struct replica_input given = {.kind = REPLICA_IN_ROOT};
    given.seq = apply->check_seq;
    given.sum = apply->root;
    mem_free(copy->buckets);
    copy->buckets = apply->buckets;
    copy->check_seq = apply->check_seq;
    apply->buckets = NULL;
    hosts_give(hosts, copy->uuid, given);
}

void
host_applied(struct hosts *hosts, struct work *work)
{
    struct work_apply *apply = &work->apply;
    struct host_copy *copy = host_copy_of(hosts, work);
    ASSERT(copy != NULL);
    copy->users--;
    copy->applying = false;
    if (copy->state == HOST_GOING || copy->corrupt) {
        host_unused(hosts, copy);
        return;
    }
    if (apply->through >= apply->first) {
        hosts->stats.applied += apply->through - apply->first + 1;
        copy->apply_next = apply->through + 1;
        if (apply->results != NULL)
            keep_results(copy, apply);
        if (apply->check_seq != 0)
            give_sums(hosts, copy, apply);
        struct replica_input given = {.kind = REPLICA_IN_APPLIED};
        given.seq = apply->through;
        hosts_give(hosts, copy->uuid, given);
    }
    if (work->status != OMEN_OK)
        host_say_error(copy, "copy.not_applied", work->status, &work->error);
    if (work->status == OMEN_E_NO_MEMORY || work->status == OMEN_E_DISK_FULL)
        host_again(hosts, copy);
    else if (work->status != OMEN_OK)
        host_corrupt(hosts, copy);
    host_apply(hosts, copy);
    host_unused(hosts, copy);
}

// ---- the log, for a peer ----

void
host_read_log(struct hosts *hosts, struct host_copy *copy, const struct replica_log_read *read)
{
    struct work *work = work_new(copy, WORK_LOG);
    if (work == NULL) {
        struct replica_input none = {.kind = REPLICA_IN_ENTRIES};
        none.reader = read->reader;
        none.reader_term = read->term;
        hosts_give_later(hosts, copy, &none);
        return;
    }
    work->log.read = *read;
    work_post(hosts, work);
}

void
host_log_was_read(struct hosts *hosts, struct work *work)
{
    struct host_copy *copy = host_copy_of(hosts, work);
    if (copy == NULL || copy->state != HOST_OPEN)
        return;
    struct replica_input given = {.kind = REPLICA_IN_ENTRIES};
    given.reader = work->log.read.reader;
    given.reader_term = work->log.read.term;
    given.entries = work->log.entries.entries;
    given.entry_count = work->log.entries.count;
    hosts_give(hosts, copy->uuid, given);
    if (work->status == OMEN_E_CORRUPT || work->status == OMEN_E_IO)
        host_corrupt(hosts, copy);
}

// ---- sums ----

void
host_say_buckets(struct hosts *hosts, struct host_copy *copy, const struct replica_serve *serve)
{
    if (copy->check_seq != serve->seq || copy->buckets == NULL ||
        serve->chunk > REPLICA_BUCKETS - REPLICA_BUCKETS_PER_MSG)
        return;
    struct replica_input given = {.kind = REPLICA_IN_BUCKETS};
    given.uuid = serve->uuid;
    given.seq = serve->seq;
    given.chunk = serve->chunk;
    given.buckets = copy->buckets + serve->chunk;
    given.bucket_count = REPLICA_BUCKETS_PER_MSG;
    hosts_give_later(hosts, copy, &given);
}

// Which buckets of a copy that was voted out differ: for people.
void
host_compare(struct hosts *hosts, const struct host_copy *copy, const struct replica_serve *serve)
{
    uint32_t differ[REPLICA_BUCKETS_PER_MSG];
    if (copy->check_seq != serve->seq || copy->buckets == NULL ||
        serve->bucket_count > REPLICA_BUCKETS_PER_MSG ||
        serve->chunk > REPLICA_BUCKETS - serve->bucket_count)
        return;
    hosts->stats.buckets_differ += replica_buckets_differ(
        copy->buckets + serve->chunk, serve->buckets, serve->bucket_count, differ);
}

// Now and then the copies of a shard compare what they hold: a bug, or a disk, may have changed one silently.
void
host_check(struct hosts *hosts, struct host_copy *copy, uint64_t now_ns)
{
    const struct replica *replica = host_replica(hosts, copy);
    if (replica == NULL || !host_usable(copy) || !replica_is_open(replica)) {
        copy->check_at_ns = 0;
        return;
    }
    const bool due = copy->check_at_ns != 0 && copy->check_at_ns <= now_ns;
    if (due || copy->check_at_ns == 0) // not all of them at once
        copy->check_at_ns = now_ns + HOST_CHECK_NS / 2 + copy->uuid.low % HOST_CHECK_NS;
    if (due)
        hosts_give(hosts, copy->uuid, (struct replica_input){.kind = REPLICA_IN_CHECKSUM});
}

// ---- how much of the log stays ----

// Notes what is appended: where the log has so many bytes, counted from the start on.
void
host_weigh(struct host_copy *copy, const struct replica_output *out)
{
    for (uint32_t i = 0; i < out->append_count; i++) {
        const struct replica_entry *entry = &out->append[i];
        copy->log_bytes += entry->byte_count;
        if (entry->seq % HOST_MARK_EVERY != 0)
            continue;
        if (copy->mark_count == HOST_MARKS) {
            copy->mark_first = (copy->mark_first + 1) % HOST_MARKS;
            copy->mark_count--;
        }
        copy->marks[(copy->mark_first + copy->mark_count++) % HOST_MARKS] =
            (struct host_mark){entry->seq, copy->log_bytes};
    }
}

// Through where nobody is likely to ask: further back than so many entries, or so many bytes.
static uint64_t
stale_through(const struct hosts *hosts, const struct host_copy *copy, uint64_t last_seq)
{
    const struct hosts_config *config = &hosts->config;
    uint64_t through = last_seq > config->keep_entries ? last_seq - config->keep_entries : 0;
    for (uint32_t i = 0; i < copy->mark_count; i++) {
        const struct host_mark *mark = &copy->marks[(copy->mark_first + i) % HOST_MARKS];
        if (copy->log_bytes - mark->bytes > config->keep_bytes && mark->seq > through &&
            mark->seq < last_seq)
            through = mark->seq;
    }
    return through;
}

void
host_trim(struct hosts *hosts, struct host_copy *copy)
{
    const struct replica *replica = host_replica(hosts, copy);
    if (replica == NULL || copy->trimming || !host_usable(copy))
        return;
    uint64_t through = stale_through(hosts, copy, replica->last_seq);
    const uint64_t durable = hosted_durable(copy->hosted);
    const uint64_t wanted = replica_keep_from(replica) - 1;
    through = durable < through ? durable : through;
    through = wanted < through ? wanted : through;
    if (through < replica->first_seq + TRIM_LEAST)
        return;
    copy->trimming = true;
    const struct disk_trim trim = {.through = through,
                                   .window_ms = hosts->copies.config.window_ms,
                                   .ops_max = hosts->copies.config.ops_max};
    disk_trim(hosts->config.disk, copy->uuid, &trim, hosts->loop);
}
