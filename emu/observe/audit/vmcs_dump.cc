// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/audit/vmcs_dump.h"

#include <spdlog/fmt/fmt.h>

#include <iterator>
#include <nlohmann/json.hpp>

#include "emu/observe/audit/vmcs_decoding.h"
#include "emu/observe/audit/vmcs_names.h"
#include "vmx/exit_reasons.h"

namespace nestor::emu {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

std::string vmcs_text(const vmx::Vmcs& vmcs, const vmx::Capabilities& capabilities,
                      const VmcsOccasion& occasion) {
  fmt::memory_buffer out;
  const auto print = std::back_inserter(out);
  fmt::format_to(print, "{} at cycle {}, VMCS at {:#x}\n", occasion.event, occasion.cycle,
                 occasion.address);
  for (int i = 0; i < kVmcsGroupCount; ++i) {
    const auto group = static_cast<VmcsGroup>(i);
    fmt::format_to(print, "  {}\n", group_name(group));
    for (const vmx::FieldInfo& info : vmx::kFields) {
      if (group_of(info.field) != group || !capabilities.has_field(info.field)) continue;
      const std::string text = decode(vmcs, info.field);
      fmt::format_to(print, "    {:#06x} {:<48} {:#x}{}{}{}\n", vmx::encoding_of(info.field),
                     info.name, vmcs[info.field], text.empty() ? "" : " (", text,
                     text.empty() ? "" : ")");
    }
  }
  out.push_back('\n');
  return fmt::to_string(out);
}

std::string vmcs_json(const vmx::Vmcs& vmcs, const vmx::Capabilities& capabilities,
                      const VmcsOccasion& occasion) {
  Json fields = Json::object(), decoded = Json::object(), machine = Json::object();
  for (const vmx::FieldInfo& info : vmx::kFields) {
    if (!capabilities.has_field(info.field)) continue;
    const std::string name(info.name);
    fields[name] = hex(vmcs[info.field]);
    if (std::string text = decode(vmcs, info.field); !text.empty()) decoded[name] = std::move(text);
  }
  const CapabilityValues values = values_of(capabilities);
  for (const auto& [index, value] : values.msrs)
    machine[std::string(capability_msr_name(index))] = hex(value);
  for (const auto& [name, value] : values.rules) machine[std::string(name)] = hex(value);
  Json json;
  json["about"] = {
      {"event", occasion.event}, {"cycle", occasion.cycle}, {"vmcs", hex(occasion.address)}};
  json["vmcs"] = std::move(fields);
  json["decoded"] = std::move(decoded);
  json["capabilities"] = std::move(machine);
  return json.dump() + "\n";
}

void VmcsDump::handle(const vmx::VmExitEvent& event) {
  const bool failure = (event.reason & vmx::kExitReasonEntryFailure) != 0;
  if (event.data != nullptr && (failure || when_ == When::kExit))
    write(*event.data, event.vmcs, failure);
}

void VmcsDump::handle(const vmx::VmInstructionErrorEvent& event) {
  const bool entry = event.instruction == "VMLAUNCH" || event.instruction == "VMRESUME";
  if (event.data != nullptr && entry) write(*event.data, event.vmcs, true);
}

void VmcsDump::write(const vmx::Vmcs& vmcs, uint64_t address, bool failure) {
  const VmcsOccasion occasion{failure ? "failed VM entry" : "VM exit",
                              clock_ != nullptr ? clock_->cycles() : 0, address};
  output_.write(format_ == Format::kJson ? vmcs_json(vmcs, capabilities_, occasion)
                                         : vmcs_text(vmcs, capabilities_, occasion));
}

}  // namespace nestor::emu
