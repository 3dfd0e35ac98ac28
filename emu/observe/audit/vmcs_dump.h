// SPDX-License-Identifier: GPL-2.0-or-later
//
// Writes down VMCSs while a machine runs: as text, or as JSON that `nestor audit` reads.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "emu/events/events.h"
#include "emu/observe/audit/capability_values.h"
#include "emu/observe/trace/output_file.h"
#include "vmx/vmcs.h"

namespace nestor::emu {

// What a dump says of its occasion.
struct VmcsOccasion {
  std::string_view event;  // "VM exit", "failed VM entry"
  uint64_t cycle = 0;
  uint64_t address = 0;  // of the VMCS
};

// Only the fields that the processor has. The text ends in an empty line, the JSON (one line) in a
// newline.
std::string vmcs_text(const vmx::Vmcs& vmcs, const vmx::Capabilities& capabilities,
                      const VmcsOccasion& occasion);
std::string vmcs_json(const vmx::Vmcs& vmcs, const vmx::Capabilities& capabilities,
                      const VmcsOccasion& occasion);

class VmcsDump final : public EventHandler<VmcsDump> {
 public:
  enum class When : uint8_t { kFailure, kExit };  // kExit: at failed VM entries too
  enum class Format : uint8_t { kText, kJson };

  // `output` outlives the dump.
  VmcsDump(OutputFile& output, When when, Format format, const vmx::Capabilities& capabilities)
      : output_(output), when_(when), format_(format), capabilities_(capabilities) {}

  bool failed() const { return output_.error().has_value(); }

  void attach(const Clock& clock, const uint64_t& /*instructions*/) override { clock_ = &clock; }
  void handle(const vmx::VmExitEvent& event);
  void handle(const vmx::VmInstructionErrorEvent& event);

 private:
  void write(const vmx::Vmcs& vmcs, uint64_t address, bool failure);

  OutputFile& output_;
  const When when_;
  const Format format_;
  const vmx::Capabilities capabilities_;
  const Clock* clock_ = nullptr;
};

}  // namespace nestor::emu
