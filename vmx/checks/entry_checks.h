// SPDX-License-Identifier: GPL-2.0-or-later
//
// The checks of a VM entry on the VMCS ("Checks on VMX Controls and Host-State Area", "Checks on
// the Guest State Area") as one table, in the order in which the SDM lists them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "ept/address.h"
#include "vmx/capabilities.h"
#include "vmx/events.h"
#include "vmx/vmcs.h"

namespace nestor::vmx {

// Physical memory to which fields of the VMCS point.
class MemoryReader {
 public:
  virtual ~MemoryReader() = default;
  // false: not wholly inside memory; `out` is then filled with ones.
  virtual bool read(ept::PhysicalAddress address, std::span<uint8_t> out) const = 0;
};

struct CheckContext {
  const Vmcs& vmcs;
  const Capabilities& capabilities;
  // nullptr: unknown memory; checks on its content are passed over.
  const MemoryReader* memory = nullptr;
  // std::nullopt: unknown; a link pointer is then not compared with it.
  std::optional<ept::PhysicalAddress> current_vmcs;
  bool long_mode = true;  // IA32_EFER.LMA at the time of VM entry
  bool in_smm = false;
  bool intel_pt_on = false;  // IA32_RTIT_CTL.TraceEn at the time of VM entry

  uint64_t operator[](Field field) const { return vmcs[field]; }
  const RegisterRules& rules() const { return capabilities.registers; }
};

enum class CheckGroup : uint8_t {
  kControls,    // fails with VM-instruction error 7
  kHostState,   // fails with VM-instruction error 8
  kGuestState,  // fails with exit reason 33
};

// One check. It applies where `applies` is true, and then `holds` must be.
struct EntryCheck {
  using Predicate = bool (*)(const CheckContext&, Field);

  std::string_view id;  // stable: "guest-cs-type"
  Field field{};        // the field to blame, and the predicates' argument
  Predicate applies = nullptr;
  Predicate holds = nullptr;
  std::string_view requirement;
  std::string_view section;
  // Exit qualification of a VM-entry failure due to invalid guest state.
  uint8_t qualification = 0;

  constexpr bool passes(const CheckContext& context) const {
    return !applies(context, field) || holds(context, field);
  }
};

// "VM-Entry Failures During or After Loading Guest State".
inline constexpr uint8_t kEntryFailurePdpte = 2, kEntryFailureNmi = 3, kEntryFailureLinkPointer = 4;

struct FailedCheck : CheckFailure {
  CheckGroup group{};
  uint64_t qualification = 0;  // of guest-state checks
};

// The checks of one section.
struct CheckTable {
  std::span<const EntryCheck> checks;
  // Do they all pass? Several times faster than asking one after the other.
  bool (*all_pass)(const CheckContext&) = nullptr;

  operator std::span<const EntryCheck>() const { return checks; }
};

// The tables of a group, in the order of the SDM's sections.
std::span<const CheckTable> check_tables(CheckGroup group);

// Do all checks of the group pass?
bool all_pass(CheckGroup group, const CheckContext& context);

// The first check that fails; std::nullopt: all pass.
std::optional<FailedCheck> check_controls(const CheckContext& context);
std::optional<FailedCheck> check_host_state(const CheckContext& context);
std::optional<FailedCheck> check_guest_state(const CheckContext& context);

FailedCheck failure_of(const EntryCheck& check, CheckGroup group, const CheckContext& context);

// Every check that fails, in order: `visit` takes a const FailedCheck&.
template <typename Visitor>
void check_all(const CheckContext& context, Visitor&& visit) {
  for (const CheckGroup group :
       {CheckGroup::kControls, CheckGroup::kHostState, CheckGroup::kGuestState})
    for (const CheckTable& table : check_tables(group))
      for (const EntryCheck& check : table.checks)
        if (!check.passes(context)) visit(failure_of(check, group, context));
}

}  // namespace nestor::vmx
