// SPDX-License-Identifier: GPL-2.0-or-later
//
// Watches a machine run cases, and holds every VM entry and VM exit to what must be true of it.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "emu/events/events.h"
#include "emu/time/clock.h"
#include "tests/fuzz/vmx/case.h"

namespace nestor::fuzz {

class Judge final : public emu::EventHandler<Judge> {
 public:
  using Complaint = std::function<void(uint64_t seed, const std::string& what)>;

  Judge(const Case& base, const std::vector<Case>& cases, const vmx::Capabilities& capabilities,
        Complaint complain)
      : base_(base), cases_(cases), capabilities_(capabilities), complain_(std::move(complain)) {}

  // Reads the arena of the machine that runs. Must be set before it runs.
  void watch(std::function<void(std::span<uint8_t>)> read_arena) {
    read_arena_ = std::move(read_arena);
  }
  // What the image writes to the serial port.
  void serial(uint8_t byte);

  // Of all events so far, times included.
  uint64_t hash() const { return hash_; }
  struct CaseEnd {
    uint64_t hash = 0;   // hash() by then
    uint64_t guest = 0;  // of the case alone, times excluded; 0: time has ended it
  };
  // Of each case.
  const std::vector<CaseEnd>& ends() const { return ends_; }
  // The case that is under way; nullptr: none is.
  const Case* current() const { return current_; }
  size_t finished() const { return finished_; }
  // What came of the VM entries: VM exits by reason, and failures.
  const std::map<std::string, uint64_t>& outcomes() const { return outcomes_; }

  void attach(const emu::Clock& clock, const uint64_t& instructions) override;
  void handle(const vmx::VmEntryEvent& event);
  void handle(const vmx::VmExitEvent& event);
  void handle(const vmx::CheckFailure& failure);
  void handle(const vmx::VmInstructionErrorEvent& event);
  void handle(const emu::ExceptionEvent& event);
  void handle(const emu::VmxAbortEvent& event);

 private:
  static constexpr uint64_t kFirstHash = 0xcbf29ce484222325, kHashFactor = 0x100000001b3;
  enum class Outcome { kEntered, kControls, kHostState, kGuestState, kMsrLoading };

  void begin(uint64_t seed);
  void complain(const std::string& what);
  void mix(uint64_t value) {
    hash_ = (hash_ ^ value) * kHashFactor;
    guest_hash_ = (guest_hash_ ^ value) * kHashFactor;
  }
  // What depends on virtual time.
  void mix_time(uint64_t value) { hash_ = (hash_ ^ value) * kHashFactor; }
  void judge_entry(Outcome outcome, const vmx::Vmcs& vmcs, uint64_t address,
                   uint64_t qualification);
  void judge_exit_information(const vmx::VmExitEvent& event);
  void judge_saved_state(const vmx::VmExitEvent& event);
  void mix_guest(const vmx::VmExitEvent& event, std::span<const uint8_t> arena);
  void expect(bool holds, std::string_view what, uint64_t value, uint64_t other = 0);

  const Case& base_;
  const std::vector<Case>& cases_;
  const vmx::Capabilities capabilities_;
  const Complaint complain_;
  std::function<void(std::span<uint8_t>)> read_arena_;
  const emu::Clock* clock_ = nullptr;
  std::string line_;
  const Case* current_ = nullptr;
  size_t finished_ = 0;
  bool first_entry_ = false, first_exit_ = false;
  std::vector<std::string_view> failed_;
  std::map<std::string, uint64_t> outcomes_;
  std::vector<CaseEnd> ends_;
  uint64_t hash_ = kFirstHash, guest_hash_ = kFirstHash;
  uint32_t reason_ = 0;
};

}  // namespace nestor::fuzz
