// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/native/nested_layout.h"

#include <spdlog/fmt/fmt.h>

#include <array>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

#include "emu/native/layout.h"
#include "emu/native/vmx_support.h"
#include "ept/bits.h"
#include "ept/ept_format.h"
#include "ept/ordinary_entry.h"
#include "vmx/capabilities.h"
#include "vmx/controls.h"
#include "vmx/fields.h"
#include "vmx/msr_index.h"
#include "vmx/vmx.h"

namespace nestor::emu::native {
namespace {

using ept::bit;
using vmx::Field;

constexpr std::uint64_t kL1Code = 0x1000;
constexpr std::uint64_t kVmxonRegion = 0x2000;
constexpr std::uint64_t kVmcsRegion = 0x3000;
/// The addresses of the two regions, the fields that L1 writes, those that it reads, their values.
constexpr std::uint64_t kRegions = 0x4000;
constexpr std::uint64_t kWrites = 0x4100;
constexpr std::uint64_t kReads = 0x4e00;
constexpr std::uint64_t kResults = 0x4f00;
constexpr std::uint64_t kL1Tables = 0x5000;
constexpr std::uint64_t kEndOfList = ~std::uint64_t{0};

// Where each piece of L1's code begins; every piece ends in HLT, and one that fails at `kFailed`.
constexpr std::uint64_t kStart = kL1Code;
constexpr std::uint64_t kLoad = kL1Code + 0x100;
constexpr std::uint64_t kLaunch = kL1Code + 0x200;
constexpr std::uint64_t kResume = kL1Code + 0x300;
constexpr std::uint64_t kAfterExit = kL1Code + 0x400;
constexpr std::uint64_t kFailed = kL1Code + 0x500;

struct Piece {
  std::uint64_t at;
  std::vector<std::uint8_t> code;
};
// RDI: the regions; RSI: the list; RCX: where L2 begins.
const std::array kPieces{
    Piece{kStart,
          {0xf3, 0x0f, 0xc7, 0x37,              // vmxon (%rdi)
           0x0f, 0x86, 0xf6, 0x04, 0x00, 0x00,  // jbe kFailed
           kHalt}},
    Piece{kLoad, {0x66, 0x0f, 0xc7, 0x77, 0x08,        // vmclear 8(%rdi)
                  0x0f, 0xc7, 0x77, 0x08,              // vmptrld 8(%rdi)
                  0x0f, 0x86, 0xf1, 0x03, 0x00, 0x00,  // jbe kFailed
                  0x48, 0xad,                          // next: lods %rsi, %rax
                  0x48, 0x85, 0xc0,                    // test %rax, %rax
                  0x78, 0x10,                          // js done
                  0x48, 0x89, 0xc2,                    // mov %rax, %rdx
                  0x48, 0xad,                          // lods %rsi, %rax
                  0x0f, 0x79, 0xd0,                    // vmwrite %rax, %rdx
                  0x0f, 0x86, 0xdc, 0x03, 0x00, 0x00,  // jbe kFailed
                  0xeb, 0xe9,                          // jmp next
                  kHalt}},                             // done
    Piece{kLaunch,
          {0xba, 0x1e, 0x68, 0x00, 0x00,    // mov $GUEST_RIP, %edx
           0x0f, 0x79, 0xd1,                // vmwrite %rcx, %rdx
           0x0f, 0x01, 0xc2,                // vmlaunch
           0xe9, 0xf0, 0x02, 0x00, 0x00}},  // jmp kFailed
    Piece{kResume,
          {0xba, 0x1e, 0x68, 0x00, 0x00,              // mov $GUEST_RIP, %edx
           0x0f, 0x79, 0xd1,                          // vmwrite %rcx, %rdx
           0x0f, 0x01, 0xc3,                          // vmresume
           0xe9, 0xf0, 0x01, 0x00, 0x00}},            // jmp kFailed
    Piece{kAfterExit, {0xbe, 0x00, 0x4e, 0x00, 0x00,  // mov $kReads, %esi
                       0xbf, 0x00, 0x4f, 0x00, 0x00,  // mov $kResults, %edi
                       0x48, 0xad,                    // next: lods %rsi, %rax
                       0x48, 0x85, 0xc0,              // test %rax, %rax
                       0x78, 0x0c,                    // js done
                       0x48, 0x89, 0xc2,              // mov %rax, %rdx
                       0x0f, 0x78, 0x17,              // vmread %rdx, (%rdi)
                       0x48, 0x83, 0xc7, 0x08,        // add $8, %rdi
                       0xeb, 0xed,                    // jmp next
                       kHalt}},                       // done
    Piece{kFailed, {kHalt}},
};

/// In the order of `NestedExit`.
constexpr std::array kReadFields{
    Field::kExitReason,
    Field::kExitQualification,
    Field::kGuestPhysicalAddress,
    Field::kGuestLinearAddress,
    Field::kVmExitInterruptionInformation,
    Field::kVmExitInterruptionErrorCode,
    Field::kGuestRip,
};

// L2's linear addresses: PML4 entry 0 maps the code, entry 1 leads to paths.
constexpr std::uint64_t kPml4 = NestedLayout::kGuestTables;
constexpr std::uint64_t kCodeTables = kPml4 + 0x1000;  // of levels 3, 2, 1
constexpr std::uint64_t kPathTables = kPml4 + 0x4000;  // the same
static_assert(kPathTables + 0x3000 == NestedLayout::kScaffoldTables);
constexpr std::uint64_t kPathRegion = bit(39);

/// Each ends in VMCALL; a fetch in the VMCALL that lies at its target.
constexpr std::uint64_t kNestedCodeSize = 16;
constexpr std::array<std::array<std::uint8_t, 5>, 4> kNestedCode{{
    {0x8b, 0x03, 0x0f, 0x01, 0xc1},   // kRead:  mov (%rbx), %eax; vmcall
    {0x89, 0x03, 0x0f, 0x01, 0xc1},   // kWrite: mov %eax, (%rbx); vmcall
    {0xff, 0xe3},                     // kFetch: jmp *%rbx
    {kHalt, 0x90, 0x0f, 0x01, 0xc1},  // hlt; nop; vmcall
}};
constexpr std::size_t kHaltingCode = 3;

constexpr std::uint64_t kUsedEntry =
    ept::OrdinaryEntry::kPresent | ept::OrdinaryEntry::kWritable | ept::OrdinaryEntry::kUser |
    ept::OrdinaryEntry::Flags::kAccessed | ept::OrdinaryEntry::Flags::kDirty;
constexpr std::uint64_t kUsedEptTable = ept::EptEntry::kRead | ept::EptEntry::kWrite |
                                        ept::EptEntry::kExecute | ept::EptFlags::kAccessed |
                                        ept::EptFlags::kDirty;
constexpr std::uint64_t kWriteBack = 6;

void store_code(GuestMemory& memory, std::uint64_t at, std::span<const std::uint8_t> code) {
  for (const std::uint8_t byte : code) memory.store(at++, byte);
}

constexpr std::uint16_t kCodeSelector = 0x08, kDataSelector = 0x10, kTaskSelector = 0x18;

using Write = std::pair<Field, std::uint64_t>;

/// Host-state area.
void add_host(std::vector<Write>& writes, std::uint64_t cr0, std::uint64_t cr4) {
  for (const Write& write : std::initializer_list<Write>{
           {Field::kHostCr0, cr0},
           {Field::kHostCr3, kL1Tables},
           {Field::kHostCr4, cr4},
           {Field::kHostCsSelector, kCodeSelector},
           {Field::kHostSsSelector, kDataSelector},
           {Field::kHostTrSelector, kTaskSelector},
           {Field::kHostRip, kAfterExit},
       }) {
    writes.push_back(write);
  }
}

/// Guest-state area: 64-bit code at CPL 0 or 3.
void add_guest(std::vector<Write>& writes, std::uint64_t cr0, std::uint64_t cr3, std::uint64_t cr4,
               bool user) {
  const std::uint64_t cpl = user ? 3 : 0;
  constexpr std::uint64_t kCodeRights = 0xa09b, kDataRights = 0xc093, kTaskRights = 0x8b;
  constexpr std::uint64_t kUnusable = bit(16);
  const std::uint64_t data = kDataRights | std::uint64_t{3} << 5;
  for (const Write& write : std::initializer_list<Write>{
           {Field::kGuestCr0, cr0},
           {Field::kGuestCr3, cr3},
           {Field::kGuestCr4, cr4},
           {Field::kGuestDr7, 0x400},
           {Field::kGuestRflags, bit(1)},
           {Field::kVmcsLinkPointer, ~std::uint64_t{0}},
           {Field::kGuestCsSelector, kCodeSelector | cpl},
           {Field::kGuestCsLimit, 0xffff'ffff},
           {Field::kGuestCsAccessRights, kCodeRights | cpl << 5},
           {Field::kGuestSsSelector, kDataSelector | cpl},
           {Field::kGuestSsLimit, 0xffff'ffff},
           {Field::kGuestSsAccessRights, kDataRights | cpl << 5},
           {Field::kGuestDsSelector, kDataSelector | 3},
           {Field::kGuestDsLimit, 0xffff'ffff},
           {Field::kGuestDsAccessRights, data},
           {Field::kGuestEsAccessRights, kUnusable},
           {Field::kGuestFsAccessRights, kUnusable},
           {Field::kGuestGsAccessRights, kUnusable},
           {Field::kGuestLdtrAccessRights, kUnusable},
           {Field::kGuestTrSelector, kTaskSelector},
           {Field::kGuestTrLimit, 0x67},
           {Field::kGuestTrAccessRights, kTaskRights},
       }) {
    writes.push_back(write);
  }
}

}  // namespace

void write_nested_scaffold(GuestMemory& memory, std::uint8_t width) {
  for (std::uint64_t at = 0; at != NestedLayout::kTables; at += 8) {
    memory.store(at, std::uint64_t{0});
  }
  for (std::uint64_t at = NestedLayout::kData; at != NestedLayout::kPagingData; at += 4) {
    memory.store(at, kVmcallWord);
  }
  for (const Piece& piece : kPieces) store_code(memory, piece.at, piece.code);
  memory.store(kRegions, kVmxonRegion);
  memory.store(kRegions + 8, kVmcsRegion);
  std::uint64_t at = kReads;
  for (const Field field : kReadFields) {
    memory.store(at, std::uint64_t{static_cast<std::uint16_t>(field)});
    at += 8;
  }
  memory.store(at, kEndOfList);
  memory.store(kL1Tables, (kL1Tables + 0x1000) | kUsedEntry);
  memory.store(kL1Tables + 0x1000, (kL1Tables + 0x2000) | kUsedEntry);
  for (std::uint64_t page = 0; page != NestedLayout::kMemorySize; page += bit(21)) {
    memory.store(kL1Tables + 0x2000 + (page >> 21) * 8,
                 page | kUsedEntry | ept::OrdinaryEntry::kPageSize);
  }
  for (std::size_t kind = 0; kind != kNestedCode.size(); ++kind) {
    store_code(memory, NestedLayout::kGuestCode + kind * kNestedCodeSize, kNestedCode[kind]);
  }
  const std::uint64_t base = scaffold_base(width);
  const auto link = [&](std::uint64_t entry, std::uint64_t to) {
    memory.store(entry, (base + to) | kUsedEntry);
  };
  link(kPml4, kCodeTables);
  link(kPml4 + 8, kPathTables);
  link(kCodeTables, kCodeTables + 0x1000);
  link(kCodeTables + 0x1000, kCodeTables + 0x2000);
  link(kCodeTables + 0x2000 + (NestedLayout::kGuestCode >> 12) * 8, NestedLayout::kGuestCode);
}

unsigned level_of_table(const ept::EptState& state, std::uint64_t index) {
  const unsigned top = state.eptp.walk_length();
  if (index == 0) return top;
  if (index < NestedLayout::kTableCount) return 1 + static_cast<unsigned>(index) % (top - 1);
  // The scaffold's tables, from level 4 down; those of levels 2 and 1 are all its own.
  const auto level = static_cast<unsigned>(4 - (index - NestedLayout::kTableCount));
  return level > 2 && level < top ? level : 0;
}

std::uint64_t address_of_table(std::uint64_t index) {
  return index < NestedLayout::kTableCount
             ? NestedLayout::kTables + index * 0x1000
             : NestedLayout::kScaffoldTables + (index - NestedLayout::kTableCount) * 0x1000;
}

void link_nested_scaffold(GuestMemory& memory, const ept::EptState& state) {
  const std::uint64_t base = scaffold_base(state.maxphyaddr);
  const auto offset = [&](unsigned level) { return ept::Ept<5>::entry_offset(base, level); };
  std::uint64_t table = NestedLayout::kTables;
  for (unsigned level = state.eptp.walk_length(); level != 1; --level) {
    const std::uint64_t next = NestedLayout::kScaffoldTables + std::uint64_t{5 - level} * 0x1000;
    memory.store(table + offset(level), next | kUsedEptTable);
    table = next;
  }
  for (std::uint64_t page = NestedLayout::kGuestCode; page != NestedLayout::kScaffoldTables;
       page += 0x1000) {
    memory.store(table + (page >> 12) * 8,
                 page | kUsedEptTable | kWriteBack << ept::EptEntry::kMemoryTypeShift);
  }
}

std::uint64_t path_linear(std::uint64_t bits) { return kPathRegion | (bits & ept::low_bits(39)); }

void write_path(GuestMemory& memory, std::uint64_t linear, const GuestPath& path) {
  std::uint64_t table = kPathTables;
  std::uint64_t first = 0;
  (void)memory.read64({kPml4 + 8}, first);
  for (unsigned level = 3;; --level, table += 0x1000) {
    const std::uint64_t at = table + ept::Ept<4>::entry_offset(linear, level);
    if (level == path.level) return memory.store(at, path.entry);
    memory.store(at, first + (table - kPathTables) + 0x1000);
  }
}

ept::PagingState guest_paging(std::uint8_t width, bool wp) {
  ept::PagingState state;
  state.mode = ept::PagingMode::k4Level;
  state.cr3 = scaffold_base(width) + kPml4;
  state.wp = wp;
  state.maxphyaddr = width;
  return state;
}

std::uint64_t nested_code(const std::optional<ept::Access>& access) {
  return NestedLayout::kGuestCode +
         (access ? std::size_t{access->kind} : kHaltingCode) * kNestedCodeSize;
}

NestedGuest::NestedGuest(VirtualMachine& machine) : machine_(machine), ept_capabilities_(0) {
  const auto offered = [&](std::uint32_t msr) { return machine.msr(msr) >> 32; };
  if (!machine.features().vmx ||
      (offered(vmx::kIa32VmxProcbasedCtls2) & mask(vmx::SecondaryProcBased::kEnableEpt)) == 0) {
    throw Unavailable(
        "KVM on this host offers no VMX with EPT to its virtual machines: use kvm_intel with "
        "nested=1 and ept=1");
  }
  ept_capabilities_ = machine.msr(vmx::kIa32VmxEptVpidCap);
  GuestMemory memory(machine.memory());
  const auto revision = static_cast<std::uint32_t>(machine.msr(vmx::kIa32VmxBasic));
  memory.store(kVmxonRegion, revision);
  memory.store(kVmcsRegion, revision);
  machine.set_msr(vmx::kIa32FeatureControl,
                  vmx::kFeatureControlLock | vmx::kFeatureControlVmxOutsideSmx);
  ept::PagingState paging = guest_paging(machine.features().maxphyaddr, true);
  paging.cr3 = kL1Tables;
  set_paging(machine, paging);
  machine.sregs().cr4 |= vmx::cr4::kVmxe;
  machine.load_registers();
  run_l1(kStart);
}

void NestedGuest::run_l1(std::uint64_t rip) {
  kvm_regs& regs = machine_.regs();
  regs.rip = rip;
  regs.rsi = kWrites;
  regs.rdi = kRegions;
  const Stop stop = machine_.run();
  if (!stop.failure.empty() || regs.rip == kFailed + 1) {
    throw Failure(fmt::format("the hypervisor in the machine failed at {:#x}: {}", rip,
                              stop.failure.empty() ? "a VMX instruction failed" : stop.failure));
  }
}

void NestedGuest::load(const ept::EptState& state, bool wp, bool user) {
  const auto control = [&](std::uint32_t msr, std::uint32_t wanted) {
    return std::uint64_t{static_cast<std::uint32_t>(machine_.msr(msr)) | wanted};
  };
  const std::uint64_t cr0 = machine_.sregs().cr0, cr4 = machine_.sregs().cr4;
  std::vector<Write> writes{
      {Field::kPinBasedControls, control(vmx::kIa32VmxTruePinbasedCtls, 0)},
      {Field::kPrimaryProcBasedControls,
       control(vmx::kIa32VmxTrueProcbasedCtls,
               mask(vmx::PrimaryProcBased::kActivateSecondaryControls))},
      {Field::kSecondaryProcBasedControls, mask(vmx::SecondaryProcBased::kEnableEpt)},
      {Field::kVmExitControls,
       control(vmx::kIa32VmxTrueExitCtls, mask(vmx::VmExitControl::kHostAddressSpaceSize))},
      {Field::kVmEntryControls,
       control(vmx::kIa32VmxTrueEntryCtls, mask(vmx::VmEntryControl::kIa32eModeGuest))},
      {Field::kExceptionBitmap, 0xffff'ffff},
      {Field::kEptPointer, state.eptp.value},
  };
  add_host(writes, cr0, cr4);
  add_guest(writes, wp ? cr0 | vmx::cr0::kWp : cr0 & ~vmx::cr0::kWp,
            guest_paging(state.maxphyaddr, wp).cr3, cr4, user);
  GuestMemory memory(machine_.memory());
  std::uint64_t at = kWrites;
  for (const auto& [field, value] : writes) {
    memory.store(at, std::uint64_t{static_cast<std::uint16_t>(field)});
    memory.store(at + 8, value);
    at += 16;
  }
  memory.store(at, kEndOfList);
  run_l1(kLoad);
  launched_ = false;
}

Stop NestedGuest::enter(const NestedStart& start) {
  kvm_regs& regs = machine_.regs();
  regs.rip = std::exchange(launched_, true) ? kResume : kLaunch;
  regs.rcx = nested_code(start.access);
  regs.rbx = start.linear;
  regs.rax = start.value;
  Stop stop = machine_.run();
  if (stop.failure.empty() && regs.rip == kFailed + 1) stop.failure = "the VM entry failed";
  return stop;
}

Stop NestedGuest::leave() { return machine_.run_on(); }

NestedExit NestedGuest::exit() const {
  const GuestMemory memory(machine_.memory());
  std::array<std::uint64_t, kReadFields.size()> values{};
  for (std::size_t i = 0; i != values.size(); ++i) {
    (void)memory.read64({kResults + 8 * i}, values[i]);
  }
  return {static_cast<std::uint32_t>(values[0]),
          values[1],
          values[2],
          values[3],
          static_cast<std::uint32_t>(values[4]),
          static_cast<std::uint32_t>(values[5]),
          values[6]};
}

}  // namespace nestor::emu::native
