// base/error.h -- a status with a sentence for people, made at the edges only (API, config, command line).
//
// Shape: value.
#ifndef OMEN_BASE_ERROR_H
#define OMEN_BASE_ERROR_H
#include "base/status.h"

struct omen_error {
    omen_status status;
    char text[256]; // NUL-terminated UTF-8; a longer one has "..." for its middle
};

// Fills *error (NULL is allowed: nobody wants to know) and returns `status`, so that a caller can write
// `return error_set(error, OMEN_E_K, "k is %u, ...", k);`. An argument may point into error->text.
__attribute__((format(printf, 3, 4))) omen_status
error_set(struct omen_error *error, omen_status status, const char *format, ...);

// Puts "what: " before the sentence that *error has, unless that begins with `what` already. NULL is allowed, as above.
omen_status error_about(struct omen_error *error, omen_status status, const char *what);

// error_set with the status's own text.
omen_status error_set_plain(struct omen_error *error, omen_status status);

#ifdef __clang_analyzer__ // which looks into one file at a time, and would believe that a failure returns OMEN_OK
#define error_set(error, status, ...) (error_set(error, status, __VA_ARGS__), (status))
#define error_set_plain(error, status) (error_set_plain(error, status), (status))
#endif

#endif
