// bench/gpu/check.h -- what the parts of omen_gpu_check share.
#ifndef OMEN_BENCH_GPU_CHECK_H
#define OMEN_BENCH_GPU_CHECK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gpu/build.h"
#include "gpu/device.h"
#include "index/hnsw.h"

// Ends the process with status 1 and the sentence.
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);
// Dies unless `status` is OMEN_OK.
void must(omen_status status, const char *what);
// The same with the device's own words.
void must_device(const struct device_handle *handle, omen_status status, const char *what);

void *device_memory(const struct device_handle *handle, size_t bytes);
void *device_copy(const struct device_handle *handle, const void *host, size_t bytes);
void device_drop(const struct device_handle *handle, void *memory);
void *pinned_memory(const struct device_handle *handle, size_t bytes);
double median(double *values, uint32_t count); // sorts them

// ---- ops.c ----
extern const char *const op_names[]; // ends with NULL
// Compares a device's operation with the plain half's on all its cases; false after the first that differs, which it prints.
bool check_op(const char *name, const struct device_handle *tested,
              const struct device_handle *oracle);

// ---- lab.c: an index of made rows ----
// Points on a curved surface of 24 dimensions in `dim`, in 10,000 clusters of very different size, with a little noise.
struct lab_rows {
    uint32_t count, dim;
    // 0: under l2. Else under ip, rows (not queries) e^N(0, spread / 100) times as long.
    uint32_t spread;
};
struct lab {
    struct hnsw *hnsw;
    struct lab_rows rows;
    uint32_t threads;
    struct scratch **scratch; // a thread each
    float *queries;
    uint32_t query_count;
    struct hit *truth; // 10 of each query
};
void lab_open(struct lab *lab, const struct lab_rows *rows, uint32_t threads);
void lab_close(struct lab *lab);
void lab_encode(struct lab *lab);
// The 10 nearest of each query by comparing all rows on the device.
void lab_truth(struct lab *lab, const struct device_handle *handle);
// Pinned copies of the codes and metas, and what they are as a build's input.
struct lab_input {
    struct gpu_build_input input;
    void *codes, *metas;
};
void lab_input_open(const struct lab *lab, const struct device_handle *handle,
                    struct lab_input *out);
void lab_input_close(const struct device_handle *handle, struct lab_input *input);
// Makes the blocks the index's links; its entries are drawn as after lab_bulk, the first being row 0.
void lab_install(struct lab *lab, const uint8_t *blocks);
void lab_insert_all(struct lab *lab); // the CPU's inserter
double lab_bulk(
    struct lab *lab); // the CPU's bulk build, of rows that are coded; returns how many ms it took
struct lab_point {
    double recall, evaluations, us; // recall@10
};
struct lab_point lab_search(struct lab *lab, uint32_t beam);
// Dies when an invariant of the index does not hold; returns how many rows are not reached.
uint32_t lab_check(const struct lab *lab);

#endif
