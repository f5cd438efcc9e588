// gpu/search.cu -- the walk and its last word on a device: a warp a query.
//
// Shape: kernel.
//
// A warp, not a block: a step has some thirty rows to compare, which is one row a lane, and no step needs a barrier. A
// multiprocessor has thirty-two walks on their way, and where one waits for memory another goes on. Where the batch is
// smaller than that, `parents` gives each step of a walk more to wait for at once.
//
// Lists are in registers. Shared memory of a walk: the query's code, the rows met in this step, and what was visited:
// a table of one tag a place, where a row that falls on another's place overwrites it. Slots are mixed by an odd
// factor modulo the smallest power of two above the rows, which loses nothing, so that place and tag together are the row.
#include "gpu/list_int.cuh"

#define TEAM 4u         // lanes that compare one row, 16 bytes each at a time
#define TEAMS 8u        // of a warp
#define TURNS 4u        // of TEAMS rows: a row a lane
#define MIX 0x9e3779b1u // 2^32 / golden ratio, odd

// What a walk has besides its arguments.
struct walk_plan {
    uint32_t fresh_room;   // rows met in one step, at most
    uint32_t visited_bits; // log2 of places
    uint32_t row_bits;     // rows.count <= 2^row_bits
    uint32_t link_bytes;   // of a row
};

// Products of the query with the codes of up to 32 rows; each lane gets that of its own row. Lanes from `count` on name
// any row that is there.
template <int CHUNKS>
static __device__ __forceinline__ int32_t
warp_dots(const struct device_rows &rows, const int4 *query, uint32_t row, uint32_t count,
          uint32_t lane)
{
    const uint32_t part = lane % TEAM, team = lane / TEAM;
    const uint32_t chunks = CHUNKS > 0 ? CHUNKS : rows.stride / 64;
    int32_t own = 0;
#pragma unroll
    for (uint32_t turn = 0; turn < TURNS; turn += 2) {
        if (turn * TEAMS >= count)
            break;
        const uint32_t first = __shfl_sync(ALL_LANES, row, turn * TEAMS + team);
        const uint32_t second = __shfl_sync(ALL_LANES, row, (turn + 1) * TEAMS + team);
        const int4 *a = (const int4 *)(rows.codes + (size_t)first * rows.stride) + part;
        const int4 *b = (const int4 *)(rows.codes + (size_t)second * rows.stride) + part;
        int32_t dot_a = 0, dot_b = 0;
#pragma unroll 4
        for (uint32_t c = 0; c < chunks; c++) {
            const int4 x = __ldg(a + c * TEAM), y = __ldg(b + c * TEAM), q = query[c * TEAM + part];
            dot_a = __dp4a(x.x, q.x, __dp4a(x.y, q.y, __dp4a(x.z, q.z, __dp4a(x.w, q.w, dot_a))));
            dot_b = __dp4a(y.x, q.x, __dp4a(y.y, q.y, __dp4a(y.z, q.z, __dp4a(y.w, q.w, dot_b))));
        }
        dot_a += __shfl_xor_sync(ALL_LANES, dot_a, 1);
        dot_b += __shfl_xor_sync(ALL_LANES, dot_b, 1);
        dot_a += __shfl_xor_sync(ALL_LANES, dot_a, 2);
        dot_b += __shfl_xor_sync(ALL_LANES, dot_b, 2);
        // Lane l's row was that of team l % TEAMS in turn l / TEAMS.
        const int32_t of_a = __shfl_sync(ALL_LANES, dot_a, lane % TEAMS * TEAM);
        const int32_t of_b = __shfl_sync(ALL_LANES, dot_b, lane % TEAMS * TEAM);
        own = lane / TEAMS == turn ? of_a : lane / TEAMS == turn + 1 ? of_b : own;
    }
    return own;
}

// struct kernels' byte distance, its roundings in its order.
static __device__ __forceinline__ float
byte_distance(const struct device_query &query, const struct byte_meta &meta, int32_t dot)
{
    const float norm = __fadd_rn(__fmul_rn(meta.norm, query.norm_scale), query.offset);
    const float product = __fmul_rn(__fmul_rn(meta.factor, query.scale), __int2float_rn(dot));
    const float distance = __fsub_rn(norm, product);
    return distance > 0.0f ? distance : 0.0f;
}

// Each lane's key of its own row; KEY_NONE from `count` on.
template <int CHUNKS>
static __device__ __forceinline__ uint64_t
warp_keys(const struct device_rows &rows, const struct device_query &query, const int4 *code,
          uint32_t row, uint32_t count, uint32_t lane)
{
    const struct byte_meta meta = rows.metas[row];
    const int32_t dot = warp_dots<CHUNKS>(rows, code, row, count, lane);
    return lane < count ? key_of(byte_distance(query, meta, dot), row) : KEY_NONE;
}

// What one walk holds.
template <int KPL, bool FILTERED> struct walk_lists {
    uint64_t pool[KPL];
    uint64_t found[FILTERED ? KPL : 1];
    uint64_t pool_last, found_last; // of full lists, else KEY_NONE
};

template <int KPL, bool FILTERED>
static __device__ __forceinline__ void
lists_put(struct walk_lists<KPL, FILTERED> &lists, const struct device_walk &walk, uint64_t key,
          uint32_t lane)
{
    uint32_t near = __ballot_sync(ALL_LANES, key < lists.pool_last);
    for (; near != 0; near &= near - 1)
        list_put(lists.pool, __shfl_sync(ALL_LANES, key, __ffs(near) - 1), lane);
    lists.pool_last = __shfl_sync(ALL_LANES, lists.pool[KPL - 1], 31);
    if (FILTERED) {
        const bool answers = key < lists.found_last && key != KEY_NONE &&
                             may_answer(walk.erased, walk.allowed, key_row(key));
        uint32_t fit = __ballot_sync(ALL_LANES, answers);
        for (; fit != 0; fit &= fit - 1)
            list_put(lists.found, __shfl_sync(ALL_LANES, key, __ffs(fit) - 1), lane);
        lists.found_last = __shfl_sync(ALL_LANES, lists.found[FILTERED ? KPL - 1 : 0], 31);
    }
}

// True when the row was there; forgets another that has its place.
static __device__ __forceinline__ bool
visit(uint16_t *tags, uint32_t *rows, const struct walk_plan &plan, uint32_t row)
{
    const uint32_t mixed = (row * MIX) & (0xffffffffu >> (32 - plan.row_bits));
    const uint32_t tag_bits = plan.row_bits - plan.visited_bits;
    const uint32_t place = mixed >> tag_bits; // the upper bits depend on all of the row's
    if (tag_bits < 16) {
        const uint16_t tag = (uint16_t)((mixed & ((1u << tag_bits) - 1)) + 1); // 0: nobody
        const bool there = tags[place] == tag;
        tags[place] = tag;
        return there;
    }
    const bool there = rows[place] == row + 1;
    rows[place] = row + 1;
    return there;
}

// Puts the links of a node that were not met into fresh[]; returns how many there are then.
static __device__ __forceinline__ uint32_t
meet_links(const struct device_walk &walk, const struct walk_plan &plan, uint32_t node, void *visited,
           uint32_t *fresh, uint32_t count, uint32_t lane)
{
    const uint32_t *words = (const uint32_t *)(walk.blocks + (size_t)node * plan.link_bytes);
    const uint32_t links = plan.link_bytes / walk.width;
    for (uint32_t first = 0; first < links; first += 32) {
        const uint32_t i = first + lane;
        uint32_t link;
        if (walk.width == 4) {
            link = words[i];
        } else {
            const uint32_t byte = i * 3;
            const uint32_t low = words[byte / 4];
            const uint32_t high = byte % 4 > 1 ? words[byte / 4 + 1] : 0;
            link = __funnelshift_r(low, high, byte % 4 * 8) & 0xffffffu;
        }
        const bool fits = link < walk.rows.count;
        const bool there = fits && visit((uint16_t *)visited, (uint32_t *)visited, plan, link);
        const uint32_t news = __ballot_sync(ALL_LANES, fits && !there);
        if (fits && !there)
            fresh[count + __popc(news & ((1u << lane) - 1))] = link;
        count += __popc(news);
        __syncwarp();
    }
    return count;
}

// The best entry of every DEVICE_STARTS-th.
template <int CHUNKS, int KPL, bool FILTERED>
static __device__ __forceinline__ void
walk_enter(const struct device_walk &walk, const struct walk_plan &plan,
           struct walk_lists<KPL, FILTERED> &lists, const struct device_query &query,
           const int4 *code, void *visited, uint32_t lane)
{
    uint64_t best = KEY_NONE;
    for (uint32_t first = 0; first < walk.entry_count; first += 32) {
        const uint32_t left = walk.entry_count - first, count = left < 32 ? left : 32;
        const uint32_t row = walk.entries[first + (lane < count ? lane : 0)];
        const uint64_t key = warp_keys<CHUNKS>(walk.rows, query, code, row, count, lane);
        best = key < best ? key : best;
    }
#pragma unroll
    for (uint32_t apart = DEVICE_STARTS; apart < 32; apart *= 2) {
        const uint64_t other = __shfl_xor_sync(ALL_LANES, best, apart);
        best = other < best ? other : best;
    }
    if (lane >= DEVICE_STARTS)
        best = KEY_NONE;
    if (best != KEY_NONE)
        (void)visit((uint16_t *)visited, (uint32_t *)visited, plan, key_row(best));
    __syncwarp();
    lists_put(lists, walk, best, lane);
}

// Chooses and marks the next nodes to follow; returns how many. `pool` alone has flags.
template <int KPL, bool FILTERED>
static __device__ __forceinline__ uint32_t
next_parents(const struct device_walk &walk, struct walk_lists<KPL, FILTERED> &lists,
             uint32_t (&parents)[DEVICE_PARENTS_MAX], uint32_t lane)
{
    uint64_t bound = KEY_NONE; // what is larger is not followed
    float reach = __uint_as_float(0x7f800000u);
    if (FILTERED)
        bound = list_at<FILTERED ? KPL : 1>(lists.found, walk.beam - 1);
    if (walk.stop > 0.0f) {
        const uint64_t kth = FILTERED ? list_at<FILTERED ? KPL : 1>(lists.found, walk.stop_k - 1)
                                      : list_at<KPL>(lists.pool, walk.stop_k - 1);
        if (kth != KEY_NONE)
            reach = __fmul_rn(key_distance(kth), walk.stop);
    }
    uint32_t count = 0;
    bool over = false;
#pragma unroll
    for (int j = 0; j < KPL; j++) {
        const uint64_t key = lists.pool[j];
        const bool open = (key & KEY_FLAG) == 0;
        const bool worth = open && (FILTERED ? key <= bound : j * 32 + lane < walk.beam) &&
                           !(key_distance(key) > reach);
        uint32_t opens = __ballot_sync(ALL_LANES, open);
        const uint32_t worths = __ballot_sync(ALL_LANES, worth);
        for (; opens != 0 && count < walk.parents && !over; opens &= opens - 1) {
            const uint32_t from = __ffs(opens) - 1;
            if ((worths >> from & 1) == 0) {
                over = true;
                break;
            }
            const uint32_t parent = key_row(__shfl_sync(ALL_LANES, key, from));
#pragma unroll
            for (uint32_t p = 0; p < DEVICE_PARENTS_MAX; p++)
                if (p == count)
                    parents[p] = parent;
            count++;
            if (lane == from)
                lists.pool[j] |= KEY_FLAG;
        }
    }
    return count;
}

template <int KPL, int CHUNKS, bool FILTERED>
static __global__ void __launch_bounds__(32)
walk_kernel(struct device_walk walk, struct walk_plan plan)
{
    extern __shared__ int4 shared[];
    const uint32_t lane = threadIdx.x, q = blockIdx.x;
    const uint32_t code_words = walk.rows.stride / 16;
    int4 *code = shared;
    uint32_t *fresh = (uint32_t *)(shared + code_words);
    void *visited = fresh + plan.fresh_room;

    const struct device_query query = walk.queries[q];
    for (uint32_t i = lane; i < code_words; i += 32)
        code[i] = ((const int4 *)(walk.codes + (size_t)q * walk.rows.stride))[i];
    const bool tags = plan.row_bits - plan.visited_bits < 16;
    const uint32_t visited_words = (tags ? 2u : 4u) << plan.visited_bits >> 2;
    for (uint32_t i = lane; i < visited_words; i += 32)
        ((uint32_t *)visited)[i] = 0;
    struct walk_lists<KPL, FILTERED> lists;
    list_clear(lists.pool);
    list_clear(lists.found);
    lists.pool_last = lists.found_last = KEY_NONE;
    __syncwarp();

    walk_enter<CHUNKS, KPL, FILTERED>(walk, plan, lists, query, code, visited, lane);
    uint32_t evaluations = walk.entry_count, hops = 0;
    for (;;) {
        uint32_t parents[DEVICE_PARENTS_MAX];
        const uint32_t count = next_parents(walk, lists, parents, lane);
        if (count == 0)
            break;
        uint32_t met = 0;
#pragma unroll
        for (uint32_t p = 0; p < DEVICE_PARENTS_MAX; p++)
            if (p < count)
                met = meet_links(walk, plan, parents[p], visited, fresh, met, lane);
        for (uint32_t first = 0; first < met; first += 32) {
            const uint32_t left = met - first, here = left < 32 ? left : 32;
            const uint32_t row = fresh[first + (lane < here ? lane : 0)];
            lists_put(lists, walk, warp_keys<CHUNKS>(walk.rows, query, code, row, here, lane), lane);
        }
        evaluations += met;
        hops += count;
        __syncwarp(); // fresh[] was read by all before it is written again
    }
    uint64_t *keys = walk.keys + (size_t)q * (KPL * 32);
#pragma unroll
    for (int j = 0; j < KPL; j++) {
        const uint64_t key = FILTERED ? lists.found[FILTERED ? j : 0] : lists.pool[j];
        keys[j * 32 + lane] = key == KEY_NONE ? key : key & ~KEY_FLAG;
    }
    if (walk.work != NULL && lane == 0) {
        walk.work[q].evaluations = evaluations;
        walk.work[q].hops = hops;
    }
}

template <int KPL, int CHUNKS, bool FILTERED>
static omen_status
walk_launch(struct device *device, const struct device_walk *walk)
{
    struct walk_plan plan;
    plan.link_bytes = (walk->links_max + 31) / 32 * 32 * walk->width;
    plan.fresh_room = plan.link_bytes / walk->width * walk->parents;
    // Some twenty rows are met a node that is followed; half of the places are enough where all is forgiven.
    plan.visited_bits = KPL <= 4 ? 11 : KPL == 8 ? 12 : 13;
    plan.row_bits = plan.visited_bits;
    while (plan.row_bits < 31 && 1u << plan.row_bits < walk->rows.count)
        plan.row_bits++;
    const uint32_t tag_bytes = plan.row_bits - plan.visited_bits < 16 ? 2 : 4;
    const size_t bytes =
        walk->rows.stride + plan.fresh_room * 4 + ((size_t)tag_bytes << plan.visited_bits);
    if (bytes > device->shared_max)
        return OMEN_E_UNSUPPORTED;
    const omen_status status = cuda_status(
        device,
        cudaFuncSetAttribute(walk_kernel<KPL, CHUNKS, FILTERED>,
                             cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
        "shared memory of a walk");
    if (status != OMEN_OK)
        return status;
    (void)cudaFuncSetAttribute(walk_kernel<KPL, CHUNKS, FILTERED>,
                               cudaFuncAttributePreferredSharedMemoryCarveout,
                               cudaSharedmemCarveoutMaxShared); // a wish
    walk_kernel<KPL, CHUNKS, FILTERED><<<walk->count, 32, bytes, device->stream>>>(*walk, plan);
    return cuda_launched(device, "walk");
}

template <int KPL>
static omen_status
walk_of_width(struct device *device, const struct device_walk *walk)
{
    if (walk->allowed != NULL)
        return walk_launch<KPL, 0, true>(device, walk);
    return walk->rows.stride == 128 ? walk_launch<KPL, 2, false>(device, walk)
                                    : walk_launch<KPL, 0, false>(device, walk);
}

omen_status
cuda_walk(struct device *device, const struct device_walk *walk)
{
    if (walk->count == 0)
        return OMEN_OK;
    switch (walk->kept) {
    case 32:
        return walk_of_width<1>(device, walk);
    case 64:
        return walk_of_width<2>(device, walk);
    case 128:
        return walk_of_width<4>(device, walk);
    case 256:
        return walk_of_width<8>(device, walk);
    case 512:
        return walk_of_width<16>(device, walk);
    default:
        return OMEN_E_UNSUPPORTED;
    }
}

// ---- rerank ----

#define ROWS_ABREAST 4u // rows whose components are on their way

// Distances to ROWS_ABREAST rows, one sum a lane and then across lanes; all lanes have all of them.
template <int TYPE>
static __device__ __forceinline__ void
exact_distances(const struct device_vectors &vectors, const float *query,
                const uint32_t (&rows)[ROWS_ABREAST], float (&out)[ROWS_ABREAST], uint32_t lane)
{
    float sums[ROWS_ABREAST], norms[ROWS_ABREAST];
#pragma unroll
    for (uint32_t r = 0; r < ROWS_ABREAST; r++)
        sums[r] = norms[r] = 0.0f;
#pragma unroll 4
    for (uint32_t i = lane; i < vectors.dim; i += 32) {
        const float q = query[i];
#pragma unroll
        for (uint32_t r = 0; r < ROWS_ABREAST; r++) {
            const float x = load_component<TYPE>(vectors.rows, (size_t)rows[r] * vectors.dim + i);
            const float apart = __fsub_rn(q, x);
            const float term =
                vectors.metric == METRIC_L2 ? __fmul_rn(apart, apart) : __fmul_rn(q, x);
            sums[r] = __fadd_rn(sums[r], term);
            norms[r] = __fadd_rn(norms[r], __fmul_rn(x, x));
        }
    }
#pragma unroll
    for (uint32_t r = 0; r < ROWS_ABREAST; r++) {
#pragma unroll
        for (uint32_t apart = 16; apart > 0; apart /= 2) {
            sums[r] = __fadd_rn(sums[r], __shfl_xor_sync(ALL_LANES, sums[r], apart));
            norms[r] = __fadd_rn(norms[r], __shfl_xor_sync(ALL_LANES, norms[r], apart));
        }
        out[r] = metric_finish(vectors.metric, sums[r], norms[r]);
    }
}

// The rows worth comparing, in the order of the list, to chosen[]; returns how many.
template <int KPL>
static __device__ __forceinline__ uint32_t
choose_rows(const struct device_rerank &rerank, const uint64_t *keys, float margin,
            uint32_t *chosen, uint32_t lane)
{
    uint32_t count = 0;
    float limit = __uint_as_float(0x7f800000u);
#pragma unroll
    for (int j = 0; j < KPL; j++) {
        const uint64_t key = keys[j * 32 + lane];
        const bool answers =
            key != KEY_NONE && may_answer(rerank.erased, rerank.allowed, key_row(key));
        const uint32_t all = __ballot_sync(ALL_LANES, answers);
        const uint32_t place = count + __popc(all & ((1u << lane) - 1));
        const uint32_t is_kth = __ballot_sync(ALL_LANES, answers && place + 1 == rerank.k);
        if (is_kth != 0)
            limit = __fadd_rn(key_distance(__shfl_sync(ALL_LANES, key, __ffs(is_kth) - 1)), margin);
        const bool takes = answers && !(key_distance(key) > limit);
        if (takes)
            chosen[place] = key_row(key);
        count += __popc(__ballot_sync(ALL_LANES, takes));
    }
    __syncwarp();
    return count;
}

template <int KPL, int TYPE>
static __global__ void __launch_bounds__(32)
rerank_kernel(struct device_rerank rerank)
{
    __shared__ uint32_t chosen[KPL * 32];
    const uint32_t lane = threadIdx.x, q = blockIdx.x;
    const float *query = rerank.prepared + (size_t)q * rerank.vectors.dim;
    const uint32_t count = choose_rows<KPL>(rerank, rerank.keys + (size_t)q * (KPL * 32),
                                            rerank.queries[q].margin, chosen, lane);
    uint64_t list[KPL];
    list_clear(list);
    for (uint32_t first = 0; first < count; first += ROWS_ABREAST) {
        uint32_t rows[ROWS_ABREAST];
        float distances[ROWS_ABREAST];
#pragma unroll
        for (uint32_t r = 0; r < ROWS_ABREAST; r++)
            rows[r] = chosen[first + r < count ? first + r : first];
        exact_distances<TYPE>(rerank.vectors, query, rows, distances, lane);
#pragma unroll
        for (uint32_t r = 0; r < ROWS_ABREAST; r++)
            if (first + r < count)
                list_put(list, ordered_key(distances[r], rows[r]), lane);
    }
    struct hit *hits = rerank.hits + (size_t)q * rerank.k;
#pragma unroll
    for (int j = 0; j < KPL; j++)
        if (j * 32 + lane < rerank.k)
            hits[j * 32 + lane] = ordered_hit(list[j]);
}

template <int KPL>
static omen_status
rerank_of_width(struct device *device, const struct device_rerank *rerank)
{
    switch (rerank->vectors.type) {
    case VECTOR_F32:
        rerank_kernel<KPL, VECTOR_F32><<<rerank->count, 32, 0, device->stream>>>(*rerank);
        break;
    case VECTOR_F16:
        rerank_kernel<KPL, VECTOR_F16><<<rerank->count, 32, 0, device->stream>>>(*rerank);
        break;
    case VECTOR_BF16:
        rerank_kernel<KPL, VECTOR_BF16><<<rerank->count, 32, 0, device->stream>>>(*rerank);
        break;
    case VECTOR_I8:
        rerank_kernel<KPL, VECTOR_I8><<<rerank->count, 32, 0, device->stream>>>(*rerank);
        break;
    default:
        rerank_kernel<KPL, VECTOR_U8><<<rerank->count, 32, 0, device->stream>>>(*rerank);
        break;
    }
    return cuda_launched(device, "rerank");
}

omen_status
cuda_rerank(struct device *device, const struct device_rerank *rerank)
{
    if (rerank->count == 0)
        return OMEN_OK;
    switch (rerank->width) {
    case 32:
        return rerank_of_width<1>(device, rerank);
    case 64:
        return rerank_of_width<2>(device, rerank);
    case 128:
        return rerank_of_width<4>(device, rerank);
    case 256:
        return rerank_of_width<8>(device, rerank);
    case 512:
        return rerank_of_width<16>(device, rerank);
    default:
        return OMEN_E_UNSUPPORTED;
    }
}
