// SPDX-License-Identifier: GPL-2.0-or-later
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "emu/observe/audit/list_names.h"
#include "emu/observe/audit/list_pairs.h"
#include "emu/observe/audit/stated_failure.h"
#include "emu/observe/audit/vmcs_formats.h"
#include "emu/observe/audit/vmcs_names.h"

namespace nestor::emu {
namespace {

using vmx::Field;
using vmx::FieldAccess;

// What a list leaves no doubt about: 0x1f, 1fH, fffff804`59c61fb0, and a digit alone.
std::optional<uint64_t> list_number(std::string_view text) {
  while (text.ends_with('L') || text.ends_with('U') || text.ends_with('u')) text.remove_suffix(1);
  if (is_prefixed_hexadecimal(text) || text.size() == 1) return parse_number(text);
  if (text.ends_with('h') || text.ends_with('H'))
    return parse_hexadecimal(text.substr(0, text.size() - 1));
  if (const size_t tick = text.find('`'); tick != std::string_view::npos) {
    std::string joined(text);
    joined.erase(tick, 1);
    return parse_hexadecimal(joined);
  }
  return std::nullopt;
}

std::optional<uint64_t> number_of(Field field, std::string_view text) {
  if (field == Field::kExitReason)
    if (const auto reason = exit_reason_number(text)) return reason;
  return list_number(text);
}

// The name and the rest of a line that begins with a field and has no number for it.
std::optional<std::pair<std::string_view, std::string_view>> field_without_number(
    std::string_view line) {
  const size_t at = line.find_first_of("=:");
  if (at == std::string_view::npos || line.find('|') != std::string_view::npos) return std::nullopt;
  std::string_view name = trimmed(line.substr(0, at));
  if (name.starts_with('#') || name.starts_with("//")) return std::nullopt;
  if (name.size() >= 2 && name.front() == '"' && name.back() == '"')
    name = name.substr(1, name.size() - 2);
  const std::string_view value = trimmed(line.substr(at + 1));
  // A heading has nothing behind it.
  if (value.empty() && line[at] == ':') return std::nullopt;
  if (!find_vmcs_field(name) || parse_number(name)) return std::nullopt;
  return std::pair{name, value};
}

// Words that mean a field where there are others, but do not make a text a list of fields.
struct VagueName {
  std::string_view word;
  Field field;
};
constexpr std::array kVagueNames = {VagueName{"reason", Field::kExitReason},
                                    VagueName{"qualification", Field::kExitQualification}};

constexpr std::string_view kBetweenWords = " _-";

std::string_view without_last_word(std::string_view name) {
  const size_t end = name.find_last_of(kBetweenWords);
  return name.substr(0, end == std::string_view::npos ? 0 : end);
}

// bhyve's children, xhyve and hyperkit, print LDTR's limit and base as IDTR's. Their dumps have one
// of these.
constexpr std::array<std::string_view, 4> kBhyveMarks = {
    "_BASED_CTLS:", "VMCS_ENTRY_CTLS:", "VMCS_GUEST_IDTR_LIMIT:         0x", " rfl: 0x"};

bool is_of_bhyve(std::string_view text) {
  return std::ranges::any_of(kBhyveMarks, [&](std::string_view mark) {
    return text.find(mark) != std::string_view::npos;
  });
}

// The VMX capability MSRs of a list: whole, or in the halves of those that say which controls must
// be 1 and which may be.
class ListedCapabilities {
 public:
  // Is the name that of one? A number that is not known is passed over.
  bool take(std::string_view name, std::optional<uint64_t> number) {
    const size_t end = std::min(name.find(' '), name.size());
    const auto msr = find_capability_msr(name.substr(0, end));
    if (!msr || parse_number(name.substr(0, end))) return false;
    if (!number) return true;
    const std::string_view rest = name.substr(end);
    Halves& halves = msrs_[*msr];
    if (rest.empty()) halves = {*number & 0xffffffff, *number >> 32};
    if (rest.starts_with(" low bits")) halves.low = *number;
    if (rest.starts_with(" high bits")) halves.high = *number;
    return true;
  }
  std::optional<CapabilityValues> values() const {
    std::optional<CapabilityValues> values;
    for (const auto& [msr, halves] : msrs_) {
      if (!halves.low || !halves.high) continue;
      if (!values) values.emplace();
      values->msrs[msr] = *halves.high << 32 | *halves.low;
    }
    return values;
  }

 private:
  struct Halves {
    std::optional<uint64_t> low, high;
  };
  std::map<uint32_t, Halves> msrs_;
};

class ListReader {
 public:
  std::string error;

  explicit ListReader(bool of_bhyve) : of_bhyve_(of_bhyve) {}

  // `last`: nothing follows in the text.
  void line(std::string_view text, bool last) {
    ++line_;
    last_ = last ? trimmed(text) : std::string_view();
    const auto failure = stated_failure(text, FailureWords::kAll);
    if (failure) statement(*failure);
    const std::vector<ListPair> pairs = list_pairs(text);
    if (const auto area = whose_heading(text); pairs.empty() && !area.empty()) area_ = area;
    if (pairs.empty()) return without_number(text);
    subject_.clear();
    whose_.clear();
    is_log_ = failure || trimmed(text).starts_with('[') ||
              pairs.front().name.find_first_of("]:") != std::string::npos;
    for (const ListPair& found : pairs) pair(found);
  }

  VmcsDocuments documents() {
    if (!error.empty()) return error;
    finish();
    if (documents_.empty() && !no_number_.empty()) return no_number_;
    for (VmcsDocument& document : documents_) document.capabilities = capabilities_.values();
    if (next_ && !documents_.empty()) documents_.back().state(*next_);
    return std::move(documents_);
  }

 private:
  // Where nothing else can be read, it is an error.
  void without_number(std::string_view text) {
    const auto bad = field_without_number(text);
    if (!bad) return;
    const auto& [name, value] = *bad;
    pass_over(name);
    if (!no_number_.empty()) return;
    no_number_ = fmt::format("line {}: \"{}\" ", line_, shown(name));
    no_number_ += value.empty()
                      ? std::string("has no value")
                      : fmt::format("is \"{}\", which is no number; write 0x1f", shown(value));
  }

  // What is said after the fields of a VMCS that has failed already is of the next one.
  void statement(const StatedFailure& failure) {
    const bool failed = document_.given.contains(Field::kExitReason) ||
                        document_.given.contains(Field::kVmInstructionError);
    if (keys_.empty() || !failed) return document_.state(failure);
    if (!next_ || failure.field) next_ = failure;
  }

  void pair(const ListPair& found) {
    if (!error.empty()) return;
    if (found.name.ends_with("VMCS at")) return finish();  // the first line of a dump of Nestor's
    if (of_bhyve_)
      if (const auto access = find_vcpu_register(written_name(found.name)))
        return set(*access, found);
    const std::string name(written_name(found.name));
    if (const auto member = find_member(name)) {
      if (member->field) set(*member->field, found);
      return;
    }
    if (capabilities_.take(name, list_number(found.number))) return;
    const bool slashes = found.number.find('/') != std::string::npos;
    if (const auto access = resolve(found.name); access && !slashes) return set(*access, found);
    if (found.name.find('/') != std::string::npos) {
      const std::vector<ListPair> parts = parts_of(found);
      if (!parts.empty() && std::ranges::all_of(parts, [&](const ListPair& p) {
            return resolve(p.name).has_value();
          })) {
        for (const ListPair& part : parts) set(*resolve(part.name), part);
        return;
      }
    }
    if (is_beside_the_fields(name)) return pass_over(name);
    // Behind another one on its line it may explain that.
    if (is_log_ || (!found.leading && name.find('_') == std::string::npos)) return pass_over(name);
    fail(unknown_field(name));
  }

  // The field of a name; of one that continues a row, "Limit" after "Guest CS Selector"; or of a
  // register under a heading, "Guest special registers - RIP".
  std::optional<FieldAccess> resolve(std::string_view name) {
    if (const auto access = find_field_in(name)) {
      subject_ = without_last_word(trimmed(name.substr(name.find_last_of("]>|") + 1)));
      return access;
    }
    const std::string part = " " + std::string(written_name(name));
    const std::string_view shorter = without_last_word(subject_);
    for (const std::string_view subject : {std::string_view(subject_), shorter})
      if (!subject.empty())
        if (const auto access = find_vmcs_field(std::string(subject) + part)) return access;
    const std::string_view last = name.substr(name.find_last_of(" :-") + 1);
    for (const VagueName& vague : kVagueNames)
      if (last == vague.word) return FieldAccess{vague.field, false};
    if (const std::string_view word = whose(name); !word.empty()) whose_ = word;
    if (const auto access = find_register_part(written_name(name), whose_.empty() ? area_ : whose_))
      return access;
    return whose_.empty() ? std::nullopt : find_vmcs_field(whose_ + std::string(last));
  }

  void set(FieldAccess access, const ListPair& found) {
    const std::string name(written_name(found.name));
    const auto number = number_of(access.field, found.number);
    if (!number) {
      const bool prefixed = is_prefixed_hexadecimal(found.number);
      const std::string why = fmt::format(
          "\"{}\": \"{}\" is {}", shown(name), shown(found.number),
          prefixed ? "no number of 64 bits" : "hexadecimal or decimal? Write 0x before it");
      if (!is_log_) return fail(why);
      if (no_number_.empty()) no_number_ = fmt::format("line {}: {}", line_, why);
      return pass_over(name);
    }
    if (is_cut_off(found.number)) {
      document_.remarks.push_back(cut_off(name, found.number));
      return;
    }
    const std::pair key{access.field, access.high};
    if (keys_.contains(key)) {
      if (key != first_ && is_log_) return;  // the dump is over
      // The same from another source: "guest fs base (from RDMSR)".
      if (key != first_ && name.find('(') != std::string::npos) return pass_over(name);
      if (key != first_)
        return fail(
            fmt::format("\"{}\": the value was given before, in line {}", shown(name), keys_[key]));
      finish();
    }
    if (keys_.empty()) first_ = key;
    keys_[key] = line_;
    if (std::string bad = document_.set(access, *number); !bad.empty())
      fail(fmt::format("\"{}\": {}", shown(name), bad));
  }
  // Where it is LDTR's, or may be.
  void forget_idtr() {
    const auto differ = [&](Field a, Field b) {
      return document_.given.contains(a) && document_.given.contains(b) &&
             document_.vmcs[a] != document_.vmcs[b];
    };
    if (differ(Field::kGuestIdtrLimit, Field::kGuestLdtrLimit) ||
        differ(Field::kGuestIdtrBase, Field::kGuestLdtrBase))
      return;
    const bool limit = document_.forget(Field::kGuestIdtrLimit);
    if (document_.forget(Field::kGuestIdtrBase) || limit)
      document_.remarks.emplace_back(
          "Guest IDTR counts as not stated: xhyve and hyperkit print LDTR's limit and base there");
  }
  // Where zeros fill the others up to the same width, a shorter one that ends the text is cut off.
  bool is_cut_off(std::string_view number) {
    constexpr size_t kNarrowest = 8;
    if (!is_prefixed_hexadecimal(number)) return false;
    const bool is_short = filled_ && widths_.size() == 1 && number.size() < *widths_.begin();
    widths_.insert(number.size());
    filled_ = filled_ || (number.size() >= kNarrowest && number[2] == '0');
    return is_short && last_.ends_with(number);
  }
  void pass_over(std::string_view name) {
    const std::string quoted = fmt::format("\"{}\"", shown(name));
    if (std::ranges::find(document_.passed_over, quoted) == document_.passed_over.end())
      document_.passed_over.push_back(quoted);
  }
  void fail(std::string_view message) { error = fmt::format("line {}: {}", line_, message); }
  void finish() {
    if (!keys_.empty()) {
      document_.partial = true;
      if (of_bhyve_) forget_idtr();
      documents_.push_back(std::move(document_));
    }
    document_ = {};
    keys_.clear();
    if (next_) document_.state(*std::exchange(next_, std::nullopt));
  }

  std::vector<VmcsDocument> documents_;
  VmcsDocument document_;
  std::string no_number_;                          // of the first field without one
  std::optional<StatedFailure> next_;              // of the VMCS that follows
  std::map<std::pair<Field, bool>, size_t> keys_;  // and their lines
  std::pair<Field, bool> first_;
  std::set<size_t> widths_;      // of the numbers
  bool filled_ = false;          // one of them begins with a zero
  std::string_view last_;        // the line, if it is the last one
  std::string subject_, whose_;  // whose parts a line lists
  std::string area_ = "guest ";  // whose registers lines are about that do not say it
  ListedCapabilities capabilities_;
  bool is_log_ = false;  // names that are no fields are passed over
  const bool of_bhyve_;
  size_t line_ = 0;
};

// Does a line name a field?
bool has_field(std::string_view text) {
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    if (field_without_number(line)) return true;
    for (const ListPair& pair : list_pairs(line)) {
      if (find_field_in(pair.name)) return true;
      if (const auto member = find_member(written_name(pair.name)); member && member->field)
        return true;
    }
  }
  return false;
}

// Where all lines with fields are comments, as somebody's log has them: what is in them, as of a
// log.
std::string uncommented(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::string_view line = trimmed(take_line(text));
    out += line.starts_with('#') ? "[#]" + std::string(line.substr(1)) : std::string(line);
    out += '\n';
  }
  return out;
}

}  // namespace

bool is_vmcs_list(std::string_view text) { return has_field(text) || has_field(uncommented(text)); }

VmcsDocuments read_vmcs_list(std::string_view written) {
  const std::string bare = has_field(written) ? std::string() : uncommented(written);
  std::string_view text = bare.empty() ? written : bare;
  ListReader reader(is_of_bhyve(text));
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    reader.line(line, is_blank(text));
  }
  return reader.documents();
}

}  // namespace nestor::emu
