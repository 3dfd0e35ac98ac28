// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/loaders/elf_symbols.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

namespace nestor::emu {
namespace {

using testing::HasSubstr;

struct SymbolSpec {
  std::string name;
  uint64_t value = 0, size = 0;
  uint8_t type = 2;      // STT_FUNC
  uint16_t section = 1;  // the code
};

// ELF64: a section of code at 1000H, 4 KBytes, one of data, the symbols and their names.
std::vector<uint8_t> elf_with(const std::vector<SymbolSpec>& symbols) {
  std::vector<uint8_t> out(64);
  std::memcpy(out.data(),
              "\x7f"
              "ELF\x02\x01\x01",
              7);
  const auto set = [&out](size_t at, uint64_t value, unsigned width) {
    store_number(out, at, value, width);
  };
  set(16, 2, 2);
  set(18, 62, 2);
  std::vector<uint8_t> names = {0};
  const uint64_t table = out.size();
  for (const SymbolSpec& symbol : symbols) {
    append_number(out, names.size(), 4);
    append_number(out, symbol.type, 1);
    append_number(out, 0, 1);
    append_number(out, symbol.section, 2);
    append_number(out, symbol.value, 8);
    append_number(out, symbol.size, 8);
    names.insert(names.end(), symbol.name.begin(), symbol.name.end());
    names.push_back(0);
  }
  const uint64_t strings = out.size();
  out.insert(out.end(), names.begin(), names.end());
  struct SectionSpec {
    uint64_t type, flags, address, offset, size, link;
  };
  const SectionSpec sections[] = {{0, 0, 0, 0, 0, 0},
                                  {1, 6, 0x1000, 0, 0x1000, 0},
                                  {1, 3, 0x4000, 0, 0x1000, 0},
                                  {2, 0, 0, table, strings - table, 4},
                                  {3, 0, 0, strings, names.size(), 0}};
  set(40, out.size(), 8);
  set(58, 64, 2);
  set(60, std::size(sections), 2);
  for (const SectionSpec& section : sections) {
    append_number(out, 0, 4);
    append_number(out, section.type, 4);
    append_number(out, section.flags, 8);
    append_number(out, section.address, 8);
    append_number(out, section.offset, 8);
    append_number(out, section.size, 8);
    append_number(out, section.link, 4);
    append_number(out, 0, 4 + 8 + 8);
  }
  return out;
}

std::string complaint_about(const std::vector<uint8_t>& file) {
  const auto read = read_elf_symbols(file);
  const auto* bad = std::get_if<LoadError>(&read);
  return bad != nullptr ? bad->message : "";
}

TEST(ElfSymbols, AreFunctionsWithTheirEnds) {
  const auto read = read_elf_symbols(elf_with({{"last", 0x1800, 0},
                                               {"first", 0x1000, 0x20},
                                               {"label_in_it", 0x1010, 0, 0},
                                               {"alias", 0x1000, 0x20},
                                               {"unsized", 0x1100, 0},
                                               {"label", 0x1200, 0, 0},
                                               {"variable", 0x4000, 8, 1, 2},
                                               {"elsewhere", 0x1300, 8, 2, 9}}));
  const auto* symbols = std::get_if<std::vector<ElfSymbol>>(&read);
  ASSERT_NE(symbols, nullptr);
  std::vector<std::tuple<std::string, uint64_t, uint64_t>> found;
  for (const ElfSymbol& symbol : *symbols)
    found.emplace_back(symbol.name, symbol.first, symbol.end);
  EXPECT_THAT(found, testing::ElementsAre(
                         std::tuple("first", 0x1000, 0x1020), std::tuple("unsized", 0x1100, 0x1200),
                         std::tuple("label", 0x1200, 0x1800), std::tuple("last", 0x1800, 0x2000)));
}

TEST(ElfSymbols, FilesThatHaveNoneAreRefused) {
  EXPECT_THAT(complaint_about({1, 2, 3}), HasSubstr("not an ELF file"));
  EXPECT_THAT(complaint_about(elf_with({{"variable", 0x4000, 8, 1, 2}})),
              HasSubstr("no symbols of functions"));
  auto other = elf_with({{"f", 0x1000, 8}});
  other[18] = 183;
  EXPECT_THAT(complaint_about(other), HasSubstr("for x86"));
  auto stripped = elf_with({{"f", 0x1000, 8}});
  store_number(stripped, 60, 0, 2);
  EXPECT_THAT(complaint_about(stripped), HasSubstr("not stripped"));
}

TEST(ElfSymbols, AnyDamageIsSurvived) {
  const auto whole = elf_with({{"f", 0x1000, 8}, {"g", 0x1100, 0}});
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_NE(complaint_about({whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size)}), "");
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const int value : {0, 1, 0x7f, 0xff}) {
      auto damaged = whole;
      damaged[at] = static_cast<uint8_t>(value);
      (void)read_elf_symbols(damaged);
    }
  }
}

}  // namespace
}  // namespace nestor::emu
