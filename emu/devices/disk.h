// SPDX-License-Identifier: GPL-2.0-or-later
//
// The content of a disk: a raw file, and what was written over it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "emu/memory/archive.h"

namespace nestor::emu {

// Is notified whenever the host refuses to read or write the file of a disk.
class DiskWatcher {
 public:
  // One sentence that names the file and the reason.
  virtual void disk_failed(const std::string& what) = 0;

 protected:
  ~DiskWatcher() = default;
};

// A disk as a user asks for it.
struct DiskConfig {
  static constexpr size_t kMaxPathBytes = 4096;
  std::string path;
  bool writable = false;           // the file is; otherwise what is written stays in memory
  uint64_t bytes = 0;              // the file has so many; 0: that is not known yet
  DiskWatcher* watcher = nullptr;  // outlives the disk
  bool efi_application = false;    // the file is one, and the disk has it for UEFI firmware
  bool ahci = false;               // behind AHCI; otherwise it is a virtio disk

  bool operator==(const DiskConfig&) const = default;
  void fields(Archive& archive) {
    archive.sequence(path, kMaxPathBytes);
    archive(writable, efi_application, ahci, bytes);
  }
};

// The file cannot be used. what() is one line that names it and what is wrong.
class DiskError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Disk {
 public:
  enum class Kind : uint8_t { kDisk, kCd, kFlash };  // what messages call it
  static constexpr uint64_t kSectorBytes = 512, kBlockBytes = 4096;

  // Opens the file. While it is in use nobody else may write to it, and with `writable` nobody else
  // may use it as a disk. Throws DiskError.
  explicit Disk(const DiskConfig& config, Kind kind = Kind::kDisk);
  ~Disk();
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  uint64_t bytes() const { return bytes_; }
  // What lies within bytes(). false: the host cannot read or write the file.
  [[nodiscard]] bool read(uint64_t offset, std::span<uint8_t> out) const;
  [[nodiscard]] bool write(uint64_t offset, std::span<const uint8_t> data);
  [[nodiscard]] bool flush();

  // What was written and is not in the file.
  void serialize(Archive& archive);

 private:
  using Block = std::array<uint8_t, kBlockBytes>;

  bool read_file(uint64_t offset, std::span<uint8_t> out) const;
  bool write_file(uint64_t offset, std::span<const uint8_t> data);
  Block* block_to_write(uint64_t number);
  // By errno, or with 0 because the file has become too short. Returns false.
  bool fail(const char* doing, int error) const;

  const std::string path_;
  const bool writable_;
  const Kind kind_;
  DiskWatcher* const watcher_;
  int descriptor_;
  uint64_t bytes_ = 0;
  std::vector<uint8_t> made_;          // the content, where it was made of the file
  std::map<uint64_t, Block> written_;  // by number
};

}  // namespace nestor::emu
