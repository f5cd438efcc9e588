// replica/terms.c -- where the terms of a log began.
//
// Shape: value.
#include "replica/terms.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

static struct replica_term *
all(struct terms *terms)
{
    return terms->far != NULL ? terms->far : terms->near;
}

const struct replica_term *
terms_all(const struct terms *terms)
{
    return terms->far != NULL ? terms->far : terms->near;
}

void
terms_fini(struct terms *terms)
{
    mem_free(terms->far);
    *terms = (struct terms){.count = 0};
}

static bool
grow(struct terms *terms)
{
    const uint32_t room = 2 * terms->count;
    struct replica_term *far = mem_resize(terms->far, room * sizeof *far);
    if (far == NULL)
        return false;
    if (terms->far == NULL)
        memcpy(far, terms->near, terms->count * sizeof *far);
    terms->far = far;
    terms->room = room;
    return true;
}

static void
forget_oldest(struct terms *terms)
{
    ASSERT(terms->count > 0);
    terms->count--;
    memmove(all(terms), all(terms) + 1, terms->count * sizeof *terms->far);
}

bool
terms_begin(struct terms *terms, struct replica_term began, uint32_t most, uint64_t applied_seq)
{
    ASSERT(most >= 2 && most <= REPLICA_TERMS_MAX);
    if (terms->count > 0 && terms_all(terms)[terms->count - 1].term == began.term)
        return true;
    while (terms->count >= most && terms_all(terms)[1].first_seq <= applied_seq)
        forget_oldest(terms);
    const uint32_t room = terms->far != NULL ? terms->room : REPLICA_TERMS_MAX;
    const bool fits = terms->count < room || grow(terms);
    if (!fits)
        forget_oldest(terms);
    all(terms)[terms->count++] = began;
    return fits;
}

void
terms_cut(struct terms *terms, uint64_t seq)
{
    while (terms->count > 0 && terms_all(terms)[terms->count - 1].first_seq > seq)
        terms->count--;
}

uint64_t
terms_of(const struct terms *terms, uint64_t seq)
{
    for (uint32_t i = terms->count; i-- > 0;)
        if (terms_all(terms)[i].first_seq <= seq)
            return terms_all(terms)[i].term;
    return 0;
}
