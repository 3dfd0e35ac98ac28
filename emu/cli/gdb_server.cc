// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/gdb_server.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <spdlog/fmt/fmt.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace nestor::emu {
namespace {

constexpr int kPatience = 10'000;  // milliseconds

std::string reason() { return std::strerror(errno); }

bool is_loopback(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof in);
    return ntohl(in.sin_addr.s_addr) >> 24 == 127;
  }
  sockaddr_in6 in6{};
  std::memcpy(&in6, address, sizeof in6);
  return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
}

bool has_input(int descriptor) {
  pollfd one{descriptor, POLLIN, 0};
  return ::poll(&one, 1, 0) > 0;
}

sockaddr_un unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

const sockaddr* generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

// A socket that a run has left behind: nobody listens there.
bool is_left_behind(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0 || !S_ISSOCK(status.st_mode)) return false;
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return false;
  const sockaddr_un address = unix_address(path);
  const bool refused =
      ::connect(probe, generic(address), sizeof address) != 0 && errno == ECONNREFUSED;
  ::close(probe);
  return refused;
}

std::optional<std::pair<uint64_t, uint64_t>> inode_of(const std::string& path) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) return std::nullopt;
  return std::pair<uint64_t, uint64_t>(found.st_dev, found.st_ino);
}

}  // namespace

std::variant<std::unique_ptr<GdbServer>, std::string> GdbServer::open(const GdbAddress& address) {
  auto server = std::unique_ptr<GdbServer>(new GdbServer(address));
  std::optional<std::string> bad;
  switch (address.kind) {
    case GdbAddress::Kind::kStdio:
      server->input_ = STDIN_FILENO;
      server->output_ = STDOUT_FILENO;
      break;
    case GdbAddress::Kind::kUnix:
      bad = server->listen_unix();
      break;
    case GdbAddress::Kind::kTcp:
      bad = server->listen_tcp();
      break;
  }
  if (bad) return *bad;
  return server;
}

std::optional<std::string> GdbServer::listen_unix() {
  const auto fail = [&] {
    return fmt::format("--gdb: cannot listen at '{}': {}", address_.path, reason());
  };
  if (is_left_behind(address_.path)) ::unlink(address_.path.c_str());
  listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener_ < 0) return fail();
  const sockaddr_un address = unix_address(address_.path);
  // For this user alone.
  const mode_t before = ::umask(0077);
  const int bound = ::bind(listener_, generic(address), sizeof address);
  ::umask(before);
  if (bound != 0) return fail();
  own_ = inode_of(address_.path);
  bound_ = address_.path;
  return ::listen(listener_, 1) == 0 ? std::nullopt : std::optional(fail());
}

std::optional<std::string> GdbServer::listen_tcp() {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const std::string port = std::to_string(address_.port);
  const int error = ::getaddrinfo(address_.host.c_str(), port.c_str(), &hints, &found);
  if (error != 0)
    return fmt::format("--gdb: cannot find host '{}': {}", address_.host, ::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> release(found, ::freeaddrinfo);
  const auto fail = [&] {
    return fmt::format("--gdb: cannot listen at {}:{}: {}", address_.host, port, reason());
  };
  listener_ = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener_ < 0) return fail();
  const int on = 1;
  ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(listener_, found->ai_addr, found->ai_addrlen) != 0) return fail();
  if (::listen(listener_, 1) != 0) return fail();
  open_to_others_ = !is_loopback(found->ai_addr);
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  auto* const generic_name = reinterpret_cast<sockaddr*>(&name);
  std::array<char, NI_MAXSERV> service{};
  if (::getsockname(listener_, generic_name, &size) != 0 ||
      ::getnameinfo(generic_name, size, nullptr, 0, service.data(), service.size(),
                    NI_NUMERICSERV) != 0)
    return fail();
  const bool is_ipv6 = address_.host.find(':') != std::string::npos;
  const std::string host = is_ipv6 ? "[" + address_.host + "]" : address_.host;
  bound_ = fmt::format("{}:{}", host, service.data());
  return std::nullopt;
}

GdbServer::~GdbServer() {
  if (!is_stdio()) hang_up();
  if (listener_ >= 0) ::close(listener_);
  // Somebody may have put something else there.
  if (own_ && own_ == inode_of(address_.path)) ::unlink(address_.path.c_str());
}

std::string GdbServer::command() const {
  return is_stdio() ? std::string() : "target remote " + bound_;
}

bool GdbServer::accept_waiting() {
  if (listener_ < 0 || connected()) return false;
  input_ = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (input_ < 0) return false;
  output_ = input_;
  if (address_.kind == GdbAddress::Kind::kTcp) {
    const int on = 1;
    ::setsockopt(input_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  return true;
}

// A signal may come just before poll() waits.
bool GdbServer::wait(const std::function<bool()>& is_over) {
  constexpr int kMilliseconds = 100;
  pollfd one{connected() ? input_ : listener_, POLLIN, 0};
  while (one.fd >= 0 && !is_over()) {
    const int ready = ::poll(&one, 1, kMilliseconds);
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) break;
  }
  return false;
}

std::optional<std::string> GdbServer::read_available() {
  std::string bytes;
  while (connected() && has_input(input_)) {
    std::array<char, 4096> part{};
    const ssize_t count = ::read(input_, part.data(), part.size());
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) break;
    if (count <= 0) {
      // What came before is answered first.
      if (bytes.empty()) return std::nullopt;
      break;
    }
    bytes.append(part.data(), static_cast<size_t>(count));
    if (bytes.size() >= 1 << 20) break;  // the rest waits
  }
  if (!connected()) return std::nullopt;
  return bytes;
}

void GdbServer::send(std::string_view bytes) {
  while (!bytes.empty() && output_ >= 0) {
    const ssize_t count = ::write(output_, bytes.data(), bytes.size());
    if (count > 0) {
      bytes.remove_prefix(static_cast<size_t>(count));
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    pollfd one{output_, POLLOUT, 0};
    if (count < 0 && errno == EAGAIN && ::poll(&one, 1, kPatience) > 0) continue;
    hang_up();
  }
}

void GdbServer::hang_up() {
  if (!is_stdio() && input_ >= 0) ::close(input_);
  input_ = output_ = -1;
}

}  // namespace nestor::emu
