// SPDX-License-Identifier: GPL-2.0-or-later
#include <cstddef>
#include <utility>
#include <vector>

#include "emu/timing/access_slices.h"

namespace nestor::emu::timing {

void AccessSlices::keep_needed() {
  std::vector<bool> needed(kGprs + values);
  const auto need = [&needed](uint16_t value) {
    if (value != kNoValue) needed[value] = true;
  };
  const auto makes_value = [](const Step& step) {
    return step.computation != Computation::kAccess;
  };
  std::vector<bool> kept(steps.size());
  auto value = static_cast<uint16_t>(kGprs + values);
  for (size_t i = steps.size(); i-- != 0;) {
    kept[i] = !makes_value(steps[i]) || needed[--value];
    if (!kept[i]) continue;
    need(steps[i].sum.base);
    need(steps[i].sum.index);
    need(steps[i].operand);
  }
  std::vector<uint16_t> renumbered(needed.size(), kNoValue);
  for (uint16_t gpr = 0; gpr < kGprs; ++gpr) renumbered[gpr] = gpr;
  const auto renumber = [&renumbered](uint16_t& number) {
    if (number != kNoValue) number = renumbered[number];
  };
  std::vector<Step> rest;
  value = kGprs;
  values = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    const uint16_t before = makes_value(steps[i]) ? value++ : kNoValue;
    if (!kept[i]) continue;
    Step step = steps[i];
    renumber(step.sum.base);
    renumber(step.sum.index);
    renumber(step.operand);
    if (before != kNoValue) renumbered[before] = static_cast<uint16_t>(kGprs + values++);
    rest.push_back(step);
  }
  steps = std::move(rest);
}

}  // namespace nestor::emu::timing
