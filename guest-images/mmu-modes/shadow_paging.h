// SPDX-License-Identifier: GPL-2.0-or-later
//
// Shadow paging: L2 runs on page tables that L1 fills from L2's own as L2 faults. The SDM calls the
// scheme a virtual TLB: it is filled, like a TLB, by what L2 uses, and INVLPG and CR3 empty it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// For L2 with page tables at guest-physical CR3. VPID: L2's, 0 if it has none. Returns the CR3
// that L2 is to run on.
uint64_t shadow_paging_start(uint64_t cr3, uint16_t vpid);

typedef struct {
  bool filled;          // the access can be tried again
  uint32_t error_code;  // otherwise: of the page fault that is L2's own
} ShadowFill;

// L2 faulted at LINEAR with ERROR_CODE.
ShadowFill shadow_paging_fill(uint64_t linear, uint32_t error_code);

// L2 executed INVLPG.
void shadow_paging_invalidate(uint64_t linear);

// L2 loads, and stores, CR3.
void shadow_paging_load_cr3(uint64_t cr3);
uint64_t shadow_paging_cr3(void);
