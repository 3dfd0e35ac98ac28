// SPDX-License-Identifier: GPL-2.0-or-later
#include <spdlog/fmt/fmt.h>

#include <iterator>
#include <map>
#include <nlohmann/json.hpp>

#include "emu/observe/audit/vmcs_formats.h"
#include "emu/observe/audit/vmcs_names.h"

namespace nestor::emu {
namespace {

using Unordered = nlohmann::json;

constexpr std::string_view kJsonSpace = " \t\r\n";

// Where the parser stands, and in which line.
struct Cursor {
  std::string_view text;
  size_t at = 0, line = 1;
};

// The parser copies its iterator about; all copies share the cursor.
class CursorIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CursorIterator(Cursor& cursor, bool end) : cursor_(&cursor), end_(end) {}
  reference operator*() const { return cursor_->text[cursor_->at]; }
  CursorIterator& operator++() {
    if (cursor_->text[cursor_->at++] == '\n') ++cursor_->line;
    return *this;
  }
  CursorIterator operator++(int) {
    CursorIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CursorIterator& other) const { return at_end() == other.at_end(); }

 private:
  bool at_end() const { return end_ || cursor_->at >= cursor_->text.size(); }

  Cursor* cursor_;
  bool end_;
};

class DocumentReader final : public nlohmann::json_sax<Unordered> {
 public:
  explicit DocumentReader(const Cursor& cursor) : cursor_(cursor) {}

  VmcsDocument& document() { return document_; }
  const std::string& error() const { return error_; }

  bool null() override { return value_of_kind("null"); }
  bool boolean(bool) override { return value_of_kind("a boolean"); }
  bool number_integer(number_integer_t) override { return value_of_kind("a negative number"); }
  bool number_unsigned(number_unsigned_t number) override { return value(number); }
  bool number_float(number_float_t, const string_t& text) override {
    return value_of_kind(text.find_first_not_of("0123456789") == string_t::npos
                             ? "a number beyond 64 bits"
                             : "no whole number");
  }
  bool string(string_t& text) override {
    const auto number = parse_number(text);
    if (skipped_ == 0 && place_ != Place::kNone && !number && !skips_value()) {
      const bool zeros = text.starts_with('0') && parse_hexadecimal(text);
      return fail(
          fmt::format("\"{}\": \"{}\" is {}", shown(key_), shown(text),
                      zeros ? "hexadecimal or decimal? Write 0x before it, or no leading zeros"
                            : "no number of at most 64 bits; write \"0x1f\" or 31"));
    }
    return value(number.value_or(0));
  }
  bool binary(binary_t&) override { return value_of_kind("binary data"); }

  bool start_object(size_t) override {
    if (skipped_ != 0 || skips_value()) return ++skipped_, true;
    switch (place_) {
      case Place::kNone:
        place_ = Place::kTop;
        return true;
      case Place::kTop:
        if (normalized_name(key_) == "vmcs") return enter(Place::kFields, has_vmcs_);
        if (normalized_name(key_) == "capabilities") {
          document_.capabilities.emplace();
          return enter(Place::kCapabilities, has_capabilities_);
        }
        [[fallthrough]];
      default:
        return fail(fmt::format("\"{}\": an object is no value of a field", shown(key_)));
    }
  }
  bool end_object() override {
    if (skipped_ != 0) {
      --skipped_;
    } else {
      place_ = place_ == Place::kTop ? Place::kNone : Place::kTop;
    }
    return true;
  }
  bool start_array(size_t) override {
    if (skipped_ != 0 || skips_value()) return ++skipped_, true;
    if (place_ == Place::kNone) return fail("the document is an array, not an object of fields");
    return fail(fmt::format("\"{}\": an array is no value of a field", shown(key_)));
  }
  bool end_array() override { return --skipped_, true; }

  bool key(string_t& name) override {
    if (skipped_ == 0) {
      key_ = name;
      line_ = cursor_.line;
    }
    return true;
  }

  bool parse_error(size_t, const std::string&, const Unordered::exception& exception) override {
    std::string what = exception.what();
    // "[json.exception.parse_error.101] parse error at line 1, column 3: syntax error ..."
    const size_t colon = what.find(": ");
    if (colon != std::string::npos) what = what.substr(colon + 2);
    line_ = cursor_.line;
    return fail("it is no JSON: " + what);
  }

 private:
  enum class Place { kNone, kTop, kFields, kCapabilities };

  // What dumps say beside the values.
  bool skips_value() const {
    return place_ == Place::kTop && (key_ == "about" || key_ == "decoded");
  }
  bool fail(std::string message) {
    error_ = fmt::format("line {}: {}", line_, message);
    return false;
  }
  bool enter(Place place, bool& entered) {
    if (entered) return fail(fmt::format("\"{}\" is there twice", shown(key_)));
    entered = true;
    place_ = place;
    return true;
  }
  bool value_of_kind(std::string_view kind) {
    if (skipped_ != 0 || skips_value()) return true;
    if (place_ == Place::kNone) return fail("the document is no object of fields");
    return fail(fmt::format("\"{}\": {} is no value; write a number, \"0x1f\" or \"31\"",
                            shown(key_), kind));
  }
  bool value(uint64_t number) {
    if (skipped_ != 0 || skips_value()) return true;
    switch (place_) {
      case Place::kNone:
        return value_of_kind("");
      case Place::kCapabilities:
        return capability(number);
      default:
        return field(number);
    }
  }
  bool given_before(const std::string& what) {
    const auto [first, is_new] = lines_.emplace(what, line_);
    if (is_new) return false;
    return !fail(
        fmt::format("\"{}\": the value was given before, in line {}", shown(key_), first->second));
  }

  bool field(uint64_t number) {
    const auto access = find_vmcs_field(key_);
    if (!access && find_capability_msr(key_))
      return fail(fmt::format("\"{}\" belongs into the object \"capabilities\"", shown(key_)));
    if (!access) return fail(unknown_field(key_));
    const std::string_view name = vmx::info_of(access->field).identifier;
    if (given_before(std::string(name) + (access->high ? " high" : ""))) return false;
    const std::string bad = document_.set(*access, number);
    return bad.empty() || fail(fmt::format("\"{}\": {}", shown(key_), bad));
  }

  bool capability(uint64_t number) {
    CapabilityValues& values = *document_.capabilities;
    if (const RegisterRule* rule = find_register_rule(key_)) {
      if (number > rule->largest || number < rule->smallest)
        return fail(fmt::format("\"{}\": {} is not between {} and {}", shown(key_), number,
                                rule->smallest, rule->largest));
      if (given_before(std::string(rule->name))) return false;
      values.rules[rule->name] = number;
      return true;
    }
    const auto msr = find_capability_msr(key_);
    if (!msr) {
      return fail(
          fmt::format("\"{}\" is no VMX capability MSR; write IA32_VMX_BASIC, say, or its "
                      "index, \"0x480\"",
                      shown(key_)));
    }
    if (given_before(fmt::format("MSR {:#x}", *msr))) return false;
    values.msrs[*msr] = number;
    return true;
  }

  const Cursor& cursor_;
  VmcsDocument document_;
  Place place_ = Place::kNone;
  std::string key_, error_;
  size_t line_ = 1;
  unsigned skipped_ = 0;  // objects and arrays that are passed over, one inside another
  bool has_vmcs_ = false, has_capabilities_ = false;
  std::map<std::string, size_t> lines_;
};

}  // namespace

bool is_vmcs_json(std::string_view text) {
  const size_t first = text.find_first_not_of(kJsonSpace);
  if (first == std::string_view::npos || text[first] == '{') return true;
  // An array, but not a line that begins with the kernel's "[   12.345678]".
  const size_t second = text.find_first_not_of(kJsonSpace, first + 1);
  return text[first] == '[' && second != std::string_view::npos &&
         std::string_view("[{\"").find(text[second]) != std::string_view::npos;
}

VmcsDocuments read_vmcs_json(std::string_view text) {
  std::vector<VmcsDocument> documents;
  Cursor cursor{text};
  const CursorIterator end(cursor, true);
  while (text.find_first_not_of(kJsonSpace, cursor.at) != std::string_view::npos) {
    DocumentReader reader(cursor);
    const bool good = Unordered::sax_parse(CursorIterator(cursor, false), end, &reader,
                                           nlohmann::detail::input_format_t::json, false);
    if (!good) return reader.error();
    documents.push_back(std::move(reader.document()));
  }
  if (documents.empty()) return "line 1: there is no VMCS in it";
  return documents;
}

}  // namespace nestor::emu
