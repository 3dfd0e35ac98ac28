// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/front_end.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace nestor::emu::timing {
namespace {

constexpr unsigned kWindow = 16;                // bytes that are predecoded at once
constexpr unsigned kLengthChangingPenalty = 3;  // cycles for a length-changing prefix
constexpr unsigned kDsbLine = 32;

unsigned code_size(Prices prices) {
  return std::accumulate(prices.begin(), prices.end(), 0u,
                         [](unsigned sum, const InstructionPrice& p) { return sum + p.length; });
}

unsigned issued_uops(Prices prices) {
  unsigned uops = 0;
  for (const InstructionPrice& price : prices)
    if (!price.fused_into_previous) uops += price.issued_uops;
  return uops;
}

unsigned decoded_uops(Prices prices) {
  unsigned uops = 0;
  for (const InstructionPrice& price : prices)
    if (!price.fused_into_previous) uops += price.decoded_uops;
  return uops;
}

// What a window of 16 bytes holds.
struct Window {
  unsigned ending = 0;    // instructions whose last byte is in it
  unsigned crossing = 0;  // whose opcode is in it and whose last byte is not
  unsigned prefixes = 0;  // length-changing ones, by the opcodes
};

// Of copies one after the other; the first one starts at `at` in the first window.
std::vector<Window> windows_of(Prices prices, unsigned copies, unsigned at) {
  std::vector<Window> windows((at + code_size(prices) * copies + kWindow - 1) / kWindow + 1);
  for (unsigned copy = 0; copy < copies; ++copy) {
    for (const InstructionPrice& price : prices) {
      const unsigned opcode = (at + price.opcode_offset) / kWindow;
      const unsigned last = (at + price.length - 1) / kWindow;
      ++windows[last].ending;
      if (opcode != last) ++windows[opcode].crossing;
      if (price.length_changing_prefix) ++windows[opcode].prefixes;
      at += price.length;
    }
  }
  windows.resize((at + kWindow - 1) / kWindow);
  return windows;
}

unsigned cycles_without_prefixes(const Window& window, const Processor& processor) {
  return (window.ending + window.crossing + processor.predecode_width - 1) /
         processor.predecode_width;
}

// `before`: the cycles of the window before. They hide some of the penalty for prefixes.
unsigned predecode_cycles(const std::vector<Window>& windows, const Processor& processor,
                          unsigned before) {
  unsigned cycles = 0;
  for (const Window& window : windows) {
    const unsigned penalty = window.prefixes * kLengthChangingPenalty;
    const unsigned hidden = before == 0 ? 0 : before - 1;
    before = cycles_without_prefixes(window, processor);
    cycles += before + (penalty > hidden ? penalty - hidden : 0);
  }
  return cycles;
}

// Which decoder is next, through the code.
class Decoders {
 public:
  explicit Decoders(const Processor& processor, DecoderState state = {})
      : processor_(processor), used_(state.used), limit_(state.limit) {}

  void decode(const InstructionPrice& price) {
    if (price.fused_into_previous) return;
    const bool last_is_next = used_ + 1 == processor_.decoders;
    if (price.complex_decoder || used_ == 0 || used_ >= limit_ ||
        (last_is_next && price.may_fuse && processor_.last_decoder_waits)) {
      start_cycle();
    }
    ++used_;
    if (price.complex_decoder) {
      const unsigned uops = std::min<unsigned>(price.decoded_uops, processor_.decoded_uops);
      limit_ = std::min<unsigned>(processor_.decoders, 1 + processor_.decoded_uops - uops);
      if (price.decoded_uops > processor_.decoders) {  // from the microcode sequencer
        cycles_ += (price.decoded_uops - 1u) / processor_.issue_width;
        limit_ = 1;
      }
    }
    if (price.branches || price.fuses_with_next) limit_ = used_;
  }

  unsigned cycles() const { return cycles_; }
  DecoderState state() const { return {static_cast<uint8_t>(used_), static_cast<uint8_t>(limit_)}; }

 private:
  void start_cycle() {
    ++cycles_;
    used_ = 0;
    limit_ = processor_.decoders;
  }

  const Processor& processor_;
  unsigned cycles_ = 0, used_ = 0, limit_ = 0;
};

}  // namespace

double predecode_bound(Prices prices, const Processor& processor, Repetition repetition) {
  const unsigned size = code_size(prices);
  if (size == 0) return 0;
  const unsigned copies =
      repetition == Repetition::kUnrolled ? kWindow / std::gcd(size, kWindow) : 1;
  const std::vector<Window> windows = windows_of(prices, copies, 0);
  const unsigned cycles =
      predecode_cycles(windows, processor, cycles_without_prefixes(windows.back(), processor));
  return static_cast<double>(cycles) / copies;
}

double decode_bound(Prices prices, const Processor& processor) {
  if (prices.empty()) return 0;
  // After some executions the first instruction finds the decoders as it has found them before.
  Decoders decoders(processor);
  struct Start {
    unsigned state, cycles;
  };
  std::vector<Start> starts;
  for (;;) {
    const Start now{decoders.state().number(), decoders.cycles()};
    for (size_t i = 0; i < starts.size(); ++i) {
      if (starts[i].state == now.state) {
        return static_cast<double>(now.cycles - starts[i].cycles) /
               static_cast<double>(starts.size() - i);
      }
    }
    starts.push_back(now);
    for (const InstructionPrice& price : prices) decoders.decode(price);
  }
}

double dsb_bound(Prices prices, const Processor& processor) {
  const unsigned uops = decoded_uops(prices);
  const double cycles = static_cast<double>(uops) / processor.dsb_width;
  // A branch ends what is delivered; in a loop of one line nothing else follows in that cycle.
  return code_size(prices) < kDsbLine ? std::ceil(cycles) : cycles;
}

bool fits_lsd(Prices prices, const Processor& processor) {
  return processor.idq_size != 0 && decoded_uops(prices) <= processor.idq_size;
}

double lsd_bound(Prices prices, const Processor& processor) {
  // The detector unrolls small loops, within the queue.
  const unsigned uops = issued_uops(prices), width = processor.issue_width;
  if (uops == 0) return 0;
  const unsigned copies = std::max(1u, std::min(8u, processor.idq_size / uops));
  double best = 0;
  for (unsigned n = 1; n <= copies; ++n) {
    const double cycles = std::ceil(static_cast<double>(uops * n) / width) / n;
    if (n == 1 || cycles < best) best = cycles;
  }
  return best;
}

bool has_jcc_erratum(Prices prices, const Processor& processor, uint64_t address) {
  if (!processor.jcc_erratum) return false;
  uint64_t at = address;
  for (size_t i = 0; i < prices.size(); ++i) {
    unsigned length = prices[i].length;
    const bool jumps = prices[i].branches || prices[i].fuses_with_next;
    if (prices[i].fuses_with_next && i + 1 < prices.size()) length += prices[i + 1].length;
    if (jumps && !prices[i].fused_into_previous && at / kDsbLine != (at + length) / kDsbLine)
      return true;
    at += prices[i].length;
  }
  return false;
}

double issue_bound(Prices prices, const Processor& processor, Repetition repetition) {
  const double cycles = static_cast<double>(issued_uops(prices)) / processor.issue_width;
  static_cast<void>(repetition);
  return cycles;
}

PredecodeUse predecode_use(Prices prices, const Processor& processor, uint64_t address) {
  PredecodeUse use{.begin = address, .end = address + code_size(prices)};
  const std::vector<Window> windows =
      windows_of(prices, 1, static_cast<unsigned>(address % kWindow));
  if (windows.empty()) return use;
  use.cycles = predecode_cycles(windows, processor, 0);
  const auto count = [](const Window& window) {
    return static_cast<uint8_t>(window.ending + window.crossing);
  };
  use.first = count(windows.front());
  use.last = count(windows.back());
  use.one_window = windows.size() == 1;
  return use;
}

DecodeUse decode_use(Prices prices, const Processor& processor) {
  DecodeUse use;
  for (unsigned from = 0; from < DecoderState::kCount; ++from) {
    const DecoderState state = DecoderState::from(from);
    if (state.used > state.limit) continue;  // never happens
    Decoders decoders(processor, state);
    for (const InstructionPrice& price : prices) decoders.decode(price);
    use.from[from] = {static_cast<uint16_t>(std::min<unsigned>(decoders.cycles(), UINT16_MAX)),
                      static_cast<uint8_t>(decoders.state().number())};
  }
  return use;
}

}  // namespace nestor::emu::timing
