// storage/kv_lmdb_map.c -- our own map of the file, where values stay while LMDB's moves.
//
// Shape: handle, durable.
//
// Every page of LMDB begins with its number, and a page that is committed is written nowhere else. So the place of a
// value in the file follows from its address: its page begins at a multiple of the page's size, and says its number.
// The bytes are from disk and are not trusted: a page must say the same of itself in both maps, and a value must end
// where its page does.
#include "storage/kv_lmdb_int.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"

// The head of LMDB's pages, as its file format has it since version 1.
struct page_head {
    uint64_t number;
    uint16_t pad;
    uint16_t flags;
    uint32_t pages; // of an overflow page
};
#define PAGE_HEAD_BYTES sizeof(struct page_head)
#define PAGE_LEAF 0x02u
#define PAGE_OVERFLOW 0x04u

// The last number of a commit in each of the two first pages, and where they have it.
#define META_COMMIT_AT (PAGE_HEAD_BYTES + 128)

static struct kv_map *map_make(int fd, uint64_t bytes);
static omen_status map_grow(struct kv *kv, uint64_t end, struct omen_error *error);

uint64_t
kv_file_bytes(int fd)
{
    struct stat stat_of;
    return fstat(fd, &stat_of) == 0 ? (uint64_t)stat_of.st_size : 0;
}

omen_status
kv_map_open(struct kv_file *file, struct omen_error *error)
{
    const uint64_t bytes = kv_file_bytes(file->data_fd);
    struct kv_map *map = map_make(file->data_fd, file->map_bytes); // 2 * bytes at least
    if (map == NULL)
        return error_set(error, OMEN_E_NO_MEMORY, "no address space to map %llu bytes",
                         (unsigned long long)bytes);
    atomic_store(&file->map, map);
    atomic_store(&file->bytes, bytes);
    return OMEN_OK;
}

void
kv_map_close(struct kv_file *file)
{
    struct kv_map *map = atomic_load(&file->map);
    while (map != NULL) {
        struct kv_map *older = map->older;
        munmap((void *)(uintptr_t)map->base, map->bytes);
        mem_free(map);
        map = older;
    }
    atomic_store(&file->map, NULL);
}

static struct kv_map *
map_make(int fd, uint64_t bytes)
{
    struct kv_map *map = mem_alloc(sizeof *map);
    if (map == NULL)
        return NULL;
    void *base = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (base == MAP_FAILED) {
        mem_free(map);
        return NULL;
    }
    // Rows are read one here and one there, and what the system would read around each is megabytes on some disks. Who
    // reads on and on says so.
    (void)madvise(base, bytes, MADV_RANDOM);
    *map = (struct kv_map){.base = base, .bytes = bytes};
    return map;
}

// Our view of the page that LMDB has at `theirs`. A page of LMDB's map is touched only until it is known where that map
// begins: each touch of a piece in a map that nobody reads costs a page fault.
static omen_status
page_find(struct kv *kv, const uint8_t *theirs, uint64_t *number, const uint8_t **ours,
          struct omen_error *error)
{
    struct kv_file *file = &kv->file;
    struct page_head head;
    const uintptr_t base = atomic_load_explicit(&file->map_base, memory_order_relaxed);
    if (base != 0 && (uintptr_t)theirs >= base) {
        *number = ((uintptr_t)theirs - base) / file->page_bytes;
    } else {
        memcpy(&head, theirs, sizeof head);
        *number = head.number;
    }
    if (*number >= UINT64_MAX / file->page_bytes - 1)
        return error_set(error, OMEN_E_CORRUPT, "%s: a value does not fit its page", KV_DATA_FILE);
    const uint64_t begin = *number * file->page_bytes;
    const omen_status status = map_grow(kv, begin + file->page_bytes, error);
    if (status != OMEN_OK)
        return status;
    *ours = atomic_load_explicit(&file->map, memory_order_acquire)->base + begin;
    if (base == 0) {
        if (memcmp(*ours, theirs, sizeof head) != 0)
            return error_set(error, OMEN_E_CORRUPT, "%s: page %llu says that it is another",
                             KV_DATA_FILE, (unsigned long long)*number);
        atomic_store_explicit(&file->map_base, (uintptr_t)theirs - begin, memory_order_relaxed);
    }
    return OMEN_OK;
}

// Whether a page is the one with that number, and a value that begins `in_page` ends in it or the pages that go with it.
static omen_status
page_check(const struct kv_file *file, const struct page_head *head, uint64_t number,
           size_t in_page, size_t count, struct omen_error *error)
{
    const bool overflow = (head->flags & PAGE_OVERFLOW) != 0;
    const uint64_t pages = overflow ? head->pages : 1;
    const bool plausible = in_page >= PAGE_HEAD_BYTES &&
                           number < UINT64_MAX / file->page_bytes - pages &&
                           count <= pages * file->page_bytes - in_page &&
                           (overflow ? in_page == PAGE_HEAD_BYTES : (head->flags & PAGE_LEAF) != 0);
    if (!plausible)
        return error_set(error, OMEN_E_CORRUPT, "%s: a value does not fit its page", KV_DATA_FILE);
    if (head->number != number)
        return error_set(error, OMEN_E_CORRUPT, "%s: page %llu says that it is another",
                         KV_DATA_FILE, (unsigned long long)number);
    return OMEN_OK;
}

omen_status
kv_map_find(struct kv *kv, const MDB_val *found, struct kv_value *value, bool unread,
            struct omen_error *error)
{
    struct kv_file *file = &kv->file;
    const uint8_t *at = found->mv_data;
    const size_t in_page = (uintptr_t)at & (file->page_bytes - 1);
    struct page_head head = {.flags =
                                 PAGE_OVERFLOW}; // what has more bytes than a page is nowhere else
    uint64_t number = 0;
    const uint8_t *page = NULL;
    omen_status status = page_find(kv, at - in_page, &number, &page, error);
    if (status != OMEN_OK)
        return status;
    if (!unread || in_page != PAGE_HEAD_BYTES || found->mv_size <= file->page_bytes) {
        memcpy(&head, page, sizeof head);
        status = page_check(file, &head, number, in_page, found->mv_size, error);
        if (status != OMEN_OK)
            return status;
    }
    status = map_grow(kv, number * file->page_bytes + in_page + found->mv_size, error);
    if (status != OMEN_OK)
        return status;
    // Whichever map it is in now; both stay.
    page = atomic_load_explicit(&file->map, memory_order_acquire)->base + number * file->page_bytes;
    value->bytes = page + in_page;
    value->count = found->mv_size;
    value->alone =
        (head.flags & PAGE_OVERFLOW) != 0; // and behind its head: else it is not plausible
    return OMEN_OK;
}

// Where an address of our maps lies in the file.
static uint64_t
place_of(const struct kv_file *file, const uint8_t *at)
{
    const struct kv_map *map = atomic_load_explicit(&file->map, memory_order_acquire);
    while (map != NULL && !(at >= map->base && at < map->base + map->bytes))
        map = map->older;
    ASSERT(map != NULL);
    return (uint64_t)(at - map->base);
}

omen_status
kv_read_head(struct kv *kv, const struct kv_value *value, void *head, struct omen_error *error)
{
    struct {
        struct page_head page;
        uint8_t value[KV_HEAD_BYTES];
    } begin;
    const struct kv_file *file = &kv->file;
    ASSERT(value->alone && value->count >= KV_HEAD_BYTES);
    const uint8_t *page = (const uint8_t *)value->bytes - PAGE_HEAD_BYTES;
    const uint64_t place = place_of(file, page);
    if (pread(file->data_fd, &begin, sizeof begin, (off_t)place) != (ssize_t)sizeof begin)
        memcpy(&begin, page, sizeof begin);
    memcpy(head, begin.value, KV_HEAD_BYTES);
    return page_check(file, &begin.page, place / file->page_bytes, PAGE_HEAD_BYTES, value->count,
                      error);
}

// Makes sure that the bytes before `end` are in the file and in our map.
static omen_status
map_grow(struct kv *kv, uint64_t end, struct omen_error *error)
{
    struct kv_file *file = &kv->file;
    if (end > atomic_load_explicit(&file->bytes, memory_order_relaxed)) {
        const uint64_t bytes = kv_file_bytes(file->data_fd);
        if (end > bytes)
            return error_set(error, OMEN_E_CORRUPT, "%s: a page lies behind the file's end",
                             KV_DATA_FILE);
        atomic_store_explicit(&file->bytes, bytes, memory_order_relaxed);
    }
    if (end <= atomic_load_explicit(&file->map, memory_order_acquire)->bytes)
        return OMEN_OK;

    omen_status status = OMEN_OK;
    lock_acquire(&kv->map_lock);
    struct kv_map *newest = atomic_load(&file->map);
    if (end > newest->bytes) {
        struct kv_map *map = map_make(file->data_fd, 2 * kv_file_bytes(file->data_fd));
        if (map == NULL) {
            status = error_set(error, OMEN_E_NO_MEMORY, "no address space for a map of %llu bytes",
                               2ull * end);
        } else {
            map->older = newest;
            atomic_store_explicit(&file->map, map, memory_order_release);
        }
    }
    lock_release(&kv->map_lock);
    return status;
}

// LMDB unmaps before it maps; if it failed then, nothing could be read any more. So we ask for the room first.
omen_status
kv_map_resize(struct kv *kv, uint64_t bytes, struct omen_error *error)
{
    MDB_envinfo info;
    omen_status status = OMEN_OK;
    rwlock_acquire_exclusive(&kv->gate);
    mdb_env_info(kv->file.env, &info);
    if (bytes == 0)
        bytes = 2 * kv_file_bytes(kv->file.data_fd);
    void *room = bytes > info.me_mapsize ? mmap(NULL, bytes, PROT_NONE,
                                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                                         : MAP_FAILED;
    if (room != MAP_FAILED) {
        munmap(room, bytes);
        const int code = mdb_env_set_mapsize(kv->file.env, bytes);
        atomic_store_explicit(&kv->file.map_base, 0, memory_order_relaxed); // nobody is in the gate
        if (code != 0)
            atomic_store(&kv->unmapped, true);
        status = code == 0 ? OMEN_OK : kv_failed(error, code, "growing the map");
    } else if (bytes > info.me_mapsize) {
        status = error_set(error, OMEN_E_NO_MEMORY, "no address space for a map of %llu bytes",
                           (unsigned long long)bytes);
    }
    if (status == OMEN_OK && bytes > info.me_mapsize)
        kv->file.map_bytes = bytes;
    rwlock_release_exclusive(&kv->gate);
    return status;
}

omen_status
kv_pin(struct kv_txn *txn, const struct kv_value *value, const void **pinned,
       struct omen_error *error)
{
    ASSERT(!txn->writes);
    if (!value->alone)
        return error_set(error, OMEN_E_INVALID, "a value of %zu bytes shares its page: it may move",
                         value->count);
    *pinned = value->bytes; // kv_get and its like gave an address in our map already
    return OMEN_OK;
}

// A node of a leaf has 8 bytes of head and our key of 8; two nodes must fit a page beside its head and their offsets.
size_t
kv_pin_bytes_min(const struct kv *kv)
{
    return (kv->file.page_bytes - PAGE_HEAD_BYTES) / 2;
}

// LMDB writes its number of commits as one aligned word of the page whose turn it is.
uint64_t
kv_commits(struct kv *kv)
{
    const struct kv_map *map = atomic_load_explicit(&kv->file.map, memory_order_acquire);
    const uint64_t *even = (const void *)(map->base + META_COMMIT_AT);
    const uint64_t *odd = (const void *)(map->base + kv->file.page_bytes + META_COMMIT_AT);
    const uint64_t first = __atomic_load_n(even, __ATOMIC_ACQUIRE);
    const uint64_t second = __atomic_load_n(odd, __ATOMIC_ACQUIRE);
    return first > second ? first : second;
}
