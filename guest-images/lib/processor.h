// SPDX-License-Identifier: GPL-2.0-or-later
//
// The processor's own instructions and register bits, as far as the images use them.
#pragma once

#include <stdint.h>

typedef struct {
  uint32_t eax, ebx, ecx, edx;
} CpuidResult;

// What SGDT and SIDT store in 64-bit mode.
typedef struct __attribute__((packed)) {
  uint16_t limit;
  uint64_t base;
} DescriptorTableRegister;

enum {
  kCr0Pe = 1u << 0,
  kCr0Ts = 1u << 3,
  kCr0Et = 1u << 4,
  kCr0Ne = 1u << 5,
  kCr0Wp = 1u << 16,
  kCr0Pg = 1u << 31,
};

enum {
  kCr4Pae = 1u << 5,
  kCr4Vmxe = 1u << 13,
};

enum {
  kEferLme = 1u << 8,
  kEferLma = 1u << 10,
};

enum {
  kMsrFeatureControl = 0x3a,
  kMsrSysenterCs = 0x174,
  kMsrSysenterEsp = 0x175,
  kMsrSysenterEip = 0x176,
  kMsrDebugctl = 0x1d9,
  kMsrMtrrCapabilities = 0xfe,
  kMsrMtrrPhysicalBase0 = 0x200,
  kMsrMtrrPhysicalMask0 = 0x201,
  kMsrPat = 0x277,
  kMsrMtrrDefaultType = 0x2ff,
  kMsrEfer = 0xc0000080,
  kMsrStar = 0xc0000081,
  kMsrLstar = 0xc0000082,
  kMsrCstar = 0xc0000083,
  kMsrFmask = 0xc0000084,
  kMsrFsBase = 0xc0000100,
  kMsrGsBase = 0xc0000101,
  kMsrKernelGsBase = 0xc0000102,
};

static inline void port_write8(uint16_t port, uint8_t value) {
  __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t port_read8(uint16_t port) {
  uint8_t value;
  __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

static inline void port_write32(uint16_t port, uint32_t value) {
  __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline CpuidResult cpuid(uint32_t leaf, uint32_t subleaf) {
  CpuidResult result;
  __asm__ volatile("cpuid"
                   : "=a"(result.eax), "=b"(result.ebx), "=c"(result.ecx), "=d"(result.edx)
                   : "a"(leaf), "c"(subleaf));
  return result;
}

static inline uint64_t read_msr(uint32_t msr) {
  uint32_t low, high;
  __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
  return (uint64_t)high << 32 | low;
}

static inline void write_msr(uint32_t msr, uint64_t value) {
  __asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

static inline uint64_t read_cr0(void) {
  uint64_t value;
  __asm__ volatile("mov %%cr0, %0" : "=r"(value));
  return value;
}

static inline void write_cr0(uint64_t value) {
  __asm__ volatile("mov %0, %%cr0" : : "r"(value) : "memory");
}

static inline void write_cr2(uint64_t value) { __asm__ volatile("mov %0, %%cr2" : : "r"(value)); }

static inline uint64_t read_cr3(void) {
  uint64_t value;
  __asm__ volatile("mov %%cr3, %0" : "=r"(value));
  return value;
}

static inline void write_cr3(uint64_t value) {
  __asm__ volatile("mov %0, %%cr3" : : "r"(value) : "memory");
}

static inline void invalidate_page(uint64_t linear) {
  __asm__ volatile("invlpg (%0)" : : "r"(linear) : "memory");
}

static inline uint64_t read_cr4(void) {
  uint64_t value;
  __asm__ volatile("mov %%cr4, %0" : "=r"(value));
  return value;
}

static inline void write_cr4(uint64_t value) {
  __asm__ volatile("mov %0, %%cr4" : : "r"(value) : "memory");
}

enum { kDr6Initial = 0xffff0ff0, kDebugAddresses = 4 };

static inline uint64_t read_dr6(void) {
  uint64_t value;
  __asm__ volatile("mov %%dr6, %0" : "=r"(value));
  return value;
}

static inline void write_dr6(uint64_t value) { __asm__ volatile("mov %0, %%dr6" : : "r"(value)); }

// DR0 to DR3.
static inline uint64_t read_debug_address(unsigned number) {
  uint64_t value = 0;
  switch (number) {
    case 0:
      __asm__ volatile("mov %%dr0, %0" : "=r"(value));
      break;
    case 1:
      __asm__ volatile("mov %%dr1, %0" : "=r"(value));
      break;
    case 2:
      __asm__ volatile("mov %%dr2, %0" : "=r"(value));
      break;
    case 3:
      __asm__ volatile("mov %%dr3, %0" : "=r"(value));
      break;
  }
  return value;
}

static inline void write_debug_address(unsigned number, uint64_t value) {
  switch (number) {
    case 0:
      __asm__ volatile("mov %0, %%dr0" : : "r"(value));
      break;
    case 1:
      __asm__ volatile("mov %0, %%dr1" : : "r"(value));
      break;
    case 2:
      __asm__ volatile("mov %0, %%dr2" : : "r"(value));
      break;
    case 3:
      __asm__ volatile("mov %0, %%dr3" : : "r"(value));
      break;
  }
}

static inline DescriptorTableRegister read_gdtr(void) {
  DescriptorTableRegister value;
  __asm__ volatile("sgdt %0" : "=m"(value));
  return value;
}

static inline DescriptorTableRegister read_idtr(void) {
  DescriptorTableRegister value;
  __asm__ volatile("sidt %0" : "=m"(value));
  return value;
}
