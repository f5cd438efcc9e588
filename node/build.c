// node/build.c -- the builder of a node that keeps no data.
//
// Shape: shell.
//
// What is built belongs to a task, which the loop and its thread share: the loop may turn to another job before the thread has seen
// that nobody wants its graph. A task goes when its thread has said so and the loop has no use for it.
#include "node/build.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/os_clock.h"
#include "base/os_log.h"
#include "base/os_random.h"
#include "base/os_thread.h"
#include "node/builder.h"
#include "shard/backend.h"
#include "shard/built.h"
#include "wire/node_codec.h"

#define MS UINT64_C(1000000)
#define OURS (UINT64_C(1) << 62) // in a part's request
#define LOOK_NS (500 * MS)       // at how far the thread is
#define LINE_BYTES (64u << 10)   // a frame above it goes over the lane for large ones

enum { NOTE_BUILT = NOTE_OTHERS };

struct build_task {
    struct build_task *next;
    struct build *build;
    struct built_rows rows;
    struct built_graph graph;
    double recall; // one more than the copy found that measured the graph; 0: none has
    uint32_t threads;
    enum job_build_by wanted;
    struct built_by by;
    pthread_t thread;
    bool running; // it has a thread, which has not been joined
    _Atomic bool unwanted;
    _Atomic uint32_t permille;
};

struct built_note {
    struct loop_note note; // NOTE_BUILT
    struct build_task *task;
    omen_status status;
};

struct build {
    struct build_loop_config config;
    struct loop *loop;
    struct builder builder;
    const struct map *map;    // the newest; NULL: none yet
    struct build_task *task;  // what the machine is at; NULL: nothing
    struct build_task *left;  // nobody wants them, and their threads have not ended
    struct builder_ask asked; // the last
    struct encode ask, frame;
    uint8_t *chunk; // BUILT_CHUNK_BYTES
    _Atomic uint64_t jobs, graphs, rows, failed;
};

static const struct builder_config times = {.lease_ns = 10000 * MS,
                                            .renew_ns = 3000 * MS,
                                            .wish_ns = 1000 * MS,
                                            .answer_ns = 5000 * MS,
                                            .install_ns = 600000 * MS,
                                            .retry_ns = 500 * MS};

static void step(struct build *build, struct builder_input in);

// ---- for people ----

static void
say(const struct build *build, const char *event, const char *note)
{
    struct log_line line;
    if (!log_begin(&line, NULL, LOG_LEVEL_INFO, event))
        return;
    log_number(&line, "job", build->builder.job);
    log_number(&line, "shard", build->builder.shard);
    log_text(&line, "note", note);
    log_end(&line);
}

static void
say_refusal(const struct build *build, omen_status status, const struct wire_reply *reply)
{
    struct log_line line;
    char reason[WIRE_REASON_BYTES_MAX + 1] = "";
    if (!log_begin(&line, NULL, LOG_LEVEL_INFO, "build.refused"))
        return;
    if (reply->reason_bytes <= WIRE_REASON_BYTES_MAX && reply->reason != NULL)
        memcpy(reason, reply->reason, reply->reason_bytes);
    log_number(&line, "shard", build->builder.shard);
    log_text(&line, "status", status_name(status));
    log_text(&line, "why", reason);
    log_end(&line);
}

static void
say_built(const struct build *build, const struct build_task *task, omen_status status)
{
    struct log_line line;
    if (!log_begin(&line, NULL, LOG_LEVEL_INFO, "build.linked"))
        return;
    log_number(&line, "job", build->builder.job);
    log_number(&line, "shard", build->builder.shard);
    log_text(&line, "status", status_name(status));
    log_text(&line, "by", task->by.backend == OMEN_BACKEND_CUDA ? task->by.device : "cpu");
    if (task->by.reason[0] != '\0')
        log_text(&line, "why", task->by.reason);
    log_end(&line);
}

// Asked once: a device comes and goes with the machine.
static bool
look_for_gpu(void)
{
    struct log_line line;
    struct omen_error why = {0};
    char device[256];
    const bool has = backend_has_gpu(device, &why);
    if (log_begin(&line, NULL, LOG_LEVEL_INFO, "build.gpu")) {
        log_text(&line, has ? "device" : "why", has ? device : why.text);
        log_end(&line);
    }
    return has;
}

// ---- the thread ----

static int
watch(void *context, uint64_t done, uint64_t total)
{
    struct build_task *task = context;
    atomic_store_explicit(&task->permille, (uint32_t)(total > 0 ? done * 1000 / total : 0),
                          memory_order_relaxed);
    return atomic_load_explicit(&task->unwanted, memory_order_relaxed);
}

static void *
make(void *context)
{
    struct build_task *task = context;
    struct built_note *note = mem_alloc_zero(1, sizeof *note);
    ASSERT(note != NULL); // 40 bytes
    const struct built_work work = {.threads = task->threads,
                                    .backend = task->wanted == JOB_BUILD_GPU   ? OMEN_BACKEND_CUDA
                                               : task->wanted == JOB_BUILD_CPU ? OMEN_BACKEND_CPU
                                                                               : OMEN_BACKEND_AUTO,
                                    .by = &task->by,
                                    .progress = watch,
                                    .context = task};
    note->note.kind = NOTE_BUILT;
    note->task = task;
    note->status = built_graph_make(&task->rows, &work, &task->graph);
    loop_post(task->build->loop, &note->note);
    return NULL;
}

static void
task_free(struct build_task *task)
{
    if (task == NULL)
        return;
    if (task->running)
        pthread_join(task->thread, NULL);
    built_rows_fini(&task->rows);
    built_graph_fini(&task->graph);
    mem_free(task);
}

static void
drop(struct build *build)
{
    struct build_task *task = build->task;
    build->task = NULL;
    if (task == NULL)
        return;
    atomic_store(&task->unwanted, true);
    if (!task->running) {
        task_free(task);
        return;
    }
    task->next = build->left;
    build->left = task;
}

static void
built(struct build *build, const struct built_note *note)
{
    struct build_task *task = note->task;
    if (task == build->task) {
        pthread_join(task->thread, NULL);
        task->running = false;
        say_built(build, task, note->status);
        struct builder_input in = {.kind = BUILDER_IN_BUILT, .status = note->status};
        if (note->status == OMEN_OK) {
            in.total = built_graph_chunks(&task->graph);
            atomic_fetch_add(&build->graphs, 1);
            atomic_fetch_add(&build->rows, task->graph.head.total);
        }
        step(build, in);
        return;
    }
    struct build_task **link = &build->left;
    while (*link != task)
        link = &(*link)->next;
    *link = task->next;
    task_free(task);
}

static omen_status
begin(struct build *build)
{
    struct build_task *task = build->task;
    if (task == NULL || !built_rows_whole(&task->rows))
        return OMEN_E_INTERNAL; // the copy said that there are fewer chunks than there are
    const struct job *job = map_job(build->map, build->builder.job);
    task->threads = build->config.threads;
    task->wanted = job != NULL ? (enum job_build_by)job->argument : JOB_BUILD_AUTO;
    task->running = os_thread_start(&task->thread, make, task) == 0;
    return task->running ? OMEN_OK : OMEN_E_NO_MEMORY;
}

// ---- parts ----

static void
answer(struct build *build, const struct builder_ask *ask, omen_status status)
{
    step(build, (struct builder_input){
                    .kind = BUILDER_IN_ANSWER, .status = status, .question = ask->question});
}

// False: it was certainly not sent.
static bool
send_ask(struct build *build, const struct builder_ask *ask)
{
    const struct map_shard *shard = map_shard(build->map, ask->shard);
    struct inner_build_ask wanted = {
        .step = ask->step, .attempt = ask->attempt, .chunk = ask->chunk, .trusted = ask->trusted};
    if (shard == NULL)
        return false;
    if (ask->step == INNER_BUILD_INSTALL && build->task != NULL)
        wanted.recall = build->task->recall;
    if (ask->step == INNER_BUILD_TAKE) {
        if (build->task == NULL || ask->chunk >= built_graph_chunks(&build->task->graph))
            return false;
        wanted.chunk = 0;
        wanted.bytes = (struct wire_bytes){
            build->chunk,
            (uint32_t)built_graph_write(&build->task->graph, ask->chunk, build->chunk)};
    }
    encode_reset(&build->ask);
    shape_write(&build->ask, &inner_build_ask, &wanted);
    const struct wire_part part = {.kind = WIRE_PART_SEARCH,
                                   .consistency = WIRE_ANY,
                                   .method = METHOD_COLLECTION_BUILD,
                                   .part = ask->step,
                                   .request = OURS | ask->question,
                                   .copy_high = ask->copy.high,
                                   .copy_low = ask->copy.low,
                                   .shard = shard->id,
                                   .term = shard->term,
                                   .cfg_ver = shard->cfg_ver,
                                   .map_version = build->map->version,
                                   .first = shard->first,
                                   .last = shard->last,
                                   .ask_bytes = (uint32_t)build->ask.count,
                                   .ask = build->ask.bytes};
    encode_reset(&build->frame);
    wire_part_write(&build->frame, &part);
    if (build->ask.status != OMEN_OK || build->frame.status != OMEN_OK)
        return false;
    const uint64_t now_ns = os_clock_ns();
    const struct bus_frame frame = {
        .lane = build->frame.count > LINE_BYTES ? PEER_BULK : PEER_CONTROL,
        .kind = PEER_PART,
        .correlation = OURS | ask->question,
        .deadline_ms =
            ask->deadline_ns > now_ns ? (uint32_t)((ask->deadline_ns - now_ns) / MS) + 1 : 1,
        .body = {build->frame.bytes, (uint32_t)build->frame.count}};
    return bus_send(build->config.bus, (struct wire_uuid){ask->node.high, ask->node.low}, &frame);
}

// What a copy said, as a status: a word that is none is CORRUPT.
static omen_status
read_answer(struct build *build, const struct wire_reply *reply, struct inner_build *out)
{
    struct omen_error error = {0};
    struct decode decode;
    *out = (struct inner_build){0};
    if (reply->failure != 0)
        return -(omen_status)reply->failure;
    decode_init(&decode, (struct wire_bytes){reply->answer, reply->answer_bytes}, &decode_answers,
                &error);
    shape_read(&decode, &inner_build, out);
    if (decode_end(&decode) != OMEN_OK)
        return OMEN_E_CORRUPT;
    if (build->asked.step == INNER_BUILD_ROWS && build->task != NULL)
        return built_rows_take(&build->task->rows, out->bytes.bytes, out->bytes.count, &error);
    return OMEN_OK;
}

static void
say_installed(const struct build *build, const struct inner_build *said)
{
    struct log_line line;
    if (!log_begin(&line, NULL, LOG_LEVEL_INFO, "build.installed"))
        return;
    log_number(&line, "job", build->builder.job);
    log_number(&line, "shard", build->builder.shard);
    log_number(&line, "rows", said->rows);
    log_number(&line, "matched", said->matched);
    log_number(&line, "tail", said->tail);
    if (said->recall >= 1.0)
        log_number(&line, "recall_permille", (uint64_t)((said->recall - 1.0) * 1000));
    if (said->before >= 1.0)
        log_number(&line, "before_permille", (uint64_t)((said->before - 1.0) * 1000));
    log_end(&line);
}

static void
installed(struct build *build, const struct inner_build *said)
{
    if (build->task != NULL && said->recall >= 1.0)
        build->task->recall = said->recall;
    say_installed(build, said);
}

static void
take_reply(struct build *build, const struct frame_note *frame)
{
    struct wire_reply reply;
    struct inner_build said;
    const struct builder_ask asked = build->asked;
    if (!wire_reply_read((struct wire_bytes){frame->body, frame->count}, &reply) ||
        reply.request != (OURS | asked.question))
        return; // of a question that nobody asks any more
    const omen_status status = read_answer(build, &reply, &said);
    if (status != OMEN_OK)
        say_refusal(build, status, &reply);
    else if (asked.step == INNER_BUILD_INSTALL)
        installed(build, &said);
    step(build, (struct builder_input){.kind = BUILDER_IN_ANSWER,
                                       .status = status,
                                       .question = asked.question,
                                       .chunks = said.chunks});
}

// ---- the machine ----

static void
set_due(struct build *build)
{
    uint64_t due_ns = builder_wake_ns(&build->builder);
    const uint64_t look_ns = os_clock_ns() + LOOK_NS;
    if (build->builder.state == BUILDER_BUILDING && look_ns < due_ns)
        due_ns = look_ns;
    loop_due(build->loop, due_ns);
}

static bool
memory_for_rows(struct build *build)
{
    drop(build);
    build->task = mem_alloc_zero(1, sizeof *build->task);
    if (build->task != NULL)
        build->task->build = build;
    return build->task != NULL;
}

static void
do_ask(struct build *build, const struct builder_ask *ask)
{
    build->asked = *ask;
    const bool begins = ask->step == INNER_BUILD_FREEZE;
    if ((begins && !memory_for_rows(build)) || !send_ask(build, ask))
        answer(build, ask, OMEN_E_BUSY);
}

static void
count(struct build *build, const struct builder_output *out)
{
    const struct command_job *job = &out->command.job;
    if (out->wishes && out->command.kind == COMMAND_JOB_END && job->state == JOB_FAILED)
        atomic_fetch_add(&build->failed, 1);
}

static void
step(struct build *build, struct builder_input in)
{
    struct builder_output out;
    const enum builder_state before = build->builder.state;
    in.now_ns = os_clock_ns();
    in.map = build->map;
    builder_step(&build->builder, &in, &out);
    if (before == BUILDER_CLAIMING && build->builder.state > BUILDER_CLAIMING) {
        atomic_fetch_add(&build->jobs, 1);
        say(build, "build.begun", "a job was taken");
    }
    if (out.note != NULL)
        say(build, "build.note", out.note);
    if (out.wishes)
        meta_wish(build->config.meta, &out.command);
    count(build, &out);
    if (out.drops)
        drop(build);
    if (out.builds) {
        const omen_status status = begin(build);
        if (status != OMEN_OK)
            step(build, (struct builder_input){.kind = BUILDER_IN_BUILT, .status = status});
    } else if (out.asks) {
        do_ask(build, &out.ask);
    }
    set_due(build);
}

// ---- the loop ----

static void
take(void *context, struct loop_note *note)
{
    struct build *build = context;
    switch (note->kind) {
    case NOTE_META_MAP:
        map_publish_end(build->map);
        build->map = ((struct meta_map *)note)->map;
        step(build, (struct builder_input){.kind = BUILDER_IN_MAP});
        break;
    case NOTE_FRAME:
        take_reply(build, (struct frame_note *)note);
        break;
    case NOTE_BUILT:
        built(build, (struct built_note *)note);
        break;
    default: // leases and members
        break;
    }
    mem_free(note);
}

static void
wake(void *context)
{
    struct build *build = context;
    struct builder_input in = {.kind = BUILDER_IN_MAP};
    if (build->builder.state == BUILDER_BUILDING && build->task != NULL) {
        in.kind = BUILDER_IN_PROGRESS;
        in.permille = atomic_load_explicit(&build->task->permille, memory_order_relaxed);
    }
    step(build, in);
}

static void
discard(void *context, struct loop_note *note)
{
    (void)context;
    if (note->kind == NOTE_META_MAP)
        map_publish_end(((struct meta_map *)note)->map);
    mem_free(note);
}

omen_status
build_open(const struct build_loop_config *config, struct build **out, struct omen_error *error)
{
    *out = NULL;
    struct build *build = mem_alloc_zero(1, sizeof *build);
    if (build == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    struct builder_config machine = times;
    machine.node = config->node;
    machine.boot = config->boot;
    machine.features = config->features;
    machine.roles = config->roles;
    machine.gpu = look_for_gpu();
    os_random(&machine.serial, sizeof machine.serial);
    machine.serial >>= 1; // it counts up from there
    build->config = *config;
    builder_init(&build->builder, &machine);
    encode_init(&build->ask, WIRE_FRAME_BYTES_MAX);
    encode_init(&build->frame, PEER_BULK_BYTES_MAX);
    build->chunk = mem_alloc(BUILT_CHUNK_BYTES);
    const struct loop_config loop = {"omen-build", build, take, wake, discard};
    omen_status status = build->chunk != NULL ? OMEN_OK : OMEN_E_NO_MEMORY;
    if (status == OMEN_OK)
        status = loop_open(&loop, &build->loop);
    if (status == OMEN_OK) {
        *out = build;
        return OMEN_OK;
    }
    build_close(build);
    return error_set_plain(error, status);
}

struct loop *
build_loop(struct build *build)
{
    return build->loop;
}

bool
build_is_ours(struct wire_bytes body)
{
    struct wire_reply reply;
    return wire_reply_read(body, &reply) && reply.method == METHOD_COLLECTION_BUILD &&
           (reply.request & OURS) != 0;
}

void
build_frame(struct build *build, struct cluster_uuid from, uint64_t boot,
            const struct peer_head *head, struct wire_bytes body)
{
    struct frame_note *frame = frame_note_make(from, boot, head, body);
    if (frame != NULL)
        loop_post(build->loop, &frame->note);
}

void
build_stop(struct build *build)
{
    loop_stop(build->loop);
}

void
build_close(struct build *build)
{
    if (build == NULL)
        return;
    if (build->loop != NULL)
        loop_stop(build->loop);
    drop(build);
    while (build->left != NULL) {
        struct build_task *task = build->left;
        build->left = task->next;
        task_free(task);
    }
    loop_close(build->loop);
    map_publish_end(build->map);
    encode_fini(&build->ask);
    encode_fini(&build->frame);
    mem_free(build->chunk);
    mem_free(build);
}

struct build_stats
build_stats(struct build *build)
{
    return (struct build_stats){.jobs = atomic_load(&build->jobs),
                                .graphs = atomic_load(&build->graphs),
                                .rows = atomic_load(&build->rows),
                                .failed = atomic_load(&build->failed)};
}
