// SPDX-License-Identifier: GPL-2.0-or-later
//
// What L0 keeps in memory for the processor: EPT01, bitmaps, and VMCS12 as a shadow VMCS.
#include <array>
#include <stdexcept>

#include "emu/l0/hypervisor.h"
#include "vmx/msr_bitmap.h"

namespace nestor::emu {
namespace {

using vmx::Field;

constexpr uint64_t kPage = 4096;

}  // namespace

// EPT01: L1's RAM, and everything else where it is.
void Hypervisor::set_up_ept01() {
  using E = ept::EptEntry;
  constexpr uint64_t kAll = E::kRead | E::kWrite | E::kExecute;
  const auto must = [](bool mapped) {
    if (!mapped) throw std::logic_error("L0 has no memory left for EPT01");
  };
  constexpr uint64_t kGigabyte = 1ull << 30, kLarge = 1ull << 21;
  const auto map_page = [&](uint64_t l1, unsigned bits) {
    const bool ram = map_.is_ram({l1});
    const auto type = ram ? ept::MemoryType::kWriteBack : ept::MemoryType::kUncacheable;
    must(ept01_.map(l1, bits,
                    map_.machine({l1}).page_base(bits).value | kAll |
                        static_cast<uint64_t>(type) << E::kMemoryTypeShift |
                        (bits > 12 ? E::kPageSize : 0)));
  };
  // Where no RAM is: 1-GByte pages, over the whole width of physical addresses.
  for (uint64_t l1 = 0; l1 < MachineMap::kL1Origin; l1 += kGigabyte) map_page(l1, 30);
  // The GBytes that have RAM: 2-MByte pages where one lies in it, or behind it, as a whole.
  const uint64_t end = (map_.ram_end() + kGigabyte - 1) & ~(kGigabyte - 1);
  for (uint64_t l1 = 0; l1 < end; l1 += kLarge) {
    ept::BackingPage page;
    (void)map_.backing({l1}, true, page);
    if (page.page_bits == 21 || l1 >= map_.ram_end()) {
      map_page(l1, 21);
    } else {
      for (uint64_t small = l1; small < l1 + kLarge; small += kPage) map_page(small, 12);
    }
  }
}

void Hypervisor::set_bit(uint64_t page, uint32_t bit) {
  uint8_t byte = 0;
  cpu_.read_physical({page + bit / 8}, std::span(&byte, 1));
  byte = static_cast<uint8_t>(byte | 1u << bit % 8);
  cpu_.write_physical({page + bit / 8}, std::span(&byte, 1));
}

void Hypervisor::set_up_bitmaps() {
  using vmx::MsrAccess;
  for (uint32_t index = 0; index != 0x2000; ++index) {
    for (const uint32_t msr : {index, 0xc0000000 + index}) {
      if (!l0_intercepts_msr(msr, config_.mode)) continue;
      for (const MsrAccess access : {MsrAccess::kRead, MsrAccess::kWrite})
        set_bit(structures_.msr_bitmap01, *vmx::msr_bitmap_bit(msr, access));
    }
  }
  // What the processor has and L1 is not offered must fail for L1, which only L0 can make it do.
  const vmx::Capabilities& offered = nested().capabilities();
  for (uint32_t encoding = 0; encoding != 0x8000; ++encoding) {
    const auto access = vmx::decode_field(encoding);
    const bool exists = access && offered.has_field(access->field);
    if (exists && offered.field_writable(access->field)) continue;
    set_bit(structures_.vmwrite_bitmap, encoding);
    if (!exists) set_bit(structures_.vmread_bitmap, encoding);
  }
}

void Hypervisor::join_msr_bitmaps() {
  const Vmcs& vmcs12 = nested().current_vmcs();
  if (!vmcs12.has(vmx::PrimaryProcBased::kUseMsrBitmaps)) return;
  std::array<uint8_t, kPage> mine{}, theirs{};
  cpu_.read_physical({structures_.msr_bitmap01}, mine);
  core_.read_physical({vmcs12[Field::kMsrBitmaps]}, theirs);
  for (size_t i = 0; i < kPage; ++i) mine[i] = static_cast<uint8_t>(mine[i] | theirs[i]);
  cpu_.write_physical({structures_.msr_bitmap02}, mine);
}

void Hypervisor::publish_vmcs12() {
  if (!nested().current_vmcs_pointer()) return;
  Vmcs copy = nested().current_vmcs();
  copy.revision_id = processor().capabilities().revision_id;
  copy.shadow = true;
  std::array<uint8_t, vmx::kVmcsRegionSize> region{};
  copy.store(region);
  cpu_.write_physical({structures_.shadow_vmcs}, region);
}

void Hypervisor::fetch_vmcs12() {
  if (!nested().current_vmcs_pointer()) return;
  std::array<uint8_t, vmx::kVmcsRegionSize> region{};
  cpu_.read_physical({structures_.shadow_vmcs}, region);
  Vmcs copy;
  copy.load(region);
  Vmcs& vmcs12 = nested().edit_current_vmcs();
  for (const vmx::FieldInfo& info : vmx::kFields) vmcs12.write(info.field, copy[info.field]);
}

void Hypervisor::update_link_pointer() {
  vmcs().write(Field::kVmcsLinkPointer,
               nested().current_vmcs_pointer() ? structures_.shadow_vmcs : ~0ull);
}

}  // namespace nestor::emu
