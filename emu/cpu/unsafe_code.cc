// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/unsafe_code.h"

#include <algorithm>
#include <array>

#include "emu/memory/page_size.h"

namespace nestor::emu {

std::optional<unsigned> find_unsafe(Decoder& decoder, std::span<const uint8_t> code, CodeMode mode,
                                    bool far_transfers) {
  constexpr uint8_t kInsb = 0x6c, kInsd = 0x6d, kIret = 0xcf, kFarCall = 0x9a, kFarJump = 0xea,
                    kGroup5 = 0xff;
  const auto is_opcode = [&](uint8_t byte) {
    return byte == kInsb || byte == kInsd || byte == kIret ||
           (far_transfers && (byte == kFarCall || byte == kFarJump || byte == kGroup5));
  };
  if (std::ranges::none_of(code, is_opcode)) return std::nullopt;
  std::array<uint16_t, kPageSize> starts;
  const unsigned count = decoder.instruction_starts(code, mode, starts);
  for (unsigned i = 0; i < count; ++i) {
    const auto instruction = decoder.decode(code.subspan(starts[i]), mode);
    if (!instruction) continue;
    const Operation operation = instruction->operation;
    const bool narrow_iret =
        operation == Operation::kIret && mode == CodeMode::k64 && !instruction->prefixes.rex_w;
    const bool far = operation == Operation::kFarCall || operation == Operation::kFarJump;
    if (operation == Operation::kIns || narrow_iret || (far && far_transfers)) return starts[i];
  }
  return std::nullopt;
}

}  // namespace nestor::emu
