// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a loader and an image agree on. Plain macros, so that C, C++ and assembly can share them.
// Source of the numbers: Multiboot Specification 0.6.96, "OS image format" and "Machine state".
#pragma once

// Multiboot 1 header: three 32-bit words (magic, flags, checksum), 4-byte aligned, in the first 8
// KiB.
#define NESTOR_MULTIBOOT1_HEADER_MAGIC 0x1badb002
#define NESTOR_MULTIBOOT1_SEARCH_BYTES 8192
#define NESTOR_MULTIBOOT1_FLAG_PAGE_ALIGN (1 << 0)
#define NESTOR_MULTIBOOT1_FLAG_MEMORY_INFO (1 << 1)
#define NESTOR_MULTIBOOT1_FLAG_ADDRESS_FIELDS (1 << 16)

// Entry: 32-bit protected mode, paging and interrupts off, flat CS/DS/ES/FS/GS/SS, A20 on,
// EAX = this magic, EBX = physical address of the Multiboot information.
#define NESTOR_MULTIBOOT1_BOOT_MAGIC 0x2badb002

// Physical address at which the images of this directory are linked and loaded.
#define NESTOR_IMAGE_LOAD_ADDRESS 0x100000
