// SPDX-License-Identifier: GPL-2.0-or-later
//
// Text on COM1, and the ways to end an image.
#pragma once

#include <stdint.h>

void console_open(void);

// The subset of printf that the images need: %s %c %u %x %lu %lx %%, with the flags # 0 - and a
// width.
void print(const char* format, ...) __attribute__((format(printf, 1, 2)));

// Writes VALUE (NESTOR_EXIT_...) to the debug-exit port; halts for ever where there is none.
_Noreturn void machine_exit(uint32_t value);

// Prints the last line, "NAME: PASS" or "NAME: FAIL (n)", and ends the image.
_Noreturn void finish(const char* image, unsigned failures);

// For a machine on which the image cannot run: says what is missing and ends the image.
_Noreturn void machine_lacks(const char* feature);

// For a failure after which going on makes no sense.
_Noreturn void give_up(const char* format, ...) __attribute__((format(printf, 1, 2)));
