// SPDX-License-Identifier: MIT
#include "tests/ept/naive_reader.h"

#include <initializer_list>

namespace nestor::ept::testing {

namespace {

bool one(std::uint64_t value, int position) { return (value >> position & 1) != 0; }

bool any_one(std::uint64_t value, int high, int low) {
  for (int position = low; position <= high; ++position) {
    if (one(value, position)) return true;
  }
  return false;
}

/// Bits high:low of `value`, left where they are.
std::uint64_t field(std::uint64_t value, int high, int low) {
  std::uint64_t result = 0;
  for (int position = low; position <= high; ++position) {
    if (one(value, position)) result += std::uint64_t{1} << position;
  }
  return result;
}

/// Bits high:low of `value` as a number.
std::uint64_t number(std::uint64_t value, int high, int low) {
  return field(value, high, low) >> low;
}

/// What an entry is, by the name of its table in the manual.
enum class Kind { kPml5e, kPml4e, kPdpte, kPage1Gb, kPde, kPage2Mb, kPage4Mb, kPte };

bool is_page(Kind kind) {
  return kind == Kind::kPage1Gb || kind == Kind::kPage2Mb || kind == Kind::kPage4Mb ||
         kind == Kind::kPte;
}

// --- EPT -----------------------------------------------------------------------------------------

bool ept_reserved_bit_is_set(Kind kind, std::uint64_t entry, int maxphyaddr) {
  if (any_one(entry, 51, maxphyaddr)) return true;
  switch (kind) {
    case Kind::kPml5e:
    case Kind::kPml4e:
      return any_one(entry, 7, 3);
    case Kind::kPdpte:
    case Kind::kPde:
      return any_one(entry, 7, 3);  // bit 7 "must be 0" where it maps no page
    case Kind::kPage1Gb:
      return any_one(entry, 29, 12);
    case Kind::kPage2Mb:
      return any_one(entry, 20, 12);
    case Kind::kPage4Mb:
    case Kind::kPte:
      break;
  }
  return false;
}

bool ept_misconfigured(Kind kind, std::uint64_t entry, const EptState& ept) {
  const bool read = one(entry, 0);
  if (!read) {
    if (one(entry, 1)) return true;
    if (!ept.execute_only) {
      if (one(entry, 2)) return true;
      if (ept.mode_based_execute && one(entry, 10)) return true;
    }
    if (ept.paging_write_control && is_page(kind) && one(entry, 58)) return true;
  }
  if (ept_reserved_bit_is_set(kind, entry, ept.maxphyaddr)) return true;
  if (is_page(kind)) {
    const std::uint64_t type = number(entry, 5, 3);
    if (type == 2 || type == 3 || type == 7) return true;
  }
  return false;
}

// --- Ordinary paging -----------------------------------------------------------------------------

bool reserved_bit_is_set(PagingMode mode, Kind kind, std::uint64_t entry,
                         const PagingState& state) {
  const int maxphyaddr = state.maxphyaddr;
  if (mode == PagingMode::k32Bit) {
    if (kind != Kind::kPage4Mb) return false;
    if (one(entry, 21)) return true;
    if (!state.pse36) return any_one(entry, 20, 13);
    const int m = maxphyaddr < 40 ? maxphyaddr : 40;
    return any_one(entry, 20, m - 19);
  }
  if (!state.nxe && one(entry, 63)) return true;
  if (mode == PagingMode::kPae) {
    if (any_one(entry, 62, maxphyaddr)) return true;
    return kind == Kind::kPage2Mb && any_one(entry, 20, 13);
  }
  if (any_one(entry, 51, maxphyaddr)) return true;
  switch (kind) {
    case Kind::kPml5e:
    case Kind::kPml4e:
      return one(entry, 7);
    case Kind::kPdpte:
      return one(entry, 7);  // reached only without 1-GByte pages
    case Kind::kPage1Gb:
      return any_one(entry, 29, 13);
    case Kind::kPage2Mb:
      return any_one(entry, 20, 13);
    default:
      return false;
  }
}

struct Paths {
  bool user = true;
  bool writable = true;
  bool executable = true;
  unsigned key = 0;
};

bool key_forbids(const Paths& path, const PagingState& state, Access access) {
  if (state.mode != PagingMode::k4Level && state.mode != PagingMode::k5Level) return false;
  if (access.kind == Access::kFetch) return false;
  const bool user_access = access.user && !access.implicit_supervisor;
  const int position = static_cast<int>(2 * path.key);
  if (path.user) {
    if (!state.pke) return false;
    if (one(state.pkru, position)) return true;
    return one(state.pkru, position + 1) && access.kind == Access::kWrite &&
           (user_access || state.wp);
  }
  if (!state.pks) return false;
  if (one(state.pkrs, position)) return true;
  return one(state.pkrs, position + 1) && access.kind == Access::kWrite && state.wp;
}

/// The bullets of "Determination of Access Rights", one by one.
bool allowed_by_access_rights(const Paths& path, const PagingState& state, Access access) {
  const bool user_access = access.user && !access.implicit_supervisor;
  const bool keys_allow = !key_forbids(path, state, access);
  if (!user_access) {
    if (access.kind == Access::kRead) {
      if (!path.user) return keys_allow;
      if (!state.smap) return keys_allow;
      if (state.ac && !access.implicit_supervisor) return keys_allow;
      return false;
    }
    if (access.kind == Access::kWrite) {
      if (!path.user) return keys_allow && (!state.wp || path.writable);
      if (!state.wp) {
        if (!state.smap) return keys_allow;
        return state.ac && !access.implicit_supervisor && keys_allow;
      }
      if (!path.writable) return false;
      if (!state.smap) return keys_allow;
      return state.ac && !access.implicit_supervisor && keys_allow;
    }
    if (!path.user) return path.executable;
    if (state.smep) return false;
    return path.executable;
  }
  if (!path.user) return false;
  if (access.kind == Access::kRead) return keys_allow;
  if (access.kind == Access::kWrite) return path.writable && keys_allow;
  return path.executable;
}

std::uint32_t error_code(bool present, bool reserved, bool key, const PagingState& state,
                         Access access) {
  std::uint32_t code = 0;
  if (present) code += 1;
  if (access.kind == Access::kWrite) code += 2;
  if (access.user && !access.implicit_supervisor) code += 4;
  if (reserved) code += 8;
  const bool pae = state.mode != PagingMode::k32Bit;
  if (access.kind == Access::kFetch && (state.smep || (pae && state.nxe))) code += 16;
  if (key) code += 32;
  return code;
}

NaiveAnswer page_fault(NaiveAnswer answer, std::uint32_t code) {
  answer.what = NaiveAnswer::kPageFault;
  answer.error_code = code;
  return answer;
}

struct Level {
  int index_high;
  int index_low;
  Kind table;
  Kind page;
  bool may_map_page;
};

enum class Sub { kAllowed, kDenied, kMiss, kMisconfigured };

/// The four steps that find the SPP vector, and the look at it, byte by byte.
Sub naive_sub_page(NaiveMemory& memory, const EptState& ept, std::uint64_t guest_physical,
                   unsigned size, unsigned& reads) {
  std::uint64_t table = field(ept.sub_page_table, 51, 12);
  for (int high = 47; high != 20; high -= 9) {
    const std::uint64_t entry = memory.get64(table + 8 * number(guest_physical, high, high - 8));
    ++reads;
    if (!one(entry, 0)) return Sub::kMiss;
    if (any_one(entry, 11, 1) || any_one(entry, 63, ept.maxphyaddr)) return Sub::kMisconfigured;
    table = field(entry, 51, 12);
  }
  const std::uint64_t vector = memory.get64(table + 8 * number(guest_physical, 20, 12));
  ++reads;
  for (int position = 1; position < 64; position += 2) {
    if (one(vector, position)) return Sub::kMisconfigured;
  }
  for (std::uint64_t byte = 0; byte != size; ++byte) {
    const std::uint64_t address = guest_physical + byte;
    if (number(address, 51, 12) != number(guest_physical, 51, 12)) break;
    if (!one(vector, static_cast<int>(2 * number(address, 11, 7)))) return Sub::kDenied;
  }
  return Sub::kAllowed;
}

}  // namespace

NaiveAnswer naive_guest_physical(NaiveMemory& memory, const EptState& ept,
                                 std::uint64_t guest_physical, EptAccess access) {
  NaiveAnswer answer;
  answer.guest_physical = guest_physical;
  const bool flags = one(ept.eptp.value, 6);
  if (access.purpose == EptPurpose::kPagingEntry && flags) {
    access.read = true;
    access.write = true;
  }
  std::uint64_t qualification = 0;
  if (access.read) qualification |= 1;
  if (access.write) qualification |= 2;
  if (access.fetch) qualification |= 4;
  if (access.purpose != EptPurpose::kPdpteLoad) qualification |= 0x80;
  if (access.purpose == EptPurpose::kLinear) {
    qualification |= 0x100;
    if (ept.advanced_exit_information) {
      if (access.linear_user) qualification |= 0x200;
      if (access.linear_writable) qualification |= 0x400;
      if (access.linear_execute_disable) qualification |= 0x800;
    }
  }

  const bool five = number(ept.eptp.value, 5, 3) == 4;
  if (!five && any_one(guest_physical, 51, 48)) {
    answer.what = NaiveAnswer::kEptViolation;
    answer.qualification = qualification;
    return answer;
  }
  const Level levels[] = {{56, 48, Kind::kPml5e, Kind::kPml5e, false},
                          {47, 39, Kind::kPml4e, Kind::kPml4e, false},
                          {38, 30, Kind::kPdpte, Kind::kPage1Gb, ept.page1gb},
                          {29, 21, Kind::kPde, Kind::kPage2Mb, ept.page2mb},
                          {20, 12, Kind::kPte, Kind::kPte, true}};
  bool read = true;
  bool write = true;
  bool execute = true;
  bool execute_user = true;
  std::uint64_t table = field(ept.eptp.value, 51, 12);
  for (const Level& level : levels) {
    if (level.table == Kind::kPml5e && !five) continue;
    const std::uint64_t address =
        table + 8 * number(guest_physical, level.index_high, level.index_low);
    const std::uint64_t entry = memory.get64(address);
    ++answer.ept_reads;
    bool present = any_one(entry, 2, 0);
    if (ept.mode_based_execute && one(entry, 10)) present = true;
    if (!present) {
      answer.what = NaiveAnswer::kEptViolation;
      answer.qualification = qualification;
      answer.convertible = ept.violation_exceptions && !one(entry, 63);
      return answer;
    }
    Kind kind = level.table;
    if (level.may_map_page && one(entry, 7)) kind = level.page;
    if (ept_misconfigured(kind, entry, ept)) {
      answer.what = NaiveAnswer::kEptMisconfiguration;
      return answer;
    }
    const bool written_above = write;
    read = read && one(entry, 0);
    write = write && one(entry, 1);
    execute = execute && one(entry, 2);
    execute_user = execute_user && one(entry, 10);
    if (!is_page(kind)) {
      if (flags && !one(entry, 8)) memory.update(address, entry + 0x100);
      table = field(entry, 51, 12);
      continue;
    }
    answer.ept_paging_write_bit = ept.paging_write_control && one(entry, 58);
    answer.ept_paging_write = write || (written_above && answer.ept_paging_write_bit);
    bool write_allowed = write;
    if (access.purpose == EptPurpose::kPagingEntry && answer.ept_paging_write) write_allowed = true;
    bool allowed = true;
    if (access.read && !read) allowed = false;
    if (access.fetch) {
      const bool from_user = ept.mode_based_execute && access.linear_user;
      if (from_user ? !execute_user : !execute) allowed = false;
    }
    if (allowed && access.write && !write_allowed && ept.sub_page_write && kind == Kind::kPte &&
        one(entry, 61) && access.purpose == EptPurpose::kLinear && access.size != 0) {
      switch (naive_sub_page(memory, ept, guest_physical, access.size, answer.ept_reads)) {
        case Sub::kAllowed:
          answer.by_sub_page = true;
          write_allowed = true;
          break;
        case Sub::kDenied:
          break;
        case Sub::kMiss:
          answer.qualification = 0x800;
          [[fallthrough]];
        case Sub::kMisconfigured:
          answer.what = NaiveAnswer::kSubPageEvent;
          return answer;
      }
    }
    if (access.write && !write_allowed) allowed = false;
    answer.convertible = ept.violation_exceptions && !one(entry, 63);
    if (allowed && ept.guest_paging_verification && ept.paging_write_control && one(entry, 57) &&
        access.unverified_paging) {
      allowed = false;
      qualification |= 0x8000;
    }
    if (!allowed) {
      answer.what = NaiveAnswer::kEptViolation;
      if (read) qualification |= 8;
      if (write) qualification |= 0x10;
      if (execute) qualification |= 0x20;
      if (ept.mode_based_execute && execute_user) qualification |= 0x40;
      answer.qualification = qualification;
      return answer;
    }
    std::uint64_t after = entry;
    if (flags && !one(after, 8)) after += 0x100;
    if (flags && access.write && !one(after, 9)) after += 0x200;
    if (after != entry) memory.update(address, after);
    const int low = level.index_low;
    answer.address = field(entry, 51, low);
    for (int position = 0; position < low; ++position) {
      if (one(guest_physical, position)) answer.address += std::uint64_t{1} << position;
    }
    answer.ept_page_size = std::uint64_t{1} << low;
    answer.ept_dirty = flags ? one(after, 9) : true;
    answer.ept_read = read;
    answer.ept_write = write;
    answer.ept_execute = execute;
    answer.ept_execute_user = ept.mode_based_execute ? execute_user : execute;
    answer.ept_memory_type = static_cast<unsigned>(number(entry, 5, 3));
    answer.ept_ignore_pat = one(entry, 6);
    return answer;
  }
  return answer;
}

namespace {

/// Copies what EPT said about a guest-physical address into the answer about the linear address.
void take_ept(NaiveAnswer& answer, const NaiveAnswer& from) {
  answer.what = from.what;
  answer.address = from.address;
  answer.guest_physical = from.guest_physical;
  answer.qualification = from.qualification;
  answer.ept_page_size = from.ept_page_size;
  answer.ept_dirty = from.ept_dirty;
  answer.ept_read = from.ept_read;
  answer.ept_write = from.ept_write;
  answer.ept_execute = from.ept_execute;
  answer.ept_execute_user = from.ept_execute_user;
  answer.ept_memory_type = from.ept_memory_type;
  answer.ept_ignore_pat = from.ept_ignore_pat;
  answer.convertible = from.convertible;
  answer.by_sub_page = from.by_sub_page;
}

NaiveAnswer final_step(NaiveAnswer answer, NaiveMemory& memory, const EptState* ept,
                       const Paths& path, bool verified, Access access) {
  answer.user = path.user;
  answer.writable = path.writable;
  answer.executable = path.executable;
  answer.protection_key = path.key;
  if (ept == nullptr) {
    answer.address = answer.guest_physical;
    return answer;
  }
  EptAccess last;
  last.read = access.kind == Access::kRead;
  last.write = access.kind == Access::kWrite;
  last.fetch = access.kind == Access::kFetch;
  last.linear_user = path.user;
  last.linear_writable = path.writable;
  last.linear_execute_disable = !path.executable;
  last.unverified_paging = !verified;
  last.size = access.size;
  const NaiveAnswer second = naive_guest_physical(memory, *ept, answer.guest_physical, last);
  answer.ept_reads += second.ept_reads;
  take_ept(answer, second);
  return answer;
}

}  // namespace

NaiveAnswer naive_linear(NaiveMemory& memory, const PagingState& state, const EptState* ept,
                         std::uint64_t linear, Access access) {
  NaiveAnswer answer;
  Paths path;
  if (state.mode == PagingMode::kNone) {
    answer.guest_physical = field(linear, 31, 0);
    answer.linear_page_size = std::uint64_t{1} << 30;
    return final_step(answer, memory, ept, path, true, access);
  }
  bool verified = true;
  const bool small_entries = state.mode == PagingMode::k32Bit;
  const Level long_mode[] = {{56, 48, Kind::kPml5e, Kind::kPml5e, false},
                             {47, 39, Kind::kPml4e, Kind::kPml4e, false},
                             {38, 30, Kind::kPdpte, Kind::kPage1Gb, state.page1gb},
                             {29, 21, Kind::kPde, Kind::kPage2Mb, true},
                             {20, 12, Kind::kPte, Kind::kPte, true}};
  const Level legacy[] = {{31, 22, Kind::kPde, Kind::kPage4Mb, state.pse},
                          {21, 12, Kind::kPte, Kind::kPte, true}};
  const Level* first = long_mode;
  const Level* end = long_mode + 5;
  std::uint64_t table = field(state.cr3, 51, 12);
  if (state.mode == PagingMode::k4Level) first = long_mode + 1;
  if (state.mode == PagingMode::k32Bit) {
    first = legacy;
    end = legacy + 2;
    table = field(state.cr3, 31, 12);
  }
  if (state.mode == PagingMode::kPae) {
    first = long_mode + 3;
    const std::uint64_t pdpte = state.pdptes[number(linear, 31, 30)];
    if (!one(pdpte, 0)) return page_fault(answer, error_code(false, false, false, state, access));
    table = field(pdpte, 51, 12);
  }
  for (const Level* level = first; level != end; ++level) {
    const std::uint64_t entry_gpa =
        table + (small_entries ? 4U : 8U) * number(linear, level->index_high, level->index_low);
    std::uint64_t entry_pa = entry_gpa;
    NaiveAnswer of_entry;
    EptAccess to_entry;
    to_entry.read = true;
    to_entry.purpose = EptPurpose::kPagingEntry;
    if (ept != nullptr) {
      of_entry = naive_guest_physical(memory, *ept, entry_gpa, to_entry);
      answer.ept_reads += of_entry.ept_reads;
      if (of_entry.what != NaiveAnswer::kAddress) {
        take_ept(answer, of_entry);
        return answer;
      }
      entry_pa = of_entry.address;
      verified = verified && of_entry.ept_paging_write_bit;
    }
    std::uint64_t entry = 0;
    if (small_entries) {
      std::uint32_t half = 0;
      memory.read(entry_pa, half);
      entry = half;
    } else {
      memory.read(entry_pa, entry);
    }
    ++answer.guest_reads;
    if (!one(entry, 0)) return page_fault(answer, error_code(false, false, false, state, access));
    const Kind kind = level->may_map_page && one(entry, 7) ? level->page : level->table;
    if (reserved_bit_is_set(state.mode, kind, entry, state)) {
      return page_fault(answer, error_code(true, true, false, state, access));
    }
    path.writable = path.writable && one(entry, 1);
    path.user = path.user && one(entry, 2);
    if (!small_entries) path.executable = path.executable && !one(entry, 63);
    if (is_page(kind)) {
      if (state.mode == PagingMode::k4Level || state.mode == PagingMode::k5Level) {
        path.key = static_cast<unsigned>(number(entry, 62, 59));
      }
      if (!allowed_by_access_rights(path, state, access)) {
        return page_fault(answer,
                          error_code(true, false, key_forbids(path, state, access), state, access));
      }
    }
    std::uint64_t after = entry;
    if (!one(after, 5)) after += 0x20;
    if (is_page(kind) && access.kind == Access::kWrite && !one(after, 6)) after += 0x40;
    if (after != entry) {
      if (ept != nullptr && !of_entry.ept_paging_write) {
        answer.convertible = of_entry.convertible;
        answer.what = NaiveAnswer::kEptViolation;
        answer.guest_physical = entry_gpa;
        answer.qualification = 0x80 + 1 + 2;
        if (of_entry.ept_read) answer.qualification += 8;
        if (of_entry.ept_execute) answer.qualification += 0x20;
        if (ept->mode_based_execute && of_entry.ept_execute_user) answer.qualification += 0x40;
        return answer;
      }
      if (small_entries) {
        memory.update(entry_pa, static_cast<std::uint32_t>(after));
      } else {
        memory.update(entry_pa, after);
      }
    }
    if (!is_page(kind)) {
      table = small_entries ? field(entry, 31, 12) : field(entry, 51, 12);
      continue;
    }
    const int low = level->index_low;
    std::uint64_t page = field(entry, small_entries ? 31 : 51, low);
    if (kind == Kind::kPage4Mb) page += number(entry, 20, 13) << 32;
    answer.guest_physical = page + field(linear, low - 1, 0);
    answer.linear_page_size = std::uint64_t{1} << low;
    answer.linear_dirty = one(after, 6);
    answer.global = one(entry, 8);
    answer.pat_index = (one(entry, 3) ? 1U : 0U) + (one(entry, 4) ? 2U : 0U) +
                       (one(entry, kind == Kind::kPte ? 7 : 12) ? 4U : 0U);
    break;
  }
  return final_step(answer, memory, ept, path, verified, access);
}

}  // namespace nestor::ept::testing
