// clients/c/session.c -- what a client has seen: a list of names, each with its shards in order.
//
// Shape: value.
//
// A program has a few collections, so a list will do. A shard that was split stays: its children look at what it had.
#include "clients/c/session.h"

#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "wire/api.h"

struct session_collection {
    struct session_collection *next;
    char name[WIRE_NAME_BYTES_MAX];
    uint32_t name_bytes;
    uint32_t count, room;
    struct wire_token *seen; // owned, by shard
};

void
session_init(struct session *session)
{
    *session = (struct session){.first = NULL};
    lock_init(&session->lock);
}

void
session_fini(struct session *session)
{
    session_forget(session);
    lock_fini(&session->lock);
}

void
session_forget(struct session *session)
{
    lock_acquire(&session->lock);
    struct session_collection *each = session->first;
    session->first = NULL;
    session->lost = false;
    lock_release(&session->lock);
    while (each != NULL) {
        struct session_collection *next = each->next;
        mem_free(each->seen);
        mem_free(each);
        each = next;
    }
}

static struct session_collection *
find(const struct session *session, struct wire_text name)
{
    struct session_collection *each = session->first;
    while (each != NULL && !wire_text_same((struct wire_text){each->name, each->name_bytes}, name))
        each = each->next;
    return each;
}

// NULL: no memory.
static struct session_collection *
find_or_make(struct session *session, struct wire_text name)
{
    struct session_collection *found = find(session, name);
    if (found != NULL)
        return found;
    found = mem_alloc_zero(1, sizeof *found);
    if (found == NULL)
        return NULL;
    memcpy(found->name, name.bytes, name.count);
    found->name_bytes = name.count;
    found->next = session->first;
    session->first = found;
    return found;
}

static uint32_t
place_of(const struct session_collection *of, uint64_t shard)
{
    uint32_t low = 0, high = of->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (of->seen[middle].shard < shard)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// False: no memory.
static bool
grow(struct session_collection *of)
{
    const uint32_t room = of->room > 0 ? 2 * of->room : 4;
    struct wire_token *seen = mem_resize(of->seen, room * sizeof *seen);
    if (seen == NULL)
        return false;
    of->seen = seen;
    of->room = room;
    return true;
}

static bool
saw(struct session_collection *of, const struct wire_token *token)
{
    const uint32_t at = place_of(of, token->shard);
    if (at < of->count && of->seen[at].shard == token->shard) {
        struct wire_token *was = &of->seen[at];
        if (token->term > was->term || (token->term == was->term && token->seq > was->seq))
            *was = *token;
        return true;
    }
    if (of->count == of->room && !grow(of))
        return false;
    memmove(of->seen + at + 1, of->seen + at, (of->count - at) * sizeof *of->seen);
    of->seen[at] = *token;
    of->count++;
    return true;
}

void
session_saw(struct session *session, struct wire_text collection, const struct wire_list *token)
{
    struct list_cursor cursor;
    struct wire_token each;
    if (token->count == 0 || collection.count > WIRE_NAME_BYTES_MAX)
        return;
    lock_acquire(&session->lock);
    struct session_collection *of = find_or_make(session, collection);
    session->lost = session->lost || of == NULL;
    token_begin(&cursor, token);
    while (of != NULL && list_next(&cursor, &each))
        session->lost = !saw(of, &each) || session->lost;
    lock_release(&session->lock);
}

omen_status
session_ask(struct session *session, struct wire_text collection, uint8_t *consistency,
            struct wire_list *after)
{
    omen_status status = OMEN_OK;
    struct wire_token *items = NULL;
    *after = (struct wire_list){0};
    lock_acquire(&session->lock);
    const struct session_collection *of = find(session, collection);
    if (session->lost) {
        *consistency = API_STRONG;
    } else if (of == NULL) {
        *consistency = API_EVENTUAL; // there is nothing to wait for
    } else {
        *consistency = API_SESSION;
        items = mem_alloc(of->count * sizeof *items);
        status = items != NULL ? OMEN_OK : OMEN_E_NO_MEMORY;
    }
    if (items != NULL) {
        memcpy(items, of->seen, of->count * sizeof *items);
        *after = (struct wire_list){.count = of->count, .items = items};
    }
    lock_release(&session->lock);
    return status;
}
