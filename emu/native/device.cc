// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/native/device.h"

#include <fcntl.h>
#include <spdlog/fmt/fmt.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <utility>

namespace nestor::emu::native {
namespace {

constexpr unsigned long kGetSupportedCpuid =
    _IOC(_IOC_READ | _IOC_WRITE, KVMIO, _IOC_NR(KVM_GET_SUPPORTED_CPUID), Cpuid::kHeader);
constexpr unsigned long kSetCpuid =
    _IOC(_IOC_WRITE, KVMIO, _IOC_NR(KVM_SET_CPUID2), Cpuid::kHeader);

/// kvm_msrs with room for one; the kernel's header ends it with an array without a size.
struct OneMsr {
  std::uint32_t count = 1;
  std::uint32_t padding = 0;
  kvm_msr_entry entry{};
};
static_assert(offsetof(OneMsr, entry) == 8);
constexpr unsigned long kGetMsrs =
    _IOC(_IOC_READ | _IOC_WRITE, KVMIO, _IOC_NR(KVM_GET_MSRS), offsetof(OneMsr, entry));
constexpr unsigned long kSetMsrs =
    _IOC(_IOC_WRITE, KVMIO, _IOC_NR(KVM_SET_MSRS), offsetof(OneMsr, entry));

/// Where KVM keeps three pages and one of its own on processors that cannot run real mode natively:
/// no memory or device of a machine is there.
constexpr std::uint64_t kIdentityMap = 0xfffb'c000;
constexpr std::uint64_t kTaskState = 0xfffb'd000;

}  // namespace

Descriptor open_device(const std::string& name) {
  const int number = open(name.c_str(), O_RDWR | O_CLOEXEC);
  if (number >= 0) return Descriptor(number);
  const char* advice = errno == ENOENT   ? "load the kvm module or use a host that has KVM"
                       : errno == EACCES ? "join the group that owns it"
                                         : "see whether the host supports virtualisation";
  throw NoKvm(fmt::format("cannot open {}: {}; {}", name, std::strerror(errno), advice));
}

Descriptor create_machine(const Descriptor& device, const std::string& name) {
  const int version = ioctl(device.number(), KVM_GET_API_VERSION, 0);
  if (version != KVM_API_VERSION) {
    throw NoKvm(fmt::format("{} is no KVM of API version {}: use a Linux host's own device", name,
                            KVM_API_VERSION));
  }
  constexpr int kWanted = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  if ((ioctl(device.number(), KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS) & kWanted) != kWanted) {
    throw NoKvm(fmt::format("{} lacks KVM_CAP_SYNC_REGS: use Linux 4.17 or newer", name));
  }
  const int machine = control(device, KVM_CREATE_VM, 0UL);
  if (machine < 0) {
    throw NoKvm(fmt::format("{} cannot create a virtual machine: {}; see the kernel's log", name,
                            std::strerror(errno)));
  }
  Descriptor result(machine);
  // Only KVM on processors of Intel needs these, and others may refuse them.
  std::uint64_t identity_map = kIdentityMap;
  (void)control(result, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
  (void)control(result, KVM_SET_TSS_ADDR, kTaskState);
  return result;
}

Descriptor create_processor(const Descriptor& machine) {
  const int processor = control(machine, KVM_CREATE_VCPU, 0UL);
  if (processor < 0) {
    throw Unavailable(fmt::format("KVM cannot create a processor: {}; see the kernel's log",
                                  std::strerror(errno)));
  }
  return Descriptor(processor);
}

std::unique_ptr<Cpuid> supported_cpuid(const Descriptor& device) {
  auto cpuid = std::make_unique<Cpuid>();
  if (control(device, kGetSupportedCpuid, cpuid.get()) < 0) {
    throw Unavailable(
        fmt::format("KVM does not tell what its processor supports: {}", std::strerror(errno)));
  }
  return cpuid;
}

bool set_cpuid(const Descriptor& processor, const Cpuid& cpuid) {
  return control(processor, kSetCpuid, &cpuid) >= 0;
}

bool set_msr(const Descriptor& processor, std::uint32_t index, std::uint64_t value) {
  OneMsr msrs;
  msrs.entry.index = index;
  msrs.entry.data = value;
  return control(processor, kSetMsrs, &msrs) == 1;
}

std::optional<std::uint64_t> msr(const Descriptor& processor, std::uint32_t index) {
  OneMsr msrs;
  msrs.entry.index = index;
  if (control(processor, kGetMsrs, &msrs) != 1) return std::nullopt;
  return msrs.entry.data;
}

std::size_t run_size(const Descriptor& device) {
  const int size = ioctl(device.number(), KVM_GET_VCPU_MMAP_SIZE, 0);
  if (size < static_cast<int>(sizeof(kvm_run))) throw Failure("KVM_GET_VCPU_MMAP_SIZE failed");
  return static_cast<std::size_t>(size);
}

std::string describe_exit(const kvm_run& run) {
  switch (run.exit_reason) {
    case KVM_EXIT_SHUTDOWN:
      return "the machine shut down (triple fault)";
    case KVM_EXIT_INTERNAL_ERROR:
      return fmt::format("KVM_EXIT_INTERNAL_ERROR, suberror {}", run.internal.suberror);
    case KVM_EXIT_FAIL_ENTRY:
      return fmt::format("KVM_EXIT_FAIL_ENTRY, reason {:#x}",
                         run.fail_entry.hardware_entry_failure_reason);
    default:
      return fmt::format("KVM exit {}", run.exit_reason);
  }
}

Descriptor::Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(number_, other.number_);
  return *this;
}
Descriptor::~Descriptor() {
  if (number_ >= 0) close(number_);
}

Mapping::Mapping(int descriptor, std::size_t size) : data_(nullptr), size_(size) {
  const int flags = descriptor < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED;
  void* const data = mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, descriptor, 0);
  if (data == MAP_FAILED) {
    throw Failure(fmt::format("cannot map {} bytes: {}", size, std::strerror(errno)));
  }
  data_ = static_cast<std::byte*>(data);
}
Mapping::~Mapping() { munmap(data_, size_); }

}  // namespace nestor::emu::native
