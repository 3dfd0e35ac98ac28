// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/audit/vmcs_document.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "emu/observe/audit/mail_text.h"
#include "emu/observe/audit/vmcs_formats.h"
#include "emu/observe/audit/vmcs_names.h"

namespace nestor::emu {
namespace {

struct VmcsFormat {
  bool (*recognizes)(std::string_view text);
  VmcsDocuments (*read)(std::string_view text);
};
// The first one that recognizes the text reads it.
constexpr std::array kFormats = {
    VmcsFormat{is_vmcs_json, read_vmcs_json},
    VmcsFormat{is_vmcs_log, read_vmcs_log},
    VmcsFormat{is_haxm_dump, read_haxm_dump},
    VmcsFormat{is_vmcs_code, read_vmcs_code},
    VmcsFormat{is_guest_registers, read_guest_registers},
    VmcsFormat{is_vmcs_list, read_vmcs_list},
};

bool says_nothing(const VmcsDocument& document) {
  return document.partial && document.given.empty();
}

// Without what terminals take for colours: ESC [ ... m.
std::string without_colours(std::string text) {
  size_t out = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b' && i + 1 < text.size() && text[i + 1] == '[') {
      const size_t end = text.find_first_not_of("0123456789;", i + 2);
      if (end != std::string::npos && text[end] == 'm') {
        i = end;
        continue;
      }
    }
    text[out++] = text[i];
  }
  text.resize(out);
  return text;
}

}  // namespace

std::string VmcsDocument::set(vmx::FieldAccess access, uint64_t number) {
  // Some print the exit reason as a signed number of 64 bits.
  if (access.field == vmx::Field::kExitReason && number >> 32 == 0xffffffff) number &= 0xffffffff;
  const unsigned bits = access.high ? 32 : vmx::bits_of(access.field);
  if ((number & ~(~uint64_t{0} >> (64 - bits))) != 0) {
    return fmt::format("{:#x} is too wide for {} of {} bits", number,
                       access.high ? "the high half" : "a field", bits);
  }
  // Who writes both halves gives the whole field or its low half under the plain name.
  const uint64_t before = vmcs.read(access.field);
  if (!access.high) {
    high_only_.erase(access.field);
  } else if (!given.contains(access.field)) {
    high_only_.insert(access.field);
  }
  if (access.high) {
    if (before >> 32 != 0 && before >> 32 != number)
      return fmt::format("{:#x} contradicts the whole field, {:#x}", number, before);
    vmcs.write(access.field, (before & 0xffffffff) | number << 32);
  } else {
    if (before != 0 && number >> 32 != 0 && number >> 32 != before >> 32)
      return fmt::format("{:#x} contradicts the high half, {:#x}", number, before >> 32);
    const bool halves = vmx::width_of(access.field) == vmx::FieldWidth::k64;
    vmcs.write(access.field, halves ? number | before : number);
  }
  given.insert(access.field);
  return {};
}

void VmcsDocument::state(const StatedFailure& failure) {
  entry_failed = true;
  if (!failure.field || given.contains(*failure.field)) return;
  given.insert(*failure.field);
  vmcs.write(*failure.field, failure.value);
}

bool VmcsDocument::forget(vmx::Field field) {
  vmcs.write(field, 0);
  return given.erase(field) != 0;
}

void VmcsDocument::forget_high_halves() {
  if (!partial) return;
  for (const vmx::Field field : high_only_) forget(field);
}

VmcsDocuments read_vmcs_documents(std::string_view mail) {
  const std::string text = without_colours(decoded_mail(mail));
  for (const VmcsFormat& format : kFormats) {
    if (!format.recognizes(text)) continue;
    VmcsDocuments documents = format.read(text);
    auto* const list = std::get_if<std::vector<VmcsDocument>>(&documents);
    if (list == nullptr) return documents;
    for (VmcsDocument& document : *list) document.forget_high_halves();
    if (std::ranges::all_of(*list, says_nothing))
      return "line 1: no field of a VMCS can be read in it";
    return documents;
  }
  if (text.find("KVM: entry failed, hardware error 0xffffffff") != std::string::npos)
    return "line 1: there is no VMCS in it, but what QEMU prints of an AMD processor, which has "
           "none; "
           "the kernel's log has the VMCB if /sys/module/kvm_amd/parameters/dump_invalid_vmcb is 1";
  if (text.find("KVM: entry failed, hardware error") != std::string::npos)
    return "line 1: there is no VMCS in it, but what QEMU prints; the kernel's log has the VMCS if "
           "/sys/module/kvm_intel/parameters/dump_invalid_vmcs is 1";
  return "line 1: there is no VMCS in it; nestor audit reads JSON, dumps of KVM, Xen and HAXM, "
         "lines of NAME = VALUE, and calls of vmwrite";
}

std::string_view take_line(std::string_view& text) {
  const size_t end = text.find('\n');
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

std::optional<uint64_t> parse_hexadecimal(std::string_view text) {
  if (text.starts_with("0x") || text.starts_with("0X")) text.remove_prefix(2);
  uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, 16);
  if (text.empty() || error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

std::string shown(std::string_view text) {
  constexpr size_t kLongestShown = 60;
  return text.size() <= kLongestShown ? std::string(text)
                                      : std::string(text.substr(0, kLongestShown)) + "...";
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

std::string cut_off(std::string_view field, std::string_view number) {
  return fmt::format("{} counts as not stated: {}, at the end of the text, is cut off", field,
                     shown(number));
}

std::string unknown_field(std::string_view name) {
  const std::string_view nearest = nearest_field_name(name);
  return fmt::format("\"{}\" is no field of a VMCS; {}", shown(name),
                     nearest.empty()
                         ? "write a name as the SDM's \"Field Encoding in VMCS\" does, or the "
                           "encoding, \"0x6800\""
                         : fmt::format("did you mean \"{}\"?", nearest));
}

}  // namespace nestor::emu
