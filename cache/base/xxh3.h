#pragma once

// XXH3, inlined, and with loads that stay single instructions where memcpy is a fortified call.
#define XXH_INLINE_ALL
#define XXH_FORCE_MEMORY_ACCESS 1
#include <xxhash.h>
