// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/virtio/block.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "emu/memory/little_endian.h"

namespace nestor::emu {
namespace {

constexpr uint16_t kBlockDevice = 2;
constexpr uint32_t kScsiStorage = 0x010000;  // class code
enum Feature : uint64_t { kSegmentMax = 1u << 2, kBlockSize = 1u << 6, kFlush = 1u << 9 };

enum Request : uint32_t { kIn = 0, kOut = 1, kFlushRequest = 4, kGetId = 8 };
constexpr uint64_t kRequestBytes = 16;  // type, reserved, sector
enum Status : uint8_t { kOk = 0, kIoError = 1, kUnsupported = 2 };
constexpr size_t kIdentityBytes = 20;

std::vector<uint8_t> block_configuration(const Disk& disk) {
  enum Offset : size_t { kCapacity = 0, kSegments = 12, kLogicalBlock = 20, kBytes = 24 };
  std::vector<uint8_t> out(kBytes);
  const auto set = [&](size_t offset, size_t size, uint64_t value) {
    store_little_endian(std::span(out).subspan(offset, size), value);
  };
  set(kCapacity, 8, disk.bytes() / Disk::kSectorBytes);
  set(kSegments, 4, Virtqueue::kMaxSize - 2);  // one for the request, one for its status
  set(kLogicalBlock, 4, Disk::kSectorBytes);
  return out;
}

}  // namespace

VirtioBlock::VirtioBlock(VirtioPlace place, std::unique_ptr<Disk> disk, std::string identity)
    : VirtioFunction(std::move(place),
                     {kBlockDevice, kScsiStorage, kSegmentMax | kBlockSize | kFlush,
                      block_configuration(*disk)}),
      disk_(std::move(disk)),
      identity_(std::move(identity)) {}

uint64_t VirtioBlock::duration(unsigned /*queue*/, const VirtqueueChain& chain) const {
  const uint64_t bytes = std::max(chain.readable_bytes, chain.writable_bytes);
  return kRequestCycles + bytes / Disk::kBlockBytes * kCyclesPerBlock;
}

bool VirtioBlock::is_on_disk(uint64_t sector, uint64_t size) const {
  const uint64_t sectors = disk_->bytes() / Disk::kSectorBytes;
  return size % Disk::kSectorBytes == 0 && sector <= sectors &&
         size / Disk::kSectorBytes <= sectors - sector;
}

bool VirtioBlock::read_disk(uint64_t sector, uint64_t size, VirtqueueStream& to) {
  std::array<uint8_t, Disk::kBlockBytes> block;
  for (uint64_t done = 0; done < size; done += block.size()) {
    const auto piece = std::span(block).first(std::min<uint64_t>(block.size(), size - done));
    if (!disk_->read(sector * Disk::kSectorBytes + done, piece) || !to.write(piece)) return false;
  }
  return true;
}

bool VirtioBlock::write_disk(uint64_t sector, uint64_t size, VirtqueueStream& from) {
  std::array<uint8_t, Disk::kBlockBytes> block;
  for (uint64_t done = 0; done < size; done += block.size()) {
    const auto piece = std::span(block).first(std::min<uint64_t>(block.size(), size - done));
    if (!from.read(piece) || !disk_->write(sector * Disk::kSectorBytes + done, piece)) return false;
  }
  return true;
}

std::optional<uint32_t> VirtioBlock::serve(unsigned /*queue*/, const VirtqueueChain& chain) {
  VirtqueueStream from(memory(), chain.readable), to(memory(), chain.writable);
  std::array<uint8_t, kRequestBytes> request{};
  if (!from.read(request) || chain.writable_bytes == 0) return std::nullopt;
  const uint64_t type = load_little_endian(std::span(request).first(4));
  const uint64_t sector = load_little_endian(std::span(request).last(8));
  const uint64_t out_bytes = chain.readable_bytes - kRequestBytes;
  const uint64_t in_bytes = chain.writable_bytes - 1;  // the last byte is the status
  uint64_t written = 0;                                // before the status
  Status status = kOk;
  switch (type) {
    case kIn:
      if (!is_on_disk(sector, in_bytes) || !read_disk(sector, in_bytes, to)) {
        status = kIoError;
      } else {
        written = in_bytes;
      }
      break;
    case kOut:
      if (!is_on_disk(sector, out_bytes) || !write_disk(sector, out_bytes, from)) status = kIoError;
      break;
    case kFlushRequest:
      if (!disk_->flush()) status = kIoError;
      break;
    case kGetId: {
      std::array<uint8_t, kIdentityBytes> text{};
      std::copy_n(identity_.begin(), std::min(identity_.size(), text.size()), text.begin());
      written = std::min<uint64_t>(in_bytes, text.size());
      if (!to.write(std::span(text).first(written))) return std::nullopt;
      break;
    }
    default:
      status = kUnsupported;
      break;
  }
  const std::array<uint8_t, 1> last = {status};
  VirtqueueStream end(memory(), chain.writable);
  if (!end.skip(in_bytes) || !end.write(last)) return std::nullopt;
  // Only without a gap does the status count.
  return static_cast<uint32_t>(written == in_bytes ? written + 1 : written);
}

}  // namespace nestor::emu
