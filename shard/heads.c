// shard/heads.c -- a thread that looks at the heads of what was loaded, beside whoever applies the log.
//
// Shape: shell.
//
// A million rows of 128 dimensions are 2,900 pieces, whose heads take 2.7 ms to read: an eighth of an opening after a kill. Applying
// the log does not need them to be good, only what comes of the opening does.
#include "shard/heads.h"

#define HEADS_FOR_A_THREAD 256u // fewer take less time than starting one

static void *
check(void *context)
{
    struct heads *heads = context;
    heads->status = blocks_load_check_heads(heads->load, &heads->error);
    return NULL;
}

void
heads_begin(struct heads *heads, struct blocks_load *load)
{
    *heads = (struct heads){.load = load};
    if (load != NULL && blocks_load_heads(load) >= HEADS_FOR_A_THREAD)
        heads->begun = os_thread_start(&heads->thread, check, heads) == 0;
}

omen_status
heads_end(struct heads *heads, struct omen_error *error)
{
    if (heads->load == NULL)
        return OMEN_OK;
    if (heads->begun)
        (void)pthread_join(heads->thread, NULL);
    else
        (void)check(heads);
    blocks_load_close(heads->load);
    heads->load = NULL;
    if (heads->status != OMEN_OK && error != NULL)
        *error = heads->error;
    return heads->status;
}
