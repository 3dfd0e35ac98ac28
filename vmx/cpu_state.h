// SPDX-License-Identifier: GPL-2.0-or-later
//
// The architectural state of one logical processor, as VM entries load it and VM exits save it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

namespace nestor::vmx {

// General-purpose registers by their encoding in ModRM and REX.
// clang-format off
enum Gpr : uint8_t {
  kRax, kRcx, kRdx, kRbx, kRsp, kRbp, kRsi, kRdi,
  kR8, kR9, kR10, kR11, kR12, kR13, kR14, kR15,
};
// clang-format on

// Segment registers by their encoding (ES..GS), then the two system segments.
enum SegmentRegister : uint8_t { kEs, kCs, kSs, kDs, kFs, kGs, kLdtr, kTr, kSegmentCount };

// Access rights in the format of the VMCS ("Guest Register State"): bits 3:0 type, 4 S, 6:5 DPL,
// 7 P, 12 AVL, 13 L, 14 D/B, 15 G, 16 unusable; all others 0.
struct AccessRights {
  static constexpr uint32_t kUnusable = 1u << 16;
  uint32_t value = kUnusable;

  constexpr uint8_t type() const { return value & 0xf; }
  constexpr bool code_or_data() const { return value & 0x10; }
  constexpr uint8_t dpl() const { return (value >> 5) & 3; }
  constexpr bool present() const { return value & 0x80; }
  constexpr bool long_mode() const { return value & 0x2000; }
  constexpr bool default_big() const { return value & 0x4000; }
  constexpr bool granularity() const { return value & 0x8000; }
  constexpr bool unusable() const { return value & kUnusable; }
  constexpr bool operator==(const AccessRights&) const = default;
};

// A segment register with its hidden part. The limit is in bytes (already scaled by G).
struct Segment {
  uint16_t selector = 0;
  AccessRights rights;
  uint32_t limit = 0;
  uint64_t base = 0;
  constexpr bool operator==(const Segment&) const = default;
  template <class Archive>
  void fields(Archive& archive) {
    archive(selector, rights.value, limit, base);
  }
};

struct DescriptorTable {
  uint64_t base = 0;
  uint16_t limit = 0;
  constexpr bool operator==(const DescriptorTable&) const = default;
  template <class Archive>
  void fields(Archive& archive) {
    archive(base, limit);
  }
};

// "Guest Non-Register State", field "Activity state".
enum class ActivityState : uint32_t { kActive = 0, kHlt = 1, kShutdown = 2, kWaitForSipi = 3 };

namespace cr0 {
inline constexpr uint64_t kPe = 1u << 0, kMp = 1u << 1, kEm = 1u << 2, kTs = 1u << 3, kEt = 1u << 4,
                          kNe = 1u << 5, kWp = 1u << 16, kAm = 1u << 18, kNw = 1u << 29,
                          kCd = 1u << 30, kPg = 1u << 31;
}
namespace cr4 {
inline constexpr uint64_t kVme = 1u << 0, kPvi = 1u << 1, kTsd = 1u << 2, kDe = 1u << 3,
                          kPse = 1u << 4, kPae = 1u << 5, kMce = 1u << 6, kPge = 1u << 7,
                          kPce = 1u << 8, kOsfxsr = 1u << 9, kOsxmmexcpt = 1u << 10,
                          kUmip = 1u << 11, kLa57 = 1u << 12, kVmxe = 1u << 13, kSmxe = 1u << 14,
                          kFsgsbase = 1u << 16, kPcide = 1u << 17, kOsxsave = 1u << 18,
                          kSmep = 1u << 20, kSmap = 1u << 21, kPke = 1u << 22, kCet = 1u << 23,
                          kPks = 1u << 24;
}
namespace efer {
inline constexpr uint64_t kSce = 1u << 0, kLme = 1u << 8, kLma = 1u << 10, kNxe = 1u << 11;
}
namespace debugctl {
inline constexpr uint64_t kLbr = 1u << 0, kBtf = 1u << 1;
}
namespace misc_enable {
inline constexpr uint64_t kFastStrings = 1u << 0, kThermalControl = 1u << 3,
                          kPerformanceMonitoring = 1u << 7, kBranchTraceUnavailable = 1u << 11,
                          kPebsUnavailable = 1u << 12, kSpeedStep = 1u << 16, kMonitor = 1u << 18,
                          kLimitCpuid = 1u << 22, kXtprDisable = 1u << 23,
                          kExecuteDisableDisable = 1ull << 34;
}
namespace rflags {
inline constexpr uint64_t kCf = 1u << 0, kFixed1 = 1u << 1, kPf = 1u << 2, kAf = 1u << 4,
                          kZf = 1u << 6, kSf = 1u << 7, kTf = 1u << 8, kIf = 1u << 9,
                          kDf = 1u << 10, kOf = 1u << 11, kIopl = 3u << 12, kNt = 1u << 14,
                          kRf = 1u << 16, kVm = 1u << 17, kAc = 1u << 18, kVif = 1u << 19,
                          kVip = 1u << 20, kId = 1u << 21;
}

// Everything that belongs to the processor between two instructions, but for x87 and SSE
// registers, which VMX neither saves nor loads, and for state of the local APIC.
//
// fields(), here and below, visits all that saved state has of an object, in the order of the file.
struct CpuState {
  std::array<uint64_t, 16> gpr{};
  uint64_t rip = 0;
  uint64_t rflags = rflags::kFixed1;

  std::array<Segment, kSegmentCount> segment{};
  DescriptorTable gdtr, idtr;

  uint64_t cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0;
  std::array<uint64_t, 4> pdptes{};  // loaded in PAE paging only
  std::array<uint64_t, 4> dr{};      // DR0 to DR3
  uint64_t dr6 = 0xffff0ff0, dr7 = 0x400;

  uint64_t efer = 0, pat = 0x0007040600070406;
  uint64_t star = 0, lstar = 0, cstar = 0, fmask = 0, kernel_gs_base = 0;
  uint64_t sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;
  uint64_t debugctl = 0, tsc_aux = 0;
  uint64_t spec_ctrl = 0, misc_enable = 1, perf_global_ctrl = 0;
  uint32_t pkru = 0, pkrs = 0;  // PKRU, which VMX neither saves nor loads, and IA32_PKRS

  ActivityState activity = ActivityState::kActive;
  bool blocking_by_sti = false, blocking_by_mov_ss = false, blocking_by_nmi = false;
  bool monitor_armed = false;  // address-range monitoring, by MONITOR
  // Format of the VMCS field "Pending debug exceptions".
  uint64_t pending_debug_exceptions = 0;

  template <class Archive>
  void fields(Archive& archive) {
    archive(gpr, rip, rflags, segment, gdtr, idtr, cr0, cr2, cr3, cr4, pdptes, dr, dr6, dr7, efer,
            pat, star, lstar, cstar, fmask, kernel_gs_base, sysenter_cs, sysenter_esp, sysenter_eip,
            debugctl, tsc_aux, spec_ctrl, misc_enable, perf_global_ctrl, pkru, pkrs, activity,
            blocking_by_sti, blocking_by_mov_ss, blocking_by_nmi, monitor_armed,
            pending_debug_exceptions);
    archive.require(activity <= ActivityState::kWaitForSipi);
  }

  constexpr bool protected_mode() const { return cr0 & cr0::kPe; }
  constexpr bool virtual_8086() const { return protected_mode() && (rflags & rflags::kVm); }
  constexpr bool long_mode_active() const { return efer & efer::kLma; }
  constexpr bool code_64bit() const {
    return long_mode_active() && segment[kCs].rights.long_mode();
  }
  // The current process-context identifier.
  constexpr uint16_t pcid() const {
    return static_cast<uint16_t>(cr4 & cr4::kPcide ? cr3 & 0xfff : 0);
  }
  // The current privilege level: 0 in real mode, 3 in virtual-8086 mode, else DPL of SS.
  constexpr uint8_t cpl() const {
    if (!protected_mode()) return 0;
    return virtual_8086() ? 3 : segment[kSs].rights.dpl();
  }
};

// Exceptions by vector.
// clang-format off
enum Vector : uint8_t {
  kDe = 0, kDb = 1, kNmi = 2, kBp = 3, kOf = 4, kBr = 5, kUd = 6, kNm = 7, kDf = 8, kTs = 10,
  kNp = 11, kSs12 = 12, kGp = 13, kPf = 14, kMf = 16, kAc = 17, kMc = 18, kXm = 19, kVe = 20,
  kCp = 21,
};
// clang-format on

// "VM-Entry Interruption-Information Field", interruption type.
enum class EventType : uint8_t {
  kExternalInterrupt = 0,
  kNmi = 2,
  kHardwareException = 3,
  kSoftwareInterrupt = 4,
  kPrivilegedSoftwareException = 5,  // INT1
  kSoftwareException = 6,            // INT3, INTO
  kOther = 7,                        // MTF
};

// "Exit Qualification for Debug Exceptions", with BT, which no VM exit reports. In DR6 the bits are
// the same.
namespace debug_cause {
inline constexpr uint64_t kGeneralDetect = 1u << 13, kTaskSwitch = 1u << 15;
}

// What an instruction wanted of an MSR, and did not get.
struct RefusedMsr {
  uint32_t index = 0;
  std::optional<uint64_t> value = {};  // that WRMSR writes; std::nullopt: RDMSR
};

// An event to deliver through the IDT, or to report in VM-exit information.
struct Event {
  EventType type = EventType::kHardwareException;
  uint8_t vector = 0;
  std::optional<uint32_t> error_code;
  // Software events: bytes of the instruction, for the return address and the VM-exit instruction
  // length.
  uint8_t instruction_length = 0;
  // #PF: the faulting linear address. #DB: the bits to merge into DR6, in the format of the
  // exit qualification for debug exceptions.
  uint64_t payload = 0;
  // For whoever listens: the reason, where vector and error code do not tell it. A static text.
  std::string_view why = {};
  // The same: of RDMSR and WRMSR that are refused.
  std::optional<RefusedMsr> msr = {};

  template <class Archive>
  void fields(Archive& archive) {
    archive(type, vector, error_code, instruction_length, payload);
    archive.require(type <= EventType::kOther);
  }
};

// A hardware exception with or without an error code.
constexpr Event exception(Vector vector, std::optional<uint32_t> error = std::nullopt,
                          uint64_t payload = 0) {
  return Event{EventType::kHardwareException, vector, error, 0, payload};
}
constexpr Event because(std::string_view why, Event event) {
  event.why = why;
  return event;
}
constexpr Event because(std::string_view why, const RefusedMsr& msr, Event event) {
  event.msr = msr;
  return because(why, event);
}

// All done; the caller advances RIP over the instruction.
struct Completed {};
// The state, RIP included, is that of the next instruction (VM entry, VM exit, jump).
struct Transferred {};
// How the emulation of one instruction ended.
using Outcome = std::variant<Completed, Transferred, Event>;  // Event: a fault; nothing has changed

}  // namespace nestor::vmx
