// node/address.h -- "host:port" as people write it, and as nodes say it to each other.
//
// Shape:   shell: a name is looked up, which waits. For starts only.
// Threads: any.
#ifndef OMEN_NODE_ADDRESS_H
#define OMEN_NODE_ADDRESS_H
#include <stdbool.h>

#include "base/error.h"
#include "gossip/gossip_msg.h"

#define ADDRESS_TEXT_BYTES 64u // of address_text, with its end

// "127.0.0.1:7701", "[::1]:7701", "name:7701"; without a port, or with none after the colon, `port` counts. Port 0 is allowed: any.
// OMEN_E_INVALID and a sentence that quotes the text: it is none, or nobody knows the name.
OMEN_MUST_CHECK omen_status address_of(const char *text, uint16_t port, struct gossip_address *out,
                                       struct omen_error *error);

void address_text(const struct gossip_address *address, char text[ADDRESS_TEXT_BYTES]);
// Without the port.
void address_host(const struct gossip_address *address, char text[ADDRESS_TEXT_BYTES]);

bool address_is_loopback(const struct gossip_address *address);
bool address_is_v4(const struct gossip_address *address);  // its last four bytes are all of it
bool address_is_any(const struct gossip_address *address); // 0.0.0.0 or ::, to listen on

#endif
