// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the names in a line of a list mean.
#pragma once

#include <optional>
#include <string_view>

#include "vmx/fields.h"

namespace nestor::emu {

// The field whose name ends `name`: logs put something before it, and an explanation in parentheses
// may follow. An encoding in parentheses counts more: "(0x6800) vmcs.cr0".
std::optional<vmx::FieldAccess> find_field_in(std::string_view name);
// The name, without what logs put before it.
std::string_view written_name(std::string_view name);

// "guest " or "host ", if `name` has the word; else empty.
std::string_view whose(std::string_view name);
// The same of a line that is a heading.
std::string_view whose_heading(std::string_view line);
// "es selector", "ldt base address", "cs rights": of the guest's or the host's registers, as
// `whose` says.
std::optional<vmx::FieldAccess> find_register_part(std::string_view name, std::string_view whose);

// "exit_ctls.flags" is a field; "exit_ctls.save_ia32_pat" and "es_rights.type" are bits of one.
struct Member {
  std::optional<vmx::FieldAccess> field;
};
std::optional<Member> find_member(std::string_view name);

// RIP, RFLAGS and RSP, as bhyve's children print them behind a VMCS.
std::optional<vmx::FieldAccess> find_vcpu_register(std::string_view name);
// RAX and others that no VMCS has, and what else is said of a register: "fs base (from RDMSR)".
bool is_beside_the_fields(std::string_view name);

}  // namespace nestor::emu
