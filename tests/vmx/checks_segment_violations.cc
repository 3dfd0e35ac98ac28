// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/vmx/checks_machine.h"

namespace nestor::vmx {
namespace {

using F = Field;
using M = Machine;

constexpr uint64_t kHighBase = uint64_t{1} << 32;

struct Register {
  uint8_t segment;
  std::string name;
};
const Register kCodeAndData[] = {{kCs, "cs"}, {kSs, "ss"}, {kDs, "ds"},
                                 {kEs, "es"}, {kFs, "fs"}, {kGs, "gs"}};

// A busy TSS and an LDT: what the access rights must not be.
void add_system(std::vector<Violation>& all, const std::string& name, uint8_t segment,
                uint64_t good, void (*prepare)(Machine&)) {
  const Field field = guest_access_rights(segment), limit = guest_limit(segment);
  const std::string id = "guest-" + name;
  all.push_back({id + "-type", prepare, {{field, 0x83 + (good == 0x82 ? 2 : 0)}}, {}, {}});
  all.push_back({id + "-s", prepare, {{field, good | 0x10}}, {}, {}});
  all.push_back({id + "-p", prepare, {{field, good & ~uint64_t{0x80}}}, {}, {}});
  all.push_back({id + "-reserved-low", prepare, {{field, good | 0x800}}, {}, {}});
  all.push_back({id + "-limit-low", prepare, {{field, good | 0x8000}, {limit, 0xffff0}}, {}, {}});
  all.push_back({id + "-limit-high", prepare, {{limit, 0x1fffff}}, {}, {}});
  all.push_back({id + "-reserved-high", prepare, {{field, good | 1u << 31}}, {}, {}});
}

}  // namespace

std::vector<Violation> segment_violations() {
  std::vector<Violation> all = {
      {"guest-tr-ti", {}, {{F::kGuestTrSelector, 0x1c}}, {}, {}},
      {"guest-ldtr-ti", [](M& m) { m.use_ldtr(); }, {{F::kGuestLdtrSelector, 0x24}}, {}, {}},
      {"guest-ss-rpl", {}, {{F::kGuestCsSelector, 0xb}}, {}, {}},
      {"guest-ldtr-base-canonical",
       [](M& m) { m.use_ldtr(); },
       {{F::kGuestLdtrBase, M::kNonCanonical}},
       {},
       {}},
      {"guest-tr-base-canonical", {}, {{F::kGuestTrBase, M::kNonCanonical}}, {}, {}},
      {"guest-fs-base-canonical", {}, {{F::kGuestFsBase, M::kNonCanonical}}, {}, {}},
      {"guest-gs-base-canonical", {}, {{F::kGuestGsBase, M::kNonCanonical}}, {}, {}},
      {"guest-cs-base-high", {}, {{F::kGuestCsBase, kHighBase}}, {}, {}},
      {"guest-ss-base-high", {}, {{F::kGuestSsBase, kHighBase}}, {}, {}},
      {"guest-ds-base-high", {}, {{F::kGuestDsBase, kHighBase}}, {}, {}},
      {"guest-es-base-high", {}, {{F::kGuestEsBase, kHighBase}}, {}, {}},

      {"guest-cs-type", {}, {{F::kGuestCsAccessRights, 0xa093}}, {}, {}},
      {"guest-ss-type", {}, {{F::kGuestSsAccessRights, 0xc091}}, {}, {}},
      {"guest-cs-dpl-data",
       [](M& m) {
         m.make_unrestricted();
         m.set(F::kGuestCsAccessRights, 0xc093);
       },
       {{F::kGuestCsAccessRights, 0xc0f3}},
       {},
       {}},
      {"guest-cs-dpl-nonconforming", {}, {{F::kGuestCsAccessRights, 0xa0fb}}, {}, {}},
      {"guest-cs-dpl-conforming",
       [](M& m) { m.set(F::kGuestCsAccessRights, 0xa09f); },
       {{F::kGuestCsAccessRights, 0xa0bf}},
       {},
       {}},
      {"guest-ss-dpl",
       [](M& m) { m.set(F::kGuestCsAccessRights, 0xa09f); },
       {{F::kGuestSsAccessRights, 0xc0f3}},
       {},
       {}},
      {"guest-ss-dpl-zero",
       [](M& m) {
         m.make_unrestricted();
         m.set(F::kGuestCsAccessRights, 0xc093);
       },
       {{F::kGuestSsAccessRights, 0xc0f3}},
       {},
       {}},
      {"guest-cs-db", {}, {{F::kGuestCsAccessRights, 0xe09b}}, {}, {}},

      {"guest-tr-usable", {}, {{F::kGuestTrAccessRights, 0x1008b}}, {}, {}},
      {"guest-gdtr-base-canonical", {}, {{F::kGuestGdtrBase, M::kNonCanonical}}, {}, {}},
      {"guest-idtr-base-canonical", {}, {{F::kGuestIdtrBase, M::kNonCanonical}}, {}, {}},
      {"guest-gdtr-limit", {}, {{F::kGuestGdtrLimit, 0x10000}}, {}, {}},
      {"guest-idtr-limit", {}, {{F::kGuestIdtrLimit, 0x10000}}, {}, {}},
  };

  for (const Register& reg : kCodeAndData) {
    const std::string id = "guest-" + reg.name;
    const Field base = guest_base(reg.segment), limit = guest_limit(reg.segment),
                rights = guest_access_rights(reg.segment);
    const uint64_t good = reg.segment == kCs ? 0xa09b : 0xc093;
    const auto v86 = [](M& m) { m.make_virtual_8086(); };
    all.push_back({id + "-base-v86", v86, {{base, 0x10010}}, {}, {}});
    all.push_back({id + "-limit-v86", v86, {{limit, 0x10ffff}}, {}, {}});
    all.push_back({id + "-rights-v86", v86, {{rights, 0x93}}, {}, {}});
    all.push_back({id + "-s", {}, {{rights, good & ~uint64_t{0x10}}}, {}, {}});
    all.push_back({id + "-p", {}, {{rights, good & ~uint64_t{0x80}}}, {}, {}});
    all.push_back({id + "-reserved-low", {}, {{rights, good | 0x100}}, {}, {}});
    all.push_back({id + "-limit-low", {}, {{limit, 0xffffefff & ~uint64_t{1}}}, {}, {}});
    all.push_back({id + "-limit-high", {}, {{rights, good & ~uint64_t{0x8000}}}, {}, {}});
    all.push_back({id + "-reserved-high", {}, {{rights, good | 1u << 17}}, {}, {}});
    if (reg.segment == kCs || reg.segment == kSs) continue;
    all.push_back({id + "-accessed", {}, {{rights, 0xc092}}, {}, {}});
    all.push_back({id + "-readable", {}, {{rights, 0xc099}}, {}, {}});
    all.push_back({id + "-dpl", {}, {{guest_selector(reg.segment), 0x13}}, {}, {}});
  }
  add_system(all, "tr", kTr, 0x8b, {});
  add_system(all, "ldtr", kLdtr, 0x82, [](M& m) { m.use_ldtr(); });
  return all;
}

}  // namespace nestor::vmx
