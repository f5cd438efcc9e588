// router/merge.h -- joins the shards' sorted hit lists into the k nearest.
//
// Shape:   value. Every buffer is the caller's.
// Threads: any.
#ifndef OMEN_ROUTER_MERGE_H
#define OMEN_ROUTER_MERGE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct merge_hit {
    float distance;      // smaller is nearer
    uint32_t text_bytes; // of the id; 0: it is `number`
    uint64_t number;
    const char *text; // borrowed, not terminated
    uint64_t version; // of the point: the newest of an id is the one that counts
    const void *more; // the caller's, comes along
};

struct merge_list {
    const struct merge_hit *hits; // nearest first, equal distances by id
    uint32_t count;
};

struct merge_input {
    const struct merge_list *lists;
    uint32_t list_count;
    uint32_t k;
};

// Numbers come before texts, texts in the order of their bytes.
int merge_id_compare(const struct merge_hit *a, const struct merge_hit *b);

// Whether a list that came from elsewhere is one: strictly in order, no distance that is not a number, texts where they are said
// to be and no longer than an id may be.
bool merge_list_is_sound(const struct merge_list *list);

// How many words of scratch merge_hits needs. `hits` is that of all lists together.
size_t merge_scratch_words(uint32_t list_count, size_t hits);

// Writes at most k hits, nearest first, equal distances by id, each id once and in its newest version; returns how many. `out`
// has room for the smaller of k and the hits of all lists. The scratch need not be cleared.
uint32_t merge_hits(const struct merge_input *in, uint64_t *scratch, struct merge_hit *out);

#endif
