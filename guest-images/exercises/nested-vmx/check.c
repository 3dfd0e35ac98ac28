// SPDX-License-Identifier: GPL-2.0-or-later
//
// L1: runs L2, has the exercise emulate VMX for it, and runs L3 for it. Nothing to change here.
#include <stdbool.h>
#include <stddef.h>

#include "guest-images/exercises/nested-vmx/exercise.h"
#include "guest-images/exercises/nested-vmx/guest.h"
#include "guest-images/lib/console.h"
#include "guest-images/lib/ept.h"
#include "guest-images/lib/image_main.h"
#include "guest-images/lib/vmcs.h"
#include "guest-images/lib/vmx_names.h"

static const char kImage[] = "nested-vmx";

// CF, PF, AF, ZF, SF and OF: the flags that a VMX instruction writes.
enum { kCarry = 1, kZero = 0x40, kResultFlags = 0x8d5 };

static const uint32_t kFieldEncodings[kFields] = {
    kGuestRip,
    kGuestRsp,
    kGuestRflags,
    kHostRip,
    kHostRsp,
    kExitReason,
    kExitQualification,
    kVmExitInstructionLength,
    kVmInstructionError,
    kExceptionBitmap,
};

static uint8_t vmxon_region[4096] __attribute__((aligned(4096)));
static uint8_t vmcs01[4096] __attribute__((aligned(4096)));
static uint8_t vmcs02[4096] __attribute__((aligned(4096)));
static uint8_t guest_stack[0x4000] __attribute__((aligned(16)));

static VirtualProcessor processor = {NO_VMCS, NO_VMCS};
static GuestRegisters guest;  // of L2 or L3, whoever has run last
static bool l3_runs, launched01, launched02;

static void make_current(void* vmcs) {
  if (vmx_load_pointer((uint64_t)vmcs) != kVmSucceed) give_up("VMPTRLD failed");
}

Vmcs12* vmcs12_at(uint64_t address) { return (Vmcs12*)address; }

uint64_t* vmcs12_field(Vmcs12* vmcs12, uint64_t encoding) {
  for (unsigned i = 0; i < kFields; i++) {
    if (kFieldEncodings[i] == encoding) return &vmcs12->fields[i];
  }
  return NULL;
}

static uint64_t field12(VmcsField field) {
  return *vmcs12_field(vmcs12_at(processor.current_vmcs), field);
}

VmxResult vm_fail(const VirtualProcessor* failing, uint32_t error) {
  if (failing->current_vmcs == NO_VMCS) return kVmFailInvalid;
  *vmcs12_field(vmcs12_at(failing->current_vmcs), kVmInstructionError) = error;
  return kVmFailValid;
}

// The numbers of the registers are the processor's: RSP, the fifth, is in the VMCS.
static uint64_t read_register(unsigned number) {
  if (number == 4) return vmcs_read(kGuestRsp);
  return (&guest.rax)[number > 4 ? number - 1 : number];
}
static void write_register(unsigned number, uint64_t value) {
  if (number == 4) give_up("L2 reads a field to RSP");
  (&guest.rax)[number > 4 ? number - 1 : number] = value;
}

// Intel SDM, tables "Format of the VM-Exit Instruction-Information Field". A displacement from RIP
// has RIP added in the exit qualification.
static uint64_t pointer_operand(void) {
  const uint64_t information = vmcs_read(kVmExitInstructionInformation);
  uint64_t address = vmcs_read(kExitQualification);
  if (!(information >> 27 & 1)) address += read_register(information >> 23 & 0xf);
  if (!(information >> 22 & 1)) {
    address += read_register(information >> 18 & 0xf) << (information & 3);
  }
  return *(const uint64_t*)address;
}

static void finish_instruction(VmxResult result) {
  const uint64_t flags = result == kVmFailInvalid ? kCarry : result == kVmFailValid ? kZero : 0;
  vmcs_write(kGuestRflags, (vmcs_read(kGuestRflags) & ~(uint64_t)kResultFlags) | flags);
  vmcs_skip_instruction();
}

static void access_field(bool write) {
  const uint64_t information = vmcs_read(kVmExitInstructionInformation);
  if (!(information >> 10 & 1)) give_up("L2's VMREAD or VMWRITE has a memory operand");
  const unsigned operand = information >> 3 & 0xf;
  const uint64_t encoding = read_register(information >> 28 & 0xf);
  if (write) {
    finish_instruction(emulate_vmwrite(&processor, encoding, read_register(operand)));
    return;
  }
  uint64_t value = read_register(operand);
  const VmxResult result = emulate_vmread(&processor, encoding, &value);
  if (result == kVmSucceed) write_register(operand, value);
  finish_instruction(result);
}

static VmxResult emulate_vmxon(uint64_t address) {
  if (vmcs12_at(address)->revision != VMCS12_REVISION) return kVmFailInvalid;
  processor.vmxon_pointer = address;
  return kVmSucceed;
}

static VmxResult emulate_vmclear(uint64_t address) {
  vmcs12_at(address)->launched = 0;
  if (processor.current_vmcs == address) processor.current_vmcs = NO_VMCS;
  return kVmSucceed;
}

static void enter_l3(bool resume) {
  if (processor.current_vmcs == NO_VMCS) {
    finish_instruction(kVmFailInvalid);
    return;
  }
  Vmcs12* vmcs12 = vmcs12_at(processor.current_vmcs);
  if (vmcs12->launched != resume) {
    finish_instruction(vm_fail(&processor, resume ? 5 : 4));
    return;
  }
  vmcs12->launched = 1;
  make_current(vmcs02);
  prepare_vmcs02(vmcs12);
  l3_runs = true;
}

// What a VM exit is for L2: it goes on at the host RIP of its VMCS.
static void exit_to_l2(void) {
  l3_runs = false;
  if (guest.rax == L3_LOST) {
    print("FAIL: L3 begins elsewhere than L2 has said\n");
    finish(kImage, 1);
  }
  save_exit(vmcs12_at(processor.current_vmcs));
  make_current(vmcs01);
  vmcs_write(kGuestRip, field12(kHostRip));
  vmcs_write(kGuestRsp, field12(kHostRsp));
  vmcs_write(kGuestRflags, 2);
}

static void handle_exit_of_l2(uint32_t reason) {
  switch (reason) {
    case kExitVmxon:
      finish_instruction(emulate_vmxon(pointer_operand()));
      break;
    case kExitVmclear:
      finish_instruction(emulate_vmclear(pointer_operand()));
      break;
    case kExitVmptrld:
      finish_instruction(emulate_vmptrld(&processor, pointer_operand()));
      break;
    case kExitVmread:
    case kExitVmwrite:
      access_field(reason == kExitVmwrite);
      break;
    case kExitVmlaunch:
    case kExitVmresume:
      enter_l3(reason == kExitVmresume);
      break;
    case kExitVmcall:
      finish(kImage, (unsigned)guest.rax);
    default:
      give_up("unexpected VM exit of L2: %s, RIP %#lx", exit_reason_name(reason),
              vmcs_read(kGuestRip));
  }
}

static void fill_vmcs(void* region, uint64_t eptp, const void* entry) {
  vmcs_make_current(region);
  vmcs_write_controls_64bit(kCpu2Ept);
  vmcs_write(kEptPointer, eptp);
  vmcs_write_host_state();
  vmcs_write_guest_state_64bit((uint64_t)entry, (uint64_t)(guest_stack + sizeof guest_stack) - 8);
}

void image_main(void) {
  print("%s: L2 is a hypervisor\n", kImage);
  vmx_operation_enter(vmxon_region);
  const uint64_t eptp = ept_identity_map();
  fill_vmcs(vmcs02, eptp, l3_lost);
  fill_vmcs(vmcs01, eptp, (const void*)guest_main);
  for (;;) {
    bool* launched = l3_runs ? &launched02 : &launched01;
    if (vm_enter(&guest, *launched) != kVmSucceed) {
      give_up("VM entry failed: %s", vm_instruction_error_name(vmcs_read(kVmInstructionError)));
    }
    *launched = true;
    if (l3_runs) {
      exit_to_l2();
    } else {
      handle_exit_of_l2((uint32_t)vmcs_read(kExitReason));
    }
  }
}
