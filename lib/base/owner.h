// owner.h: from a member to the struct it is embedded in, as a timer to its session.
#pragma once

#include <stddef.h>

#define OWNER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
