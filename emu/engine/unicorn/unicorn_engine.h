// SPDX-License-Identifier: GPL-2.0-or-later
//
// The engine that Unicorn is. Nothing outside this folder names Unicorn, SVM or a VMCB.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "emu/engine/engine.h"

namespace nestor::emu {

// An EngineFactory.
std::variant<std::unique_ptr<Engine>, HostError> create_unicorn_engine(
    const std::vector<RamRange>& ram, Prices& prices, unsigned processors);

// The version of the library in use, "major.minor.patch".
std::string unicorn_version();

}  // namespace nestor::emu
