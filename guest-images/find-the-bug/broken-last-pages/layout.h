// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where the memory that the guest tests begins. Shared with assembly.
#pragma once

#define TESTED_MEMORY 0x600000
