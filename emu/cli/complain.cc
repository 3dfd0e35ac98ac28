// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/complain.h"

#include <fcntl.h>
#include <spdlog/details/null_mutex.h>
#include <spdlog/fmt/fmt.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

namespace nestor::emu {
namespace {

std::string_view program_name = "nestor";
bool complained = false, lost = false;

bool write(std::string_view text) {
  return std::fwrite(text.data(), 1, text.size(), stderr) == text.size() &&
         std::fflush(stderr) == 0;
}

class Telling final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t text;
    formatter_->format(message, text);
    tell({text.data(), text.size()});
  }
  void flush_() override {}
};

}  // namespace

void keep_standard_descriptors() {
  for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; ++descriptor) {
    if (::fcntl(descriptor, F_GETFD) == -1 && errno == EBADF) (void)::open("/dev/null", O_RDONLY);
  }
}

void complain_as(std::string_view program) { program_name = program; }

int complain(ExitStatus status, std::string message) {
  std::ranges::replace_if(
      message, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  write(fmt::format("{}: {}\n", program_name, message));
  complained = true;
  return static_cast<int>(status);
}

void tell(std::string_view text) {
  if (!text.empty() && !write(text)) lost = true;
}

void log_by_telling(const std::string& level) {
  const std::string name(program_name);
  spdlog::set_default_logger(std::make_shared<spdlog::logger>(name, std::make_shared<Telling>()));
  spdlog::set_pattern("%n: %l: %v");
  spdlog::set_level(spdlog::level::from_str(level));
}

int final_status(int status) {
  return lost && !complained ? static_cast<int>(ExitStatus::kOutputError) : status;
}

}  // namespace nestor::emu
