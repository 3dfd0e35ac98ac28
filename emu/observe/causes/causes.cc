// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/causes/causes.h"

#include <spdlog/fmt/fmt.h>

#include <utility>

#include "emu/cpu/msrs.h"
#include "emu/events/kinds.h"
#include "emu/observe/stopped/walk_text.h"
#include "vmx/exceptions.h"
#include "vmx/exit_reasons.h"
#include "vmx/field_bits.h"
#include "vmx/instruction_errors.h"
#include "vmx/vmcs.h"
#include "vmx/vmx_aborts.h"

namespace nestor::emu {
namespace {

// Of an EPT entry: its permissions, and what KVM leaves where it emulates a device.
constexpr uint64_t kReadWriteExecute = 7, kMarkOfKvm = 6;

std::string_view level(bool non_root) { return non_root ? "L2" : "L1"; }

// "#PF(2) for linear address 0x1000".
std::string exception_name(uint8_t vector, const std::optional<uint32_t>& error_code,
                           uint64_t linear) {
  const std::string_view mnemonic = vmx::exception_info(vector).mnemonic;
  std::string text = mnemonic.empty() ? fmt::format("exception {}", vector) : std::string(mnemonic);
  if (error_code) text += fmt::format("({:#x})", *error_code);
  if (vector == vmx::kPf) text += fmt::format(" for linear address {:#x}", linear);
  return text;
}

// "RDMSR of 0x12345: ", "WRMSR of IA32_EFER (0xc0000080), value 0x2: ".
std::string msr_access(const std::optional<vmx::RefusedMsr>& msr) {
  if (!msr) return {};
  const std::string_view name = msr_name(msr->index);
  const std::string which =
      name.empty() ? fmt::format("{:#x}", msr->index) : fmt::format("{} ({:#x})", name, msr->index);
  return msr->value ? fmt::format("WRMSR of {}, value {:#x}: ", which, *msr->value)
                    : fmt::format("RDMSR of {}: ", which);
}

std::string never_cleared(uint64_t vmcs) {
  return fmt::format("the VMCS at {:#x} was never VMCLEARed: what is in it is undefined", vmcs);
}

std::string met(const vmx::Event& event) {
  std::string text = exception_name(event.vector, event.error_code, event.payload);
  if (!event.why.empty()) text += fmt::format(" ({})", event.why);
  return text;
}

}  // namespace

void Causes::once(Kind kind, std::string_view cause, const std::string& text) {
  // In the order of Kind.
  static constexpr std::array<std::string_view, kKinds> kNames = {
      "VM entries failed",
      "VMX instructions failed",
      "VM entries were doubtful",
      "EPT entries are misconfigured",
      "exceptions were delivered",
      "triple faults came",
      "VMX aborts came",
      "stale translations were used",
      "pages of zeros were executed",
      "exceptions came without progress",
  };
  const auto number = static_cast<size_t>(kind);
  std::set<std::string, std::less<>>& told = told_[number];
  if (told.size() > kMost || !told.emplace(cause).second) return;
  tell_(told.size() <= kMost
            ? text
            : fmt::format("more {}, for other reasons; --trace FILE shows them", kNames[number]));
}

void Causes::with_checks(Kind kind, std::string cause, std::string what) {
  for (const FailedCheck& check : std::exchange(failed_, {})) {
    cause += fmt::format(" {}", check.id);
    what += "\n  " + check.text;
  }
  once(kind, cause, what);
}

// What the last VM exit has loaded, on a line of its own; empty after a VM entry.
std::string Causes::host_state() const {
  if (!behind_exit_) return {};
  std::string text = "\n  the last VM exit has loaded ";
  for (size_t i = 0; i != kHostFields.size(); ++i) {
    text += fmt::format("{}{} {:#x}", i == 0 ? "" : ", ", vmx::info_of(kHostFields[i]).name,
                        host_state_[i]);
  }
  return text;
}

bool Causes::went_on() {
  if (instructions_ == nullptr) return true;
  return std::exchange(seen_instructions_, *instructions_) != *instructions_;
}

void Causes::processor(unsigned number) {
  if (went_on()) rows_[processor_].went_on = true;
  processor_ = number;
}

bool Causes::is_stuck(const ExceptionEvent& event) {
  const std::array<uint64_t, 5> now = {event.vector, event.rip, event.error_code.value_or(0),
                                       event.cr2, event.non_root};
  Row& row = rows_[processor_];
  const bool progress = went_on() || row.went_on;
  const bool begins = progress && now != row.last;
  row = {begins ? 1 : row.count + 1, now, false};
  return row.count == kExceptionsWithoutProgress;
}

void Causes::handle(const vmx::CheckFailure& failure) {
  std::string wrong;
  if (failure.component && !failure.wrong.empty())
    wrong = ": " + vmx::requirement_of(*failure.component, failure.wrong);
  std::string field(failure.field);
  if (failure.entry != 0) field += fmt::format(", entry {} of {}", failure.entry, failure.entries);
  failed_.push_back(
      {failure.id, fmt::format("{} = {:#x}: {}{} (check {}; SDM, \"{}\")", field, failure.value,
                               failure.requirement, wrong, failure.id, failure.section)});
}

Causes::Paging Causes::paging_of(const vmx::Vmcs& data, uint64_t vmcs) {
  using enum vmx::Field;
  return {vmcs,
          data[kGuestCr3],
          {data[kGuestPdpte0], data[kGuestPdpte1], data[kGuestPdpte2], data[kGuestPdpte3]}};
}

void Causes::doubt_pdptes(const vmx::VmEntryEvent& event) {
  const vmx::Vmcs& data = *event.data;
  const bool pae = (data[vmx::Field::kGuestCr0] & vmx::cr0::kPg) != 0 &&
                   (data[vmx::Field::kGuestCr4] & vmx::cr4::kPae) != 0 &&
                   !data.has(vmx::VmEntryControl::kIa32eModeGuest);
  if (!pae || !data.has(vmx::SecondaryProcBased::kEnableEpt)) return;
  const Paging enters = paging_of(data, event.vmcs);
  if (left_.vmcs != enters.vmcs || left_.cr3 == enters.cr3 || left_.pdptes != enters.pdptes) return;
  once(Kind::kRemark, "PDPTEs",
       fmt::format("VM entry with Guest CR3 {:#x}, which was {:#x} at the last VM exit, and the "
                   "same PDPTEs: with EPT and PAE paging the guest runs on those of the VMCS, "
                   "whatever CR3 refers to (SDM, \"Loading Page-Directory-Pointer-Table Entries\")",
                   enters.cr3, left_.cr3));
}

void Causes::tell_nested() {
  if (!nested_.empty()) once(Kind::kException, std::exchange(nested_, {}));
}

void Causes::handle(const vmx::VmEntryEvent& event) {
  tell_nested();
  failed_.clear();
  behind_exit_ = false;
  if (event.data == nullptr) return;
  if (!event.data->cleared) once(Kind::kRemark, "VM entry: " + never_cleared(event.vmcs));
  doubt_pdptes(event);
  const vmx::Vmcs& vmcs = *event.data;
  const uint64_t secondary = vmcs[vmx::Field::kSecondaryProcBasedControls];
  if (secondary == 0 || vmcs.has(vmx::PrimaryProcBased::kActivateSecondaryControls)) return;
  once(Kind::kRemark,
       fmt::format(
           "VM entry with secondary processor-based VM-execution controls {:#x} that do not count: "
           "\"activate secondary controls\" (bit 31 of the primary ones) is 0",
           secondary));
}

void Causes::handle(const vmx::VmExitEvent& event) {
  chain_.clear();
  behind_exit_ = event.data != nullptr;
  if (behind_exit_) {
    keep_host_state(*event.data, std::make_index_sequence<kHostFields.size()>());
    left_ = paging_of(*event.data, event.vmcs);
  }
  if (vmx::basic_reason(event.reason) == vmx::ExitReason::kEptMisconfiguration &&
      !std::exchange(misconfiguration_told_, false)) {
    once(
        Kind::kMisconfiguration,
        fmt::format("EPT misconfiguration for guest-physical address {:#x}", event.guest_physical));
  }
  if ((event.reason & vmx::kExitReasonEntryFailure) == 0) return failed_.clear();
  const std::string why = fmt::format("VM entry failed: exit reason {:#x}, {}", event.reason,
                                      vmx::exit_reason_name(event.reason));
  with_checks(Kind::kVmEntry, why, why + fmt::format("; the VMCS is at {:#x}", event.vmcs));
}

void Causes::handle(const vmx::VmInstructionErrorEvent& event) {
  std::string result = "VMfailInvalid";
  if (event.error != 0) {
    result = fmt::format("VM-instruction error {}, {}", event.error,
                         vmx::instruction_error_text(event.error));
  } else if (failed_.empty() && event.unsaved_error != 0) {
    result += fmt::format(": {}; there is no current VMCS to hold VM-instruction error {}",
                          vmx::instruction_error_text(event.unsaved_error), event.unsaved_error);
  } else if (failed_.empty()) {
    result += ": there is no current VMCS";
  }
  if (event.data != nullptr && !event.data->cleared)
    failed_.insert(failed_.begin(), {"never-cleared", never_cleared(event.vmcs)});
  with_checks(Kind::kInstruction, fmt::format("{} {}", event.instruction, event.error),
              fmt::format("{} at RIP {:#x} failed: {}", event.instruction, event.rip, result));
}

void Causes::handle(const ExceptionEvent& event) {
  const bool stuck = is_stuck(event);
  if (event.software && !stuck) return;
  const std::string name = exception_name(event.vector, event.error_code, event.cr2);
  if (stuck) {
    once(Kind::kNoProgress,
         fmt::format("{}: {} exceptions in a row without progress, an endless loop perhaps; the "
                     "last is {} at RIP {:#x}",
                     level(event.non_root), kExceptionsWithoutProgress, name, event.rip));
  }
  if (event.software) return;
  if (event.met) {
    chain_ += fmt::format("\n  its delivery met {}: {}", met(*event.met), name);
    if (event.non_root) return;
    nested_ = fmt::format("L1: {} at RIP {:#x} on the way to a handler", name, event.rip) + chain_ +
              host_state();
    return;
  }
  tell_nested();
  chain_ = fmt::format("\n  {} at RIP {:#x}", name, event.rip);
  const std::string why = msr_access(event.msr) + std::string(event.why);
  if (!why.empty()) chain_ += fmt::format(": {}", why);
  if (event.non_root) return;
  const std::string text = fmt::format("L1: {} at RIP {:#x}", name, event.rip);
  if (event.vector == vmx::kGp && !failed_.empty())
    return with_checks(Kind::kException, text, text);
  failed_.clear();
  // Of an instruction that tries out one MSR after another the first is enough.
  if (!why.empty()) once(Kind::kException, text + std::string(event.why), text + ": " + why);
}

void Causes::handle(const RunEndEvent& /*event*/) { tell_nested(); }

void Causes::handle(const TripleFaultEvent& event) {
  if (!event.non_root) nested_.clear();
  std::string text =
      fmt::format("{}: triple fault at RIP {:#x}", level(event.non_root), event.rip) +
      std::exchange(chain_, {});
  if (event.met) text += fmt::format("\n  its delivery met {}: triple fault", met(*event.met));
  if (!event.page_fault.empty()) text += fmt::format("\n  the page fault: {}", event.page_fault);
  text += fmt::format("\n  CR3 {:#x}, IDTR base {:#x}, GDTR base {:#x}", event.cr3, event.idtr_base,
                      event.gdtr_base);
  if (!event.non_root) text += host_state();
  once(Kind::kTripleFault, text);
}

void Causes::handle(const VmxAbortEvent& event) {
  const std::string why = fmt::format("VMX abort: indicator {}, {}", event.indicator,
                                      vmx::vmx_abort_text(event.indicator));
  with_checks(Kind::kVmxAbort, why, why);
}

void Causes::handle(const WalkEvent& event) {
  if (event.outcome != WalkOutcome::kEptMisconfiguration || event.steps.empty()) return;
  const ept::Step& last = event.steps.back();
  misconfiguration_told_ = true;
  std::string text = fmt::format(
      "EPT misconfiguration for guest-physical address {:#x}\n  the level {} entry at {:#x} is "
      "{:#x} ({}): {}",
      event.guest_physical, last.level, last.address, last.entry, name_entry_bits(last),
      event.rule.empty() ? "not as the manual demands" : event.rule);
  if ((last.entry & kReadWriteExecute) == kMarkOfKvm) {
    text +=
        "\n  KVM marks the pages of its guests' devices in this way: nothing is wrong if L1 is "
        "KVM; such entries are reported once";
    return once(Kind::kMisconfiguration, "write and execute without read", text);
  }
  once(Kind::kMisconfiguration, fmt::format("{:#x}", last.address), text);
}

void Causes::handle(const StaleTranslationEvent& event) {
  once(Kind::kStaleTranslation, fmt::format("{}: a cached translation of linear address {:#x} was "
                                            "used that the tables no longer hold; "
                                            "missing: {}",
                                            level(event.non_root), event.linear, event.missing));
}

void Causes::handle(const ZeroCodeEvent& event) {
  once(Kind::kZeros,
       fmt::format("{} executes a page of zeros at {:#x}; look for a jump, call or return to where "
                   "nothing was "
                   "loaded",
                   level(event.non_root), event.linear) +
           (event.non_root ? std::string() : host_state()));
}

}  // namespace nestor::emu
