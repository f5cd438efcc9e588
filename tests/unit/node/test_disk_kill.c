// tests/unit/node/test_disk_kill.c -- a process that is killed anywhere leaves what it was told is durable, and jobs whole or not at all.
//
// Shape: shell.
//
// A child draws jobs from a seed, for raft and for copies, hands them to a disk and says through a pipe which the disk has acknowledged. It is
// killed. The parent draws the same jobs for the simulated halves of tests/lib (sim_disk.h, sim_shard.h), which the machines are tested
// with, and looks for the job behind which these hold what the store does: not before the last that was acknowledged.
#include <signal.h>
#include <sys/wait.h>

#include "base/prng.h"
#include "tests/lib/check_main.h"
#include "tests/lib/disk_notes.h"
#include "tests/lib/folder.h"
#include "tests/lib/sim_shard.h"

#define JOBS 1200u
#define COPIES 3u
#define IN_FLIGHT 40u

struct twin {
    struct prng prng;
    struct disk *disk; // the child's
    struct sim_disk meta;
    struct sim_env envs[COPIES]; // used: it is there
    uint32_t lives[COPIES];      // its uuid changes with each
    uint64_t term, job;
};

static struct twin twin;
static struct turn turn; // for sim_disk, which asks it for the base's term
static struct turn_output out;
static struct replica_output replica_out;
static struct raft_entry raft_entries[8];
static uint8_t raft_bytes[8][300], map_bytes[3000];

static uint32_t
draw(uint32_t below)
{
    return (uint32_t)(prng_next(&twin.prng) % below);
}

// ---- raft's jobs ----

static void
draw_entries(uint64_t after)
{
    const uint32_t count = draw(8);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t bytes = draw(300);
        for (uint32_t k = 0; k < bytes; k++)
            raft_bytes[i][k] = (uint8_t)(twin.job + k);
        raft_entries[i] =
            (struct raft_entry){.position = after + 1 + i,
                                .term = twin.term,
                                .kind = draw(2) == 0 ? RAFT_ENTRY_NORMAL : RAFT_ENTRY_CHANGE,
                                .byte_count = bytes,
                                .bytes = raft_bytes[i]};
    }
    out.raft.append = (struct raft_span){.entries = raft_entries, .count = count};
    out.raft.sync |= count > 0;
}

static void
draw_checkpoint(uint64_t position)
{
    static struct raft_group group;
    group = (struct raft_group){.count = 1 + draw(3), .auto_leave = draw(2) == 0};
    for (uint32_t i = 0; i < group.count; i++)
        group.members[i] = (struct raft_member){
            .id = 10 * i + 1 + draw(9),
            .roles = (uint8_t)(group.auto_leave ? RAFT_VOTER | RAFT_OUTGOING : RAFT_VOTER)};
    const uint32_t count = 1 + draw(sizeof map_bytes);
    memset(map_bytes, (int)draw(256), count);
    out.checkpoint = (struct turn_checkpoint){map_bytes, count, position, &group};
}

static void
draw_install(uint64_t last)
{
    static struct raft_msg chunk;
    chunk = (struct raft_msg){.position = last + 1 + draw(5), .log_term = twin.term};
    out.raft.chunk = &chunk;
    out.raft.install = out.raft.sync = true;
    out.raft.hard_state.commit = chunk.position;
    turn.raft.tail.base_term = chunk.log_term;
    draw_checkpoint(chunk.position);
}

static void
meta_job(void)
{
    const struct sim_disk *meta = &twin.meta;
    const uint64_t last = meta->base_position + meta->entry_count, commit = meta->hard_state.commit;
    out = (struct turn_output){.raft_stepped = true};
    out.raft.hard_state = meta->hard_state;
    out.raft.persist_number = twin.job;
    const uint32_t kind = draw(20);
    if (kind == 0) {
        draw_install(last);
    } else if (kind < 4) {
        out.raft.hard_state.term = ++twin.term;
        out.raft.hard_state.vote = draw(3);
        out.raft.sync = true;
    } else if (kind < 8) {
        out.raft.hard_state.commit = commit + draw((uint32_t)(last - commit) + 1);
    } else if (kind < 11 && last > commit) {
        out.raft.truncate_from = commit + 1 + draw((uint32_t)(last - commit));
        out.raft.sync = true;
        draw_entries(out.raft.truncate_from - 1);
    } else if (kind < 13 && commit > meta->base_position) {
        draw_checkpoint(commit);
        if (draw(2) == 0)
            out.raft.compact_through =
                meta->base_position + 1 + draw((uint32_t)(commit - meta->base_position));
    } else {
        draw_entries(last);
    }
    out.raft.hard_state_changed =
        memcmp(&out.raft.hard_state, &meta->hard_state, sizeof meta->hard_state) != 0;
    if (twin.disk != NULL)
        disk_write_meta(twin.disk, &out, notes_loop);
    if (sim_disk_write(&twin.meta, &turn, &out, 0))
        sim_disk_sync(&twin.meta);
}

// ---- copies' ----

static struct cluster_uuid
uuid_of(uint32_t at)
{
    return (struct cluster_uuid){100 + at, twin.lives[at]};
}

static void
make_copy(uint32_t at)
{
    struct copies_env env = {.uuid = {100 + at, twin.job}, .shard = at, .position = twin.job};
    twin.lives[at] = (uint32_t)twin.job;
    sim_env_init(&twin.envs[at], &env, (struct sim_range){0, UINT64_MAX});
    if (twin.disk != NULL)
        disk_make(twin.disk, &env, notes_loop);
}

static void
write_copy(uint32_t at, struct sim_env *env)
{
    replica_out = (struct replica_output){
        .ticket = twin.job, .promised = env->promised + draw(2), .commit_seq = env->commit_seq};
    uint64_t last = env->last_seq;
    replica_out.commit_seq += draw((uint32_t)(last - env->commit_seq) + 1);
    if (last > replica_out.commit_seq && draw(6) == 0) {
        replica_out.truncate = true;
        last = replica_out.truncate_seq =
            replica_out.commit_seq + draw((uint32_t)(last - replica_out.commit_seq));
    }
    replica_out.append = replica_out.entries;
    replica_out.append_count = draw(3) == 0 ? 0 : draw(6);
    for (uint32_t i = 0; i < replica_out.append_count; i++) {
        static uint8_t payloads[6][SIM_PAYLOAD_BYTES];
        payloads[i][0] = (uint8_t)(twin.job + i);
        replica_out.entries[i] =
            (struct replica_entry){.seq = last + 1 + i,
                                   .term = twin.job / 50 + 1,
                                   .stamp_ms = twin.job * 10 + i,
                                   .kind = REPLICA_ENTRY_OP,
                                   .byte_count = draw(SIM_PAYLOAD_BYTES + 1),
                                   .op_id = {draw(2), draw(2) * (twin.job * 10 + i)},
                                   .bytes = payloads[i]};
    }
    if (twin.disk != NULL)
        disk_write_copy(twin.disk, uuid_of(at), &replica_out, notes_loop);
    if (sim_env_write(env, &replica_out))
        sim_env_sync(env);
}

// What is trimmed is applied, and all of its operations are within the window, as sim_env_read has it.
static void
trim_copy(uint32_t at, struct sim_env *env)
{
    const struct disk_trim trim = {
        .through = env->first_seq - 1 + draw((uint32_t)(env->commit_seq + 2 - env->first_seq)),
        .window_ms = UINT64_MAX,
        .ops_max = UINT32_MAX};
    if (twin.disk != NULL)
        disk_trim(twin.disk, uuid_of(at), &trim, notes_loop);
    env->first_seq = trim.through + 1;
    env->applied_seq = trim.through;
}

static void
install_copy(uint32_t at, struct sim_env *env)
{
    struct replica_disk now;
    env->last_seq = env->commit_seq = env->applied_seq = env->last_seq + 1 + draw(9);
    sim_env_reserve(env, env->last_seq);
    for (uint64_t seq = env->first_seq; seq <= env->last_seq; seq++)
        env->rows[seq] = (struct sim_row){.term = twin.job / 50 + 1,
                                          .stamp_ms = twin.job * 10 + 9,
                                          .op_id = {1, seq % 3 == 0 ? seq : 0}};
    env->first_seq = env->last_seq + 1;
    now = sim_env_read(env);
    if (twin.disk != NULL)
        disk_install(twin.disk, uuid_of(at), &now, notes_loop);
    free((void *)(uintptr_t)now.terms);
    free((void *)(uintptr_t)now.ops);
}

static void
copy_job(void)
{
    const uint32_t at = draw(COPIES), kind = draw(30);
    struct sim_env *env = &twin.envs[at];
    if (!env->used) {
        make_copy(at);
    } else if (kind == 0) {
        sim_env_fini(env);
        if (twin.disk != NULL)
            disk_drop(twin.disk, uuid_of(at), notes_loop);
    } else if (kind == 1) {
        install_copy(at, env);
    } else if (kind < 6 && env->commit_seq >= env->first_seq) {
        trim_copy(at, env);
    } else {
        write_copy(at, env);
    }
}

static void
next_job(void)
{
    twin.job++;
    if (draw(3) == 0)
        meta_job();
    else
        copy_job();
}

static void
twin_init(uint64_t seed)
{
    const struct raft_group group = {.count = 1, .members = {{.id = 7, .roles = RAFT_VOTER}}};
    memset(&twin, 0, sizeof twin);
    prng_init(&twin.prng, seed);
    sim_disk_init(&twin.meta, &group);
    twin.term = 1;
}

static void
twin_fini(void)
{
    sim_disk_fini(&twin.meta);
    for (uint32_t i = 0; i < COPIES; i++)
        if (twin.envs[i].used)
            sim_env_fini(&twin.envs[i]);
}

// ---- the child ----

static int said_to;

// At once, so that what is said too early is heard.
static void
say(const struct disk_done *done)
{
    const bool numbered = done->kind == DISK_META_DONE || done->kind == DISK_COPY_DONE;
    if (numbered && write(said_to, &done->number, sizeof done->number) != sizeof done->number)
        _exit(2);
}

static void
child(const char *path, uint64_t seed, int pipe_fd)
{
    const struct raft_group group = {.count = 1, .members = {{.id = 7, .roles = RAFT_VOTER}}};
    const struct disk_identity identity = {.cluster = {1, 2}, .node = {3, 4}, .member = 7};
    said_to = pipe_fd;
    notes_heard = say;
    notes_open();
    twin_init(seed);
    twin.disk = notes_disk(path);
    if (disk_found(twin.disk, &identity, &group, NULL) != OMEN_OK)
        _exit(3);
    uint64_t zero = 0; // ready
    if (write(pipe_fd, &zero, sizeof zero) != (ssize_t)sizeof zero)
        _exit(2);
    for (uint32_t i = 0; i < JOBS; i++) {
        next_job();
        const struct disk_stats stats = disk_stats(twin.disk);
        if (stats.queued > IN_FLIGHT)
            notes_wait(atomic_load(&note_count) + 1);
    }
    disk_close(twin.disk);
    loop_stop(notes_loop);
    _exit(0);
}

// ---- the parent ----

static bool
same_group(const struct raft_group *a, const struct raft_group *b)
{
    if (a->count != b->count || a->auto_leave != b->auto_leave)
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (a->members[i].id != b->members[i].id || a->members[i].roles != b->members[i].roles)
            return false;
    return true;
}

static bool
same_meta(const struct turn_durable *a, const struct turn_durable *b)
{
    if (memcmp(&a->raft.hard_state, &b->raft.hard_state, sizeof a->raft.hard_state) != 0 ||
        a->raft.applied != b->raft.applied || a->raft.base_position != b->raft.base_position ||
        a->raft.base_term != b->raft.base_term || !same_group(&a->raft.group, &b->raft.group) ||
        a->raft.entry_count != b->raft.entry_count || a->map_bytes != b->map_bytes ||
        (a->map_bytes > 0 && memcmp(a->map, b->map, a->map_bytes) != 0))
        return false;
    for (uint32_t i = 0; i < a->raft.entry_count; i++) {
        const struct raft_entry *one = &a->raft.entries[i], *other = &b->raft.entries[i];
        if (one->position != other->position || one->term != other->term ||
            one->kind != other->kind || one->byte_count != other->byte_count ||
            (one->byte_count > 0 && memcmp(one->bytes, other->bytes, one->byte_count) != 0))
            return false;
    }
    return true;
}

static bool
same_copy(const struct replica_disk *a, const struct replica_disk *b)
{
    if (a->promised != b->promised || a->first_seq != b->first_seq || a->last_seq != b->last_seq ||
        a->commit_seq != b->commit_seq || a->applied_seq != b->applied_seq ||
        a->stamp_ms != b->stamp_ms || a->term_count != b->term_count || a->op_count != b->op_count)
        return false;
    for (uint32_t i = 0; i < a->term_count; i++)
        if (a->terms[i].term != b->terms[i].term || a->terms[i].first_seq != b->terms[i].first_seq)
            return false;
    for (uint32_t i = 0; i < a->op_count; i++)
        if (memcmp(&a->ops[i], &b->ops[i], sizeof a->ops[i]) != 0)
            return false;
    return true;
}

static bool
same_entries(struct disk *disk, uint32_t at, const struct sim_env *env)
{
    struct disk_entries entries;
    const uint32_t count = (uint32_t)(env->last_seq + 1 - env->first_seq);
    bool same = disk_read(disk, uuid_of(at), env->first_seq, count + 1, SIZE_MAX, &entries, NULL) ==
                    OMEN_OK &&
                entries.count == count;
    for (uint32_t i = 0; same && i < count; i++) {
        const struct replica_entry *entry = &entries.entries[i];
        const struct sim_row *row = &env->rows[env->first_seq + i];
        same = entry->term == row->term && entry->stamp_ms == row->stamp_ms &&
               (uint32_t)entry->kind == row->kind && entry->byte_count == row->byte_count &&
               entry->op_id.high == row->op_id.high && entry->op_id.low == row->op_id.low &&
               (entry->byte_count == 0 || memcmp(entry->bytes, row->bytes, row->byte_count) == 0);
    }
    disk_entries_fini(&entries);
    return same;
}

struct start {
    uint32_t seen;
    bool same;
};

static void
compare_copy(void *context, const struct disk_copy *copy)
{
    struct start *start = context;
    const uint64_t at = copy->durable.env.uuid.high - 100;
    start->seen++;
    if (copy->status != OMEN_OK || at >= COPIES || !twin.envs[at].used ||
        copy->durable.env.uuid.low != twin.lives[at] ||
        copy->durable.env.position != twin.envs[at].env.position) {
        start->same = false;
        return;
    }
    struct replica_disk found = copy->durable.disk, expected = sim_env_read(&twin.envs[at]);
    start->same = start->same && disk_copy_applied(&found, twin.envs[at].applied_seq) == OMEN_OK &&
                  same_copy(&found, &expected);
    free((void *)(uintptr_t)expected.terms);
    free((void *)(uintptr_t)expected.ops);
}

static bool
same(struct disk *disk, const struct turn_durable *found)
{
    const struct turn_durable expected = sim_disk_read(&twin.meta);
    uint32_t there = 0;
    for (uint32_t i = 0; i < COPIES; i++)
        there += twin.envs[i].used ? 1 : 0;
    struct start start = {.same = true};
    if (!same_meta(found, &expected) ||
        disk_start_copies(disk, compare_copy, &start, NULL) != OMEN_OK || !start.same ||
        start.seen != there)
        return false;
    for (uint32_t i = 0; i < COPIES; i++)
        if (twin.envs[i].used && !same_entries(disk, i, &twin.envs[i]))
            return false;
    return true;
}

// Reads what the child says until it has said `count` things, or has ended; answers the last job that was acknowledged.
static uint64_t
listen_to(int pipe_fd, uint32_t count, uint64_t *acknowledged)
{
    uint64_t job;
    uint32_t heard = 0;
    while (heard < count && read(pipe_fd, &job, sizeof job) == (ssize_t)sizeof job) {
        *acknowledged = job > *acknowledged ? job : *acknowledged;
        heard++;
    }
    return heard;
}

static void
run_and_kill(const char *path, uint64_t seed, uint32_t things, uint64_t *acknowledged)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    const pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        (void)close(ends[0]);
        child(path, seed, ends[1]);
    }
    (void)close(ends[1]);
    *acknowledged = 0;
    ck_assert_uint_ge(listen_to(ends[0], things, acknowledged), 1);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    (void)listen_to(ends[0], UINT32_MAX, acknowledged);
    int how;
    ck_assert_int_eq(waitpid(pid, &how, 0), pid);
    ck_assert(WIFSIGNALED(how) || (WIFEXITED(how) && WEXITSTATUS(how) == 0));
    (void)close(ends[0]);
}

START_TEST(a_killed_process_leaves_what_was_acknowledged)
{
    struct folder folder;
    struct prng prng;
    struct omen_error error = {.text = ""};
    struct turn_durable found;
    uint64_t acknowledged;
    prng_init(&prng, (uint64_t)_i + 77);
    folder_init(&folder);
    const char *path = folder_path(&folder, "log");
    const uint32_t things = 1 + (uint32_t)(prng_next(&prng) % 700);
    run_and_kill(path, (uint64_t)_i, things, &acknowledged);

    twin_init((uint64_t)_i);
    struct disk *disk = notes_disk(path);
    ck_assert_uint_eq(disk_identity(disk).boot, 2);
    const omen_status status = disk_start_meta(disk, &found, &error);
    ck_assert_msg(status == OMEN_OK, "%d: %s", status, error.text);
    bool fits = acknowledged == 0 && same(disk, &found);
    while (!fits && twin.job < JOBS) {
        next_job();
        fits = twin.job >= acknowledged && same(disk, &found);
    }
    ck_assert_msg(fits, "seed %d: it is as behind no job from %llu on", _i,
                  (unsigned long long)acknowledged);
    twin_fini();
    disk_close(disk);
    folder_fini(&folder);
}
END_TEST

static Suite *
kill_suite(void)
{
    Suite *suite = suite_create("node/disk_kill");
    TCase *tcase = tcase_create("kill");
    tcase_add_loop_test(tcase, a_killed_process_leaves_what_was_acknowledged, 0, 16);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(kill_suite)
