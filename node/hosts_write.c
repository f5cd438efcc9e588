// node/hosts_write.c -- writes that are ready go into the log together, and are answered when they are applied here; and strong reads.
//
// Shape: shell.
#include "node/hosts_int.h"

// Done in any case: a failure to say so must not look as if it were not.
void
host_end_written(struct hosts *hosts, struct host_part *part, const struct hosted_results *results,
                 const struct replica_answer *answer)
{
    struct serve_items items = {hosts->statuses, WIRE_ITEMS_MAX, 0};
    encode_reset(&part->answer);
    part->error.text[0] = '\0';
    omen_status status = serve_written(&part->part, results, &part->answer, &items, &part->error);
    if (status == OMEN_OK && (part->answer.status != OMEN_OK || !host_take_items(part, &items)))
        status = OMEN_E_NO_MEMORY;
    if (status == OMEN_OK) {
        host_end_well(hosts, part, answer->term, answer->seq);
        return;
    }
    part->error.status = status;
    host_end_with(hosts, part, status == OMEN_E_NO_MEMORY ? OMEN_E_TIMEOUT : status);
}

// What came of the entry; false: nobody knows any more.
static bool
result_of(const struct host_copy *copy, uint64_t seq, struct hosted_results *out)
{
    const struct work_results *results = host_results_at(copy, seq);
    for (uint32_t i = 0; results != NULL && i < results->results.count; i++)
        if (results->results.entries[i].seq == seq) {
            *out = (struct hosted_results){&results->results.entries[i], 1};
            return true;
        }
    return false;
}

// What came of one of several entries is kept. False: no memory.
static bool
keep_result(struct host_part *part, const struct hosted_result *result)
{
    struct hosted_results *results = &part->results;
    struct hosted_result *grown =
        mem_resize(results->entries, (results->count + 1) * sizeof *grown);
    if (grown == NULL)
        return false;
    results->entries = grown;
    struct hosted_result *kept = &grown[results->count];
    *kept = *result;
    kept->failed = mem_alloc((result->failed_count + 1) * sizeof *result->failed);
    if (kept->failed == NULL)
        return false;
    if (result->failed_count > 0)
        memcpy(kept->failed, result->failed, result->failed_count * sizeof *result->failed);
    results->count++;
    return true;
}

static bool
prepare_next(struct hosts *hosts, struct host_copy *copy, struct host_part *part)
{
    copy->proposed_count--;
    part->op = (struct hosted_bytes){.cursor = part->cursor};
    part->state = PART_WORKING;
    return host_usable(copy) && host_give_worker(hosts, copy, part);
}

static void
was_written(struct hosts *hosts, struct host_copy *copy, struct host_part *part,
            const struct replica_answer *answer)
{
    struct hosted_results results;
    const bool known = result_of(copy, answer->seq, &results);
    const bool last = part->cursor == UINT64_MAX;
    if (last && !part->begun) {
        host_end_written(hosts, part, known ? &results : NULL, answer);
        return;
    }
    part->begun = true;
    part->done = *answer;
    const bool kept = known && results.entries[0].error.status == OMEN_OK &&
                      keep_result(part, &results.entries[0]);
    if (kept && last)
        host_end_written(hosts, part, &part->results, answer);
    else if (!kept || !prepare_next(hosts, copy, part))
        host_end_with(hosts, part, OMEN_E_TIMEOUT);
}

// Whether the operation may be done; the sentence says why not.
omen_status
host_check_op(const struct hosts *hosts, const struct host_copy *copy, const struct wire_part *part,
              struct omen_error *error)
{
    const struct replica_uuid op_id = {part->op_high, part->op_low};
    return replica_check_op(host_replica(hosts, copy), op_id, node_clock_ms(hosts->config.clock),
                            error);
}

// The operation was one to be taken when the part came, and is none any more.
static void
say_op(const struct hosts *hosts, const struct host_copy *copy, struct host_part *part)
{
    if (host_check_op(hosts, copy, &part->part, &part->error) == OMEN_OK)
        part->error.status = OMEN_OK; // what was refused is something else
}

// What an operator has to know.
static void
say_halted(struct host_part *part)
{
    (void)error_set(
        &part->error, OMEN_E_READ_ONLY,
        "shard %llu has stopped: its copies differ, and which is right nobody can say but who "
        "looks (shard.verify); shard.force_primary names the right one",
        (unsigned long long)part->part.shard);
}

// The token is somebody else's, or of what an operator gave up (shard.force_primary): who waited for it would wait for ever.
static void
say_ahead(struct host_part *part, uint64_t term)
{
    const struct wire_part *asked = &part->part;
    (void)error_set(&part->error, OMEN_E_INVALID,
                    "after: shard %llu has no state [%llu, %llu]; it is at [%llu, %llu]",
                    (unsigned long long)asked->shard, (unsigned long long)asked->after_term,
                    (unsigned long long)asked->after_seq, (unsigned long long)term,
                    (unsigned long long)part->seq);
}

static void
was_confirmed(struct hosts *hosts, struct host_copy *copy, struct host_part *part)
{
    const uint64_t term = replica_term_at(host_replica(hosts, copy), part->seq);
    if (part->seq >= part->part.after_seq) {
        host_end_well(hosts, part, term, part->seq);
        return;
    }
    say_ahead(part, term);
    host_end_with(hosts, part, OMEN_E_INVALID);
}

void
host_answer(struct hosts *hosts, struct host_copy *copy, const struct replica_answer *answer)
{
    struct host_part *part = host_part_find(hosts, answer->request);
    if (part == NULL)
        return; // nobody waits for it any more
    if (answer->status != OMEN_OK) {
        if (answer->status == OMEN_E_READ_ONLY)
            say_halted(part);
        else if (answer->status == OMEN_E_OP_EXPIRED || answer->status == OMEN_E_INVALID)
            say_op(hosts, copy, part);
        host_refused(hosts, part, answer->status);
    } else if (part->state == PART_PROPOSED) {
        was_written(hosts, copy, part, answer);
    } else {
        was_confirmed(hosts, copy, part);
    }
}

void
host_serve_read(struct hosts *hosts, struct host_copy *copy, uint64_t request)
{
    struct host_part *part = host_part_find(hosts, request);
    if (part != NULL && host_usable(copy) && host_give_worker(hosts, copy, part))
        return;
    if (part != NULL)
        host_end_with(hosts, part, OMEN_E_BUSY);
    struct replica_input given = {.kind = REPLICA_IN_READ_DONE};
    given.request = request;
    hosts_give_later(hosts, copy, &given);
}

// Takes the first ones that fit together. Those that nobody waits for any more, or not long enough, were not done.
static uint32_t
take_ready(struct hosts *hosts, struct host_copy *copy, struct host_part **parts)
{
    const uint64_t now_ns = os_clock_ns();
    uint32_t count = 0;
    size_t bytes = 0;
    while (copy->ready_first != NULL && count < REPLICA_ENTRIES_MAX) {
        struct host_part *part = copy->ready_first;
        const bool useless = part->gone || now_ns >= part->deadline_ns;
        bytes += part->op.count;
        if (!useless && count > 0 &&
            (bytes > HOST_BATCH_BYTES_MAX || part->part.cfg_ver != parts[0]->part.cfg_ver))
            break;
        copy->ready_first = part->next;
        if (useless) {
            bytes -= part->op.count;
            hosts->stats.late += !part->gone;
            host_end_with(hosts, part, OMEN_E_BUSY);
        } else {
            parts[count++] = part;
        }
    }
    return count;
}

static void
propose(struct hosts *hosts, struct host_copy *copy, struct host_part **parts, uint32_t count)
{
    struct replica_proposal proposals[REPLICA_ENTRIES_MAX];
    // The parts may be answered, and gone, within the step.
    struct hosted_bytes ops[REPLICA_ENTRIES_MAX];
    for (uint32_t i = 0; i < count; i++) {
        struct host_part *part = parts[i];
        ops[i] = part->op;
        part->op = (struct hosted_bytes){0};
        part->cursor = ops[i].cursor;
        part->state = PART_PROPOSED;
        proposals[i] = (struct replica_proposal){
            .request = part->id, .bytes = ops[i].bytes, .byte_count = (uint32_t)ops[i].count};
        if (part->cursor == UINT64_MAX) // who tries again must not hear that half of it was all
            proposals[i].op_id = (struct replica_uuid){part->part.op_high, part->part.op_low};
    }
    copy->proposed_count += count;
    hosts->stats.proposed += count;
    struct replica_input given = {.kind = REPLICA_IN_PROPOSE};
    given.proposals = proposals;
    given.proposal_count = count;
    given.cfg_ver = parts[0]->part.cfg_ver;
    hosts_give(hosts, copy->uuid, given);
    for (uint32_t i = 0; i < count; i++)
        hosted_bytes_fini(&ops[i]);
}

void
host_flush(struct hosts *hosts, struct host_copy *copy)
{
    struct host_part *parts[REPLICA_ENTRIES_MAX];
    while (copy->ready_first != NULL && (copy->tickets == 0 || !host_usable(copy))) {
        const uint32_t count = take_ready(hosts, copy, parts);
        if (host_usable(copy) && count > 0) {
            propose(hosts, copy, parts, count);
            continue;
        }
        for (uint32_t i = 0; i < count; i++)
            host_end_with(hosts, parts[i], OMEN_E_STALE_MAP);
    }
}
