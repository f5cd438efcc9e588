// node/clients_near.c -- parts for copies on this node: given to who serves them without the data loop, or served here.
//
// Shape: shell.
//
// What the front sends within a step waits until the step is over, for what comes of it is a step again. Then a search that looks at
// little, of a copy where such searches take little, is served by this loop itself where nothing else waits for it: to wake a worker, and
// to be woken by it, would take longer. What takes longer than a loop may be kept, and is alone, is left to the thread that brought it where
// that is still behind its request: it would only go to sleep while a worker wakes. One such thread at a time, and of what is over
// soon: they are NNG's few, by which everybody's bytes come. What comes many at once is given to the workers, who are awake then, several
// by several: a worker brings back together what it took together, so that answers leave together and their client asks together again.
#include <stdatomic.h>

#include "base/os_clock.h"
#include "node/clients_int.h"

static void
away_add(struct clients *clients, struct near *near)
{
    near->next = clients->near_away;
    near->link = &clients->near_away;
    if (near->next != NULL)
        near->next->link = &near->next;
    clients->near_away = near;
}

static void
away_remove(struct near *near)
{
    *near->link = near->next;
    if (near->next != NULL)
        near->next->link = near->link;
}

bool
clients_near_begin(struct clients *clients, const struct wire_part *part, uint32_t deadline_ms)
{
    struct wire_part kept_part = *part;
    struct wire_bytes ask;
    if (clients->config.hosts == NULL)
        return false;
    struct front_kept *kept = front_keep(clients->front, &ask);
    if (kept == NULL)
        return false;
    kept_part.ask = ask.bytes;
    struct near *near = hosts_near(clients->config.hosts, &kept_part, deadline_ms);
    if (near == NULL) {
        front_unkeep(kept);
        return false;
    }
    near->kept = kept;
    near->light = near->light && front_sends_light(clients->front);
    near->next = NULL;
    *clients->near_end = near;
    clients->near_end = &near->next;
    clients->near_begun_count++;
    return true;
}

static bool
is_it(const struct near *near, uint64_t request, uint32_t part, uint32_t attempt)
{
    return near->part.request == request && near->part.part == part &&
           near->part.attempt == attempt;
}

bool
clients_near_cancel(struct clients *clients, uint64_t request, uint32_t part, uint32_t attempt)
{
    struct near *const lists[] = {clients->near_begun, clients->near_away};
    for (uint32_t i = 0; i < 2; i++)
        for (struct near *near = lists[i]; near != NULL; near = near->next)
            if (is_it(near, request, part, attempt)) {
                hosts_near_cancel(near);
                return true;
            }
    return false;
}

static void
hear(struct clients *clients, struct near *near)
{
    const struct map_node *node = map_node_by_uuid(clients->map, clients->config.identity.node);
    if (node != NULL)
        front_reply(clients->front, os_clock_ns(), node->number, &near->reply, near);
    else
        clients_near_free(near); // the map has lost this node
}

static struct near *
take_begun(struct clients *clients)
{
    struct near *near = clients->near_begun;
    clients->near_begun = near->next;
    clients->near_begun_count--;
    if (clients->near_begun == NULL)
        clients->near_end = &clients->near_begun;
    return near;
}

bool
clients_near_many(const struct clients *clients)
{
    return clients->near_begun_count >= NEARS_TOGETHER;
}

static bool
is_alone(const struct clients *clients)
{
    return clients->near_begun_count == 1 && clients->near_away == NULL &&
           !loop_waits(clients->loop);
}

// ---- by who brought it ----

// What near_help is besides NULL (nobody helps) and a part that was left to who does.
static struct near waits, helps;

bool
clients_near_may_help(struct clients *clients)
{
    struct near *nobody = NULL;
    return clients->config.hosts != NULL &&
           atomic_compare_exchange_strong(&clients->near_help, &nobody, &waits);
}

void
clients_near_help(struct clients *clients)
{
    struct near *near = atomic_exchange(&clients->near_help, &helps);
    if (near != &waits)
        hosts_near_help(clients->config.hosts, near);
    atomic_store(&clients->near_help, NULL);
}

// Whether somebody took it.
static bool
leave(struct clients *clients)
{
    struct near *near = clients->near_begun, *waiting = &waits;
    if (!near->brief || !is_alone(clients) || atomic_load(&clients->near_help) != &waits)
        return false;
    (void)take_begun(clients);
    away_add(clients, near);
    if (!atomic_compare_exchange_strong(&clients->near_help, &waiting, near))
        hosts_near_work(clients->config.hosts, &near, 1);
    return true;
}

// ---- by workers ----

static void
give_away(struct clients *clients)
{
    struct near *nears[NEARS_TOGETHER];
    uint32_t count = 0;
    while (clients->near_begun != NULL && count < NEARS_TOGETHER) {
        nears[count] = take_begun(clients);
        away_add(clients, nears[count++]);
    }
    hosts_near_work(clients->config.hosts, nears, count);
}

// An answer may begin another round, and so another part.
void
clients_near_go(struct clients *clients)
{
    while (clients->near_begun != NULL) {
        if (!clients->near_begun->light || !is_alone(clients)) {
            if (!leave(clients))
                give_away(clients);
            continue;
        }
        struct near *near = take_begun(clients);
        if (hosts_near_serve(clients->config.hosts, near))
            hear(clients, near);
        else
            away_add(clients, near);
    }
}

void
clients_near(struct clients *clients, struct near *near)
{
    loop_post(clients->loop, &near->note);
}

void
clients_nears(struct clients *clients, struct near *const *nears, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        loop_put(clients->loop, &nears[i]->note);
    loop_go(clients->loop);
}

void
clients_near_take(struct clients *clients, struct near *near)
{
    away_remove(near);
    hear(clients, near);
}

void
clients_near_free(struct near *near)
{
    front_unkeep(near->kept);
    hosts_near_free(near);
}

// What was begun, and then the loop was stopped.
void
clients_near_close(struct clients *clients)
{
    while (clients->near_begun != NULL)
        clients_near_free(take_begun(clients));
}
