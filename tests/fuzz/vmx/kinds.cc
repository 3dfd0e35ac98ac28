// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/vmx/kinds.h"

#include <algorithm>
#include <array>

#include "tests/fuzz/vmx/descriptors.h"
#include "vmx/cpu_state.h"

namespace nestor::fuzz {
namespace {

using vmx::Field;

bool has_segments_of_real_mode(const Draft& draft) {
  return draft.mode == GuestMode::kReal || draft.mode == GuestMode::kV86;
}
bool is_paged(const Draft& draft) { return draft.get(Field::kGuestCr0) & vmx::cr0::kPg; }
uint64_t cpl_of(const Draft& draft) {
  if (draft.mode == GuestMode::kV86) return 3;
  return draft.get(Field::kGuestSsAccessRights) >> 5 & 3;
}

}  // namespace

void change_privilege(Draft& draft) {
  Random& random = draft.random;
  if (has_segments_of_real_mode(draft)) return;
  const auto set = [&](Field field, uint64_t value) { draft.set(field, value); };
  const bool wide = draft.mode == GuestMode::kLong || draft.mode == GuestMode::kUser;
  const bool narrow = !wide && random.one_in(3);
  const bool user = random.one_in(2);
  const uint64_t level = user ? 0x60 : 0;
  if (user && !wide) set(Field::kGuestCsSelector, kUserCode32);
  if (user && wide) set(Field::kGuestCsSelector, kUserCode);
  set(Field::kGuestCsAccessRights, (wide ? 0xa09b : 0xc09b) | level);
  for (uint8_t i = vmx::kEs; i <= vmx::kGs; ++i) {
    if (i == vmx::kCs) continue;
    set(vmx::guest_selector(i), user ? kUserData : kDataSegment);
    set(vmx::guest_access_rights(i), 0xc093 | level);
  }
  if (user) set(Field::kGuestRflags, draft.get(Field::kGuestRflags) | random.below(4) << 12);
  if (!narrow) return;
  for (uint8_t i = vmx::kEs; i <= vmx::kGs; ++i) {
    const bool code = i == vmx::kCs;
    set(vmx::guest_selector(i),
        code ? (user ? kUserCode16 : kCode16Arena) : (user ? kUserData16 : kData16));
    set(vmx::guest_base(i), kArena);
    set(vmx::guest_limit(i), 0xffff);
    set(vmx::guest_access_rights(i), (code ? 0x9b : 0x93) | level);
  }
  set(Field::kGuestRip, 0);
  set(Field::kGuestRsp, 0x2e00);
}

void change_page_rights(Draft& draft) {
  Random& random = draft.random;
  if (!is_paged(draft)) return;
  constexpr uint64_t kWritable = 2, kUser = 4;
  const bool user = cpl_of(draft) == 3;
  uint64_t cr4 = draft.get(Field::kGuestCr4);
  for (const uint64_t bit : {vmx::cr4::kSmep, vmx::cr4::kSmap, vmx::cr4::kUmip})
    if (random.one_in(2)) cr4 |= bit & draft.cr4_offered();
  draft.set(Field::kGuestCr4, cr4);
  uint64_t cr0 = draft.get(Field::kGuestCr0);
  if (random.one_in(2)) cr0 |= vmx::cr0::kWp;
  if (random.one_in(6)) cr0 |= vmx::cr0::kAm;
  draft.set(Field::kGuestCr0, cr0);
  if (random.one_in(2))
    draft.set(Field::kGuestRflags, draft.get(Field::kGuestRflags) | vmx::rflags::kAc);
  for (const uint64_t page : {kCode, kData, kStack, kGdt, kIdt, kHandlers, kFirstSpare}) {
    const bool of_program = page == kCode || page == kData || page == kStack;
    const bool code = page == kCode || page == kHandlers;
    bool for_user = random.one_in(2);
    if (user) for_user = of_program ? !random.one_in(16) : random.one_in(6);
    if (!user && code && (cr4 & vmx::cr4::kSmep)) for_user = random.one_in(16);
    const uint64_t entry = page | 1 | (random.one_in(10) ? 0 : kWritable) | (for_user ? kUser : 0);
    const uint64_t number = (page - kArena) / kPage;
    draft.put(kTable + 8 * number, entry);
    draft.put(kTable32 + 4 * number, entry, 4);
    if (page == kGdt) draft.result.expectation.secret = user && !for_user;
  }
  for (unsigned i = 0; i < 4; ++i) draft.put(kSecret + 4 * i, kSecretWord, 4);
  constexpr std::array kPlaces = {kSecret, kSecret + 8, kGdt + 8, kGdt - 2, kIdt + 0x80};
  for (const unsigned number : {3u, 5u, 6u})  // RBX, RSI, RDI
    if (random.one_in(8)) draft.result.registers[number] = random.of(kPlaces);
}

void change_limits(Draft& draft) {
  Random& random = draft.random;
  const auto cs = static_cast<uint32_t>(draft.get(Field::kGuestCsAccessRights));
  if (draft.mode == GuestMode::kV86 || (cs & 0x2000)) return;
  const bool big = cs & 0x4000;
  constexpr std::array<uint8_t, 8> kSegments = {vmx::kDs, vmx::kDs, vmx::kDs, vmx::kSs,
                                                vmx::kSs, vmx::kEs, vmx::kFs, vmx::kGs};
  for (uint64_t count = 1 + random.below(3); count > 0; --count) {
    const uint8_t segment = random.of(kSegments);
    const bool stack = segment == vmx::kSs;
    constexpr std::array<unsigned, 3> kRegisters = {3, 5, 6};
    const unsigned number = random.of(kRegisters);
    const uint64_t address =
        stack ? kStack + kPage - 0x200 : kData + random.below(2) * (kPage - 0x20);
    constexpr std::array<uint64_t, 7> kOffsets = {0, 4, 0x7f8, 0x1000, 0xfffffff8, 0xfff8, 0x20000};
    const uint64_t offset =
        random.of(kOffsets) & (big && (!stack || random.one_in(2)) ? 0xffffffff : 0xffff);
    draft.set(vmx::guest_base(segment), (address - offset) & 0xffffffff);
    if (stack)
      draft.set(Field::kGuestRsp, offset);
    else
      draft.result.registers[segment == vmx::kEs ? 6u : number] = offset;

    uint64_t type = random.of(std::array<uint64_t, 6>{3, 3, 7, 7, 1, 5});
    if (stack || draft.mode == GuestMode::kReal) type |= 2;
    if (draft.mode == GuestMode::kReal) type &= ~4ull;
    const bool down = type & 4;
    uint64_t limit = down ? offset - random.below(24) : offset + random.below(24);
    if (random.one_in(5))
      limit = random.of(std::array<uint64_t, 6>{0, 0xfff, 0xffff, 0xfffff, 0xffffffff, 0x7f});
    limit &= 0xffffffff;
    uint64_t rights = (draft.get(vmx::guest_access_rights(segment)) & 0x60) | 0x90 | type;
    if (limit > 0xfffff) {
      limit |= 0xfff;
      rights |= 0x8000;
    }
    if (random.one_in(2)) rights |= 0x4000;
    draft.set(vmx::guest_limit(segment), limit);
    draft.set(vmx::guest_access_rights(segment), rights);
  }
}

void limit_code(Draft& draft, const Code& code) {
  if (code.bits() == 64 || draft.mode == GuestMode::kV86) return;
  const uint64_t end = draft.get(Field::kGuestRip) + code.bytes().size();
  const uint64_t limit = end + draft.random.below(6) - draft.random.below(12);
  if (limit > 0xfffff) {
    // Of 32 bits with base 0: the whole page belongs to it, or not.
    draft.set(Field::kGuestCsLimit, draft.random.one_in(2) ? kCode + 0xfff : kCode - 1);
    return;
  }
  draft.set(Field::kGuestCsLimit, limit);
  draft.set(Field::kGuestCsAccessRights, draft.get(Field::kGuestCsAccessRights) & ~0x8000ull);
}

void change_debugging(Draft& draft, const Code& code) {
  Random& random = draft.random;
  constexpr uint64_t kAddresses[] = {kData,          kData + 4,           kData + 0x40,
                                     kData + 0x48,   kStack + 0xdf8,      kStack + 0xdfc,
                                     kStack + 0xe00, kFirstSpare + 0x100, kFirstSpare + kPage,
                                     kGdt + 0x10,    kHandlers + 8,       kHandlers + 0x68};
  uint64_t dr7 = 0x400;
  for (unsigned n = 0; n < 4; ++n) {
    if (random.one_in(2)) continue;
    const uint64_t condition = random.below(4);  // execution, write, I/O, read or write
    uint64_t length = random.below(4), address = random.of(kAddresses);
    if (condition == 0) {
      length = 0;
      if (!random.one_in(4)) address = random.of(code.starts());
    } else if (condition == 2) {
      constexpr uint64_t kPorts[] = {0x80, 0x84, 0x7f};
      address = random.of(kPorts);
    } else {
      address += random.below(4);
    }
    draft.result.debug[n] = address;
    dr7 |= (condition | length << 2) << (16 + 4 * n);
    if (!random.one_in(6)) dr7 |= (1 + random.below(3)) << (2 * n);
  }
  draft.set(Field::kGuestDr7, dr7);
  if (random.one_in(2)) draft.set(Field::kGuestCr4, draft.get(Field::kGuestCr4) | vmx::cr4::kDe);
  uint64_t flags = draft.get(Field::kGuestRflags);
  if (random.one_in(3)) flags |= vmx::rflags::kTf;
  if (random.one_in(4)) flags |= vmx::rflags::kRf;
  draft.set(Field::kGuestRflags, flags);
  if (random.one_in(4)) draft.set(Field::kGuestIa32Debugctl, vmx::debugctl::kBtf);
  // The handler of #DB runs, too.
  if (random.one_in(2))
    draft.set(Field::kExceptionBitmap, draft.get(Field::kExceptionBitmap) & ~2ull);
}

namespace {

constexpr uint64_t kApicPage = kFirstSpare + kPage;
constexpr uint64_t kApic = 0xfee00000, kInterruptCommand = 0x300;

// It comes when the block of code ends, at the latest.
void send_nmi(Code& code) {
  code.add({0x89, 0x07}, 0, 0, AccessKind::kWrites);  // MOV [RDI], EAX
  code.add({0xeb, 0x00});                             // JMP to the next instruction
}

}  // namespace

void change_nmis(Draft& draft) {
  Random& random = draft.random;
  using vmx::PinBased, vmx::PrimaryProcBased;
  draft.turn(Field::kPrimaryProcBasedControls, PrimaryProcBased::kActivateSecondaryControls, true);
  draft.turn(Field::kSecondaryProcBasedControls, vmx::SecondaryProcBased::kEnableEpt, true);
  draft.put(kEptTable + 8 * ((kApicPage - kArena) / kPage), kApic | 7);
  draft.result.registers[6] = kApicPage + kInterruptCommand;
  draft.result.registers[0] = 0x44400;  // an NMI to itself
  const bool exits = random.one_in(2), is_virtual = exits && random.one_in(2);
  draft.turn(Field::kPrimaryProcBasedControls, PrimaryProcBased::kNmiWindowExiting,
             is_virtual && random.one_in(2));
  draft.turn(Field::kPinBasedControls, PinBased::kVirtualNmis, is_virtual);
  draft.turn(Field::kPinBasedControls, PinBased::kNmiExiting, exits);
  constexpr uint64_t kBlockingByNmi = 8;
  uint64_t blocking = draft.get(Field::kGuestInterruptibilityState) & ~kBlockingByNmi;
  if (random.one_in(2)) blocking |= kBlockingByNmi;
  draft.set(Field::kGuestInterruptibilityState, blocking);
  if (random.one_in(4)) draft.set(Field::kVmEntryInterruptionInformation, 0x80000202);
}

void add_nmi(Draft& draft, Code& code) {
  Random& random = draft.random;
  if (random.one_in(3)) code.add({0xfb});                    // STI
  if (random.one_in(6)) code.add({0x8c, 0xd1, 0x8e, 0xd1});  // SS as it is
  send_nmi(code);
  draft.result.expectation.nmi_sent = code.here();
  for (uint64_t count = random.below(4); count > 0; --count) {
    switch (random.below(7)) {
      case 0:
        code.add({0xf4});  // HLT
        break;
      case 1:
        code.add({0xfb});  // STI
        break;
      case 2: {  // IRET to the next instruction
        const bool wide = code.bits() == 64;
        code.push(draft.get(Field::kGuestSsSelector));
        code.push(kStack + 0xe00);
        code.push(2);
        code.push(draft.get(Field::kGuestCsSelector));
        code.push(code.here() + 5 + (wide ? 2 : 1));
        if (wide)
          code.add({0x48, 0xcf});
        else
          code.add({0xcf});
        break;
      }
      case 3:
        send_nmi(code);
        break;
      case 4:
        code.add({0xcd, 0x80});  // INT 80H
        break;
      default:
        add_plain(draft, code);
        break;
    }
  }
}

}  // namespace nestor::fuzz
