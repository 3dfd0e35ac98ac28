// SPDX-License-Identifier: GPL-2.0-or-later
//
// Cases on the boundary of validity: a valid VMCS in which checks of the table are violated, or
// only just satisfied; with random EPT entries and a few instructions for L2.
#pragma once

#include <optional>

#include "tests/fuzz/vmx/case.h"
#include "vmx/capabilities.h"

namespace nestor::fuzz {

struct Draft;

// Cases from this seed on are also about what kinds.h has; what the earlier ones are never changes.
inline constexpr uint64_t kFirstSeedOfKinds = 10'000'000'000;

class Generator {
 public:
  // `other`: a second processor; then the cases mean the same on both.
  Generator(const Case& base, const vmx::Capabilities& own,
            const std::optional<vmx::Capabilities>& other);

  Case make(uint64_t seed) const;

 private:
  void choose_mode(Draft&) const;
  void choose_controls(Draft&) const;
  void choose_injection(Draft&) const;
  void change_ept(Draft&) const;
  void choose_code(Draft&) const;
  void choose_kinds(Draft&) const;
  void approach_boundary(Draft&) const;
  uint64_t mutated(Draft&, vmx::Field field, uint64_t value) const;
  void keep_comparable(Draft&, const Case& before) const;
  void keep_l1_alive(Draft&) const;

  const Case& base_;
  const vmx::Capabilities own_;
  const std::optional<vmx::Capabilities> other_;
};

// The group of the first check that fails; std::nullopt: VM entry succeeds, as far as the VMCS
// tells.
std::optional<vmx::CheckGroup> first_failing_group(const vmx::Vmcs& vmcs,
                                                   const vmx::Capabilities& capabilities,
                                                   const vmx::MemoryReader* memory);

}  // namespace nestor::fuzz
