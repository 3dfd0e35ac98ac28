// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/gdb/session.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace nestor::emu {
namespace {

// What GDB makes of these numbers is "Remote failure reply: E16"; they are those of errno.
constexpr std::string_view kOk = "OK", kBadMemory = "E0e", kBadPacket = "E16";
// Memory in one packet, two digits a byte.
constexpr uint64_t kMostMemory = kLargestPacket / 2 - 64;
// Of text for the console in one packet.
constexpr size_t kConsoleChunk = 1024;

}  // namespace

struct GdbSession::Handler {
  std::string_view name;
  std::string (GdbSession::*answer)(std::string_view rest);
};

void GdbSession::reply(std::string_view data) {
  last_sent_ = framed(data);
  send_(last_sent_);
}

void GdbSession::feed(std::string_view bytes) {
  reader_.feed(bytes);
  while (end_ == End::kNone) {
    const auto received = reader_.next();
    if (!received) return;
    switch (received->kind) {
      case Received::Kind::kAck:
      case Received::Kind::kInterrupt:  // the machine stands still
        break;
      case Received::Kind::kRepeat:
        if (acknowledges_ && !last_sent_.empty()) send_(last_sent_);
        break;
      case Received::Kind::kDamaged:
        if (acknowledges_) send_("-");
        break;
      case Received::Kind::kPacket:
        if (acknowledges_) send_("+");
        answer(received->data);
        break;
    }
  }
}

bool GdbSession::read_ahead(std::string_view bytes) {
  reader_.feed(bytes);
  return reader_.take_interrupt();
}

void GdbSession::answer(std::string_view packet) {
  static constexpr std::array<Handler, 13> kHandlers = {{
      {"q", &GdbSession::query},
      {"Q", &GdbSession::set},
      {"H", &GdbSession::select_thread},
      {"T", &GdbSession::is_alive},
      {"g", &GdbSession::read_registers},
      {"G", &GdbSession::write_registers},
      {"p", &GdbSession::read_register},
      {"P", &GdbSession::write_register},
      {"m", &GdbSession::read_memory},
      {"M", &GdbSession::write_memory},
      {"X", &GdbSession::write_binary},
      {"Z", &GdbSession::insert},
      {"z", &GdbSession::remove},
  }};
  if (control(packet)) return;
  for (const Handler& handler : kHandlers) {
    if (take(packet, handler.name)) return reply((this->*handler.answer)(packet));
  }
  reply("");  // not supported
}

bool GdbSession::control(std::string_view packet) {
  if (packet == "?") {
    reply(stop_reply(last_stop_));
  } else if (packet == "D" || packet.starts_with("D;")) {
    reply(kOk);
    end_ = End::kDetached;
  } else if (packet == "k") {
    end_ = End::kKilled;
  } else if (packet.starts_with("vKill")) {
    reply(kOk);
    end_ = End::kKilled;
  } else if (packet == "vCont?") {
    reply("vCont;c;C;s;S");
  } else if (take(packet, "vCont;")) {
    const auto how = take_actions(packet);
    if (how) {
      resume(*how);
    } else {
      reply(kBadPacket);
    }
  } else if (packet == "bs" || packet == "bc") {
    if (!target_.can_go_back()) {
      reply(kBadPacket);
    } else {
      const auto step =
          packet == "bs" ? std::optional(stepping_.value_or(last_stop_.processor)) : std::nullopt;
      resume({Direction::kBackward, step});
    }
  } else if (packet == "c" || packet == "s" || packet.starts_with("C") || packet.starts_with("S")) {
    // Signals mean nothing to a machine.
    const bool step = packet[0] == 's' || packet[0] == 'S';
    const unsigned processor = stepping_.value_or(last_stop_.processor);
    resume({Direction::kForward, step ? std::optional(processor) : std::nullopt});
  } else {
    return false;
  }
  return true;
}

namespace {

// "c" and "s", or "C" and "S" with a signal of two digits.
std::optional<bool> take_action(std::string_view what) {
  const bool signalled = !what.empty() && (what[0] == 'C' || what[0] == 'S');
  if (signalled) {
    std::string_view signal = what.substr(1);
    if (signal.size() != 2 || !take_hex(signal) || !signal.empty()) return std::nullopt;
  } else if (what != "c" && what != "s") {
    return std::nullopt;
  }
  return what[0] == 's' || what[0] == 'S';
}

}  // namespace

// The machine's processors run together: if one is to step, all run until it has.
std::optional<GdbResume> GdbSession::take_actions(std::string_view actions) const {
  std::optional<unsigned> step;
  do {
    const std::string_view action = actions.substr(0, actions.find(';'));
    actions.remove_prefix(std::min(actions.size(), action.size() + 1));
    const size_t colon = action.find(':');
    const std::optional<bool> steps = take_action(action.substr(0, colon));
    if (!steps) return std::nullopt;
    unsigned processor = last_stop_.processor;
    if (colon != std::string_view::npos) {
      std::string_view thread = action.substr(colon + 1);
      if (thread != "-1") {
        const auto named = take_processor(thread);
        if (!named) return std::nullopt;
        processor = *named;
      }
    }
    if (*steps && !step) step = processor;
  } while (!actions.empty());
  return GdbResume{Direction::kForward, step};
}

void GdbSession::resume(const GdbResume& how) {
  last_stop_ = target_.resume(how);
  if (last_stop_.why == GdbStop::Why::kDisconnected) {
    end_ = End::kDisconnected;
    return;
  }
  console(last_stop_.text);
  reply(stop_reply(last_stop_));
  if (last_stop_.why == GdbStop::Why::kEnded) end_ = End::kEnded;
  selected_ = last_stop_.processor;
}

void GdbSession::console(std::string_view text) {
  while (!text.empty()) {
    const std::string_view part = text.substr(0, kConsoleChunk);
    reply("O" + hex_of(part));
    text.remove_prefix(part.size());
  }
}

std::string GdbSession::stop_reply(const GdbStop& stop) const {
  using Why = GdbStop::Why;
  if (stop.why == Why::kEnded) return fmt::format("W{:02x}", stop.status & 0xff);
  std::string text = fmt::format("T{:02x}thread:{:x};", stop.signal, stop.processor + 1);
  if (stop.why == Why::kNoHistory) text += "replaylog:begin;";
  if (stop.why == Why::kBreakpoint)
    text += stop.point == GdbPoint::kSoftwareBreakpoint ? "swbreak:;" : "hwbreak:;";
  if (stop.why == Why::kWatchpoint) {
    const std::string_view name = stop.point == GdbPoint::kWriteWatchpoint  ? "watch"
                                  : stop.point == GdbPoint::kReadWatchpoint ? "rwatch"
                                                                            : "awatch";
    text += fmt::format("{}:{:x};", name, stop.address);
  }
  return text;
}

// --- queries

std::string GdbSession::query(std::string_view rest) {
  if (rest == "Supported" || rest.starts_with("Supported:")) return supported();
  if (rest == "C") return fmt::format("QC{:x}", selected_ + 1);
  if (rest == "Attached") return "1";
  if (rest.starts_with("Symbol:")) return std::string(kOk);
  if (rest == "sThreadInfo") return "l";
  if (rest == "fThreadInfo") {
    std::string threads = "m";
    for (unsigned i = 0; i < target_.processors(); ++i)
      threads += fmt::format("{}{:x}", i == 0 ? "" : ",", i + 1);
    return threads;
  }
  if (take(rest, "ThreadExtraInfo,")) return thread_description(rest);
  if (take(rest, "Xfer:features:read:")) return features(rest);
  if (take(rest, "Rcmd,")) return run_monitor(rest);
  return {};
}

std::string GdbSession::supported() {
  std::string text = fmt::format(
      "PacketSize={:x};QStartNoAckMode+;qXfer:features:read+;vContSupported+;swbreak+;hwbreak+",
      kLargestPacket - 1);
  if (target_.can_go_back()) text += ";ReverseStep+;ReverseContinue+";
  return text;
}

std::string GdbSession::features(std::string_view rest) const {
  if (!take(rest, "target.xml:")) return "E00";
  const auto offset = take_hex(rest);
  if (!offset || !take(rest, ",")) return std::string(kBadPacket);
  const auto length = take_hex(rest);
  if (!length || !rest.empty()) return std::string(kBadPacket);
  const std::string whole = target_.target_description();
  if (*offset >= whole.size()) return "l";
  const std::string part = whole.substr(*offset, std::min(*length, kMostMemory));
  return (*offset + part.size() < whole.size() ? "m" : "l") + part;
}

std::string GdbSession::thread_description(std::string_view rest) const {
  const auto processor = take_processor(rest);
  return processor ? hex_of(target_.describe(*processor)) : std::string(kBadPacket);
}

std::string GdbSession::run_monitor(std::string_view hex) {
  const auto bytes = bytes_of_hex(hex);
  if (!bytes) return std::string(kBadPacket);
  console(target_.monitor(selected_, std::string(bytes->begin(), bytes->end())));
  return std::string(kOk);
}

std::string GdbSession::set(std::string_view rest) {
  if (rest != "StartNoAckMode") return {};
  acknowledges_ = false;
  return std::string(kOk);
}

// --- threads

std::optional<unsigned> GdbSession::take_processor(std::string_view& text) const {
  const auto thread = take_hex(text);
  if (!thread || !text.empty() || *thread > target_.processors()) return std::nullopt;
  // 0: any.
  return *thread == 0 ? last_stop_.processor : static_cast<unsigned>(*thread - 1);
}

std::string GdbSession::select_thread(std::string_view rest) {
  if (rest.empty()) return std::string(kBadPacket);
  const char operation = rest[0];
  rest.remove_prefix(1);
  if (operation == 'c' && rest == "-1") {
    stepping_.reset();
    return std::string(kOk);
  }
  const auto processor = take_processor(rest);
  if (!processor) return std::string(kBadPacket);
  if (operation == 'g') {
    selected_ = *processor;
  } else if (operation == 'c') {
    stepping_ = *processor;
  } else {
    return std::string(kBadPacket);
  }
  return std::string(kOk);
}

std::string GdbSession::is_alive(std::string_view rest) {
  return std::string(take_processor(rest) ? kOk : kBadPacket);
}

// --- registers

std::string GdbSession::read_registers(std::string_view rest) {
  if (!rest.empty()) return std::string(kBadPacket);
  std::string text;
  for (size_t i = 0; i < target_.registers(); ++i)
    append_hex(text, target_.read_register(selected_, i));
  return text;
}

std::string GdbSession::write_registers(std::string_view rest) {
  const auto bytes = bytes_of_hex(rest);
  if (!bytes) return std::string(kBadPacket);
  std::span<const uint8_t> values(*bytes);
  for (size_t i = 0; i < target_.registers() && !values.empty(); ++i) {
    const std::vector<uint8_t> before = target_.read_register(selected_, i);
    if (values.size() < before.size()) return std::string(kBadPacket);
    const auto value = values.first(before.size());
    values = values.subspan(before.size());
    // Those that cannot be written come back as they were.
    if (!std::ranges::equal(value, before)) target_.write_register(selected_, i, value);
  }
  return std::string(kOk);
}

std::string GdbSession::read_register(std::string_view rest) {
  const auto number = take_hex(rest);
  if (!number || !rest.empty()) return std::string(kBadPacket);
  const std::vector<uint8_t> value = target_.read_register(selected_, *number);
  if (value.empty()) return std::string(kBadPacket);
  std::string text;
  append_hex(text, value);
  return text;
}

std::string GdbSession::write_register(std::string_view rest) {
  const auto number = take_hex(rest);
  if (!number || !take(rest, "=")) return std::string(kBadPacket);
  const auto value = bytes_of_hex(rest);
  if (!value) return std::string(kBadPacket);
  const std::string bad = target_.write_register(selected_, *number, *value);
  return bad.empty() ? std::string(kOk) : "E." + bad;
}

// --- memory

namespace {

struct MemoryRange {
  uint64_t address, length;
};
std::optional<MemoryRange> take_range(std::string_view& text) {
  const auto address = take_hex(text);
  if (!address || !take(text, ",")) return std::nullopt;
  const auto length = take_hex(text);
  return length ? std::optional(MemoryRange{*address, *length}) : std::nullopt;
}

}  // namespace

std::string GdbSession::read_memory(std::string_view rest) {
  const auto range = take_range(rest);
  if (!range || !rest.empty()) return std::string(kBadPacket);
  std::vector<uint8_t> bytes(std::min(range->length, kMostMemory));
  const size_t read = target_.read_memory(selected_, range->address, bytes);
  if (read == 0 && !bytes.empty()) return std::string(kBadMemory);
  std::string text;
  append_hex(text, std::span(bytes).first(read));
  return text;
}

std::string GdbSession::write_memory(std::string_view rest) {
  const auto range = take_range(rest);
  if (!range || !take(rest, ":")) return std::string(kBadPacket);
  const auto bytes = bytes_of_hex(rest);
  if (!bytes || bytes->size() != range->length) return std::string(kBadPacket);
  const size_t written = target_.write_memory(selected_, range->address, *bytes);
  return std::string(written == bytes->size() ? kOk : kBadMemory);
}

std::string GdbSession::write_binary(std::string_view rest) {
  const auto range = take_range(rest);
  if (!range || !take(rest, ":") || rest.size() != range->length) return std::string(kBadPacket);
  const std::vector<uint8_t> bytes(rest.begin(), rest.end());
  const size_t written = target_.write_memory(selected_, range->address, bytes);
  return std::string(written == bytes.size() ? kOk : kBadMemory);
}

std::string GdbSession::change_point(std::string_view rest, bool inserts) {
  const auto type = take_hex(rest);
  if (!type || !take(rest, ",")) return std::string(kBadPacket);
  if (*type > static_cast<uint64_t>(GdbPoint::kAccessWatchpoint)) return {};
  const auto range = take_range(rest);
  if (!range) return std::string(kBadPacket);
  const auto point = static_cast<GdbPoint>(*type);
  const bool done = inserts ? target_.insert(selected_, point, range->address, range->length)
                            : target_.remove(selected_, point, range->address, range->length);
  return std::string(done ? kOk : kBadPacket);
}

}  // namespace nestor::emu
