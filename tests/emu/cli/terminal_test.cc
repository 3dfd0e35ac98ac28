// SPDX-License-Identifier: GPL-2.0-or-later
//
// The program on a terminal, whose keys are the guest's: what it does with the terminal's modes.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <utility>

namespace nestor::emu {
namespace {

// A Multiboot 1 image that writes R to COM1, enables its interrupt for received bytes and echoes.
constexpr unsigned char kEcho[] = {
    0x02, 0xb0, 0xad, 0x1b, 0x00, 0x00, 0x01, 0x00, 0xfe, 0x4f, 0x51, 0xe4,  // magic, flags, sum
    0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00,  // load it at 1 MiB
    0x00, 0x00, 0x00, 0x00, 0x20, 0x00, 0x10, 0x00,                          // enter it below
    0x66, 0xba, 0xfb, 0x03, 0xb0, 0x83, 0xee,                                // line control: DLAB
    0x66, 0xba, 0xf8, 0x03, 0xb0, 0x01, 0xee,                                // 115,200 baud
    0x66, 0xba, 0xf9, 0x03, 0xb0, 0x00, 0xee,                                //
    0x66, 0xba, 0xfb, 0x03, 0xb0, 0x03, 0xee,                                // 8 bits
    0x66, 0xba, 0xf8, 0x03, 0xb0, 'R',  0xee,                                //
    0x66, 0xba, 0xf9, 0x03, 0xb0, 0x01, 0xee,                                // interrupt enable
    0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7,  // until a byte is there
    0x66, 0xba, 0xf8, 0x03, 0xec, 0xee, 0xeb, 0xef,        // echo it
};

bool comes_true(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

// A session with a terminal, in which the program runs as a job. Its leader stands for a shell.
class Session {
 public:
  explicit Session(const std::string& image, const std::string& option = "--serial=stdio") {
    terminal_ = ::posix_openpt(O_RDWR | O_NOCTTY);
    EXPECT_EQ(::grantpt(terminal_), 0);
    EXPECT_EQ(::unlockpt(terminal_), 0);
    const std::string name = ::ptsname(terminal_);
    std::array<int, 2> commands{}, answers{};
    EXPECT_EQ(::pipe(commands.data()), 0);
    EXPECT_EQ(::pipe(answers.data()), 0);
    commands_ = commands[1];
    answers_ = answers[0];
    leader_ = ::fork();
    if (leader_ == 0) {
      ::close(commands[1]);
      lead(name, image, option, commands[0], answers[1]);
    }
    ::close(commands[0]);
    ::close(answers[1]);
    job_ = answer();
    before_ = modes();
  }
  ~Session() {
    ::kill(job_, SIGKILL);
    ::close(commands_);
    ::waitpid(leader_, nullptr, 0);
    ::close(answers_);
    ::close(terminal_);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void signal(int number) const { ::kill(job_, number); }
  void start() const { signal(SIGCONT); }
  void to_foreground() { command('f'); }
  void to_background() { command('b'); }
  // Until the job has stopped or ended: what waitpid() says.
  int wait_for_job() { return command('w'); }

  termios modes() const {
    termios modes{};
    EXPECT_EQ(::tcgetattr(terminal_, &modes), 0);
    return modes;
  }
  bool is_raw() const { return (modes().c_lflag & (ICANON | ECHO | ISIG)) == 0; }
  bool is_as_before() const {
    return modes().c_lflag == before_.c_lflag && modes().c_iflag == before_.c_iflag;
  }
  void reset_modes() const { ::tcsetattr(terminal_, TCSANOW, &before_); }
  void type(char key) const { EXPECT_EQ(::write(terminal_, &key, 1), 1); }
  bool shows(const std::string& text) {
    return comes_true([&] {
      pollfd ready{terminal_, POLLIN, 0};
      std::array<char, 256> part{};
      while (::poll(&ready, 1, 0) > 0) {
        const ssize_t got = ::read(terminal_, part.data(), part.size());
        if (got <= 0) break;
        shown_.append(part.data(), static_cast<size_t>(got));
      }
      const size_t at = shown_.find(text);
      if (at == std::string::npos) return false;
      shown_.erase(0, at + text.size());
      return true;
    });
  }

 private:
  [[noreturn]] static void lead(const std::string& name, const std::string& image,
                                const std::string& option, int commands, int answers) {
    ::setsid();
    const int terminal = ::open(name.c_str(), O_RDWR);
    ::ioctl(terminal, TIOCSCTTY, 0);
    ::signal(SIGTTOU, SIG_IGN);
    ::signal(SIGHUP, SIG_IGN);
    const pid_t job = ::fork();
    if (job == 0) {
      ::signal(SIGTTOU, SIG_DFL);
      ::signal(SIGHUP, SIG_DFL);
      ::setpgid(0, 0);
      ::raise(SIGSTOP);
      for (const int descriptor : {0, 1, 2}) ::dup2(terminal, descriptor);
      ::execl(NESTOR_EXECUTABLE, NESTOR_EXECUTABLE, "run", image.c_str(), option.c_str(), nullptr);
      ::_exit(127);
    }
    int status = 0;
    ::waitpid(job, &status, WUNTRACED);
    const auto say = [&](int value) {
      if (::write(answers, &value, sizeof value) != sizeof value) ::_exit(1);
    };
    say(job);
    for (char command = 0; ::read(commands, &command, 1) == 1;) {
      status = 0;
      if (command == 'w') ::waitpid(job, &status, WUNTRACED);
      if (command == 'f') ::tcsetpgrp(terminal, job);
      if (command == 'b') ::tcsetpgrp(terminal, ::getpgrp());
      say(status);
    }
    ::_exit(0);
  }
  int command(char command) {
    EXPECT_EQ(::write(commands_, &command, 1), 1);
    return answer();
  }
  int answer() const {
    int value = 0;
    EXPECT_EQ(::read(answers_, &value, sizeof value), static_cast<ssize_t>(sizeof value));
    return value;
  }

  int terminal_ = -1, commands_ = -1, answers_ = -1;
  pid_t leader_ = 0, job_ = 0;
  termios before_{};
  std::string shown_;
};

class TerminalTest : public testing::Test {
 protected:
  TerminalTest() {
    std::ofstream(image_, std::ios::binary)
        .write(reinterpret_cast<const char*>(kEcho), sizeof kEcho);
  }
  ~TerminalTest() override { std::filesystem::remove(image_); }

  const std::string image_ = testing::TempDir() + "nestor-echo-" + std::to_string(::getpid());
};

TEST_F(TerminalTest, IsGivenBackWhateverEndsTheRun) {
  struct Case {
    int signal;
    int status;  // with which the process exits; -1: the signal ends it
  };
  for (const Case& one : {Case{SIGHUP, 129},
                          {SIGQUIT, 131},
                          {SIGTERM, 143},
                          {SIGUSR1, -1},
                          {SIGALRM, -1},
                          {SIGABRT, -1}}) {
    SCOPED_TRACE(::strsignal(one.signal));
    Session session(image_);
    session.to_foreground();
    session.start();
    ASSERT_TRUE(session.shows("the keyboard is the guest's"));
    EXPECT_TRUE(session.is_raw());
    session.type('x');
    EXPECT_TRUE(session.shows("x"));
    session.signal(one.signal);
    const int status = session.wait_for_job();
    if (one.status >= 0) {
      EXPECT_TRUE(WIFEXITED(status));
      EXPECT_EQ(WEXITSTATUS(status), one.status);
    } else {
      EXPECT_TRUE(WIFSIGNALED(status));
      EXPECT_EQ(WTERMSIG(status), one.signal);
    }
    EXPECT_TRUE(session.is_as_before());
  }
}

TEST_F(TerminalTest, ShowsTheScreenWhileTheRunGoesOn) {
  const std::string file = image_ + ".txt";
  for (const auto& [option, shown] :
       {std::pair<std::string, std::string>("--serial=stdio", "the screen is blank"),
        {"--screen=" + file, "the screen is in '" + file + "'"}}) {
    Session session(image_, option);
    session.to_foreground();
    session.start();
    ASSERT_TRUE(session.shows("the keyboard is the guest's"));
    session.type(1);
    session.type('s');
    EXPECT_TRUE(session.shows(shown)) << option;
    EXPECT_EQ(std::filesystem::exists(file), option != "--serial=stdio");
    session.type('x');
    EXPECT_TRUE(session.shows("x"));
  }
  std::filesystem::remove(file);
}

TEST_F(TerminalTest, IsGivenBackWhileTheProcessHasStopped) {
  Session session(image_);
  session.to_foreground();
  session.start();
  ASSERT_TRUE(session.shows("the keyboard is the guest's"));
  for (const int stop : {SIGTSTP, SIGSTOP, SIGTSTP}) {
    SCOPED_TRACE(::strsignal(stop));
    session.signal(stop);
    EXPECT_TRUE(WIFSTOPPED(session.wait_for_job()));
    // Nothing can be done before SIGSTOP; shells set their modes then.
    if (stop == SIGSTOP) session.reset_modes();
    EXPECT_TRUE(session.is_as_before());
    session.to_background();
    session.start();
    session.to_foreground();
    session.start();
    EXPECT_TRUE(comes_true([&] { return session.is_raw(); }));
    session.type('y');
    EXPECT_TRUE(session.shows("y"));
  }
}

TEST_F(TerminalTest, IsTakenWhenTheProcessComesToTheForeground) {
  Session session(image_);
  session.start();
  ASSERT_TRUE(session.shows("R"));
  EXPECT_TRUE(session.is_as_before());
  session.to_foreground();
  ASSERT_TRUE(session.shows("the keyboard is the guest's"));
  EXPECT_TRUE(session.is_raw());
  session.type('z');
  EXPECT_TRUE(session.shows("z"));
  session.to_background();
  session.reset_modes();
  session.to_foreground();  // no signal comes
  EXPECT_TRUE(comes_true([&] { return session.is_raw(); }));
  session.signal(SIGTERM);
  EXPECT_EQ(WEXITSTATUS(session.wait_for_job()), 143);
  EXPECT_TRUE(session.is_as_before());
}

}  // namespace
}  // namespace nestor::emu
