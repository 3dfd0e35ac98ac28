// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "emu/events/events.h"
#include "emu/loaders/image.h"
#include "tests/fuzz/vmx/case.h"

namespace nestor::fuzz {

struct RunOutcome {
  uint64_t hash = 0;
  size_t finished = 0;  // cases
  uint64_t instructions = 0;
  std::map<std::string, uint64_t> outcomes;
  // By the seed of the case, in order; seed 0: of no case.
  std::vector<std::pair<uint64_t, std::string>> complaints;
  std::string text;  // what the image wrote
};

// Boots the image with the cases on a machine of its own. `quiet`: the image names the cases only.
// `trace` may be null. `relay`: each time after so many instructions the machine is saved, and
// another one goes on; 0: never.
RunOutcome run_cases(const emu::ImageFile& image, const Case& base, const std::vector<Case>& cases,
                     bool quiet, emu::MachineEventSink* trace, uint64_t relay = 0);

}  // namespace nestor::fuzz
