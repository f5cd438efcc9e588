// tests/unit/node/test_hosts.c -- data loops of three nodes: writes are everywhere, copies come and go, and who waits is bounded.
//
// Labels: tsan waits
#include <sched.h>
#include <unistd.h>

#include "tests/lib/check_main.h"
#include "tests/lib/hosts_world.h"

// Pairs of key and value, or keys.
static uint64_t
ask_words(uint32_t node, struct wire_part part, const uint64_t *words, uint32_t count)
{
    return hosts_ask_bytes(node, part, (struct wire_bytes){(const uint8_t *)words, 8 * count}, 0);
}

static uint64_t
reply_word(uint64_t asked, uint32_t at)
{
    const struct wire_reply *reply = hosts_reply(asked);
    ck_assert_uint_eq(reply->failure, 0);
    ck_assert_uint_ge(reply->answer_bytes, 8 * (at + 1));
    return model_word(reply->answer, at);
}

static void
three(void)
{
    hosts_world_init(3, 3);
}

static void
down(void)
{
    hosts_world_fini();
}

static bool
has_log(uint32_t at)
{
    bool used = false;
    struct disk *disk = hosts.nodes[at].disk;
    lock_acquire(&disk->lock);
    for (uint32_t i = 0; i < DISK_LOGS_MAX; i++)
        used |= disk->logs[i].used;
    lock_release(&disk->lock);
    return used;
}

START_TEST(a_write_is_acknowledged_and_read_at_each_copy)
{
    hosts_open_shard(3);
    const struct wire_reply *reply = hosts_written(5, 50);
    ck_assert_uint_ge(reply->seq, 2); // behind the begin of the term
    ck_assert_uint_ge(reply->term, 1);
    for (uint32_t node = 1; node <= 3; node++)
        ck_assert_uint_eq(hosts_value(node, 5, reply->seq), 50);
}
END_TEST

static bool
shows(uint32_t node, enum hosts_role role, uint32_t peers, uint64_t lag)
{
    struct hosts_seen *seen = hosts_look(hosts.nodes[node].hosts);
    ck_assert_ptr_nonnull(seen);
    bool shown = seen->count == 1 && seen->copies[0].role == role && seen->copies[0].applied >= 2 &&
                 seen->copies[0].lag == 0 && seen->copies[0].peer_count == peers;
    for (uint32_t i = 0; shown && i < peers; i++)
        shown = seen->copies[0].peers[i].lag == lag;
    shown = shown && seen->copies[0].collection.count > 0;
    hosts_look_end(seen);
    return shown;
}

START_TEST(who_watches_sees_each_copy_with_its_role_and_how_far_it_is)
{
    hosts_open_shard(3);
    (void)hosts_written(5, 50);
    lock_acquire(&hosts.lock);
    const uint32_t primary = shard_replica(hosts_row(), hosts_row()->primary)->node;
    lock_release(&hosts.lock);
    for (uint32_t node = 1; node <= 3; node++)
        HOSTS_WAIT(shows(node, node == primary ? HOSTS_PRIMARY : HOSTS_BACKUP,
                         node == primary ? 2 : 0, 0));
}
END_TEST

START_TEST(an_answer_to_a_write_says_what_came_of_it)
{
    hosts_open_shard(3);
    (void)hosts_written(1, 1);
    const uint64_t words[] = {1, 10, 2, 20, MODEL_FAILS, 0};
    struct wire_part part = hosts_part_to(1, WIRE_PART_WRITE);
    const uint64_t asked = ask_words(1, part, words, 6);
    ck_assert_uint_eq(reply_word(asked, 0), 2);
    ck_assert_uint_eq(reply_word(asked, 1), 1);
}
END_TEST

START_TEST(a_write_that_is_refused_says_why)
{
    hosts_open_shard(3);
    (void)hosts_written(1, 1);
    const struct wire_reply *reply = hosts_reply(hosts_write(1, MODEL_REFUSED, 0));
    ck_assert_int_eq(-(omen_status)reply->failure, OMEN_E_DIMENSION);
    ck_assert_uint_eq(reply->reason_bytes, strlen("row 0: refused"));
    ck_assert_mem_eq(reply->reason, "row 0: refused", reply->reason_bytes);
}
END_TEST

static void
tell_quota(uint64_t memory)
{
    struct command features = command_of(COMMAND_FEATURES);
    struct command command = command_of(COMMAND_COLLECTION_ALTER);
    lock_acquire(&hosts.lock);
    features.features = MAP_FEATURE_LIMITS;
    if (hosts.world.map.features == 0)
        ck_assert_int_eq(world_apply(&hosts.world, &features).status, OMEN_OK);
    command.alter = alter_of(hosts.world.map.collections[0].id, VERSION_ANY, 3, 2);
    command.alter.quotas[QUOTA_MEMORY] = memory;
    ck_assert_int_eq(world_apply(&hosts.world, &command).status, OMEN_OK);
    hosts_tell_all();
    lock_release(&hosts.lock);
}

// What a write is answered, and how, once the copy was measured.
static const struct wire_reply *
measured_write(uint64_t key)
{
    for (;;) {
        const struct wire_reply *reply = hosts_reply(hosts_write(1, key, 1));
        if (reply->failure != (uint32_t)-OMEN_E_BUSY)
            return reply;
    }
}

START_TEST(what_adds_beyond_a_quota_is_refused_and_a_delete_is_not)
{
    hosts_open_shard(3);
    (void)hosts_written(1, 1);
    const uint64_t named[] = {4, 40};
    struct wire_part repeated = hosts_part_to(1, WIRE_PART_WRITE);
    hosts_name(&repeated, 77);
    ck_assert_int_eq(hosts_reply_status(ask_words(1, repeated, named, 2)), OMEN_OK);
    atomic_store(&model_memory_bytes, 1000);
    tell_quota(1000);
    const struct wire_reply *reply = measured_write(2);
    ck_assert_int_eq(-(omen_status)reply->failure, OMEN_E_QUOTA);
    static const char says[] = "memory_quota of the collection 'docs' is 1000 bytes";
    ck_assert_uint_gt(reply->reason_bytes, sizeof says);
    ck_assert_mem_eq(reply->reason, says, sizeof says - 1);
    // What was done before is told as before.
    ck_assert_int_eq(hosts_reply_status(ask_words(1, repeated, named, 2)), OMEN_OK);
    struct wire_part part = hosts_part_to(1, WIRE_PART_WRITE);
    part.method = METHOD_POINT_DELETE;
    const uint64_t words[] = {1, 2};
    ck_assert_int_eq(hosts_reply_status(ask_words(1, part, words, 2)), OMEN_OK);
    tell_quota(100000);
    ck_assert_int_eq(-(omen_status)measured_write(3)->failure, OMEN_OK);
    atomic_store(&model_memory_bytes, 0);
}
END_TEST

START_TEST(an_operation_sent_twice_is_done_once)
{
    hosts_open_shard(3);
    (void)hosts_written(1, 1);
    const uint64_t words[] = {4, 40};
    struct wire_part part = hosts_part_to(1, WIRE_PART_WRITE);
    hosts_name(&part, 77);
    const uint64_t first = ask_words(1, part, words, 2);
    const uint64_t seq = hosts_reply(first)->seq;
    const uint64_t second = ask_words(1, part, words, 2);
    ck_assert_uint_eq(hosts_reply(second)->seq, seq);
    ck_assert_uint_eq(reply_word(second, 0), 1); // what came of it the first time
}
END_TEST

// Refused as a whole, also where it is several entries, of which only the last has its name.
START_TEST(an_operation_that_could_not_be_remembered_is_refused_in_words_and_not_done)
{
    static const struct {
        uint64_t ahead_ms;
        uint64_t flip; // of the id
        const char *says;
    } cases[] = {{400000, 0, "ahead of the clock of shard"},
                 {0, 0x3000, "op_id is no UUIDv7: version 4"}};
    hosts_open_shard(3);
    const uint64_t seq = hosts_written(1, 1)->seq;
    for (uint32_t i = 0; i < 4; i++) {
        const uint64_t words[] = {i % 2 == 0 ? 4 : MODEL_SEVERAL, 40};
        struct wire_part part = hosts_part_to(1, WIRE_PART_WRITE);
        const uint64_t drawn_ms = os_ms_since_1970() + cases[i / 2].ahead_ms;
        const struct opid id = opid_draw(drawn_ms, (struct opid){0, i});
        part.op_high = id.high ^ cases[i / 2].flip;
        part.op_low = id.low;
        const struct wire_reply *reply = hosts_reply(ask_words(1, part, words, 2));
        ck_assert_int_eq(-(omen_status)reply->failure, OMEN_E_INVALID);
        char reason[WIRE_REASON_BYTES_MAX + 1];
        snprintf(reason, sizeof reason, "%.*s", (int)reply->reason_bytes, reply->reason);
        ck_assert_msg(strstr(reason, cases[i / 2].says) != NULL, "says '%s'", reason);
    }
    ck_assert_uint_eq(hosts_written(1, 1)->seq, seq + 1);
}
END_TEST

START_TEST(a_write_of_several_entries_is_answered_when_the_last_is_done)
{
    hosts_open_shard(3);
    const uint64_t before = hosts_written(9, 1)->seq;
    const uint64_t words[] = {MODEL_SEVERAL, 33};
    struct wire_part part = hosts_part_to(1, WIRE_PART_WRITE);
    hosts_name(&part, 88);
    const uint64_t asked = ask_words(1, part, words, 2);
    ck_assert_uint_eq(reply_word(asked, 0), 3); // rows of all of them
    ck_assert_uint_eq(hosts_reply(asked)->seq, before + 3);
    for (uint64_t key = 0; key < 3; key++)
        ck_assert_uint_eq(hosts_value(2, key, before + 3), 33);
    const uint64_t again = ask_words(1, part, words, 2); // the last one is known, and only that one
    ck_assert_int_eq(hosts_reply_status(again), OMEN_OK);
    ck_assert_uint_eq(hosts_reply(again)->seq, before + 3);
}
END_TEST

START_TEST(a_write_of_which_a_part_is_done_is_of_unknown_outcome)
{
    hosts_open_shard(3);
    (void)hosts_written(9, 1);
    const struct cluster_uuid copy = world_replica(&hosts.world, hosts.shard, 1);
    const uint64_t words[] = {MODEL_SEVERAL, 33};
    atomic_store(&model_gate, 1);
    const uint64_t asked = ask_words(1, hosts_part_to(1, WIRE_PART_WRITE), words, 2);
    HOSTS_WAIT(atomic_load(&model_waiting) == 1);
    model_let_one_pass();
    HOSTS_WAIT(atomic_load(&model_waiting) == 1 && atomic_load(&model_passed) == 1);
    ck_assert_int_eq(hosts_map_step((struct shard_step){.kind = STEP_LOST, .replica = copy}),
                     OMEN_OK);
    HOSTS_WAIT(!has_log(1));
    model_open_gate();
    ck_assert_int_eq(hosts_reply_status(asked), OMEN_E_TIMEOUT);
}
END_TEST

START_TEST(what_came_of_an_operation_is_known_to_the_next_primary)
{
    hosts_open_shard(3);
    (void)hosts_written(1, 1);
    const uint64_t words[] = {1, 10, 2, 20, MODEL_FAILS, 0};
    struct wire_part part = hosts_part_to(1, WIRE_PART_WRITE);
    hosts_name(&part, 78);
    const uint64_t seq = hosts_reply(ask_words(1, part, words, 6))->seq;
    hosts_node_stop(1);
    const struct cluster_uuid second = world_replica(&hosts.world, hosts.shard, 2);
    ck_assert_int_eq(hosts_map_step((struct shard_step){.kind = STEP_PROMOTE, .replica = second}),
                     OMEN_OK);
    (void)hosts_written(60, 61);
    part = hosts_part_to(2, WIRE_PART_WRITE);
    hosts_name(&part, 78);
    const uint64_t again = ask_words(2, part, words, 6);
    ck_assert_uint_eq(hosts_reply(again)->seq, seq);
    ck_assert_uint_eq(reply_word(again, 0), 2);
    ck_assert_uint_eq(reply_word(again, 1), 1);
}
END_TEST

START_TEST(many_writes_at_once_are_all_done)
{
    uint64_t asked[500];
    hosts_open_shard(3);
    uint64_t last = hosts_written(0, 1)->seq;
    for (uint64_t i = 0; i < 500; i++)
        asked[i] = hosts_write(1, i % 100, i);
    for (uint32_t i = 0; i < 500; i++) {
        ck_assert_int_eq(hosts_reply_status(asked[i]), OMEN_OK);
        last = hosts_reply(asked[i])->seq > last ? hosts_reply(asked[i])->seq : last;
    }
    for (uint32_t node = 2; node <= 3; node++)
        for (uint64_t key = 0; key < 100; key++)
            ck_assert_uint_eq(hosts_value(node, key, last), hosts_value(1, key, last));
}
END_TEST

// 0: under the lease; 1: everybody is asked.
START_TEST(a_strong_read_sees_what_was_acknowledged)
{
    hosts.leases = _i == 0;
    hosts_open_shard(3);
    for (uint64_t i = 1; i <= 20; i++) {
        (void)hosts_written(9, i);
        const uint64_t asked = hosts_read(1, 9, WIRE_STRONG);
        ck_assert_uint_eq(reply_word(asked, 0), i);
        ck_assert_uint_ge(hosts_reply(asked)->seq, i + 1);
    }
    ck_assert_int_eq(hosts_reply_status(hosts_read(2, 9, WIRE_STRONG)), OMEN_E_STALE_MAP);
}
END_TEST

static uint64_t
ask_after(uint32_t node, uint64_t seq)
{
    struct wire_part part = hosts_part_to(node, WIRE_PART_GET);
    part.consistency = WIRE_SESSION;
    part.after_term = 3;
    part.after_seq = seq;
    return hosts_read_with(node, part, 9);
}

START_TEST(a_token_ahead_of_all_that_was_acknowledged_is_refused_by_the_primary_by_name)
{
    hosts.leases = _i == 0;
    hosts_open_shard(3);
    const uint64_t seq = hosts_written(9, 1)->seq;
    ck_assert_uint_eq(hosts_value(1, 9, seq), 1);
    const uint64_t aheads[] = {seq + 1, seq + 1000000, WIRE_STATE_MAX};
    for (size_t i = 0; i < sizeof aheads / sizeof *aheads; i++) {
        const uint64_t asked = ask_after(1, aheads[i]);
        char words[96];
        (void)snprintf(words, sizeof words, "has no state [3, %llu]; it is at [1, %llu]",
                       (unsigned long long)aheads[i], (unsigned long long)seq);
        ck_assert_int_eq(hosts_reply_status(asked), OMEN_E_INVALID);
        const struct wire_reply *reply = hosts_reply(asked);
        ck_assert_ptr_nonnull(memmem(reply->reason, reply->reason_bytes, words, strlen(words)));
        ck_assert_int_eq(hosts_reply_status(ask_after(2, aheads[i])), OMEN_E_BUSY);
    }
    const uint64_t next = hosts_written(9, 2)->seq; // the shard goes on, and then has it
    ck_assert_uint_eq(next, seq + 1);
    ck_assert_uint_eq(hosts_value(1, 9, next), 2);
}
END_TEST

START_TEST(a_strong_read_at_a_worker_is_refused_at_once_by_who_leads_no_longer)
{
    hosts_open_shard(3);
    const uint64_t seq = hosts_written(9, 1)->seq;
    const struct cluster_uuid second = world_replica(&hosts.world, hosts.shard, 2);
    atomic_store(&model_gate, 1);
    const uint64_t asked = hosts_read(1, 9, WIRE_STRONG);
    HOSTS_WAIT(atomic_load(&model_waiting) == 1);
    ck_assert_int_eq(hosts_map_step((struct shard_step){.kind = STEP_PROMOTE, .replica = second}),
                     OMEN_OK);
    ck_assert_int_eq(hosts_reply_status(asked), OMEN_E_STALE_MAP);
    ck_assert_uint_eq(atomic_load(&model_waiting), 1); // the worker has it still
    model_open_gate();
    ck_assert_uint_eq(hosts_value(1, 9, seq), 1);
    ck_assert_uint_eq(hosts_value(2, 9, seq), 1);
}
END_TEST

START_TEST(a_primary_that_crashed_comes_back_as_a_copy)
{
    hosts_open_shard(3);
    for (uint64_t i = 0; i < 50; i++)
        (void)hosts_written(i, i + 1);
    atomic_store(&model_crash, 1);
    hosts_node_stop(1);
    atomic_store(&model_crash, 0);
    hosts_node_start(1);
    const struct cluster_uuid second = world_replica(&hosts.world, hosts.shard, 2);
    ck_assert_int_eq(hosts_map_step((struct shard_step){.kind = STEP_PROMOTE, .replica = second}),
                     OMEN_OK);
    const uint64_t seq = hosts_written(60, 61)->seq;
    HOSTS_WAIT(hosts_in_sync() == 3);
    for (uint64_t i = 0; i < 50; i++)
        ck_assert_uint_eq(hosts_value(1, i, seq), i + 1);
    ck_assert_uint_eq(hosts_value(1, 60, seq), 61);
}
END_TEST

START_TEST(a_learner_is_filled_from_the_log)
{
    uint64_t last = 0;
    hosts_open_shard(2);
    for (uint64_t i = 0; i < 200; i++)
        last = hosts_written(i, i + 1)->seq;
    hosts_assign(3);
    HOSTS_WAIT(hosts_in_sync() == 3);
    for (uint64_t i = 0; i < 200; i++)
        ck_assert_uint_eq(hosts_value(3, i, last), i + 1);
    ck_assert_uint_eq(hosts.nodes[3].disk->installs, 0);
}
END_TEST

static bool
was_trimmed(uint32_t at)
{
    struct disk *disk = hosts.nodes[at].disk;
    lock_acquire(&disk->lock);
    const bool trimmed = disk->trims > 0;
    lock_release(&disk->lock);
    return trimmed;
}

static uint64_t
write_many(uint64_t count)
{
    static uint64_t asked[HOSTS_REPLIES_MAX];
    uint64_t last = hosts_written(0, 1)->seq;
    for (uint64_t i = 1; i < count; i++) {
        if (i > 300) // not more than may wait
            (void)hosts_reply(asked[i - 300]);
        asked[i] = hosts_write(1, i % 400, i);
    }
    for (uint64_t i = 1; i < count; i++) {
        ck_assert_int_eq(hosts_reply_status(asked[i]), OMEN_OK);
        last = hosts_reply(asked[i])->seq > last ? hosts_reply(asked[i])->seq : last;
    }
    return last;
}

START_TEST(a_learner_is_filled_by_a_snapshot_where_the_log_begins_later)
{
    hosts_open_shard(2);
    const uint64_t words[] = {450, 7};
    (void)hosts_written(0, 1);
    struct wire_part part = hosts_part_to(1, WIRE_PART_WRITE);
    hosts_name(&part, 7777777);
    const uint64_t seq = hosts_reply(ask_words(1, part, words, 2))->seq;
    const uint64_t last = write_many(1500);
    HOSTS_WAIT(was_trimmed(1));
    hosts_assign(3);
    HOSTS_WAIT(hosts_in_sync() == 3);
    ck_assert_uint_eq(hosts.nodes[3].disk->installs, 1);
    for (uint64_t key = 0; key < 400; key++)
        ck_assert_uint_eq(hosts_value(3, key, last), hosts_value(1, key, last));
    // It knows what was done before it came: as primary it does it no second time.
    const struct cluster_uuid third = world_replica(&hosts.world, hosts.shard, 3);
    ck_assert_int_eq(hosts_map_step((struct shard_step){.kind = STEP_PREFER, .replica = third}),
                     OMEN_OK);
    HOSTS_WAIT(uuid_equal(hosts_row()->primary, third));
    (void)hosts_written(451, 8);
    part = hosts_part_to(3, WIRE_PART_WRITE);
    hosts_name(&part, 7777777);
    const uint64_t again = ask_words(3, part, words, 2);
    ck_assert_int_eq(hosts_reply_status(again), OMEN_OK);
    ck_assert_uint_eq(hosts_reply(again)->seq, seq);
}
END_TEST

// ---- copies that go ----

static const char *
shard_path(uint32_t at, struct cluster_uuid copy)
{
    static char path[400];
    (void)snprintf(path, sizeof path, "%s/shards/%016llx%016llx", hosts.nodes[at].folder.path,
                   (unsigned long long)copy.high, (unsigned long long)copy.low);
    return path;
}

START_TEST(a_copy_that_is_dropped_under_load_waits_for_who_reads_it)
{
    uint64_t asked[40];
    hosts_open_shard(3);
    const uint64_t seq = hosts_written(5, 50)->seq;
    ck_assert_uint_eq(hosts_value(3, 5, seq), 50);
    const struct cluster_uuid copy = world_replica(&hosts.world, hosts.shard, 3);
    atomic_store(&model_gate, 1);
    for (uint32_t i = 0; i < 40; i++)
        asked[i] = hosts_read(3, 5, WIRE_ANY);
    HOSTS_WAIT(atomic_load(&model_waiting) > 0);
    ck_assert_int_eq(hosts_map_step((struct shard_step){.kind = STEP_LOST, .replica = copy}),
                     OMEN_OK);
    HOSTS_WAIT(!has_log(3));
    ck_assert_int_eq(access(shard_path(3, copy), F_OK), 0); // somebody reads it
    model_open_gate();
    for (uint32_t i = 0; i < 40; i++)
        ck_assert_int_eq(hosts_reply_status(asked[i]), OMEN_E_STALE_MAP);
    while (access(shard_path(3, copy), F_OK) == 0)
        continue;
    (void)hosts_written(6, 60);
}
END_TEST

// Whether nobody hears it, nor it anybody.
static void
cut(uint32_t at, bool is)
{
    lock_acquire(&hosts.bus_lock);
    hosts.nodes[at].cut = is;
    lock_release(&hosts.bus_lock);
}

static bool
shows_no_shard(uint32_t at)
{
    struct hosts_seen *seen = hosts_look(hosts.nodes[at].hosts);
    const bool shown = seen->count == 1 && seen->copies[0].role == HOSTS_MAKING;
    hosts_look_end(seen);
    return shown;
}

START_TEST(a_copy_that_goes_while_a_snapshot_waits_for_who_reads_it_is_not_closed_under_him)
{
    hosts.threads = 4; // one looks, and others read the snapshot and take it in
    for (uint32_t node = 1; node <= 3; node++) {
        hosts_node_stop(node);
        hosts_node_start(node);
    }
    hosts_open_shard(2);
    (void)write_many(1500);
    HOSTS_WAIT(was_trimmed(1));
    cut(3, true);
    hosts_assign(3);
    HOSTS_WAIT(has_log(3));
    atomic_store(&model_look_gate, 1);
    HOSTS_WAIT(atomic_load(&model_looking) == 3); // one at each node
    cut(3, false);
    while (!shows_no_shard(3)) // it is to be exchanged
        sched_yield();
    const struct cluster_uuid copy = world_replica(&hosts.world, hosts.shard, 3);
    ck_assert_int_eq(hosts_map_step((struct shard_step){.kind = STEP_LOST, .replica = copy}),
                     OMEN_OK);
    HOSTS_WAIT(!has_log(3));
    ck_assert_uint_eq(atomic_load(&model_opened), 3);
    model_open_look_gate();
    HOSTS_WAIT(atomic_load(&model_opened) == 2);
}
END_TEST

START_TEST(writes_of_a_copy_that_goes_are_of_unknown_outcome)
{
    hosts_open_shard(3);
    (void)hosts_written(5, 50);
    const struct cluster_uuid copy = world_replica(&hosts.world, hosts.shard, 1);
    disk_hold(hosts.nodes[1].disk);
    const uint64_t in_log = hosts_write(1, 6, 60);
    HOSTS_WAIT(disk_notes_held(hosts.nodes[1].disk) > 0);
    const uint64_t ready = hosts_write(1, 7, 70);
    ck_assert_int_eq(hosts_map_step((struct shard_step){.kind = STEP_LOST, .replica = copy}),
                     OMEN_OK);
    ck_assert_int_eq(hosts_reply_status(in_log), OMEN_E_TIMEOUT);
    ck_assert_int_eq(hosts_reply_status(ready), OMEN_E_STALE_MAP);
}
END_TEST

START_TEST(a_shard_that_does_not_open_is_reported_and_made_anew)
{
    char name[600];
    hosts_open_shard(3);
    (void)hosts_written(5, 50);
    const struct cluster_uuid copy = world_replica(&hosts.world, hosts.shard, 3);
    hosts_node_stop(3);
    model_file_name(shard_path(3, copy), name);
    ck_assert_int_eq(remove(name), 0);
    hosts_node_start(3);
    HOSTS_WAIT(shard_replica(hosts_row(), copy) == NULL);
    HOSTS_WAIT(!has_log(3));
    const uint64_t seq = hosts_written(6, 60)->seq;
    hosts_assign(3);
    HOSTS_WAIT(hosts_in_sync() == 3);
    ck_assert_uint_eq(hosts_value(3, 5, seq), 50);
}
END_TEST

START_TEST(a_shard_that_somebody_else_has_open_is_not_reported_as_lost)
{
    struct hosts *opened;
    struct omen_error error;
    hosts_open_shard(3);
    (void)hosts_written(5, 50);
    hosts_node_stop(3);
    struct hosts_node *node = &hosts.nodes[3];
    const struct hosts_config config = {.node = hosts_uuid(3),
                                        .boot = 2,
                                        .folder = node->folder.path,
                                        .threads = 2,
                                        .disk = node->disk,
                                        .bus = &node->bus,
                                        .meta = &node->meta,
                                        .context = node,
                                        .halt = hosts_halted};
    atomic_store(&model_lost, (uint32_t)-OMEN_E_LOCKED);
    ck_assert_int_eq(hosts_open(&config, &opened, &error), OMEN_E_LOCKED);
    ck_assert_ptr_null(opened);
    atomic_store(&model_lost, 0);
    hosts_node_start(3);
    const uint64_t seq = hosts_written(6, 60)->seq;
    HOSTS_WAIT(hosts_in_sync() == 3);
    ck_assert_uint_eq(hosts_value(3, 6, seq), 60);
}
END_TEST

START_TEST(a_copy_with_rotten_bytes_answers_nothing_more_and_goes)
{
    hosts_open_shard(3);
    const uint64_t seq = hosts_written(5, 50)->seq;
    ck_assert_uint_eq(hosts_value(3, 5, seq), 50);
    const struct cluster_uuid copy = world_replica(&hosts.world, hosts.shard, 3);
    ck_assert_int_eq(hosts_reply_status(hosts_read(3, MODEL_ROTTEN, WIRE_ANY)), OMEN_E_CORRUPT);
    HOSTS_WAIT(shard_replica(hosts_row(), copy) == NULL);
    HOSTS_WAIT(!has_log(3));
    (void)hosts_written(6, 60);
}
END_TEST

START_TEST(a_shard_whose_two_copies_differ_stops_until_an_operator_names_the_right_one)
{
    hosts_open_shard(2);
    (void)hosts_written(5, 50);
    ck_assert_int_eq(hosts_reply_status(hosts_write(1, MODEL_DIFFERS, 0)), OMEN_OK);
    (void)write_many(1500);
    HOSTS_WAIT(was_trimmed(1) &&
               was_trimmed(2)); // or the log would be applied anew, and differ anew
    hosts_assign(3);            // wants a snapshot: those in sync compare what they hold
    uint64_t asked = hosts_write(1, 6, 60);
    while (hosts_reply_status(asked) != OMEN_E_READ_ONLY) {
        const omen_status status = hosts_reply_status(asked);
        ck_assert(status == OMEN_OK || status == OMEN_E_BUSY || status == OMEN_E_STALE_MAP);
        asked = hosts_write(1, 6, 60);
    }
    const struct wire_reply *said = hosts_reply(asked);
    ck_assert_uint_gt(said->reason_bytes, 0);
    ck_assert_ptr_nonnull(memmem(said->reason, said->reason_bytes, "its copies differ", 17));
    ck_assert_int_ne(hosts_reply_status(hosts_read(1, 5, WIRE_STRONG)), OMEN_OK);

    const struct cluster_uuid right = world_replica(&hosts.world, hosts.shard, 2);
    ck_assert_int_eq(hosts_map_step((struct shard_step){.kind = STEP_FORCE, .replica = right}),
                     OMEN_OK);
    HOSTS_WAIT(uuid_equal(hosts_row()->primary, right));
    hosts_assign(1); // anew: nothing of what it had is taken over
    hosts_assign(3);
    HOSTS_WAIT(hosts_in_sync() == 3);
    const uint64_t seq = hosts_written(7, 70)->seq;
    for (uint32_t node = 1; node <= 3; node++) {
        ck_assert_uint_eq(hosts_value(node, 7, seq), 70);
        ck_assert_uint_eq(hosts_value(node, MODEL_KEYS - 1, seq),
                          hosts_value(2, MODEL_KEYS - 1, seq));
    }
}
END_TEST

// ---- who is refused ----

START_TEST(a_part_by_another_map_is_refused)
{
    const uint64_t key = 5;
    hosts_open_shard(3);
    (void)hosts_written(5, 50);
    struct wire_part part = hosts_part_to(1, WIRE_PART_GET);
    if (_i == 0)
        part.cfg_ver--;
    else if (_i == 1)
        part.term++;
    else if (_i == 2)
        part.copy_low++;
    else
        part.shard++;
    ck_assert_int_eq(hosts_reply_status(ask_words(1, part, &key, 1)), OMEN_E_STALE_MAP);
}
END_TEST

START_TEST(a_backup_takes_no_write)
{
    hosts_open_shard(3);
    (void)hosts_written(5, 50);
    ck_assert_int_eq(hosts_reply_status(hosts_write(2, 5, 51)), OMEN_E_STALE_MAP);
}
END_TEST

// 0: reads that wait for workers; 1: writes that wait for the disk.
START_TEST(who_waits_at_a_copy_is_bounded)
{
    static uint64_t asked[REPLICA_WAITS_MAX];
    hosts_open_shard(3);
    const uint64_t seq = hosts_written(5, 50)->seq;
    ck_assert_uint_eq(hosts_value(2, 5, seq), 50);
    const uint32_t node = _i == 0 ? 2 : 1;
    if (_i == 0)
        atomic_store(&model_gate, 1);
    else
        disk_hold(hosts.nodes[1].disk);
    for (uint32_t i = 0; i < REPLICA_WAITS_MAX; i++)
        asked[i] = _i == 0 ? hosts_read(2, 5, WIRE_ANY) : hosts_write(1, i % 100, i);
    const uint64_t beyond = _i == 0 ? hosts_read(2, 5, WIRE_ANY) : hosts_write(1, 5, 50);
    ck_assert_int_eq(hosts_reply_status(beyond), OMEN_E_BUSY);
    model_open_gate();
    disk_let_go(hosts.nodes[node].disk);
    for (uint32_t i = 0; i < REPLICA_WAITS_MAX; i++)
        ck_assert_int_eq(hosts_reply_status(asked[i]), OMEN_OK);
    ck_assert_uint_eq(hosts_value(2, 5, seq) != 0, 1); // there is room again
}
END_TEST

START_TEST(the_bytes_that_wait_are_bounded)
{
    static uint64_t words[1 << 15]; // a quarter of the most
    hosts_open_shard(3);
    (void)hosts_written(5, 50);
    atomic_store(&model_gate, 1);
    for (uint32_t i = 0; i < 4; i++) {
        const uint64_t asked = ask_words(1, hosts_part_to(1, WIRE_PART_WRITE), words, 1 << 15);
        if (i < 3)
            continue; // and some bytes of its head are too many
        ck_assert_int_eq(hosts_reply_status(asked), OMEN_E_BUSY);
        model_open_gate();
        for (uint64_t before = asked - 3; before < asked; before++)
            ck_assert_int_eq(hosts_reply_status(before), OMEN_OK);
    }
}
END_TEST

START_TEST(what_is_cancelled_before_it_began_is_not_done)
{
    hosts_open_shard(3);
    const uint64_t before = hosts_written(5, 50)->seq;
    atomic_store(&model_gate, 1);
    const uint64_t first = hosts_read(1, 5, WIRE_ANY); // one worker is for others
    HOSTS_WAIT(atomic_load(&model_waiting) == 1);
    const uint64_t cancelled = hosts_write(1, 5, 51);
    hosts_cancel_part(1, cancelled);
    const uint64_t last = hosts_write(1, 6, 60);
    model_open_gate();
    ck_assert_int_eq(hosts_reply_status(first), OMEN_OK);
    ck_assert_uint_eq(hosts_reply(last)->seq, before + 1);
    ck_assert_uint_eq(hosts_value(1, 5, before + 1), 50);
    ck_assert(!hosts_has_reply(cancelled));
}
END_TEST

START_TEST(what_is_late_before_it_began_is_not_done)
{
    hosts_open_shard(3);
    const uint64_t before = hosts_written(5, 50)->seq;
    const uint64_t words[] = {5, 51};
    atomic_store(&model_gate, 1);
    const uint64_t first = hosts_read(1, 5, WIRE_ANY);
    HOSTS_WAIT(atomic_load(&model_waiting) == 1);
    const uint64_t late = hosts_ask_bytes(1, hosts_part_to(1, WIRE_PART_WRITE),
                                          (struct wire_bytes){(const uint8_t *)words, 16}, 1);
    const uint64_t last = hosts_write(1, 6, 60);
    const uint64_t until_ns = os_clock_ns() + 50000000;
    while (os_clock_ns() < until_ns)
        continue;
    model_open_gate();
    ck_assert_int_eq(hosts_reply_status(first), OMEN_OK);
    ck_assert_int_eq(hosts_reply_status(late), OMEN_E_BUSY);
    ck_assert_uint_eq(hosts_reply(last)->seq, before + 1);
}
END_TEST

START_TEST(bytes_that_are_no_message_are_dropped)
{
    hosts_open_shard(3);
    const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7};
    const uint8_t kinds[] = {PEER_REPLICA, PEER_PART, PEER_PING, PEER_REPLY, PEER_MAP};
    for (uint32_t i = 0; i < sizeof kinds; i++) {
        const struct peer_head head = {.kind = kinds[i], .lane = PEER_BULK, .correlation = 1};
        hosts_frame_to(1, &head, (struct wire_bytes){bytes, sizeof bytes});
    }
    (void)hosts_written(5, 50);
    struct hosts *stopped = hosts.nodes[1].hosts;
    hosts_stop(stopped);
    ck_assert_uint_eq(hosts_stats(stopped).bad_frames, 5);
}
END_TEST

static Suite *
hosts_suite(void)
{
    Suite *suite = suite_create("node/hosts");
    TCase *tcase = tcase_create("hosts");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, three, down);
    tcase_add_test(tcase, a_write_is_acknowledged_and_read_at_each_copy);
    tcase_add_test(tcase, who_watches_sees_each_copy_with_its_role_and_how_far_it_is);
    tcase_add_test(tcase, an_answer_to_a_write_says_what_came_of_it);
    tcase_add_test(tcase, a_write_that_is_refused_says_why);
    tcase_add_test(tcase, what_adds_beyond_a_quota_is_refused_and_a_delete_is_not);
    tcase_add_test(tcase, an_operation_sent_twice_is_done_once);
    tcase_add_test(tcase,
                   an_operation_that_could_not_be_remembered_is_refused_in_words_and_not_done);
    tcase_add_test(tcase, a_write_of_several_entries_is_answered_when_the_last_is_done);
    tcase_add_test(tcase, a_write_of_which_a_part_is_done_is_of_unknown_outcome);
    tcase_add_test(tcase, what_came_of_an_operation_is_known_to_the_next_primary);
    tcase_add_test(tcase, many_writes_at_once_are_all_done);
    tcase_add_loop_test(tcase, a_strong_read_sees_what_was_acknowledged, 0, 2);
    tcase_add_loop_test(
        tcase, a_token_ahead_of_all_that_was_acknowledged_is_refused_by_the_primary_by_name, 0, 2);
    tcase_add_test(tcase, a_strong_read_at_a_worker_is_refused_at_once_by_who_leads_no_longer);
    tcase_add_test(tcase, a_primary_that_crashed_comes_back_as_a_copy);
    tcase_add_test(tcase, a_learner_is_filled_from_the_log);
    tcase_add_test(tcase, a_learner_is_filled_by_a_snapshot_where_the_log_begins_later);
    tcase_add_test(tcase, a_copy_that_is_dropped_under_load_waits_for_who_reads_it);
    tcase_add_test(
        tcase, a_copy_that_goes_while_a_snapshot_waits_for_who_reads_it_is_not_closed_under_him);
    tcase_add_test(tcase, writes_of_a_copy_that_goes_are_of_unknown_outcome);
    tcase_add_test(tcase, a_shard_that_does_not_open_is_reported_and_made_anew);
    tcase_add_test(tcase, a_shard_that_somebody_else_has_open_is_not_reported_as_lost);
    tcase_add_test(tcase, a_copy_with_rotten_bytes_answers_nothing_more_and_goes);
    tcase_add_test(tcase,
                   a_shard_whose_two_copies_differ_stops_until_an_operator_names_the_right_one);
    tcase_add_loop_test(tcase, a_part_by_another_map_is_refused, 0, 4);
    tcase_add_test(tcase, a_backup_takes_no_write);
    tcase_add_loop_test(tcase, who_waits_at_a_copy_is_bounded, 0, 2);
    tcase_add_test(tcase, the_bytes_that_wait_are_bounded);
    tcase_add_test(tcase, what_is_cancelled_before_it_began_is_not_done);
    tcase_add_test(tcase, what_is_late_before_it_began_is_not_done);
    tcase_add_test(tcase, bytes_that_are_no_message_are_dropped);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(hosts_suite)
