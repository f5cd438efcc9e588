// shard/checkpoint_load.c -- a generation out of the pieces of a checkpoint.
//
// Shape: handle.
#include <string.h>

#include "shard/checkpoint.h"
#include "shard/outside.h"

static omen_status read_head(const struct image_source *source, const struct manifest *manifest,
                             struct shard_head *head, struct omen_error *error);

omen_status
checkpoint_load(struct shard *shard, struct kv_txn *txn, const struct manifest *manifest,
                struct loaded *out, struct omen_error *error)
{
    const struct hnsw_config config = shard_index_config(&shard->options);
    struct blocks_load *load;
    struct hnsw *hnsw = NULL;
    *out = (struct loaded){0};
    omen_status status = blocks_load_open(txn, manifest, &load, error);
    if (status != OMEN_OK)
        return status;
    const struct image_source source = blocks_load_source(load);
    status = read_head(&source, manifest, &out->head, error);
    if (status == OMEN_OK && (status = hnsw_load(&config, &source, &hnsw)) != OMEN_OK)
        (void)error_set(error, status, "its index: %s", status_text(status));
    if (status == OMEN_OK) {
        const char *part = "";
        const struct generation_source from = {
            .hnsw = hnsw, .slots_max = config.slots_max, .rows = manifest->rows, .image = &source};
        status = generation_load(&from, &shard->gate, &out->generation, &part);
        if (status != OMEN_OK)
            (void)error_set(error, status, "its %s: %s", part, status_text(status));
    }
    if (status == OMEN_OK && shard->outside != NULL && !shard->outside->sums_known)
        shard->outside->sums_known = sums_load(shard->outside->sums, &source);
    const omen_status found = blocks_load_status(load, error);
    if (status == OMEN_OK)
        status = found;
    if (status == OMEN_OK && (hnsw_count(out->generation->hnsw) != manifest->rows ||
                              names_count(out->generation->names) != out->head.names))
        status = error_set(error, OMEN_E_CORRUPT, "its parts are of different checkpoints");
    if (status == OMEN_OK) {
        out->generation->number = manifest->generation;
        out->blocks = load;
        return OMEN_OK;
    }
    generation_close(out->generation);
    out->generation = NULL;
    blocks_load_close(load);
    return status;
}

static omen_status
read_head(const struct image_source *source, const struct manifest *manifest,
          struct shard_head *head, struct omen_error *error)
{
    size_t count = 0;
    const void *bytes = source->get(source->context, IMAGE_SHARD_HEAD, 0, &count);
    if (bytes == NULL || count < SHARD_HEAD_BYTES_MIN)
        return error_set(error, OMEN_E_CORRUPT, "the head of checkpoint %llu is missing",
                         (unsigned long long)manifest->checkpoint);
    memset(head, 0, sizeof *head);
    memcpy(head, bytes, count < sizeof *head ? count : sizeof *head);
    if (head->rows != manifest->rows || head->kind > ID_KIND_TEXT)
        return error_set(error, OMEN_E_CORRUPT, "the head of checkpoint %llu is of another",
                         (unsigned long long)manifest->checkpoint);
    return OMEN_OK;
}

omen_status
checkpoint_none(struct shard *shard, struct loaded *out)
{
    const struct hnsw_config config = shard_index_config(&shard->options);
    struct hnsw *hnsw;
    *out = (struct loaded){0};
    omen_status status = hnsw_open(&config, &hnsw);
    if (status == OMEN_OK)
        status = generation_open(hnsw, config.slots_max, &shard->gate, &out->generation);
    if (status != OMEN_OK)
        return status;
    status = names_open(&shard->gate, &out->generation->names);
    if (status == OMEN_OK && shard->journal != NULL)
        status = generation_version(out->generation);
    if (status == OMEN_OK)
        return OMEN_OK;
    generation_close(out->generation);
    out->generation = NULL;
    return status;
}
