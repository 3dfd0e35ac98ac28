// SPDX-License-Identifier: GPL-2.0-or-later
//
// How two machines differ in one case, apart from what the SDM leaves undefined.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "tests/fuzz/vmx/case.h"
#include "tests/fuzz/vmx/outputs.h"

namespace nestor::fuzz {

enum class Item : uint8_t {
  kReason,       // of a VM exit, with the vector of an exception; `left` and `right`: the field
  kOutcome,      // one has no such VM exit; `left` and `right`: the VM-instruction error, or 0
  kInformation,  // VM-exit information; `key`: the encoding
  kGuest,        // guest state; `key`: the encoding
  kRegister,     // `key`: as in Case::registers
  kMemory,       // `key`: the page
};

// What both know when the difference shows up.
struct Situation {
  const vmx::Vmcs& entry;     // at the first VM entry of the case
  const ArenaMemory& memory;  // the same
  size_t index = 0;           // of the VM exit
  vmx::Vmcs before;           // guest state before the VM exit, as the left machine reported it
  vmx::Vmcs left, right;      // guest state after the VM exit
};

struct Difference {
  Item item{};
  uint32_t key = 0;
  uint64_t left = 0, right = 0;
  std::string words;  // what differs, without the values
  const Situation& situation;
  const Exit* left_exit = nullptr;  // nullptr: there is none
  const Exit* right_exit = nullptr;
};

// The encodings of VM-exit information.
inline constexpr uint32_t kReason = 0x4402, kQualification = 0x6400, kInterruption = 0x4404,
                          kInterruptionError = 0x4406, kVectoring = 0x4408,
                          kVectoringError = 0x440a, kLength = 0x440c, kInformation = 0x440e,
                          kGuestPhysical = 0x2400, kGuestLinear = 0x640a, kEntryControls = 0x4012;

// `visit` returns whether to go on. Nothing follows a difference of kind kReason or kOutcome.
void for_each_difference(const vmx::Vmcs& entry, const ArenaMemory& memory, const CaseOutput& left,
                         const CaseOutput& right,
                         const std::function<bool(const Difference&)>& visit);

}  // namespace nestor::fuzz
