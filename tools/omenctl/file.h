// tools/omenctl/file.h -- the noun `file`: work on an index's directory while no server has it.
//
// Shape: shell.
#ifndef OMEN_TOOLS_OMENCTL_FILE_H
#define OMEN_TOOLS_OMENCTL_FILE_H
#include "base/error.h"
#include "include/omendb.h"
#include "tools/omenctl/command.h"

verb_run file_info, file_verify, file_search, file_build, file_compact, file_convert, file_copy;
extern const struct option_spec file_search_options[], file_build_options[], file_convert_options[];

enum file_mode { FILE_READ, FILE_WRITE };
// Opens what is at `path` as its file says. Anything else than EXIT_FINE is said already.
enum exit_code file_open(const struct call *call, const char *path, enum file_mode mode,
                         omen_index_t *out);
// Whether something can be made at `path`: nothing is there, or an empty directory. Said when not.
enum exit_code file_check_free(const struct call *call, const char *path);
// What an id is to people: its text, or the integer.
void file_doc_id(struct doc *doc, struct doc_node *parent, const char *key, omen_index_t index,
                 uint64_t id);
uint64_t file_bytes_at(const char *path); // of data.mdb; 0 when it cannot be said

const char *file_metric_name(int metric);
const char *file_dtype_name(int dtype);

#endif
