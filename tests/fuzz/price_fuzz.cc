// SPDX-License-Identifier: GPL-2.0-or-later
//
// Prices arbitrary bytes as code of each mode for each processor, and checks what every price must
// satisfy. The program makes bytes by itself; a million inputs: price_fuzz 1000000. To search by
// coverage instead:
//
//   clang++ -std=c++20 -g -fsanitize=fuzzer,address,undefined -DNESTOR_LIBFUZZER -I.
//     tests/fuzz/price_fuzz.cc emu/timing/*.cc emu/decode/*.cc -lcapstone -o price_libfuzzer
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <span>
#include <string_view>
#include <vector>

#include "emu/decode/decoder.h"
#include "emu/timing/accumulator.h"
#include "emu/timing/block_price.h"
#include "emu/timing/processor.h"
#include "tests/fuzz/arguments.h"

namespace nestor::emu::timing {
namespace {

[[noreturn]] void fail(std::string_view what) {
  std::fprintf(stderr, "price_fuzz: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

// No instruction costs more than this many cycles.
constexpr double kMostCycles = 2.0 * kMaxLatency;

void check_block(Prices prices, const Processor& processor, Repetition repetition) {
  const BlockPrice price = price_block(prices, processor, repetition);
  const auto count = static_cast<double>(prices.size());
  for (const double bound : price.bound)
    if (!std::isfinite(bound) || bound < 0 || bound > kMostCycles * count) fail("a bound is off");
  if (price.cycles() <= 0) fail("a block costs nothing");
  if (price_block(prices, processor, repetition).cycles() != price.cycles())
    fail("the price is another one the second time");
}

uint64_t ticks_of(const Piece& piece, uint8_t set) {
  const auto found = std::ranges::find(piece.ports, set, &Piece::PortTime::set);
  return found == piece.ports.end() ? 0 : found->ticks;
}

void check_pieces(Prices prices, const Processor& processor, uint64_t address) {
  const RegisterValues registers{};
  const Piece whole = piece_of(prices, processor, address);
  Ticks before = 0;
  for (size_t n = 0; n <= prices.size(); ++n) {
    const Piece first = piece_of(prices.first(n), processor, address);
    const Piece second = piece_of(prices.subspan(n), processor, address);
    for (uint8_t set = 0; set < kPortSets; ++set)
      if (ticks_of(first, set) + ticks_of(second, set) != ticks_of(whole, set))
        fail("ports do not add up");
    for (const FrontEnd front_end : {FrontEnd::kLegacy, FrontEnd::kDsb}) {
      Accumulator accumulator(processor);
      accumulator.add(first, registers.data(), front_end);
      const Ticks time = accumulator.time();
      accumulator.add(second, registers.data(), front_end);
      if (accumulator.time() < time) fail("time goes back");
      const double most = kMostCycles * static_cast<double>(prices.size()) * kTicksPerCycle;
      if (static_cast<double>(accumulator.time()) > 2 * most) fail("a piece has no bound");
      if (front_end == FrontEnd::kDsb) continue;
      if (time < before) fail("a longer prefix costs less");
      before = time;
    }
  }
}

// The instructions at the start of the code, up to what is none.
std::vector<uint8_t> lengths_of(Decoder& decoder, std::span<const uint8_t> code, CodeMode mode) {
  std::vector<uint8_t> lengths;
  while (!code.empty()) {
    const auto instruction = decoder.decode(code, mode);
    if (!instruction) break;
    lengths.push_back(instruction->length);
    code = code.subspan(instruction->length);
  }
  return lengths;
}

uint64_t priced_instructions = 0;

}  // namespace
}  // namespace nestor::emu::timing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nestor::emu;
  using namespace nestor::emu::timing;
  static Decoder decoder;
  const std::span<const uint8_t> code(data, size);
  for (const CodeMode mode : {CodeMode::k64, CodeMode::k32, CodeMode::k16}) {
    const std::vector<uint8_t> lengths = lengths_of(decoder, code, mode);
    if (lengths.empty()) continue;
    priced_instructions += lengths.size();
    const Processor& processor = processors()[size % processors().size()];
    const auto prices = price_instructions(code, lengths, mode, processor);
    check_block(prices, processor, Repetition::kUnrolled);
    check_block(prices, processor, Repetition::kLooped);
    check_pieces(prices, processor, size);
  }
  return 0;
}

#ifndef NESTOR_LIBFUZZER
int main(int argc, char** argv) {
  using nestor::emu::testing::parse_number;
  uint64_t inputs = 20'000, seed = 1;
  if (argc > 3 || (argc > 1 && !parse_number(argv[1], inputs)) ||
      (argc > 2 && !parse_number(argv[2], seed))) {
    std::fputs("usage: price_fuzz [INPUTS [SEED]]\n", stderr);
    return 2;
  }
  std::mt19937_64 random(seed);
  // Prefixes and escapes are rarer among random bytes than in code.
  constexpr uint8_t kFrequent[] = {0x0f, 0x38, 0x3a, 0x48, 0x66, 0xf2,
                                   0xf3, 0xf0, 0xc4, 0xc5, 0x62};
  for (uint64_t i = 0; i < inputs; ++i) {
    std::vector<uint8_t> bytes(1 + random() % 40);
    for (uint8_t& byte : bytes) {
      byte = static_cast<uint8_t>(random());
      if (random() % 4 == 0) byte = kFrequent[random() % std::size(kFrequent)];
    }
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::printf("%llu inputs, %llu instructions, no complaint\n",
              static_cast<unsigned long long>(inputs),
              static_cast<unsigned long long>(nestor::emu::timing::priced_instructions));
  return 0;
}
#endif
