// clients/python/src/keys.c -- the engine's integer keys as the ids that the user knows.
//
// Shape: shell. The engine speaks in integer keys; where ids are texts, it gives the text of a key
// and the key of a text. A key is never taken back, so texts may be asked for long after a search.
#include <string.h>

#include "core.h"

#define CHUNK 64 // texts fetched in one stretch without the GIL

void
keys_resolve_kind(struct index *self, uint64_t key)
{
    if (self->kind != IDS_UNKNOWN)
        return;
    char text[TEXT_ID_ROOM];
    omen_status status;
    Py_BEGIN_ALLOW_THREADS
    status = omen_id_text(self->handle, key, text, sizeof text);
    Py_END_ALLOW_THREADS
    if (status == OMEN_OK)
        self->kind = IDS_TEXT;
    else if (status == OMEN_E_NOT_FOUND) // a point that has no text
        self->kind = IDS_INTEGER;
}

enum id_kind
keys_kind(struct index *self)
{
    if (self->kind != IDS_UNKNOWN || self->path == NULL)
        return self->kind;
    omen_points_t points = NULL;
    uint64_t cursor = 0, key = UINT64_MAX;
    Py_BEGIN_ALLOW_THREADS
    if (omen_scroll(self->handle, NULL, 0, 1, &cursor, &points) == OMEN_OK)
        key = omen_points_id(points, 0);
    omen_points_free(points);
    Py_END_ALLOW_THREADS
    if (key != UINT64_MAX)
        keys_resolve_kind(self, key);
    return self->kind;
}

static int
put_texts(struct index *self, PyObject *list, const uint64_t *keys, size_t first, size_t count)
{
    char texts[CHUNK][TEXT_ID_ROOM];
    omen_status status = OMEN_OK;
    size_t done = 0;
    Py_BEGIN_ALLOW_THREADS
    for (; done < count && status == OMEN_OK; done++) {
        texts[done][0] = '\0';
        if (keys[done] != UINT64_MAX)
            status = omen_id_text(self->handle, keys[done], texts[done], TEXT_ID_ROOM);
    }
    Py_END_ALLOW_THREADS
    if (status != OMEN_OK) {
        raise_status(status);
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        PyObject *item =
            keys[i] == UINT64_MAX ? Py_NewRef(Py_None) : PyUnicode_FromString(texts[i]);
        if (item == NULL || PyList_SetItem(list, (Py_ssize_t)(first + i), item) < 0)
            return -1;
    }
    return 0;
}

PyObject *
keys_to_texts(struct index *self, const uint64_t *keys, size_t count)
{
    PyObject *list = PyList_New((Py_ssize_t)count);
    if (list == NULL)
        return NULL;
    for (size_t i = 0; i < count; i += CHUNK) {
        const size_t chunk = count - i < CHUNK ? count - i : CHUNK;
        if (put_texts(self, list, keys + i, i, chunk) < 0) {
            Py_DECREF(list);
            return NULL;
        }
    }
    return list;
}

// False with an exception set when an id is of the other kind; a text that is not there has no key.
static bool
keys_of_texts(struct index *self, const struct ids *ids, uint64_t *keys)
{
    omen_status status = OMEN_OK;
    Py_BEGIN_ALLOW_THREADS
    for (size_t i = 0; i < ids->count; i++) {
        status = omen_id_key(self->handle, ids->texts[i], &keys[i]);
        if (status == OMEN_E_NOT_FOUND) {
            keys[i] = KEY_NONE;
            status = OMEN_OK;
        }
        if (status != OMEN_OK)
            break;
    }
    Py_END_ALLOW_THREADS
    if (status != OMEN_OK)
        raise_status(status);
    return status == OMEN_OK;
}

int
keys_check_kind(struct index *self, const struct ids *ids)
{
    const enum id_kind kind = keys_kind(self);
    if (kind == IDS_UNKNOWN || ids->kind == kind || ids->count == 0)
        return 0;
    if (ids->kind == IDS_TEXT)
        raise_error(OMEN_E_ID_KIND, "id '%s' is a str; this index holds integer ids",
                    ids->texts[0]);
    else
        raise_error(OMEN_E_ID_KIND, "id %llu is an int; this index holds text ids",
                    (unsigned long long)ids->keys[0]);
    return -1;
}

uint64_t *
keys_of_ids(struct index *self, const struct ids *ids)
{
    if (keys_check_kind(self, ids) < 0)
        return NULL;
    uint64_t *keys = PyMem_Malloc(ids->count * sizeof *keys + 1);
    if (keys == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if (ids->kind == IDS_INTEGER) {
        memcpy(keys, ids->keys, ids->count * sizeof *keys);
    } else if (!keys_of_texts(self, ids, keys)) {
        PyMem_Free(keys);
        return NULL;
    }
    return keys;
}
