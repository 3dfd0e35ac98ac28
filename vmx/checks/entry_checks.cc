// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/checks/entry_checks.h"

#include <array>

#include "vmx/checks/predicates.h"
#include "vmx/checks/wrong_bits.h"

namespace nestor::vmx {
namespace {

std::optional<FailedCheck> first_failure(CheckGroup group, const CheckContext& context) {
  for (const CheckTable& table : check_tables(group)) {
    if (table.all_pass(context)) continue;
    for (const EntryCheck& check : table.checks)
      if (!check.passes(context)) return failure_of(check, group, context);
  }
  return std::nullopt;
}

}  // namespace

std::span<const CheckTable> check_tables(CheckGroup group) {
  static const std::array kControls = {checks::execution_controls(), checks::exit_controls(),
                                       checks::entry_controls()};
  static const std::array kHost = {checks::host_registers(), checks::host_segments(),
                                   checks::address_space_size()};
  static const std::array kGuest = {
      checks::guest_registers(),       checks::guest_segments(),
      checks::guest_system_segments(), checks::guest_descriptor_tables(),
      checks::guest_rip_rflags(),      checks::guest_non_register_state(),
      checks::guest_pdptes()};
  switch (group) {
    case CheckGroup::kControls:
      return kControls;
    case CheckGroup::kHostState:
      return kHost;
    case CheckGroup::kGuestState:
      return kGuest;
  }
  return {};
}

bool all_pass(CheckGroup group, const CheckContext& context) {
  for (const CheckTable& table : check_tables(group))
    if (!table.all_pass(context)) return false;
  return true;
}

std::optional<FailedCheck> check_controls(const CheckContext& context) {
  return first_failure(CheckGroup::kControls, context);
}
std::optional<FailedCheck> check_host_state(const CheckContext& context) {
  return first_failure(CheckGroup::kHostState, context);
}
std::optional<FailedCheck> check_guest_state(const CheckContext& context) {
  return first_failure(CheckGroup::kGuestState, context);
}

FailedCheck failure_of(const EntryCheck& check, CheckGroup group, const CheckContext& context) {
  FailedCheck failure;
  failure.id = check.id;
  failure.field = info_of(check.field).name;
  failure.value = context[check.field];
  failure.requirement = check.requirement;
  failure.section = check.section;
  failure.group = group;
  failure.qualification = check.qualification;
  failure.component = check.field;
  failure.wrong = wrong_bits(check, context);
  return failure;
}

}  // namespace nestor::vmx
