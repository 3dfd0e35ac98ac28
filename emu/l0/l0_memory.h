// SPDX-License-Identifier: GPL-2.0-or-later
//
// The memory that L0 has for all logical processors together: where L1's RAM is, EPT01, the bitmaps
// that do not change; and how the rest is shared out.
#pragma once

#include <cstdint>

#include "emu/cpu/core.h"
#include "emu/l0/machine_map.h"
#include "emu/l0/mode.h"
#include "emu/l0/vmcs_build.h"
#include "emu/memory/ram.h"
#include "ept/shadow_fill.h"
#include "vmx/capabilities.h"

namespace nestor::emu {

class L0Memory {
 public:
  // Where the machine's RAM is to be for an L0 with so many processors.
  static Ram::Placement placement(unsigned processors);

  // `core` is any of the processors; it and `ram` outlive this object. Throws std::logic_error when
  // there is not enough memory.
  L0Memory(Core& core, const Ram& ram, const L0Config& config, unsigned processors);
  L0Memory(const L0Memory&) = delete;
  L0Memory& operator=(const L0Memory&) = delete;

  const L0Config& config() const { return config_; }
  const MachineMap& map() const { return map_; }
  const vmx::Capabilities& offered() const { return offered_; }
  // 0 where L0 uses no EPT.
  uint64_t eptp01() const { return eptp01_; }
  // The pages of a processor, whose number counts from 0, for the tables that it fills; and those
  // of them that lie below 4 GiB.
  L0Pages table_pages(Core& core, unsigned processor) const;
  L0Pages low_table_pages(Core& core, unsigned processor) const;
  // What the VMCSs of a processor refer to. Throws std::logic_error when no page is left.
  L0Structures take_structures();

 private:
  void set_up_ept01();
  void set_up_bitmaps();
  void set_bit(uint64_t page, uint32_t bit);

  Core& core_;
  const Ram& ram_;
  const L0Config config_;
  const unsigned processors_;
  const vmx::Capabilities offered_;
  const MachineMap map_;
  L0Pages structure_pages_;
  ept::ShadowTables<ept::ShadowEptFormat, L0Pages> ept01_;
  uint64_t eptp01_ = 0;
  L0Structures shared_;  // the bitmaps that all processors use
};

}  // namespace nestor::emu
