// SPDX-License-Identifier: GPL-2.0-or-later
//
// The loops that are measured: the same bytes run as L1, as L2 and in the engine alone. They are
// position-independent 64-bit code, use no stack, change only registers that a function may change,
// and end in RET at LOOP_end - 1.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LOOP_COMPUTE_BYTES 32768
#define LOOP_SIEVE_BYTES 8192
#define LOOP_TOUCH_PAGES 16384
#define LOOP_ONCE_BYTES 64
#define LOOP_TOUCH_BYTES ((LOOP_TOUCH_PAGES + LOOP_TOUCH_PAGES / 64 + 1) * 4096)

// Arithmetic on a table of LOOP_COMPUTE_BYTES at `table`, with a branch that follows the data: one
// load and one store in 14 instructions. Returns a checksum.
uint64_t loop_compute(uint64_t rounds, void* table);
extern const uint8_t loop_compute_end[];

// The sieve of Eratosthenes on LOOP_SIEVE_BYTES flags. Returns how many primes it found.
uint64_t loop_sieve(uint64_t rounds, void* flags);
extern const uint8_t loop_sieve_end[];

// Loads once from each of LOOP_TOUCH_PAGES pages. Returns the sum of what it loaded.
uint64_t loop_touch(uint64_t rounds, void* pages);
extern const uint8_t loop_touch_end[];

// Writes `rounds` times the same 11 instructions, LOOP_ONCE_BYTES, to memory that nothing was
// executed from, and executes all of them once: loads, stores and a branch that follows the data.
// Returns a checksum. Memory: LOOP_ONCE_BYTES for each round, and two more.
uint64_t loop_once(uint64_t rounds, void* memory);
extern const uint8_t loop_once_end[];

#ifdef __cplusplus
}
#endif
