// SPDX-License-Identifier: GPL-2.0-or-later
//
// The interrupt lines of a PC. Several devices may drive one; it is high while any of them drives
// it high.
#pragma once

#include <array>
#include <functional>
#include <utility>
#include <vector>

#include "emu/memory/archive.h"

namespace nestor::emu {

class InterruptLines;

// One device's end of a line. It begins low; one that is made without a line leads nowhere.
class InterruptSource {
 public:
  InterruptSource() = default;
  InterruptSource(InterruptSource&& other) noexcept
      : lines_(std::exchange(other.lines_, nullptr)), line_(other.line_), level_(other.level_) {}
  InterruptSource& operator=(InterruptSource&&) = delete;

  void set(bool level);
  bool level() const { return level_; }
  // A load changes what the line knows of this source; receivers have their own state, and are not
  // called.
  void serialize(Archive& archive);

 private:
  friend InterruptLines;
  InterruptSource(InterruptLines& lines, unsigned line) : lines_(&lines), line_(line) {}

  InterruptLines* lines_ = nullptr;
  unsigned line_ = 0;
  bool level_ = false;
};

class InterruptLines {
 public:
  // 0..15 are the ISA lines; the others exist at the I/O APIC only.
  static constexpr unsigned kCount = 24;
  // The level of a line. Called when a source sets its own, but for one that lets go of a line that
  // others hold high.
  using Receiver = std::function<void(unsigned line, bool level)>;

  InterruptLines() = default;
  InterruptLines(const InterruptLines&) = delete;
  InterruptLines& operator=(const InterruptLines&) = delete;

  // Receivers are called in the order in which they were added.
  void lead_to(Receiver receiver) { receivers_.push_back(std::move(receiver)); }
  // `line` is below kCount. The lines outlive the source.
  InterruptSource source(unsigned line) { return {*this, line}; }

 private:
  friend InterruptSource;
  void count(unsigned line, bool before, bool level) {
    high_[line] += unsigned{level} - unsigned{before};
  }
  void set(unsigned line, bool before, bool level) {
    count(line, before, level);
    if (!level && high_[line] != 0) return;
    for (const Receiver& receiver : receivers_) receiver(line, level);
  }

  std::array<unsigned, kCount> high_{};  // how many sources hold each line high
  std::vector<Receiver> receivers_;
};

inline void InterruptSource::set(bool level) {
  const bool before = std::exchange(level_, level);
  if (lines_ != nullptr) lines_->set(line_, before, level);
}

inline void InterruptSource::serialize(Archive& archive) {
  const bool before = level_;
  archive(level_);
  if (lines_ != nullptr) lines_->count(line_, before, level_);
}

}  // namespace nestor::emu
