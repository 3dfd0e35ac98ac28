// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/l0/guest_core.h"

#include <algorithm>

#include "emu/cpu/mmu.h"
#include "emu/cpu/msrs.h"
#include "emu/cpu/segments.h"
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
    : core_(core), memory_(core, map), vmx_(offered, *this, sink) {}

ept::PagingState GuestCore::paging_state() const {
  return emu::paging_state(state_, state_.rflags);
}

std::optional<ept::EptState> GuestCore::ept_state() const {
  const auto eptp = vmx_.in_non_root() ? vmx_.eptp() : std::nullopt;
  if (!eptp) return std::nullopt;
  return emu::ept_state(vmx_, *eptp);
}

ept::Access GuestCore::access(ept::Access::Kind kind, Privilege privilege) const {
  return {kind, state_.cpl() == 3, privilege == Privilege::kSupervisor};
}

std::variant<uint64_t, Fault> GuestCore::translate(uint64_t linear, ept::Access access) {
  const ept::PagingState paging = paging_state();
  if (const auto ept = ept_state()) {
    const auto walk = ept::walk_nested(memory_, paging, *ept, ept::LinearAddress{linear}, access);
    if (walk.translated()) return walk.address.value;
    if (walk.outcome == ept::NestedOutcome::kPageFault) {
      return Fault{vmx::exception(vmx::kPf, walk.error_code, linear)};
    }
    EptExit exit;
    exit.misconfiguration = walk.outcome == ept::NestedOutcome::kEptMisconfiguration;
    exit.qualification = walk.exit_qualification;
    exit.guest_physical = walk.guest_physical.value;
    exit.guest_linear = linear;
    return Fault{exit};
  }
  const auto walk = ept::walk_linear(memory_, paging, ept::LinearAddress{linear}, access);
  if (walk.translated()) return walk.address.value;
  return Fault{vmx::exception(vmx::kPf, walk.error_code, linear)};
}

template <class Use>
std::optional<Fault> GuestCore::for_each_page(uint64_t linear, size_t size, ept::Access access,
                                              const Use& use) {
  // All of it is translated before any of it is used.
  std::array<uint64_t, 3> physical{};
  size_t count = 0;
  const auto part_at = [&](size_t done) {
    return std::min<size_t>(size - done, kPageSize - (linear + done) % kPageSize);
  };
  for (size_t done = 0; done < size && count < physical.size(); done += part_at(done)) {
    uint64_t address = linear + done;
    if (!state_.code_64bit()) address &= 0xffffffff;
    const auto result = translate(address, access);
    if (const auto* fault = std::get_if<Fault>(&result)) return *fault;
    physical[count++] = std::get<uint64_t>(result);
  }
  size_t done = 0;
  for (size_t i = 0; i < count; ++i) {
    const size_t part = part_at(done);
    use(physical[i], done, part);
    done += part;
  }
  return std::nullopt;
}

std::optional<Fault> GuestCore::read(uint64_t linear, std::span<uint8_t> out, Privilege privilege) {
  return for_each_page(linear, out.size(), access(ept::Access::kRead, privilege),
                       [&](uint64_t physical, size_t offset, size_t size) {
                         memory_.read({physical}, out.subspan(offset, size));
                       });
}

std::optional<Fault> GuestCore::write(uint64_t linear, std::span<const uint8_t> data,
                                      Privilege privilege) {
  return for_each_page(linear, data.size(), access(ept::Access::kWrite, privilege),
                       [&](uint64_t physical, size_t offset, size_t size) {
                         memory_.write({physical}, data.subspan(offset, size));
                       });
}

std::optional<Fault> GuestCore::probe_write(uint64_t linear, uint64_t size, Privilege privilege) {
  return for_each_page(linear, size, access(ept::Access::kWrite, privilege),
                       [](uint64_t, size_t, size_t) {});
}

std::optional<Fault> GuestCore::fetch(uint64_t linear, std::span<uint8_t> out, size_t& fetched) {
  fetched = 0;
  while (fetched < out.size()) {
    uint64_t address = linear + fetched;
    if (!state_.code_64bit()) address &= 0xffffffff;
    const auto result = translate(address, access(ept::Access::kFetch, Privilege::kCurrent));
    if (const auto* fault = std::get_if<Fault>(&result)) return *fault;
    const size_t part = std::min<size_t>(out.size() - fetched, kPageSize - address % kPageSize);
    memory_.read({std::get<uint64_t>(result)}, out.subspan(fetched, part));
    fetched += part;
  }
  return std::nullopt;
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

vmx::MsrStatus GuestCore::read_msr(uint32_t index, uint64_t& value) {
  return emu::read_msr(*this, index, value);
}

vmx::MsrStatus GuestCore::write_msr(uint32_t index, uint64_t value) {
  return emu::write_msr(*this, index, value);
}

// Only shadow page tables bring PDPTEs here, and there nobody has EPT.
std::optional<Fault> GuestCore::reload_pdptes(uint64_t cr3) {
  std::array<uint64_t, 4> pdptes{};
  if (!ept::read_pdptes(memory_, cr3, pdptes) ||
      !ept::pdptes_are_valid(pdptes, vmx::kPhysicalAddressBits)) {
    return vmx::exception(vmx::kGp, 0);
  }
  state_.pdptes = pdptes;
  return std::nullopt;
}

}  // namespace nestor::emu
