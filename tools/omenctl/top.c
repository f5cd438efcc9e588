// tools/omenctl/top.c -- omenctl top: how busy each node is, again and again.
//
// Shape: shell. What two looks at a node's metrics come to is sample.h's.
#include <math.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/os_clock.h"
#include "tools/omenctl/interrupt.h"
#include "tools/omenctl/remote.h"
#include "tools/omenctl/sample.h"

#define NAME_BYTES 64u
#define ADDRESS_BYTES 256u
#define NS_PER_MS 1000000ull

const struct option_spec top_options[] = {
    {.name = "interval", .argument = "SECONDS", .help = "between two looks, 0.05..3600 (1)"},
    {.name = "count", .argument = "N", .help = "end after N looks (never)"},
    {.name = "once", .help = "look once: --count 1"},
    {0},
};

// A node as of the last look, and one before.
struct seen {
    char name[NAME_BYTES + 1], address[ADDRESS_BYTES + 1];
    uint8_t state, member; // as api_node
    uint32_t shards, primaries;
    struct client *client; // owned
    struct flight *flight; // while it is asked
    bool has_before, has_after;
    struct sample before, after;
    uint64_t before_ns, after_ns;
    bool listed; // at this look
};

struct top {
    struct call *call;
    struct client *client;
    uint32_t timeout_ms;
    struct api_cluster_info info;
    struct seen *nodes;
    uint32_t count, room;
    bool draws; // over what it drew before
};

static void
copy_text(char *out, size_t room, struct wire_text text)
{
    const size_t count = text.count < room ? text.count : room;
    if (count > 0)
        memcpy(out, text.bytes, count);
    out[count] = '\0';
}

// ---- the nodes ----

// The node at this address, new where there is none. NULL: no memory.
static struct seen *
node_at(struct top *top, struct wire_text address)
{
    for (uint32_t i = 0; i < top->count; i++)
        if (strlen(top->nodes[i].address) == address.count &&
            memcmp(top->nodes[i].address, address.bytes, address.count) == 0)
            return &top->nodes[i];
    if (top->count == top->room) {
        const uint32_t room = top->room == 0 ? 16 : 2 * top->room;
        struct seen *nodes = mem_resize(top->nodes, room * sizeof *nodes);
        if (nodes == NULL)
            return NULL;
        top->nodes = nodes;
        top->room = room;
    }
    struct seen *node = &top->nodes[top->count++];
    *node = (struct seen){.listed = false};
    copy_text(node->address, ADDRESS_BYTES, address);
    return node;
}

static enum exit_code
list_nodes(struct top *top)
{
    static const struct api_nothing nothing;
    struct client_reply reply;
    struct api_nodes answer = {0};
    struct list_cursor cursor;
    struct api_node row;
    enum exit_code code =
        remote_ask(top->call, top->client, METHOD_NODE_LIST, &nothing, &reply, &answer);
    for (uint32_t i = 0; i < top->count; i++)
        top->nodes[i].listed = false;
    list_begin(&cursor, shape_field(&api_nodes, "nodes"), &answer.nodes);
    while (code == EXIT_FINE && list_next(&cursor, &row)) {
        struct seen *node = node_at(top, row.client);
        if (node == NULL) {
            code = call_fail(top->call, EXIT_OTHER, "no memory");
            break;
        }
        copy_text(node->name, NAME_BYTES, row.name);
        node->state = row.state;
        node->member = row.member;
        node->shards = (uint32_t)row.shards.value;
        node->primaries = (uint32_t)row.primaries.value;
        node->listed = true;
    }
    client_reply_fini(&reply);
    return code;
}

// ---- a look ----

static struct client_ask
metrics_ask(void)
{
    static const uint8_t packed_nothing[] = {0x80};
    return (struct client_ask){.method = wire_text_of("system.metrics"),
                               .params = {packed_nothing, sizeof packed_nothing},
                               .repeatable = 1,
                               .impatient = 1};
}

static enum exit_code
begin_asking(struct top *top, struct seen *node)
{
    const struct client_ask ask = metrics_ask();
    const uint64_t now_ns = os_clock_ns();
    if (!node->listed || node->address[0] == '\0' || node->member != API_ALIVE)
        return EXIT_FINE;
    if (node->client == NULL) {
        const enum exit_code code = remote_open_at(top->call, node->address, &node->client);
        if (code != EXIT_FINE)
            return code;
    }
    node->flight = client_begin(node->client, &ask, now_ns, now_ns + top->timeout_ms * NS_PER_MS);
    return EXIT_FINE;
}

static void
end_asking(struct seen *node)
{
    const struct method *method = method_at(METHOD_SYSTEM_METRICS);
    struct client_reply reply = {0};
    struct client_error error;
    union method_body body;
    const struct api_metrics *metrics = (const void *)&body;
    node->has_before = node->has_after;
    node->before = node->after;
    node->before_ns = node->after_ns;
    node->has_after = false;
    if (node->flight == NULL)
        return;
    if (client_end(node->flight, &reply, &error) == OMEN_OK &&
        client_read_answer(&reply, method, &body, &error) == OMEN_OK) {
        sample_read(metrics->text.bytes, metrics->text.count, &node->after);
        node->after_ns = os_clock_ns();
        node->has_after = true;
    }
    node->flight = NULL;
    client_reply_fini(&reply);
}

// All nodes at once.
static enum exit_code
look(struct top *top)
{
    static const struct api_nothing nothing;
    struct client_reply reply;
    enum exit_code code =
        remote_ask(top->call, top->client, METHOD_CLUSTER_INFO, &nothing, &reply, &top->info);
    client_reply_fini(&reply);
    if (code == EXIT_FINE)
        code = list_nodes(top);
    for (uint32_t i = 0; i < top->count && code == EXIT_FINE; i++)
        code = begin_asking(top, &top->nodes[i]);
    for (uint32_t i = 0; i < top->count; i++)
        end_asking(&top->nodes[i]);
    return code;
}

// ---- what is shown ----

static void
add_rounded(struct doc *doc, struct doc_node *row, const char *key, double value)
{
    if (value < 0)
        doc_null(doc, row, key);
    else
        doc_double(doc, row, key, round(value * 1000) / 1000);
}

static void
add_rates(struct doc *doc, struct doc_node *row, const struct seen *node,
          struct sample_rates *totals)
{
    struct sample_rates rates = {.p50_ms = -1, .p99_ms = -1};
    if (node->has_before && node->has_after)
        sample_rates_of(&node->before, &node->after,
                        (double)(node->after_ns - node->before_ns) / 1e9, &rates);
    totals->qps += rates.qps;
    totals->failed_per_second += rates.failed_per_second;
    add_rounded(doc, row, "qps", node->has_before && node->has_after ? rates.qps : -1);
    add_rounded(doc, row, "p50_ms", rates.p50_ms);
    add_rounded(doc, row, "p99_ms", rates.p99_ms);
    add_rounded(doc, row, "failed_per_second",
                node->has_before && node->has_after ? rates.failed_per_second : -1);
}

static void
add_node(struct doc *doc, struct doc_node *list, const struct seen *node,
         struct sample_rates *totals)
{
    static const char *const states[] = {"?", "joining", "up", "draining", "gone"};
    static const char *const members[] = {"?", "alive", "suspect", "dead", "left"};
    struct doc_node *row = doc_map(doc, list, NULL);
    doc_text(doc, row, "node", node->name);
    doc_text(doc, row, "state", states[node->state <= 4 ? node->state : 0]);
    doc_text(doc, row, "member", members[node->member <= API_LEFT ? node->member : 0]);
    add_rates(doc, row, node, totals);
    add_rounded(doc, row, "in_flight", node->has_after ? node->after.in_flight : -1);
    doc_uint(doc, row, "shards", node->shards);
    doc_uint(doc, row, "primaries", node->primaries);
    add_rounded(doc, row, "lag", node->has_after ? node->after.lag : -1);
    if (node->has_after)
        doc_bytes(doc, row, "memory", (uint64_t)node->after.memory_bytes);
    else
        doc_null(doc, row, "memory");
}

static enum exit_code
show(const struct top *top)
{
    static const char *const colours[] = {"?", "green", "yellow", "red"};
    const struct api_cluster_info *info = &top->info;
    struct sample_rates totals = {.qps = 0};
    struct doc *doc = NULL;
    if (doc_open(DOC_MAP, &doc) != OMEN_OK)
        return call_fail(top->call, EXIT_OTHER, "no memory");
    struct doc_node *cluster = doc_map(doc, doc_root(doc), "cluster");
    struct doc_node *list = doc_list(doc, doc_root(doc), "nodes");
    for (uint32_t i = 0; i < top->count; i++)
        if (top->nodes[i].listed)
            add_node(doc, list, &top->nodes[i], &totals);
    doc_text(doc, cluster, "state", colours[info->state <= 3 ? info->state : 0]);
    doc_uint(doc, cluster, "nodes", info->nodes);
    doc_uint(doc, cluster, "shards", info->shards);
    doc_uint(doc, cluster, "degraded_shards", info->degraded_shards);
    add_rounded(doc, cluster, "qps", totals.qps);
    add_rounded(doc, cluster, "failed_per_second", totals.failed_per_second);
    if (top->draws)
        fputs("\x1b[H\x1b[2J", top->call->out);
    const enum exit_code code = call_print(top->call, doc);
    fflush(top->call->out);
    doc_close(doc);
    return code;
}

// ---- the command ----

static enum exit_code
look_again(struct top *top, double interval, uint32_t count)
{
    enum exit_code code = look(top); // what came before it cannot be told apart
    for (uint32_t i = 0; code == EXIT_FINE && (count == 0 || i < count); i++) {
        if (poll(NULL, 0, (int)(interval * 1000)) < 0 || interrupt_came())
            break;
        code = look(top);
        if (code == EXIT_FINE)
            code = show(top);
    }
    return code;
}

static enum exit_code
read_options(struct top *top, double *interval, uint32_t *count)
{
    struct call *call = top->call;
    if (call_has(call, "once") && call_has(call, "count"))
        return call_fail(call, EXIT_USAGE, "--once is --count 1: not both");
    if (!call_number(call, "interval", 0.05, 3600, interval) ||
        !call_u32(call, "count", 1, UINT32_MAX, count))
        return EXIT_USAGE;
    if (call_has(call, "once"))
        *count = 1;
    top->draws = *count != 1 && call->format == DOC_AS_TABLE && isatty(fileno(call->out)) != 0;
    return remote_timeout(call, &top->timeout_ms);
}

enum exit_code
top_run(struct call *call)
{
    struct top top = {.call = call};
    double interval = 1;
    uint32_t count = 0;
    enum exit_code code = read_options(&top, &interval, &count);
    if (code == EXIT_FINE)
        code = remote_open(call, &top.client);
    if (code != EXIT_FINE)
        return code;
    interrupt_watch();
    code = look_again(&top, interval, count);
    for (uint32_t i = 0; i < top.count; i++)
        client_close(top.nodes[i].client);
    mem_free(top.nodes);
    client_close(top.client);
    return code;
}
