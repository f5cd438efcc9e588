// tools/omenctl/npy.c -- the head of a NumPy file.
//
// Shape: value.
//
// The head is a Python literal, {'descr': '<f4', 'fortran_order': False, 'shape': (60000, 784), }, whose keys may come
// in any order. Only this form is read; nothing is evaluated.
#include "tools/omenctl/npy.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#define MAGIC_BYTES 6u

struct scanner {
    const char *at, *end;
};

static void
skip_blanks(struct scanner *scanner)
{
    while (scanner->at < scanner->end && (*scanner->at == ' ' || *scanner->at == '\n'))
        scanner->at++;
}

static bool
take(struct scanner *scanner, const char *word)
{
    skip_blanks(scanner);
    const size_t bytes = strlen(word);
    if ((size_t)(scanner->end - scanner->at) < bytes || memcmp(scanner->at, word, bytes) != 0)
        return false;
    scanner->at += bytes;
    return true;
}

// A short text in single or double quotes, without escapes.
static bool
take_quoted(struct scanner *scanner, char *out, size_t capacity)
{
    skip_blanks(scanner);
    if (scanner->at == scanner->end || (*scanner->at != '\'' && *scanner->at != '"'))
        return false;
    const char quote = *scanner->at++;
    size_t count = 0;
    while (scanner->at < scanner->end && *scanner->at != quote) {
        if (count + 1 == capacity || *scanner->at < ' ' || *scanner->at > '~')
            return false;
        out[count++] = *scanner->at++;
    }
    out[count] = '\0';
    return scanner->at++ < scanner->end;
}

static bool
take_number(struct scanner *scanner, uint64_t *out)
{
    skip_blanks(scanner);
    const char *start = scanner->at;
    uint64_t number = 0;
    while (scanner->at < scanner->end && *scanner->at >= '0' && *scanner->at <= '9') {
        const uint64_t digit = (uint64_t)(*scanner->at++ - '0');
        if (number > (UINT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *out = number;
    return scanner->at > start;
}

static omen_status
take_shape(struct scanner *scanner, struct npy *npy, struct omen_error *error)
{
    npy->dimensions = 0;
    npy->shape[0] = npy->shape[1] = 1;
    if (!take(scanner, "("))
        return error_set(error, OMEN_E_INVALID, "npy: the shape is no tuple");
    while (!take(scanner, ")")) {
        uint64_t extent;
        if (!take_number(scanner, &extent))
            return error_set(error, OMEN_E_INVALID,
                             "npy: the shape has something else than numbers");
        if (npy->dimensions == 2)
            return error_set(error, OMEN_E_UNSUPPORTED,
                             "npy: more than two dimensions; rows of vectors have two");
        npy->shape[npy->dimensions++] = extent;
        if (!take(scanner, ",") && !(scanner->at < scanner->end && *scanner->at == ')'))
            return error_set(error, OMEN_E_INVALID, "npy: the shape is no tuple");
    }
    if (npy->dimensions == 0)
        return error_set(error, OMEN_E_UNSUPPORTED, "npy: a single number, no array");
    return OMEN_OK;
}

static omen_status
take_descr(struct scanner *scanner, struct npy *npy, struct omen_error *error)
{
    char descr[16];
    if (!take_quoted(scanner, descr, sizeof descr))
        return error_set(error, OMEN_E_UNSUPPORTED,
                         "npy: a structured type; wanted are plain numbers");
    const size_t bytes = strlen(descr);
    if (descr[0] == '>')
        return error_set(error, OMEN_E_UNSUPPORTED,
                         "npy: big-endian numbers ('%s'); save it with little-endian ones", descr);
    const bool is_known = bytes == 3 && (descr[0] == '<' || descr[0] == '|' || descr[0] == '=') &&
                          (descr[1] == 'f' || descr[1] == 'i' || descr[1] == 'u') &&
                          strchr("1248", descr[2]) != NULL && !(descr[1] == 'f' && descr[2] == '1');
    if (!is_known)
        return error_set(error, OMEN_E_UNSUPPORTED, "npy: the type '%s' is no plain number", descr);
    npy->kind = descr[1];
    npy->item_bytes = (uint32_t)(descr[2] - '0');
    return OMEN_OK;
}

static omen_status
take_dictionary(struct scanner *scanner, struct npy *npy, struct omen_error *error)
{
    bool has_descr = false, has_order = false, has_shape = false;
    if (!take(scanner, "{"))
        return error_set(error, OMEN_E_INVALID, "npy: the head is no dictionary");
    while (!take(scanner, "}")) {
        char key[16];
        omen_status status = OMEN_OK;
        if (!take_quoted(scanner, key, sizeof key) || !take(scanner, ":"))
            return error_set(error, OMEN_E_INVALID, "npy: the head is no dictionary");
        bool *has = strcmp(key, "descr") == 0           ? &has_descr
                    : strcmp(key, "fortran_order") == 0 ? &has_order
                    : strcmp(key, "shape") == 0         ? &has_shape
                                                        : NULL;
        if (has == NULL || *has)
            return error_set(error, OMEN_E_INVALID, "npy: the head has the key '%s' %s", key,
                             has == NULL ? "of no meaning" : "twice");
        *has = true;
        if (has == &has_descr)
            status = take_descr(scanner, npy, error);
        else if (has == &has_shape)
            status = take_shape(scanner, npy, error);
        else if (take(scanner, "True"))
            status = error_set(error, OMEN_E_UNSUPPORTED,
                               "npy: Fortran order; save numpy.ascontiguousarray(...) of it");
        else if (!take(scanner, "False"))
            status = error_set(error, OMEN_E_INVALID, "npy: fortran_order is not True or False");
        if (status != OMEN_OK)
            return status;
        if (!take(scanner, ",") && !(scanner->at < scanner->end && *scanner->at == '}'))
            return error_set(error, OMEN_E_INVALID, "npy: the head is no dictionary");
    }
    if (!has_descr || !has_order || !has_shape)
        return error_set(error, OMEN_E_INVALID, "npy: the head lacks %s",
                         !has_descr   ? "descr"
                         : !has_order ? "fortran_order"
                                      : "shape");
    skip_blanks(scanner);
    if (scanner->at != scanner->end)
        return error_set(error, OMEN_E_INVALID, "npy: something follows the head's dictionary");
    return OMEN_OK;
}

static omen_status
check_size(struct npy *npy, uint64_t file_bytes, struct omen_error *error)
{
    const uint64_t row = npy->shape[1];
    if ((row > 0 && npy->shape[0] > UINT64_MAX / row) ||
        npy->shape[0] * row > UINT64_MAX / npy->item_bytes)
        return error_set(error, OMEN_E_INVALID, "npy: the shape is beyond any file's size");
    npy->data_bytes = npy->shape[0] * row * npy->item_bytes;
    if (file_bytes < npy->first_byte || npy->data_bytes != file_bytes - npy->first_byte)
        return error_set(error, OMEN_E_INVALID,
                         "npy: the head announces %" PRIu64 " bytes of data, the file has %" PRIu64,
                         npy->data_bytes,
                         file_bytes < npy->first_byte ? 0 : file_bytes - npy->first_byte);
    return OMEN_OK;
}

omen_status
npy_parse(const uint8_t *head, size_t head_bytes, uint64_t file_bytes, struct npy *out,
          struct omen_error *error)
{
    *out = (struct npy){0};
    if (head_bytes < MAGIC_BYTES + 4 || memcmp(head, "\x93NUMPY", MAGIC_BYTES) != 0)
        return error_set(error, OMEN_E_INVALID, "npy: the file does not begin as an npy file does");
    const uint8_t major = head[MAGIC_BYTES];
    const size_t length_bytes = major == 1 ? 2 : 4;
    const size_t text_at = MAGIC_BYTES + 2 + length_bytes;
    if (major < 1 || major > 3)
        return error_set(error, OMEN_E_UNSUPPORTED,
                         "npy: version %u of the format, known are 1 to 3", major);
    uint64_t length = 0;
    for (size_t i = 0; i < length_bytes && text_at <= head_bytes; i++)
        length |= (uint64_t)head[MAGIC_BYTES + 2 + i] << (8 * i);
    if (text_at > head_bytes || length > head_bytes - text_at)
        return error_set(error, OMEN_E_INVALID,
                         "npy: the head has %" PRIu64 " bytes, more than are there", length);
    const char *text = (const char *)head + text_at;
    struct scanner scanner = {text, text + length};
    out->first_byte = text_at + length;
    const omen_status status = take_dictionary(&scanner, out, error);
    return status == OMEN_OK ? check_size(out, file_bytes, error) : status;
}
