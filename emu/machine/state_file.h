// SPDX-License-Identifier: GPL-2.0-or-later
//
// A machine in a file: a line that says what it is, the version of the format, and the state as one
// frame of Zstandard with a checksum. Errors are one sentence that names the file.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "emu/machine/machine.h"
#include "emu/memory/new_file.h"

namespace nestor::emu {

// Of the format. It changes with everything that a component saves.
inline constexpr uint32_t kStateVersion = 13;

// A file to be: nothing is at its path before commit(), and what was there stays until then.
class StateOutput {
 public:
  // Fails early where the file cannot be written.
  [[nodiscard]] static std::variant<std::unique_ptr<StateOutput>, std::string> open(
      const std::string& path);

  const std::string& path() const { return path_; }
  // Writes the machine, which has stopped and was made with `config`, and puts the file in its
  // place. std::nullopt: all of it is there. To be called once.
  [[nodiscard]] std::optional<std::string> save(Machine& machine, const MachineConfig& config);

 private:
  StateOutput(std::string path, NewFile file);
  std::optional<std::string> fail(int error_number) const;

  const std::string path_;
  NewFile file_;
};

class StateInput {
 public:
  // Reads as far as the configuration.
  [[nodiscard]] static std::variant<std::unique_ptr<StateInput>, std::string> open(
      const std::string& path);
  virtual ~StateInput() = default;

  // Of the saved machine; without a limit of instructions.
  virtual const MachineConfig& config() const = 0;
  // Into a machine that was made with this configuration. std::nullopt: done. To be called once.
  [[nodiscard]] virtual std::optional<std::string> load(Machine& machine) = 0;
};

}  // namespace nestor::emu
