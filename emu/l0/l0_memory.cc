// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/l0/l0_memory.h"

#include <span>
#include <stdexcept>

#include "emu/memory/page_size.h"
#include "vmx/msr_bitmap.h"

namespace nestor::emu {
namespace {

// L0's own memory: low pages end below the legacy hole, and the first stays free.
constexpr uint64_t kLowPages = 0x9f000;
// High pages: those for VMCSs, bitmaps and EPT01, and those of each processor for its tables.
constexpr uint64_t kStructurePages = 8ull << 20, kTablePages = 56ull << 20;

}  // namespace

Ram::Placement L0Memory::placement(unsigned processors) {
  return {MachineMap::kL1Origin, kStructurePages + processors * kTablePages, kLowPages};
}

L0Memory::L0Memory(Core& core, const Ram& ram, const L0Config& config, unsigned processors)
    : core_(core),
      ram_(ram),
      config_(config),
      processors_(processors),
      offered_(l0_offered_capabilities(core.vmx().capabilities(), config.mode)),
      map_(ram),
      structure_pages_(core, ram.guest_end(), ram.guest_end() + kStructurePages),
      ept01_(structure_pages_) {
  for (uint64_t* page : {&shared_.vmread_bitmap, &shared_.vmwrite_bitmap, &shared_.msr_bitmap01}) {
    *page = structure_pages_.take();
  }
  set_up_bitmaps();
  if (info_of(config.mode).l0_uses_ept) set_up_ept01();
}

L0Pages L0Memory::table_pages(Core& core, unsigned processor) const {
  const uint64_t first = ram_.guest_end() + kStructurePages + processor * kTablePages;
  L0Pages pages(core, first, first + kTablePages);
  if (config_.shadow_page_limit != 0) pages.limit = config_.shadow_page_limit;
  return pages;
}

L0Pages L0Memory::low_table_pages(Core& core, unsigned processor) const {
  const uint64_t share = (ram_.low_end() / kPageSize - 1) / processors_ * kPageSize;
  const uint64_t first = kPageSize + processor * share;
  return {core, first, first + share};
}

L0Structures L0Memory::take_structures() {
  L0Structures structures = shared_;
  for (uint64_t* page : {&structures.vmcs01, &structures.vmcs02, &structures.shadow_vmcs,
                         &structures.msr_bitmap02}) {
    *page = structure_pages_.take();
  }
  return structures;
}

// EPT01: L1's RAM, and everything else where it is.
void L0Memory::set_up_ept01() {
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
      for (uint64_t small = l1; small < l1 + kLarge; small += kPageSize) map_page(small, 12);
    }
  }
  L0Pages::Address root;
  must(ept01_.root(root));
  eptp01_ = root.value | kEptWriteBack4Levels;
}

void L0Memory::set_bit(uint64_t page, uint32_t bit) {
  uint8_t byte = 0;
  core_.read_physical({page + bit / 8}, std::span(&byte, 1));
  byte = static_cast<uint8_t>(byte | 1u << bit % 8);
  core_.write_physical({page + bit / 8}, std::span(&byte, 1));
}

void L0Memory::set_up_bitmaps() {
  using vmx::MsrAccess;
  for (uint32_t index = 0; index != vmx::kMsrsPerBitmap; ++index) {
    for (const uint32_t msr : {index, vmx::kFirstHighMsr + index}) {
      if (!l0_intercepts_msr(msr, config_.mode)) continue;
      for (const MsrAccess access : {MsrAccess::kRead, MsrAccess::kWrite})
        set_bit(shared_.msr_bitmap01, *vmx::msr_bitmap_bit(msr, access));
    }
  }
  // What the processor has and L1 is not offered must fail for L1, which only L0 can make it do.
  for (uint32_t encoding = 0; encoding != 0x8000; ++encoding) {
    const auto access = vmx::decode_field(encoding);
    const bool exists = access && offered_.has_field(access->field);
    if (exists && offered_.field_writable(access->field)) continue;
    set_bit(shared_.vmwrite_bitmap, encoding);
    if (!exists) set_bit(shared_.vmread_bitmap, encoding);
  }
}

}  // namespace nestor::emu
