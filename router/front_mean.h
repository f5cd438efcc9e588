// router/front_mean.h -- the middle of some vectors, pushed away from that of others.
//
// Shape: value.
//
// A recommendation searches for p + (p - n), where p is the mean of the positive vectors and n that of the negative ones; without
// negative ones for p. Under cosine only directions count, so each vector counts as if it had length 1.
#ifndef OMEN_ROUTER_FRONT_MEAN_H
#define OMEN_ROUTER_FRONT_MEAN_H
#include "wire/shape.h"

enum mean_side { MEAN_POSITIVE, MEAN_NEGATIVE };

struct mean {
    uint32_t dimension;
    uint8_t metric; // number of include/omendb.h
    double *sums;   // 2 x dimension, zeros at first
    uint32_t counts[2];
};

// `vector` is RAW, of `dimension` components; `row` is work space for as many.
void mean_add(struct mean *mean, enum mean_side side, const struct wire_vectors *vector,
              float *row);
void mean_end(const struct mean *mean, float *out);

#endif
