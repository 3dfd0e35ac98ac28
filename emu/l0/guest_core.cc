// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/l0/guest_core.h"

#include <algorithm>

#include "emu/cpu/mmu.h"
#include "emu/cpu/segments.h"
#include "emu/cpu/walk_results.h"
#include "emu/memory/page_size.h"
#include "ept/nested_walk.h"
#include "ept/pae.h"
#include "vmx/features.h"

namespace nestor::emu {
namespace {

using vmx::Event;

}  // namespace

GuestCore::GuestCore(Core& core, const MachineMap& map, const vmx::Capabilities& offered,
                     vmx::EventSink& sink)
    : core_(core), memory_(core, map), vmx_(offered, *this, sink), port_(*this) {}

ept::PagingState GuestCore::paging_state() const {
  return emu::paging_state(vmx_, state_, state_.rflags);
}

std::optional<ept::EptState> GuestCore::ept_state() const {
  const auto eptp = vmx_.in_non_root() ? vmx_.eptp() : std::nullopt;
  if (!eptp) return std::nullopt;
  return emu::ept_state(vmx_, *eptp);
}

std::variant<uint64_t, Fault> GuestCore::Port::translate(uint64_t linear, ept::Access access) {
  const ept::PagingState paging = core_.paging_state();
  if (const auto ept = core_.ept_state()) {
    const auto walk =
        ept::walk_nested(core_.memory_, paging, *ept, ept::LinearAddress{linear}, access);
    if (walk.translated()) return walk.address.value;
    return nested_fault(walk, linear);
  }
  const auto walk = ept::walk_linear(core_.memory_, paging, ept::LinearAddress{linear}, access);
  if (walk.translated()) return walk.address.value;
  return Fault{vmx::exception(vmx::kPf, walk.error_code, linear)};
}

std::variant<uint64_t, Fault> GuestCore::Port::translate_code(uint64_t linear) {
  return translate(linear, access(ept::Access::kFetch, Privilege::kCurrent));
}

// L0 emulates VMX instructions for L1 only, which has no EPT of its own.
std::optional<Event> GuestCore::read_linear(uint64_t linear, std::span<uint8_t> out) {
  const auto fault = read(linear, out, Privilege::kCurrent);
  if (!fault) return std::nullopt;
  return std::get<Event>(*fault);
}

std::optional<Event> GuestCore::write_linear(uint64_t linear, std::span<const uint8_t> data) {
  const auto fault = write(linear, data, Privilege::kCurrent);
  if (!fault) return std::nullopt;
  return std::get<Event>(*fault);
}

// Only shadow page tables bring PDPTEs here, and there nobody has EPT.
std::optional<Fault> GuestCore::reload_pdptes(uint64_t cr3) {
  std::array<uint64_t, 4> pdptes{};
  if (!ept::read_pdptes(memory_, cr3, pdptes)) return vmx::exception(vmx::kGp, 0);
  return set_pdptes(pdptes);
}

}  // namespace nestor::emu
