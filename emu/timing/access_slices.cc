// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/access_slices.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "emu/timing/encoding.h"

namespace nestor::emu::timing {
namespace {

using Slices = AccessSlices;
using Computation = Slices::Computation;
using Sum = Slices::Sum;
using Step = Slices::Step;

constexpr uint16_t kNoValue = Slices::kNoValue;
constexpr uint8_t kRax = 0, kRsp = 4, kRbp = 5, kRsi = 6, kRdi = 7, kEs = 0, kSs = 2, kDs = 3,
                  kFs = 4;

// value + offset; of no value: the offset alone.
struct Symbol {
  uint16_t value = kNoValue;
  int64_t offset = 0;
};
using Known = std::optional<Symbol>;  // std::nullopt: anything

constexpr int64_t plus(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
constexpr int64_t times(int64_t a, unsigned b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) * b);
}

// ADD, OR, AND, SUB, XOR by their number in the opcodes 00 to 3F and in the groups of 80 to 83.
constexpr std::optional<Computation> kNothing;
constexpr std::optional<Computation> kArithmetic[8] = {
    Computation::kSum, Computation::kOr,       kNothing,          kNothing,
    Computation::kAnd, Computation::kSubtract, Computation::kXor, kNothing};

// INS and OUTS, INT, IRET, IN and OUT, HLT; in the map of 0F segment registers and VMX, SYSCALL,
// CLTS, caches, UD, MOV to and from CR and DR, MSRs and counters, VMREAD and VMWRITE, CPUID, RSM.
constexpr uint8_t kLeaving[] = {0x6c, 0x6d, 0x6e, 0x6f, 0xcc, 0xcd, 0xce, 0xcf, 0xe4,
                                0xe5, 0xe6, 0xe7, 0xec, 0xed, 0xee, 0xef, 0xf1, 0xf4};
constexpr uint8_t kLeaving0f[] = {0x00, 0x01, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0b, 0x20, 0x21, 0x22,
                                  0x23, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x78, 0x79, 0xa2, 0xaa};

class SliceBuilder {
 public:
  SliceBuilder(CodeMode mode, uint64_t linear) : mode_(mode), linear_(linear) {
    for (uint8_t gpr = 0; gpr < kGprs; ++gpr) registers_[gpr] = Symbol{gpr, 0};
  }

  void execute(std::span<const uint8_t> bytes, const InstructionPrice& price) {
    bytes_ = bytes;
    price_ = &price;
    encoding_ = parse_encoding(bytes, mode_);
    linear_ += bytes.size();
    result_.of.emplace_back();
    if (left_) return;
    left_ = leaves_block();
    const std::array<Known, kGprs> before = registers_;
    note_accesses();
    std::vector<std::pair<uint8_t, Known>> written;
    find_results(written);
    for (unsigned gpr = 0; gpr < kGprs; ++gpr)
      if ((price.written >> (kFirstGpr + gpr) & 1) != 0) registers_[gpr].reset();
    if (price.default_priced) forget_operands();
    for (const auto& [reg, value] : written) registers_[reg] = value;
    move_stack(before[kRsp]);
  }

  Slices finish() && {
    result_.keep_needed();
    return std::move(result_);
  }

 private:
  const EncodingKey& key() const { return encoding_.key; }
  // What the core does not execute by itself: whatever follows is another block.
  bool leaves_block() const {
    const uint8_t opcode = key().opcode;
    if (is(0x90)) return key().repeat == EncodingKey::kRep;  // PAUSE
    if (one_byte()) return std::ranges::binary_search(kLeaving, opcode);
    if (is_0f(0xc7)) return key().reg >= 6;
    return key().space == 1 && std::ranges::binary_search(kLeaving0f, opcode);
  }
  bool one_byte() const { return key().space == 0; }
  bool is(uint8_t opcode) const { return one_byte() && key().opcode == opcode; }
  bool is_0f(uint8_t opcode) const { return key().space == 1 && key().opcode == opcode; }
  uint8_t operand_bits() const { return key().wide ? 64 : key().operand_size ? 16 : 32; }
  uint8_t stack_bytes() const {
    return mode_ == CodeMode::k64 ? 8 : mode_ == CodeMode::k32 ? 4 : 2;
  }
  // The last bytes of the instruction.
  int64_t immediate(size_t size) const {
    uint64_t value = 0;
    for (size_t i = 0; i < size && i < bytes_.size(); ++i)
      value = value << 8 | bytes_[bytes_.size() - 1 - i];
    const auto unused = static_cast<unsigned>(64 - 8 * size);
    return static_cast<int64_t>(value << unused) >> unused;
  }

  std::optional<Sum> sum_of(uint8_t base, uint8_t index, uint8_t scale, int64_t offset) const {
    Sum sum;
    sum.offset = offset;
    if (base != Encoding::kNone) {
      if (!registers_[base]) return std::nullopt;
      sum.base = registers_[base]->value;
      sum.offset = plus(sum.offset, registers_[base]->offset);
    }
    if (index != Encoding::kNone) {
      if (!registers_[index]) return std::nullopt;
      sum.index = registers_[index]->value;
      sum.scale = scale;
      sum.offset = plus(sum.offset, times(registers_[index]->offset, scale));
    }
    return sum;
  }
  void make_address(Sum& sum, uint8_t default_segment, bool may_override = true) const {
    const uint8_t named =
        may_override && encoding_.segment != Encoding::kNone ? encoding_.segment : default_segment;
    sum.bits = encoding_.address_bits;
    if (mode_ != CodeMode::k64) {
      sum.segment = named;
      sum.wraps = true;
    } else if (named >= kFs && named != Encoding::kNone) {
      sum.segment = named;
    }
  }
  std::optional<Sum> operand_address() const {
    const int64_t from = encoding_.rip_relative ? static_cast<int64_t>(linear_) : 0;
    auto sum = sum_of(encoding_.base, encoding_.index, encoding_.scale,
                      plus(from, encoding_.displacement));
    const bool stack = encoding_.base == kRsp || encoding_.base == kRbp;
    if (sum) make_address(*sum, stack ? kSs : kDs);
    return sum;
  }
  std::optional<Sum> at(uint8_t gpr, int64_t offset, uint8_t segment, bool may_override) const {
    auto sum = sum_of(gpr, Encoding::kNone, 1, offset);
    if (sum) make_address(*sum, segment, may_override);
    return sum;
  }
  std::optional<Sum> stack_at(int64_t offset) const { return at(kRsp, offset, kSs, false); }

  uint16_t access(const std::optional<Sum>& sum, AccessKind kind) {
    if (!sum) {
      ++result_.unknown;
      return kNoValue;
    }
    Step step;
    step.computation = Computation::kAccess;
    step.kind = kind;
    step.sum = *sum;
    result_.steps.push_back(step);
    if (kind == AccessKind::kStore || kind == AccessKind::kUpdate) ++result_.stores;
    return result_.accesses++;
  }
  void load(const std::optional<Sum>& sum) {
    result_.of.back().load = access(sum, AccessKind::kLoad);
  }
  void store(const std::optional<Sum>& sum, const Known& value = std::nullopt) {
    result_.of.back().store = access(sum, AccessKind::kStore);
    if (sum) stored_.emplace_back(*sum, value);
  }

  void note_accesses() {
    if (note_hint() || note_string() || note_stack()) return;
    const InstructionPrice& price = *price_;
    if (!price.loads && !price.stores) return;
    if (!price.has_address || !key().memory || finds_its_bit_elsewhere()) {
      ++result_.unknown;
      return;
    }
    const auto address = operand_address();
    if (price.loads && price.stores) {
      const uint16_t number = access(address, AccessKind::kUpdate);
      result_.of.back() = {number, number};
      if (address) stored_.emplace_back(*address, std::nullopt);
    } else if (price.loads) {
      load(address);
    } else if (is_non_temporal()) {
      (void)access(address, AccessKind::kNonTemporal);
    } else {
      const bool whole = is(0x89) && operand_bits() == 64;
      store(address, whole ? registers_[encoding_.place[kRegPlace]] : std::nullopt);
    }
  }
  // BT, BTS, BTR and BTC with the number of the bit in a register: it may be far from the operand.
  bool finds_its_bit_elsewhere() const {
    return is_0f(0xa3) || is_0f(0xab) || is_0f(0xb3) || is_0f(0xbb);
  }
  // PREFETCHh, PREFETCHW, CLFLUSH and CLFLUSHOPT.
  bool note_hint() {
    if (!key().memory || key().space != 1) return false;
    const bool prefetch =
        (key().opcode == 0x18 && key().reg < 4) || (key().opcode == 0x0d && key().reg < 3);
    const bool flush = key().opcode == 0xae && key().reg == 7;
    if (!prefetch && !flush) return false;
    const auto address = operand_address();
    (void)access(address, prefetch ? AccessKind::kPrefetch : AccessKind::kFlush);
    return true;
  }
  // MOVNTI, MOVNTQ, MOVNTDQ, MOVNTPS, MOVNTPD.
  bool is_non_temporal() const {
    if (key().space != 1 && key().space != kFirstVexSpace) return false;
    return key().opcode == 0x2b || key().opcode == 0xe7 || is_0f(0xc3);
  }
  // One iteration.
  bool note_string() {
    if (!one_byte()) return false;
    const bool source = (key().opcode & 0xfc) == 0xa4 || (key().opcode & 0xfe) == 0xac;
    const bool stores =
        key().opcode == 0xa4 || key().opcode == 0xa5 || (key().opcode & 0xfe) == 0xaa;
    const bool compares = (key().opcode & 0xfe) == 0xa6 || (key().opcode & 0xfe) == 0xae;
    if (!source && !stores && !compares) return false;
    if (source) load(at(kRsi, 0, kDs, true));
    if (stores) store(at(kRdi, 0, kEs, false));
    if (compares) {
      const uint16_t number = access(at(kRdi, 0, kEs, false), AccessKind::kLoad);
      if (!source) result_.of.back().load = number;
    }
    return true;
  }
  // With more than one access, or none in ModRM.
  bool note_stack() {
    const int64_t width = stack_bytes();
    if (is(0xff) && key().memory && (key().reg == 2 || key().reg == 6)) {
      load(operand_address());
      store(stack_at(-width));
    } else if (is(0x8f) && key().memory) {
      load(stack_at(0));
      store(operand_address());
    } else if (is(0xc9)) {
      load(at(kRbp, 0, kSs, false));
    } else if (is_on_stack()) {
      if (price_->loads) load(stack_at(0));
      const bool push = one_byte() && (key().opcode & 0xf8) == 0x50;
      if (price_->stores)
        store(stack_at(-width), push ? registers_[encoding_.place[kOpcodePlace]] : std::nullopt);
    } else {
      return false;
    }
    return true;
  }
  // PUSH, POP, CALL and RET without an operand in memory.
  bool is_on_stack() const {
    if (!price_->has_address || price_->address.base != kRsp) return false;
    const uint8_t opcode = key().opcode;
    if (key().space == 1) return (opcode & 0xf6) == 0xa0;  // of FS and GS
    return one_byte() && ((opcode & 0xf0) == 0x50 || opcode == 0x68 || opcode == 0x6a ||
                          opcode == 0xe8 || opcode == 0xc2 || opcode == 0xc3 || opcode == 0x9c ||
                          opcode == 0x9d || ((opcode == 0xff || opcode == 0x8f) && !key().memory));
  }

  // --- results

  Known value_of(const Step& step) {
    const auto value = static_cast<uint16_t>(kGprs + result_.values);
    if (result_.values == kMaxValues) return std::nullopt;
    ++result_.values;
    result_.steps.push_back(step);
    return Symbol{value, 0};
  }
  static Sum sum_of(const Symbol& symbol) {
    return {.base = symbol.value, .offset = symbol.offset};
  }
  // As a value without an offset.
  Known plain(const Known& known) {
    if (!known || (known->offset == 0 && known->value != kNoValue)) return known;
    return value_of({.computation = Computation::kSum, .sum = sum_of(*known)});
  }
  Known cut(const Known& known, uint8_t bits) {
    if (!known || bits == 64) return known;
    if (known->value == kNoValue && bits == 32)
      return Symbol{kNoValue, static_cast<int64_t>(static_cast<uint32_t>(known->offset))};
    return value_of({.computation = Computation::kSum, .bits = bits, .sum = sum_of(*known)});
  }
  Known loaded(const std::optional<Sum>& sum, uint8_t width, bool is_signed, uint8_t bits) {
    if (!sum) return std::nullopt;
    for (size_t i = stored_.size(); i-- != 0;)
      if (stored_[i].first == *sum) return width == 64 ? stored_[i].second : std::nullopt;
    const Computation computation = is_signed ? Computation::kSignExtendedLoad : Computation::kLoad;
    return value_of({.computation = computation, .width = width, .bits = bits, .sum = *sum});
  }
  // The operand of ModRM.rm.
  Known source(uint8_t width, bool is_signed, uint8_t bits) {
    if (key().memory) return loaded(operand_address(), width, is_signed, bits);
    const uint8_t rm = encoding_.place[kRmPlace];
    if (width == 8 && !encoding_.rex && rm >= 4) return std::nullopt;  // AH to BH
    const Known& held = registers_[rm];
    if (!held || width >= bits) return cut(held, bits);
    if (!is_signed) return cut(held, width);
    return value_of({.computation = Computation::kSignExtend,
                     .width = width,
                     .bits = bits,
                     .sum = sum_of(*held)});
  }
  Known combine(Computation computation, const Known& first, const Known& second) {
    if (!first || !second) return std::nullopt;
    Step step;
    step.computation = computation;
    step.width = step.bits = operand_bits();
    step.sum = sum_of(*first);
    if (computation == Computation::kSum) {
      const Known other = plain(second);
      if (!other) return std::nullopt;
      step.sum.index = other->value;
    } else if (second->value == kNoValue) {
      step.constant = second->offset;
    } else {
      const Known other = plain(second);
      if (!other) return std::nullopt;
      step.operand = other->value;
    }
    return value_of(step);
  }
  // The same with a number: a sum stays one where it is as wide as registers.
  Known combine(Computation computation, const Known& first, int64_t number) {
    if (!first) return std::nullopt;
    if (computation == Computation::kSubtract) {
      computation = Computation::kSum;
      number = static_cast<int64_t>(0 - static_cast<uint64_t>(number));
    }
    if (computation == Computation::kSum)
      return cut(Symbol{first->value, plus(first->offset, number)}, operand_bits());
    Step step;
    step.computation = computation;
    step.width = step.bits = operand_bits();
    step.sum = sum_of(*first);
    step.constant = number;
    return value_of(step);
  }

  using Written = std::vector<std::pair<uint8_t, Known>>;

  // What is known of the registers that the instruction writes.
  void find_results(Written& written) {
    if (price_->default_priced || (operand_bits() == 16 && key().space < 2)) return;
    const uint8_t reg = encoding_.place[kRegPlace], rm = encoding_.place[kRmPlace];
    const uint8_t bits = operand_bits();
    if (key().space == 1) return find_results_of_0f(written);
    if (!one_byte()) return;
    const uint8_t opcode = key().opcode;
    if ((opcode & 0xf8) == 0x58) {
      const auto width = static_cast<uint8_t>(8 * stack_bytes());
      written.emplace_back(encoding_.place[kOpcodePlace], loaded(stack_at(0), width, false, width));
    } else if ((opcode & 0xf8) == 0xb8) {
      const int64_t number = immediate(bits == 64 ? 8 : 4);
      written.emplace_back(encoding_.place[kOpcodePlace], cut(Symbol{kNoValue, number}, bits));
    } else if (opcode < 0x40 && (opcode & 7) != 0 && (opcode & 1) != 0) {
      find_arithmetic(written);
    } else if (opcode == 0x89 && !key().memory) {
      written.emplace_back(rm, cut(registers_[reg], bits));
    } else if (opcode == 0x8b) {
      written.emplace_back(reg, source(bits, false, bits));
    } else if (opcode == 0x8d) {
      find_lea(written);
    } else if (opcode == 0x63 && mode_ == CodeMode::k64) {
      written.emplace_back(reg, source(32, true, bits));
    } else if (opcode == 0x98 && bits == 64 && registers_[kRax]) {
      written.emplace_back(kRax, value_of({.computation = Computation::kSignExtend,
                                           .width = 32,
                                           .sum = sum_of(*registers_[kRax])}));
    } else if (opcode == 0x69 || opcode == 0x6b) {
      const int64_t number = immediate(opcode == 0x69 ? 4 : 1);
      written.emplace_back(reg, combine(Computation::kMultiply, source(bits, false, bits), number));
    } else if (!key().memory) {
      find_groups(written);
    }
  }
  void find_results_of_0f(Written& written) {
    const uint8_t reg = encoding_.place[kRegPlace], bits = operand_bits();
    switch (key().opcode) {
      case 0xb6:
      case 0xb7:
        written.emplace_back(reg, source(key().opcode == 0xb6 ? 8 : 16, false, bits));
        break;
      case 0xbe:
      case 0xbf:
        written.emplace_back(reg, source(key().opcode == 0xbe ? 8 : 16, true, bits));
        break;
      case 0xaf:
        written.emplace_back(
            reg, combine(Computation::kMultiply, registers_[reg], source(bits, false, bits)));
        break;
      default:
        break;
    }
  }
  // ADD to XOR with two operands, or of EAX and a number.
  void find_arithmetic(Written& written) {
    const uint8_t opcode = key().opcode;
    const auto computation = kArithmetic[opcode >> 3];
    if (!computation) return;
    const uint8_t reg = encoding_.place[kRegPlace], rm = encoding_.place[kRmPlace];
    const bool to_rm = (opcode & 7) == 1;
    if ((opcode & 7) == 5) {
      written.emplace_back(kRax, combine(*computation, registers_[kRax], immediate(4)));
    } else if (!to_rm || !key().memory) {
      const bool zero =
          (*computation == Computation::kXor || *computation == Computation::kSubtract) &&
          !key().memory && reg == rm;
      const uint8_t target = to_rm ? rm : reg;
      const Known other = to_rm  ? registers_[reg]
                          : zero ? Known{}
                                 : source(operand_bits(), false, operand_bits());
      written.emplace_back(target, zero ? Known(Symbol{kNoValue, 0})
                                        : combine(*computation, registers_[target], other));
    }
  }
  void find_lea(Written& written) {
    auto sum = operand_address();
    Known value;
    if (sum) {
      sum->segment = Slices::kNoSegment;
      sum->wraps = false;
      if (sum->bits == 64 && sum->index == kNoValue) {
        value = cut(Symbol{sum->base, sum->offset}, operand_bits());
      } else {
        value = value_of({.computation = Computation::kSum, .bits = operand_bits(), .sum = *sum});
      }
    }
    written.emplace_back(encoding_.place[kRegPlace], value);
  }
  // Of a register: 81 and 83, shifts, INC and DEC, MOV of a number.
  void find_groups(Written& written) {
    const uint8_t rm = encoding_.place[kRmPlace], opcode = key().opcode;
    const Known& held = registers_[rm];
    if (opcode == 0x81 || opcode == 0x83) {
      const auto computation = kArithmetic[key().reg];
      if (computation)
        written.emplace_back(rm, combine(*computation, held, immediate(opcode == 0x83 ? 1 : 4)));
    } else if (opcode == 0xc7 && key().reg == 0) {
      written.emplace_back(rm, cut(Symbol{kNoValue, immediate(4)}, operand_bits()));
    } else if (opcode == 0xff && key().reg < 2) {
      written.emplace_back(rm, combine(Computation::kSum, held, key().reg == 0 ? 1 : -1));
    } else if (opcode == 0xc1 || opcode == 0xd1) {
      const int64_t count = (opcode == 0xc1 ? immediate(1) : 1) & (operand_bits() - 1);
      const Computation shifts[] = {Computation::kShiftLeft, Computation::kShiftRight,
                                    Computation::kShiftLeft, Computation::kShiftRightSigned};
      if (key().reg < 4) return;
      Known from = key().reg == 4 ? held : cut(held, operand_bits());
      written.emplace_back(rm, combine(shifts[key().reg - 4], from, count));
    }
  }

  // Where the next RSP is known; `before`: what it was.
  void move_stack(const Known& before) {
    const auto moved = [&before](int64_t bytes) {
      return before ? Known(Symbol{before->value, plus(before->offset, bytes)}) : Known{};
    };
    const int64_t width = stack_bytes();
    const RegisterSum& sum = price_->sum;
    if (is(0xff) && key().memory && (key().reg == 2 || key().reg == 6)) {
      registers_[kRsp] = moved(-width);
    } else if (is(0x8f) && key().memory) {
      registers_[kRsp] = moved(width);
    } else if (is(0x5c) && encoding_.place[kOpcodePlace] == kRsp) {
      return;  // POP RSP
    } else if (is(0xc9)) {
      registers_[kRsp].reset();
      registers_[kRbp].reset();
    } else if (is(0xc8) || is(0x60) || is(0x61)) {
      registers_[kRsp].reset();
    } else if (sum.reg == kRsp && is_on_stack()) {
      registers_[kRsp] = moved(sum.sum.offset);
    }
  }
  // What it does to its registers nobody knows.
  void forget_operands() {
    for (const uint8_t place : {kRegPlace, kRmPlace, kVvvvPlace, kOpcodePlace})
      registers_[encoding_.place[place] % kGprs].reset();
  }

  static constexpr uint16_t kMaxValues = 1000;  // others are unknown

  const CodeMode mode_;
  uint64_t linear_;  // of the next instruction
  bool left_ = false;
  std::span<const uint8_t> bytes_;
  const InstructionPrice* price_ = nullptr;
  Encoding encoding_;
  std::array<Known, kGprs> registers_;
  std::vector<std::pair<Sum, Known>> stored_;  // in the block
  Slices result_;
};

}  // namespace

AccessSlices access_slices(std::span<const uint8_t> code, std::span<const uint8_t> lengths,
                           std::span<const InstructionPrice> prices, CodeMode mode,
                           uint64_t linear) {
  SliceBuilder builder(mode, linear);
  for (size_t i = 0; i < prices.size(); ++i) {
    builder.execute(code.first(lengths[i]), prices[i]);
    code = code.subspan(lengths[i]);
  }
  return std::move(builder).finish();
}

}  // namespace nestor::emu::timing
