// index/gauge.h -- how well links lead to rows' own nearest neighbours: of a graph that nobody searches yet, or of an index's own.
//
// Shape:   value, and the functions that measure it.
// Threads: beside everything that changes neither rows nor numbering; measures with as many threads as it is told.
// Memory:  some bits and 80 bytes a query for each row and thread.
//
// The same walk over either graph: the nearest of some evenly spread rows, then a beam, all by the rows themselves. So two graphs
// are told apart by their links alone, whatever codes or entries an index has.
#ifndef OMEN_INDEX_GAUGE_H
#define OMEN_INDEX_GAUGE_H
#include "index/hnsw.h"
#include "index/hnsw_bulk.h"

#define GAUGE_K 10u
#define GAUGE_BEAM 64u
#define GAUGE_QUERIES 500u

// Rows that are asked with, and which are their nearest GAUGE_K among the live rows of the list.
struct gauge; // opaque

// `slots` (ascending, borrowed until gauge_close) are the rows that count. *out is NULL where there are none.
OMEN_MUST_CHECK omen_status gauge_open(const struct hnsw *hnsw, const uint32_t *slots,
                                       uint32_t count, uint32_t threads, struct gauge **out);
void gauge_close(struct gauge *gauge); // accepts NULL

// 0..1. Links of `graph` lead from row to row of the list; NULL: those of the index.
OMEN_MUST_CHECK omen_status gauge_measure(struct gauge *gauge, const struct build_graph *graph,
                                          double *recall);

#endif
