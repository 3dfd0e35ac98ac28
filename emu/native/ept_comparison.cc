// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/native/ept_comparison.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "ept/bits.h"
#include "ept/ept_format.h"
#include "ept/ordinary_entry.h"
#include "vmx/exceptions.h"
#include "vmx/exit_reasons.h"

namespace nestor::emu::native {
namespace {

using ept::Access;
using ept::NestedOutcome;
using vmx::ExitReason;

/// What the walks of L2 and of EPT may read or change.
struct Range {
  std::uint64_t begin, end;
};
constexpr std::array<Range, 2> kTablesInMemory{{
    {NestedLayout::kGuestTables, NestedLayout::kData},
    {NestedLayout::kPagingData, NestedLayout::kMemorySize},
}};

/// After each question the entries of its walks are compared, after so many all that there are.
constexpr unsigned kQuestionsPerComparison = 32;

std::string words(const NestedExit& exit) {
  const auto basic = static_cast<ExitReason>(exit.reason);
  std::string text(vmx::exit_reason_name(exit.reason));
  if (basic == ExitReason::kEptViolation) {
    text += fmt::format(", qualification {:#x}", exit.qualification);
  }
  if (basic == ExitReason::kEptViolation || basic == ExitReason::kEptMisconfiguration) {
    text += fmt::format(", guest-physical address {:#x}", exit.guest_physical);
  }
  if (basic == ExitReason::kEptViolation) {
    text += fmt::format(", guest-linear address {:#x}", exit.guest_linear);
  }
  if (basic == ExitReason::kExceptionOrNmi) {
    text += fmt::format(", interruption information {:#x}, error code {:#x}, qualification {:#x}",
                        exit.interruption_information, exit.error_code, exit.qualification);
  }
  return text + fmt::format(", RIP {:#x}", exit.rip);
}

std::string words(const std::optional<Stop::Outside>& outside) {
  return outside ? fmt::format(", {} at {:#x} outside memory", outside->write ? "write" : "read",
                               outside->address)
                 : "";
}

/// The VM exit that the walk leads to.
NestedExit wanted_exit(const EptQuestion& question,
                       const ept::NestedWalk<ept::PhysicalAddress>& walk) {
  const Access access = *question.access;
  const std::uint64_t code = nested_code(access);
  const std::uint64_t here = access.kind == Access::kFetch ? question.linear : code;
  NestedExit exit;
  exit.rip = here;
  switch (walk.outcome) {
    case NestedOutcome::kTranslated:
      exit.reason = static_cast<std::uint32_t>(ExitReason::kVmcall);
      if (access.kind != Access::kFetch) exit.rip = code + kNestedAccessLength;
      break;
    case NestedOutcome::kPageFault: {
      constexpr std::uint32_t kHardwareExceptionWithCode = 0x8000'0b00;
      exit.reason = static_cast<std::uint32_t>(ExitReason::kExceptionOrNmi);
      exit.interruption_information = kHardwareExceptionWithCode | vmx::kPf;
      exit.error_code = walk.error_code;
      exit.qualification = question.linear;
      break;
    }
    case NestedOutcome::kEptViolation:
      exit.reason = static_cast<std::uint32_t>(ExitReason::kEptViolation);
      exit.qualification = walk.exit_qualification;
      exit.guest_physical = walk.guest_physical.value;
      exit.guest_linear = question.linear;
      break;
    case NestedOutcome::kEptMisconfiguration:
      exit.reason = static_cast<std::uint32_t>(ExitReason::kEptMisconfiguration);
      exit.guest_physical = walk.guest_physical.value;
      break;
    case NestedOutcome::kUnreachable:
    case NestedOutcome::kSubPageEvent:
      break;
  }
  return exit;
}

/// What of the exit information the VM exit defines.
NestedExit defined(NestedExit exit) {
  const auto basic = static_cast<ExitReason>(exit.reason);
  const bool violation = basic == ExitReason::kEptViolation;
  const bool exception = basic == ExitReason::kExceptionOrNmi;
  if (!violation && !exception) exit.qualification = 0;
  if (!violation && basic != ExitReason::kEptMisconfiguration) exit.guest_physical = 0;
  if (!violation) exit.guest_linear = 0;
  if (!exception) exit.interruption_information = exit.error_code = 0;
  return exit;
}

bool is_guest_entry_under_test(const ept::Step& step) {
  return step.dimension == ept::Dimension::kGuest &&
         (step.machine_address < NestedLayout::kGuestTables ||
          step.machine_address >= NestedLayout::kScaffoldTables);
}

}  // namespace

std::string_view describe(EptDivergence divergence) {
  switch (divergence) {
    case EptDivergence::kFlagsWhenFaulting:
      return "a walk that ends in a fault or VM exit left accessed flags otherwise";
    case EptDivergence::kPagingWriteWithoutFlags:
      return "KVM_TRANSLATE asked for write access to L2's paging structures although EPT has no "
             "accessed and dirty flags";
    case EptDivergence::kNone:
      break;
  }
  return "none";
}

EptComparison::EptComparison(std::string device) : device_(std::move(device)) { restart(); }

void EptComparison::restart() {
  const auto old = std::exchange(
      machine_, std::make_unique<VirtualMachine>(device_, NestedLayout::kMemorySize, 0));
  GuestMemory memory(machine_->memory());
  if (old) {
    std::ranges::copy(old->memory(), machine_->memory().begin());
  } else {
    write_nested_scaffold(memory, machine_->features().maxphyaddr);
  }
  guest_ = std::make_unique<NestedGuest>(*machine_);
  in_guest_ = false;
  expected_.assign(machine_->memory().begin(), machine_->memory().end());
}

void EptComparison::copy_memory() {
  for (const Range& range : kTablesInMemory) {
    const auto live = machine_->memory().subspan(range.begin, range.end - range.begin);
    std::ranges::copy(live, expected_.begin() + static_cast<std::ptrdiff_t>(range.begin));
  }
}

void EptComparison::load(const EptQuestion& about, bool execute) {
  if (std::exchange(in_guest_, false)) {
    if (const Stop stop = guest_->leave(); !stop.failure.empty()) restart();
  }
  machine_->forget_translations();
  guest_->load(about.ept, about.wp, about.user);
  if (!execute) {
    const Stop stop = guest_->enter({});
    if (!stop.failure.empty()) throw Failure("L2 does not halt: " + stop.failure);
    in_guest_ = true;
  }
  copy_memory();
}

EptAnswer EptComparison::ask(const EptQuestion& question) {
  EptAnswer answer;
  GuestMemory expected(expected_), live = memory();
  write_path(expected, question.linear, question.path);
  write_path(live, question.linear, question.path);
  answer.verdict = Verdict::kNotAsked;
  const ept::PagingState paging = guest_paging(question.ept.maxphyaddr, question.wp);
  const Access access = question.access.value_or(Access{Access::kRead, false, false});
  answer.walk = ept::walk_nested<ept::ProbeOnly>(expected, paging, question.ept, {question.linear},
                                                 access, answer.steps);
  if (answer.walk.outcome == NestedOutcome::kUnreachable) return answer;
  // The flags of L2's entries must not change an EPT entry while it is in use.
  for (const ept::Step& step : answer.steps.steps()) {
    if (is_guest_entry_under_test(step) && step.machine_address < NestedLayout::kData)
      return answer;
  }
  if (question.access) {
    ask_access(question, answer);
  } else {
    ask_translation(question, answer);
  }
  if (answer.verdict != Verdict::kNotAsked) judge_flags(answer);
  return answer;
}

void EptComparison::ask_translation(const EptQuestion& question, EptAnswer& answer) {
  answer.verdict = Verdict::kAgree;
  const auto kvms = machine_->translate(question.linear);
  // Also where there is no translation: walks of EPT that came to their end have set flags.
  GuestMemory expected(expected_);
  answer.steps.clear();
  answer.walk =
      ept::walk_nested(expected, guest_paging(question.ept.maxphyaddr, question.wp), question.ept,
                       {question.linear}, Access{Access::kRead, false, false}, answer.steps);
  const bool translated = answer.walk.translated();
  const bool same = translated == kvms.has_value() && (!kvms || *kvms == answer.walk.address.value);
  if (same) return;
  if (translated && !kvms && !question.ept.eptp.accessed_dirty() && question.path.table) {
    answer.divergence = EptDivergence::kPagingWriteWithoutFlags;
    return;
  }
  answer.verdict = Verdict::kDiffer;
  answer.ours = translated ? fmt::format("physical address {:#x}", answer.walk.address.value)
                           : words(defined(wanted_exit({question.ept, question.wp, question.user,
                                                        question.path, question.linear, Access{}},
                                                       answer.walk)));
  answer.kvms = kvms ? fmt::format("physical address {:#x}", *kvms) : "no translation";
}

void EptComparison::ask_access(const EptQuestion& question, EptAnswer& answer) {
  const Access access = *question.access;
  const std::uint64_t target = answer.walk.address.value;
  if (answer.walk.translated()) {
    const bool backed = target < NestedLayout::kMemorySize;
    const bool in_data = target >= NestedLayout::kData && target < NestedLayout::kPagingData;
    // What a fetch finds must be VMCALL; what a write hits must be neither L1 nor the scaffold.
    if (access.kind == Access::kFetch && !in_data) return;
    if (access.kind == Access::kWrite && target < NestedLayout::kTables) return;
    if (!backed && target >> 32 == 0) return;
  }
  answer.verdict = Verdict::kAgree;
  GuestMemory expected(expected_);
  answer.steps.clear();
  answer.walk = ept::walk_nested(expected, guest_paging(question.ept.maxphyaddr, question.wp),
                                 question.ept, {question.linear}, access, answer.steps);
  // A write leaves what is there: in a table that is the entry, with its flags just set.
  std::uint32_t value = kVmcallWord;
  if (answer.walk.translated()) (void)expected.read32({target}, value);
  const Stop stop = guest_->enter({access, question.linear, value});
  judge_exit(question, stop, answer);
}

void EptComparison::judge_exit(const EptQuestion& question, const Stop& stop, EptAnswer& answer) {
  const NestedExit wanted = wanted_exit(question, answer.walk);
  std::optional<Stop::Outside> outside;
  if (answer.walk.translated() && answer.walk.address.value >= NestedLayout::kMemorySize) {
    outside = {answer.walk.address.value, question.access->kind == Access::kWrite};
  }
  if (stop.failure.empty()) {
    const NestedExit seen = defined(guest_->exit());
    if (seen == wanted && stop.outside == outside) return;
    answer.kvms = words(seen) + words(stop.outside);
  } else {
    answer.kvms = stop.failure;
    restart();
    guest_->load(question.ept, question.wp, question.user);
  }
  answer.verdict = Verdict::kDiffer;
  answer.ours = words(wanted) + words(outside);
}

void EptComparison::judge_flags(EptAnswer& answer) {
  const auto live = machine_->memory();
  // KVM sets the flags of an EPT walk once all of it is found to allow the access.
  bool only_optional = !answer.walk.translated();
  std::string first;
  const auto compare = [&](std::uint64_t at) {
    if (live[at] == expected_[at]) return;
    // Byte 0 has the flags of L2's entries, byte 1 those of EPT.
    const auto optional = at % 8 == 0   ? std::byte{ept::OrdinaryEntry::Flags::kAccessed}
                          : at % 8 == 1 ? std::byte{ept::EptFlags::kAccessed >> 8}
                                        : std::byte{0};
    only_optional = only_optional && ((live[at] ^ expected_[at]) & ~optional) == std::byte{0};
    if (!first.empty()) return;
    first =
        fmt::format("byte at {:#x}: {:#04x}, not {:#04x}", at, std::to_integer<unsigned>(live[at]),
                    std::to_integer<unsigned>(expected_[at]));
  };
  for (const ept::Step& step : answer.steps.steps()) {
    for (std::uint64_t at = step.machine_address; at != step.machine_address + 8; ++at) {
      compare(at);
    }
  }
  if (!first.empty()) {
    // What the walks of this answer left otherwise stays so.
    for (const ept::Step& step : answer.steps.steps()) {
      std::copy_n(live.begin() + static_cast<std::ptrdiff_t>(step.machine_address), 8,
                  expected_.begin() + static_cast<std::ptrdiff_t>(step.machine_address));
    }
  } else if (++questions_ % kQuestionsPerComparison == 0) {
    only_optional = false;
    for (const Range& range : kTablesInMemory) {
      if (std::memcmp(live.data() + range.begin, expected_.data() + range.begin,
                      range.end - range.begin) == 0) {
        continue;
      }
      for (std::uint64_t at = range.begin; at != range.end; ++at) compare(at);
    }
  }
  if (first.empty() || answer.verdict != Verdict::kAgree) return;
  if (only_optional || answer.divergence == EptDivergence::kPagingWriteWithoutFlags) {
    if (answer.divergence == EptDivergence::kNone) {
      answer.divergence = EptDivergence::kFlagsWhenFaulting;
    }
    return;
  }
  answer.verdict = Verdict::kDiffer;
  answer.ours = "the tables as the walk leaves them";
  answer.kvms = first;
}

}  // namespace nestor::emu::native
