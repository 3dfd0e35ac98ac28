// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/user_network.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <initializer_list>

#include "tests/emu/cli/frames.h"

namespace nestor::emu {
namespace {

using ::testing::HasSubstr;

TEST(NetworkOptions, AreUserAndPorts) {
  const auto ports = std::get<std::vector<PortForward>>(
      parse_network("user,forward=tcp:2222:22,forward=udp:2222:53"));
  ASSERT_EQ(ports.size(), 2u);
  EXPECT_EQ(ports[0].protocol, PortForward::Protocol::kTcp);
  EXPECT_EQ(ports[0].host, 2222);
  EXPECT_EQ(ports[0].guest, 22);
  EXPECT_EQ(ports[1].protocol, PortForward::Protocol::kUdp);
  EXPECT_TRUE(std::get<std::vector<PortForward>>(parse_network("user")).empty());
}

TEST(NetworkOptions, BadOnesAreNamed) {
  const auto check = [](const std::string& text, const std::string& complaint) {
    const auto bad = parse_network(text);
    ASSERT_TRUE(std::holds_alternative<std::string>(bad)) << text;
    EXPECT_THAT(std::get<std::string>(bad), HasSubstr(complaint));
  };
  check("", "'' is no network");
  check("tap", "'tap' is no network");
  check("user,", "'' is not forward=");
  check("user,forward=tcp:1:2,", "'' is not forward=");
  check("user,tcp:1:2", "'tcp:1:2' is not forward=");
  for (const char* bad : {"", "tcp", "tcp:1", "tcp:1:", "tcp:0:1", "tcp:1:65536", "sctp:1:2",
                          "tcp:1:2:3", "tcp:1: 2", "tcp:-1:2"})
    check(std::string("user,forward=") + bad, "is not tcp|udp:HOST_PORT:GUEST_PORT");
  check("user,forward=tcp:1:2,forward=tcp:1:3", "port 1 of the host is forwarded twice");
}

// A TCP socket at a port of the loopback.
class LoopbackSocket {
 public:
  LoopbackSocket() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)) {}
  LoopbackSocket(const LoopbackSocket&) = delete;
  LoopbackSocket& operator=(const LoopbackSocket&) = delete;
  ~LoopbackSocket() { ::close(socket_); }
  // One that is free.
  uint16_t bind_and_listen() {
    sockaddr_in address = loopback(0);
    EXPECT_EQ(::bind(socket_, generic(address), sizeof address), 0);
    EXPECT_EQ(::listen(socket_, 1), 0);
    socklen_t size = sizeof address;
    EXPECT_EQ(::getsockname(socket_, generic(address), &size), 0);
    return ntohs(address.sin_port);
  }
  void connect(uint16_t port) {
    sockaddr_in address = loopback(port);
    ::connect(socket_, generic(address), sizeof address);
  }
  bool has_visitor() const {
    const int visitor = ::accept(socket_, nullptr, nullptr);
    if (visitor >= 0) ::close(visitor);
    return visitor >= 0;
  }

 private:
  static sockaddr_in loopback(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  static sockaddr* generic(sockaddr_in& address) { return std::bit_cast<sockaddr*>(&address); }
  const int socket_;
};

class UserNetworkTest : public testing::Test {
 protected:
  void open(const std::vector<PortForward>& forwards) {
    auto opened = open_user_network(forwards);
    ASSERT_TRUE(std::holds_alternative<std::unique_ptr<NetworkPort>>(opened))
        << std::get<std::string>(opened);
    network = std::get<std::unique_ptr<NetworkPort>>(std::move(opened));
  }
  // The next frame of such a type, in at most a second.
  std::optional<Frame> next(uint16_t type) {
    for (int i = 0; i < 1000; ++i) {
      now += 1'000'000;
      while (auto frame = network->receive(now))
        if (number_at(*frame, kType) == type) return frame;
      ::usleep(1000);
    }
    return std::nullopt;
  }

  std::unique_ptr<NetworkPort> network;
  uint64_t now = 0;
};

TEST_F(UserNetworkTest, GivesTheGuestAnAddress) {
  open({});
  EXPECT_FALSE(network->receive(1000));
  network->send(2000, dhcp_discover());
  const auto offer = network->receive(3000);
  ASSERT_TRUE(offer);
  EXPECT_EQ(number_at(*offer, kType), kIp);
  EXPECT_EQ(offer->at(kProtocol), kUdp);
  EXPECT_EQ(number_at(*offer, kPorts), 67);
  const Frame address(offer->begin() + 42 + 16, offer->begin() + 42 + 20);
  EXPECT_EQ(address, Frame({10, 0, 2, 15}));
}

TEST_F(UserNetworkTest, AForwardedPortLeadsToTheGuest) {
  LoopbackSocket probe;
  const uint16_t port = probe.bind_and_listen();
  const auto taken = open_user_network({{PortForward::Protocol::kTcp, port, 22}});
  ASSERT_TRUE(std::holds_alternative<std::string>(taken));
  EXPECT_THAT(std::get<std::string>(taken), HasSubstr("cannot listen at port"));

  uint16_t free_port = 0;
  {
    LoopbackSocket other;
    free_port = other.bind_and_listen();
  }
  open({{PortForward::Protocol::kTcp, free_port, 22}});
  LoopbackSocket client;
  client.connect(free_port);
  const auto question = next(kArp);
  ASSERT_TRUE(question) << "who is 10.0.2.15?";
  Frame answer = ethernet(kArp);
  append(answer, {0, 1, 8, 0, 6, 4, 0, 2});
  answer.insert(answer.end(), VirtioNetwork::kAddress.begin(), VirtioNetwork::kAddress.end());
  append(answer, {10, 0, 2, 15, 0x52, 0x55, 10, 0, 2, 2, 10, 0, 2, 2});
  network->send(now, answer);
  const auto syn = next(kIp);
  ASSERT_TRUE(syn);
  EXPECT_EQ(syn->at(kProtocol), kTcp);
  EXPECT_EQ(number_at(*syn, kPorts + 2), 22);
  EXPECT_EQ(syn->at(kTcpFlags), 2) << "SYN";
}

TEST_F(UserNetworkTest, TheGuestReachesNothingByItself) {
  LoopbackSocket server;
  const uint16_t port = server.bind_and_listen();
  open({});
  network->send(1000, tcp_syn({10, 0, 2, 2}, port));
  network->send(1000, tcp_syn({127, 0, 0, 1}, port));
  for (int i = 0; i < 20; ++i) {
    now += 10'000'000;
    while (const auto frame = network->receive(now)) {
      const bool accepts = number_at(*frame, kType) == kIp && frame->at(kProtocol) == kTcp &&
                           frame->at(kTcpFlags) == 0x12;
      EXPECT_FALSE(accepts);
    }
    ::usleep(1000);
  }
  EXPECT_FALSE(server.has_visitor());
}

}  // namespace
}  // namespace nestor::emu
