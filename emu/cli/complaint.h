// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>
#include <utility>

#include "emu/cli/exit_status.h"

namespace nestor::emu {

// What is wrong with a command line, in one line, and with which status the program ends; an empty
// text: nothing. With kSuccess the text is what the user has asked for.
struct Complaint {
  std::string text;
  ExitStatus status = ExitStatus::kBadUsage;

  Complaint() = default;
  Complaint(std::string what, ExitStatus ends = ExitStatus::kBadUsage)
      : text(std::move(what)), status(ends) {}
  Complaint(const char* what) : text(what) {}
  bool empty() const { return text.empty(); }
};

}  // namespace nestor::emu
