// SPDX-License-Identifier: GPL-2.0-or-later
//
// Linux kernels by the boot protocol, from kernels of a few sectors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>

#include "emu/loaders/byte_view.h"
#include "tests/emu/loaders/load_fixture.h"

namespace nestor::emu {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Module initrd(std::string name, ByteVector bytes) {
  return {std::move(name), std::move(bytes), std::nullopt, true};
}

class LinuxKernelTest : public ::testing::Test {
 protected:
  void load(const LinuxSpec& spec = {}, const std::vector<Module>& modules = {},
            std::string_view line = "") {
    image_ = load_ok(build_linux(spec), modules, line, kMemory, kFirmware);
  }
  uint64_t number(uint64_t address, unsigned width) const {
    for (const Piece& piece : image_.pieces) {
      if (address < piece.address || !inside(address - piece.address, width, piece.size)) continue;
      ByteVector bytes = piece.bytes;
      bytes.resize(piece.size);
      return read_number(bytes, address - piece.address, width).value();
    }
    ADD_FAILURE() << "nothing is loaded at " << address;
    return 0;
  }
  // A field of the boot parameters.
  uint64_t param(uint64_t offset, unsigned width) const {
    return number(image_.cpu.gpr[vmx::kRsi] + offset, width);
  }

  static inline const FirmwareInformation kFirmware = {{{0xe0000, 0x20000}}, {}, 0xf0000};
  LoadedImage image_;
};

TEST_F(LinuxKernelTest, IsEnteredInLongMode) {
  load();
  EXPECT_EQ(image_.format, ImageFormat::kLinux);
  EXPECT_EQ(to_string(image_.format), "Linux bzImage");
  EXPECT_EQ(image_.cpu.rip, 0x200200u);
  EXPECT_TRUE(image_.cpu.long_mode_active());
  EXPECT_TRUE(image_.cpu.code_64bit());
  EXPECT_EQ(image_.cpu.segment[vmx::kCs].selector, 0x10);
  EXPECT_EQ(image_.cpu.segment[vmx::kDs].selector, 0x18);
  EXPECT_EQ(number(0x200000, 4), 0x90909090u);
  EXPECT_EQ(number(0x200000 + kLinuxCodeBytes, 8), 0u);
  EXPECT_EQ(number(0x20fff8, 8), 0u) << "all of init_size is the kernel's";
  // The GDT has what the selectors name.
  const uint64_t gdt = image_.cpu.gdtr.base;
  EXPECT_EQ(image_.cpu.gdtr.limit, 31);
  EXPECT_EQ(number(gdt + 0x10, 8), 0x00af9b000000ffffu);
  EXPECT_EQ(number(gdt + 0x18, 8), 0x00cf93000000ffffu);
  // And page tables map where it lies to itself.
  const uint64_t pml4e = number(image_.cpu.cr3, 8), pdpte = number(pml4e & ~0xfffull, 8);
  EXPECT_EQ(number((pdpte & ~0xfffull) + 8, 8), 0x200083u);
}

TEST_F(LinuxKernelTest, Without64BitEntryIsEnteredInProtectedMode) {
  for (const LinuxSpec& spec : {LinuxSpec{.xloadflags = 0}, LinuxSpec{.version = 0x020b}}) {
    load(spec);
    EXPECT_EQ(image_.cpu.rip, 0x200000u);
    EXPECT_EQ(image_.cpu.cr0, vmx::cr0::kPe | vmx::cr0::kEt);
    EXPECT_FALSE(image_.cpu.long_mode_active());
    EXPECT_TRUE(image_.cpu.segment[vmx::kCs].rights.default_big());
    EXPECT_EQ(number(image_.cpu.gdtr.base + 0x10, 8), 0x00cf9b000000ffffu);
    EXPECT_EQ(param(0x202, 4), 0x53726448u);
  }
}

TEST_F(LinuxKernelTest, FindsItsHeaderAndWhatTheLoaderAdds) {
  load({}, {}, "console=ttyS0 quiet");
  EXPECT_EQ(param(0x1f1, 1), 2u);
  EXPECT_EQ(param(0x206, 2), 0x020fu);
  EXPECT_EQ(param(0x210, 1), 0xffu);
  EXPECT_EQ(param(0x070, 8), 0xf0000u) << "the RSDP";
  EXPECT_EQ(param(0x258, 8), 0x200000u);
  EXPECT_EQ(param(0x26c, 4), 0u) << "the header ends before";
  std::string line;
  for (uint64_t at = param(0x228, 4); number(at, 1) != 0; ++at)
    line.push_back(static_cast<char>(number(at, 1)));
  EXPECT_EQ(line, "console=ttyS0 quiet");
  EXPECT_EQ(param(0x006, 2), 0x5003u) << "text, 80 columns";
  EXPECT_EQ(param(0x00e, 2), 0x0119u) << "25 lines of VGA";
}

TEST_F(LinuxKernelTest, GetsTheMemoryMap) {
  load();
  ASSERT_EQ(param(0x1e8, 1), 3u);
  const auto entry = [&](unsigned i) {
    const uint64_t at = 0x2d0 + 20 * i;
    return std::vector<uint64_t>{param(at, 8), param(at + 8, 8), param(at + 16, 4)};
  };
  EXPECT_THAT(entry(0), ElementsAre(0, 0xa0000, 1));
  EXPECT_THAT(entry(1), ElementsAre(0xe0000, 0x20000, 2));
  EXPECT_THAT(entry(2), ElementsAre(0x100000, 0xf00000, 1));
}

TEST_F(LinuxKernelTest, InitrdsFollowEachOther) {
  load({}, {initrd("a", {1, 2, 3, 4, 5}), initrd("b", {6, 7})});
  const uint64_t at = param(0x218, 4);
  EXPECT_EQ(param(0x21c, 4), 10u);
  EXPECT_GE(at, 0x210000u) << "above the kernel";
  EXPECT_EQ(at % 0x1000, 0u);
  EXPECT_EQ(number(at, 8), 0x0000000504030201u) << "the second one at a multiple of 4";
  EXPECT_EQ(number(at + 8, 2), 0x0706u);
  load();
  EXPECT_EQ(param(0x218, 8), 0u);
}

TEST_F(LinuxKernelTest, RefusesWhatItCannotLoad) {
  struct Case {
    LinuxSpec spec;
    std::string message;
  };
  const Case cases[] = {
      {{.version = 0x0209}, "version 2.09 of the boot protocol; 2.10 is needed"},
      {{.loadflags = 0}, "zImage"},
      {{.paragraphs = kLinuxCodeBytes / 16 + 1},
       "cut off: its Linux header says 2576 bytes, and there"},
      {{.paragraphs = 0xffffffff}, "cut off"},
      {{.paragraphs = 0}, "damaged"},
      {{.header_bytes = 0x20}, "damaged"},
      {{.setup_sectors = 0}, "cut off"},
      {{.preferred = 0x8000}, "preferred address"},
      {{.preferred = 0x200100}, "preferred address"},
      {{.preferred = ~0xfffull}, "beyond 4 GiB"},
      {{.preferred = 0xfff000}, "the kernel (0xfff000-0x100efff) lies outside RAM"},
  };
  for (const Case& c : cases) {
    const std::string message = load_bad(build_linux(c.spec));
    EXPECT_THAT(message, HasSubstr(c.message));
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

TEST_F(LinuxKernelTest, RefusesFilesThatItHasNoPlaceFor) {
  EXPECT_THAT(load_bad(build_linux(), {initrd("big", ByteVector(15 << 20))}),
              HasSubstr("an initrd of 15728640 bytes does not fit above the kernel"));
  EXPECT_THAT(load_bad(build_linux({.highest_initrd = 0x210000}), {initrd("i", {1})}),
              HasSubstr("does not fit above the kernel"));
  EXPECT_THAT(load_bad(build_linux(), {}, std::string(256, 'x')),
              HasSubstr("a command line of 255 bytes at most, and --append has 256"));
  EXPECT_THAT(load_bad(build_linux({.command_line_bytes = 1 << 20}), {}, std::string(700000, 'x')),
              HasSubstr("shorten --append"));
  EXPECT_THAT(load_bad(build_linux(), {{"environ", {1}}}), HasSubstr("--initrd"));
}

TEST_F(LinuxKernelTest, OthersTakeNoInitrd) {
  EXPECT_THAT(load_bad(build_elf(elf64_spec()), {initrd("i", {1})}), HasSubstr("--module"));
}

TEST_F(LinuxKernelTest, SurvivesEachTruncation) {
  const ByteVector whole = build_linux();
  for (size_t size = 0x206; size < whole.size(); ++size) {
    const std::string message = load_bad({whole.begin(), whole.begin() + static_cast<long>(size)});
    ASSERT_FALSE(message.empty()) << size;
  }
}

}  // namespace
}  // namespace nestor::emu
