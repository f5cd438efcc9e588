// tools/omenctl/file.c -- the noun `file`: its verbs, and what they share.
//
// Shape: shell.
#include "tools/omenctl/file.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"

#define PATH_BYTES_MAX 4096u

static const struct verb file_verbs[] = {
    {
        .name = "info",
        .arguments = "PATH",
        .arguments_min = 1,
        .arguments_max = 1,
        .summary = "what an index is and how much of it there is",
        .run = file_info,
    },
    {
        .name = "verify",
        .arguments = "PATH",
        .arguments_min = 1,
        .arguments_max = 1,
        .summary = "reads everything and checks every checksum and invariant",
        .details = "Ends with 10 when something is damaged, and says what.",
        .run = file_verify,
    },
    {
        .name = "search",
        .arguments = "PATH",
        .arguments_min = 1,
        .arguments_max = 1,
        .summary = "the nearest points to a vector, or to a point of the index",
        .details =
            "The vector is a JSON array of numbers, '@FILE' (JSON, or an npy file of one vector), "
            "or '-'\n"
            "for JSON on standard input. A point that is searched with is not among its own hits.",
        .options = file_search_options,
        .run = file_search,
    },
    {
        .name = "build",
        .arguments = "PATH",
        .arguments_min = 1,
        .arguments_max = 1,
        .kind = VERB_MAKES,
        .summary = "links what is not linked yet, or everything anew, on a GPU where there is one",
        .details = "Many rows are linked at once, and what is left one by one. With --gpu auto the "
                   "summary says why no GPU\n"
                   "did it; with --gpu require that is an error.",
        .options = file_build_options,
        .run = file_build,
    },
    {
        .name = "compact",
        .arguments = "PATH",
        .arguments_min = 1,
        .arguments_max = 1,
        .kind = VERB_CHANGES,
        .summary = "rewrites an index without its deleted rows and its file without free space",
        .run = file_compact,
    },
    {
        .name = "convert",
        .arguments = "INPUT PATH",
        .arguments_min = 2,
        .arguments_max = 2,
        .kind = VERB_MAKES,
        .summary = "makes an index from a file of vectors",
        .details = "INPUT is an npy file of f32, f16, u8 or i8 in two dimensions, or fvecs, bvecs, "
                   "fbin, u8bin, i8bin.\n"
                   "Ids are the numbers of the rows, from --first-id on, unless --ids gives them. "
                   "Rows that cannot be\n"
                   "stored are left out, counted by reason, and end the command with 8; --refused "
                   "lists them all.\n"
                   "What was interrupted goes on with --append --skip N, which the summary says.",
        .options = file_convert_options,
        .run = file_convert,
    },
    {
        .name = "copy",
        .arguments = "PATH DEST",
        .arguments_min = 2,
        .arguments_max = 2,
        .kind = VERB_MAKES,
        .summary = "a consistent copy of an index, also beside a process that writes to it",
        .run = file_copy,
    },
};

const struct noun noun_file = {"file", "offline work on the directory of an index", file_verbs,
                               sizeof file_verbs / sizeof *file_verbs};

enum exit_code
file_open(const struct call *call, const char *path, enum file_mode mode, omen_index_t *out)
{
    omen_options options = OMEN_OPTIONS_INIT;
    options.path = path;
    options.read_only = mode == FILE_READ;
    const omen_status status = omen_open(&options, out);
    return status == OMEN_OK ? EXIT_FINE : call_fail_status(call, path, status);
}

enum exit_code
file_check_free(const struct call *call, const char *path)
{
    DIR *folder = opendir(path);
    bool is_empty = true;
    if (folder == NULL && errno == ENOENT)
        return EXIT_FINE;
    if (folder == NULL)
        return call_fail(call, EXIT_PRECONDITION, "%s: %s", path, strerror(errno));
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            is_empty = false;
    closedir(folder);
    return is_empty ? EXIT_FINE
                    : call_fail(call, EXIT_PRECONDITION,
                                "%s: exists and is not empty; nothing was changed", path);
}

void
file_doc_id(struct doc *doc, struct doc_node *parent, const char *key, omen_index_t index,
            uint64_t id)
{
    char text[256];
    if (omen_id_text(index, id, text, sizeof text) == OMEN_OK)
        doc_text(doc, parent, key, text);
    else
        doc_uint(doc, parent, key, id);
}

uint64_t
file_bytes_at(const char *path)
{
    char name[PATH_BYTES_MAX];
    struct text text;
    struct stat about;
    text_init(&text, name, sizeof name);
    text_add(&text, "%s/data.mdb", path);
    return !text.truncated && stat(name, &about) == 0 ? (uint64_t)about.st_size : 0;
}

const char *
file_metric_name(int metric)
{
    return metric == OMEN_COSINE ? "cosine" : metric == OMEN_L2 ? "l2" : "ip";
}

const char *
file_dtype_name(int dtype)
{
    static const char *const names[] = {"?", "f32", "f16", "bf16", "i8", "u8"};
    return dtype >= OMEN_F32 && dtype <= OMEN_U8 ? names[dtype] : names[0];
}
