// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/native/virtual_machine.h"

#include <spdlog/fmt/fmt.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <memory>

#include "emu/native/vmx_support.h"

namespace nestor::emu::native {
namespace {

/// Counts seconds, and interrupts KVM_RUN while it does: a guest that never halts is stopped.
volatile std::sig_atomic_t seconds_passed = 0;
constexpr int kLongestRunSeconds = 2;

void start_clock() {
  struct sigaction action {};
  action.sa_handler = [](int) { seconds_passed = seconds_passed + 1; };
  sigaction(SIGALRM, &action, nullptr);  // Without SA_RESTART: KVM_RUN returns.
  const itimerval every_second{{1, 0}, {1, 0}};
  setitimer(ITIMER_REAL, &every_second, nullptr);
}

/// EBX of CPUID leaf 0 of AMD's processors: "Auth".
constexpr std::uint32_t kAuthenticAmd = 0x6874'7541;

/// A parameter of a module of the kernel that is on or off; nothing where there is none.
std::optional<bool> parameter(const std::string& name) {
  std::ifstream file("/sys/module/" + name);
  char value = 0;
  if (!(file >> value)) return std::nullopt;
  return value == 'Y' || value == '1';
}

}  // namespace

VirtualMachine::VirtualMachine(const std::string& device, std::size_t memory_bytes,
                               std::uint8_t maxphyaddr)
    : device_(open_device(device)),
      machine_(create_machine(device_, device)),
      memory_(-1, memory_bytes),
      processor_(create_processor(machine_)),
      run_(processor_.number(), run_size(device_)),
      features_(set_cpuid(maxphyaddr)) {
  start_clock();
  set_memory_slot(memory_.size());
  if (control(processor_, KVM_GET_SREGS, &sregs()) < 0 ||
      control(processor_, KVM_GET_REGS, &regs()) < 0) {
    throw Failure("KVM does not tell the processor's registers");
  }
}

Features VirtualMachine::set_cpuid(std::uint8_t maxphyaddr) {
  const auto cpuid = supported_cpuid(device_);
  Features features;
  // Without sysfs nothing tells, and PVM's own range is not judged either.
  features.pvm = access("/sys/module/kvm_pvm", F_OK) == 0 || access("/sys/module/kvm", F_OK) != 0;
  const auto ept = parameter("kvm_intel/parameters/ept");
  const auto npt = parameter("kvm_amd/parameters/npt");
  features.shadow_paging = ept == false || npt == false;
  features.smaller_maxphyaddr =
      ept != true && control(device_, KVM_CHECK_EXTENSION, KVM_CAP_SMALLER_MAXPHYADDR) > 0;
  features.vmx = has_vmx(*cpuid);
  for (kvm_cpuid_entry2& leaf : cpuid->leaves()) {
    if (leaf.function == 0) features.amd = leaf.ebx == kAuthenticAmd;
    if (leaf.function == 1) features.pse36 = (leaf.edx >> 17 & 1) != 0;
    if (leaf.function == 7 && leaf.index == 0) {
      features.smep = (leaf.ebx >> 7 & 1) != 0;
      features.smap = (leaf.ebx >> 20 & 1) != 0;
      features.pku = (leaf.ecx >> 3 & 1) != 0;
      features.pks = (leaf.ecx >> 31 & 1) != 0;
      features.la57 = (leaf.ecx >> 16 & 1) != 0;
    }
    if (leaf.function == 0x8000'0001) {
      features.nx = (leaf.edx >> 20 & 1) != 0;
      features.page1gb = (leaf.edx >> 26 & 1) != 0;
    }
    if (leaf.function == 0x8000'0008) {
      const auto offered = static_cast<std::uint8_t>(leaf.eax & 0xff);
      features.maxphyaddr = maxphyaddr == 0 ? offered : std::min(offered, maxphyaddr);
      leaf.eax = (leaf.eax & ~0xffU) | features.maxphyaddr;
    }
  }
  if (!native::set_cpuid(processor_, *cpuid)) {
    throw Failure(
        fmt::format("KVM refuses a processor of {} physical-address bits", features.maxphyaddr));
  }
  return features;
}

kvm_sregs& VirtualMachine::sregs() { return reinterpret_cast<kvm_run*>(run_.data())->s.regs.sregs; }
kvm_regs& VirtualMachine::regs() { return reinterpret_cast<kvm_run*>(run_.data())->s.regs.regs; }

void VirtualMachine::load_registers() {
  if (control(processor_, KVM_SET_SREGS, &sregs()) < 0 ||
      control(processor_, KVM_SET_REGS, &regs()) < 0) {
    throw Unavailable(fmt::format("KVM on this host refuses CR0 {:#x}, CR4 {:#x}, EFER {:#x}: {}",
                                  sregs().cr0, sregs().cr4, sregs().efer, std::strerror(errno)));
  }
  kvm_sregs kept{};
  if (control(processor_, KVM_GET_SREGS, &kept) < 0) throw Failure("KVM_GET_SREGS failed");
  if (kept.cr0 != sregs().cr0 || kept.cr4 != sregs().cr4 || kept.efer != sregs().efer) {
    throw Unavailable(fmt::format(
        "KVM on this host turns CR0 {:#x}, CR4 {:#x}, EFER {:#x} into {:#x}, {:#x}, {:#x}",
        sregs().cr0, sregs().cr4, sregs().efer, kept.cr0, kept.cr4, kept.efer));
  }
}

void VirtualMachine::set_msr(std::uint32_t index, std::uint64_t value) {
  if (!native::set_msr(processor_, index, value)) {
    throw Unavailable(fmt::format("KVM on this host refuses {:#x} in MSR {:#x}", value, index));
  }
}

std::uint64_t VirtualMachine::msr(std::uint32_t index) {
  const auto value = native::msr(processor_, index);
  if (!value) throw Unavailable(fmt::format("KVM on this host has no MSR {:#x}", index));
  return *value;
}

std::optional<std::uint64_t> VirtualMachine::translate(std::uint64_t linear) {
  kvm_translation translation{};
  translation.linear_address = linear;
  if (control(processor_, KVM_TRANSLATE, &translation) < 0) {
    throw Failure(fmt::format("KVM_TRANSLATE failed: {}", std::strerror(errno)));
  }
  if (translation.valid == 0) return std::nullopt;
  return translation.physical_address;
}

Stop VirtualMachine::run() {
  reinterpret_cast<kvm_run*>(run_.data())->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  return run_on();
}

Stop VirtualMachine::run_on() {
  auto& run = *reinterpret_cast<kvm_run*>(run_.data());
  run.kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  const int started = seconds_passed;
  Stop stop;
  for (;;) {
    if (ioctl(processor_.number(), KVM_RUN, 0) < 0) {
      if (errno != EINTR) {
        stop.failure = fmt::format("KVM_RUN: {}", std::strerror(errno));
        return stop;
      }
      if (seconds_passed - started < kLongestRunSeconds) continue;
      stop.failure = fmt::format("no halt within {} s", kLongestRunSeconds);
      return stop;
    }
    if (run.exit_reason == KVM_EXIT_HLT) return stop;
    if (run.exit_reason == KVM_EXIT_MMIO) {
      if (!stop.outside) stop.outside = {run.mmio.phys_addr, run.mmio.is_write != 0};
      std::memset(run.mmio.data, 0xff, sizeof run.mmio.data);
    } else {
      stop.failure = describe_exit(run);
      stop.shut_down = run.exit_reason == KVM_EXIT_SHUTDOWN;
      return stop;
    }
  }
}

void VirtualMachine::set_memory_slot(std::size_t size) {
  kvm_userspace_memory_region region{};
  region.memory_size = size;
  region.userspace_addr = reinterpret_cast<std::uint64_t>(memory_.data());
  if (control(machine_, KVM_SET_USER_MEMORY_REGION, &region) < 0) {
    throw Failure(fmt::format("KVM refuses {} bytes of memory: {}", size, std::strerror(errno)));
  }
}

void VirtualMachine::forget_translations() {
  set_memory_slot(0);
  set_memory_slot(memory_.size());
}

}  // namespace nestor::emu::native
