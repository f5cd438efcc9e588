// raft/member.c -- configurations and their changes.
//
// Shape: value.
#include "raft/member.h"

#include <string.h>

#include "base/assert.h"
#include "base/text.h"

static enum member_status apply_items(struct raft_group *group, const struct raft_change *change);
static void make_learner(struct raft_group *group, uint64_t id);
static uint32_t add(struct raft_group *group, uint64_t id);
static void withdraw(struct raft_group *group, uint64_t id);
static void drop(struct raft_group *group, uint32_t at);
static uint32_t count_role(const struct raft_group *group, uint8_t role);
static uint32_t voters_changed(const struct raft_group *before, const struct raft_group *after);

const char *
member_status_text(enum member_status status)
{
    static const char *const texts[MEMBER_STATUSES] = {
        [MEMBER_OK] = "ok",
        [MEMBER_NOT_JOINT] = "can't leave a non-joint config",
        [MEMBER_ZERO_VOTERS] = "can't make a zero-voter config joint",
        [MEMBER_ALREADY_JOINT] = "config is already joint",
        [MEMBER_SIMPLE_IN_JOINT] = "can't apply simple config change in joint config",
        [MEMBER_TWO_VOTERS] = "more than one voter changed without entering joint config",
        [MEMBER_REMOVED_ALL] = "removed all voters",
        [MEMBER_TOO_MANY] = "too many members",
    };
    ASSERT(status < MEMBER_STATUSES);
    return texts[status];
}

enum member_status
member_simple(const struct raft_group *group, const struct raft_change *change,
              struct raft_group *out)
{
    struct raft_group next = *group;
    enum member_status status = MEMBER_SIMPLE_IN_JOINT;
    if (!member_is_joint(group))
        status = apply_items(&next, change);
    if (status == MEMBER_OK && voters_changed(group, &next) > 1)
        status = MEMBER_TWO_VOTERS;
    *out = status == MEMBER_OK ? next : *group;
    return status;
}

enum member_status
member_enter_joint(const struct raft_group *group, const struct raft_change *change,
                   bool auto_leave, struct raft_group *out)
{
    struct raft_group next = *group;
    enum member_status status;
    if (member_is_joint(group)) {
        status = MEMBER_ALREADY_JOINT;
    } else if (count_role(group, RAFT_VOTER) == 0) {
        status = MEMBER_ZERO_VOTERS;
    } else {
        for (uint32_t i = 0; i < next.count; i++)
            if ((next.members[i].roles & RAFT_VOTER) != 0)
                next.members[i].roles |= RAFT_OUTGOING;
        next.auto_leave = auto_leave;
        status = apply_items(&next, change);
    }
    *out = status == MEMBER_OK ? next : *group;
    return status;
}

enum member_status
member_leave_joint(const struct raft_group *group, struct raft_group *out)
{
    struct raft_group next = *group;
    if (!member_is_joint(group)) {
        *out = next;
        return MEMBER_NOT_JOINT;
    }
    for (uint32_t i = next.count; i-- > 0;) {
        uint8_t roles = next.members[i].roles;
        if ((roles & RAFT_LEARNER_NEXT) != 0)
            roles |= RAFT_LEARNER;
        roles &= (uint8_t) ~(RAFT_LEARNER_NEXT | RAFT_OUTGOING);
        next.members[i].roles = roles;
        if ((roles & (RAFT_VOTER | RAFT_LEARNER)) == 0)
            drop(&next, i);
    }
    next.auto_leave = false;
    *out = next;
    return MEMBER_OK;
}

enum member_status
member_change(const struct raft_group *group, const struct raft_change *change,
              struct raft_group *out)
{
    if (member_leaves_joint(change))
        return member_leave_joint(group, out);
    if (change->transition == RAFT_TRANSITION_AUTO && change->count <= 1)
        return member_simple(group, change, out);
    return member_enter_joint(group, change, change->transition != RAFT_TRANSITION_EXPLICIT, out);
}

bool
member_leaves_joint(const struct raft_change *change)
{
    return change->count == 0 && change->transition == RAFT_TRANSITION_AUTO;
}

bool
member_is_joint(const struct raft_group *group)
{
    return count_role(group, RAFT_OUTGOING) > 0;
}

uint32_t
member_find(const struct raft_group *group, uint64_t id)
{
    for (uint32_t i = 0; i < group->count; i++)
        if (group->members[i].id == id)
            return i;
    return RAFT_MEMBERS_MAX;
}

bool
member_valid(const struct raft_group *group)
{
    if (group->count > RAFT_MEMBERS_MAX)
        return false;
    for (uint32_t i = 0; i < group->count; i++) {
        const struct raft_member *member = &group->members[i];
        const uint8_t roles = member->roles;
        if (member->id == RAFT_NODE_NONE || (i > 0 && group->members[i - 1].id >= member->id))
            return false;
        if (roles == 0 ||
            (roles & ~(RAFT_VOTER | RAFT_OUTGOING | RAFT_LEARNER | RAFT_LEARNER_NEXT)) != 0)
            return false;
        if ((roles & RAFT_LEARNER) != 0 && roles != RAFT_LEARNER)
            return false; // no votes in either half
        if ((roles & RAFT_LEARNER_NEXT) != 0 && roles != (RAFT_LEARNER_NEXT | RAFT_OUTGOING))
            return false;
    }
    if (group->count > 0 && count_role(group, RAFT_VOTER) == 0)
        return false;
    return !group->auto_leave || member_is_joint(group);
}

uint32_t
member_encode(const struct raft_change *change, uint8_t *bytes)
{
    ASSERT(change->count <= RAFT_CHANGES_MAX);
    if (member_leaves_joint(change))
        return 0;
    uint32_t count = 0;
    bytes[count++] = (uint8_t)change->transition;
    for (uint32_t i = 0; i < change->count; i++) {
        bytes[count++] = (uint8_t)change->items[i].kind;
        for (uint32_t byte = 0; byte < 8; byte++)
            bytes[count++] = (uint8_t)(change->items[i].id >> (8 * byte));
    }
    ASSERT(count <= RAFT_CHANGE_BYTES_MAX);
    return count;
}

omen_status
member_decode(const uint8_t *bytes, uint32_t count, struct raft_change *out)
{
    memset(out, 0, sizeof *out);
    if (count == 0)
        return OMEN_OK;
    if (count > RAFT_CHANGE_BYTES_MAX || (count - 1) % 9 != 0 ||
        bytes[0] > RAFT_TRANSITION_EXPLICIT)
        return OMEN_E_CORRUPT;
    out->transition = (enum raft_transition)bytes[0];
    out->count = (count - 1) / 9;
    for (uint32_t i = 0; i < out->count; i++) {
        const uint8_t *item = bytes + 1 + (size_t)i * 9;
        if (item[0] > RAFT_UPDATE)
            return OMEN_E_CORRUPT;
        out->items[i].kind = (enum raft_change_kind)item[0];
        for (uint32_t byte = 0; byte < 8; byte++)
            out->items[i].id |= (uint64_t)item[1 + byte] << (8 * byte);
    }
    return member_leaves_joint(out) ? OMEN_E_CORRUPT : OMEN_OK; // that has no bytes at all
}

static void
describe_role(struct text *text, const struct raft_group *group, uint8_t role)
{
    const char *before = "(";
    for (uint32_t i = 0; i < group->count; i++) {
        if ((group->members[i].roles & role) == 0)
            continue;
        text_add(text, "%s%llu", before, (unsigned long long)group->members[i].id);
        before = " ";
    }
    text_add(text, *before == '(' ? "()" : ")");
}

void
member_describe(const struct raft_group *group, char *line, size_t cap)
{
    struct text text;
    text_init(&text, line, cap);
    text_add(&text, "voters=");
    describe_role(&text, group, RAFT_VOTER);
    if (member_is_joint(group)) {
        text_add(&text, "&&");
        describe_role(&text, group, RAFT_OUTGOING);
    }
    if (count_role(group, RAFT_LEARNER) > 0) {
        text_add(&text, " learners=");
        describe_role(&text, group, RAFT_LEARNER);
    }
    if (count_role(group, RAFT_LEARNER_NEXT) > 0) {
        text_add(&text, " learners_next=");
        describe_role(&text, group, RAFT_LEARNER_NEXT);
    }
    if (group->auto_leave)
        text_add(&text, " autoleave");
}

static enum member_status
apply_items(struct raft_group *group, const struct raft_change *change)
{
    ASSERT(change->count <= RAFT_CHANGES_MAX);
    for (uint32_t i = 0; i < change->count; i++) {
        const uint64_t id = change->items[i].id;
        const enum raft_change_kind kind = change->items[i].kind;
        if (id == RAFT_NODE_NONE || kind == RAFT_UPDATE)
            continue;
        if (kind == RAFT_REMOVE) {
            withdraw(group, id);
            continue;
        }
        const uint32_t at = add(group, id);
        if (at == RAFT_MEMBERS_MAX)
            return MEMBER_TOO_MANY;
        if (kind == RAFT_ADD_LEARNER) {
            make_learner(group, id);
        } else {
            uint8_t *roles = &group->members[at].roles;
            *roles = (uint8_t)((*roles & ~(RAFT_LEARNER | RAFT_LEARNER_NEXT)) | RAFT_VOTER);
        }
    }
    return count_role(group, RAFT_VOTER) == 0 ? MEMBER_REMOVED_ALL : MEMBER_OK;
}

static void
make_learner(struct raft_group *group, uint64_t id)
{
    uint8_t *roles = &group->members[member_find(group, id)].roles;
    const uint8_t fresh = *roles & RAFT_FRESH;
    if ((*roles & RAFT_OUTGOING) != 0)
        *roles = (uint8_t)(RAFT_OUTGOING | RAFT_LEARNER_NEXT | fresh);
    else
        *roles = (uint8_t)(RAFT_LEARNER | fresh);
}

// Where the member is, made if need be; RAFT_MEMBERS_MAX when there is no room.
static uint32_t
add(struct raft_group *group, uint64_t id)
{
    const uint32_t found = member_find(group, id);
    if (found < RAFT_MEMBERS_MAX || group->count == RAFT_MEMBERS_MAX)
        return found;
    uint32_t at = group->count++;
    for (; at > 0 && group->members[at - 1].id > id; at--)
        group->members[at] = group->members[at - 1];
    group->members[at] = (struct raft_member){.id = id, .roles = RAFT_FRESH};
    return at;
}

// Takes the member out of the incoming half; its outgoing vote stays.
static void
withdraw(struct raft_group *group, uint64_t id)
{
    const uint32_t at = member_find(group, id);
    if (at == RAFT_MEMBERS_MAX)
        return;
    group->members[at].roles &= RAFT_OUTGOING;
    if (group->members[at].roles == 0)
        drop(group, at);
}

static void
drop(struct raft_group *group, uint32_t at)
{
    group->count--;
    for (uint32_t i = at; i < group->count; i++)
        group->members[i] = group->members[i + 1];
    memset(&group->members[group->count], 0, sizeof group->members[0]); // same state, same bytes
}

static uint32_t
count_role(const struct raft_group *group, uint8_t role)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < group->count; i++)
        count += (group->members[i].roles & role) != 0;
    return count;
}

// How many are a voter in one of the two and not in the other.
static uint32_t
voters_changed(const struct raft_group *before, const struct raft_group *after)
{
    uint32_t changed = 0;
    for (uint32_t i = 0; i < before->count; i++) {
        const uint32_t at = member_find(after, before->members[i].id);
        const bool votes = at < RAFT_MEMBERS_MAX && (after->members[at].roles & RAFT_VOTER) != 0;
        changed += ((before->members[i].roles & RAFT_VOTER) != 0) != votes;
    }
    for (uint32_t i = 0; i < after->count; i++)
        changed += (after->members[i].roles & RAFT_VOTER) != 0 &&
                   member_find(before, after->members[i].id) == RAFT_MEMBERS_MAX;
    return changed;
}
