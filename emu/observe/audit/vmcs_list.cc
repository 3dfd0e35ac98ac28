// SPDX-License-Identifier: GPL-2.0-or-later
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <utility>

#include "emu/observe/audit/list_pairs.h"
#include "emu/observe/audit/vmcs_formats.h"
#include "emu/observe/audit/vmcs_names.h"
#include "vmx/instruction_errors.h"

namespace nestor::emu {
namespace {

using vmx::Field;
using vmx::FieldAccess;

constexpr std::string_view kHexDigits = "0123456789abcdefABCDEF";

// --- HAXM: "4000 VMX_PIN_CONTROLS: 3f", all numbers hexadecimal.

struct HaxmLine {
  Field field{};
  std::string_view number;
};

std::optional<HaxmLine> haxm_line(std::string_view line) {
  constexpr size_t kEncodingDigits = 4;
  const size_t colon = line.rfind(": ");
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view number = trimmed(line.substr(colon + 2));
  const std::string_view left = line.substr(0, colon);
  const size_t blank = left.rfind(' ');
  if (blank == std::string_view::npos || blank < kEncodingDigits || !parse_hexadecimal(number))
    return std::nullopt;
  const std::string_view encoding = left.substr(blank - kEncodingDigits, kEncodingDigits);
  if (encoding.find_first_not_of(kHexDigits) != std::string_view::npos) return std::nullopt;
  const auto access = vmx::decode_field(static_cast<uint32_t>(*parse_hexadecimal(encoding)));
  if (!access || access->high) return std::nullopt;
  return HaxmLine{access->field, number};
}

// Fields that HAXM does not print.
constexpr std::array kNeverInHaxm = {Field::kHostIa32Pat, Field::kHostIa32Efer,
                                     Field::kHostIa32PerfGlobalCtrl};

// --- Lists.

// What logs put before a line is taken off `name`, from the left, until it is a field; so is what
// is before an encoding in parentheses.
std::optional<FieldAccess> find_field_in(std::string_view name) {
  constexpr size_t kLongest = 400;
  if (name.size() > kLongest) name.remove_prefix(name.size() - kLongest);
  while (!name.empty()) {
    const bool number = !is_prefixed_hexadecimal(name) && parse_number(name);
    if (const auto access = find_vmcs_field(name); access && !number) return access;
    if (name.starts_with("(0x"))
      if (const auto access = find_vmcs_field(name.substr(1, name.find(')') - 1))) return access;
    name = trimmed(name.substr(std::min(name.find_first_of("]:>|@. "), name.size() - 1) + 1));
  }
  return std::nullopt;
}

// The name, without what logs put before it.
std::string_view written_name(std::string_view name) {
  return trimmed(name.substr(name.find_last_of("]:>|") + 1));
}

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

// The name and the rest of a line that begins with a field and has no number for it.
std::optional<std::pair<std::string_view, std::string_view>> field_without_number(
    std::string_view line) {
  const size_t at = line.find_first_of("=:");
  if (at == std::string_view::npos || line.find('|') != std::string_view::npos) return std::nullopt;
  std::string_view name = trimmed(line.substr(0, at));
  if (name.size() >= 2 && name.front() == '"' && name.back() == '"')
    name = name.substr(1, name.size() - 2);
  const std::string_view value = trimmed(line.substr(at + 1));
  // A heading has nothing behind it.
  if (value.empty() && line[at] == ':') return std::nullopt;
  if (!find_vmcs_field(name) || parse_number(name)) return std::nullopt;
  return std::pair{name, value};
}

// What hypervisors say of a VM entry that failed before the checks on guest state.
struct Complaint {
  std::string_view words;  // in lower case
  vmx::InstructionError error;
};
constexpr std::array kComplaints = {
    Complaint{"invalid control field", vmx::InstructionError::kEntryInvalidControls},
    Complaint{"invalid host-state field", vmx::InstructionError::kEntryInvalidHostState},
    Complaint{"invalid host state field", vmx::InstructionError::kEntryInvalidHostState},
};

// Words that mean a field where there are others, but do not make a text a list of fields.
struct VagueName {
  std::string_view word;
  Field field;
};
constexpr std::array kVagueNames = {VagueName{"reason", Field::kExitReason},
                                    VagueName{"qualification", Field::kExitQualification}};

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

constexpr std::string_view kBetweenWords = " _-";

std::string_view without_last_word(std::string_view name) {
  const size_t end = name.find_last_of(kBetweenWords);
  return name.substr(0, end == std::string_view::npos ? 0 : end);
}

// "guest " or "host ", if `name` has the word; else empty.
std::string_view whose(std::string_view name) {
  const std::string words = lower_case(name);
  for (const std::string_view word : {"guest ", "host "}) {
    const size_t at = words.find(word);
    if (at != std::string::npos &&
        (at == 0 || std::isalnum(static_cast<unsigned char>(words[at - 1])) == 0))
      return word;
  }
  return {};
}

class ListReader {
 public:
  std::string error;

  void line(std::string_view text) {
    ++line_;
    complaint(text);
    const std::vector<ListPair> pairs = list_pairs(text);
    if (pairs.empty()) return without_number(text);
    subject_.clear();
    whose_.clear();
    is_log_ = trimmed(text).starts_with('[') ||
              pairs.front().name.find_first_of("]:") != std::string::npos;
    for (const ListPair& found : pairs) pair(found);
  }

  VmcsDocuments documents() {
    if (!error.empty()) return error;
    finish();
    if (documents_.empty() && !no_number_.empty()) return no_number_;
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

  void complaint(std::string_view text) {
    const std::string words = lower_case(text);
    for (const Complaint& complaint : kComplaints) {
      if (words.find(complaint.words) == std::string::npos ||
          document_.given.contains(Field::kVmInstructionError))
        continue;
      // Nothing else is wrong with the number.
      (void)document_.set({Field::kVmInstructionError, false},
                          static_cast<uint64_t>(complaint.error));
    }
  }

  void pair(const ListPair& found) {
    if (!error.empty()) return;
    if (found.name.ends_with("VMCS at")) return finish();  // the first line of a dump of Nestor's
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
    const std::string name(written_name(found.name));
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
    return whose_.empty() ? std::nullopt : find_vmcs_field(whose_ + std::string(last));
  }

  void set(FieldAccess access, const ListPair& found) {
    const std::string name(written_name(found.name));
    const auto number = list_number(found.number);
    if (!number && is_log_) return pass_over(name);
    if (!number) {
      const bool prefixed = is_prefixed_hexadecimal(found.number);
      return fail(fmt::format(
          "\"{}\": \"{}\" is {}", shown(name), shown(found.number),
          prefixed ? "no number of 64 bits" : "hexadecimal or decimal? Write 0x before it"));
    }
    const std::pair key{access.field, access.high};
    if (keys_.contains(key)) {
      if (key != first_ && is_log_) return;  // the dump is over
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
  void pass_over(std::string_view name) {
    const std::string quoted = fmt::format("\"{}\"", shown(name));
    if (std::ranges::find(document_.passed_over, quoted) == document_.passed_over.end())
      document_.passed_over.push_back(quoted);
  }
  void fail(std::string_view message) { error = fmt::format("line {}: {}", line_, message); }
  void finish() {
    if (!keys_.empty()) {
      document_.partial = true;
      documents_.push_back(std::move(document_));
    }
    document_ = {};
    keys_.clear();
  }

  std::vector<VmcsDocument> documents_;
  VmcsDocument document_;
  std::string no_number_;                          // of the first field without one
  std::map<std::pair<Field, bool>, size_t> keys_;  // and their lines
  std::pair<Field, bool> first_;
  std::string subject_, whose_;  // whose parts a line lists
  bool is_log_ = false;          // names that are no fields are passed over
  size_t line_ = 0;
};

}  // namespace

bool is_haxm_dump(std::string_view text) {
  constexpr int kEnough = 3;  // lines of this form that are no accident
  for (int lines = 0; !text.empty();)
    if (haxm_line(take_line(text)) && ++lines == kEnough) return true;
  return false;
}

VmcsDocuments read_haxm_dump(std::string_view text) {
  std::vector<VmcsDocument> documents(1);
  for (size_t line = 1; !text.empty(); ++line) {
    const auto found = haxm_line(take_line(text));
    if (!found) continue;
    // The first field again; where two processors print at once, other fields come twice.
    const bool again = documents.back().given.contains(found->field);
    if (again && found->field != Field::kPinBasedControls) continue;
    if (again) documents.emplace_back();
    const std::string bad =
        documents.back().set({found->field, false}, *parse_hexadecimal(found->number));
    if (!bad.empty())
      return fmt::format("line {}: {}: {}", line, vmx::info_of(found->field).name, bad);
  }
  for (VmcsDocument& document : documents) {
    document.partial = true;
    document.never.insert(kNeverInHaxm.begin(), kNeverInHaxm.end());
  }
  return documents;
}

bool is_vmcs_list(std::string_view text) {
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    if (field_without_number(line)) return true;
    for (const ListPair& pair : list_pairs(line))
      if (find_field_in(pair.name)) return true;
  }
  return false;
}

VmcsDocuments read_vmcs_list(std::string_view text) {
  ListReader reader;
  while (!text.empty()) reader.line(take_line(text));
  return reader.documents();
}

}  // namespace nestor::emu
