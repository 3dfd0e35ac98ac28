// SPDX-License-Identifier: GPL-2.0-or-later
#include "guest-images/lib/ept.h"

#include "guest-images/lib/console.h"
#include "guest-images/lib/processor.h"
#include "guest-images/lib/vmx_controls.h"

static uint64_t pml4[512] __attribute__((aligned(4096)));
static uint64_t pdpt[512] __attribute__((aligned(4096)));
static uint64_t pd[512] __attribute__((aligned(4096)));

uint64_t ept_pointer(const void* table) {
  const uint64_t capabilities = read_msr(kMsrVmxEptVpidCapabilities);
  if (!(capabilities & EPT_CAP_WALK_LENGTH_4)) machine_lacks("EPT with a walk length of 4");
  const uint64_t type = capabilities & EPT_CAP_WRITE_BACK ? EPTP_MEMORY_TYPE_WRITE_BACK
                                                          : EPTP_MEMORY_TYPE_UNCACHEABLE;
  return (uint64_t)table | EPTP_WALK_LENGTH_4 | type;
}

uint64_t ept_identity_map(void) {
  const uint64_t capabilities = read_msr(kMsrVmxEptVpidCapabilities);
  const uint64_t leaf = EPT_READ_WRITE_EXECUTE | EPT_MEMORY_TYPE_WRITE_BACK | EPT_LARGE_PAGE;
  pml4[0] = (uint64_t)pdpt | EPT_READ_WRITE_EXECUTE;
  if (capabilities & EPT_CAP_1G_PAGES) {
    pdpt[0] = leaf;
  } else if (capabilities & EPT_CAP_2M_PAGES) {
    pdpt[0] = (uint64_t)pd | EPT_READ_WRITE_EXECUTE;
    for (uint64_t i = 0; i < 512; i++) pd[i] = i << 21 | leaf;
  } else {
    machine_lacks("EPT pages of 2 MiB or 1 GiB");
  }
  return ept_pointer(pml4);
}
