// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/native/native_processor.h"

#include <spdlog/fmt/fmt.h>

#include <array>
#include <cstring>
#include <memory>
#include <utility>

#include "emu/devices/apic/io_apic.h"
#include "emu/native/vmx_support.h"
#include "vmx/msr_index.h"
#include "vmx/vmx.h"

namespace nestor::emu::native {
namespace {

constexpr unsigned kIsaLines = 16;
constexpr unsigned kCascade = 2;
/// The pin of the I/O APIC that an interrupt line leads to.
constexpr unsigned pin_of(unsigned line) { return line == 0 ? 2 : line; }

/// kvm_irq_routing with its entries; the kernel's header ends it with an array without a size.
struct Routing {
  std::uint32_t count = 0;
  std::uint32_t flags = 0;
  std::array<kvm_irq_routing_entry, 2 * IoApic::kPins> entries{};
};
constexpr unsigned long kSetRouting =
    _IOC(_IOC_WRITE, KVMIO, _IOC_NR(KVM_SET_GSI_ROUTING), offsetof(Routing, entries));

/// Its own size, without what follows: in C++ the kernel's header makes it larger.
constexpr unsigned long kGetNestedState =
    _IOC(_IOC_READ | _IOC_WRITE, KVMIO, _IOC_NR(KVM_GET_NESTED_STATE), 128);

/// Registers of the local APIC in kvm_lapic_state, by their offsets in its page.
enum ApicRegister : std::size_t {
  kSpurious = 0xf0,
  kRequests = 0x200,
  kTimer = 0x320,
  kLint0 = 0x350,
  kLint1 = 0x360,
  kCurrentCount = 0x390,
};
std::uint32_t load(const kvm_lapic_state& apic, std::size_t at) {
  std::uint32_t value = 0;
  std::memcpy(&value, apic.regs + at, sizeof value);
  return value;
}
void store(kvm_lapic_state& apic, std::size_t at, std::uint32_t value) {
  std::memcpy(apic.regs + at, &value, sizeof value);
}

kvm_segment to_kvm(const vmx::Segment& segment) {
  const vmx::AccessRights rights = segment.rights;
  kvm_segment result{};
  result.base = segment.base;
  result.limit = segment.limit;
  result.selector = segment.selector;
  result.type = rights.type();
  result.s = rights.code_or_data();
  result.dpl = rights.dpl();
  result.present = rights.present();
  result.l = rights.long_mode();
  result.db = rights.default_big();
  result.g = rights.granularity();
  result.unusable = rights.unusable();
  return result;
}

kvm_dtable to_kvm(const vmx::DescriptorTable& table) {
  kvm_dtable result{};
  result.base = table.base;
  result.limit = table.limit;
  return result;
}

}  // namespace

NativeProcessor::NativeProcessor(const std::string& device, const std::vector<RamRange>& ram,
                                 bool needs_vmx)
    : device_(open_device(device)),
      machine_(create_machine(device_, device)),
      processor_([this] {
        if (control(machine_, KVM_CREATE_IRQCHIP, 0UL) < 0) {
          throw Unavailable(
              fmt::format("KVM cannot create its interrupt controllers: {}; use a "
                          "kernel with KVM_CAP_IRQCHIP",
                          std::strerror(errno)));
        }
        return create_processor(machine_);
      }()),
      run_(processor_.number(), run_size(device_)) {
  add_memory(ram);
  set_features(needs_vmx);
  route_lines();
  enter_virtual_wire_mode();
}

void NativeProcessor::add_memory(const std::vector<RamRange>& ram) {
  for (std::uint32_t slot = 0; const RamRange& range : ram) {
    kvm_userspace_memory_region region{};
    region.slot = slot++;
    region.guest_phys_addr = range.first;
    region.memory_size = range.size;
    region.userspace_addr = reinterpret_cast<std::uint64_t>(range.host);
    if (control(machine_, KVM_SET_USER_MEMORY_REGION, &region) < 0) {
      throw Unavailable(
          fmt::format("KVM refuses {} bytes of memory at {:#x}: {}; use less with "
                      "--memory",
                      range.size, range.first, std::strerror(errno)));
    }
  }
}

/// What the host offers, as one processor without a hypervisor below it would have it.
void NativeProcessor::set_features(bool needs_vmx) {
  const auto cpuid = supported_cpuid(device_);
  if (needs_vmx && !has_vmx(*cpuid)) throw NoVmx(explain_missing_vmx(*cpuid, "/sys/module"));
  Cpuid kept;
  kept.count = 0;
  for (kvm_cpuid_entry2 leaf : cpuid->leaves()) {
    if (leaf.function >> 16 == 0x4000) continue;
    switch (leaf.function) {
      case 1:
        leaf.ecx &= ~(1U << 31);                    // hypervisor present
        leaf.edx &= ~(1U << 28);                    // several logical processors
        leaf.ebx = (leaf.ebx & 0xffff) | 1U << 16;  // their number; initial APIC ID 0
        break;
      case 4:
        leaf.eax &= 0x3fff;  // shared by one, in a package of one
        break;
      case 0xb:
      case 0x1f:
        leaf.edx = 0;  // x2APIC ID
        break;
      default:
        break;
    }
    kept.entries[kept.count++] = leaf;
  }
  if (!set_cpuid(processor_, kept)) throw Failure("KVM refuses the features that it offers");
}

void NativeProcessor::route_lines() {
  Routing routing;
  const auto add = [&](unsigned line, unsigned chip, unsigned pin) {
    kvm_irq_routing_entry& entry = routing.entries[routing.count++];
    entry.gsi = line;
    entry.type = KVM_IRQ_ROUTING_IRQCHIP;
    entry.u.irqchip.irqchip = chip;
    entry.u.irqchip.pin = pin;
  };
  for (unsigned line = 0; line != IoApic::kPins; ++line) {
    if (line < 8 && line != kCascade) add(line, KVM_IRQCHIP_PIC_MASTER, line);
    if (line >= 8 && line < kIsaLines) add(line, KVM_IRQCHIP_PIC_SLAVE, line - 8);
    if (line != kCascade) add(line, KVM_IRQCHIP_IOAPIC, pin_of(line));
  }
  if (control(machine_, kSetRouting, &routing) < 0) {
    throw Failure(fmt::format("KVM_SET_GSI_ROUTING failed: {}", std::strerror(errno)));
  }
}

/// As `LocalApic::enter_virtual_wire_mode`.
void NativeProcessor::enter_virtual_wire_mode() {
  constexpr std::uint32_t kEnabled = 0x1ff, kExtInt = 0x700, kNmi = 0x400;
  kvm_lapic_state apic{};
  if (control(processor_, KVM_GET_LAPIC, &apic) < 0) throw Failure("KVM_GET_LAPIC failed");
  store(apic, kSpurious, kEnabled);
  store(apic, kLint0, kExtInt);
  store(apic, kLint1, kNmi);
  if (control(processor_, KVM_SET_LAPIC, &apic) < 0) throw Failure("KVM_SET_LAPIC failed");
}

void NativeProcessor::start(const vmx::CpuState& state) {
  kvm_sregs sregs{};
  if (control(processor_, KVM_GET_SREGS, &sregs) < 0) throw Failure("KVM_GET_SREGS failed");
  const std::pair<kvm_segment*, vmx::SegmentRegister> segments[] = {
      {&sregs.es, vmx::kEs}, {&sregs.cs, vmx::kCs}, {&sregs.ss, vmx::kSs},    {&sregs.ds, vmx::kDs},
      {&sregs.fs, vmx::kFs}, {&sregs.gs, vmx::kGs}, {&sregs.ldt, vmx::kLdtr}, {&sregs.tr, vmx::kTr},
  };
  for (const auto& [to, from] : segments) *to = to_kvm(state.segment[from]);
  sregs.gdt = to_kvm(state.gdtr);
  sregs.idt = to_kvm(state.idtr);
  sregs.cr0 = state.cr0;
  sregs.cr2 = state.cr2;
  sregs.cr3 = state.cr3;
  sregs.cr4 = state.cr4;
  sregs.efer = state.efer;
  kvm_regs regs{};
  const auto& gpr = state.gpr;
  regs.rax = gpr[vmx::kRax];
  regs.rbx = gpr[vmx::kRbx];
  regs.rcx = gpr[vmx::kRcx];
  regs.rdx = gpr[vmx::kRdx];
  regs.rsi = gpr[vmx::kRsi];
  regs.rdi = gpr[vmx::kRdi];
  regs.rsp = gpr[vmx::kRsp];
  regs.rbp = gpr[vmx::kRbp];
  regs.rip = state.rip;
  regs.rflags = state.rflags;
  kvm_sregs kept{};
  if (control(processor_, KVM_SET_SREGS, &sregs) < 0 ||
      control(processor_, KVM_SET_REGS, &regs) < 0 ||
      control(processor_, KVM_GET_SREGS, &kept) < 0 || kept.cr0 != sregs.cr0 ||
      kept.cr4 != sregs.cr4 || kept.efer != sregs.efer) {
    throw Unavailable(fmt::format(
        "KVM on this host refuses the state that the image starts in (CR0 {:#x}, CR4 {:#x}, EFER "
        "{:#x}); if it runs long mode only, as PVM does, give it an ELF64 image",
        sregs.cr0, sregs.cr4, sregs.efer));
  }
  // As firmware leaves it. A processor without VMX does not have it.
  static_cast<void>(set_msr(processor_, vmx::kIa32FeatureControl,
                            vmx::kFeatureControlLock | vmx::kFeatureControlVmxOutsideSmx));
  stop().s.regs.regs = regs;
  stop().s.regs.sregs = sregs;
}

kvm_run& NativeProcessor::stop() { return *reinterpret_cast<kvm_run*>(run_.data()); }
const kvm_regs& NativeProcessor::regs() { return stop().s.regs.regs; }
const kvm_sregs& NativeProcessor::sregs() { return stop().s.regs.sregs; }

bool NativeProcessor::run() {
  stop().kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
  if (ioctl(processor_.number(), KVM_RUN, 0) >= 0) return true;
  if (errno == EINTR || errno == EAGAIN) return false;
  throw Failure(fmt::format("KVM_RUN failed: {}", std::strerror(errno)));
}

void NativeProcessor::set_line(unsigned line, bool level) {
  kvm_irq_level irq{};
  irq.irq = line;
  irq.level = level;
  if (control(machine_, KVM_IRQ_LINE, &irq) < 0) {
    throw Failure(fmt::format("KVM_IRQ_LINE failed: {}", std::strerror(errno)));
  }
}

void NativeProcessor::send_message(const Ipi& message) {
  constexpr std::uint32_t kInterruptAddresses = 0xfee00000;
  constexpr std::uint32_t kLogical = 1U << 2, kLevel = 1U << 15, kAssert = 1U << 14;
  kvm_msi msi{};
  msi.address_lo =
      kInterruptAddresses | message.destination << 12 | (message.logical ? kLogical : 0);
  msi.data = message.vector | static_cast<std::uint32_t>(message.mode) << 8 |
             (message.level ? kLevel | kAssert : 0);
  // A message that no local APIC takes is lost, as elsewhere.
  if (control(machine_, KVM_SIGNAL_MSI, &msi) < 0 && errno != EPERM) {
    throw Failure(fmt::format("KVM_SIGNAL_MSI failed: {}", std::strerror(errno)));
  }
}

bool NativeProcessor::halts_for_good() {
  constexpr std::uint64_t kInterruptFlag = 1U << 9;
  constexpr std::uint32_t kMasked = 1U << 16, kDeadlineMode = 2U << 17;
  kvm_mp_state state{};
  kvm_regs now{};
  kvm_lapic_state apic{};
  if (control(processor_, KVM_GET_MP_STATE, &state) < 0 ||
      control(processor_, KVM_GET_REGS, &now) < 0 ||
      control(processor_, KVM_GET_LAPIC, &apic) < 0) {
    throw Failure(fmt::format("KVM does not tell the processor's state: {}", std::strerror(errno)));
  }
  if (state.mp_state != KVM_MP_STATE_HALTED) return false;
  if ((now.rflags & kInterruptFlag) == 0) return true;
  for (std::size_t word = 0; word != 8; ++word) {
    if (load(apic, kRequests + 16 * word) != 0) return false;
  }
  const std::uint32_t timer = load(apic, kTimer);
  return (timer & kMasked) != 0 || ((timer & kDeadlineMode) == 0 && load(apic, kCurrentCount) == 0);
}

void NativeProcessor::debug(const NestedObserver::Plan& plan) {
  constexpr std::uint64_t kBreakpoint0Enabled = 0x403;  // DR7: an instruction breakpoint
  kvm_guest_debug debug{};
  debug.control = KVM_GUESTDBG_ENABLE;
  if (plan.step) debug.control |= KVM_GUESTDBG_SINGLESTEP;
  if (plan.breakpoint) {
    debug.control |= KVM_GUESTDBG_USE_HW_BP;
    debug.arch.debugreg[0] = *plan.breakpoint;
    debug.arch.debugreg[7] = kBreakpoint0Enabled;
  }
  if (control(processor_, KVM_SET_GUEST_DEBUG, &debug) < 0) {
    throw Failure(fmt::format("KVM_SET_GUEST_DEBUG failed: {}", std::strerror(errno)));
  }
}

bool NativeProcessor::tells_nested_state() const {
  return ioctl(device_.number(), KVM_CHECK_EXTENSION, KVM_CAP_NESTED_STATE) > 0;
}

NestedState NativeProcessor::nested_state() {
  alignas(8) std::array<std::byte, kNestedStateSize> bytes{};
  const auto size = static_cast<std::uint32_t>(bytes.size());
  std::memcpy(bytes.data() + offsetof(kvm_nested_state, size), &size, sizeof size);
  if (control(processor_, kGetNestedState, bytes.data()) < 0) {
    throw Failure(fmt::format("KVM_GET_NESTED_STATE failed: {}", std::strerror(errno)));
  }
  auto state = parse_nested_state(bytes);
  if (auto* bad = std::get_if<std::string>(&state)) throw Failure(*bad);
  return std::get<NestedState>(std::move(state));
}

std::optional<std::uint64_t> NativeProcessor::translate(std::uint64_t linear) {
  kvm_translation translation{};
  translation.linear_address = linear;
  if (control(processor_, KVM_TRANSLATE, &translation) < 0 || translation.valid == 0) {
    return std::nullopt;
  }
  return translation.physical_address;
}

}  // namespace nestor::emu::native
