// SPDX-License-Identifier: GPL-2.0-or-later
//
// The options of QEMU 7.2 for x86, and what each becomes.
#pragma once

#include <span>

#include "emu/cli/qemu/wanted.h"

namespace nestor::emu::qemu {

// By name, without the hyphen. An option with an argument says in `argument` what stands for it.
[[nodiscard]] std::span<const Row<Wanted>> option_table();

}  // namespace nestor::emu::qemu
