// SPDX-License-Identifier: GPL-2.0-or-later
//
// The raw text of a mail.
#pragma once

#include <string>
#include <string_view>

namespace nestor::emu {

// Quoted-printable text as its author wrote it; any other text as it is. Lines keep their numbers.
std::string decoded_mail(std::string_view text);

}  // namespace nestor::emu
