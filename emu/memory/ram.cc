// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/memory/ram.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "emu/memory/page_size.h"

namespace nestor::emu {
namespace {

std::string mebibytes(uint64_t size) {
  if (size % (1 << 20) != 0) return std::to_string(size) + " bytes";
  return std::to_string(size >> 20) + " MiB";
}

// Pages that this process has never touched are zeros; to look at them would give each a place in
// the host's memory.
class TouchedPages {
 public:
  TouchedPages() {
    if (::sysconf(_SC_PAGESIZE) == static_cast<long>(kPageSize)) {
      pagemap_ = ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    }
  }
  ~TouchedPages() {
    if (pagemap_ >= 0) ::close(pagemap_);
  }
  TouchedPages(const TouchedPages&) = delete;
  TouchedPages& operator=(const TouchedPages&) = delete;

  // Calls `use(offset)` for the pages of `range` that may have been touched, in ascending order.
  template <class Use>
  void for_each(const RamRange& range, const Use& use) const {
    constexpr uint64_t kPresentOrSwapped = uint64_t{3} << 62;
    std::array<uint64_t, 4096> entries;
    for (uint64_t first = 0; first < range.size; first += entries.size() * kPageSize) {
      const size_t pages = std::min<uint64_t>(entries.size(), (range.size - first) / kPageSize);
      const uint64_t place = reinterpret_cast<uint64_t>(range.host + first) / kPageSize;
      const auto bytes = static_cast<ssize_t>(pages * sizeof entries[0]);
      // A host that does not tell has touched all of them.
      if (::pread(pagemap_, entries.data(), static_cast<size_t>(bytes),
                  static_cast<off_t>(place * sizeof entries[0])) != bytes) {
        entries.fill(kPresentOrSwapped);
      }
      for (size_t i = 0; i != pages; ++i) {
        if ((entries[i] & kPresentOrSwapped) != 0) use(first + i * kPageSize);
      }
    }
  }

 private:
  int pagemap_ = -1;
};

bool is_of_firmware(uint64_t address) {
  return (address >= Ram::kShadow && address < Ram::kLegacyHoleEnd) ||
         (address >= Ram::kDeviceHole && address < Ram::kDeviceHoleEnd);
}

}  // namespace

Ram::Ram(uint64_t size, const Placement& placement)
    : size_(size), origin_(placement.origin), low_(placement.low), video_(placement.video) {
  if (size < kMinimumSize || size > kMaximumSize || size % kPageSize != 0) {
    throw RamError("cannot build a machine with " + mebibytes(size) +
                   " of memory: choose a multiple of 4 KiB from " + mebibytes(kMinimumSize) +
                   " to " + mebibytes(kMaximumSize));
  }
  const uint64_t low = std::min(size, kDeviceHole), high = size - low;
  guest_span_ = high ? kDeviceHoleEnd + high : placement.rom ? kDeviceHoleEnd : low;
  span_ = guest_span_ + placement.extra;
  const uint64_t mapped = span_ + low_ + video_;
  void* mapping =
      mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  const auto fail = [&] {
    const int error = errno;
    if (mapping != MAP_FAILED) munmap(mapping, mapped);
    throw RamError("the host cannot map " + mebibytes(size) + " of guest memory (" +
                   std::strerror(error) +
                   "): choose less memory, or allow more address space (ulimit -v, "
                   "vm.overcommit_memory)");
  };
  if (mapping == MAP_FAILED) fail();
  base_ = static_cast<uint8_t*>(mapping);
  const auto add_at = [&](uint64_t physical, uint64_t first, uint64_t end) {
    if (end <= first) return;
    // The holes stay inaccessible, so that a stray host access cannot go unnoticed.
    if (mprotect(base_ + first, end - first, PROT_READ | PROT_WRITE) != 0) fail();
    ranges_.push_back({physical, end - first, base_ + first});
  };
  const auto add = [&](uint64_t first, uint64_t end) { add_at(origin_ + first, first, end); };
  add(0, kLegacyHole);
  if (placement.rom != 0) add(kShadow, kLegacyHoleEnd);
  add(kLegacyHoleEnd, low);
  add(kDeviceHoleEnd - placement.rom, kDeviceHoleEnd);
  add(kDeviceHoleEnd, kDeviceHoleEnd + high);
  add(guest_span_, span_);
  add_at(0, span_, span_ + low_);
  add_at(nowhere(), span_ + low_, mapped);
  if (video_ != 0) ranges_.back().movable = true;
}

Ram::~Ram() { munmap(base_, span_ + low_ + video_); }

bool Ram::place_video(std::optional<uint64_t> base) {
  RamRange& video = ranges_.back();
  uint64_t first = base.value_or(nowhere());
  for (const RamRange& range : ranges_) {
    if (!range.movable && first < range.first + range.size && range.first < first + video_)
      first = nowhere();
  }
  if (first == video.first) return false;
  video.first = first;
  return true;
}

void Ram::set_read_only(uint64_t physical, uint64_t size, bool read_only) {
  read_only_.resize(page_numbers());
  for (uint64_t offset = 0; offset < size; offset += kPageSize)
    read_only_[page_number(host(physical + offset, kPageSize))] = read_only;
}

std::vector<MemoryMapEntry> Ram::memory_map() const {
  std::vector<MemoryMapEntry> map;
  for (const RamRange& range : ranges_) {
    if (!is_guest_ram(range.first) || is_of_firmware(range.first - origin_)) continue;
    map.push_back({range.first - origin_, range.size, MemoryMapEntry::kRam});
    if (range.first == origin_) {
      map.push_back({kLegacyHole, kLegacyHoleEnd - kLegacyHole, MemoryMapEntry::kReserved});
    }
  }
  return map;
}

void Ram::serialize(Archive& archive) {
  constexpr uint64_t kEnd = ~0ull;
  const TouchedPages touched;
  for (const RamRange& range : ranges_) {
    // The host takes the pages back, and they are zeros.
    if (archive.loads() && madvise(range.host, range.size, MADV_DONTNEED) != 0) {
      throw RamError("the host cannot clear guest memory (" + std::string(std::strerror(errno)) +
                     ")");
    }
    const auto save = [&](uint64_t offset) {
      archive(offset);
      if (offset != kEnd) archive.bytes({range.host + offset, kPageSize});
    };
    if (!archive.loads()) {
      touched.for_each(range, [&](uint64_t offset) {
        const uint8_t* page = range.host + offset;
        if (page[0] != 0 || std::memcmp(page, page + 1, kPageSize - 1) != 0) save(offset);
      });
      save(kEnd);
      continue;
    }
    for (uint64_t next = 0, offset = 0; archive.ok(); next = offset + kPageSize) {
      archive(offset);
      if (offset == kEnd) break;
      archive.require(offset % kPageSize == 0 && offset >= next && offset < range.size);
      if (archive.ok()) archive.bytes({range.host + offset, kPageSize});
    }
  }
}

bool Ram::read(uint64_t physical, std::span<uint8_t> out) const {
  const uint8_t* from = host(physical, out.size());
  if (!from) return false;
  if (!out.empty()) std::memcpy(out.data(), from, out.size());
  return true;
}

bool Ram::write(uint64_t physical, std::span<const uint8_t> data) {
  uint8_t* to = host(physical, data.size());
  if (!to) return false;
  if (!data.empty()) std::memcpy(to, data.data(), data.size());
  return true;
}

}  // namespace nestor::emu
