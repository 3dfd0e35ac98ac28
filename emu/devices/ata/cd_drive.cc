// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/ata/cd_drive.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "emu/memory/little_endian.h"

namespace nestor::emu {
namespace {

enum Operation : uint8_t {
  kTestUnitReady = 0x00,
  kRequestSense = 0x03,
  kInquiry = 0x12,
  kStartStopUnit = 0x1b,
  kPreventAllowRemoval = 0x1e,
  kReadCapacity = 0x25,
  kRead10 = 0x28,
  kSeek10 = 0x2b,
  kReadToc = 0x43,
  kGetConfiguration = 0x46,
  kGetEventStatus = 0x4a,
  kReadDiscInformation = 0x51,
  kModeSense10 = 0x5a,
  kRead12 = 0xa8,
  kMechanismStatus = 0xbd,
};

enum AtaCommandCode : uint8_t {
  kDeviceReset = 0x08,
  kPacket = 0xa0,
  kIdentifyPacketDevice = 0xa1,
  kSetFeatures = 0xef,
};
constexpr uint16_t kTransferMode = 0x03;  // of SET FEATURES; all are the same here

constexpr uint8_t kMediumError = 3, kIllegalRequest = 5;
constexpr uint8_t kRemovable = 0x80, kCdDevice = 0x05;
constexpr uint8_t kLeadOut = 0xaa, kDataTrack = 0x14;
constexpr uint64_t kCdBytes = 900'000'000;  // what is larger is no CD

using Bytes = std::vector<uint8_t>;

uint32_t big_endian(std::span<const uint8_t> bytes) {
  uint32_t value = 0;
  for (const uint8_t byte : bytes) value = value << 8 | byte;
  return value;
}

void put(Bytes& out, uint64_t value, unsigned size) {
  for (unsigned i = size; i-- > 0;) out.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

// The length of what follows goes into the first two bytes.
Bytes with_length(Bytes out) {
  const size_t length = out.size() - 2;
  out[0] = static_cast<uint8_t>(length >> 8);
  out[1] = static_cast<uint8_t>(length);
  return out;
}

void put_text(Bytes& out, std::string_view text, size_t size) {
  for (size_t i = 0; i < size; ++i)
    out.push_back(static_cast<uint8_t>(i < text.size() ? text[i] : ' '));
}

// An address as the packet wants it: a block, or minute, second and frame.
void put_address(Bytes& out, uint64_t block, bool msf) {
  if (!msf) return put(out, block, 4);
  const uint64_t frame = block + 150;
  put(out, 0, 1);
  put(out, frame / 75 / 60, 1);
  put(out, frame / 75 % 60, 1);
  put(out, frame % 75, 1);
}

Bytes inquiry() {
  Bytes out = {kCdDevice, kRemovable, 0x05, 0x02, 31, 0, 0, 0};  // SPC-3
  put_text(out, "NESTOR", 8);
  put_text(out, "CD-ROM", 16);
  put_text(out, "1.0", 4);
  return out;
}

// One session, complete, of one track.
Bytes disc_information() {
  Bytes out(34);
  out[2] = 0x0e;
  out[3] = out[4] = out[5] = out[6] = 1;
  out[7] = 0x20;  // for any use
  return with_length(std::move(out));
}

// Of what is asked for, media alone has something to tell: nothing new, and that a disc is there.
Bytes event_status(uint8_t classes) {
  constexpr uint8_t kMedia = 4, kNone = 0x80;
  if ((classes & 1u << kMedia) == 0) return {0, 2, kNone, 1u << kMedia};
  return {0, 6, kMedia, 1u << kMedia, 0, 2, 0, 0};
}

}  // namespace

CdDrive::CdDrive(std::unique_ptr<Disk> disc) : disc_(std::move(disc)) {
  if (blocks() == 0)
    throw DiskError("a CD has at least one block of 2048 bytes; name a larger file");
}

// --- ATA

// Of an ATAPI device the signature, after a reset as well as later.
AtaRegisters CdDrive::registers(bool ok) const {
  AtaRegisters registers{.count = 3, .lba = 0xeb1400};
  if (ok) return registers;
  registers.status |= AtaRegisters::kFailed;
  registers.error = static_cast<uint8_t>(sense_.key << 4 | AtaRegisters::kAborted);
  return registers;
}

// No error found, not ready before it gets a packet.
AtaRegisters CdDrive::registers_after_reset() const {
  AtaRegisters after = registers(true);
  after.status = 0;
  after.error = 1;
  return after;
}

uint32_t CdDrive::signature() const { return 0xeb140101; }

uint64_t CdDrive::cycles(const AtaCommand& command) const {
  // What a read asks for; the drive may yet refuse it.
  const std::span packet = command.packet;
  uint64_t blocks = 0;
  if (command.code == kPacket && packet[0] == kRead10) blocks = big_endian(packet.subspan(7, 2));
  if (command.code == kPacket && packet[0] == kRead12) blocks = big_endian(packet.subspan(8, 2));
  return kCommandCycles + blocks * kCyclesPerBlock;
}

AtaAnswer CdDrive::take(const AtaCommand& command) {
  switch (command.code) {
    case kPacket: {
      if (command.to_drive) break;
      Answer answer = take_packet(command.packet);
      if (!answer.ok) break;
      return {.registers = registers(true),
              .data = std::move(answer.data),
              .offset = answer.extent.offset,
              .bytes = answer.extent.bytes};
    }
    case kIdentifyPacketDevice: {
      const auto words = identity();
      return {.registers = registers(true),
              .end = AtaAnswer::End::kPio,
              .data = {words.begin(), words.end()},
              .block_bytes = kIdentityBytes};
    }
    case kSetFeatures:
      return {.registers = registers((command.features & 0xff) == kTransferMode)};
    case kDeviceReset:
      return {.registers = registers(true)};
    default:
      break;
  }
  return {.registers = registers(false)};
}

AtaRegisters CdDrive::finish(const AtaCommand& /*command*/, Moved moved, uint64_t /*bytes*/) {
  return registers(moved != Moved::kMediumFailed);
}

std::array<uint8_t, CdDrive::kIdentityBytes> CdDrive::identity() const {
  std::array<uint8_t, kIdentityBytes> out{};
  const auto set = [&out](size_t word, uint16_t value) {
    store_little_endian(std::span(out).subspan(2 * word, 2), value);
  };
  set(0, 0x85c0);  // a removable CD-ROM with packets of 12 bytes
  set_text(std::span(out).subspan(20, 20), "nestor-cd");
  set_text(std::span(out).subspan(46, 8), "1.0");
  set_text(std::span(out).subspan(54, 40), "NESTOR CD-ROM");
  set(49, 0x0300);  // LBA, DMA
  set(53, 0x0006);  // words 64 to 70, and 88, are valid
  set(63, 0x0007);  // multiword DMA
  set(64, 0x0003);  // PIO 3 and 4
  for (const size_t word : {65, 66, 67, 68}) set(word, 120);
  set(80, 0x007e);                   // ATA/ATAPI-6 and before
  set(82, 0x0210), set(85, 0x0210);  // DEVICE RESET, PACKET
  set(83, 0x4000), set(84, 0x4000), set(87, 0x4000);
  set(88, 0x003f);  // Ultra DMA
  return out;
}

// --- packets

CdDrive::Answer CdDrive::fail(Sense sense) {
  sense_ = sense;
  return {.ok = false};
}

bool CdDrive::read(uint64_t offset, std::span<uint8_t> out) {
  if (disc_->read(offset, out)) return true;
  fail({kMediumError, 0x11, 0});
  return false;
}

CdDrive::Answer CdDrive::reads(uint64_t block, uint64_t count) {
  if (block > blocks() || count > blocks() - block) return fail({kIllegalRequest, 0x21, 0});
  return {.extent = {block * kBlockBytes, count * kBlockBytes}};
}

// Formats 0 and 1: the track and the lead-out, or the first session.
std::optional<Bytes> CdDrive::table_of_contents(std::span<const uint8_t> packet) const {
  const bool msf = (packet[1] & 2) != 0;
  const unsigned format = (packet[2] & 0x0f) != 0 ? packet[2] & 0x0fu : packet[9] >> 6;
  const uint8_t first = packet[6];
  Bytes out = {0, 0, 1, 1};
  const auto entry = [&](uint8_t track, uint64_t block) {
    out.insert(out.end(), {0, kDataTrack, track, 0});
    put_address(out, block, msf);
  };
  if (format > 1 || (format == 0 && first > 1 && first != kLeadOut)) return std::nullopt;
  if (format == 1 || first <= 1) entry(1, 0);
  if (format == 0) entry(kLeadOut, blocks());
  return with_length(std::move(out));
}

// The present values of error recovery, of capabilities, or of both.
std::optional<Bytes> CdDrive::mode_page(std::span<const uint8_t> packet) const {
  constexpr uint8_t kRecovery = 0x01, kCapabilities = 0x2a, kAll = 0x3f;
  const uint8_t page = packet[2] & 0x3f;
  if (packet[2] >> 6 != 0) return std::nullopt;
  if (page != kRecovery && page != kCapabilities && page != kAll) return std::nullopt;
  Bytes out(8);
  if (page != kCapabilities) out.insert(out.end(), {kRecovery, 6, 0, 5, 0, 0, 0, 0});
  if (page != kRecovery) {
    out.insert(out.end(), {kCapabilities, 18, 0x3b, 0, 0, 0, 0x21, 0});  // it can be locked
    put(out, 706, 2);                                                    // kilobytes a second
    out.insert(out.end(), {0, 0});
    put(out, 512, 2);  // kilobytes of buffer
    put(out, 706, 2);
    out.insert(out.end(), {0, 0, 0, 0});
  }
  return with_length(std::move(out));
}

Bytes CdDrive::configuration() const {
  constexpr uint16_t kCdRom = 0x0008, kDvdRom = 0x0010;
  const bool cd = disc_->bytes() <= kCdBytes;
  Bytes out(6);
  put(out, cd ? kCdRom : kDvdRom, 2);
  // The list of profiles, with the present one marked; core; removable medium.
  out.insert(out.end(), {0, 0, 0x03, 8});
  for (const uint16_t profile : {kDvdRom, kCdRom}) {
    put(out, profile, 2);
    put(out, (profile == kCdRom) == cd, 1);
    put(out, 0, 1);
  }
  out.insert(out.end(), {0, 1, 0x0b, 8, 0, 0, 0, 8, 1, 0, 0, 0});
  out.insert(out.end(), {0, 3, 0x03, 4, 0x21, 0, 0, 0});
  const size_t length = out.size() - 4;
  out[2] = static_cast<uint8_t>(length >> 8);
  out[3] = static_cast<uint8_t>(length);
  return out;
}

CdDrive::Answer CdDrive::take_packet(Packet packet) {
  constexpr Sense kInvalidOperation = {kIllegalRequest, 0x20, 0},
                  kInvalidField = {kIllegalRequest, 0x24, 0}, kStaysIn = {kIllegalRequest, 0x53, 2};
  // As much as there is room for.
  const auto answer = [](Bytes data, uint64_t room) {
    if (data.size() > room) data.resize(room);
    return Answer{.data = std::move(data)};
  };
  const uint64_t room = big_endian(packet.subspan(7, 2));
  const Sense before = std::exchange(sense_, Sense{});
  switch (packet[0]) {
    case kTestUnitReady:
    case kPreventAllowRemoval:
    case kSeek10:
      return {};
    case kRequestSense:
      return answer({0x70, 0, before.key, 0, 0, 0, 0, 10, 0, 0, 0, 0, before.code, before.qualifier,
                     0, 0, 0, 0},
                    packet[4]);
    case kInquiry:
      // No vital product data.
      if ((packet[1] & 1) != 0 || packet[2] != 0) return fail(kInvalidField);
      return answer(inquiry(), big_endian(packet.subspan(3, 2)));
    case kStartStopUnit:
      return (packet[4] & 3) == 2 ? fail(kStaysIn) : Answer{};
    case kReadCapacity: {
      Bytes out;
      put(out, blocks() - 1, 4);
      put(out, kBlockBytes, 4);
      return answer(std::move(out), 8);
    }
    case kRead10:
      return reads(big_endian(packet.subspan(2, 4)), room);
    case kRead12:
      return reads(big_endian(packet.subspan(2, 4)), big_endian(packet.subspan(6, 4)));
    case kReadToc: {
      const auto contents = table_of_contents(packet);
      return contents ? answer(*contents, room) : fail(kInvalidField);
    }
    case kGetConfiguration:
      return answer(configuration(), room);
    case kGetEventStatus:
      // There are no notifications but those that are asked for.
      if ((packet[1] & 1) == 0) return fail(kInvalidField);
      return answer(event_status(packet[4]), room);
    case kReadDiscInformation:
      return (packet[1] & 7) == 0 ? answer(disc_information(), room) : fail(kInvalidField);
    case kModeSense10: {
      const auto page = mode_page(packet);
      return page ? answer(*page, room) : fail(kInvalidField);
    }
    case kMechanismStatus:
      return answer({0, 0, 0, 0, 0, 1, 0, 0}, big_endian(packet.subspan(8, 2)));
    default:
      return fail(kInvalidOperation);
  }
}

}  // namespace nestor::emu
