// gpu/maker.h -- a device as the maker of a bulk build's links (struct build_maker, index/build.h).
//
// Shape:   handle for the length of a build.
// Threads: one at a time; reading rows takes as many as the build does.
// Memory:  host: codes as the device has them, link rows, and what gpu/build.h says of a build by parts; all of it is told by `bytes`
//          before it is taken.
//
// Rows of BUILD_BYTES alone: those of 8-bit codes, and of i8 and u8 as they are.
#ifndef OMEN_GPU_MAKER_H
#define OMEN_GPU_MAKER_H
#include "gpu/build.h"
#include "index/build.h"

struct gpu_maker {
    struct device_handle device; // borrowed
    uint64_t device_bytes;       // as of struct gpu_build_config
    bool yields; // builds by parts that processors are expected to do sooner are not made
    struct gpu_build_report report; // of the last build
    struct omen_error error;        // what was wrong with it; an empty text: nothing
};

// It borrows *maker, whose report and error each build fills in. OMEN_E_UNSUPPORTED: these rows, or more links of a row than
// DEVICE_LIST_MAX, or it yields, or as gpu_build_run says.
struct build_maker gpu_maker_of(struct gpu_maker *maker);

#endif
