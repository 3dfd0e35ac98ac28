// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/vmx/case.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "vmx/cpu_state.h"

namespace nestor::fuzz {
namespace {

using vmx::Field;

void put(Case& base, uint64_t address, std::vector<uint64_t> words) {
  Patch patch{address, std::vector<uint8_t>(8 * words.size())};
  std::memcpy(patch.bytes.data(), words.data(), patch.bytes.size());
  base.memory.push_back(std::move(patch));
}
void fill(Case& base, uint64_t address, size_t size, std::vector<uint8_t> pattern) {
  Patch patch{address, {}};
  for (size_t i = 0; i < size; ++i) patch.bytes.push_back(pattern[i % pattern.size()]);
  base.memory.push_back(std::move(patch));
}

void add_descriptors(Case& base) {
  put(base, kGdt,
      {0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff,
       0x0000890000000067 | (kTss & 0xffffff) << 16 | (kTss >> 24) << 56, 0, 0x00affb000000ffff,
       0x00cff3000000ffff, 0x00009b000000ffff});
  // TSS: RSP0 for 64-bit mode at offset 4; ESP0 and SS0 of 32-bit mode are the same 8 bytes.
  const uint64_t stack = kStack + kPage - 0x100;
  put(base, kTss, {stack << 32, uint64_t{kDataSegment} | stack << 32});
  // Every gate leads to a handler of its own, which executes VMCALL. 64-bit gates of 16 bytes; as
  // gates of 8 bytes they lead to the same places.
  std::vector<uint64_t> gates;
  for (uint64_t vector = 0; vector < 256; ++vector) {
    const uint64_t handler = kHandlers + 8 * vector;
    gates.push_back((handler & 0xffff) | uint64_t{kCode64} << 16 | 0x8e00ull << 32 |
                    (handler >> 16 & 0xffff) << 48);
    gates.push_back(0);
  }
  put(base, kIdt, gates);
}

void add_page_tables(Case& base) {
  constexpr uint64_t kAll = 7;
  const uint64_t index = kArena >> 21;
  std::vector<uint64_t> pages;
  for (uint64_t page = 0; page < 32; ++page) pages.push_back((kArena + page * kPage) | kAll);
  put(base, kPml4, {kPdpt | kAll});
  put(base, kPdpt, {kDirectory | kAll});
  put(base, kPdptPae, {kDirectory | 1});
  put(base, kDirectory, {kTable | kAll});
  put(base, kDirectory + 8 * index, {kTable | kAll});
  put(base, kTable, pages);
  // 32-bit paging: tables of 4-byte entries.
  std::vector<uint64_t> pairs;
  for (size_t page = 0; page < 32; page += 2) pairs.push_back(pages[page] | pages[page + 1] << 32);
  put(base, kTable32, pairs);
  put(base, kDirectory32, {kTable32 | kAll});
  put(base, kDirectory32 + 4 * (kArena >> 22), {kTable32 | kAll});

  // EPT: the arena to itself, and to the first 128 KiB.
  put(base, kEptPml4, {kEptPdpt | kAll | 1u << 10});
  put(base, kEptPdpt, {kEptDirectory | kAll | 1u << 10});
  put(base, kEptDirectory, {kEptTable | kAll | 1u << 10});
  put(base, kEptDirectory + 8 * index, {kEptTable | kAll | 1u << 10});
  std::vector<uint64_t> entries;
  for (uint64_t page = 0; page < 32; ++page)
    entries.push_back((kArena + page * kPage) | kAll | 6u << 3 | 1u << 10);
  put(base, kEptTable, entries);
}

void add_guest_state(Case& base) {
  auto& f = base.fields;
  f[Field::kVmcsLinkPointer] = ~0ull;
  f[Field::kGuestCr0] = 0x80000033;
  f[Field::kGuestCr3] = kPml4;
  f[Field::kGuestCr4] = 0x2020;
  f[Field::kGuestDr7] = 0x400;
  f[Field::kGuestIa32Efer] = 0x501;
  f[Field::kGuestIa32Pat] = 0x0007040600070406;
  for (uint8_t i = vmx::kEs; i <= vmx::kGs; ++i) {
    f[vmx::guest_selector(i)] = i == vmx::kCs ? kCode64 : kDataSegment;
    f[vmx::guest_limit(i)] = 0xffffffff;
    f[vmx::guest_access_rights(i)] = i == vmx::kCs ? 0xa09b : 0xc093;
  }
  f[Field::kGuestLdtrAccessRights] = vmx::AccessRights::kUnusable;
  f[Field::kGuestTrSelector] = kTssSelector;
  f[Field::kGuestTrAccessRights] = 0x8b;
  f[Field::kGuestTrLimit] = 0x67;
  f[Field::kGuestTrBase] = kTss;
  f[Field::kGuestGdtrBase] = kGdt;
  f[Field::kGuestGdtrLimit] = 0x47;
  f[Field::kGuestIdtrBase] = kIdt;
  f[Field::kGuestIdtrLimit] = 0xfff;
  f[Field::kGuestRip] = kCode;
  f[Field::kGuestRsp] = kStack + kPage - 0x200;
  f[Field::kGuestRflags] = 2;
  f[Field::kGuestIa32SysenterCs] = kCode64;
  f[Field::kGuestIa32SysenterEsp] = kStack + 0x800;
  f[Field::kGuestIa32SysenterEip] = kHandlers;
}

void append_hex(std::string& text, uint64_t value) {
  std::array<char, 16> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, 16).ptr;
  text.append(digits.data(), end);
}

void append(std::string& text, const Case& part) {
  const auto line = [&](const char* word, uint64_t name, uint64_t value) {
    text += word;
    append_hex(text, name);
    text += ' ';
    append_hex(text, value);
    text += '\n';
  };
  for (const auto& [field, value] : part.fields) line("field ", vmx::encoding_of(field), value);
  for (const auto& [field, bits] : part.flips) line("flip ", vmx::encoding_of(field), bits);
  for (const auto& [number, value] : part.registers) line("register ", number, value);
  for (const auto& [number, value] : part.debug) line("debug ", number, value);
  for (const Patch& patch : part.memory) {
    text += "memory ";
    append_hex(text, patch.address);
    text += ' ';
    for (const uint8_t byte : patch.bytes) {
      text += "0123456789abcdef"[byte >> 4];
      text += "0123456789abcdef"[byte & 0xf];
    }
    text += '\n';
  }
}

}  // namespace

Case base_case(const vmx::Capabilities& capabilities) {
  Case base;
  auto& f = base.fields;
  using vmx::mask, vmx::PinBased, vmx::PrimaryProcBased, vmx::VmExitControl, vmx::VmEntryControl;
  f[Field::kPinBasedControls] =
      capabilities.pin.must_be_one() | mask(PinBased::kActivatePreemptionTimer);
  f[Field::kPrimaryProcBasedControls] = capabilities.primary.must_be_one() |
                                        PrimaryProcBased::kUnconditionalIoExiting |
                                        PrimaryProcBased::kActivateSecondaryControls;
  f[Field::kVmExitControls] = capabilities.exit.must_be_one() |
                              VmExitControl::kHostAddressSpaceSize | VmExitControl::kSaveEfer |
                              VmExitControl::kLoadEfer;
  f[Field::kVmEntryControls] = capabilities.entry.must_be_one() | VmEntryControl::kIa32eModeGuest |
                               VmEntryControl::kLoadEfer;
  f[Field::kVmxPreemptionTimerValue] = 0x100000;
  f[Field::kEptPointer] = kEptPml4 | 0x1e;
  f[Field::kVirtualProcessorIdentifier] = 1;
  f[Field::kIoBitmapA] = kIoBitmaps;
  f[Field::kIoBitmapB] = kIoBitmaps + kPage;
  f[Field::kMsrBitmaps] = kMsrBitmap;
  f[Field::kVirtualApicAddress] = kVirtualApic;
  f[Field::kApicAccessAddress] = kApicAccess;
  f[Field::kPmlAddress] = kLog;
  f[Field::kPmlIndex] = 511;
  f[Field::kVmreadBitmap] = kShadowBitmaps;
  f[Field::kVmwriteBitmap] = kShadowBitmaps + kPage;
  f[Field::kEptpListAddress] = kEptpList;
  f[Field::kTscMultiplier] = 1ull << 48;
  f[Field::kPostedInterruptDescriptorAddress] = kDescriptor;
  f[Field::kExceptionBitmap] = 0xffffffff;
  add_guest_state(base);

  fill(base, kCode, kPage, {0x0f, 0x01, 0xc1});  // VMCALL
  fill(base, kHandlers, 0x800, {0x0f, 0x01, 0xc1, 0x90, 0x0f, 0x01, 0xc1, 0x90});
  for (uint64_t page = kFirstSpare; page < kArenaEnd; page += kPage)
    fill(base, page, 0x40, {0x0f, 0x01, 0xc1, 0x90});
  add_descriptors(base);
  add_page_tables(base);
  fill(base, kIoBitmaps, 2 * kPage, {0xff});
  fill(base, kMsrBitmap, kPage, {0xff});
  put(base, kEptpList, {kEptPml4 | 0x1e, kEptPml4 | 0x5e, 0, kEptPml4 | 0x1f});
  // A page of data whose words are pointers, selectors and descriptors.
  put(base, kData,
      {kFirstSpare, kEptPml4 | 0x1e, kData, kCode64, 0x1234, 0xffff, kGdt << 16 | 0x47});

  constexpr uint64_t kRegisters[] = {
      0x12345678,          0x174, 0x80, kData, kFirstSpare + 0x100, kData,
      kFirstSpare + kPage, 0x11,  0x22, 0x33};
  for (unsigned i = 0; i < std::size(kRegisters); ++i) base.registers[i] = kRegisters[i];
  return base;
}

std::string to_text(const Case& base, const std::vector<Case>& cases) {
  std::string text;
  append(text, base);
  for (const Case& change : cases) {
    text += "case ";
    append_hex(text, change.seed);
    text += '\n';
    append(text, change);
    text += "run\n";
  }
  return text;
}

vmx::Vmcs vmcs_of(const Case& base, const Case& change) {
  vmx::Vmcs vmcs;
  // As guest-images/lib writes it.
  vmcs.write(Field::kHostCr0, 0x80000033);
  vmcs.write(Field::kHostCr3, 0x105000);
  vmcs.write(Field::kHostCr4, 0x2020);
  for (const Field field : {Field::kHostEsSelector, Field::kHostSsSelector, Field::kHostDsSelector,
                            Field::kHostFsSelector, Field::kHostGsSelector})
    vmcs.write(field, 0x10);
  vmcs.write(Field::kHostCsSelector, 8);
  vmcs.write(Field::kHostTrSelector, 0x20);
  vmcs.write(Field::kHostTrBase, 0x10c000);
  vmcs.write(Field::kHostGdtrBase, 0x103000);
  vmcs.write(Field::kHostIdtrBase, 0x10d000);
  vmcs.write(Field::kHostIa32Efer, 0x500);
  vmcs.write(Field::kHostRip, 0x100a00);
  vmcs.write(Field::kHostRsp, 0x10b000);
  for (const Case* part : {&base, &change}) {
    for (const auto& [field, value] : part->fields) vmcs.write(field, value);
    for (const auto& [field, bits] : part->flips) vmcs.write(field, vmcs[field] ^ bits);
  }
  return vmcs;
}

ArenaMemory::ArenaMemory(const Case& base, const Case& change) : bytes_(kArenaEnd - kArena) {
  apply(base);
  apply(change);
}

void ArenaMemory::apply(const Case& part) {
  for (const Patch& patch : part.memory)
    std::ranges::copy(patch.bytes, bytes_.begin() + static_cast<ptrdiff_t>(patch.address - kArena));
}

bool ArenaMemory::read(ept::PhysicalAddress address, std::span<uint8_t> out) const {
  std::ranges::fill(out, uint8_t{0xff});
  const uint64_t offset = address.value - kArena;
  if (offset >= bytes_.size() || out.size() > bytes_.size() - offset) {
    strayed_ = true;
    return false;
  }
  std::copy_n(bytes_.begin() + static_cast<ptrdiff_t>(offset), out.size(), out.begin());
  return true;
}

}  // namespace nestor::fuzz
