// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/loaders/elf_symbols.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "emu/loaders/elf.h"

namespace nestor::emu {
namespace {

// Where a number is in a structure.
struct Place {
  uint64_t offset;
  unsigned width;
};

// What a class of ELF files has where: in the ELF header, in section headers and in symbols.
struct SymbolLayout {
  uint64_t machine;
  Place sections, section_size, section_count;
  Place type, flags, address, offset, size, link;
  uint64_t section_bytes;
  Place name, info, section, value, length;
  uint64_t symbol_bytes;
};

constexpr SymbolLayout kSymbols32 = {
    3,       {32, 4}, {46, 2}, {48, 2}, {4, 4},  {8, 4}, {12, 4}, {16, 4}, {20, 4},
    {24, 4}, 40,      {0, 4},  {12, 1}, {14, 2}, {4, 4}, {8, 4},  16,
};
constexpr SymbolLayout kSymbols64 = {
    62,      {40, 8}, {58, 2}, {60, 2}, {4, 4}, {8, 8}, {16, 8}, {24, 8}, {32, 8},
    {40, 4}, 64,      {0, 4},  {4, 1},  {6, 2}, {8, 8}, {16, 8}, 24,
};

constexpr uint64_t kSymbolTable = 2;           // SHT_SYMTAB
constexpr uint64_t kExecutableSection = 4;     // SHF_EXECINSTR
constexpr uint64_t kLabel = 0, kFunction = 2;  // STT_NOTYPE, STT_FUNC

// No function is larger than that; tables of names alone have none of what is between functions.
constexpr uint64_t kLargestUnsized = 64 << 10;

struct Section {
  uint64_t type = 0, flags = 0, address = 0, offset = 0, size = 0, link = 0;
};

// A symbol of code as the file has it. `limit`: the end of its section.
struct CodeSymbol {
  uint64_t first = 0, size = 0, limit = 0;
  bool function = false;
  std::string_view name;
};

class SymbolReader {
 public:
  explicit SymbolReader(Bytes file) : file_(file) {}

  std::variant<std::vector<ElfSymbol>, LoadError> read() {
    if (const auto bad = read_sections()) return LoadError{*bad};
    for (const Section& section : sections_) {
      if (section.type != kSymbolTable) continue;
      if (const auto bad = read_table(section)) return LoadError{*bad};
    }
    if (found_.empty()) {
      return LoadError{"it has no symbols of functions; give the file that was not stripped"};
    }
    return functions();
  }

 private:
  uint64_t get(uint64_t base, Place place) const {
    return read_number(file_, base + place.offset, place.width).value_or(0);
  }

  std::optional<std::string> read_sections() {
    if (!has_elf_magic(file_)) return "it is not an ELF file";
    layout_ = get(0, {4, 1}) == 1 ? kSymbols32 : kSymbols64;
    if (get(0, {18, 2}) != layout_.machine) return "it is not an ELF file for x86";
    const uint64_t table = get(0, layout_.sections), size = get(0, layout_.section_size),
                   count = get(0, layout_.section_count);
    if (table == 0 || count == 0)
      return "it has no section headers; give the file that was not stripped";
    if (size < layout_.section_bytes || !inside(table, size * count, file_.size()))
      return "its section headers lie outside the file; the file is truncated or damaged";
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t base = table + size * i;
      sections_.push_back({get(base, layout_.type), get(base, layout_.flags),
                           get(base, layout_.address), get(base, layout_.offset),
                           get(base, layout_.size), get(base, layout_.link)});
    }
    return std::nullopt;
  }

  std::optional<std::string> read_table(const Section& table) {
    if (table.link >= sections_.size()) return "its symbol table has no names; it is damaged";
    const Section& names = sections_[table.link];
    if (!inside(table.offset, table.size, file_.size()) ||
        !inside(names.offset, names.size, file_.size()))
      return "its symbol table lies outside the file; the file is truncated or damaged";
    for (uint64_t at = 0; table.size - at >= layout_.symbol_bytes; at += layout_.symbol_bytes)
      add(table.offset + at, file_.subspan(names.offset, names.size));
    return std::nullopt;
  }

  void add(uint64_t base, Bytes names) {
    const uint64_t type = get(base, layout_.info) & 15, section = get(base, layout_.section),
                   name = get(base, layout_.name), value = get(base, layout_.value);
    if ((type != kFunction && type != kLabel) || section >= sections_.size()) return;
    const Section& within = sections_[section];
    if ((within.flags & kExecutableSection) == 0 || name >= names.size()) return;
    if (value < within.address || value - within.address > within.size) return;
    const Bytes rest = names.subspan(name);
    const auto length = static_cast<size_t>(std::ranges::find(rest, uint8_t{0}) - rest.begin());
    if (length == 0) return;
    found_.push_back({value,
                      get(base, layout_.length),
                      within.address + within.size,
                      type == kFunction,
                      {reinterpret_cast<const char*>(rest.data()), length}});
  }

  std::vector<ElfSymbol> functions() {
    std::ranges::stable_sort(found_, [](const CodeSymbol& one, const CodeSymbol& other) {
      return std::pair(one.first, !one.function) < std::pair(other.first, !other.function);
    });
    std::vector<ElfSymbol> functions;
    uint64_t covered = 0;  // up to here by functions with a size
    for (size_t i = 0; i < found_.size(); ++i) {
      const CodeSymbol& symbol = found_[i];
      // A label in a function, or another name of it.
      if (!functions.empty() && symbol.first == functions.back().first) continue;
      if (!symbol.function && symbol.first < covered) continue;
      uint64_t end = symbol.first + std::min(symbol.size, symbol.limit - symbol.first);
      if (symbol.size == 0) {
        size_t next = i + 1;
        while (next < found_.size() && found_[next].first == symbol.first) ++next;
        end = next < found_.size() ? std::min(found_[next].first, symbol.limit) : symbol.limit;
        end = std::min(end, symbol.first + std::min(kLargestUnsized, ~symbol.first));
      } else {
        covered = std::max(covered, end);
      }
      functions.push_back({symbol.first, end, std::string(symbol.name)});
    }
    return functions;
  }

  Bytes file_;
  SymbolLayout layout_ = kSymbols64;
  std::vector<Section> sections_;
  std::vector<CodeSymbol> found_;
};

}  // namespace

std::variant<std::vector<ElfSymbol>, LoadError> read_elf_symbols(Bytes file) {
  return SymbolReader(file).read();
}

}  // namespace nestor::emu
