// SPDX-License-Identifier: GPL-2.0-or-later
//
// The interrupt lines of a PC. Several devices may drive one; it is high while any of them drives
// it high.
#pragma once

#include <algorithm>
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
      : lines_(std::exchange(other.lines_, nullptr)),
        line_(other.line_),
        replaceable_(other.replaceable_),
        level_(other.level_) {}
  InterruptSource& operator=(InterruptSource&&) = delete;

  void set(bool level);
  bool level() const { return level_; }
  // An interrupt of its line would reach a processor now, as far as that can be told.
  bool is_awaited() const;
  // A load changes what the line knows of this source; receivers have their own state, and are not
  // called.
  void serialize(Archive& archive);

 private:
  friend InterruptLines;
  InterruptSource(InterruptLines& lines, unsigned line, bool replaceable)
      : lines_(&lines), line_(line), replaceable_(replaceable) {}

  InterruptLines* lines_ = nullptr;
  unsigned line_ = 0;
  bool replaceable_ = false;
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

  // Whether a receiver passes on what a line does: software has not masked it.
  using Passes = std::function<bool(unsigned line)>;
  // Receivers are called in the order in which they were added.
  void lead_to(Receiver receiver) { receivers_.push_back(std::move(receiver)); }
  void lead_to(Receiver receiver, Passes passes) {
    lead_to(std::move(receiver));
    passes_.push_back(std::move(passes));
  }
  // `line` is below kCount. The lines outlive the source.
  InterruptSource source(unsigned line) { return {*this, line, false}; }
  // One whose place another device may take: an HPET that of the 8254 and of the real-time clock.
  InterruptSource replaceable_source(unsigned line) { return {*this, line, true}; }

  // What replaceable sources drive reaches the lines no longer, or again.
  void replace(bool replaced) {
    if (replaced == replaced_) return;
    std::array<bool, kCount> before{};
    for (unsigned line = 0; line < kCount; ++line) before[line] = is_high(line);
    replaced_ = replaced;
    for (unsigned line = 0; line < kCount; ++line) {
      if (is_high(line) != before[line]) tell(line, is_high(line));
    }
  }
  // After a load: as it was; receivers are not called.
  void restore_replacement(bool replaced) { replaced_ = replaced; }

 private:
  friend InterruptSource;
  void count(const InterruptSource& source, bool before) {
    (source.replaceable_ ? replaceable_high_ : high_)[source.line_] +=
        unsigned{source.level_} - unsigned{before};
  }
  void set(const InterruptSource& source, bool before) {
    count(source, before);
    if (replaced_ && source.replaceable_) return;
    if (!source.level_ && is_high(source.line_)) return;
    tell(source.line_, source.level_);
  }
  bool is_high(unsigned line) const {
    return high_[line] != 0 || (!replaced_ && replaceable_high_[line] != 0);
  }
  void tell(unsigned line, bool level) {
    for (const Receiver& receiver : receivers_) receiver(line, level);
  }

  std::array<unsigned, kCount> high_{},
      replaceable_high_{};  // how many sources hold each line high
  bool replaced_ = false;
  std::vector<Receiver> receivers_;
  std::vector<Passes> passes_;  // of those who know
};

inline void InterruptSource::set(bool level) {
  const bool before = std::exchange(level_, level);
  if (lines_ != nullptr) lines_->set(*this, before);
}

inline bool InterruptSource::is_awaited() const {
  if (lines_ == nullptr) return false;
  const auto passes = [this](const InterruptLines::Passes& each) { return each(line_); };
  return lines_->passes_.empty() || std::ranges::any_of(lines_->passes_, passes);
}

inline void InterruptSource::serialize(Archive& archive) {
  const bool before = level_;
  archive(level_);
  if (lines_ != nullptr) lines_->count(*this, before);
}

}  // namespace nestor::emu
