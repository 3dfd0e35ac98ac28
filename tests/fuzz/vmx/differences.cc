// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/fuzz/vmx/differences.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "vmx/cpu_state.h"
#include "vmx/exit_reasons.h"

namespace nestor::fuzz {
namespace {

using vmx::Field;

// The bits of the exit qualification that both define.
uint64_t qualification_mask(const vmx::ExitReasonInfo& info, uint64_t interruption) {
  using vmx::QualificationFormat;
  switch (info.qualification) {
    case QualificationFormat::kNone:
      return 0;
    case QualificationFormat::kDebugOrPageFault:
      return (interruption & 0xff) == 14 || (interruption & 0xff) == 1 ? ~0ull : 0;
    case QualificationFormat::kEptViolation:
      return 0x1bf | 1u << 12;  // without advanced VM-exit information and mode-based control
    default:
      return ~0ull;
  }
}

// "Format of the VM-Exit Instruction-Information Field as Used for INS and OUTS"; without IN and
// OUT.
uint64_t information_mask(const vmx::ExitReasonInfo& info, uint64_t qualification) {
  if (info.reason != vmx::ExitReason::kIoInstruction) return ~0ull;
  constexpr uint64_t kString = 1 << 4, kIn = 1 << 3, kAddressSize = 0x380, kSegment = 0x38000;
  if (!(qualification & kString)) return 0;
  return qualification & kIn ? kAddressSize : kAddressSize | kSegment;
}

bool unusable(const vmx::Vmcs& vmcs, uint8_t segment) {
  return vmcs[vmx::guest_access_rights(segment)] & vmx::AccessRights::kUnusable;
}

// "Saving Segment Registers and Descriptor-Table Registers", of an unusable register.
uint64_t unusable_mask(Field field, uint8_t segment) {
  constexpr uint64_t kHigh = 0xffffffff'00000000, kLdg = 0xe000, kDpl = 0x60, kRest = 0xffff0f00;
  const bool cs = segment == vmx::kCs;
  if (field == vmx::guest_limit(segment)) return cs ? ~0ull : 0;
  if (field == vmx::guest_access_rights(segment))
    return kRest | (cs ? kLdg : 0) | (segment == vmx::kSs ? kDpl : 0);
  const bool saved = cs || segment == vmx::kFs || segment == vmx::kGs;
  return saved ? ~0ull : segment == vmx::kLdtr ? 0 : kHigh;
}

// "Saving Non-Register State": PDPTEs.
uint64_t pdpte_mask(const Situation& now, uint64_t left, uint64_t right) {
  const auto uses = [](const vmx::Vmcs& vmcs) {
    const bool pae = (vmcs[Field::kGuestCr0] & vmx::cr0::kPg) &&
                     (vmcs[Field::kGuestCr4] & vmx::cr4::kPae) &&
                     !vmcs.has(vmx::VmEntryControl::kIa32eModeGuest);
    return pae && vmcs.has(vmx::SecondaryProcBased::kEnableEpt);
  };
  if (!uses(now.left) || !uses(now.right)) return 0;
  return (left | right) & 1 ? ~0xe00ull : 1;
}

uint64_t guest_mask(Field field, const Situation& now, uint64_t left, uint64_t right) {
  if (field >= Field::kGuestPdpte0 && field <= Field::kGuestPdpte3)
    return pdpte_mask(now, left, right);
  for (uint8_t i = vmx::kEs; i < vmx::kSegmentCount; ++i)
    if (field == vmx::guest_base(i) || field == vmx::guest_limit(i) ||
        field == vmx::guest_access_rights(i))
      return unusable(now.left, i) && unusable(now.right, i) ? unusable_mask(field, i) : ~0ull;
  return ~0ull;
}

std::string reason_words(const Exit& exit) {
  const uint64_t reason = value_at(exit.information, kReason);
  std::string text(vmx::exit_reason_name(static_cast<uint32_t>(reason)));
  if ((reason & vmx::kExitReasonBasicMask) == 0) {
    text += ' ';
    text += std::to_string(value_at(exit.information, kInterruption) & 0xff);
  }
  return text;
}

class Comparer {
 public:
  Comparer(Situation& situation, const std::function<bool(const Difference&)>& visit)
      : now_(situation), visit_(visit) {}

  // false: `visit` has seen enough.
  bool compare(const Exit& left, const Exit& right) {
    left_ = &left;
    right_ = &right;
    const uint64_t a = value_at(left.information, kReason),
                   b = value_at(right.information, kReason);
    where_ = reason_words(left);
    const std::string other = reason_words(right);
    if (where_ != other || a != b) {
      (void)tell(Item::kReason, kReason, a, b, "reason " + where_ + " / " + other);
      return false;
    }
    where_ += ": ";
    const vmx::ExitReasonInfo* info = vmx::find_exit_reason(a & vmx::kExitReasonBasicMask);
    if (info == nullptr) return true;
    return compare_information(*info) &&
           ((a & vmx::kExitReasonEntryFailure) != 0 || (compare_guest() && compare_rest()));
  }
  bool tell(Item item, uint32_t key, uint64_t left, uint64_t right, const std::string& words) {
    return visit_({item, key, left, right, words, now_, left_, right_});
  }

 private:
  bool check(const char* what, uint32_t key, uint64_t mask = ~0ull) {
    const uint64_t a = value_at(left_->information, key) & mask,
                   b = value_at(right_->information, key) & mask;
    return a == b || tell(Item::kInformation, key, a, b, where_ + what);
  }

  // "Information About NMI Unblocking Due to IRET": bit 12, where it is defined.
  uint64_t nmi_unblocking_mask() const {
    constexpr uint64_t kUnblocking = 1 << 12;
    const bool defined =
        !now_.entry.has(vmx::PinBased::kNmiExiting) || now_.entry.has(vmx::PinBased::kVirtualNmis);
    return defined ? ~0ull : ~kUnblocking;
  }

  bool compare_information(const vmx::ExitReasonInfo& info) {
    const auto at = [&](uint32_t key) { return value_at(left_->information, key); };
    const uint64_t interruption = at(kInterruption), vectoring = at(kVectoring),
                   qualification = at(kQualification);
    constexpr uint64_t kValid = 1ull << 31, kHasError = 1 << 11;
    uint64_t mask = qualification_mask(info, interruption);
    if (info.defines & vmx::kDefinesGuestPhysical) mask &= nmi_unblocking_mask();
    if (!check("qualification", kQualification, mask)) return false;
    if (at(kReason) & vmx::kExitReasonEntryFailure) return true;
    if (info.defines & vmx::kDefinesInterruption) {
      if (!check("interruption information", kInterruption,
                 interruption & kValid ? nmi_unblocking_mask() : kValid) ||
          ((interruption & kHasError) && !check("error code", kInterruptionError)))
        return false;
    }
    if (!check("IDT-vectoring information", kVectoring, vectoring & kValid ? 0xffffefff : kValid) ||
        ((vectoring & kHasError) && !check("IDT-vectoring error code", kVectoringError)))
      return false;
    const bool events = info.reason == vmx::ExitReason::kExceptionOrNmi;
    const bool accesses = info.defines & vmx::kDefinesGuestPhysical ||
                          info.reason == vmx::ExitReason::kApicAccess ||
                          info.reason == vmx::ExitReason::kTaskSwitch;
    const uint64_t type = interruption >> 8 & 7;
    if ((info.defines & vmx::kDefinesLength) && !accesses &&
        (!events || (type >= 4 && type <= 6)) && !check("instruction length", kLength))
      return false;
    if ((info.defines & vmx::kDefinesInformation) &&
        !check("instruction information", kInformation, information_mask(info, qualification)))
      return false;
    if ((info.defines & vmx::kDefinesGuestPhysical) &&
        !check("guest-physical address", kGuestPhysical))
      return false;
    const bool linear =
        (info.reason == vmx::ExitReason::kEptViolation && (qualification & 0x80) != 0) ||
        (info.reason == vmx::ExitReason::kIoInstruction && (qualification & 0x10) != 0);
    if (linear && !check("guest-linear address", kGuestLinear)) return false;
    return check("VM-entry controls", kEntryControls);
  }

  bool compare_guest() {
    std::set<uint64_t> keys;
    for (const Exit* exit : {left_, right_})
      for (const auto& [key, value] : exit->guest) keys.insert(key);
    return std::ranges::all_of(keys, [this](uint64_t key) {
      const auto field = vmx::decode_field(static_cast<uint32_t>(key));
      if (!field) return true;
      const uint64_t left = now_.left[field->field], right = now_.right[field->field];
      const uint64_t mask = guest_mask(field->field, now_, left, right);
      return (left & mask) == (right & mask) ||
             tell(Item::kGuest, static_cast<uint32_t>(key), left & mask, right & mask,
                  where_ + std::string(vmx::info_of(field->field).name));
    });
  }

  bool compare_rest() {
    for (const auto& [key, value] : left_->registers)
      if (value != value_at(right_->registers, key) &&
          !tell(Item::kRegister, static_cast<uint32_t>(key), value,
                value_at(right_->registers, key), where_ + "register " + std::to_string(key)))
        return false;
    std::set<uint64_t> pages;
    for (const Exit* exit : {left_, right_})
      for (const auto& [page, sum] : exit->memory) pages.insert(page);
    return std::ranges::all_of(pages, [this](uint64_t page) {
      const uint64_t left = value_at(left_->memory, page), right = value_at(right_->memory, page);
      return left == right ||
             tell(Item::kMemory, static_cast<uint32_t>(page), left, right, where_ + "memory");
    });
  }

  Situation& now_;
  const std::function<bool(const Difference&)>& visit_;
  std::string where_;
  const Exit* left_ = nullptr;
  const Exit* right_ = nullptr;
};

void apply(vmx::Vmcs& vmcs, const Exit& exit) {
  for (const auto& [key, value] : exit.guest)
    if (const auto field = vmx::decode_field(static_cast<uint32_t>(key)))
      vmcs.write(field->field, value);
  vmcs.write(Field::kVmEntryControls, value_at(exit.information, kEntryControls));
}

uint64_t error_number(const std::string& failure) {
  uint64_t number = 0;
  const size_t at = failure.find(' ');
  if (at != failure.npos)
    std::from_chars(failure.data() + at + 1, failure.data() + failure.size(), number, 16);
  return number;
}

}  // namespace

void for_each_difference(const vmx::Vmcs& entry, const ArenaMemory& memory, const CaseOutput& left,
                         const CaseOutput& right,
                         const std::function<bool(const Difference&)>& visit) {
  Situation now{entry, memory, 0, entry, entry, entry};
  Comparer comparer(now, visit);
  const size_t common = std::min(left.exits.size(), right.exits.size());
  for (; now.index < common; ++now.index) {
    now.before = now.left;
    apply(now.left, left.exits[now.index]);
    apply(now.right, right.exits[now.index]);
    if (!comparer.compare(left.exits[now.index], right.exits[now.index])) return;
  }
  const auto end = [&](const CaseOutput& output) {
    if (common < output.exits.size()) return reason_words(output.exits[common]);
    return output.failure.empty() ? std::string("nothing") : output.failure;
  };
  if (left.exits.size() == right.exits.size() && left.failure == right.failure) return;
  now.before = now.left;
  const auto exit_of = [&](const CaseOutput& output, vmx::Vmcs& state) {
    if (common >= output.exits.size()) return static_cast<const Exit*>(nullptr);
    apply(state, output.exits[common]);
    return &output.exits[common];
  };
  const Exit* left_exit = exit_of(left, now.left);
  const Exit* right_exit = exit_of(right, now.right);
  (void)visit({Item::kOutcome, 0, error_number(left.failure), error_number(right.failure),
               "outcome " + end(left) + " / " + end(right), now, left_exit, right_exit});
}

}  // namespace nestor::fuzz
