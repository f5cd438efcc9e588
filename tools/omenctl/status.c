// tools/omenctl/status.c -- omenctl status, check and doctor: several answers put together; and which answers are bad news.
//
// Shape: shell.
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/text.h"
#include "clients/c/endpoints.h"
#include "tools/omenctl/answer.h"
#include "tools/omenctl/names.h"
#include "tools/omenctl/remote.h"

#define DETAIL_BYTES 256u
#define CLOCK_APART_MS 10000 // a node warns of as much in its log
#define LINKED_ROWS 1024u    // of a shard: with fewer none is linked (docs/PROTOCOL.md, "tail")

static const struct api_nothing nothing;

// A method that is asked with nothing: the list under `key` of its answer.
struct listing {
    struct client_reply reply;
    union method_body answer;
    const struct field *field;
    const struct wire_list *list;
};

static enum exit_code
listing_ask(const struct call *call, struct client *client, enum method_number number,
            const char *key, struct listing *out)
{
    const struct api_shards_ask all = {.map_only = 1}; // and no copy is asked
    const struct method *method = method_at(number);
    const bool wants_collection = method->ask == &api_shards_ask;
    out->field = shape_field(method->answer, key);
    out->list = (const void *)(out->answer.bytes + out->field->at);
    return remote_ask(call, client, number,
                      wants_collection ? (const void *)&all : (const void *)&nothing, &out->reply,
                      &out->answer);
}

// ---- status ----

static enum exit_code
add_listing(struct call *call, struct client *client, struct doc *doc, enum method_number number,
            const char *key, const char *columns)
{
    struct listing listing;
    const enum exit_code code = listing_ask(call, client, number, key, &listing);
    if (code == EXIT_FINE)
        answer_items(doc, doc_list(doc, doc_root(doc), key), listing.field, listing.list,
                     call->format == DOC_AS_TABLE ? columns : NULL);
    client_reply_fini(&listing.reply);
    return code;
}

static enum exit_code
status_of(struct call *call, struct client *client, struct doc *doc)
{
    struct api_cluster_info info = {0};
    struct client_reply reply;
    enum exit_code code = remote_ask(call, client, METHOD_CLUSTER_INFO, &nothing, &reply, &info);
    if (code == EXIT_FINE)
        answer_fields(doc, doc_map(doc, doc_root(doc), "cluster"), &api_cluster_info, &info, NULL);
    client_reply_fini(&reply);
    if (code == EXIT_FINE)
        code = add_listing(call, client, doc, METHOD_NODE_LIST, "nodes",
                           "name state member roles zone shards primaries client");
    if (code == EXIT_FINE)
        code = add_listing(call, client, doc, METHOD_COLLECTION_LIST, "collections",
                           "name points dimension metric dtype shards replicas min_insync");
    if (code == EXIT_FINE && call->format == DOC_AS_TABLE)
        names_show(client, doc);
    if (code == EXIT_FINE)
        code = call_print(call, doc);
    if (code == EXIT_FINE && info.state > 1)
        code = call_fail(call, EXIT_DEGRADED,
                         "the cluster is degraded: %u shards lack copies, %u have no primary",
                         info.degraded_shards, info.lost_shards);
    return code;
}

enum exit_code
status_run(struct call *call)
{
    struct client *client;
    struct doc *doc = NULL;
    enum exit_code code = remote_open(call, &client);
    if (code != EXIT_FINE)
        return code;
    if (doc_open(DOC_MAP, &doc) != OMEN_OK)
        code = call_fail(call, EXIT_OTHER, "no memory");
    else
        code = status_of(call, client, doc);
    doc_close(doc);
    client_close(client);
    return code;
}

// ---- check ----

struct checks {
    struct call *call;
    struct doc *doc;
    uint32_t wrong;
    bool advises; // doctor: what to do about it
    struct listing members, nodes;
};

// Of each check, what helps.
static const char *
advice_of(const char *what)
{
    static const struct {
        const char *what, *advice;
    } advices[] = {
        {"endpoint", "start the node, whose log says why it ended; or leave it out of --endpoints"},
        {"member", "start it again with its folder. If that is gone: node drain, and node "
                   "decommission when its copies are elsewhere; join a new one"},
        {"metadata", "start nodes that are gone: more than half of those that vote are needed, and "
                     "one of them leads within seconds"},
        {"clock",
         "set it right, and keep it so (NTP). Until then that node goes by the others' clocks"},
        {"disk", "free some of it, or give it more: drop what nobody wants, collection optimize "
                 "after deletes, node drain where others have room. Until then points are "
                 "refused that have a copy there, and deletes are not"},
        {"shard", "copies are made anew by themselves where a node has room: look again, and at "
                  "node list. Where all copies in sync are lost: shard force-primary"},
        {"job", "job get says why. Ask for it again: collection build --wait, which the copies do "
                "where no builder is"},
    };
    for (size_t i = 0; i < sizeof advices / sizeof *advices; i++)
        if (strcmp(advices[i].what, what) == 0)
            return advices[i].advice;
    return "";
}

__attribute__((format(printf, 4, 5))) static void
add_check(struct checks *checks, const char *what, bool is_good, const char *format, ...)
{
    char detail[DETAIL_BYTES];
    struct text text;
    va_list arguments;
    text_init(&text, detail, sizeof detail);
    va_start(arguments, format);
    text_add_list(&text, format, arguments);
    va_end(arguments);
    struct doc_node *row = doc_map(checks->doc, doc_root(checks->doc), NULL);
    doc_text(checks->doc, row, "check", what);
    doc_text(checks->doc, row, "result", is_good ? "ok" : "wrong");
    doc_text(checks->doc, row, "detail", detail);
    if (checks->advises)
        doc_text(checks->doc, row, "advice", is_good ? "" : advice_of(what));
    checks->wrong += !is_good;
}

// Each endpoint by itself; *reached is how many answer.
static enum exit_code
check_endpoints(struct checks *checks, uint32_t *reached)
{
    static const uint8_t packed_nothing[] = {0x80};
    const struct client_ask ping = {.method = wire_text_of("system.ping"),
                                    .params = {packed_nothing, sizeof packed_nothing},
                                    .repeatable = 1,
                                    .impatient = 1};
    struct endpoints endpoints;
    struct omen_error bad;
    if (endpoints_parse(remote_endpoints(checks->call), &endpoints, &bad) != OMEN_OK)
        return call_fail_error(checks->call, "--endpoints", &bad);
    for (uint32_t i = 0; i < endpoints.count; i++) {
        struct client *client;
        struct client_reply reply = {0};
        struct client_error error;
        const enum exit_code code = remote_open_at(checks->call, endpoints.at[i].text, &client);
        if (code != EXIT_FINE)
            return code;
        const omen_status status = client_call(client, &ping, &reply, &error);
        if (status == OMEN_E_AUTH) {
            client_close(client);
            return remote_fail(checks->call, endpoints.at[i].text, &error);
        }
        add_check(checks, "endpoint", status == OMEN_OK, "%s",
                  status == OMEN_OK ? endpoints.at[i].text : error.text);
        *reached += status == OMEN_OK;
        client_reply_fini(&reply);
        client_close(client);
    }
    return EXIT_FINE;
}

// Who was decommissioned is missed by nobody, however it ended.
static bool
is_out(const struct checks *checks, const struct wire_text *member)
{
    struct list_cursor cursor;
    struct api_node node;
    list_begin(&cursor, checks->nodes.field, checks->nodes.list);
    while (list_next(&cursor, &node))
        if (wire_text_same(node.node, *member))
            return node.state == API_GONE;
    return false;
}

static void
check_members(struct checks *checks)
{
    static const char *const states[] = {"of no state", "alive", "suspect", "dead", "left"};
    struct list_cursor cursor;
    struct api_member member;
    uint32_t count = 0, alive = 0;
    list_begin(&cursor, checks->members.field, checks->members.list);
    while (list_next(&cursor, &member)) {
        const bool is_gone = member.state == API_LEFT || is_out(checks, &member.node);
        count += !is_gone;
        alive += member.state == API_ALIVE && !is_gone;
        if (member.state != API_ALIVE && !is_gone)
            add_check(checks, "member", false, "%.*s is %s", (int)member.name.count,
                      member.name.bytes, states[member.state <= API_LEFT ? member.state : 0]);
    }
    if (alive == count)
        add_check(checks, "members", true, "all %u are alive", count);
}

// Without a leader points are written and read, and nothing else changes: no copy is made anew, no primary replaced.
static enum exit_code
check_metadata(struct checks *checks, struct client *client)
{
    struct api_cluster_info info = {0};
    struct client_reply reply;
    struct list_cursor cursor;
    struct api_member member;
    struct wire_text leader = {0};
    const enum exit_code code =
        remote_ask(checks->call, client, METHOD_CLUSTER_INFO, &nothing, &reply, &info);
    list_begin(&cursor, checks->members.field, checks->members.list);
    while (code == EXIT_FINE && info.leader.count > 0 && list_next(&cursor, &member))
        if (wire_text_same(member.node, info.leader))
            leader = member.name;
    if (code == EXIT_FINE && info.leader.count == 0)
        add_check(checks, "metadata", false,
                  "nobody leads it: of %u nodes that vote too few are there", info.voters);
    else if (code == EXIT_FINE)
        add_check(checks, "metadata", true, "led by %.*s; %u vote", (int)leader.count,
                  leader.count > 0 ? leader.bytes : "", info.voters);
    client_reply_fini(&reply);
    return code;
}

// One clock that is wrong is none of the cluster's: operations go by the one in the middle. Two may be.
static void
check_clocks(struct checks *checks)
{
    struct list_cursor cursor;
    struct api_member member;
    uint32_t apart = 0;
    list_begin(&cursor, checks->members.field, checks->members.list);
    while (list_next(&cursor, &member)) {
        const int64_t ahead_ms = member.clock_ahead_ms;
        if (ahead_ms <= CLOCK_APART_MS && ahead_ms >= -CLOCK_APART_MS)
            continue;
        apart++;
        add_check(checks, "clock", false, "that of %.*s is %" PRId64 " s %s that of the cluster",
                  (int)member.name.count, member.name.bytes,
                  (ahead_ms < 0 ? -ahead_ms : ahead_ms) / 1000,
                  ahead_ms < 0 ? "behind" : "ahead of");
    }
    if (apart == 0)
        add_check(checks, "clocks", true, "none is %d s apart", CLOCK_APART_MS / 1000);
}

// Of those that are there: who is gone is in "member", and what its disk was like says nothing.
static void
check_disks(struct checks *checks)
{
    struct list_cursor cursor;
    struct api_member member;
    uint32_t low = 0;
    list_begin(&cursor, checks->members.field, checks->members.list);
    while (list_next(&cursor, &member)) {
        if (member.disk_low == 0 || (member.state != API_ALIVE && member.state != API_SUSPECT))
            continue;
        low++;
        add_check(checks, "disk", false, "that of %.*s has less left than its reserve",
                  (int)member.name.count, member.name.bytes);
    }
    if (low == 0)
        add_check(checks, "disks", true, "none has less left than its reserve");
}

// As the cluster's own count of degraded shards has it: who is suspect may live, and the map keeps the copies of the dead until somebody
// writes.
static bool
lives(const struct checks *checks, const struct wire_text *node)
{
    struct list_cursor cursor;
    struct api_member member;
    list_begin(&cursor, checks->members.field, checks->members.list);
    while (list_next(&cursor, &member))
        if (wire_text_same(member.node, *node))
            return member.state == API_ALIVE || member.state == API_SUSPECT;
    return false;
}

static uint32_t
live_copies(const struct checks *checks, const struct api_shard *shard)
{
    struct list_cursor cursor;
    struct wire_text node;
    uint32_t count = 0;
    list_begin(&cursor, shape_field(&api_shard, "in_sync"), &shard->in_sync);
    while (list_next(&cursor, &node))
        count += lives(checks, &node);
    return count;
}

// The shards of one collection: whether each has a primary and all its copies in sync, on nodes that live.
static void
check_collection(struct checks *checks, const struct api_collection *collection,
                 const struct listing *shards)
{
    struct list_cursor cursor;
    struct api_shard shard;
    uint32_t count = 0, whole = 0;
    list_begin(&cursor, shards->field, shards->list);
    while (list_next(&cursor, &shard)) {
        if (!wire_text_same(shard.collection, collection->name) || shard.state == API_RETIRED ||
            shard.state == API_CHILD)
            continue;
        const bool led = shard.primary.count > 0 && lives(checks, &shard.primary);
        const uint32_t copies = live_copies(checks, &shard);
        const bool is_whole = led && copies >= collection->replicas;
        count++;
        whole += is_whole;
        if (!is_whole)
            add_check(checks, "shard", false,
                      "%" PRIu64 " of %.*s has %s, and %u of %u copies in sync and alive%s",
                      shard.shard, (int)collection->name.count, collection->name.bytes,
                      led                       ? "a primary"
                      : shard.primary.count > 0 ? "a primary that is gone"
                                                : "no primary",
                      copies, collection->replicas,
                      led && copies < collection->min_insync
                          ? ": fewer than min_insync, so writes wait"
                          : "");
    }
    if (whole == count)
        add_check(checks, "collection", true, "%.*s: all %u shards have %u copies in sync",
                  (int)collection->name.count, collection->name.bytes, count, collection->replicas);
}

static enum exit_code
check_shards(struct checks *checks, struct client *client)
{
    struct listing shards = {.reply = {0}}, collections = {.reply = {0}};
    struct list_cursor cursor;
    struct api_collection collection;
    enum exit_code code = listing_ask(checks->call, client, METHOD_SHARD_LIST, "shards", &shards);
    if (code == EXIT_FINE)
        code =
            listing_ask(checks->call, client, METHOD_COLLECTION_LIST, "collections", &collections);
    if (code == EXIT_FINE) {
        list_begin(&cursor, collections.field, collections.list);
        while (list_next(&cursor, &collection))
            check_collection(checks, &collection, &shards);
    }
    client_reply_fini(&shards.reply);
    client_reply_fini(&collections.reply);
    return code;
}

static bool
came_to_nothing(const struct api_job *job)
{
    return job->state == API_JOB_FAILED || job->state == API_JOB_CANCELLED;
}

// A later one of the same kind for the same shard that has not failed, too: it was asked for again.
static bool
is_made_good(const struct listing *jobs, const struct api_job *failed)
{
    struct list_cursor cursor;
    struct api_job job;
    list_begin(&cursor, jobs->field, jobs->list);
    while (list_next(&cursor, &job))
        if (job.job > failed->job && job.kind == failed->kind && job.shard == failed->shard &&
            !came_to_nothing(&job))
            return true;
    return false;
}

// Rows of a collection that have no links and should: a shard of few makes none. What is not known is not 0.
static uint64_t
rows_without_links(struct client *client, struct wire_text collection)
{
    const struct api_of_collection of = {.collection = collection};
    const struct api_shards_ask by_shard = {.collection = collection};
    const struct field *field = shape_field(&api_shards, "shards");
    struct api_stats stats = {0};
    struct api_shards shards = {0};
    struct api_shard shard;
    struct client_reply reply;
    struct client_error error;
    struct list_cursor cursor;
    uint64_t without = UINT64_MAX, few = 0;
    if (client_call_method(client, METHOD_COLLECTION_STATS, &of, &reply, &stats, &error) ==
            OMEN_OK &&
        stats.tail.given != 0 && stats.shards_failed == 0)
        without = stats.tail.value;
    client_reply_fini(&reply);
    if (without == 0 || without == UINT64_MAX)
        return without;
    if (client_call_method(client, METHOD_SHARD_LIST, &by_shard, &reply, &shards, &error) ==
        OMEN_OK) {
        list_begin(&cursor, field, &shards.shards);
        while (list_next(&cursor, &shard))
            few +=
                shard.points.given == 0 || shard.points.value >= LINKED_ROWS ? 0 : LINKED_ROWS - 1;
    }
    client_reply_fini(&reply);
    return without > few ? without : 0;
}

static bool
collection_of(const struct listing *shards, uint64_t number, struct wire_text *collection)
{
    struct list_cursor cursor;
    struct api_shard shard;
    list_begin(&cursor, shards->field, shards->list);
    while (list_next(&cursor, &shard))
        if (shard.shard == number) {
            *collection = shard.collection;
            return true;
        }
    return false;
}

// Whether what it was for is there, or wanted no more, without it. Nothing is told of that in the list of jobs: where no builder is,
// copies build without a job.
static bool
is_needless(struct client *client, const struct listing *shards, const struct api_job *failed,
            uint64_t *without)
{
    struct wire_text collection;
    if (!collection_of(shards, failed->shard, &collection))
        return true; // it was dropped, or split since
    *without = failed->kind == API_JOB_BUILD ? rows_without_links(client, collection) : UINT64_MAX;
    return *without == 0;
}

static void
add_failed(struct checks *checks, const struct api_job *job, uint64_t without)
{
    char rows[64] = "";
    if (without != UINT64_MAX)
        snprintf(rows, sizeof rows, "; %" PRIu64 " rows have no links yet", without);
    add_check(checks, "job", false, "%" PRIu64 " has failed: %.*s%s", job->job,
              (int)job->text.count, job->text.count > 0 ? job->text.bytes : "", rows);
}

static enum exit_code
check_jobs(struct checks *checks, struct client *client)
{
    struct listing listing, shards = {.reply = {0}};
    struct list_cursor cursor;
    struct api_job job;
    uint64_t without = 0;
    uint32_t failed = 0, needless = 0;
    enum exit_code code = listing_ask(checks->call, client, METHOD_JOB_LIST, "jobs", &listing);
    if (code != EXIT_FINE)
        return code;
    code = listing_ask(checks->call, client, METHOD_SHARD_LIST, "shards", &shards);
    list_begin(&cursor, listing.field, listing.list);
    while (code == EXIT_FINE && list_next(&cursor, &job)) {
        if (!came_to_nothing(&job) || is_made_good(&listing, &job))
            continue;
        if (is_needless(client, &shards, &job, &without)) {
            needless++;
            continue;
        }
        failed++;
        add_failed(checks, &job, without);
    }
    if (code == EXIT_FINE && failed == 0 && needless == 0)
        add_check(checks, "jobs", true, "none has failed");
    else if (code == EXIT_FINE && failed == 0)
        add_check(checks, "jobs", true,
                  "%u failed of which nothing is missing now (job list has them)", needless);
    client_reply_fini(&shards.reply);
    client_reply_fini(&listing.reply);
    return code;
}

static enum exit_code
check_all(struct checks *checks)
{
    struct call *call = checks->call;
    struct client *client;
    uint32_t reached = 0;
    enum exit_code code = check_endpoints(checks, &reached);
    if (code != EXIT_FINE)
        return code;
    if (reached == 0) {
        code = call_print(call, checks->doc);
        return code != EXIT_FINE ? code : call_fail(call, EXIT_UNREACHABLE, "no endpoint answers");
    }
    code = remote_open(call, &client);
    if (code != EXIT_FINE)
        return code;
    code = listing_ask(call, client, METHOD_CLUSTER_MEMBERS, "members", &checks->members);
    if (code == EXIT_FINE)
        code = listing_ask(call, client, METHOD_NODE_LIST, "nodes", &checks->nodes);
    if (code == EXIT_FINE) {
        check_members(checks);
        check_clocks(checks);
        check_disks(checks);
        code = check_metadata(checks, client);
    }
    if (code == EXIT_FINE)
        code = check_shards(checks, client);
    if (code == EXIT_FINE)
        code = check_jobs(checks, client);
    client_reply_fini(&checks->members.reply);
    client_reply_fini(&checks->nodes.reply);
    client_close(client);
    if (code == EXIT_FINE)
        code = call_print(call, checks->doc);
    if (code == EXIT_FINE && checks->wrong > 0)
        code = call_fail(call, EXIT_DEGRADED, "%u checks found something wrong", checks->wrong);
    return code;
}

static enum exit_code
run_checks(struct call *call, bool advises)
{
    struct checks checks = {.call = call, .advises = advises};
    if (doc_open(DOC_LIST, &checks.doc) != OMEN_OK)
        return call_fail(call, EXIT_OTHER, "no memory");
    const enum exit_code code = check_all(&checks);
    doc_close(checks.doc);
    return code;
}

enum exit_code
check_run(struct call *call)
{
    return run_checks(call, false);
}

enum exit_code
doctor_run(struct call *call)
{
    return run_checks(call, true);
}

// ---- answers that say that something is wrong ----

enum exit_code
judge_stats(struct call *call, const void *answer)
{
    const struct api_stats *stats = answer;
    if (stats->shards_failed == 0)
        return EXIT_FINE;
    return call_fail(call, EXIT_PARTIAL, "%u of %u shards did not say how much they have",
                     stats->shards_failed, stats->shards);
}

enum exit_code
judge_points(struct call *call, const void *answer)
{
    const struct api_points *points = answer;
    struct list_cursor cursor;
    struct api_point point;
    list_begin(&cursor, shape_field(&api_points, "points"), &points->points);
    while (list_next(&cursor, &point))
        if (point.absent == 0)
            return EXIT_FINE;
    return call_fail(call, EXIT_NOT_FOUND, "there is none of these points");
}
