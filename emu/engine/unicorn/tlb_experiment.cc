// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where the TLB is, and that it can be exchanged.
#include <algorithm>
#include <array>
#include <bit>

#include "emu/engine/unicorn/experiment.h"
#include "emu/engine/unicorn/tlb_images.h"

namespace nestor::emu {

// It stands before the registers, at some distance, and is empty.
std::optional<std::string> Experiment::find_tlb() {
  using Place = TlbPlace;
  constexpr size_t kMostBetween = 256;
  uc_ctl_flush_tlb(uc_);
  std::array<uint8_t, Place::kMostBytes + kMostBetween> before;
  uint8_t* const registers = live_state_ + layout_.gpr;
  if (!copy_if_mapped(registers - before.size(), before)) return "the TLB";
  const auto word = [&before](size_t at) {
    uint64_t value;
    std::memcpy(&value, &before[at], sizeof value);
    return value;
  };
  const auto is_pointer = [&](size_t at) {
    uint8_t byte;
    return copy_if_mapped(std::bit_cast<uint8_t*>(word(at)), std::span(&byte, 1));
  };
  const auto is_fast = [&](size_t at) {
    const uint64_t entries = word(at) / Place::kEntry + 1;
    return word(at) % Place::kEntry == 0 && std::has_single_bit(entries) && entries >= 64 &&
           entries <= 1 << 20 && is_pointer(at + Place::kTableAt);
  };
  const auto is_slow = [&](size_t at) {
    return word(at) == ~0ull && word(at + 8) == ~0ull && word(at + Place::kVictimsAt) == ~0ull &&
           is_pointer(at + Place::kAttributesAt);
  };
  const auto all = [](size_t at, size_t size, const auto& is_one) {
    bool holds = true;
    for (size_t mode = 0; holds && mode != Place::kModes; ++mode) holds = is_one(at + mode * size);
    return holds;
  };
  for (size_t padding : {size_t{0}, size_t{8}}) {
    const size_t fast = Place::kCommon + Place::kModes * Place::kSlow + padding;
    for (size_t at = 0; at + fast + Place::kModes * Place::kFast <= before.size(); at += 8) {
      if (!all(at + Place::kCommon, Place::kSlow, is_slow)) continue;
      if (!all(at + fast, Place::kFast, is_fast)) continue;
      tlb_ = {registers - before.size() + at, fast};
      return std::nullopt;
    }
  }
  return "the TLB";
}

// What one TLB holds must be there after another was used, and the code that was found with it.
std::optional<std::string> Experiment::prove_tlb() {
  const auto page = [this](uint64_t physical) { return scratch_ + (physical - svm::kScratch); };
  constexpr uint64_t kAt = 0x40;
  vmx::CpuState state = long_mode();
  state.rip = kCode + kAt;
  state.gpr[vmx::kRax] = kData;
  data_ = kOther;
  *page(kOther) = 0x5a;
  *page(kThird) = 0xa5;
  constexpr std::array<uint8_t, 5> kOtherCode{0x8a, 0x18, 0xb1, 0x02, 0xf4};
  std::ranges::copy(kOtherCode, page(kOther) + kAt);          // mov bl, [rax]; mov cl, 2; hlt
  enter(state, {0x8a, 0x18, 0xb1, 0x01, 0xf4}, kCode + kAt);  // mov bl, [rax]; mov cl, 1; hlt
  TlbImages images(uc_, tlb_);
  const std::array tlbs{images.add(), images.add()};
  struct Round {
    unsigned tlb;
    uint64_t data, code;
    uint8_t bl, cl;
    unsigned fills;
  };
  constexpr std::array kRounds = {
      Round{0, kOther, kCode, 0x5a, 1, 1}, Round{1, kThird, kOther, 0xa5, 2, 2},
      Round{0, kThird, kOther, 0x5a, 1, 2}, Round{1, kOther, kCode, 0xa5, 2, 2}};
  data_fills_ = 0;
  for (const Round& round : kRounds) {
    images.select(tlbs[round.tlb],
                  round.tlb == 0 ? TlbImages::Group::kPlain : TlbImages::Group::kMarked);
    data_ = round.data;
    code_ = round.code;
    std::memcpy(live_state_ + layout_.gpr, state.gpr.data(), sizeof state.gpr);
    const uint32_t flags = svm::hidden_flags(state) | hidden_rest_ | images.hidden_flags();
    std::memcpy(live_state_ + layout_.hflags, &flags, sizeof flags);
    trap_ = 0;
    uc_emu_start(uc_, state.rip, 0, 0, 0);
    save();
    if (trap_ != 0x178 || at<uint8_t>(layout_.gpr + 8 * vmx::kRbx) != round.bl ||
        at<uint8_t>(layout_.gpr + 8 * vmx::kRcx) != round.cl || data_fills_ != round.fills ||
        at<uint32_t>(layout_.hflags) != flags) {
      return "how to exchange the TLB";
    }
  }
  code_ = kCode;
  return std::nullopt;
}

}  // namespace nestor::emu
