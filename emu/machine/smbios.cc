// SPDX-License-Identifier: GPL-2.0-or-later
//
// System Management BIOS (SMBIOS) Reference Specification 2.8.0 (DSP0134). Version 2 rather than 3:
// Windows does not look for the 64-bit entry point where a BIOS left it.
#include "emu/machine/smbios.h"

#include <algorithm>
#include <bit>
#include <initializer_list>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "emu/loaders/byte_view.h"
#include "emu/memory/ram.h"
#include "emu/time/clock.h"

// The sources of the folder are compiled as one: a namespace for names such as these.
namespace nestor::emu::smbios {
namespace {

using Out = std::vector<uint8_t>;

enum Type : uint8_t {
  kBios = 0,
  kSystem = 1,
  kBaseboard = 2,
  kChassis = 3,
  kProcessor = 4,
  kCache = 7,
  kMemoryArray = 16,
  kMemoryDevice = 17,
  kMappedAddress = 19,
  kBootInformation = 32,
  kEnd = 127,
};
// Of the first structure of a type. The next ones follow.
constexpr uint16_t handle_of(Type type) { return static_cast<uint16_t>(type << 8); }
constexpr uint16_t kNoHandle = 0xffff, kNoErrorInformation = 0xfffe;

constexpr std::string_view kMaker = "Nestor", kProduct = "Nestor PC", kVersion = "1.0";

// A field of the formatted area, in its order: a number, or the number of a string.
struct Field {
  unsigned width = 1;
  uint64_t value = 0;
  std::string_view text{};
};
constexpr Field byte(uint64_t value) { return {1, value}; }
constexpr Field word(uint64_t value) { return {2, value}; }
constexpr Field doubleword(uint64_t value) { return {4, value}; }
constexpr Field quadword(uint64_t value) { return {8, value}; }
constexpr Field string(std::string_view text) { return {1, 0, text}; }
constexpr Field kNoString = byte(0);

class Structures {
 public:
  // "Structure standards": a header, the formatted area, the strings.
  void add(Type type, std::initializer_list<Field> fields, unsigned number = 0) {
    const size_t first = out_.size();
    append_number(out_, type, 1);
    append_number(out_, 0, 1);  // the length of the formatted area
    append_number(out_, handle_of(type) + number, 2);
    std::string strings;
    uint8_t count = 0;
    for (const auto& [width, value, text] : fields) {
      append_number(out_, text.empty() ? value : ++count, width);
      if (!text.empty()) strings.append(text).push_back('\0');
    }
    out_[first + 1] = static_cast<uint8_t>(out_.size() - first);
    if (count == 0) strings.push_back('\0');
    strings.push_back('\0');
    out_.insert(out_.end(), strings.begin(), strings.end());
    largest_ = std::max(largest_, out_.size() - first);
    ++count_;
  }

  SmbiosFiles finish() &&;

 private:
  Out out_;
  size_t largest_ = 0, count_ = 0;
};

// "SMBIOS 2.1 (32-bit) Entry Point": offsets in it.
enum Anchor : uint32_t {
  kChecksum = 4,
  kIntermediate = 16,
  kIntermediateChecksum = 21,
  kAddress = 24
};
constexpr uint32_t kAnchorBytes = 31;

SmbiosFiles Structures::finish() && {
  Out anchor;
  const auto text = [&anchor](std::string_view bytes) {
    anchor.insert(anchor.end(), bytes.begin(), bytes.end());
  };
  text("_SM_");
  append_number(anchor, 0, 1);
  append_number(anchor, kAnchorBytes, 1);
  append_number(anchor, 2, 1);  // version 2.8
  append_number(anchor, 8, 1);
  append_number(anchor, largest_, 2);
  append_number(anchor, 0, 6);  // the revision of the entry point, and what is reserved for it
  text("_DMI_");
  append_number(anchor, 0, 1);
  append_number(anchor, out_.size(), 2);
  append_number(anchor, 0, 4);
  append_number(anchor, count_, 2);
  append_number(anchor, 0x28, 1);
  return {std::move(anchor), std::move(out_)};
}

// --- the machine

void add_bios(Structures& out) {
  constexpr uint64_t kNoCharacteristics = 1u << 3;
  constexpr uint64_t kAcpi = 1u << 0, kVirtualMachine = 1u << 4;  // of the extension bytes
  constexpr uint64_t kSegment = 0xe000, kSize128KiB = 1, kNoController = 0xff;
  out.add(kBios, {
                     string(kMaker), string(kVersion), word(kSegment),
                     string("11/30/2026"),  // of the first release
                     byte(kSize128KiB), quadword(kNoCharacteristics), byte(kAcpi),
                     byte(kVirtualMachine), byte(1), byte(0),  // the BIOS's release
                     byte(kNoController), byte(kNoController)  // the controller's
                 });
}

void add_machine(Structures& out) {
  // 4e455354-4f52-8050-8043-000000000001, a UUID of version 8. Its first three fields are
  // little-endian.
  constexpr Field kUuid[] = {doubleword(0x4e455354), word(0x4f52), word(0x8050),
                             quadword(0x01000000'00004380)};
  constexpr uint64_t kPowerSwitch = 6;
  out.add(kSystem, {string(kMaker), string(kProduct), string(kVersion), kNoString, kUuid[0],
                    kUuid[1], kUuid[2], kUuid[3], byte(kPowerSwitch), kNoString, kNoString});
  constexpr uint64_t kHosting = 1, kMotherboard = 0xa;
  out.add(kBaseboard,
          {string(kMaker), string(kProduct), string(kVersion), kNoString, kNoString, byte(kHosting),
           kNoString, word(handle_of(kChassis)), byte(kMotherboard), byte(0)});
  constexpr uint64_t kOther = 1, kSafe = 3, kNone = 3;
  out.add(kChassis, {string(kMaker), byte(kOther), string(kVersion), kNoString, kNoString,
                     byte(kSafe), byte(kSafe), byte(kSafe), byte(kNone), doubleword(0), byte(0),
                     byte(0), byte(0), byte(0), kNoString});
}

// --- the processor

// "Processor Information", "System Cache Information": the numbers that CPUID is made into.
constexpr uint64_t kUnknown = 2;

uint64_t associativity(uint32_t ways) {
  constexpr struct {
    uint32_t ways;
    uint8_t code;
  } kCodes[] = {{1, 3},   {2, 4},     {4, 5},     {8, 7},     {12, 9},   {16, 8},
                {20, 14}, {24, 0x0a}, {32, 0x0b}, {48, 0x0c}, {64, 0x0d}};
  constexpr uint64_t kOther = 1;
  const auto* const found =
      std::ranges::find(kCodes, ways, [](const auto& row) { return row.ways; });
  return found == std::end(kCodes) ? kOther : found->code;
}

// KiB, or from 32 MiB on units of 64 KiB.
uint64_t cache_size(uint64_t kibibytes) {
  constexpr uint64_t kUnits = 1u << 15;
  return kibibytes < kUnits ? kibibytes : kUnits | kibibytes / 64;
}

// The handles of the caches of data, by level from 1 on.
struct CacheHandles {
  uint16_t level[3] = {kNoHandle, kNoHandle, kNoHandle};
};

// Those of CPUID leaf 4; each is there once in each core.
CacheHandles add_caches(Structures& out, const CpuidState& processor) {
  constexpr uint64_t kWriteBackEnabled = 1u << 8 | 1u << 7, kSramUnknown = 1u << 1;
  constexpr uint32_t kInstruction = 2;
  constexpr uint8_t kTypes[] = {0, 4, 3, 5};  // by the type in leaf 4: data, instruction, unified
  CacheHandles handles;
  for (uint32_t i = 0;; ++i) {
    const CpuidRegisters leaf = cpuid(processor, 4, i);
    const uint32_t type = leaf.eax & 0x1f, level = leaf.eax >> 5 & 7;
    if (type == 0 || type >= std::size(kTypes) || level == 0 || level > 3) return handles;
    const uint32_t ways = (leaf.ebx >> 22) + 1, line = (leaf.ebx & 0xfff) + 1, sets = leaf.ecx + 1;
    const uint64_t size = cache_size(uint64_t{ways} * line * sets * processor.processors / 1024);
    const std::string name = "L" + std::to_string(level) +
                             (type == 1   ? " data cache"
                              : type == 2 ? " instruction cache"
                                          : " cache");
    out.add(kCache,
            {string(name), word(kWriteBackEnabled | (level - 1)), word(size), word(size),
             word(kSramUnknown), word(kSramUnknown), byte(0), byte(kUnknown), byte(kTypes[type]),
             byte(associativity(ways))},
            i);
    if (type != kInstruction)
      handles.level[level - 1] = static_cast<uint16_t>(handle_of(kCache) + i);
  }
}

std::string brand_of(const CpuidState& processor) {
  std::string text;
  for (uint32_t leaf = 0x80000002; leaf <= 0x80000004; ++leaf) {
    const CpuidRegisters part = cpuid(processor, leaf, 0);
    for (const uint32_t word : {part.eax, part.ebx, part.ecx, part.edx})
      for (unsigned i = 0; i < 4; ++i) text += static_cast<char>(word >> (8 * i));
  }
  text.resize(std::min(text.find('\0'), text.size()));
  return text;
}

// One package, with a core for each processor, as CPUID has it.
void add_processor(Structures& out, const std::optional<CpuidState>& processor) {
  constexpr uint64_t kCentral = 3, kEnabled = 0x41, kOther = 1;
  enum Characteristic : uint16_t {
    kUnknownOnes = 1u << 1,
    k64Bits = 1u << 2,
    kMultiCore = 1u << 3,
    kExecuteProtection = 1u << 5,
    kVirtualization = 1u << 6,
  };
  if (!processor) {
    out.add(kProcessor, {string("CPU 0"), byte(kCentral),
                         byte(kUnknown),  kNoString,
                         quadword(0),     kNoString,
                         byte(0),         word(0),
                         word(0),         word(0),
                         byte(kEnabled),  byte(kUnknown),
                         word(kNoHandle), word(kNoHandle),
                         word(kNoHandle), kNoString,
                         kNoString,       kNoString,
                         byte(0),         byte(0),
                         byte(0),         word(kUnknownOnes),
                         word(kUnknown)});
    return;
  }
  constexpr uint64_t kXeon = 0xb3, kMegahertz = Clock::kFrequency / 1'000'000;
  const auto& [caches] = add_caches(out, *processor);
  const CpuidRegisters features = cpuid(*processor, 1, 0);
  const std::string brand = brand_of(*processor);
  const uint64_t id = features.eax | uint64_t{features.edx} << 32;
  const unsigned cores = processor->processors;
  unsigned characteristics = k64Bits;
  if (cores > 1) characteristics |= kMultiCore;
  if (processor->type.has(vmx::Feature::kExecuteDisable)) characteristics |= kExecuteProtection;
  if (processor->type.has(vmx::Feature::kVmx)) characteristics |= kVirtualization;
  out.add(kProcessor, {string("CPU 0"),  byte(kCentral),
                       byte(kXeon),      string("Intel(R) Corporation"),
                       quadword(id),     string(brand),
                       byte(0),          word(kMegahertz / processor->type.model().ratio),
                       word(kMegahertz), word(kMegahertz),
                       byte(kEnabled),   byte(kOther),
                       word(caches[0]),  word(caches[1]),
                       word(caches[2]),  kNoString,
                       kNoString,        kNoString,
                       byte(cores),      byte(cores),
                       byte(cores),      word(characteristics),
                       word(kXeon)});
}

// --- memory

void add_memory(Structures& out, uint64_t bytes) {
  constexpr uint64_t kSystemBoard = 3, kSystemMemory = 3, kNoCorrection = 3;
  const uint64_t kibibytes = bytes >> 10;
  out.add(kMemoryArray, {byte(kSystemBoard), byte(kSystemMemory), byte(kNoCorrection),
                         doubleword(kibibytes), word(kNoErrorInformation), word(1), quadword(0)});
  // MiB, or KiB with bit 15; 7FFFH: the extended size has it.
  constexpr uint64_t kInKib = 1u << 15, kExtended = 0x7fff;
  const uint64_t mebibytes = (kibibytes + 1023) >> 10;
  const bool small = kibibytes % 1024 != 0 && kibibytes < kExtended;
  const uint64_t size = small ? kInKib | kibibytes : std::min(mebibytes, kExtended);
  constexpr uint64_t kUnknownWidth = 0xffff, kDimm = 9, kRam = 7, kOtherDetail = 1u << 1;
  out.add(kMemoryDevice, {word(handle_of(kMemoryArray)),
                          word(kNoErrorInformation),
                          word(kUnknownWidth),
                          word(kUnknownWidth),
                          word(size),
                          byte(kDimm),
                          byte(0),
                          string("DIMM 0"),
                          kNoString,
                          byte(kRam),
                          word(kOtherDetail),
                          word(0),
                          string(kMaker),
                          kNoString,
                          kNoString,
                          kNoString,
                          byte(0),
                          doubleword(size == kExtended ? mebibytes : 0),
                          word(0),
                          word(0),
                          word(0),
                          word(0)});
  // In KiB, the last one included.
  unsigned number = 0;
  const auto map = [&](uint64_t first, uint64_t end) {
    out.add(kMappedAddress,
            {doubleword(first >> 10), doubleword((end >> 10) - 1), word(handle_of(kMemoryArray)),
             byte(1), quadword(0), quadword(0)},
            number++);
  };
  const uint64_t low = std::min(bytes, Ram::kDeviceHole);
  map(0, low);
  if (bytes > low) map(Ram::kDeviceHoleEnd, Ram::kDeviceHoleEnd + bytes - low);
}

void store_checksum(std::span<uint8_t> range, uint32_t offset) {
  range[offset] = static_cast<uint8_t>(-std::accumulate(range.begin(), range.end(), 0));
}

SmbiosFiles make_files(const SmbiosBoard& board) {
  Structures out;
  if (board.names_bios) add_bios(out);
  add_machine(out);
  add_processor(out, board.processor);
  add_memory(out, board.memory_bytes);
  out.add(kBootInformation, {{6, 0}, byte(0)});  // no errors
  out.add(kEnd, {});
  return std::move(out).finish();
}

Out place(SmbiosFiles files, uint32_t address) {
  Out out = std::move(files.anchor);
  out.resize((out.size() + kSmbiosAlignment - 1) / kSmbiosAlignment * kSmbiosAlignment);
  store_number(out, kAddress, address + out.size(), 4);
  // The second checksum is part of the whole anchor, the first of its beginning.
  const auto anchor = std::span(out).first(kAnchorBytes);
  store_checksum(anchor.subspan(kIntermediate), kIntermediateChecksum - kIntermediate);
  store_checksum(anchor, kChecksum);
  out.insert(out.end(), files.structures.begin(), files.structures.end());
  return out;
}

}  // namespace
}  // namespace nestor::emu::smbios

namespace nestor::emu {

SmbiosFiles smbios_files(const SmbiosBoard& board) { return smbios::make_files(board); }

std::vector<uint8_t> smbios_tables(const SmbiosBoard& board, uint32_t address) {
  return smbios::place(smbios_files(board), address);
}

}  // namespace nestor::emu
