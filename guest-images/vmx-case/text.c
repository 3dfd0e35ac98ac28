// SPDX-License-Identifier: GPL-2.0-or-later
#include "guest-images/vmx-case/text.h"

#include "guest-images/lib/console.h"
#include "guest-images/vmx-case/case_abi.h"

extern uint32_t boot_information;  // boot.S

// Multiboot Specification, "Boot information format": byte offsets.
enum { kMemoryUpper = 8, kCommandLine = 16, kModuleCount = 20, kModuleAddress = 24 };

static uint32_t information(unsigned offset) {
  return *(const uint32_t*)((uint64_t)boot_information + offset);
}

Text text_open(const char* image) {
  if (information(kModuleCount) == 0) give_up("%s: no module with cases", image);
  const uint32_t* module = (const uint32_t*)(uint64_t)information(kModuleAddress);
  const uint64_t memory = 0x100000 + 1024ull * information(kMemoryUpper);
  if (memory < NESTOR_CASE_ARENA + NESTOR_CASE_ARENA_SIZE)
    give_up("%s: needs memory up to %#x", image, NESTOR_CASE_ARENA + NESTOR_CASE_ARENA_SIZE);
  if (module[1] > NESTOR_CASE_ARENA && module[0] < NESTOR_CASE_ARENA + NESTOR_CASE_ARENA_SIZE)
    give_up("%s: the module is too large", image);
  const char* start = (const char*)(uint64_t)module[0];
  return (Text){.word = start, .at = start, .end = (const char*)(uint64_t)module[1], .line = 0};
}

static void skip_blanks(Text* text) {
  while (text->at < text->end && (*text->at == ' ' || *text->at == '\r')) text->at++;
}

bool text_next_line(Text* text) {
  for (;;) {
    if (text->line != 0) {
      while (text->at < text->end && *text->at != '\n') text->at++;
      if (text->at < text->end) text->at++;
    }
    text->line++;
    if (text->at == text->end) return false;
    skip_blanks(text);
    if (text->at<text->end&& * text->at> ' ' && *text->at != '#') {
      text->word = text_word(text);
      return true;
    }
  }
}

const char* text_word(Text* text) {
  skip_blanks(text);
  const char* word = text->at;
  while (text->at<text->end&& * text->at> ' ') text->at++;
  if (word == text->at) give_up("line %u: something is missing", text->line);
  return word;
}

unsigned text_digit(char c) {
  if (c >= '0' && c <= '9') return (unsigned)(c - '0');
  if (c >= 'a' && c <= 'f') return (unsigned)(c - 'a' + 10);
  give_up("'%c' is no hexadecimal digit", c);
}

uint64_t text_number(Text* text) {
  uint64_t value = 0;
  for (const char* digit = text_word(text); digit < text->at; digit++)
    value = value << 4 | text_digit(*digit);
  return value;
}

bool text_is(const char* word, const char* wanted) {
  while (*wanted && *word == *wanted) {
    word++;
    wanted++;
  }
  return !*wanted && *word <= ' ';
}

bool text_option(const char* option) {
  const char* at = (const char*)(uint64_t)information(kCommandLine);
  for (; *at; at++) {
    if (*at == ' ' && text_is(at + 1, option)) return true;
  }
  return false;
}
