// SPDX-License-Identifier: GPL-2.0-or-later
//
// The functions that GCC expects even of a freestanding program.
#include <stddef.h>

void *memset(void *destination, int value, size_t size);
void *memcpy(void *restrict destination, const void *restrict source, size_t size);

void *memset(void *destination, int value, size_t size) {
  void *cursor = destination;
  __asm__ volatile("rep stosb" : "+D"(cursor), "+c"(size) : "a"(value) : "memory");
  return destination;
}

void *memcpy(void *restrict destination, const void *restrict source, size_t size) {
  void *cursor = destination;
  __asm__ volatile("rep movsb" : "+D"(cursor), "+S"(source), "+c"(size) : : "memory");
  return destination;
}
