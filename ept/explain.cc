// SPDX-License-Identifier: MIT
#include "ept/explain.h"

#include <array>

#include "ept/bits.h"
#include "ept/ept_format.h"
#include "ept/ept_walk.h"
#include "ept/pae.h"
#include "ept/pt32.h"
#include "ept/pt64.h"
#include "ept/sub_page.h"

namespace nestor::ept {

namespace {

/// One rule about entries, and whether an entry of `level` that does or does not map a page breaks
/// it.
template <class State>
struct EntryRule {
  std::string_view broken_because;
  bool (*is_broken)(const State& state, std::uint64_t entry, unsigned level, bool page);
};

constexpr EntryRule<EptState> kEptRules[] = {
    {"write access without read access",
     [](const EptState&, std::uint64_t entry, unsigned, bool) {
       return (entry & (EptEntry::kRead | EptEntry::kWrite)) == EptEntry::kWrite;
     }},
    {"execute access without read access, and no execute-only translations",
     [](const EptState& state, std::uint64_t entry, unsigned, bool) {
       return !state.execute_only && (entry & EptEntry::kRead) == 0;
     }},
    {"paging-write access without read access",
     [](const EptState& state, std::uint64_t entry, unsigned, bool page) {
       return page && state.paging_write_control && (entry & EptEntry::kRead) == 0 &&
              (entry & EptEntry::kPagingWrite) != 0;
     }},
    {"an address bit beyond the physical-address width",
     [](const EptState& state, std::uint64_t entry, unsigned, bool) {
       return (entry & bits(51, state.maxphyaddr)) != 0;
     }},
    {"bit 7 where no page can be mapped",
     [](const EptState&, std::uint64_t entry, unsigned, bool page) {
       return !page && (entry & EptEntry::kPageSize) != 0;
     }},
    {"a reserved bit in 6:3 of an entry that references a table",
     [](const EptState&, std::uint64_t entry, unsigned, bool page) {
       return !page && (entry & bits(6, 3)) != 0;
     }},
    {"an address that is not aligned to the page size",
     [](const EptState&, std::uint64_t entry, unsigned level, bool page) {
       return page && level > 1 && (entry & bits(12 + 9 * (level - 1) - 1, 12)) != 0;
     }},
    {"a reserved memory type",
     [](const EptState&, std::uint64_t entry, unsigned, bool page) {
       const unsigned type = EptEntry::memory_type(entry);
       return page && (type == 2 || type == 3 || type == 7);
     }},
};

constexpr EntryRule<EptState> kSubPageRules[] = {
    {"a reserved bit in 11:1", [](const EptState&, std::uint64_t entry, unsigned level,
                                  bool) { return level != 1 && (entry & bits(11, 1)) != 0; }},
    {"a bit beyond the physical-address width",
     [](const EptState& state, std::uint64_t entry, unsigned level, bool) {
       return level != 1 && (entry & bits(63, state.maxphyaddr)) != 0;
     }},
    {"a bit at an odd position of the vector",
     [](const EptState&, std::uint64_t entry, unsigned level, bool) {
       return level == 1 && (entry & ~SubPageTables::kPermissions) != 0;
     }},
};

bool has_wide_entries(const PagingState& state) { return state.mode != PagingMode::k32Bit; }

constexpr EntryRule<PagingState> kOrdinaryRules[] = {
    {"execute disable while IA32_EFER.NXE is 0",
     [](const PagingState& state, std::uint64_t entry, unsigned, bool) {
       return has_wide_entries(state) && !state.nxe &&
              (entry & OrdinaryEntry::kExecuteDisable) != 0;
     }},
    {"an address bit beyond the physical-address width",
     [](const PagingState& state, std::uint64_t entry, unsigned level, bool page) {
       if (has_wide_entries(state)) return (entry & bits(51, state.maxphyaddr)) != 0;
       const std::uint64_t wide = Pt32::page_address(entry, level);
       const unsigned width = state.pse36 ? state.maxphyaddr : 32U;
       return page && level > 1 && (wide & bits(51, width)) != 0;
     }},
    {"a reserved bit in 62:52",
     [](const PagingState& state, std::uint64_t entry, unsigned, bool) {
       return state.mode == PagingMode::kPae && (entry & bits(62, 52)) != 0;
     }},
    {"bit 7 where no page can be mapped",
     [](const PagingState& state, std::uint64_t entry, unsigned, bool page) {
       return has_wide_entries(state) && !page && (entry & OrdinaryEntry::kPageSize) != 0;
     }},
    {"an address that is not aligned to the page size",
     [](const PagingState& state, std::uint64_t entry, unsigned level, bool page) {
       if (!has_wide_entries(state)) return page && level > 1 && (entry & bit(21)) != 0;
       return page && level > 1 && (entry & bits(12 + 9 * (level - 1) - 1, 13)) != 0;
     }},
};

template <class State, std::size_t Count>
std::string_view first_broken(const EntryRule<State> (&rules)[Count], const State& state,
                              std::uint64_t entry, unsigned level, bool page) {
  for (const EntryRule<State>& rule : rules) {
    if (rule.is_broken(state, entry, level, page)) return rule.broken_because;
  }
  return {};
}

template <class F>
std::string_view explain_ordinary(const PagingState& state, std::uint64_t entry, unsigned level) {
  const typename F::Rules rules(state);
  if (!F::is_present(entry, rules)) return {};
  return first_broken(kOrdinaryRules, state, entry, level, F::maps_page(entry, level, rules));
}

}  // namespace

std::string_view explain_misconfiguration(const EptState& state, std::uint64_t entry,
                                          unsigned level) {
  const Ept<5>::Rules rules(state);
  if (!Ept<5>::is_present(entry, rules)) return {};
  return first_broken(kEptRules, state, entry, level, Ept<5>::maps_page(entry, level, rules));
}

std::string_view explain_sub_page_misconfiguration(const EptState& state, std::uint64_t entry,
                                                   unsigned level) {
  if (level != 1 && (entry & SubPageTables::kValid) == 0) return {};
  return first_broken(kSubPageRules, state, entry, level, false);
}

std::string_view explain_reserved_bits(const PagingState& state, std::uint64_t entry,
                                       unsigned level) {
  switch (state.mode) {
    case PagingMode::k32Bit:
      return explain_ordinary<Pt32>(state, entry, level);
    case PagingMode::kPae:
      return explain_ordinary<Pae>(state, entry, level);
    case PagingMode::k4Level:
      return explain_ordinary<Pt64<4>>(state, entry, level);
    case PagingMode::k5Level:
      return explain_ordinary<Pt64<5>>(state, entry, level);
    case PagingMode::kNone:
      break;
  }
  return {};
}

std::string_view explain_page_fault(const PagingState& state, Access access,
                                    std::uint32_t error_code, const LinearRights& rights,
                                    unsigned level) {
  if ((error_code & PageFaultCode::kPresent) == 0) {
    constexpr std::array<std::string_view, 6> kNotPresent = {
        "the PDPTE is not present",         "the level 1 entry is not present",
        "the level 2 entry is not present", "the level 3 entry is not present",
        "the level 4 entry is not present", "the level 5 entry is not present"};
    return kNotPresent[level];
  }
  if ((error_code & PageFaultCode::kProtectionKey) != 0) return "its protection key forbids it";
  const bool fetch = access.kind == Access::kFetch;
  if (access.user_mode() && !rights.user) return "user-mode access to a supervisor-mode page";
  if (fetch && !rights.executable) return "execute disable";
  if (!access.user_mode() && rights.user) {
    if (fetch && state.smep) return "CR4.SMEP: supervisor-mode fetch from a user-mode page";
    const bool exempt = state.ac && !access.implicit_supervisor;
    if (!fetch && state.smap && !exempt)
      return "CR4.SMAP: supervisor-mode access to a user-mode page";
  }
  return "write to a read-only page";
}

std::string_view explain_ept_violation(std::uint64_t exit_qualification, unsigned level) {
  using Q = EptQualification;
  const auto has = [exit_qualification](std::uint64_t bits) {
    return (exit_qualification & bits) != 0;
  };
  if (has(Q::kGuestPagingVerification)) return "guest-paging verification fails";
  if (!has(Q::kReadable | Q::kWriteable | Q::kExecutable | Q::kUserExecutable)) {
    constexpr std::array<std::string_view, 6> kNotPresent = {
        "no EPT entry was read",
        "the level 1 EPT entry is not present",
        "the level 2 EPT entry is not present",
        "the level 3 EPT entry is not present",
        "the level 4 EPT entry is not present",
        "the level 5 EPT entry is not present"};
    return kNotPresent[level];
  }
  if (has(Q::kRead) && !has(Q::kReadable)) return "EPT allows no read";
  if (has(Q::kWrite) && !has(Q::kWriteable)) return "EPT allows no write";
  if (has(Q::kFetch)) return "EPT allows no fetch";
  return "EPT does not allow it";
}

}  // namespace nestor::ept
