// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>

#include "emu/cli/complaint.h"
#include "emu/cli/qemu/wanted.h"

namespace nestor::emu::qemu {

// "file=FILE,format=raw,if=virtio,..." of -drive.
[[nodiscard]] Complaint read_drive(const std::string& text, Wanted& wanted);
// The file of -hda and its like: 0 is -hda.
[[nodiscard]] Complaint read_disk(const std::string& file, unsigned index, Wanted& wanted);
[[nodiscard]] Complaint read_cdrom(const std::string& file, Wanted& wanted);
// -pflash: the first has the firmware, the second its variables.
[[nodiscard]] Complaint read_flash(const std::string& file, Wanted& wanted);

}  // namespace nestor::emu::qemu
