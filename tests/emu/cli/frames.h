// SPDX-License-Identifier: GPL-2.0-or-later
//
// Frames that a guest sends.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "emu/devices/network_port.h"
#include "emu/devices/virtio/network.h"

namespace nestor::emu {

inline void append(Frame& to, std::initializer_list<int> bytes) {
  for (const int byte : bytes) to.push_back(static_cast<uint8_t>(byte));
}
inline uint16_t number_at(const Frame& frame, size_t at) {
  return static_cast<uint16_t>(frame.at(at) << 8 | frame.at(at + 1));
}
inline constexpr uint16_t kArp = 0x0806, kIp = 0x0800, kIpv6 = 0x86dd;
inline constexpr size_t kType = 12, kProtocol = 23, kPorts = 34, kTcpFlags = 47;
inline constexpr uint8_t kIcmp = 1, kTcp = 6, kUdp = 17;

inline Frame ethernet(uint16_t type) {
  Frame frame(6, 0xff);
  frame.insert(frame.end(), VirtioNetwork::kAddress.begin(), VirtioNetwork::kAddress.end());
  append(frame, {type >> 8, type & 0xff});
  return frame;
}

inline void put_checksum(Frame& frame, size_t begin, size_t size, size_t at, uint32_t sum = 0) {
  for (size_t i = 0; i < size; i += 2)
    sum += (frame[begin + i] << 8) + (i + 1 < size ? frame[begin + i + 1] : 0);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  frame[at] = static_cast<uint8_t>(~sum >> 8);
  frame[at + 1] = static_cast<uint8_t>(~sum);
}

// From 10.0.2.15, or from nobody yet.
inline Frame ip(uint8_t protocol, bool known, std::initializer_list<int> destination,
                size_t payload) {
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

inline Frame dhcp_discover() {
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

inline Frame tcp_syn(std::initializer_list<int> destination, uint16_t port) {
  Frame frame = ip(kTcp, true, destination, 20);
  append(frame, {0x30, 0x39, port >> 8, port & 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff});
  append(frame, {0, 0, 0, 0});
  uint32_t pseudo = kTcp + 20u;
  for (size_t i = 26; i < 34; i += 2) pseudo += number_at(frame, i);
  put_checksum(frame, 34, 20, 50, pseudo);
  return frame;
}

}  // namespace nestor::emu
