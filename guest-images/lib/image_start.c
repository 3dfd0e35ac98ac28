// SPDX-License-Identifier: GPL-2.0-or-later
#include "guest-images/lib/console.h"
#include "guest-images/lib/descriptor_tables.h"
#include "guest-images/lib/image_main.h"

_Noreturn void image_start(void);

// Called by boot.S in 64-bit mode, interrupts off, first GiB mapped to itself.
void image_start(void) {
  console_open();
  descriptor_tables_load();
  image_main();
}
