// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "emu/native/device.h"

namespace nestor::emu::native {

/// What the virtual processor has of what decides a page walk, from KVM_GET_SUPPORTED_CPUID.
struct Features {
  bool pse36 = false;
  bool nx = false;
  bool page1gb = false;
  bool smep = false;
  bool smap = false;
  bool pku = false;
  bool pks = false;
  bool la57 = false;
  bool vmx = false;
  bool amd = false;  ///< The processor is AMD's: segments follow the VMCB, not the VMCS.
  bool pvm = false;  ///< KVM is PVM, which deprivileges the guest by software, or may be.
  /// KVM's modules for Intel and AMD are told to use neither EPT nor NPT.
  bool shadow_paging = false;
  /// Code that runs meets the virtual processor's physical-address width, also where the host's is
  /// larger. With EPT or NPT the host's processor walks, which has its own. The module's parameter
  /// allow_smaller_maxphyaddr makes KVM correct the outcome with EPT, but not the flags left in the
  /// tables, nor where it would have to emulate VERR.
  bool smaller_maxphyaddr = false;
  std::uint8_t maxphyaddr = 36;
};

/// How an execution in the virtual machine ended.
struct Stop {
  /// Empty if the processor halted; otherwise what KVM_RUN returned instead, in words.
  std::string failure{};
  bool shut_down = false;  ///< It returned KVM_EXIT_SHUTDOWN.
  /// The first access outside the memory, if there was one.
  struct Outside {
    std::uint64_t address = 0;
    bool write = false;
    bool operator==(const Outside&) const = default;
  };
  std::optional<Outside> outside{};
};

/// A virtual machine with memory from address 0 and one processor.
class VirtualMachine {
 public:
  /// `maxphyaddr` is what CPUID shall say, 0 for what the host offers; more than that is cut.
  /// Throws `Unavailable` where there is no usable `device`.
  VirtualMachine(const std::string& device, std::size_t memory_bytes, std::uint8_t maxphyaddr);

  [[nodiscard]] const Features& features() const { return features_; }
  [[nodiscard]] std::span<std::byte> memory() const { return {memory_.data(), memory_.size()}; }

  /// The registers as they are at reset, or as the latest execution left them.
  [[nodiscard]] kvm_sregs& sregs();
  [[nodiscard]] kvm_regs& regs();

  /// Gives the processor `sregs()` and `regs()` at once. Throws `Unavailable` if KVM refuses them
  /// or does not keep the control registers.
  void load_registers();
  /// Writes an MSR. Throws `Unavailable` if KVM refuses it.
  void set_msr(std::uint32_t index, std::uint64_t value);
  /// Reads an MSR. Throws `Unavailable` if KVM refuses it.
  [[nodiscard]] std::uint64_t msr(std::uint32_t index);
  /// The physical address that KVM's own walk finds; nothing if it finds none.
  [[nodiscard]] std::optional<std::uint64_t> translate(std::uint64_t linear);
  /// Runs with `sregs()` and `regs()` until the processor halts, and leaves the registers there.
  [[nodiscard]] Stop run();
  /// Goes on where the latest execution ended.
  [[nodiscard]] Stop run_on();
  /// Makes KVM forget whatever it derived from the memory's contents, as it has to after the
  /// memory was changed from outside the machine.
  void forget_translations();

 private:
  void set_memory_slot(std::size_t size);
  [[nodiscard]] Features set_cpuid(std::uint8_t maxphyaddr);

  Descriptor device_;
  Descriptor machine_;
  Mapping memory_;
  Descriptor processor_;
  Mapping run_;
  Features features_;
};

}  // namespace nestor::emu::native
