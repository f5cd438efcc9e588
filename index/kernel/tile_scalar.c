// index/kernel/tile_scalar.c -- tiles without instructions of their own: the oracle.
//
// Shape: kernel.
#include "index/kernel/tile_plain.h"

const struct tile_kernels tiles_scalar = {
    .pack_bytes = plain_pack_bytes,
    .bytes = plain_bytes,
    .floats = plain_floats,
    .bytes_one = plain_bytes_one,
    .floats_one = plain_floats_one,
    .gram = plain_gram,
    .gram_finish = plain_gram_finish,
    .assign = plain_assign,
    .assign_finish = plain_assign_finish,
    .candidates = plain_candidates,
    .keep = plain_keep,
    .order = plain_order,
    .bytes_occlude = plain_bytes_occlude,
    .floats_occlude = plain_floats_occlude,
};
