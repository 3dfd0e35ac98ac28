// SPDX-License-Identifier: GPL-2.0-or-later
//
// One run of a program that prints the marks of the image `speed`, timed at the marks.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <variant>

namespace nestor::bench {

// What happened between "begin ITEM WHERE COUNT" and "end ITEM WHERE RESULT".
struct Interval {
  uint64_t count = 0;
  uint64_t result = 0;
  double seconds = 0;  // of processor time that the program used
  double nanoseconds_each() const { return seconds * 1e9 / static_cast<double>(count); }
};

// By "ITEM WHERE".
using Intervals = std::map<std::string, Interval>;

// Runs `command` in /bin/sh until it prints its last line or ends; its marks come on file
// descriptor
// 3. A line "skipped: ..." goes to `remarks`. A string says what went wrong: no "speed: PASS",
// marks out of order, or `limit` passed.
std::variant<Intervals, std::string> measure(const std::string& command, std::chrono::seconds limit,
                                             std::string& remarks);

}  // namespace nestor::bench
