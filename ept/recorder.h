// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

namespace nestor::ept {

/// Which kind of paging structure an entry belongs to.
enum class Dimension : std::uint8_t { kGuest, kEpt, kSubPage };

/// One paging-structure entry used by a walk.
struct Step {
  Dimension dimension = Dimension::kGuest;
  /// 1 is the table of 4-KByte pages; the top level is 2 (32-bit, PAE), 4 or 5.
  std::uint8_t level = 0;
  /// Address of the entry in the space the walk runs in: guest-physical for a guest's entry that
  /// lies under EPT, otherwise equal to `machine_address`.
  std::uint64_t address = 0;
  /// Address of the entry after every translation below.
  std::uint64_t machine_address = 0;
  /// The entry as read; a 32-bit entry is zero-extended.
  std::uint64_t entry = 0;
  /// The entry as left in memory: differs from `entry` by accessed and dirty flags only.
  std::uint64_t written_back = 0;
};

/// Receives the steps of a walk in the order of the memory references.
template <class R>
concept Recorder = requires(R& recorder, const Step& step, std::uint64_t value) {
  { R::kRecords } -> std::convertible_to<bool>;
  recorder.record(step);
  recorder.wrote_back(value);
};

/// Records nothing and costs nothing.
struct NoSteps {
  static constexpr bool kRecords = false;
  constexpr void record(const Step&) {}
  constexpr void wrote_back(std::uint64_t) {}
};

/// Keeps the first `Capacity` steps; `total` tells how many there were.
template <std::size_t Capacity>
class RecordSteps {
 public:
  static constexpr bool kRecords = true;

  constexpr void record(const Step& step) {
    if (total_ < Capacity) steps_[total_] = step;
    ++total_;
  }
  /// The entry of the latest step was updated to `value`.
  constexpr void wrote_back(std::uint64_t value) {
    if (total_ != 0 && total_ <= Capacity) steps_[total_ - 1].written_back = value;
  }
  constexpr void clear() { total_ = 0; }

  [[nodiscard]] constexpr std::span<const Step> steps() const {
    return {steps_.data(), total_ < Capacity ? total_ : Capacity};
  }
  [[nodiscard]] constexpr std::size_t total() const { return total_; }

 private:
  std::array<Step, Capacity> steps_{};
  std::size_t total_ = 0;
};

/// The longest walk of two dimensions, five levels each: (5+1)(5+1)-1 references.
inline constexpr std::size_t kLongestNestedWalk = 35;
/// What sub-page write permissions add to a write: the four levels of their tables.
inline constexpr std::size_t kLongestSubPageWalk = 4;

static_assert(Recorder<NoSteps> && Recorder<RecordSteps<kLongestNestedWalk>>);

}  // namespace nestor::ept
