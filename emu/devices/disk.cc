// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/disk.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "emu/devices/efi_disk.h"

namespace nestor::emu {
namespace {

// What a file is used as, for messages.
struct Use {
  const DiskConfig& config;
  std::string what, option;

  [[noreturn]] void refuse(const std::string& why) const {
    throw DiskError("cannot use '" + config.path + "' as " + what + ": " + why);
  }
};

Use use_of(const DiskConfig& config, Disk::Kind kind) {
  if (kind == Disk::Kind::kCd) return {config, "a CD", "--cdrom"};
  if (kind == Disk::Kind::kFlash) return {config, "firmware's variables", "--firmware-vars"};
  if (config.efi_application) return {config, "an EFI application", "--efi-application"};
  return {config, "a disk", "--disk"};
}

// The size of an open file, or why it cannot be used.
uint64_t size_of_file(int descriptor, const Use& use) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) use.refuse(std::strerror(errno));
  if (S_ISDIR(status.st_mode)) use.refuse("it is a directory; name a raw file");
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
    use.refuse("it is neither a file nor a block device; copy it into a file");
  const off_t end = ::lseek(descriptor, 0, SEEK_END);
  if (end < 0) use.refuse(std::strerror(errno));
  return static_cast<uint64_t>(end);
}

// The same of a disk. What sizes a flash may have it says itself.
uint64_t size_of(int descriptor, const Use& use, Disk::Kind kind) {
  const uint64_t bytes = size_of_file(descriptor, use);
  if (kind == Disk::Kind::kFlash) {
    if (bytes == 0) use.refuse("it is empty; copy OVMF_VARS.fd");
    return bytes;
  }
  if (bytes == 0) use.refuse("it is empty; make a larger one, as with truncate -s 64M");
  if (bytes % Disk::kSectorBytes != 0)
    use.refuse("its size, " + std::to_string(bytes) +
               " bytes, is no multiple of 512; lengthen it, as with truncate -s %512");
  return bytes;
}

// A file system that has no locks does without.
void lock(int descriptor, const Use& use, Disk::Kind kind) {
  const DiskConfig& config = use.config;
  if (::flock(descriptor, (config.writable ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0) return;
  if (errno != EWOULDBLOCK) return;
  if (kind == Disk::Kind::kFlash) use.refuse("another process uses it; make a copy");
  use.refuse(config.writable ? "another process uses it, and writable=on needs it alone"
                             : "another process writes to it; make a copy");
}

}  // namespace

Disk::Disk(const DiskConfig& config, Kind kind)
    : path_(config.path),
      writable_(config.writable),
      kind_(kind),
      watcher_(config.watcher),
      descriptor_(
          ::open(config.path.c_str(), (writable_ ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK)) {
  const Use use = use_of(config, kind);
  if (descriptor_ < 0) {
    const std::string why = std::strerror(errno);
    use.refuse(config.bytes == 0
                   ? why
                   : why + "; it is the saved machine's, name it anew with " + use.option);
  }
  try {
    if (config.efi_application) {
      std::vector<uint8_t> file(
          std::min(size_of_file(descriptor_, use), kMaxEfiApplicationBytes + 1));
      if (!read_file(0, file)) use.refuse("it cannot be read");
      if (const std::string bad = check_efi_application(file); !bad.empty()) use.refuse(bad);
      made_ = make_efi_disk(file);
    }
    bytes_ = made_.empty() ? size_of(descriptor_, use, kind) : made_.size();
    if (config.bytes != 0 && config.bytes != bytes_) {
      use.refuse("it has " + std::to_string(bytes_) + " bytes, and that of the saved machine " +
                 std::to_string(config.bytes) + "; name the one that it had with " + use.option);
    }
    lock(descriptor_, use, kind);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

Disk::~Disk() { ::close(descriptor_); }

bool Disk::fail(const char* doing, int error) const {
  if (watcher_ != nullptr) {
    watcher_->disk_failed(std::string("cannot ") + doing +
                          (kind_ == Kind::kFlash ? " the variables '" : " the disk '") + path_ +
                          "': " + (error != 0 ? std::strerror(error) : "the file was shortened"));
  }
  return false;
}

bool Disk::read_file(uint64_t offset, std::span<uint8_t> out) const {
  if (!made_.empty()) {
    std::copy_n(made_.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    return true;
  }
  while (!out.empty()) {
    const ssize_t done = ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return fail("read", done < 0 ? errno : 0);
    offset += static_cast<uint64_t>(done);
    out = out.subspan(static_cast<size_t>(done));
  }
  return true;
}

bool Disk::write_file(uint64_t offset, std::span<const uint8_t> data) {
  while (!data.empty()) {
    const ssize_t done =
        ::pwrite(descriptor_, data.data(), data.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return fail("write to", errno);
    offset += static_cast<uint64_t>(done);
    data = data.subspan(static_cast<size_t>(done));
  }
  return true;
}

bool Disk::read(uint64_t offset, std::span<uint8_t> out) const {
  while (!out.empty()) {
    const uint64_t within = offset % kBlockBytes;
    const size_t size = std::min<uint64_t>(out.size(), kBlockBytes - within);
    const auto written = written_.find(offset / kBlockBytes);
    if (written != written_.end()) {
      std::copy_n(written->second.begin() + static_cast<std::ptrdiff_t>(within), size, out.begin());
    } else if (!read_file(offset, out.first(size))) {
      return false;
    }
    offset += size;
    out = out.subspan(size);
  }
  return true;
}

// The block in memory, with what the disk has there. nullptr: the file cannot be read.
Disk::Block* Disk::block_to_write(uint64_t number) {
  const auto found = written_.find(number);
  if (found != written_.end()) return &found->second;
  Block block{};
  const uint64_t offset = number * kBlockBytes;
  const size_t size = std::min(kBlockBytes, bytes_ - offset);  // the last one may be short
  if (!read_file(offset, std::span(block).first(size))) return nullptr;
  return &written_.emplace(number, block).first->second;
}

bool Disk::write(uint64_t offset, std::span<const uint8_t> data) {
  if (writable_) return write_file(offset, data);
  while (!data.empty()) {
    const uint64_t within = offset % kBlockBytes;
    const size_t size = std::min<uint64_t>(data.size(), kBlockBytes - within);
    Block* const block = block_to_write(offset / kBlockBytes);
    if (block == nullptr) return false;
    std::copy_n(data.begin(), size, block->begin() + static_cast<std::ptrdiff_t>(within));
    offset += size;
    data = data.subspan(size);
  }
  return true;
}

bool Disk::flush() {
  return !writable_ || ::fdatasync(descriptor_) == 0 || fail("write to", errno);
}

void Disk::serialize(Archive& archive) {
  const uint64_t blocks = (bytes_ + kBlockBytes - 1) / kBlockBytes;
  uint64_t count = written_.size();
  archive(count);
  archive.require(count <= (writable_ ? 0 : blocks));
  if (!archive.loads()) {
    for (auto& [number, block] : written_) {
      uint64_t saved = number;
      archive(saved);
      archive.bytes(block);
    }
    return;
  }
  written_.clear();
  for (uint64_t i = 0, next = 0; i < count && archive.ok(); ++i) {
    uint64_t number = 0;
    archive(number);
    archive.require(number >= next && number < blocks);
    if (!archive.ok()) return;
    archive.bytes(written_[number]);
    next = number + 1;
  }
}

}  // namespace nestor::emu
