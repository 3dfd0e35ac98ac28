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
 public:
  explicit Telling(LinePrefix prefix) : prefix_(prefix) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::details::log_msg part = message;
    std::string_view rest(message.payload.data(), message.payload.size());
    do {
      const size_t end =
          prefix_ == LinePrefix::kAll ? std::min(rest.find('\n'), rest.size()) : rest.size();
      part.payload = {rest.data(), end};
      spdlog::memory_buf_t text;
      formatter_->format(part, text);
      tell({text.data(), text.size()});
      rest.remove_prefix(std::min(end + 1, rest.size()));
    } while (!rest.empty());
  }
  void flush_() override {}

  const LinePrefix prefix_;
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

void log_by_telling(const std::string& level, LinePrefix prefix) {
  const std::string name(program_name);
  spdlog::set_default_logger(
      std::make_shared<spdlog::logger>(name, std::make_shared<Telling>(prefix)));
  spdlog::set_pattern("%n: %l: %v");
  spdlog::set_level(spdlog::level::from_str(level));
}

int final_status(int status) {
  return lost && !complained ? static_cast<int>(ExitStatus::kOutputError) : status;
}

}  // namespace nestor::emu
