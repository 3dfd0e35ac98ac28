// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which instructions cause VM exits ("Instructions That Cause VM Exits").
#include <algorithm>
#include <array>

#include "vmx/io_bitmap.h"
#include "vmx/msr_bitmap.h"
#include "vmx/msr_index.h"
#include "vmx/vmx.h"

namespace nestor::vmx {
namespace {

// "Exit Qualification for Control-Register Accesses".
enum class CrAccess : uint64_t { kMovTo = 0, kMovFrom = 1, kClts = 2, kLmsw = 3 };
constexpr uint64_t cr_qualification(CrAccess access, uint8_t cr, uint8_t gpr) {
  return uint64_t{cr} | static_cast<uint64_t>(access) << 4 | uint64_t{gpr} << 8;
}

}  // namespace

// "PAUSE" in "Instructions That Cause VM Exits Conditionally".
bool Vmx::pause_exits() {
  if (primary(PrimaryProcBased::kPauseExiting)) return true;
  if (!secondary(SecondaryProcBased::kPauseLoopExiting) || cpu_.state().cpl() != 0) return false;
  const uint64_t now = cpu_.tsc_increments();
  const bool first = !last_pause_ || now - *last_pause_ > field(Field::kPleGap);
  last_pause_ = now;
  if (first) {
    first_pause_ = now;
    return false;
  }
  return now - first_pause_ > field(Field::kPleWindow);
}

// What an instruction asks for beside its controls.
bool Vmx::operands_exit(ExitReason reason) {
  const CpuState& s = cpu_.state();
  switch (reason) {
    case ExitReason::kPause:
      return pause_exits();
    case ExitReason::kEncls: {
      const auto leaf = static_cast<uint32_t>(s.gpr[kRax]);
      return (field(Field::kEnclsExitingBitmap) >> std::min(leaf, 63u)) & 1;
    }
    case ExitReason::kXsaves:
    case ExitReason::kXrstors: {
      const uint64_t requested = (s.gpr[kRdx] << 32) | (s.gpr[kRax] & 0xffffffff);
      uint64_t xss = 0;
      if (cpu_.read_msr(kIa32Xss, xss) != MsrStatus::kOk) return false;
      return (requested & xss & field(Field::kXssExitingBitmap)) != 0;
    }
    default:
      return true;
  }
}

bool Vmx::instruction_exits(ExitReason reason, const InstructionContext& context,
                            uint64_t qualification) {
  if (!in_non_root_) return false;
  const ExitReasonInfo* info = find_exit_reason(static_cast<uint16_t>(reason));
  if (info == nullptr || !info->intercept.exists) return false;
  const InstructionIntercept& intercept = info->intercept;
  if (intercept.primary && !primary(*intercept.primary)) return false;
  if (intercept.secondary && !secondary(*intercept.secondary)) return false;
  if (!operands_exit(reason)) return false;
  if (info->qualification == QualificationFormat::kDisplacement)
    qualification = context.displacement;
  if (reason == ExitReason::kInvlpg && !cpu_.state().code_64bit()) qualification &= 0xffffffff;
  instruction_exit(reason, context, qualification);
  return true;
}

bool Vmx::read_msr_exits(uint32_t index, const InstructionContext& context) {
  if (!in_non_root_) return false;
  if (vmcs_.has(PrimaryProcBased::kUseMsrBitmaps) &&
      !msr_bitmap_exits(cpu_, {field(Field::kMsrBitmaps)}, index, MsrAccess::kRead))
    return false;
  instruction_exit(ExitReason::kRdmsr, context);
  return true;
}

bool Vmx::write_msr_exits(uint32_t index, const InstructionContext& context) {
  if (!in_non_root_) return false;
  if (vmcs_.has(PrimaryProcBased::kUseMsrBitmaps) &&
      !msr_bitmap_exits(cpu_, {field(Field::kMsrBitmaps)}, index, MsrAccess::kWrite))
    return false;
  instruction_exit(ExitReason::kWrmsr, context);
  return true;
}

bool Vmx::io_exits(const IoAccess& access, const InstructionContext& context) {
  if (!in_non_root_) return false;
  const bool exits = vmcs_.has(PrimaryProcBased::kUseIoBitmaps)
                         ? io_bitmaps_exit(cpu_, {field(Field::kIoBitmapA)},
                                           {field(Field::kIoBitmapB)}, access.port, access.size)
                         : vmcs_.has(PrimaryProcBased::kUnconditionalIoExiting);
  if (!exits) return false;

  ExitInformation exit;
  exit.reason = ExitReason::kIoInstruction;
  exit.qualification = (uint64_t{access.size} - 1) | uint64_t{access.in} << 3 |
                       uint64_t{access.string} << 4 | uint64_t{access.rep} << 5 |
                       uint64_t{access.immediate} << 6 | uint64_t{access.port} << 16;
  exit.instruction_length = context.length;
  if (access.string) {
    exit.guest_linear = cpu_.state().code_64bit() ? access.linear : access.linear & 0xffffffff;
    exit.instruction_information = context.information;
  }
  vm_exit(exit);
  return true;
}

bool Vmx::mov_dr_exits(uint8_t dr, bool from_dr, uint8_t gpr, const InstructionContext& context) {
  if (!primary(PrimaryProcBased::kMovDrExiting)) return false;
  instruction_exit(ExitReason::kMovDr, context,
                   uint64_t{dr} | uint64_t{from_dr} << 4 | uint64_t{gpr} << 8);
  return true;
}

bool Vmx::cr3_is_target(uint64_t value) const {
  constexpr std::array<Field, 4> kTargets = {Field::kCr3TargetValue0, Field::kCr3TargetValue1,
                                             Field::kCr3TargetValue2, Field::kCr3TargetValue3};
  const uint64_t count = std::min<uint64_t>(field(Field::kCr3TargetCount), kTargets.size());
  return std::any_of(kTargets.begin(), kTargets.begin() + count,
                     [&](Field target) { return field(target) == value; });
}

bool Vmx::mov_to_cr_exits(uint8_t cr, uint8_t gpr, uint64_t& value,
                          const InstructionContext& context) {
  if (!in_non_root_) return false;
  const CpuState& s = cpu_.state();
  bool exits = false;
  uint64_t owned_by_host = 0, shadow = 0, current = 0;
  switch (cr) {
    case 0:
      owned_by_host = field(Field::kCr0GuestHostMask);
      shadow = field(Field::kCr0ReadShadow);
      current = s.cr0;
      break;
    case 3:
      exits = vmcs_.has(PrimaryProcBased::kCr3LoadExiting) && !cr3_is_target(value);
      break;
    case 4:
      owned_by_host = field(Field::kCr4GuestHostMask);
      shadow = field(Field::kCr4ReadShadow);
      current = s.cr4;
      break;
    case 8:
      exits = vmcs_.has(PrimaryProcBased::kCr8LoadExiting);
      break;
    default:
      break;
  }
  if (exits || ((value ^ shadow) & owned_by_host)) {
    instruction_exit(ExitReason::kControlRegisterAccess, context,
                     cr_qualification(CrAccess::kMovTo, cr, gpr));
    return true;
  }
  value = (value & ~owned_by_host) | (current & owned_by_host);
  return false;
}

bool Vmx::mov_from_cr_exits(uint8_t cr, uint8_t gpr, const InstructionContext& context) {
  const bool exits = (cr == 3 && primary(PrimaryProcBased::kCr3StoreExiting)) ||
                     (cr == 8 && primary(PrimaryProcBased::kCr8StoreExiting));
  if (exits)
    instruction_exit(ExitReason::kControlRegisterAccess, context,
                     cr_qualification(CrAccess::kMovFrom, cr, gpr));
  return exits;
}

bool Vmx::clts_exits(const InstructionContext& context) {
  if (!in_non_root_) return false;
  if (!(field(Field::kCr0GuestHostMask) & field(Field::kCr0ReadShadow) & cr0::kTs)) return false;
  instruction_exit(ExitReason::kControlRegisterAccess, context,
                   cr_qualification(CrAccess::kClts, 0, 0));
  return true;
}

bool Vmx::lmsw_exits(uint16_t source, std::optional<uint64_t> memory, uint64_t& value,
                     const InstructionContext& context) {
  constexpr uint64_t kLoaded = cr0::kPe | cr0::kMp | cr0::kEm | cr0::kTs;
  const CpuState& s = cpu_.state();
  const uint64_t owned_by_host = in_non_root_ ? field(Field::kCr0GuestHostMask) : 0;
  const uint64_t shadow = in_non_root_ ? field(Field::kCr0ReadShadow) : 0;

  // LMSW cannot clear PE, so only setting it counts.
  const uint64_t differs = (source ^ shadow) & owned_by_host & kLoaded;
  if ((differs & ~cr0::kPe) || (differs & source & cr0::kPe)) {
    ExitInformation exit;
    exit.reason = ExitReason::kControlRegisterAccess;
    exit.qualification = cr_qualification(CrAccess::kLmsw, 0, 0) |
                         uint64_t{memory.has_value()} << 6 | uint64_t{source} << 16;
    if (memory) exit.guest_linear = s.code_64bit() ? *memory : *memory & 0xffffffff;
    exit.instruction_length = context.length;
    vm_exit(exit);
    return true;
  }
  const uint64_t loaded = kLoaded & ~owned_by_host;
  value = (s.cr0 & ~loaded) | (source & loaded) | (s.cr0 & cr0::kPe);
  return false;
}

}  // namespace nestor::vmx
