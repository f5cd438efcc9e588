// tests/golden/make.c -- makes the index that tests/golden/format-1 keeps; run once, when the format was new.
//
// usage: golden_make WORK PATH      two directories that are not there yet
//
// Shape: shell. Part of it is in a checkpoint, part in the log, because the process ends without closing the index, as
// one that is killed. The checkpoint goes through a copy, which has no free pages. Keep data.mdb of
// `omenctl file copy PATH SMALL`, which leaves the log and takes free pages out.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/omendb.h"
#include "tests/golden/golden.h"

static omen_index_t shared_index;

static void
need(omen_status status, const char *what)
{
    if (status == OMEN_OK)
        return;
    fprintf(stderr, "golden_make: %s: %s\n", what, omen_error_message());
    exit(EXIT_FAILURE);
}

typedef omen_status batch_call(omen_index_t index, const omen_batch *batch);

// Rows [first, end) in one batch, each as the row `shift` farther on would be.
static void
write_rows(batch_call *call, uint32_t first, uint32_t end, uint32_t shift)
{
    static float vectors[GOLDEN_ROWS][GOLDEN_DIM];
    static char ids[GOLDEN_ROWS][16];
    static uint8_t packed[GOLDEN_ROWS][128];
    static struct packer packer;
    static const char *texts[GOLDEN_ROWS];
    static const void *payloads[GOLDEN_ROWS];
    static size_t payload_bytes[GOLDEN_ROWS];
    const uint32_t count = end - first;
    omen_batch batch = OMEN_BATCH_INIT;
    for (uint32_t i = 0; i < count; i++) {
        golden_vector(first + i + shift, vectors[i]);
        golden_payload(first + i, (int64_t)first + i + shift, &packer);
        if (packer.count > sizeof packed[i])
            exit(EXIT_FAILURE);
        memcpy(packed[i], packer.bytes, packer.count);
        golden_id(first + i, ids[i]);
        texts[i] = ids[i];
        payloads[i] = packed[i];
        payload_bytes[i] = packer.count;
    }
    batch.count = count;
    batch.vectors = vectors;
    batch.text_ids = texts;
    batch.payloads = payloads;
    batch.payload_bytes = payload_bytes;
    need(call(shared_index, &batch), "writing");
}

static void
delete_rows(uint32_t first, uint32_t end)
{
    static char ids[GOLDEN_ROWS][16];
    static const char *texts[GOLDEN_ROWS];
    for (uint32_t i = 0; i < end - first; i++) {
        golden_id(first + i, ids[i]);
        texts[i] = ids[i];
    }
    need(omen_delete_text(shared_index, texts, end - first, NULL), "deleting");
}

// With a dimension of 0: what is there.
static void
open_index(const char *path, uint32_t dimension)
{
    omen_options options = OMEN_OPTIONS_INIT;
    options.path = path;
    options.dimension = dimension;
    options.metric = OMEN_L2;
    options.dtype = OMEN_F16;
    options.threads = 1;
    options.seed = 1;
    need(omen_open(&options, &shared_index), path);
}

int
main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: golden_make WORK PATH\n");
        return 2;
    }
    open_index(argv[1], GOLDEN_DIM);
    need(omen_field_index(shared_index, "n", OMEN_FIELD_INTEGER), "n");
    need(omen_field_index(shared_index, "city", OMEN_FIELD_KEYWORD), "city");
    write_rows(omen_add, 0, GOLDEN_CHECKPOINTED, 0);
    delete_rows(10, 20);
    need(omen_flush(shared_index), "checkpoint");
    need(omen_copy(shared_index, argv[2]), argv[2]);
    omen_close(shared_index);

    open_index(argv[2], 0);
    write_rows(omen_add, GOLDEN_CHECKPOINTED, GOLDEN_ROWS, 0);
    write_rows(omen_upsert, 100, 110, 10000);
    delete_rows(200, 210);
    write_rows(omen_set_payloads, 300, 305, 20000);
    need(omen_field_index(shared_index, "score", OMEN_FIELD_FLOAT), "score");
    _exit(0);
}
