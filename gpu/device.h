// gpu/device.h -- SEAM: a device that works on many coded rows at once: one table of operations.
//
// Shape:   handle. device_cpu.c is the plain half and the oracle of every operation; the plugin omendb_gpu.so
//          (device_cuda.cu and the other .cu files) is the fast one, loaded at run time by device.c.
// Threads: one at a time per device.
// Memory:  what `alloc` gives is the device's: pointers into it are passed to operations and copied from and to with get
//          and put, and never followed by the host. Inputs and outputs of operations are such memory, except where
//          "host" is said. What an operation needs besides it allocates and frees by itself.
// Order:   operations of a device happen one after the other in the order of the calls; a call may return before its
//          operation has begun. get, between and reach return when their results are there.
// Errors:  OMEN_E_NO_MEMORY: nothing was done. OMEN_E_INTERNAL: the driver or an operation before failed; the device is
//          of no use any more and is closed. trouble() says it in words. Shapes are asserted, not reported.
// Units:   distances are codec_pair's (index/codec.h): squared, by all eight bits of the codes, smaller is nearer.
//
// Keys are those of index/nearest.h: a distance's bits, then the row's number, so that sorted keys are sorted by distance and
// equal distances by number. DEVICE_NONE stands behind the last key of a list and is larger than any.
//
// Exact: every operation gives bit for bit what device_cpu.c gives. Products are integers and the few float operations of
// codec_pair are made in its order, without contraction where that would round differently; lists have a total order; no
// result depends on which thread came first.
#ifndef OMEN_GPU_DEVICE_H
#define OMEN_GPU_DEVICE_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#include "base/error.h"
#include "base/status.h"
#include "index/kernel/kernel.h"

#define DEVICE_ABI 5u
#define DEVICE_NONE UINT64_MAX
#define DEVICE_LIST_MAX 64u   // keys of one list: k of nearest, what merge and reverse leave
#define DEVICE_MERGE_MAX 256u // keys of one row that merge takes
#define DEVICE_TILE_ROWS 128u // places asked for in one tile
#define DEVICE_STRIDE 64u     // codes lie a multiple of it apart
#define DEVICE_MARKS_MAX 64u

struct device; // opaque
struct device_walk;
struct device_rerank;
struct device_knn;

struct device_facts {
    char name[256]; // "NVIDIA H100 80GB HBM3", "cpu"
    uint64_t bytes; // of memory, and of those now free
    uint64_t bytes_free;
    uint32_t major, minor; // compute capability; 0 for the CPU
    uint32_t processors;
    uint32_t clock_khz;      // of a processor, at most; 0 when unknown
    uint64_t memory_bytes_s; // that its memory moves in a second, at most; 0 when unknown
};

// Coded rows, one after the other. A row's components are in their natural order (index/codec.h stores them in two
// planes), signed, and zero from the code's width up to `stride`.
struct device_rows {
    const int8_t *codes;           // count x stride; 16-aligned
    const struct byte_meta *metas; // count
    uint32_t count;                // < 2^31
    uint32_t stride;               // bytes: the code's width rounded up to DEVICE_STRIDE
    uint32_t ip;                   // 1: distances are codec_pair_ip's, with radius2; 0: of lengths
    float radius2;
};

// Planes as codec_encode leaves them, `row_bytes` apart, to codes `stride` apart.
struct device_join {
    const uint8_t *high, *low; // count x row_bytes; row_bytes is a multiple of 16, at least 32
    uint32_t count, row_bytes, stride;
    int8_t *codes;
};

// Some rows, copied one behind the other.
struct device_gather {
    struct device_rows rows;
    const uint32_t *numbers; // of the rows; each below rows.count
    uint32_t count;
    int8_t *codes;
    struct byte_meta *metas;
};

// Some places asked, and those they are compared with.
struct device_tile {
    uint32_t first, count; // 1..DEVICE_TILE_ROWS of them
    uint32_t base_first, base_count;
};

// The k nearest by brute force.
//
// Without `places`: row i of `queries` is compared with every row of `base`, and its list begins at keys[i * k].
// With them (then queries and base are the same rows): lists of places in memory, a place being row * fanout + turn. The
// places of a tile are compared with those of the tile's base; the list of place p begins at keys[p * k], and lists of
// places in no tile stay as they are. A place is in one tile at most, a row once at most in a tile's base.
// `skip_self`: a row is not compared with the row of the same number.
// `near_turns`, under ip and with places: places of later turns look for products. What makes all lengths equal is left out of their
// distances, which are not how far apart rows are then (see struct device_measure). 0: no place does.
// `one_each`: each row has one place in memory, whose list begins at keys[row * k].
// Lists are filled up with DEVICE_NONE.
struct device_nearest {
    struct device_rows queries, base;
    const uint32_t *places;
    const struct device_tile *tiles;
    uint32_t tile_count;
    uint32_t fanout;
    uint32_t k; // 1..DEVICE_LIST_MAX
    uint32_t skip_self;
    uint32_t near_turns;
    uint32_t one_each;
    uint64_t *keys;
};

// How far apart rows are whose lists were found by something else: the distances in the lists become those of the rows, and their
// order stays. The i-th list is that of row first + i.
struct device_measure {
    struct device_rows rows;
    uint32_t first, count;
    uint32_t width; // keys of a list, DEVICE_NONE among them
    uint64_t *keys; // count x width
};

// The places of each group, in order: keys[row * fanout + turn] names the group of that place, its distance does not matter;
// a place with DEVICE_NONE is in none. starts[g] is where group g's places begin; starts[groups] how many there are in all.
struct device_group {
    const uint64_t *keys;   // count x fanout
    uint32_t count, fanout; // their product is below 2^32
    uint32_t groups;
    uint32_t *places; // count x fanout
    uint32_t *starts; // groups + 1
};

// The `kept` nearest different ones of each row's keys, sorted, filled up with DEVICE_NONE. `merged` may be `keys` where kept is
// width.
struct device_merge {
    const uint64_t *keys;  // count x width, in any order, DEVICE_NONE and repetitions among them
    uint32_t count, width; // width 1..DEVICE_MERGE_MAX
    uint32_t kept;         // 1..DEVICE_LIST_MAX
    uint64_t *merged;      // count x kept
};

// Which of its candidates each row links to, as index/prune.c has it: from near to far, each that no chosen one nearer than it
// occludes; then, while there is room, from near to far again by a rule that `alpha2` relaxes. r occludes c when
// d(row, c) > d(r, c), in the second pass when d(row, c) > alpha2 * d(r, c). Of candidates at distance 0 a quarter of `keep`, at
// least one, is taken. A list of `whole` candidates or fewer is taken as it is, but for those at distance 0 too many.
struct device_prune {
    // That candidates name; whose candidates they are need not be among them.
    struct device_rows rows;
    uint32_t count; // lists
    // [count][width], sorted, none twice, none the row itself, DEVICE_NONE behind.
    const uint64_t *candidates;
    uint32_t width;   // 1..DEVICE_LIST_MAX
    uint32_t keep;    // 1..DEVICE_LIST_MAX
    uint32_t whole;   // <= keep; 0: every list is chosen from
    float alpha2;     // at least 1
    uint64_t *chosen; // count x keep, sorted, filled up with DEVICE_NONE
};

// To each row's links those rows that link to it, as candidates. Distances are taken from the other's list (they are the same
// both ways). `farthest` 0: all of its links, and of the others the nearest for which there is room. Else of the others the
// farthest: so many, where there is room more, and for them its own farthest give way.
struct device_reverse {
    const uint64_t *links; // count x keep, sorted
    uint32_t count, keep;  // keep <= width, count x keep < 2^32
    uint32_t width;        // 1..DEVICE_LIST_MAX
    uint32_t farthest;     // 0..width
    uint64_t *candidates;  // count x width, sorted, none twice, filled up with DEVICE_NONE
};

// What links lead to from one row: bit r % 32 of seen[r / 32], and how many there are.
struct device_reach {
    const uint64_t *links; // count x keep
    uint32_t count, keep;
    uint32_t entry;
    uint32_t *seen;    // (count + 31) / 32 words
    uint32_t *reached; // host
    uint32_t *steps;   // host: the longest way
};

// Rows of links as index/graph.h has them: link_row_bytes(links_max, width) each.
struct device_pack {
    const uint64_t *links; // count x keep
    uint32_t count, keep;  // keep <= links_max
    uint32_t links_max;    // 1..LINK_ROW_MAX
    uint32_t width;        // bytes a link: enum link_width
    uint8_t *blocks;
};

struct device_ops {
    uint32_t abi;     // DEVICE_ABI
    const char *name; // "cpu", "cuda"

    // On success the caller owns *out. OMEN_E_UNSUPPORTED: there is no such device here, or no driver that runs it.
    omen_status (*open)(uint32_t ordinal, struct device **out, struct omen_error *error);
    void (*close)(struct device *device); // accepts NULL; all memory that it gave was freed
    void (*facts)(struct device *device, struct device_facts *facts);
    const char *(*trouble)(const struct device *device); // of the last failure; "" before

    omen_status (*alloc)(struct device *device, size_t bytes, void **memory); // 256-aligned
    void (*free)(struct device *device, void *memory);                        // accepts NULL
    // Host memory that is copied from and to at the full rate.
    omen_status (*host_alloc)(struct device *device, size_t bytes, void **memory);
    void (*host_free)(struct device *device, void *memory); // accepts NULL
    // Host memory handed to put stays as it is until wait, or until a get or between returned.
    omen_status (*put)(struct device *device, void *to, const void *host, size_t bytes);
    omen_status (*get)(struct device *device, void *host, const void *from, size_t bytes);
    omen_status (*fill)(struct device *device, void *memory, uint8_t byte, size_t bytes);
    omen_status (*wait)(struct device *device);
    // Marks a moment in the order of operations; milliseconds between two of them.
    omen_status (*mark)(struct device *device, uint32_t mark);
    omen_status (*between)(struct device *device, uint32_t from, uint32_t to, float *ms);

    omen_status (*join)(struct device *device, const struct device_join *join);
    omen_status (*gather)(struct device *device, const struct device_gather *gather);
    omen_status (*nearest)(struct device *device, const struct device_nearest *nearest);
    omen_status (*group)(struct device *device, const struct device_group *group);
    omen_status (*merge)(struct device *device, const struct device_merge *merge);
    omen_status (*measure)(struct device *device, const struct device_measure *measure);
    omen_status (*prune)(struct device *device, const struct device_prune *prune);
    omen_status (*reverse)(struct device *device, const struct device_reverse *reverse);
    omen_status (*reach)(struct device *device, const struct device_reach *reach);
    omen_status (*pack)(struct device *device, const struct device_pack *pack);

    // Searches: gpu/search.h.
    omen_status (*walk)(struct device *device, const struct device_walk *walk);
    omen_status (*rerank)(struct device *device, const struct device_rerank *rerank);
    omen_status (*knn)(struct device *device, const struct device_knn *knn);
};

// The plain half; always there.
extern const struct device_ops device_cpu;

enum device_want {
    DEVICE_AUTO,    // a GPU if one can be had, else the CPU
    DEVICE_REQUIRE, // a GPU
    DEVICE_NEVER,   // the CPU
};

// An open device and its operations.
struct device_handle {
    const struct device_ops *ops;
    struct device *device;
};

// Looks for the plugin beside this library or program, in omendb/ there, in lib/omendb beside a program's bin/ (where `cmake --install` puts
// it), then where the system looks for libraries; OMEN_GPU_PLUGIN names another file, and nothing else is looked at.
// OMEN_E_UNSUPPORTED with the reason when a GPU is required and none can be had. With DEVICE_AUTO and the CPU taken, *error
// says why.
OMEN_MUST_CHECK omen_status device_open(enum device_want want, struct device_handle *out,
                                        struct omen_error *error);
void device_close(struct device_handle *handle); // accepts all zeros

// The plugin's one symbol for this table.
typedef const struct device_ops *(*device_ops_fn)(void);
#define DEVICE_PLUGIN_FILE "omendb_gpu.so"
#define DEVICE_PLUGIN_SYMBOL "omendb_gpu_ops"

#ifdef __cplusplus
}
#endif
#endif
