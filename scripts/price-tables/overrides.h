// SPDX-License-Identifier: GPL-2.0-or-later
//
// overrides.txt: what is written by hand of prices, each line with its source.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <regex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "emu/timing/table_types.h"

namespace nestor::emu::timing {

[[noreturn]] inline void fail(const std::string& what) {
  std::fprintf(stderr, "generate: %s\n", what.c_str());
  std::exit(1);
}

struct Use {
  uint16_t ports = 0;
  unsigned cycles = 0;
  auto operator<=>(const Use&) const = default;
};

struct Override {
  std::regex cpu, name;
  std::optional<unsigned> latency, operand_latency, uops;
  std::optional<std::vector<Use>> use;
  std::vector<Use> more;
  bool used = false;
};

// 2*p06+p23+10*div, or none.
inline std::vector<Use> read_ports(const std::string& value) {
  std::vector<Use> uses;
  std::istringstream parts(value);
  std::string part;
  while (std::getline(parts, part, '+')) {
    std::smatch match;
    const std::regex pattern("(?:([0-9]+)\\*)?(?:p([0-9]+)|div|serial|none)");
    if (!std::regex_match(part, match, pattern)) fail("overrides: " + value);
    if (part == "none") continue;
    Use use{0, match[1].matched ? static_cast<unsigned>(std::stoul(match[1])) : 1};
    for (const char digit : match[2].str()) use.ports |= static_cast<uint16_t>(1u << (digit - '0'));
    if (part.ends_with("div")) use.ports = kIntegerDivider;
    if (part.ends_with("serial")) use.ports = kSerial;
    uses.push_back(use);
  }
  std::ranges::sort(uses);
  return uses;
}

inline void read_word(Override& rule, const std::string& word) {
  const size_t equals = word.find('=');
  if (equals == std::string::npos) fail("overrides: " + word);
  const std::string key = word.substr(0, equals), value = word.substr(equals + 1);
  if (key == "latency") {
    rule.latency = std::stoul(value);
  } else if (key == "operand-latency") {
    rule.operand_latency = std::stoul(value);
  } else if (key == "uops") {
    rule.uops = std::stoul(value);
  } else if (key == "ports") {
    rule.use = read_ports(value);
  } else if (key == "more-ports") {
    rule.more = read_ports(value);
  } else {
    fail("overrides: " + word);
  }
}

// CPU NAME WORD=VALUE... # source. CPU and NAME are regular expressions; see overrides.txt.
inline std::vector<Override> read_overrides(const std::string& path) {
  std::vector<Override> overrides;
  std::ifstream file(path);
  if (!file) fail("cannot read " + path);
  std::string line;
  while (std::getline(file, line)) {
    line.resize(std::min(line.find('#'), line.size()));
    std::istringstream words(line);
    std::string cpu, name, word;
    if (!(words >> cpu >> name)) continue;
    Override rule;
    rule.cpu = std::regex(cpu);
    rule.name = std::regex(name);
    while (words >> word) read_word(rule, word);
    overrides.push_back(std::move(rule));
  }
  return overrides;
}

}  // namespace nestor::emu::timing
