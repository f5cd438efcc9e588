// storage/kv_lmdb_check.c -- whether LMDB's trees can be walked, before LMDB walks them.
//
// Shape: handle, durable.
//
// LMDB believes its pages: an offset or a size that a flipped bit changed makes it read, or in a writer write, where
// it must not. So when a file is opened its trees are walked once, by this file, which believes nothing: every page of a
// tree is what its parent says, every node lies within its page, every value within the file, keys ascend, and no page is
// used twice or is free as well. Values themselves are not read: they have checksums of ours. It takes a few hundred
// pages for a million rows. What a writer of ours adds afterwards is not checked again.
#include "storage/kv_lmdb_int.h"

#include <string.h>

#include "base/alloc.h"

#define PAGE_BRANCH 1u
#define PAGE_LEAF 2u
#define NODE_BIG 1u   // the value has pages of its own
#define NODE_TABLE 2u // the value is a table
#define TABLE_INTEGER_KEYS 8u
#define DEPTH_MAX 32u
#define NO_PAGE UINT64_MAX
#define FREE_TABLE 0u
#define NAMES_TABLE 1u

struct page {
    uint64_t number;
    uint16_t pad, flags, lower, upper;
    uint16_t offsets[];
};

struct node {
    uint16_t low, high; // of a value's size, or of a child's number
    uint16_t flags;     // or its third part
    uint16_t key_bytes;
};

struct table {
    uint32_t pad;
    uint16_t flags, depth;
    uint64_t branches, leaves, big_pages, entries, root;
};

struct meta {
    uint64_t number;
    uint16_t pad, flags;
    uint32_t pad2, magic, version;
    uint64_t address, map_bytes;
    struct table tables[2];
    uint64_t last_page, commit;
};
_Static_assert(sizeof(struct node) == 8 && sizeof(struct table) == 48 && sizeof(struct meta) == 152,
               "as in LMDB's format");

enum kind { OF_FREE_PAGES, OF_NAMES, OF_VALUES };

struct walk {
    const uint8_t *base;
    uint64_t page_bytes, pages;
    uint8_t *used; // a bit a page
    const char *wrong;
    uint64_t where; // the page
};

static bool check_table(struct walk *walk, const struct table *table, enum kind kind);
static bool check_page(struct walk *walk, uint64_t number, uint32_t depth, enum kind kind,
                       uint64_t *key, bool *any);
static bool check_leaf_node(struct walk *walk, const uint8_t *page, const struct node *node,
                            const uint8_t *value, enum kind kind);
static bool check_free(struct walk *walk, const uint8_t *list, uint64_t bytes);

omen_status
kv_check_trees(const struct kv_file *file, uint64_t snapshot, struct omen_error *error)
{
    const struct kv_map *map = atomic_load(&file->map);
    struct meta meta;
    struct walk walk = {.base = map->base, .page_bytes = file->page_bytes};
    memcpy(&meta, map->base + (snapshot & 1) * file->page_bytes, sizeof meta);
    // A writer that committed twice since has written over it. It could be read from the other map only, and what it
    // stood for was ours to read when it was written: who opens again meets the new one.
    if (meta.commit != snapshot)
        return OMEN_OK;
    walk.pages = meta.last_page + 1;
    if (walk.pages > KV_FILE_BYTES_MAX / file->page_bytes ||
        walk.pages * file->page_bytes > map->bytes ||
        walk.pages * file->page_bytes > kv_file_bytes(file->data_fd))
        return error_set(error, OMEN_E_CORRUPT, "%s: says that it has %llu pages", KV_DATA_FILE,
                         (unsigned long long)walk.pages);
    walk.used = mem_alloc_zero((size_t)(walk.pages / 8 + 1), 1);
    if (walk.used == NULL)
        return error_set_plain(error, OMEN_E_NO_MEMORY);
    walk.used[0] = 3; // the heads
    const bool sound = check_table(&walk, &meta.tables[NAMES_TABLE], OF_NAMES) &&
                       check_table(&walk, &meta.tables[FREE_TABLE], OF_FREE_PAGES);
    mem_free(walk.used);
    return sound ? OMEN_OK
                 : error_set(error, OMEN_E_CORRUPT, "%s: page %llu: %s", KV_DATA_FILE,
                             (unsigned long long)walk.where, walk.wrong);
}

static bool
wrong(struct walk *walk, uint64_t page, const char *what)
{
    walk->where = page;
    walk->wrong = what;
    return false;
}

// Pages [first, first + count) belong to one thing only.
static bool
take(struct walk *walk, uint64_t first, uint64_t count)
{
    if (first >= walk->pages || count > walk->pages - first)
        return wrong(walk, first, "it lies behind the file's end");
    for (uint64_t i = first; i < first + count; i++) {
        const uint8_t bit = (uint8_t)(1u << (i & 7));
        if ((walk->used[i >> 3] & bit) != 0)
            return wrong(walk, i, "it is used twice");
        walk->used[i >> 3] |= bit;
    }
    return true;
}

static bool
check_table(struct walk *walk, const struct table *table, enum kind kind)
{
    uint64_t key = 0;
    bool any = false;
    if (table->root == NO_PAGE)
        return table->entries == 0 || wrong(walk, 0, "a table has entries and no pages");
    if (table->depth == 0 || table->depth > DEPTH_MAX)
        return wrong(walk, table->root, "a tree is deeper than any can be");
    // The table of free pages has LMDB's flags of the file in the same place.
    if (kind == OF_VALUES ? table->flags != TABLE_INTEGER_KEYS
                          : kind == OF_FREE_PAGES && (table->flags & TABLE_INTEGER_KEYS) == 0)
        return wrong(walk, table->root, "a table has other keys than ours");
    return check_page(walk, table->root, table->depth, kind, &key, &any);
}

// Where a node is, if it is within its page with its key.
static const uint8_t *
node_at(const struct walk *walk, const uint8_t *bytes, uint32_t i, struct node *node)
{
    const struct page *page = (const void *)bytes;
    const uint32_t at = page->offsets[i];
    if (at < page->upper || (at & 1) != 0 || at + sizeof *node > walk->page_bytes)
        return NULL;
    memcpy(node, bytes + at, sizeof *node);
    return at + sizeof *node + node->key_bytes <= walk->page_bytes ? bytes + at : NULL;
}

// *key: the greatest so far, if there was *any. The recursion is as deep as the tree, at most DEPTH_MAX.
static bool
check_page(struct walk *walk, uint64_t number, uint32_t depth, enum kind kind, uint64_t *key,
           bool *any)
{
    if (!take(walk, number, 1))
        return false;
    const uint8_t *bytes = walk->base + number * walk->page_bytes;
    const struct page *page = (const void *)bytes;
    const bool leaf = depth == 1;
    const uint32_t count =
        page->lower < sizeof *page ? 0 : (page->lower - (uint32_t)sizeof *page) / 2;
    if (page->number != number || page->flags != (leaf ? PAGE_LEAF : PAGE_BRANCH) ||
        page->lower > page->upper || page->upper > walk->page_bytes || count < (leaf ? 1 : 2))
        return wrong(walk, number, "its head is not that of such a page");
    for (uint32_t i = 0; i < count; i++) {
        struct node node;
        const uint8_t *at = node_at(walk, bytes, i, &node);
        const bool keyed = leaf || i > 0; // a branch's first key is not looked at
        if (at == NULL || (keyed && kind != OF_NAMES && node.key_bytes != sizeof *key))
            return wrong(walk, number, "a node lies outside it");
        if (keyed && kind != OF_NAMES) {
            // A branch's key is greater than all before it, and no greater than its child's.
            uint64_t found;
            memcpy(&found, at + sizeof node, sizeof found);
            if (*any && found <= *key)
                return wrong(walk, number, "its keys do not ascend");
            *key = leaf ? found : found - 1;
            *any = true;
        }
        const uint8_t *rest = at + sizeof node + node.key_bytes;
        const uint64_t child = node.low | (uint64_t)node.high << 16 | (uint64_t)node.flags << 32;
        if (leaf ? !check_leaf_node(walk, bytes, &node, rest, kind)
                 : !check_page(walk, child, depth - 1, kind, key, any))
            return false;
    }
    return true;
}

static bool
check_leaf_node(struct walk *walk, const uint8_t *page, const struct node *node,
                const uint8_t *value, enum kind kind)
{
    const uint64_t number = ((const struct page *)(const void *)page)->number;
    const uint64_t bytes = node->low | (uint64_t)node->high << 16;
    const uint64_t room = (uint64_t)(page + walk->page_bytes - value);
    if (kind == OF_NAMES) { // our tables only
        struct table table;
        if (node->flags != NODE_TABLE || bytes != sizeof table || room < sizeof table)
            return wrong(walk, number, "it names something that is no table");
        memcpy(&table, value, sizeof table);
        return check_table(walk, &table, OF_VALUES);
    }
    const bool big = node->flags == NODE_BIG;
    if ((!big && node->flags != 0) || room < (big ? sizeof(uint64_t) : bytes))
        return wrong(walk, number, "a value lies outside it");
    if (big) {
        uint64_t first;
        memcpy(&first, value, sizeof first);
        if (!take(walk, first, (15 + bytes) / walk->page_bytes + 1))
            return false;
        value = walk->base + first * walk->page_bytes + 16;
    }
    return kind != OF_FREE_PAGES || check_free(walk, value, bytes) ||
           (walk->wrong != NULL ? false : wrong(walk, number, "a list of free pages is damaged"));
}

// A count, then as many numbers of pages, descending.
static bool
check_free(struct walk *walk, const uint8_t *list, uint64_t bytes)
{
    uint64_t count, page, last = NO_PAGE;
    if (bytes < sizeof count)
        return false;
    memcpy(&count, list, sizeof count);
    if (count > bytes / sizeof count - 1)
        return false;
    for (uint64_t i = 1; i <= count; i++) {
        memcpy(&page, list + i * sizeof page, sizeof page);
        if (page >= last || !take(walk, page, 1))
            return false;
        last = page;
    }
    return true;
}
