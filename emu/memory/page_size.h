// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "ept/address.h"

namespace nestor::emu {

using ept::kPageSize;

}  // namespace nestor::emu
