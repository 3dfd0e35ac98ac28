// SPDX-License-Identifier: MIT
#pragma once

// The whole library. A walk asks three things of its caller: memory (ept/memory.h), the state of
// the processor (ept/paging_mode.h), and where to record its steps (ept/recorder.h).

#include "ept/ept_walk.h"     // IWYU pragma: export
#include "ept/linear_walk.h"  // IWYU pragma: export
#include "ept/nested_walk.h"  // IWYU pragma: export
