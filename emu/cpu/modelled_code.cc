// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/modelled_code.h"

#include <algorithm>
#include <array>
#include <initializer_list>

#include "emu/decode/plain_code.h"
#include "emu/memory/page_size.h"

namespace nestor::emu {
namespace {

// One byte that every such instruction has: its opcode, or what follows 0F.
constexpr auto kHints = [] {
  std::array<bool, 256> hints{};
  // INS; POP ES, SS, DS; MOV to a segment register; LES, LDS; far RET, IRET, CALL, JMP, group 5.
  for (const int opcode :
       {0x6c, 0x6d, 0x07, 0x17, 0x1f, 0x8e, 0xc4, 0xc5, 0xca, 0xcb, 0xcf, 0x9a, 0xea, 0xff})
    hints[static_cast<size_t>(opcode)] = true;
  // Group 15 (FXSAVE, LDMXCSR and their kin), FNSTENV and FNSAVE with theirs, 66.
  for (const int opcode : {0xae, 0xd9, 0xdd, 0x66}) hints[static_cast<size_t>(opcode)] = true;
  // Group 6 (VERR, VERW), LAR, LSL, POP FS, POP GS, LSS, LFS, LGS, CMPXCHG8B.
  for (const int opcode : {0x00, 0x02, 0x03, 0xa1, 0xa9, 0xb2, 0xb4, 0xb5, 0xc7})
    hints[static_cast<size_t>(opcode)] = true;
  return hints;
}();

// CMPXCHG8B, CMPXCHG16B and, which does no harm, what looks like them. Before them the engine takes
// the flags that they leave alone from the last block, not from the instruction before.
bool takes_old_flags(const Instruction& instruction, std::span<const uint8_t> bytes) {
  constexpr std::array<uint8_t, 2> kOpcode = {0x0f, 0xc7};
  return (instruction.modrm >> 3 & 7) == 1 &&
         std::search(bytes.begin(), bytes.end(), kOpcode.begin(), kOpcode.end()) != bytes.end();
}

}  // namespace

bool is_modelled(const Instruction& instruction, bool descriptors) {
  switch (instruction.operation) {
    case Operation::kIns:
    case Operation::kIret:
    case Operation::kFarJump:
    case Operation::kFarCall:
    case Operation::kFarReturn:
    case Operation::kNearBranch:
    case Operation::kFxsave:
    case Operation::kFxrstor:
    case Operation::kLdmxcsr:
    case Operation::kStmxcsr:
    case Operation::kFnstenv:
    case Operation::kFnsave:
    case Operation::kFldenv:
    case Operation::kFrstor:
      return true;
    case Operation::kMoveToSegment:
    case Operation::kPopSegment:
      return descriptors || instruction.operand[0].number == vmx::kSs;
    case Operation::kLds:
    case Operation::kLes:
    case Operation::kLfs:
    case Operation::kLgs:
    case Operation::kLss:
    case Operation::kLar:
    case Operation::kLsl:
    case Operation::kVerr:
    case Operation::kVerw:
      return descriptors;
    default:
      return false;
  }
}

std::optional<unsigned> find_modelled(Decoder& decoder, std::span<const uint8_t> code,
                                      CodeMode mode, bool descriptors) {
  const auto hint = [](uint8_t byte) { return kHints[byte]; };
  if (std::ranges::none_of(code, hint)) return std::nullopt;
  if (count_plain_instructions(code, mode)) return std::nullopt;
  std::array<uint16_t, kPageSize> starts;
  const unsigned count = decoder.instruction_starts(code, mode, starts);
  for (unsigned i = 0; i < count; ++i) {
    const unsigned end = i + 1 < count ? starts[i + 1] : static_cast<unsigned>(code.size());
    const auto bytes = code.subspan(starts[i], end - starts[i]);
    if (std::ranges::none_of(bytes, hint)) continue;
    const auto instruction = decoder.decode(code.subspan(starts[i]), mode);
    if (!instruction) continue;
    if (is_modelled(*instruction, descriptors)) return starts[i];
    if (i != 0 && takes_old_flags(*instruction, bytes)) return starts[i];
  }
  size_t known = 0;
  if (count != 0) {
    const auto last = decoder.decode(code.subspan(starts[count - 1]), mode);
    known = starts[count - 1] + (last ? last->length : 0u);
  }
  const auto rest = code.subspan(known);
  if (std::ranges::none_of(rest, hint)) return std::nullopt;
  // Where decoder and engine disagree on a length only, there is nothing behind it: it is a branch,
  // and the model's if the engine takes it for a shorter one.
  std::array<uint8_t, Instruction::kMaxLength> padded{};
  std::copy_n(rest.begin(), std::min(rest.size(), padded.size()), padded.begin());
  const auto branch = decoder.decode(padded, mode);
  if (branch && !is_modelled(*branch, descriptors)) return std::nullopt;
  return static_cast<unsigned>(known);
}

}  // namespace nestor::emu
