// SPDX-License-Identifier: GPL-2.0-or-later
//
// The structures of SMBIOS are read back as DSP0134, "Structure standards" and "Structure
// definitions", has them. Numbers are those of the tables there.
#include "emu/machine/smbios.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <string>

#include "emu/loaders/byte_view.h"
#include "emu/machine/firmware.h"

namespace nestor::emu {
namespace {

using testing::ElementsAre;
using Content = std::vector<uint8_t>;

struct Structure {
  uint8_t type = 0;
  uint16_t handle = 0;
  Content formatted;  // with the header
  std::vector<std::string> strings;

  uint64_t number(size_t offset, unsigned width) const {
    const auto value = read_number(formatted, offset, width);
    EXPECT_TRUE(value.has_value()) << "type " << +type << " at " << offset;
    return value.value_or(0);
  }
  // The string whose number is at the offset; none is empty.
  std::string text(size_t offset) const {
    const uint64_t index = number(offset, 1);
    EXPECT_LE(index, strings.size());
    return index == 0 || index > strings.size() ? "" : strings[index - 1];
  }
};

// Reads structures up to the end of `bytes`.
std::vector<Structure> parse(const Content& bytes) {
  std::vector<Structure> found;
  for (size_t at = 0; at < bytes.size();) {
    Structure next;
    next.type = bytes[at];
    const size_t length = bytes.at(at + 1);
    EXPECT_GE(length, 4u);
    EXPECT_LE(at + length, bytes.size());
    next.handle = static_cast<uint16_t>(bytes.at(at + 2) | bytes.at(at + 3) << 8);
    next.formatted.assign(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                          bytes.begin() + static_cast<std::ptrdiff_t>(at + length));
    at += length;
    if (bytes.at(at) == 0) ++at;  // no strings: two zeros
    while (bytes.at(at) != 0) {
      std::string text;
      while (bytes.at(at) != 0) text += static_cast<char>(bytes.at(at++));
      next.strings.push_back(text);
      ++at;
    }
    ++at;
    found.push_back(next);
  }
  return found;
}

uint8_t sum(const Content& bytes, size_t first, size_t size) {
  const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(first);
  return static_cast<uint8_t>(
      std::accumulate(begin, begin + static_cast<std::ptrdiff_t>(size), 0u));
}

CpuidState processor(unsigned count) { return {.apic_base = 0xfee00800, .processors = count}; }

class SmbiosTest : public testing::Test {
 protected:
  // Those of a type.
  static std::vector<Structure> of(const SmbiosBoard& board, uint8_t type) {
    std::vector<Structure> found = parse(smbios_files(board).structures);
    std::erase_if(found, [type](const Structure& each) { return each.type != type; });
    return found;
  }
  static Structure only(const SmbiosBoard& board, uint8_t type) {
    const auto found = of(board, type);
    EXPECT_EQ(found.size(), 1u) << +type;
    return found.empty() ? Structure{} : found[0];
  }
  const SmbiosBoard board_{.memory_bytes = 1ull << 30, .processor = processor(2)};
};

TEST_F(SmbiosTest, HasWhatTheStandardRequires) {
  std::set<uint8_t> types;
  std::set<uint16_t> handles;
  const auto structures = parse(smbios_files(board_).structures);
  // "Required structures and data", and the lengths of version 2.8.
  const std::map<uint8_t, size_t> lengths = {{0, 0x18},  {1, 0x1b},  {2, 0x0f},  {3, 0x16},
                                             {4, 0x2a},  {7, 0x13},  {16, 0x17}, {17, 0x28},
                                             {19, 0x1f}, {32, 0x0b}, {127, 4}};
  for (const Structure& each : structures) {
    types.insert(each.type);
    EXPECT_TRUE(handles.insert(each.handle).second) << each.handle;
    EXPECT_LT(each.handle, 0xff00) << "handles from there on are reserved";
    ASSERT_TRUE(lengths.contains(each.type)) << +each.type;
    EXPECT_EQ(each.formatted.size(), lengths.at(each.type)) << +each.type;
  }
  EXPECT_EQ(types.size(), lengths.size());
  EXPECT_EQ(structures.back().type, 127);
}

TEST_F(SmbiosTest, TheAnchorLeadsToTheStructures) {
  const Content tables = smbios_tables(board_, 0xf4560);
  const Content structures(tables.begin() + 32, tables.end());
  const auto number = [&](size_t offset, unsigned width) {
    return read_number(tables, offset, width).value();
  };
  EXPECT_EQ(std::string(tables.begin(), tables.begin() + 4), "_SM_");
  EXPECT_EQ(number(5, 1), 31u) << "its length";
  EXPECT_EQ(number(6, 2), 0x0802u) << "2.8";
  EXPECT_EQ(sum(tables, 0, 31), 0);
  EXPECT_EQ(std::string(tables.begin() + 16, tables.begin() + 21), "_DMI_");
  EXPECT_EQ(sum(tables, 16, 15), 0);
  EXPECT_EQ(sum(tables, 0, 16), 0) << "SeaBIOS checks the two parts";
  EXPECT_EQ(number(22, 2), structures.size());
  EXPECT_EQ(number(24, 4), 0xf4580u);
  EXPECT_EQ(number(28, 2), parse(structures).size());
  EXPECT_EQ(number(30, 1), 0x28u);
  const SmbiosFiles files = smbios_files(board_);
  EXPECT_EQ(files.structures, structures);
  EXPECT_EQ(files.anchor.size(), 31u) << "SeaBIOS and OVMF know the version by it";
  // The largest structure, with its strings.
  size_t largest = 0;
  for (const Structure& each : parse(structures)) {
    size_t size = each.formatted.size() + 1 + (each.strings.empty() ? 1 : 0);
    for (const std::string& text : each.strings) size += text.size() + 1;
    largest = std::max(largest, size);
  }
  EXPECT_EQ(number(8, 2), largest);
}

TEST_F(SmbiosTest, NestorIsTheBiosWhereThereIsNoOther) {
  const Structure bios = only(board_, 0);
  EXPECT_EQ(bios.text(4), "Nestor");
  EXPECT_EQ(bios.text(5), "1.0");
  EXPECT_EQ(bios.text(8), "11/30/2026");
  EXPECT_EQ(bios.number(0x13, 1), 0x10u) << "a virtual machine";
  SmbiosBoard with_firmware = board_;
  with_firmware.names_bios = false;
  EXPECT_TRUE(of(with_firmware, 0).empty());
}

TEST_F(SmbiosTest, TheSystemHasANameAndAUuid) {
  const Structure system = only(board_, 1);
  EXPECT_EQ(system.text(4), "Nestor");
  EXPECT_EQ(system.text(5), "Nestor PC");
  EXPECT_EQ(Content(system.formatted.begin() + 8, system.formatted.begin() + 24),
            (Content{'T', 'S', 'E', 'N', 'R', 'O', 0x50, 0x80, 0x80, 'C', 0, 0, 0, 0, 0, 1}));
  EXPECT_EQ(only(board_, 2).number(0x0b, 2), only(board_, 3).handle) << "the board's chassis";
}

TEST_F(SmbiosTest, TheProcessorIsWhatCpuidSays) {
  for (const vmx::ProcessorModel& model : vmx::kProcessorModels) {
    CpuidState state = processor(3);
    state.type = vmx::processor_of(model.generation);
    const Structure found = only({.memory_bytes = 1 << 20, .processor = state}, 4);
    EXPECT_EQ(found.text(0x10), model.brand);
    EXPECT_EQ(found.number(0x06, 1), 0xb3u) << "Xeon";
    EXPECT_EQ(found.number(0x08, 4), model.signature);
    EXPECT_EQ(found.number(0x0c, 4), cpuid(state, 1, 0).edx);
    EXPECT_EQ(found.number(0x12, 2), model.ratio == 15 ? 133u : 100u) << model.name;
    EXPECT_EQ(found.number(0x14, 2), 2000u);
    EXPECT_EQ(found.number(0x16, 2), 2000u);
    EXPECT_EQ(found.number(0x18, 1), 0x41u) << "there, and enabled";
    EXPECT_EQ(found.number(0x23, 1), 3u) << "cores";
    EXPECT_EQ(found.number(0x24, 1), 3u) << "enabled";
    EXPECT_EQ(found.number(0x25, 1), 3u) << "threads";
    EXPECT_EQ(found.number(0x26, 2), 0x6cu) << "64 bits, several cores, XD, VMX";
  }
}

TEST_F(SmbiosTest, AProcessorOfTheHostIsNotDescribed) {
  const Structure found = only({.memory_bytes = 1 << 20}, 4);
  EXPECT_EQ(found.formatted.size(), 0x2au);
  EXPECT_EQ(found.number(0x06, 1), 2u) << "unknown";
  EXPECT_EQ(found.number(0x08, 8), 0u);
  EXPECT_EQ(found.text(0x10), "");
  for (const size_t cache : {0x1au, 0x1cu, 0x1eu}) EXPECT_EQ(found.number(cache, 2), 0xffffu);
  EXPECT_TRUE(of({.memory_bytes = 1 << 20}, 7).empty());
}

TEST_F(SmbiosTest, TheCachesAreThoseOfLeaf4) {
  const auto caches = of(board_, 7);
  ASSERT_EQ(caches.size(), 3u);
  const Structure found = only(board_, 4);
  EXPECT_EQ(found.number(0x1a, 2), caches[0].handle);
  EXPECT_EQ(found.number(0x1c, 2), caches[2].handle);
  EXPECT_EQ(found.number(0x1e, 2), 0xffffu) << "no third level";
  EXPECT_EQ(caches[0].text(4), "L1 data cache");
  EXPECT_EQ(caches[1].text(4), "L1 instruction cache");
  EXPECT_EQ(caches[2].text(4), "L2 cache");
  EXPECT_EQ(caches[0].number(5, 2), 0x180u) << "level 1, internal, enabled, write back";
  EXPECT_EQ(caches[2].number(5, 2), 0x181u);
  EXPECT_EQ(caches[0].number(9, 2), 64u) << "KiB, of two cores";
  EXPECT_EQ(caches[2].number(9, 2), 2048u);
  EXPECT_EQ(caches[0].number(0x11, 1), 4u) << "data";
  EXPECT_EQ(caches[1].number(0x11, 1), 3u) << "instruction";
  EXPECT_EQ(caches[2].number(0x11, 1), 5u) << "unified";
  EXPECT_EQ(caches[0].number(0x12, 1), 7u) << "8 ways";
  EXPECT_EQ(caches[2].number(0x12, 1), 8u) << "16 ways";
}

TEST_F(SmbiosTest, ALargeCacheIsCountedInUnitsOf64KiB) {
  CpuidState state = processor(8);
  state.counts_caches = true;
  const SmbiosBoard board{.memory_bytes = 1 << 20, .processor = state};
  const auto caches = of(board, 7);
  ASSERT_EQ(caches.size(), 4u);
  const CpuidRegisters leaf = cpuid(state, 4, 3);
  const uint64_t bytes = ((leaf.ebx >> 22) + 1) * 64ull * (leaf.ecx + 1ull) * 8;
  EXPECT_EQ(caches[3].number(9, 2), 0x8000 | bytes >> 16);
  EXPECT_EQ(only(board, 4).number(0x1e, 2), caches[3].handle);
}

TEST_F(SmbiosTest, MemoryIsAroundTheHole) {
  const auto ranges = [](uint64_t bytes) {
    std::vector<std::pair<uint64_t, uint64_t>> found;
    for (const Structure& each : of({.memory_bytes = bytes}, 19)) {
      found.emplace_back(each.number(4, 4), each.number(8, 4));
      EXPECT_EQ(each.number(0x0c, 2), only({.memory_bytes = bytes}, 16).handle);
    }
    return found;
  };
  using Range = std::pair<uint64_t, uint64_t>;
  constexpr uint64_t kGiB = 1u << 20;  // in KiB
  EXPECT_THAT(ranges(1 << 20), ElementsAre(Range{0, 1023}));
  EXPECT_THAT(ranges(3ull << 30), ElementsAre(Range{0, 3 * kGiB - 1}));
  EXPECT_THAT(ranges(Ram::kMaximumSize),
              ElementsAre(Range{0, 3 * kGiB - 1}, Range{4 * kGiB, 65 * kGiB - 1}));
}

TEST_F(SmbiosTest, TheSizeOfMemoryIsExact) {
  struct Case {
    uint64_t bytes, size, extended;
  };
  constexpr uint64_t kMiB = 1 << 20, kGiB = 1 << 30;
  for (const auto& [bytes, size, extended] :
       {Case{kMiB, 1, 0}, Case{kMiB + 4096, 0x8000 | 1028, 0}, Case{4 * kGiB, 4096, 0},
        Case{32 * kGiB - 2 * kMiB, 0x7ffe, 0}, Case{32 * kGiB - kMiB, 0x7fff, 0x7fff},
        Case{32 * kGiB, 0x7fff, 0x8000}, Case{64 * kGiB, 0x7fff, 0x10000},
        Case{kGiB + 4096, 1025, 0}}) {
    const SmbiosBoard board{.memory_bytes = bytes};
    const Structure device = only(board, 17), array = only(board, 16);
    EXPECT_EQ(device.number(0x0c, 2), size) << bytes;
    EXPECT_EQ(device.number(0x1c, 4), extended) << bytes;
    EXPECT_EQ(device.number(4, 2), array.handle);
    EXPECT_EQ(array.number(7, 4), bytes >> 10) << "in KiB";
    EXPECT_EQ(array.number(0x0d, 2), 1u) << "one device";
  }
}

TEST_F(SmbiosTest, IsInTheRomAndInFilesOfFirmware) {
  const BoardFacts facts{.memory_bytes = 16 << 20, .processors = 8, .processor = processor(8)};
  const Content rom = firmware_rom(facts);
  EXPECT_LE(rom.size(), 0x20000u);
  size_t found = 0;
  for (size_t at = 0xf0000 - kRomBase; at + 16 <= rom.size(); at += 16) {
    if (std::string(rom.begin() + static_cast<std::ptrdiff_t>(at),
                    rom.begin() + static_cast<std::ptrdiff_t>(at + 4)) == "_SM_")
      found = at;
  }
  ASSERT_NE(found, 0u);
  EXPECT_EQ(sum(rom, found, 31), 0);
  const uint64_t first = read_number(rom, found + 24, 4).value() - kRomBase;
  const uint64_t size = read_number(rom, found + 22, 2).value();
  ASSERT_EQ(first + size, rom.size());
  const Content there(rom.begin() + static_cast<std::ptrdiff_t>(first), rom.end());
  const auto files = firmware_files(facts);
  const auto file = std::ranges::find(files, "etc/smbios/smbios-tables", &FwCfg::File::name);
  ASSERT_NE(file, files.end());
  EXPECT_EQ(file->content, there);
  EXPECT_EQ(parse(there).front().text(4), "Nestor");
}

}  // namespace
}  // namespace nestor::emu
