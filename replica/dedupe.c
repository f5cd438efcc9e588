// replica/dedupe.c -- pages in log order, with chains by hash over them.
//
// Shape: value.
//
// A chain goes from the newest of a bucket to older ones, and ends where a number is none of an operation that is known and older than the
// one before: so the oldest is forgotten without a look at its chain, and a page goes when all of it is forgotten. A number that was
// forgotten 2^32 operations ago may be another's by now. Then a chain goes on in that one's, where no id is the wanted one.
#include "replica/dedupe.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/prng.h"

#define MARK_SEQ 1u // what it is about came later: the first entry of a log is its primary's
#define PAGES_FIRST 4u
#define BUCKETS_FIRST 32u
#define CHAIN_OPS 2u // in a bucket, at most and on average

_Static_assert((DEDUPE_PAGE_OPS & (DEDUPE_PAGE_OPS - 1)) == 0,
               "numbers go on from the last page to the first");

static struct dedupe_page **
page_at(const struct dedupe *dedupe, uint32_t number)
{
    return &dedupe->pages[(number / DEDUPE_PAGE_OPS) & (dedupe->page_room - 1)];
}

static struct dedupe_op *
op_of(const struct dedupe *dedupe, uint32_t number)
{
    return &(*page_at(dedupe, number))->ops[number % DEDUPE_PAGE_OPS];
}

static uint32_t *
next_of(const struct dedupe *dedupe, uint32_t number)
{
    return &(*page_at(dedupe, number))->next[number % DEDUPE_PAGE_OPS];
}

static uint32_t *
newest_of(const struct dedupe *dedupe, struct replica_uuid id)
{
    return &dedupe->newest[(uint32_t)mix64(id.high ^ mix64(id.low)) & (dedupe->bucket_count - 1)];
}

void
dedupe_init(struct dedupe *dedupe, uint32_t room_max, uint64_t window_ms)
{
    ASSERT(room_max >= 1 && room_max <= DEDUPE_OPS_MAX);
    *dedupe = (struct dedupe){.room_max = room_max, .window_ms = window_ms};
}

void
dedupe_fini(struct dedupe *dedupe)
{
    for (uint32_t i = 0; i < dedupe->page_count; i++)
        mem_free(*page_at(dedupe, dedupe->first + i * DEDUPE_PAGE_OPS));
    mem_free(dedupe->pages);
    mem_free(dedupe->newest);
    *dedupe = (struct dedupe){.room_max = dedupe->room_max, .window_ms = dedupe->window_ms};
}

static uint64_t
ahead_ms(const struct dedupe *dedupe)
{
    return dedupe->window_ms / 3;
}

static uint64_t
old_ms(const struct dedupe *dedupe)
{
    return dedupe->window_ms - ahead_ms(dedupe);
}

struct opid_clock
dedupe_clock(const struct dedupe *dedupe, uint64_t now_ms)
{
    return (struct opid_clock){
        .now_ms = now_ms, .forgot_ms = dedupe->forgot_ms, .ahead_ms = (uint32_t)ahead_ms(dedupe)};
}

uint64_t
dedupe_find(const struct dedupe *dedupe, struct replica_uuid id)
{
    if (dedupe->bucket_count == 0)
        return 0;
    uint32_t newer = dedupe->count; // places are counted from the oldest
    uint32_t number = *newest_of(dedupe, id);
    while (number - dedupe->first < newer) {
        const struct dedupe_op *op = op_of(dedupe, number);
        if (replica_uuid_equal(op->id, id))
            return op->seq;
        newer = number - dedupe->first;
        number = *next_of(dedupe, number);
    }
    return 0;
}

const struct dedupe_op *
dedupe_at(const struct dedupe *dedupe, uint32_t i)
{
    ASSERT(i < dedupe->count);
    return op_of(dedupe, dedupe->first + i);
}

static void
link_op(struct dedupe *dedupe, uint32_t number)
{
    uint32_t *newest = newest_of(dedupe, op_of(dedupe, number)->id);
    *next_of(dedupe, number) = *newest;
    *newest = number;
}

static void
raise_mark(struct dedupe *dedupe, uint64_t forgot_ms)
{
    if (forgot_ms > dedupe->forgot_ms)
        dedupe->forgot_ms = forgot_ms;
}

// A primary takes nothing that was drawn further ahead of its clock, and no clock is ahead of the stamps; other programs did.
static uint64_t
behind(const struct dedupe *dedupe, const struct dedupe_op *op)
{
    const struct opid id = {op->id.high, op->id.low};
    const uint64_t most_ms = op->stamp_ms + ahead_ms(dedupe);
    if (!opid_is_uuid7(id))
        return 0; // it will not be taken again
    return (opid_ms(id) < most_ms ? opid_ms(id) : most_ms) + 1;
}

static void
forget_oldest(struct dedupe *dedupe)
{
    raise_mark(dedupe, behind(dedupe, op_of(dedupe, dedupe->first)));
    struct dedupe_page *page = *page_at(dedupe, dedupe->first);
    dedupe->first++;
    dedupe->count--;
    if (dedupe->first % DEDUPE_PAGE_OPS == 0) {
        mem_free(page);
        dedupe->page_count--;
    }
}

// ---- room ----

static omen_status
grow_buckets(struct dedupe *dedupe, uint32_t ops)
{
    uint32_t count = dedupe->bucket_count == 0 ? BUCKETS_FIRST : dedupe->bucket_count;
    while (count * CHAIN_OPS < ops)
        count *= 2;
    if (count == dedupe->bucket_count)
        return OMEN_OK;
    uint32_t *newest = mem_alloc_zero(count, sizeof *newest);
    if (newest == NULL)
        return OMEN_E_NO_MEMORY;
    mem_free(dedupe->newest);
    dedupe->newest = newest;
    dedupe->bucket_count = count;
    for (uint32_t i = 0; i < dedupe->count; i++)
        link_op(dedupe, dedupe->first + i);
    return OMEN_OK;
}

static omen_status
grow_directory(struct dedupe *dedupe)
{
    struct dedupe next = *dedupe;
    next.page_room = dedupe->page_room == 0 ? PAGES_FIRST : dedupe->page_room * 2;
    next.pages = mem_alloc_zero(next.page_room, sizeof *next.pages);
    if (next.pages == NULL)
        return OMEN_E_NO_MEMORY;
    for (uint32_t i = 0; i < dedupe->page_count; i++) {
        const uint32_t number = dedupe->first + i * DEDUPE_PAGE_OPS;
        *page_at(&next, number) = *page_at(dedupe, number);
    }
    mem_free(dedupe->pages);
    *dedupe = next;
    return OMEN_OK;
}

static omen_status
add_page(struct dedupe *dedupe)
{
    if (dedupe->page_count == dedupe->page_room && grow_directory(dedupe) != OMEN_OK)
        return OMEN_E_NO_MEMORY;
    struct dedupe_page *page = mem_alloc(sizeof *page);
    if (page == NULL)
        return OMEN_E_NO_MEMORY;
    *page_at(dedupe, dedupe->first + dedupe->page_count * DEDUPE_PAGE_OPS) = page;
    dedupe->page_count++;
    return OMEN_OK;
}

omen_status
dedupe_reserve(struct dedupe *dedupe, uint32_t count, uint64_t commit)
{
    while (dedupe->count > 0 && dedupe->count + count > dedupe->room_max &&
           op_of(dedupe, dedupe->first)->seq <= commit)
        forget_oldest(dedupe);
    const uint32_t ops = dedupe->count + count;
    if (ops > dedupe->room_max)
        return OMEN_E_BUSY;
    omen_status status = grow_buckets(dedupe, ops);
    while (status == OMEN_OK &&
           dedupe->page_count * DEDUPE_PAGE_OPS < dedupe->first % DEDUPE_PAGE_OPS + ops)
        status = add_page(dedupe);
    return status;
}

void
dedupe_add(struct dedupe *dedupe, const struct dedupe_op *op)
{
    ASSERT(dedupe->first % DEDUPE_PAGE_OPS + dedupe->count < dedupe->page_count * DEDUPE_PAGE_OPS);
    ASSERT(dedupe->count == 0 || dedupe_at(dedupe, dedupe->count - 1)->seq < op->seq);
    const uint32_t number = dedupe->first + dedupe->count++;
    *op_of(dedupe, number) = *op;
    link_op(dedupe, number);
}

// ---- what goes ----

void
dedupe_cut(struct dedupe *dedupe, uint64_t seq)
{
    while (dedupe->count > 0) {
        const uint32_t number = dedupe->first + dedupe->count - 1;
        const struct dedupe_op *op = op_of(dedupe, number);
        if (op->seq <= seq)
            break;
        *newest_of(dedupe, op->id) = *next_of(dedupe, number);
        dedupe->count--;
    }
}

void
dedupe_expire(struct dedupe *dedupe, uint64_t commit, uint64_t stamp_ms)
{
    while (dedupe->count > 0) {
        const struct dedupe_op *op = op_of(dedupe, dedupe->first);
        if (op->seq > commit || op->stamp_ms > stamp_ms ||
            stamp_ms - op->stamp_ms <= dedupe->window_ms)
            break;
        forget_oldest(dedupe);
    }
}

// ---- kept elsewhere ----

static bool
has_mark(const struct dedupe *dedupe)
{
    return dedupe->forgot_ms > 0 && (dedupe->count == 0 || dedupe_at(dedupe, 0)->seq > MARK_SEQ);
}

// No UUIDv7, by its variant. Its stamp is such that it is forgotten when time alone makes up for it.
static struct dedupe_op
mark_of(uint64_t forgot_ms)
{
    return (struct dedupe_op){
        .id = {forgot_ms << 16 | 0x7000, 0}, .seq = MARK_SEQ, .stamp_ms = forgot_ms};
}

static bool
is_mark(const struct dedupe_op *op)
{
    return op->seq == MARK_SEQ && op->id.low == 0 && (op->id.high & 0xffff) == 0x7000 &&
           op->id.high >> 16 == op->stamp_ms;
}

uint32_t
dedupe_kept(const struct dedupe *dedupe)
{
    const uint32_t count = dedupe->count + has_mark(dedupe);
    return count < DEDUPE_OPS_MAX ? count : DEDUPE_OPS_MAX;
}

struct dedupe_op
dedupe_kept_at(const struct dedupe *dedupe, uint32_t i)
{
    const uint32_t marks = has_mark(dedupe);
    const bool full = dedupe->count + marks > DEDUPE_OPS_MAX; // the oldest makes room for the mark
    ASSERT(i < dedupe_kept(dedupe));
    if (i >= marks)
        return *dedupe_at(dedupe, i - marks + full);
    const uint64_t oldest = full ? behind(dedupe, dedupe_at(dedupe, 0)) : 0;
    return mark_of(oldest > dedupe->forgot_ms ? oldest : dedupe->forgot_ms);
}

// What was forgotten for its age had a stamp below the window. A clock that ran far ahead for a while has left stamps behind, but nobody
// has drawn ids by them.
static uint64_t
lost_before(const struct dedupe *dedupe, const struct dedupe_kept *kept)
{
    const uint64_t ahead = ahead_ms(dedupe), old = old_ms(dedupe);
    uint64_t lost_ms = kept->stamp_ms > old ? kept->stamp_ms - old : 0;
    if (lost_ms > kept->now_ms + ahead)
        lost_ms = kept->now_ms + ahead + 1;
    return lost_ms;
}

omen_status
dedupe_load(struct dedupe *dedupe, const struct dedupe_kept *given)
{
    struct dedupe_kept kept = *given;
    dedupe_cut(dedupe, 0);
    raise_mark(dedupe, kept.forgot_ms);
    if (kept.count > 0 && is_mark(&kept.ops[0])) {
        raise_mark(dedupe, kept.ops[0].stamp_ms);
        kept.ops++;
        kept.count--;
    }
    if (!kept.whole)
        raise_mark(dedupe, lost_before(dedupe, &kept));
    for (uint32_t i = 0; i < kept.count; i++) {
        const omen_status status = dedupe_reserve(dedupe, 1, kept.commit);
        if (status != OMEN_OK)
            return status;
        dedupe_add(dedupe, &kept.ops[i]);
    }
    return OMEN_OK;
}

void
dedupe_check(const struct dedupe *dedupe)
{
    ASSERT(dedupe->count <= dedupe->room_max);
    ASSERT(dedupe->count <= dedupe->page_count * DEDUPE_PAGE_OPS);
    uint64_t seq = 0;
    for (uint32_t i = 0; i < dedupe->count; i++) {
        const struct dedupe_op *op = dedupe_at(dedupe, i);
        ASSERT(op->seq > seq);
        ASSERT(dedupe_find(dedupe, op->id) != 0);
        seq = op->seq;
    }
}
