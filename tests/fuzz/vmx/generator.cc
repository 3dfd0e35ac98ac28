// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/vmx/generator.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "tests/fuzz/vmx/descriptors.h"
#include "tests/fuzz/vmx/draft.h"
#include "tests/fuzz/vmx/instructions.h"
#include "tests/fuzz/vmx/kinds.h"
#include "vmx/cpu_state.h"

namespace nestor::fuzz {
namespace {

using vmx::CheckContext;
using vmx::CheckGroup;
using vmx::ControlGroup;
using vmx::Field;
using vmx::mask;

struct ControlField {
  Field field;
  ControlGroup group;
};
constexpr std::array kControlFields = {
    ControlField{Field::kPinBasedControls, ControlGroup::kPinBased},
    ControlField{Field::kPrimaryProcBasedControls, ControlGroup::kPrimaryProcBased},
    ControlField{Field::kSecondaryProcBasedControls, ControlGroup::kSecondaryProcBased},
    ControlField{Field::kTertiaryProcBasedControls, ControlGroup::kTertiaryProcBased},
    ControlField{Field::kVmExitControls, ControlGroup::kVmExit},
    ControlField{Field::kSecondaryVmExitControls, ControlGroup::kSecondaryVmExit},
    ControlField{Field::kVmEntryControls, ControlGroup::kVmEntry},
    ControlField{Field::kVmFunctionControls, ControlGroup::kVmFunction},
};

// Physical addresses that the processor uses once VM entry succeeds; the low bits say more in some.
constexpr std::array kPointers = {
    Field::kIoBitmapA,
    Field::kIoBitmapB,
    Field::kMsrBitmaps,
    Field::kVirtualApicAddress,
    Field::kApicAccessAddress,
    Field::kPmlAddress,
    Field::kEptPointer,
    Field::kEptpListAddress,
    Field::kVmreadBitmap,
    Field::kVmwriteBitmap,
    Field::kGuestCr3,
    Field::kPostedInterruptDescriptorAddress,
    Field::kVmEntryMsrLoadAddress,
    Field::kVmcsLinkPointer,
    Field::kGuestPdpte0,
    Field::kGuestPdpte1,
    Field::kGuestPdpte2,
    Field::kGuestPdpte3,
    Field::kVirtualizationExceptionInformationAddress,
    Field::kSubPagePermissionTablePointer,
};
constexpr Field kHostPhysical[] = {Field::kHostCr3};

// Host state that L1 does not notice.
constexpr std::array kHarmlessHostFields = {
    Field::kHostFsBase,          Field::kHostGsBase,          Field::kHostIa32SysenterCs,
    Field::kHostIa32SysenterEsp, Field::kHostIa32SysenterEip, Field::kHostIa32Pat};

const std::vector<const vmx::EntryCheck*>& all_checks() {
  static const auto kAll = [] {
    std::vector<const vmx::EntryCheck*> list;
    for (const CheckGroup group :
         {CheckGroup::kControls, CheckGroup::kHostState, CheckGroup::kGuestState})
      for (const vmx::CheckTable& table : check_tables(group))
        for (const vmx::EntryCheck& check : table.checks) list.push_back(&check);
    return list;
  }();
  return kAll;
}

}  // namespace

std::optional<CheckGroup> first_failing_group(const vmx::Vmcs& vmcs,
                                              const vmx::Capabilities& capabilities,
                                              const vmx::MemoryReader* memory) {
  const CheckContext context{.vmcs = vmcs,
                             .capabilities = capabilities,
                             .memory = memory,
                             .current_vmcs = ept::PhysicalAddress{1}};
  for (const CheckGroup group :
       {CheckGroup::kControls, CheckGroup::kHostState, CheckGroup::kGuestState})
    if (!all_pass(group, context)) return group;
  return std::nullopt;
}

Generator::Generator(const Case& base, const vmx::Capabilities& own,
                     const std::optional<vmx::Capabilities>& other)
    : base_(base), own_(own), other_(other) {}

void Generator::choose_mode(Draft& draft) const {
  using enum GuestMode;
  constexpr std::array kModes = {kLong,  kLong,    kLong, kUser, kCompatibility, kPae, kPae,
                                 k32Bit, kUnpaged, kReal, kV86};
  const GuestMode mode = draft.mode = draft.random.of(kModes);
  const bool long_mode = mode == kLong || mode == kUser || mode == kCompatibility;
  const bool unrestricted = mode == kUnpaged || mode == kReal;
  const auto set = [&](Field field, uint64_t value) { draft.set(field, value); };
  if (unrestricted || !draft.random.one_in(3)) {
    draft.turn(Field::kSecondaryProcBasedControls, vmx::SecondaryProcBased::kEnableEpt, true);
  }
  if (unrestricted) {
    draft.turn(Field::kSecondaryProcBasedControls, vmx::SecondaryProcBased::kUnrestrictedGuest,
               true);
  }
  if (!long_mode) {
    draft.turn(Field::kVmEntryControls, vmx::VmEntryControl::kIa32eModeGuest, false);
    set(Field::kGuestIa32Efer, 0);
    set(Field::kGuestCsSelector, kCode32);
    set(Field::kGuestCsAccessRights, 0xc09b);
    set(Field::kGuestIdtrLimit, 0x7ff);
  }
  switch (mode) {
    case kLong:
      break;
    case kUser:
      set(Field::kGuestCsSelector, kUserCode);
      set(Field::kGuestCsAccessRights, 0xa0fb);
      set(Field::kGuestSsSelector, kUserData);
      set(Field::kGuestSsAccessRights, 0xc0f3);
      break;
    case kCompatibility:
      set(Field::kGuestCsSelector, kCode32);
      set(Field::kGuestCsAccessRights, 0xc09b);
      break;
    case kV86:
    case kPae:
      set(Field::kGuestCr3, kPdptPae);
      set(Field::kGuestPdpte0, kDirectory | 1);
      break;
    case k32Bit:
      set(Field::kGuestCr4, 0x2000);
      set(Field::kGuestCr3, kDirectory32);
      break;
    case kUnpaged:
      set(Field::kGuestCr0, 0x33);
      break;
    case kReal:
      set(Field::kGuestCr0, 0x32);
      set(Field::kGuestCr4, 0x2000);
      set(Field::kGuestIdtrLimit, 0x3ff);
      break;
  }
  if (mode != kReal && mode != kV86) return;
  const bool v86 = mode == kV86;
  if (v86) set(Field::kGuestRflags, vmx::rflags::kFixed1 | vmx::rflags::kVm);
  for (uint8_t i = vmx::kEs; i <= vmx::kGs; ++i) {
    set(vmx::guest_selector(i), 0);
    set(vmx::guest_base(i), v86 ? 0 : kArena);
    set(vmx::guest_limit(i), 0xffff);
    set(vmx::guest_access_rights(i), v86 ? 0xf3 : i == vmx::kCs ? 0x9b : 0x93);
  }
  set(Field::kGuestRip, 0);
  set(Field::kGuestRsp, 0x2e00);
}

// Controls of which every one leaves the VMCS valid.
void Generator::choose_controls(Draft& draft) const {
  for (const ControlField& control : kControlFields) {
    const uint64_t flexible = own_.allowed1(control.group) & ~own_.allowed0(control.group) &
                              (other_ ? other_->allowed1(control.group) : ~uint64_t{0});
    for (unsigned bit = 0; bit < 64; ++bit) {
      const uint64_t flip = uint64_t{1} << bit;
      if ((flexible & flip) == 0 || !draft.random.one_in(8)) continue;
      const uint64_t before = draft.get(control.field);
      draft.set(control.field, before ^ flip);
      if (draft.fails()) draft.set(control.field, before);
    }
  }
  if (draft.random.one_in(3)) draft.set(Field::kExceptionBitmap, draft.random.bits());
  if (draft.random.one_in(8)) draft.set(Field::kCr0GuestHostMask, draft.random.bits());
  if (draft.random.one_in(8)) draft.set(Field::kCr4GuestHostMask, draft.random.bits());
  if (draft.random.one_in(8)) draft.set(Field::kCr0ReadShadow, draft.random.bits());
  if (draft.random.one_in(4)) draft.set(Field::kEptPointer, kEptPml4 | 0x5e);
  if (draft.random.one_in(8)) draft.set(Field::kTscOffset, draft.random.bits());
  if (draft.random.one_in(12)) draft.set(Field::kVmxPreemptionTimerValue, 0);
  if (draft.random.one_in(4)) draft.set(Field::kPmlIndex, draft.random.below(4) - 1);
  if (draft.random.one_in(8)) {
    constexpr uint64_t kIf = vmx::rflags::kIf;
    draft.set(Field::kGuestRflags, draft.get(Field::kGuestRflags) |
                                       (draft.random.bits() & (0xcd5 | vmx::rflags::kAc)) | kIf);
    draft.set(Field::kGuestInterruptibilityState, draft.random.below(16) & ~4ull);
  }
  if (draft.random.one_in(12)) draft.set(Field::kGuestActivityState, draft.random.below(3));
  if (draft.random.one_in(12))
    draft.set(Field::kGuestPendingDebugExceptions, draft.random.bits() & 0x500f);
}

void Generator::choose_injection(Draft& draft) const {
  if (!draft.random.one_in(4)) return;
  constexpr std::array kTypes = {0, 2, 3, 3, 3, 4, 5, 6, 7};
  const uint64_t type = static_cast<uint64_t>(draft.random.of(kTypes));
  constexpr std::array kVectors = {0, 1, 3, 6, 8, 10, 11, 13, 14, 17};
  uint64_t vector = draft.random.below(256);
  if (type == 2) vector = 2;
  if (type == 3) vector = static_cast<uint64_t>(draft.random.of(kVectors));
  if (type == 5) vector = 1;
  if (type == 6) vector = 3 + draft.random.below(2);
  if (type == 7) vector = 0;
  const bool real = (draft.get(Field::kGuestCr0) & vmx::cr0::kPe) == 0;
  const bool error = type == 3 && !real && (1u << vector & 0x27d00) != 0;
  draft.set(Field::kVmEntryInterruptionInformation, vector | type << 8 | error << 11 | 1u << 31);
  draft.set(Field::kVmEntryExceptionErrorCode, draft.random.below(0x100) & ~1ull);
  draft.set(Field::kVmEntryInstructionLength, 1 + draft.random.below(3));
}

// Permissions, misconfigurations, sizes. Leaves lead to the arena, or to where nothing is.
void Generator::change_ept(Draft& draft) const {
  if (!draft.random.one_in(2)) return;
  for (uint64_t count = 1 + draft.random.below(3); count > 0; --count) {
    Random& random = draft.random;
    const uint64_t page = random.below(32);
    const uint64_t rights = random.below(8) | random.below(2) << 10;
    constexpr std::array kTypes = {0ull, 6ull, 6ull, 6ull, 2ull, 7ull};
    uint64_t entry = (kArena + random.below(32) * kPage) | rights | random.of(kTypes) << 3 |
                     random.below(2) << 6 | random.below(4) << 8;
    if (random.one_in(10)) entry |= 1ull << (40 + random.below(24));
    if (random.one_in(2)) entry = (kArena + page * kPage) | rights | 6u << 3;
    switch (random.below(8)) {
      case 0:  // a page of 2 MiB, or a table's entry with reserved bits
        draft.put(kEptDirectory + 8 * (kArena >> 21),
                  (kArena & ~0x1fffffull) | rights | random.of(kTypes) << 3 | 0x80 |
                      (random.one_in(4) ? random.below(512) << 12 : 0));
        break;
      case 1:
        draft.put(kEptDirectory + 8 * (kArena >> 21),
                  kEptTable | rights | (random.one_in(3) ? random.below(16) << 3 : 0));
        break;
      case 2:
        draft.put(kEptPdpt,
                  kEptDirectory | rights | (random.one_in(3) ? 1u << random.below(12) : 0));
        break;
      case 3:
        draft.put(kEptPml4, kEptPdpt | rights | (random.one_in(3) ? 1u << random.below(12) : 0));
        break;
      default:
        // The pages that the guest uses more often than the others.
        draft.put(kEptTable + 8 * (random.one_in(2) ? random.below(10) : page), entry);
        break;
    }
  }
}

void Generator::choose_code(Draft& draft) const {
  Patch code{kCode, {}};
  for (uint64_t count = 1 + draft.random.below(5); count > 0; --count) {
    const std::span<const uint8_t> bytes = draft.random.of(instructions(!other_));
    code.bytes.insert(code.bytes.end(), bytes.begin(), bytes.end());
  }
  // On to the VMCALLs of the base, which have 3 bytes each.
  while (code.bytes.size() % 3 != 0) code.bytes.push_back(0x90);
  draft.result.memory.push_back(std::move(code));
  if (draft.random.one_in(3)) {
    constexpr std::array<uint64_t, 9> kMsrs = {0x174, 0x175,      0x176,      0x277,     0x1b,
                                               0x10,  0xc0000080, 0xc0000102, 0x40000000};
    draft.result.registers[1] =
        draft.random.one_in(2) ? draft.random.of(kMsrs) : draft.random.bits();
  }
  if (draft.random.one_in(4)) draft.result.registers[0] = draft.random.bits();
  if (draft.random.one_in(6)) draft.result.registers[0] = kPml4;
}

uint64_t Generator::mutated(Draft& draft, Field field, uint64_t value) const {
  Random& random = draft.random;
  const unsigned bits = vmx::bits_of(field);
  constexpr std::array kEdges = {0ull,
                                 1ull,
                                 0xfffull,
                                 0x1000ull,
                                 0xffffffffull,
                                 0x100000000ull,
                                 0x7fffffffffffull,
                                 0x800000000000ull,
                                 0xffff7fffffffffffull,
                                 0xffff800000000000ull,
                                 ~0ull};
  switch (random.below(8)) {
    case 0:
      return random.of(kEdges);
    case 1:
      return value + random.below(5) - 2;
    case 2:
      return value ^ (1ull << random.below(bits)) ^ (1ull << random.below(bits));
    case 3:
      return random.bits();
    case 4:
      return value ^ (1ull << random.below(std::min(bits, 8u)));
    default:
      return value ^ (1ull << random.below(bits));
  }
}

// Picks checks, and changes their fields until they fail, or until they pass with other values.
void Generator::approach_boundary(Draft& draft) const {
  const std::vector<const vmx::EntryCheck*>& checks = all_checks();
  constexpr std::array kCounts = {0, 0, 1, 1, 1, 1, 2, 3};
  for (int count = draft.random.of(kCounts); count > 0; --count) {
    const vmx::EntryCheck& check = *draft.random.of(checks);
    const bool violate = draft.random.one_in(2);
    const uint64_t before = draft.get(check.field);
    for (int attempt = 0; attempt < 12; ++attempt) {
      draft.set(check.field, mutated(draft, check.field, before));
      if (draft.get(check.field) != before && draft.passes(check) != violate) break;
    }
  }
}

// Bits that only one of the two processors knows have the value that means the same to both, and
// fields that only one of them refuses what they had `before`.
void Generator::keep_comparable(Draft& draft, const Case& before) const {
  if (!other_) return;
  for (const ControlField& control : kControlFields) {
    uint64_t value = draft.get(control.field);
    value &= ~(own_.allowed1(control.group) ^ other_->allowed1(control.group));
    value |= own_.allowed0(control.group) ^ other_->allowed0(control.group);
    if (value != draft.get(control.field)) draft.set(control.field, value);
  }
  const uint64_t cr4 = own_.cr4_fixed1() ^ other_->cr4_fixed1();
  for (const Field field : {Field::kGuestCr4, Field::kHostCr4})
    if (draft.get(field) & cr4) draft.set(field, draft.get(field) & ~cr4);
  const uint64_t widths = ((1ull << own_.registers.physical_address_width) - 1) ^
                          ((1ull << other_->registers.physical_address_width) - 1);
  const auto narrow = [&](Field field) {
    if (field == Field::kVmcsLinkPointer && draft.get(field) == ~0ull) return;
    if (draft.get(field) & widths) draft.set(field, draft.get(field) & ~widths);
  };
  for (const Field field : kPointers) narrow(field);
  for (const Field field : kHostPhysical) narrow(field);
  for (const Field field : {Field::kVmExitMsrLoadAddress, Field::kVmExitMsrStoreAddress})
    narrow(field);
  // What capability MSRs do not tell.
  if (draft.get(Field::kGuestActivityState) == 3) draft.set(Field::kGuestActivityState, 0);
  const uint64_t debugctl = draft.get(Field::kGuestIa32Debugctl);
  if (debugctl & 0xfffc) draft.set(Field::kGuestIa32Debugctl, debugctl & ~0xfffcull);

  const vmx::Vmcs now = draft.vmcs();
  const ArenaMemory memory(base_, draft.result);
  for (const vmx::EntryCheck* check : all_checks()) {
    const auto passes = [&](const vmx::Capabilities& capabilities) {
      return check->passes({.vmcs = now,
                            .capabilities = capabilities,
                            .memory = &memory,
                            .current_vmcs = ept::PhysicalAddress{1}});
    };
    if (passes(own_) == passes(*other_)) continue;
    draft.result.flips.erase(check->field);
    const auto old = before.fields.find(check->field);
    if (old == before.fields.end())
      draft.result.fields.erase(check->field);
    else
      draft.result.fields[check->field] = old->second;
  }
}

// Whatever comes of the VM entry, L1 must be able to go on with the next case.
void Generator::keep_l1_alive(Draft& draft) const {
  const auto fails = draft.fails();
  if (fails == CheckGroup::kControls || fails == CheckGroup::kHostState) return;
  const std::map<Field, uint64_t> flips = draft.result.flips;
  for (const auto& [field, bits] : flips)
    if (std::ranges::find(kHarmlessHostFields, field) == kHarmlessHostFields.end())
      draft.result.flips.erase(field);
  for (const Field field : {Field::kVmExitMsrLoadCount, Field::kVmExitMsrStoreCount})
    if (draft.get(field) != 0) draft.set(field, 0);
  if (draft.get(Field::kVmEntryMsrLoadCount) > 3) draft.set(Field::kVmEntryMsrLoadCount, 3);
  for (const Field field : kPointers) {
    const uint64_t value = draft.get(field), page = value & ~0xfffull;
    if (field == Field::kVmcsLinkPointer && value == ~0ull) continue;
    if (page >= kArena && page < kArenaEnd) continue;
    if (field >= Field::kGuestPdpte0 && field <= Field::kGuestPdpte3 && page == 0) continue;
    // Bits that are reserved, and make the entry fail, stay.
    const uint64_t beyond = ~((1ull << own_.registers.physical_address_width) - 1);
    draft.set(field, (value & (0xfff | beyond)) | (kArena + draft.random.below(32) * kPage));
  }
  draft.turn(Field::kPinBasedControls, vmx::PinBased::kActivatePreemptionTimer, true);
  // A guest that loops does not do so for long.
  const uint64_t patience = draft.result.seed >= kFirstSeedOfKinds ? 0x1000 : 0x100000;
  if (draft.get(Field::kVmxPreemptionTimerValue) != 0)
    draft.set(Field::kVmxPreemptionTimerValue, patience);
  const vmx::Vmcs now = draft.vmcs();
  if (!now.has(vmx::PrimaryProcBased::kUseIoBitmaps))
    draft.turn(Field::kPrimaryProcBasedControls, vmx::PrimaryProcBased::kUnconditionalIoExiting,
               true);
  // "VMX-Preemption Timer": the wait for a start-up IPI, which nobody sends, does not end by it.
  constexpr auto kWaits = static_cast<uint64_t>(vmx::ActivityState::kWaitForSipi);
  if (!fails && draft.get(Field::kGuestActivityState) == kWaits)
    draft.set(Field::kGuestActivityState, static_cast<uint64_t>(vmx::ActivityState::kActive));
  // Breakpoints that were not drawn as such.
  if (draft.result.debug.empty() && (draft.get(Field::kGuestDr7) & 0xff))
    draft.set(Field::kGuestDr7, draft.get(Field::kGuestDr7) & ~0xffull);
}

void Generator::choose_kinds(Draft& draft) const {
  Random& random = draft.random;
  const bool nmis = random.one_in(6) &&
                    (draft.mode == GuestMode::kLong || draft.mode == GuestMode::kCompatibility ||
                     draft.mode == GuestMode::kPae);
  change_privilege(draft);
  // Most accesses near address 0 are nothing but mistakes.
  if (!random.one_in(8)) {
    draft.put(kDirectory, 0);
    draft.put(kDirectory32, 0, 4);
  }
  change_descriptors(draft);
  if (random.one_in(2)) change_page_rights(draft);
  if (random.one_in(3)) {
    const uint64_t cr4 = vmx::cr4::kOsfxsr & draft.cr4_offered();
    draft.set(Field::kGuestCr4, draft.get(Field::kGuestCr4) | cr4);
  }
  if (!nmis && random.one_in(2)) change_limits(draft);
  if (nmis) change_nmis(draft);
  Code code(draft);
  if (code.bits() == 16) {
    // Not the EPT, which the low halves of the base's lead to.
    draft.result.registers.try_emplace(4, kStack + 0xe00);
    draft.result.registers.try_emplace(6, kData + 0x200);
  }
  if (nmis && code.bits() != 16) add_nmi(draft, code);
  const uint64_t kind = random.below(3);
  for (uint64_t count = 2 + random.below(7); count > 0 && !nmis; --count) {
    if (kind == 0 || random.one_in(2)) {
      add_plain(draft, code);
    } else if (!random.one_in(8)) {
      add_descriptor_use(draft, code);
    } else {
      code.add(random.of(instructions(!other_)));
    }
  }
  if (code.bytes().empty()) code.add({0x90});
  if (!nmis && random.one_in(5)) limit_code(draft, code);
  if (random.one_in(3)) change_debugging(draft, code);
  draft.result.expectation.accesses = code.accesses();
  Patch patch{kCode, code.bytes()};
  while (patch.bytes.size() % 3 != 0) patch.bytes.push_back(0x90);
  // SYSCALL leads to code of which nothing is known; it, SYSRET, SYSENTER and SYSEXIT load segments
  // without descriptors.
  Expectation& expectation = draft.result.expectation;
  expectation.descriptors = true;
  constexpr std::array<uint8_t, 4> kOpcodes = {0x05, 0x07, 0x34, 0x35};
  for (const uint8_t opcode : kOpcodes) {
    const std::array<uint8_t, 2> code_of_it = {0x0f, opcode};
    if (std::ranges::search(patch.bytes, code_of_it).empty()) continue;
    expectation.descriptors = false;
    if (opcode == 0x05) expectation.secret = false;
  }
  draft.result.memory.push_back(std::move(patch));
}

Case Generator::make(uint64_t seed) const {
  Draft draft(seed, base_, own_, other_);
  const bool kinds = seed >= kFirstSeedOfKinds;
  choose_mode(draft);
  choose_controls(draft);
  if (!kinds || draft.random.one_in(3)) choose_injection(draft);
  const size_t patches = draft.result.memory.size();
  if (!kinds || draft.random.one_in(4)) change_ept(draft);
  const bool other_ept = draft.result.memory.size() != patches;
  if (kinds)
    choose_kinds(draft);
  else
    choose_code(draft);
  const Case before = draft.result;
  const bool boundary = !kinds || draft.random.one_in(4);
  if (boundary) approach_boundary(draft);
  keep_comparable(draft, before);
  keep_l1_alive(draft);
  // What the last step took away may let the entry go further than before.
  keep_l1_alive(draft);
  Expectation& expectation = draft.result.expectation;
  expectation.identity = kinds && !boundary && !other_ept;
  if (!expectation.identity) expectation = {};
  return std::move(draft.result);
}

}  // namespace nestor::fuzz
