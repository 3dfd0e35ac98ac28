// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/iret_image.h"

#include <span>

#include "emu/cpu/segments.h"

namespace nestor::emu {
namespace {

// EIP, CS and EFLAGS, whose third byte has VM; what is there for an IRET of 16 bits comes back.
constexpr unsigned kFlags = 8, kVmByte = 2;
constexpr uint8_t kVmOfByte = vmx::rflags::kVm >> 8 * kVmByte;

}  // namespace

void IretImage::hide_vm() {
  const vmx::CpuState& state = core_.state();
  const bool big = state.segment[vmx::kSs].rights.default_big();
  const uint64_t mask = state.code_64bit() ? ~0ull : big ? 0xffffffff : 0xffff;
  const uint64_t offset = (state.gpr[vmx::kRsp] + kFlags + kVmByte) & mask;
  const auto physical =
      core_.mmu().probe(unchecked_linear_address(state, vmx::kSs, offset),
                        core_.port().access(ept::Access::kRead, Privilege::kCurrent), state.rflags);
  if (!std::holds_alternative<uint64_t>(physical)) return;
  uint8_t byte = 0;
  const uint64_t at = std::get<uint64_t>(physical);
  if (!core_.memory().read(at, std::span(&byte, 1)) || (byte & kVmOfByte) == 0) return;
  byte = static_cast<uint8_t>(byte & ~kVmOfByte);
  core_.memory().write(at, std::span(&byte, 1));
  hidden_at_ = at;
}

void IretImage::restore() {
  if (!hidden_at_) return;
  uint8_t byte = 0;
  (void)core_.memory().read(*hidden_at_, std::span(&byte, 1));
  byte |= kVmOfByte;
  core_.memory().write(*hidden_at_, std::span(&byte, 1));
  hidden_at_.reset();
}

}  // namespace nestor::emu
