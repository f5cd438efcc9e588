// tests/lib/admin_world.h -- a map behind the methods of node/admin.h: what is asked goes through its bytes, commands through the log.
//
// Shape: shell. A request is written, read, started; what is to be proposed is applied, the map published, and the request finished; the
// answer is read by its table. Nodes are named "n<number>".
#ifndef OMEN_TESTS_ADMIN_WORLD_H
#define OMEN_TESTS_ADMIN_WORLD_H
#include "base/limits.h"
#include "node/admin_gather.h"
#include "node/events.h"
#include "tests/lib/cluster_world.h"
#include "wire/rpc.h"

#define ADMIN_WALL_MS UINT64_C(1700000000000)

static struct world world;
static struct {
    struct admin_view view;
    const struct map *map;
    struct gossip_claim members[WORLD_NODES_MAX];
    struct encode request, answer;
    struct rpc_message message;
    struct admin_call call;
    struct admin_step step;
    struct omen_error error;
    struct rebalance_config rebalance;
    struct wire_uuid drawn[2]; // what admin_complete is given
    union method_body ask;
    union method_body out; // the last answer
} admin;

static inline void
admin_look(void)
{
    map_publish_end(admin.map);
    ck_assert_int_eq(map_publish(&world.map, &admin.map), OMEN_OK);
    admin.view.map = admin.map;
    admin.view.member_count = world.map.node_count;
    for (uint32_t i = 0; i < world.map.node_count; i++) {
        const struct map_node *node = &world.map.nodes[i];
        struct gossip_claim *claim = &admin.members[i];
        *claim =
            (struct gossip_claim){.state = world.alive[node->number] ? GOSSIP_ALIVE : GOSSIP_DEAD,
                                  .has_meta = 1,
                                  .boot = node->boot,
                                  .incarnation = 3,
                                  .subject = {node->uuid.high, node->uuid.low}};
        claim->meta.roles = node->roles;
        claim->meta.address = (struct gossip_address){
            .ip = {[10] = 0xff, [11] = 0xff, 127, 0, 0, (uint8_t)node->number}, .port = 7701};
        claim->meta.client = claim->meta.address;
        claim->meta.client.port = 7700;
        turn_said_write(&(struct turn_said){.disk_low = world.disk_low[node->number]},
                        &claim->meta);
        claim->meta.data[TURN_SAID_BYTES] = 'n';
        const int digits =
            snprintf((char *)claim->meta.data + TURN_SAID_BYTES + 1, 8, "%u", node->number);
        claim->meta.data_bytes = (uint8_t)(TURN_SAID_BYTES + 1 + (uint32_t)digits);
    }
}

static inline void
admin_open(uint32_t nodes)
{
    world_init(&world, 1);
    for (uint32_t i = 0; i < nodes; i++) {
        const char zone[] = {'z', (char)('a' + i % 3), 0};
        world_node(&world, zone, 100);
    }
    memset(&admin, 0, sizeof admin);
    encode_init(&admin.request, WIRE_FRAME_BYTES_MAX);
    encode_init(&admin.answer, WIRE_FRAME_BYTES_MAX);
    admin.rebalance = world.rebalance.config;
    admin.drawn[0] = admin.drawn[1] = (struct wire_uuid){0x1234, 0x5678};
    admin.view = (struct admin_view){.members = admin.members,
                                     .voters = 3,
                                     .cluster = {0xc0ffee, 1},
                                     .node = {0, 0x100},
                                     .leader = {0, 0x101},
                                     .boot = 1,
                                     .term = 5,
                                     .wall_ms = ADMIN_WALL_MS,
                                     .uptime_ms = 1234,
                                     .version = "0.1.0",
                                     .rebalance = &admin.rebalance};
    admin_look();
}

static inline void
admin_close(void)
{
    map_publish_end(admin.map);
    encode_fini(&admin.request);
    encode_fini(&admin.answer);
    world_fini(&world);
}

// Reads the answer into admin.out, which then borrows from admin.answer.
static inline void
admin_read(void)
{
    struct decode decode;
    struct omen_error error = {0};
    decode_init(&decode, (struct wire_bytes){admin.answer.bytes, (uint32_t)admin.answer.count},
                &decode_answers, &error);
    decode.about = admin.call.method->name;
    shape_read(&decode, admin.call.method->answer, &admin.out);
    ck_assert_msg(decode_end(&decode) == OMEN_OK, "%s", error.text);
}

static inline enum admin_next
admin_begin(enum method_number number, const void *ask)
{
    const struct method *method = method_at(number);
    struct omen_error error = {0};
    encode_reset(&admin.request);
    encode_reset(&admin.answer);
    rpc_write_ask(&admin.request, 7, method, ask);
    const struct wire_bytes frame = {admin.request.bytes, (uint32_t)admin.request.count};
    ck_assert_int_eq(rpc_read(frame, &decode_after_hello, &admin.message, &error), OMEN_OK);
    ck_assert_msg(rpc_read_ask(&admin.message, method, &decode_after_hello, &admin.ask, &error) ==
                      OMEN_OK,
                  "%s", error.text);
    admin_complete(method, &admin.ask, ADMIN_WALL_MS, admin.drawn);
    admin.drawn[0].low++;
    admin.call = (struct admin_call){method, &admin.ask};
    ck_assert(admin_has(number));
    admin.error = (struct omen_error){0};
    const uint64_t version = world.map.version;
    const enum admin_next next =
        admin_start(&admin.view, &admin.call, &admin.step, &admin.answer, &admin.error);
    if (next == ADMIN_PROPOSE)
        admin.step.command.time_ms = ADMIN_WALL_MS; // as its leader would stamp it
    ck_assert_uint_eq(world.map.version, version);
    ck_assert((next == ADMIN_REFUSED) == (admin.error.status != OMEN_OK));
    if (next == ADMIN_ANSWERED || next == ADMIN_MEET)
        admin_read();
    else
        ck_assert_uint_eq(admin.answer.count, 0);
    return next;
}

// The command is applied, and the request answered out of the map of then.
static inline omen_status
admin_end(void)
{
    const struct command_result result = world_apply(&world, &admin.step.command);
    admin_look();
    const omen_status status =
        admin_finish(&admin.view, &admin.call, &admin.step, &result, &admin.answer, &admin.error);
    if (status == OMEN_OK)
        admin_read();
    else
        ck_assert_uint_eq(admin.answer.count, 0);
    return status;
}

// What is answered when no copy has said anything in time.
static inline omen_status
admin_map_alone(void)
{
    struct gather *gather;
    omen_status status = gather_open(admin.map, &admin.call, &admin.step, &gather, &admin.error);
    ck_assert_int_eq(status, OMEN_OK);
    status = gather_answer(gather, admin.map, &admin.answer, &admin.error);
    gather_close(gather);
    if (status == OMEN_OK)
        admin_read();
    return status;
}

static inline omen_status
admin_do(enum method_number number, const void *ask)
{
    switch (admin_begin(number, ask)) {
    case ADMIN_PROPOSE:
        return admin_end();
    case ADMIN_REFUSED:
        return admin.error.status;
    case ADMIN_ASK_SHARDS:
        return gather_adds(number) ? admin_map_alone() : OMEN_OK;
    default:
        return OMEN_OK;
    }
}

// The claim of most tests of bad input: refused by name, in these words, and nothing is changed.
static inline void
admin_claim_refused(enum method_number number, const void *ask, omen_status status,
                    const char *words)
{
    const uint64_t version = world.map.version;
    const omen_status got = admin_do(number, ask);
    ck_assert_msg(got == status, "%s: %s (%s)", method_at(number)->name, status_name(got),
                  admin.error.text);
    ck_assert_msg(strstr(admin.error.text, words) != NULL, "'%s' lacks '%s'", admin.error.text,
                  words);
    ck_assert_uint_eq(world.map.version, version);
}

// Without a look at the whole map: for those who fill it up.
static inline void
admin_fill(const struct command *command)
{
    static uint8_t bytes[COMMAND_BYTES_MAX];
    size_t count;
    struct command_result result;
    ck_assert_int_eq(command_encode(command, bytes, sizeof bytes, &count), OMEN_OK);
    ck_assert_int_eq(cluster_apply(&world.map, ++world.position, bytes, count, &result), OMEN_OK);
    ck_assert_int_eq(result.status, OMEN_OK);
}

#define TEXT(text) wire_text_of(text)
#define OUT(type) ((const struct type *)(const void *)&admin.out)
#define ck_assert_text_eq(text_, expected_)                                                        \
    do {                                                                                           \
        const struct wire_text got_ = (text_);                                                     \
        const char *want_ = (expected_);                                                           \
        ck_assert_msg(got_.count == strlen(want_) &&                                               \
                          (got_.count == 0 || memcmp(got_.bytes, want_, got_.count) == 0),         \
                      "'%.*s' != '%s'", (int)got_.count, got_.bytes, want_);                       \
    } while (0)

// The row of an answer's list, which must be there.
static inline void
admin_row(const char *key, const struct wire_list *list, uint32_t at, void *row)
{
    struct list_cursor cursor;
    const struct field *field = shape_field(admin.call.method->answer, key);
    list_begin(&cursor, field, list);
    for (uint32_t i = 0; i <= at; i++) {
        memset(row, 0, field_item_bytes(field));
        ck_assert_msg(list_next(&cursor, row), "%s has no row %u", key, at);
    }
}

#endif
