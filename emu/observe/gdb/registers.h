// SPDX-License-Identifier: GPL-2.0-or-later
//
// The registers of a processor as GDB sees them, and the target description that says so ("Target
// Description Format", "i386 Features", in GDB's manual).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "emu/machine/inspection.h"

namespace nestor::emu {

// They are numbered from 0, in the order of the description. The architecture is i386:x86-64 in
// every mode of the processor: GDB cannot change it in the middle, and takes 32-bit registers as
// the lower halves.
std::string gdb_target_description();
size_t gdb_registers();

// Its number.
std::optional<size_t> find_gdb_register(std::string_view name);

// Little-endian. Empty: no such register.
std::vector<uint8_t> read_gdb_register(const Inspection& machine, unsigned processor,
                                       size_t number);
// Returns why it was not written, or nothing: no such register, the wrong size, or one that is only
// read: what VMX and the clock say, and selectors, whose hidden parts would stay as they are.
std::string write_gdb_register(Inspection& machine, unsigned processor, size_t number,
                               std::span<const uint8_t> value);

}  // namespace nestor::emu
