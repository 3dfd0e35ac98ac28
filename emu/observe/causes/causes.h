// SPDX-License-Identifier: GPL-2.0-or-later
//
// Says why something went wrong while a machine runs: what a user would look for in the trace.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "emu/events/events.h"
#include "vmx/fields.h"
#include "vmx/vmcs.h"

namespace nestor::emu {

// Failed VM entries and VMX instructions, VMX aborts, EPT misconfigurations, triple faults, stale
// translations, and exceptions of L1 whose reason nothing shows. Each cause is told once, however
// often it comes.
class Causes final : public EventHandler<Causes> {
 public:
  // A text without a newline at its end; further lines of it are indented.
  using Tell = std::function<void(const std::string& text)>;
  // Of each kind. More than these would only repeat that something is wrong.
  static constexpr size_t kMost = 8;

  // So many exceptions in a row are reported, where each is the same as the one before, or no
  // instruction of that processor has completed since.
  static constexpr uint64_t kExceptionsWithoutProgress = 100'000;

  explicit Causes(Tell tell) : tell_(std::move(tell)) {}

  void attach(const Clock& /*clock*/, const uint64_t& instructions) override {
    instructions_ = &instructions;
  }
  void processor(unsigned number) override;
  void handle(const vmx::CheckFailure& failure);
  void handle(const vmx::VmEntryEvent& event);
  void handle(const vmx::VmExitEvent& event);
  void handle(const vmx::VmInstructionErrorEvent& event);
  void handle(const ExceptionEvent& event);
  void handle(const TripleFaultEvent& event);
  void handle(const RunEndEvent& event);
  void handle(const VmxAbortEvent& event);
  void handle(const WalkEvent& event);
  void handle(const StaleTranslationEvent& event);
  void handle(const ZeroCodeEvent& event);

 private:
  // Where L1 goes on, and what decides on its first faults.
  static constexpr std::array kHostFields = {vmx::Field::kHostRip,      vmx::Field::kHostRsp,
                                             vmx::Field::kHostCr3,      vmx::Field::kHostIdtrBase,
                                             vmx::Field::kHostGdtrBase, vmx::Field::kHostTrBase};

  // What has a limit of its own.
  enum class Kind : uint8_t {
    kVmEntry,
    kInstruction,
    kRemark,  // on a VM entry that succeeds
    kMisconfiguration,
    kException,
    kTripleFault,
    kVmxAbort,
    kStaleTranslation,
    kZeros,
    kNoProgress,
  };
  static constexpr size_t kKinds = 10;
  struct FailedCheck {
    std::string_view id;
    std::string text;
  };

  // `cause`: what makes it another one than those before.
  void once(Kind kind, std::string_view cause, const std::string& text);
  void once(Kind kind, const std::string& text) { once(kind, text, text); }
  std::string host_state() const;
  // Says what L1 met while it went to a handler, unless a triple fault has said it.
  void tell_nested();
  // Of a VM entry to a guest with PAE paging under EPT: L1 has changed CR3 and not the PDPTEs.
  void doubt_pdptes(const vmx::VmEntryEvent& event);
  // Whether instructions have completed since this was called last.
  bool went_on();
  // Whether the exception is the one after which there is no progress any more.
  bool is_stuck(const ExceptionEvent& event);
  // Each field by its constant place: this happens at each VM exit.
  template <size_t... I>
  void keep_host_state(const vmx::Vmcs& vmcs, std::index_sequence<I...> /*all*/) {
    ((host_state_[I] = vmcs[kHostFields[I]]), ...);
  }
  // `what`, and the checks that have failed since the last one. They belong to the cause.
  void with_checks(Kind kind, std::string cause, std::string what);

  const Tell tell_;
  std::array<std::set<std::string, std::less<>>, kKinds> told_;  // the causes of each kind
  std::vector<FailedCheck> failed_;
  std::string chain_;                   // the exceptions that may end in a triple fault
  std::string nested_;                  // of L1, to be told if they do not
  bool misconfiguration_told_ = false;  // of the VM exit that follows
  bool behind_exit_ = false;            // no VM entry has followed the last VM exit
  std::array<uint64_t, kHostFields.size()> host_state_{};  // what that has loaded
  struct Paging {
    uint64_t vmcs = 0, cr3 = 0;
    std::array<uint64_t, 4> pdptes{};
    bool operator==(const Paging&) const = default;
  };
  static Paging paging_of(const vmx::Vmcs& data, uint64_t vmcs);
  Paging left_;                             // by the guest at the last VM exit
  const uint64_t* instructions_ = nullptr;  // of all processors
  uint64_t seen_instructions_ = 0;
  unsigned processor_ = 0;
  struct Row {
    uint64_t count = 0;
    std::array<uint64_t, 5> last{};
    bool went_on = false;  // since the last
  };
  std::map<unsigned, Row> rows_;  // by processor: exceptions without progress
};

}  // namespace nestor::emu
