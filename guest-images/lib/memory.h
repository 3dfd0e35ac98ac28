// SPDX-License-Identifier: GPL-2.0-or-later
//
// Block operations, with the meaning that C gives them. GCC calls them of its own accord, too.
#pragma once

#include <stddef.h>

void* memset(void* destination, int value, size_t size);
void* memcpy(void* restrict destination, const void* restrict source, size_t size);
