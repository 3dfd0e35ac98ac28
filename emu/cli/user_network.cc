// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/user_network.h"

#include <arpa/inet.h>
#include <libslirp.h>
#include <poll.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <list>
#include <utility>

namespace nestor::emu {
namespace {

constexpr uint64_t kNanosecondsPerMillisecond = 1'000'000;
// Frames that the guest does not fetch; what comes then is lost, as on a wire.
constexpr size_t kMaxWaiting = 256;

// A part of an IP datagram: more fragments follow, or it is not the first one. libslirp 4.7 crashes
// where they do not fit together.
bool is_fragment(std::span<const uint8_t> frame) {
  constexpr size_t kType = 12, kFragment = 20;
  return frame.size() > kFragment + 1 && frame[kType] == 0x08 && frame[kType + 1] == 0 &&
         ((frame[kFragment] & 0x3f) | frame[kFragment + 1]) != 0;
}

in_addr address(uint8_t last) { return {htonl(0x0a000200u | last)}; }

class SlirpNetwork final : public NetworkPort {
 public:
  SlirpNetwork() {
    SlirpConfig config{};
    config.version = 3;
    config.restricted = 1;
    config.in_enabled = true;
    config.vnetwork = address(0);
    config.vnetmask = {htonl(0xffffff00)};
    config.vhost = address(2);
    config.vdhcp_start = address(15);
    config.vnameserver = address(3);
    config.disable_host_loopback = true;
    config.disable_dns = true;
    slirp_ = slirp_new(&config, &kCallbacks, this);
  }
  SlirpNetwork(const SlirpNetwork&) = delete;
  SlirpNetwork& operator=(const SlirpNetwork&) = delete;
  ~SlirpNetwork() override {
    if (slirp_ != nullptr) slirp_cleanup(slirp_);
  }

  bool is_open() const { return slirp_ != nullptr; }
  // False, with errno: the host does not let us listen there.
  bool forward(const PortForward& forward) {
    const bool udp = forward.protocol == PortForward::Protocol::kUdp;
    return slirp_add_hostfwd(slirp_, udp ? 1 : 0, {htonl(INADDR_LOOPBACK)}, forward.host,
                             address(15), forward.guest) == 0;
  }

  void send(uint64_t nanoseconds, std::span<const uint8_t> frame) override {
    now_ = nanoseconds;
    if (is_fragment(frame)) return;
    slirp_input(slirp_, frame.data(), static_cast<int>(frame.size()));
  }
  std::optional<Frame> receive(uint64_t nanoseconds) override {
    now_ = nanoseconds;
    if (waiting_.empty()) poll();
    if (waiting_.empty()) return std::nullopt;
    Frame frame = std::move(waiting_.front());
    waiting_.pop_front();
    return frame;
  }

 private:
  struct Timer {
    SlirpTimerCb call;
    void* argument;
    uint64_t at = ~0ull;  // nanoseconds
  };

  static SlirpNetwork& self(void* opaque) { return *static_cast<SlirpNetwork*>(opaque); }
  static const SlirpCb kCallbacks;

  void poll() {
    for (Timer& timer : timers_) {
      if (timer.at > now_) continue;
      timer.at = ~0ull;
      timer.call(timer.argument);
    }
    polled_.clear();
    uint32_t timeout = 0;
    slirp_pollfds_fill(
        slirp_, &timeout,
        [](int descriptor, int events, void* opaque) {
          return self(opaque).add_polled(descriptor, events);
        },
        this);
    const int ready = ::poll(polled_.data(), polled_.size(), 0);
    slirp_pollfds_poll(
        slirp_, ready < 0 ? 1 : 0,
        [](int index, void* opaque) { return self(opaque).events_of(index); }, this);
  }
  struct EventBit {
    int slirp;
    short host;
  };
  static constexpr EventBit kEventBits[] = {{SLIRP_POLL_IN, POLLIN},
                                            {SLIRP_POLL_OUT, POLLOUT},
                                            {SLIRP_POLL_PRI, POLLPRI},
                                            {SLIRP_POLL_ERR, POLLERR},
                                            {SLIRP_POLL_HUP, POLLHUP}};
  int add_polled(int descriptor, int events) {
    pollfd one{descriptor, 0, 0};
    for (const EventBit& bit : kEventBits)
      if ((events & bit.slirp) != 0) one.events = static_cast<short>(one.events | bit.host);
    polled_.push_back(one);
    return static_cast<int>(polled_.size() - 1);
  }
  int events_of(int index) const {
    int events = 0;
    for (const EventBit& bit : kEventBits)
      if ((polled_[static_cast<size_t>(index)].revents & bit.host) != 0) events |= bit.slirp;
    return events;
  }

  Slirp* slirp_ = nullptr;
  uint64_t now_ = 0;  // nanoseconds of virtual time
  std::deque<Frame> waiting_;
  std::list<Timer> timers_;  // libslirp keeps pointers to them
  std::vector<pollfd> polled_;
};

const SlirpCb SlirpNetwork::kCallbacks = {
    .send_packet = [](const void* data, size_t size, void* opaque) -> ssize_t {
      auto& waiting = self(opaque).waiting_;
      const auto* const bytes = static_cast<const uint8_t*>(data);
      if (waiting.size() < kMaxWaiting) waiting.emplace_back(bytes, bytes + size);
      return static_cast<ssize_t>(size);
    },
    .guest_error = [](const char*, void*) {},
    .clock_get_ns = [](void* opaque) { return static_cast<int64_t>(self(opaque).now_); },
    .timer_new = [](SlirpTimerCb call, void* argument, void* opaque) -> void* {
      return &self(opaque).timers_.emplace_back(Timer{call, argument});
    },
    .timer_free =
        [](void* timer, void* opaque) {
          self(opaque).timers_.remove_if([timer](const Timer& one) { return &one == timer; });
        },
    .timer_mod =
        [](void* timer, int64_t milliseconds, void*) {
          static_cast<Timer*>(timer)->at =
              static_cast<uint64_t>(milliseconds) * kNanosecondsPerMillisecond;
        },
    .register_poll_fd = [](int, void*) {},
    .unregister_poll_fd = [](int, void*) {},
    .notify = [](void*) {},
    .init_completed = nullptr,
    .timer_new_opaque = nullptr,
};

}  // namespace

std::variant<std::unique_ptr<NetworkPort>, std::string> open_user_network(
    const std::vector<PortForward>& forwards) {
  auto network = std::make_unique<SlirpNetwork>();
  if (!network->is_open()) return "--net: libslirp does not start";
  for (const PortForward& forward : forwards) {
    if (!network->forward(forward)) {
      return fmt::format("--net: cannot listen at port {} of the loopback: {}; choose another one",
                         forward.host, std::strerror(errno));
    }
  }
  return network;
}

}  // namespace nestor::emu
