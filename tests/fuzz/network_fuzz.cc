// SPDX-License-Identifier: GPL-2.0-or-later
//
// Sends frames of a hostile guest to the user-mode network, without a port that is forwarded:
//
//   network_fuzz [FRAMES [SEED]]
//
// Frames of all protocols, most with bytes and lengths that are wrong, half of them with the
// checksum of IP made right again. What comes back must be frames for the guest, there must be no
// end of it, and a guest that asks for an address must get one at any time.
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "emu/cli/user_network.h"
#include "tests/emu/cli/frames.h"
#include "tests/fuzz/arguments.h"

namespace {

using namespace nestor::emu;  // NOLINT(google-build-using-namespace)

class HostileGuest {
 public:
  explicit HostileGuest(uint64_t seed) : random_(seed) {
    auto opened = open_user_network({});
    if (auto* bad = std::get_if<std::string>(&opened)) throw std::runtime_error(*bad);
    network_ = std::get<std::unique_ptr<NetworkPort>>(std::move(opened));
  }

  void step() {
    Frame frame = made();
    mutate(frame);
    send(frame);
    received_ += answers(nullptr);
  }
  // Throws if there is no answer.
  void ask_for_address() {
    send(dhcp_discover());
    bool offered = false;
    for (int i = 0; i < 10 && !offered; ++i) received_ += answers(&offered);
    if (!offered) throw std::logic_error("no address is offered any more");
  }
  uint64_t received() const { return received_; }

 private:
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }
  uint8_t byte() { return static_cast<uint8_t>(below(256)); }

  Frame made() {
    constexpr uint8_t kLastBytes[] = {2, 3, 4, 15, 255};  // 10.0.2.2 is the host, .3 its DNS
    const int last = kLastBytes[below(std::size(kLastBytes))];
    switch (below(6)) {
      case 0:
        return dhcp_discover();
      case 1: {
        Frame arp = ethernet(kArp);
        append(arp, {0, 1, 8, 0, 6, 4, 0, 1});
        arp.insert(arp.end(), VirtioNetwork::kAddress.begin(), VirtioNetwork::kAddress.end());
        append(arp, {10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, last});
        return arp;
      }
      case 2:
        return tcp_syn({10, 0, 2, last}, static_cast<uint16_t>(below(3) == 0 ? below(65536) : 80));
      case 3: {
        constexpr uint16_t kPorts[] = {53, 67, 69, 137, 1900};  // DNS, DHCP, TFTP ...
        const uint16_t port = kPorts[below(std::size(kPorts))];
        const size_t size = below(600);
        Frame udp = ip(kUdp, true, {10, 0, 2, last}, 8 + size);
        append(udp, {0x30, 0x39, port >> 8, port & 0xff, static_cast<int>((8 + size) >> 8),
                     static_cast<int>((8 + size) & 0xff), 0, 0});
        fill(udp, size);
        return udp;
      }
      case 4: {
        const size_t size = 8 + below(1000);
        Frame icmp = ip(kIcmp, true, {10, 0, 2, last}, size);
        append(icmp, {below(2) == 0 ? 8 : byte(), 0, 0, 0, 0, 1, 0, 1});
        fill(icmp, size - 8);
        return icmp;
      }
      default: {
        Frame other = ethernet(below(2) == 0 ? kIpv6 : static_cast<uint16_t>(below(65536)));
        fill(other, 40 + below(200));
        if (other[kType] == kIpv6 >> 8) other[kMinFrameBytes] = 0x60;
        return other;
      }
    }
  }
  void fill(Frame& frame, size_t count) {
    for (size_t i = 0; i < count; ++i) frame.push_back(byte());
  }
  void mutate(Frame& frame) {
    const size_t headers = std::min<size_t>(frame.size(), 64);
    for (uint32_t changes = below(4); changes != 0; --changes)
      frame[kMinFrameBytes + below(static_cast<uint32_t>(headers - kMinFrameBytes))] = byte();
    if (below(4) == 0)
      frame.resize(kMinFrameBytes + below(static_cast<uint32_t>(kMaxFrameBytes - kMinFrameBytes)));
    if (below(2) == 0 && number_at(frame, kType) == kIp && frame.size() >= 34) {
      frame[24] = frame[25] = 0;
      put_checksum(frame, 14, 20, 24);
    }
  }
  void send(const Frame& frame) { network_->send(now_ += 1 + below(1'000'000), frame); }
  uint64_t answers(bool* offered) {
    constexpr uint64_t kMost = 1000;
    uint64_t count = 0;
    while (const auto frame = network_->receive(now_)) {
      if (frame->size() < kMinFrameBytes || frame->size() > kMaxFrameBytes)
        throw std::logic_error("a frame of " + std::to_string(frame->size()) + " bytes");
      if (++count > kMost) throw std::logic_error("answers without an end");
      constexpr uint8_t kServerPort = 67;
      if (offered != nullptr && frame->size() > kPorts + 1 && (*frame)[kProtocol] == kUdp &&
          number_at(*frame, kPorts) == kServerPort)
        *offered = true;
    }
    return count;
  }

  std::mt19937_64 random_;
  std::unique_ptr<NetworkPort> network_;
  uint64_t now_ = 0, received_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  uint64_t frames = 1'000'000, seed = 1;
  if (argc > 3 || (argc > 1 && !testing::parse_number(argv[1], frames)) ||
      (argc > 2 && !testing::parse_number(argv[2], seed))) {
    std::fprintf(stderr, "usage: network_fuzz [FRAMES [SEED]]\n");
    return 2;
  }
  try {
    HostileGuest guest(seed);
    for (uint64_t i = 0; i < frames; ++i) {
      guest.step();
      if (i % 1000 == 999) guest.ask_for_address();
    }
    guest.ask_for_address();
    std::printf("%" PRIu64 " frames sent, %" PRIu64 " received\n", frames, guest.received());
  } catch (const std::exception& bad) {
    std::fprintf(stderr, "network_fuzz: %s\n", bad.what());
    return 1;
  }
}
