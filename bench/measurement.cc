// SPDX-License-Identifier: GPL-2.0-or-later
#include "bench/measurement.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <sstream>

namespace nestor::bench {

namespace {

constexpr int kMarks = 3;

// A running program; killed when it goes out of scope.
class Child {
 public:
  explicit Child(const std::string& command) {
    int ends[2];
    if (::pipe(ends) != 0) return;
    id_ = ::fork();
    if (id_ == 0) {
      const int nothing = ::open("/dev/null", O_RDWR);
      ::dup2(nothing, STDIN_FILENO);
      ::dup2(nothing, STDOUT_FILENO);
      if (ends[1] != kMarks) ::dup2(ends[1], kMarks);
      if (ends[0] != kMarks) ::close(ends[0]);
      ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
      ::_exit(127);
    }
    ::close(ends[1]);
    marks_ = ends[0];
    has_clock_ = id_ > 0 && ::clock_getcpuclockid(id_, &clock_) == 0;
  }
  ~Child() {
    if (id_ > 0) {
      ::kill(id_, SIGKILL);
      ::waitpid(id_, nullptr, 0);
    }
    if (marks_ >= 0) ::close(marks_);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  bool started() const { return has_clock_; }

  double processor_seconds() const {
    timespec used{};
    ::clock_gettime(clock_, &used);
    return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
  }

  enum class Wait { kLine, kEnd, kTimeout };
  Wait next_line(std::string& line, std::chrono::steady_clock::time_point deadline) {
    for (;;) {
      const size_t end = pending_.find('\n');
      if (end != std::string::npos) {
        line = pending_.substr(0, end);
        pending_.erase(0, end + 1);
        return Wait::kLine;
      }
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      pollfd wanted{marks_, POLLIN, 0};
      const int ready = left.count() <= 0 ? 0 : ::poll(&wanted, 1, static_cast<int>(left.count()));
      if (ready == 0) return Wait::kTimeout;
      char buffer[512];
      const ssize_t got = ::read(marks_, buffer, sizeof buffer);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return Wait::kEnd;
      pending_.append(buffer, static_cast<size_t>(got));
    }
  }

 private:
  pid_t id_ = -1;
  int marks_ = -1;
  bool has_clock_ = false;
  clockid_t clock_ = 0;
  std::string pending_;
};

}  // namespace

std::variant<Intervals, std::string> measure(const std::string& command, std::chrono::seconds limit,
                                             std::string& remarks) {
  Child child(command);
  if (!child.started()) return "cannot start `" + command + "`: " + std::strerror(errno);
  const auto deadline = std::chrono::steady_clock::now() + limit;
  Intervals found;
  std::optional<std::string> open;
  double began = 0;
  std::string line, last = "nothing";
  for (;;) {
    switch (child.next_line(line, deadline)) {
      case Child::Wait::kTimeout:
        return "`" + command + "` took longer than " + std::to_string(limit.count()) +
               " s; its last line was: " + last;
      case Child::Wait::kEnd:
        return "`" + command + "` ended early; its last line was: " + last;
      case Child::Wait::kLine:
        break;
    }
    const double now = child.processor_seconds();
    while (!line.empty() && line.back() == '\r') line.pop_back();
    last = line;
    if (line == "speed: PASS") return found;
    if (line.starts_with("skipped: ")) remarks = line;
    std::istringstream words(line);
    std::string mark, item, where;
    uint64_t number = 0;
    if (!(words >> mark >> item >> where >> number)) continue;
    const std::string name = item + " " + where;
    if (mark == "begin" && number != 0) {
      open = name;
      found[name].count = number;
      began = now;
    } else if (mark == "end" && open == name) {
      found[name].seconds = now - began;
      found[name].result = number;
      open.reset();
    } else if (mark == "begin" || mark == "end") {
      return "`" + command + "` printed a mark out of order: " + line;
    }
  }
}

}  // namespace nestor::bench
