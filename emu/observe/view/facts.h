// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>

namespace nestor::emu {

// What the page must know of the architecture, out of the tables of the rooms, as JSON: the parts
// of exit qualifications, the bits of paging-structure entries, the meaning of fields.
std::string page_facts();

}  // namespace nestor::emu
