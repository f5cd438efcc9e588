// node/led.c -- when who leads the metadata is asked again.
//
// Shape: value.
#include "node/led.h"

#define DOUBLINGS_MAX 6u

enum led_next
led_look(const struct led *led, struct cluster_uuid own, struct cluster_uuid leader,
         uint64_t now_ns)
{
    if (uuid_is_none(leader))
        return led->tries > 0 ? LED_WAIT : LED_NOBODY;
    if (now_ns < led_due(led, leader))
        return LED_WAIT;
    return uuid_equal(leader, own) ? LED_OURS : LED_ASK;
}

uint64_t
led_due(const struct led *led, struct cluster_uuid leader)
{
    if (uuid_is_none(leader))
        return UINT64_MAX;
    return led->tries > 0 && uuid_equal(leader, led->asked) ? led->again_ns : 0;
}

void
led_asked(struct led *led, struct cluster_uuid leader, uint64_t correlation, uint64_t now_ns)
{
    const uint32_t doublings = led->tries < DOUBLINGS_MAX ? led->tries : DOUBLINGS_MAX;
    led->open = led->tries > 0;
    led->asked = leader;
    led->again_ns = now_ns + (LED_TRY_NS << doublings);
    led->sent[led->tries++ % LED_TRIES_KEPT] = correlation;
}

void
led_lost(struct led *led, struct cluster_uuid leader, uint64_t now_ns)
{
    led->asked = leader;
    led->again_ns = now_ns + LED_PAUSE_NS;
}

bool
led_is_ours(const struct led *led, uint64_t correlation)
{
    for (uint32_t i = 0; i < LED_TRIES_KEPT; i++)
        if (led->sent[i] == correlation && correlation != 0)
            return true;
    return false;
}

bool
led_is_last(const struct led *led, uint64_t correlation)
{
    return led->tries > 0 && led->sent[(led->tries - 1) % LED_TRIES_KEPT] == correlation;
}

// BUSY says that this try has done nothing. Where it was the only one the client may know it at once.
bool
led_goes_on(const struct led *led, omen_status refusal)
{
    return refusal == OMEN_E_TIMEOUT || (refusal == OMEN_E_BUSY && led->open);
}

enum api_outcome
led_outcome(const struct led *led, omen_status refusal)
{
    const bool of_the_operation =
        refusal == OMEN_E_EXISTS || refusal == OMEN_E_NOT_FOUND || refusal == OMEN_E_CONFLICT;
    if (refusal == OMEN_E_TIMEOUT || refusal == OMEN_E_OP_EXPIRED)
        return API_UNKNOWN;
    return led->open && !of_the_operation ? API_UNKNOWN : API_NOT_APPLIED;
}
