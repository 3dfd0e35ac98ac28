// SPDX-License-Identifier: GPL-2.0-or-later
//
// The guest-physical addresses that L2 uses. L2's page tables map each to the linear address of the
// same value. Shared with assembly.
#pragma once

#define GUEST_CODE 0x1000
#define GUEST_PML4 0x2000
#define GUEST_PDPT 0x3000
#define GUEST_PD_LOW 0x4000
#define GUEST_PD_HIGH 0x5000
#define GUEST_PT 0x6000
#define GUEST_DATA 0x7000
#define GUEST_READ_MODIFY_WRITE 0x8000
#define GUEST_CLEAN_PAGE 0x9000  // its PTE's dirty flag is 0 at first
#define GUEST_SUBROUTINE 0xa000
#define GUEST_STACK 0xb000
#define GUEST_MISTAKE 0xc000  // the page that L1 maps wrongly at first
#define GUEST_LOW_PAGES 16

// Linear pages of 2 MiB: one in the low GiB, one in the second.
#define GUEST_2M 0x200000
#define GUEST_1G 0x40000000
#define GUEST_1G_TOUCHED 0x40600000

// Where L2 touches its pages.
#define TOUCH_DATA (GUEST_DATA + 0x10)
#define TOUCH_READ_MODIFY_WRITE (GUEST_READ_MODIFY_WRITE + 0x20)
#define TOUCH_CLEAN_PAGE (GUEST_CLEAN_PAGE + 0x30)
#define TOUCH_MISTAKE (GUEST_MISTAKE + 0x40)
#define TOUCH_2M (GUEST_2M + 0x12340)
#define TOUCH_2M_END (GUEST_2M + 0x1ffff8)
#define TOUCH_1G (GUEST_1G_TOUCHED + 0x12340)

// What L2 writes.
#define WRITTEN_DATA 0x1111
#define WRITTEN_CLEAN_PAGE 0x2222
#define WRITTEN_1G 0x3333
