// SPDX-License-Identifier: GPL-2.0-or-later
//
// The frames of GDB's remote serial protocol: $data#checksum, acknowledgements and the interrupt
// byte ("Remote Protocol", "Overview", in GDB's manual).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nestor::emu {

// The largest packet that is taken: characters between $ and #.
inline constexpr size_t kLargestPacket = 0x8000;

// What a client has sent.
struct Received {
  enum class Kind : uint8_t {
    kPacket,     // `data`, unescaped
    kInterrupt,  // the byte 3: Ctrl-C
    kAck,        // +
    kRepeat,     // -: the last packet was damaged
    kDamaged,    // a packet with a wrong checksum, or one that is too long
  } kind = Kind::kPacket;
  std::string data{};
};

class PacketReader {
 public:
  // Takes bytes as they come; whatever is outside packets and means nothing is passed over.
  void feed(std::string_view bytes);
  // The next of what was complete; std::nullopt: there is none yet.
  std::optional<Received> next();
  // Takes an interrupt out of what waits, if there is one.
  bool take_interrupt();

 private:
  void take(char byte);
  void finish_packet();

  enum class Where : uint8_t { kOutside, kData, kFirstDigit, kSecondDigit };
  Where where_ = Where::kOutside;
  std::string data_;  // as it was sent
  char digit_ = 0, second_digit_ = 0;
  bool too_long_ = false;
  std::deque<Received> complete_;
};

// $data#checksum, with what must be escaped escaped.
std::string framed(std::string_view data);

// --- hexadecimal digits, two a byte

void append_hex(std::string& text, std::span<const uint8_t> bytes);
std::string hex_of(std::string_view text);
// std::nullopt: an odd number of digits, or something else among them.
std::optional<std::vector<uint8_t>> bytes_of_hex(std::string_view text);
// A number of 1 to 16 digits, most significant first, taken off the front of `text`; std::nullopt:
// there is none.
std::optional<uint64_t> take_hex(std::string_view& text);
// Takes `prefix` off the front of `text`, if it is there.
bool take(std::string_view& text, std::string_view prefix);

}  // namespace nestor::emu
