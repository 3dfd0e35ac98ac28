// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <stdbool.h>
#include <stdint.h>

// The words NAME=NUMBER and NAME=WORD of the command line that the loader passed.

// The number behind NAME; OTHERWISE if it is not there or no number.
uint64_t option_number(const char* name, uint64_t otherwise);

// Whether NAME is absent, or given as VALUE.
bool option_allows(const char* name, const char* value);
