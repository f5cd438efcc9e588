// wire/inner.c -- what routers and copies say to each other in maps, where what clients see is too little.
//
// Shape: value.
#include "wire/inner.h"

#include "wire/api_int.h"

static const struct field inner_why_ask_rows[] = {
    ROW(inner_why_ask, vector, FIELD_VECTOR, MUST),
    ROW(inner_why_ask, id, FIELD_ID, MUST),
    ROW(inner_why_ask, filter, FIELD_FILTER),
    ROW(inner_why_ask, target_recall, FIELD_REAL, UP_TO(1)),
    ROW(inner_why_ask, distance, FIELD_REAL),
    ROW(inner_why_ask, ef, FIELD_U32, UP_TO(BEAM_MAX)),
    ROW(inner_why_ask, oversample, FIELD_U32, UP_TO(BEAM_MAX)),
    ROW(inner_why_ask, k, FIELD_U32, WITHIN(1, TOPK_MAX), .beyond = -OMEN_E_K),
    ROW(inner_why_ask, exact, FIELD_BOOL),
};
SHAPE(inner_why_ask);

static const struct field inner_why_rows[] = {
    ROW(inner_why, there, FIELD_BOOL),
    ROW(inner_why, passes, FIELD_BOOL),
    ROW(inner_why, distance, FIELD_REAL),
    ROW(inner_why, hit, FIELD_BOOL),
    ROW(inner_why, capped, FIELD_BOOL),
    ROW(inner_why, ahead, FIELD_U32, UP_TO(TOPK_MAX)),
    ROW(inner_why, nearer, FIELD_U32, UP_TO(TOPK_MAX)),
};
SHAPE(inner_why);

static const struct field inner_page_rows[] = {
    ROW(inner_page, points, FIELD_LIST, MUST, UP_TO(LIST_MAX), OF(api_point)),
    ROW(inner_page, next, FIELD_U64, UP_TO(UINT64_MAX)),
    ROW(inner_page, warnings, FIELD_WORDS, ONE_OF(api_warnings)),
};
SHAPE(inner_page);

static const struct field inner_build_ask_rows[] = {
    ROW(inner_build_ask, step, FIELD_U32, MUST, WITHIN(1, INNER_BUILD_STEPS - 1)),
    ROW(inner_build_ask, attempt, FIELD_U64, MUST, WITHIN(1, UINT64_MAX)),
    ROW(inner_build_ask, chunk, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(inner_build_ask, bytes, FIELD_BYTES, UP_TO(INNER_CHUNK_BYTES_MAX)),
    ROW(inner_build_ask, trusted, FIELD_BOOL),
    ROW(inner_build_ask, recall, FIELD_REAL, UP_TO(2)),
};
SHAPE(inner_build_ask);

static const struct field inner_build_rows[] = {
    ROW(inner_build, rows, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(inner_build, chunks, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(inner_build, matched, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(inner_build, tail, FIELD_U32, UP_TO(UINT32_MAX)),
    ROW(inner_build, seq, FIELD_U64, UP_TO(UINT64_MAX)),
    ROW(inner_build, recall, FIELD_REAL, UP_TO(2)),
    ROW(inner_build, before, FIELD_REAL, UP_TO(2)),
    ROW(inner_build, bytes, FIELD_BYTES, UP_TO(INNER_CHUNK_BYTES_MAX)),
};
SHAPE(inner_build);
