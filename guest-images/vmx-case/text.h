// SPDX-License-Identifier: GPL-2.0-or-later
//
// The text of cases, a Multiboot module, line by line; and the words of the command line.
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct {
  const char *word, *at, *end;
  unsigned line;
} Text;

// The first module. Ends the image when there is none, or when it lies where the cases' memory is.
Text text_open(const char* image);
// Goes to the next line that has a word, and puts it into `word`; false: there is none.
bool text_next_line(Text* text);
// What follows on the line. Ends the image when it is missing.
const char* text_word(Text* text);
uint64_t text_number(Text* text);  // hexadecimal, without 0x

bool text_is(const char* word, const char* wanted);
unsigned text_digit(char c);
// Whether the command line has this word.
bool text_option(const char* option);
