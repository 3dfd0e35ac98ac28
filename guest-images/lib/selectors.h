// SPDX-License-Identifier: GPL-2.0-or-later
//
// Selectors of the images' GDT; shared with assembly.
#pragma once

#define SELECTOR_CODE64 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_CODE32 0x18
#define SELECTOR_TSS 0x20
