// node/hosts_image.c -- what the log of a copy knew of terms and of operations, as bytes that go with a snapshot.
//
// Shape: value; on the heap.
//
// The bytes come from another node, and were found whole by whoever verified the snapshot; what they say is looked at all the same, because
// a replica asserts on what its disk has.
#include "node/hosts_int.h"

#define HEAD_WORDS 3u // stamp; terms; operations
#define TERM_WORDS 2u
#define OP_WORDS 4u

static uint64_t
word_at(const uint8_t *bytes, size_t word)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < 8; i++)
        value |= (uint64_t)bytes[word * 8 + i] << (8 * i);
    return value;
}

static void
put_word(uint8_t **at, uint64_t value)
{
    for (uint32_t i = 0; i < 8; i++)
        *(*at)++ = (uint8_t)(value >> (8 * i));
}

// The last ones that began at or below what is committed: the snapshot is of that, or of less.
static const struct replica_term *
committed_terms(const struct replica *replica, uint32_t *count)
{
    const struct replica_term *all = terms_all(&replica->terms);
    uint32_t end = replica->terms.count;
    while (end > 0 && all[end - 1].first_seq > replica->commit_seq)
        end--;
    *count = end < REPLICA_TERMS_MAX ? end : REPLICA_TERMS_MAX;
    return all + (end - *count);
}

uint8_t *
host_image_write(const struct replica *replica, size_t *count)
{
    const struct dedupe *ops = &replica->ops;
    uint32_t term_count;
    const struct replica_term *terms = committed_terms(replica, &term_count);
    *count = 8 * (HEAD_WORDS + (size_t)term_count * TERM_WORDS + (size_t)ops->count * OP_WORDS);
    uint8_t *bytes = mem_alloc(*count);
    if (bytes == NULL)
        return NULL;
    uint8_t *at = bytes;
    put_word(&at, replica->stamp_ms);
    put_word(&at, term_count);
    put_word(&at, ops->count);
    for (uint32_t i = 0; i < term_count; i++) {
        put_word(&at, terms[i].term);
        put_word(&at, terms[i].first_seq);
    }
    for (uint32_t i = 0; i < ops->count; i++) {
        const struct dedupe_op *op = dedupe_at(ops, i);
        put_word(&at, op->id.high);
        put_word(&at, op->id.low);
        put_word(&at, op->seq);
        put_word(&at, op->stamp_ms);
    }
    ASSERT((size_t)(at - bytes) == *count);
    return bytes;
}

bool
host_image_fits(const struct host_image *image, uint64_t promised)
{
    return image->terms[image->term_count - 1].term <= promised;
}

struct replica_disk
host_image_disk(const struct host_image *image, uint64_t promised)
{
    return (struct replica_disk){.promised = promised,
                                 .first_seq = image->seq + 1,
                                 .last_seq = image->seq,
                                 .commit_seq = image->seq,
                                 .applied_seq = image->seq,
                                 .stamp_ms = image->stamp_ms,
                                 .terms = image->terms,
                                 .term_count = image->term_count,
                                 .ops = image->ops,
                                 .op_count = image->op_count};
}

void
host_image_free(struct host_image *image)
{
    if (image == NULL)
        return;
    mem_free(image->terms);
    mem_free(image->ops);
    mem_free(image);
}

// Ascending, and through `seq` only: the log went on.
static bool
read_terms(struct host_image *image, const uint8_t *bytes, uint32_t count)
{
    struct replica_term last = {0, 0};
    for (uint32_t i = 0; i < count; i++) {
        const struct replica_term term = {word_at(bytes, i * TERM_WORDS),
                                          word_at(bytes, i * TERM_WORDS + 1)};
        if (term.term <= last.term || term.first_seq <= last.first_seq ||
            term.term >= REPLICA_NUMBER_MAX)
            return false;
        last = term;
        if (term.first_seq <= image->seq)
            image->terms[image->term_count++] = term;
    }
    return image->term_count > 0; // or nobody could go on behind it
}

static bool
read_ops(struct host_image *image, const uint8_t *bytes, uint32_t count)
{
    uint64_t last_seq = 0;
    for (uint32_t i = 0; i < count; i++) {
        const size_t at = (size_t)i * OP_WORDS;
        const struct dedupe_op op = {.id = {word_at(bytes, at), word_at(bytes, at + 1)},
                                     .seq = word_at(bytes, at + 2),
                                     .stamp_ms = word_at(bytes, at + 3)};
        if (op.seq <= last_seq || replica_uuid_is_none(op.id))
            return false;
        last_seq = op.seq;
        if (op.seq <= image->seq)
            image->ops[image->op_count++] = op;
    }
    return true;
}

struct host_image *
host_image_read(const uint8_t *bytes, size_t count, uint64_t seq)
{
    if (count < 8 * HEAD_WORDS)
        return NULL;
    const uint64_t terms = word_at(bytes, 1), ops = word_at(bytes, 2);
    if (terms > REPLICA_TERMS_MAX || ops > DEDUPE_OPS_MAX ||
        count != 8 * (HEAD_WORDS + terms * TERM_WORDS + ops * OP_WORDS))
        return NULL;
    struct host_image *image = mem_alloc_zero(1, sizeof *image);
    if (image == NULL)
        return NULL;
    image->seq = seq;
    image->stamp_ms = word_at(bytes, 0);
    image->terms = mem_alloc((terms + 1) * sizeof *image->terms);
    image->ops = mem_alloc((ops + 1) * sizeof *image->ops);
    const uint8_t *first_op = bytes + 8 * (HEAD_WORDS + terms * TERM_WORDS);
    if (image->terms != NULL && image->ops != NULL &&
        read_terms(image, bytes + 8 * (size_t)HEAD_WORDS, (uint32_t)terms) &&
        read_ops(image, first_op, (uint32_t)ops))
        return image;
    host_image_free(image);
    return NULL;
}
