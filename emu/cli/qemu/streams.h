// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where bytes go: QEMU's character devices.
#pragma once

#include <string>
#include <variant>

#include "emu/cli/complaint.h"
#include "emu/cli/qemu/wanted.h"

namespace nestor::emu::qemu {

// "stdio,id=ID", "file,id=ID,path=FILE" and "null,id=ID" of -chardev.
[[nodiscard]] Complaint read_chardev(const std::string& text, Wanted& wanted);

// Where it goes as nestor says it ("stdio", "none" or a file): "stdio", "mon:stdio", "file:FILE",
// "null", "none", "vc" or "chardev:ID". A complaint is missing() when QEMU has it.
[[nodiscard]] std::variant<std::string, Complaint> find_stream(const std::string& text,
                                                               const Wanted& wanted);

}  // namespace nestor::emu::qemu
