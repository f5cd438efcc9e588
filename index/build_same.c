// index/build_same.c -- equal rows: found before the build, put into the graph after it.
//
// Shape: handle.
//
// A thousand equal rows would be each other's nearest: no split separates them, and whoever comes there never leaves. So only the
// first of them, the smallest number, is built. The others become a tree below it, each linked with its parent both ways,
// and link to some of its neighbours.
//
// Rows are the same when what they are compared by is. They are hashed by all threads; each thread then looks for twins among the
// rows of one part of the hashes, so nobody waits for anybody.
#include <string.h>

#include "base/pool.h"
#include "base/prng.h"
#include "index/build_int.h"

#define BLOCK_ROWS 1024u
#define PARTS 32u
#define TREE_SHARE 4u // of a row's links, one in so many leads to a child

struct same {
    struct build *build;
    uint64_t *hashes;
    uint32_t *twin_of; // the row that it is equal to, or itself
    _Atomic uint32_t twins;
};

static size_t
row_bytes(const struct build *build)
{
    return build->rows.width * (build->rows.kind == BUILD_BYTES ? 1 : sizeof(float));
}

static void
read_row(const struct build *build, struct build_worker *worker, uint32_t row, uint32_t place)
{
    build->source->read(build->source->context, row, worker_row(build, worker->ahead, place),
                        &worker->ahead_numbers[place], NULL);
    rows_count_read(worker, build->source, 1);
}

// Four chains of eight bytes, so that no product waits for the one before. Only for us: nothing outlives the build.
static uint64_t
hash_of(const void *bytes, size_t count)
{
    uint64_t chains[4] = {1, 2, 3, 4};
    size_t at = 0;
    for (; at < count; at += 8) {
        uint64_t word = 0;
        memcpy(&word, (const uint8_t *)bytes + at, count - at < 8 ? count - at : 8);
        uint64_t *const chain = &chains[at / 8 % 4];
        *chain = (*chain ^ word) * 0x9e3779b97f4a7c15ull;
        *chain ^= *chain >> 29;
    }
    return mix64(chains[0] ^ mix64(chains[1] ^ mix64(chains[2] ^ mix64(chains[3] ^ count))));
}

static void
hash_block(void *context, uint32_t index, uint32_t worker_index)
{
    const struct same *same = context;
    struct build *build = same->build;
    struct build_worker *worker = &build->workers[worker_index];
    build_done(build, worker_index, 0); // may be told to stop
    if (build_stopped(build))
        return;
    const uint32_t from = index * BLOCK_ROWS, left = build->source->count - from;
    const uint32_t end = from + (left < BLOCK_ROWS ? left : BLOCK_ROWS);
    for (uint32_t row = from; row < end; row++) {
        read_row(build, worker, row, 0);
        same->hashes[row] = hash_of(worker->ahead, row_bytes(build));
        // Multiples of a row may have one code, and numbers of their own.
        if (build->rows.kind == BUILD_BYTES)
            same->hashes[row] ^= hash_of(&worker->ahead_numbers[0], sizeof(struct tile_numbers));
    }
}

static bool
equal_numbers(const struct tile_numbers *a, const struct tile_numbers *b)
{
    return a->scale == b->scale && a->add == b->add && a->extra == b->extra;
}

static bool
equal_rows(const struct build *build, struct build_worker *worker, uint32_t a, uint32_t b)
{
    read_row(build, worker, a, 0);
    read_row(build, worker, b, 1);
    return memcmp(worker_row(build, worker->ahead, 0), worker_row(build, worker->ahead, 1),
                  row_bytes(build)) == 0 &&
           (build->rows.kind == BUILD_FLOATS ||
            equal_numbers(&worker->ahead_numbers[0], &worker->ahead_numbers[1]));
}

// Rows of one part of the hashes, by open addressing; a place holds 1 + row.
static void
find_twins(void *context, uint32_t part, uint32_t worker)
{
    struct same *same = context;
    struct build *build = same->build;
    const uint32_t rows = build->source->count;
    uint32_t count = 0, twins = 0;
    uint64_t room = 16;
    if (build_stopped(build))
        return;
    for (uint32_t row = 0; row < rows; row++)
        count += same->hashes[row] % PARTS == part;
    while (room < (uint64_t)count * 2)
        room *= 2;
    uint32_t *table = build_heap(build, room * sizeof *table);
    if (table == NULL)
        return;
    memset(table, 0, room * sizeof *table);
    for (uint32_t row = 0; row < rows; row++) {
        const uint64_t hash = same->hashes[row];
        if (hash % PARTS != part)
            continue;
        uint32_t place = (uint32_t)(hash >> 32 & (room - 1)), twin = row;
        for (; table[place] != 0 && twin == row; place = (uint32_t)((place + 1ull) & (room - 1))) {
            const uint32_t other = table[place] - 1;
            if (same->hashes[other] == hash &&
                equal_rows(build, &build->workers[worker], other, row))
                twin = other;
        }
        same->twin_of[row] = twin;
        if (twin == row)
            table[place] = row + 1;
        else
            twins++;
    }
    build_heap_free(build, table, room * sizeof *table);
    atomic_fetch_add_explicit(&same->twins, twins, memory_order_relaxed);
}

// ---- the rows without twins ----

static void
read_member(const void *context, uint32_t row, void *components, struct tile_numbers *numbers,
            float *sketch)
{
    const struct build *build = context;
    build->source->read(build->source->context, build->members[row], components, numbers, sketch);
}

static void
prefetch_member(const void *context, uint32_t row)
{
    const struct build *build = context;
    build->source->prefetch(build->source->context, build->members[row]);
}

static void
leave_out(struct build *build, const uint32_t *twin_of, uint32_t twins)
{
    const uint32_t rows = build->source->count;
    build->members = build_alloc(build, (size_t)(rows - twins) * sizeof *build->members);
    build->twins = build_alloc(build, twins * sizeof *build->twins);
    if (build_stopped(build))
        return;
    uint32_t count = 0;
    for (uint32_t row = 0; row < rows; row++)
        if (twin_of[row] == row)
            build->members[count++] = row;
        else
            build->twins[row - count] = (struct twin){.row = row, .of = twin_of[row]};
    ASSERT(count == rows - twins);
    build->rows.context = build;
    build->rows.count = count;
    build->rows.read = read_member;
    build->rows.prefetch = prefetch_member;
}

void
build_same(struct build *build)
{
    const uint32_t rows = build->source->count;
    struct same same = {.build = build};
    same.hashes = build_alloc(build, (size_t)rows * sizeof *same.hashes);
    same.twin_of = build_alloc(build, (size_t)rows * sizeof *same.twin_of);
    if (!build_stopped(build)) {
        pool_run_behind(build->config.threads, (rows + BLOCK_ROWS - 1) / BLOCK_ROWS, hash_block,
                        &same);
        pool_run_behind(build->config.threads, PARTS, find_twins, &same);
    }
    build_free(build, same.hashes, (size_t)rows * sizeof *same.hashes);
    const uint32_t twins = atomic_load(&same.twins);
    build->report->twins = twins;
    if (twins > 0 && !build_stopped(build))
        leave_out(build, same.twin_of, twins);
    build_free(build, same.twin_of, (size_t)rows * sizeof *same.twin_of);
}

// ---- all rows again ----

struct tree {
    struct build *build;
    uint32_t *starts; // of each member's twins in `twins`, two more than there are members
    uint32_t *twins;
    uint32_t children; // of a row, at most
};

// A member's twins lie side by side, in their order.
static void
sort_twins(struct tree *tree, const uint32_t *place_of)
{
    const struct build *build = tree->build;
    const uint32_t twins = build->report->twins, members = build->rows.count;
    for (uint32_t i = 0; i < twins; i++)
        tree->starts[place_of[build->twins[i].of] + 2]++;
    for (uint32_t i = 0; i < members; i++)
        tree->starts[i + 2] += tree->starts[i + 1];
    // starts[i + 1] is where the next twin of member i goes, and in the end where those of the next member begin.
    for (uint32_t i = 0; i < twins; i++)
        tree->twins[tree->starts[place_of[build->twins[i].of] + 1]++] = build->twins[i].row;
}

// The n-th of a member and its twins, the member being the 0th.
static uint32_t
nth(const struct tree *tree, uint32_t member, const uint32_t *twins, uint32_t n)
{
    return n == 0 ? tree->build->members[member] : twins[n - 1];
}

// A member, the rows that are equal to it, and its links.
struct family {
    uint32_t member, count; // of rows, the member's too
    const uint32_t *twins;
    uint32_t links[LINK_ROW_MAX], links_count;
};

// Links of the n-th of them: its parent, its children, then its member's links.
static void
link_one(struct tree *tree, const struct family *family, uint32_t n)
{
    const struct build *build = tree->build;
    const uint32_t links_max = build->config.links_max;
    const uint32_t row = nth(tree, family->member, family->twins, n);
    uint32_t *const links = build->links + (size_t)row * links_max;
    uint32_t made = 0;
    if (n > 0)
        links[made++] = nth(tree, family->member, family->twins, (n - 1) / tree->children);
    for (uint64_t child = (uint64_t)n * tree->children + 1;
         child < family->count && child <= (uint64_t)(n + 1) * tree->children; child++)
        links[made++] = nth(tree, family->member, family->twins, (uint32_t)child);
    for (uint32_t i = 0; i < family->links_count && made < links_max; i++)
        links[made++] = family->links[i];
    build->counts[row] = (uint8_t)made;
}

// In place, from the last member to the first: a member's row and its twins' do not lie before its place among the members.
static void
link_trees(struct tree *tree)
{
    const struct build *build = tree->build;
    for (uint32_t member = build->rows.count; member-- > 0;) {
        const uint32_t first = tree->starts[member];
        struct family family = {.member = member,
                                .count = tree->starts[member + 1] - first + 1,
                                .twins = tree->twins + first,
                                .links_count = build->counts[member]};
        const uint32_t *own = build->links + (size_t)member * build->config.links_max;
        for (uint32_t i = 0; i < family.links_count; i++)
            family.links[i] = build->members[own[i]];
        for (uint32_t n = 0; n < family.count; n++)
            link_one(tree, &family, n);
    }
}

void
build_add_twins(struct build *build)
{
    const uint32_t rows = build->source->count, members = build->rows.count;
    struct tree tree = {.build = build, .children = build->config.links_max / TREE_SHARE};
    tree.children = tree.children > 0 ? tree.children : 1;
    uint32_t *place_of = build_alloc(build, (size_t)rows * sizeof *place_of);
    tree.starts = build_alloc(build, ((size_t)members + 2) * sizeof *tree.starts);
    tree.twins = build_alloc(build, ((size_t)(rows - members) + 1) * sizeof *tree.twins);
    if (!build_stopped(build)) {
        for (uint32_t i = 0; i < members; i++)
            place_of[build->members[i]] = i;
        sort_twins(&tree, place_of);
        link_trees(&tree);
    }
    build_free(build, place_of, (size_t)rows * sizeof *place_of);
    build_free(build, tree.starts, ((size_t)members + 2) * sizeof *tree.starts);
    build_free(build, tree.twins, ((size_t)(rows - members) + 1) * sizeof *tree.twins);
}
