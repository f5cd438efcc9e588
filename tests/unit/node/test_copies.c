// tests/unit/node/test_copies.c -- what a node makes of the map: which copies it makes, names, tells, drops and reports lost.
//
// Shape: shell.
#include "base/alloc.h"
#include "cluster/apply.h"
#include "node/copies.h"
#include "tests/lib/check_main.h"

#define MS UINT64_C(1000000)
#define HERE 7u // the low half of this node's uuid; the other node is the next

static struct copies copies;
static struct copies_output out;
static struct map map;
static uint64_t now_ns, position;

static void
apply(struct command command)
{
    static uint8_t bytes[COMMAND_BYTES_MAX];
    size_t count;
    struct command_result result;
    ck_assert_int_eq(command_encode(&command, bytes, sizeof bytes, &count), OMEN_OK);
    ck_assert_int_eq(cluster_apply(&map, ++position, bytes, count, &result), OMEN_OK);
    ck_assert_int_eq(result.status, OMEN_OK);
}

static void
add_node(uint64_t low, uint64_t boot)
{
    struct command command = {.kind = COMMAND_NODE_REGISTER};
    command.node.uuid = (struct cluster_uuid){1, low};
    command.node.boot = boot;
    command.node.weight = 1;
    command.node.roles = NODE_DATA;
    ck_assert(map_name_set(&command.node.zone, "z", 1));
    apply(command);
    const struct map_node *node = map_node_by_uuid(&map, command.node.uuid);
    command = (struct command){.kind = COMMAND_NODE_STATE};
    command.node_state = (struct command_node_state){
        .expected = VERSION_ANY, .node = node->number, .state = NODE_UP};
    if (node->state == NODE_JOINING)
        apply(command);
}

static void
take_step_of(uint32_t shard, struct shard_step step)
{
    struct command command = {.kind = COMMAND_STEPS};
    step.shard = map.shards[shard].id;
    step.cfg_ver = map.shards[shard].cfg_ver;
    command.steps.count = 1;
    command.steps.steps[0] = step;
    apply(command);
}

static void
take_step(struct shard_step step)
{
    take_step_of(0, step);
}

static void
step(struct copies_input in)
{
    in.now_ns = now_ns;
    in.wall_ms = 1700000000000;
    copies_step(&copies, &in, &out);
    copies_check(&copies);
}

static void
give_map(void)
{
    step((struct copies_input){.kind = COPIES_IN_MAP, .map = &map});
}

static void
wake(void)
{
    step((struct copies_input){.kind = COPIES_IN_WAKE});
}

static void
begin(void)
{
    const struct copies_config config = {.node = {1, HERE},
                                         .boot = 5,
                                         .retry_ns = 100 * MS,
                                         .idle_ns = 10 * MS,
                                         .ops_max = 64,
                                         .terms_max = REPLICA_TERMS_MAX,
                                         .window_ms = DEDUPE_WINDOW_MS};
    copies_init(&copies, &config, 1);
    now_ns = 1000 * MS;
}

static void
give_lease(void)
{
    struct copies_input lease = {.kind = COPIES_IN_LEASE};
    lease.sent_ns = now_ns;
    lease.lease_ns = 1000 * MS;
    step(lease);
}

// Two nodes and a collection of one shard, which nobody holds.
static void
setup(void)
{
    position = 0;
    map_init(&map);
    add_node(HERE, 5);
    add_node(HERE + 1, 1);
    struct command command = {.kind = COMMAND_COLLECTION_CREATE};
    ck_assert(map_name_set(&command.collection.name, "c", 1));
    command.collection.dimension = 4;
    command.collection.links_max = 16;
    command.collection.build_beam = 64;
    command.collection.shards = 1;
    command.collection.replication = 1;
    apply(command);
    begin();
}

static void
teardown(void)
{
    copies_fini(&copies);
    map_fini(&map);
}

static uint32_t
number_of(uint64_t low)
{
    return map_node_by_uuid(&map, (struct cluster_uuid){1, low})->number;
}

// The copy that is made here for the shard, and durable.
static struct cluster_uuid
make_one(void)
{
    take_step((struct shard_step){.kind = STEP_ASSIGN, .node = number_of(HERE)});
    give_map();
    wake();
    const struct copies_env made = out.make;
    ck_assert(!uuid_is_none(made.uuid));
    ck_assert_uint_eq(made.shard, map.shards[0].id);
    ck_assert_uint_eq(made.position, map.position);
    give_map();
    step((struct copies_input){.kind = COPIES_IN_MADE, .uuid = made.uuid});
    return made.uuid;
}

static const struct shard_step *
commanded(enum step_kind kind)
{
    for (int i = 0; i < 20; i++) {
        if (out.command.kind == COMMAND_STEPS && out.command.steps.steps[0].kind == kind)
            return &out.command.steps.steps[0];
        wake();
    }
    ck_abort_msg("nobody wants step %d", (int)kind);
}

START_TEST(a_pending_copy_is_made_then_named_then_leads)
{
    const struct cluster_uuid uuid = make_one();
    const struct shard_step *born = commanded(STEP_BORN);
    ck_assert(uuid_equal(born->replica, uuid));
    take_step(
        (struct shard_step){.kind = STEP_BORN, .node = number_of(HERE), .replica = born->replica});
    ck_assert_int_eq(map.shards[0].status, SHARD_OPEN);
    give_map();
    for (int i = 0; i < 5; i++)
        wake();
    ck_assert_int_eq(copies_find(&copies, uuid)->replica.role, REPLICA_OPENING);
    ck_assert_ptr_eq(copies_of_shard(&copies, map.shards[0].id), copies_find(&copies, uuid));
}
END_TEST

START_TEST(a_name_is_asked_for_again_until_the_map_has_it)
{
    make_one();
    commanded(STEP_BORN);
    wake();
    ck_assert_int_eq(out.command.kind, 0);
    ck_assert_uint_gt(out.wake_ns, now_ns);
    now_ns += 100 * MS;
    wake();
    ck_assert_int_eq(out.command.steps.steps[0].kind, STEP_BORN);
}
END_TEST

START_TEST(copies_that_are_due_together_have_a_wake_each)
{
    enum { SHARDS = 4 };
    struct command command = {.kind = COMMAND_COLLECTION_CREATE};
    ck_assert(map_name_set(&command.collection.name, "d", 1));
    command.collection.dimension = 4;
    command.collection.links_max = 16;
    command.collection.build_beam = 64;
    command.collection.shards = SHARDS - 1;
    command.collection.replication = 1;
    apply(command);
    for (uint32_t i = 0; i < SHARDS; i++)
        take_step_of(i, (struct shard_step){.kind = STEP_ASSIGN, .node = number_of(HERE)});
    give_map();
    struct cluster_uuid made[SHARDS];
    for (uint32_t i = 0; i < SHARDS; i++) {
        wake();
        made[i] = out.make.uuid;
        ck_assert(!uuid_is_none(made[i]));
    }
    give_map();
    for (uint32_t i = 0; i < SHARDS; i++)
        step((struct copies_input){.kind = COPIES_IN_MADE, .uuid = made[i]});
    for (int round = 0; round < 3; round++) { // from wherever the last one was
        uint32_t named = 0;
        for (uint64_t asked = 0; out.wake_ns <= now_ns; asked++) {
            ck_assert_uint_lt(asked, 10 * SHARDS);
            wake();
            if (out.command.kind != COMMAND_STEPS)
                continue;
            for (uint32_t i = 0; i < SHARDS; i++)
                if (uuid_equal(out.command.steps.steps[0].replica, made[i]))
                    named |= 1u << i;
        }
        ck_assert_uint_eq(named, (1u << SHARDS) - 1);
        ck_assert_uint_eq(out.wake_ns, now_ns + 100 * MS);
        now_ns = out.wake_ns;
    }
}
END_TEST

START_TEST(a_copy_that_a_newer_map_does_not_name_goes)
{
    const struct cluster_uuid uuid = make_one();
    give_map();
    ck_assert_ptr_nonnull(copies_find(&copies, uuid));
    take_step((struct shard_step){.kind = STEP_DROP, .node = number_of(HERE)});
    give_map();
    give_lease();
    wake();
    ck_assert(uuid_equal(out.drop, uuid));
    ck_assert_uint_eq(copies.count, 0);
}
END_TEST

static void
hold(struct cluster_uuid uuid, uint64_t at)
{
    const struct copies_durable held = {
        .env = {.uuid = uuid, .shard = map.shards[0].id, .position = at},
        .disk = {.promised = 3, .first_seq = 1}};
    step((struct copies_input){.kind = COPIES_IN_HELD, .held = &held});
}

START_TEST(a_map_that_is_older_than_a_copy_takes_nothing_and_reports_nothing)
{
    take_step((struct shard_step){.kind = STEP_ASSIGN, .node = number_of(HERE)});
    take_step((struct shard_step){
        .kind = STEP_BORN, .node = number_of(HERE), .replica = {2, 2}}); // gone since
    hold((struct cluster_uuid){2, 3}, map.position + 10);
    give_map();
    give_lease();
    for (int i = 0; i < 5; i++) {
        wake();
        ck_assert(uuid_is_none(out.drop));
        ck_assert_int_eq(out.command.kind, 0);
    }
    ck_assert_uint_eq(copies.count, 1);
}
END_TEST

START_TEST(a_copy_in_use_outlives_a_start_under_the_maps_that_do_not_name_it_yet)
{
    const struct cluster_uuid uuid = {2, 3};
    take_step((struct shard_step){.kind = STEP_ASSIGN, .node = number_of(HERE)});
    const uint64_t made = map.position; // under the map of here
    add_node(HERE + 2, 1);
    hold(uuid, made); // it was named later, and promised something
    give_map();
    for (int i = 0; i < 5; i++) {
        wake();
        ck_assert(uuid_is_none(out.drop));
    }
    take_step((struct shard_step){.kind = STEP_BORN, .node = number_of(HERE), .replica = uuid});
    give_map();
    give_lease();
    for (int i = 0; i < 5; i++) {
        wake();
        ck_assert(!uuid_equal(out.drop, uuid));
    }
    ck_assert(copies_find(&copies, uuid)->named);
}
END_TEST

START_TEST(a_copy_that_the_map_names_and_the_disk_lacks_is_reported_lost)
{
    take_step((struct shard_step){.kind = STEP_ASSIGN, .node = number_of(HERE)});
    take_step((struct shard_step){.kind = STEP_BORN, .node = number_of(HERE), .replica = {2, 2}});
    give_map();
    const struct shard_step *lost = commanded(STEP_LOST);
    ck_assert(uuid_equal(lost->replica, (struct cluster_uuid){2, 2}));
    ck_assert_uint_eq(lost->cfg_ver, map.shards[0].cfg_ver);
    wake();
    ck_assert_int_eq(out.command.kind, 0); // not again before retry_ns
    now_ns += 100 * MS;
    ck_assert_ptr_nonnull(commanded(STEP_LOST));
}
END_TEST

START_TEST(a_copy_whose_bytes_are_bad_is_reported_lost_and_goes)
{
    const struct cluster_uuid uuid = make_one();
    commanded(STEP_BORN);
    take_step((struct shard_step){.kind = STEP_ASSIGN, .node = number_of(HERE + 1)});
    take_step((struct shard_step){.kind = STEP_BORN, .node = number_of(HERE), .replica = uuid});
    take_step(
        (struct shard_step){.kind = STEP_BORN, .node = number_of(HERE + 1), .replica = {2, 2}});
    give_map();
    for (int i = 0; i < 5; i++)
        wake();
    step((struct copies_input){.kind = COPIES_IN_REPLICA,
                               .uuid = uuid,
                               .replica = &(struct replica_input){.kind = REPLICA_IN_CORRUPT}});
    const struct shard_step *lost = commanded(STEP_LOST);
    ck_assert(uuid_equal(lost->replica, uuid));
    ck_assert_uint_eq(lost->cfg_ver, map.shards[0].cfg_ver);
    take_step(*lost);
    give_map();
    give_lease();
    wake();
    ck_assert(uuid_equal(out.drop, uuid));
}
END_TEST

START_TEST(what_is_held_and_cannot_be_kept_in_memory_is_said)
{
    mem_fail_after(1);
    hold((struct cluster_uuid){2, 2}, 1);
    mem_fail_after(0);
    ck_assert(out.refused);
    ck_assert_uint_eq(copies.count, 0);
}
END_TEST

START_TEST(an_old_environment_is_not_taken_for_a_new_copy)
{
    hold((struct cluster_uuid){2, 2}, 1); // promised something: it was a member once
    take_step((struct shard_step){.kind = STEP_ASSIGN, .node = number_of(HERE)});
    give_map();
    give_lease();
    wake();
    ck_assert(uuid_equal(out.drop, (struct cluster_uuid){2, 2}));
    wake();
    ck_assert(!uuid_is_none(out.make.uuid));
}
END_TEST

// By a primary that has seen the map that names it.
static void
fill(struct cluster_uuid uuid)
{
    const struct replica_entry entry = {.seq = 1, .term = 1, .kind = REPLICA_ENTRY_TERM_START};
    const struct replica_msg append = {.kind = REPLICA_APPEND,
                                       .from = {9, 9},
                                       .to = {uuid.high, uuid.low},
                                       .shard = map.shards[0].id,
                                       .term = 1,
                                       .entries = &entry,
                                       .entry_count = 1};
    struct replica_input heard = {.kind = REPLICA_IN_MESSAGE, .message = &append};
    step((struct copies_input){.kind = COPIES_IN_REPLICA, .uuid = uuid, .replica = &heard});
    ck_assert_uint_eq(copies_find(&copies, uuid)->replica.last_seq, 1);
}

// Here comes an older map, with the pending copy still.
START_TEST(a_copy_that_is_filled_before_the_map_names_it_stays)
{
    const struct cluster_uuid uuid = make_one();
    commanded(STEP_BORN);
    fill(uuid);
    add_node(HERE + 2, 1);
    give_map();
    give_lease();
    for (int i = 0; i < 5; i++) {
        wake();
        ck_assert(uuid_is_none(out.drop) && uuid_is_none(out.make.uuid));
    }
    take_step((struct shard_step){.kind = STEP_BORN, .node = number_of(HERE), .replica = uuid});
    give_map();
    ck_assert(copies_find(&copies, uuid)->named);
}
END_TEST

// It became a learner, and went, and the node got a pending copy again: all by maps that it has not seen.
START_TEST(a_pending_copy_by_a_lease_asked_for_since_one_was_filled_is_another)
{
    const struct cluster_uuid uuid = make_one();
    commanded(STEP_BORN);
    fill(uuid);
    add_node(HERE + 2, 1);
    give_map();
    ck_assert(copies_find(&copies, uuid)->expected);
    give_lease(); // asked for at the time when it was filled
    wake();
    ck_assert(uuid_is_none(out.drop) && uuid_is_none(out.make.uuid));
    now_ns++;
    give_lease();
    wake();
    ck_assert(uuid_equal(out.drop, uuid));
    wake();
    const struct copies_env made = out.make;
    ck_assert(!uuid_is_none(made.uuid) && !uuid_equal(made.uuid, uuid));
    give_map();
    step((struct copies_input){.kind = COPIES_IN_MADE, .uuid = made.uuid});
    ck_assert(uuid_equal(commanded(STEP_BORN)->replica, made.uuid));
}
END_TEST

START_TEST(a_copy_that_was_filled_and_is_not_expected_any_more_goes)
{
    const struct cluster_uuid uuid = make_one();
    struct copy *copy = (struct copy *)copies_find(&copies, uuid);
    copy->replica.promised = copy->replica.durable_promised = 1;
    add_node(HERE + 2, 1);
    give_map();
    ck_assert(copy->expected && !copy->named);
    take_step((struct shard_step){.kind = STEP_DROP, .node = number_of(HERE)});
    give_map();
    give_lease();
    wake();
    ck_assert(uuid_equal(out.drop, uuid));
}
END_TEST

START_TEST(a_lease_is_told_behind_the_map_that_it_is_good_for)
{
    const struct cluster_uuid uuid = make_one();
    commanded(STEP_BORN);
    take_step((struct shard_step){.kind = STEP_BORN, .node = number_of(HERE), .replica = uuid});
    give_map();
    give_lease();
    for (int i = 0; i < 5; i++)
        wake();
    const struct replica *replica = &copies_find(&copies, uuid)->replica;
    ck_assert_uint_eq(replica->meta.cfg_ver, map.shards[0].cfg_ver);
    ck_assert_uint_eq(replica->lease_until_ns, now_ns + 1000 * MS);
}
END_TEST

static void
settle(void)
{
    for (uint32_t i = 0; out.wake_ns <= now_ns; i++) {
        ck_assert_uint_lt(i, 100);
        wake();
    }
}

START_TEST(a_lease_costs_a_backup_no_step_and_is_told_when_it_leads)
{
    take_step((struct shard_step){.kind = STEP_ASSIGN, .node = number_of(HERE + 1)});
    take_step(
        (struct shard_step){.kind = STEP_BORN, .node = number_of(HERE + 1), .replica = {9, 9}});
    const struct cluster_uuid uuid = make_one();
    take_step((struct shard_step){.kind = STEP_BORN, .node = number_of(HERE), .replica = uuid});
    take_step((struct shard_step){.kind = STEP_ADD, .replica = uuid});
    give_map();
    settle();
    const struct replica *replica = &copies_find(&copies, uuid)->replica;
    ck_assert_int_eq(replica->role, REPLICA_BACKUP);
    give_lease();
    ck_assert_uint_gt(out.wake_ns, now_ns); // nothing is to be done
    ck_assert_uint_eq(replica->lease_until_ns, 0);
    take_step((struct shard_step){.kind = STEP_PROMOTE, .replica = uuid});
    give_map();
    settle();
    ck_assert_int_eq(replica->role, REPLICA_OPENING);
    ck_assert_uint_eq(replica->lease_until_ns, now_ns + 1000 * MS);
    give_lease();
    ck_assert_uint_le(out.wake_ns, now_ns); // one that leads has a step for each
    wake();
    ck_assert_uint_gt(out.wake_ns, now_ns);
}
END_TEST

// ---- a split, with all three copies here: what they ask of their shell comes back at once ----

struct errand {
    struct cluster_uuid uuid;
    struct replica_input in;
    struct replica_msg msg;
    struct replica_entry entries[2];
};

static struct errand errands[256];
static uint32_t errand_first, errand_count;

static struct errand *
push(struct cluster_uuid uuid, enum replica_input_kind kind)
{
    ck_assert_uint_lt(errand_count, 256);
    struct errand *errand = &errands[(errand_first + errand_count++) % 256];
    *errand = (struct errand){.uuid = uuid, .in = {.kind = kind}};
    return errand;
}

static uint64_t check_at; // where the CHECKSUM stands that comes before a cut

// What the halves hold adds up to what their parent holds.
static void
say_root(void)
{
    struct errand *errand = push(out.uuid, REPLICA_IN_ROOT);
    const uint64_t sum = out.shard == map.shards[0].id ? 9 : out.shard == map.shards[1].id ? 4 : 5;
    errand->in.seq = check_at;
    errand->in.sum = (struct replica_sum){sum, sum};
}

// Whoever reads the log wants its first entry: what comes later is sent when it is written.
static void
obey(void)
{
    const struct replica_output *said = &out.replica;
    if (!out.stepped)
        return;
    if (said->ticket != 0)
        push(out.uuid, REPLICA_IN_PERSISTED)->in.ticket = said->ticket;
    for (uint32_t i = 0; i < said->msg_count; i++) {
        const struct replica_msg *msg = &said->msgs[i];
        struct errand *errand =
            push((struct cluster_uuid){msg->to.high, msg->to.low}, REPLICA_IN_MESSAGE);
        ck_assert_uint_le(msg->entry_count, 2);
        errand->msg = *msg;
        for (uint32_t e = 0; e < msg->entry_count; e++)
            errand->entries[e] = msg->entries[e];
        errand->msg.entries = errand->entries;
        errand->in.message = &errand->msg;
    }
    if (said->append_count > 0 && said->append[0].kind == REPLICA_ENTRY_CHECKSUM)
        check_at = said->append[0].seq;
    if (said->apply_last == check_at && check_at != 0)
        say_root();
    if (said->apply_last != 0)
        push(out.uuid, REPLICA_IN_APPLIED)->in.seq = said->apply_last;
    for (uint32_t i = 0; i < said->read_count; i++) {
        struct errand *errand = push(out.uuid, REPLICA_IN_ENTRIES);
        ck_assert_uint_eq(said->reads[i].first_seq, 1);
        errand->entries[0] =
            (struct replica_entry){.seq = 1, .term = 1, .kind = REPLICA_ENTRY_TERM_START};
        errand->in.reader = said->reads[i].reader;
        errand->in.reader_term = said->reads[i].term;
        errand->in.entries = errand->entries;
        errand->in.entry_count = 1;
    }
}

static bool
asks_for(enum step_kind kind)
{
    return out.command.kind == COMMAND_STEPS && out.command.steps.steps[0].kind == kind;
}

// Until somebody wants that step, or for a while.
static bool
run_until(enum step_kind kind)
{
    for (int i = 0; i < 400; i++) {
        if (errand_count > 0) {
            struct errand *errand = &errands[errand_first];
            errand_first = (errand_first + 1) % 256;
            errand_count--;
            step((struct copies_input){
                .kind = COPIES_IN_REPLICA, .uuid = errand->uuid, .replica = &errand->in});
        } else {
            now_ns += MS;
            wake();
        }
        obey();
        if (asks_for(kind))
            return true;
    }
    return false;
}

// The parent is map.shards[0], and open.
static void
open_parent(void)
{
    errand_first = errand_count = 0;
    check_at = 0;
    const struct cluster_uuid uuid = make_one();
    take_step((struct shard_step){.kind = STEP_BORN, .node = number_of(HERE), .replica = uuid});
    give_map();
    give_lease();
    ck_assert(!run_until(STEP_KINDS_END));
    ck_assert(replica_is_open(&copies_find(&copies, uuid)->replica));
}

// Two children, with a copy of each here.
static void
begin_split(void)
{
    take_step((struct shard_step){.kind = STEP_SPLIT, .value = UINT64_C(1) << 63});
    for (uint32_t c = 1; c <= 2; c++) {
        take_step_of(c, (struct shard_step){.kind = STEP_ASSIGN, .node = number_of(HERE)});
        give_map();
        for (int i = 0; i < 10 && uuid_is_none(out.make.uuid); i++)
            wake();
        const struct cluster_uuid uuid = out.make.uuid;
        ck_assert(!uuid_is_none(uuid));
        give_map();
        step((struct copies_input){.kind = COPIES_IN_MADE, .uuid = uuid});
        take_step_of(
            c, (struct shard_step){.kind = STEP_BORN, .node = number_of(HERE), .replica = uuid});
        give_map();
    }
}

static const struct replica *
copy_of(uint32_t shard)
{
    const struct copy *copy = copies_of_shard(&copies, map.shards[shard].id);
    ck_assert_ptr_nonnull(copy);
    return &copy->replica;
}

START_TEST(a_copy_of_a_child_learns_from_its_parents_primary)
{
    open_parent();
    begin_split();
    ck_assert(run_until(STEP_ADD));
    const struct replica_meta *parent = &copy_of(0)->meta, *child = &copy_of(1)->meta;
    ck_assert_uint_eq(child->term, parent->term);
    ck_assert(replica_uuid_equal(child->primary, copy_of(0)->config.uuid));
    ck_assert_uint_eq(child->cfg_ver, map.shards[0].cfg_ver + map.shards[1].cfg_ver);
    ck_assert_uint_eq(child->learner_count, 1);
    ck_assert(replica_uuid_equal(child->learners[0], copy_of(1)->config.uuid));
    ck_assert_uint_eq(parent->child_count, 2);
    ck_assert_uint_eq(parent->children[1].shard, map.shards[2].id);
    ck_assert(replica_uuid_equal(parent->children[1].learners[0], copy_of(2)->config.uuid));
    apply(out.command);
    give_map();
    ck_assert(run_until(STEP_ADD)); // the parent was told that its child has changed
    ck_assert_uint_eq(copy_of(0)->meta.cfg_ver, map.shards[0].cfg_ver);
    ck_assert_uint_eq(
        copy_of(0)->meta.children[0].in_sync_count + copy_of(0)->meta.children[1].in_sync_count, 1);
}
END_TEST

START_TEST(a_split_ends_with_two_shards_that_go_on_where_their_parent_ended)
{
    open_parent();
    begin_split();
    for (int i = 0; i < 2; i++) {
        ck_assert(run_until(STEP_ADD));
        apply(out.command);
        give_map();
    }
    ck_assert(run_until(STEP_CUT));
    ck_assert_uint_eq(out.command.steps.steps[0].value, 2);
    ck_assert_uint_eq(out.command.steps.steps[0].child_cfg_ver[1], map.shards[2].cfg_ver);
    const uint64_t told = copy_of(1)->meta.cfg_ver;
    apply(out.command);
    ck_assert_int_eq(map.shards[0].status, SHARD_RETIRED);
    ck_assert_uint_gt(map.shards[1].cfg_ver, told);
    give_map();
    ck_assert(!run_until(STEP_KINDS_END));
    ck_assert_int_eq(copy_of(0)->role, REPLICA_BACKUP);
    for (uint32_t c = 1; c <= 2; c++) {
        ck_assert(replica_is_open(copy_of(c)));
        ck_assert_uint_eq(copy_of(c)->start_seq, 3);
        ck_assert_uint_eq(copy_of(c)->meta.term, 2);
    }
    const struct replica_uuid old = copy_of(0)->config.uuid;
    take_step((struct shard_step){.kind = STEP_PURGE});
    give_map();
    wake();
    ck_assert(uuid_equal(out.drop, (struct cluster_uuid){old.high, old.low}));
    ck_assert_uint_eq(copies.count, 2);
}
END_TEST

START_TEST(a_split_that_is_given_up_leaves_the_parent_alone)
{
    open_parent();
    begin_split();
    ck_assert(run_until(STEP_ADD));
    take_step((struct shard_step){.kind = STEP_ABORT});
    give_map();
    ck_assert(!run_until(STEP_KINDS_END));
    ck_assert_uint_eq(copies.count, 1);
    ck_assert(replica_is_open(copy_of(0)));
    ck_assert_uint_eq(copy_of(0)->meta.child_count, 0);
    ck_assert_uint_eq(copy_of(0)->peer_count, 0);
}
END_TEST

static void
tell(uint64_t low, bool dead)
{
    struct copies_input word = {.kind = COPIES_IN_WORD};
    word.word.node = (struct cluster_uuid){1, low};
    word.word.dead = dead;
    step(word);
}

static void
note_command(struct command *last)
{
    if (out.command.kind != 0)
        *last = out.command;
}

// Wakes until nothing is due, with a disk that is always done; what was commanded last is kept.
static void
rest(void)
{
    struct command last = {0};
    do {
        wake();
        note_command(&last);
        while (out.stepped && out.replica.ticket != 0) {
            struct replica_input done = {.kind = REPLICA_IN_PERSISTED,
                                         .ticket = out.replica.ticket};
            step((struct copies_input){
                .kind = COPIES_IN_REPLICA, .uuid = out.uuid, .replica = &done});
            note_command(&last);
        }
    } while (out.wake_ns <= now_ns);
    out.command = last;
}

// The primary is here and the other node's copy in sync, which is silent.
static void
lead_two(void)
{
    const struct cluster_uuid uuid = make_one();
    take_step((struct shard_step){.kind = STEP_BORN, .node = number_of(HERE), .replica = uuid});
    take_step((struct shard_step){.kind = STEP_ASSIGN, .node = number_of(HERE + 1)});
    take_step(
        (struct shard_step){.kind = STEP_BORN, .node = number_of(HERE + 1), .replica = {2, 2}});
    take_step((struct shard_step){.kind = STEP_ADD, .replica = {2, 2}});
    give_map();
    rest();
    ck_assert_uint_eq(copies_of_shard(&copies, map.shards[0].id)->replica.peer_count, 1);
}

static const struct replica_peer *
the_peer(void)
{
    return &copies_of_shard(&copies, map.shards[0].id)->replica.peers[0];
}

static bool
is_being_removed(void)
{
    return out.command.kind == COMMAND_STEPS && out.command.steps.steps[0].kind == STEP_REMOVE;
}

START_TEST(what_waits_for_an_outcome_is_commanded_again_when_somebody_else_leads)
{
    lead_two();
    now_ns += 2000 * MS;
    rest();
    ck_assert(is_being_removed());
    now_ns += 1 * MS;
    rest();
    ck_assert_int_eq(out.command.kind, 0);
    step((struct copies_input){.kind = COPIES_IN_LED});
    ck_assert_uint_le(out.wake_ns, now_ns);
    rest();
    ck_assert(is_being_removed());
    rest();
    ck_assert_int_eq(out.command.kind, 0);
}
END_TEST

START_TEST(who_waits_for_nothing_has_nothing_to_say_when_somebody_else_leads)
{
    lead_two();
    step((struct copies_input){.kind = COPIES_IN_LED});
    ck_assert_uint_gt(out.wake_ns, now_ns);
    rest();
    ck_assert_int_eq(out.command.kind, 0);
}
END_TEST

START_TEST(a_name_and_a_loss_are_said_again_when_somebody_else_leads)
{
    take_step((struct shard_step){.kind = STEP_ASSIGN, .node = number_of(HERE)});
    take_step((struct shard_step){.kind = STEP_BORN, .node = number_of(HERE), .replica = {2, 2}});
    give_map();
    wake(); // the disk lacks it
    ck_assert_int_eq(out.command.steps.steps[0].kind, STEP_LOST);
    wake();
    ck_assert_int_eq(out.command.kind, 0);
    step((struct copies_input){.kind = COPIES_IN_LED});
    wake();
    ck_assert_int_eq(out.command.kind, COMMAND_STEPS);
    ck_assert_int_eq(out.command.steps.steps[0].kind, STEP_LOST);
}
END_TEST

START_TEST(a_silent_copy_is_waited_for_the_whole_time_without_a_word)
{
    lead_two();
    now_ns += 1999 * MS;
    rest();
    ck_assert(!is_being_removed());
    now_ns += 1 * MS;
    rest();
    ck_assert(is_being_removed());
}
END_TEST

START_TEST(a_silent_copy_is_waited_for_as_long_as_the_node_was_told_whatever_the_map_says)
{
    copies.config.shrink_ms = 7000;
    lead_two();
    now_ns += 6999 * MS;
    rest();
    ck_assert(!is_being_removed());
    now_ns += 1 * MS;
    rest();
    ck_assert(is_being_removed());
}
END_TEST

START_TEST(a_silent_copy_of_a_dead_node_is_waited_for_a_quarter_of_the_time)
{
    lead_two();
    tell(HERE + 1, true);
    ck_assert_uint_le(out.wake_ns, now_ns);
    now_ns += 499 * MS;
    rest();
    ck_assert(the_peer()->dead);
    ck_assert(!is_being_removed());
    now_ns += 1 * MS;
    rest();
    ck_assert(is_being_removed());
    ck_assert(uuid_equal(out.command.steps.steps[0].replica, (struct cluster_uuid){2, 2}));
}
END_TEST

START_TEST(a_word_that_is_taken_back_shortens_nothing)
{
    lead_two();
    tell(HERE + 1, true);
    rest();
    ck_assert(the_peer()->dead);
    tell(HERE + 1, false);
    rest();
    ck_assert(!the_peer()->dead);
    now_ns += 1999 * MS;
    rest();
    ck_assert(!is_being_removed());
}
END_TEST

START_TEST(a_word_from_before_a_copy_was_primary_counts_when_it_is)
{
    tell(HERE + 1, true);
    lead_two();
    ck_assert(the_peer()->dead);
}
END_TEST

START_TEST(of_more_dead_than_are_kept_the_first_are_forgotten)
{
    for (uint64_t low = 100; low < 100 + COPIES_DEAD_MAX + 1; low++)
        tell(low, true);
    tell(101, true); // said before
    ck_assert_uint_eq(copies.dead_count, COPIES_DEAD_MAX);
    ck_assert_uint_eq(copies.dead[0].low, 101);
    tell(120, false);
    ck_assert_uint_eq(copies.dead_count, COPIES_DEAD_MAX - 1);
}
END_TEST

static Suite *
copies_suite(void)
{
    Suite *suite = suite_create("node/copies");
    TCase *tcase = tcase_create("copies");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_pending_copy_is_made_then_named_then_leads);
    tcase_add_test(tcase, a_name_is_asked_for_again_until_the_map_has_it);
    tcase_add_test(tcase, copies_that_are_due_together_have_a_wake_each);
    tcase_add_test(tcase, a_copy_that_a_newer_map_does_not_name_goes);
    tcase_add_test(tcase, a_map_that_is_older_than_a_copy_takes_nothing_and_reports_nothing);
    tcase_add_test(tcase, a_copy_in_use_outlives_a_start_under_the_maps_that_do_not_name_it_yet);
    tcase_add_test(tcase, a_copy_that_the_map_names_and_the_disk_lacks_is_reported_lost);
    tcase_add_test(tcase, a_copy_whose_bytes_are_bad_is_reported_lost_and_goes);
    tcase_add_test(tcase, what_is_held_and_cannot_be_kept_in_memory_is_said);
    tcase_add_test(tcase, an_old_environment_is_not_taken_for_a_new_copy);
    tcase_add_test(tcase, a_copy_that_is_filled_before_the_map_names_it_stays);
    tcase_add_test(tcase, a_pending_copy_by_a_lease_asked_for_since_one_was_filled_is_another);
    tcase_add_test(tcase, a_copy_that_was_filled_and_is_not_expected_any_more_goes);
    tcase_add_test(tcase, a_lease_is_told_behind_the_map_that_it_is_good_for);
    tcase_add_test(tcase, a_lease_costs_a_backup_no_step_and_is_told_when_it_leads);
    tcase_add_test(tcase, a_copy_of_a_child_learns_from_its_parents_primary);
    tcase_add_test(tcase, a_split_ends_with_two_shards_that_go_on_where_their_parent_ended);
    tcase_add_test(tcase, a_split_that_is_given_up_leaves_the_parent_alone);
    tcase_add_test(tcase, what_waits_for_an_outcome_is_commanded_again_when_somebody_else_leads);
    tcase_add_test(tcase, who_waits_for_nothing_has_nothing_to_say_when_somebody_else_leads);
    tcase_add_test(tcase, a_name_and_a_loss_are_said_again_when_somebody_else_leads);
    tcase_add_test(tcase, a_silent_copy_is_waited_for_the_whole_time_without_a_word);
    tcase_add_test(tcase,
                   a_silent_copy_is_waited_for_as_long_as_the_node_was_told_whatever_the_map_says);
    tcase_add_test(tcase, a_silent_copy_of_a_dead_node_is_waited_for_a_quarter_of_the_time);
    tcase_add_test(tcase, a_word_that_is_taken_back_shortens_nothing);
    tcase_add_test(tcase, a_word_from_before_a_copy_was_primary_counts_when_it_is);
    tcase_add_test(tcase, of_more_dead_than_are_kept_the_first_are_forgotten);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(copies_suite)
