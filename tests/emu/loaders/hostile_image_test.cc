// SPDX-License-Identifier: GPL-2.0-or-later
//
// Images that must be refused, each with one line that says why.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <ostream>
#include <string>

#include "tests/emu/loaders/load_fixture.h"

namespace nestor::emu {
namespace {

using namespace testing;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

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
     "requires tag 77, which is unknown"},
    {"Multiboot2Console",
     [] {
       return multiboot2_elf64({{4, {1}}, {}});
     },
     "requires a console"},
    {"Multiboot2Information",
     [] {
       return multiboot2_elf64({{1, {1, 22}}, {}});
     },
     "information of type 22"},
    {"Multiboot2Smbios",
     [] {
       return multiboot2_elf64({{1, {13}}, {}});
     },
     "information of type 13"},
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
