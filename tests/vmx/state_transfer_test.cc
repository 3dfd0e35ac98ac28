// SPDX-License-Identifier: GPL-2.0-or-later
//
// Every register that VM entries load and VM exits save and load, each with a value of its own: the
// state afterwards is compared as a whole, so that what must stay is seen to stay ("Loading Guest
// State", "Saving Guest State", "Loading Host State").
#include <map>

#include "tests/vmx/vmx_fixture.h"
#include "vmx/guest_area.h"

namespace nestor::vmx::test {
namespace {

using State = std::map<std::string, uint64_t>;

std::string segment_name(size_t number) { return "segment " + std::to_string(number); }

State flat(const CpuState& s) {
  State out = {{"rip", s.rip},
               {"rflags", s.rflags},
               {"cr0", s.cr0},
               {"cr2", s.cr2},
               {"cr3", s.cr3},
               {"cr4", s.cr4},
               {"dr6", s.dr6},
               {"dr7", s.dr7},
               {"efer", s.efer},
               {"pat", s.pat},
               {"star", s.star},
               {"lstar", s.lstar},
               {"cstar", s.cstar},
               {"fmask", s.fmask},
               {"kernel_gs_base", s.kernel_gs_base},
               {"sysenter_cs", s.sysenter_cs},
               {"sysenter_esp", s.sysenter_esp},
               {"sysenter_eip", s.sysenter_eip},
               {"debugctl", s.debugctl},
               {"tsc_aux", s.tsc_aux},
               {"spec_ctrl", s.spec_ctrl},
               {"misc_enable", s.misc_enable},
               {"perf_global_ctrl", s.perf_global_ctrl},
               {"activity", static_cast<uint64_t>(s.activity)},
               {"blocking_by_sti", s.blocking_by_sti},
               {"blocking_by_mov_ss", s.blocking_by_mov_ss},
               {"blocking_by_nmi", s.blocking_by_nmi},
               {"pending_debug_exceptions", s.pending_debug_exceptions},
               {"gdtr base", s.gdtr.base},
               {"gdtr limit", s.gdtr.limit},
               {"idtr base", s.idtr.base},
               {"idtr limit", s.idtr.limit}};
  for (size_t i = 0; i < s.gpr.size(); ++i) out["gpr " + std::to_string(i)] = s.gpr[i];
  for (size_t i = 0; i < s.pdptes.size(); ++i) out["pdpte " + std::to_string(i)] = s.pdptes[i];
  for (size_t i = 0; i < s.dr.size(); ++i) out["dr" + std::to_string(i)] = s.dr[i];
  for (size_t i = 0; i < s.segment.size(); ++i) {
    const std::string name = segment_name(i);
    out[name + " selector"] = s.segment[i].selector;
    out[name + " rights"] = s.segment[i].rights.value;
    out[name + " limit"] = s.segment[i].limit;
    out[name + " base"] = s.segment[i].base;
  }
  return out;
}

// What no VM entry or VM exit touches.
void mark_the_rest(CpuState& s) {
  for (size_t i = 0; i < s.gpr.size(); ++i) s.gpr[i] = 0xa0a0'0000 + i;
  for (size_t i = 0; i < s.pdptes.size(); ++i) s.pdptes[i] = 0xb0b0'0001 + (i << 12);
  for (size_t i = 0; i < s.dr.size(); ++i) s.dr[i] = 0xd0d0'0000 + i;
  s.cr2 = 0xc2;
  s.dr6 = 0xffff0ff1;
  s.star = 0x57a2;
  s.lstar = 0x157a2;
  s.cstar = 0xc57a2;
  s.fmask = 0xf3a5;
  s.kernel_gs_base = 0x6b5;
  s.tsc_aux = 0xa0c5;
  s.spec_ctrl = 5;
  s.misc_enable = 9;
}

// The bits of CR0 that VM entries and VM exits load: PE, MP, EM, TS, NE, WP, AM, PG.
constexpr uint64_t kCr0Loaded = 0x8005002f;
constexpr uint64_t kGuestFlags = 0x3d7fd7;  // all but VM
constexpr uint64_t kGuestPat = 0x0007'0605'0401'0006, kHostPat = 0x0106'0007'0605'0400;

class StateTransfer : public VmxTest {
 protected:
  using Values = std::map<Field, uint64_t>;

  static Values guest_values() {
    using enum Field;
    return {
        {kGuestCr0, 0xffffffff},
        {kGuestCr3, 0x12'3456'7018},
        {kGuestCr4, cr4::kPae | cr4::kVmxe | cr4::kTsd | cr4::kOsfxsr},
        {kGuestDr7, 0xffff},
        {kGuestIa32Debugctl, 3},
        {kGuestIa32SysenterCs, 0x1051},
        {kGuestIa32SysenterEsp, 0xffff'8000'0000'1052},
        {kGuestIa32SysenterEip, 0xffff'8000'0000'1053},
        {kGuestIa32Efer, efer::kLma | efer::kLme | efer::kNxe},
        {kGuestIa32Pat, kGuestPat},
        {kGuestIa32PerfGlobalCtrl, 0x7'0000'0005},
        {kGuestRip, 0x7fff'8000'1234},
        {kGuestRsp, 0x7fff'8000'5678},
        {kGuestRflags, kGuestFlags},
        {kGuestEsSelector, 0x103},
        {kGuestEsBase, 0xe5000000},
        {kGuestEsLimit, 0xe5fff},
        {kGuestEsAccessRights, 0xc0f3},
        {kGuestCsSelector, 0x108},
        {kGuestCsBase, 0xc5000000},
        {kGuestCsLimit, 0xc5fff},
        {kGuestCsAccessRights, 0xb09b},
        {kGuestSsSelector, 0x110},
        {kGuestSsBase, 0x55000000},
        {kGuestSsLimit, 0x55fff},
        {kGuestSsAccessRights, 0xd093},
        {kGuestDsSelector, 0x11b},
        {kGuestDsBase, 0xd5000000},
        {kGuestDsLimit, 0x5fff},
        {kGuestDsAccessRights, 0x50f3},
        {kGuestFsSelector, 0x122},
        {kGuestFsBase, 0xffff'8000'f500'0000},
        {kGuestFsLimit, 0x65fff},
        {kGuestFsAccessRights, 0x40d3},
        {kGuestGsSelector, 0x129},
        {kGuestGsBase, 0xffff'8000'6500'0000},
        {kGuestGsLimit, 0x75fff},
        {kGuestGsAccessRights, 0xc0b3},
        {kGuestLdtrSelector, 0x130},
        {kGuestLdtrBase, 0xffff'8000'1d00'0000},
        {kGuestLdtrLimit, 0x1dff},
        {kGuestLdtrAccessRights, 0x1082},
        {kGuestTrSelector, 0x138},
        {kGuestTrBase, 0xffff'8000'7500'0000},
        {kGuestTrLimit, 0x107},
        {kGuestTrAccessRights, 0x108b},
        {kGuestGdtrBase, 0xffff'8000'0000'6d00},
        {kGuestGdtrLimit, 0x6d7},
        {kGuestIdtrBase, 0xffff'8000'0000'1d00},
        {kGuestIdtrLimit, 0x1d7},
    };
  }

  void write(const Values& values) {
    for (const auto& [field, value] : values) set(field, value);
  }
  static Segment segment_in(const Values& values, uint8_t i) {
    return {static_cast<uint16_t>(values.at(guest_selector(i))),
            {static_cast<uint32_t>(values.at(guest_access_rights(i)))},
            static_cast<uint32_t>(values.at(guest_limit(i))),
            values.at(guest_base(i))};
  }
  // What the state becomes at the VM entry that loads the values.
  static void expect_loaded(CpuState& s, const Values& values) {
    using enum Field;
    s.cr0 = (s.cr0 & ~kCr0Loaded) | (values.at(kGuestCr0) & kCr0Loaded);
    s.cr3 = values.at(kGuestCr3);
    s.cr4 = values.at(kGuestCr4);
    s.sysenter_cs = values.at(kGuestIa32SysenterCs);
    s.sysenter_esp = values.at(kGuestIa32SysenterEsp);
    s.sysenter_eip = values.at(kGuestIa32SysenterEip);
    for (uint8_t i = 0; i < kSegmentCount; ++i) s.segment[i] = segment_in(values, i);
    s.gdtr = {values.at(kGuestGdtrBase), static_cast<uint16_t>(values.at(kGuestGdtrLimit))};
    s.idtr = {values.at(kGuestIdtrBase), static_cast<uint16_t>(values.at(kGuestIdtrLimit))};
    s.rip = values.at(kGuestRip);
    s.gpr[kRsp] = values.at(kGuestRsp);
    s.rflags = values.at(kGuestRflags);
  }
  void enable_what_loads_the_guest() {
    for (const auto control : {VmEntryControl::kLoadDebugControls, VmEntryControl::kLoadEfer,
                               VmEntryControl::kLoadPat, VmEntryControl::kLoadPerfGlobalCtrl})
      enable(control);
  }
  void enable_what_saves_the_guest() {
    for (const auto control :
         {VmExitControl::kSaveDebugControls, VmExitControl::kSavePat, VmExitControl::kSaveEfer})
      enable(control);
  }

  // The guest-state area, all that exists of it.
  Values guest_area() const {
    Values all;
    for (const FieldInfo& info : kFields)
      if (type_of(info.field) == FieldType::kGuestState && capabilities.has_field(info.field))
        all[info.field] = get(info.field);
    return all;
  }
  void expect_fields(const Values& expected, const Values& actual) {
    ASSERT_EQ(expected.size(), actual.size());
    for (const auto& [field, value] : expected)
      EXPECT_EQ(actual.at(field), value) << info_of(field).name;
  }
};

// As after a reset, as far as a state without a processor can be ("Processor State After Reset",
// volume 3A); segments are unusable until something loads them.
TEST_F(StateTransfer, AStateWithoutAProcessor) {
  const CpuState s;
  State expected = flat(s);
  for (auto& [name, value] : expected) value = 0;
  expected["rflags"] = 2;
  expected["dr6"] = 0xffff0ff0;
  expected["dr7"] = 0x400;
  expected["pat"] = 0x0007'0406'0007'0406;
  expected["misc_enable"] = 1;
  for (size_t i = 0; i < s.segment.size(); ++i) expected[segment_name(i) + " rights"] = 0x10000;
  EXPECT_EQ(flat(s), expected);
}

TEST_F(StateTransfer, VmEntryLoadsWhatTheControlsSay) {
  prepare();
  write(guest_values());
  mark_the_rest(cpu.cpu);
  cpu.cpu.efer |= efer::kNxe;
  cpu.cpu.dr7 = 0x455;
  cpu.cpu.debugctl = 1;
  cpu.cpu.pat = kHostPat;
  cpu.cpu.perf_global_ctrl = 2;
  CpuState expected = cpu.cpu;
  disable(VmEntryControl::kLoadDebugControls);
  expected.gpr = cpu.cpu.gpr;
  ASSERT_EQ(vmlaunch(), "transfer");
  ASSERT_TRUE(vmx.in_non_root());
  expect_loaded(expected, guest_values());
  EXPECT_EQ(flat(cpu.cpu), flat(expected));

  vmx.triple_fault_exits();
  write(guest_values());
  enable_what_loads_the_guest();
  expected = cpu.cpu;
  ASSERT_EQ(vmresume(), "transfer");
  ASSERT_TRUE(vmx.in_non_root());
  expected.gpr = cpu.cpu.gpr;
  expect_loaded(expected, guest_values());
  expected.dr7 = 0x2fff;  // bits 12, 14 and 15 are 0, bit 10 is 1
  expected.debugctl = 3;
  expected.efer = efer::kLma | efer::kLme | efer::kNxe;
  expected.pat = kGuestPat;
  expected.perf_global_ctrl = 0x7'0000'0005;
  EXPECT_EQ(flat(cpu.cpu), flat(expected));
}

TEST_F(StateTransfer, VmEntryKeepsTheBitsOfCr0ThatItNeverModifies) {
  prepare();
  cpu.cpu.cr0 = 0xffffffff;
  set(Field::kGuestCr0, 0x80000021);
  ASSERT_EQ(vmlaunch(), "transfer");
  EXPECT_EQ(cpu.cpu.cr0, (0xffffffff & ~kCr0Loaded) | 0x80000021);
}

// The values, put into the registers of the running guest.
void run_with(CpuState& s, const std::map<Field, uint64_t>& values) {
  using enum Field;
  s.cr0 = values.at(kGuestCr0);
  s.cr3 = values.at(kGuestCr3);
  s.cr4 = values.at(kGuestCr4);
  s.dr7 = values.at(kGuestDr7);
  s.debugctl = values.at(kGuestIa32Debugctl);
  s.sysenter_cs = values.at(kGuestIa32SysenterCs);
  s.sysenter_esp = values.at(kGuestIa32SysenterEsp);
  s.sysenter_eip = values.at(kGuestIa32SysenterEip);
  s.efer = values.at(kGuestIa32Efer);
  s.pat = values.at(kGuestIa32Pat);
  s.perf_global_ctrl = values.at(kGuestIa32PerfGlobalCtrl);
  s.rip = values.at(kGuestRip);
  s.gpr[kRsp] = values.at(kGuestRsp);
  s.rflags = values.at(kGuestRflags);
  for (uint8_t i = 0; i < kSegmentCount; ++i)
    s.segment[i] = {static_cast<uint16_t>(values.at(guest_selector(i))),
                    {static_cast<uint32_t>(values.at(guest_access_rights(i)))},
                    static_cast<uint32_t>(values.at(guest_limit(i))),
                    values.at(guest_base(i))};
  s.gdtr = {values.at(kGuestGdtrBase), static_cast<uint16_t>(values.at(kGuestGdtrLimit))};
  s.idtr = {values.at(kGuestIdtrBase), static_cast<uint16_t>(values.at(kGuestIdtrLimit))};
}

TEST_F(StateTransfer, VmExitSavesWhatTheControlsSay) {
  prepare();
  disable(VmExitControl::kSaveDebugControls);
  for (const Field pdpte :
       {Field::kGuestPdpte0, Field::kGuestPdpte1, Field::kGuestPdpte2, Field::kGuestPdpte3})
    set(pdpte, 0x77001);
  set(Field::kGuestSmbase, 0x5b);
  set(Field::kGuestInterruptStatus, 0x1234);
  set(Field::kPmlIndex, 0x51);
  set(Field::kVmxPreemptionTimerValue, 0x99);
  ASSERT_EQ(vmlaunch(), "transfer");
  Values expected = guest_area();
  const auto by_control = {Field::kGuestDr7, Field::kGuestIa32Debugctl, Field::kGuestIa32Pat,
                           Field::kGuestIa32Efer};
  for (const auto& [field, value] : guest_values()) expected[field] = value;
  for (const Field field : by_control) expected[field] = get(field);
  expected[Field::kGuestIa32PerfGlobalCtrl] = get(Field::kGuestIa32PerfGlobalCtrl);
  run_with(cpu.cpu, guest_values());
  vmx.triple_fault_exits();
  expect_fields(expected, guest_area());

  enable_what_saves_the_guest();
  resume();
  run_with(cpu.cpu, guest_values());
  vmx.triple_fault_exits();
  for (const Field field : by_control) expected[field] = guest_values().at(field);
  expect_fields(expected, guest_area());
}

TEST_F(StateTransfer, VmExitLoadsTheHostAndKeepsTheRest) {
  using enum Field;
  const Values host = {
      {kHostCr0, 0x80050033},
      {kHostCr3, 0x43'2109'8018},
      {kHostCr4, cr4::kPae | cr4::kVmxe | cr4::kPge | cr4::kDe},
      {kHostEsSelector, 0x200},
      {kHostCsSelector, 0x208},
      {kHostSsSelector, 0x210},
      {kHostDsSelector, 0x218},
      {kHostFsSelector, 0x220},
      {kHostGsSelector, 0x228},
      {kHostTrSelector, 0x238},
      {kHostFsBase, 0xffff'8000'f000'0001},
      {kHostGsBase, 0xffff'8000'f000'0002},
      {kHostTrBase, 0xffff'8000'f000'0003},
      {kHostGdtrBase, 0xffff'8000'f000'0004},
      {kHostIdtrBase, 0xffff'8000'f000'0005},
      {kHostIa32SysenterCs, 0x2051},
      {kHostIa32SysenterEsp, 0xffff'8000'f000'0006},
      {kHostIa32SysenterEip, 0xffff'8000'f000'0007},
      {kHostRip, 0xffff'8000'f000'0008},
      {kHostRsp, 0xffff'8000'f000'0009},
      {kHostIa32Efer, efer::kLma | efer::kLme | efer::kSce},
      {kHostIa32Pat, kHostPat},
      {kHostIa32PerfGlobalCtrl, 0x2'0000'0003},
  };
  prepare();
  write(host);
  ASSERT_EQ(vmlaunch(), "transfer");
  const auto run = [&] {
    run_with(cpu.cpu, guest_values());
    mark_the_rest(cpu.cpu);
    cpu.cpu.activity = ActivityState::kHlt;
    cpu.cpu.blocking_by_sti = cpu.cpu.blocking_by_mov_ss = true;
    cpu.cpu.pending_debug_exceptions = 0x1001;
  };
  run();
  CpuState expected = cpu.cpu;
  // Of the bits that are loaded, PE, NE and PG are fixed.
  expected.cr0 = (0xffffffff & ~kCr0Loaded) | (0x80050033 & kCr0Loaded);
  expected.cr3 = host.at(kHostCr3);
  expected.cr4 = host.at(kHostCr4);
  expected.dr7 = 0x400;
  expected.debugctl = 0;
  expected.sysenter_cs = host.at(kHostIa32SysenterCs);
  expected.sysenter_esp = host.at(kHostIa32SysenterEsp);
  expected.sysenter_eip = host.at(kHostIa32SysenterEip);
  // "Loading Host Segment and Descriptor-Table Registers": flat segments, a busy 32-bit or 64-bit
  // TSS of 68H bytes, no LDT.
  expected.segment = {};
  expected.segment[kEs] = {0x200, {0xc093}, 0xffffffff, 0};
  expected.segment[kCs] = {0x208, {0xa09b}, 0xffffffff, 0};
  expected.segment[kSs] = {0x210, {0xc093}, 0xffffffff, 0};
  expected.segment[kDs] = {0x218, {0xc093}, 0xffffffff, 0};
  expected.segment[kFs] = {0x220, {0xc093}, 0xffffffff, host.at(kHostFsBase)};
  expected.segment[kGs] = {0x228, {0xc093}, 0xffffffff, host.at(kHostGsBase)};
  expected.segment[kTr] = {0x238, {0x8b}, 0x67, host.at(kHostTrBase)};
  expected.segment[kLdtr] = {0, {0x10000}, 0, 0};
  expected.gdtr = {host.at(kHostGdtrBase), 0xffff};
  expected.idtr = {host.at(kHostIdtrBase), 0xffff};
  expected.rip = host.at(kHostRip);
  expected.gpr[kRsp] = host.at(kHostRsp);
  expected.rflags = 2;
  expected.activity = ActivityState::kActive;
  expected.blocking_by_sti = expected.blocking_by_mov_ss = false;
  expected.pending_debug_exceptions = 0;
  vmx.triple_fault_exits();
  EXPECT_EQ(flat(cpu.cpu), flat(expected));

  for (const auto control :
       {VmExitControl::kLoadEfer, VmExitControl::kLoadPat, VmExitControl::kLoadPerfGlobalCtrl})
    enable(control);
  set(kGuestActivityState, 0);
  set(kGuestInterruptibilityState, 0);
  set(kGuestPendingDebugExceptions, 0);
  resume();
  run();
  vmx.triple_fault_exits();
  expected.efer = host.at(kHostIa32Efer);
  expected.pat = kHostPat;
  expected.perf_global_ctrl = 0x2'0000'0003;
  EXPECT_EQ(flat(cpu.cpu), flat(expected));
}

// "Loading Host State" with "host address-space size" 0, from a processor outside IA-32e mode.
TEST_F(StateTransfer, VmExitToAHostOf32Bits) {
  using enum Field;
  prepare();
  cpu.cpu.efer = efer::kSce;
  cpu.cpu.segment[kCs].rights.value = 0xc09b;
  disable(VmExitControl::kHostAddressSpaceSize);
  disable(VmEntryControl::kIa32eModeGuest);
  write({{kGuestCsAccessRights, 0xc09b},
         {kHostRip, 0xf0000008},
         {kHostRsp, 0xf0000009},
         {kHostCr3, 0x43210060},
         {kHostCr4, cr4::kVmxe | cr4::kPae | cr4::kPge},
         {kHostFsBase, 0xf0000001},
         {kHostGsBase, 0xf0000002},
         {kHostTrBase, 0xf0000003},
         {kHostGdtrBase, 0xf0000004},
         {kHostIdtrBase, 0xf0000005},
         {kHostIa32SysenterEsp, 0xf0000006},
         {kHostIa32SysenterEip, 0xf0000007}});
  ASSERT_EQ(vmlaunch(), "transfer");
  ASSERT_TRUE(vmx.in_non_root());
  for (const bool pae : {true, false}) {
    mark_the_rest(cpu.cpu);
    cpu.pdpte_loads.clear();
    CpuState expected = cpu.cpu;
    expected.cr0 = (cpu.cpu.cr0 & ~kCr0Loaded) | (get(kHostCr0) & kCr0Loaded);
    expected.cr3 = 0x43210060;
    expected.cr4 = get(kHostCr4);
    expected.sysenter_cs = 8;
    expected.sysenter_esp = 0xf0000006;
    expected.sysenter_eip = 0xf0000007;
    for (const SegmentRegister i : {kEs, kSs, kDs}) expected.segment[i] = {0x10, {0xc093}, ~0u, 0};
    expected.segment[kCs] = {0x08, {0xc09b}, 0xffffffff, 0};
    expected.segment[kFs] = {0x10, {0xc093}, 0xffffffff, 0xf0000001};
    expected.segment[kGs] = {0x10, {0xc093}, 0xffffffff, 0xf0000002};
    expected.segment[kTr] = {0x18, {0x8b}, 0x67, 0xf0000003};
    expected.segment[kLdtr] = {0, {0x10000}, 0, 0};
    expected.gdtr = {0xf0000004, 0xffff};
    expected.idtr = {0xf0000005, 0xffff};
    expected.rip = 0xf0000008;
    expected.gpr[kRsp] = 0xf0000009;
    expected.rflags = 2;
    EXPECT_TRUE(vmx.triple_fault_exits());
    EXPECT_EQ(flat(cpu.cpu), flat(expected));
    EXPECT_EQ(cpu.pdpte_loads, pae ? std::vector<uint64_t>{0x43210060} : std::vector<uint64_t>{});
    EXPECT_TRUE(cpu.aborts.empty());
    if (!pae) break;
    set(kHostCr4, cr4::kVmxe);
    resume();
  }
}

// The guest-state area as a whole, both ways, and what is not in it.
TEST_F(StateTransfer, TheGuestAreaAndTheState) {
  using enum Field;
  Values values = guest_values();
  values[kGuestIa32PerfGlobalCtrl] = 0;
  values[kGuestPdpte0] = 0x30001;
  values[kGuestPdpte1] = 0x31001;
  values[kGuestPdpte2] = 0x32001;
  values[kGuestPdpte3] = 0x33001;
  values[kGuestPendingDebugExceptions] = 0x5003;
  values[kGuestActivityState] = 1;
  for (const uint64_t blocking : {1u, 2u, 8u, 11u}) {
    values[kGuestInterruptibilityState] = blocking;
    Vmcs vmcs;
    for (const auto& [field, value] : values) vmcs.write(field, value);
    CpuState loaded;
    mark_the_rest(loaded);
    loaded.perf_global_ctrl = 7;
    CpuState expected = loaded;
    load_guest_area(vmcs, loaded);
    run_with(expected, values);
    expected.perf_global_ctrl = 7;
    expected.pdptes = {0x30001, 0x31001, 0x32001, 0x33001};
    expected.pending_debug_exceptions = 0x5003;
    expected.activity = ActivityState::kHlt;
    expected.blocking_by_sti = (blocking & 1) != 0;
    expected.blocking_by_mov_ss = (blocking & 2) != 0;
    expected.blocking_by_nmi = (blocking & 8) != 0;
    EXPECT_EQ(flat(loaded), flat(expected));

    Vmcs stored;
    store_guest_area(loaded, stored);
    for (const FieldInfo& info : kFields)
      EXPECT_EQ(stored[info.field], vmcs[info.field]) << info.name;
  }
}

// A VM exit that another processor took, as this one's: the information, and of the guest state
// what a VM exit saves.
TEST_F(StateTransfer, ReflectedExitsSaveWhatTheControlsSay) {
  const auto is_saved = [](Field field, bool controls, bool pdptes) {
    switch (field) {
      case Field::kGuestDr7:
      case Field::kGuestIa32Debugctl:
      case Field::kGuestIa32Pat:
      case Field::kGuestIa32Efer:
      case Field::kVmxPreemptionTimerValue:
        return controls;
      case Field::kGuestPdpte0:
      case Field::kGuestPdpte1:
      case Field::kGuestPdpte2:
      case Field::kGuestPdpte3:
        return pdptes;
      // No VM exit changes them; the last one is saved by none that exists here.
      case Field::kVmcsLinkPointer:
      case Field::kGuestSmbase:
      case Field::kPmlIndex:
      case Field::kGuestInterruptStatus:
      case Field::kGuestIa32PerfGlobalCtrl:
        return false;
      default:
        return true;
    }
  };
  struct Case {
    bool controls, ept, pae, paging, long_mode;
  };
  for (const Case& c : {Case{false, false, true, true, true}, Case{true, false, true, true, true},
                        Case{true, true, true, true, true}, Case{true, true, true, true, false},
                        Case{true, false, true, true, false}, Case{true, true, false, true, false},
                        Case{true, true, true, false, false}}) {
    FakeProcessor processor;
    RecordingSink quiet;
    Vmx other(capabilities, processor, quiet);
    other.enter_root_operation();
    processor.poke(kVmcsRegion, capabilities.revision_id);
    other.make_current({kVmcsRegion});
    Vmcs& own = other.edit_current_vmcs();
    uint64_t exit_controls = mask(VmExitControl::kHostAddressSpaceSize);
    if (c.controls)
      for (const auto control :
           {VmExitControl::kSaveDebugControls, VmExitControl::kSavePat, VmExitControl::kSaveEfer,
            VmExitControl::kSavePreemptionTimerValue})
        exit_controls |= mask(control);
    own.write(Field::kVmExitControls, exit_controls);
    if (c.ept) {
      own.write(Field::kPrimaryProcBasedControls,
                mask(PrimaryProcBased::kActivateSecondaryControls));
      own.write(Field::kSecondaryProcBasedControls, mask(SecondaryProcBased::kEnableEpt));
    }
    own.write(Field::kVmEntryInterruptionInformation, 0x80000030);
    own.write(Field::kVmEntryControls, c.long_mode ? 0 : mask(VmEntryControl::kIa32eModeGuest));
    own.write(Field::kHostRip, kHostRip);
    const Vmcs before = own;
    Vmcs taken;
    for (const FieldInfo& info : kFields)
      taken.write(info.field, 0x4000'0000'0000'1234 + encoding_of(info.field));
    taken.write(Field::kExitReason, static_cast<uint64_t>(ExitReason::kEptViolation));
    taken.write(Field::kVmExitInterruptionInformation, 0);
    taken.write(Field::kIdtVectoringInformation, 0x80000030);
    processor.cpu.cr0 = cr0::kPe | (c.paging ? cr0::kPg : 0);
    processor.cpu.cr4 = c.pae ? cr4::kPae : 0;
    processor.cpu.efer = c.long_mode ? efer::kLma : 0;
    other.reflect_exit(taken);
    const Vmcs& after = other.current_vmcs();
    const bool pdptes = c.ept && c.pae && c.paging && !c.long_mode;
    for (const FieldInfo& info : kFields) {
      const Field field = info.field;
      bool copied = type_of(field) == FieldType::kVmExitInformation;
      if (field == Field::kVmInstructionError) copied = false;
      if (type_of(field) == FieldType::kGuestState) copied = is_saved(field, c.controls, pdptes);
      if (!capabilities.has_field(field)) copied = false;
      uint64_t expected = copied ? taken[field] : before[field];
      if (field == Field::kVmEntryInterruptionInformation) expected = 0x30;
      if (field == Field::kVmEntryControls)
        expected = c.long_mode ? mask(VmEntryControl::kIa32eModeGuest) : 0;
      EXPECT_EQ(after[field], expected) << info.name;
    }
    EXPECT_EQ(processor.cpu.rip, kHostRip);
    ASSERT_EQ(quiet.exits.size(), 1u);
  }
}

}  // namespace
}  // namespace nestor::vmx::test
