// node/start.c -- opens a node's folder and finds out who it is.
//
// Shape: shell.
#include "node/start.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/os_clock.h"
#include "base/os_log.h"
#include "base/os_random.h"
#include "node/address.h"
#include "node/join.h"
#include "node/program.h"

#define ASK_MS 1000u      // for one address, who joins
#define ASK_AGAIN_MS 300u // the same, who comes back
#define PAUSE_LEAST_MS 250u
#define PAUSE_MOST_MS 5000u
#define PATH_BYTES (CONFIG_PATH_BYTES + 16u)
#define FOUNDER 1u // in raft's group; all others draw a number that is far greater

// ---- the folder ----

static enum config_exit
make_folder(const char *path, struct omen_error *error)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return EXIT_DONE;
    (void)error_set(error, OMEN_E_IO, "%s: cannot be made: %s", path, strerror(errno));
    return EXIT_NO_FOLDER;
}

static bool
is_empty(const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL)
        return true;
    const struct dirent *entry;
    bool empty = true;
    while (empty && (entry = readdir(folder)) != NULL)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    (void)closedir(folder);
    return empty;
}

static enum config_exit
exit_of(omen_status status)
{
    switch (status) {
    case OMEN_E_LOCKED:
        return EXIT_NO_FOLDER;
    case OMEN_E_INVALID: // the folder is there: what lies in it is no log, or its head is damaged
    case OMEN_E_CORRUPT:
    case OMEN_E_VERSION:
    case OMEN_E_EXISTS:
        return EXIT_BAD_DATA;
    case OMEN_E_NO_MEMORY:
        return EXIT_NO_SYSTEM;
    default:
        return EXIT_BAD_DISK;
    }
}

static enum config_exit
refuse_shards(const char *data, struct omen_error *error)
{
    (void)error_set(error, OMEN_E_INVALID, "%s: has shards, but no log that says whose they are",
                    data);
    return EXIT_BAD_DATA;
}

// Shards without a log are looked at before a log is made beside them: who is refused finds the folder as it was.
static enum config_exit
open_folder(const struct start_config *config, struct start *out, struct omen_error *error)
{
    char path[PATH_BYTES];
    const char *data = config->config->data;
    enum config_exit failed = make_folder(data, error);
    snprintf(path, sizeof path, "%s/shards", data);
    if (failed == EXIT_DONE)
        failed = make_folder(path, error);
    const bool empty = is_empty(path);
    snprintf(path, sizeof path, "%s/log", data);
    if (failed == EXIT_DONE && !empty && is_empty(path))
        return refuse_shards(data, error);
    if (failed == EXIT_DONE)
        failed = make_folder(path, error);
    if (failed != EXIT_DONE)
        return failed;
    struct disk_config disk = config->disk;
    disk.path = path;
    const omen_status status = disk_open(&disk, &out->disk, error);
    if (status != OMEN_OK)
        return exit_of(status);
    out->identity = disk_identity(out->disk);
    return uuid_is_none(out->identity.node) && !empty ? refuse_shards(data, error) : EXIT_DONE;
}

// Nobody without data is in the map that a founder writes, so such a cluster would never be ready, nor let anybody in.
static bool
would_found_without_data(const struct start_config *config)
{
    return config->config->join_count == 0 && (config->config->roles & NODE_DATA) == 0;
}

static enum config_exit
refuse_founding(struct omen_error *error)
{
    (void)error_set(error, OMEN_E_INVALID,
                    "roles: who keeps no data founds no cluster: join says which one is meant");
    return EXIT_BAD_CONFIG;
}

// ---- names ----

// A UUIDv7.
static struct cluster_uuid
draw_uuid(void)
{
    uint64_t words[2];
    os_random(words, sizeof words);
    return (struct cluster_uuid){os_ms_since_1970() << 16 | 0x7000 | (words[0] & 0xfff),
                                 UINT64_C(1) << 63 | words[1] >> 2};
}

static uint64_t
draw_member(void)
{
    uint64_t word;
    os_random(&word, sizeof word);
    return UINT64_C(1) << 60 | word >> 4;
}

void
start_uuid_text(struct cluster_uuid uuid, char text[START_UUID_BYTES])
{
    snprintf(text, START_UUID_BYTES,
             "%08" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%012" PRIx64, uuid.high >> 32,
             uuid.high >> 16 & 0xffff, uuid.high & 0xffff, uuid.low >> 48,
             uuid.low & UINT64_C(0xffffffffffff));
}

// ---- founding, joining, coming back ----

static enum config_exit
write_down(struct start *out, struct cluster_uuid cluster, struct omen_error *error)
{
    const struct raft_group alone = {.count = 1, .members = {{FOUNDER, RAFT_VOTER}}};
    const bool founds = out->how == START_FOUNDED;
    out->identity.cluster = cluster;
    out->identity.member = founds ? FOUNDER : draw_member();
    const omen_status status = disk_found(out->disk, &out->identity, founds ? &alone : NULL, error);
    return status == OMEN_OK ? EXIT_DONE : exit_of(status);
}

static omen_status
ask(const struct start_config *config, const struct start *out, uint32_t at, uint32_t ms,
    struct handshake *theirs, struct omen_error *error)
{
    const struct cluster_uuid node = out->identity.node;
    const struct handshake ours = {.node = {node.high, node.low},
                                   .boot = out->identity.boot,
                                   .features = PROGRAM_FEATURES,
                                   .version_least = PROGRAM_VERSION_LEAST,
                                   .version_most = PROGRAM_VERSION_MOST};
    return join_ask(&config->config->join[at], config->keys->peer, &ours, ms, theirs, error);
}

static enum config_exit
join(const struct start_config *config, struct start *out, struct omen_error *error)
{
    static struct log_site site;
    uint32_t pause_ms = PAUSE_LEAST_MS;
    for (;;) {
        for (uint32_t i = 0; i < config->config->join_count; i++) {
            struct handshake theirs;
            const omen_status status = ask(config, out, i, ASK_MS, &theirs, error);
            if (status == OMEN_OK)
                return write_down(
                    out, (struct cluster_uuid){theirs.cluster.high, theirs.cluster.low}, error);
            if (status == OMEN_E_AUTH || status == OMEN_E_VERSION)
                return EXIT_BAD_CONFIG;
            struct log_line line;
            if (log_begin(&line, &site, LOG_LEVEL_WARN, "join.waits")) {
                log_text(&line, "why", error->text);
                log_end(&line);
            }
        }
        if (config->pause(config->context, pause_ms)) {
            disk_close(out->disk);
            out->disk = NULL;
            return EXIT_DONE;
        }
        pause_ms = 2 * pause_ms < PAUSE_MOST_MS ? 2 * pause_ms : PAUSE_MOST_MS;
    }
}

// Nobody need answer; but who does must be of our cluster.
static enum config_exit
come_back(const struct start_config *config, const struct start *out, struct omen_error *error)
{
    const struct cluster_uuid ours = out->identity.cluster;
    for (uint32_t i = 0; i < config->config->join_count; i++) {
        struct handshake theirs;
        if (ask(config, out, i, ASK_AGAIN_MS, &theirs, error) != OMEN_OK)
            continue;
        const struct cluster_uuid other = {theirs.cluster.high, theirs.cluster.low};
        if (uuid_equal(ours, other))
            return EXIT_DONE;
        char where[ADDRESS_TEXT_BYTES], own[START_UUID_BYTES], foreign[START_UUID_BYTES];
        address_text(&config->config->join[i], where);
        start_uuid_text(ours, own);
        start_uuid_text(other, foreign);
        (void)error_set(error, OMEN_E_INVALID, "%s is of cluster %s, but %s is of cluster %s",
                        config->config->data, own, where, foreign);
        return EXIT_BAD_DATA;
    }
    return EXIT_DONE;
}

enum config_exit
start_open(const struct start_config *config, struct start *out, struct omen_error *error)
{
    char log[PATH_BYTES];
    *out = (struct start){0};
    snprintf(log, sizeof log, "%s/log", config->config->data);
    if (would_found_without_data(config) && is_empty(log))
        return refuse_founding(error);
    enum config_exit failed = open_folder(config, out, error);
    if (failed == EXIT_DONE && !uuid_is_none(out->identity.node)) {
        out->how = START_RETURNED;
        failed = come_back(config, out, error);
    } else if (failed == EXIT_DONE && would_found_without_data(config)) {
        failed = refuse_founding(error); // a first start that did not come so far
    } else if (failed == EXIT_DONE) {
        out->identity.node = draw_uuid();
        out->how = config->config->join_count > 0 ? START_JOINED : START_FOUNDED;
        failed = out->how == START_JOINED ? join(config, out, error)
                                          : write_down(out, draw_uuid(), error);
    }
    if (failed == EXIT_DONE)
        return failed;
    disk_close(out->disk);
    out->disk = NULL;
    return failed;
}
