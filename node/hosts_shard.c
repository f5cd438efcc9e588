// node/hosts_shard.c -- shards as files: made for a new copy, opened at a start, erased with a copy that goes.
//
// Shape: shell.
//
// A shard's folder is made before its log, and erased after it. So a log without a shard is a loss, which the cluster is told of, and a
// folder without a log is what a crash left behind: it goes at the next start.
#include "node/hosts_int.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

#define NAME_BYTES 33u

// ---- folders ----

static void
name_of(struct cluster_uuid uuid, char name[NAME_BYTES])
{
    (void)snprintf(name, NAME_BYTES, "%016llx%016llx", (unsigned long long)uuid.high,
                   (unsigned long long)uuid.low);
}

void
host_path(const struct hosts *hosts, struct host_copy *copy)
{
    char name[NAME_BYTES];
    name_of(copy->uuid, name);
    (void)snprintf(copy->path, sizeof copy->path, "%s/shards/%s", hosts->folder, name);
    (void)snprintf(copy->staging, sizeof copy->staging, "%s/tmp/%s", hosts->folder, name);
}

static int
remove_one(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
    (void)stat;
    (void)type;
    (void)walk;
    return remove(path);
}

void
host_remove(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); // what stays goes at the next start
}

static omen_status
make_folder(const char *path, struct omen_error *error)
{
    if (mkdir(path, 0777) == 0 || errno == EEXIST)
        return OMEN_OK;
    return error_set(error, OMEN_E_IO, "%s: %s", path, strerror(errno));
}

// A node holds many shards, of which few are filled at a time. Two at least: with one the writer would link (omen_options.threads),
// and what is written be acknowledged as late as it is linked, row by row.
uint32_t
host_linkers(const struct hosts *hosts)
{
    const uint32_t quarter = hosts->config.threads / 4;
    return quarter < HOST_LINKERS_MIN   ? HOST_LINKERS_MIN
           : quarter < HOST_LINKERS_MAX ? quarter
                                        : HOST_LINKERS_MAX;
}

// ---- a new copy ----

bool
host_options(const struct hosts *hosts, struct host_copy *copy)
{
    const struct map_shard *shard;
    const struct map_collection *collection = host_collection(hosts, copy, &shard);
    if (collection == NULL)
        return false;
    copy->options = (struct hosted_options){.path = copy->path,
                                            .dimension = collection->dimension,
                                            .metric = collection->metric,
                                            .dtype = collection->dtype,
                                            .quantization = collection->quantization,
                                            .m = collection->links_max,
                                            .ef_construction = collection->build_beam,
                                            .first = shard->first,
                                            .last = shard->last,
                                            .threads = host_linkers(hosts)};
    return true;
}

void
host_make_shard(struct hosts *hosts, struct host_copy *copy)
{
    struct work *work = work_new(copy, WORK_MAKE);
    if (work == NULL) {
        host_again(hosts, copy);
        return;
    }
    copy->again_ns = 0;
    work->options = copy->options;
    copy->users++;
    work_post(hosts, work);
}

void
host_make(struct hosts *hosts, const struct copies_env *env)
{
    struct host_copy *copy = host_copy_add(hosts, env);
    if (copy == NULL) {
        hosts_fail(hosts, "no memory for a new copy");
        return;
    }
    copy->state = HOST_MAKING;
    copy->env = *env;
    copy->unlogged = true;
    if (host_options(hosts, copy)) // else a newer map drops it
        host_make_shard(hosts, copy);
}

void
host_made(struct hosts *hosts, struct work *work)
{
    struct host_copy *copy = host_copy_of(hosts, work);
    ASSERT(copy != NULL);
    copy->users--;
    if (work->status == OMEN_OK) {
        copy->hosted = work->opened;
        work->opened = NULL;
    }
    if (copy->state == HOST_GOING) {
        host_unused(hosts, copy);
    } else if (copy->hosted != NULL) {
        copy->unlogged = false;
        disk_make(hosts->config.disk, &copy->env, hosts->loop);
    } else {
        host_say_error(copy, "copy.not_made", work->status, &work->error);
        host_again(hosts, copy);
    }
}

// ---- a copy that goes ----

// What has not begun because others have the shard does not take it from them: it is closed when they are done.
static void
forget_exclusive(struct host_copy *copy)
{
    struct work *work = copy->exclusive;
    if (work == NULL)
        return;
    copy->hosted = work->opened;
    work->opened = NULL;
    copy->exclusive = NULL;
    work_free(work);
}

void
host_drop(struct hosts *hosts, struct cluster_uuid uuid)
{
    struct host_copy *copy = host_copy_find(hosts, uuid);
    ASSERT(copy != NULL && copy->state != HOST_GOING);
    host_parts_end(hosts, copy);
    copy->state = HOST_GOING;
    forget_exclusive(copy);
    if (!copy->unlogged)
        disk_drop(hosts->config.disk, uuid, hosts->loop);
    host_unused(hosts, copy);
}

void
host_unused(struct hosts *hosts, struct host_copy *copy)
{
    if (copy->users > 0)
        return;
    if (copy->exclusive != NULL) {
        struct work *work = copy->exclusive;
        host_snapshots_close(copy); // of which nobody reads a chunk any more
        copy->exclusive = NULL;
        copy->users++;
        work_post(hosts, work);
        return;
    }
    if (copy->state != HOST_GOING || !copy->unlogged)
        return;
    struct work *work = work_new(copy, WORK_ERASE);
    if (work == NULL) {
        host_again(hosts, copy);
        return;
    }
    host_snapshots_close(copy);
    copy->users++;
    work->options.path = copy->path;
    work->opened = copy->hosted;
    copy->hosted = NULL;
    work_post(hosts, work);
}

void
host_erased(struct hosts *hosts, struct work *work)
{
    struct host_copy *copy = host_copy_of(hosts, work);
    ASSERT(copy != NULL);
    host_say(copy, "copy.erased", "applied", copy->apply_next - 1);
    host_copy_free(hosts, copy);
}

void
work_do_shard(struct work *work)
{
    if (work->kind == WORK_ERASE) {
        hosted_close(work->opened);
        work->opened = NULL;
        host_remove(work->options.path);
        return;
    }
    host_remove(work->options.path); // of an attempt that failed
    work->status = hosted_make(&work->options, &work->error);
    if (work->status == OMEN_OK)
        work->status = hosted_open(&work->options, &work->opened, &work->error);
}

// ---- what a start finds ----

static void *
copy_of(const void *bytes, size_t count)
{
    void *copy = mem_alloc(count > 0 ? count : 1);
    if (copy != NULL && count > 0)
        memcpy(copy, bytes, count);
    return copy;
}

// Of what the disk lends for a call. False: no memory.
static bool
keep_disk(struct replica_disk *to, const struct replica_disk *from)
{
    *to = *from;
    to->terms = copy_of(from->terms, from->term_count * sizeof *from->terms);
    to->ops = copy_of(from->ops, from->op_count * sizeof *from->ops);
    return to->terms != NULL && to->ops != NULL;
}

static void
end_disk(struct replica_disk *disk)
{
    mem_free((void *)(uintptr_t)disk->terms);
    mem_free((void *)(uintptr_t)disk->ops);
}

static void
find_one(void *context, const struct disk_copy *found)
{
    struct hosts *hosts = context;
    struct host_found *one = mem_alloc_zero(1, sizeof *one);
    if (one == NULL) {
        hosts->find_status = OMEN_E_NO_MEMORY;
        return;
    }
    one->next = hosts->found;
    hosts->found = one;
    hosts->found_count++;
    one->status = found->status;
    one->durable = found->durable;
    const bool kept = keep_disk(&one->durable.disk, &found->durable.disk);
    one->copy = host_copy_add(hosts, &found->durable.env);
    if (one->copy == NULL || !kept)
        hosts->find_status = OMEN_E_NO_MEMORY;
}

static void
open_one(void *context, uint32_t index, uint32_t worker)
{
    struct hosts *hosts = context;
    struct host_found *one = hosts->found;
    (void)worker;
    while (index-- > 0)
        one = one->next;
    const struct hosted_options options = {.path = one->copy->path, .threads = host_linkers(hosts)};
    if (one->status != OMEN_OK)
        return;
    one->status = hosted_open(&options, &one->copy->hosted, &one->error);
    if (one->status != OMEN_OK)
        return;
    const omen_status status = host_image_of(one->copy->path, &one->image, &one->error);
    if (status != OMEN_E_NOT_FOUND)
        one->status = status;
}

// Whether the shard may be as good as it was: then it must not be called lost.
static bool
is_passing(omen_status status)
{
    return status == OMEN_E_NO_MEMORY || status == OMEN_E_LOCKED || status == OMEN_E_VERSION ||
           status == OMEN_E_DISK_FULL;
}

// Log and shard must go together. Where a snapshot was put in place and the log does not begin behind it, its log is what came with it:
// what is in the old one may be of another history.
static void
match_one(struct host_found *one)
{
    if (one->status != OMEN_OK)
        return;
    const uint64_t applied = hosted_applied(one->copy->hosted);
    struct replica_disk *disk = &one->durable.disk;
    if (one->image != NULL && disk->first_seq > one->image->seq) {
        host_image_free(one->image);
        one->image = NULL;
        one->forgets = true;
    }
    struct replica_disk image;
    if (one->image != NULL) {
        image = host_image_disk(one->image, disk->promised);
        disk = &image;
    }
    one->status = one->image == NULL || host_image_fits(one->image, disk->promised)
                      ? disk_copy_applied(disk, applied)
                      : OMEN_E_CORRUPT;
    one->copy->apply_next = applied + 1;
    one->copy->apply_last = applied;
}

static void
remove_strangers(struct hosts *hosts, const char *folder)
{
    char path[HOST_PATH_BYTES + 256], name[NAME_BYTES];
    DIR *directory = opendir(folder);
    if (directory == NULL)
        return;
    for (const struct dirent *entry = readdir(directory); entry != NULL;
         entry = readdir(directory)) {
        bool known = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        for (const struct host_found *one = hosts->found; one != NULL && !known; one = one->next) {
            name_of(one->durable.env.uuid, name);
            known = strcmp(entry->d_name, name) == 0;
        }
        (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (!known)
            host_remove(path);
    }
    (void)closedir(directory);
}

omen_status
hosts_find_copies(struct hosts *hosts, struct omen_error *error)
{
    char shards[HOST_PATH_BYTES], staging[HOST_PATH_BYTES];
    (void)snprintf(shards, sizeof shards, "%s/shards", hosts->folder);
    (void)snprintf(staging, sizeof staging, "%s/tmp", hosts->folder);
    host_remove(staging);
    omen_status status = make_folder(shards, error);
    if (status == OMEN_OK)
        status = make_folder(staging, error);
    if (status == OMEN_OK)
        status = disk_start_copies(hosts->config.disk, find_one, hosts, error);
    if (status != OMEN_OK)
        return status;
    if (hosts->find_status != OMEN_OK)
        return error_set_plain(error, hosts->find_status);
    remove_strangers(hosts, shards);
    pool_run(hosts->config.threads, hosts->found_count, open_one, hosts);
    for (struct host_found *one = hosts->found; one != NULL; one = one->next) {
        if (is_passing(one->status)) {
            if (error != NULL)
                *error = one->error;
            return error_about(error, one->status, one->copy->path);
        }
        match_one(one);
    }
    return OMEN_OK;
}

// In the loop's thread, before anything else is told of the copies. One that is lost is not given: the map has it, so the machine says
// that it is missing.
void
hosts_give_found(struct hosts *hosts)
{
    for (struct host_found *one = hosts->found; one != NULL && !hosts->failed; one = one->next) {
        struct host_copy *copy = one->copy;
        copy->env = one->durable.env;
        if (one->status != OMEN_OK) {
            hosts->stats.shards_lost++;
            host_say_error(copy, "copy.lost", one->status, &one->error);
            copy->state = HOST_LOST;
            hosted_close(copy->hosted);
            copy->hosted = NULL;
            continue;
        }
        copy->state = HOST_OPEN;
        struct copies_durable held = one->durable;
        if (one->image != NULL) {
            held.disk = host_image_disk(one->image, one->durable.disk.promised);
            disk_install(hosts->config.disk, copy->uuid, &held.disk, hosts->loop);
        }
        if (one->forgets)
            host_forget(hosts, copy);
        hosts_step(hosts, &(struct copies_input){.kind = COPIES_IN_HELD, .held = &held});
    }
}

void
hosts_found_end(struct hosts *hosts)
{
    while (hosts->found != NULL) {
        struct host_found *one = hosts->found;
        hosts->found = one->next;
        end_disk(&one->durable.disk);
        host_image_free(one->image);
        mem_free(one);
    }
}

static void
close_row(void *context, uint32_t index, uint32_t worker)
{
    struct hosts *hosts = context;
    (void)worker;
    for (struct host_copy *copy = hosts->rows[index]; copy != NULL; copy = copy->next) {
        hosted_close(copy->hosted);
        copy->hosted = NULL;
    }
}

// Each makes its last checkpoint, several at a time.
void
hosts_close_shards(struct hosts *hosts)
{
    pool_run(hosts->config.threads, HOST_BUCKETS, close_row, hosts);
}

// What was lost at the start is erased when the map does not name it any more.
void
host_forget_lost(struct hosts *hosts, struct host_copy *copy)
{
    if (copy->state != HOST_LOST || !hosts->copies.current || hosts->map == NULL)
        return;
    const struct map_shard *shard = map_shard(hosts->map, copy->shard);
    if (hosts->map->position > copy->env.position &&
        (shard == NULL || shard_replica(shard, copy->uuid) == NULL))
        host_drop(hosts, copy->uuid);
}
