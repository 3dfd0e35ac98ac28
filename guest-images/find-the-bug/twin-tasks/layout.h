// SPDX-License-Identifier: GPL-2.0-or-later
//
// The guest's tasks. Shared with assembly.
#pragma once

#define TASKS 2
#define PDPT_BYTES 32
#define TASK_MEMORY 0x40000000
