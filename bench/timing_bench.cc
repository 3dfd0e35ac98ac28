// SPDX-License-Identifier: GPL-2.0-or-later
//
// What pricing costs: a block once, and each time that it is executed.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "emu/timing/accumulator.h"
#include "emu/timing/block_price.h"
#include "emu/timing/processor.h"

namespace nestor::emu::timing {
namespace {

// MOV RAX, [RDI+8]; ADD RAX, RCX; MOV [RDI+8], RAX; ADD RDI, 10H; CMP RDI, RDX; JNE
constexpr uint8_t kCode[] = {0x48, 0x8b, 0x47, 0x08, 0x48, 0x01, 0xc8, 0x48, 0x89, 0x47,
                             0x08, 0x48, 0x83, 0xc7, 0x10, 0x48, 0x39, 0xd7, 0x75, 0xec};
constexpr uint8_t kLengths[] = {4, 3, 4, 4, 3, 2};
constexpr uint64_t kAddress = 0x401000;

const Processor& skylake() { return *find_processor(vmx::Generation::kSkylake); }

void price_instructions_of_block(benchmark::State& state) {
  for (auto _ : state)
    benchmark::DoNotOptimize(price_instructions(kCode, kLengths, CodeMode::k64, skylake()));
}
BENCHMARK(price_instructions_of_block);

void make_piece(benchmark::State& state) {
  const auto prices = price_instructions(kCode, kLengths, CodeMode::k64, skylake());
  for (auto _ : state) benchmark::DoNotOptimize(piece_of(prices, skylake(), kAddress));
}
BENCHMARK(make_piece);

void price_block_bounds(benchmark::State& state) {
  const auto prices = price_instructions(kCode, kLengths, CodeMode::k64, skylake());
  for (auto _ : state)
    benchmark::DoNotOptimize(price_block(prices, skylake(), Repetition::kUnrolled));
}
BENCHMARK(price_block_bounds);

// `range(0)`: a FrontEnd.
void execute_piece(benchmark::State& state) {
  const auto prices = price_instructions(kCode, kLengths, CodeMode::k64, skylake());
  const Piece piece = piece_of(prices, skylake(), kAddress);
  Accumulator accumulator(skylake());
  RegisterValues registers{};
  const auto front_end = static_cast<FrontEnd>(state.range(0));
  for (auto _ : state) {
    accumulator.add(piece, registers.data(), front_end);
    registers[vmx::kRdi] += 16;
  }
  benchmark::DoNotOptimize(accumulator.time());
}
BENCHMARK(execute_piece)->Arg(0)->Arg(1);

}  // namespace
}  // namespace nestor::emu::timing
