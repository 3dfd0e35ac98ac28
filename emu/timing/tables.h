// SPDX-License-Identifier: GPL-2.0-or-later
//
// The generated tables.
#pragma once

#include <cstdint>

#include "emu/timing/table_types.h"

namespace nestor::emu::timing {

enum class PriceTable : uint8_t { kHaswell, kBroadwell, kSkylakeServer, kIceLake };

// The number of the form that has this key; 0: none, which is a form of no operands.
uint16_t form_number(const EncodingKey& key);
const Form& form(uint16_t number);

// What the form costs; null: nobody has said.
const TablePrice* table_price(PriceTable table, uint16_t form_number);

}  // namespace nestor::emu::timing
