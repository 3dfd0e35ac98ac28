// SPDX-License-Identifier: GPL-2.0-or-later
//
// The software CPU's accesses to memory, and its answers to the engine while that runs.
#include <algorithm>
#include <array>
#include <cstring>

#include "emu/cpu/alignment.h"
#include "emu/cpu/cpu.h"
#include "emu/cpu/msrs.h"
#include "emu/cpu/segment_loads.h"
#include "emu/cpu/segments.h"
#include "emu/memory/page_size.h"
#include "ept/pae.h"
#include "vmx/features.h"

namespace nestor::emu {

namespace {

using vmx::Event;

}  // namespace

bool Cpu::read_physical(ept::PhysicalAddress address, std::span<uint8_t> out) {
  if (memory_.read(address.value, out)) return true;
  std::fill(out.begin(), out.end(), uint8_t{0xff});
  return false;
}

bool Cpu::write_physical(ept::PhysicalAddress address, std::span<const uint8_t> data) {
  return memory_.write(address.value, data);
}

// VMREAD and VMWRITE of a shadow VMCS have their operands in VMX non-root operation.
std::optional<Event> Cpu::as_event(const std::optional<Fault>& fault) {
  if (!fault) return std::nullopt;
  if (const auto* event = std::get_if<Event>(&*fault)) return *event;
  return ept_exit(std::get<EptExit>(*fault)).value_or(Event{});
}

std::optional<Event> Cpu::read_linear(uint64_t linear, std::span<uint8_t> out) {
  return as_event(read(linear, out, Privilege::kCurrent));
}

std::optional<Event> Cpu::write_linear(uint64_t linear, std::span<const uint8_t> data) {
  return as_event(write(linear, data, Privilege::kCurrent));
}

ept::Access Cpu::access(ept::Access::Kind kind, Privilege privilege) const {
  return {kind, state_.cpl() == 3, privilege == Privilege::kSupervisor};
}

template <class Use>
std::optional<Fault> Cpu::for_each_page(uint64_t linear, size_t size, ept::Access access,
                                        const Use& use) {
  // No operand is longer than a page, so it touches two at most.
  struct Part {
    uint64_t physical;
    size_t offset, size;
  };
  std::array<Part, 3> parts{};
  size_t count = 0;
  // In IA-32e mode descriptor tables, the TSS and the stacks of handlers may lie above 4 GBytes,
  // whatever the width of the code is.
  const bool wraps = !state_.long_mode_active() || (!state_.code_64bit() && linear <= 0xffffffff);
  for (size_t done = 0; done < size;) {
    uint64_t address = linear + done;
    if (wraps) address &= 0xffffffff;
    // The processor's own accesses; an instruction's operand has been checked with its segment.
    if (!is_canonical(address, state_)) return vmx::exception(vmx::kGp, 0);
    const size_t part = std::min<size_t>(size - done, kPageSize - address % kPageSize);
    access.size = static_cast<uint16_t>(part);
    const auto result = mmu_.translate(address, access, state_.rflags);
    if (const auto* fault = std::get_if<Fault>(&result)) return *fault;
    if (vmx_.is_apic_access_page(std::get<Translation>(result).physical)) {
      using ApicAccess = vmx::Vmx::ApicAccess;
      EptExit exit;
      exit.apic_access =
          access.kind == ept::Access::kWrite ? ApicAccess::kWrite : ApicAccess::kRead;
      exit.apic_offset = static_cast<uint16_t>(address % kPageSize);
      return Fault{exit};
    }
    if (count == parts.size()) break;
    parts[count++] = {std::get<Translation>(result).physical, done, part};
    done += part;
  }
  for (size_t i = 0; i < count; ++i) use(parts[i].physical, parts[i].offset, parts[i].size);
  return std::nullopt;
}

std::optional<Fault> Cpu::read(uint64_t linear, std::span<uint8_t> out, Privilege privilege) {
  const auto copy = [&](uint64_t physical, size_t offset, size_t size) {
    if (memory_.read(physical, out.subspan(offset, size))) return;
    for (size_t i = 0; i < size; ++i) {
      out[offset + i] = static_cast<uint8_t>(read_outside_ram(physical + i, 1));
    }
  };
  const auto whole = [&](uint64_t physical, size_t offset, size_t size) {
    if (!is_device_access(physical, size)) return copy(physical, offset, size);
    const uint64_t value = read_outside_ram(physical, static_cast<unsigned>(size));
    std::memcpy(out.data() + offset, &value, size);
  };
  return for_each_page(linear, out.size(), access(ept::Access::kRead, privilege), whole);
}

std::optional<Fault> Cpu::write(uint64_t linear, std::span<const uint8_t> data,
                                Privilege privilege) {
  const auto copy = [&](uint64_t physical, size_t offset, size_t size) {
    if (memory_.write(physical, data.subspan(offset, size))) return;
    for (size_t i = 0; i < size; ++i) write_outside_ram(physical + i, 1, data[offset + i]);
  };
  const auto whole = [&](uint64_t physical, size_t offset, size_t size) {
    if (!is_device_access(physical, size)) return copy(physical, offset, size);
    uint64_t value = 0;
    std::memcpy(&value, data.data() + offset, size);
    write_outside_ram(physical, static_cast<unsigned>(size), value);
  };
  return for_each_page(linear, data.size(), access(ept::Access::kWrite, privilege), whole);
}

uint64_t Cpu::read_outside_ram(uint64_t physical, unsigned size) {
  if (!apic_.holds(physical, size)) return bus_.read_memory(physical, size);
  const uint64_t value = apic_.read_memory(physical - apic_.base(), size);
  return size == 8 ? value : value & ((1ull << (8 * size)) - 1);
}

void Cpu::write_outside_ram(uint64_t physical, unsigned size, uint64_t value) {
  if (!apic_.holds(physical, size)) return bus_.write_memory(physical, size, value);
  apic_.write_memory(physical - apic_.base(), size, value);
}

// Outside RAM, and of a size that a device takes at once.
bool Cpu::is_device_access(uint64_t physical, size_t size) const {
  return !memory_.is_ram(physical) && (size == 1 || size == 2 || size == 4 || size == 8);
}

std::optional<Fault> Cpu::probe_write(uint64_t linear, uint64_t size, Privilege privilege) {
  return for_each_page(linear, size, access(ept::Access::kWrite, privilege),
                       [](uint64_t, size_t, size_t) {});
}

// The engine has fetched these bytes before, so the walk leaves no further trace.
std::optional<Fault> Cpu::fetch(uint64_t linear, std::span<uint8_t> out, size_t& fetched) {
  fetched = 0;
  while (fetched < out.size()) {
    uint64_t address = linear + fetched;
    if (!state_.code_64bit()) address &= 0xffffffff;
    uint64_t physical = fetched_page_.physical | address % kPageSize;
    if (flush_pending_ || address / kPageSize != fetched_page_.number) {
      const auto result =
          mmu_.probe(address, access(ept::Access::kFetch, Privilege::kCurrent), state_.rflags);
      if (const auto* fault = std::get_if<Fault>(&result)) return *fault;
      physical = std::get<uint64_t>(result);
    }
    const std::span<uint8_t> part = out.subspan(
        fetched, std::min<size_t>(out.size() - fetched, kPageSize - address % kPageSize));
    // Code outside RAM reads as ones, as it does for the engine.
    if (!memory_.read(physical, part)) {
      std::fill(part.begin(), part.end(), uint8_t{0xff});
    }
    fetched += part.size();
  }
  return std::nullopt;
}

std::optional<Fault> Cpu::reload_pdptes(uint64_t cr3) {
  std::array<uint64_t, 4> pdptes{};
  if (auto fault = mmu_.read_pdptes(cr3, pdptes)) return fault;
  if (!ept::pdptes_are_valid(pdptes, vmx::kPhysicalAddressBits)) return vmx::exception(vmx::kGp, 0);
  state_.pdptes = pdptes;
  return std::nullopt;
}

vmx::MsrStatus Cpu::read_msr(uint32_t index, uint64_t& value) {
  return emu::read_msr(*this, index, value);
}

vmx::MsrStatus Cpu::write_msr(uint32_t index, uint64_t value) {
  return emu::write_msr(*this, index, value);
}

// --- the engine's questions

bool Cpu::fill(uint64_t linear, FillAccess kind, TlbGrant& grant) {
  if (!is_canonical(linear, state_)) return false;
  if (kind == FillAccess::kWrite && fill_sub_page(linear, grant)) return true;
  ept::Access access;
  // Sub-page write permissions are for some bytes of a page, and a grant is for all of it.
  access.size = 0;
  access.kind = kind == FillAccess::kFetch   ? ept::Access::kFetch
                : kind == FillAccess::kWrite ? ept::Access::kWrite
                                             : ept::Access::kRead;
  uint64_t rflags = 0;
  if ((state_.cr0 & vmx::cr0::kPg) != 0) {
    rflags = engine_.live_rflags();
    access.user = (rflags & vmx::rflags::kVm) != 0 || (engine_.live_cs() & 3) == 3;
  }
  const uint64_t key = FillCache::key(linear, kind, access.user, (rflags & vmx::rflags::kAc) != 0);
  if (const TlbGrant* known = fill_cache_.find(key)) {
    grant = *known;
    if (grant.execute) fetched_page_ = {linear / kPageSize, grant.physical};
    keep_code_true(linear, access, rflags, grant);
    return true;
  }
  auto result = mmu_.translate(linear, access, rflags, Mmu::Account::kUnlessFault);
  if (std::holds_alternative<Fault>(result)) {
    if (!access.user || access.kind == ept::Access::kFetch || !reads_descriptor(linear)) {
      return false;
    }
    access.implicit_supervisor = true;
    result = mmu_.translate(linear, access, rflags, Mmu::Account::kUnlessFault);
    if (std::holds_alternative<Fault>(result)) return false;
  }
  const auto& translation = std::get<Translation>(result);
  grant.physical = translation.physical & ~(kPageSize - 1);
  if (vmx_.is_apic_access_page(grant.physical)) {
    if (!apic_page_access_ || kind == FillAccess::kFetch) return false;
    grant.physical = vmx_.virtual_apic_page();
  }
  grant.device = !memory_.is_ram(grant.physical);
  grant.read = translation.read;
  grant.write = translation.write && kind != FillAccess::kFetch;
  grant.execute = translation.execute;
  if (grant.execute) fetched_page_ = {linear / kPageSize, grant.physical};
  // An implicit access is one instruction's alone.
  if (!access.implicit_supervisor) {
    fill_cache_.insert(key, grant);
    // The engine asks once for reads and writes, and apart when it has forgotten.
    const bool reads = kind == FillAccess::kRead, writes = kind == FillAccess::kWrite;
    if ((reads && grant.write) || (writes && grant.read)) {
      const uint64_t other = FillCache::key(linear, reads ? FillAccess::kWrite : FillAccess::kRead,
                                            access.user, (rflags & vmx::rflags::kAc) != 0);
      if (fill_cache_.find(other) == nullptr) fill_cache_.insert(other, grant);
    }
  }
  keep_code_true(linear, access, rflags, grant);
  return true;
}

// The engine notices that translated code is written to, and then no longer looks at writes through
// the same entry of its TLB, unless that entry is executable. None of this costs virtual time.
void Cpu::keep_code_true(uint64_t linear, ept::Access access, uint64_t rflags, TlbGrant& grant) {
  if (grant.device) return;
  if (grant.execute) {
    if (memory_.mark_fetched(grant.physical)) engine_.flush_tlb();
    return;
  }
  if (!grant.write || !memory_.mark_written(grant.physical)) return;
  access.kind = ept::Access::kFetch;
  if (std::holds_alternative<uint64_t>(mmu_.probe(linear, access, rflags))) {
    grant.execute = true;
    // No fetch will be asked for while the engine keeps the entry; nor may it cost anything later.
    const uint64_t key =
        FillCache::key(linear, FillAccess::kFetch, access.user, (rflags & vmx::rflags::kAc) != 0);
    TlbGrant fetch = grant;
    fetch.write = false;
    if (fill_cache_.find(key) == nullptr) fill_cache_.insert(key, fetch);
    return;
  }
  // Where this mode may not execute, the page's code goes instead, and comes back by a fetch.
  memory_.drop_code(grant.physical);
  engine_.flush_tlb();
}

bool Cpu::fill_sub_page(uint64_t linear, TlbGrant& grant) {
  for (const auto& write : sub_page_writes_) {
    if (!write || write->number != linear / kPageSize) continue;
    grant.physical = write->translation.physical & ~(kPageSize - 1);
    grant.device = !memory_.is_ram(grant.physical);
    grant.read = write->translation.read;
    grant.write = true;
    return true;
  }
  return false;
}

void Cpu::clear_vm_in_iret_image() {
  // EIP, CS and EFLAGS, whose third byte it is; what is there for an IRET of 16 bits comes back.
  constexpr unsigned kFlags = 8, kVmByte = 2;
  constexpr uint8_t kVmOfByte = vmx::rflags::kVm >> 8 * kVmByte;
  const bool big = state_.segment[vmx::kSs].rights.default_big();
  const uint64_t mask = state_.code_64bit() ? ~0ull : big ? 0xffffffff : 0xffff;
  const uint64_t offset = (state_.gpr[vmx::kRsp] + kFlags + kVmByte) & mask;
  const auto physical = mmu_.probe(unchecked_linear_address(state_, vmx::kSs, offset),
                                   access(ept::Access::kRead, Privilege::kCurrent), state_.rflags);
  if (!std::holds_alternative<uint64_t>(physical)) return;
  uint8_t byte = 0;
  const uint64_t at = std::get<uint64_t>(physical);
  if (!memory_.read(at, std::span(&byte, 1)) || (byte & kVmOfByte) == 0) return;
  byte = static_cast<uint8_t>(byte & ~kVmOfByte);
  memory_.write(at, std::span(&byte, 1));
  cleared_vm_ = at;
}

void Cpu::restore_iret_image() {
  if (!cleared_vm_) return;
  uint8_t byte = 0;
  (void)memory_.read(*cleared_vm_, std::span(&byte, 1));
  byte |= vmx::rflags::kVm >> 16;
  memory_.write(*cleared_vm_, std::span(&byte, 1));
  cleared_vm_.reset();
}

bool Cpu::reads_descriptor(uint64_t linear) {
  const auto overlaps = [linear](uint64_t base, uint64_t limit) {
    return base < linear + kPageSize && linear <= base + limit;
  };
  const vmx::Segment& ldtr = state_.segment[vmx::kLdtr];
  const vmx::Segment& tr = state_.segment[vmx::kTr];
  if (!overlaps(state_.gdtr.base, state_.gdtr.limit) && !overlaps(ldtr.base, ldtr.limit) &&
      !overlaps(tr.base, tr.limit)) {
    return false;
  }
  // The engine is running: what it executes is not yet in state_.
  vmx::CpuState live = state_;
  engine_.peek(live);
  std::array<uint8_t, Instruction::kMaxLength> bytes{};
  size_t fetched = 0;
  std::swap(state_, live);
  (void)fetch(linear_rip(), bytes, fetched);
  std::swap(state_, live);
  return loads_segment(std::span(bytes.data(), fetched), code_mode(live) == CodeMode::k64);
}

uint64_t Cpu::read_device(uint64_t physical, unsigned size) {
  const uint64_t value = read_outside_ram(physical, size);
  engine_.request_stop();  // the access may have changed what is due
  return value;
}

void Cpu::write_device(uint64_t physical, unsigned size, uint64_t value) {
  write_outside_ram(physical, size, value);
  engine_.request_stop();
}

bool Cpu::deadline_passed() {
  if (clock_.cycles() >= deadline_ || (stop_after_ && engine_.instructions() > *stop_after_)) {
    return true;
  }
  return watch_interrupts_ && (engine_.live_rflags() & vmx::rflags::kIf) != 0;
}

// From a client call: the engine is running, and what it executes is not yet in state_.
CodeMode Cpu::fetch_live(uint64_t linear, std::span<uint8_t> code, size_t& fetched) {
  vmx::CpuState live = state_;
  engine_.peek(live);
  std::swap(state_, live);
  (void)fetch(linear, code, fetched);
  const CodeMode mode = code_mode(state_);
  std::swap(state_, live);
  return mode;
}

unsigned Cpu::count_instructions(uint64_t linear, unsigned size) {
  std::array<uint8_t, kPageSize> bytes;
  const std::span<uint8_t> code(bytes.data(), std::min<size_t>(size, bytes.size()));
  size_t fetched = 0;
  const CodeMode mode = fetch_live(linear, code, fetched);
  std::array<uint16_t, kPageSize> starts;
  return decoder_.instruction_starts(code.first(fetched), mode, starts);
}

// INS; and in 64-bit mode IRET with operands of 32 or 16 bits, unless it is under way.
std::optional<unsigned> Cpu::find_unsafe(uint64_t linear, unsigned size) {
  constexpr uint8_t kInsb = 0x6c, kInsd = 0x6d, kIret = 0xcf, kFarCall = 0x9a, kFarJump = 0xea,
                    kGroup5 = 0xff;
  const bool far_transfers = may_switch_tasks(state_);
  std::array<uint8_t, kPageSize> bytes;
  std::span<uint8_t> code(bytes.data(), std::min<size_t>(size, bytes.size()));
  size_t fetched = 0;
  const CodeMode mode = fetch_live(linear, code, fetched);
  code = code.first(fetched);
  const auto is_opcode = [&](uint8_t byte) {
    return byte == kInsb || byte == kInsd || byte == kIret ||
           (far_transfers && (byte == kFarCall || byte == kFarJump || byte == kGroup5));
  };
  if (std::ranges::none_of(code, is_opcode)) return std::nullopt;
  std::array<uint16_t, kPageSize> starts;
  const unsigned count = decoder_.instruction_starts(code, mode, starts);
  for (unsigned i = 0; i < count; ++i) {
    const auto instruction = decoder_.decode(code.subspan(starts[i]), mode);
    if (!instruction) continue;
    const Operation operation = instruction->operation;
    const bool narrow_iret =
        operation == Operation::kIret && mode == CodeMode::k64 && !instruction->prefixes.rex_w;
    const bool far = operation == Operation::kFarCall || operation == Operation::kFarJump;
    if (operation == Operation::kIns || narrow_iret || (far && far_transfers)) return starts[i];
  }
  return std::nullopt;
}

// The engine reads before it writes; to the processor an operand that is read and written is a
// write.
bool Cpu::writes_to(uint64_t linear) {
  const auto operand = operand_at(linear);
  return operand && operand->written;
}

// What is no operand is a push, a pop or their like.
bool Cpu::uses_stack_segment(uint64_t linear) {
  const auto operand = operand_at(linear);
  return !operand || operand->memory.segment == vmx::kSs;
}

uint8_t Cpu::instruction_length() {
  const auto instruction = instruction_at_rip();
  return instruction ? instruction->length : uint8_t{0};
}

std::optional<Instruction> Cpu::instruction_at_rip() {
  std::array<uint8_t, Instruction::kMaxLength> bytes{};
  size_t fetched = 0;
  (void)fetch(linear_rip(), bytes, fetched);
  return decoder_.decode(std::span(bytes.data(), fetched), code_mode(state_));
}

bool Cpu::misaligned() {
  const auto instruction = instruction_at_rip();
  if (!instruction) return false;
  const auto linear = misaligned_operand(state_, *instruction);
  return linear && std::holds_alternative<uint64_t>(mmu_.probe(
                       *linear, access(ept::Access::kRead, Privilege::kCurrent), state_.rflags));
}

std::optional<Operand> Cpu::operand_at(uint64_t linear) {
  const auto instruction = instruction_at_rip();
  if (!instruction) return std::nullopt;
  for (unsigned i = 0; i < instruction->operand_count; ++i) {
    const Operand& operand = instruction->operand[i];
    if (operand.kind != Operand::Kind::kMemory) continue;
    const uint64_t offset = effective_address(state_, operand.memory);
    const uint64_t first = unchecked_linear_address(state_, operand.memory.segment, offset);
    if (linear - first < operand.size) return operand;
  }
  return std::nullopt;
}

}  // namespace nestor::emu
