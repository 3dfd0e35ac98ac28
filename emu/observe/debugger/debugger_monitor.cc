// SPDX-License-Identifier: GPL-2.0-or-later
//
// The commands behind GDB's `monitor`.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "emu/cpu/instruction_step.h"
#include "emu/observe/audit/audit.h"
#include "emu/observe/audit/vmcs_decoding.h"
#include "emu/observe/audit/vmcs_dump.h"
#include "emu/observe/audit/vmcs_names.h"
#include "emu/observe/debugger/debugger.h"
#include "emu/observe/stopped/places.h"
#include "emu/observe/stopped/walk_text.h"
#include "emu/observe/trace/record.h"
#include "vmx/exceptions.h"
#include "vmx/exit_reasons.h"
#include "vmx/injection.h"

namespace nestor::emu {
namespace {

using vmx::Field;

constexpr std::string_view kNoVmcs = "L1 has no current VMCS on this processor\n";

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = text.find_first_not_of(" \t\r\n", i);
    if (begin == std::string_view::npos) break;
    const size_t end = std::min(text.find_first_of(" \t\r\n", begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    i = end;
  }
  return words;
}

template <class Controls>
std::string_view control_name(Controls control) {
  const auto requirement = vmx::requires_control(control);
  for (const vmx::ControlName& name : vmx::control_names(requirement.group))
    if ((name.mask & requirement.any_of) != 0) return name.name;
  return {};
}

// What of the VM-execution controls has made L2 exit.
std::string cause_of(const vmx::VmExitEvent& exit, const vmx::Vmcs& vmcs) {
  using enum vmx::ExitReason;
  const vmx::ExitReason reason = vmx::basic_reason(exit.reason);
  if ((exit.reason & vmx::kExitReasonEntryFailure) != 0)
    return "VM entry has failed: L2 has not run\n";
  const auto* info = vmx::find_exit_reason(static_cast<uint16_t>(reason));
  if (info != nullptr && info->intercept.exists) {
    std::string text;
    if (info->intercept.primary)
      text += fmt::format("\"{}\" is 1\n", control_name(*info->intercept.primary));
    if (info->intercept.secondary)
      text += fmt::format("\"{}\" is 1\n", control_name(*info->intercept.secondary));
    return text.empty() ? "this instruction always causes a VM exit\n" : text;
  }
  const uint64_t bitmap = vmcs[Field::kExceptionBitmap];
  const auto vector = static_cast<uint8_t>(exit.interruption_information);
  if (reason == kExceptionOrNmi && vector != vmx::kNmi) {
    return fmt::format("bit {} ({}) of the exception bitmap {:#x}{}\n", vector,
                       vmx::exception_info(vector).mnemonic, bitmap,
                       vector == vmx::kPf ? ", with the page-fault error-code mask and match" : "");
  }
  if (reason == kExceptionOrNmi)
    return fmt::format("\"{}\" is 1\n", control_name(vmx::PinBased::kNmiExiting));
  if (reason == kExternalInterrupt)
    return fmt::format("\"{}\" is 1\n", control_name(vmx::PinBased::kExternalInterruptExiting));
  if (reason == kIoInstruction) {
    return vmcs.has(vmx::PrimaryProcBased::kUseIoBitmaps) ? "the I/O bitmaps\n"
                                                          : "\"unconditional I/O exiting\" is 1\n";
  }
  if (reason == kRdmsr || reason == kWrmsr) {
    return vmcs.has(vmx::PrimaryProcBased::kUseMsrBitmaps)
               ? "the MSR bitmaps, or an MSR that they do not cover\n"
               : "\"use MSR bitmaps\" is 0: each access causes a VM exit\n";
  }
  return {};
}

std::string joined_list(const std::vector<std::string_view>& names) {
  std::string text;
  for (const std::string_view name : names)
    text += fmt::format("{}{}", text.empty() ? "" : ", ", name);
  return text;
}

}  // namespace

std::span<const Debugger::Command> Debugger::commands() {
  static constexpr std::array<Command, 10> kCommands = {{
      {"help", "", "this list", &Debugger::help},
      {"where", "", "where each processor is, and its last VM exit", &Debugger::where},
      {"level", "[running|l1|l2|physical]",
       "whose addresses memory, breakpoints, watchpoints and walk mean", &Debugger::choose_level},
      {"vmcs", "[FIELD [VALUE]]", "L1's current VMCS, a field of it, or a new value for that",
       &Debugger::vmcs},
      {"walk", "ADDRESS|$REGISTER [read|write|fetch] [user]",
       "the page walk of an access, entry by entry, without its effects", &Debugger::walk},
      {"exits", "", "the VM exits so far: by reason, and the last ones", &Debugger::exits},
      {"stop-on", "vm-exit [REASON...]|vm-entry|check-failed|exception N|msr N|io PORT|off",
       "stop at such events, too; alone: what is set", &Debugger::stop_on},
      {"explain", "", "why the last VM exit has happened, and what VM entry would say",
       &Debugger::explain},
      {"audit", "", "which checks of VM entry the current VMCS violates", &Debugger::audit},
      {"reverse", "", "go back to the previous VM exit", &Debugger::reverse},
  }};
  return kCommands;
}

std::string Debugger::monitor(unsigned processor, std::string_view text) {
  Words words = words_of(text);
  if (words.empty()) return help(processor, {});
  const std::string_view name = words.front();
  words.erase(words.begin());
  for (const Command& command : commands()) {
    if (command.name != name) continue;
    if (command.arguments.empty() && !words.empty())
      return fmt::format("usage: {} takes no argument\n", name);
    return (this->*command.run)(processor, words);
  }
  return fmt::format("'{}' is no command; see: monitor help\n", name);
}

std::string Debugger::help(unsigned /*processor*/, const Words& /*arguments*/) {
  std::string text;
  for (const Command& command : commands()) {
    text += fmt::format("{}{}{}\n    {}\n", command.name, command.arguments.empty() ? "" : " ",
                        command.arguments, command.meaning);
  }
  return text;
}

std::string Debugger::where(unsigned /*processor*/, const Words& /*arguments*/) {
  return describe_places(machine_);
}

std::string Debugger::choose_level(unsigned /*processor*/, const Words& arguments) {
  struct Named {
    std::string_view name;
    AddressLevel level;
    std::string_view meaning;
  };
  static constexpr std::array<Named, 4> kLevels = {{
      {"running", AddressLevel::kRunning, "linear addresses of whoever runs"},
      {"l1", AddressLevel::kL1, "linear addresses of L1"},
      {"l2", AddressLevel::kL2, "linear addresses of L2"},
      {"physical", AddressLevel::kPhysical, "physical addresses of L1"},
  }};
  std::vector<std::string_view> names;
  for (const auto& [name, level, meaning] : kLevels) {
    names.push_back(name);
    if (arguments.size() == 1 && arguments[0] == name) level_ = level;
  }
  if (arguments.size() > 1 ||
      (arguments.size() == 1 && std::ranges::find(names, arguments[0]) == names.end()))
    return fmt::format("usage: level {}\n", joined_list(names));
  const auto* now = std::ranges::find(kLevels, level_, &Named::level);
  const bool one = level_ == AddressLevel::kL1 || level_ == AddressLevel::kL2;
  return fmt::format("level {}: addresses are {}{}\n", now->name, now->meaning,
                     one ? "; breakpoints stop there alone" : "");
}

std::string Debugger::vmcs(unsigned processor, const Words& arguments) {
  const vmx::Vmcs* const current = machine_.vmcs(processor);
  if (current == nullptr) return std::string(kNoVmcs);
  const vmx::Capabilities& capabilities = machine_.vmx(processor).capabilities();
  if (arguments.empty()) {
    VmcsOccasion occasion;
    occasion.event = "now";
    occasion.cycle = machine_.tsc(processor);
    occasion.address = machine_.vmx(processor).current_vmcs_pointer()->value;
    return vmcs_text(*current, capabilities, occasion);
  }
  // Names have blanks in them: the value is the last word, if that is a number and the rest a name.
  const auto joined = [&](size_t count) {
    std::string name;
    for (size_t i = 0; i < count; ++i) name += fmt::format("{}{}", i == 0 ? "" : " ", arguments[i]);
    return name;
  };
  const std::string whole = joined(arguments.size());
  auto field = find_vmcs_field(whole);
  std::optional<uint64_t> value;
  if (!field && arguments.size() > 1) {
    field = find_vmcs_field(joined(arguments.size() - 1));
    value = parse_argument(arguments.back());
    if (field && !value) return fmt::format("'{}' is no number\n", arguments.back());
  }
  if (!field) {
    const std::string_view nearest = nearest_field_name(whole);
    return fmt::format("'{}' is no field of a VMCS{}{}\n", whole,
                       nearest.empty() ? "" : "; did you mean ", nearest);
  }
  const vmx::FieldInfo& info = vmx::info_of(field->field);
  if (!capabilities.has_field(field->field))
    return fmt::format("this processor has no field {}\n", info.name);
  if (value) {
    if (field->high || *value > vmx::value_mask(field->field))
      return fmt::format("{} has {} bits\n", info.name, vmx::bits_of(field->field));
    if (result_) return "the run is over\n";
    machine_.edit_vmcs(processor)->write(field->field, *value);
    changed();
  }
  const std::string text = decode(*current, field->field);
  return fmt::format("{} = {:#x}{}{}{}\n", info.name, (*current)[field->field],
                     text.empty() ? "" : " (", text, text.empty() ? "" : ")");
}

// A number, or a register of at most 64 bits; $rip and $pc are the instruction's linear address.
std::optional<uint64_t> Debugger::parse_address(unsigned processor, std::string_view text) const {
  if (!text.starts_with('$')) return parse_argument(text);
  if (text == "$rip" || text == "$pc") return linear_rip(machine_.state(processor));
  const auto number = find_gdb_register(text.substr(1));
  if (!number) return std::nullopt;
  const std::vector<uint8_t> bytes = read_register(processor, *number);
  uint64_t value = 0;
  if (bytes.size() > sizeof value) return std::nullopt;
  std::memcpy(&value, bytes.data(), bytes.size());
  return value;
}

std::string Debugger::walk(unsigned processor, const Words& arguments) {
  std::optional<uint64_t> address;
  if (!arguments.empty()) address = parse_address(processor, arguments[0]);
  ept::Access access{ept::Access::kRead, false, false};
  bool good = address.has_value();
  for (size_t i = 1; i < arguments.size(); ++i) {
    const std::string_view word = arguments[i];
    if (word == "write") {
      access.kind = ept::Access::kWrite;
    } else if (word == "fetch") {
      access.kind = ept::Access::kFetch;
    } else if (word == "user") {
      access.user = true;
    } else if (word != "read") {
      good = false;
    }
  }
  if (!good) return "usage: walk ADDRESS|$REGISTER [read|write|fetch] [user]\n";
  const View view = *view_of(processor);
  const auto walk = machine_.walk(processor, view, *address, access);
  if (!walk) {
    return world_.config.l0.mode == L0Mode::kHardware
               ? std::string(kNoVmcs)
               : "walk needs a run without --l0, whose tables are not L1's\n";
  }
  return fmt::format("{} {:#x}\n", name_view(view), *address) + describe_walk(*walk);
}

std::string Debugger::exits(unsigned /*processor*/, const Words& /*arguments*/) {
  const ReplayGate::Counts& counts = world_.gate.counts();
  std::string text = fmt::format("{} VM exits\n", machine_.exits());
  for (const auto& [reason, count] : counts.exits)
    text += fmt::format("{:>10}  {} ({})\n", count, vmx::exit_reason_name(reason), reason);
  const uint64_t shown = std::min<uint64_t>(counts.exit_count, ReplayGate::Counts::kRecent);
  if (shown != 0) text += "the last ones; the number in front counts instructions\n";
  for (uint64_t i = counts.exit_count - shown; i < counts.exit_count; ++i) {
    const SeenExit& exit = counts.recent[i % ReplayGate::Counts::kRecent];
    const auto* info = vmx::find_exit_reason(static_cast<uint16_t>(exit.reason));
    const unsigned defines = info != nullptr ? info->defines : 0u;
    text += fmt::format("{:>10}  {} at RIP {:#x}", exit.instructions,
                        vmx::exit_reason_name(exit.reason), exit.guest_rip);
    if ((defines & vmx::kDefinesQualification) != 0)
      text += fmt::format(", qualification {:#x}", exit.qualification);
    if ((defines & vmx::kDefinesGuestPhysical) != 0)
      text += fmt::format(", guest-physical address {:#x}", exit.guest_physical);
    if (machine_.processors() > 1) text += fmt::format(", processor {}", exit.processor);
    text += '\n';
  }
  return text;
}

std::string Debugger::stop_on(unsigned /*processor*/, const Words& arguments) {
  return stop_on_.set(arguments);
}

std::string Debugger::explain(unsigned processor, const Words& arguments) {
  const vmx::Vmcs* const current = machine_.vmcs(processor);
  if (current == nullptr) return std::string(kNoVmcs);
  if (!machine_.last_exit(processor)) {
    return "there was no VM exit on this processor yet\n" + audit(processor, arguments);
  }
  vmx::VmExitEvent exit = vmx::exit_event_of(*current);
  exit.vmcs = machine_.vmx(processor).current_vmcs_pointer()->value;
  // Reason 0 is an exception or NMI, which always has its information.
  const bool had_exit = exit.reason != 0 || exit.interruption_information >> 31 != 0;
  if (!had_exit) return "the current VMCS has had no VM exit yet\n" + audit(processor, arguments);
  std::string text = "The last VM exit of the current VMCS:\n";
  text += " " + to_record(exit, std::nullopt, TraceFormat::kText).fields + "\n";
  const std::string cause = cause_of(exit, *current);
  if (!cause.empty()) text += "Why: " + cause;
  const vmx::ExitReason reason = vmx::basic_reason(exit.reason);
  if (reason == vmx::ExitReason::kEptViolation || reason == vmx::ExitReason::kEptMisconfiguration) {
    ept::Access access{ept::Access::kRead, false, false};
    if ((exit.qualification & 2) != 0) access.kind = ept::Access::kWrite;
    if ((exit.qualification & 4) != 0) access.kind = ept::Access::kFetch;
    if (const auto walk = machine_.walk(processor, View::kL2Physical, exit.guest_physical, access))
      text += "the walk of EPT, as the tables are now:\n" + describe_walk(*walk);
  }
  return text + audit(processor, arguments);
}

std::string Debugger::audit(unsigned processor, const Words& /*arguments*/) {
  const vmx::Vmcs* const current = machine_.vmcs(processor);
  if (current == nullptr) return std::string(kNoVmcs);
  VmcsDocument document;
  document.vmcs = *current;
  const vmx::Capabilities& capabilities = machine_.vmx(processor).capabilities();
  for (const vmx::FieldInfo& info : vmx::kFields) {
    if (capabilities.has_field(info.field)) document.given.insert(info.field);
  }
  AuditTerms terms;
  terms.processor = capabilities;
  return to_text(emu::audit(document, terms), "VM entry with the current VMCS");
}

std::string Debugger::reverse(unsigned /*processor*/, const Words& /*arguments*/) {
  if (!can_go_back()) return fmt::format("cannot go back: {}\n", why_no_history());
  Wanted exits;
  exits.events = false;
  exits.until.vm_exit = true;
  const GdbStop stop = go_back(exits, false);
  std::string text = stop.why == GdbStop::Why::kNoHistory
                         ? "the history begins here: there is no VM exit before\n"
                         : std::string();
  return text + describe_places(machine_) +
         "GDB does not know that yet: maintenance flush register-cache\n";
}

}  // namespace nestor::emu
