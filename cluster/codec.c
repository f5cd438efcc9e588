// cluster/codec.c -- the fields of commands and snapshots.
//
// Shape: value.
#include <string.h>

#include "cluster/codec_int.h"

static void
bytes_move(struct codec *codec, void *bytes, size_t count)
{
    if (codec->failed)
        return;
    if (count > codec->end - codec->at) {
        codec->failed = true;
        codec->full = !codec_reads(codec);
        return;
    }
    if (codec_reads(codec))
        memcpy(bytes, codec->in + codec->at, count);
    else if (codec->out != NULL)
        memcpy(codec->out + codec->at, bytes, count);
    codec->at += count;
}

static void
varint_write(struct codec *codec, uint64_t value)
{
    uint8_t bytes[10];
    size_t count = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[count++] = (uint8_t)(value | 0x80);
    bytes[count++] = (uint8_t)value;
    bytes_move(codec, bytes, count);
}

static uint64_t
varint_read(struct codec *codec)
{
    uint64_t value = 0;
    for (uint32_t shift = 0;; shift += 7) { // to 63: what goes on there is refused
        uint8_t byte = 0;
        bytes_move(codec, &byte, 1);
        if (codec->failed || (shift == 63 && byte > 1) || (shift > 0 && byte == 0))
            break; // too short, beyond 64 bits, or not the shortest form
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    codec->failed = true;
    return 0;
}

void
codec_u64(struct codec *codec, uint64_t *value, uint64_t limit)
{
    if (codec_reads(codec))
        *value = varint_read(codec);
    if (*value > limit) {
        codec->failed = true;
        if (codec_reads(codec))
            *value = 0;
    }
    if (!codec_reads(codec))
        varint_write(codec, *value);
}

void
codec_u32(struct codec *codec, uint32_t *value, uint32_t limit)
{
    uint64_t wide = *value;
    codec_u64(codec, &wide, limit);
    if (codec_reads(codec))
        *value = (uint32_t)wide;
}

void
codec_u16(struct codec *codec, uint16_t *value, uint16_t limit)
{
    uint64_t wide = *value;
    codec_u64(codec, &wide, limit);
    if (codec_reads(codec))
        *value = (uint16_t)wide;
}

void
codec_u8(struct codec *codec, uint8_t *value, uint8_t lowest, uint8_t highest)
{
    bytes_move(codec, value, 1);
    if (codec->failed || *value < lowest || *value > highest) {
        codec->failed = true;
        if (codec_reads(codec))
            *value = 0;
    }
}

void
codec_fixed(struct codec *codec, uint64_t *value)
{
    uint8_t bytes[8];
    for (uint32_t i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(*value >> (56 - 8 * i));
    bytes_move(codec, bytes, sizeof bytes);
    if (!codec_reads(codec))
        return;
    *value = 0;
    for (uint32_t i = 0; i < 8 && !codec->failed; i++)
        *value = *value << 8 | bytes[i];
}

void
codec_uuid(struct codec *codec, struct cluster_uuid *uuid)
{
    codec_fixed(codec, &uuid->high);
    codec_fixed(codec, &uuid->low);
}

static void
short_text(struct codec *codec, uint8_t *count, char *bytes, uint8_t lowest, uint8_t highest)
{
    if (codec_reads(codec))
        memset(bytes, 0, highest);
    codec_u8(codec, count, lowest, highest);
    if (!codec->failed)
        bytes_move(codec, bytes, *count);
}

void
codec_name(struct codec *codec, struct map_name *name)
{
    short_text(codec, &name->count, name->bytes, 1, MAP_NAME_BYTES_MAX);
    if (!codec->failed && !map_name_is_valid(name))
        codec->failed = true;
}

void
codec_glob(struct codec *codec, struct map_name *glob)
{
    short_text(codec, &glob->count, glob->bytes, 1, MAP_NAME_BYTES_MAX);
    struct map_name plain = *glob; // what it would be without its wildcards
    for (uint32_t i = 0; i < MAP_NAME_BYTES_MAX; i++)
        if (plain.bytes[i] == '*' || plain.bytes[i] == '?')
            plain.bytes[i] = '_';
    if (!codec->failed && !map_name_is_valid(&plain))
        codec->failed = true;
}

void
codec_text(struct codec *codec, struct map_text *text)
{
    short_text(codec, &text->count, text->bytes, 0, MAP_ADDRESS_BYTES_MAX);
    for (uint32_t i = 0; i < MAP_ADDRESS_BYTES_MAX && !codec->failed; i++) {
        const uint8_t c = (uint8_t)text->bytes[i];
        if (i < text->count ? c < 0x20 || c == 0x7f : c != 0)
            codec->failed = true;
    }
}
