// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/decode/decoder.h"

#include <capstone/capstone.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <initializer_list>
#include <stdexcept>
#include <string>

#include "emu/decode/effects.h"
#include "emu/decode/floating_point.h"
#include "emu/decode/memory_use.h"

namespace nestor::emu {
namespace {

using vmx::Gpr;
using vmx::SegmentRegister;

constexpr auto kOperationById = [] {
  std::array<Operation, X86_INS_ENDING> table{};
  const auto add = [&table](Operation operation, std::initializer_list<x86_insn> ids) {
    for (const x86_insn id : ids) table[id] = operation;
  };
#define NESTOR_INSTRUCTION(operation, handler, feature, exit_reason, information, prefixes, ...) \
  add(Operation::operation, {__VA_ARGS__});
#include "emu/decode/instructions.inc"
  return table;
}();

// The operations of rows with kNoPrefixes.
constexpr auto kRejectsPrefixes = [] {
  constexpr bool kNoPrefixes = true, kAnyPrefixes = false;
  return std::array<bool, static_cast<size_t>(Operation::kCount)>{
      kAnyPrefixes,  // Operation::kOther
#define NESTOR_INSTRUCTION(operation, handler, feature, exit_reason, information, prefixes, ...) \
  prefixes,
#include "emu/decode/instructions.inc"
  };
}();

struct RegisterEntry {
  x86_reg id;
  Operand::Kind kind;
  uint8_t number;
  bool high_byte = false;
};

constexpr auto kGprKind = Operand::Kind::kRegister;
constexpr RegisterEntry kNamedRegisters[] = {
    {X86_REG_AL, kGprKind, vmx::kRax},
    {X86_REG_CL, kGprKind, vmx::kRcx},
    {X86_REG_DL, kGprKind, vmx::kRdx},
    {X86_REG_BL, kGprKind, vmx::kRbx},
    {X86_REG_SPL, kGprKind, vmx::kRsp},
    {X86_REG_BPL, kGprKind, vmx::kRbp},
    {X86_REG_SIL, kGprKind, vmx::kRsi},
    {X86_REG_DIL, kGprKind, vmx::kRdi},
    {X86_REG_AH, kGprKind, vmx::kRax, true},
    {X86_REG_CH, kGprKind, vmx::kRcx, true},
    {X86_REG_DH, kGprKind, vmx::kRdx, true},
    {X86_REG_BH, kGprKind, vmx::kRbx, true},
    {X86_REG_AX, kGprKind, vmx::kRax},
    {X86_REG_CX, kGprKind, vmx::kRcx},
    {X86_REG_DX, kGprKind, vmx::kRdx},
    {X86_REG_BX, kGprKind, vmx::kRbx},
    {X86_REG_SP, kGprKind, vmx::kRsp},
    {X86_REG_BP, kGprKind, vmx::kRbp},
    {X86_REG_SI, kGprKind, vmx::kRsi},
    {X86_REG_DI, kGprKind, vmx::kRdi},
    {X86_REG_EAX, kGprKind, vmx::kRax},
    {X86_REG_ECX, kGprKind, vmx::kRcx},
    {X86_REG_EDX, kGprKind, vmx::kRdx},
    {X86_REG_EBX, kGprKind, vmx::kRbx},
    {X86_REG_ESP, kGprKind, vmx::kRsp},
    {X86_REG_EBP, kGprKind, vmx::kRbp},
    {X86_REG_ESI, kGprKind, vmx::kRsi},
    {X86_REG_EDI, kGprKind, vmx::kRdi},
    {X86_REG_RAX, kGprKind, vmx::kRax},
    {X86_REG_RCX, kGprKind, vmx::kRcx},
    {X86_REG_RDX, kGprKind, vmx::kRdx},
    {X86_REG_RBX, kGprKind, vmx::kRbx},
    {X86_REG_RSP, kGprKind, vmx::kRsp},
    {X86_REG_RBP, kGprKind, vmx::kRbp},
    {X86_REG_RSI, kGprKind, vmx::kRsi},
    {X86_REG_RDI, kGprKind, vmx::kRdi},
    {X86_REG_ES, Operand::Kind::kSegment, vmx::kEs},
    {X86_REG_CS, Operand::Kind::kSegment, vmx::kCs},
    {X86_REG_SS, Operand::Kind::kSegment, vmx::kSs},
    {X86_REG_DS, Operand::Kind::kSegment, vmx::kDs},
    {X86_REG_FS, Operand::Kind::kSegment, vmx::kFs},
    {X86_REG_GS, Operand::Kind::kSegment, vmx::kGs},
};

// Registers that Capstone numbers without gaps.
struct RegisterRange {
  x86_reg first, last;
  Operand::Kind kind;
  uint8_t number;
};
constexpr RegisterRange kRegisterRanges[] = {
    {X86_REG_R8, X86_REG_R15, kGprKind, vmx::kR8},
    {X86_REG_R8B, X86_REG_R15B, kGprKind, vmx::kR8},
    {X86_REG_R8W, X86_REG_R15W, kGprKind, vmx::kR8},
    {X86_REG_R8D, X86_REG_R15D, kGprKind, vmx::kR8},
    {X86_REG_CR0, X86_REG_CR15, Operand::Kind::kControlRegister, 0},
    {X86_REG_DR0, X86_REG_DR15, Operand::Kind::kDebugRegister, 0},
};
static_assert(X86_REG_R15 - X86_REG_R8 == 7 && X86_REG_R15B - X86_REG_R8B == 7 &&
              X86_REG_R15W - X86_REG_R8W == 7 && X86_REG_R15D - X86_REG_R8D == 7 &&
              X86_REG_CR15 - X86_REG_CR0 == 15 && X86_REG_DR15 - X86_REG_DR0 == 15);

constexpr auto kRegisterById = [] {
  std::array<RegisterEntry, X86_REG_ENDING> table{};
  for (auto& entry : table) entry = {X86_REG_INVALID, Operand::Kind::kOther, 0};
  for (const auto& entry : kNamedRegisters) table[entry.id] = entry;
  for (const auto& range : kRegisterRanges) {
    for (int id = range.first; id <= range.last; ++id) {
      table[id] = {static_cast<x86_reg>(id), range.kind,
                   static_cast<uint8_t>(range.number + (id - range.first))};
    }
  }
  return table;
}();

std::optional<Gpr> general_register(x86_reg id) {
  const RegisterEntry& entry = kRegisterById[id];
  if (entry.kind != kGprKind) return std::nullopt;
  return static_cast<Gpr>(entry.number);
}

struct SegmentPrefix {
  uint8_t byte;
  SegmentRegister segment;
};
constexpr SegmentPrefix kSegmentPrefixes[] = {
    {0x26, vmx::kEs}, {0x2e, vmx::kCs}, {0x36, vmx::kSs},
    {0x3e, vmx::kDs}, {0x64, vmx::kFs}, {0x65, vmx::kGs},
};

// In 64-bit mode the other prefixes are ignored, also where SS would make #SS of #GP
// ("Segmentation in 64-Bit Mode").
bool counts(SegmentRegister prefix, CodeMode mode) {
  return mode != CodeMode::k64 || prefix == vmx::kFs || prefix == vmx::kGs;
}

// The legacy prefixes, and in 64-bit mode REX, which is ignored unless the opcode follows it.
// Capstone does not report those that an opcode takes for itself.
Prefixes scan_prefixes(std::span<const uint8_t> bytes, CodeMode mode, size_t& opcode) {
  Prefixes prefixes;
  for (opcode = 0; opcode < bytes.size(); ++opcode) {
    const uint8_t byte = bytes[opcode];
    const bool rex = mode == CodeMode::k64 && (byte & 0xf0) == 0x40;
    if (rex) continue;
    const auto* segment = std::ranges::find(kSegmentPrefixes, byte, &SegmentPrefix::byte);
    if (segment != std::end(kSegmentPrefixes)) {
      if (counts(segment->segment, mode)) prefixes.segment = segment->segment;
    } else if (byte == 0xf0)
      prefixes.lock = true;
    else if (byte == 0xf2)
      prefixes.repne = true;
    else if (byte == 0xf3)
      prefixes.rep = true;
    else if (byte == 0x66)
      prefixes.operand_size = true;
    else if (byte == 0x67)
      prefixes.address_size = true;
    else
      break;
  }
  const bool rex = mode == CodeMode::k64 && opcode != 0 && (bytes[opcode - 1] & 0xf0) == 0x40;
  prefixes.rex_w = rex && (bytes[opcode - 1] & 8) != 0;
  return prefixes;
}

uint8_t operand_size(CodeMode mode, const Prefixes& prefixes) {
  if (prefixes.rex_w) return 8;
  return (mode == CodeMode::k16) != prefixes.operand_size ? 2 : 4;
}

uint8_t address_size(CodeMode mode, const Prefixes& prefixes) {
  if (mode == CodeMode::k64) return prefixes.address_size ? 4 : 8;
  return (mode == CodeMode::k16) != prefixes.address_size ? 2 : 4;
}

// Opcodes with a mandatory 66 prefix that Capstone misses in 16-bit mode. There they are decoded as
// 32-bit code with the opposite address size.
struct SixteenBitGap {
  std::array<uint8_t, 3> opcode;
  uint8_t opcode_length;
  uint8_t modrm_reg;  // kAnyReg: part of the operands
};
constexpr uint8_t kAnyReg = 0xff;
constexpr SixteenBitGap kSixteenBitGaps[] = {
    {{0x0f, 0x38, 0x80}, 3, kAnyReg},  // INVEPT
    {{0x0f, 0x38, 0x81}, 3, kAnyReg},  // INVVPID
    {{0x0f, 0x38, 0x82}, 3, kAnyReg},  // INVPCID
    {{0x0f, 0xc7, 0x00}, 2, 6},        // VMCLEAR
};

bool is_sixteen_bit_gap(std::span<const uint8_t> opcode) {
  return std::ranges::any_of(kSixteenBitGaps, [&](const SixteenBitGap& gap) {
    if (opcode.size() <= gap.opcode_length) return false;
    if (!std::equal(opcode.begin(), opcode.begin() + gap.opcode_length, gap.opcode.begin()))
      return false;
    const uint8_t modrm = opcode[gap.opcode_length];
    if (gap.modrm_reg == kAnyReg) return true;
    return modrm < 0xc0 && ((modrm >> 3) & 7) == gap.modrm_reg;
  });
}

// FF /3 and FF /5, which Capstone does not always tell from the near ones.
Operation indirect_transfer(const cs_x86& x86) {
  constexpr uint8_t kGroup5 = 0xff;
  if (x86.opcode[0] != kGroup5) return Operation::kOther;
  const unsigned reg = x86.modrm >> 3 & 7;
  return reg == 3 ? Operation::kFarCall : reg == 5 ? Operation::kFarJump : Operation::kOther;
}

Operation operation_of(const cs_insn& insn) {
  if (insn.id >= X86_INS_ENDING) return Operation::kOther;
  const cs_x86& x86 = insn.detail->x86;
  if (insn.id == X86_INS_CALL || insn.id == X86_INS_JMP) return indirect_transfer(x86);
  const auto kind = [&](int i) {
    const cs_x86_op& operand = x86.operands[i];
    return operand.type == X86_OP_REG ? kRegisterById[operand.reg].kind : Operand::Kind::kOther;
  };
  if (insn.id == X86_INS_POP) {
    return kind(0) == Operand::Kind::kSegment ? Operation::kPopSegment : Operation::kOther;
  }
  if (insn.id != X86_INS_MOV) return kOperationById[insn.id];
  if (x86.op_count != 2) return Operation::kOther;
  if (kind(0) == Operand::Kind::kSegment) return Operation::kMoveToSegment;
  if (kind(0) == Operand::Kind::kControlRegister) return Operation::kMovToCr;
  if (kind(1) == Operand::Kind::kControlRegister) return Operation::kMovFromCr;
  if (kind(0) == Operand::Kind::kDebugRegister) return Operation::kMovToDr;
  if (kind(1) == Operand::Kind::kDebugRegister) return Operation::kMovFromDr;
  return Operation::kOther;
}

// Stack-pointer and base-pointer bases select SS unless overridden.
SegmentRegister default_segment(const std::optional<Gpr>& base) {
  return base == vmx::kRsp || base == vmx::kRbp ? vmx::kSs : vmx::kDs;
}

MemoryOperand memory_operand(const x86_op_mem& source, const Instruction& instruction) {
  MemoryOperand memory;
  memory.rip_relative = source.base == X86_REG_RIP || source.base == X86_REG_EIP;
  memory.base = general_register(source.base);
  memory.index = general_register(source.index);
  memory.scale = static_cast<uint8_t>(source.scale);
  memory.address_size = instruction.address_size;
  memory.displacement = static_cast<uint64_t>(source.disp);
  memory.instruction_length = instruction.length;
  const RegisterEntry& segment = kRegisterById[source.segment];
  if (instruction.operation == Operation::kIns) {
    memory.segment = vmx::kEs;
  } else if (segment.kind == Operand::Kind::kSegment &&
             counts(static_cast<SegmentRegister>(segment.number), instruction.mode)) {
    memory.segment = static_cast<SegmentRegister>(segment.number);
  } else {
    memory.segment = default_segment(memory.base);
  }
  return memory;
}

Operand operand_of(const cs_x86_op& source, const Instruction& instruction) {
  Operand operand;
  operand.size = source.size;
  operand.read = (source.access & CS_AC_READ) != 0;
  operand.written = (source.access & CS_AC_WRITE) != 0;
  switch (source.type) {
    case X86_OP_REG: {
      const RegisterEntry& entry = kRegisterById[source.reg];
      operand.kind = entry.kind;
      operand.number = entry.number;
      operand.high_byte = entry.high_byte;
      break;
    }
    case X86_OP_IMM:
      operand.kind = Operand::Kind::kImmediate;
      operand.immediate = static_cast<uint64_t>(source.imm);
      break;
    case X86_OP_MEM:
      operand.kind = Operand::Kind::kMemory;
      operand.memory = memory_operand(source.mem, instruction);
      break;
    default:
      operand.kind = Operand::Kind::kOther;
      break;
  }
  return operand;
}

bool works_on(const cs_x86& x86, x86_reg first, x86_reg last) {
  return std::any_of(x86.operands, x86.operands + x86.op_count, [=](const cs_x86_op& operand) {
    return operand.type == X86_OP_REG && operand.reg >= first && operand.reg <= last;
  });
}

bool uses_mmx(const cs_insn& insn) {
  return insn.id == X86_INS_EMMS || works_on(insn.detail->x86, X86_REG_MM0, X86_REG_MM7);
}

Technology technology_of(const cs_insn& insn) {
  if (insn.id == X86_INS_LDMXCSR || insn.id == X86_INS_STMXCSR) return Technology::kSse;
  const cs_x86& x86 = insn.detail->x86;
  if (works_on(x86, X86_REG_XMM0, X86_REG_XMM31)) return Technology::kSse;
  if (uses_mmx(insn)) return Technology::kMmx;
  constexpr uint8_t kFirstX87 = 0xd8, kLastX87 = 0xdf;
  const bool x87 = x86.opcode[0] >= kFirstX87 && x86.opcode[0] <= kLastX87;
  return x87 ? Technology::kX87 : Technology::kOther;
}

// General registers that the instruction may write to, named or not.
uint16_t changed_registers(size_t handle, const cs_insn& insn) {
  cs_regs read, written;
  uint8_t read_count = 0, written_count = 0;
  uint16_t changed = 0;
  if (cs_regs_access(handle, &insn, read, &read_count, written, &written_count) != CS_ERR_OK) {
    return 0xffff;
  }
  for (unsigned i = 0; i < written_count; ++i) {
    const auto gpr = general_register(static_cast<x86_reg>(written[i]));
    if (gpr) changed |= static_cast<uint16_t>(1u << *gpr);
  }
  return changed;
}

void set_text(Instruction& instruction, const cs_insn& insn) {
  size_t used = 0;
  const auto append = [&](const char* part) {
    const size_t length = std::min(std::strlen(part), instruction.text.size() - 1 - used);
    std::memcpy(instruction.text.data() + used, part, length);
    used += length;
  };
  append(insn.mnemonic);
  if (insn.op_str[0] != '\0') {
    append(" ");
    append(insn.op_str);
  }
}

constexpr unsigned kCacheBits = 12;
constexpr size_t kCacheEntries = size_t{1} << kCacheBits;

constexpr cs_mode kCapstoneModes[] = {CS_MODE_16, CS_MODE_32, CS_MODE_64};

csh open_capstone(cs_mode mode, cs_opt_value detail) {
  csh handle = 0;
  const cs_err error = cs_open(CS_ARCH_X86, mode, &handle);
  if (error != CS_ERR_OK) {
    throw std::runtime_error(std::string("Capstone cannot decode x86: ") + cs_strerror(error));
  }
  cs_option(handle, CS_OPT_DETAIL, detail);
  return handle;
}

}  // namespace

Decoder::Decoder() : cache_(kCacheEntries) {
  for (unsigned i = 0; i < kModes; ++i) {
    handles_[i].full = open_capstone(kCapstoneModes[i], CS_OPT_ON);
    handles_[i].boundaries = open_capstone(kCapstoneModes[i], CS_OPT_OFF);
    handles_[i].instruction = cs_malloc(handles_[i].full);
    handles_[i].boundary = cs_malloc(handles_[i].boundaries);
  }
}

Decoder::~Decoder() {
  for (Handle& handle : handles_) {
    cs_free(handle.instruction, 1);
    cs_free(handle.boundary, 1);
    cs_close(&handle.full);
    cs_close(&handle.boundaries);
  }
}

bool Decoder::run(unsigned mode, std::span<const uint8_t> bytes, uint64_t address) {
  const uint8_t* code = bytes.data();
  size_t size = bytes.size();
  return cs_disasm_iter(handles_[mode].full, &code, &size, &address, handles_[mode].instruction);
}

std::string Decoder::text_at(std::span<const uint8_t> bytes, CodeMode mode, uint64_t address) {
  const auto index = static_cast<unsigned>(mode);
  if (!run(index, bytes, address)) return {};
  Instruction instruction;
  set_text(instruction, *handles_[index].instruction);
  return instruction.text.data();
}

std::optional<Instruction> Decoder::decode(std::span<const uint8_t> bytes, CodeMode mode) {
  bytes = bytes.first(std::min<size_t>(bytes.size(), Instruction::kMaxLength));
  if (bytes.empty()) return std::nullopt;
  std::array<uint8_t, sizeof(Key)> packed{};
  std::memcpy(packed.data(), bytes.data(), bytes.size());
  packed.back() = static_cast<uint8_t>(bytes.size() << 4 | static_cast<unsigned>(mode));
  const Key key = std::bit_cast<Key>(packed);
  constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15;
  const uint64_t hash = (key.low ^ key.high * kMultiplier) * kMultiplier;
  CacheEntry& entry = cache_[hash >> (64 - kCacheBits)];
  if (entry.key != key) entry = {key, decode_anew(bytes, mode)};
  return entry.instruction;
}

std::optional<Instruction> Decoder::decode_anew(std::span<const uint8_t> bytes, CodeMode mode) {
  Instruction instruction;
  instruction.mode = mode;
  size_t opcode = 0;
  instruction.prefixes = scan_prefixes(bytes, mode, opcode);
  const Prefixes& prefixes = instruction.prefixes;
  instruction.operand_size = operand_size(mode, prefixes);
  instruction.address_size = address_size(mode, prefixes);

  auto index = static_cast<unsigned>(mode);
  unsigned inserted = 0;
  if (mode == CodeMode::k16 && prefixes.operand_size && !prefixes.rep &&
      is_sixteen_bit_gap(bytes.subspan(opcode))) {
    // The prefixes but for 67, then 67 if it was not there: the opposite address size.
    std::array<uint8_t, Instruction::kMaxLength + 1> toggled{};
    size_t size = 0;
    unsigned removed = 0;
    for (size_t i = 0; i < bytes.size(); ++i) {
      if (i < opcode && bytes[i] == 0x67) {
        ++removed;
        continue;
      }
      if (i == opcode && !prefixes.address_size) toggled[size++] = 0x67;
      toggled[size++] = bytes[i];
    }
    index = static_cast<unsigned>(CodeMode::k32);
    inserted = prefixes.address_size ? 0u : 1u;
    if (!run(index, std::span(toggled).first(size))) return std::nullopt;
    const unsigned length = handles_[index].instruction->size + removed - inserted;
    if (length > bytes.size()) return std::nullopt;
    instruction.length = static_cast<uint8_t>(length);
  } else {
    if (!run(index, bytes)) return std::nullopt;
    instruction.length = static_cast<uint8_t>(handles_[index].instruction->size);
  }

  const cs_insn& insn = *handles_[index].instruction;
  const cs_x86& x86 = insn.detail->x86;
  instruction.operation = operation_of(insn);
  instruction.technology = technology_of(insn);
  instruction.modrm = x86.modrm;
  // VMX instructions tell each other apart by mandatory prefixes, which leave no other meaning.
  if (kRejectsPrefixes[static_cast<size_t>(instruction.operation)] &&
      (prefixes.operand_size || prefixes.rep || prefixes.repne)) {
    return std::nullopt;
  }
  instruction.operand_count =
      static_cast<uint8_t>(std::min<unsigned>(x86.op_count, Instruction::kMaxOperands));
  for (unsigned i = 0; i < instruction.operand_count; ++i) {
    instruction.operand[i] = operand_of(x86.operands[i], instruction);
  }
  set_effects(instruction, insn);
  // The engine takes 66 for operands of 16 bits there, as other processors do.
  if (is_relative(instruction.branch) && mode == CodeMode::k64 && prefixes.operand_size) {
    instruction.operation = Operation::kNearBranch;
    instruction.branch_opcode = bytes[opcode] == 0x0f ? bytes[opcode + 1] : bytes[opcode];
  }
  set_floating_point(instruction, bytes, opcode);
  instruction.waits |= uses_mmx(insn);
  instruction.changed_registers = changed_registers(handles_[index].full, insn);
  complete_memory_use(instruction, insn, bytes[opcode]);
  set_text(instruction, insn);
  return instruction;
}

unsigned Decoder::instruction_starts(std::span<const uint8_t> bytes, CodeMode mode,
                                     std::span<uint16_t> offsets) {
  Handle& handle = handles_[static_cast<unsigned>(mode)];
  const uint8_t* code = bytes.data();
  size_t size = std::min<size_t>(bytes.size(), UINT16_MAX);
  uint64_t address = 0;
  unsigned count = 0;
  while (size != 0 && count < offsets.size()) {
    offsets[count++] = static_cast<uint16_t>(address);
    if (!cs_disasm_iter(handle.boundaries, &code, &size, &address, handle.boundary)) break;
  }
  return count;
}

}  // namespace nestor::emu
