/* plan.c -- the smallest program: make an index, add vectors, ask for the 10 nearest. */
#include <omendb.h>
#include <stdio.h>

enum { DIMENSION = 8, COUNT = 100 };

int
main(void)
{
    omen_index_t index = omen_create(DIMENSION);
    if (index == NULL) {
        fprintf(stderr, "omen_create: %s\n", omen_error_message());
        return 1;
    }

    static float vectors[COUNT][DIMENSION];
    for (int row = 0; row < COUNT; row++)
        for (int i = 0; i < DIMENSION; i++)
            vectors[row][i] = (float)((row * 31 + i * i * 17) % 97) - 48.0f;

    omen_batch batch = OMEN_BATCH_INIT;
    batch.count = COUNT;
    batch.vectors = vectors;
    if (omen_add(index, &batch) != OMEN_OK) { /* rows are numbered 0, 1, 2, ... */
        fprintf(stderr, "omen_add: %s\n", omen_error_message());
        return 1;
    }

    int results[10];
    omen_search(index, vectors[42], results);
    printf("nearest to row 42:");
    for (int i = 0; i < 10; i++)
        printf(" %d", results[i]);
    printf("\n");

    omen_close(index);
    return results[0] == 42 ? 0 : 1;
}
