// SPDX-License-Identifier: GPL-2.0-or-later
//
// Finds out, by experiment, where this Unicorn keeps what its API does not name, and proves that
// the techniques the adapter rests on work with it.
#pragma once

#include <unicorn/unicorn.h>

#include <cstdint>
#include <string>
#include <variant>

#include "emu/engine/unicorn/layout.h"

namespace nestor::emu {

struct Calibrated {
  Layout layout;
  uc_context* context = nullptr;  // of a CPU in guest mode; the caller frees it
  // Where the engine has what a saved context has, at the same offsets; valid from `layout.gpr` on.
  uint8_t* live_state = nullptr;
  uint32_t hidden_flags_rest = 0;
  TlbPlace tlb;
};

// `uc` is freshly opened, without memory and hooks; on success it is in guest mode with everything
// trapped, the private pages mapped from `scratch` (svm::kScratchSize bytes, page aligned), no
// hooks left. On failure the result says what could not be found, without a full stop.
std::variant<Calibrated, std::string> calibrate(uc_engine* uc, uint8_t* scratch);

}  // namespace nestor::emu
