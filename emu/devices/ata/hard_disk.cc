// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/ata/hard_disk.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "emu/memory/little_endian.h"

namespace nestor::emu {

// A row of the commands that name sectors.
struct HardDisk::Access {
  enum class By : uint8_t { kPio, kMultiple, kDma, kQueue, kNothing };  // how data are moved
  uint8_t code;
  By by;
  bool writes = false, wide = false;  // `wide`: 48-bit addresses
  bool through = false;               // whatever the write cache
};

namespace {

enum Code : uint8_t {
  kDiagnostic = 0x90,
  kIdentify = 0xec,
  kReadLog = 0x2f,
  kSetMultiple = 0xc6,
  kSetFeatures = 0xef,
  kFlush = 0xe7,
  kFlushWide = 0xea,
  kStandbyNow = 0xe0,
  kIdleNow = 0xe1,
  kStandby = 0xe2,
  kIdle = 0xe3,
  kPowerMode = 0xe5,
  kSleep = 0xe6,
};

constexpr unsigned kMostMultiple = 16, kQueueDepth = 32;
constexpr uint64_t kMostNarrowSectors = 0x0fffffff;  // with 28-bit addresses
constexpr uint8_t kForceUnitAccess = 1u << 7;        // the device register of queued commands
constexpr uint8_t kUsesLba = 1u << 6;                // that of others
constexpr uint8_t kLogDirectory = 0x00, kQueueErrorLog = 0x10;

}  // namespace

const HardDisk::Access* HardDisk::find_access(uint8_t code) {
  using enum Access::By;
  // Those with an odd code beside an even one are the same "without retries".
  static constexpr Access kAccesses[] = {
      {.code = 0x20, .by = kPio},
      {.code = 0x21, .by = kPio},
      {.code = 0x24, .by = kPio, .wide = true},
      {.code = 0x25, .by = kDma, .wide = true},
      {.code = 0x29, .by = kMultiple, .wide = true},
      {.code = 0x30, .by = kPio, .writes = true},
      {.code = 0x31, .by = kPio, .writes = true},
      {.code = 0x34, .by = kPio, .writes = true, .wide = true},
      {.code = 0x35, .by = kDma, .writes = true, .wide = true},
      {.code = 0x39, .by = kMultiple, .writes = true, .wide = true},
      {.code = 0x3d, .by = kDma, .writes = true, .wide = true, .through = true},
      {.code = 0x40, .by = kNothing},
      {.code = 0x41, .by = kNothing},
      {.code = 0x42, .by = kNothing, .wide = true},
      {.code = 0x60, .by = kQueue, .wide = true},
      {.code = 0x61, .by = kQueue, .writes = true, .wide = true},
      {.code = 0xc4, .by = kMultiple},
      {.code = 0xc5, .by = kMultiple, .writes = true},
      {.code = 0xc8, .by = kDma},
      {.code = 0xc9, .by = kDma},
      {.code = 0xca, .by = kDma, .writes = true},
      {.code = 0xcb, .by = kDma, .writes = true},
      {.code = 0xce, .by = kMultiple, .writes = true, .wide = true, .through = true}};
  const auto* const found = std::ranges::find(kAccesses, code, &Access::code);
  return found == std::end(kAccesses) ? nullptr : found;
}

HardDisk::HardDisk(std::unique_ptr<Disk> disk, std::string serial)
    : disk_(std::move(disk)), serial_(std::move(serial)) {}

// No error found.
AtaRegisters HardDisk::registers_after_reset() const { return {.error = 1, .count = 1, .lba = 1}; }

// A count of 0 is the largest one.
HardDisk::Extent HardDisk::extent_of(const Access& access, const AtaCommand& command) {
  const auto or_most = [](uint64_t count, uint64_t most) { return count != 0 ? count : most; };
  if (access.by == Access::By::kQueue) return {command.lba, or_most(command.features, 0x10000)};
  if (access.wide) return {command.lba, or_most(command.count, 0x10000)};
  return {(command.device & 0xfull) << 24 | (command.lba & 0xffffff),
          or_most(command.count & 0xff, 0x100)};
}

uint64_t HardDisk::cycles(const AtaCommand& command) const {
  const Access* const access = find_access(command.code);
  if (access == nullptr) return kCommandCycles;
  constexpr uint64_t kSectorsPerBlock = Disk::kBlockBytes / Disk::kSectorBytes;
  // The disk may yet refuse it.
  const uint64_t count = std::min(extent_of(*access, command).count, sectors());
  return kCommandCycles + count / kSectorsPerBlock * kCyclesPerBlock;
}

AtaRegisters HardDisk::failed(const AtaCommand& command, uint8_t error, uint64_t lba) {
  return {.status = AtaRegisters::kReady | AtaRegisters::kFailed,
          .error = error,
          .device = command.device,
          .lba = lba};
}

AtaRegisters HardDisk::aborted(const AtaCommand& command) {
  return failed(command, AtaRegisters::kAborted, command.lba);
}

AtaRegisters HardDisk::note(const AtaCommand& command, AtaRegisters registers) {
  if (!command.is_queued() || !registers.failed()) return registers;
  state_.queue_failed = true;
  state_.failed_tag = static_cast<uint8_t>(command.tag());
  state_.failed = registers;
  return registers;
}

AtaAnswer HardDisk::page(const Page& page) {
  return {
      .end = AtaAnswer::End::kPio, .data = {page.begin(), page.end()}, .block_bytes = kPageBytes};
}

AtaAnswer HardDisk::take(const AtaCommand& command) {
  const Access* const access = find_access(command.code);
  if (access == nullptr) return take_other(command);
  AtaAnswer answer = take_access(*access, command);
  if (access->by == Access::By::kQueue) answer.end = AtaAnswer::End::kQueue;
  answer.registers = note(command, answer.registers);
  return answer;
}

AtaAnswer HardDisk::take_access(const Access& access, const AtaCommand& command) {
  using enum Access::By;
  const bool multiple = access.by == kMultiple;
  if ((!access.wide && (command.device & kUsesLba) == 0) || (multiple && state_.multiple == 0))
    return {.registers = aborted(command)};
  const Extent extent = extent_of(access, command);
  if (extent.first > sectors() || extent.count > sectors() - extent.first)
    return {.registers =
                failed(command, AtaRegisters::kNoSuchAddress, std::max(extent.first, sectors()))};
  state_.standby = false;
  if (access.by == kNothing) return {.registers = verify(extent, command)};
  return {
      .end = access.by == kPio || multiple ? AtaAnswer::End::kPio : AtaAnswer::End::kRegisters,
      .offset = extent.first * Disk::kSectorBytes,
      .bytes = extent.count * Disk::kSectorBytes,
      .to_drive = access.writes,
      .block_bytes = static_cast<uint32_t>((multiple ? state_.multiple : 1) * Disk::kSectorBytes)};
}

AtaRegisters HardDisk::verify(Extent extent, const AtaCommand& command) {
  std::array<uint8_t, Disk::kBlockBytes> block;
  constexpr uint64_t kSectorsPerBlock = block.size() / Disk::kSectorBytes;
  for (uint64_t done = 0; done < extent.count; done += kSectorsPerBlock) {
    const uint64_t first = extent.first + done,
                   count = std::min(kSectorsPerBlock, extent.count - done);
    if (!disk_->read(first * Disk::kSectorBytes,
                     std::span(block).first(count * Disk::kSectorBytes)))
      return failed(command, AtaRegisters::kUncorrectable, first);
  }
  return {};
}

AtaRegisters HardDisk::finish(const AtaCommand& command, Moved moved, uint64_t bytes) {
  const Access* const access = find_access(command.code);
  if (access == nullptr) return {};
  const uint64_t at = extent_of(*access, command).first + bytes / Disk::kSectorBytes;
  const uint8_t failure = access->writes ? AtaRegisters::kAborted : AtaRegisters::kUncorrectable;
  if (moved == Moved::kMediumFailed || (moved == Moved::kTooLittle && access->writes))
    return note(command, failed(command, failure, at));
  const bool forced = access->by == Access::By::kQueue && (command.device & kForceUnitAccess) != 0;
  if (access->writes && (access->through || forced || !state_.write_cache) && !disk_->flush())
    return note(command, failed(command, failure, at));
  return {};
}

AtaAnswer HardDisk::take_other(const AtaCommand& command) {
  constexpr uint16_t kActive = 0xff, kInStandby = 0x00;
  switch (command.code) {
    case kIdentify:
      return page(identity());
    case kReadLog: {
      const auto found = log(command);
      if (!found) break;
      return page(*found);
    }
    case kDiagnostic:
      return {.registers = registers_after_reset()};
    case kSetFeatures:
      if (!set_features(command)) break;
      return {};
    case kSetMultiple: {
      const unsigned count = command.count & 0xff;
      if (count > kMostMultiple || (count & (count - 1)) != 0) break;
      state_.multiple = static_cast<uint8_t>(count);
      return {};
    }
    case kFlush:
    case kFlushWide:
      if (!disk_->flush()) break;
      return {};
    case kStandbyNow:
    case kStandby:
    case kSleep:
      state_.standby = true;
      return {};
    case kIdleNow:
    case kIdle:
      state_.standby = false;
      return {};
    case kPowerMode:
      return {.registers = {.count = state_.standby ? kInStandby : kActive}};
    default:
      break;
  }
  return {.registers = aborted(command)};
}

bool HardDisk::set_features(const AtaCommand& command) {
  enum Feature : uint8_t {
    kEnableWriteCache = 0x02,
    kTransferMode = 0x03,
    kDisableLookAhead = 0x55,
    kDisableWriteCache = 0x82,
    kEnableLookAhead = 0xaa,
  };
  switch (command.features & 0xff) {
    case kTransferMode:
      return set_transfer_mode(static_cast<uint8_t>(command.count));
    case kEnableWriteCache:
      state_.write_cache = true;
      return true;
    case kDisableWriteCache:
      // What is in it goes to the file.
      state_.write_cache = false;
      return disk_->flush();
    case kEnableLookAhead:
    case kDisableLookAhead:
      state_.look_ahead = (command.features & 0xff) == kEnableLookAhead;
      return true;
    default:
      return false;
  }
}

// PIO, by default or 0 to 4, multiword DMA 0 to 2, Ultra DMA 0 to 5. All are as fast.
bool HardDisk::set_transfer_mode(uint8_t mode) {
  constexpr struct {
    uint8_t first, last;
  } kModes[] = {{0x00, 0x01}, {0x08, 0x0c}, {0x20, 0x22}, {0x40, kUltraDma5}};
  const bool known = std::ranges::any_of(
      kModes, [mode](const auto& range) { return mode >= range.first && mode <= range.last; });
  if (known) state_.transfer_mode = mode;
  return known;
}

// One page each: which logs there are, and the queued command that has failed.
std::optional<HardDisk::Page> HardDisk::log(const AtaCommand& command) {
  constexpr uint8_t kNotQueued = 0x80;
  constexpr uint64_t kPageNumber = 0xff'0000'ff00;  // in the LBA
  const bool first_page = (command.lba & kPageNumber) == 0 && command.count == 1;
  const auto address = static_cast<uint8_t>(command.lba);
  Page page{};
  if (!first_page) return std::nullopt;
  if (address == kLogDirectory) {
    page[0] = 1;                   // its version
    page[2 * kQueueErrorLog] = 1;  // pages
    return page;
  }
  if (address != kQueueErrorLog) return std::nullopt;
  const AtaRegisters& failed = state_.failed;
  page[0] = state_.queue_failed ? state_.failed_tag : kNotQueued;
  page[2] = failed.status;
  page[3] = failed.error;
  store_little_endian(std::span(page).subspan(4, 3), failed.lba & 0xffffff);
  page[7] = failed.device;
  store_little_endian(std::span(page).subspan(8, 3), failed.lba >> 24);
  // All bytes add up to 0.
  page.back() = static_cast<uint8_t>(-std::accumulate(page.begin(), page.end(), 0));
  state_.queue_failed = false;
  state_.failed = {};
  return page;
}

HardDisk::Page HardDisk::identity() const {
  // A geometry for those who want one; it covers no more than the first 8 GB.
  constexpr uint64_t kHeads = 16, kTrack = 63, kMostCylinders = 16383;
  Page out{};
  const auto set = [&out](size_t word, uint64_t value, size_t words = 1) {
    store_little_endian(std::span(out).subspan(2 * word, 2 * words), value);
  };
  const auto of_mode = [this](unsigned first) {
    const unsigned mode = state_.transfer_mode - first;
    return mode < 8 ? 1u << (8 + mode) : 0u;
  };
  set(0, 0x0040);  // neither removable nor a packet device
  set(1, std::clamp<uint64_t>(sectors() / (kHeads * kTrack), 1, kMostCylinders));
  set(3, kHeads);
  set(6, kTrack);
  set_text(std::span(out).subspan(20, 20), serial_);
  set_text(std::span(out).subspan(46, 8), "1.0");
  set_text(std::span(out).subspan(54, 40), "NESTOR HARD DISK");
  set(47, 0x8000 | kMostMultiple);
  set(49, 0x0f00);  // DMA, LBA, IORDY that can be disabled
  set(50, 0x4000);
  set(53, 0x0006);  // words 64 to 70, and 88, are valid
  if (state_.multiple != 0) set(59, 0x0100u | state_.multiple);
  set(60, std::min(sectors(), kMostNarrowSectors), 2);
  set(63, 0x0007 | of_mode(0x20));  // multiword DMA
  set(64, 0x0003);                  // PIO 3 and 4
  for (const size_t word : {65, 66, 67, 68}) set(word, 120);
  set(75, kQueueDepth - 1);
  set(76, 0x0102);  // native command queueing; 1.5 Gbit/s
  set(80, 0x01f0);  // ATA8-ACS and before
  // Power management, write cache, look-ahead, NOP; FLUSH CACHE and that EXT, 48-bit addresses;
  // general purpose logging, WRITE DMA FUA EXT. Then the same as far as it is enabled.
  set(82, 0x4068), set(83, 0x7400), set(84, 0x4060);
  set(85, 0x4008u | (state_.write_cache ? 0x20u : 0u) | (state_.look_ahead ? 0x40u : 0u));
  set(86, 0x3400), set(87, 0x4060);
  set(88, 0x003f | of_mode(0x40));  // Ultra DMA
  set(100, sectors(), 4);
  out[510] = 0xa5;  // all bytes add up to 0
  out[511] = static_cast<uint8_t>(-std::accumulate(out.begin(), out.end(), 0));
  return out;
}

void HardDisk::serialize(Archive& archive) {
  archive(state_);
  const uint8_t mode = state_.transfer_mode;
  archive.require(set_transfer_mode(mode));
  archive.require(state_.multiple <= kMostMultiple &&
                  (state_.multiple & (state_.multiple - 1)) == 0);
  archive.require(state_.failed_tag < kQueueDepth);
  disk_->serialize(archive);
}

}  // namespace nestor::emu
