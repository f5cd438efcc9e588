// index/build_product.c -- leaves whose rows look for the largest products, where queries will.
//
// Shape: handle.
//
// Under ip a row has one more component, which makes all lengths equal (codec.h). What is near then is as long as the row itself, while
// answers are long rows: of 20,000 x 384 with lengths e^N(0, 0.25) walks with a beam of 32 found 0.80. So in most leaves that
// component is left out, and rows take those for candidates that they have the largest products with, which lead to answers (0.95). Not in
// all: where lengths spread over two decades one row in seventeen was not reached, since nobody has a large product with it.
// Links are chosen of either by the distances that make lengths equal: by products alone a long row hides all others.
#include <string.h>

#include "index/build_int.h"

#define LENGTHS_SHARE 4u // of leaves, one in so many has all lengths equal

// A leaf has the same rows in every pass and for any number of threads, and how many they are is as good as drawn.
static bool
looks_for_products(const struct build *build, uint32_t count)
{
    return build->rows.extras && count % LENGTHS_SHARE != 0;
}

// The component of floats is their last one. That of columns becomes zero, and its square is added; so from rows, which keep theirs,
// they are apart by the squares of both, whatever the lengths.
static void
square_last(const struct build *build, struct build_worker *worker, uint32_t count)
{
    const uint32_t width = build->rows.width;
    float *const columns = worker->columns;
    for (uint32_t i = 0; i < count; i++) {
        float *const last =
            columns + ((size_t)(i / TILE_LANES) * width + width - 1) * TILE_LANES + i % TILE_LANES;
        worker->adds[i] = *last * *last;
        *last = 0.0f;
    }
}

void
rows_by_product(const struct build *build, struct build_worker *worker, uint32_t count)
{
    if (!looks_for_products(build, count))
        return;
    if (build->rows.kind == BUILD_FLOATS)
        square_last(build, worker, count);
    for (uint32_t i = 0; i < count; i++)
        worker->extras[i] = worker->numbers[i].extra = 0.0f;
}
