// tools/omenctl/remote.h -- verbs that ask a cluster: most are one method each, and a row of a table says which.
//
// Shape: shell.
//
// The arguments and options of a verb are keys of its method's ask: an argument by its place in `keys`, an option by its name with
// '-' for '_'. What kind of value a key takes is the protocol's table to know (wire/shape.h), so a new key of a method is an
// option_spec here and nothing else.
#ifndef OMEN_TOOLS_OMENCTL_REMOTE_H
#define OMEN_TOOLS_OMENCTL_REMOTE_H
#include "clients/c/client.h"
#include "tools/omenctl/command.h"

struct remote {
    enum method_number method; // METHODS_END: `run` asks by itself
    const char *keys;          // of the arguments, in their order; the last takes all that are left
    const char *always;        // a key that is true whatever is said; NULL: none
    const char *word, *value;  // a key that has this value whatever is said; NULL: none
    const char *rows;          // key of the answer's list, which is what is shown; NULL: the answer
    const char *inside;        // key of each row's own list: its items are shown,
    const char *numbered;      // with the row's number by this key
    const char *columns;       // of a table, in their order; NULL: all
    // Makes the rows of a table; NULL: those of `rows`.
    void (*table)(struct doc *doc, const void *answer);
    bool names;           // a table has names of nodes in the place of uuids
    const char *nothing;  // what is said where a table has no row; NULL: nothing
    const char *question; // of VERB_CHANGES: "drop the collection %s and all its points?"
    bool waits;           // the answer is a job
    enum exit_code (*judge)(struct call *call, const void *answer); // NULL: it is good
};

extern const struct noun noun_status, noun_check, noun_cluster, noun_node, noun_shard,
    noun_collection, noun_alias, noun_point, noun_query, noun_recall, noun_job, noun_key,
    noun_events, noun_system, noun_import, noun_top, noun_context, noun_bench, noun_export,
    noun_doctor;

// The run of a verb whose row says it all.
enum exit_code remote_run(struct call *call);

// ---- for verbs that ask by themselves (remote_client.c) ----

// As the options and the environment say. Anything but EXIT_FINE is said already.
enum exit_code remote_open(const struct call *call, struct client **out);
enum exit_code remote_open_at(const struct call *call, const char *endpoints, struct client **out);
const char *remote_endpoints(const struct call *call);
enum exit_code remote_timeout(const struct call *call, uint32_t *ms);
enum exit_code remote_fail(const struct call *call, const char *what,
                           const struct client_error *error);

// ---- and (remote.c) ----

// `ask` and `answer` are the structs of the method. What the answer points to lies in *reply.
enum exit_code remote_ask(const struct call *call, struct client *client, enum method_number method,
                          const void *ask, struct client_reply *reply, void *answer);

// Until the job has ended, with a bar on a terminal. A job that failed, or is not there, is said; of a move or a split that was begun, or
// seen, that it is not there any more is its end.
enum exit_code remote_wait(const struct call *call, struct client *client, uint64_t job);

verb_run status_run, check_run, doctor_run, import_run, top_run; // status.c, import.c, top.c
extern const struct option_spec top_options[];
verb_run bench_search_run, bench_upsert_run, export_run; // bench.c, export.c
extern const struct option_spec export_options[];
extern const struct option_spec bench_search_options[], bench_upsert_options[];
verb_run job_build_run, job_watch_run; // job.c
// Has the graphs of a collection built, and waits for the job.
enum exit_code job_build(const struct call *call, struct client *client, const char *collection);
// The graphs are to be built later: rows are not linked meanwhile (ask->hold_ms). What cannot be asked is not.
void job_hold(struct client *client, const struct api_build *ask);
extern const struct option_spec import_options[];
void verify_table(struct doc *doc, const void *answer);             // of shard.verify: verify.c
enum exit_code judge_verify(struct call *call, const void *answer); // the same
enum exit_code judge_stats(struct call *call, const void *answer);  // of collection.stats
enum exit_code judge_points(struct call *call, const void *answer); // of point.get

#endif
