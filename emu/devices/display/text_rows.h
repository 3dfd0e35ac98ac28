// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace nestor::emu {

// The rows of a text screen as Screen::text() has them. `character`: the code in a cell, counted
// from the top left one.
std::string text_rows(unsigned columns, unsigned rows,
                      const std::function<uint8_t(unsigned cell)>& character);

}  // namespace nestor::emu
