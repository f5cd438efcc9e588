// router/front_why.c -- why a point is none of the hits, in a sentence.
//
// Shape: handle, in memory.
#include <inttypes.h>

#include "base/text.h"
#include "router/front_join.h"

static void
reason_of(const struct front_call *call, const struct api_why_not *answer, struct text *text)
{
    const struct inner_why *why = &call->why;
    if (why->there == 0)
        text_add(text, "the collection has no point of this id");
    else if (why->passes == 0)
        text_add(text, "the filter does not let the point through");
    else if (answer->found != 0)
        text_add(text, "it is a hit");
    else if (why->capped != 0)
        text_add(text, "more than %" PRIu32 " points are nearer, and k is %" PRIu32, why->nearer,
                 call->k);
    else if (why->nearer >= call->k)
        text_add(text, "%" PRIu32 " points are nearer, and k is %" PRIu32, why->nearer, call->k);
    else
        text_add(text,
                 "only %" PRIu32 " points are nearer, but the search did not look far enough: a "
                 "larger ef or target_recall finds it",
                 why->nearer);
}

omen_status
front_say_why_not(struct front *front, struct front_call *call)
{
    char line[160];
    struct text text;
    const struct inner_why *why = &call->why;
    struct api_why_not answer = {.found = why->hit != 0 && why->ahead < call->k,
                                 .distance = why->distance};
    if (why->there != 0 && why->passes != 0 && why->capped == 0)
        answer.rank = why->nearer + 1;
    text_init(&text, line, sizeof line);
    reason_of(call, &answer, &text);
    answer.reason = wire_text_of(line);
    front_say(front, call, &answer);
    return OMEN_OK;
}
