// SPDX-License-Identifier: GPL-2.0-or-later
//
// One image in every way of virtualizing L2's memory: the same results, at which price?
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "emu/l0/counters.h"
#include "emu/l0/mode.h"
#include "emu/loaders/image.h"
#include "emu/machine/machine.h"
#include "emu/observe/compare/first_difference.h"

namespace nestor::emu {

// What a part of a run took.
struct WorkloadCost {
  uint64_t cycles = 0;
  uint64_t l1_exits = 0;     // VM exits that L1 got
  uint64_t cpuid_exits = 0;  // VM exits of L2 to L0 by CPUID
  L0Counters l0;             // without `exits`

  WorkloadCost& operator+=(const WorkloadCost& other);
};

// The whole run has the number that no workload has.
inline constexpr uint8_t kWholeRun = 0;

struct ModeRun {
  enum class Verdict {
    kSame,       // as in the first mode in which the image can run
    kDiffers,    // in its serial output or in how it ended
    kCannotRun,  // the image says that it lacks a feature, or nestor that the mode lacks one
  };

  L0Config l0{};
  RunResult result;
  std::string serial;
  std::map<uint8_t, WorkloadCost> costs;  // by the number of the workload

  Verdict verdict = Verdict::kSame;
  std::string reason;  // one line, unless kSame

  // kDiffers, where there is a run to compare with: where the two part.
  L0Config reference{};
  std::optional<LineDifference> line;  // of the serial output
  std::optional<Parting> parting;      // if both modes offer the same
};

struct MmuComparison {
  std::string image;
  std::vector<ModeRun> runs;

  bool same() const;
};

// Runs the image once in each mode and, where it marks a workload of CPUID exits, in each mode that
// has an L0 without VMCS shadowing too. Where the results differ, it is run again to find out where
// that began. `machine` says all but the mode. Throws RamError when the memory cannot be had.
std::variant<MmuComparison, HostError, LoadError> compare_mmu_modes(
    const ImageFile& image, const std::vector<Module>& modules, const std::string& append,
    const MachineConfig& machine, const MachineFactory& create);

// Sets verdict and reason of every run.
void judge(std::vector<ModeRun>& runs);

std::string to_text(const MmuComparison& comparison);
// Described in docs/mmu-modes.md.
std::string to_json(const MmuComparison& comparison);

}  // namespace nestor::emu
