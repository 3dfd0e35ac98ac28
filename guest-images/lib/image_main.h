// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

// What each image provides. Entered in 64-bit mode at CPL 0 with interrupts off, the first GiB of
// memory mapped to itself, console and exception reporting ready. Ends with finish().
_Noreturn void image_main(void);
