// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdio>

#include "ept/bits.h"
#include "tests/ept/agreement.h"

namespace nestor::ept::testing {

namespace {

/// Tries changes, and keeps those after which the two still disagree.
class Shrinker {
 public:
  Shrinker(Case& failing, Reader reader) : best_(failing), reader_(reader) {}

  void run() {
    do {
      changed_ = false;
      lower_levels();
      switch_off();
      zero_entries(0, best_.memory.size());
      drop_bits();
      simplify_access();
    } while (changed_);
  }

 private:
  bool still_fails() { return !best_.disagreement(reader_).empty(); }

  /// Sets a value, or leaves it as it is where the disagreement would be gone.
  template <class T>
  bool set(T& place, const T& value) {
    if (place == value) return false;
    const T before = place;
    place = value;
    if (still_fails()) return changed_ = true;
    place = before;
    return false;
  }
  /// The same for the question as a whole.
  template <class Change>
  bool change(const Change& apply) {
    const Question before = best_.question;
    apply(best_.question);
    if (still_fails()) return changed_ = true;
    best_.question = before;
    return false;
  }

  /// EPT gone; paging gone; a level less.
  void lower_levels() {
    Question& q = best_.question;
    if (q.nested) change([](Question& to) { to.nested = false; });
    for (const PagingMode mode : kAllModes) {
      if (mode >= q.state.mode) break;
      const std::uint64_t low = mode == PagingMode::k4Level ? low_bits(47) : low_bits(32);
      const bool lowered = change([mode, low](Question& to) {
        to.state.mode = mode;
        to.linear &= low;
      });
      if (lowered) break;
    }
    if (q.nested && q.ept.eptp.walk_length() == 5) {
      change([](Question& to) { to.ept.eptp.value -= 1U << 3; });
      // The table that the one entry at the top leads to becomes the root.
      NaiveMemory& memory = best_.memory;
      const std::uint64_t below = memory.get64(q.ept.eptp.root()) & bits(51, 12);
      change([below](Question& to) {
        to.ept.eptp.value = below | 3U << 3 | to.ept.eptp.memory_type() |
                            (to.ept.eptp.accessed_dirty() ? bit(6) : 0);
      });
    }
    set(q.ept.eptp.value, q.ept.eptp.value & ~bit(6));
  }

  void switch_off() {
    PagingState& s = best_.question.state;
    for (bool PagingState::*member :
         {&PagingState::wp, &PagingState::pse, &PagingState::smep, &PagingState::smap,
          &PagingState::ac, &PagingState::nxe, &PagingState::pke, &PagingState::pks}) {
      set(s.*member, false);
    }
    set(s.pkru, std::uint32_t{0});
    set(s.pkrs, std::uint32_t{0});
    set(s.maxphyaddr, std::uint8_t{52});
    EptState& e = best_.question.ept;
    for (bool EptState::*member :
         {&EptState::mode_based_execute, &EptState::advanced_exit_information,
          &EptState::violation_exceptions, &EptState::paging_write_control,
          &EptState::guest_paging_verification, &EptState::sub_page_write}) {
      set(e.*member, false);
    }
    set(e.maxphyaddr, std::uint8_t{52});
  }

  /// Zeroes [from, to) as a whole, or its halves.
  void zero_entries(std::uint64_t from, std::uint64_t to) {
    std::vector<Update> kept;
    for (std::uint64_t at = from; at != to; at += 8) {
      if (const std::uint64_t value = best_.memory.get64(at); value != 0) {
        kept.push_back({at, value});
        best_.memory.write(at, std::uint64_t{0});
      }
    }
    if (kept.empty()) return;
    if (still_fails()) {
      changed_ = true;
      return;
    }
    for (const Update& entry : kept) best_.memory.write(entry.address, entry.value);
    if (to - from == 8) return;
    const std::uint64_t middle = from + (to - from) / 16 * 8;
    zero_entries(from, middle);
    zero_entries(middle, to);
  }

  void drop_bits() {
    for (const Update& entry : entries_of(best_)) {
      for (unsigned position = 0; position != 64; ++position) {
        const std::uint64_t value = best_.memory.get64(entry.address);
        if ((value & bit(position)) == 0) continue;
        best_.memory.write(entry.address, value & ~bit(position));
        if (still_fails()) {
          changed_ = true;
        } else {
          best_.memory.write(entry.address, value);
        }
      }
    }
  }

  void simplify_access() {
    Question& q = best_.question;
    for (unsigned position = 0; position != 64; ++position) {
      set(q.linear, q.linear & ~bit(position));
    }
    set(q.access.kind, Access::kRead);
    set(q.access.user, false);
    set(q.access.implicit_supervisor, false);
    set(q.access.size, std::uint16_t{1});
    for (std::uint64_t& pdpte : q.state.pdptes) set(pdpte, std::uint64_t{0});
  }

  Case& best_;
  Reader reader_;
  bool changed_ = false;
};

}  // namespace

void shrink(Case& failing, Reader reader) { Shrinker(failing, reader).run(); }

std::vector<Update> entries_of(const Case& shown) {
  NaiveMemory memory = shown.memory;
  std::vector<Update> entries;
  for (std::uint64_t at = 0; at != memory.size(); at += 8) {
    if (const std::uint64_t value = memory.get64(at); value != 0) entries.push_back({at, value});
  }
  return entries;
}

std::string describe(const Case& shown) {
  const Question& q = shown.question;
  constexpr const char* kModes[] = {"no paging", "32-bit paging", "PAE paging", "4-level paging",
                                    "5-level paging"};
  constexpr const char* kKinds[] = {"read", "write", "fetch"};
  char line[400];
  std::snprintf(line, sizeof line,
                "%s%s, CR3 %#llx, EPTP %#llx, SPPTP %#llx\n"
                "%s of %u bytes at linear %#llx%s%s\n",
                kModes[static_cast<unsigned>(q.state.mode)], q.nested ? " over EPT" : "",
                static_cast<unsigned long long>(q.state.cr3),
                static_cast<unsigned long long>(q.ept.eptp.value),
                static_cast<unsigned long long>(q.ept.sub_page_table), kKinds[q.access.kind],
                unsigned{q.access.size}, static_cast<unsigned long long>(q.linear),
                q.access.user ? ", user" : "",
                q.access.implicit_supervisor ? ", implicit supervisor" : "");
  std::string text = line;
  const auto flag = [&text](const char* name, bool on) {
    if (on) text += std::string(" ") + name;
  };
  text += "on:";
  flag("WP", q.state.wp);
  flag("PSE", q.state.pse);
  flag("SMEP", q.state.smep);
  flag("SMAP", q.state.smap);
  flag("AC", q.state.ac);
  flag("NXE", q.state.nxe);
  flag("PKE", q.state.pke);
  flag("PKS", q.state.pks);
  flag("mode-based-execute", q.ept.mode_based_execute);
  flag("execute-only", q.ept.execute_only);
  flag("advanced-information", q.ept.advanced_exit_information);
  flag("EPT-violation-#VE", q.ept.violation_exceptions);
  flag("paging-write", q.ept.paging_write_control);
  flag("guest-paging-verification", q.ept.guest_paging_verification);
  flag("sub-page-write", q.ept.sub_page_write);
  text += '\n';
  for (const std::uint64_t& pdpte : q.state.pdptes) {
    if (q.state.mode != PagingMode::kPae) break;
    std::snprintf(line, sizeof line, "PDPTE%td %#llx\n", &pdpte - q.state.pdptes.data(),
                  static_cast<unsigned long long>(pdpte));
    text += line;
  }
  for (const Update& entry : entries_of(shown)) {
    std::snprintf(line, sizeof line, "[%#llx] = %#llx\n",
                  static_cast<unsigned long long>(entry.address),
                  static_cast<unsigned long long>(entry.value));
    text += line;
  }
  return text;
}

}  // namespace nestor::ept::testing
