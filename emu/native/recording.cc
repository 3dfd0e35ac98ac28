// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/native/recording.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "emu/native/layout.h"
#include "emu/native/table_generator.h"

namespace nestor::emu::native {
namespace {

using ept::Access;
using ept::PagingMode;
using ept::PagingState;
using Kind = RecordedResult::Kind;

struct ModeName {
  std::string_view name;
  PagingMode mode;
};
constexpr std::array kModes{
    ModeName{"32-bit", PagingMode::k32Bit}, ModeName{"PAE", PagingMode::kPae},
    ModeName{"4-level", PagingMode::k4Level}, ModeName{"5-level", PagingMode::k5Level}};

struct FlagName {
  std::string_view name;
  bool PagingState::*member;
};
constexpr std::array kFlags{
    FlagName{"WP", &PagingState::wp},        FlagName{"PSE", &PagingState::pse},
    FlagName{"SMEP", &PagingState::smep},    FlagName{"SMAP", &PagingState::smap},
    FlagName{"AC", &PagingState::ac},        FlagName{"NXE", &PagingState::nxe},
    FlagName{"PKE", &PagingState::pke},      FlagName{"PKS", &PagingState::pks},
    FlagName{"PSE-36", &PagingState::pse36}, FlagName{"Page1GB", &PagingState::page1gb}};

struct ResultName {
  std::string_view name;
  Kind kind;
  enum class Number : std::uint8_t { kNone, kAddress, kErrorCode } number;
};
constexpr std::array kResults{
    ResultName{"translated", Kind::kTranslated, ResultName::Number::kAddress},
    ResultName{"not-translated", Kind::kNotTranslated, ResultName::Number::kNone},
    ResultName{"completed", Kind::kCompleted, ResultName::Number::kNone},
    ResultName{"outside", Kind::kOutside, ResultName::Number::kAddress},
    ResultName{"page-fault", Kind::kPageFault, ResultName::Number::kErrorCode},
    ResultName{"general-protection", Kind::kGeneralProtection, ResultName::Number::kNone}};

constexpr std::array<std::string_view, 3> kAccesses{"read", "write", "fetch"};
constexpr std::string_view kTranslate = "translate", kUser = "user", kSupervisor = "supervisor",
                           kImplicit = "implicit";

std::string to_text(const RecordedResult& result) {
  const auto found = std::ranges::find(kResults, result.kind, &ResultName::kind);
  switch (found->number) {
    case ResultName::Number::kAddress:
      return fmt::format("{} {:#x}", found->name, result.address);
    case ResultName::Number::kErrorCode:
      return fmt::format("{} {:#x}", found->name, result.error_code);
    case ResultName::Number::kNone:
      break;
  }
  return std::string(found->name);
}

/// The words of one line, taken one after the other.
class Words {
 public:
  explicit Words(std::string_view line) : rest_(line) {}
  bool done() const { return rest_.empty(); }
  std::string_view next() {
    const std::size_t end = std::min(rest_.find(' '), rest_.size());
    const std::string_view word = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    return word;
  }
  /// Nothing if the next word is not of this form.
  std::optional<std::uint64_t> number(std::string_view prefix = {}) {
    std::string_view word = next();
    if (!word.starts_with(prefix)) return std::nullopt;
    word.remove_prefix(prefix.size());
    const int base = word.starts_with("0x") ? 16 : 10;
    if (base == 16) word.remove_prefix(2);
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value, base);
    if (error != std::errc{} || end != word.data() + word.size()) return std::nullopt;
    return value;
  }

 private:
  std::string_view rest_;
};

bool parse_state(Words words, PagingState& state) {
  const auto mode = std::ranges::find(kModes, words.next(), &ModeName::name);
  if (mode == kModes.end()) return false;
  state = {};
  state.mode = mode->mode;
  state.pse36 = state.page1gb = false;
  const auto width = words.number("MAXPHYADDR="), cr3 = words.number("CR3=");
  if (!width || *width < 32 || *width > 52 || !cr3) return false;
  state.maxphyaddr = static_cast<std::uint8_t>(*width);
  state.cr3 = *cr3;
  while (!words.done()) {
    Words again = words;
    const auto flag = std::ranges::find(kFlags, words.next(), &FlagName::name);
    if (flag != kFlags.end()) {
      state.*flag->member = true;
      continue;
    }
    const bool user = !state.pks || !state.pke || state.pkru == 0;
    const auto keys = again.number(user ? "PKRU=" : "PKRS=");
    if (!keys) return false;
    (user ? state.pkru : state.pkrs) = static_cast<std::uint32_t>(*keys);
  }
  return true;
}

bool parse_question(Words words, Question& question) {
  const std::string_view kind = words.next();
  question.access.reset();
  if (kind != kTranslate) {
    const auto found = std::ranges::find(kAccesses, kind);
    const std::string_view mode = words.next();
    if (found == kAccesses.end() || (mode != kUser && mode != kSupervisor && mode != kImplicit)) {
      return false;
    }
    Access& access = question.access.emplace();
    access.kind = static_cast<Access::Kind>(found - kAccesses.begin());
    access.implicit_supervisor = mode == kImplicit;
    access.user = mode != kSupervisor;
  }
  const auto linear = words.number();
  if (!linear || !words.done()) return false;
  question.linear = *linear;
  return true;
}

bool parse_entry(Words words, std::vector<Case::Entry>& entries) {
  const auto level = words.number(), address = words.number(), value = words.number();
  if (!level || *level > 5 || !address || *address % 4 != 0 || !value || !words.done())
    return false;
  entries.push_back({*address, *value, static_cast<unsigned>(*level)});
  return true;
}

bool parse_result(Words words, RecordedResult& result) {
  const auto found = std::ranges::find(kResults, words.next(), &ResultName::name);
  if (found == kResults.end()) return false;
  result = {found->kind, 0, 0};
  if (found->number != ResultName::Number::kNone) {
    const auto value = words.number();
    if (!value) return false;
    if (found->number == ResultName::Number::kAddress) result.address = *value;
    if (found->number == ResultName::Number::kErrorCode) {
      result.error_code = static_cast<std::uint32_t>(*value);
    }
  }
  return words.done();
}

void store(GuestMemory& memory, PagingMode mode, const Case::Entry& entry) {
  if (mode == PagingMode::k32Bit) {
    memory.store(entry.address, static_cast<std::uint32_t>(entry.value));
  } else {
    memory.store(entry.address, entry.value);
  }
}

std::uint64_t load(const GuestMemory& memory, PagingMode mode, std::uint64_t address) {
  std::uint64_t value = 0;
  std::uint32_t half = 0;
  if (mode != PagingMode::k32Bit) {
    (void)memory.read64({address}, value);
  } else if (memory.read32({address}, half)) {
    value = half;
  }
  return value;
}

/// What the walker makes of the question, in the terms of a recording.
RecordedResult result_of(const Question& question,
                         const ept::LinearWalk<ept::PhysicalAddress>& walk) {
  if (!question.access) {
    return walk.translated() ? RecordedResult{Kind::kTranslated, walk.address.value, 0}
                             : RecordedResult{Kind::kNotTranslated, 0, 0};
  }
  if (walk.outcome == ept::LinearOutcome::kPageFault) {
    return {Kind::kPageFault, 0, walk.error_code};
  }
  if (walk.translated() && walk.address.value >= Layout::kMemorySize) {
    return {Kind::kOutside, walk.address.value, 0};
  }
  return {Kind::kCompleted, 0, 0};
}

}  // namespace

std::string to_text(const RecordedWalk& walk, unsigned number) {
  const PagingState& state = walk.asked.question.state;
  const auto mode = std::ranges::find(kModes, state.mode, &ModeName::mode);
  std::string text = fmt::format("walk {}\nstate {} MAXPHYADDR={} CR3={:#x}", number, mode->name,
                                 state.maxphyaddr, state.cr3);
  for (const FlagName& flag : kFlags) {
    if (state.*flag.member) text += fmt::format(" {}", flag.name);
  }
  if (state.pke) text += fmt::format(" PKRU={:#x}", state.pkru);
  if (state.pks) text += fmt::format(" PKRS={:#x}", state.pkrs);
  text += "\nask ";
  if (const auto& access = walk.asked.question.access) {
    text += fmt::format("{} {} ", kAccesses[access->kind],
                        access->implicit_supervisor ? kImplicit
                        : access->user              ? kUser
                                                    : kSupervisor);
  } else {
    text += fmt::format("{} ", kTranslate);
  }
  text += fmt::format("{:#x}\n", walk.asked.question.linear);
  for (const Case::Entry& entry : walk.asked.entries) {
    text += fmt::format("entry {} {:#x} {:#x}\n", entry.level, entry.address, entry.value);
  }
  text += fmt::format("kvm {}\n", to_text(walk.result));
  for (const Case::Entry& entry : walk.left) {
    text += fmt::format("left {} {:#x} {:#x}\n", entry.level, entry.address, entry.value);
  }
  return text + "\n";
}

std::variant<std::vector<RecordedWalk>, std::string> parse_recording(std::string_view text) {
  // The lines of a walk come in this order; entries may come several times or not at all.
  constexpr std::array<std::string_view, 6> kLines{"walk", "state", "ask", "entry", "kvm", "left"};
  constexpr std::size_t kEntry = 3, kKvm = 4, kLeft = 5;
  std::vector<RecordedWalk> walks;
  std::size_t before = kKvm;
  unsigned number = 0;
  while (!text.empty()) {
    ++number;
    const std::size_t end = std::min(text.find('\n'), text.size());
    Words words(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (words.done() || Words(words).next().starts_with('#')) continue;
    const auto found = std::ranges::find(kLines, words.next());
    const auto line = static_cast<std::size_t>(found - kLines.begin());
    const bool repeated = line == before && (line == kEntry || line == kLeft);
    const bool in_order = repeated || line == before + 1 || (line == kKvm && before == 2) ||
                          (line == 0 && before >= kKvm);
    if (found == kLines.end() || !in_order) return fmt::format("line {}: unexpected", number);
    before = line;
    bool good = true;
    if (line == 0) {
      walks.emplace_back();
      continue;
    }
    RecordedWalk& walk = walks.back();
    switch (line) {
      case 1:
        good = parse_state(words, walk.asked.question.state);
        break;
      case 2:
        good = parse_question(words, walk.asked.question);
        break;
      case kEntry:
        good = parse_entry(words, walk.asked.entries);
        break;
      case kKvm:
        good = parse_result(words, walk.result);
        break;
      default:
        good = parse_entry(words, walk.left);
        break;
    }
    if (!good) return fmt::format("line {}: malformed", number);
  }
  if (before < kKvm) return "the last walk is incomplete";
  return walks;
}

std::optional<std::string> replay(const RecordedWalk& walk, std::span<std::byte> bytes) {
  Question question = walk.asked.question;
  PagingState& state = question.state;
  std::memset(bytes.data(), 0, bytes.size());
  GuestMemory memory(bytes);
  write_scaffold(memory, state.mode);
  for (const Case::Entry& entry : walk.asked.entries) {
    if (memory.holds(entry.address, 8)) store(memory, state.mode, entry);
  }
  load_pdptes(state, memory);

  ept::RecordSteps<5> steps;
  RecordedResult ours{Kind::kGeneralProtection, 0, 0};
  bool faulted = true;
  if (is_canonical(state.mode, question.linear)) {
    const Access access = question.access.value_or(Access{Access::kRead});
    // KVM_TRANSLATE sets accessed flags as an access does, if it finds a page.
    const auto probe = ept::walk_linear<ept::ProbeOnly>(memory, state, {question.linear}, access);
    faulted = !probe.translated();
    if (question.access || !faulted) {
      const auto done =
          ept::walk_linear<ept::UpdateFlags>(memory, state, {question.linear}, access, steps);
      ours = result_of(question, done);
    } else {
      ours = result_of(question, probe);
    }
  }
  if (ours != walk.result) {
    return fmt::format("walker: {}; KVM: {}", to_text(ours), to_text(walk.result));
  }
  for (const Case::Entry& entry : walk.asked.entries) {
    if (!memory.holds(entry.address, 8)) continue;
    const auto left = std::ranges::find(walk.left, entry.address, &Case::Entry::address);
    const std::uint64_t kvms = left == walk.left.end() ? entry.value : left->value;
    const std::uint64_t is = load(memory, state.mode, entry.address);
    const std::uint64_t open = faulted ? ept::OrdinaryEntry::Flags::kAccessed : 0;
    if (((is ^ kvms) & ~open) == 0) continue;
    return fmt::format("entry at {:#x}: the walker leaves {:#x}, KVM {:#x}", entry.address, is,
                       kvms);
  }
  return std::nullopt;
}

}  // namespace nestor::emu::native
