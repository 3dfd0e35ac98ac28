// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "emu/events/events.h"
#include "emu/loaders/image.h"
#include "tests/fuzz/vmx/case.h"
#include "tests/fuzz/vmx/judge.h"

namespace nestor::fuzz {

struct RunOutcome {
  uint64_t hash = 0;
  std::vector<Judge::CaseEnd> ends;  // of each case
  size_t finished = 0;               // cases
  uint64_t instructions = 0;
  std::map<std::string, uint64_t> outcomes;
  // By the seed of the case, in order; seed 0: of no case.
  std::vector<std::pair<uint64_t, std::string>> complaints;
  std::string text;  // what the image wrote
};

// Ways to run a machine that must all be the same to the cases.
struct Way {
  uint64_t relay = 0;    // each time after so many instructions it is saved, and another goes on
  bool stepped = false;  // the code of L2 is executed one instruction at a time
};

// Boots the image with the cases on a machine of its own. `quiet`: the image names the cases only.
// `trace` may be null.
RunOutcome run_cases(const emu::ImageFile& image, const Case& base, const std::vector<Case>& cases,
                     bool quiet, emu::MachineEventSink* trace, const Way& way = {});

}  // namespace nestor::fuzz
