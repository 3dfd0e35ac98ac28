// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/gdb/packets.h"

#include <algorithm>

namespace nestor::emu {
namespace {

constexpr char kInterruptByte = 3, kEscapeByte = '}';
constexpr char kEscapedBit = 0x20;
constexpr std::string_view kDigits = "0123456789abcdef";

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

uint8_t checksum(std::string_view data) {
  uint8_t sum = 0;
  for (const char c : data) sum = static_cast<uint8_t>(sum + static_cast<uint8_t>(c));
  return sum;
}

std::string unescaped(std::string_view data) {
  std::string text;
  for (size_t i = 0; i < data.size(); ++i) {
    const bool escaped = data[i] == kEscapeByte && i + 1 < data.size();
    text += escaped ? static_cast<char>(data[++i] ^ kEscapedBit) : data[i];
  }
  return text;
}

}  // namespace

void PacketReader::feed(std::string_view bytes) {
  for (const char byte : bytes) take(byte);
}

void PacketReader::take(char byte) {
  using Kind = Received::Kind;
  switch (where_) {
    case Where::kOutside:
      if (byte == '$') {
        where_ = Where::kData;
        data_.clear();
        too_long_ = false;
      } else if (byte == kInterruptByte) {
        complete_.push_back({Kind::kInterrupt});
      } else if (byte == '+' || byte == '-') {
        complete_.push_back({byte == '+' ? Kind::kAck : Kind::kRepeat});
      }
      return;
    case Where::kData:
      if (byte == '#') {
        where_ = Where::kFirstDigit;
      } else if (byte == '$') {
        data_.clear();  // the client has begun anew
      } else if (data_.size() < kLargestPacket) {
        data_ += byte;
      } else {
        too_long_ = true;
      }
      return;
    case Where::kFirstDigit:
      digit_ = byte;
      where_ = Where::kSecondDigit;
      return;
    case Where::kSecondDigit:
      second_digit_ = byte;
      where_ = Where::kOutside;
      finish_packet();
      return;
  }
}

void PacketReader::finish_packet() {
  const int high = digit_value(digit_), low = digit_value(second_digit_);
  const bool intact = !too_long_ && high >= 0 && low >= 0 && 16 * high + low == checksum(data_);
  if (intact) {
    complete_.push_back({Received::Kind::kPacket, unescaped(data_)});
  } else {
    complete_.push_back({Received::Kind::kDamaged});
  }
}

std::optional<Received> PacketReader::next() {
  if (complete_.empty()) return std::nullopt;
  Received first = std::move(complete_.front());
  complete_.pop_front();
  return first;
}

bool PacketReader::take_interrupt() {
  const auto found = std::ranges::find(complete_, Received::Kind::kInterrupt, &Received::kind);
  if (found == complete_.end()) return false;
  complete_.erase(found);
  return true;
}

std::string framed(std::string_view data) {
  std::string packet = "$";
  for (const char c : data) {
    if (c == '$' || c == '#' || c == '*' || c == kEscapeByte) {
      packet += kEscapeByte;
      packet += static_cast<char>(c ^ kEscapedBit);
    } else {
      packet += c;
    }
  }
  const uint8_t sum = checksum(std::string_view(packet).substr(1));
  packet += '#';
  packet += kDigits[sum >> 4];
  packet += kDigits[sum & 0xf];
  return packet;
}

void append_hex(std::string& text, std::span<const uint8_t> bytes) {
  for (const uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 0xf];
  }
}

std::string hex_of(std::string_view text) {
  std::string hex;
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    append_hex(hex, {&byte, 1});
  }
  return hex;
}

std::optional<std::vector<uint8_t>> bytes_of_hex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = digit_value(text[i]), low = digit_value(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<uint8_t>(16 * high + low));
  }
  return bytes;
}

std::optional<uint64_t> take_hex(std::string_view& text) {
  uint64_t value = 0;
  size_t digits = 0;
  while (digits < text.size() && digit_value(text[digits]) >= 0) {
    if (digits == 16) return std::nullopt;
    value = value << 4 | static_cast<uint64_t>(digit_value(text[digits++]));
  }
  if (digits == 0) return std::nullopt;
  text.remove_prefix(digits);
  return value;
}

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

}  // namespace nestor::emu
