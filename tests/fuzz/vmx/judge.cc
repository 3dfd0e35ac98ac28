// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/vmx/judge.h"

#include <charconv>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

#include "emu/time/clock.h"
#include "tests/fuzz/vmx/generator.h"
#include "tests/fuzz/vmx/guest_checks.h"
#include "vmx/cpu_state.h"
#include "vmx/exit_reasons.h"

namespace nestor::fuzz {
namespace {

using vmx::ExitReason;
using vmx::Field;
using vmx::QualificationFormat;

constexpr uint32_t kValid = 1u << 31, kErrorCode = 1u << 11;

std::string hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "%#llx", static_cast<unsigned long long>(value));
  return text;
}

// The bits that the SDM defines in an exit qualification.
uint64_t defined_qualification(const vmx::ExitReasonInfo& info, uint32_t interruption) {
  switch (info.qualification) {
    case QualificationFormat::kNone:
      return 0;
    case QualificationFormat::kDebugOrPageFault:
      if ((interruption & 0xff) == vmx::kPf) return ~uint64_t{0};
      return (interruption & 0xff) == vmx::kDb ? 0x1680f : 0;
    case QualificationFormat::kSipiVector:
      return 0xff;
    case QualificationFormat::kTaskSwitch:
      return 0xc000ffff;
    case QualificationFormat::kControlRegister:
      return 0xffff0f7f;
    case QualificationFormat::kMovDr:
      return 0xf17;
    case QualificationFormat::kIo:
      return 0xffff007f;
    case QualificationFormat::kApicAccess:
      return 0x1ffff;
    case QualificationFormat::kApicOffset:
      return 0xfff;
    case QualificationFormat::kEptViolation:
      return 0x1ffff;
    case QualificationFormat::kMwait:
      return 1;
    case QualificationFormat::kEventDelivery:
      return 0x11000;
    case QualificationFormat::kInstructionTimeout:
      return 0x1001;
    default:
      return ~uint64_t{0};
  }
}

bool is_software(uint32_t information) {
  const uint32_t type = information >> 8 & 7;
  return (information & kValid) != 0 && type >= 4 && type <= 6;
}

// VM exits that can happen while an event is delivered.
bool can_interrupt_delivery(ExitReason reason) {
  switch (reason) {
    case ExitReason::kExceptionOrNmi:
    case ExitReason::kTripleFault:
    case ExitReason::kTaskSwitch:
    case ExitReason::kApicAccess:
    case ExitReason::kEptViolation:
    case ExitReason::kEptMisconfiguration:
    case ExitReason::kPmlFull:
    case ExitReason::kSppRelatedEvent:
      return true;
    default:
      return false;
  }
}

// Instructions whose length the VM exit must report.
bool must_have_length(const vmx::ExitReasonInfo& info) {
  if ((info.defines & vmx::kDefinesLength) == 0) return false;
  switch (info.reason) {
    case ExitReason::kExceptionOrNmi:
    case ExitReason::kTaskSwitch:
    case ExitReason::kApicAccess:
    case ExitReason::kEptViolation:
    case ExitReason::kPmlFull:
    case ExitReason::kSppRelatedEvent:
      return false;
    default:
      return true;
  }
}

}  // namespace

void Judge::complain(const std::string& what) {
  complain_(current_ != nullptr ? current_->seed : 0, what);
}

void Judge::expect(bool holds, std::string_view what, uint64_t value, uint64_t other) {
  if (holds) return;
  complain(std::string(vmx::exit_reason_name(reason_)) + ": " + std::string(what) + " (" +
           hex(value) + ", " + hex(other) + ")");
}

void Judge::begin(uint64_t seed) {
  if (current_ != nullptr) {
    ++finished_;
    ends_.push_back({hash_, guest_hash_});
  }
  guest_hash_ = kFirstHash;
  current_ = nullptr;
  for (const Case& change : cases_)
    if (change.seed == seed) current_ = &change;
  first_entry_ = true;
  first_exit_ = true;
  failed_.clear();
}

void Judge::serial(uint8_t byte) {
  mix(byte);
  if (byte != '\n') {
    if (byte != '\r') line_ += static_cast<char>(byte);
    return;
  }
  constexpr std::string_view kCase = "case ";
  if (line_.starts_with(kCase)) {
    uint64_t seed = 0;
    std::from_chars(line_.data() + kCase.size(), line_.data() + line_.size(), seed, 16);
    begin(seed);
  } else if (line_ == "vmx-case: PASS") {
    begin(~0ull);
  }
  line_.clear();
}

void Judge::attach(const emu::Clock& clock, const uint64_t&) { clock_ = &clock; }

void Judge::handle(const vmx::CheckFailure& failure) { failed_.push_back(failure.id); }

void Judge::judge_entry(Outcome outcome, const vmx::Vmcs& vmcs, uint64_t address,
                        uint64_t qualification) {
  mix_time(clock_->cycles());
  if (current_ == nullptr) return;
  const std::vector<std::string_view> failed = std::move(failed_);
  failed_.clear();
  const ArenaMemory arena(base_, *current_);
  // L2 may have changed memory since the first VM entry.
  const vmx::MemoryReader* memory = first_entry_ ? &arena : nullptr;
  const vmx::CheckContext context{.vmcs = vmcs,
                                  .capabilities = capabilities_,
                                  .memory = memory,
                                  .current_vmcs = ept::PhysicalAddress{address}};
  std::optional<vmx::FailedCheck> expected = vmx::check_controls(context);
  if (!expected) expected = vmx::check_host_state(context);
  if (!expected) expected = vmx::check_guest_state(context);
  if (arena.strayed()) return;
  if (first_entry_) {
    const vmx::Vmcs model = vmcs_of(base_, *current_);
    for (const vmx::FieldInfo& info : vmx::kFields) {
      const bool compared = vmx::type_of(info.field) == vmx::FieldType::kControl ||
                            vmx::type_of(info.field) == vmx::FieldType::kGuestState;
      if (compared && capabilities_.has_field(info.field) && model[info.field] != vmcs[info.field])
        complain("field " + std::string(info.name) + " holds " + hex(vmcs[info.field]) + ", not " +
                 hex(model[info.field]));
    }
  }
  std::optional<Outcome> wanted;
  if (expected) {
    wanted = expected->group == vmx::CheckGroup::kControls    ? Outcome::kControls
             : expected->group == vmx::CheckGroup::kHostState ? Outcome::kHostState
                                                              : Outcome::kGuestState;
  } else if (outcome != Outcome::kMsrLoading) {
    wanted = Outcome::kEntered;
  }
  if (wanted && *wanted != outcome && (memory != nullptr || outcome == Outcome::kEntered)) {
    complain("the VM entry ended as " + std::to_string(static_cast<int>(outcome)) + ", not " +
             std::to_string(static_cast<int>(*wanted)) + ", first check " +
             std::string(expected ? expected->id : "none"));
  }
  if (expected && outcome == Outcome::kGuestState && memory != nullptr &&
      qualification != expected->qualification)
    complain("qualification " + hex(qualification) + " of check " + std::string(expected->id));
  const bool failed_any = !failed.empty();
  if (failed_any == (outcome == Outcome::kEntered)) complain("reported checks and outcome differ");
  first_entry_ = false;
}

void Judge::handle(const vmx::VmEntryEvent& event) {
  ++outcomes_["VM entry"];
  judge_entry(Outcome::kEntered, *event.data, event.vmcs, 0);
}

void Judge::handle(const vmx::VmInstructionErrorEvent& event) {
  mix(event.error);
  if (event.instruction != "VMLAUNCH" && event.instruction != "VMRESUME") return;
  ++outcomes_["VM-instruction error " + std::to_string(event.error)];
  if (event.data == nullptr) return complain("VMfailInvalid");
  switch (event.error) {
    case 7:
      return judge_entry(Outcome::kControls, *event.data, event.vmcs, 0);
    case 8:
      return judge_entry(Outcome::kHostState, *event.data, event.vmcs, 0);
    default:
      return complain("VM-instruction error " + std::to_string(event.error));
  }
}

void Judge::handle(const emu::ExceptionEvent& event) {
  mix(event.vector);
  mix(event.rip);
  mix_time(clock_->cycles());
}

void Judge::handle(const emu::VmxAbortEvent& event) {
  complain("VMX abort " + std::to_string(event.indicator));
}

void Judge::judge_exit_information(const vmx::VmExitEvent& event) {
  const vmx::ExitReasonInfo* info = vmx::find_exit_reason(event.reason & 0xffff);
  if (info == nullptr) return complain("exit reason " + hex(event.reason));
  expect((event.reason & ~0xffffu) == 0, "reserved bits of the exit reason", event.reason);
  const uint32_t interruption = event.interruption_information;
  const uint32_t vectoring = event.idt_vectoring_information;
  expect((event.qualification & ~defined_qualification(*info, interruption)) == 0,
         "undefined bits of the qualification", event.qualification, interruption);
  const uint32_t length = event.instruction_length;
  expect(length <= 15, "instruction length", length);
  if (must_have_length(*info)) expect(length >= 1, "instruction length", length);
  if (is_software(interruption)) expect(length >= 1, "length of a software event", length);

  const bool may_interrupt = info->defines & vmx::kDefinesInterruption;
  expect(may_interrupt || (interruption & kValid) == 0, "interruption information", interruption);
  if (info->reason == ExitReason::kExceptionOrNmi)
    expect((interruption & kValid) != 0, "no interruption information", interruption);
  for (const uint32_t information : {interruption, vectoring}) {
    if ((information & kValid) == 0) {
      expect(information == 0, "information that is not valid", information);
      continue;
    }
    expect((information & 0x7fffe000) == 0, "reserved bits of event information", information);
    const uint32_t type = information >> 8 & 7;
    expect(type != 1 && type != 7, "type of an event", information);
    expect((information & kErrorCode) == 0 || type == 3, "error code of an event", information);
    expect(type != 2 || (information & 0xff) == 2, "vector of an NMI", information);
    expect(type != 3 || (information & 0xff) < 32, "vector of an exception", information);
  }
  if ((vectoring & kValid) != 0)
    expect(can_interrupt_delivery(info->reason), "IDT-vectoring information", vectoring);
  if (info->qualification == QualificationFormat::kEptViolation) {
    const uint64_t q = event.qualification;
    expect((q & 7) != 0, "an EPT violation without an access", q);
    expect((q & 0x80) != 0 || (q & 0x100) == 0, "bit 8 without bit 7", q);
    // The access is one that the entries do not allow: R, W, X, and X for user mode.
    const bool user_execute = event.data->has(vmx::SecondaryProcBased::kModeBasedExecuteControl);
    if (!user_execute) expect((q & 7 & ~(q >> 3)) != 0, "an access that EPT allows", q);
  }
}

void Judge::judge_saved_state(const vmx::VmExitEvent& event) {
  const vmx::Vmcs& vmcs = *event.data;
  const vmx::CpuState& s = *event.state;
  const auto same = [&](Field field, uint64_t value) {
    expect(vmcs[field] == value, std::string("saved ") + std::string(vmx::info_of(field).name),
           vmcs[field], value);
  };
  same(Field::kGuestRip, s.rip);
  same(Field::kGuestRsp, s.gpr[vmx::kRsp]);
  same(Field::kGuestCr0, s.cr0);
  same(Field::kGuestCr3, s.cr3);
  same(Field::kGuestCr4, s.cr4);
  constexpr uint64_t kRf = vmx::rflags::kRf;
  expect((vmcs[Field::kGuestRflags] & ~kRf) == (s.rflags & ~kRf), "saved RFLAGS",
         vmcs[Field::kGuestRflags], s.rflags);
  for (uint8_t i = 0; i < vmx::kSegmentCount; ++i) {
    same(vmx::guest_selector(i), s.segment[i].selector);
    same(vmx::guest_base(i), s.segment[i].base);
    same(vmx::guest_limit(i), s.segment[i].limit);
  }
  same(Field::kGuestGdtrBase, s.gdtr.base);
  same(Field::kGuestIdtrLimit, s.idtr.limit);
  expect(vmcs[Field::kGuestActivityState] <= 3, "activity state", vmcs[Field::kGuestActivityState]);
  expect((vmcs[Field::kVmEntryInterruptionInformation] & kValid) == 0, "the event to inject stays",
         vmcs[Field::kVmEntryInterruptionInformation]);
  expect(vmcs.has(vmx::VmEntryControl::kIa32eModeGuest) == s.long_mode_active(),
         "\"IA-32e mode guest\" as saved", vmcs[Field::kVmEntryControls]);

  // Nothing that a VM exit saves makes the next VM entry fail.
  const vmx::CheckContext context{
      .vmcs = vmcs, .capabilities = capabilities_, .memory = nullptr, .current_vmcs = {}};
  for (const vmx::CheckTable& table : check_tables(vmx::CheckGroup::kGuestState)) {
    for (const vmx::EntryCheck& check : table.checks) {
      if (check.passes(context)) continue;
      // docs/divergences.md: #GP after a control transfer to a non-canonical address has that RIP.
      if (check.field == Field::kGuestRip && !capabilities_.registers.canonical(s.rip)) continue;
      // "IA-32e mode guest" follows the guest on every VM exit, the IA32_EFER field only if told
      // to.
      if (check.field == Field::kGuestIa32Efer && !vmcs.has(vmx::VmExitControl::kSaveEfer))
        continue;
      // A #DB that causes a VM exit is reported, and no longer pending, even behind STI or MOV SS.
      const bool debug = vmx::basic_reason(event.reason) == ExitReason::kExceptionOrNmi &&
                         (event.interruption_information & 0xff) == vmx::kDb;
      if (debug && check.id == "guest-pending-debug-bs-missing") continue;
      // The entry has passed by a BTF flag that it does not load.
      if (check.id.starts_with("guest-pending-debug-bs") &&
          !vmcs.has(vmx::VmEntryControl::kLoadDebugControls))
        continue;
      expect(false, "not re-enterable: " + std::string(check.id), vmcs[check.field]);
    }
  }
}

// What the VMCS does not have; memory without accessed and dirty flags, as the image sums it.
void Judge::mix_guest(const vmx::VmExitEvent& event, std::span<const uint8_t> arena) {
  for (const uint64_t value : event.state->gpr) mix(value);
  mix(event.state->dr6);
  mix(event.state->cr2);
  for (size_t at = 0; at < arena.size(); at += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, arena.data() + at, sizeof word);
    mix(word & ~uint64_t{0x6000000360});
  }
}

void Judge::handle(const vmx::VmExitEvent& event) {
  reason_ = event.reason;
  mix(event.reason);
  mix(event.qualification);
  mix(event.guest_rip);
  mix_time(clock_->cycles());
  for (const vmx::FieldInfo& info : vmx::kFields) {
    const uint64_t value = (*event.data)[info.field];
    if (info.field == Field::kVmxPreemptionTimerValue)
      mix_time(value);
    else
      mix(value);
  }
  ++outcomes_[std::string(vmx::exit_reason_name(event.reason))];
  const auto basic = vmx::basic_reason(event.reason);
  const bool failure = basic == ExitReason::kEntryFailureGuestState ||
                       basic == ExitReason::kEntryFailureMsrLoading ||
                       basic == ExitReason::kEntryFailureMachineCheck;
  if (failure != ((event.reason & vmx::kExitReasonEntryFailure) != 0))
    complain("bit 31 of exit reason " + hex(event.reason));
  if (failure) {
    judge_entry(
        basic == ExitReason::kEntryFailureGuestState ? Outcome::kGuestState : Outcome::kMsrLoading,
        *event.data, event.vmcs, event.qualification);
    return;
  }
  judge_exit_information(event);
  judge_saved_state(event);
  std::vector<uint8_t> arena(kArenaEnd - kArena);
  read_arena_(arena);
  mix_guest(event, arena);
  if (current_ == nullptr) return;
  if (basic == ExitReason::kPreemptionTimerExpired) guest_hash_ = 0;
  check_guest(base_, *current_, event, std::exchange(first_exit_, false), arena,
              [this](std::string_view what, uint64_t value, uint64_t other) {
                expect(false, what, value, other);
              });
}

}  // namespace nestor::fuzz
