// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/legacy/parallel_flash.h"

#include <algorithm>
#include <bit>
#include <string>

namespace nestor::emu {
namespace {

enum FlashCommand : uint8_t {
  kLockBlock = 0x01,
  kProgramAlternate = 0x10,
  kEraseBlock = 0x20,
  kLockDownBlock = 0x2f,
  kProgramData = 0x40,
  kClearStatus = 0x50,
  kChangeLock = 0x60,
  kReadStatus = 0x70,
  kReadIdentifiers = 0x90,
  kReadQuery = 0x98,
  kConfirm = 0xd0,
  kWriteToBuffer = 0xe8,
  kReadArray = 0xff,
};

constexpr uint64_t kMaxVisibleQuery = 0x100;  // it repeats

// CFI query identification, system interface, and device geometry.
std::array<uint8_t, kMaxVisibleQuery> query_table(uint64_t bytes) {
  constexpr unsigned kQry = 0x10, kCommandSet = 0x13, kSystem = 0x1b, kSize = 0x27,
                     kBufferSize = 0x2a, kRegions = 0x2c;
  constexpr uint8_t kIntelExtended = 1;
  // 2.7 to 3.6 V; a byte, a buffer and a block at most 2^8 us, 2^8 us and 2^10 ms.
  constexpr uint8_t kVoltagesAndTimes[] = {0x27, 0x36, 0, 0, 4, 4, 6, 0, 4, 4, 4, 0};
  std::array<uint8_t, kMaxVisibleQuery> table{};
  std::ranges::copy(std::string_view("QRY"), table.begin() + kQry);
  table[kCommandSet] = kIntelExtended;
  std::ranges::copy(kVoltagesAndTimes, table.begin() + kSystem);
  // The power of 2 that holds it; the blocks say how large it is.
  table[kSize] = static_cast<uint8_t>(std::bit_width(bytes - 1));
  table[kBufferSize] = static_cast<uint8_t>(std::countr_zero(ParallelFlash::kBufferBytes));
  const uint64_t blocks = bytes / ParallelFlash::kSectorBytes;
  constexpr uint64_t kUnits = ParallelFlash::kSectorBytes / 256;
  const uint64_t region[] = {1, (blocks - 1) & 0xff, (blocks - 1) >> 8, kUnits & 0xff, kUnits >> 8};
  std::ranges::transform(region, table.begin() + kRegions,
                         [](uint64_t value) { return static_cast<uint8_t>(value); });
  return table;
}

[[noreturn]] void refuse_size(const DiskConfig& config, uint64_t bytes) {
  throw DiskError("cannot use '" + config.path + "' as a flash memory: it has " +
                  std::to_string(bytes) + " bytes; it needs a multiple of 4 KiB up to 8 MiB");
}

uint64_t checked_size(const DiskConfig& config, uint64_t bytes) {
  if (bytes % ParallelFlash::kSectorBytes != 0 || bytes > ParallelFlash::kMostBytes)
    refuse_size(config, bytes);
  return bytes;
}

std::array<uint8_t, 8> bytes_of(uint64_t value) {
  std::array<uint8_t, 8> bytes;
  for (uint8_t& byte : bytes) {
    byte = static_cast<uint8_t>(value);
    value >>= 8;
  }
  return bytes;
}

}  // namespace

ParallelFlash::ParallelFlash(const DiskConfig& config)
    : file_(config, Disk::Kind::kFlash),
      writable_(config.writable),
      content_(checked_size(config, file_.bytes())),
      region_{Space::kMemory, content_.size()} {
  if (!file_.read(0, content_)) throw DiskError("cannot read '" + config.path + "'");
}

uint8_t ParallelFlash::read_byte(uint64_t offset) const {
  constexpr uint8_t kIntel = 0x89;
  switch (state_.mode) {
    case Mode::kArray:
      return content_[offset];
    case Mode::kIdentifiers:
      return offset % kMaxVisibleQuery == 0 ? kIntel : 0;  // no known part, no block is locked
    case Mode::kQuery:
      return query_table(content_.size())[offset % kMaxVisibleQuery];
    default:
      return state_.status;
  }
}

uint64_t ParallelFlash::read_memory(DeviceAddress at, unsigned size) {
  uint64_t value = 0;
  for (unsigned i = size; i-- > 0;) value = value << 8 | read_byte(at.offset + i);
  return value;
}

void ParallelFlash::write_memory(DeviceAddress at, unsigned size, uint64_t value) {
  const auto code = static_cast<uint8_t>(value);
  switch (state_.mode) {
    case Mode::kProgram: {
      const std::array<uint8_t, 8> data = bytes_of(value);
      return program(at.offset, std::span(data).first(size));
    }
    case Mode::kErase:
      if (code != kConfirm) return refuse_sequence();
      return erase(at.offset);
    case Mode::kLock:
      // Locks are not kept.
      if (code != kConfirm && code != kLockBlock && code != kLockDownBlock)
        return refuse_sequence();
      state_.status |= kReady;
      state_.mode = Mode::kStatus;
      return;
    case Mode::kBufferCount:
    case Mode::kBufferData:
    case Mode::kBufferConfirm:
      return continue_buffered_write(at.offset, size, value);
    default:
      return command(code);
  }
}

void ParallelFlash::command(uint8_t code) {
  switch (code) {
    case kProgramData:
    case kProgramAlternate:
      state_.mode = Mode::kProgram;
      return;
    case kEraseBlock:
      state_.mode = Mode::kErase;
      return;
    case kChangeLock:
      state_.mode = Mode::kLock;
      return;
    case kReadStatus:
      state_.mode = Mode::kStatus;
      return;
    case kReadIdentifiers:
      state_.mode = Mode::kIdentifiers;
      return;
    case kReadQuery:
      state_.mode = Mode::kQuery;
      return;
    case kWriteToBuffer:
      state_.status |= kReady;
      state_.mode = Mode::kBufferCount;
      return;
    case kClearStatus:
      state_.status = 0;
      state_.mode = Mode::kArray;
      return;
    default:  // kReadArray, and what is no command
      state_.mode = Mode::kArray;
  }
}

void ParallelFlash::continue_buffered_write(uint64_t offset, unsigned size, uint64_t value) {
  const auto code = static_cast<uint8_t>(value);
  if (state_.mode == Mode::kBufferCount) {
    state_.buffer_left = static_cast<uint16_t>(code + 1);
    state_.buffer_is_new = true;
    state_.buffer_is_bad = false;
    state_.buffer.fill(0xff);
    state_.mode = Mode::kBufferData;
    return;
  }
  if (state_.mode == Mode::kBufferConfirm) {
    if (code != kConfirm || state_.buffer_is_bad) return refuse_sequence();
    return program(state_.buffer_base, state_.buffer);
  }
  // The first data say where the buffer goes; the command and the count may be for any address.
  if (state_.buffer_is_new) state_.buffer_base = offset - offset % kBufferBytes;
  state_.buffer_is_new = false;
  const std::array<uint8_t, 8> data = bytes_of(value);
  for (unsigned i = 0; i < size; ++i) {
    const uint64_t place = offset + i - state_.buffer_base;
    state_.buffer_is_bad |= place >= kBufferBytes || state_.buffer_left == 0;
    if (state_.buffer_is_bad) continue;
    state_.buffer[place] &= data[i];
    --state_.buffer_left;
  }
  if (state_.buffer_left == 0 || state_.buffer_is_bad) state_.mode = Mode::kBufferConfirm;
}

void ParallelFlash::program(uint64_t offset, std::span<const uint8_t> data) {
  for (size_t i = 0; i < data.size(); ++i) content_[offset + i] &= data[i];
  store(offset, data.size(), kProgramError);
}

void ParallelFlash::erase(uint64_t offset) {
  offset -= offset % kSectorBytes;
  std::fill_n(content_.begin() + static_cast<std::ptrdiff_t>(offset), kSectorBytes, uint8_t{0xff});
  store(offset, kSectorBytes, kEraseError);
}

void ParallelFlash::refuse_sequence() {
  state_.status |= kReady | kEraseError | kProgramError;
  state_.mode = Mode::kStatus;
}

void ParallelFlash::store(uint64_t offset, uint64_t size, uint8_t error) {
  state_.status |= kReady;
  state_.mode = Mode::kStatus;
  if (!writable_) return;
  if (state_.file_differs) {
    offset = 0;
    size = content_.size();
  }
  if (file_.write(offset, std::span(content_).subspan(offset, size))) {
    state_.file_differs = false;
  } else {
    state_.status |= error;
  }
}

void ParallelFlash::serialize(Archive& archive) {
  archive(state_);
  archive.require(state_.mode <= Mode::kLast && state_.buffer_left <= kBufferBytes &&
                  state_.buffer_base % kBufferBytes == 0 && state_.buffer_base < content_.size());
  archive.require(state_.mode != Mode::kBufferData || state_.buffer_left != 0);
  archive.bytes(content_);
  if (archive.loads()) state_.file_differs = writable_;
}

}  // namespace nestor::emu
