// tests/lib/faults.h -- how much of the tests of failing disks and killed processes is run.
//
// Shape: value.
#ifndef OMEN_TESTS_FAULTS_H
#define OMEN_TESTS_FAULTS_H
#include <stdint.h>
#include <stdlib.h>

// OMEN_FAULTS in the environment; 1 is what CI has time for.
static inline uint32_t
faults_more(void)
{
    const char *text = getenv("OMEN_FAULTS");
    const long more = text != NULL ? strtol(text, NULL, 10) : 1;
    return more < 1 ? 1 : more > 1000 ? 1000 : (uint32_t)more;
}

#endif
