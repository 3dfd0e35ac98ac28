// SPDX-License-Identifier: GPL-2.0-or-later
//
// What RDRAND and RDSEED return: a sequence that the seed alone determines, so that runs repeat.
#pragma once

#include <cstdint>

namespace nestor::emu {

class RandomNumbers {
 public:
  explicit RandomNumbers(uint64_t seed) : state_(seed) {}

  // The generator SplitMix64.
  uint64_t next() {
    uint64_t z = (state_ += 0x9e37'79b9'7f4a'7c15);
    z = (z ^ z >> 30) * 0xbf58'476d'1ce4'e5b9;
    z = (z ^ z >> 27) * 0x94d0'49bb'1331'11eb;
    return z ^ z >> 31;
  }

  template <class Archive>
  void serialize(Archive& archive) {
    archive(state_);
  }

 private:
  uint64_t state_;
};

}  // namespace nestor::emu
