// SPDX-License-Identifier: GPL-2.0-or-later
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <tuple>

#include "tests/vmx/checks_machine.h"

namespace nestor::vmx {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAreArray;

constexpr CheckGroup kGroups[] = {CheckGroup::kControls, CheckGroup::kHostState,
                                  CheckGroup::kGuestState};

std::vector<Violation> every_violation() {
  std::vector<Violation> all;
  for (std::vector<Violation> part :
       {control_violations(), host_violations(), guest_violations(), segment_violations()})
    for (Violation& violation : part) all.push_back(std::move(violation));
  return all;
}

std::vector<const EntryCheck*> every_check() {
  std::vector<const EntryCheck*> all;
  for (const CheckGroup group : kGroups)
    for (const CheckTable& table : check_tables(group))
      for (const EntryCheck& check : table.checks) all.push_back(&check);
  return all;
}

void prepare(Machine& machine, const Violation& violation) {
  if (violation.prepare != nullptr) violation.prepare(machine);
}
void violate(Machine& machine, const Violation& violation) {
  for (const auto& [field, value] : violation.writes) machine.set(field, value);
  if (violation.violate != nullptr) violation.violate(machine);
}

// The first failure in the order in which a VM entry asks.
std::optional<FailedCheck> first_failure(const Machine& machine) {
  if (const auto failure = check_controls(machine.context())) return failure;
  if (const auto failure = check_host_state(machine.context())) return failure;
  return check_guest_state(machine.context());
}

TEST(EntryChecks, BaselinePasses) {
  Machine machine;
  EXPECT_THAT(machine.failures(), IsEmpty());
  machine.make_guest_32bit();
  EXPECT_THAT(machine.failures(), IsEmpty());
  machine.make_host_32bit();
  EXPECT_THAT(machine.failures(), IsEmpty());
  EXPECT_FALSE(first_failure(machine));
}

TEST(EntryChecks, VariantsPass) {
  Machine v86;
  v86.make_virtual_8086();
  EXPECT_THAT(v86.failures(), IsEmpty());

  Machine ldt;
  ldt.use_ldtr();
  EXPECT_THAT(ldt.failures(), IsEmpty());

  Machine real;
  real.make_unrestricted();
  real.make_guest_32bit();
  real.clear_bits(Field::kGuestCr0, cr0::kPe | cr0::kPg);
  EXPECT_THAT(real.failures(), IsEmpty());
  real.off(SecondaryProcBased::kUnrestrictedGuest);
  EXPECT_THAT(real.failures(), ElementsAre("guest-cr0-fixed"));
}

TEST(EntryChecks, EveryCheckHasAnIdOfItsOwn) {
  std::set<std::string_view> ids;
  for (const EntryCheck* check : every_check()) {
    EXPECT_TRUE(ids.insert(check->id).second) << check->id;
    EXPECT_FALSE(check->requirement.empty()) << check->id;
    EXPECT_FALSE(check->section.empty()) << check->id;
    EXPECT_TRUE(decode_field(encoding_of(check->field))) << check->id;
  }
}

TEST(EntryChecks, EveryCheckIsViolatedBySomeTest) {
  std::set<std::string> violated, known;
  for (const Violation& violation : every_violation()) violated.insert(violation.id);
  for (const EntryCheck* check : every_check()) known.insert(std::string(check->id));
  EXPECT_EQ(violated, known);
}

TEST(EntryChecks, EachViolationFailsExactlyItsCheck) {
  for (const Violation& violation : every_violation()) {
    SCOPED_TRACE(violation.id);
    Machine machine;
    prepare(machine, violation);
    EXPECT_THAT(machine.failures(), IsEmpty()) << "before the violation";
    violate(machine, violation);
    std::vector<std::string> expected = violation.also;
    expected.push_back(violation.id);
    EXPECT_THAT(machine.failures(), UnorderedElementsAreArray(expected));
  }
}

TEST(EntryChecks, TheFirstFailureIsTheFirstOfAll) {
  for (const Violation& violation : every_violation()) {
    SCOPED_TRACE(violation.id);
    Machine machine;
    prepare(machine, violation);
    violate(machine, violation);
    const std::optional<FailedCheck> first = first_failure(machine);
    ASSERT_TRUE(first);
    EXPECT_EQ(first->id, machine.failures().front());
  }
}

// The compiled form of a table must say what the rows say.
TEST(EntryChecks, TablesPassIfTheirRowsPass) {
  for (const Violation& violation : every_violation()) {
    SCOPED_TRACE(violation.id);
    Machine machine;
    prepare(machine, violation);
    for (const CheckGroup group : kGroups) EXPECT_TRUE(all_pass(group, machine.context()));
    violate(machine, violation);
    for (const CheckGroup group : kGroups) {
      bool group_passes = true;
      for (const CheckTable& table : check_tables(group)) {
        const bool rows_pass =
            std::all_of(table.checks.begin(), table.checks.end(),
                        [&](const EntryCheck& check) { return check.passes(machine.context()); });
        EXPECT_EQ(table.all_pass(machine.context()), rows_pass);
        group_passes &= rows_pass;
      }
      EXPECT_EQ(all_pass(group, machine.context()), group_passes);
    }
  }
}

TEST(EntryChecks, TheFailureDescribesTheField) {
  Machine machine;
  machine.set(Field::kGuestActivityState, 4);
  const std::optional<FailedCheck> failure = check_guest_state(machine.context());
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->id, "guest-activity-supported");
  EXPECT_EQ(failure->field, "Guest activity state");
  EXPECT_EQ(failure->value, 4u);
  EXPECT_EQ(failure->section, "Checks on Guest Non-Register State");
  EXPECT_EQ(failure->group, CheckGroup::kGuestState);
}

// Another value of the field to blame makes the check pass: one bit flipped, another RPL, all or
// none of the bits, or what virtual-8086 mode asks of access rights.
TEST(EntryChecks, TheFieldToBlameCanRepairTheViolation) {
  const auto repairable = [](const Machine& broken, const EntryCheck& check) {
    const auto passes_with = [&](uint64_t other) {
      Machine machine = broken;
      machine.set(check.field, other);
      return check.passes(machine.context());
    };
    const uint64_t value = broken.vmcs[check.field];
    for (const uint64_t repair : {uint64_t{0}, ~uint64_t{0}, value | 3, uint64_t{0xf3}})
      if (passes_with(repair)) return true;
    for (unsigned bit = 0; bit < bits_of(check.field); ++bit)
      if (passes_with(value ^ uint64_t{1} << bit)) return true;
    return false;
  };
  const std::vector<const EntryCheck*> checks = every_check();
  for (const Violation& violation : every_violation()) {
    Machine machine;
    prepare(machine, violation);
    violate(machine, violation);
    for (const EntryCheck* check : checks) {
      if (check->id != violation.id) continue;
      EXPECT_TRUE(repairable(machine, *check)) << check->id << ": " << info_of(check->field).name;
    }
  }
}

// "VM-Entry Failures During or After Loading Guest State".
TEST(EntryChecks, ExitQualificationsOfGuestStateFailures) {
  const std::map<std::string_view, uint64_t> special = {
      {"guest-pdptes-in-memory", 2}, {"guest-pdpte0", 2},       {"guest-pdpte1", 2},
      {"guest-pdpte2", 2},           {"guest-pdpte3", 2},       {"guest-nmi-blocked-by-sti", 3},
      {"guest-link-alignment", 4},   {"guest-link-width", 4},   {"guest-link-revision", 4},
      {"guest-link-shadow", 4},      {"guest-link-current", 4}, {"guest-link-executive", 4}};
  for (const Violation& violation : every_violation()) {
    SCOPED_TRACE(violation.id);
    Machine machine;
    prepare(machine, violation);
    violate(machine, violation);
    check_all(machine.context(), [&](const FailedCheck& failure) {
      const auto found = special.find(failure.id);
      EXPECT_EQ(failure.qualification, found == special.end() ? 0 : found->second) << failure.id;
    });
  }
}

// Each bit of each 32-bit control field, in turn flipped from a valid VMCS.
struct ControlField {
  ControlGroup group;
  Field field;
  std::string id;
};
const ControlField kControlFields[] = {
    {ControlGroup::kPinBased, Field::kPinBasedControls, "pin-based-reserved"},
    {ControlGroup::kPrimaryProcBased, Field::kPrimaryProcBasedControls, "primary-reserved"},
    {ControlGroup::kSecondaryProcBased, Field::kSecondaryProcBasedControls, "secondary-reserved"},
    {ControlGroup::kVmExit, Field::kVmExitControls, "exit-reserved"},
    {ControlGroup::kVmEntry, Field::kVmEntryControls, "entry-reserved"},
};

TEST(EntryChecks, EachControlBitAgainstTheCapabilities) {
  for (const Capabilities& capabilities : {nestor_capabilities(), every_capability()}) {
    for (const ControlField& control : kControlFields) {
      for (unsigned bit = 0; bit < 32; ++bit) {
        SCOPED_TRACE(control.id + " bit " + std::to_string(bit));
        const uint64_t mask = uint64_t{1} << bit;
        for (const bool one : {false, true}) {
          Machine machine;
          machine.capabilities = capabilities;
          machine.off(PrimaryProcBased::kActivateTertiaryControls,
                      VmExitControl::kActivateSecondaryControls);
          one ? machine.set_bits(control.field, mask) : machine.clear_bits(control.field, mask);
          const bool allowed = one ? (capabilities.allowed1(control.group) & mask) != 0
                                   : (capabilities.allowed0(control.group) & mask) == 0;
          const std::vector<std::string> failures = machine.failures();
          if (allowed) {
            EXPECT_THAT(failures, Not(Contains(control.id)));
          } else {
            EXPECT_THAT(failures, Contains(control.id));
          }
        }
      }
    }
  }
}

TEST(EntryChecks, InactiveSecondaryAndTertiaryControlsAreIgnored) {
  Machine machine;
  machine.off(PrimaryProcBased::kActivateSecondaryControls,
              PrimaryProcBased::kActivateTertiaryControls,
              VmExitControl::kActivateSecondaryControls);
  machine.set(Field::kSecondaryProcBasedControls, ~uint64_t{0});
  machine.set(Field::kTertiaryProcBasedControls, ~uint64_t{0});
  machine.set(Field::kSecondaryVmExitControls, ~uint64_t{0});
  EXPECT_THAT(machine.failures(), IsEmpty());
}

// Each allowed and each forbidden EPTP memory type and walk length.
TEST(EntryChecks, EptpFields) {
  for (const bool five_levels : {false, true}) {
    Machine machine;
    machine.enable_ept();
    if (!five_levels) machine.capabilities.ept_vpid &= ~ept_vpid_cap::kWalkLength5;
    for (uint64_t type = 0; type < 8; ++type) {
      for (uint64_t length = 0; length < 8; ++length) {
        machine.set(Field::kEptPointer, 0x8000 | length << 3 | type);
        const bool good = (type == 0 || type == 6) && (length == 3 || (five_levels && length == 4));
        EXPECT_EQ(machine.failures().empty(), good) << type << " " << length;
      }
    }
  }
  Machine machine;
  machine.enable_ept();
  for (unsigned bit = 7; bit < 64; ++bit) {
    machine.enable_ept();
    machine.set_bits(Field::kEptPointer, uint64_t{1} << bit);
    EXPECT_EQ(machine.failures().empty(), bit >= 12 && bit < 40) << bit;
  }
}

TEST(EntryChecks, EachPatByte) {
  for (unsigned byte = 0; byte < 8; ++byte) {
    for (uint64_t type = 0; type < 256; ++type) {
      Machine machine;
      machine.on(VmEntryControl::kLoadPat, VmExitControl::kLoadPat);
      machine.set(Field::kGuestIa32Pat, type << (8 * byte));
      machine.set(Field::kHostIa32Pat, type << (8 * byte));
      const bool good = type < 8 && type != 2 && type != 3;
      if (good) {
        EXPECT_THAT(machine.failures(), IsEmpty()) << byte << " " << type;
      } else {
        EXPECT_THAT(machine.failures(), ElementsAre("host-pat", "guest-pat"))
            << byte << " " << type;
      }
    }
  }
}

// Every vector of every interruption type, with and without an error code, in protected mode.
TEST(EntryChecks, EachInjection) {
  const std::set<unsigned> pushes_error = {8, 10, 11, 12, 13, 14, 17};
  for (const bool monitor_trap_flag : {false, true}) {
    for (unsigned type = 0; type < 8; ++type) {
      for (unsigned vector = 0; vector < 256; ++vector) {
        for (const bool error : {false, true}) {
          Machine machine;
          if (!monitor_trap_flag)
            machine.capabilities.primary.offered &= ~mask(PrimaryProcBased::kMonitorTrapFlag);
          machine.set_bits(Field::kGuestRflags, rflags::kIf);
          machine.inject(type << 8 | vector | (error ? 0x800 : 0));
          bool good = type != 1 && (type != 7 || monitor_trap_flag);
          good &= type != 2 || vector == 2;
          good &= type != 3 || vector < 32;
          good &= type != 7 || vector == 0;
          if (type != 3)
            good &= !error;
          else
            good &= error == pushes_error.contains(vector);
          EXPECT_EQ(machine.failures().empty(), good)
              << "type " << type << " vector " << vector << " error code " << error;
        }
      }
    }
  }
}

TEST(EntryChecks, InjectionWithErrorCodesForAnyVector) {
  Machine machine;
  machine.capabilities.error_code_for_any_vector = true;
  for (unsigned vector = 0; vector < 32; ++vector)
    for (const uint32_t error : {0u, 0x800u}) {
      machine.inject(0x300 | vector | error);
      EXPECT_THAT(machine.failures(), IsEmpty()) << vector;
    }
}

TEST(EntryChecks, TheErrorCodeCountsOnlyWhereOneIsDelivered) {
  constexpr uint32_t kDelivers = 0x800;
  for (const uint32_t information : {0x300u | vmx::kUd, kDelivers | 0x300u | vmx::kGp, 0x202u}) {
    Machine machine;
    machine.inject(information);
    machine.set(Field::kVmEntryExceptionErrorCode, 0x10000);
    if ((information & kDelivers) != 0) {
      EXPECT_THAT(machine.failures(), ElementsAre("injection-error-code-value"));
    } else {
      EXPECT_THAT(machine.failures(), IsEmpty());
    }
    // Without the valid bit nothing of it counts.
    machine.set(Field::kVmEntryInterruptionInformation, information);
    EXPECT_THAT(machine.failures(), IsEmpty());
  }
}

TEST(EntryChecks, NoErrorCodeInRealMode) {
  Machine machine;
  machine.make_unrestricted();
  machine.make_guest_32bit();
  machine.clear_bits(Field::kGuestCr0, cr0::kPe | cr0::kPg);
  machine.inject(0x30d);
  EXPECT_THAT(machine.failures(), IsEmpty());
  machine.inject(0xb0d);
  EXPECT_THAT(machine.failures(), ElementsAre("injection-error-code-forbidden"));
}

TEST(EntryChecks, InjectionOfLengthZeroIsACapability) {
  for (const uint32_t type : {4u, 5u, 6u}) {
    Machine machine;
    machine.inject(type << 8 | 3);
    machine.set(Field::kVmEntryInstructionLength, 0);
    EXPECT_THAT(machine.failures(), IsEmpty());
    machine.capabilities.misc &= ~vmx_misc::kInjectionLength0;
    EXPECT_THAT(machine.failures(), ElementsAre("injection-instruction-length"));
    machine.set(Field::kVmEntryInstructionLength, 15);
    EXPECT_THAT(machine.failures(), IsEmpty());
  }
}

TEST(EntryChecks, AllowedInjectionsByActivityState) {
  const auto allowed = [](uint64_t activity, uint32_t information) {
    Machine machine;
    machine.set(Field::kGuestActivityState, activity);
    machine.set_bits(Field::kGuestRflags, rflags::kIf);
    machine.inject(information);
    return machine.failures().empty();
  };
  for (const uint32_t information : {0x020u, 0x202u, 0x301u, 0x312u, 0x700u})
    EXPECT_TRUE(allowed(1, information)) << information;
  for (const uint32_t information : {0x202u, 0x312u}) EXPECT_TRUE(allowed(2, information));
  for (const uint32_t information : {0x020u, 0x301u, 0x700u})
    EXPECT_FALSE(allowed(2, information)) << information;
  for (const uint32_t information : {0x020u, 0x202u, 0x312u})
    EXPECT_FALSE(allowed(3, information)) << information;
}

TEST(EntryChecks, UnusableSegmentsAreNotLookedAt) {
  for (const uint8_t segment : {kEs, kSs, kDs, kFs, kGs, kLdtr}) {
    Machine machine;
    machine.set(guest_access_rights(segment), AccessRights::kUnusable | 0xf00);
    machine.set(guest_limit(segment), 0x12345678);
    EXPECT_THAT(machine.failures(), IsEmpty()) << int{segment};
  }
}

TEST(EntryChecks, EachCsType) {
  for (const bool unrestricted : {false, true})
    for (uint64_t type = 0; type < 16; ++type) {
      Machine machine;
      if (unrestricted) machine.make_unrestricted();
      machine.set(Field::kGuestCsAccessRights, 0xa090 | type);
      const bool good = type == 9 || type == 11 || type == 13 || type == 15;
      EXPECT_EQ(machine.failures().empty(), good || (unrestricted && type == 3)) << type;
    }
}

TEST(EntryChecks, TssType16BitOnlyOutsideIa32eMode) {
  Machine machine;
  machine.make_guest_32bit();
  machine.set(Field::kGuestTrAccessRights, 0x83);
  EXPECT_THAT(machine.failures(), IsEmpty());
  machine.on(VmEntryControl::kIa32eModeGuest);
  EXPECT_THAT(machine.failures(), ElementsAre("guest-tr-type"));
}

TEST(EntryChecks, AddressesOf32Bits) {
  Machine machine;
  machine.on(PrimaryProcBased::kUseMsrBitmaps);
  machine.set(Field::kMsrBitmaps, uint64_t{1} << 32);
  EXPECT_THAT(machine.failures(), IsEmpty());
  machine.capabilities.addresses_32bit = true;
  EXPECT_THAT(machine.failures(), ElementsAre("msr-bitmap-width"));
}

TEST(EntryChecks, MsrAreaEndDoesNotWrap) {
  Machine machine;
  machine.set(Field::kVmExitMsrLoadCount, 0xffffffff);
  machine.set(Field::kVmExitMsrLoadAddress, Machine::kLastPage);
  EXPECT_THAT(machine.failures(), ElementsAre("exit-msr-load-end-width"));
  machine.set(Field::kVmExitMsrLoadAddress, ~uint64_t{0xf});
  EXPECT_THAT(machine.failures(), ElementsAre("exit-msr-load-width", "exit-msr-load-end-width"));
}

// "The address of the last byte in the area must not set any bits beyond the physical-address
// width", whatever the alignment; and the address of the last PID pointer.
TEST(EntryChecks, AreasEndWithinTheWidth) {
  constexpr uint64_t kEnd = uint64_t{1} << 40;
  const std::tuple<Field, Field, const char*> areas[] = {
      {Field::kVmExitMsrStoreCount, Field::kVmExitMsrStoreAddress, "exit-msr-store-end-width"},
      {Field::kVmExitMsrLoadCount, Field::kVmExitMsrLoadAddress, "exit-msr-load-end-width"},
      {Field::kVmEntryMsrLoadCount, Field::kVmEntryMsrLoadAddress, "entry-msr-load-end-width"}};
  for (const auto& [count_field, address_field, id] : areas) {
    for (const uint64_t count : {1u, 2u, 512u}) {
      for (uint64_t before_end = 16 * count - 17; before_end <= 16 * count + 17; ++before_end) {
        Machine machine;
        machine.set(count_field, count);
        machine.set(address_field, kEnd - before_end);
        const bool beyond = before_end < 16 * count;
        EXPECT_EQ(std::ranges::count(machine.failures(), std::string(id)), beyond ? 1 : 0)
            << id << ' ' << count << ' ' << before_end;
      }
    }
  }
  for (const uint64_t index : {0u, 1u, 0xffffu}) {
    for (uint64_t before_end = 0; before_end <= 16; ++before_end) {
      Machine machine;
      machine.enable_tpr_shadow();
      machine.on(TertiaryProcBased::kIpiVirtualization);
      machine.set(Field::kLastPidPointerIndex, index);
      machine.set(Field::kPidPointerTableAddress, kEnd - 8 * index - before_end);
      EXPECT_EQ(std::ranges::count(machine.failures(), std::string("pid-pointer-table-end-width")),
                before_end == 0 ? 1 : 0)
          << index << ' ' << before_end;
    }
  }
}

// "If the processor is not in SMM or the "entry to SMM" VM-entry control is 1, the field must not
// contain the current VMCS pointer. If the processor is in SMM and the "entry to SMM" VM-entry
// control is 0, the field must differ from the executive-VMCS pointer."
TEST(EntryChecks, LinkPointersAgainstTheOtherPointers) {
  constexpr uint64_t kLink = 0x3000, kOther = 0x1000, kNone = ~uint64_t{0};
  for (const bool in_smm : {false, true}) {
    for (const bool entry_to_smm : {false, true}) {
      for (const uint64_t link : {kNone, kLink}) {
        for (const uint64_t executive : {kNone, kLink, kOther}) {
          for (const auto current : {std::optional(kLink), std::optional(kOther),
                                     std::optional(kNone), std::optional<uint64_t>()}) {
            Machine machine;
            machine.link();
            machine.set(Field::kVmcsLinkPointer, link);
            machine.set(Field::kExecutiveVmcsPointer, executive);
            machine.in_smm = in_smm;
            if (entry_to_smm) machine.on(VmEntryControl::kEntryToSmm);
            machine.current_vmcs.reset();
            if (current) machine.current_vmcs = ept::PhysicalAddress{*current};
            const std::vector<std::string> failures = machine.failures();
            const bool against_current = !in_smm || entry_to_smm;
            const bool linked = link != kNone;
            SCOPED_TRACE(::testing::Message() << in_smm << entry_to_smm << std::hex << ' ' << link
                                              << ' ' << executive << ' ' << current.value_or(1));
            EXPECT_EQ(std::ranges::count(failures, std::string("guest-link-current")),
                      linked && against_current && current == link ? 1 : 0);
            EXPECT_EQ(std::ranges::count(failures, std::string("guest-link-executive")),
                      linked && !against_current && executive == link ? 1 : 0);
          }
        }
      }
    }
  }
}

TEST(EntryChecks, UnknownMemoryIsNotJudged) {
  Machine machine;
  machine.set(Field::kVmcsLinkPointer, 0x3000);
  machine.make_guest_32bit();
  machine.memory.write<uint64_t>(0x4000, 0x7);
  EXPECT_THAT(machine.failures(), ElementsAre("guest-link-revision", "guest-pdptes-in-memory"));
  CheckContext context = machine.context();
  context.memory = nullptr;
  EXPECT_FALSE(check_guest_state(context));
}

}  // namespace
}  // namespace nestor::vmx
