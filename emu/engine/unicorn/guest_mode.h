// SPDX-License-Identifier: GPL-2.0-or-later
//
// SVM's guest mode as Unicorn implements it: the control block that makes it trap, and the flags by
// which it knows the processor's mode. Source: AMD APM volume 2, "Secure Virtual Machine" and
// "Layout of VMCB".
#pragma once

#include <cstdint>

#include "vmx/cpu_state.h"

namespace nestor::emu::svm {

// Private pages of the adapter, outside guest-physical memory.
inline constexpr uint64_t kScratch = 0xf000'0000'0000, kScratchSize = 0x1'0000;
inline constexpr uint64_t kVmcb = kScratch, kHostSave = kScratch + 0x1000,
                          kStub = kScratch + 0x2000, kOpenBus = kScratch + 0x3000,
                          kMsrBitmap = kScratch + 0x4000, kIoBitmap = kScratch + 0x8000;
// Guest-physical pages outside RAM are seen through this window, in the order of first use.
inline constexpr uint64_t kWindow = 0xe000'0000'0000, kWindowPages = 1u << 18;
// RAM that is movable stays here.
inline constexpr uint64_t kMovable = 0xd000'0000'0000;
// Non-canonical linear addresses under which physical memory can be named to the engine.
inline constexpr uint64_t kPhysicalLinear = 0x4000'0000'0000'0000;
// Where the VMRUN instruction is mapped while guest mode is entered.
inline constexpr uint64_t kStubLinear = 0x7fff'ffff'f000;

// VM_HSAVE_PA.
inline constexpr uint32_t kHostSaveMsr = 0xc0010117;

// Exit codes (APM, "SVM Intercept Exit Codes"), as far as they need a name here.
enum ExitCode : uint32_t {
  kExitException = 0x40,
  kExitPushf = 0x70,
  kExitPopf = 0x71,
  kExitHlt = 0x78,
  kExitMsr = 0x7c,
  kExitVmrun = 0x80,
};
constexpr uint64_t intercept(ExitCode code) { return 1ull << (code - 0x60); }
// Everything but what must stay native.
inline constexpr uint64_t kIntercepts =
    ~(intercept(kExitPushf) | intercept(kExitPopf) | intercept(kExitVmrun));

// Bits of QEMU's hidden flags that a mode sets.
enum HiddenFlag : uint32_t {
  kInhibitIrq = 1u << 3,
  kCode32 = 1u << 4,
  kStack32 = 1u << 5,
  kAddSegment = 1u << 6,
  kProtected = 1u << 7,
  kTrap = 1u << 8,
  kMonitorFpu = 1u << 9,
  kLongMode = 1u << 14,
  kCode64 = 1u << 15,
  kSvmEnabled = 1u << 20,
  kGuest = 1u << 21,
  kOsfxsr = 1u << 22,
  kSmap = 1u << 23,
};

inline constexpr uint64_t kEferSvme = 1u << 12;

// The hidden flags that belong to a state in guest mode.
uint32_t hidden_flags(const vmx::CpuState& state);

// What the meaning of code depends on, beside its bytes, as a number that tells it apart: the mode,
// and the segments as far as they limit accesses or shift them against alignment. `hidden_flags`:
// of `state`.
uint64_t code_mode(const vmx::CpuState& state, uint32_t hidden_flags);

// Access rights between the VMCS's format and bits 8 to 23 of a descriptor's second word.
uint32_t descriptor_flags(vmx::AccessRights rights);
vmx::AccessRights access_rights(uint32_t descriptor_flags);

// CR0 and EFER as the engine must hold them: paging is ours, and SYSCALL traps.
constexpr uint64_t engine_cr0(const vmx::CpuState& state) { return state.cr0 & ~vmx::cr0::kPg; }
constexpr uint64_t engine_efer(const vmx::CpuState& state) {
  return (state.efer & ~vmx::efer::kSce) | kEferSvme;
}
// CR4 bits that change how the engine executes or faults.
constexpr uint64_t engine_cr4(const vmx::CpuState& state) {
  return state.cr4 & (vmx::cr4::kVme | vmx::cr4::kPvi | vmx::cr4::kTsd | vmx::cr4::kDe |
                      vmx::cr4::kPce | vmx::cr4::kOsfxsr | vmx::cr4::kOsxmmexcpt);
}

// Fills the VMCB page with `state` and intercepts for everything.
void write_vmcb(uint8_t* vmcb, const vmx::CpuState& state);

}  // namespace nestor::emu::svm
