// SPDX-License-Identifier: GPL-2.0-or-later
//
// The VMX instructions as functions. Each reports success or failure as the processor does, in
// RFLAGS.CF and RFLAGS.ZF; see Intel SDM, "VMX Instruction Reference", section "Conventions".
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest-images/lib/vmcs_fields.h"

typedef enum {
  kVmSucceed,      // CF = 0, ZF = 0
  kVmFailInvalid,  // CF = 1: there is no current VMCS to hold an error number
  kVmFailValid,    // ZF = 1: the VM-instruction error field of the current VMCS says why
} VmxResult;

#define VMX_RESULT(invalid, valid) \
  ((invalid) ? kVmFailInvalid : (valid) ? kVmFailValid : kVmSucceed)

// 128-bit memory operand of INVEPT (EPTP, 0) and INVVPID (VPID, linear address).
typedef struct {
  uint64_t first, second;
} InvalidationDescriptor;

static inline VmxResult vmx_on(uint64_t region) {
  bool invalid, valid;
  __asm__ volatile("vmxon %2" : "=@ccc"(invalid), "=@ccz"(valid) : "m"(region) : "memory");
  return VMX_RESULT(invalid, valid);
}

static inline VmxResult vmx_off(void) {
  bool invalid, valid;
  __asm__ volatile("vmxoff" : "=@ccc"(invalid), "=@ccz"(valid) : : "memory");
  return VMX_RESULT(invalid, valid);
}

static inline VmxResult vmx_clear(uint64_t vmcs) {
  bool invalid, valid;
  __asm__ volatile("vmclear %2" : "=@ccc"(invalid), "=@ccz"(valid) : "m"(vmcs) : "memory");
  return VMX_RESULT(invalid, valid);
}

static inline VmxResult vmx_load_pointer(uint64_t vmcs) {
  bool invalid, valid;
  __asm__ volatile("vmptrld %2" : "=@ccc"(invalid), "=@ccz"(valid) : "m"(vmcs) : "memory");
  return VMX_RESULT(invalid, valid);
}

static inline uint64_t vmx_store_pointer(void) {
  uint64_t vmcs;
  __asm__ volatile("vmptrst %0" : "=m"(vmcs) : : "cc", "memory");
  return vmcs;
}

static inline VmxResult vmx_read(uint64_t encoding, uint64_t* value) {
  bool invalid, valid;
  uint64_t read = 0;
  __asm__ volatile("vmread %3, %2"
                   : "=@ccc"(invalid), "=@ccz"(valid), "+r"(read)
                   : "r"(encoding)
                   : "memory");
  *value = read;
  return VMX_RESULT(invalid, valid);
}

static inline VmxResult vmx_write(uint64_t encoding, uint64_t value) {
  bool invalid, valid;
  __asm__ volatile("vmwrite %2, %3"
                   : "=@ccc"(invalid), "=@ccz"(valid)
                   : "r"(value), "r"(encoding)
                   : "memory");
  return VMX_RESULT(invalid, valid);
}

static inline VmxResult vmx_call_in_root(void) {
  bool invalid, valid;
  __asm__ volatile("vmcall" : "=@ccc"(invalid), "=@ccz"(valid) : : "memory");
  return VMX_RESULT(invalid, valid);
}

static inline VmxResult vmx_invalidate_ept(uint64_t type, InvalidationDescriptor descriptor) {
  bool invalid, valid;
  __asm__ volatile("invept %3, %2"
                   : "=@ccc"(invalid), "=@ccz"(valid)
                   : "r"(type), "m"(descriptor)
                   : "memory");
  return VMX_RESULT(invalid, valid);
}

static inline VmxResult vmx_invalidate_vpid(uint64_t type, InvalidationDescriptor descriptor) {
  bool invalid, valid;
  __asm__ volatile("invvpid %3, %2"
                   : "=@ccc"(invalid), "=@ccz"(valid)
                   : "r"(type), "m"(descriptor)
                   : "memory");
  return VMX_RESULT(invalid, valid);
}

// Operand types of INVEPT and INVVPID.
enum {
  kInveptSingleContext = 1,
  kInveptAllContexts = 2,
  kInvvpidAddress = 0,
  kInvvpidSingleContext = 1,
};

// The guest's general-purpose registers, which the VMCS does not hold. vm_entry.S knows the layout.
typedef struct {
  uint64_t rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
} GuestRegisters;

// VMLAUNCH (or VMRESUME) of the current VMCS, whose HOST_RIP must be vm_exit_point. Returns
// kVmSucceed after a VM exit, with the guest's registers in *registers, or the way in which the
// instruction failed. Sets HOST_RSP.
VmxResult vm_enter(GuestRegisters* registers, bool resume);

// Where VM exits arrive; a label inside vm_enter(), not a function to call.
extern const char vm_exit_point[];
