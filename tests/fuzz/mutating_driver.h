// SPDX-License-Identifier: GPL-2.0-or-later
//
// Runs the fuzz target without libFuzzer: mutates valid images, the same way for the same
// arguments.
//
//   loader_fuzz [INPUTS [SEED]]     a run; prints how many inputs it made
//   loader_fuzz --replay FILE...    one input from each file
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string_view>
#include <vector>

#include "tests/emu/loaders/image_builder.h"
#include "tests/fuzz/arguments.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace nestor::emu::testing {

using Random = std::mt19937_64;

inline std::vector<ByteVector> seeds() {
  ElfSpec two_segments = elf64_spec();
  two_segments.segments.push_back({.offset = 0x1800, .vaddr = 0x200000, .paddr = 0x200000});
  return {
      multiboot1_elf32(),
      multiboot1_elf32({}, 3),
      multiboot1_flat(),
      multiboot2_elf64({{1, {1, 3, 6}}, {3, {0x100010}}, {6}, {}}),
      multiboot2_elf64(),
      multiboot2_flat(),
      build_elf(elf64_spec()),
      build_elf(two_segments),
      build_linux(),
      build_linux({.xloadflags = 0}),
      build_pvh(),
      build_pvh({.bytes = 8}, {}),
  };
}

// Numbers at which comparisons and sums go wrong.
inline constexpr uint64_t kInteresting[] = {
    0,          1,          7,          8,          0x1000,     0x9ffff,        0xa0000,
    0xfffff,    0x100000,   0xffffff,   0x1000000,  0x7fffffff, 0x80000000,     0xfffffff8,
    0xffffffff, 1ull << 32, 1ull << 52, 1ull << 63, ~0ull - 7,  ~0ull - 0x1000, ~0ull,
};

inline uint64_t below(Random& random, uint64_t limit) { return limit == 0 ? 0 : random() % limit; }

// Mutations aim at the headers, which lie in the first bytes, and where those of Multiboot and
// Linux are.
inline size_t target(Random& random, size_t size) {
  switch (below(random, 5)) {
    case 0:
      return below(random, std::min<size_t>(size, 0x40));
    case 1:
      return below(random, std::min<size_t>(size, 0x100));
    case 2:
      return std::min<size_t>(size - 1, kHeaderOffset + below(random, 0x60));
    case 3:
      return std::min<size_t>(size - 1, 0x1f0 + below(random, 0x80));
    default:
      return below(random, size);
  }
}

// Multiboot headers are only looked at when their checksums are right.
inline void repair_checksums(ByteVector& bytes) {
  if (bytes.size() < kHeaderOffset + 16) return;
  const auto word = [&](size_t at) { return *read_number(bytes, kHeaderOffset + at, 4); };
  if (word(0) == 0x1badb002) {
    store_number(bytes, kHeaderOffset + 8, 0 - word(0) - word(4), 4);
  } else if (word(0) == 0xe85250d6) {
    store_number(bytes, kHeaderOffset + 12, 0 - word(0) - word(4) - word(8), 4);
  }
}

inline void mutate(Random& random, ByteVector& bytes) {
  for (uint64_t count = 1 + below(random, 4); count > 0 && !bytes.empty(); --count) {
    const size_t at = target(random, bytes.size());
    const unsigned width = 1u << below(random, 4);
    switch (below(random, 6)) {
      case 0:
        bytes[at] ^= static_cast<uint8_t>(1u << below(random, 8));
        break;
      case 1:
        bytes[at] = static_cast<uint8_t>(random());
        break;
      case 2:
        if (inside(at, width, bytes.size())) {
          store_number(bytes, at, kInteresting[below(random, std::size(kInteresting))], width);
        }
        break;
      case 3:
        if (const auto old = read_number(bytes, at, width)) {
          store_number(bytes, at, *old + below(random, 33) - 16, width);
        }
        break;
      case 4:
        bytes.resize(1 + below(random, bytes.size() + 64));
        break;
      default:
        if (inside(at, 8, bytes.size())) {
          const size_t from = below(random, bytes.size() - 7);
          std::memmove(bytes.data() + at, bytes.data() + from, 8);
        }
        break;
    }
  }
  if (below(random, 4) != 0) repair_checksums(bytes);
}

inline int replay(int count, char** paths) {
  for (int i = 0; i < count; ++i) {
    std::ifstream file(paths[i], std::ios::binary);
    if (!file) {
      std::fprintf(stderr, "loader_fuzz: cannot read %s\n", paths[i]);
      return 2;
    }
    const ByteVector bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  return 0;
}

inline int fuzz(uint64_t inputs, uint64_t seed) {
  const auto valid = seeds();
  for (const ByteVector& image : valid) LLVMFuzzerTestOneInput(image.data(), image.size());
  Random random(seed);
  for (uint64_t i = 0; i < inputs; ++i) {
    ByteVector bytes = valid[below(random, valid.size())];
    mutate(random, bytes);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::printf("%llu inputs, no complaint\n", static_cast<unsigned long long>(inputs));
  return 0;
}

// The program of the fuzz target; returns its exit status.
inline int drive_loader_fuzz(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "--replay") return replay(argc - 2, argv + 2);
  uint64_t inputs = 20'000, seed = 1;
  if (argc > 3 || (argc > 1 && !parse_number(argv[1], inputs)) ||
      (argc > 2 && !parse_number(argv[2], seed))) {
    std::fputs("usage: loader_fuzz [INPUTS [SEED]] | --replay FILE...\n", stderr);
    return 2;
  }
  return fuzz(inputs, seed);
}

}  // namespace nestor::emu::testing
