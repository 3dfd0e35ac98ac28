// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>
#include <variant>

namespace nestor::emu {

// A file that takes its place when it is complete: until then what was there stays, and if this
// process is killed nothing is left of it, where the file system has files without a name.
class NewFile {
 public:
  // `path` does not exist or is a regular file; a link stays what it is. The error is an errno.
  [[nodiscard]] static std::variant<NewFile, int> open(const std::string& path);
  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  // Leaves nothing of what has not taken its place.
  ~NewFile();

  int descriptor() const { return descriptor_; }
  // Takes its place, on the disk too. An errno; 0: done. To be called once.
  [[nodiscard]] int finish();

 private:
  NewFile(std::string path, std::string part, bool named, int descriptor);
  int give_name();  // an errno; 0: it has one

  std::string path_, part_;
  bool named_;  // part_ is its name
  int descriptor_;
};

}  // namespace nestor::emu
