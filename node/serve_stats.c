// node/serve_stats.c -- what a copy knows of its shard: how many points, and what they cost.
//
// Shape: handle; functions on a hosted shard.
#include "node/serve_int.h"

omen_status
serve_stats(struct serve *serve, struct omen_error *error)
{
    (void)error;
    omen_statistics has = {.struct_size = sizeof has};
    shard_stats(serve->shard, &has);
    const uint64_t index_bytes = has.bytes_links + has.bytes_codes + has.bytes_ids +
                                 has.bytes_fields + has.bytes_search + has.bytes_other;
    const struct api_stats said = {.points = has.count,
                                   .rows = has.rows,
                                   .deleted = has.deleted,
                                   .tail = has.tail,
                                   .memory_bytes =
                                       index_bytes + has.bytes_vectors + has.bytes_payloads,
                                   .vector_bytes = has.bytes_vectors,
                                   .payload_bytes = has.bytes_payloads,
                                   .bytes_per_vector = has.bytes_per_vector,
                                   .recall = has.recall > 0 ? has.recall : 0,
                                   .shards = 1};
    shape_write(serve->answer, &api_stats, &said);
    return OMEN_OK;
}
