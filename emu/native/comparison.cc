// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/native/comparison.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "ept/bits.h"
#include "ept/pt32.h"
#include "vmx/msr_index.h"

namespace nestor::emu::native {
namespace {

using ept::Access;
using ept::PageFaultCode;
using ept::PagingMode;
using ept::PagingState;

/// IA32_PKRS.

/// Below 4 GBytes, where KVM may have devices and pages of its own.
bool is_device_space(std::uint64_t address) {
  return address >= 0xe000'0000 && address < ept::bit(32);
}

std::string words(const ept::LinearWalk<ept::PhysicalAddress>& walk, bool canonical) {
  if (!canonical) return "#GP(0), not canonical";
  switch (walk.outcome) {
    case ept::LinearOutcome::kTranslated:
      return fmt::format("physical address {:#x}", walk.address.value);
    case ept::LinearOutcome::kPageFault:
      return fmt::format("#PF, error code {:#x}", walk.error_code);
    case ept::LinearOutcome::kUnreachable:
      break;
  }
  return fmt::format("no memory at {:#x}", walk.entry_address.value);
}

/// The PDE that maps a 4-MByte page has address bits above bit 35: KVM knows four of the eight.
bool beyond_pse36(const Question& question, const Answer& answer) {
  if (question.state.mode != PagingMode::k32Bit || answer.steps.steps().empty()) return false;
  const std::uint64_t entry = answer.steps.steps().back().entry;
  return answer.steps.total() == 1 &&
         ept::Pt32::maps_page(entry, 2, ept::Pt32::Rules(question.state)) &&
         (entry & ept::bits(20, 17)) != 0;
}

/// AMD reserves bit 8 of entries above level 2 that reference tables; Intel ignores it.
bool has_global_bit_above(const Answer& answer) {
  return std::ranges::any_of(answer.steps.steps(), [](const ept::Step& step) {
    return step.level > 2 && (step.entry & ept::OrdinaryEntry::kGlobal) != 0 &&
           (step.entry & ept::OrdinaryEntry::kPageSize) == 0;
  });
}

/// SMAP alone forbids the access, and EFLAGS.AC is set, which is nothing to an implicit access.
/// KVM's shadow paging cannot tell one by the error code of the processor's #PF.
bool is_implicit_with_ac(const Question& question, const Answer& answer) {
  const PagingState& state = question.state;
  return question.access->implicit_supervisor && state.smap && state.ac &&
         answer.walk.outcome == ept::LinearOutcome::kPageFault &&
         answer.walk.error_code == PageFaultCode::kPresent;
}

/// Shadow paging makes roots of all four PDPTEs at once, whichever of them the access uses.
bool has_pdpte_outside(const PagingState& state) {
  return state.mode == PagingMode::kPae &&
         std::ranges::any_of(state.pdptes, [](std::uint64_t pdpte) {
           return (pdpte & ept::OrdinaryEntry::kPresent) != 0 &&
                  (pdpte & ept::bits(51, 12)) >= Layout::kMemorySize;
         });
}

/// PVM runs the guest on the host's own page tables, where this range is PVM's. What code at CPL 3
/// gets there is the host processor's own page fault, of a page that is absent.
bool in_range_of_pvm(const Question& question, const Observation& seen) {
  if (question.linear >> 39 != 0x1ff'ff00 || !question.access->user) return false;
  const bool write = question.access->kind == Access::kWrite;
  return seen.vector == Observation::kPageFault && seen.cr2 == question.linear &&
         (seen.error_code & ~PageFaultCode::kFetch) ==
             (PageFaultCode::kUser | (write ? PageFaultCode::kWrite : 0));
}

}  // namespace

std::string_view describe(Divergence divergence) {
  switch (divergence) {
    case Divergence::kNonCanonicalTranslated:
      return "KVM_TRANSLATE translated an address that is not canonical";
    case Divergence::kPse36Width:
      return "PSE-36 address bits above bit 35 were taken as reserved";
    case Divergence::kFetchFlagWithoutPae:
      return "#PF reported a fetch in 32-bit paging because of IA32_EFER.NXE";
    case Divergence::kAccessedWhenFaulting:
      return "a faulting walk left accessed flags otherwise";
    case Divergence::kRangeOfPvm:
      return "PVM kept the lowest 512 GBytes of the upper half from CPL 3";
    case Divergence::kGlobalBitOnAmd:
      return "bit 8 of an entry above level 2 that references a table was taken as reserved (AMD)";
    case Divergence::kImplicitWithAcOnAmd:
      return "EFLAGS.AC exempted an implicit supervisor access from SMAP, or the guest did not get "
             "on "
             "(AMD)";
    case Divergence::kPdpteOutsideMemory:
      return "shadow paging shut the machine down, as a PDPTE references no memory";
    case Divergence::kNone:
      break;
  }
  return "none";
}

Comparison::Comparison(std::string device, std::uint8_t maxphyaddr, PagingMode mode)
    : device_(std::move(device)), maxphyaddr_(maxphyaddr), mode_(mode) {
  restart();
}

void Comparison::restart() {
  const auto old = std::exchange(
      machine_, std::make_unique<VirtualMachine>(device_, Layout::kMemorySize, maxphyaddr_));
  if (old) {
    // A new machine with the old one's memory.
    std::ranges::copy(old->memory(), machine_->memory().begin());
    return;
  }
  GuestMemory memory(machine_->memory());
  write_scaffold(memory, mode_);
  expected_.assign(machine_->memory().begin(), machine_->memory().end());
}

void Comparison::copy_memory() {
  std::ranges::copy(machine_->memory().first(Layout::kData), expected_.begin());
}

void Comparison::load(const PagingState& state, bool executes) {
  set_paging(*machine_, state);
  if (executes) machine_->forget_translations();
  machine_->load_registers();
  if (state.pks) machine_->set_msr(vmx::kIa32Pkrs, state.pkrs);
  if (state.pke) {
    set_pkru_load(*machine_, state);
    const Stop stop = machine_->run();
    if (!stop.failure.empty()) throw Failure(fmt::format("PKRU was not loaded: {}", stop.failure));
  }
  copy_memory();
}

bool Comparison::makes_implicit_accesses(const PagingState& state) {
  if (makes_implicit_accesses_) return *makes_implicit_accesses_;
  // A page of the scaffold that is never mapped.
  const std::uint64_t absent = shape_of(state.mode).scaffold_base + Layout::kTables;
  makes_implicit_accesses_ = true;
  for (const bool user : {false, true}) {
    const Access access{Access::kRead, user, true};
    set_access(*machine_, state, absent, access, 0);
    const Stop stop = machine_->run();
    if (!stop.failure.empty()) {
      restart();
      load(state, true);
      makes_implicit_accesses_ = false;
      break;
    }
    const Observation seen = observe(*machine_, state);
    *makes_implicit_accesses_ = *makes_implicit_accesses_ &&
                                seen.vector == Observation::kPageFault && seen.cr2 == absent &&
                                seen.saved_pointer == access_code(state, access);
  }
  return *makes_implicit_accesses_;
}

Answer Comparison::ask(const Question& question) {
  return question.access ? ask_access(question) : ask_translation(question);
}

Answer Comparison::ask_translation(const Question& question) {
  Answer answer;
  GuestMemory memory(expected_);
  answer.canonical = is_canonical(question.state.mode, question.linear);
  answer.walk = ept::walk_linear<ept::ProbeOnly>(memory, question.state, {question.linear},
                                                 {Access::kRead}, answer.steps);
  const auto kvms = answer.translated = machine_->translate(question.linear);
  const bool translated = answer.walk.translated();
  // KVM_TRANSLATE is a walk as for an access: it sets accessed flags, if it finds a page.
  if (kvms && translated) {
    for (const ept::Step& step : answer.steps.steps()) {
      expected_[step.address] |= std::byte{ept::OrdinaryEntry::Flags::kAccessed};
    }
  }
  const bool same = translated == kvms.has_value() && (!kvms || *kvms == answer.walk.address.value);
  if (!answer.canonical && kvms) {
    answer.divergence = Divergence::kNonCanonicalTranslated;
  } else if (!same && beyond_pse36(question, answer)) {
    answer.divergence = Divergence::kPse36Width;
  } else if (!same && features().amd && has_global_bit_above(answer)) {
    answer.divergence = Divergence::kGlobalBitOnAmd;
  } else if (!same) {
    answer.verdict = Verdict::kDiffer;
    answer.ours = words(answer.walk, answer.canonical);
    answer.kvms = kvms ? fmt::format("physical address {:#x}", *kvms) : "no translation";
  }
  judge_flags(answer);
  return answer;
}

Answer Comparison::ask_access(const Question& question) {
  Answer answer;
  const Access access = *question.access;
  GuestMemory memory(expected_);
  answer.canonical = is_canonical(question.state.mode, question.linear);
  const auto probe = ept::walk_linear<ept::ProbeOnly>(memory, question.state, {question.linear},
                                                      access, answer.steps);
  answer.walk = probe;
  answer.verdict = Verdict::kNotAsked;
  if (is_scaffold(question.state.mode, question.linear)) return answer;
  const std::uint64_t target = probe.address.value;
  if (answer.canonical && !probe.translated() && probe.outcome != ept::LinearOutcome::kPageFault) {
    return answer;
  }
  if (answer.canonical && probe.translated()) {
    const bool backed = target < Layout::kMemorySize;
    // What a fetch finds must be HLT; what a write hits must not be the scaffold.
    if (is_device_space(target) || (access.kind == Access::kFetch && !backed)) return answer;
    if (access.kind == Access::kFetch && target < Layout::kData) return answer;
    if (access.kind == Access::kWrite && target < Layout::kTables) return answer;
    // KVM's instruction emulator would have to read the descriptor there.
    if (access.implicit_supervisor && !backed) return answer;
  }
  if (access.implicit_supervisor && !answer.canonical) return answer;  // No LDT can lie there.
  // There the guest does not get on: KVM's shadow paging takes the access for an allowed one, and
  // the processor faults again.
  if (features().shadow_paging && !features().amd && is_implicit_with_ac(question, answer)) {
    return answer;
  }
  answer.verdict = Verdict::kAgree;
  std::uint32_t value = 0x0101'0101U * kHalt;
  if (answer.canonical) {
    answer.steps.clear();
    answer.walk = ept::walk_linear<ept::UpdateFlags>(memory, question.state, {question.linear},
                                                     access, answer.steps);
    // A write leaves what is there: in a table that is the entry, with its flags just set.
    if (answer.walk.translated() && target < Layout::kData) (void)memory.read32({target}, value);
  }
  set_access(*machine_, question.state, question.linear, access, value);
  const Stop stop = machine_->run();
  judge_outcome(question, stop, answer);
  judge_flags(answer);
  if (!stop.failure.empty()) {
    // The processor may be anywhere now.
    restart();
    load(question.state, true);
  }
  return answer;
}

void Comparison::judge_outcome(const Question& question, const Stop& stop, Answer& answer) {
  const Access access = *question.access;
  const bool translated = answer.canonical && answer.walk.translated();
  const bool outside = translated && answer.walk.address.value >= Layout::kMemorySize;
  const std::uint64_t code = access_code(question.state, access);
  const std::uint64_t width =
      shape_of(question.state.mode).linear_bits == 32 ? ept::low_bits(32) : ~std::uint64_t{0};
  Observation wanted;
  wanted.cr2 = shape_of(question.state.mode).scaffold_base;
  if (translated) {
    wanted.vector = access.user ? Observation::kGeneralProtection : Observation::kHalted;
    wanted.saved_pointer =
        access.kind == Access::kFetch ? question.linear : code + access_length(access);
  } else if (answer.canonical) {
    wanted.vector = Observation::kPageFault;
    wanted.error_code = answer.walk.error_code;
    wanted.cr2 = question.linear;
    wanted.saved_pointer = access.kind == Access::kFetch ? question.linear : code;
  } else {
    wanted.vector = Observation::kGeneralProtection;
    wanted.saved_pointer = code;
  }
  wanted.saved_pointer &= width;
  const auto say = [&](const Observation& seen, const std::optional<Stop::Outside>& beyond) {
    const std::string end =
        seen.vector == Observation::kHalted ? "halted" : fmt::format("vector {}", seen.vector);
    return fmt::format("{}, error code {:#x}, CR2 {:#x}, RIP {:#x}{}", end, seen.error_code,
                       seen.cr2, seen.saved_pointer,
                       beyond ? fmt::format(", {} at {:#x} outside memory",
                                            beyond->write ? "write" : "read", beyond->address)
                              : "");
  };
  std::optional<Stop::Outside> wanted_outside;
  if (outside) wanted_outside = {answer.walk.address.value, access.kind == Access::kWrite};
  if (features().amd && is_implicit_with_ac(question, answer)) {
    const bool faulted = stop.failure.empty() && observe(*machine_, question.state) == wanted;
    if (!faulted) answer.divergence = Divergence::kImplicitWithAcOnAmd;
    return;
  }
  if (features().shadow_paging && stop.shut_down && has_pdpte_outside(question.state)) {
    answer.divergence = Divergence::kPdpteOutsideMemory;
    return;
  }
  if (!stop.failure.empty()) {
    answer.verdict = Verdict::kDiffer;
    answer.ours = say(wanted, wanted_outside);
    answer.kvms = stop.failure;
    return;
  }
  Observation seen = observe(*machine_, question.state);
  answer.seen = seen;
  answer.outside = stop.outside;
  // No walk is made for a jump to an address that is not canonical. It faults at the jump, or, on
  // AMD and in emulators, at its target.
  if (!answer.canonical && access.kind == Access::kFetch && seen.saved_pointer == question.linear) {
    seen.saved_pointer = code;
  }
  const bool same_outside = outside == stop.outside.has_value() &&
                            (!outside || (wanted_outside->address == stop.outside->address &&
                                          wanted_outside->write == stop.outside->write));
  if (seen == wanted && same_outside) return;
  Observation with_fetch = wanted;
  with_fetch.error_code |= PageFaultCode::kFetch;
  if (question.state.mode == PagingMode::k32Bit && question.state.nxe &&
      access.kind == Access::kFetch && seen == with_fetch) {
    answer.divergence = Divergence::kFetchFlagWithoutPae;
  } else if (beyond_pse36(question, answer)) {
    answer.divergence = Divergence::kPse36Width;
  } else if (features().amd && has_global_bit_above(answer)) {
    answer.divergence = Divergence::kGlobalBitOnAmd;
  } else if (features().pvm && in_range_of_pvm(question, seen)) {
    answer.divergence = Divergence::kRangeOfPvm;
  } else {
    answer.verdict = Verdict::kDiffer;
    answer.ours = say(wanted, wanted_outside);
    answer.kvms = say(seen, stop.outside);
  }
}

void Comparison::judge_flags(Answer& answer) {
  const auto live = machine_->memory();
  const auto same = [&](std::uint64_t from, std::uint64_t to) {
    return std::memcmp(live.data() + from, expected_.data() + from, to - from) == 0;
  };
  if (same(Layout::kScaffoldTables, Layout::kData)) return;
  const bool agreed = answer.verdict == Verdict::kAgree;
  // "Accessed and Dirty Flags" leaves open whether a walk that faults has set accessed flags. Where
  // KVM faults and the walker does not, KVM sets none.
  using Flags = ept::OrdinaryEntry::Flags;
  const bool diverged = answer.divergence != Divergence::kNone;
  const std::byte optional{
      static_cast<unsigned char>(Flags::kAccessed | (diverged ? Flags::kDirty : 0))};
  bool only_optional = !answer.walk.translated() || diverged;
  const auto is_used = [&](std::uint64_t at) {
    return std::ranges::any_of(answer.steps.steps(),
                               [&](const ept::Step& step) { return step.address == at; });
  };
  std::string first;
  for (std::uint64_t at = Layout::kScaffoldTables; at != Layout::kData; ++at) {
    if (live[at] == expected_[at]) continue;
    const auto cleared = expected_[at] & ~live[at];
    const auto added = live[at] & ~expected_[at];
    only_optional =
        only_optional && (cleared & ~optional) == std::byte{0} &&
        (added == std::byte{0} || (added == std::byte{Flags::kAccessed} && is_used(at)));
    if (first.empty()) {
      first = fmt::format("byte at {:#x}: {:#04x}, not {:#04x}", at,
                          std::to_integer<unsigned>(live[at]),
                          std::to_integer<unsigned>(expected_[at]));
    }
  }
  copy_memory();
  if (!agreed) return;
  if (only_optional) {
    if (!diverged) answer.divergence = Divergence::kAccessedWhenFaulting;
    return;
  }
  answer.verdict = Verdict::kDiffer;
  answer.ours = "the tables as the walk leaves them";
  answer.kvms = first;
}

}  // namespace nestor::emu::native
