// base/os_wait.h -- sleep until a word changes: the one primitive under locks, pools and gates.
//
// Shape:   shell.
// Threads: any.
#ifndef OMEN_BASE_OS_WAIT_H
#define OMEN_BASE_OS_WAIT_H
#include <stdatomic.h>
#include <stdint.h>

// Sleeps while *word == expected. May return although nothing changed, so call it in a loop that looks again.
void os_wait(_Atomic uint32_t *word, uint32_t expected);
// Wakes every thread that sleeps on `word`; change it first. Never reads *word.
void os_wake_all(_Atomic uint32_t *word);
// The same for at most so many, who have slept longest.
void os_wake_some(_Atomic uint32_t *word, uint32_t most);

#endif
