// gpu/device_cpu.c -- the plain half of the device: the oracle of every operation, one row after the other.
//
// Shape: handle.
//
// It is written to be seen to be right. What it costs shows only where no GPU is: the builder of the index proper
// (index/build.h) is the fast one on a CPU.
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/os_clock.h"
#include "base/tsan.h"
#include "gpu/build_int.h"
#include "gpu/device.h"
#include "gpu/search.h"
#include "index/codec.h"
#include "index/graph.h"
#include "index/nearest.h"

struct device {
    uint64_t marks[DEVICE_MARKS_MAX];
};

static omen_status
cpu_open(uint32_t ordinal, struct device **out, struct omen_error *error)
{
    *out = NULL;
    if (ordinal != 0)
        return error_set(error, OMEN_E_UNSUPPORTED, "there is one CPU device, not %u", ordinal);
    *out = mem_alloc_zero(1, sizeof **out);
    return *out != NULL ? OMEN_OK : error_set_plain(error, OMEN_E_NO_MEMORY);
}

static void
cpu_close(struct device *device)
{
    mem_free(device);
}

static void
cpu_facts(struct device *device, struct device_facts *facts)
{
    (void)device;
    *facts = (struct device_facts){.name = "cpu", .processors = 1};
}

static const char *
cpu_trouble(const struct device *device)
{
    (void)device;
    return "";
}

static omen_status
cpu_alloc(struct device *device, size_t bytes, void **memory)
{
    (void)device;
    *memory = mem_alloc_aligned(256, bytes > 0 ? bytes : 1);
    return *memory != NULL ? OMEN_OK : OMEN_E_NO_MEMORY;
}

static void
cpu_free(struct device *device, void *memory)
{
    (void)device;
    mem_free(memory);
}

static omen_status
cpu_copy(struct device *device, void *to, const void *from, size_t bytes)
{
    (void)device;
    if (bytes > 0)
        memcpy(to, from, bytes);
    return OMEN_OK;
}

static omen_status
cpu_fill(struct device *device, void *memory, uint8_t byte, size_t bytes)
{
    (void)device;
    memset(memory, byte, bytes);
    return OMEN_OK;
}

static omen_status
cpu_wait(struct device *device)
{
    (void)device;
    return OMEN_OK;
}

static omen_status
cpu_mark(struct device *device, uint32_t mark)
{
    ASSERT(mark < DEVICE_MARKS_MAX);
    device->marks[mark] = os_clock_ns();
    return OMEN_OK;
}

static omen_status
cpu_between(struct device *device, uint32_t from, uint32_t to, float *ms)
{
    ASSERT(from < DEVICE_MARKS_MAX && to < DEVICE_MARKS_MAX);
    *ms = (float)((double)(device->marks[to] - device->marks[from]) * 1e-6);
    return OMEN_OK;
}

// ---- rows ----
static omen_status
cpu_join(struct device *device, const struct device_join *join)
{
    (void)device;
    ASSERT(join->row_bytes % 16 == 0 && join->row_bytes >= NIBBLE_META_BYTES);
    ASSERT(join->stride % DEVICE_STRIDE == 0 && join->stride >= join->row_bytes * 2);
    for (uint32_t row = 0; row < join->count; row++) {
        const uint8_t *high = join->high + (size_t)row * join->row_bytes;
        const uint8_t *low = join->low + (size_t)row * join->row_bytes;
        int8_t *out = join->codes + (size_t)row * join->stride;
        memset(out, 0, join->stride);
        for (uint32_t i = 0; i < join->row_bytes; i++) {
            const uint32_t start = i / 64 * 64;
            const uint32_t width = join->row_bytes - start < 64 ? join->row_bytes - start : 64;
            // Where the high plane lends its lowest bit, the low plane has bits 4..1.
            const uint8_t first = i < NIBBLE_META_BYTES
                                      ? (uint8_t)((high[i] & 14) << 4 | (low[i] & 15) << 1)
                                      : (uint8_t)((high[i] & 15) << 4 | (low[i] & 15));
            const uint8_t second = (uint8_t)((high[i] & 0xf0) | low[i] >> 4);
            out[start * 2 + i - start] = (int8_t)(first ^ 0x80);
            out[start * 2 + width + i - start] = (int8_t)(second ^ 0x80);
        }
    }
    return OMEN_OK;
}

static const int8_t *
code_of(const struct device_rows *rows, uint32_t row)
{
    return rows->codes + (size_t)row * rows->stride;
}

static omen_status
cpu_gather(struct device *device, const struct device_gather *gather)
{
    (void)device;
    const uint32_t stride = gather->rows.stride;
    for (uint32_t i = 0; i < gather->count; i++) {
        const uint32_t row = gather->numbers[i];
        ASSERT(row < gather->rows.count);
        memcpy(gather->codes + (size_t)i * stride, code_of(&gather->rows, row), stride);
        gather->metas[i] = gather->rows.metas[row];
    }
    return OMEN_OK;
}

// ThreadSanitizer does not look at each byte, which is nine tenths of what it takes in a build: these are a device's, and got there by
// copies that it sees.
#ifdef OMEN_UNDER_TSAN
__attribute__((no_sanitize("thread")))
#endif
static int32_t
dot_of(const int8_t *one, const int8_t *other, uint32_t count)
{
    int32_t dot = 0;
    for (uint32_t c = 0; c < count; c++)
        dot += one[c] * other[c];
    return dot;
}

static float
pair_apart(const struct device_rows *a, uint32_t i, struct byte_meta meta,
           const struct device_rows *b, uint32_t j)
{
    const int32_t dot = dot_of(code_of(a, i), code_of(b, j), a->stride);
    const struct codec codec = {.metric = a->ip ? METRIC_IP : METRIC_L2, .radius2 = a->radius2};
    return codec_pair(&codec, &meta, &b->metas[j], dot);
}

static float
pair_distance(const struct device_rows *a, uint32_t i, const struct device_rows *b, uint32_t j)
{
    return pair_apart(a, i, a->metas[i], b, j);
}

// ---- nearest ----
static void
keys_none(uint64_t *keys, uint32_t from, uint32_t end)
{
    for (uint32_t i = from; i < end; i++)
        keys[i] = DEVICE_NONE;
}

// The list of one place: against base rows in order, or those of places.
static void
nearest_of(const struct device_nearest *in, uint32_t place, const struct device_tile *tile)
{
    uint64_t keys[DEVICE_LIST_MAX + 1];
    struct nearest list = {.keys = keys, .capacity = in->k};
    const uint32_t row = in->places != NULL ? place / in->fanout : place;
    struct byte_meta meta = in->queries.metas[row];
    if (in->near_turns > 0 && place % in->fanout >= in->near_turns && meta.norm > 0.0f)
        meta.norm = 0.0f;
    for (uint32_t j = 0; j < tile->base_count; j++) {
        const uint32_t at = tile->base_first + j;
        const uint32_t other = in->places != NULL ? in->places[at] / in->fanout : at;
        if (in->skip_self && other == row)
            continue;
        const float distance = pair_apart(&in->queries, row, meta, &in->base, other);
        (void)nearest_insert(&list, nearest_key(distance, other));
    }
    uint64_t *const out = in->keys + (size_t)(in->one_each ? row : place) * in->k;
    memcpy(out, keys, list.count * sizeof *keys);
    keys_none(out, list.count, in->k);
}

static omen_status
cpu_nearest(struct device *device, const struct device_nearest *in)
{
    (void)device;
    ASSERT(in->k >= 1 && in->k <= DEVICE_LIST_MAX);
    ASSERT(in->queries.stride == in->base.stride && in->queries.stride % DEVICE_STRIDE == 0);
    ASSERT(in->near_turns == 0 || (in->queries.ip && in->places != NULL));
    ASSERT(!in->one_each || in->places != NULL);
    if (in->places == NULL) {
        const struct device_tile all = {.base_count = in->base.count};
        for (uint32_t i = 0; i < in->queries.count; i++)
            nearest_of(in, i, &all);
        return OMEN_OK;
    }
    for (uint32_t t = 0; t < in->tile_count; t++) {
        const struct device_tile *tile = &in->tiles[t];
        ASSERT(tile->count >= 1 && tile->count <= DEVICE_TILE_ROWS);
        for (uint32_t i = 0; i < tile->count; i++)
            nearest_of(in, in->places[tile->first + i], tile);
    }
    return OMEN_OK;
}

static omen_status
cpu_measure(struct device *device, const struct device_measure *measure)
{
    (void)device;
    for (uint32_t i = 0; i < measure->count; i++) {
        uint64_t *const keys = measure->keys + (size_t)i * measure->width;
        for (uint32_t k = 0; k < measure->width; k++) {
            const uint32_t other = nearest_slot(keys[k]);
            if (keys[k] != DEVICE_NONE)
                keys[k] = nearest_key(
                    pair_distance(&measure->rows, measure->first + i, &measure->rows, other),
                    other);
        }
    }
    return OMEN_OK;
}

// ---- lists ----
static omen_status
cpu_group(struct device *device, const struct device_group *group)
{
    (void)device;
    ASSERT((uint64_t)group->count * group->fanout <= UINT32_MAX);
    const uint32_t all = group->count * group->fanout;
    uint32_t *const starts = group->starts;
    memset(starts, 0, ((size_t)group->groups + 1) * sizeof *starts);
    for (uint32_t p = 0; p < all; p++)
        if (group->keys[p] != DEVICE_NONE) {
            ASSERT(nearest_slot(group->keys[p]) < group->groups);
            starts[nearest_slot(group->keys[p]) + 1]++;
        }
    for (uint32_t g = 0; g < group->groups; g++)
        starts[g + 1] += starts[g];
    // From the last place to the first, each group filled from its end, which `starts` of the next one counts down.
    for (uint32_t p = all; p-- > 0;)
        if (group->keys[p] != DEVICE_NONE)
            group->places[--starts[nearest_slot(group->keys[p]) + 1]] = p;
    // Now starts[g + 1] is where g begins.
    const uint32_t groups = group->groups;
    uint32_t used = 0;
    for (uint32_t p = 0; p < all; p++)
        used += group->keys[p] != DEVICE_NONE;
    memmove(starts, starts + 1, groups * sizeof *starts);
    starts[groups] = used;
    return OMEN_OK;
}

static omen_status
cpu_merge(struct device *device, const struct device_merge *merge)
{
    (void)device;
    ASSERT(merge->width >= 1 && merge->width <= DEVICE_MERGE_MAX);
    ASSERT(merge->kept >= 1 && merge->kept <= DEVICE_LIST_MAX);
    for (uint32_t row = 0; row < merge->count; row++) {
        uint64_t keys[DEVICE_MERGE_MAX];
        memcpy(keys, merge->keys + (size_t)row * merge->width, merge->width * sizeof *keys);
        nearest_sort(keys, merge->width);
        uint64_t *const out = merge->merged + (size_t)row * merge->kept;
        uint32_t count = 0;
        for (uint32_t i = 0; i < merge->width && count < merge->kept; i++)
            if (keys[i] != DEVICE_NONE && (i == 0 || keys[i] != keys[i - 1]))
                out[count++] = keys[i];
        keys_none(out, count, merge->kept);
    }
    return OMEN_OK;
}

static uint32_t
list_count(const uint64_t *keys, uint32_t width)
{
    uint32_t count = 0;
    while (count < width && keys[count] != DEVICE_NONE)
        count++;
    return count;
}

// ---- links ----
// Whether one of the chosen, which are places below `place`, occludes the candidate there.
static bool
is_occluded(const struct device_prune *prune, const uint64_t *keys, uint64_t chosen, uint32_t place,
            float alpha2)
{
    for (uint32_t r = 0; r < place; r++) {
        if ((chosen >> r & 1) == 0)
            continue;
        const float between = pair_distance(&prune->rows, nearest_slot(keys[r]), &prune->rows,
                                            nearest_slot(keys[place]));
        if (nearest_distance(keys[place]) > alpha2 * between)
            return true;
    }
    return false;
}

static void
prune_row(const struct device_prune *prune, uint32_t row)
{
    const uint64_t *const keys = prune->candidates + (size_t)row * prune->width;
    const uint32_t count = list_count(keys, prune->width);
    const uint32_t zeros_max = prune->keep / 4 > 0 ? prune->keep / 4 : 1;
    uint64_t chosen = 0; // a bit a place
    uint32_t taken = 0, zeros = 0;
    for (uint32_t i = 0; i < count && taken < prune->keep; i++) {
        if (nearest_distance(keys[i]) == 0.0f && zeros++ >= zeros_max)
            continue;
        if (count > prune->whole && is_occluded(prune, keys, chosen, i, 1.0f))
            continue;
        chosen |= 1ull << i;
        taken++;
    }
    for (uint32_t i = 0; i < count && taken < prune->keep; i++) {
        if ((chosen >> i & 1) != 0 || nearest_distance(keys[i]) == 0.0f || // one too many
            is_occluded(prune, keys, chosen, i, prune->alpha2))
            continue;
        chosen |= 1ull << i;
        taken++;
    }
    uint64_t *const out = prune->chosen + (size_t)row * prune->keep;
    uint32_t put = 0;
    for (uint32_t i = 0; i < count; i++)
        if ((chosen >> i & 1) != 0)
            out[put++] = keys[i];
    keys_none(out, put, prune->keep);
}

static omen_status
cpu_prune(struct device *device, const struct device_prune *prune)
{
    (void)device;
    ASSERT(prune->width >= 1 && prune->width <= DEVICE_LIST_MAX);
    ASSERT(prune->keep >= 1 && prune->keep <= DEVICE_LIST_MAX && prune->whole <= prune->keep);
    ASSERT(prune->alpha2 >= 1.0f);
    for (uint32_t row = 0; row < prune->count; row++)
        prune_row(prune, row);
    return OMEN_OK;
}

static bool
has_row(const uint64_t *keys, uint32_t count, uint32_t row)
{
    for (uint32_t i = 0; i < count; i++)
        if (nearest_slot(keys[i]) == row)
            return true;
    return false;
}

// How many of the others a row takes at most; where they are fewer, its own have the rest.
static uint32_t
others_most(const struct device_reverse *reverse, uint32_t own_count)
{
    const uint32_t room = reverse->width - own_count;
    return room < reverse->farthest ? reverse->farthest : room;
}

// In a list of others, which is sorted by it, the one that is taken first has the least.
static uint64_t
other_order(const struct device_reverse *reverse, uint64_t key)
{
    return reverse->farthest > 0 ? (UINT64_MAX >> 1) - key : key; // distances have no sign
}

// One of the others to those that row `to` has by now. Whether it is near enough (or far enough) is asked first, since that is
// cheaper than whether the row has it already.
static void
take_other(const struct device_reverse *reverse, uint32_t to, uint64_t key)
{
    const uint64_t *const own = reverse->links + (size_t)to * reverse->keep;
    uint64_t *const others = reverse->candidates + (size_t)to * reverse->width;
    const uint32_t own_count = list_count(own, reverse->keep);
    const uint32_t most = others_most(reverse, own_count), there = list_count(others, most);
    const uint64_t order = other_order(reverse, key);
    if ((there == most && (most == 0 || order > others[most - 1])) ||
        has_row(own, own_count, nearest_slot(key)))
        return;
    uint32_t at = there < most ? there : most - 1;
    for (; at > 0 && others[at - 1] > order; at--)
        others[at] = others[at - 1];
    others[at] = order;
}

void
device_cpu_reverse_to(const struct device_reverse *reverse, uint32_t first, uint32_t end)
{
    const uint32_t width = reverse->width, keep = reverse->keep;
    for (size_t i = (size_t)first * width; i < (size_t)end * width; i++)
        reverse->candidates[i] = DEVICE_NONE;
    // First the others alone, each list as long as its row has places for them.
    for (uint32_t row = 0; row < reverse->count; row++) {
        const uint64_t *links = reverse->links + (size_t)row * keep;
        for (uint32_t i = 0; i < keep && links[i] != DEVICE_NONE; i++) {
            const uint32_t to = nearest_slot(links[i]);
            if (to >= first && to < end)
                take_other(reverse, to, nearest_key(nearest_distance(links[i]), row));
        }
    }
    for (uint32_t row = first; row < end; row++) {
        uint64_t *const out = reverse->candidates + (size_t)row * width;
        const uint64_t *const own = reverse->links + (size_t)row * keep;
        const uint32_t others = list_count(out, width), own_count = list_count(own, keep);
        const uint32_t own_kept = own_count < width - others ? own_count : width - others;
        for (uint32_t i = 0; i < others; i++)
            out[i] = other_order(reverse, out[i]);
        memcpy(out + others, own, own_kept * sizeof *out);
        nearest_sort(out, others + own_kept);
    }
}

static omen_status
cpu_reverse(struct device *device, const struct device_reverse *reverse)
{
    (void)device;
    ASSERT(reverse->keep <= reverse->width && reverse->width <= DEVICE_LIST_MAX);
    ASSERT(reverse->farthest <= reverse->width);
    device_cpu_reverse_to(reverse, 0, reverse->count);
    return OMEN_OK;
}

static bool
seen_set(uint32_t *seen, uint32_t row)
{
    const uint32_t bit = 1u << row % 32;
    const bool before = (seen[row / 32] & bit) != 0;
    seen[row / 32] |= bit;
    return !before;
}

static omen_status
cpu_reach(struct device *device, const struct device_reach *reach)
{
    (void)device;
    ASSERT(reach->entry < reach->count);
    uint32_t *const queue = mem_alloc((size_t)reach->count * sizeof *queue);
    if (queue == NULL)
        return OMEN_E_NO_MEMORY;
    memset(reach->seen, 0, ((size_t)reach->count + 31) / 32 * sizeof *reach->seen);
    uint32_t head = 0, tail = 0, steps = 0;
    queue[tail++] = reach->entry;
    (void)seen_set(reach->seen, reach->entry);
    for (uint32_t end = tail; head < tail; end = tail) {
        for (; head < end; head++) {
            const uint64_t *links = reach->links + (size_t)queue[head] * reach->keep;
            for (uint32_t i = 0; i < reach->keep && links[i] != DEVICE_NONE; i++)
                if (seen_set(reach->seen, nearest_slot(links[i])))
                    queue[tail++] = nearest_slot(links[i]);
        }
        steps += tail > end;
    }
    *reach->reached = tail;
    *reach->steps = steps;
    mem_free(queue);
    return OMEN_OK;
}

static omen_status
cpu_pack(struct device *device, const struct device_pack *pack)
{
    (void)device;
    ASSERT(pack->keep <= pack->links_max && pack->links_max <= LINK_ROW_MAX);
    const uint32_t bytes = link_row_bytes(pack->links_max, (enum link_width)pack->width);
    for (uint32_t row = 0; row < pack->count; row++) {
        const uint64_t *links = pack->links + (size_t)row * pack->keep;
        uint8_t *at = pack->blocks + (size_t)row * bytes;
        memset(at, 0xff, bytes);
        for (uint32_t i = 0; i < pack->keep && links[i] != DEVICE_NONE; i++)
            for (uint32_t b = 0; b < pack->width; b++)
                *at++ = (uint8_t)(nearest_slot(links[i]) >> 8 * b);
    }
    return OMEN_OK;
}

const struct device_ops device_cpu = {
    .abi = DEVICE_ABI,
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .facts = cpu_facts,
    .trouble = cpu_trouble,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .host_alloc = cpu_alloc,
    .host_free = cpu_free,
    .put = cpu_copy,
    .get = cpu_copy,
    .fill = cpu_fill,
    .wait = cpu_wait,
    .mark = cpu_mark,
    .between = cpu_between,
    .join = cpu_join,
    .gather = cpu_gather,
    .nearest = cpu_nearest,
    .group = cpu_group,
    .merge = cpu_merge,
    .measure = cpu_measure,
    .prune = cpu_prune,
    .reverse = cpu_reverse,
    .reach = cpu_reach,
    .pack = cpu_pack,
    .walk = device_cpu_walk,
    .rerank = device_cpu_rerank,
    .knn = device_cpu_knn,
};
