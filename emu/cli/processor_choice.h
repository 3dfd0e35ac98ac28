// SPDX-License-Identifier: GPL-2.0-or-later
//
// Which processor a user chooses: --cpu MODEL[,+FEATURE][,-FEATURE]...
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "emu/cli/complaint.h"
#include "vmx/processor_type.h"

namespace CLI {
class App;
}

namespace nestor::emu {

// The processor, or a complaint of one line. A feature that is taken away takes those along that
// need it; later words count.
std::variant<vmx::ProcessorType, std::string> parse_processor(std::string_view text);

// The option, and what has become of it: the processor, or what is to be said instead.
void add_processor_option(CLI::App& command, std::string& value);
std::variant<vmx::ProcessorType, Complaint> read_processor(const std::string& value);
std::string default_processor_name();

// What `--cpu help` prints: the models, and the features by the first model that has them.
std::string processor_help();

}  // namespace nestor::emu
