// router/answer.c -- a request ends: what its parts said, and what they did not.
//
// Shape: machine.
//
// A write is acknowledged where its shard said so, and nowhere else. It was not done where every sub-request was refused before it
// was done, or none was sent; everything else is unknown: also what a shard has forgotten, which an earlier request may have done.
#include "router/fanout_int.h"

// ---- refused at once ----

void
fanout_refuse(struct fanout_turn *turn, omen_status status)
{
    const struct fanout_start *start = turn->in->start;
    for (uint32_t i = 0; i < start->item_count && start->items != NULL; i++)
        start->items[i] = (struct fanout_item){
            .hash = start->items[i].hash, .status = status, .next = start->item_count};
    turn->fanout->counters.busy += status == OMEN_E_BUSY;
    turn->out->answers[turn->out->answer_count++] =
        (struct fanout_answer){.client = start->client, .status = status};
}

// ---- what became of the parts ----

static enum fanout_outcome
outcome_of(const struct fanout_request *request, const struct fanout_part *part)
{
    if (request->start.kind != FANOUT_WRITE)
        return FANOUT_NOT_APPLIED;
    if (part->state == FANOUT_PART_DONE)
        return FANOUT_APPLIED;
    const bool forgotten = part->status == OMEN_E_OP_EXPIRED;
    return part->maybe || forgotten || fanout_part_flies(part) ? FANOUT_UNKNOWN
                                                               : FANOUT_NOT_APPLIED;
}

static omen_status
status_of(const struct fanout_request *request, const struct fanout_part *part)
{
    if (part->state == FANOUT_PART_DONE)
        return OMEN_OK;
    if (part->state == FANOUT_PART_FAILED)
        return part->status;
    if (outcome_of(request, part) == FANOUT_UNKNOWN)
        return OMEN_E_TIMEOUT;
    if (request->over_with != OMEN_OK) // nobody waited for it to the end
        return OMEN_E_CANCELLED;
    const bool unanswered = part->status == OMEN_OK || fanout_part_flies(part);
    return unanswered ? OMEN_E_TIMEOUT : part->status;
}

// The last that it was sent to; else who would have been next.
static uint64_t
shard_of(const struct fanout *fanout, const struct fanout_request *request,
         const struct fanout_part *part)
{
    if (part->shard != 0)
        return part->shard;
    const struct route *row = routes_find(fanout->routes, request->start.collection, part->first);
    return row == NULL ? 0 : row->shard;
}

static struct fanout_report
report_of(const struct fanout *fanout, const struct fanout_request *request,
          const struct fanout_part *part)
{
    return (struct fanout_report){.shard = shard_of(fanout, request, part),
                                  .first = part->first,
                                  .last = part->last,
                                  .status = status_of(request, part),
                                  .outcome = outcome_of(request, part),
                                  .term = part->term,
                                  .seq = part->seq};
}

static void
end_items(const struct fanout_request *request, const struct fanout_part *part)
{
    struct fanout_item *items = request->start.items;
    const omen_status status = status_of(request, part);
    const enum fanout_outcome outcome = outcome_of(request, part);
    uint32_t at = part->item_first;
    for (uint32_t i = 0; i < part->item_count; i++, at = items[at].next) {
        items[at].status = status;
        items[at].outcome = (uint8_t)outcome;
    }
}

// Those that failed first: there may be more parts than reports.
static void
report(struct fanout_turn *turn, const struct fanout_request *request, struct fanout_answer *answer)
{
    const struct fanout *fanout = turn->fanout;
    struct fanout_output *out = turn->out;
    answer->report_first = out->report_count;
    for (uint32_t done = 0; done < 2; done++)
        for (uint32_t at = request->parts; at != FANOUT_NO_PART; at = fanout->parts[at].next) {
            const struct fanout_part *part = &fanout->parts[at];
            if ((part->state == FANOUT_PART_DONE) != (done == 1) ||
                out->report_count == FANOUT_REPORTS_MAX)
                continue;
            out->reports[out->report_count++] = report_of(fanout, request, part);
        }
    answer->report_count = out->report_count - answer->report_first;
}

// ---- hits ----

static omen_status
merge_parts(struct fanout *fanout, const struct fanout_request *request, uint32_t *count)
{
    size_t hits = 0;
    for (uint32_t at = request->parts; at != FANOUT_NO_PART; at = fanout->parts[at].next)
        hits += fanout->parts[at].hits.count;
    const size_t words = merge_scratch_words(request->part_count, hits);
    uint64_t *scratch = fanout_scratch(fanout, words * sizeof *scratch +
                                                   request->part_count * sizeof(struct merge_list));
    if (scratch == NULL)
        return OMEN_E_NO_MEMORY;
    struct merge_list *lists = (void *)(scratch + words);
    uint32_t lists_used = 0;
    for (uint32_t at = request->parts; at != FANOUT_NO_PART; at = fanout->parts[at].next)
        if (fanout->parts[at].state == FANOUT_PART_DONE)
            lists[lists_used++] = fanout->parts[at].hits;
    *count = merge_hits(&(struct merge_input){lists, lists_used, request->start.k}, scratch,
                        request->start.hits);
    return OMEN_OK;
}

static void
conclude(struct fanout *fanout, const struct fanout_request *request, struct fanout_answer *answer,
         const struct fanout_report *first)
{
    const bool search = request->start.kind == FANOUT_SEARCH;
    if (request->over_with != OMEN_OK) {
        answer->status = request->over_with;
        answer->shard = request->over_shard;
    } else if (answer->failed_count > 0 &&
               (!request->start.partial || answer->failed_count == answer->part_count)) {
        answer->status = first->status;
        answer->shard = first->shard;
    } else if (search && request->start.k > 0)
        answer->status = merge_parts(fanout, request, &answer->hit_count);
}

// ---- the end ----

// False: not all who work on it for nothing could be told in this step.
static bool
drop_flights(struct fanout_turn *turn, const struct fanout_request *request)
{
    struct fanout *fanout = turn->fanout;
    if (request->start.kind == FANOUT_WRITE)
        return true; // they are what makes an outcome unknown
    for (uint32_t at = request->parts; at != FANOUT_NO_PART; at = fanout->parts[at].next)
        for (uint32_t i = 0; i < fanout_places(&fanout->parts[at]); i++) {
            struct fanout_flight *flight = &fanout->parts[at].flights[i];
            if (flight->attempt == 0)
                continue;
            if (turn->out->cancel_count == FANOUT_CANCELS_MAX)
                return false;
            if (fanout->parts[at].state == FANOUT_PART_WAITS)
                fanout->parts[at].status = OMEN_E_TIMEOUT; // unanswered
            fanout_flight_drop(turn, at, flight);
        }
    return true;
}

static void
forget(struct fanout *fanout, uint32_t slot)
{
    struct fanout_request *request = &fanout->requests[slot];
    for (uint32_t at = request->parts, next; at != FANOUT_NO_PART; at = next) {
        struct fanout_part *part = &fanout->parts[at];
        next = part->next;
        for (uint32_t i = 0; i < fanout_places(part); i++)
            if (part->flights[i].attempt != 0)
                fanout_flight_end(fanout, &part->flights[i]);
        fanout_part_free(fanout, at);
    }
    *request = (struct fanout_request){.number = 0};
    fanout->request_count--;
    fanout->counters.answered++;
}

bool
fanout_answer(struct fanout_turn *turn, uint32_t slot)
{
    struct fanout *fanout = turn->fanout;
    struct fanout_output *out = turn->out;
    const struct fanout_request *request = &fanout->requests[slot];
    const uint64_t reports = fanout_min(request->part_count, FANOUT_REPORTS_MAX);
    if (out->answer_count == FANOUT_ANSWERS_MAX ||
        reports > FANOUT_REPORTS_MAX - out->report_count || !drop_flights(turn, request))
        return false;
    struct fanout_answer *answer = &out->answers[out->answer_count++];
    *answer = (struct fanout_answer){.request = request->number,
                                     .client = request->start.client,
                                     .part_count = request->part_count};
    for (uint32_t at = request->parts; at != FANOUT_NO_PART; at = fanout->parts[at].next)
        if (fanout->parts[at].state != FANOUT_PART_DONE) {
            answer->failed_count++;
            end_items(request, &fanout->parts[at]);
        }
    report(turn, request, answer);
    conclude(fanout, request, answer, &out->reports[answer->report_first]);
    forget(fanout, slot);
    return true;
}
