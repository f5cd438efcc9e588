// cluster/codec_int.h -- fields to bytes and back, by one description for both directions.
//
// Shape: value; private to cluster/.
//
// A struct's function names its fields once, in order, each with its limit; whether it writes or reads is in the codec. So the two
// directions cannot disagree, and a value beyond its limit fails both ways. Integers are varints (seven bits a byte,
// the lowest first) in their shortest form only: a value has one encoding. After a failure nothing moves any more,
// fields that are read are zero, and the caller looks at `failed` once, at the end.
#ifndef OMEN_CLUSTER_CODEC_INT_H
#define OMEN_CLUSTER_CODEC_INT_H
#include "cluster/map.h"

enum codec_way { CODEC_WRITE, CODEC_READ };

struct codec {
    uint8_t *out;      // written to; NULL while it is only measured
    const uint8_t *in; // read from
    size_t at;
    size_t end; // of room, or of bytes
    enum codec_way way;
    bool failed; // a bad value, or bytes that end too early
    bool full;   // `end` was reached while writing
};

void codec_u64(struct codec *codec, uint64_t *value, uint64_t limit); // at most `limit`
void codec_u32(struct codec *codec, uint32_t *value, uint32_t limit);
void codec_u16(struct codec *codec, uint16_t *value, uint16_t limit);
void codec_u8(struct codec *codec, uint8_t *value, uint8_t lowest, uint8_t highest);
void codec_fixed(struct codec *codec, uint64_t *value); // eight bytes as they are: hashes
void codec_uuid(struct codec *codec, struct cluster_uuid *uuid);
void codec_name(struct codec *codec, struct map_name *name);
void codec_glob(struct codec *codec,
                struct map_name *glob); // "*" and "?" besides a name's characters
void codec_text(struct codec *codec,
                struct map_text *text); // UTF-8 is not asked for; no control characters

static inline void
codec_fail(struct codec *codec)
{
    codec->failed = true;
}

static inline bool
codec_reads(const struct codec *codec)
{
    return codec->way == CODEC_READ;
}

#endif
