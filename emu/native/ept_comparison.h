// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "emu/native/comparison.h"
#include "emu/native/ept_generator.h"
#include "emu/native/guest_memory.h"
#include "emu/native/nested_layout.h"
#include "emu/native/virtual_machine.h"
#include "ept/nested_walk.h"
#include "ept/recorder.h"

namespace nestor::emu::native {

/// Deviations that docs/divergences.md lists, as `Divergence`.
enum class EptDivergence : std::uint8_t {
  kNone,
  kFlagsWhenFaulting,
  kPagingWriteWithoutFlags,
};
inline constexpr std::size_t kEptDivergences = 3;
[[nodiscard]] std::string_view describe(EptDivergence divergence);

struct EptAnswer {
  Verdict verdict = Verdict::kAgree;
  EptDivergence divergence = EptDivergence::kNone;  ///< With kAgree: agree but for this.
  std::string ours{};                               ///< With kDiffer: both answers in words.
  std::string kvms{};
  /// What the walker found, and the steps it took, with the entries as they were before.
  ept::NestedWalk<ept::PhysicalAddress> walk{};
  ept::RecordSteps<ept::kLongestNestedWalk> steps{};
};

/// Asks the nested EPT of a virtual machine and the walker the same questions.
class EptComparison {
 public:
  explicit EptComparison(std::string device);

  [[nodiscard]] const Features& features() const { return machine_->features(); }
  [[nodiscard]] std::uint64_t ept_capabilities() const { return guest_->ept_capabilities(); }
  [[nodiscard]] GuestMemory memory() const { return GuestMemory(machine_->memory()); }

  /// To be called after each change of the tables: gives L1 the state that `about` has. If
  /// `execute` is false, L2 halts, and KVM_TRANSLATE answers.
  void load(const EptQuestion& about, bool execute);
  /// The state must be the one loaded.
  [[nodiscard]] EptAnswer ask(const EptQuestion& question);

 private:
  void restart();
  void copy_memory();
  void ask_translation(const EptQuestion& question, EptAnswer& answer);
  void ask_access(const EptQuestion& question, EptAnswer& answer);
  void judge_exit(const EptQuestion& question, const Stop& stop, EptAnswer& answer);
  void judge_flags(EptAnswer& answer);

  std::string device_;
  std::unique_ptr<VirtualMachine> machine_;
  std::unique_ptr<NestedGuest> guest_;
  bool in_guest_ = false;  // L2 is halted
  unsigned questions_ = 0;
  /// What the memory must hold: a copy on which the walker sets flags.
  std::vector<std::byte> expected_;
};

}  // namespace nestor::emu::native
