// base/bug.c -- which deliberate error is in force; empty without OMEN_TESTING.
//
// Shape: value, of the process: a machine has no place for it, because it must not know that it is tested.
#include "base/bug.h"

#ifdef OMEN_TESTING
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNREAD (-1)

static atomic_int chosen = UNREAD;

static const char *const names[BUGS_END] = {[BUG_NONE] = "none",
#define BUG_NAME(name, text) [BUG_##name] = text,
                                            BUG_LIST(BUG_NAME)
#undef BUG_NAME
};

const char *
bug_name(enum bug which)
{
    return names[which];
}

enum bug
bug_parse(const char *name)
{
    int which = 0;
    while (which < BUGS_END && strcmp(names[which], name) != 0)
        which++;
    return (enum bug)which;
}

// A test that was to have an error and has none would prove nothing: a wrong name ends the process.
static int
read_environment(void)
{
    const char *name = getenv("OMEN_BUG");
    const enum bug which = name == NULL || name[0] == '\0' ? BUG_NONE : bug_parse(name);
    if (which == BUGS_END) {
        fprintf(stderr, "OMEN_BUG=%s: no such error; there are", name);
        for (int i = BUG_NONE; i < BUGS_END; i++)
            fprintf(stderr, " %s", names[i]);
        fprintf(stderr, "\n");
        exit(2);
    }
    return (int)which;
}

bool
bug(enum bug which)
{
    int now = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (now == UNREAD) {
        now = read_environment();
        atomic_store_explicit(&chosen, now, memory_order_relaxed);
    }
    return now == (int)which;
}

void
bug_choose(enum bug which)
{
    atomic_store_explicit(&chosen, (int)which, memory_order_relaxed);
}
#endif
