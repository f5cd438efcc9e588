// bench/gpu/ops.c -- each operation of a device against the plain half, bit for bit.
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/prng.h"
#include "bench/gpu/check.h"
#include "index/graph.h"
#include "index/nearest.h"

#define SHOWN 6u

const char *const op_names[] = {"copy",    "join",  "gather",  "nearest", "tiles", "group", "merge",
                                "measure", "prune", "reverse", "reach",   "pack",  "build", NULL};

struct both {
    const struct device_handle *tested, *oracle;
};

// The same bytes on both.
struct twin {
    void *tested, *oracle;
    size_t bytes;
};

static struct twin
twin_make(const struct both *both, const void *host, size_t bytes)
{
    struct twin twin = {.tested = device_memory(both->tested, bytes),
                        .oracle = device_memory(both->oracle, bytes),
                        .bytes = bytes};
    if (host != NULL) {
        must_device(both->tested,
                    both->tested->ops->put(both->tested->device, twin.tested, host, bytes), "put");
        must_device(both->tested, both->tested->ops->wait(both->tested->device), "wait");
        memcpy(twin.oracle, host, bytes);
    } else { // what nobody writes differs
        must_device(both->tested,
                    both->tested->ops->fill(both->tested->device, twin.tested, 0xa5, bytes),
                    "fill");
        memset(twin.oracle, 0x5a, bytes);
    }
    return twin;
}

static void
twin_end(const struct both *both, struct twin *twin)
{
    device_drop(both->tested, twin->tested);
    device_drop(both->oracle, twin->oracle);
}

static void
show(const void *at, size_t unit)
{
    if (unit == 8) {
        uint64_t key;
        memcpy(&key, at, sizeof key);
        if (key == DEVICE_NONE)
            printf("none");
        else
            printf("%.9g to %u", (double)nearest_distance(key), nearest_slot(key));
    } else if (unit == 4) {
        uint32_t value;
        memcpy(&value, at, sizeof value);
        printf("%u", value);
    } else {
        printf("%02x", *(const unsigned char *)at);
    }
}

// Compares in units of 1, 4 or 8 bytes; `width` of them are a row, for the report.
static bool
twin_same(const struct both *both, const struct twin *twin, size_t unit, uint32_t width,
          const char *what)
{
    uint8_t *got = mem_alloc(twin->bytes + 1);
    if (got == NULL)
        die("no memory for %zu bytes", twin->bytes);
    must_device(both->tested,
                both->tested->ops->get(both->tested->device, got, twin->tested, twin->bytes), what);
    const uint8_t *want = twin->oracle;
    size_t wrong = 0;
    for (size_t i = 0; i < twin->bytes / unit; i++) {
        if (memcmp(got + i * unit, want + i * unit, unit) == 0)
            continue;
        if (wrong++ < SHOWN) {
            printf("  row %zu place %zu: ", i / width, i % width);
            show(got + i * unit, unit);
            printf(" instead of ");
            show(want + i * unit, unit);
            printf("\n");
        }
    }
    if (wrong > 0)
        printf("FAIL %s: %zu of %zu differ\n", what, wrong, twin->bytes / unit);
    mem_free(got);
    return wrong == 0;
}

// Runs one operation on both; the two structs differ in their pointers only.
#define RUN_BOTH(both, op, of_tested, of_oracle)                                                   \
    do {                                                                                           \
        must_device((both)->oracle, (both)->oracle->ops->op((both)->oracle->device, of_oracle),    \
                    #op " of the oracle");                                                         \
        must_device((both)->tested, (both)->tested->ops->op((both)->tested->device, of_tested),    \
                    #op);                                                                          \
        must_device((both)->tested, (both)->tested->ops->wait((both)->tested->device), #op);       \
    } while (0)

// ---- made rows ----
struct made {
    struct twin codes, metas;
    uint32_t count, stride;
    uint32_t ip;
};

// Rows around a few centres; every seventh is equal to another one.
static void
fill_plain(int8_t *codes, struct byte_meta *metas, uint32_t count, uint32_t stride, uint32_t ip)
{
    struct prng prng;
    prng_init(&prng, 77 + count + stride);
    for (uint32_t i = 0; i < count; i++) {
        int8_t *code = codes + (size_t)i * stride;
        if (i % 7 == 6) {
            const uint32_t same = prng_below(&prng, i);
            memcpy(code, codes + (size_t)same * stride, stride);
            metas[i] = metas[same];
            continue;
        }
        struct prng centre;
        prng_init(&centre, mix64(prng_below(&prng, count / 50 + 1)));
        uint64_t norm2 = 0;
        for (uint32_t c = 0; c < stride; c++) {
            const int32_t value =
                (int32_t)prng_below(&centre, 201) - 100 + (int32_t)prng_below(&prng, 55) - 27;
            code[c] = (int8_t)value;
            norm2 += (uint64_t)(value * value);
        }
        const float factor = 0.01f * (0.9f + 0.2f * prng_unit(&prng));
        metas[i] = (struct byte_meta){factor, factor * factor * (float)norm2};
        if (ip)
            metas[i].norm = prng_unit(&prng) * 20.0f - 4.0f;
    }
}

// All far from all but two rows of each 64th tile of 128: who looks at those tiles first is misled.
static void
fill_uneven(int8_t *codes, struct byte_meta *metas, uint32_t count, uint32_t stride)
{
    struct prng prng;
    prng_init(&prng, 3 + count + stride);
    for (uint32_t i = 0; i < count; i++) {
        const int32_t centre = i / 128 % 64 == 0 && i % 128 < 2 ? 60 : -60;
        uint64_t norm2 = 0;
        for (uint32_t c = 0; c < stride; c++) {
            const int32_t value = centre + (int32_t)prng_below(&prng, 41) - 20;
            codes[(size_t)i * stride + c] = (int8_t)value;
            norm2 += (uint64_t)(value * value);
        }
        metas[i] = (struct byte_meta){0.01f, 0.0001f * (float)norm2};
    }
}

// Every third row is zero, and has a factor of zero; every fifth's factor is small.
static void
fill_zeros(int8_t *codes, struct byte_meta *metas, uint32_t count, uint32_t stride, uint32_t ip)
{
    fill_plain(codes, metas, count, stride, ip);
    for (uint32_t i = 0; i < count; i++)
        if (i % 3 == 1) {
            memset(codes + (size_t)i * stride, 0, stride);
            metas[i] = (struct byte_meta){0.0f, 0.0f};
        } else if (i % 5 == 0) {
            metas[i].factor *= 1e-20f;
        }
}

enum fill { FILL_PLAIN, FILL_UNEVEN, FILL_ZEROS };

static void
made_rows_so(const struct both *both, uint32_t count, uint32_t stride, uint32_t ip, enum fill fill,
             struct made *made)
{
    int8_t *codes = mem_alloc((size_t)count * stride + 1);
    struct byte_meta *metas = mem_alloc(count * sizeof *metas + 1);
    if (codes == NULL || metas == NULL)
        die("no memory for rows");
    if (fill == FILL_UNEVEN)
        fill_uneven(codes, metas, count, stride);
    else if (fill == FILL_ZEROS)
        fill_zeros(codes, metas, count, stride, ip);
    else
        fill_plain(codes, metas, count, stride, ip);
    *made = (struct made){.codes = twin_make(both, codes, (size_t)count * stride),
                          .metas = twin_make(both, metas, count * sizeof *metas),
                          .count = count,
                          .stride = stride,
                          .ip = ip};
    mem_free(codes);
    mem_free(metas);
}

static void
made_rows(const struct both *both, uint32_t count, uint32_t stride, uint32_t ip, struct made *made)
{
    made_rows_so(both, count, stride, ip, FILL_PLAIN, made);
}

static void
made_end(const struct both *both, struct made *made)
{
    twin_end(both, &made->codes);
    twin_end(both, &made->metas);
}

enum side { TESTED, ORACLE };

static struct device_rows
rows_on(const struct made *made, enum side side)
{
    return (struct device_rows){
        .codes = side == TESTED ? made->codes.tested : made->codes.oracle,
        .metas = side == TESTED ? made->metas.tested : made->metas.oracle,
        .count = made->count,
        .stride = made->stride,
        .ip = made->ip,
        .radius2 = 900.0f,
    };
}

// ---- operations ----
static bool
check_copy(const struct both *both)
{
    uint8_t bytes[1000];
    for (uint32_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7);
    struct twin twin = twin_make(both, bytes, sizeof bytes);
    bool same = twin_same(both, &twin, 1, 1000, "copy");
    must_device(both->tested,
                both->tested->ops->fill(both->tested->device, (uint8_t *)twin.tested + 10, 9, 100),
                "fill");
    memset((uint8_t *)twin.oracle + 10, 9, 100);
    same &= twin_same(both, &twin, 1, 1000, "fill");
    twin_end(both, &twin);
    return same;
}

static bool
check_join(const struct both *both)
{
    static const uint32_t row_bytes[] = {32, 48, 64, 80, 112, 384, 2048};
    bool same = true;
    for (size_t c = 0; c < sizeof row_bytes / sizeof row_bytes[0] && same; c++) {
        const uint32_t count = 501, width = row_bytes[c];
        const size_t plane = (size_t)count * width;
        uint8_t *planes = mem_alloc(plane * 2);
        struct prng prng;
        prng_init(&prng, width);
        for (size_t i = 0; planes != NULL && i < plane * 2; i++)
            planes[i] = (uint8_t)prng_next(&prng);
        const uint32_t stride = (width * 2 + DEVICE_STRIDE - 1) / DEVICE_STRIDE * DEVICE_STRIDE;
        struct twin in = twin_make(both, planes, plane * 2);
        struct twin out = twin_make(both, NULL, (size_t)count * stride);
        struct device_join of_tested = {.high = in.tested,
                                        .low = (uint8_t *)in.tested + plane,
                                        .count = count,
                                        .row_bytes = width,
                                        .stride = stride,
                                        .codes = out.tested};
        struct device_join of_oracle = of_tested;
        of_oracle.high = in.oracle;
        of_oracle.low = (uint8_t *)in.oracle + plane;
        of_oracle.codes = out.oracle;
        RUN_BOTH(both, join, &of_tested, &of_oracle);
        char what[64];
        snprintf(what, sizeof what, "join, planes of %u bytes", width);
        same = twin_same(both, &out, 1, stride, what);
        twin_end(both, &in);
        twin_end(both, &out);
        mem_free(planes);
    }
    return same;
}

static bool
check_gather(const struct both *both)
{
    struct made made;
    made_rows(both, 900, 192, 0, &made);
    uint32_t numbers[333];
    for (uint32_t i = 0; i < 333; i++)
        numbers[i] = i * 577 % 900;
    struct twin in = twin_make(both, numbers, sizeof numbers);
    struct twin codes = twin_make(both, NULL, 333 * 192);
    struct twin metas = twin_make(both, NULL, 333 * sizeof(struct byte_meta));
    const struct device_gather of_tested = {rows_on(&made, TESTED), in.tested, 333, codes.tested,
                                            metas.tested};
    const struct device_gather of_oracle = {rows_on(&made, ORACLE), in.oracle, 333, codes.oracle,
                                            metas.oracle};
    RUN_BOTH(both, gather, &of_tested, &of_oracle);
    const bool same = twin_same(both, &codes, 1, 192, "gather, codes") &&
                      twin_same(both, &metas, 4, 2, "gather, metas");
    twin_end(both, &in);
    twin_end(both, &codes);
    twin_end(both, &metas);
    made_end(both, &made);
    return same;
}

static bool
check_nearest(const struct both *both)
{
    static const struct {
        uint32_t queries, base, stride, k, self, ip;
        enum fill fill;
    } cases[] = {
        {1, 1, 64, 1, 0, 0, FILL_PLAIN},          {1, 1, 64, 3, 1, 0, FILL_PLAIN},
        {5, 3, 64, 10, 0, 0, FILL_PLAIN},         {128, 128, 64, 10, 1, 0, FILL_PLAIN},
        {127, 129, 64, 10, 1, 0, FILL_PLAIN},     {300, 1000, 128, 64, 1, 0, FILL_PLAIN},
        {200, 3000, 128, 10, 1, 1, FILL_PLAIN},   {130, 700, 768, 64, 1, 0, FILL_PLAIN},
        {100, 300, 320, 33, 0, 0, FILL_PLAIN},    {64, 500, 4096, 16, 1, 1, FILL_PLAIN},
        {257, 2049, 192, 32, 1, 0, FILL_PLAIN},   {1024, 20000, 128, 64, 1, 0, FILL_PLAIN},
        {270, 5000, 256, 64, 0, 1, FILL_PLAIN},   {129, 3000, 1024, 40, 1, 1, FILL_PLAIN},
        {300, 2000, 128, 20, 1, 0, FILL_ZEROS},   {140, 900, 448, 64, 1, 1, FILL_ZEROS},
        {70, 270000, 64, 64, 1, 0, FILL_PLAIN},   {70, 270000, 64, 64, 1, 0, FILL_UNEVEN},
        {20, 263000, 320, 12, 1, 0, FILL_UNEVEN}, {300, 3000, 512, 64, 1, 1, FILL_PLAIN},
        {200, 1500, 1088, 64, 1, 0, FILL_PLAIN},  {150, 1500, 1280, 20, 1, 1, FILL_UNEVEN},
        {70000, 40, 384, 10, 1, 0, FILL_PLAIN},   {34000, 40, 640, 10, 1, 1, FILL_PLAIN},
    };
    bool same = true;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0] && same; c++) {
        struct made made;
        made_rows_so(both, cases[c].base, cases[c].stride, cases[c].ip, cases[c].fill, &made);
        struct made asked;
        made_rows_so(both, cases[c].queries, cases[c].stride, cases[c].ip, cases[c].fill, &asked);
        struct twin keys =
            twin_make(both, NULL, (size_t)cases[c].queries * cases[c].k * sizeof(uint64_t));
        struct device_nearest of_tested = {.queries = rows_on(&asked, TESTED),
                                           .base = rows_on(&made, TESTED),
                                           .k = cases[c].k,
                                           .skip_self = cases[c].self,
                                           .keys = keys.tested};
        struct device_nearest of_oracle = of_tested;
        of_oracle.queries = rows_on(&asked, ORACLE);
        of_oracle.base = rows_on(&made, ORACLE);
        of_oracle.keys = keys.oracle;
        RUN_BOTH(both, nearest, &of_tested, &of_oracle);
        char what[128];
        snprintf(what, sizeof what, "nearest, %u of %u rows of %u, k %u, self %u, ip %u, rows %d",
                 cases[c].queries, cases[c].base, cases[c].stride, cases[c].k, cases[c].self,
                 cases[c].ip, (int)cases[c].fill);
        same = twin_same(both, &keys, 8, cases[c].k, what);
        twin_end(both, &keys);
        made_end(both, &made);
        made_end(both, &asked);
    }
    return same;
}

// Rows in groups of very different size, each in `fanout` of them.
struct grouped {
    uint64_t *keys;
    uint32_t *places, *starts;
    struct device_tile *tiles;
    uint32_t tile_count;
};

static void
grouped_make(const struct both *both, uint32_t count, uint32_t fanout, uint32_t groups,
             struct grouped *out)
{
    struct prng prng;
    prng_init(&prng, count);
    const size_t all = (size_t)count * fanout;
    out->keys = mem_alloc(all * sizeof *out->keys);
    out->places = mem_alloc_zero(all, sizeof *out->places);
    out->starts = mem_alloc((groups + 1u) * sizeof *out->starts);
    out->tiles = mem_alloc((all / 2 + groups + 1) * sizeof *out->tiles);
    if (out->keys == NULL || out->places == NULL || out->starts == NULL || out->tiles == NULL)
        die("no memory for groups");
    for (uint32_t row = 0; row < count; row++)
        for (uint32_t f = 0; f < fanout; f++) {
            // Turn f goes to a group of its own third, so that a row is in no group twice; small numbers are drawn most.
            const uint32_t third = groups / fanout;
            const uint32_t one = prng_below(&prng, third), two = prng_below(&prng, one + 1);
            out->keys[(size_t)row * fanout + f] =
                prng_below(&prng, 10) == 0 ? DEVICE_NONE : nearest_key(1.0f, f * third + two);
        }
    const struct device_group group = {out->keys, count, fanout, groups, out->places, out->starts};
    must(both->oracle->ops->group(both->oracle->device, &group), "group of the oracle");
    out->tile_count = 0;
    for (uint32_t g = 0; g < groups; g++)
        for (uint32_t at = out->starts[g]; at < out->starts[g + 1]; at += DEVICE_TILE_ROWS) {
            const uint32_t left = out->starts[g + 1] - at;
            out->tiles[out->tile_count++] =
                (struct device_tile){at, left < DEVICE_TILE_ROWS ? left : DEVICE_TILE_ROWS,
                                     out->starts[g], out->starts[g + 1] - out->starts[g]};
        }
}

static void
grouped_end(struct grouped *grouped)
{
    mem_free(grouped->keys);
    mem_free(grouped->places);
    mem_free(grouped->starts);
    mem_free(grouped->tiles);
}

static bool
check_tiles(const struct both *both)
{
    static const struct {
        uint32_t count, fanout, groups, stride, k, ip, near_turns;
    } cases[] = {{3000, 3, 30, 128, 8, 0, 0},
                 {2000, 2, 200, 64, 16, 1, 0},
                 {1500, 4, 8, 768, 40, 0, 0},
                 {3000, 3, 30, 128, 16, 1, 2},
                 {900, 2, 4, 448, 33, 1, 1}};
    bool same = true;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0] && same; c++) {
        struct made made;
        struct grouped grouped;
        made_rows(both, cases[c].count, cases[c].stride, cases[c].ip, &made);
        grouped_make(both, cases[c].count, cases[c].fanout, cases[c].groups, &grouped);
        const size_t all = (size_t)cases[c].count * cases[c].fanout;
        struct twin places = twin_make(both, grouped.places, all * sizeof(uint32_t));
        struct twin tiles =
            twin_make(both, grouped.tiles, grouped.tile_count * sizeof *grouped.tiles);
        uint64_t *none = mem_alloc(all * cases[c].k * sizeof *none);
        if (none == NULL)
            die("no memory for lists");
        memset(none, 0xff, all * cases[c].k * sizeof *none);
        struct twin keys = twin_make(both, none, all * cases[c].k * sizeof *none);
        struct device_nearest of_tested = {.queries = rows_on(&made, TESTED),
                                           .base = rows_on(&made, TESTED),
                                           .places = places.tested,
                                           .tiles = tiles.tested,
                                           .tile_count = grouped.tile_count,
                                           .fanout = cases[c].fanout,
                                           .k = cases[c].k,
                                           .skip_self = 1,
                                           .near_turns = cases[c].near_turns,
                                           .keys = keys.tested};
        struct device_nearest of_oracle = of_tested;
        of_oracle.queries = of_oracle.base = rows_on(&made, ORACLE);
        of_oracle.places = places.oracle;
        of_oracle.tiles = tiles.oracle;
        of_oracle.keys = keys.oracle;
        RUN_BOTH(both, nearest, &of_tested, &of_oracle);
        char what[128];
        snprintf(what, sizeof what,
                 "nearest in %u groups of %u rows of %u, k %u, ip %u, near turns %u",
                 cases[c].groups, cases[c].count, cases[c].stride, cases[c].k, cases[c].ip,
                 cases[c].near_turns);
        same = twin_same(both, &keys, 8, cases[c].k, what);
        mem_free(none);
        twin_end(both, &places);
        twin_end(both, &tiles);
        twin_end(both, &keys);
        made_end(both, &made);
        grouped_end(&grouped);
    }
    return same;
}

static bool
check_group(const struct both *both)
{
    static const uint32_t cases[][3] = {
        {1, 1, 1}, {1000, 1, 3}, {30000, 3, 777}, {100000, 8, 4096}};
    bool same = true;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0] && same; c++) {
        const uint32_t count = cases[c][0], fanout = cases[c][1], groups = cases[c][2];
        struct grouped grouped;
        grouped_make(both, count, fanout, groups, &grouped);
        const size_t all = (size_t)count * fanout;
        struct twin keys = twin_make(both, grouped.keys, all * sizeof(uint64_t));
        struct twin places = twin_make(both, NULL, all * sizeof(uint32_t));
        struct twin starts = twin_make(both, NULL, (groups + 1u) * sizeof(uint32_t));
        const struct device_group of_tested = {keys.tested, count,         fanout,
                                               groups,      places.tested, starts.tested};
        const struct device_group of_oracle = {keys.oracle, count,         fanout,
                                               groups,      places.oracle, starts.oracle};
        RUN_BOTH(both, group, &of_tested, &of_oracle);
        const size_t bytes = places.bytes;
        places.bytes = ((const uint32_t *)starts.oracle)[groups] * sizeof(uint32_t);
        char what[64];
        snprintf(what, sizeof what, "group, %u x %u in %u", count, fanout, groups);
        same = twin_same(both, &starts, 4, groups + 1, what) &&
               twin_same(both, &places, 4, fanout, what);
        places.bytes = bytes;
        twin_end(both, &keys);
        twin_end(both, &places);
        twin_end(both, &starts);
        grouped_end(&grouped);
    }
    return same;
}

static bool
check_merge(const struct both *both)
{
    static const uint32_t cases[][3] = {{5, 1, 1},       {3000, 33, 10},  {3000, 64, 64},
                                        {3000, 128, 64}, {3000, 100, 20}, {1001, 256, 64}};
    bool same = true;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0] && same; c++) {
        const uint32_t count = cases[c][0], width = cases[c][1], kept = cases[c][2];
        uint64_t *host = mem_alloc((size_t)count * width * sizeof *host);
        struct prng prng;
        prng_init(&prng, width);
        for (size_t i = 0; host != NULL && i < (size_t)count * width; i++) {
            const uint32_t slot = prng_below(&prng, width); // each about once: many repetitions
            host[i] = prng_below(&prng, 8) == 0 ? DEVICE_NONE
                                                : nearest_key((float)(slot * 37 % 11), slot);
        }
        struct twin in = twin_make(both, host, (size_t)count * width * sizeof *host);
        struct twin out = twin_make(both, NULL, (size_t)count * kept * sizeof *host);
        const struct device_merge of_tested = {in.tested, count, width, kept, out.tested};
        const struct device_merge of_oracle = {in.oracle, count, width, kept, out.oracle};
        RUN_BOTH(both, merge, &of_tested, &of_oracle);
        char what[64];
        snprintf(what, sizeof what, "merge, %u of %u", kept, width);
        same = twin_same(both, &out, 8, kept, what);
        if (same && width <= DEVICE_LIST_MAX) {
            const struct device_merge there = {in.tested, count, width, width, in.tested};
            const struct device_merge there_too = {in.oracle, count, width, width, in.oracle};
            RUN_BOTH(both, merge, &there, &there_too);
            snprintf(what, sizeof what, "merge where the lists lie, %u", width);
            same = twin_same(both, &in, 8, width, what);
        }
        twin_end(both, &in);
        twin_end(both, &out);
        mem_free(host);
    }
    return same;
}

// Lists of rows drawn at will, whose distances mean nothing.
static bool
check_measure(const struct both *both)
{
    static const struct {
        uint32_t rows, stride, first, count, width, ip;
        enum fill fill;
    } cases[] = {{1, 64, 0, 1, 1, 0, FILL_PLAIN},         {500, 64, 0, 500, 64, 1, FILL_PLAIN},
                 {700, 128, 0, 700, 64, 1, FILL_PLAIN},   {700, 128, 0, 700, 64, 0, FILL_PLAIN},
                 {900, 192, 100, 333, 31, 1, FILL_ZEROS}, {300, 768, 7, 200, 7, 1, FILL_PLAIN},
                 {90, 4096, 89, 1, 66, 1, FILL_PLAIN},    {40, 320, 0, 0, 5, 1, FILL_PLAIN}};
    bool same = true;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0] && same; c++) {
        struct made made;
        made_rows_so(both, cases[c].rows, cases[c].stride, cases[c].ip, cases[c].fill, &made);
        const size_t all = (size_t)cases[c].count * cases[c].width;
        uint64_t *host = mem_alloc(all * sizeof *host + 1);
        struct prng prng;
        prng_init(&prng, c);
        for (size_t i = 0; host != NULL && i < all; i++)
            host[i] = prng_below(&prng, 9) == 0
                          ? DEVICE_NONE
                          : nearest_key(1.0f, prng_below(&prng, cases[c].rows));
        struct twin keys = twin_make(both, host, all * sizeof *host);
        const struct device_measure of_tested = {rows_on(&made, TESTED), cases[c].first,
                                                 cases[c].count, cases[c].width, keys.tested};
        const struct device_measure of_oracle = {rows_on(&made, ORACLE), cases[c].first,
                                                 cases[c].count, cases[c].width, keys.oracle};
        RUN_BOTH(both, measure, &of_tested, &of_oracle);
        char what[128];
        snprintf(what, sizeof what,
                 "measure, %u lists of %u from row %u, rows of %u, ip %u, rows %d", cases[c].count,
                 cases[c].width, cases[c].first, cases[c].stride, cases[c].ip, (int)cases[c].fill);
        same = twin_same(both, &keys, 8, cases[c].width, what);
        twin_end(both, &keys);
        made_end(both, &made);
        mem_free(host);
    }
    return same;
}

// Candidates: the nearest of each row by the oracle.
static struct twin
made_candidates(const struct both *both, const struct made *made, uint32_t width)
{
    const size_t bytes = (size_t)made->count * width * sizeof(uint64_t);
    uint64_t *keys = mem_alloc(bytes);
    if (keys == NULL)
        die("no memory for candidates");
    const struct device_nearest nearest = {.queries = rows_on(made, ORACLE),
                                           .base = rows_on(made, ORACLE),
                                           .k = width,
                                           .skip_self = 1,
                                           .keys = keys};
    must(both->oracle->ops->nearest(both->oracle->device, &nearest), "nearest of the oracle");
    struct twin twin = twin_make(both, keys, bytes);
    mem_free(keys);
    return twin;
}

static bool
check_prune(const struct both *both)
{
    static const struct {
        uint32_t count, stride, width, keep, whole, ip;
        float alpha2;
    } cases[] = {{40, 64, 64, 24, 0, 0, 1.0f},     {2000, 128, 64, 24, 0, 0, 1.7f},
                 {2000, 128, 64, 32, 32, 0, 1.7f}, {1500, 64, 20, 32, 0, 1, 1.44f},
                 {1500, 64, 30, 32, 32, 1, 1.0f},  {700, 768, 64, 64, 0, 0, 1.2f},
                 {300, 1088, 50, 2, 0, 0, 1.0f}};
    bool same = true;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0] && same; c++) {
        struct made made;
        made_rows(both, cases[c].count, cases[c].stride, cases[c].ip, &made);
        struct twin candidates = made_candidates(both, &made, cases[c].width);
        struct twin chosen =
            twin_make(both, NULL, (size_t)cases[c].count * cases[c].keep * sizeof(uint64_t));
        struct device_prune of_tested = {.rows = rows_on(&made, TESTED),
                                         .count = cases[c].count,
                                         .candidates = candidates.tested,
                                         .width = cases[c].width,
                                         .keep = cases[c].keep,
                                         .whole = cases[c].whole,
                                         .alpha2 = cases[c].alpha2,
                                         .chosen = chosen.tested};
        struct device_prune of_oracle = of_tested;
        of_oracle.rows = rows_on(&made, ORACLE);
        of_oracle.candidates = candidates.oracle;
        of_oracle.chosen = chosen.oracle;
        RUN_BOTH(both, prune, &of_tested, &of_oracle);
        char what[96];
        snprintf(what, sizeof what, "prune, rows of %u, %u of %u, whole %u, ip %u", cases[c].stride,
                 cases[c].keep, cases[c].width, cases[c].whole, cases[c].ip);
        same = twin_same(both, &chosen, 8, cases[c].keep, what);
        twin_end(both, &candidates);
        twin_end(both, &chosen);
        made_end(both, &made);
    }
    return same;
}

// Links that are the same both ways in length; one row in ten has many links to it.
static struct twin
made_links(const struct both *both, uint32_t count, uint32_t keep)
{
    const size_t bytes = (size_t)count * keep * sizeof(uint64_t);
    uint64_t *keys = mem_alloc(bytes);
    if (keys == NULL)
        die("no memory for links");
    struct prng prng;
    prng_init(&prng, count + keep);
    for (uint32_t row = 0; row < count; row++) {
        struct nearest list = {.keys = (uint64_t[DEVICE_LIST_MAX + 1]){0}, .capacity = keep};
        const uint32_t want = prng_below(&prng, keep + 1);
        for (uint32_t i = 0; i < want; i++) {
            uint32_t to = row + 1 + prng_below(&prng, 60);
            if (prng_below(&prng, 3) == 0)
                to = prng_below(&prng, count / 10 + 1);
            to %= count;
            const uint64_t low = row < to ? row : to, high = row < to ? to : row;
            const uint64_t key = nearest_key((float)(mix64(low << 32 | high) % 16), to);
            bool there = to == row;
            for (uint32_t j = 0; j < list.count; j++)
                there |= list.keys[j] == key;
            if (!there)
                (void)nearest_insert(&list, key);
        }
        uint64_t *const out = keys + (size_t)row * keep;
        memset(out, 0xff, keep * sizeof *out);
        memcpy(out, list.keys, list.count * sizeof *out);
    }
    struct twin twin = twin_make(both, keys, bytes);
    mem_free(keys);
    return twin;
}

static bool
check_reverse(const struct both *both)
{
    static const uint32_t cases[][4] = {{2, 1, 1, 0},       {500, 8, 10, 0},   {20000, 24, 64, 0},
                                        {5000, 64, 64, 0},  {2, 1, 1, 1},      {500, 8, 10, 3},
                                        {20000, 24, 64, 9}, {5000, 64, 64, 32}};
    bool same = true;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0] && same; c++) {
        const uint32_t count = cases[c][0], keep = cases[c][1], width = cases[c][2];
        const uint32_t farthest = cases[c][3];
        struct twin links = made_links(both, count, keep);
        struct twin out = twin_make(both, NULL, (size_t)count * width * sizeof(uint64_t));
        const struct device_reverse of_tested = {links.tested, count,    keep,
                                                 width,        farthest, out.tested};
        const struct device_reverse of_oracle = {links.oracle, count,    keep,
                                                 width,        farthest, out.oracle};
        RUN_BOTH(both, reverse, &of_tested, &of_oracle);
        char what[64];
        snprintf(what, sizeof what, "reverse, %u rows, %u to %u, %u farthest", count, keep, width,
                 farthest);
        same = twin_same(both, &out, 8, width, what);
        twin_end(both, &links);
        twin_end(both, &out);
    }
    return same;
}

static bool
check_reach(const struct both *both)
{
    static const uint32_t cases[][2] = {{1, 1}, {3000, 1}, {50000, 4}, {100000, 40}};
    bool same = true;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0] && same; c++) {
        const uint32_t count = cases[c][0], keep = cases[c][1];
        struct twin links = made_links(both, count, keep);
        struct twin seen = twin_make(both, NULL, ((size_t)count + 31) / 32 * sizeof(uint32_t));
        uint32_t reached[2], steps[2];
        struct device_reach of_tested = {links.tested, count,       keep,     count / 3,
                                         seen.tested,  &reached[0], &steps[0]};
        struct device_reach of_oracle = {links.oracle, count,       keep,     count / 3,
                                         seen.oracle,  &reached[1], &steps[1]};
        RUN_BOTH(both, reach, &of_tested, &of_oracle);
        char what[64];
        snprintf(what, sizeof what, "reach, %u rows", count);
        same = twin_same(both, &seen, 4, 1, what);
        if (reached[0] != reached[1] || steps[0] != steps[1]) {
            printf("FAIL %s: %u rows in %u steps instead of %u in %u\n", what, reached[0], steps[0],
                   reached[1], steps[1]);
            same = false;
        }
        twin_end(both, &links);
        twin_end(both, &seen);
    }
    return same;
}

static bool
check_pack(const struct both *both)
{
    static const uint32_t cases[][3] = {
        {24, 24, LINKS_24}, {32, 32, LINKS_24}, {32, 48, LINKS_32}, {64, 128, LINKS_24}};
    bool same = true;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0] && same; c++) {
        const uint32_t count = 3001, keep = cases[c][0], most = cases[c][1], width = cases[c][2];
        struct twin links = made_links(both, count, keep);
        const uint32_t bytes = link_row_bytes(most, (enum link_width)width);
        struct twin blocks = twin_make(both, NULL, (size_t)count * bytes);
        const struct device_pack of_tested = {links.tested, count, keep,
                                              most,         width, blocks.tested};
        const struct device_pack of_oracle = {links.oracle, count, keep,
                                              most,         width, blocks.oracle};
        RUN_BOTH(both, pack, &of_tested, &of_oracle);
        char what[64];
        snprintf(what, sizeof what, "pack, %u of %u links of %u bytes", keep, most, width);
        same = twin_same(both, &blocks, 1, bytes, what);
        twin_end(both, &links);
        twin_end(both, &blocks);
    }
    return same;
}

// A whole build, by leaves and by exact lists, and one in a third of the memory: the same blocks.
static bool
check_build(const struct both *both)
{
    static const struct {
        const char *name;
        uint32_t spread; // of lengths, under ip; 0: l2
        bool exact, parts;
    } ways[] = {{"leaves", 0, false, false},
                {"exact lists", 0, true, false},
                {"leaves, by parts", 0, false, true},
                {"products", 25, false, false},
                {"products, by parts", 100, false, true}};
    bool same = true;
    for (size_t way = 0; way < sizeof ways / sizeof *ways && same; way++) {
        const bool exact = ways[way].exact, parts = ways[way].parts;
        struct lab lab;
        struct lab_input input;
        const struct lab_rows rows = {exact ? 3000 : 12000, 64, ways[way].spread};
        lab_open(&lab, &rows, 4);
        lab_encode(&lab);
        lab_input_open(&lab, both->oracle, &input);
        struct gpu_build_config config =
            (rows.spread > 0 ? gpu_build_config_for_ip : gpu_build_config_for)(rows.count, 16);
        config.exact_rows = exact ? UINT32_MAX : 0;
        config.leaf_rows = 300;
        config.leaf_max = 500;
        config.entry = 17;
        const size_t bytes = (size_t)rows.count *
                             link_row_bytes(config.links_max, (enum link_width)config.link_width);
        uint8_t *got = mem_alloc(bytes), *want = mem_alloc(bytes);
        struct gpu_build_report report;
        struct omen_error error;
        if (got == NULL || want == NULL)
            die("no memory for blocks");
        if (gpu_build_run(both->oracle, &config, &input.input, want, NULL, &report, &error) !=
            OMEN_OK)
            die("building with the oracle: %s", error.text);
        const struct gpu_build_shape shape = {rows.count, input.input.stride};
        config.threads = 4;
        config.device_bytes = parts ? gpu_build_bytes(&config, &shape) / 3 : 0;
        if (gpu_build_run(both->tested, &config, &input.input, got, NULL, &report, &error) !=
            OMEN_OK)
            die("building: %s", error.text);
        if ((report.parts > 0) != parts)
            die("a build by %s has %u parts", ways[way].name, report.parts);
        size_t wrong = 0;
        for (size_t i = 0; i < bytes; i++)
            wrong += got[i] != want[i];
        if (wrong > 0)
            printf("FAIL build, %s: %zu of %zu bytes of links differ\n", ways[way].name, wrong,
                   bytes);
        same = wrong == 0;
        mem_free(got);
        mem_free(want);
        lab_input_close(both->oracle, &input);
        lab_close(&lab);
    }
    return same;
}

bool
check_op(const char *name, const struct device_handle *tested, const struct device_handle *oracle)
{
    static bool (*const checks[])(const struct both *) = {
        check_copy,  check_join,  check_gather,  check_nearest, check_tiles,
        check_group, check_merge, check_measure, check_prune,   check_reverse,
        check_reach, check_pack,  check_build};
    const struct both both = {tested, oracle};
    for (uint32_t i = 0; op_names[i] != NULL; i++)
        if (strcmp(op_names[i], name) == 0)
            return checks[i](&both);
    die("no operation \"%s\"", name);
}
