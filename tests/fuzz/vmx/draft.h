// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <optional>
#include <vector>

#include "tests/fuzz/vmx/case.h"
#include "tests/fuzz/vmx/random.h"
#include "vmx/capabilities.h"

namespace nestor::fuzz {

enum class GuestMode : uint8_t {
  kLong,
  kUser,
  kCompatibility,
  kPae,
  k32Bit,
  kUnpaged,
  kReal,
  kV86
};

// A case under construction, and the VMCS that it makes.
struct Draft {
  Random random;
  Case result;
  GuestMode mode = GuestMode::kLong;

  // All outlive the draft. `other`: a second processor that must know all fields, too.
  Draft(uint64_t seed, const Case& base_of_all, const vmx::Capabilities& own,
        const std::optional<vmx::Capabilities>& other)
      : random(seed), base_(base_of_all), own_(own), other_(other) {
    result.seed = seed;
  }
  vmx::Vmcs vmcs() const { return vmcs_of(base_, result); }
  uint64_t get(vmx::Field field) const { return vmcs()[field]; }
  // A field that a processor does not have stays away.
  void set(vmx::Field field, uint64_t value);
  template <vmx::Control C>
  void turn(vmx::Field field, C control, bool on) {
    set(field, on ? get(field) | vmx::mask(control) : get(field) & ~uint64_t{vmx::mask(control)});
  }
  void put(uint64_t address, uint64_t value, unsigned size = 8);
  // What a register has at VM entry, by its number in a case.
  uint64_t reg(unsigned number) const;
  uint64_t cr4_offered() const {
    return own_.cr4_fixed1() & (other_ ? other_->cr4_fixed1() : ~0ull);
  }
  bool passes(const vmx::EntryCheck& check) const;
  std::optional<vmx::CheckGroup> fails() const;

 private:
  const Case& base_;
  const vmx::Capabilities& own_;
  const std::optional<vmx::Capabilities>& other_;
};

}  // namespace nestor::fuzz
