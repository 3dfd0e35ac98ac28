// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/encoding.h"

#include <cstddef>

namespace nestor::emu::timing {
namespace {

// Bytes one after the other; zeros after the end.
class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  uint8_t peek() const { return at_ < bytes_.size() ? bytes_[at_] : uint8_t{0}; }
  uint8_t next() {
    const uint8_t byte = peek();
    ++at_;
    return byte;
  }
  size_t at() const { return at_; }
  uint8_t ahead(size_t n) const { return at_ + n < bytes_.size() ? bytes_[at_ + n] : uint8_t{0}; }
  int32_t signed_byte() const { return static_cast<int8_t>(peek()); }
  int32_t signed_word() const { return static_cast<int16_t>(peek() | ahead(1) << 8); }
  int32_t signed_doubleword() const {
    uint32_t value = 0;
    for (size_t i = 0; i < 4; ++i) value |= static_cast<uint32_t>(ahead(i)) << 8 * i;
    return static_cast<int32_t>(value);
  }
  void skip(size_t bytes) { at_ += bytes; }
  uint8_t last() const { return bytes_.empty() ? uint8_t{0} : bytes_.back(); }

 private:
  std::span<const uint8_t> bytes_;
  size_t at_ = 0;
};

struct Extension {  // bit 3 of register numbers
  uint8_t r = 0, x = 0, b = 0;
};

void read_prefixes(Reader& reader, Encoding& encoding, CodeMode mode, Extension& extension,
                   bool& address_size) {
  EncodingKey& key = encoding.key;
  for (size_t n = 0; n < Instruction::kMaxLength; ++n) {
    const uint8_t byte = reader.peek();
    if (byte == 0xf0)
      key.lock = true;
    else if (byte == 0xf2)
      key.repeat = EncodingKey::kRepne;
    else if (byte == 0xf3)
      key.repeat = EncodingKey::kRep;
    else if (byte == 0x66)
      key.operand_size = true;
    else if (byte == 0x67)
      address_size = true;
    else if ((byte & 0xe7) == 0x26)
      encoding.segment = byte >> 3 & 3;
    else if (byte == 0x64 || byte == 0x65)
      encoding.segment = byte & 7;
    else
      break;
    reader.next();
  }
  if (mode != CodeMode::k64 || (reader.peek() & 0xf0) != 0x40) return;
  const uint8_t rex = reader.next();
  encoding.rex = true;
  key.wide = (rex & 8) != 0;
  extension = {static_cast<uint8_t>((rex & 4) << 1), static_cast<uint8_t>((rex & 2) << 2),
               static_cast<uint8_t>((rex & 1) << 3)};
}

// VEX, whose second byte cannot be a ModRM with a register in 32-bit mode.
bool starts_vex(const Reader& reader, CodeMode mode) {
  if (reader.peek() != 0xc4 && reader.peek() != 0xc5) return false;
  return mode == CodeMode::k64 || (reader.ahead(1) & 0xc0) == 0xc0;
}

// False: of a map without prices.
bool read_vex(Reader& reader, Encoding& encoding, Extension& extension) {
  EncodingKey& key = encoding.key;
  const bool three_bytes = reader.next() == 0xc4;
  const uint8_t first = static_cast<uint8_t>(~reader.next());
  extension.r = static_cast<uint8_t>((first & 0x80) >> 4);
  uint8_t map = 1, second = static_cast<uint8_t>(~first);
  if (three_bytes) {
    extension.x = static_cast<uint8_t>((first & 0x40) >> 3);
    extension.b = static_cast<uint8_t>((first & 0x20) >> 2);
    map = static_cast<uint8_t>(~first & 0x1f);
    second = reader.next();
    key.wide = (second & 0x80) != 0;
  }
  encoding.place[kVvvvPlace] = static_cast<uint8_t>(~second >> 3 & 0xf);
  key.vector_256 = (second & 4) != 0;
  constexpr EncodingKey::Repeat kRepeats[] = {EncodingKey::kNoRepeat, EncodingKey::kNoRepeat,
                                              EncodingKey::kRep, EncodingKey::kRepne};
  key.repeat = kRepeats[second & 3];
  key.operand_size = (second & 3) == 1;
  if (map < 1 || map > 3) return false;
  key.space = static_cast<uint8_t>(kFirstVexSpace + map - 1);
  return true;
}

void read_map(Reader& reader, EncodingKey& key) {
  if (reader.peek() != 0x0f) return;
  reader.next();
  key.space = 1;
  if (reader.peek() == 0x38 || reader.peek() == 0x3a) key.space = reader.next() == 0x38 ? 2 : 3;
}

void read_sixteen_bit_address(Reader& reader, Encoding& encoding, uint8_t mod, uint8_t rm) {
  constexpr uint8_t kBx = 3, kBp = 5, kSi = 6, kDi = 7, kNone = Encoding::kNone;
  constexpr uint8_t kBases[] = {kBx, kBx, kBp, kBp, kSi, kDi, kBp, kBx};
  constexpr uint8_t kIndexes[] = {kSi, kDi, kSi, kDi, kNone, kNone, kNone, kNone};
  const bool no_register = mod == 0 && rm == 6;
  encoding.has_displacement = mod != 0 || no_register;
  if (!no_register) {
    encoding.base = kBases[rm];
    encoding.index = kIndexes[rm];
  }
  if (!encoding.has_displacement) return;
  const bool byte = mod == 1;
  encoding.displacement = byte ? reader.signed_byte() : reader.signed_word();
  reader.skip(byte ? 1 : 2);
}

void read_address(Reader& reader, Encoding& encoding, CodeMode mode, const Extension& extension,
                  uint8_t modrm) {
  const auto mod = static_cast<uint8_t>(modrm >> 6);
  const auto rm = static_cast<uint8_t>(modrm & 7);
  encoding.has_displacement = mod != 0;
  if (rm == 4) {
    const uint8_t sib = reader.next();
    const auto index = static_cast<uint8_t>((sib >> 3 & 7) | extension.x);
    if (index != 4) encoding.index = index;
    encoding.scale = static_cast<uint8_t>(1u << (sib >> 6));
    if ((sib & 7) == 5 && mod == 0)
      encoding.has_displacement = true;
    else
      encoding.base = static_cast<uint8_t>((sib & 7) | extension.b);
  } else if (rm == 5 && mod == 0) {
    encoding.has_displacement = true;
    encoding.rip_relative = mode == CodeMode::k64;
  } else {
    encoding.base = static_cast<uint8_t>(rm | extension.b);
  }
  if (!encoding.has_displacement) return;
  const bool byte = mod == 1;
  encoding.displacement = byte ? reader.signed_byte() : reader.signed_doubleword();
  reader.skip(byte ? 1 : 4);
}

// Whether operand-size prefixes change the length: there is an immediate of 16 or 32 bits.
bool has_wide_immediate(const EncodingKey& key) {
  if (key.space != 0) return false;
  const uint8_t opcode = key.opcode;
  if (opcode < 0x40) return (opcode & 7) == 5;
  if ((opcode & 0xf8) == 0xb8) return true;
  if (opcode == 0xf7) return key.reg < 2;
  return opcode == 0x68 || opcode == 0x69 || opcode == 0x81 || opcode == 0xa9 || opcode == 0xc7;
}

}  // namespace

Encoding parse_encoding(std::span<const uint8_t> bytes, CodeMode mode) {
  Encoding encoding;
  EncodingKey& key = encoding.key;
  Reader reader(bytes);
  Extension extension;
  bool address_size = false;
  read_prefixes(reader, encoding, mode, extension, address_size);
  const bool sixteen_bit_address =
      mode == CodeMode::k16 ? !address_size : mode == CodeMode::k32 && address_size;
  encoding.address_bits = sixteen_bit_address                      ? 16
                          : mode == CodeMode::k64 && !address_size ? 64
                                                                   : 32;
  const bool operand_size_prefix = key.operand_size;
  const bool vex = starts_vex(reader, mode);
  const bool evex =
      reader.peek() == 0x62 && (mode == CodeMode::k64 || (reader.ahead(1) & 0xc0) == 0xc0);
  encoding.opcode_offset = static_cast<uint8_t>(reader.at());
  if (evex || (vex && !read_vex(reader, encoding, extension))) return encoding;
  encoding.known = true;
  if (!vex) {
    read_map(reader, key);
    // What has an operand size of 16 bits here has the prefix in 64-bit mode.
    if (mode == CodeMode::k16 && key.space == 0) key.operand_size = !key.operand_size;
  }
  encoding.opcode_offset = static_cast<uint8_t>(reader.at());
  key.opcode = reader.next();
  const uint8_t modrm = reader.next();
  if (mode != CodeMode::k64 && key.space == 0 && (key.opcode & 0xf0) == 0x40) {
    // INC and DEC, whose opcodes are REX in 64-bit mode.
    encoding.place[kRmPlace] = key.rm = key.opcode & 7;
    key.reg = key.opcode >> 3 & 1;
    key.opcode = 0xff;
    return encoding;
  }
  key.memory = modrm < 0xc0;
  key.reg = modrm >> 3 & 7;
  encoding.place[kOpcodePlace] = static_cast<uint8_t>((key.opcode & 7) | extension.b);
  encoding.place[kRegPlace] = static_cast<uint8_t>(key.reg | extension.r);
  encoding.place[kRmPlace] = static_cast<uint8_t>((modrm & 7) | extension.b);
  encoding.place[kIs4Place] = static_cast<uint8_t>(reader.last() >> 4);
  if (!key.memory) {
    key.rm = modrm & 7;
    key.lock = false;
  } else if (sixteen_bit_address) {
    read_sixteen_bit_address(reader, encoding, static_cast<uint8_t>(modrm >> 6), modrm & 7);
  } else {
    read_address(reader, encoding, mode, extension, modrm);
  }
  encoding.immediate_byte = reader.signed_byte();
  encoding.immediate_doubleword = reader.signed_doubleword();
  encoding.length_changing_prefix =
      operand_size_prefix && !key.wide && !vex && has_wide_immediate(key);
  return encoding;
}

}  // namespace nestor::emu::timing
