// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/instruction_price.h"

#include <algorithm>
#include <bit>

#include "emu/timing/idioms.h"
#include "emu/timing/tables.h"

namespace nestor::emu::timing {
namespace {

constexpr unsigned kStackPointer = 4;
constexpr uint16_t kNoPorts = kSerial | kIntegerDivider | kFloatingPointDivider;
// LLVM's latencies of loads from the L1 cache, which its latencies of load-and-operate contain.
constexpr uint16_t kGprLoad = 5, kVectorLoad = 6;

Values bit(unsigned value) { return Values{1} << value; }

// The value of a register in a place of the encoding; 0: nothing waits for it.
Values place_value(const Encoding& encoding, const Form& form, unsigned place) {
  unsigned number = encoding.place[place];
  switch (form.place(place)) {
    case RegisterClass::kByte:
      if (!encoding.rex && number >= 4 && number < 8) number -= 4;
      return bit(kFirstGpr + number);
    case RegisterClass::kWord:
    case RegisterClass::kDoubleword:
    case RegisterClass::kQuadword:
      return bit(kFirstGpr + number);
    case RegisterClass::kVector:
      return bit(kFirstVector + number);
    case RegisterClass::kMmx:
      return bit(kFirstMmx + (number & 7));
    case RegisterClass::kX87:
      return bit(kX87);
    default:
      return 0;
  }
}

Values implicit_values(uint32_t implicit) {
  static_assert(kImplicitCarry == 1u << kCarry && kImplicitOtherFlags == 1u << kOtherFlags &&
                kImplicitX87 == 1u << kX87 && kImplicitXmm0 == 1u << kFirstVector);
  return implicit;
}

// The flags that a condition reads ("EFLAGS Condition Codes"): CF, others, or both.
Values condition_values(uint8_t opcode) {
  switch (opcode >> 1 & 7) {
    case 1:  // B, NB
      return bit(kCarry);
    case 3:  // BE, NBE
      return bit(kCarry) | bit(kOtherFlags);
    default:
      return bit(kOtherFlags);
  }
}

void set_operands(InstructionPrice& price, const Encoding& encoding, const Form& form) {
  for (unsigned place = 0; place < kPlaces; ++place) {
    const Values value = place_value(encoding, form, place);
    const bool written = (form.written >> place & 1) != 0;
    if ((form.read >> place & 1) != 0) price.operand_read |= value;
    if (written) price.written |= value;
    // The rest of the register stays as it was.
    const bool partial =
        form.place(place) == RegisterClass::kByte || form.place(place) == RegisterClass::kWord;
    if (written && partial) price.operand_read |= value;
  }
  uint32_t implicit_read = form.implicit_read;
  if ((form.flags & kHasCondition) != 0) {
    implicit_read &= ~uint32_t{kImplicitFlags};
    price.operand_read |= condition_values(encoding.key.opcode);
  }
  price.operand_read |= implicit_values(implicit_read);
  price.written |= implicit_values(form.implicit_written);
  if ((form.flags & kHasMemory) != 0 && (form.flags & kHasModrm) != 0) {
    if (encoding.base != Encoding::kNone) price.address_read |= bit(encoding.base);
    if (encoding.index != Encoding::kNone) price.address_read |= bit(encoding.index);
  }
  if ((form.flags & kUsesStack) != 0) {
    // The stack engine moves RSP before the instruction is executed.
    price.operand_read &= ~bit(kStackPointer);
    price.written &= ~bit(kStackPointer);
    price.address_read |= bit(kStackPointer);
  }
}

void set_address(InstructionPrice& price, const Encoding& encoding, const Form& form,
                 int64_t stack_width) {
  Address& address = price.address;
  if ((form.flags & kHasMemory) != 0 && (form.flags & kHasModrm) != 0) {
    address = {encoding.rip_relative ? Address::kRip : encoding.base, encoding.index,
               encoding.scale, encoding.displacement};
    price.has_address = true;
  } else if ((form.flags & kUsesStack) != 0 && (price.loads != price.stores)) {
    address = {kStackPointer, Address::kNone, 1, price.stores ? -stack_width : 0};
    price.has_address = true;
  }
}

// MOV, LEA, ADD, SUB, INC and DEC of a register as wide as addresses, and the stack.
void set_sum(InstructionPrice& price, const Encoding& encoding, const Form& form,
             int64_t stack_width) {
  const EncodingKey& key = encoding.key;
  const auto plus = [](uint8_t reg, int64_t offset) {
    return Address{reg, Address::kNone, 1, offset};
  };
  if ((form.flags & kUsesStack) != 0) {
    // PUSH, POP and CALL of memory move RSP, too, but are left out.
    if (!price.has_address || price.address.base != kStackPointer) return;
    const int64_t moved = price.stores ? price.address.offset : stack_width;
    price.sum = {kStackPointer, plus(kStackPointer, moved)};
    return;
  }
  if (key.space != 0 || !key.wide) return;
  const uint8_t reg = encoding.place[kRegPlace], rm = encoding.place[kRmPlace];
  if (key.opcode == 0x8d && key.memory) {
    price.sum = {reg, price.address};
  } else if (key.memory) {
    return;
  } else if (key.opcode == 0x89) {
    price.sum = {rm, plus(reg, 0)};
  } else if (key.opcode == 0x8b) {
    price.sum = {reg, plus(rm, 0)};
  } else if (key.opcode == 0xff && key.reg < 2) {
    price.sum = {rm, plus(rm, key.reg == 0 ? 1 : -1)};
  } else if ((key.opcode == 0x81 || key.opcode == 0x83) && (key.reg == 0 || key.reg == 5)) {
    const int64_t amount =
        key.opcode == 0x83 ? encoding.immediate_byte : encoding.immediate_doubleword;
    price.sum = {rm, plus(rm, key.reg == 0 ? amount : -amount)};
  }
}

bool is_indexed(const Encoding& encoding, const Form& form) {
  return (form.flags & kHasModrm) != 0 && encoding.key.memory && encoding.index != Encoding::kNone;
}

// CMP and TEST of memory.
bool compares(const EncodingKey& key) {
  if (key.space != 0) return false;
  const uint8_t opcode = key.opcode;
  if (opcode >= 0x38 && opcode <= 0x3b) return true;
  if (opcode >= 0x80 && opcode <= 0x83) return key.reg == 7;
  return opcode == 0x84 || opcode == 0x85 || ((opcode == 0xf6 || opcode == 0xf7) && key.reg < 2);
}

void add_use(InstructionPrice& price, uint16_t ports, unsigned cycles) {
  if (cycles == 0) return;
  if (price.use_count == price.use.size()) return;
  price.use[price.use_count++] = {ports, static_cast<uint16_t>(std::min(cycles, 1000u))};
}

// The micro-operations of a table's row, adapted to the operands.
struct Work {
  unsigned loads = 0, store_addresses = 0, store_data = 0, others = 0;
};

Work set_ports(InstructionPrice& price, const TablePrice& row, const Encoding& encoding,
               const Form& form, const Processor& processor) {
  Work work;
  bool stack_update = (form.flags & kUsesStack) != 0;
  constexpr uint16_t kAnyExecutionPort = 1u << 0 | 1u << 1 | 1u << 5 | 1u << 6;
  for (const PortUse& use : row.use) {
    PortUse now = use;
    if (now.cycles == 0) continue;
    if ((now.ports & kNoPorts) != 0) {
      add_use(price, now.ports, now.cycles);
      continue;
    }
    if (now.ports == processor.load_ports) {
      work.loads += now.cycles;
    } else if (now.ports == processor.store_address_ports) {
      work.store_addresses += now.cycles;
      if (is_indexed(encoding, form) && !processor.indexed_store_port_7)
        now.ports = processor.load_ports;
    } else if (now.ports == processor.store_data_ports) {
      work.store_data += now.cycles;
    } else {
      // LLVM counts the update of RSP, which the stack engine makes.
      if (stack_update && now.ports == kAnyExecutionPort) {
        --now.cycles;
        stack_update = false;
      }
      work.others += now.cycles;
    }
    add_use(price, now.ports, now.cycles);
  }
  return work;
}

// Micro-operations that stay together when they are issued; Intel's optimization manual,
// "Unlamination", and P. Cordes in the answer to "Micro fusion and addressing modes".
bool is_unlaminated(const Encoding& encoding, const Form& form, const Work& work) {
  if (!is_indexed(encoding, form)) return false;
  if (work.store_data != 0) return true;
  if (work.loads == 0 || work.others == 0) return false;
  if (compares(encoding.key) || encoding.key.space >= kFirstVexSpace) return true;
  if ((form.implicit_read & kImplicitFlags) != 0) return true;
  return (form.read & form.written) == 0;
}

void set_uops(InstructionPrice& price, const TablePrice& row, const Encoding& encoding,
              const Form& form, const Work& work, const Processor& processor) {
  const unsigned executed = work.loads + work.store_addresses + work.store_data + work.others;
  unsigned all = std::max<unsigned>(executed, row.uops);
  if ((form.flags & kUsesStack) != 0) all = executed;
  const bool stores = work.store_addresses != 0 && work.store_data != 0;
  const unsigned pairs = std::min(work.store_addresses, work.store_data);
  const bool loads_and_works = work.loads != 0 && work.others != 0;
  const unsigned fused = all - pairs - (loads_and_works ? 1 : 0);
  price.uops = static_cast<uint8_t>(std::min(executed, 255u));
  price.decoded_uops = static_cast<uint8_t>(std::clamp(fused, 1u, 255u));
  unsigned issued = price.decoded_uops;
  if (is_unlaminated(encoding, form, work)) issued += stores && loads_and_works ? 2 : 1;
  price.issued_uops = static_cast<uint8_t>(std::min(issued, 255u));
  price.complex_decoder = price.decoded_uops > 1;
  const bool cmov = encoding.key.space == 1 && (encoding.key.opcode & 0xf0) == 0x40;
  if (cmov && processor.cmov_complex) price.complex_decoder = true;
}

void set_latency(InstructionPrice& price, const TablePrice& row, const Form& form, const Work& work,
                 const Processor& processor) {
  price.latency = std::min(row.latency, kMaxLatency);
  // LLVM adds the update of RSP, which the stack engine makes.
  const bool loads = work.loads != 0, stores = work.store_data != 0;
  if ((form.flags & kUsesStack) != 0 && loads != stores && price.latency > (loads ? kGprLoad : 1))
    --price.latency;
  price.operand_latency = std::min(row.operand_latency, price.latency);
  if (work.store_data != 0) {
    // LLVM counts a cycle for the store, which nothing but a load waits for.
    price.latency = static_cast<uint16_t>(std::max<int>(price.latency - 1, 0));
    price.operand_latency = static_cast<uint16_t>(std::max<int>(price.operand_latency - 1, 0));
  }
  if (work.loads == 0) return;
  bool vector = false;
  for (unsigned place = 0; place < kPlaces; ++place) {
    const RegisterClass type = form.place(place);
    vector = vector || type == RegisterClass::kVector || type == RegisterClass::kX87;
  }
  const uint16_t load = vector ? kVectorLoad : kGprLoad;
  if (price.operand_latency == price.latency)
    price.operand_latency = static_cast<uint16_t>(price.latency - std::min(load, price.latency));
  price.memory_latency =
      static_cast<uint16_t>(price.operand_latency + processor.forwarding + (load - kGprLoad));
}

// Intel's optimization manual, "Assembly/Compiler Coding Rule" on LEA: three components, or base
// RBP, R13 or RIP.
bool is_slow_lea(const Encoding& encoding) {
  if (encoding.key.space != 0 || encoding.key.opcode != 0x8d || !encoding.key.memory) return false;
  if (encoding.rip_relative) return true;
  return encoding.base != Encoding::kNone && encoding.index != Encoding::kNone &&
         (encoding.has_displacement || (encoding.base & 7) == 5);
}

void apply_slow_lea(InstructionPrice& price) {
  constexpr uint16_t kPort1 = 1u << 1;
  constexpr uint16_t kSlowLea = 3;
  price.use_count = 0;
  add_use(price, kPort1, 1);
  price.latency = price.operand_latency = kSlowLea;
}

// Intel's optimization manual, "L1 DCache": the shortest latency, of a load whose address is a base
// and a small offset. It is that of a pointer that was loaded itself (P. Cordes in the answer to
// "Is there a penalty when base+offset is in a different page than the base?"); what loads its own
// base is known to be such a one.
void apply_pointer_load(InstructionPrice& price, const Encoding& encoding,
                        const Processor& processor) {
  const EncodingKey& key = encoding.key;
  const bool pointer = key.space == 0 && key.opcode == 0x8b && key.memory && key.wide &&
                       encoding.base == encoding.place[kRegPlace] &&
                       encoding.index == Encoding::kNone && encoding.displacement >= 0 &&
                       encoding.displacement < 2048;
  if (pointer) price.latency = std::min(price.latency, processor.memory.first_cache_cycles);
}

void apply_idiom(InstructionPrice& price, const Encoding& encoding, const Processor& processor) {
  const Idiom idiom = idiom_of(encoding);
  const bool move =
      idiom == Idiom::kVectorMove || (idiom == Idiom::kMove && processor.eliminates_moves);
  if (idiom == Idiom::kZero || move) {
    price.eliminated = true;
    price.use_count = 0;
    price.uops = 0;
    price.latency = price.operand_latency = 0;
  }
  if (idiom == Idiom::kZero || idiom == Idiom::kBreaksDependency) {
    price.breaks_dependency = true;
    price.operand_read = 0;
  }
}

// FNV-1a.
uint32_t identity_of(std::span<const uint8_t> bytes) {
  uint32_t hash = 0x811c9dc5;
  for (const uint8_t byte : bytes) hash = (hash ^ byte) * 0x01000193;
  return hash;
}

void set_default(InstructionPrice& price) {
  constexpr uint16_t kAnyExecutionPort = 1u << 0 | 1u << 1 | 1u << 5 | 1u << 6;
  price.default_priced = true;
  price.decoded_uops = price.issued_uops = price.uops = 1;
  price.latency = price.operand_latency = price.memory_latency = kDefaultLatency;
  add_use(price, kAnyExecutionPort, 1);
}

}  // namespace

InstructionPrice price_instruction(std::span<const uint8_t> bytes, CodeMode mode,
                                   const Processor& processor) {
  const Encoding encoding = parse_encoding(bytes, mode);
  InstructionPrice price;
  price.length = static_cast<uint8_t>(bytes.size());
  price.identity = identity_of(bytes);
  price.opcode_offset = std::min(encoding.opcode_offset, price.length);
  price.length_changing_prefix = encoding.length_changing_prefix;
  const uint16_t number = encoding.known ? form_number(encoding.key) : uint16_t{0};
  const TablePrice* row = number == 0 ? nullptr : table_price(processor.table, number);
  if (row == nullptr) {
    set_default(price);
    return price;
  }
  const Form& form = timing::form(number);
  price.may_fuse = may_macro_fuse(encoding);
  price.branches = (form.flags & kBranches) != 0;
  set_operands(price, encoding, form);
  const Work work = set_ports(price, *row, encoding, form, processor);
  set_uops(price, *row, encoding, form, work, processor);
  set_latency(price, *row, form, work, processor);
  price.loads = work.loads != 0;
  price.stores = work.store_data != 0;
  const int64_t stack_width = mode == CodeMode::k64 ? 8 : mode == CodeMode::k32 ? 4 : 2;
  set_address(price, encoding, form, stack_width);
  set_sum(price, encoding, form, stack_width);
  if (processor.slow_lea && is_slow_lea(encoding)) apply_slow_lea(price);
  apply_pointer_load(price, encoding, processor);
  if (waits_for_destination(encoding, processor))
    price.operand_read |= place_value(encoding, form, kRegPlace);
  apply_idiom(price, encoding, processor);
  return price;
}

bool macro_fuses(std::span<const uint8_t> first, std::span<const uint8_t> second, CodeMode mode) {
  return is_macro_fused(parse_encoding(first, mode), parse_encoding(second, mode));
}

}  // namespace nestor::emu::timing
