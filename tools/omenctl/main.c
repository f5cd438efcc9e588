// tools/omenctl/main.c -- the admin tool: see `omenctl help`.
//
// Shape: shell.
#include "tools/omenctl/command.h"

int
main(int argc, char **argv)
{
    return (int)command_main(argc, argv);
}
