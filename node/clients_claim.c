// node/clients_claim.c -- writes that make the first points of a collection wait until the cluster has agreed on its kind of ids.
//
// Shape: shell.
//
//      the front's claim --nobody leads--> refused
//      --> waiting: COMMAND_COLLECTION_IDS is wished for, again every CLAIM_AGAIN_NS
//      waiting --the map has a kind, or no such collection--> given to the front again, which lets it through or refuses it
//      waiting --its deadline--> refused; --its client is gone--> dropped; either way nothing was done
//
// A claim is a wish (meta_wish) and no request to the leader as admin's are: it names what is wanted of the map and nobody, so that it may be
// said twice, by several, and be lost; the map is its answer, and who says it second finds the other's kind there. A request between nodes
// would be a method of its own for one bit of an answer that comes with the map anyway. A node without the metadata's log asks for that map
// (meta_want): gossip would tell of it 0.3 s later.
#include "base/alloc.h"
#include "base/os_clock.h"
#include "node/clients_int.h"
#include "router/claim.h"

#define CLAIM_AGAIN_NS UINT64_C(200000000)
// By then it is committed. Who asks too early is told nothing new, and asks half a second later (router/watch.h).
#define CLAIM_LOOK_NS UINT64_C(25000000)
#define CLAIMS_MAX 1024u // that wait; one more is refused as BUSY

void
clients_claims_init(struct clients *clients)
{
    clients->claims.end = &clients->claims.first;
    clients->claims.again_ns = clients->claims.look_ns = UINT64_MAX;
}

static void
refuse(struct clients *clients, const struct clients_request_note *note, omen_status status,
       const char *why)
{
    struct omen_error error = {0};
    (void)error_set(&error, status, "%s: %s", note->request.method->name, why);
    clients_refuse_request(clients, note, &error);
}

// ---- the list ----

// Takes out what `leaves` says, in its order; the caller frees it.
static struct clients_claim *
take_out(struct clients *clients, bool (*leaves)(const struct clients_claim *, const void *),
         const void *by)
{
    struct clients_claims *claims = &clients->claims;
    struct clients_claim *out = NULL, **out_end = &out, **link = &claims->first;
    while (*link != NULL) {
        struct clients_claim *claim = *link;
        if (!leaves(claim, by)) {
            link = &claim->next;
            continue;
        }
        *link = claim->next;
        claim->next = NULL;
        *out_end = claim;
        out_end = &claim->next;
        claims->count--;
    }
    claims->end = link;
    if (claims->first == NULL)
        claims->again_ns = claims->look_ns = UINT64_MAX;
    return out;
}

static struct clients_claim *
take_next(struct clients_claim **list, struct clients_request_note *note)
{
    struct clients_claim *claim = *list;
    *list = claim->next;
    *note = claim->request;
    return claim;
}

// ---- what is wished for ----

// Whether one before it is about the same collection: it was said already.
static bool
is_first_of_its(const struct clients *clients, const struct clients_claim *claim)
{
    const struct clients_claim *before = clients->claims.first;
    while (before != claim && before->what.collection != claim->what.collection)
        before = before->next;
    return before == claim;
}

static void
wish(struct clients *clients, const struct clients_claim *claim)
{
    struct command command = {.kind = COMMAND_COLLECTION_IDS};
    command.ids = (struct command_ids){claim->what.collection, claim->what.kind};
    meta_wish(clients->config.meta, &command);
}

static void
wish_all(struct clients *clients, uint64_t now_ns)
{
    if (clients->claims.first == NULL)
        return;
    clients->claims.again_ns = now_ns + CLAIM_AGAIN_NS;
    for (const struct clients_claim *claim = clients->claims.first; claim != NULL;
         claim = claim->next)
        if (is_first_of_its(clients, claim))
            wish(clients, claim);
}

static void
look_for_map(struct clients *clients, uint64_t now_ns)
{
    struct clients_claims *claims = &clients->claims;
    claims->look_after_ns *= 2;
    claims->look_ns = now_ns + claims->look_after_ns;
    meta_want(clients->config.meta, clients->map->version + 1);
}

// ---- what happens ----

void
clients_claim(void *context, void *client, const struct rpc_request *request,
              const struct front_claim *what)
{
    struct clients *clients = context;
    struct clients_claims *claims = &clients->claims;
    const struct clients_request_note note = {.conn = client, .request = *request};
    if (uuid_is_none(clients_leader(clients))) {
        refuse(clients, &note, OMEN_E_BUSY, "nobody leads the metadata now");
        return;
    }
    struct clients_claim *claim =
        claims->count < CLAIMS_MAX ? mem_alloc_zero(1, sizeof *claim) : NULL;
    if (claim == NULL) {
        refuse(clients, &note, OMEN_E_BUSY,
               "too many writes wait for their collection's kind of ids");
        return;
    }
    claim->what = *what;
    claim->request = note;
    *claims->end = claim;
    claims->end = &claim->next;
    claims->count++;
    if (claims->again_ns == UINT64_MAX) {
        claims->again_ns = os_clock_ns() + CLAIM_AGAIN_NS;
        claims->look_after_ns = CLAIM_LOOK_NS;
        claims->look_ns = os_clock_ns() + CLAIM_LOOK_NS;
    }
    if (is_first_of_its(clients, claim))
        wish(clients, claim);
}

static bool
is_decided(const struct clients_claim *claim, const void *map)
{
    return claim_is_decided(map, claim->what.collection);
}

void
clients_claims_map(struct clients *clients)
{
    struct clients_claim *decided = take_out(clients, is_decided, clients->map);
    while (decided != NULL) {
        struct clients_request_note note;
        mem_free(take_next(&decided, &note));
        note.let_in = true;
        clients_take_request(clients, &note);
    }
}

void
clients_claims_led(struct clients *clients)
{
    if (!uuid_is_none(clients_leader(clients)))
        wish_all(clients, os_clock_ns());
}

static bool
is_of(const struct clients_claim *claim, const void *conn)
{
    return claim->request.conn == conn;
}

void
clients_claims_gone(struct clients *clients, const struct rpc_conn *conn)
{
    struct clients_claim *gone = take_out(clients, is_of, conn);
    while (gone != NULL) {
        struct clients_request_note note;
        mem_free(take_next(&gone, &note));
        clients_drop_request(&note);
    }
}

static bool
is_late(const struct clients_claim *claim, const void *now_ns)
{
    return claim->what.deadline_ns <= *(const uint64_t *)now_ns;
}

void
clients_claims_late(struct clients *clients, uint64_t now_ns)
{
    struct clients_claim *late = take_out(clients, is_late, &now_ns);
    while (late != NULL) {
        struct clients_request_note note;
        mem_free(take_next(&late, &note));
        refuse(clients, &note, OMEN_E_TIMEOUT,
               "the cluster did not agree on the collection's kind of ids within the deadline; "
               "nothing was done");
    }
    if (clients->claims.again_ns <= now_ns)
        wish_all(clients, now_ns);
    if (clients->claims.look_ns <= now_ns)
        look_for_map(clients, now_ns);
}

uint64_t
clients_claims_due(const struct clients *clients)
{
    const struct clients_claims *claims = &clients->claims;
    uint64_t due_ns = claims->again_ns < claims->look_ns ? claims->again_ns : claims->look_ns;
    for (const struct clients_claim *claim = claims->first; claim != NULL; claim = claim->next)
        if (claim->what.deadline_ns < due_ns)
            due_ns = claim->what.deadline_ns;
    return due_ns;
}

static bool
is_any(const struct clients_claim *claim, const void *nothing)
{
    (void)claim;
    (void)nothing;
    return true;
}

void
clients_claims_close(struct clients *clients)
{
    struct clients_claim *all = take_out(clients, is_any, NULL);
    while (all != NULL) {
        struct clients_request_note note;
        mem_free(take_next(&all, &note));
        clients_drop_request(&note);
    }
}
