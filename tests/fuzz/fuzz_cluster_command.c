// tests/fuzz/fuzz_cluster_command.c -- any bytes as commands of the metadata log: the map stays sound, and what decodes encodes again.
//
// The input is a row of entries, each with its length in two bytes before it.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "cluster/apply.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void
check_codec(const uint8_t *bytes, size_t count)
{
    static struct command command;
    static uint8_t again[COMMAND_BYTES_MAX];
    size_t second;
    if (command_decode(bytes, count, &command) != OMEN_OK)
        return;
    ASSERT(command_encode(&command, again, sizeof again, &second) == OMEN_OK);
    ASSERT(second == count && memcmp(bytes, again, count) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    struct map map;
    struct command_result result;
    map_init(&map);
    for (uint64_t position = 1; count >= 2; position++) {
        size_t length = (size_t)bytes[0] | (size_t)bytes[1] << 8;
        bytes += 2;
        count -= 2;
        length = length < count ? length : count;
        check_codec(bytes, length);
        ASSERT(cluster_apply(&map, position, bytes, length, &result) == OMEN_OK);
        map_check(&map);
        bytes += length;
        count -= length;
    }
    map_fini(&map);
    return 0;
}
