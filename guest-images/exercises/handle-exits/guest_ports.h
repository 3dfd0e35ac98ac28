// SPDX-License-Identifier: GPL-2.0-or-later
//
// The devices that L2 believes in. Shared with assembly.
#pragma once

#define PORT_CONSOLE 0x80   // OUT of a byte: a letter for the console
#define PORT_STATUS 0x81    // IN of a byte: always STATUS_READY
#define PORT_MISSING 0x510  // nothing answers: IN reads ones

#define STATUS_READY 0x5a

// What L2 has in RAX before each IN.
#define RAX_BEFORE_IN 0x1122334455667788
