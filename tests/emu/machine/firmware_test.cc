// SPDX-License-Identifier: GPL-2.0-or-later
//
// What firmware leaves in memory, and that it does what it says.
#include "emu/machine/firmware.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <string>

#include "emu/l0/mode.h"
#include "emu/loaders/byte_view.h"
#include "emu/machine/acpi_tables.h"
#include "emu/machine/inspection.h"
#include "tests/emu/machine/machine_fixture.h"

namespace nestor::emu {
namespace {

using testing::ElementsAre;

uint64_t read_ram(const Ram& ram, uint64_t address, unsigned width) {
  std::vector<uint8_t> bytes(width);
  EXPECT_TRUE(ram.read(ram.origin() + address, bytes));
  return read_number(bytes, 0, width).value();
}

TEST(Firmware, BiosData) {
  Ram ram(16 << 20);
  fill_memory(ram, {});
  EXPECT_EQ(read_ram(ram, 0x400, 2), 0x3f8u);
  const uint64_t ebda = read_ram(ram, 0x40e, 2) << 4;
  EXPECT_EQ(ebda, 0x9fc00u);
  EXPECT_EQ(read_ram(ram, 0x413, 2), 639u);
  EXPECT_EQ(read_ram(ram, 0x413, 2), ebda >> 10);
  EXPECT_EQ(read_ram(ram, ebda, 1), 1u) << "its size in KiB";
  EXPECT_EQ(read_ram(ram, 0x449, 1), 3u);
  EXPECT_EQ(read_ram(ram, 0x44a, 2), 80u);
  EXPECT_EQ(read_ram(ram, 0x463, 2), 0x3d4u);
}

TEST(Firmware, VectorsLeadToReservedMemory) {
  Ram ram(16 << 20);
  fill_memory(ram, {});
  for (uint64_t vector = 0; vector < 256; ++vector) {
    const uint64_t at = (read_ram(ram, 4 * vector + 2, 2) << 4) + read_ram(ram, 4 * vector, 2);
    EXPECT_GE(at, kEbda);
    EXPECT_LT(at, kEbda + kEbdaBytes);
  }
}

TEST(Firmware, TheMapLeavesItsMemoryOut) {
  const Ram ram(16 << 20);
  EXPECT_THAT(usable_memory(ram),
              ElementsAre(MemoryRange{0, 0x9fc00}, MemoryRange{0x100000, 0xf00000}));
  EXPECT_THAT(firmware_information({}).reserved,
              ElementsAre(MemoryRange{0x9fc00, 0x400}, MemoryRange{0xe0000, 0x20000},
                          MemoryRange{0xfec00000, 0x1400000}));
}

TEST(Firmware, AnImageTakesItsPlaceWithItsZeros) {
  Ram ram(16 << 20);
  LoadedImage image;
  image.pieces.push_back({0x3fe, 0x100, {0x11, 0x22, 0x33}});
  fill_memory(ram, image);
  EXPECT_EQ(read_ram(ram, 0x3fe, 8), 0x332211u);
  EXPECT_EQ(read_ram(ram, 0x413, 2), 0u) << "what the file does not fill";
  EXPECT_EQ(read_ram(ram, 0x3f8, 2), read_ram(ram, 0, 2)) << "beside it all is as it was";
}

// --- ACPI

uint8_t sum(std::span<const uint8_t> bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), uint8_t{0},
                         [](uint8_t a, uint8_t b) { return static_cast<uint8_t>(a + b); });
}

class AcpiTest : public testing::Test {
 protected:
  std::span<const uint8_t> at(uint64_t address, uint64_t size) const {
    EXPECT_GE(address, kRomBase);
    EXPECT_TRUE(inside(address - kRomBase, size, rom_.size()));
    return std::span(rom_).subspan(address - kRomBase, size);
  }
  uint64_t number(uint64_t address, unsigned width) const {
    return read_number(at(address, width), 0, width).value();
  }
  std::string text(uint64_t address, unsigned size) const {
    const auto bytes = at(address, size);
    return {bytes.begin(), bytes.end()};
  }
  // A table with a header.
  std::span<const uint8_t> table(uint64_t address, const std::string& signature) const {
    EXPECT_EQ(text(address, 4), signature);
    const auto bytes = at(address, number(address + 4, 4));
    EXPECT_EQ(sum(bytes), 0) << signature;
    return bytes;
  }

  static constexpr uint64_t kRsdp = 0xf0000;
  const BoardFacts facts_{.memory_bytes = 16 << 20, .processors = 3};
  const std::vector<uint8_t> rom_ = firmware_rom(facts_);
};

TEST_F(AcpiTest, TheRsdpIsFoundByItsSignature) {
  EXPECT_EQ(text(kRsdp, 8), "RSD PTR ");
  EXPECT_EQ(sum(at(kRsdp, 20)), 0);
  EXPECT_EQ(sum(at(kRsdp, 36)), 0);
  EXPECT_EQ(number(kRsdp + 15, 1), 2u);
  const auto told = firmware_information(facts_).rsdp;
  EXPECT_TRUE(std::ranges::equal(told, at(kRsdp, 36)));
}

TEST_F(AcpiTest, BothRootsNameTheSameTables) {
  const uint64_t rsdt = number(kRsdp + 16, 4), xsdt = number(kRsdp + 24, 8);
  ASSERT_EQ(table(rsdt, "RSDT").size(), 36u + 4 * 4);
  ASSERT_EQ(table(xsdt, "XSDT").size(), 36u + 4 * 8);
  const std::string names[] = {"FACP", "APIC", "MCFG", "HPET"};
  for (unsigned i = 0; i < 4; ++i) {
    const uint64_t address = number(rsdt + 36 + 4 * i, 4);
    EXPECT_EQ(number(xsdt + 36 + 8 * i, 8), address);
    table(address, names[i]);
  }
}

TEST_F(AcpiTest, TheHpetIsWhereItsTableSays) {
  const uint64_t hpet = number(number(kRsdp + 16, 4) + 36 + 3 * 4, 4);
  ASSERT_EQ(table(hpet, "HPET").size(), 56u);
  EXPECT_EQ(number(hpet + 36, 4), 0x8086a201u) << "as its own register";
  EXPECT_EQ(number(hpet + 40, 1), 0u) << "memory";
  EXPECT_EQ(number(hpet + 44, 8), 0xfed00000u);
}

TEST_F(AcpiTest, TheFadtLeadsToTheOthers) {
  const uint64_t fadt = number(number(kRsdp + 16, 4) + 36, 4);
  EXPECT_EQ(table(fadt, "FACP").size(), 244u);
  EXPECT_EQ(number(fadt + 109, 2) & 1u << 3, 0u) << "MSI is supported";
  const uint64_t facs = number(fadt + 36, 4), dsdt = number(fadt + 40, 4);
  EXPECT_EQ(facs % 64, 0u);
  EXPECT_EQ(text(facs, 4), "FACS");
  EXPECT_GT(table(dsdt, "DSDT").size(), 36u);
  EXPECT_EQ(number(fadt + 140, 8), dsdt);
  EXPECT_EQ(number(fadt + 46, 2), 9u) << "the SCI";
  EXPECT_EQ(number(fadt + 48, 4), 0u) << "ACPI mode is always on";
  EXPECT_EQ(number(fadt + 56, 4), 0x600u) << "PM1a events";
  EXPECT_EQ(number(fadt + 64, 4), 0x604u) << "PM1a control";
  EXPECT_EQ(number(fadt + 88, 2), 0x0204u) << "their lengths";
  EXPECT_EQ(number(fadt + 148, 4), 0x02002001u);
  EXPECT_EQ(number(fadt + 152, 8), 0x600u);
  EXPECT_EQ(number(fadt + 172, 4), 0x02001001u);
  EXPECT_EQ(number(fadt + 176, 8), 0x604u);
  EXPECT_EQ(number(fadt + 76, 4), 0x608u) << "the PM timer";
  EXPECT_EQ(number(fadt + 91, 1), 4u);
  EXPECT_EQ(number(fadt + 208, 4), 0x03002001u) << "a port of 32 bits";
  EXPECT_EQ(number(fadt + 212, 8), 0x608u);
  EXPECT_EQ(number(fadt + 116, 4), 0x01000801u) << "the reset register is a port of 8 bits";
  EXPECT_EQ(number(fadt + 120, 8), 0x92u);
  EXPECT_EQ(number(fadt + 128, 1), 1u);
}

TEST_F(AcpiTest, TheMadtHasTheBoardsControllers) {
  const uint64_t madt = number(number(kRsdp + 16, 4) + 40, 4);
  const auto bytes = table(madt, "APIC");
  EXPECT_EQ(number(madt + 36, 4), 0xfee00000u);
  EXPECT_EQ(number(madt + 40, 4), 1u) << "there are 8259s";
  std::vector<uint64_t> apic_ids, io_apics, overrides;
  for (uint64_t entry = 44; entry < bytes.size(); entry += bytes[entry + 1]) {
    ASSERT_NE(bytes[entry + 1], 0);
    if (bytes[entry] == 0) {
      EXPECT_EQ(number(madt + entry + 4, 4), 1u) << "enabled";
      apic_ids.push_back(bytes[entry + 3]);
    }
    if (bytes[entry] == 1) io_apics.push_back(number(madt + entry + 4, 4));
    if (bytes[entry] == 2) overrides.push_back(number(madt + entry + 4, 4));
  }
  EXPECT_THAT(apic_ids, ElementsAre(0, 1, 2));
  EXPECT_THAT(io_apics, ElementsAre(0xfec00000));
  EXPECT_THAT(overrides, ElementsAre(2, 9));
}

TEST_F(AcpiTest, TheMcfgHasTheMemoryOfPciConfiguration) {
  const uint64_t mcfg = number(number(kRsdp + 16, 4) + 44, 4);
  ASSERT_EQ(table(mcfg, "MCFG").size(), 60u);
  EXPECT_EQ(number(mcfg + 44, 8), 0xfef00000u);
  EXPECT_EQ(number(mcfg + 52, 8), 0u) << "bus 0 alone";
}

// "AML Byte Stream Byte Values": NameOp, the name, PackageOp, its length, four elements,
// BytePrefix.
TEST_F(AcpiTest, TheDsdtSaysHowToTurnTheMachineOff) {
  const uint64_t fadt = number(number(kRsdp + 16, 4) + 36, 4);
  const auto bytes = table(number(fadt + 40, 4), "DSDT");
  const uint8_t s5[] = {0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0, 0, 0, 0};
  EXPECT_FALSE(std::ranges::search(bytes, s5).empty());
}

TEST(Firmware, MemoryTypes) {
  MsrStorage msrs;
  set_memory_types(msrs, 40);
  EXPECT_EQ(msrs.mtrr_def_type, 0xc06u);
  EXPECT_THAT(
      msrs.mtrr_fixed,
      ElementsAre(0x0606060606060606, 0x0606060606060606, 0, 0x0505050505050505, 0x0505050505050505,
                  0x0505050505050505, 0x0505050505050505, 0x0505050505050505, 0x0505050505050505,
                  0x0505050505050505, 0x0505050505050505));
  EXPECT_EQ(msrs.mtrr_variable[0], 0xc0000000u);
  EXPECT_EQ(msrs.mtrr_variable[1], 0xffc0000800u);
  EXPECT_EQ(msrs.mtrr_variable[3], 0u);
}

// --- in a machine

class FirmwareTest : public MachineTest {
 protected:
  // Runs 16-bit code in real mode, above what firmware has left.
  RunResult run_real_mode(const Code& code, vmx::DescriptorTable idtr = {0, 0x3ff}) {
    record_ = Record{};
    machine_ = create();
    LoadedImage image;
    image.pieces.push_back({kRealMode, code.size(), code});
    for (auto segment : {vmx::kEs, vmx::kSs, vmx::kDs, vmx::kFs, vmx::kGs, vmx::kCs}) {
      const uint32_t rights = segment == vmx::kCs ? 0x9b : 0x93;
      image.cpu.segment[segment] = {0, vmx::AccessRights{rights}, 0xffff, 0};
    }
    image.cpu.segment[vmx::kLdtr] = {0, vmx::AccessRights{0x82}, 0xffff, 0};
    image.cpu.segment[vmx::kTr] = {0, vmx::AccessRights{0x8b}, 0xffff, 0};
    image.cpu.idtr = idtr;
    image.cpu.cr0 = vmx::cr0::kEt;
    image.cpu.rip = kRealMode;
    image.cpu.gpr[vmx::kRsp] = kRealMode;
    machine_->load(image);
    return machine_->run();
  }
  static constexpr uint64_t kRealMode = 0x7c00;
};

TEST_F(FirmwareTest, BiosServicesAreNotThere) {
  // AX is what was asked for; the value is FLAGS, with CF, above AX.
  const Code ask = ASM16("mov eax, 0x4241; clc; int 0x10"),
             answer = ASM16(
                 "pushf; pop bx; shl ebx, 16; and ebx, 0x2010000; or eax, ebx; "
                 "out 0xf4, eax");
  const auto asked = [&](uint8_t vector, const Code& before = {}) {
    Code code = ask;
    code.back() = vector;
    const RunResult result = run_real_mode(before + code + answer);
    EXPECT_EQ(result.kind, RunEnd::Kind::kDebugExit);
    return result.code;
  };
  EXPECT_EQ(asked(0x10), status(0x14241));
  EXPECT_EQ(asked(0x13), status(0x10141)) << "AH: invalid function";
  EXPECT_EQ(asked(0x15), status(0x18641)) << "AH: function not supported";
  EXPECT_EQ(asked(0x16), status(0x14241));
  EXPECT_EQ(asked(0xff), status(0x14241));
  EXPECT_EQ(asked(0x10, ASM16("sti")), status(0x2014241)) << "IF is as it was";
}

TEST_F(FirmwareTest, InterruptsOfThePicsEndAndLeaveFlagsAlone) {
  // IRQ 0 and IRQ 12, in service by the software that asks for INT 8 and INT 74H.
  const Code code = ASM16(
      "mov al, 0x11; out 0x20, al; out 0xa0, al; mov al, 8; out 0x21, al; mov al, 0x70; "
      "out 0xa1, al; mov al, 4; out 0x21, al; mov al, 2; out 0xa1, al; mov al, 1; "
      "out 0x21, al; out 0xa1, al; mov al, 0; out 0x21, al; out 0xa1, al; "
      "mov dx, 0x200c; mov al, 1; out dx, al; sti; nop; nop; cli; mov al, 0; out dx, al; "
      "mov al, 0x0b; out 0x20, al; out 0xa0, al; in al, 0x20; mov ah, al; in al, 0xa0; "
      "movzx eax, ax; out 0xf4, eax");
  EXPECT_EQ(run_real_mode(code).code, status(0)) << "nothing is in service";
  ASSERT_EQ(record_.interrupts.size(), 1u);
  EXPECT_EQ(record_.interrupts[0].vector, 0x74u);
}

TEST_F(FirmwareTest, TheScreenIsThere) {
  const Code code = ASM64("mov edi, 0xb8000; mov dword ptr [rdi], 0x076b074f") + exit_with(0);
  run(code);
  EXPECT_EQ(std::get<std::string>(machine_->screen().text()), "Ok\n");
}

TEST_F(FirmwareTest, RomAndScreenAreFoundBelowL0Too) {
  for (const auto mode : {L0Mode::kHardware, L0Mode::kTwoLevel, L0Mode::kNestedEpt,
                          L0Mode::kShadowOnEpt, L0Mode::kShadowOnShadow}) {
    config_.l0.mode = mode;
    EXPECT_EQ(run(ASM64("mov eax, [0xf0000]; out 0xf4, eax")).code, status(0x20445352)) << "RSD ";
    run(ASM64("mov edi, 0xb8000; mov dword ptr [rdi], 0x076b074f") + exit_with(0));
    EXPECT_EQ(std::get<std::string>(machine_->screen().text()), "Ok\n") << info_of(mode).name;
  }
}

TEST_F(FirmwareTest, FeatureControlIsLockedUnlessItIsNot) {
  const Code read = ASM64("mov ecx, 0x3a; rdmsr; out 0xf4, eax");
  for (const auto mode : {L0Mode::kHardware, L0Mode::kNestedEpt}) {
    config_.l0.mode = mode;
    config_.processor.lock_feature_control = true;
    EXPECT_EQ(run(read).code, status(5));
    config_.processor.lock_feature_control = false;
    EXPECT_EQ(run(read).code, status(0));
  }
}

TEST_F(FirmwareTest, FeatureControlIsLockedOnEachProcessor) {
  config_.processor.count = 2;
  start();
  handle(vmx::kGp, exit_with(13));
  EXPECT_EQ(run(ASM64("mov ecx, 0x3a; mov eax, 5; xor edx, edx; wrmsr")).code, status(13));
}

// --- the stack and the interrupt table outside RAM

class OutsideRam : public FirmwareTest {
 protected:
  // What was recorded, once.
  void expect(ImplicitMemory what, uint64_t linear, const RunResult& result) {
    ASSERT_EQ(record_.outside_ram.size(), 1u);
    EXPECT_EQ(record_.outside_ram[0].what, what);
    EXPECT_EQ(record_.outside_ram[0].linear, linear);
    const bool stack = what == ImplicitMemory::kStack;
    EXPECT_EQ(result.stack_outside_ram, stack ? std::optional(linear) : std::nullopt);
    EXPECT_EQ(result.interrupt_table_outside_ram, stack ? std::nullopt : std::optional(linear));
  }
  static Code block_end() { return ASM64("jmp 2f; 2:"); }
};

TEST_F(OutsideRam, Push) {
  const RunResult result =
      run(ASM64("mov esp, 0xd0001000; push rax") + block_end() + ASM64("push rax") + exit_with(3));
  EXPECT_EQ(result.code, status(3));
  expect(ImplicitMemory::kStack, 0xd0000ff8, result);
}

TEST_F(OutsideRam, Pop) {
  const RunResult result = run(ASM64("mov esp, 0xd0001000; pop rax") + block_end() + exit_with(3));
  expect(ImplicitMemory::kStack, 0xd0001000, result);
}

TEST_F(OutsideRam, AnExceptionPushes) {
  handle(vmx::kBp, exit_with(4));
  const RunResult result = run(ASM64("mov esp, 0xd0001000; int3"));
  EXPECT_EQ(result.code, status(4));
  expect(ImplicitMemory::kStack, 0xd0000ff8, result);
}

TEST_F(OutsideRam, Idt) {
  cpu_.idtr.base = 0xd0000000;
  const RunResult result = run(ASM64("int3"));
  EXPECT_EQ(result.kind, RunEnd::Kind::kShutdown);
  expect(ImplicitMemory::kInterruptTable, 0xd0000030, result);
  EXPECT_FALSE(record_.outside_ram[0].real_mode);
}

TEST_F(OutsideRam, Ivt) {
  config_.max_instructions = 100;
  const RunResult result = run_real_mode(ASM16("int 0x21"), {0xc8000, 0x3ff});
  expect(ImplicitMemory::kInterruptTable, 0xc8084, result);
  EXPECT_TRUE(record_.outside_ram[0].real_mode);
}

TEST_F(OutsideRam, OtherAccessesAreDevices) {
  const RunResult result =
      run(ASM64("mov rax, [0xfee00030]; mov ecx, 0xd0000000; mov [rcx], rax; push rax") +
          block_end() + ASM64("mov eax, [rcx]; pop rax") + block_end() + exit_with(3));
  EXPECT_EQ(result.code, status(3));
  EXPECT_TRUE(record_.outside_ram.empty());
  EXPECT_EQ(result.stack_outside_ram, std::nullopt);
}

TEST_F(OutsideRam, IsRememberedInSavedState) {
  put_code(kCode, ASM64("mov esp, 0xd0001000; push rax") + block_end() + nops(50) + block_end() +
                      ASM64("push rax") + block_end() + exit_with(3));
  start().run_until({.instructions = 20});
  EXPECT_EQ(record_.outside_ram.size(), 1u);
  const auto state = saved_bytes([this](Archive& archive) { machine_->serialize(archive); });
  const auto other = create();
  ASSERT_TRUE(load_bytes(state, [&](Archive& archive) { other->serialize(archive); }));
  const RunResult result = other->run();
  EXPECT_EQ(result.code, status(3));
  EXPECT_EQ(record_.outside_ram.size(), 1u);
  EXPECT_EQ(result.stack_outside_ram, 0xd0000ff8u);
}

// --- what firmware finds behind fw_cfg

class FirmwareFilesTest : public testing::Test {
 protected:
  using Content = std::vector<uint8_t>;
  FirmwareFilesTest() {
    for (const FwCfg::File& file : firmware_files(facts_)) files_[file.name] = file.content;
  }
  static std::string name_at(const Content& commands, size_t at) {
    const auto first = commands.begin() + static_cast<std::ptrdiff_t>(at);
    return {first, std::find(first, first + 56, 0)};
  }
  // Executes etc/table-loader as firmware does, with each file at an address.
  std::map<std::string, Content> link(std::map<std::string, uint64_t> addresses) {
    std::map<std::string, Content> memory;
    const Content& commands = files_.at("etc/table-loader");
    EXPECT_EQ(commands.size() % 128, 0u);
    for (size_t at = 0; at < commands.size(); at += 128) {
      const auto number = [&](size_t offset, unsigned width) {
        return read_number(commands, at + offset, width).value();
      };
      const std::string file = name_at(commands, at + 4);
      switch (number(0, 4)) {
        case 1:
          memory[file] = files_.at(file);
          EXPECT_EQ(addresses.at(file) % number(60, 4), 0u);
          EXPECT_EQ(number(64, 1), file == "etc/acpi/rsdp" ? 2u : 1u);
          break;
        case 2: {
          const uint64_t size = number(120, 1), offset = number(116, 4);
          const auto field = std::span(memory.at(file)).subspan(offset, size);
          store_little_endian(field,
                              load_little_endian(field) + addresses.at(name_at(commands, at + 60)));
          break;
        }
        case 3: {
          const auto range = std::span(memory.at(file)).subspan(number(64, 4), number(68, 4));
          memory.at(file)[number(60, 4)] = static_cast<uint8_t>(
              memory.at(file)[number(60, 4)] - std::accumulate(range.begin(), range.end(), 0));
          break;
        }
        default:
          ADD_FAILURE() << "command " << number(0, 4);
      }
    }
    return memory;
  }

  const BoardFacts facts_{
      .memory_bytes = 5ull << 30, .processors = 2, .disks = std::vector<DiskConfig>(15)};
  std::map<std::string, Content> files_;
};

TEST_F(FirmwareFilesTest, LinkedTheyAreTheTablesOfTheRom) {
  const Content rom = firmware_rom(facts_);
  const Content there(rom.begin() + (0xf0000 - kRomBase), rom.end());
  const auto linked = link({{"etc/acpi/rsdp", 0xf0000}, {"etc/acpi/tables", 0xf0040}});
  ASSERT_EQ(linked.size(), 2u);
  const Content &rsdp = linked.at("etc/acpi/rsdp"), &tables = linked.at("etc/acpi/tables");
  EXPECT_TRUE(std::ranges::equal(rsdp, std::span(there).first(rsdp.size())));
  EXPECT_TRUE(std::ranges::equal(tables, std::span(there).subspan(0x40, tables.size())));
}

TEST_F(FirmwareFilesTest, SayWhatRamThereIs) {
  const Content& map = files_.at("etc/e820");
  ASSERT_EQ(map.size(), 40u);
  const auto number = [&](size_t offset, unsigned width) {
    return read_number(map, offset, width).value();
  };
  EXPECT_EQ(number(0, 8), 0u);
  EXPECT_EQ(number(8, 8), 3ull << 30);
  EXPECT_EQ(number(16, 4), 1u);
  EXPECT_EQ(number(20, 8), 4ull << 30);
  EXPECT_EQ(number(28, 8), 2ull << 30);
}

TEST_F(FirmwareFilesTest, TheDisksBootInTheirOrder) {
  const Content& order = files_.at("bootorder");
  const std::string text(order.begin(), order.end());
  EXPECT_EQ(text.find("/pci@i0cf8/scsi@3/disk@0,0\n/pci@i0cf8/scsi@4/disk@0,0\n"), 0u);
  EXPECT_NE(text.find("/pci@i0cf8/scsi@11/disk@0,0\n"), std::string::npos);
  EXPECT_EQ(text.back(), '\0');
  EXPECT_EQ(firmware_files({.memory_bytes = 1 << 20}).size(), 6u) << "none without disks";
}

TEST_F(FirmwareFilesTest, DisksOfBothKindsBootInTheirOrder) {
  std::vector<FwCfg::File> files = firmware_files(
      {.memory_bytes = 1 << 20,
       .disks = {{.path = "a", .ahci = true}, {.path = "b"}, {.path = "c", .ahci = true}},
       .cd = DiskConfig{.path = "d"}});
  const Content& order = files.back().content;
  EXPECT_EQ(std::string(order.begin(), order.end() - 1),
            "/pci@i0cf8/pci8086,2922@1,2/drive@1/disk@0\n"
            "/pci@i0cf8/scsi@3/disk@0,0\n"
            "/pci@i0cf8/pci8086,2922@1,2/drive@2/disk@0\n"
            "/pci@i0cf8/pci8086,2922@1,2/drive@0/disk@0\n");
}

TEST_F(FirmwareFilesTest, ARomIsToldWhatNestorDoesOtherwise) {
  EXPECT_FALSE(files_.contains("etc/sercon-port"));
  std::map<std::string, Content> files;
  for (FwCfg::File& file :
       firmware_files({.memory_bytes = 1 << 30, .rom_bytes = 0x40000, .feature_control = 5}))
    files[file.name] = file.content;
  EXPECT_EQ(files.at("etc/sercon-port"), (Content{0xf8, 0x03}));
  EXPECT_EQ(files.at("etc/msr_feature_control"), (Content{5, 0, 0, 0, 0, 0, 0, 0}));
}

// Of the DSDT: what may be assigned begins behind RAM.
TEST(Firmware, MemoryOfPciBeginsBehindRam) {
  const auto begins = [](uint64_t memory_bytes, bool rom) {
    return acpi_board({.memory_bytes = memory_bytes, .rom_bytes = rom ? 0x40000u : 0}).pci_memory;
  };
  EXPECT_EQ(begins(1ull << 30, false), 0xc0000000u);
  EXPECT_EQ(begins(1ull << 31, true), 0x80000000u);
  EXPECT_EQ(begins((1ull << 31) + 4096, true), 0xc0000000u);
  for (const uint32_t base : {0x80000000u, 0xc0000000u}) {
    const std::vector<uint8_t> tables = acpi_files({.pci_memory = base}).tables;
    constexpr std::string_view kName = "MEMB\x0c";
    const auto at = std::ranges::search(tables, kName);
    ASSERT_FALSE(at.empty());
    EXPECT_EQ(read_number(tables, static_cast<size_t>(at.end() - tables.begin()), 4), base);
  }
}

}  // namespace
}  // namespace nestor::emu
