// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/efi_disk.h"

#include <algorithm>
#include <string_view>

namespace nestor::emu {
namespace {

constexpr uint32_t kSector = 512, kEntry = 32;
// FAT16 has at least 4085 clusters and at most 65524; away from both ends nobody miscounts.
constexpr uint64_t kMinClusters = 8192, kMaxClusters = 60'000;
constexpr uint32_t kReserved = 1, kFats = 2, kRootEntries = 512;
constexpr uint8_t kFixedDisk = 0xf8;  // media descriptor
constexpr uint16_t kEndOfFile = 0xffff;
constexpr uint8_t kDirectory = 0x10, kArchive = 0x20;
constexpr uint16_t kFirstDay = 0x0021;  // 1980-01-01, the earliest there is
// Clusters of the two directories; the file follows.
constexpr uint16_t kEfi = 2, kBoot = 3, kFile = 4;

uint64_t divide_up(uint64_t whole, uint64_t part) { return (whole + part - 1) / part; }

class FatWriter {
 public:
  explicit FatWriter(uint64_t file_bytes) {
    while (clusters_for(file_bytes) > kMaxClusters) sectors_per_cluster_ *= 2;
    clusters_ = std::max(kMinClusters, clusters_for(file_bytes));
    fat_sectors_ = static_cast<uint32_t>(divide_up((clusters_ + 2) * 2, kSector));
    image_.resize((data_sector() + clusters_ * sectors_per_cluster_) * kSector);
  }

  void write_boot_sector() {
    const uint64_t sectors = image_.size() / kSector;
    text(0, "\xeb\x3c\x90NESTOR  ");
    number(11, kSector, 2);
    number(13, sectors_per_cluster_, 1);
    number(14, kReserved, 2);
    number(16, kFats, 1);
    number(17, kRootEntries, 2);
    if (sectors < 0x10000) {
      number(19, sectors, 2);
    } else {
      number(32, sectors, 4);
    }
    number(21, kFixedDisk, 1);
    number(22, fat_sectors_, 2);
    number(24, 63, 2);  // sectors a track, and heads: of no use to anybody
    number(26, 255, 2);
    number(36, 0x80, 1);  // the first fixed disk
    number(38, 0x29, 1);  // three fields follow
    number(39, 0x4e455354, 4);
    text(43, "EFI        FAT16   ");
    number(510, 0xaa55, 2);
  }
  // A chain of clusters that follow each other.
  void write_chain(uint64_t first, uint64_t count) {
    for (uint64_t fat = 0; fat < kFats; ++fat) {
      const uint64_t table = (kReserved + fat * fat_sectors_) * kSector;
      number(table, 0xff00 | kFixedDisk, 2);
      number(table + 2, kEndOfFile, 2);
      for (uint64_t i = 0; i < count; ++i)
        number(table + (first + i) * 2, i + 1 == count ? kEndOfFile : first + i + 1, 2);
    }
  }
  // `name`: 8 characters and 3.
  void write_entry(uint64_t directory, unsigned index, std::string_view name, uint8_t attributes,
                   uint64_t first, uint64_t size) {
    const uint64_t at = directory + index * kEntry;
    text(at, name);
    number(at + 11, attributes, 1);
    for (const unsigned date : {16u, 18u, 24u}) number(at + date, kFirstDay, 2);
    number(at + 26, first, 2);
    number(at + 28, size, 4);
  }
  void write_data(uint64_t first, std::span<const uint8_t> data) {
    std::ranges::copy(data, image_.begin() + static_cast<std::ptrdiff_t>(cluster(first)));
  }
  uint64_t root() const { return (kReserved + kFats * fat_sectors_) * uint64_t{kSector}; }
  uint64_t cluster(uint64_t number) const {
    return (data_sector() + (number - 2) * sectors_per_cluster_) * kSector;
  }
  uint64_t clusters_of(uint64_t bytes) const {
    return divide_up(bytes, sectors_per_cluster_ * kSector);
  }
  std::vector<uint8_t> take() && { return std::move(image_); }

 private:
  // All that the disk needs for a file.
  uint64_t clusters_for(uint64_t bytes) const { return 2 + clusters_of(bytes); }
  uint64_t data_sector() const {
    return kReserved + kFats * fat_sectors_ + kRootEntries * kEntry / kSector;
  }
  void number(uint64_t at, uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i) image_[at + i] = static_cast<uint8_t>(value >> (8 * i));
  }
  void text(uint64_t at, std::string_view text) {
    std::ranges::copy(text, image_.begin() + static_cast<std::ptrdiff_t>(at));
  }

  std::vector<uint8_t> image_;
  uint64_t sectors_per_cluster_ = 1, clusters_ = 0;
  uint32_t fat_sectors_ = 0;
};

uint32_t number_at(std::span<const uint8_t> file, uint64_t at, unsigned size) {
  uint32_t value = 0;
  for (unsigned i = 0; i < size && at + i < file.size(); ++i)
    value |= uint32_t{file[at + i]} << (8 * i);
  return value;
}

}  // namespace

// "PE Format" of Microsoft's documentation.
std::string check_efi_application(std::span<const uint8_t> file) {
  constexpr uint32_t kMz = 0x5a4d, kPe = 0x4550, kX64 = 0x8664, kPe32Plus = 0x20b;
  constexpr uint32_t kEfiApplication = 10;
  if (file.size() > kMaxEfiApplicationBytes) return "it has more than 256 MiB";
  const uint64_t header = number_at(file, 0x3c, 4);
  if (number_at(file, 0, 2) != kMz || number_at(file, header, 4) != kPe)
    return "it is no PE image; name an EFI application";
  if (number_at(file, header + 4, 2) != kX64 || number_at(file, header + 24, 2) != kPe32Plus)
    return "it is not for x86-64; build it for x86_64";
  const uint32_t subsystem = number_at(file, header + 92, 2);
  if (subsystem != kEfiApplication)
    return "its subsystem is " + std::to_string(subsystem) + ", and not 10, that of an application";
  return {};
}

std::vector<uint8_t> make_efi_disk(std::span<const uint8_t> file) {
  FatWriter to(file.size());
  to.write_boot_sector();
  to.write_chain(kEfi, 1);
  to.write_chain(kBoot, 1);
  to.write_chain(kFile, to.clusters_of(file.size()));
  to.write_entry(to.root(), 0, "EFI        ", kDirectory, kEfi, 0);
  const auto write_dots = [&to](uint16_t own, uint16_t parent) {
    to.write_entry(to.cluster(own), 0, ".          ", kDirectory, own, 0);
    to.write_entry(to.cluster(own), 1, "..         ", kDirectory, parent, 0);
  };
  write_dots(kEfi, 0);
  to.write_entry(to.cluster(kEfi), 2, "BOOT       ", kDirectory, kBoot, 0);
  write_dots(kBoot, kEfi);
  to.write_entry(to.cluster(kBoot), 2, "BOOTX64 EFI", kArchive, kFile, file.size());
  to.write_data(kFile, file);
  return std::move(to).take();
}

}  // namespace nestor::emu
