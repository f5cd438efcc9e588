// tools/omenctl/names.h -- the names of nodes where the protocol has their uuids, for tables.
//
// Shape: shell.
#ifndef OMEN_TOOLS_OMENCTL_NAMES_H
#define OMEN_TOOLS_OMENCTL_NAMES_H
#include "tools/omenctl/remote.h"

// Asks for the nodes, and puts their names in the place of the texts that are a node's uuid. A name that two nodes have says nothing:
// those stay as they are, as does all where nobody answers.
void names_show(struct client *client, struct doc *doc);

#endif
