// node/clients.c -- the loop of a node's clients: what comes goes to the front or to node/admin, and what they say goes out.
//
// Shape: shell.
#include "node/clients_int.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/os_clock.h"
#include "base/os_random.h"

#define MS UINT64_C(1000000)
#define LINE_BYTES (64u << 10)  // a frame above it goes over the lane for large ones
#define SHORT_BYTES (16u << 10) // a request above it may take a while

static void take(void *context, struct loop_note *note);
static void wake(void *context);
static void discard(void *context, struct loop_note *note);

// ---- what the front says ----

static uint64_t
correlation_of(uint64_t request, uint32_t part, uint32_t attempt)
{
    const uint64_t words[] = {request, part, attempt};
    return hash_bytes(words, sizeof words) & ~CLIENTS_CALL_BIT;
}

bool
clients_try_send(struct clients *clients, struct cluster_uuid to, enum peer_kind kind,
                 uint64_t correlation, uint32_t deadline_ms)
{
    const struct encode *encode = &clients->encode;
    if (encode->status != OMEN_OK)
        return false;
    const enum peer_lane lane = encode->count > LINE_BYTES ? PEER_BULK : PEER_CONTROL;
    const struct wire_bytes body = {encode->bytes, (uint32_t)encode->count};
    if (uuid_equal(to, clients->config.identity.node)) {
        const struct peer_head head = {.correlation = correlation,
                                       .body_bytes = body.count,
                                       .deadline_ms = deadline_ms,
                                       .kind = (uint8_t)kind,
                                       .lane = (uint8_t)lane};
        if (clients->config.part == NULL)
            return false;
        clients->config.part(clients->config.context, &head, body);
        return true;
    }
    const struct bus_frame frame = {.lane = (uint8_t)lane,
                                    .kind = (uint8_t)kind,
                                    .deadline_ms = deadline_ms,
                                    .correlation = correlation,
                                    .body = body};
    return bus_send(clients->config.bus, (struct wire_uuid){to.high, to.low}, &frame);
}

void
clients_send(struct clients *clients, struct cluster_uuid to, enum peer_kind kind,
             uint64_t correlation, uint32_t deadline_ms)
{
    (void)clients_try_send(clients, to, kind, correlation, deadline_ms);
}

// What certainly did not go out is refused at once, so that another copy is asked; by a note, for the front is in the middle of a step.
static void
say_lost(struct clients *clients, uint32_t node, const struct wire_part *part)
{
    struct clients_lost_note *note = mem_alloc_zero(1, sizeof *note);
    if (note == NULL)
        return; // another try follows in any case
    note->note.kind = NOTE_CLIENTS_LOST;
    note->node = node;
    note->reply = (struct wire_reply){.method = part->method,
                                      .failure = (uint32_t)-OMEN_E_BUSY,
                                      .part = part->part,
                                      .attempt = part->attempt,
                                      .request = part->request};
    loop_post(clients->loop, &note->note);
}

static void
send_part(void *context, uint32_t number, const struct wire_part *part, uint32_t deadline_ms)
{
    struct clients *clients = context;
    const struct map_node *node = map_node(clients->map, number);
    if (node != NULL && uuid_equal(node->uuid, clients->config.identity.node) &&
        clients_near_begin(clients, part, deadline_ms))
        return;
    encode_reset(&clients->encode);
    wire_part_write(&clients->encode, part);
    if (node == NULL ||
        !clients_try_send(clients, node->uuid, PEER_PART,
                          correlation_of(part->request, part->part, part->attempt), deadline_ms))
        say_lost(clients, number, part);
}

static void
send_cancel(void *context, uint32_t number, uint64_t request, uint32_t part, uint32_t attempt)
{
    struct clients *clients = context;
    const struct map_node *node = map_node(clients->map, number);
    if (clients_near_cancel(clients, request, part, attempt))
        return;
    encode_reset(&clients->encode);
    if (node != NULL)
        clients_send(clients, node->uuid, PEER_CANCEL, correlation_of(request, part, attempt), 0);
}

static void
note_done(void *context, const struct front_done *done)
{
    clients_count(context, done);
}

// What is gathered leaves.
static void
send_answers(struct clients *clients)
{
    for (uint32_t i = 0; i < clients->answered_count; i++) {
        rpc_conn_send(clients->answered[i]);
        rpc_conn_release(clients->answered[i]);
    }
    clients->answered_count = clients->answers = 0;
}

static void
send_answer(void *context, void *client, uint32_t id, struct encode *message)
{
    struct clients *clients = context;
    uint32_t at = 0;
    rpc_conn_gather(client, id, message);
    while (at < clients->answered_count && clients->answered[at] != client)
        at++;
    if (at < clients->answered_count)
        rpc_conn_release(client); // it is kept already
    else
        clients->answered[clients->answered_count++] = client;
    if (clients->answered_count == CLIENTS_CONNS_AT_ONCE ||
        ++clients->answers >= CLIENTS_ANSWERS_AT_ONCE)
        send_answers(clients);
}

static void
want_map(void *context, uint64_t version)
{
    const struct clients *clients = context;
    meta_want(clients->config.meta, version);
}

static void
release(void *context, void *owner)
{
    const struct loop_note *note = owner; // a frame, what was lost, or a near part
    (void)context;
    if (note->kind == NOTE_NEAR)
        clients_near_free(owner);
    else
        mem_free(owner);
}

static uint64_t
date_ms(void *context)
{
    const struct clients *clients = context;
    return node_clock_ms(clients->config.clock);
}

static omen_status
open_front(struct clients *clients)
{
    uint64_t seed;
    os_random(&seed, sizeof seed);
    const struct front_config config = {.fanout = {.requests_max = FANOUT_REQUESTS_MAX,
                                                   .parts_max = 16384,
                                                   .tries_max = 32,
                                                   .hedge_min_ns = 5 * MS,
                                                   .hedge_max_ns = 200 * MS,
                                                   .hedge_permille = 50,
                                                   .retry_ns = 20 * MS,
                                                   .retry_max_ns = 300 * MS,
                                                   .try_min_ns = 100 * MS,
                                                   .try_max_ns = 2000 * MS,
                                                   .reserve_ns = 5 * MS,
                                                   .avoid_ns = 100 * MS,
                                                   .far_percent = 150},
                                        .zone = clients->config.zone,
                                        .seed = seed,
                                        .context = clients,
                                        .date_ms = date_ms,
                                        .part = send_part,
                                        .cancel = send_cancel,
                                        .answer = send_answer,
                                        .done = note_done,
                                        .want_map = want_map,
                                        .release = release,
                                        .claim = clients_claim,
                                        .cost = clients_rate_cost};
    return front_open(&config, &clients->front);
}

// ---- life ----

omen_status
clients_open(const struct clients_config *config, struct clients **out, struct omen_error *error)
{
    *out = NULL;
    struct clients *clients = mem_alloc_zero(1, sizeof *clients);
    if (clients == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    clients->config = *config;
    clients->rebalance = *config->rebalance;
    clients->begun_ns = os_clock_ns();
    clients->show_ns = UINT64_MAX; // there is no map yet
    lock_init(&clients->lock);
    os_random(&clients->correlations, sizeof clients->correlations);
    clients->correlations |= CLIENTS_CALL_BIT;
    encode_init(&clients->encode, PEER_BULK_BYTES_MAX);
    clients->near_end = &clients->near_begun;
    clients->held.end = &clients->held.first;
    clients_claims_init(clients);
    rates_init(&clients->rates);
    events_init(&clients->events);
    clients_untaken_init(clients);
    omen_status status = open_front(clients);
    const struct loop_config loop = {"omen-clients", clients, take, wake, discard};
    if (status == OMEN_OK)
        status = loop_open(&loop, &clients->loop);
    if (status == OMEN_OK) {
        *out = clients;
        return OMEN_OK;
    }
    clients_close(clients);
    return error_set_plain(error, status);
}

struct loop *
clients_loop(struct clients *clients)
{
    return clients->loop;
}

void
clients_stop(struct clients *clients)
{
    loop_stop(clients->loop);
}

void
clients_close(struct clients *clients)
{
    if (clients == NULL)
        return;
    loop_close(clients->loop);
    send_answers(clients);
    clients_near_close(clients);
    clients_held_close(clients);
    clients_claims_close(clients);
    clients_admin_close(clients);
    front_close(clients->front);
    encode_fini(&clients->encode);
    rates_fini(&clients->rates);
    map_publish_end(clients->map);
    mem_free(clients->members);
    lock_fini(&clients->lock);
    mem_free(clients);
}

// ---- what comes, from any thread ----

static void
refuse_busy(struct rpc_conn *conn, const struct rpc_request *request)
{
    struct encode message;
    struct omen_error error;
    (void)error_set_plain(&error, OMEN_E_BUSY);
    const struct rpc_error said = rpc_error_of(&error, API_NOT_APPLIED);
    encode_init(&message, WIRE_FRAME_BYTES_MAX);
    rpc_write_error(&message, request->id, request->session.errors, &said);
    mem_free(request->frame);
    rpc_conn_answer(conn, request->id, &message);
    rpc_conn_release(conn);
}

void
clients_request(struct clients *clients, struct rpc_conn *conn, const struct rpc_request *request)
{
    struct clients_request_note *note = mem_alloc(sizeof *note);
    if (note == NULL) {
        refuse_busy(conn, request);
        return;
    }
    note->note.kind = NOTE_CLIENTS_REQUEST;
    note->let_in = false;
    note->conn = conn;
    note->request = *request;
    note->request.received_ns = os_clock_ns();
    loop_put(clients->loop, &note->note);
}

void
clients_requested(struct clients *clients, bool helps)
{
    const bool awaits = helps && clients_near_may_help(clients);
    loop_go(clients->loop);
    if (awaits)
        clients_near_help(clients);
}

void
clients_gone(struct clients *clients, struct rpc_conn *conn)
{
    struct clients_gone_note *note = mem_alloc(sizeof *note);
    if (note == NULL)
        return; // what it asked for is answered into nothing
    note->note.kind = NOTE_CLIENTS_GONE;
    note->conn = conn;
    rpc_conn_keep(conn);
    loop_post(clients->loop, &note->note);
}

void
clients_frame(struct clients *clients, struct cluster_uuid from, uint64_t boot,
              const struct peer_head *head, struct wire_bytes body)
{
    struct frame_note *frame = frame_note_make(from, boot, head, body);
    if (frame != NULL)
        loop_post(clients->loop, &frame->note);
}

void
clients_down(struct clients *clients, struct cluster_uuid node)
{
    struct clients_down_note *note = mem_alloc(sizeof *note);
    if (note == NULL)
        return; // a hint
    note->note.kind = NOTE_CLIENTS_DOWN;
    note->node = node;
    loop_post(clients->loop, &note->note);
}

// ---- the loop ----

struct cluster_uuid
clients_leader(const struct clients *clients)
{
    return clients->members != NULL ? clients->members->leader : (struct cluster_uuid){0};
}

// Whether a key is for the collection that is asked about. What changes something that is no collection's is for keys that are for
// all of them. Requests about points are not asked here: the front reads them anyway, and looks at the collection's own name.
static bool
is_opened(const struct rpc_request *request, struct omen_error *error)
{
    union method_body ask;
    struct map_name glob = {0};
    const char *text = request->session.glob;
    if (text[0] == '\0' || strcmp(text, "*") == 0)
        return true;
    glob.count = (uint8_t)strlen(text);
    memcpy(glob.bytes, text, glob.count);
    const struct rpc_message message = rpc_request_message(request);
    if (rpc_read_ask(&message, request->method, &decode_after_hello, &ask, error) != OMEN_OK)
        return false;
    const struct shape *shape = request->method->ask;
    const bool creates = request->method->number == METHOD_COLLECTION_CREATE;
    bool names = false;
    for (uint32_t i = 0; i < shape->field_count; i++) {
        const struct field *field = &shape->fields[i];
        if (field->key == NULL || strcmp(field->key, creates ? "name" : "collection") != 0 ||
            field->kind != FIELD_NAME)
            continue;
        names = true;
        struct wire_text name;
        memcpy(&name, ask.bytes + field->at, sizeof name);
        if (name.count > 0 && admin_key_opens(&glob, name))
            return true;
    }
    if (request->method->right <= RIGHT_READ && !names)
        return true;
    (void)error_set(error, OMEN_E_AUTH, "%s: the key \"%s\" is for collections like \"%s\"",
                    request->method->name, request->session.key, text);
    return false;
}

// Who said no key may do everything where the map that the request is served by has none; but make the first one, which nobody else
// would be asked for. The port has looked at the keys as well (wire/rpc_server.h), by the map of then.
static bool
is_admitted(const struct map *map, const struct rpc_request *request, struct omen_error *error)
{
    if (request->session.key[0] != '\0')
        return true;
    if (map != NULL && map->key_count > 0) {
        (void)error_set(error, OMEN_E_AUTH, "%s: system.hello with an api_key comes first",
                        request->method->name);
        return false;
    }
    if (request->method->number != METHOD_KEY_CREATE)
        return true;
    (void)error_set(error, OMEN_E_CONFLICT,
                    "key.create: this node asks nobody for a key; start the nodes with api-keys, "
                    "and make others with the one that is configured");
    return false;
}

void
clients_refuse_request(struct clients *clients, const struct clients_request_note *note,
                       const struct omen_error *error)
{
    clients_refuse_request_for(clients, note, error, 0);
}

void
clients_refuse_request_for(struct clients *clients, const struct clients_request_note *note,
                           const struct omen_error *error, uint32_t retry_after_ms)
{
    static const union method_body nothing;
    const struct front_done done = {.method = note->request.method,
                                    .ask = &nothing,
                                    .status = error->status,
                                    .received_ns = note->request.received_ns,
                                    .begun_ns = note->request.received_ns,
                                    .heard_ns = note->request.received_ns};
    struct encode message;
    struct rpc_error said = rpc_error_of(error, API_NOT_APPLIED);
    said.retry_after_ms = retry_after_ms;
    encode_init(&message, WIRE_FRAME_BYTES_MAX);
    rpc_write_error(&message, note->request.id, note->request.session.errors, &said);
    mem_free(note->request.frame);
    rpc_conn_answer(note->conn, note->request.id, &message);
    rpc_conn_release(note->conn);
    clients_count(clients, &done);
}

void
clients_take_request(struct clients *clients, struct clients_request_note *note)
{
    struct omen_error error = {0};
    uint32_t retry_after_ms = 0;
    if (!note->let_in && !clients_rate_admits(clients, &note->request, &error, &retry_after_ms)) {
        clients_refuse_request_for(clients, note, &error, retry_after_ms);
        return;
    }
    if (!is_admitted(clients->map, &note->request, &error) ||
        (!front_takes(note->request.method) && !is_opened(&note->request, &error))) {
        clients_refuse_request(clients, note, &error);
    } else if (clients->map == NULL) {
        (void)error_set(&error, OMEN_E_BUSY, "%s: this node has not heard of the cluster yet",
                        note->request.method->name);
        clients_refuse_request(clients, note, &error);
    } else if (front_takes(note->request.method)) {
        front_request(clients->front, os_clock_ns(), note->conn, &note->request);
    } else {
        clients_admin(clients, note);
    }
}

// What is known of the nodes of the map: who is dead, and who is to be emptied.
static void
tell_nodes(struct clients *clients)
{
    if (clients->map == NULL || clients->members == NULL)
        return;
    for (uint32_t i = 0; i < clients->map->node_count; i++) {
        const struct map_node *node = &clients->map->nodes[i];
        bool dead = false;
        for (uint32_t k = 0; k < clients->members->count; k++) {
            const struct gossip_claim *claim = &clients->members->members[k];
            if (claim->subject.high == node->uuid.high && claim->subject.low == node->uuid.low)
                dead = claim->state >= GOSSIP_DEAD;
        }
        front_node(clients->front, os_clock_ns(), node->number, dead, node->state == NODE_DRAINING);
    }
}

static void
take_map(struct clients *clients, const struct map *map)
{
    if (clients->map != NULL && clients->map->version >= map->version) {
        map_publish_end(map);
        return;
    }
    if (front_map(clients->front, os_clock_ns(), map) != OMEN_OK) {
        map_publish_end(map); // the old one holds; the next one comes
        return;
    }
    events_of_map(&clients->events, os_ms_since_1970(), clients->map, map);
    map_publish_end(clients->map);
    clients->map = map;
    tell_nodes(clients);
    clients_show(clients);
    clients_admin_map(clients);
    clients_claims_map(clients);
    clients_untaken_look(clients);
}

static void
take_members(struct clients *clients, struct meta_members *members)
{
    const struct event_members after = {members->members, members->count};
    struct event_members before = {NULL, 0};
    if (clients->members != NULL)
        before = (struct event_members){clients->members->members, clients->members->count};
    events_of_members(&clients->events, os_ms_since_1970(), before, after);
    mem_free(clients->members);
    clients->members = members;
    tell_nodes(clients);
    clients_show(clients);
    clients_untaken_look(clients);
    clients_shards_members(clients);
    clients_led_wake(clients, os_clock_ns()); // another may lead
    clients_claims_led(clients);
}

// Takes the frame.
static void
take_frame(struct clients *clients, struct frame_note *frame)
{
    const struct wire_bytes body = {frame->body, frame->count};
    struct wire_part part;
    struct wire_reply reply;
    if (frame->head.kind == PEER_PART && wire_part_read(body, &part) && part.shard == 0) {
        clients_admin_part(clients, frame, &part);
        return;
    }
    if (frame->head.kind == PEER_REPLY && wire_reply_read(body, &reply)) {
        const struct map_node *node =
            clients->map != NULL ? map_node_by_uuid(clients->map, frame->from) : NULL;
        if ((frame->head.correlation & CLIENTS_CALL_BIT) != 0) {
            clients_admin_reply(clients, frame->head.correlation, &reply);
        } else if (node != NULL) {
            front_reply(clients->front, os_clock_ns(), node->number, &reply, frame);
            return;
        }
    }
    mem_free(frame);
}

static void
set_due(struct clients *clients)
{
    const uint64_t front_ns = front_due(clients->front);
    const uint64_t admin_ns = clients_admin_due(clients);
    const uint64_t untaken_ns = untaken_wake_ns(&clients->untaken);
    uint64_t due_ns = front_ns < admin_ns ? front_ns : admin_ns;
    due_ns = due_ns < untaken_ns ? due_ns : untaken_ns;
    if (clients_held_due(clients) < due_ns)
        due_ns = clients_held_due(clients);
    if (clients_claims_due(clients) < due_ns)
        due_ns = clients_claims_due(clients);
    loop_due(clients->loop, due_ns < clients->show_ns ? due_ns : clients->show_ns);
}

// What was begun and what was answered goes out.
static void
go_on(struct clients *clients)
{
    clients_near_go(clients);
    send_answers(clients);
}

// Whether what comes behind this note can be waited for, so that it is begun and answered together with it.
static bool
is_short(const struct loop_note *note)
{
    return note->kind == NOTE_NEAR ||
           (note->kind == NOTE_CLIENTS_REQUEST &&
            ((const struct clients_request_note *)note)->request.bytes <= SHORT_BYTES);
}

static void
take(void *context, struct loop_note *note)
{
    struct clients *clients = context;
    bool ours = true; // to be freed here
    const bool is_one_of_many = is_short(note);
    if (!is_one_of_many)
        go_on(clients);
    switch (note->kind) {
    case NOTE_CLIENTS_REQUEST:
        ours = !clients_hold(clients, (struct clients_request_note *)note);
        if (ours)
            clients_take_request(clients, (struct clients_request_note *)note);
        break;
    case NOTE_CLIENTS_GONE: {
        struct rpc_conn *conn = ((struct clients_gone_note *)note)->conn;
        front_gone(clients->front, os_clock_ns(), conn);
        clients_admin_gone(clients, conn);
        clients_claims_gone(clients, conn);
        rpc_conn_release(conn);
        break;
    }
    case NOTE_CLIENTS_LOST: {
        struct clients_lost_note *lost = (struct clients_lost_note *)note;
        front_reply(clients->front, os_clock_ns(), lost->node, &lost->reply, lost);
        ours = false;
        break;
    }
    case NOTE_CLIENTS_DOWN:
        clients_led_down(clients, ((const struct clients_down_note *)note)->node);
        break;
    case NOTE_FRAME:
        take_frame(clients, (struct frame_note *)note);
        ours = false;
        break;
    case NOTE_NEAR:
        clients_near_take(clients, (struct near *)note);
        ours = false;
        break;
    case NOTE_META_MAP:
        take_map(clients, ((struct meta_map *)note)->map);
        clients_held_go(clients);
        break;
    case NOTE_META_MEMBERS:
        take_members(clients, (struct meta_members *)note);
        ours = false;
        break;
    case NOTE_META_ANSWER:
        clients_admin_answer(clients, (const struct meta_answer *)note);
        break;
    case NOTE_META_LEASE:
        clients->held.current = true;
        clients_held_go(clients);
        break;
    case NOTE_META_WORD: // members say it as well
    case NOTE_META_LED:
        break;
    default:
        ASSERT(false);
    }
    if (ours)
        mem_free(note);
    if (!is_one_of_many || !loop_waits(clients->loop))
        go_on(clients);
    else if (clients_near_many(clients))
        clients_near_go(clients);
    set_due(clients);
}

static void
wake(void *context)
{
    struct clients *clients = context;
    const uint64_t now_ns = os_clock_ns();
    if (front_due(clients->front) <= now_ns)
        front_wake(clients->front, now_ns);
    clients_admin_late(clients, now_ns);
    clients_held_go(clients);
    clients_claims_late(clients, now_ns);
    if (untaken_wake_ns(&clients->untaken) <= now_ns)
        clients_untaken_look(clients);
    if (clients->show_ns <= now_ns)
        clients_show(clients);
    go_on(clients);
    set_due(clients);
}

void
clients_drop_request(struct clients_request_note *note)
{
    mem_free(note->request.frame);
    rpc_conn_release(note->conn);
}

static void
discard(void *context, struct loop_note *note)
{
    if (note->kind == NOTE_CLIENTS_REQUEST) {
        clients_drop_request((struct clients_request_note *)note);
    } else if (note->kind == NOTE_CLIENTS_GONE) {
        rpc_conn_release(((struct clients_gone_note *)note)->conn);
    } else if (note->kind == NOTE_META_MAP) {
        map_publish_end(((struct meta_map *)note)->map);
    }
    release(context, note);
}
