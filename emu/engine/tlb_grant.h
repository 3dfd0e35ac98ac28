// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a page-miss handler is asked for, and what it grants.
#pragma once

#include <cstdint>

namespace nestor::emu {

enum class FillAccess : uint8_t { kRead, kWrite, kFetch };

// What a page-miss handler grants: one 4-KByte page.
struct TlbGrant {
  uint64_t physical = 0;  // page aligned
  bool device = false;    // not RAM: accesses reach EngineClient::read_device, fetches read ones
  bool read = false, write = false, execute = false;

  bool allows(FillAccess access) const {
    return access == FillAccess::kRead ? read : access == FillAccess::kWrite ? write : execute;
  }

  template <class Archive>
  void fields(Archive& archive) {
    archive(physical, device, read, write, execute);
  }
};

}  // namespace nestor::emu
