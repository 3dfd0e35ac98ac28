// SPDX-License-Identifier: GPL-2.0-or-later
//
// XSAVE and its relatives, XGETBV, XSETBV: "Managing State Using the XSAVE Feature Set". The engine
// would execute some of them, but not stop at XSETBV, so CR4.OSXSAVE is 0 for it and all come here.
// And FXSAVE and FXRSTOR, whose area is the legacy region.
#include "emu/engine/extended_state.h"

#include <algorithm>
#include <cstring>

#include "emu/cpu/cpuid.h"
#include "emu/cpu/instructions/handlers.h"
#include "emu/cpu/instructions/operands.h"
#include "emu/cpu/msr_storage.h"
#include "emu/cpu/x87_pointers.h"
#include "emu/cpu/xsave_area.h"

namespace nestor::emu::instructions {
namespace {

using vmx::CpuState;

constexpr uint64_t kCompacted = 1ull << 63;  // XCOMP_BV
constexpr uint32_t kMxcsrReset = 0x1f80;

// Offsets into the area.
constexpr size_t kFcw = 0, kFsw = 2, kFtw = 4, kFop = 6, kFip = 8, kFcs = 12, kFdp = 16, kFds = 20,
                 kMxcsr = 24, kMxcsrMaskAt = 28, kSt = 32, kXmm = 160, kRegisterSpace = 16,
                 kXstateBv = kXsaveHeader, kXcompBv = kXsaveHeader + 8,
                 kHeaderReserved = kXsaveHeader + 16;

// What tells XSAVE, XSAVEOPT, XSAVEC and XSAVES apart; and XRSTOR and XRSTORS.
struct Form {
  Operation operation;
  bool init_optimization = false, compacted = false, supervisor = false;
};
constexpr Form kForms[] = {
    {Operation::kXsave},
    {Operation::kXsaveopt, true},
    {Operation::kXsavec, true, true},
    {Operation::kXsaves, true, true, true},
    {Operation::kXrstor},
    {Operation::kXrstors, true, true, true},
};
const Form& form_of(Operation operation) {
  return *std::ranges::find(kForms, operation, &Form::operation);
}

// The legacy region and the header.
class Area {
 public:
  std::span<uint8_t> bytes() { return bytes_; }
  template <typename T>
  void put(size_t at, T value) {
    std::memcpy(&bytes_[at], &value, sizeof value);
  }
  template <typename T>
  T get(size_t at) const {
    T value;
    std::memcpy(&value, &bytes_[at], sizeof value);
    return value;
  }

  void put_x87(const ExtendedState& state, const X87Pointers& pointers, bool wide_pointers);
  void put_mxcsr(const ExtendedState& state) {
    put(kMxcsr, state.mxcsr);
    put(kMxcsrMaskAt, kMxcsrMask);
  }
  void put_sse(const ExtendedState& state, size_t registers) {
    for (size_t i = 0; i < registers; ++i) put(kXmm + kRegisterSpace * i, state.xmm[i]);
  }
  void get_x87(ExtendedState& state, bool wide_pointers) const;
  void get_sse(ExtendedState& state, size_t registers) const {
    for (size_t i = 0; i < registers; ++i)
      state.xmm[i] = get<std::array<uint64_t, 2>>(kXmm + kRegisterSpace * i);
  }

 private:
  std::array<uint8_t, kXsaveHeaderEnd> bytes_{};
};

void Area::put_x87(const ExtendedState& state, const X87Pointers& pointers, bool wide_pointers) {
  put(kFcw, state.fcw);
  put(kFsw, state.fsw);
  put(kFtw, uint16_t{state.ftw});
  put(kFop, pointers.fop);
  put(kFip, pointers.fip);
  put(kFdp, pointers.fdp);
  if (!wide_pointers) {
    put(kFcs, uint32_t{pointers.fcs});
    put(kFds, uint32_t{pointers.fds});
  }
  for (size_t i = 0; i < state.st.size(); ++i) {
    put(kSt + kRegisterSpace * i, std::array<uint8_t, kRegisterSpace>{});
    put(kSt + kRegisterSpace * i, state.st[i]);
  }
}

void Area::get_x87(ExtendedState& state, bool wide_pointers) const {
  state.fcw = get<uint16_t>(kFcw);
  state.fsw = get<uint16_t>(kFsw);
  state.ftw = get<uint8_t>(kFtw);
  X87Pointers pointers{.fop = get<uint16_t>(kFop)};
  pointers.fip = wide_pointers ? get<uint64_t>(kFip) : get<uint32_t>(kFip);
  pointers.fdp = wide_pointers ? get<uint64_t>(kFdp) : get<uint32_t>(kFdp);
  pointers.fcs = wide_pointers ? uint16_t{0} : get<uint16_t>(kFcs);
  pointers.fds = wide_pointers ? uint16_t{0} : get<uint16_t>(kFds);
  set_x87_pointers(state, pointers);
  for (size_t i = 0; i < state.st.size(); ++i)
    state.st[i] = get<std::array<uint8_t, 10>>(kSt + kRegisterSpace * i);
}

void reset_x87(ExtendedState& state) {
  initialize_x87(state);
  state.st = ExtendedState{}.st;
}

// XINUSE: the components that are not in their initial configuration. MXCSR does not count.
uint64_t in_use(const CpuState& cpu, const ExtendedState& state) {
  const ExtendedState initial;
  ExtendedState other = state;
  reset_x87(other);
  other.mxcsr = initial.mxcsr;
  const bool sse = other.xmm != initial.xmm;
  other = state;
  other.xmm = initial.xmm;
  other.mxcsr = initial.mxcsr;
  return (other == initial ? 0 : kX87Component) | (sse ? kSseComponent : 0) |
         (cpu.pkru != 0 ? kPkruComponent : 0);
}

bool osxsave(const CpuState& state) { return (state.cr4 & vmx::cr4::kOsxsave) != 0; }
size_t visible_xmm(const CpuState& state) { return state.code_64bit() ? 16 : 8; }

// What comes before the operand is looked at; a value: the instruction is over.
std::optional<Outcome> refused(Core& core, const Instruction& instruction, const Form& form) {
  const CpuState& state = core.state();
  if (!osxsave(state)) return undefined_opcode("CR4.OSXSAVE is 0");
  if (form.supervisor) {
    if (core.vmx().in_non_root() && !core.vmx().xsaves_enabled())
      return undefined_opcode("\"enable XSAVES/XRSTORS\" is 0");
    if (state.cpl() != 0) return general_protection();
    if (exits(core, instruction)) return vmx::Transferred{};
  }
  if (state.cr0 & vmx::cr0::kTs) return vmx::exception(vmx::kNm);
  return std::nullopt;
}

// The linear address of `size` bytes at `offset` of the area.
Result<uint64_t> area_address(Core& core, const Instruction& instruction, SegmentAccess access,
                              uint64_t offset, uint64_t size, uint64_t alignment = 64) {
  const MemoryOperand& memory = instruction.operand[0].memory;
  const auto linear = linear_address(
      core.state(), memory.segment, effective_address(core.state(), memory) + offset, size, access);
  if (const auto* event = std::get_if<vmx::Event>(&linear)) return *event;
  if (std::get<uint64_t>(linear) % alignment != 0) return general_protection();
  return std::get<uint64_t>(linear);
}

// Of PKRU, where a component is requested that is nowhere else; it may be written then.
Result<uint64_t> pkru_address(Core& core, const Instruction& instruction, SegmentAccess access,
                              bool compacted) {
  auto address = area_address(core, instruction, access, pkru_offset(compacted), kPkruSize);
  if (!address || access == SegmentAccess::kRead) return address;
  if (auto fault = core.probe_write(*address, kPkruSize, Privilege::kCurrent)) return *fault;
  return address;
}

}  // namespace

Outcome xgetbv(Core& core, const Instruction&) {
  CpuState& state = core.state();
  if (!osxsave(state)) return undefined_opcode("CR4.OSXSAVE is 0");
  const uint64_t xcr0 = core.msr_storage().xcr0;
  switch (static_cast<uint32_t>(state.gpr[vmx::kRcx])) {
    case 0:
      write_edx_eax(state, xcr0);
      return vmx::Completed{};
    case 1: {
      if (!offers(core, vmx::Feature::kXgetbv1)) return general_protection();
      ExtendedState extended;
      core.read_extended_state(extended);
      write_edx_eax(state, xcr0 & in_use(state, extended));
      return vmx::Completed{};
    }
    default:
      return general_protection();
  }
}

Outcome xsetbv(Core& core, const Instruction& instruction) {
  const CpuState& state = core.state();
  if (!osxsave(state)) return undefined_opcode("CR4.OSXSAVE is 0");
  if (state.cpl() != 0) return general_protection();
  if (exits(core, instruction)) return vmx::Transferred{};
  const uint64_t value = read_edx_eax(state);
  if ((state.gpr[vmx::kRcx] & 0xffffffff) != 0 ||
      (value & ~extended_components(core.type())) != 0 || !(value & kX87Component)) {
    return general_protection();
  }
  core.msr_storage().xcr0 = value;
  return vmx::Completed{};
}

Outcome xsave(Core& core, const Instruction& instruction) {
  const Form& form = form_of(instruction.operation);
  if (auto outcome = refused(core, instruction, form)) return *outcome;
  const auto address = area_address(core, instruction, SegmentAccess::kWrite, 0, kXsaveHeaderEnd);
  if (!address) return to_outcome(address.fault());
  // Nothing is written unless all can be.
  if (auto fault = core.probe_write(*address, kXsaveHeaderEnd, Privilege::kCurrent)) {
    return to_outcome(*fault);
  }
  Area area;
  if (auto fault = core.read(*address, area.bytes(), Privilege::kCurrent)) {
    return to_outcome(*fault);
  }

  const CpuState& state = core.state();
  const uint64_t requested = read_edx_eax(state) & core.msr_storage().xcr0;
  ExtendedState extended;
  core.read_extended_state(extended);
  uint64_t used = in_use(state, extended);
  // The compacted format has MXCSR among the SSE state.
  if (form.compacted && extended.mxcsr != kMxcsrReset) used |= kSseComponent;
  const uint64_t saved = form.init_optimization ? requested & used : requested;
  if (saved & kPkruComponent) {
    const auto pkru = pkru_address(core, instruction, SegmentAccess::kWrite, form.compacted);
    if (!pkru) return to_outcome(pkru.fault());
    uint64_t value = state.pkru;
    const std::span bytes(reinterpret_cast<const uint8_t*>(&value), sizeof value);
    if (auto fault = core.write(*pkru, bytes, Privilege::kCurrent)) return to_outcome(*fault);
  }
  if (saved & kX87Component) {
    area.put_x87(extended, x87_pointers(core.type(), extended), instruction.prefixes.rex_w);
  }
  if (form.compacted ? saved & kSseComponent : requested & kSseComponent) {
    area.put_mxcsr(extended);
  }
  if (saved & kSseComponent) area.put_sse(extended, visible_xmm(state));
  const uint64_t kept = form.compacted ? 0 : area.get<uint64_t>(kXstateBv) & ~requested;
  area.put(kXstateBv, kept | (used & requested));
  if (form.compacted) area.put(kXcompBv, requested | kCompacted);
  if (auto fault = core.write(*address, area.bytes(), Privilege::kCurrent)) {
    return to_outcome(*fault);
  }
  return vmx::Completed{};
}

Outcome xrstor(Core& core, const Instruction& instruction) {
  const Form& form = form_of(instruction.operation);
  if (auto outcome = refused(core, instruction, form)) return *outcome;
  const auto address = area_address(core, instruction, SegmentAccess::kRead, 0, kXsaveHeaderEnd);
  if (!address) return to_outcome(address.fault());
  Area area;
  if (auto fault = core.read(*address, area.bytes(), Privilege::kCurrent)) {
    return to_outcome(*fault);
  }

  const CpuState& state = core.state();
  const uint64_t enabled = core.msr_storage().xcr0;
  const uint64_t present = area.get<uint64_t>(kXstateBv), format = area.get<uint64_t>(kXcompBv);
  const bool compacted = (format & kCompacted) != 0;
  if (form.compacted && !compacted) return general_protection();
  if (compacted && !offers(core, vmx::Feature::kXsavec)) return general_protection();
  const uint64_t laid_out = compacted ? format & ~kCompacted : enabled;
  if ((laid_out & ~enabled) || (present & ~laid_out) || (!compacted && format != 0)) {
    return general_protection();
  }
  // Bytes 23:16 of the header for the standard format, all from there on for the compacted one.
  const size_t reserved_end = compacted ? kXsaveHeaderEnd : kHeaderReserved + 8;
  for (size_t at = kHeaderReserved; at < reserved_end; at += 8) {
    if (area.get<uint64_t>(at) != 0) return general_protection();
  }

  const uint64_t requested = read_edx_eax(state) & enabled;
  const bool loads_mxcsr = (requested & kSseComponent) && (!compacted || (present & kSseComponent));
  if (loads_mxcsr && (area.get<uint32_t>(kMxcsr) & ~kMxcsrMask)) return general_protection();
  uint64_t pkru = 0;
  if (requested & present & kPkruComponent) {
    const auto at = pkru_address(core, instruction, SegmentAccess::kRead, compacted);
    if (!at) return to_outcome(at.fault());
    const std::span bytes(reinterpret_cast<uint8_t*>(&pkru), sizeof pkru);
    if (auto fault = core.read(*at, bytes, Privilege::kCurrent)) return to_outcome(*fault);
  }
  ExtendedState extended;
  core.read_extended_state(extended);
  if (requested & kX87Component) {
    reset_x87(extended);
    if (present & kX87Component) area.get_x87(extended, instruction.prefixes.rex_w);
  }
  if (requested & kSseComponent) {
    extended.mxcsr = loads_mxcsr ? area.get<uint32_t>(kMxcsr) : kMxcsrReset;
    const size_t registers = visible_xmm(state);
    std::fill_n(extended.xmm.begin(), registers, std::array<uint64_t, 2>{});
    if (present & kSseComponent) area.get_sse(extended, registers);
  }
  core.write_extended_state(extended);
  if (requested & kPkruComponent) set_pkru(core, static_cast<uint32_t>(pkru));
  return vmx::Completed{};
}

// Of the 512 bytes the last 96 are left alone, and without CR4.OSFXSR what is SSE's.
Outcome fxsave(Core& core, const Instruction& instruction) {
  const CpuState& state = core.state();
  if (state.cr0 & (vmx::cr0::kEm | vmx::cr0::kTs)) return vmx::exception(vmx::kNm);
  const auto address = area_address(core, instruction, SegmentAccess::kWrite, 0, kXsaveHeader, 16);
  if (!address) return to_outcome(address.fault());
  if (auto fault = core.probe_write(*address, kXsaveHeader, Privilege::kCurrent)) {
    return to_outcome(*fault);
  }
  Area area;
  const auto legacy = area.bytes().first(kXsaveHeader);
  if (auto fault = core.read(*address, legacy, Privilege::kCurrent)) return to_outcome(*fault);
  ExtendedState extended;
  core.read_extended_state(extended);
  area.put_x87(extended, x87_pointers(core.type(), extended), instruction.prefixes.rex_w);
  if (state.cr4 & vmx::cr4::kOsfxsr) {
    area.put_mxcsr(extended);
    area.put_sse(extended, visible_xmm(state));
  }
  if (auto fault = core.write(*address, legacy, Privilege::kCurrent)) return to_outcome(*fault);
  return vmx::Completed{};
}

Outcome fxrstor(Core& core, const Instruction& instruction) {
  const CpuState& state = core.state();
  if (state.cr0 & (vmx::cr0::kEm | vmx::cr0::kTs)) return vmx::exception(vmx::kNm);
  const auto address = area_address(core, instruction, SegmentAccess::kRead, 0, kXsaveHeader, 16);
  if (!address) return to_outcome(address.fault());
  Area area;
  const auto legacy = area.bytes().first(kXsaveHeader);
  if (auto fault = core.read(*address, legacy, Privilege::kCurrent)) return to_outcome(*fault);
  ExtendedState extended;
  core.read_extended_state(extended);
  area.get_x87(extended, instruction.prefixes.rex_w);
  if (state.cr4 & vmx::cr4::kOsfxsr) {
    extended.mxcsr = area.get<uint32_t>(kMxcsr);
    if (extended.mxcsr & ~kMxcsrMask) return general_protection();
    area.get_sse(extended, visible_xmm(state));
  }
  core.write_extended_state(extended);
  return vmx::Completed{};
}

}  // namespace nestor::emu::instructions
