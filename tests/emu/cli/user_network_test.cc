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

#include "emu/devices/virtio/network.h"

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

// --- Frames

void append(Frame& to, std::initializer_list<int> bytes) {
  for (const int byte : bytes) to.push_back(static_cast<uint8_t>(byte));
}
uint16_t number_at(const Frame& frame, size_t at) {
  return static_cast<uint16_t>(frame.at(at) << 8 | frame.at(at + 1));
}
constexpr uint16_t kArp = 0x0806, kIp = 0x0800;
constexpr size_t kType = 12, kProtocol = 23, kPorts = 34, kTcpFlags = 47;
constexpr uint8_t kTcp = 6, kUdp = 17;

Frame ethernet(uint16_t type) {
  Frame frame(6, 0xff);
  frame.insert(frame.end(), VirtioNetwork::kAddress.begin(), VirtioNetwork::kAddress.end());
  append(frame, {type >> 8, type & 0xff});
  return frame;
}

void put_checksum(Frame& frame, size_t begin, size_t size, size_t at, uint32_t sum = 0) {
  for (size_t i = 0; i < size; i += 2)
    sum += (frame[begin + i] << 8) + (i + 1 < size ? frame[begin + i + 1] : 0);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  frame[at] = static_cast<uint8_t>(~sum >> 8);
  frame[at + 1] = static_cast<uint8_t>(~sum);
}

// From 10.0.2.15, or from nobody yet.
Frame ip(uint8_t protocol, bool known, std::initializer_list<int> destination, size_t payload) {
  Frame frame = ethernet(kIp);
  const int size = static_cast<int>(20 + payload);
  append(frame, {0x45, 0, size >> 8, size & 0xff, 0, 0, 0, 0, 64, protocol, 0, 0});
  if (known) {
    append(frame, {10, 0, 2, 15});
  } else {
    append(frame, {0, 0, 0, 0});
  }
  append(frame, destination);
  put_checksum(frame, 14, 20, 24);
  return frame;
}

Frame dhcp_discover() {
  constexpr size_t kBootp = 300;
  Frame frame = ip(kUdp, false, {255, 255, 255, 255}, 8 + kBootp);
  append(frame, {0, 68, 0, 67, (8 + kBootp) >> 8, (8 + kBootp) & 0xff, 0, 0});
  const size_t begin = frame.size();
  append(frame, {1, 1, 6, 0, 0x12, 0x34, 0x56, 0x78});
  frame.resize(begin + 28);
  frame.insert(frame.end(), VirtioNetwork::kAddress.begin(), VirtioNetwork::kAddress.end());
  frame.resize(begin + 236);
  append(frame, {0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255});
  frame.resize(begin + kBootp);
  return frame;
}

Frame tcp_syn(std::initializer_list<int> destination, uint16_t port) {
  Frame frame = ip(kTcp, true, destination, 20);
  append(frame, {0x30, 0x39, port >> 8, port & 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff});
  append(frame, {0, 0, 0, 0});
  uint32_t pseudo = kTcp + 20u;
  for (size_t i = 26; i < 34; i += 2) pseudo += number_at(frame, i);
  put_checksum(frame, 34, 20, 50, pseudo);
  return frame;
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

TEST_F(UserNetworkTest, HostileFramesAreSurvived) {
  open({});
  uint64_t random = 1;
  for (int i = 0; i < 20'000; ++i) {
    Frame frame = i % 2 == 0 ? dhcp_discover() : tcp_syn({10, 0, 2, 2}, 80);
    for (int changes = 0; changes < 3; ++changes) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      frame[(random >> 33) % frame.size()] = static_cast<uint8_t>(random >> 25);
    }
    frame.resize(frame.size() -
                 std::min<size_t>(frame.size() - kMinFrameBytes, (random >> 60) * 20));
    network->send(now += 1000, frame);
    while (network->receive(now)) continue;
  }
  network->send(now, dhcp_discover());
  EXPECT_TRUE(next(kIp));
}

}  // namespace
}  // namespace nestor::emu
