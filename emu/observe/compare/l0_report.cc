// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/compare/l0_report.h"

#include <spdlog/fmt/fmt.h>

#include "vmx/exit_reasons.h"

namespace nestor::emu {

std::string report_l0(const L0Config& config, const L0Counters& counters) {
  std::string out = fmt::format(
      "L0, {}, VMCS shadowing {}: {} VM exits ({} from L1, {} from L2), {} VM entries\n",
      info_of(config.mode).name, config.vmcs_shadowing ? "on" : "off", counters.all_exits(),
      counters.exits_from_l1, counters.exits_from_l2, counters.entries);
  out += fmt::format("  reflected to L1: {}; VMREAD and VMWRITE that exited: {}\n",
                     counters.reflected, counters.vmcs_accesses);
  out += fmt::format(
      "  shadow pages filled: {}; shadow tables built: {}, zapped: {}; walk references: {}\n",
      counters.shadow_fills, counters.shadow_tables_built, counters.shadow_tables_zapped,
      counters.walk_references);
  for (const auto& [reason, count] : counters.exits) {
    out += fmt::format("  {:>10} {}\n", count, vmx::exit_reason_name(reason));
  }
  return out;
}

}  // namespace nestor::emu
