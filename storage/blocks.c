// storage/blocks.c -- the tables of a shard's file.
//
// Shape: handle, durable.
#include "storage/blocks.h"

const char *const table_names[TABLE_COUNT] = {"meta", "log", "blocks"};
