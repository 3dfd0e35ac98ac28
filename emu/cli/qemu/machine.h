// SPDX-License-Identifier: GPL-2.0-or-later
//
// What QEMU's options say of the machine as a whole.
#pragma once

#include <string>

#include "emu/cli/complaint.h"
#include "emu/cli/qemu/wanted.h"

namespace nestor::emu::qemu {

[[nodiscard]] Complaint read_machine(const std::string& text, Wanted& wanted);  // -machine
[[nodiscard]] Complaint read_accel(const std::string& text, Wanted& wanted);    // -accel
[[nodiscard]] Complaint read_memory(const std::string& text, Wanted& wanted);   // -m
[[nodiscard]] Complaint read_smp(const std::string& text, Wanted& wanted);      // -smp
[[nodiscard]] Complaint read_boot(const std::string& text, Wanted& wanted);     // -boot
[[nodiscard]] Complaint read_gdb(const std::string& text, Wanted& wanted);      // -gdb
[[nodiscard]] Complaint read_icount(const std::string& text, Wanted& wanted);   // -icount
[[nodiscard]] Complaint read_rtc(const std::string& text, Wanted& wanted);      // -rtc

}  // namespace nestor::emu::qemu
