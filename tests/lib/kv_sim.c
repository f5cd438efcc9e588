// tests/lib/kv_sim.c -- SEAM, the simulated half of storage/kv.h: a sorted array in memory, and faults.
//
// Shape: handle.
//
// A state is an immutable list of entries per table; a write transaction works on a copy and a commit makes it the disk's.
// Values are never freed before kv_sim_reset, so pinned ones stay by themselves. It is slow and simple on purpose.
#include "tests/lib/kv_sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/os_lock.h"

#define PIN_BYTES_MIN ((size_t)2048)

struct value {
    struct value *next; // of all there are
    void *memory;
    char *bytes;
    size_t count;
};

struct entry {
    uint64_t key;
    struct value *value;
};

struct state {
    uint32_t holders; // the disk and transactions
    uint32_t counts[KV_TABLES_MAX], rooms[KV_TABLES_MAX];
    struct entry *entries[KV_TABLES_MAX];
};

struct disk {
    struct disk *next;
    char path[512];
    struct state *state;
    uint64_t commits;
    bool open;
};

struct kv {
    struct disk *disk;
    enum kv_mode mode;
    bool failed, unpublished;
    struct lock writer;
    struct kv_txn *transactions;
    uint64_t commits;
};

struct kv_txn {
    struct kv_txn *next;
    struct kv *kv;
    struct state *state;
    uint64_t snapshot;
    uint64_t room_bytes;
    bool writes;
};

static struct lock sim_lock = LOCK_INIT;
static struct disk *disks;
static struct value *values;
static uint32_t fail_at;
static omen_status fail_status;
static enum kv_sim_loss fail_loss;

static void *
want(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

static struct state *
state_copy(const struct state *from)
{
    struct state *copy = want(calloc(1, sizeof *copy));
    copy->holders = 1;
    for (uint32_t i = 0; from != NULL && i < KV_TABLES_MAX; i++) {
        copy->counts[i] = from->counts[i];
        copy->rooms[i] = from->counts[i] + 16;
        copy->entries[i] = want(malloc(copy->rooms[i] * sizeof(struct entry)));
        if (from->counts[i] > 0)
            memcpy(copy->entries[i], from->entries[i], from->counts[i] * sizeof(struct entry));
    }
    return copy;
}

static void
state_let_go(struct state *state)
{
    if (--state->holders > 0)
        return;
    for (uint32_t i = 0; i < KV_TABLES_MAX; i++)
        free(state->entries[i]);
    free(state);
}

// The first entry at or behind the key.
static uint32_t
state_find(const struct state *state, uint32_t table, uint64_t key)
{
    uint32_t low = 0, high = state->counts[table];
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (state->entries[table][middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool
state_has(const struct state *state, uint32_t table, uint32_t at, uint64_t key)
{
    return at < state->counts[table] && state->entries[table][at].key == key;
}

static struct value *
value_make(size_t count)
{
    struct value *value = want(malloc(sizeof *value));
    value->memory = want(aligned_alloc(64, (count + 16 + 63) / 64 * 64));
    value->bytes = (char *)value->memory + (count < PIN_BYTES_MIN ? 2 : 16);
    value->count = count;
    memset(value->bytes, 0xa5, count);
    value->next = values;
    values = value;
    return value;
}

static void
state_put(struct state *state, uint32_t table, uint64_t key, struct value *value)
{
    const uint32_t at = state_find(state, table, key);
    if (!state_has(state, table, at, key)) {
        if (state->counts[table] == state->rooms[table]) {
            state->rooms[table] = 2 * state->rooms[table] + 16;
            state->entries[table] =
                want(realloc(state->entries[table], state->rooms[table] * sizeof(struct entry)));
        }
        memmove(state->entries[table] + at + 1, state->entries[table] + at,
                (state->counts[table]++ - at) * sizeof(struct entry));
    }
    state->entries[table][at] = (struct entry){.key = key, .value = value};
}

static void
state_delete(struct state *state, uint32_t table, uint64_t key)
{
    const uint32_t at = state_find(state, table, key);
    if (state_has(state, table, at, key))
        memmove(state->entries[table] + at, state->entries[table] + at + 1,
                (--state->counts[table] - at) * sizeof(struct entry));
}

static struct disk *
disk_find(const char *path)
{
    struct disk *disk = disks;
    while (disk != NULL && strcmp(disk->path, path) != 0)
        disk = disk->next;
    return disk;
}

static struct disk *
disk_make(const char *path, const struct state *state)
{
    struct disk *disk = want(calloc(1, sizeof *disk));
    (void)snprintf(disk->path, sizeof disk->path, "%s", path);
    disk->state = state_copy(state);
    disk->next = disks;
    disks = disk;
    return disk;
}

void
kv_sim_reset(void)
{
    while (disks != NULL) {
        struct disk *disk = disks;
        disks = disk->next;
        ASSERT(!disk->open);
        state_let_go(disk->state);
        free(disk);
    }
    while (values != NULL) {
        struct value *value = values;
        values = value->next;
        free(value->memory);
        free(value);
    }
    fail_at = 0;
}

void
kv_sim_fail_commit(uint32_t n, omen_status status, enum kv_sim_loss loss)
{
    fail_at = n;
    fail_status = status;
    fail_loss = loss;
}

void
kv_sim_crash(struct kv *kv)
{
    while (kv->transactions != NULL)
        kv_abort(kv->transactions);
    kv_close(kv);
}

void *
kv_sim_value(struct kv *kv, uint32_t table, uint64_t key, size_t *count)
{
    const struct state *state = kv->disk->state;
    const uint32_t at = state_find(state, table, key);
    if (!state_has(state, table, at, key))
        return NULL;
    *count = state->entries[table][at].value->count;
    return state->entries[table][at].value->bytes;
}

void
kv_sim_set(struct kv *kv, uint32_t table, uint64_t key, const void *bytes, size_t count)
{
    if (count == 0) {
        state_delete(kv->disk->state, table, key);
        return;
    }
    struct value *value = value_make(count);
    memcpy(value->bytes, bytes, count);
    state_put(kv->disk->state, table, key, value);
}

// ---- storage/kv.h ----

omen_status
kv_open(const struct kv_config *config, struct kv **out, struct omen_error *error)
{
    *out = NULL;
    lock_acquire(&sim_lock);
    struct disk *disk = disk_find(config->path);
    omen_status status = OMEN_OK;
    if (disk != NULL && disk->open)
        status = error_set(error, OMEN_E_LOCKED, "%s: already open in this process", config->path);
    else if (disk != NULL && config->mode == KV_NEW)
        status = error_set(error, OMEN_E_EXISTS, "%s: something is there already", config->path);
    else if (disk == NULL && config->mode != KV_WRITE && config->mode != KV_NEW)
        status = error_set(error, OMEN_E_NOT_FOUND, "%s: nothing is there", config->path);
    else if (disk == NULL)
        disk = disk_make(config->path, NULL);
    if (status == OMEN_OK) {
        struct kv *kv = want(calloc(1, sizeof *kv));
        kv->disk = disk;
        kv->mode = config->mode;
        lock_init(&kv->writer);
        disk->open = true;
        kv->unpublished = config->mode == KV_NEW;
        *out = kv;
    }
    lock_release(&sim_lock);
    return status;
}

omen_status
kv_publish(struct kv *kv, struct omen_error *error)
{
    (void)error;
    ASSERT(kv->unpublished && kv->transactions == NULL);
    kv->unpublished = false;
    return OMEN_OK;
}

static void
disk_remove(struct disk *disk)
{
    struct disk **link = &disks;
    while (*link != disk)
        link = &(*link)->next;
    *link = disk->next;
    state_let_go(disk->state);
    free(disk);
}

void
kv_close(struct kv *kv)
{
    if (kv == NULL)
        return;
    ASSERT(kv->transactions == NULL);
    lock_acquire(&sim_lock);
    kv->disk->open = false;
    if (kv->unpublished)
        disk_remove(kv->disk);
    lock_release(&sim_lock);
    lock_fini(&kv->writer);
    free(kv);
}

static struct kv_txn *
begin(struct kv *kv, bool writes)
{
    struct kv_txn *txn = want(calloc(1, sizeof *txn));
    lock_acquire(&sim_lock);
    txn->kv = kv;
    txn->writes = writes;
    txn->snapshot = kv->disk->commits;
    txn->state = writes ? state_copy(kv->disk->state) : kv->disk->state;
    txn->state->holders += writes ? 0 : 1;
    txn->next = kv->transactions;
    kv->transactions = txn;
    lock_release(&sim_lock);
    return txn;
}

omen_status
kv_begin_read(struct kv *kv, struct kv_txn **out, struct omen_error *error)
{
    (void)error;
    *out = begin(kv, false);
    return OMEN_OK;
}

omen_status
kv_begin_write(struct kv *kv, struct kv_txn **out, struct omen_error *error)
{
    return kv_begin_write_large(kv, KV_WRITE_BYTES, out, error);
}

omen_status
kv_begin_write_large(struct kv *kv, uint64_t bytes, struct kv_txn **out, struct omen_error *error)
{
    *out = NULL;
    if (kv->mode == KV_READ)
        return error_set(error, OMEN_E_READ_ONLY, "opened for reading only");
    lock_acquire(&kv->writer);
    if (kv->failed) {
        lock_release(&kv->writer);
        return error_set(error, OMEN_E_IO, "an earlier write failed; open it again");
    }
    *out = begin(kv, true);
    (*out)->room_bytes = bytes;
    return OMEN_OK;
}

static void
end(struct kv_txn *txn)
{
    struct kv *kv = txn->kv;
    struct kv_txn **link = &kv->transactions;
    while (*link != txn)
        link = &(*link)->next;
    *link = txn->next;
    state_let_go(txn->state);
    if (txn->writes)
        lock_release(&kv->writer);
    free(txn);
}

omen_status
kv_commit(struct kv_txn *txn, struct omen_error *error)
{
    struct kv *kv = txn->kv;
    omen_status status = OMEN_OK;
    ASSERT(txn->writes);
    lock_acquire(&sim_lock);
    if (fail_at > 0 && --fail_at == 0) {
        status = error_set(error, fail_status, "the %s fails as it was told to", "commit");
        kv->failed = status == OMEN_E_IO;
    }
    if (status == OMEN_OK || (status == OMEN_E_IO && fail_loss == KV_SIM_KEPT)) {
        state_let_go(kv->disk->state);
        kv->disk->state = txn->state;
        txn->state->holders++;
        kv->disk->commits++;
        kv->commits++;
    }
    end(txn);
    lock_release(&sim_lock);
    return status;
}

void
kv_abort(struct kv_txn *txn)
{
    if (txn == NULL)
        return;
    lock_acquire(&sim_lock);
    end(txn);
    lock_release(&sim_lock);
}

static omen_status
at(const struct kv_txn *txn, uint32_t table, uint32_t place, uint64_t *key, struct kv_value *value)
{
    if (place >= txn->state->counts[table])
        return OMEN_E_NOT_FOUND;
    const struct entry *entry = &txn->state->entries[table][place];
    *key = entry->key;
    *value = (struct kv_value){.bytes = entry->value->bytes,
                               .count = entry->value->count,
                               .alone = entry->value->count >= PIN_BYTES_MIN};
    return OMEN_OK;
}

omen_status
kv_get(struct kv_txn *txn, uint32_t table, uint64_t key, struct kv_value *value,
       struct omen_error *error)
{
    (void)error;
    const uint32_t place = state_find(txn->state, table, key);
    return state_has(txn->state, table, place, key) ? at(txn, table, place, &key, value)
                                                    : OMEN_E_NOT_FOUND;
}

omen_status
kv_get_unread(struct kv_txn *txn, uint32_t table, uint64_t key, struct kv_value *value,
              struct omen_error *error)
{
    return kv_get(txn, table, key, value, error);
}

omen_status
kv_read_head(struct kv *kv, const struct kv_value *value, void *head, struct omen_error *error)
{
    (void)kv;
    (void)error;
    memcpy(head, value->bytes, KV_HEAD_BYTES);
    return OMEN_OK;
}

omen_status
kv_next(struct kv_txn *txn, uint32_t table, uint64_t *key, struct kv_value *value,
        struct omen_error *error)
{
    (void)error;
    return at(txn, table, state_find(txn->state, table, *key), key, value);
}

omen_status
kv_previous(struct kv_txn *txn, uint32_t table, uint64_t *key, struct kv_value *value,
            struct omen_error *error)
{
    (void)error;
    const uint32_t place = state_find(txn->state, table, *key);
    if (state_has(txn->state, table, place, *key))
        return at(txn, table, place, key, value);
    return place == 0 ? OMEN_E_NOT_FOUND : at(txn, table, place - 1, key, value);
}

omen_status
kv_put(struct kv_txn *txn, uint32_t table, uint64_t key, size_t count, void **room,
       struct omen_error *error)
{
    ASSERT(txn->writes && count >= 1 && count <= KV_VALUE_BYTES_MAX);
    if (count > txn->room_bytes)
        return error_set(error, OMEN_E_INTERNAL, "a transaction puts more bytes than it said");
    lock_acquire(&sim_lock);
    struct value *value = value_make(count);
    lock_release(&sim_lock);
    txn->room_bytes -= count;
    state_put(txn->state, table, key, value);
    *room = value->bytes;
    return OMEN_OK;
}

omen_status
kv_delete(struct kv_txn *txn, uint32_t table, uint64_t key, struct omen_error *error)
{
    (void)error;
    ASSERT(txn->writes);
    state_delete(txn->state, table, key);
    return OMEN_OK;
}

omen_status
kv_pin(struct kv_txn *txn, const struct kv_value *value, const void **pinned,
       struct omen_error *error)
{
    ASSERT(!txn->writes);
    if (value->count < PIN_BYTES_MIN)
        return error_set(error, OMEN_E_INVALID, "a value of %zu bytes shares its page: it may move",
                         value->count);
    *pinned = value->bytes;
    return OMEN_OK;
}

size_t
kv_pin_bytes_min(const struct kv *kv)
{
    (void)kv;
    return PIN_BYTES_MIN;
}

struct kv *
kv_of(const struct kv_txn *txn)
{
    return txn->kv;
}

uint64_t
kv_commits(struct kv *kv)
{
    return kv->disk->commits;
}

uint64_t
kv_snapshot(const struct kv_txn *txn)
{
    return txn->snapshot;
}

omen_status
kv_copy(struct kv *kv, const char *path, struct omen_error *error)
{
    if (disk_find(path) != NULL)
        return error_set(error, OMEN_E_EXISTS, "%s: something is there already", path);
    (void)disk_make(path, kv->disk->state);
    return OMEN_OK;
}

omen_status
kv_shrink(struct kv *kv, struct omen_error *error)
{
    if (kv->mode == KV_READ)
        return error_set(error, OMEN_E_READ_ONLY, "opened for reading only");
    if (kv->failed)
        return error_set(error, OMEN_E_IO, "an earlier write failed; open it again");
    if (kv->transactions != NULL)
        return error_set(error, OMEN_E_BUSY, "a transaction is open");
    kv->disk->commits = 1;
    return OMEN_OK;
}

bool
kv_moved(struct kv *kv)
{
    (void)kv;
    return false;
}

omen_status
kv_usage(struct kv *kv, struct kv_usage *usage, struct omen_error *error)
{
    (void)error;
    *usage = (struct kv_usage){.commits = kv->commits, .syncs_at_least = 2 * kv->commits};
    for (uint32_t i = 0; i < KV_TABLES_MAX; i++)
        for (uint32_t j = 0; j < kv->disk->state->counts[i]; j++)
            usage->file_bytes += kv->disk->state->entries[i][j].value->count;
    return OMEN_OK;
}

void
kv_shrunk(struct kv *kv)
{
    (void)kv;
}
