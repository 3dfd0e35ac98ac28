// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/engine/unicorn/translations.h"

#include <bit>
#include <stdexcept>

namespace nestor::emu {

Translations::Translations(uc_engine* uc, const Limits& limits) : uc_(uc), limits_(limits) {
  uc_ctl_set_tcg_buffer_size(uc_, limits_.bytes);
}

bool Translations::hook_blocks(BlockHook hook, void* user) {
  hook_ = hook;
  user_ = user;
  return add_hook();
}

// A handle is where Unicorn keeps the hook: the function, and behind it what the function is
// handed, which translated code has as a constant.
bool Translations::add_hook() {
  records_.clear();
  next_ = &records_.emplace_back();
  next_->user = user_;
  void* const function = reinterpret_cast<void*>(hook_);
  if (uc_hook_add(uc_, &handle_, UC_HOOK_BLOCK, function, next_, 1, 0) != UC_ERR_OK) return false;
  constexpr size_t kWords = 8;  // of the hook that are looked at; it has more
  void** const words = std::bit_cast<void**>(handle_);
  slot_ = nullptr;
  for (size_t i = 0; i + 1 < kWords; ++i) {
    if (words[i] == function && words[i + 1] == next_) slot_ = &words[i + 1];
  }
  return slot_ != nullptr;
}

// The table of the hook goes with the hook alone.
void Translations::drop() {
  uc_ctl_flush_tb(uc_);
  blocks_ = 0;
  conditions_.clear();
  if (uc_hook_del(uc_, handle_) != UC_ERR_OK || !add_hook()) {
    throw std::logic_error("Unicorn refuses a hook that it had");
  }
}

void Translations::translate_again() {
  uc_ctl_remove_cache(uc_, again_.linear, again_.linear + 1);
  end_before(again_.end);
}

// At an address at which Unicorn is to end it translates HLT, whatever stands there.
void Translations::end_before(std::optional<uint64_t> linear) {
  if (linear == end_) return;
  end_ = linear;
  uint64_t exits[] = {linear.value_or(0)};
  uc_ctl_set_exits(uc_, exits, linear ? 1 : 0);
}

}  // namespace nestor::emu
