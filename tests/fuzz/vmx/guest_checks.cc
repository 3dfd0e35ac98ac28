// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/vmx/guest_checks.h"

#include <cstring>
#include <optional>

#include "vmx/cpu_state.h"
#include "vmx/exit_reasons.h"

namespace nestor::fuzz {
namespace {

using vmx::ExitReason;
using vmx::Field;

constexpr uint32_t kValid = 1u << 31;

struct Checks {
  const Case& change;
  const vmx::Vmcs entry;  // as the case begins
  const vmx::VmExitEvent& event;
  const bool first;
  const vmx::CpuState& state;
  std::span<const uint8_t> arena;
  const Doubt& doubt;

  void expect(bool holds, std::string_view what, uint64_t value, uint64_t other = 0) const {
    if (!holds) doubt(what, value, other);
  }
  ExitReason reason() const { return vmx::basic_reason(event.reason); }
  uint64_t linear_rip() const {
    if (state.code_64bit()) return state.rip;
    return (state.segment[vmx::kCs].base + state.rip) & 0xffffffff;
  }
  bool is_event(uint32_t type, uint32_t vector) const {
    return reason() == ExitReason::kExceptionOrNmi &&
           (event.interruption_information & 0x7ff) == (type << 8 | vector);
  }
  // The VM exit comes of the instruction at RIP: it was begun.
  bool began_instruction() const {
    if ((event.idt_vectoring_information & kValid) != 0) return false;
    const vmx::ExitReasonInfo* info = vmx::find_exit_reason(event.reason & 0xffff);
    if (reason() == ExitReason::kExceptionOrNmi) {
      const uint32_t type = event.interruption_information >> 8 & 7;
      const uint32_t vector = event.interruption_information & 0xff;
      // #DF comes of the delivery of another one.
      return type == 6 || (type == 3 && vector != vmx::kDb && vector != vmx::kDf);
    }
    return reason() == ExitReason::kEptViolation ||
           (info->defines & vmx::kDefinesLength && reason() != ExitReason::kApicWrite);
  }
  // Paging and EPT are those of the case.
  bool identity() const {
    return change.expectation.identity && state.cr3 == entry[Field::kGuestCr3] &&
           (*event.data)[Field::kEptPointer] == entry[Field::kEptPointer];
  }
  uint64_t word(uint64_t physical) const {
    uint64_t value = 0;
    std::memcpy(&value, arena.data() + (physical - kArena), sizeof value);
    return value;
  }

  // L2 has written over the code at RIP.
  bool is_rewritten() const {
    for (const Patch& patch : change.memory) {
      const uint64_t offset = linear_rip() - patch.address;
      if (offset >= patch.bytes.size()) continue;
      return !std::equal(patch.bytes.begin() + static_cast<ptrdiff_t>(offset), patch.bytes.end(),
                         arena.begin() + static_cast<ptrdiff_t>(linear_rip() - kArena));
    }
    return false;
  }

  void accessed_flags() const;
  void secrets() const;
  void accesses() const;
  void breakpoints() const;
  void nmis() const;
};

// A segment that L2 has loaded is that of its descriptor, which is then accessed.
void Checks::accessed_flags() const {
  if (!change.expectation.descriptors || !identity() || !state.protected_mode() ||
      state.virtual_8086())
    return;
  for (uint8_t i = vmx::kEs; i <= vmx::kGs; ++i) {
    const vmx::Segment& segment = state.segment[i];
    if (segment.rights.unusable() || segment.selector < 4) continue;
    expect(segment.rights.type() & 1, "a segment register that is not accessed", i,
           segment.selector);
    if (segment.selector == entry[vmx::guest_selector(i)]) continue;
    const bool local = segment.selector & 4;
    const uint64_t table = local ? state.segment[vmx::kLdtr].base : state.gdtr.base;
    const uint64_t place = table + (segment.selector & ~7u);
    if (place < kArena || place > kArenaEnd - 8) continue;
    const uint64_t descriptor = word(place);
    const uint64_t base = (descriptor >> 16 & 0xffffff) | (descriptor >> 56) << 24;
    // Not that descriptor any more.
    if (base != segment.base || ((descriptor >> 40 ^ segment.rights.value) & 0xfe) != 0) continue;
    expect(descriptor >> 40 & 1, "a descriptor that is not accessed", i, segment.selector);
  }
}

// At CPL 3 nothing of a supervisor page gets into a register.
void Checks::secrets() const {
  if (!change.expectation.secret || state.cpl() != 3 || !identity()) return;
  for (const uint64_t value : state.gpr)
    expect(static_cast<uint32_t>(value) != kSecretWord, "a supervisor page was read", value);
}

// Who makes an access, and what for.
void Checks::accesses() const {
  if ((event.idt_vectoring_information & kValid) != 0) return;
  const auto found = change.expectation.accesses.find(linear_rip());
  if (found == change.expectation.accesses.end() || is_rewritten()) return;
  const AccessKind kind = found->second;
  if (is_event(3, vmx::kPf)) {
    if (event.qualification / kPage == linear_rip() / kPage) return;  // of the instruction itself
    constexpr uint32_t kWrite = 2, kUser = 4;
    const uint32_t error = event.interruption_error_code;
    const bool user = state.cpl() == 3 && kind != AccessKind::kDescriptors;
    expect(((error & kUser) != 0) == user, "U/S of a page fault", error, linear_rip());
    if (kind != AccessKind::kDescriptors)
      expect(((error & kWrite) != 0) == (kind == AccessKind::kWrites), "W of a page fault", error,
             linear_rip());
  }
  if (reason() == ExitReason::kEptViolation) {
    const uint64_t q = event.qualification;
    constexpr uint64_t kWrite = 2, kFetch = 4, kFinal = 0x180;
    if ((q & kFinal) != kFinal || (q & kFetch) != 0) return;
    if (kind != AccessKind::kDescriptors)
      expect(((q & kWrite) != 0) == (kind == AccessKind::kWrites), "the access of an EPT violation",
             q, linear_rip());
  }
}

void Checks::breakpoints() const {
  const auto enabled = [&](unsigned n) { return (state.dr7 >> (2 * n) & 3) != 0; };
  const auto is_execution = [&](unsigned n) { return (state.dr7 >> (16 + 4 * n) & 3) == 0; };
  const auto is_here = [&](unsigned n) {
    const uint64_t mask = state.long_mode_active() ? ~0ull : 0xffffffff;
    return ((state.dr[n] ^ linear_rip()) & mask) == 0;
  };
  if (is_event(3, vmx::kDb)) {
    for (unsigned n = 0; n < 4; ++n) {
      if (!(event.qualification >> n & 1) || entry[Field::kGuestPendingDebugExceptions] >> n & 1)
        continue;
      expect(enabled(n), "a breakpoint that is not enabled", event.qualification, state.dr7);
      if (is_execution(n))
        expect(is_here(n), "an instruction breakpoint elsewhere", state.dr[n], linear_rip());
    }
  }
  if (!began_instruction() || (state.rflags & vmx::rflags::kRf) != 0 || state.blocking_by_mov_ss)
    return;
  for (unsigned n = 0; n < 4; ++n)
    expect(!(enabled(n) && is_execution(n) && is_here(n)), "a breakpoint that was passed",
           linear_rip(), state.dr7);
}

void Checks::nmis() const {
  const vmx::Vmcs& vmcs = *event.data;
  const uint64_t blocking = vmcs[Field::kGuestInterruptibilityState];
  constexpr uint64_t kStiOrMovSs = 3, kNmi = 8;
  const bool is_virtual = vmcs.has(vmx::PinBased::kVirtualNmis);
  const bool exits = vmcs.has(vmx::PinBased::kNmiExiting);
  if (is_event(2, vmx::kNmi)) {
    expect(exits, "a VM exit by an NMI", event.interruption_information);
    expect(is_virtual || (blocking & kNmi) == 0, "an NMI in spite of blocking", blocking);
  }
  if (reason() == ExitReason::kNmiWindow) {
    expect(vmcs.has(vmx::PrimaryProcBased::kNmiWindowExiting), "no NMI-window exiting", blocking);
    expect((blocking & (kStiOrMovSs | kNmi)) == 0, "an NMI window in spite of blocking", blocking);
  }
  if (reason() == ExitReason::kInterruptWindow) {
    expect((blocking & kStiOrMovSs) == 0 && (state.rflags & vmx::rflags::kIf) != 0,
           "an interrupt window that is none", blocking, state.rflags);
  }
  // It comes before the instruction after the one that has sent it.
  const auto sent = change.expectation.nmi_sent;
  const bool held_back = !is_virtual && (entry[Field::kGuestInterruptibilityState] & kNmi) != 0;
  const bool injected = entry[Field::kVmEntryInterruptionInformation] & kValid;
  if (first && sent && exits && !held_back && !injected && linear_rip() == *sent)
    expect(!began_instruction(), "an NMI that did not come", linear_rip());
}

}  // namespace

void check_guest(const Case& base, const Case& change, const vmx::VmExitEvent& event, bool first,
                 std::span<const uint8_t> arena, const Doubt& doubt) {
  const Checks checks{change, vmcs_of(base, change), event, first, *event.state, arena, doubt};
  checks.accessed_flags();
  checks.secrets();
  checks.accesses();
  checks.breakpoints();
  checks.nmis();
}

}  // namespace nestor::fuzz
