// SPDX-License-Identifier: GPL-2.0-or-later
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <ostream>
#include <string>

#include "emu/loaders/byte_view.h"
#include "tests/emu/loaders/load_fixture.h"

namespace nestor::emu {
namespace {

using namespace testing;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// What the guest would read at `address`; nullopt: no piece covers it.
std::optional<uint64_t> guest_read(const LoadedImage& image, uint64_t address, unsigned width) {
  for (const Piece& piece : image.pieces) {
    if (address < piece.address || !inside(address - piece.address, width, piece.size)) continue;
    ByteVector bytes = piece.bytes;
    bytes.resize(piece.size);
    return read_number(bytes, address - piece.address, width);
  }
  return std::nullopt;
}

std::string guest_string(const LoadedImage& image, uint64_t address) {
  std::string text;
  while (const auto byte = guest_read(image, address + text.size(), 1)) {
    if (*byte == 0) return text;
    text.push_back(static_cast<char>(*byte));
  }
  return "<no terminator>";
}

void expect_pieces_sound(const LoadedImage& image, const MemoryMap& memory) {
  auto pieces = image.pieces;
  std::ranges::sort(pieces, {}, &Piece::address);
  uint64_t end = 0;
  for (const Piece& piece : pieces) {
    EXPECT_GE(piece.address, end) << "pieces overlap";
    EXPECT_GE(piece.size, piece.bytes.size());
    EXPECT_TRUE(std::ranges::any_of(memory, [&](const MemoryRange& range) {
      return piece.address >= range.first &&
             inside(piece.address - range.first, piece.size, range.size);
    })) << "a piece lies outside RAM";
    end = piece.address + piece.size;
  }
}

TEST(LoadImage, Multiboot1Elf32IsEnteredInProtectedMode) {
  const LoadedImage image = load_ok(multiboot1_elf32());
  expect_pieces_sound(image, kMemory);
  EXPECT_EQ(image.format, ImageFormat::kMultiboot1);
  EXPECT_EQ(image.cpu.rip, 0x100010u);
  EXPECT_EQ(image.cpu.gpr[vmx::kRax], 0x2badb002u);
  EXPECT_EQ(image.cpu.cr0, vmx::cr0::kPe | vmx::cr0::kEt);
  EXPECT_EQ(image.cpu.rflags, vmx::rflags::kFixed1);
  EXPECT_FALSE(image.cpu.long_mode_active());
  EXPECT_TRUE(image.cpu.segment[vmx::kCs].rights.default_big());
  EXPECT_FALSE(image.cpu.segment[vmx::kCs].rights.long_mode());
  for (const auto segment : {vmx::kCs, vmx::kDs, vmx::kEs, vmx::kSs, vmx::kFs, vmx::kGs}) {
    EXPECT_EQ(image.cpu.segment[segment].base, 0u);
    EXPECT_EQ(image.cpu.segment[segment].limit, 0xffffffffu);
  }
  EXPECT_EQ(guest_read(image, 0x100000, 4), 0x90909090u);
  EXPECT_EQ(guest_read(image, 0x100020, 4), 0u) << "memory beyond the file's bytes is zero";
}

TEST(LoadImage, GdtHoldsTheSelectorsInUse) {
  for (const auto& bytes : {multiboot1_elf32(), build_elf(elf64_spec())}) {
    const LoadedImage image = load_ok(bytes);
    for (const auto segment : {vmx::kCs, vmx::kDs}) {
      const vmx::Segment& loaded = image.cpu.segment[segment];
      ASSERT_LE(loaded.selector + 7u, image.cpu.gdtr.limit);
      const auto descriptor = guest_read(image, image.cpu.gdtr.base + loaded.selector, 8);
      ASSERT_TRUE(descriptor);
      EXPECT_EQ(*descriptor >> 40 & 0xf0ff, loaded.rights.value);
    }
  }
}

TEST(LoadImage, Multiboot1Information) {
  const std::vector<Module> modules = {{"environ", {'A', '=', '1'}},
                                       {"disk", ByteVector(0x1001, 7)}};
  const LoadedImage image = load_ok(multiboot1_elf32(), modules, "a \"b c\"");
  expect_pieces_sound(image, kMemory);
  const uint64_t info = image.cpu.gpr[vmx::kRbx];
  const auto field = [&](uint64_t offset) { return guest_read(image, info + offset, 4).value(); };
  EXPECT_LT(info, 0xa0000u);
  EXPECT_EQ(field(0), 0x124fu);
  EXPECT_EQ(field(12), 0x80ffffffu) << "the first disk, no partition";
  EXPECT_EQ(guest_read(image, info + 88, 8), 0xb8000u);
  EXPECT_EQ(field(96), 160u);
  EXPECT_EQ(field(100), 80u);
  EXPECT_EQ(field(104), 25u);
  EXPECT_EQ(guest_read(image, info + 108, 2), 0x0210u) << "16 bits, EGA text";
  EXPECT_EQ(field(4), 640u);
  EXPECT_EQ(field(8), 15u * 1024);
  EXPECT_EQ(guest_string(image, field(16)), "image a \"b c\"");
  EXPECT_EQ(guest_string(image, field(64)), "nestor");

  ASSERT_EQ(field(20), 2u);
  const uint64_t first = field(24);
  const auto module = [&](uint64_t i, uint64_t offset) {
    return guest_read(image, first + 16 * i + offset, 4).value();
  };
  EXPECT_EQ(module(0, 0), 0x101000u) << "page-aligned above the image";
  EXPECT_EQ(module(0, 4), 0x101003u);
  EXPECT_EQ(guest_string(image, module(0, 8)), "environ");
  EXPECT_EQ(guest_read(image, module(0, 0), 3), 0x313d41u);
  EXPECT_EQ(module(1, 0), 0x102000u);
  EXPECT_EQ(module(1, 4), 0x103001u);
  EXPECT_EQ(guest_string(image, module(1, 8)), "disk");

  ASSERT_EQ(field(44), 2u * 24);
  const uint64_t map = field(48);
  for (uint64_t i = 0; i < 2; ++i) {
    EXPECT_EQ(guest_read(image, map + 24 * i, 4), 20u);
    EXPECT_EQ(guest_read(image, map + 24 * i + 4, 8), kMemory[i].first);
    EXPECT_EQ(guest_read(image, map + 24 * i + 12, 8), kMemory[i].size);
    EXPECT_EQ(guest_read(image, map + 24 * i + 20, 4), 1u);
  }
}

const FirmwareInformation kFirmware = {
    {{0xe0000, 0x20000}}, {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' ', 1, 2, 3, 4, 5, 6, 7, 2, 8, 9,
                           1,   2,   3,   4,   5,   6,   7,   8,   9, 0, 1, 2, 3, 4, 5, 6, 7, 8}};

TEST(LoadImage, ReservedMemoryIsInTheMap) {
  const LoadedImage image = load_ok(multiboot1_elf32(), {}, "", kMemory, kFirmware);
  const uint64_t info = image.cpu.gpr[vmx::kRbx];
  ASSERT_EQ(guest_read(image, info + 44, 4), 3u * 24);
  const uint64_t map = guest_read(image, info + 48, 4).value();
  const std::array<MemoryRange, 3> ranges = {kMemory[0], {0xe0000, 0x20000}, kMemory[1]};
  for (uint64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(guest_read(image, map + 24 * i + 4, 8), ranges[i].first);
    EXPECT_EQ(guest_read(image, map + 24 * i + 12, 8), ranges[i].size);
    EXPECT_EQ(guest_read(image, map + 24 * i + 20, 4), i == 1 ? 2u : 1u);
  }
}

TEST(LoadImage, MultibootImagesHaveAStack) {
  for (const auto& bytes : {multiboot1_elf32(), multiboot2_elf64()}) {
    const LoadedImage image = load_ok(bytes);
    const uint64_t stack = image.cpu.gpr[vmx::kRsp];
    EXPECT_EQ(stack % 16, 12u) << "as at the entry of a C function";
    EXPECT_EQ(guest_read(image, stack, 4), 0u);
    EXPECT_TRUE(guest_read(image, stack - 0x3000, 4)) << "its memory belongs to the boot block";
    const uint64_t info = image.cpu.gpr[vmx::kRbx];
    EXPECT_FALSE(info >= stack - 0x3000 && info < stack + 4);
  }
}

TEST(LoadImage, AModuleMayHaveACommandLine) {
  const std::vector<Module> modules = {{"disk", {1}, "disk args, more"}, {"kernel", {2}, ""}};
  const LoadedImage image = load_ok(multiboot1_elf32(), modules);
  const uint64_t first = guest_read(image, image.cpu.gpr[vmx::kRbx] + 24, 4).value();
  EXPECT_EQ(guest_string(image, guest_read(image, first + 8, 4).value()), "disk args, more");
  EXPECT_EQ(guest_string(image, guest_read(image, first + 16 + 8, 4).value()), "");
}

TEST(LoadImage, AVideoModeIsAPreference) {
  EXPECT_EQ(load_ok(multiboot1_elf32({}, 1u << 2)).format, ImageFormat::kMultiboot1);
}

// Where a tag of the information structure is; std::nullopt: there is none.
std::optional<uint64_t> find_tag(const LoadedImage& image, uint64_t wanted) {
  const uint64_t info = image.cpu.gpr[vmx::kRbx];
  for (uint64_t at = info + 8; at < info + guest_read(image, info, 4).value();) {
    if (guest_read(image, at, 4) == wanted) return at;
    at += (guest_read(image, at + 4, 4).value() + 7) / 8 * 8;
  }
  return std::nullopt;
}

TEST(LoadImage, Multiboot2TellsScreenDiskAndAcpi) {
  const LoadedImage image = load_ok(multiboot2_elf64(), {}, "", kMemory, kFirmware);
  const auto disk = find_tag(image, 5), screen = find_tag(image, 8), old_rsdp = find_tag(image, 14),
             rsdp = find_tag(image, 15);
  ASSERT_TRUE(disk && screen && old_rsdp && rsdp);
  EXPECT_EQ(guest_read(image, *disk + 8, 4), 0x80u);
  EXPECT_EQ(guest_read(image, *screen + 8, 8), 0xb8000u);
  EXPECT_EQ(guest_read(image, *screen + 28, 2), 0x0210u) << "16 bits, EGA text";
  EXPECT_EQ(guest_read(image, *old_rsdp + 4, 4), 28u);
  EXPECT_EQ(guest_read(image, *rsdp + 4, 4), 44u);
  for (uint64_t i = 0; i < 36; ++i) {
    EXPECT_EQ(guest_read(image, *rsdp + 8 + i, 1), kFirmware.rsdp[i]);
  }
  for (uint64_t i = 0; i < 20; ++i)
    EXPECT_EQ(guest_read(image, *old_rsdp + 8 + i, 1), kFirmware.rsdp[i]);
  EXPECT_FALSE(find_tag(load_ok(multiboot2_elf64()), 15)) << "without ACPI";
}

TEST(LoadImage, Multiboot2RequestsAreAcceptedAsGrubAcceptsThem) {
  // A framebuffer; EFI boot services; text; a console of text; all information but SMBIOS.
  for (const std::vector<TagSpec>& tags : std::vector<std::vector<TagSpec>>{
           {{5, {0, 0, 0}}, {}},
           {{7}, {}},
           {{4, {2}}, {}},
           {{4, {3}}, {}},
           {{1, {1, 5, 7, 8, 9, 14, 15, 21}}, {}},
       }) {
    EXPECT_EQ(load_ok(multiboot2_elf64(tags)).format, ImageFormat::kMultiboot2);
  }
}

TEST(LoadImage, WithoutArgumentsTheCommandLineIsTheName) {
  const LoadedImage image = load_ok(multiboot1_elf32());
  const uint64_t line = guest_read(image, image.cpu.gpr[vmx::kRbx] + 16, 4).value();
  EXPECT_EQ(guest_string(image, line), "image");
}

TEST(LoadImage, Multiboot1FlatLoadsWhatTheAddressFieldsSay) {
  const LoadedImage image = load_ok(multiboot1_flat());
  EXPECT_EQ(image.cpu.rip, 0x100020u);
  ASSERT_FALSE(image.pieces.empty());
  EXPECT_EQ(image.pieces[0].address, 0x100000u);
  EXPECT_EQ(image.pieces[0].bytes.size(), 0x200u);
  EXPECT_EQ(image.pieces[0].size, 0x300u);
  EXPECT_EQ(guest_read(image, 0x100100, 4), 0x1badb002u) << "the header lies where it says";
}

TEST(LoadImage, FlatWithoutEndsLoadsTheRestOfTheFile) {
  ByteVector bytes(0x1000, 0x90);
  put_multiboot1(bytes, 0, 1u << 16, {0x100000, 0x100000, 0, 0, 0x100000});
  const LoadedImage image = load_ok(bytes);
  EXPECT_EQ(image.pieces[0].bytes.size(), 0x1000u);
  EXPECT_EQ(image.pieces[0].size, 0x1000u);
}

TEST(LoadImage, AddressFieldsReplaceElfHeaders) {
  ByteVector bytes = build_elf({});
  put_multiboot1(bytes, kHeaderOffset, 1u << 16, {0x200400, 0x200000, 0x201000, 0, 0x200800});
  const LoadedImage image = load_ok(bytes);
  EXPECT_EQ(image.cpu.rip, 0x200800u);
  EXPECT_EQ(image.pieces[0].address, 0x200000u);
}

TEST(LoadImage, Multiboot2Information) {
  const LoadedImage image = load_ok(multiboot2_elf64(), {{"environ", {1, 2, 3}}}, "x=1");
  expect_pieces_sound(image, kMemory);
  EXPECT_EQ(image.format, ImageFormat::kMultiboot2);
  EXPECT_EQ(image.cpu.gpr[vmx::kRax], 0x36d76289u);
  EXPECT_FALSE(image.cpu.long_mode_active());
  const uint64_t info = image.cpu.gpr[vmx::kRbx];
  EXPECT_EQ(info % 8, 0u);
  const uint64_t total = guest_read(image, info, 4).value();
  std::vector<uint64_t> types;
  for (uint64_t at = 8; at < total;) {
    const uint64_t tag = info + at;
    const uint64_t type = guest_read(image, tag, 4).value();
    const uint64_t size = guest_read(image, tag + 4, 4).value();
    ASSERT_GE(size, 8u);
    types.push_back(type);
    if (type == 1) {
      EXPECT_EQ(guest_string(image, tag + 8), "image x=1");
    } else if (type == 3) {
      EXPECT_EQ(guest_read(image, tag + 8, 4), 0x101000u);
      EXPECT_EQ(guest_read(image, tag + 12, 4), 0x101003u);
      EXPECT_EQ(guest_string(image, tag + 16), "environ");
    } else if (type == 4) {
      EXPECT_EQ(guest_read(image, tag + 8, 4), 640u);
      EXPECT_EQ(guest_read(image, tag + 12, 4), 15u * 1024);
    } else if (type == 6) {
      EXPECT_EQ(size, 16u + 2 * 24);
      EXPECT_EQ(guest_read(image, tag + 8, 4), 24u);
      EXPECT_EQ(guest_read(image, tag + 16 + 24, 8), kMemory[1].first);
    }
    at += (size + 7) / 8 * 8;
  }
  EXPECT_THAT(types, ::testing::ElementsAre(1, 2, 3, 6, 4, 5, 8, 0)) << "as GRUB does";
}

TEST(LoadImage, Multiboot2Flat) {
  const LoadedImage image = load_ok(multiboot2_flat());
  EXPECT_EQ(image.cpu.rip, 0x100020u);
  EXPECT_EQ(image.pieces[0].address, 0x100000u);
  EXPECT_EQ(image.pieces[0].size, 0x300u);
}

TEST(LoadImage, Multiboot2FlatFromTheStartOfTheFile) {
  ByteVector bytes(0x1000, 0x90);
  put_multiboot2(bytes, kHeaderOffset, {{2, {0x100400, 0xffffffff, 0, 0}}, {3, {0x100020}}, {}});
  const LoadedImage image = load_ok(bytes);
  EXPECT_EQ(image.pieces[0].address, 0x100000u);
  EXPECT_EQ(image.pieces[0].bytes.size(), 0x1000u);
}

TEST(LoadImage, Multiboot2EntryTagReplacesTheElfEntry) {
  EXPECT_EQ(load_ok(multiboot2_elf64({{3, {0x100004}}, {}})).cpu.rip, 0x100004u);
}

TEST(LoadImage, Multiboot2AcceptsRequestsThatItMeets) {
  const LoadedImage image =
      load_ok(multiboot2_elf64({{1, {1, 3, 4, 6}}, {6}, {77, {}, true}, {5, {0, 0, 0}, true}, {}}));
  EXPECT_EQ(image.cpu.gpr[vmx::kRax], 0x36d76289u);
}

TEST(LoadImage, Elf64IsEnteredInLongMode) {
  const LoadedImage image = load_ok(build_elf(elf64_spec()), {}, "one");
  expect_pieces_sound(image, kMemory);
  EXPECT_EQ(image.format, ImageFormat::kElf64);
  EXPECT_TRUE(image.cpu.code_64bit());
  EXPECT_EQ(image.cpu.cpl(), 0);
  EXPECT_EQ(image.cpu.rip, 0x100010u);
  EXPECT_EQ(image.cpu.cr4, vmx::cr4::kPae);
  EXPECT_EQ(image.cpu.cr0, vmx::cr0::kPe | vmx::cr0::kEt | vmx::cr0::kWp | vmx::cr0::kPg);
  EXPECT_EQ(image.cpu.gpr[vmx::kRdi], image.cpu.gpr[vmx::kRbx]);
  EXPECT_EQ(image.cpu.gpr[vmx::kRsp] % 16, 8u) << "as after a call";
  EXPECT_EQ(guest_read(image, image.cpu.gpr[vmx::kRsp], 8), 0u);
  EXPECT_EQ(guest_string(image, image.cpu.gpr[vmx::kRdi] + 16), "image one");
}

TEST(LoadImage, IdentityMapCoversFourGiB) {
  const LoadedImage image = load_ok(build_elf(elf64_spec()));
  const auto entry = [&](uint64_t table, uint64_t index) {
    return guest_read(image, (table & ~0xfffull) + 8 * index, 8).value();
  };
  for (uint64_t linear = 0; linear < (1ull << 32); linear += 2 << 20) {
    const uint64_t pml4e = entry(image.cpu.cr3, linear >> 39 & 511);
    const uint64_t pdpte = entry(pml4e, linear >> 30 & 511);
    const uint64_t pde = entry(pdpte, linear >> 21 & 511);
    ASSERT_EQ(pml4e & 3, 3u);
    ASSERT_EQ(pdpte & 3, 3u);
    ASSERT_EQ(pde, linear | 0x83);
  }
  EXPECT_EQ(entry(image.cpu.cr3, 1), 0u);
}

TEST(LoadImage, VirtualEntryPointBecomesPhysical) {
  ElfSpec spec = elf64_spec();
  spec.segments[0].vaddr = 0xffffffff80100000;
  spec.entry = 0xffffffff80100008;
  EXPECT_EQ(load_ok(build_elf(spec)).cpu.rip, 0x100008u);
}

TEST(LoadImage, BootBlockAvoidsAnImageInLowMemory) {
  ElfSpec spec;
  spec.segments[0].vaddr = spec.segments[0].paddr = 0x10000;
  spec.segments[0].memsz = 0x8f000;  // up to 0x9f000
  spec.entry = 0x10010;
  const LoadedImage image = load_ok(multiboot1_elf32(spec));
  expect_pieces_sound(image, kMemory);
  EXPECT_LT(image.cpu.gpr[vmx::kRbx], 0x10000u);
}

TEST(LoadImage, ModulesSkipAHoleInMemory) {
  const MemoryMap memory = {{0, 0xa0000}, {0x100000, 0x2000}, {0x200000, 0x100000}};
  const LoadedImage image = load_ok(multiboot1_elf32(), {{"m", ByteVector(0x1800, 1)}}, "", memory);
  expect_pieces_sound(image, memory);
  const uint64_t modules = guest_read(image, image.cpu.gpr[vmx::kRbx] + 24, 4).value();
  EXPECT_EQ(guest_read(image, modules, 4), 0x200000u);
}

TEST(LoadImage, SameArgumentsGiveTheSameResult) {
  const auto one = load_ok(multiboot1_elf32(), {{"m", {1}}}, "a");
  const auto two = load_ok(multiboot1_elf32(), {{"m", {1}}}, "a");
  ASSERT_EQ(one.pieces.size(), two.pieces.size());
  for (size_t i = 0; i < one.pieces.size(); ++i) {
    EXPECT_EQ(one.pieces[i].address, two.pieces[i].address);
    EXPECT_EQ(one.pieces[i].bytes, two.pieces[i].bytes);
  }
}

}  // namespace
}  // namespace nestor::emu
