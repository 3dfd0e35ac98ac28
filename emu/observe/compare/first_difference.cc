// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/compare/first_difference.h"

#include <algorithm>
#include <utility>

#include "emu/observe/trace/record.h"

namespace nestor::emu {
namespace {

// Calls see(event) for what happens to L1 and L2, whoever virtualizes their memory.
template <class Sink>
class GuestEvents : public EventHandler<Sink> {
 public:
  void attach(const Clock& clock, const uint64_t& /*instructions*/) override { clock_ = &clock; }
  void processor(unsigned number) override { processor_ = number; }

  void handle(const vmx::VmEntryEvent& event) { pass(event); }
  void handle(const vmx::VmExitEvent& event) { pass(event); }
  void handle(const vmx::CheckFailure& event) { pass(event); }
  void handle(const vmx::VmInstructionErrorEvent& event) { pass(event); }
  void handle(const ExceptionEvent& event) { pass(event); }
  void handle(const InterruptEvent& event) { pass(event); }
  void handle(const TripleFaultEvent& event) { pass(event); }
  void handle(const VmxAbortEvent& event) { pass(event); }
  void handle(const DebugExitEvent& event) { pass(event); }
  void handle(const WorkloadEvent& event) { pass(event); }

 protected:
  Record record_of(const MachineEvent& event) const {
    return to_record(event, processor_, TraceFormat::kText);
  }
  std::string line_of(const Record& record) const {
    std::string line = to_line(record, {.cycle = clock_->cycles()}, TraceFormat::kText);
    line.erase(0, line.find_first_not_of(' '));
    line.pop_back();
    return line;
  }

 private:
  void pass(const MachineEvent& event) { static_cast<Sink&>(*this).see(record_of(event)); }

  const Clock* clock_ = nullptr;
  std::optional<unsigned> processor_;
};

size_t hash_of(const Record& record) {
  return std::hash<std::string>{}(record.kind + record.fields);
}

// All events of a run, each as eight bytes.
class Remembered final : public GuestEvents<Remembered> {
 public:
  void see(const Record& record) { hashes.push_back(hash_of(record)); }

  std::vector<size_t> hashes;
};

// Finds the first event that is not as remembered.
class Compared final : public GuestEvents<Compared> {
 public:
  explicit Compared(const std::vector<size_t>& reference) : reference_(reference) {}

  void see(const Record& record) {
    if (differs) return;
    std::string line = line_of(record);
    if (same < reference_.size() && reference_[same] == hash_of(record)) {
      ++same;
      before = std::move(line);
      return;
    }
    differs = true;
    other = std::move(line);
  }

  uint64_t same = 0;  // so many events are
  bool differs = false;
  std::string before, other;

 private:
  const std::vector<size_t>& reference_;
};

// The event with this number, from 0.
class Numbered final : public GuestEvents<Numbered> {
 public:
  explicit Numbered(uint64_t number) : left_(number) {}

  void see(const Record& record) {
    if (left_-- == 0) line = line_of(record);
  }

  std::string line;

 private:
  uint64_t left_;
};

// The first stale translation among the first events.
class Stale final : public GuestEvents<Stale> {
 public:
  explicit Stale(uint64_t events) : left_(events) {}

  using GuestEvents::handle;
  void handle(const StaleTranslationEvent& event) {
    if (left_ != 0 && line.empty()) line = line_of(record_of(event));
  }
  void see(const Record& /*record*/) { left_ -= left_ != 0; }

  std::string line;

 private:
  uint64_t left_;
};

std::string_view line_at(std::string_view text, size_t begin) {
  if (begin >= text.size()) return {};
  return text.substr(begin, text.find_first_of("\r\n", begin) - begin);
}

}  // namespace

std::optional<LineDifference> first_different_line(std::string_view reference,
                                                   std::string_view other) {
  if (reference == other) return std::nullopt;
  const auto at =
      static_cast<size_t>(std::ranges::mismatch(reference, other).in1 - reference.begin());
  const std::string_view same = reference.substr(0, at);
  const size_t newline = same.rfind('\n');
  const size_t begin = newline == same.npos ? 0 : newline + 1;
  return LineDifference{static_cast<uint64_t>(std::ranges::count(same, '\n')) + 1,
                        std::string(line_at(reference, begin)), std::string(line_at(other, begin))};
}

Parting find_parting(const Rerun& reference, const Rerun& other) {
  Remembered remembered;
  reference(remembered, false);
  Compared compared(remembered.hashes);
  other(compared, false);
  Parting parting;
  if (compared.differs || compared.same != remembered.hashes.size()) {
    Numbered numbered(compared.same);
    reference(numbered, false);
    parting.event = {std::move(compared.before), std::move(numbered.line),
                     std::move(compared.other)};
  }
  Stale stale(compared.same + 1);
  other(stale, true);
  parting.stale = std::move(stale.line);
  return parting;
}

}  // namespace nestor::emu
