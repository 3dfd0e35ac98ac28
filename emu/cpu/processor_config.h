// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a user can choose of the processors of a machine.
#pragma once

#include <cstdint>

#include "vmx/processor_type.h"

namespace nestor::emu {

// How long cached translations stay.
enum class TlbModel : uint8_t {
  // Whatever invalidates any drops all, and so does each change of the address space.
  kFlush,
  // Those of other VPIDs, PCIDs and EPTPs wait. What is invalidated goes with all that has its
  // tags.
  kTagged,
  // Until an operation must invalidate them, and the use of one that the tables no longer hold is
  // reported.
  kKeep,
};

// What a run's time is made of.
enum class TimingModel : uint8_t {
  kFast,      // the constants of Prices
  kBlocks,    // code is priced block by block, as the core of the processor would execute it
  kDetailed,  // the same, and each access goes through TLBs and caches
  // The same, with the addresses that the engine reports in the place of those that were found out
  // before: what kDetailed is compared with. Slow.
  kReference,
};

struct ProcessorConfig {
  static constexpr unsigned kMaxCount = 8;
  unsigned count = 1;        // logical processors, 1 to kMaxCount
  uint64_t random_seed = 1;  // of RDRAND and RDSEED; each processor has its own sequence
  TlbModel tlb = TlbModel::kTagged;
  TimingModel timing = TimingModel::kFast;
  // IA32_FEATURE_CONTROL as firmware leaves it: locked, with VMX outside SMX; or else 0.
  bool lock_feature_control = true;
  vmx::ProcessorType type{};

  template <class Archive>
  void fields(Archive& archive) {
    archive(count, random_seed, tlb, timing, lock_feature_control, type);
    archive.require(count >= 1 && count <= kMaxCount && tlb <= TlbModel::kKeep &&
                    timing <= TimingModel::kReference);
  }
};

}  // namespace nestor::emu
