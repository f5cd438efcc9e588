// tests/unit/replica/test_script.c -- the stories under tests/script/replica.
//
// Shape: shell. usage: test_script [--rewrite], in the root of the sources. One copy, uuid 1 (tests/lib/replica_alone.h):
//
//      open TERM PRIMARY                   in sync 1 2 3, learner 4, an empty log
//      meta TERM PRIMARY N                 newer metadata: 1..N are in sync, the rest up to 4 learn
//      append FROM TERM PREV PREVTERM ENTRYTERM COUNT COMMIT
//      ack FROM SEQ | nack FROM PREV HINT
//      persisted | applied | propose REQUEST OP | read REQUEST | done REQUEST | lease | transfer TO | dead UUID
//      wait MILLISECONDS
#include <dirent.h>
#include <stdio.h>

#include "tests/lib/check_main.h"
#include "tests/lib/replica_alone.h"
#include "tests/lib/script.h"

static struct alone one;
static bool rewrite;

static void
meta(uint64_t term, uint64_t primary, uint32_t in_sync)
{
    one.meta.in_sync_count = one.meta.learner_count = 0;
    for (uint32_t i = 1; i <= 4; i++)
        if (i <= in_sync)
            one.meta.in_sync[one.meta.in_sync_count++] = uuid_of(i);
        else
            one.meta.learners[one.meta.learner_count++] = uuid_of(i);
    alone_meta(&one, term, primary);
}

// What it says, in the order that the shell obeys.
static void
say(struct text *answer)
{
    static const char *const kinds[] = {"",     "append",   "ack",    "nack", "confirm",
                                        "yes",  "need",     "ask",    "head", "chunk",
                                        "root", "buckets?", "buckets"};
    static const char *const changes[] = {"", "add", "remove", "transfer"};
    const struct replica_output *out = &one.out;
    char line[1024];
    if (out->ticket != 0)
        text_add(answer, "  persist %llu promised=%llu", (unsigned long long)out->ticket,
                 (unsigned long long)out->promised);
    if (out->truncate)
        text_add(answer, " cut=%llu", (unsigned long long)out->truncate_seq);
    if (out->ticket != 0)
        text_add(answer, " append=%u\n", out->append_count);
    for (uint32_t i = 0; i < out->msg_count; i++)
        text_add(answer, "  %s to %llu term=%llu prev=%llu seq=%llu entries=%u\n",
                 kinds[out->msgs[i].kind], (unsigned long long)out->msgs[i].to.low,
                 (unsigned long long)out->msgs[i].term, (unsigned long long)out->msgs[i].prev_seq,
                 (unsigned long long)out->msgs[i].seq, out->msgs[i].entry_count);
    if (out->apply_first != 0)
        text_add(answer, "  apply %llu..%llu\n", (unsigned long long)out->apply_first,
                 (unsigned long long)out->apply_last);
    for (uint32_t i = 0; i < out->answer_count; i++)
        text_add(answer, "  answer %llu %s seq=%llu\n", (unsigned long long)out->answers[i].request,
                 status_name(out->answers[i].status), (unsigned long long)out->answers[i].seq);
    for (uint32_t i = 0; i < out->serve_read_count; i++)
        text_add(answer, "  read for %llu\n", (unsigned long long)out->serve_reads[i]);
    if (out->change.kind != REPLICA_CHANGE_NONE)
        text_add(answer, "  propose %s(%llu) at cfg %llu\n", changes[out->change.kind],
                 (unsigned long long)out->change.uuid.low, (unsigned long long)out->change.cfg_ver);
    replica_describe(&one.replica, line, sizeof line);
    text_add(answer, "%s\n", line);
}

static void
simple(const char *name, const unsigned long long *n)
{
    if (strcmp(name, "persisted") == 0)
        alone_persisted(&one);
    else if (strcmp(name, "applied") == 0)
        alone_applied(&one);
    else if (strcmp(name, "propose") == 0)
        alone_propose(&one, n[0], n[1]);
    else if (strcmp(name, "read") == 0)
        alone_read(&one, n[0]);
    else if (strcmp(name, "done") == 0)
        alone_read_done(&one, n[0]);
    else if (strcmp(name, "transfer") == 0)
        alone_step(&one,
                   (struct replica_input){.kind = REPLICA_IN_TRANSFER, .uuid = uuid_of(n[0])});
    else if (strcmp(name, "dead") == 0)
        alone_step(&one, (struct replica_input){.kind = REPLICA_IN_DEAD, .uuid = uuid_of(n[0])});
    else if (strcmp(name, "lease") == 0)
        alone_step(&one, (struct replica_input){.kind = REPLICA_IN_LEASE,
                                                .boot = 5,
                                                .sent_ns = one.now_ns,
                                                .lease_ns = 100 * MS});
    else if (strcmp(name, "wait") == 0)
        alone_wait(&one, n[0] * MS);
    else
        ck_abort_msg("no command %s", name);
}

static void
command(void *context, const char *line, struct text *answer)
{
    char name[16] = "";
    unsigned long long n[7] = {0};
    (void)context;
    sscanf(line, "%15s %llu %llu %llu %llu %llu %llu %llu", name, &n[0], &n[1], &n[2], &n[3], &n[4],
           &n[5], &n[6]);
    if (strcmp(name, "open") == 0) {
        replica_fini(&one.replica); // the story before
        alone_open(&one, n[0], n[1]);
    } else if (strcmp(name, "meta") == 0)
        meta(n[0], n[1], (uint32_t)n[2]);
    else if (strcmp(name, "append") == 0)
        alone_append(&one, n[0], n[1], n[2], n[3], n[4], (uint32_t)n[5], n[6]);
    else if (strcmp(name, "ack") == 0)
        alone_ack(&one, n[0], n[1]);
    else if (strcmp(name, "nack") == 0)
        alone_message(&one, (struct replica_msg){.kind = REPLICA_NACK,
                                                 .from = uuid_of(n[0]),
                                                 .term = one.replica.promised,
                                                 .prev_seq = n[1],
                                                 .seq = n[2]});
    else
        simple(name, n);
    say(answer);
}

START_TEST(every_story_goes_as_written)
{
    static const char folder[] = "tests/script/replica";
    const struct script script = {.command = command, .rewrite = rewrite};
    struct dirent **names;
    const int count = scandir(folder, &names, NULL, alphasort);
    ck_assert_int_gt(count, 2);
    for (int i = 0; i < count; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        if (strstr(names[i]->d_name, ".txt") != NULL)
            ck_assert_msg(script_run(&script, path), "%s", path);
        free(names[i]);
    }
    free(names);
    replica_fini(&one.replica);
}
END_TEST

static Suite *
script_suite(void)
{
    Suite *suite = suite_create("replica/script");
    TCase *tcase = tcase_create("script");
    tcase_add_test(tcase, every_story_goes_as_written);
    suite_add_tcase(suite, tcase);
    return suite;
}

int
main(int count, char **words)
{
    rewrite = count > 1 && strcmp(words[1], "--rewrite") == 0;
    return check_main(script_suite);
}
