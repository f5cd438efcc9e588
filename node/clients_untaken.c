// node/clients_untaken.c -- builds that no builder takes: the copies are asked as if none had ever been there.
//
// Shape: shell. node/untaken decides; what the copies are asked is what collection.build asks them where there is no builder, as a call that
// nobody waits for.
#include <string.h>

#include "base/alloc.h"
#include "base/os_clock.h"
#include "base/os_log.h"
#include "node/clients_int.h"

#define MS UINT64_C(1000000)
#define ASK_NS (60000 * MS) // of copies; each answers after a few seconds that it is not done yet

void
clients_untaken_init(struct clients *clients)
{
    const struct untaken_config config = {.node = clients->config.identity.node,
                                          .wait_ns = clients->config.build_wait_ns,
                                          .require_ns = clients->config.build_require_ns,
                                          .lease_ns = 10000 * MS,
                                          .renew_ns = 3000 * MS,
                                          .wish_ns = 1000 * MS,
                                          .again_ns = 500 * MS};
    untaken_init(&clients->untaken, &config);
}

static void
say(const struct clients *clients, const char *note)
{
    struct log_line line;
    if (!log_begin(&line, NULL, LOG_LEVEL_INFO, "build.untaken"))
        return;
    log_number(&line, "job", clients->untaken.job);
    log_text(&line, "note", note);
    log_end(&line);
}

static uint32_t
permille(const struct clients *clients)
{
    uint32_t count = 0;
    if (clients->untaken_call == NULL || clients->untaken_call->gather == NULL)
        return 0;
    (void)gather_copies(clients->untaken_call->gather, &count);
    return count > 0 ? (count - gather_pending(clients->untaken_call->gather)) * 1000 / count : 0;
}

// OMEN_OK: the answer comes, by clients_untaken_ended.
static omen_status
ask_copies(struct clients *clients, uint64_t number)
{
    const struct map_collection *collection = map_collection(clients->map, number);
    if (collection == NULL)
        return OMEN_E_NOT_FOUND;
    char *name = mem_alloc(collection->name.count);
    struct clients_call *call =
        name != NULL ? clients_call_new(clients, method_at(METHOD_COLLECTION_BUILD), name) : NULL;
    if (call == NULL) {
        mem_free(name);
        return OMEN_E_BUSY;
    }
    memcpy(name, collection->name.bytes, collection->name.count);
    const struct api_build ask = {.collection = {name, collection->name.count}};
    memcpy(call->ask.bytes, &ask, sizeof ask);
    call->step.whom = ADMIN_EVERY_COPY;
    call->step.collection = number;
    call->until_ns = os_clock_ns() + ASK_NS;
    call->untaken = true;
    clients->untaken_call = call;
    clients_shards_ask(clients, call);
    return OMEN_OK;
}

static void
step(struct clients *clients, struct untaken_input in)
{
    struct untaken_output out;
    const struct admin_view view = clients_view(clients);
    in.now_ns = os_clock_ns();
    in.map = clients->map;
    in.builders = clients->map != NULL && admin_builder_lives(&view);
    in.permille = permille(clients);
    untaken_step(&clients->untaken, &in, &out);
    if (out.note != NULL)
        say(clients, out.note);
    if (out.wishes)
        meta_wish(clients->config.meta, &out.command);
    if (out.drops)
        clients->untaken_call = NULL; // it goes on to its end, and nobody hears of it
    if (!out.builds)
        return;
    const omen_status status = ask_copies(clients, out.collection);
    if (status != OMEN_OK)
        step(clients, (struct untaken_input){.kind = UNTAKEN_IN_ENDED, .status = status});
}

void
clients_untaken_look(struct clients *clients)
{
    step(clients, (struct untaken_input){.kind = UNTAKEN_IN_LOOK});
}

void
clients_untaken_ended(struct clients *clients, const struct clients_call *call, omen_status status)
{
    if (clients->untaken_call != call)
        return;
    clients->untaken_call = NULL;
    step(clients, (struct untaken_input){.kind = UNTAKEN_IN_ENDED, .status = status});
}
