// cluster/session_int.h -- the commands of the last minutes by their op_id, so that a repeated one is answered and not applied.
//
// Shape: value; private to cluster/.
//
// An op_id is a UUIDv7: it says when it was drawn. An entry is kept for SESSION_MS after the later of the two, when it was
// drawn and when it was applied, by the map's clock; a command that was drawn longer than SESSION_MS ago and is not
// found is refused, because nobody can tell any more whether it was applied. So whatever the client's clock says, a
// command is applied once. One that was drawn more than SESSION_MS ahead of the map's clock is refused as well:
// otherwise it would hold its entry for as long as its client likes.
//
// The table never forgets early: a full one answers BUSY, and nothing was done. Forgetting the oldest instead would need a
// mark below which everything is refused, and one client with a fast clock would move that mark for all.
#ifndef OMEN_CLUSTER_SESSION_INT_H
#define OMEN_CLUSTER_SESSION_INT_H
#include "cluster/command.h"
#include "cluster/map.h"

#define SESSIONS_MAX 8192u
#define SESSION_MS 600000u

struct session {
    struct cluster_uuid op;
    uint64_t applied_ms;
    uint64_t command_hash; // the same op_id with another command is refused
    uint64_t position, value, version;
    int32_t status;
    uint32_t applied, refused;
};

// Ends what is over by the map's clock.
void session_expire(struct map *map);

// Whether the command is to be applied. If not, *result is the answer.
bool session_begin(const struct map *map, const struct command *command, uint64_t hash,
                   struct command_result *result);
void session_record(struct map *map, const struct command *command, uint64_t hash,
                    const struct command_result *result);

#endif
