// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "emu/native/guest_memory.h"
#include "emu/native/layout.h"
#include "emu/native/virtual_machine.h"
#include "ept/access.h"
#include "ept/linear_walk.h"
#include "ept/paging_mode.h"
#include "ept/recorder.h"

namespace nestor::emu::native {

/// What is asked of both sides: how `linear` translates, or what comes of an access to it.
struct Question {
  ept::PagingState state;
  std::uint64_t linear = 0;
  std::optional<ept::Access> access{};  ///< Nothing: KVM_TRANSLATE.
};

/// Deviations that docs/divergences.md lists. Each is recognised by its circumstances, and counted.
enum class Divergence : std::uint8_t {
  kNone,
  kNonCanonicalTranslated,
  kPse36Width,
  kFetchFlagWithoutPae,
  kAccessedWhenFaulting,
  kRangeOfPvm,
  kGlobalBitOnAmd,
  kImplicitWithAcOnAmd,
  kPdpteOutsideMemory,
};
inline constexpr std::size_t kDivergences = 9;
[[nodiscard]] std::string_view describe(Divergence divergence);

enum class Verdict : std::uint8_t {
  kAgree,
  kDiffer,
  kNotAsked,  ///< The access would leave what the test controls; nothing was executed.
};

struct Answer {
  Verdict verdict = Verdict::kAgree;
  Divergence divergence = Divergence::kNone;  ///< With kAgree: agree but for this.
  std::string ours{};                         ///< With kDiffer: both answers in words.
  std::string kvms{};
  /// What KVM answered, if it was asked: the physical address that KVM_TRANSLATE found, or what the
  /// guest saw and the access outside memory.
  std::optional<std::uint64_t> translated{};
  std::optional<Observation> seen{};
  std::optional<Stop::Outside> outside{};
  /// What the walker found, and the steps it took, with the entries as they were before.
  ept::LinearWalk<ept::PhysicalAddress> walk{};
  bool canonical = true;
  ept::RecordSteps<5> steps{};
};

/// Asks a virtual machine and the walker the same questions.
class Comparison {
 public:
  Comparison(std::string device, std::uint8_t maxphyaddr, ept::PagingMode mode);

  [[nodiscard]] const Features& features() const { return machine_->features(); }
  [[nodiscard]] GuestMemory memory() const { return GuestMemory(machine_->memory()); }

  /// Gives the machine the state. To be called after each change of the memory from outside.
  /// `executes` tells whether accesses will be asked. Throws `Unavailable` if KVM refuses it.
  void load(const ept::PagingState& state, bool executes);
  /// Whether the processor makes the implicit supervisor access that code in the machine causes:
  /// one that is emulated in software may not. To be asked after `load` of that state.
  [[nodiscard]] bool makes_implicit_accesses(const ept::PagingState& state);
  /// The state must be the one loaded.
  [[nodiscard]] Answer ask(const Question& question);

 private:
  void restart();
  void copy_memory();
  [[nodiscard]] Answer ask_translation(const Question& question);
  [[nodiscard]] Answer ask_access(const Question& question);
  void judge_outcome(const Question& question, const Stop& stop, Answer& answer);
  void judge_flags(Answer& answer);

  std::string device_;
  std::uint8_t maxphyaddr_;
  ept::PagingMode mode_;
  std::unique_ptr<VirtualMachine> machine_;
  std::optional<bool> makes_implicit_accesses_;
  /// What the memory must hold: a copy on which the walker sets flags.
  std::vector<std::byte> expected_;
};

}  // namespace nestor::emu::native
