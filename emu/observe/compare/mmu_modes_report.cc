// SPDX-License-Identifier: GPL-2.0-or-later
#include <spdlog/fmt/fmt.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "emu/observe/compare/mmu_modes.h"
#include "guest-images/abi/machine_ports.h"

namespace nestor::emu {
namespace {

using Verdict = ModeRun::Verdict;

std::string workload_name(uint8_t number) {
  switch (number) {
    case kWholeRun:
      return "whole run";
    case NESTOR_WORKLOAD_PAGE_FAULTS:
      return "page faults";
    case NESTOR_WORKLOAD_TLB_MISSES:
      return "TLB misses";
    case NESTOR_WORKLOAD_COMPUTATION:
      return "computation";
    case NESTOR_WORKLOAD_CPUID_EXITS:
      return "CPUID exits";
    default:
      return fmt::format("workload {}", number);
  }
}

std::string_view verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kSame:
      return "same";
    case Verdict::kDiffers:
      return "differs";
    case Verdict::kCannotRun:
      return "cannot run";
  }
  return "";
}

const WorkloadCost* cost_of(const ModeRun& run, uint8_t workload) {
  if (run.verdict == Verdict::kCannotRun) return nullptr;
  const auto found = run.costs.find(workload);
  return found == run.costs.end() ? nullptr : &found->second;
}

// In cycles, to the same workload in nested-ept with VMCS shadowing.
std::optional<double> ratio(const MmuComparison& comparison, uint8_t workload,
                            const WorkloadCost& cost) {
  for (const ModeRun& run : comparison.runs) {
    if (run.l0.mode != L0Mode::kNestedEpt || !run.l0.vmcs_shadowing) continue;
    const WorkloadCost* reference = cost_of(run, workload);
    if (reference == nullptr || reference->cycles == 0) break;
    return static_cast<double>(cost.cycles) / static_cast<double>(reference->cycles);
  }
  return std::nullopt;
}

double per_cpuid_exit(const WorkloadCost& cost, uint64_t count) {
  return static_cast<double>(count) / static_cast<double>(cost.cpuid_exits);
}

bool counts_cpuid_exits(uint8_t workload, const WorkloadCost& cost) {
  return workload == NESTOR_WORKLOAD_CPUID_EXITS && cost.cpuid_exits != 0;
}

std::string table(const MmuComparison& comparison, uint8_t workload) {
  std::string out = fmt::format(
      "\n{:<18} {:>10} {:>7} {:>8} {:>8} {:>8} {:>9} {:>6} {:>7} {:>6} "
      "{:>6} {:>9}\n",
      workload_name(workload), "cycles", "ratio", "L1 exits", "from L1", "from L2", "reflected",
      "VMCS", "filled", "built", "zapped", "walk refs");
  for (const ModeRun& run : comparison.runs) {
    const WorkloadCost* cost = cost_of(run, workload);
    if (cost == nullptr || !run.l0.vmcs_shadowing) continue;
    const auto to_nested = ratio(comparison, workload, *cost);
    const L0Counters& l0 = cost->l0;
    out += fmt::format(
        "  {:<16} {:>10} {:>7} {:>8} {:>8} {:>8} {:>9} {:>6} {:>7} {:>6} {:>6} {:>9}\n",
        info_of(run.l0.mode).name, cost->cycles,
        to_nested ? fmt::format("{:.2f}", *to_nested) : "-", cost->l1_exits, l0.exits_from_l1,
        l0.exits_from_l2, l0.reflected, l0.vmcs_accesses, l0.shadow_fills, l0.shadow_tables_built,
        l0.shadow_tables_zapped, l0.walk_references);
  }
  return out;
}

std::string cpuid_table(const MmuComparison& comparison) {
  std::string out;
  for (const ModeRun& run : comparison.runs) {
    const WorkloadCost* cost = cost_of(run, NESTOR_WORKLOAD_CPUID_EXITS);
    if (cost == nullptr || !counts_cpuid_exits(NESTOR_WORKLOAD_CPUID_EXITS, *cost)) continue;
    out += fmt::format(
        "  {:<16} {:>14} {:>6g} {:>7g} {:>6g} {:>10.1f}\n", info_of(run.l0.mode).name,
        run.l0.vmcs_shadowing ? "on" : "off", per_cpuid_exit(*cost, cost->l0.all_exits()),
        per_cpuid_exit(*cost, cost->l0.entries), per_cpuid_exit(*cost, cost->l0.vmcs_accesses),
        per_cpuid_exit(*cost, cost->cycles));
  }
  if (out.empty()) return out;
  return fmt::format("\n{:<18} {:>14} {:>6} {:>7} {:>6} {:>10}\n", "per CPUID exit",
                     "VMCS shadowing", "exits", "entries", "VMCS", "cycles") +
         out;
}

std::string name_of(const L0Config& l0) {
  const bool shadowing = l0.vmcs_shadowing || !info_of(l0.mode).has_l0;
  return std::string(info_of(l0.mode).name) + (shadowing ? "" : ", VMCS shadowing off");
}

std::string or_end(const std::string& text) { return text.empty() ? "(the end)" : text; }

// Where the run parts from its reference.
std::string difference_of(const ModeRun& run) {
  const std::string reference = name_of(run.reference), other = name_of(run.l0);
  std::string out;
  const auto both = [&](const std::string& one, const std::string& two) {
    out += fmt::format("      {}: {}\n      {}: {}\n", reference, or_end(one), other, or_end(two));
  };
  if (run.line) {
    out += fmt::format("    line {}:\n", run.line->line);
    both(run.line->reference, run.line->other);
  }
  if (!run.parting) return out;
  if (const auto& event = run.parting->event) {
    out += "    the first event that differs:\n";
    both(event->reference, event->other);
    out += fmt::format("    the event before it: {}\n",
                       event->before.empty() ? "(none)" : event->before);
  }
  if (!run.parting->stale.empty())
    out += fmt::format("    with --tlb keep: {}\n", run.parting->stale);
  return out;
}

std::set<uint8_t> workloads_of(const MmuComparison& comparison) {
  std::set<uint8_t> workloads;
  for (const ModeRun& run : comparison.runs) {
    for (const auto& [number, cost] : run.costs) workloads.insert(number);
  }
  return workloads;
}

}  // namespace

std::string to_text(const MmuComparison& comparison) {
  const bool runs = std::ranges::any_of(
      comparison.runs, [](const ModeRun& run) { return run.verdict == Verdict::kSame; });
  std::string_view verdict = "the results differ";
  if (comparison.same()) {
    verdict = runs ? "the same results in all modes in which it runs" : "it runs in no mode";
  }
  std::string out = fmt::format("{}: {}\n", comparison.image, verdict);
  for (const ModeRun& run : comparison.runs) {
    if (run.verdict == Verdict::kSame) continue;
    out += fmt::format("  {}: {}: {}\n", name_of(run.l0), verdict_name(run.verdict), run.reason);
    out += difference_of(run);
  }
  std::set<uint8_t> workloads = workloads_of(comparison);
  workloads.erase(kWholeRun);
  for (const uint8_t workload : workloads) out += table(comparison, workload);
  out += table(comparison, kWholeRun);
  out += cpuid_table(comparison);
  return out;
}

std::string to_json(const MmuComparison& comparison) {
  using Json = nlohmann::ordered_json;
  Json modes = Json::array();
  for (const ModeRun& run : comparison.runs) {
    Json workloads = Json::array();
    for (const auto& [number, each] : run.costs) {
      const WorkloadCost* cost = cost_of(run, number);
      if (cost == nullptr) continue;
      const L0Counters& l0 = cost->l0;
      Json workload = {{"number", number},
                       {"name", workload_name(number)},
                       {"cycles", cost->cycles},
                       {"l1_exits", cost->l1_exits},
                       {"exits_from_l1", l0.exits_from_l1},
                       {"exits_from_l2", l0.exits_from_l2},
                       {"entries", l0.entries},
                       {"reflected", l0.reflected},
                       {"vmcs_accesses", l0.vmcs_accesses},
                       {"shadow_fills", l0.shadow_fills},
                       {"shadow_tables_built", l0.shadow_tables_built},
                       {"shadow_tables_zapped", l0.shadow_tables_zapped},
                       {"walk_references", l0.walk_references}};
      if (const auto to_nested = ratio(comparison, number, *cost)) workload["ratio"] = *to_nested;
      if (counts_cpuid_exits(number, *cost)) {
        workload["per_cpuid_exit"] = {{"exits", per_cpuid_exit(*cost, l0.all_exits())},
                                      {"entries", per_cpuid_exit(*cost, l0.entries)}};
      }
      workloads.push_back(std::move(workload));
    }
    Json mode = {{"mode", info_of(run.l0.mode).name},
                 {"vmcs_shadowing", run.l0.vmcs_shadowing && info_of(run.l0.mode).has_l0},
                 {"verdict", verdict_name(run.verdict)}};
    if (!run.reason.empty()) mode["reason"] = run.reason;
    if (run.line) {
      mode["first_line"] = {
          {"line", run.line->line}, {"reference", run.line->reference}, {"here", run.line->other}};
    }
    if (run.parting && run.parting->event) {
      const EventDifference& event = *run.parting->event;
      mode["first_event"] = {
          {"before", event.before}, {"reference", event.reference}, {"here", event.other}};
    }
    if (run.parting && !run.parting->stale.empty()) mode["stale_translation"] = run.parting->stale;
    if (run.line || run.parting) mode["compared_with"] = name_of(run.reference);
    if (run.result.kind == RunResult::Kind::kDebugExit) {
      mode["exit_status"] = run.result.code & 0xff;
    }
    mode["workloads"] = std::move(workloads);
    modes.push_back(std::move(mode));
  }
  const Json document = {
      {"image", comparison.image}, {"same", comparison.same()}, {"modes", std::move(modes)}};
  return document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace nestor::emu
