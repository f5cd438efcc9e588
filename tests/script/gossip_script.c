// tests/script/gossip_script.c -- stories of gossip: commands, and what the machines must note and look like after them.
//
// usage: gossip_script [--rewrite] FOLDER
//
// A story is a file of blocks: a command, a line "----", what it gives, an empty line. Lines with # are for the reader. What
// differs is printed, and the exit status is 1; --rewrite writes what is given now, and the difference is reviewed.
//
//     cluster N [seed S] [loss PERMILLE] [fast]   begins: N nodes, all started
//     run SECONDS                                  and so do all others: gives the notes of that time
//     crash H | start H | leave H | wipe H         wipe: the next start has a new id
//     pause H SECONDS | split H | heal H           split: nodes below H and the others do not hear each other
//     cut A B | mend A B                           what A sends to B is lost
//     load H NUMBER                                new metadata
//     describe                                     every node that is up
//     members H                                    what H thinks of the others
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "tests/lib/gossip_world.h"

#define STORY_BYTES (1u << 20)
#define WORDS_MAX 8

struct script {
    struct world *world;
    struct text given; // by the command at hand
    char bytes[STORY_BYTES];
};

static uint32_t
number(const char *word)
{
    return word == NULL ? 0 : (uint32_t)strtoul(word, NULL, 10);
}

static void
do_cluster(struct script *script, char **words)
{
    struct world_config config = {.count = number(words[1]), .seed = 1, .check = true};
    for (int i = 2; words[i] != NULL; i++) {
        if (strcmp(words[i], "fast") == 0)
            config.profile = GOSSIP_FAST;
        else if (strcmp(words[i], "seed") == 0)
            config.seed = number(words[++i]);
        else if (strcmp(words[i], "loss") == 0)
            config.loss_permille = number(words[++i]);
    }
    ASSERT(script->world == NULL && config.count > 0);
    script->world = world_open(&config);
    script->world->story = &script->given;
    for (uint32_t host = 0; host < config.count; host++)
        world_start(script->world, host);
}

static void
do_describe(struct script *script)
{
    char line[256];
    for (uint32_t host = 0; host < script->world->config.count; host++) {
        if (!script->world->nodes[host].up)
            continue;
        gossip_describe(&script->world->nodes[host].gossip, line, sizeof line);
        text_add(&script->given, "%u: %s\n", host, line);
    }
}

static void
do_members(struct script *script, uint32_t host)
{
    static const char *const states[] = {"alive", "suspect", "dead", "left"};
    const struct gossip *gossip = &script->world->nodes[host].gossip;
    for (uint32_t other = 0; other < 2000; other++) {
        const struct gossip_member *member = gossip_find(gossip, world_id(other));
        if (member != NULL)
            text_add(&script->given, "%u: %s boot %llu incarnation %u load %u%s\n", other,
                     states[member->state], (unsigned long long)member->boot, member->incarnation,
                     member->meta.load, member->superseded ? " superseded" : "");
    }
}

static void
do_load(struct script *script, uint32_t host, uint32_t load)
{
    struct gossip_meta meta = world_meta(host);
    meta.load = load;
    world_step(script->world, host, (struct gossip_input){.kind = GOSSIP_IN_META, .meta = &meta});
}

static bool
do_command(struct script *script, char **words)
{
    struct world *world = script->world;
    const char *name = words[0];
    const uint32_t host = number(words[1]), other = words[1] == NULL ? 0 : number(words[2]);
    if (strcmp(name, "cluster") == 0)
        do_cluster(script, words);
    else if (world == NULL || host > world->config.count * (strcmp(name, "run") == 0 ? 100000 : 1))
        return false;
    else if (strcmp(name, "run") == 0)
        world_run(world, host * WORLD_SECOND);
    else if (strcmp(name, "crash") == 0)
        world_crash(world, host);
    else if (strcmp(name, "start") == 0)
        world_start(world, host);
    else if (strcmp(name, "leave") == 0)
        world_step(world, host, (struct gossip_input){.kind = GOSSIP_IN_LEAVE});
    else if (strcmp(name, "wipe") == 0)
        world->nodes[host].id = world_id(1000 + host), world->nodes[host].peer_count = 0;
    else if (strcmp(name, "pause") == 0)
        world_pause(world, host, other * WORLD_SECOND);
    else if (strcmp(name, "split") == 0 || strcmp(name, "heal") == 0)
        world_split(world, host, name[0] == 's');
    else if (strcmp(name, "cut") == 0 || strcmp(name, "mend") == 0)
        world_cut(world, host, other, name[0] == 'c');
    else if (strcmp(name, "load") == 0)
        do_load(script, host, other);
    else if (strcmp(name, "describe") == 0)
        do_describe(script);
    else if (strcmp(name, "members") == 0)
        do_members(script, host);
    else
        return false;
    return true;
}

static void
copy_line(char *line, size_t room, const char *from, size_t bytes)
{
    bytes = bytes < room - 1 ? bytes : room - 1;
    memcpy(line, from, bytes);
    line[bytes] = '\0';
}

// One command's line; false: it is none of ours.
static bool
run_line(struct script *script, const char *from, size_t bytes)
{
    char line[256];
    char *words[WORDS_MAX + 1] = {0}, *rest = NULL;
    copy_line(line, sizeof line, from, bytes);
    int count = 0;
    for (char *word = strtok_r(line, " ", &rest); word != NULL && count < WORDS_MAX;
         word = strtok_r(NULL, " ", &rest))
        words[count++] = word;
    text_init(&script->given, script->bytes, sizeof script->bytes);
    return count > 0 && do_command(script, words);
}

// The story as it is given now; NULL: it cannot be read.
static char *
tell(const char *path, const char *story)
{
    static struct script script;
    char *now = malloc(2 * STORY_BYTES);
    ASSERT(now != NULL);
    struct text text;
    text_init(&text, now, 2 * STORY_BYTES);
    script.world = NULL;
    bool given = false; // we are in what an earlier run gave
    for (const char *at = story; *at != '\0';) {
        const size_t bytes = strcspn(at, "\n");
        const bool empty = bytes == 0;
        if (given && !empty) { // replaced
        } else if (empty || at[0] == '#') {
            text_add_bytes(&text, at, bytes);
            text_add(&text, "\n");
            given = false;
        } else if (!run_line(&script, at, bytes)) {
            fprintf(stderr, "%s: what is \"%.*s\"?\n", path, (int)bytes, at);
            free(now);
            return NULL;
        } else {
            text_add_bytes(&text, at, bytes);
            text_add(&text, "\n----\n");
            text_add_bytes(&text, script.bytes, strlen(script.bytes));
            given = true;
        }
        at += bytes + (at[bytes] == '\n');
    }
    if (script.world != NULL)
        world_close(script.world);
    ASSERT(!text.truncated);
    return now;
}

static char *
read_whole(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *story = calloc(1, STORY_BYTES);
    ASSERT(file != NULL && story != NULL);
    const size_t bytes = fread(story, 1, STORY_BYTES - 1, file);
    ASSERT(bytes < STORY_BYTES - 1);
    fclose(file);
    return story;
}

static void
show_difference(const char *path, const char *was, const char *now)
{
    uint32_t line = 1;
    while (*was != '\0' && *was == *now) {
        line += *was == '\n';
        was++, now++;
    }
    fprintf(stderr, "%s:%u: differs: ...%.*s\n   now: ...%.*s\n", path, line,
            (int)strcspn(was, "\n"), was, (int)strcspn(now, "\n"), now);
}

static bool
play(const char *path, bool rewrite)
{
    char *was = read_whole(path);
    char *now = tell(path, was);
    const bool same = now != NULL && strcmp(was, now) == 0;
    bool good = same;
    if (now != NULL && !same && rewrite) {
        FILE *file = fopen(path, "wb");
        ASSERT(file != NULL);
        good = fputs(now, file) >= 0;
        good = fclose(file) == 0 && good;
    } else if (now != NULL && !same) {
        show_difference(path, was, now);
    }
    free(was);
    free(now);
    return good;
}

static int
is_story(const struct dirent *entry)
{
    const size_t bytes = strlen(entry->d_name);
    return bytes > 4 && strcmp(entry->d_name + bytes - 4, ".txt") == 0;
}

int
main(int argc, char **argv)
{
    const bool rewrite = argc > 1 && strcmp(argv[1], "--rewrite") == 0;
    const char *folder = argc > 1 ? argv[argc - 1] : ".";
    struct dirent **entries;
    const int count = scandir(folder, &entries, is_story, alphasort);
    int bad = count > 0 ? 0 : 1;
    for (int i = 0; i < count; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (!play(path, rewrite))
            bad++;
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    printf("%d stories, %d not as they were\n", count, bad);
    return bad == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
