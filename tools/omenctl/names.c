// tools/omenctl/names.c -- the names of nodes where the protocol has their uuids, for tables.
//
// Shape: shell. Recursion is as deep as a document.
#include "tools/omenctl/names.h"

#include "base/alloc.h"

struct named {
    struct wire_text node, name;
};

struct names {
    struct doc *doc;
    struct named *list;
    uint32_t count;
};

static bool
is_only_one(const struct names *names, const struct wire_text *name)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < names->count; i++)
        count += wire_text_same(names->list[i].name, *name);
    return count == 1;
}

static void
show_in(const struct names *names, struct doc_node *node)
{
    if (node->kind == DOC_LIST || node->kind == DOC_MAP) {
        for (struct doc_node *child = node->children.first; child != NULL; child = child->next)
            show_in(names, child);
        return;
    }
    for (uint32_t i = 0; i < names->count && node->kind == DOC_TEXT; i++) {
        const struct named *named = &names->list[i];
        const struct wire_text text = {node->text.bytes, (uint32_t)node->text.count};
        if (!wire_text_same(named->node, text))
            continue;
        if (is_only_one(names, &named->name))
            doc_retext(names->doc, node, named->name.bytes, named->name.count);
        return;
    }
}

static void
show_nodes(struct doc *doc, const struct api_nodes *nodes)
{
    struct names names = {.doc = doc};
    struct list_cursor cursor;
    struct api_node node;
    names.list = mem_alloc_zero(nodes->nodes.count, sizeof *names.list);
    list_begin(&cursor, shape_field(&api_nodes, "nodes"), &nodes->nodes);
    while (names.list != NULL && list_next(&cursor, &node))
        names.list[names.count++] = (struct named){node.node, node.name};
    show_in(&names, doc_root(doc));
    mem_free(names.list);
}

void
names_show(struct client *client, struct doc *doc)
{
    static const struct api_nothing nothing;
    struct api_nodes nodes = {0};
    struct client_reply reply = {0};
    struct client_error error;
    if (doc_tree(doc) != NULL &&
        client_call_method(client, METHOD_NODE_LIST, &nothing, &reply, &nodes, &error) == OMEN_OK)
        show_nodes(doc, &nodes);
    client_reply_fini(&reply);
}
