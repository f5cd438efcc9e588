// tests/unit/node/test_hosts_reserve.c -- a primary refuses what adds while its disk is low, or that of another copy in sync, and nothing else.
//
// Labels: tsan waits
#include <sys/statvfs.h>

#include "node/turn_said.h"
#include "tests/lib/check_main.h"
#include "tests/lib/hosts_world.h"

#define MIB (UINT64_C(1) << 20)
#define DISK (1000 * MIB)

static _Atomic uint64_t available; // of every node's disk

// In the place of libc's.
int
statvfs(const char *restrict path, struct statvfs *restrict out)
{
    (void)path;
    *out = (struct statvfs){.f_frsize = 1, .f_blocks = DISK, .f_bavail = atomic_load(&available)};
    return 0;
}

static void
three(void)
{
    hosts_reserve_percent = 5;
    atomic_store(&available, DISK);
    hosts_world_init(3, 3);
    hosts_open_shard(3);
}

static void
down(void)
{
    hosts_world_fini();
}

static uint32_t
primary(void)
{
    lock_acquire(&hosts.lock);
    const uint32_t node = shard_replica(hosts_row(), hosts_row()->primary)->node;
    lock_release(&hosts.lock);
    return node;
}

static uint64_t
ask(struct wire_part part, uint64_t key, uint64_t value)
{
    const uint64_t words[] = {key, value};
    return hosts_ask_bytes(primary(), part,
                           (struct wire_bytes){(const uint8_t *)words, sizeof words}, 0);
}

static uint64_t
write_by(enum method_number method, uint64_t key)
{
    struct wire_part part = hosts_part_to(primary(), WIRE_PART_WRITE);
    part.method = (uint8_t)method;
    return ask(part, key, 1);
}

static void
claim_refused(uint64_t asked, const char *why)
{
    const struct wire_reply *reply = hosts_reply(asked);
    ck_assert_int_eq(-(omen_status)reply->failure, OMEN_E_DISK_FULL);
    ck_assert_uint_eq(reply->reason_bytes, strlen(why));
    ck_assert_mem_eq(reply->reason, why, reply->reason_bytes);
}

// The loop looks once a second.
static void
write_until(omen_status wanted)
{
    omen_status status;
    do
        status = hosts_reply_status(write_by(METHOD_POINT_UPSERT, 7));
    while (status != wanted);
}

// ---- its own disk ----

START_TEST(a_low_disk_takes_no_more_until_there_is_room_and_deletes_and_reads_go_on)
{
    const uint64_t seq = hosts_written(5, 50)->seq;
    const uint32_t node = primary();
    atomic_store(&available, 50 * MIB); // the reserve, and no less
    write_until(OMEN_OK);
    atomic_store(&available, 50 * MIB - 1);
    write_until(OMEN_E_DISK_FULL);
    HOSTS_WAIT(hosts.nodes[node].disk_low);
    static const enum method_number adding[] = {METHOD_POINT_UPSERT, METHOD_POINT_PATCH,
                                                METHOD_COLLECTION_INDEX_FIELD};
    char why[256];
    snprintf(why, sizeof why,
             "the disk of node node-%u has 49 MiB left, less than its reserve of 50 MiB "
             "(--disk-reserve): deletes go on, what adds is refused",
             node);
    for (uint32_t i = 0; i < 3; i++)
        claim_refused(write_by(adding[i], 6), why);
    ck_assert_int_eq(hosts_reply_status(write_by(METHOD_POINT_DELETE, 5)), OMEN_OK);
    ck_assert_int_eq(hosts_reply_status(write_by(METHOD_COLLECTION_DROP_FIELD, 5)), OMEN_OK);
    ck_assert_uint_eq(hosts_value(node, 5, seq), 1); // as the model has it: they were applied
    atomic_store(&available, 55 * MIB - 1);
    ck_assert_int_eq(hosts_reply_status(write_by(METHOD_POINT_UPSERT, 7)), OMEN_E_DISK_FULL);
    atomic_store(&available, 55 * MIB);
    write_until(OMEN_OK);
    HOSTS_WAIT(!hosts.nodes[node].disk_low);
}
END_TEST

START_TEST(who_asks_again_for_what_was_done_before_the_disk_was_low_hears_that_it_was)
{
    (void)hosts_written(4, 40);
    struct wire_part part = hosts_part_to(primary(), WIRE_PART_WRITE);
    hosts_name(&part, 1);
    const uint64_t asked = ask(part, 5, 50), seq = hosts_reply(asked)->seq;
    ck_assert_int_eq(hosts_reply_status(asked), OMEN_OK);
    atomic_store(&available, 0);
    write_until(OMEN_E_DISK_FULL);
    const uint64_t again = ask(part, 5, 50);
    ck_assert_int_eq(hosts_reply_status(again), OMEN_OK);
    ck_assert_uint_eq(hosts_reply(again)->seq, seq);
}
END_TEST

START_TEST(a_node_that_starts_on_a_low_disk_knows_it_before_its_first_write)
{
    (void)hosts_written(5, 50);
    atomic_store(&available, 0);
    hosts_node_stop(2);
    hosts.nodes[2].disk_low = false;
    hosts_node_start(2);
    HOSTS_WAIT(hosts.nodes[2].disk_low); // it was said while it started
    struct hosts_seen *seen = hosts_look(hosts.nodes[2].hosts);
    ck_assert(seen->reserve.low);
    ck_assert_uint_eq(seen->reserve.bytes, 50 * MIB);
    hosts_look_end(seen);
}
END_TEST

// ---- the disk of another ----

struct said {
    uint32_t node;
    uint8_t state;
    bool low;
};

// Every node is told of all of them.
static void
tell_members(struct said about, const char *name)
{
    for (uint32_t at = 1; at <= 3; at++) {
        struct meta_members *note = mem_alloc_zero(1, sizeof *note + 3 * sizeof note->members[0]);
        ck_assert_ptr_nonnull(note);
        note->note.kind = NOTE_META_MEMBERS;
        note->count = 3;
        for (uint32_t i = 0; i < 3; i++) {
            const uint32_t node = (at - 1 + i) % 3 + 1; // itself first
            const bool meant = node == about.node;
            const struct cluster_uuid uuid = hosts_uuid(node);
            struct gossip_claim *claim = &note->members[i];
            *claim = (struct gossip_claim){.state = meant ? about.state : GOSSIP_ALIVE,
                                           .has_meta = 1,
                                           .subject = {uuid.high, uuid.low}};
            turn_said_program(name, meant ? (uint32_t)strlen(name) : 0, 0, &claim->meta);
            turn_said_write(&(struct turn_said){.member = node, .disk_low = meant && about.low},
                            &claim->meta);
        }
        loop_post(hosts_loop(hosts.nodes[at].hosts), &note->note);
    }
}

START_TEST(what_adds_is_refused_while_another_copy_in_sync_is_on_a_low_disk)
{
    (void)hosts_written(5, 50);
    const uint32_t backup = primary() % 3 + 1;
    char why[256];
    tell_members((struct said){backup, GOSSIP_ALIVE, true}, "berta");
    snprintf(why, sizeof why,
             "the disk of node berta, which has a copy of shard %llu, has less left than its "
             "reserve (--disk-reserve): deletes go on, what adds is refused",
             (unsigned long long)hosts.shard);
    claim_refused(write_by(METHOD_POINT_UPSERT, 6), why);
    ck_assert_int_eq(hosts_reply_status(write_by(METHOD_POINT_DELETE, 5)), OMEN_OK);
    tell_members((struct said){backup, GOSSIP_SUSPECT, true}, "berta");
    claim_refused(write_by(METHOD_POINT_UPSERT, 6), why);
    tell_members((struct said){backup, GOSSIP_ALIVE, false}, "berta");
    ck_assert_int_eq(hosts_reply_status(write_by(METHOD_POINT_UPSERT, 6)), OMEN_OK);
    // What its own word by gossip says comes later than what it sees itself.
    tell_members((struct said){primary(), GOSSIP_ALIVE, true}, "anna");
    ck_assert_int_eq(hosts_reply_status(write_by(METHOD_POINT_UPSERT, 6)), OMEN_OK);
}
END_TEST

START_TEST(the_low_disk_of_a_dead_node_or_of_a_copy_out_of_sync_keeps_no_write_out)
{
    (void)hosts_written(5, 50);
    const uint32_t backup = primary() % 3 + 1;
    tell_members((struct said){backup, GOSSIP_DEAD, true}, "berta");
    ck_assert_int_eq(hosts_reply_status(write_by(METHOD_POINT_UPSERT, 6)), OMEN_OK);
    lock_acquire(&hosts.lock);
    hosts.deaf = true; // or its primary would take it in again
    lock_release(&hosts.lock);
    const struct cluster_uuid copy = world_replica(&hosts.world, hosts.shard, backup);
    ck_assert_int_eq(hosts_map_step((struct shard_step){.kind = STEP_REMOVE, .replica = copy}),
                     OMEN_OK);
    tell_members((struct said){backup, GOSSIP_ALIVE, true}, "berta");
    (void)hosts_written(6, 61);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("node/hosts_reserve");
    TCase *tcase = tcase_create("hosts_reserve");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, three, down);
    tcase_add_test(tcase, a_low_disk_takes_no_more_until_there_is_room_and_deletes_and_reads_go_on);
    tcase_add_test(tcase,
                   who_asks_again_for_what_was_done_before_the_disk_was_low_hears_that_it_was);
    tcase_add_test(tcase, a_node_that_starts_on_a_low_disk_knows_it_before_its_first_write);
    tcase_add_test(tcase, what_adds_is_refused_while_another_copy_in_sync_is_on_a_low_disk);
    tcase_add_test(tcase, the_low_disk_of_a_dead_node_or_of_a_copy_out_of_sync_keeps_no_write_out);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
