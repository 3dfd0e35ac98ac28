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
#include "emu/loaders/image.h"
#include "tests/emu/loaders/image_builder.h"

namespace nestor::emu {
namespace {

using namespace testing;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const MemoryMap kMemory = {{0, 0xa0000}, {0x100000, 0xf00000}};  // 16 MiB with the legacy hole

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

LoadedImage load_ok(ByteVector bytes, const std::vector<Module>& modules = {},
                    std::string_view line = "", const MemoryMap& memory = kMemory) {
  auto result = load_image({"image", std::move(bytes)}, modules, line, memory);
  if (auto* bad = std::get_if<LoadError>(&result)) {
    ADD_FAILURE() << bad->message;
    return {};
  }
  return std::get<LoadedImage>(std::move(result));
}

std::string load_bad(ByteVector bytes, const std::vector<Module>& modules = {},
                     std::string_view line = "", const MemoryMap& memory = kMemory) {
  auto result = load_image({"image", std::move(bytes)}, modules, line, memory);
  if (auto* bad = std::get_if<LoadError>(&result)) return bad->message;
  ADD_FAILURE() << "the image was accepted";
  return "";
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
  EXPECT_EQ(field(0), 0x24du);
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
  EXPECT_THAT(types, ::testing::ElementsAre(1, 2, 3, 4, 6, 0));
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

// --- hostile images

struct HostileCase {
  const char* name;
  std::function<ByteVector()> image;
  const char* message;  // part of it
};

void PrintTo(const HostileCase& hostile, std::ostream* out) { *out << hostile.name; }

ByteVector with_elf(bool is_64bit, const std::function<void(ElfSpec&)>& change) {
  ElfSpec spec = is_64bit ? elf64_spec() : ElfSpec{};
  change(spec);
  return is_64bit ? build_elf(spec) : multiboot1_elf32(spec);
}

ByteVector with_segment(bool is_64bit, const SegmentSpec& segment) {
  return with_elf(is_64bit, [&](ElfSpec& spec) { spec.segments[0] = segment; });
}

ByteVector truncated(ByteVector bytes, size_t size) {
  bytes.resize(size);
  return bytes;
}

ByteVector with_flat(const std::vector<uint32_t>& fields) {
  ByteVector out(0x1000, 0x90);
  put_multiboot1(out, kHeaderOffset, 1u << 16, fields);
  return out;
}

const HostileCase kHostileCases[] = {
    {"Text", [] { return ByteVector(100, 'x'); }, "it is no bootable image"},
    {"ElfMagicAlone", [] { return truncated(build_elf({}), 4); }, "the ELF header is truncated"},
    {"Elf32HeaderTruncated", [] { return truncated(build_elf({}), 51); },
     "the ELF header is truncated"},
    {"Elf64HeaderTruncated", [] { return truncated(build_elf(elf64_spec()), 63); },
     "the ELF header is truncated"},
    {"ClassUnknown",
     [] {
       ByteVector bytes = multiboot1_elf32();
       bytes[4] = 3;
       return bytes;
     },
     "the ELF class is 3"},
    {"BigEndian", [] { return with_elf(false, [](ElfSpec& s) { s.data = 2; }); }, "big-endian"},
    {"AArch64", [] { return with_elf(true, [](ElfSpec& s) { s.machine = 183; }); },
     "it is an ELF64 file for AArch64 (e_machine 183); build the image for x86-64"},
    {"Elf64For386", [] { return with_elf(true, [](ElfSpec& s) { s.machine = 3; }); },
     "for x86 (e_machine 3)"},
    {"MachineUnknown", [] { return with_elf(false, [](ElfSpec& s) { s.machine = 999; }); },
     "for an unknown processor (e_machine 999)"},
    {"SharedObject", [] { return with_elf(true, [](ElfSpec& s) { s.type = 3; }); },
     "-static -no-pie"},
    {"ObjectFile", [] { return with_elf(true, [](ElfSpec& s) { s.type = 1; }); }, "link it first"},
    {"Dynamic", [] { return with_segment(true, {.type = 3}); }, "dynamically linked"},
    {"NoProgramHeaders", [] { return with_elf(true, [](ElfSpec& s) { s.segments.clear(); }); },
     "no program headers"},
    {"CountElsewhere", [] { return with_elf(true, [](ElfSpec& s) { s.entry_count = 0xffff; }); },
     "more than 65534 program headers"},
    {"ProgramHeadersTooSmall", [] { return with_elf(true, [](ElfSpec& s) { s.entry_size = 55; }); },
     "program headers have 55 bytes"},
    {"TableBeyondFile", [] { return with_elf(true, [](ElfSpec& s) { s.entry_count = 500; }); },
     "lie outside the file"},
    {"TableOverflows", [] { return with_elf(true, [](ElfSpec& s) { s.table = ~0ull - 8; }); },
     "lie outside the file"},
    {"NothingToLoad", [] { return with_segment(true, {.type = 4}); },
     "none of its program headers loads"},
    {"EmptySegments", [] { return with_segment(true, {.filesz = 0, .memsz = 0}); },
     "none of its program headers loads"},
    {"FileSizeAboveMemorySize", [] { return with_segment(true, {.filesz = 0x41, .memsz = 0x40}); },
     "segment 0 has 0x41 bytes in the file but only 0x40 in memory"},
    {"SegmentBeyondFile", [] { return with_segment(false, {.offset = 0x1ff0}); },
     "segment 0 (0x20 bytes at offset 0x1ff0)"},
    {"SegmentOffsetOverflows", [] { return with_segment(true, {.offset = ~0ull - 0x10}); },
     "lies outside the file"},
    {"SegmentOutsideRam", [] { return with_segment(false, {.paddr = 0x1000000}); },
     "segment 0 (0x1000000-0x100003f) lies outside RAM (0x0-0x9ffff, 0x100000-0xffffff)"},
    {"SegmentLeavesRam", [] { return with_segment(false, {.memsz = 0xf00001}); },
     "lies outside RAM"},
    {"SegmentInLegacyHole", [] { return with_segment(false, {.paddr = 0xb8000}); },
     "lies outside RAM"},
    {"SegmentEntersLegacyHole", [] { return with_segment(false, {.paddr = 0x9ffe0}); },
     "lies outside RAM"},
    {"SegmentBeyondFourGiB", [] { return with_segment(true, {.paddr = 0x1000000000}); },
     "ends beyond 4 GiB"},
    {"SegmentAddressOverflows", [] { return with_segment(true, {.paddr = ~0ull - 0x10}); },
     "ends beyond 4 GiB"},
    {"SegmentSizeOverflows", [] { return with_segment(true, {.memsz = ~0ull}); },
     "ends beyond 4 GiB"},
    {"SegmentsOverlap",
     [] { return with_elf(true, [](ElfSpec& s) { s.segments.push_back({.paddr = 0x10003f}); }); },
     "segment 1 (0x10003f-0x10007e) overlaps segment 0 (0x100000-0x10003f)"},
    {"SegmentContainsAnother",
     [] {
       return with_elf(true, [](ElfSpec& s) {
         s.segments.push_back({.paddr = 0xff000 + 0x1008, .memsz = 0x20});
       });
     },
     "overlaps segment 0"},
    {"SegmentInsideAnother",
     [] {
       return with_elf(true, [](ElfSpec& s) {
         s.segments[0].paddr = s.segments[0].vaddr = 0x200000;
         s.entry = 0x200000;
         s.segments.push_back({.memsz = 0x300000});
       });
     },
     "segment 1 (0x100000-0x3fffff) overlaps segment 0"},
    {"EntryOutside", [] { return with_elf(true, [](ElfSpec& s) { s.entry = 0x100040; }); },
     "its entry point 0x100040 lies in none"},
    {"EntryZero", [] { return with_elf(false, [](ElfSpec& s) { s.entry = 0; }); },
     "its entry point 0x0 lies in none"},
    {"Elf32WithoutHeader", [] { return build_elf({}); }, "without a Multiboot header"},
    {"HeaderBehindTheSearchedPart",
     [] {
       ElfSpec spec;
       spec.file_size = 0x4000;
       ByteVector bytes = build_elf(spec);
       put_multiboot1(bytes, 8192 - 8, 0);
       return bytes;
     },
     "without a Multiboot header"},
    {"ChecksumWrong",
     [] {
       ByteVector bytes = multiboot1_elf32();
       bytes[kHeaderOffset + 8] ^= 1;
       return bytes;
     },
     "without a Multiboot header"},
    {"NeitherElfNorAddressFields",
     [] {
       ByteVector bytes(0x1000);
       put_multiboot1(bytes, 0, 0);
       return bytes;
     },
     "neither an ELF file nor has address fields"},
    {"UnknownRequirement", [] { return multiboot1_elf32({}, 0x8000); }, "clear bits 0x8000"},
    {"VideoMode", [] { return multiboot1_elf32({}, 4); }, "clear bit 2"},
    {"FlatHeaderTruncated",
     [] {
       ByteVector bytes;
       put_multiboot1(bytes, 0, 1u << 16, {0x100000, 0x100000, 0, 0});
       return bytes;
     },
     "its Multiboot header is truncated"},
    {"FlatLoadAboveHeader",
     [] {
       return with_flat({0x100000, 0x100001, 0, 0, 0x100010});
     },
     "lies above header_addr"},
    {"FlatBeforeFile",
     [] {
       return with_flat({0x100401, 0x100000, 0, 0, 0x100010});
     },
     "before the start of the file"},
    {"FlatEndBelowStart",
     [] {
       return with_flat({0x100400, 0x100000, 0xfffff, 0, 0x100010});
     },
     "load_end_addr 0xfffff"},
    {"FlatEndBeyondFile",
     [] {
       return with_flat({0x100400, 0x100000, 0x101001, 0, 0x100010});
     },
     "outside the file"},
    {"FlatBssBelowData",
     [] {
       return with_flat({0x100400, 0x100000, 0x101000, 0x100fff, 0x100010});
     },
     "bss_end_addr 0x100fff"},
    {"FlatBssOutsideRam",
     [] {
       return with_flat({0x100400, 0x100000, 0x101000, 0xffffffff, 0x100010});
     },
     "lies outside RAM"},
    {"FlatBeyondFourGiB",
     [] {
       return with_flat({0xfffffff0, 0xfffffc00, 0, 0, 0xfffffff0});
     },
     "ends beyond 4 GiB"},
    {"FlatEntryOutside",
     [] {
       return with_flat({0x100400, 0x100000, 0, 0, 0xfffff});
     },
     "entry point 0xfffff lies outside"},
    {"Multiboot2ForMips",
     [] {
       ByteVector bytes(0x1000);
       put_multiboot2(bytes, 0, {{}}, 4);
       return bytes;
     },
     "architecture 4"},
    {"Multiboot2LengthBeyondFile",
     [] {
       ByteVector bytes(0x1000);
       put_multiboot2(bytes, 0, {{}}, 0, 0x1001);
       return bytes;
     },
     "correct header_length"},
    {"Multiboot2LengthTooShort",
     [] {
       ByteVector bytes(0x1000);
       put_multiboot2(bytes, 0, {{}}, 0, 15);
       return bytes;
     },
     "correct header_length"},
    {"Multiboot2WithoutEndTag", [] { return multiboot2_elf64({{6}}); }, "no end tag"},
    {"Multiboot2TagTooSmall",
     [] {
       return multiboot2_elf64({{6, {}, false, 7}, {}});
     },
     "a size of 7 bytes"},
    {"Multiboot2TagTooLarge",
     [] {
       return multiboot2_elf64({{6, {}, false, 0xfffffff9}, {}});
     },
     "which does not fit"},
    {"Multiboot2AddressTagTooSmall",
     [] {
       return multiboot2_elf64({{2, {1, 2, 3}}, {}});
     },
     "24 are needed"},
    {"Multiboot2UnknownTag",
     [] {
       return multiboot2_elf64({{77}, {}});
     },
     "requires tag 77 (unknown)"},
    {"Multiboot2Framebuffer",
     [] {
       return multiboot2_elf64({{5, {0, 0, 0}}, {}});
     },
     "tag 5 (framebuffer)"},
    {"Multiboot2Console",
     [] {
       return multiboot2_elf64({{4, {1}}, {}});
     },
     "requires a console"},
    {"Multiboot2Information",
     [] {
       return multiboot2_elf64({{1, {1, 9}}, {}});
     },
     "information of type 9"},
    {"Multiboot2FlatWithoutEntry",
     [] {
       return multiboot2_elf64({{2, {0x100000, 0x100000, 0, 0}}, {}});
     },
     "without an entry address tag"},
    {"Multiboot2FlatUnderflows",
     [] {
       return multiboot2_elf64({{2, {0x3ff, 0xffffffff, 0, 0}}, {3, {0x10}}, {}});
     },
     "leaves no room"},
    {"Multiboot2EntryOutside",
     [] {
       return multiboot2_elf64({{3, {0x10}}, {}});
     },
     "entry point 0x10 lies outside"},
    {"LowMemoryFull",
     [] {
       return with_elf(false, [](ElfSpec& s) {
         s.segments[0].vaddr = s.segments[0].paddr = 0;
         s.segments[0].memsz = 0xa0000;
         s.entry = 0;
       });
     },
     "no room below 640 KiB"},
};

class HostileImage : public ::testing::TestWithParam<HostileCase> {};

TEST_P(HostileImage, IsRefusedWithOneClearLine) {
  const std::string message = load_bad(GetParam().image());
  EXPECT_THAT(message,
              AllOf(StartsWith("image: "), HasSubstr(GetParam().message), Not(HasSubstr("\n"))));
}

INSTANTIATE_TEST_SUITE_P(All, HostileImage, ::testing::ValuesIn(kHostileCases),
                         [](const auto& parameter) { return std::string(parameter.param.name); });

TEST(LoadImage, RefusesModulesThatDoNotFit) {
  EXPECT_THAT(load_bad(multiboot1_elf32(), {{"big", ByteVector(0xf00000)}}),
              AllOf(HasSubstr("module big of 15728640 bytes"), HasSubstr("--memory")));
}

TEST(LoadImage, RefusesACommandLineThatDoesNotFit) {
  EXPECT_THAT(load_bad(multiboot1_elf32(), {}, std::string(0xa0000, 'a')),
              HasSubstr("shorten the command line"));
}

TEST(LoadImage, RefusesEveryTruncationOfWhatItLoads) {
  const ByteVector whole = multiboot1_elf32();
  for (size_t size = 0; size < 0x1020; ++size) {
    auto result = load_image({"image", truncated(whole, size)}, {}, "", kMemory);
    ASSERT_TRUE(std::holds_alternative<LoadError>(result)) << size;
  }
  EXPECT_EQ(load_ok(truncated(whole, 0x1020)).cpu.rip, 0x100010u);
}

TEST(LoadImage, NoMemoryIsAnErrorToo) {
  EXPECT_THAT(load_bad(multiboot1_elf32(), {}, "", {}), HasSubstr("lies outside RAM (none)"));
}

}  // namespace
}  // namespace nestor::emu
