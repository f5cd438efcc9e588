/* quickstart.c -- text ids, payloads, a field index, a filtered search, an update, a delete.
 *
 * Payloads are msgpack maps. Any msgpack library makes them; here they are written by hand, to show what they are. */
#include <omendb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
check(omen_status status, const char *what)
{
    if (status == OMEN_OK)
        return;
    fprintf(stderr, "%s: %s: %s\n", what, omen_strerror(status), omen_error_message());
    exit(1);
}

/* {"year": year}, 8 bytes: a map of one, a string of four, a 16-bit number (0xcd). */
static void
payload_of(unsigned year, unsigned char out[9])
{
    memcpy(out, "\x81\xa4year\xcd", 7);
    out[7] = (unsigned char)(year >> 8);
    out[8] = (unsigned char)year;
}

int
main(void)
{
    omen_options options = OMEN_OPTIONS_INIT;
    omen_index_t index;
    options.dimension = 3;
    options.metric = OMEN_COSINE;
    check(omen_open(&options, &index), "open");
    check(omen_field_index(index, "year", OMEN_FIELD_INTEGER), "field index");

    const char *const titles[] = {"bread", "butter", "piston", "gearbox"};
    const float vectors[][3] = {
        {1.0f, 0.1f, 0.0f}, {0.9f, 0.3f, 0.0f}, {0.0f, 0.2f, 1.0f}, {0.1f, 0.0f, 0.8f}};
    const unsigned years[] = {1999, 2015, 2008, 2021};
    unsigned char bytes[4][9];
    const void *payloads[4];
    size_t payload_bytes[4];
    for (int i = 0; i < 4; i++) {
        payload_of(years[i], bytes[i]);
        payloads[i] = bytes[i];
        payload_bytes[i] = sizeof bytes[i];
    }
    omen_batch batch = OMEN_BATCH_INIT;
    batch.count = 4;
    batch.vectors = vectors;
    batch.text_ids = titles;
    batch.payloads = payloads;
    batch.payload_bytes = payload_bytes;
    check(omen_add(index, &batch), "add");

    const float query[3] = {1.0f, 0.2f, 0.0f};
    omen_query_options search = OMEN_QUERY_OPTIONS_INIT;
    uint64_t keys[3];
    float distances[3];
    uint32_t found;
    char first[256], text[256];
    search.k = 3;
    search.filter = "year >= 2000";
    check(omen_query(index, query, &search, keys, distances, &found), "query");
    for (uint32_t i = 0; i < found; i++) {
        check(omen_id_text(index, keys[i], text, sizeof text), "id text");
        printf("%-8s %.4f\n", text, (double)distances[i]);
        if (i == 0)
            memcpy(first, text, sizeof text);
    }

    const char *const moved = "bread"; /* an upsert replaces vector and payload */
    payload_of(2024, bytes[0]);
    batch.count = 1;
    batch.text_ids = &moved;
    check(omen_upsert(index, &batch), "upsert");
    check(omen_query(index, query, &search, keys, distances, &found), "query");
    check(omen_id_text(index, keys[0], text, sizeof text), "id text");
    printf("after the update: %s\n", text);

    size_t deleted;
    uint64_t count;
    check(omen_delete_where(index, "year < 2010", &deleted), "delete");
    check(omen_count(index, NULL, &count), "count");
    printf("deleted %zu, %llu left\n", deleted, (unsigned long long)count);
    omen_close(index);

    return strcmp(first, "butter") == 0 && strcmp(text, "bread") == 0 && deleted == 1 && count == 3
               ? 0
               : 1;
}
