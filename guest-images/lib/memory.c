// SPDX-License-Identifier: GPL-2.0-or-later
#include "guest-images/lib/memory.h"

void* memset(void* destination, int value, size_t size) {
  void* cursor = destination;
  __asm__ volatile("rep stosb" : "+D"(cursor), "+c"(size) : "a"(value) : "memory");
  return destination;
}

void* memcpy(void* restrict destination, const void* restrict source, size_t size) {
  void* cursor = destination;
  __asm__ volatile("rep movsb" : "+D"(cursor), "+S"(source), "+c"(size) : : "memory");
  return destination;
}
