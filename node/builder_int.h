// node/builder_int.h -- what the files of a builder share.
//
// Shape: machine.
#ifndef OMEN_NODE_BUILDER_INT_H
#define OMEN_NODE_BUILDER_INT_H
#include "node/builder.h"

#define BUILDER_PERMILLE 1000u

// builder.c
void builder_wake_by(struct builder *builder, uint64_t at_ns); // it, or sooner

// builder_job.c
// Drops what it has of a job, and looks for one.
void builder_idle(struct builder *builder, const struct builder_input *in,
                  struct builder_output *out);
// Whether the map has the job as this node's.
bool builder_holds(struct builder *builder, const struct builder_input *in);
void builder_renew(struct builder *builder, const struct builder_input *in,
                   struct builder_output *out);
// Drops rows and graph, and wishes that the job be over.
void builder_end_as(struct builder *builder, const struct builder_input *in, enum job_state state,
                    struct builder_output *out);
// What has become of the wish to have a job, and of the wish that it be over.
void builder_look_at_claim(struct builder *builder, const struct builder_input *in,
                           struct builder_output *out);
void builder_look_at_end(struct builder *builder, const struct builder_input *in,
                         struct builder_output *out);

// builder_shard.c
void builder_drop(struct builder *builder, struct builder_output *out); // rows and graph
// Once more from the beginning, after a while; tried too often, it fails. `why` is static.
void builder_again(struct builder *builder, const struct builder_input *in, const char *why,
                   struct builder_output *out);
void builder_ask(struct builder *builder, const struct builder_input *in,
                 const struct map_shard *shard, enum inner_build_step step,
                 struct builder_output *out);
// The next shard of the collection; none: the job is done.
void builder_next_shard(struct builder *builder, const struct builder_input *in,
                        struct builder_output *out);
void builder_shard_done(struct builder *builder, const struct builder_input *in,
                        struct builder_output *out);
// The next chunk of the graph for the copy; all are there: that it be put in place.
void builder_send_chunk(struct builder *builder, const struct builder_input *in,
                        struct builder_output *out);
// The copy that gets the graph next; none: the shard is done.
void builder_next_copy(struct builder *builder, const struct builder_input *in,
                       struct builder_output *out);
void builder_copy_done(struct builder *builder, const struct builder_input *in,
                       struct builder_output *out);
// Whether who was asked is not whom one would ask now: whatever it was doing, it is not waited for.
bool builder_is_lost(const struct builder *builder, const struct map *map);
void builder_once_more(struct builder *builder, const struct builder_input *in,
                       struct builder_output *out); // what was put off

// builder_said.c
void builder_take_answer(struct builder *builder, const struct builder_input *in,
                         struct builder_output *out);
void builder_take_built(struct builder *builder, const struct builder_input *in,
                        struct builder_output *out);

#endif
