// SPDX-License-Identifier: GPL-2.0-or-later
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "emu/observe/audit/stated_failure.h"
#include "emu/observe/audit/vmcs_formats.h"
#include "vmx/cpu_state.h"
#include "vmx/exit_reasons.h"

namespace nestor::emu {
namespace {

using vmx::Field;

enum class LogSection : uint8_t { kNone, kGuest, kHost, kControl };

struct LogHeading {
  std::string_view text;
  LogSection section;
};
constexpr std::array kHeadings = {
    LogHeading{"last attempted VM-entry on CPU", LogSection::kGuest},
    LogHeading{"Guest State **", LogSection::kGuest},
    LogHeading{"Host State **", LogSection::kHost},
    LogHeading{"Control State **", LogSection::kControl},
};

// What Xen says before a dump, and the field whose value it is.
struct LogAnnouncement {
  std::string_view text;
  Field field;
};
constexpr std::array kAnnouncements = {
    LogAnnouncement{"vmentry failure (reason ", Field::kExitReason},
    LogAnnouncement{"VMLAUNCH error: ", Field::kVmInstructionError},
    LogAnnouncement{"VMRESUME error: ", Field::kVmInstructionError},
};
constexpr std::string_view kXenQualification = "Invalid guest state (";  // decimal

// What people pick out of a dump without a heading; nothing else has these.
constexpr std::array<std::string_view, 5> kMarks = {
    "vmentry failure (reason ", "gh_mask=", "intr_info=", "Interruptibility =", "EntryControls="};

// What stands before a value, in the spelling of plain_words(). `second` is the field of what
// follows a colon after the value.
struct LogLabel {
  LogSection section;
  std::string words;
  Field field;
  std::optional<Field> second;
};

// KVM and Xen print the same but for a few lines that one of them has; so do their older versions.
constexpr struct {
  LogSection section;
  std::string_view words;
  Field field;
} kLabels[] = {
    {LogSection::kGuest, "cr0 actual", Field::kGuestCr0},
    {LogSection::kGuest, "cr0 shadow", Field::kCr0ReadShadow},
    {LogSection::kGuest, "cr0 gh mask", Field::kCr0GuestHostMask},
    {LogSection::kGuest, "cr4 actual", Field::kGuestCr4},
    {LogSection::kGuest, "cr4 shadow", Field::kCr4ReadShadow},
    {LogSection::kGuest, "cr4 gh mask", Field::kCr4GuestHostMask},
    {LogSection::kGuest, "cr3", Field::kGuestCr3},
    {LogSection::kGuest, "cr3 actual", Field::kGuestCr3},
    {LogSection::kGuest, "cr3 target count", Field::kCr3TargetCount},
    {LogSection::kGuest, "pdptr0", Field::kGuestPdpte0},
    {LogSection::kGuest, "pdptr1", Field::kGuestPdpte1},
    {LogSection::kGuest, "pdptr2", Field::kGuestPdpte2},
    {LogSection::kGuest, "pdptr3", Field::kGuestPdpte3},
    {LogSection::kGuest, "pdpte0", Field::kGuestPdpte0},
    {LogSection::kGuest, "pdpte1", Field::kGuestPdpte1},
    {LogSection::kGuest, "pdpte2", Field::kGuestPdpte2},
    {LogSection::kGuest, "pdpte3", Field::kGuestPdpte3},
    {LogSection::kGuest, "rsp", Field::kGuestRsp},
    {LogSection::kGuest, "rip", Field::kGuestRip},
    {LogSection::kGuest, "rflags", Field::kGuestRflags},
    {LogSection::kGuest, "dr7", Field::kGuestDr7},
    {LogSection::kGuest, "sysenter rsp", Field::kGuestIa32SysenterEsp},
    {LogSection::kGuest, "gdtr limit", Field::kGuestGdtrLimit},
    {LogSection::kGuest, "gdtr base", Field::kGuestGdtrBase},
    {LogSection::kGuest, "idtr limit", Field::kGuestIdtrLimit},
    {LogSection::kGuest, "idtr base", Field::kGuestIdtrBase},
    {LogSection::kGuest, "efer", Field::kGuestIa32Efer},
    {LogSection::kGuest, "efer vmcs", Field::kGuestIa32Efer},
    {LogSection::kGuest, "pat", Field::kGuestIa32Pat},
    {LogSection::kGuest, "preemptiontimer", Field::kVmxPreemptionTimerValue},
    {LogSection::kGuest, "sm base", Field::kGuestSmbase},
    {LogSection::kGuest, "debugctl", Field::kGuestIa32Debugctl},
    {LogSection::kGuest, "debugexceptions", Field::kGuestPendingDebugExceptions},
    {LogSection::kGuest, "perfglobctl", Field::kGuestIa32PerfGlobalCtrl},
    {LogSection::kGuest, "bndcfgs", Field::kGuestIa32Bndcfgs},
    {LogSection::kGuest, "interruptibility", Field::kGuestInterruptibilityState},
    {LogSection::kGuest, "activitystate", Field::kGuestActivityState},
    {LogSection::kGuest, "interruptstatus", Field::kGuestInterruptStatus},
    {LogSection::kGuest, "spec ctrl mask", Field::kIa32SpecCtrlMask},
    {LogSection::kGuest, "spec shadow", Field::kIa32SpecCtrlShadow},
    {LogSection::kGuest, "s cet", Field::kGuestIa32SCet},
    {LogSection::kGuest, "ssp", Field::kGuestSsp},
    {LogSection::kGuest, "ssp table", Field::kGuestIa32InterruptSspTableAddr},
    {LogSection::kHost, "rip", Field::kHostRip},
    {LogSection::kHost, "rsp", Field::kHostRsp},
    {LogSection::kHost, "cs", Field::kHostCsSelector},
    {LogSection::kHost, "ss", Field::kHostSsSelector},
    {LogSection::kHost, "ds", Field::kHostDsSelector},
    {LogSection::kHost, "es", Field::kHostEsSelector},
    {LogSection::kHost, "fs", Field::kHostFsSelector},
    {LogSection::kHost, "gs", Field::kHostGsSelector},
    {LogSection::kHost, "tr", Field::kHostTrSelector},
    {LogSection::kHost, "fsbase", Field::kHostFsBase},
    {LogSection::kHost, "gsbase", Field::kHostGsBase},
    {LogSection::kHost, "trbase", Field::kHostTrBase},
    {LogSection::kHost, "gdtbase", Field::kHostGdtrBase},
    {LogSection::kHost, "idtbase", Field::kHostIdtrBase},
    {LogSection::kHost, "cr0", Field::kHostCr0},
    {LogSection::kHost, "cr3", Field::kHostCr3},
    {LogSection::kHost, "cr4", Field::kHostCr4},
    {LogSection::kHost, "sysenter rsp", Field::kHostIa32SysenterEsp},
    {LogSection::kHost, "efer", Field::kHostIa32Efer},
    {LogSection::kHost, "pat", Field::kHostIa32Pat},
    {LogSection::kHost, "perfglobctl", Field::kHostIa32PerfGlobalCtrl},
    {LogSection::kControl, "pinbased", Field::kPinBasedControls},
    {LogSection::kControl, "cpubased", Field::kPrimaryProcBasedControls},
    {LogSection::kControl, "secondaryexec", Field::kSecondaryProcBasedControls},
    {LogSection::kControl, "tertiaryexec", Field::kTertiaryProcBasedControls},
    {LogSection::kControl, "entrycontrols", Field::kVmEntryControls},
    {LogSection::kControl, "exitcontrols", Field::kVmExitControls},
    {LogSection::kControl, "exceptionbitmap", Field::kExceptionBitmap},
    {LogSection::kControl, "pfecmask", Field::kPageFaultErrorCodeMask},
    {LogSection::kControl, "pfecmatch", Field::kPageFaultErrorCodeMatch},
    {LogSection::kControl, "vmentry intr info", Field::kVmEntryInterruptionInformation},
    {LogSection::kControl, "vmentry errcode", Field::kVmEntryExceptionErrorCode},
    {LogSection::kControl, "vmentry ilen", Field::kVmEntryInstructionLength},
    {LogSection::kControl, "vmexit intr info", Field::kVmExitInterruptionInformation},
    {LogSection::kControl, "vmexit errcode", Field::kVmExitInterruptionErrorCode},
    {LogSection::kControl, "vmexit ilen", Field::kVmExitInstructionLength},
    {LogSection::kControl, "reason", Field::kExitReason},
    {LogSection::kControl, "qualification", Field::kExitQualification},
    {LogSection::kControl, "idtvectoring info", Field::kIdtVectoringInformation},
    {LogSection::kControl, "idtvectoring errcode", Field::kIdtVectoringErrorCode},
    {LogSection::kControl, "tsc offset", Field::kTscOffset},
    {LogSection::kControl, "tsc multiplier", Field::kTscMultiplier},
    {LogSection::kControl, "tpr threshold", Field::kTprThreshold},
    {LogSection::kControl, "apic access addr", Field::kApicAccessAddress},
    {LogSection::kControl, "virt apic addr", Field::kVirtualApicAddress},
    {LogSection::kControl, "postedintrvec", Field::kPostedInterruptNotificationVector},
    {LogSection::kControl, "ept pointer", Field::kEptPointer},
    {LogSection::kControl, "eptp index", Field::kEptpIndex},
    {LogSection::kControl, "cr3 target0", Field::kCr3TargetValue0},
    {LogSection::kControl, "cr3 target1", Field::kCr3TargetValue1},
    {LogSection::kControl, "cr3 target2", Field::kCr3TargetValue2},
    {LogSection::kControl, "cr3 target3", Field::kCr3TargetValue3},
    {LogSection::kControl, "ple gap", Field::kPleGap},
    {LogSection::kControl, "ple window", Field::kPleWindow},
    {LogSection::kControl, "virtual processor id", Field::kVirtualProcessorIdentifier},
    {LogSection::kControl, "vmfunc controls", Field::kVmFunctionControls},
    {LogSection::kControl, "ve info address", Field::kVirtualizationExceptionInformationAddress},
    // KVM prints these at the end, though they are the host's.
    {LogSection::kControl, "s cet", Field::kHostIa32SCet},
    {LogSection::kControl, "ssp", Field::kHostSsp},
    {LogSection::kControl, "ssp table", Field::kHostIa32InterruptSspTableAddr},
};

// Fields that only one of them prints, or only old versions: their absence says nothing.
constexpr std::array kSeldom = {
    Field::kVmFunctionControls, Field::kCr3TargetCount,
    Field::kEptpIndex,          Field::kVirtualApicAddress,
    Field::kApicAccessAddress,  Field::kVirtualizationExceptionInformationAddress};

constexpr std::array<std::string_view, vmx::kSegmentCount> kSegments = {"es", "cs", "ss",   "ds",
                                                                        "fs", "gs", "ldtr", "tr"};

const std::vector<LogLabel>& log_labels() {
  static const std::vector<LogLabel> labels = [] {
    std::vector<LogLabel> list;
    for (const auto& label : kLabels)
      list.push_back({label.section, std::string(label.words), label.field, std::nullopt});
    for (uint8_t i = 0; i < vmx::kSegmentCount; ++i) {
      const auto add = [&](std::string_view part, Field field) {
        list.push_back(
            {LogSection::kGuest, fmt::format("{} {}", kSegments[i], part), field, std::nullopt});
      };
      add("sel", vmx::guest_selector(i));
      add("attr", vmx::guest_access_rights(i));
      add("limit", vmx::guest_limit(i));
      add("base", vmx::guest_base(i));
    }
    list.push_back(
        {LogSection::kGuest, "cs rip", Field::kGuestIa32SysenterCs, Field::kGuestIa32SysenterEip});
    list.push_back(
        {LogSection::kHost, "cs rip", Field::kHostIa32SysenterCs, Field::kHostIa32SysenterEip});
    return list;
  }();
  return labels;
}

// The digits to which KVM and Xen, old and new, fill the number of a field with zeros at least.
size_t printed_digits(Field field) {
  constexpr struct {
    Field field;
    uint8_t digits;
  } kShorter[] = {
      {Field::kGuestRflags, 8},
      {Field::kGuestIa32SysenterCs, 4},
      {Field::kHostIa32SysenterCs, 4},
      {Field::kGuestInterruptibilityState, 4},
      {Field::kGuestActivityState, 4},
      {Field::kTprThreshold, 2},
      {Field::kPostedInterruptNotificationVector, 2},
  };
  for (const auto& shorter : kShorter)
    if (shorter.field == field) return shorter.digits;
  constexpr size_t kRightsDigits = 5;
  for (uint8_t i = 0; i < vmx::kSegmentCount; ++i)
    if (vmx::guest_access_rights(i) == field) return kRightsDigits;
  return vmx::bits_of(field) / 4;
}

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }
bool is_hexadecimal(char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; }

// Lower case; a space for whatever is between words.
std::string plain_words(std::string_view text) {
  std::string words;
  bool between = false;
  for (const char c : text) {
    if (is_word(c)) {
      if (between && !words.empty()) words += ' ';
      words += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    between = !is_word(c);
  }
  return words;
}

// The hexadecimal number at the start of `text`, which it takes off; empty: there is none.
std::string_view take_number(std::string_view& text) {
  const size_t digits = text.starts_with("0x") ? 2 : 0;
  size_t end = digits;
  while (end < text.size() && is_hexadecimal(text[end])) ++end;
  if (end == digits || (end < text.size() && is_word(text[end]))) return {};
  const std::string_view number = text.substr(0, end);
  text.remove_prefix(end);
  return number;
}

bool has_heading(std::string_view text) {
  return std::ranges::any_of(kHeadings, [&](const LogHeading& heading) {
    return text.find(heading.text) != std::string_view::npos;
  });
}

class LogReader {
 public:
  std::string error;

  // `excerpt`: there are no headings, so that every line may be of a dump.
  explicit LogReader(bool excerpt) : excerpt_(excerpt) {}

  // `last`: nothing follows in the text.
  void line(std::string_view text, bool last) {
    ++line_;
    last_ = last;
    if (text.find_first_not_of(" >") == std::string_view::npos) return;
    if (announcement(text)) return;
    if (const auto failure = stated_failure(text, FailureWords::kAll);
        failure && (!stated_ || failure->field))
      stated_ = failure;
    for (const LogHeading& heading : kHeadings) {
      if (text.find(heading.text) == std::string_view::npos) continue;
      if (heading.section <= section_) finish();
      section_ = heading.section;
      return;
    }
    if (section_ == LogSection::kNone && !excerpt_) return;
    if ((section_ == LogSection::kGuest || excerpt_) && segment_row(text)) return;
    // Mail programs break lines, even before a value.
    const std::string whole = broken_ + std::string(text);
    broken_.clear();
    if (const size_t end = whole.find_last_not_of(' ');
        end != std::string::npos && whole[end] == '=') {
      broken_ = whole;
      return;
    }
    values(whole);
  }

  std::vector<VmcsDocument> documents() {
    finish();
    if (stated_ && documents_.size() == 1) documents_.front().state(*stated_);
    return std::move(documents_);
  }

 private:
  bool announcement(std::string_view text) {
    for (const LogAnnouncement& announcement : kAnnouncements) {
      const size_t at = text.find(announcement.text);
      if (at == std::string_view::npos) continue;
      finish();
      text.remove_prefix(at + announcement.text.size());
      set(announcement.field, take_number(text));
      if (const size_t state = text.find(kXenQualification); state != std::string_view::npos) {
        text.remove_prefix(state + kXenQualification.size());
        set(Field::kExitQualification, take_number(text));
      }
      return true;
    }
    return false;
  }

  // "Labels and values": CR0: actual=0x31, shadow=0x11.
  void values(std::string_view text) {
    for (size_t equals = text.find('='); equals != std::string_view::npos;
         equals = text.find('=')) {
      const std::string words = plain_words(text.substr(0, equals));
      const std::string before = std::exchange(tail_, {});
      text.remove_prefix(equals + 1);
      text.remove_prefix(std::min(text.find_first_not_of(" >"), text.size()));
      const std::string_view number = take_number(text);
      if (number.empty()) continue;
      const bool at_end = is_end(text);
      std::string_view second;
      if (text.starts_with(':')) {
        text.remove_prefix(1);
        second = take_number(text);
      }
      if (text.starts_with(" (")) text.remove_prefix(std::min(text.find(')'), text.size()));
      const LogLabel* label = find(words);
      // A label may have begun on the line before.
      if (label == nullptr && !before.empty())
        label = find(words.empty() ? before : fmt::format("{} {}", before, words));
      if (label == nullptr) continue;
      context_ = label->words.substr(0, label->words.find(' '));
      set_printed(label->field, number, at_end);
      if (label->second && !second.empty()) set_printed(*label->second, second, is_end(text));
    }
    tail_ = plain_words(text);
  }

  // Xen's "CS: 0010 0209b 00000000 0000000000000000".
  bool segment_row(std::string_view text) {
    const size_t colon = text.rfind(": ");
    if (colon == std::string_view::npos) return false;
    const std::string words = plain_words(text.substr(0, colon));
    const std::string name = words.substr(words.rfind(' ') + 1);
    text.remove_prefix(colon + 1);
    std::vector<std::string_view> numbers;
    while (true) {
      text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
      if (text.empty()) break;
      numbers.push_back(take_number(text));
      if (numbers.back().empty()) return false;
    }
    if (numbers.size() == 2 && (name == "gdtr" || name == "idtr")) {
      set(name == "gdtr" ? Field::kGuestGdtrLimit : Field::kGuestIdtrLimit, numbers[0]);
      set_printed(name == "gdtr" ? Field::kGuestGdtrBase : Field::kGuestIdtrBase, numbers[1],
                  is_end(text));
      return true;
    }
    const auto segment = std::ranges::find(kSegments, name);
    if (numbers.size() != 4 || segment == kSegments.end()) return false;
    const auto index = static_cast<uint8_t>(segment - kSegments.begin());
    set(vmx::guest_selector(index), numbers[0]);
    set(vmx::guest_access_rights(index), numbers[1]);
    set(vmx::guest_limit(index), numbers[2]);
    set_printed(vmx::guest_base(index), numbers[3], is_end(text));
    return true;
  }

  // The longest label with which the words end; else the one that they complete after the first
  // word of the label before.
  const LogLabel* find(const std::string& words) const {
    const LogLabel* found = nullptr;
    for (const LogLabel& label : log_labels()) {
      const bool ends = words == label.words || words.ends_with(" " + label.words);
      if (is_here(label) && ends && (found == nullptr || found->words.size() < label.words.size()))
        found = &label;
    }
    if (found != nullptr) return found;
    for (const LogLabel& label : log_labels())
      if (is_here(label) && label.words == context_ + " " + words) return &label;
    return nullptr;
  }
  bool is_here(const LogLabel& label) const {
    return section_ == LogSection::kNone ? label.section != LogSection::kHost
                                         : label.section == section_;
  }

  bool is_end(std::string_view rest) const {
    return last_ && rest.find_first_not_of(' ') == std::string_view::npos;
  }

  // Where the others have all their digits, a short one that ends the text is cut off.
  void set_printed(Field field, std::string_view number, bool at_end) {
    const std::string_view digits = number.starts_with("0x") ? number.substr(2) : number;
    const bool is_short = digits.size() < printed_digits(field);
    const bool padded = has_full_ || (digits.size() > 1 && digits.starts_with('0'));
    if (at_end && is_short && !has_short_ && padded) {
      document_.remarks.push_back(cut_off(vmx::info_of(field).name, number));
      return;
    }
    (is_short ? has_short_ : has_full_) = true;
    set(field, number);
  }

  void set(Field field, std::string_view number) {
    if (number.empty()) return;
    if (document_.given.contains(field)) return;   // the dump is over, what follows is other text
    const auto value = parse_hexadecimal(number);  // has digits only
    const std::string bad =
        value ? document_.set({field, false}, *value) : std::string("more than 64 bits");
    if (!bad.empty() && error.empty())
      error = fmt::format("line {}: {}: {}", line_, vmx::info_of(field).name, bad);
  }

  void finish() {
    if ((section_ != LogSection::kNone || excerpt_) && !document_.given.empty()) {
      document_.partial = true;
      for (const vmx::FieldInfo& info : vmx::kFields) document_.never.insert(info.field);
      for (const LogLabel& label : log_labels()) {
        document_.never.erase(label.field);
        if (label.second) document_.never.erase(*label.second);
      }
      document_.never.insert(kSeldom.begin(), kSeldom.end());
      documents_.push_back(std::move(document_));
    }
    document_ = {};
    section_ = LogSection::kNone;
    context_.clear();
    broken_.clear();
    tail_.clear();
  }

  std::vector<VmcsDocument> documents_;
  VmcsDocument document_;
  LogSection section_ = LogSection::kNone;
  std::string context_;                        // the first word of the label before
  std::string broken_;                         // a line that ends before its value
  std::string tail_;                           // what is behind the last value of the line before
  std::optional<StatedFailure> stated_;        // by QEMU, beside what KVM prints
  bool has_short_ = false, has_full_ = false;  // numbers with fewer digits than are printed
  bool last_ = false;                          // this is the last line
  const bool excerpt_;
  size_t line_ = 0;
};

}  // namespace

bool is_vmcs_log(std::string_view text) {
  return has_heading(text) || std::ranges::any_of(kMarks, [&](std::string_view mark) {
           return text.find(mark) != std::string_view::npos;
         });
}

VmcsDocuments read_vmcs_log(std::string_view text) {
  LogReader reader(!has_heading(text));
  while (!text.empty()) {
    const std::string_view line = take_line(text);
    reader.line(line, is_blank(text));
  }
  if (!reader.error.empty()) return reader.error;
  std::vector<VmcsDocument> documents = reader.documents();
  if (documents.empty()) return "line 1: it looks like a dump of a VMCS, but has no field";
  return documents;
}

}  // namespace nestor::emu
