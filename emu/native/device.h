// SPDX-License-Identifier: GPL-2.0-or-later
//
// KVM's device: what every virtual machine needs of it.
#pragma once

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>

namespace nestor::emu::native {

/// The host has no KVM that can be used; `what()` is one line that says why and what helps.
class Unavailable : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// There is no KVM at all: nothing else about it need be tried.
class NoKvm : public Unavailable {
 public:
  using Unavailable::Unavailable;
};

/// An ioctl failed that must not fail; `what()` is one line that names it.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A file descriptor that is closed with its owner.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();
  [[nodiscard]] int number() const { return number_; }

 private:
  int number_;
};

/// Memory mapped from a descriptor, or anonymous with -1.
class Mapping {
 public:
  Mapping(int descriptor, std::size_t size);
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();
  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  std::byte* data_;
  std::size_t size_;
};

/// An ioctl that is repeated while signals interrupt it. Returns what the ioctl returns.
template <class Argument>
int control(const Descriptor& descriptor, unsigned long request, Argument argument) {
  int result = 0;
  do {
    result = ioctl(descriptor.number(), request, argument);
  } while (result < 0 && errno == EINTR);
  return result;
}

/// kvm_cpuid2 with room for all leaves. The kernel's header ends it with an array without a size,
/// which in C++ changes the size of the structure, and with it the numbers of the requests.
struct Cpuid {
  static constexpr std::uint32_t kMostEntries = 256;
  static constexpr std::size_t kHeader = 8;
  std::uint32_t count = kMostEntries;
  std::uint32_t padding = 0;
  std::array<kvm_cpuid_entry2, kMostEntries> entries{};

  [[nodiscard]] std::span<kvm_cpuid_entry2> leaves() { return std::span(entries).first(count); }
};
static_assert(offsetof(Cpuid, entries) == Cpuid::kHeader);

/// Each throws `Unavailable`, or its descendant `NoKvm`, with one line that says what is missing.
[[nodiscard]] Descriptor open_device(const std::string& name);
[[nodiscard]] Descriptor create_machine(const Descriptor& device, const std::string& name);
[[nodiscard]] Descriptor create_processor(const Descriptor& machine);
/// What the processors of the device's machines may have.
[[nodiscard]] std::unique_ptr<Cpuid> supported_cpuid(const Descriptor& device);
/// False: KVM refuses it.
[[nodiscard]] bool set_cpuid(const Descriptor& processor, const Cpuid& cpuid);
/// Writes an MSR of a processor. False: KVM refuses it.
[[nodiscard]] bool set_msr(const Descriptor& processor, std::uint32_t index, std::uint64_t value);
/// Reads an MSR of a processor. Nothing: KVM refuses it.
[[nodiscard]] std::optional<std::uint64_t> msr(const Descriptor& processor, std::uint32_t index);
/// The size of the mapping of a processor's `kvm_run`, in bytes.
[[nodiscard]] std::size_t run_size(const Descriptor& device);
/// Why KVM_RUN returned, for exits that a machine does not expect.
[[nodiscard]] std::string describe_exit(const kvm_run& run);

}  // namespace nestor::emu::native
