// SPDX-License-Identifier: GPL-2.0-or-later
//
// The formats in which a VMCS is written down. A format is a file here and a row in
// vmcs_document.cc.
#pragma once

#include <string_view>

#include "emu/observe/audit/vmcs_document.h"

namespace nestor::emu {

bool is_vmcs_json(std::string_view text);
VmcsDocuments read_vmcs_json(std::string_view text);

// What KVM and Xen print into the log of the kernel or the hypervisor. Whatever is before the text
// in a line, and lines between, are passed over.
bool is_vmcs_log(std::string_view text);
VmcsDocuments read_vmcs_log(std::string_view text);

// What HAXM prints: encoding, name, value.
bool is_haxm_dump(std::string_view text);
VmcsDocuments read_haxm_dump(std::string_view text);

// The source text of a hypervisor: vmwrite(GUEST_CR0, 0x31). Other lines are passed over.
bool is_vmcs_code(std::string_view text);
VmcsDocuments read_vmcs_code(std::string_view text);

// The registers of a guest in a program's own words, by the names of struct kvm_sregs.
bool is_guest_registers(std::string_view text);
VmcsDocuments read_guest_registers(std::string_view text);

// NAME = VALUE, NAME: VALUE or NAME VALUE in lines, and tables.
bool is_vmcs_list(std::string_view text);
VmcsDocuments read_vmcs_list(std::string_view text);

// --- For the readers.

// Takes the first line off `text`, without its end.
std::string_view take_line(std::string_view& text);
// "0x1f" or "1f"; std::nullopt: neither, or beyond 64 bits.
std::optional<uint64_t> parse_hexadecimal(std::string_view text);
// What a message shows of a name or value that the user wrote.
std::string shown(std::string_view text);
// Only blanks and ends of lines.
bool is_blank(std::string_view text);
// The remark on a number that ends with the text, and too early.
std::string cut_off(std::string_view field, std::string_view number);
// "X is no field of a VMCS" and what might be meant.
std::string unknown_field(std::string_view name);

}  // namespace nestor::emu
