// SPDX-License-Identifier: GPL-2.0-or-later
//
// The names and values in a line of a list of fields.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nestor::emu {

// As they are written; the name may have before it what a log puts there.
struct ListPair {
  std::string name, number;
  bool leading = false;  // no other pair is before it, but for a comma
};

// NAME = VALUE, NAME: VALUE or NAME 0xVALUE, several of them with commas or blanks, or a row of a
// Markdown table. What is in parentheses explains.
std::vector<ListPair> list_pairs(std::string_view line);

// "guest_CS_base/limit" and "0x0/0xffff" are two pairs, and "HOST_SS / DS" with "0x18" too; empty:
// the numbers are not as many as the names.
std::vector<ListPair> parts_of(const ListPair& pair);

// Without blanks around it.
std::string_view trimmed(std::string_view text);
bool is_prefixed_hexadecimal(std::string_view text);
// Is the colon one of 20:58:33 or 3:0, and not between a name and a value?
bool is_in_time(std::string_view text, size_t colon);

}  // namespace nestor::emu
