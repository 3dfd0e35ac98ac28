// SPDX-License-Identifier: MIT
#include "tests/ept/agreement.h"

#include <algorithm>
#include <bit>
#include <cstdio>

#include "ept/walk.h"

namespace nestor::ept::testing {

namespace {

/// Collects the first difference.
class Comparison {
 public:
  template <class T, class U>
  void same(const char* what, T walked, U read) {
    const auto a = static_cast<std::uint64_t>(walked);
    const auto b = static_cast<std::uint64_t>(read);
    if (a == b || !difference_.empty()) return;
    char text[160];
    std::snprintf(text, sizeof text, "%s: the walker says %#llx, the reader %#llx", what,
                  static_cast<unsigned long long>(a), static_cast<unsigned long long>(b));
    difference_ = text;
  }
  std::string take() { return std::move(difference_); }

 private:
  std::string difference_;
};

unsigned log2_of(std::uint64_t size) { return static_cast<unsigned>(std::countr_zero(size)); }

void compare_rights(Comparison& c, const LinearRights& rights, const NaiveAnswer& answer) {
  c.same("U/S", rights.user, answer.user);
  c.same("R/W", rights.writable, answer.writable);
  c.same("execute permission", rights.executable, answer.executable);
  c.same("protection key", rights.protection_key, answer.protection_key);
}

void compare_linear(Comparison& c, const LinearWalk<PhysicalAddress>& walk,
                    const NaiveAnswer& answer, unsigned updates) {
  c.same("unreachable", walk.outcome == LinearOutcome::kUnreachable, false);
  c.same("page fault", walk.outcome == LinearOutcome::kPageFault,
         answer.what == NaiveAnswer::kPageFault);
  c.same("error code", walk.error_code, answer.error_code);
  c.same("references", walk.counts.references, answer.guest_reads);
  c.same("updates", walk.counts.updates, updates);
  if (!walk.translated()) {
    c.same("page size of no page", walk.page_bits, 0);
    c.same("address of no page", walk.address.value, 0);
    c.same("dirty flag of no page", walk.dirty, false);
    return;
  }
  c.same("address", walk.address.value, answer.address);
  c.same("page size", walk.page_bits, log2_of(answer.linear_page_size));
  c.same("dirty", walk.dirty, answer.linear_dirty);
  c.same("global", walk.global, answer.global);
  c.same("PAT index", walk.pat_index, answer.pat_index);
  compare_rights(c, walk.rights, answer);
}

void compare_nested(Comparison& c, const NestedWalk<PhysicalAddress>& walk,
                    const NaiveAnswer& answer, unsigned updates) {
  c.same("outcome", walk.outcome, static_cast<int>(answer.what));
  c.same("error code", walk.error_code, answer.error_code);
  c.same("exit qualification", walk.exit_qualification, answer.qualification);
  c.same("references of paging", walk.guest_counts.references, answer.guest_reads);
  c.same("references of EPT", walk.ept_counts.references, answer.ept_reads);
  c.same("updates", walk.updates(), updates);
  if (walk.outcome != NestedOutcome::kPageFault) {
    c.same("guest-physical address", walk.guest_physical.value, answer.guest_physical);
  }
  if (walk.outcome == NestedOutcome::kEptViolation) {
    c.same("convertible", walk.convertible, answer.convertible);
  }
  if (!walk.translated()) {
    c.same("page size of no page", walk.page_bits, 0);
    c.same("address of no page", walk.address.value, 0);
    c.same("dirty flag of no page", walk.dirty, false);
    c.same("EPT rights of no page", walk.ept_rights == EptRights{}, true);
    c.same("EPT memory type of no page", walk.ept_memory_type, MemoryType::kUncacheable);
    c.same("ignored PAT of no page", walk.ignore_pat, false);
    c.same("sub-page of no page", walk.by_sub_page, false);
    return;
  }
  c.same("address", walk.address.value, answer.address);
  c.same("page size", walk.page_bits,
         std::min(log2_of(answer.linear_page_size), log2_of(answer.ept_page_size)));
  c.same("dirty", walk.dirty, answer.linear_dirty && answer.ept_dirty);
  c.same("PAT index", walk.pat_index, answer.pat_index);
  c.same("EPT memory type", walk.ept_memory_type, answer.ept_memory_type);
  c.same("ignore PAT", walk.ignore_pat, answer.ept_ignore_pat);
  c.same("by sub-page", walk.by_sub_page, answer.by_sub_page);
  compare_rights(c, walk.rights, answer);
  c.same("EPT read", walk.ept_rights.read, answer.ept_read);
  c.same("EPT write", walk.ept_rights.write, answer.ept_write);
  c.same("EPT execute", walk.ept_rights.execute, answer.ept_execute);
  c.same("EPT user execute", walk.ept_rights.execute_user, answer.ept_execute_user);
}

}  // namespace

std::string disagreement(const Question& question, NaiveMemory& walked, NaiveMemory& read,
                         Reader reader, Asked* asked) {
  Comparison c;
  walked.updates.clear();
  read.updates.clear();
  const LinearAddress linear{question.linear};
  const NaiveAnswer answer = reader(read, question.state, question.nested ? &question.ept : nullptr,
                                    question.linear, question.access);
  const auto updates = static_cast<unsigned>(read.updates.size());
  if (question.nested) {
    RecordSteps<kLongestNestedWalk + kLongestSubPageWalk> steps;
    const auto walk =
        walk_nested(walked, question.state, question.ept, linear, question.access, steps);
    compare_nested(c, walk, answer, updates);
    c.same("recorded steps", steps.total(), walk.references());
  } else {
    RecordSteps<8> steps;
    const auto walk = walk_linear(walked, question.state, linear, question.access, steps);
    compare_linear(c, walk, answer, updates);
    c.same("recorded steps", steps.total(), walk.counts.references);
  }
  c.same("entries written back", walked.updates.size(), updates);
  for (std::size_t i = 0; i < std::min(walked.updates.size(), read.updates.size()); ++i) {
    c.same("address of an update", walked.updates[i].address, read.updates[i].address);
    c.same("value of an update", walked.updates[i].value, read.updates[i].value);
  }
  if (asked != nullptr) *asked = {answer, updates};
  return c.take();
}

std::string Case::disagreement(Reader reader) const {
  NaiveMemory walked = memory;
  NaiveMemory read = memory;
  return testing::disagreement(question, walked, read, reader);
}

}  // namespace nestor::ept::testing
