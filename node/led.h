// node/led.h -- a request about the map on its way to who leads the metadata: whom to ask, when to ask again, and what a failure comes to.
//
// Shape: value. Every try is the same operation (its op_id), so that asking again does no harm; node/clients_led.c sends.
//
//      never asked   somebody leads: ask; nobody does: refuse
//      asked         another leads, the connection is lost, or the try's time is over: ask again; nobody leads: wait for who comes next
#ifndef OMEN_NODE_LED_H
#define OMEN_NODE_LED_H
#include <stdbool.h>

#include "base/status.h"
#include "cluster/uuid.h"
#include "wire/api.h"

#define LED_TRY_NS (UINT64_C(1000) * 1000000)  // of the first try; each next one has twice as long
#define LED_PAUSE_NS (UINT64_C(100) * 1000000) // before who could not be reached is asked again
#define LED_TRIES_KEPT 8u                      // whose answers are still taken

enum led_next {
    LED_WAIT,   // until led_due, or there is news
    LED_OURS,   // this node leads, and does it itself
    LED_ASK,    // then led_asked, or led_lost
    LED_NOBODY, // nobody leads, and nothing was done
};

struct led {
    struct cluster_uuid asked;     // last
    uint64_t again_ns;             // then it is asked again
    uint64_t sent[LED_TRIES_KEPT]; // correlations of the last tries; 0: none
    uint32_t tries;
    bool open; // a try before the last may have done it
};

enum led_next led_look(const struct led *led, struct cluster_uuid own, struct cluster_uuid leader,
                       uint64_t now_ns);
uint64_t led_due(const struct led *led,
                 struct cluster_uuid leader); // UINT64_MAX: news is waited for

// A try is on its way. `correlation` 0: none that is answered by a frame.
void led_asked(struct led *led, struct cluster_uuid leader, uint64_t correlation, uint64_t now_ns);
// It will not be answered, or could not be sent, or the answer is that nobody knows.
void led_lost(struct led *led, struct cluster_uuid leader, uint64_t now_ns);

bool led_is_ours(const struct led *led, uint64_t correlation); // of one of its tries
bool led_is_last(const struct led *led, uint64_t correlation);
// The last try was refused with this. True: led_lost, and another one follows; false: it is the answer.
bool led_goes_on(const struct led *led, omen_status refusal);
// Of a refusal that is the answer: what one try has left open no other one closes by saying that it has done nothing.
enum api_outcome led_outcome(const struct led *led, omen_status refusal);

#endif
