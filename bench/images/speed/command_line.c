// SPDX-License-Identifier: GPL-2.0-or-later
#include "bench/images/speed/command_line.h"

#include <stddef.h>

extern uint32_t boot_information;  // guest-images/lib/boot.S

// What a Multiboot information structure begins with. Source: Multiboot Specification 0.6.96, "Boot
// information format".
typedef struct {
  uint32_t flags, mem_lower, mem_upper, boot_device, command_line;
} MultibootInformation;
enum { kHasCommandLine = 1 << 2 };

static const char* command_line(void) {
  const MultibootInformation* information = (const void*)(uintptr_t)boot_information;
  if (!(information->flags & kHasCommandLine)) return "";
  return (const char*)(uintptr_t)information->command_line;
}

// What follows "NAME=" at the start of a word; NULL if there is no such word.
static const char* option(const char* name) {
  for (const char* word = command_line(); *word;) {
    const char* letter = name;
    while (*letter && *word == *letter) word++, letter++;
    if (!*letter && *word == '=') return word + 1;
    while (*word && *word != ' ') word++;
    while (*word == ' ') word++;
  }
  return NULL;
}

uint64_t option_number(const char* name, uint64_t otherwise) {
  const char* text = option(name);
  if (!text || *text < '0' || *text > '9') return otherwise;
  uint64_t number = 0;
  for (; *text >= '0' && *text <= '9'; text++) number = number * 10 + (uint64_t)(*text - '0');
  return number;
}

bool option_allows(const char* name, const char* value) {
  const char* text = option(name);
  if (!text) return true;
  while (*value && *text == *value) text++, value++;
  return !*value && (!*text || *text == ' ');
}
