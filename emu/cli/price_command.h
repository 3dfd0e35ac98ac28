// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <string>

#include "emu/timing/front_end.h"
#include "vmx/processor_type.h"

namespace nestor::emu {

struct PriceOptions {
  enum class Source { kHex, kFile, kCsv } source = Source::kHex;
  std::string input;  // the code in hexadecimal, or the name of a file; "-": the standard input
  vmx::Generation generation = vmx::Generation::kSkylake;
  timing::Repetition repetition = timing::Repetition::kUnrolled;
  size_t pieces = 0;  // price pieces of so many instructions, put together; 0: the block as one
};

// `nestor price`: prices 64-bit code and prints what bounds it on the standard output. Returns the
// exit status of the process. Complaints go to the standard error, one line each.
[[nodiscard]] int price_command(const PriceOptions& options);

}  // namespace nestor::emu
