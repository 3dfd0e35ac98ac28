// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/debugger/debugger.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <utility>

#include "emu/cpu/instruction_step.h"
#include "emu/cpu/msrs.h"
#include "emu/memory/page_size.h"
#include "emu/observe/gdb/registers.h"
#include "emu/observe/stopped/places.h"

namespace nestor::emu {
namespace {

using Why = GdbStop::Why;
using Reason = Pause::Reason;

// A step that goes back is looked for among so many instructions at first.
constexpr uint64_t kNear = 1024;
// The same of a stop that is no step.
constexpr uint64_t kNearEvents = 200'000;

}  // namespace

Watchpoint Debugger::Point::watchpoint() const {
  Watchpoint watchpoint;
  watchpoint.address = physical.value_or(address);
  watchpoint.size = size;
  watchpoint.physical = physical.has_value();
  watchpoint.read = kind != GdbPoint::kWriteWatchpoint;
  watchpoint.written = kind != GdbPoint::kReadWatchpoint;
  watchpoint.level = level == AddressLevel::kL2 ? 2 : 0;
  return watchpoint;
}

Debugger::Debugger(World world)
    : world_(std::move(world)),
      machine_(*world_.machine.inspection()),
      history_(world_.machine, world_.gate) {
  world_.gate.poll = [this] { poll(); };
  world_.gate.watch = [this](const MachineEvent& event) { watch(event); };
}

Debugger::~Debugger() {
  world_.gate.poll = nullptr;
  world_.gate.watch = nullptr;
}

std::string_view Debugger::why_no_history() const {
  const bool writes = std::ranges::any_of(world_.config.disks, &DiskConfig::writable) ||
                      (world_.config.flash && world_.config.flash->writable);
  if (writes)
    return "the machine writes to the file of a disk or of a flash, which does not go back: use "
           "writable=off";
  return world_.config.network ? "the machine has a network, which does not go back" : "";
}

// --- running

void Debugger::poll() {
  const World::Demand demand = world_.demand();
  if (demand == World::Demand::kNone) return;
  demanded_ = demand;
  world_.machine.request_pause();
}

void Debugger::watch(const MachineEvent& event) {
  if (history_.is_present_event()) world_.machine.request_pause();
  if (!hears_events_ || event_) return;
  if (auto text = stop_on_.met(event)) {
    event_ = {world_.gate.counts().processor, std::move(*text)};
    world_.machine.request_pause();
  }
}

std::optional<Pause> Debugger::run(const Until& until, bool events) {
  hears_events_ = events;
  event_.reset();
  demanded_ = World::Demand::kNone;
  auto pause = world_.machine.run_until(until);
  hears_events_ = false;
  if (!pause) result_ = world_.machine.result();
  return pause;
}

Debugger::Wanted Debugger::wanted(const std::optional<unsigned>& step) const {
  Wanted wanted;
  Until& until = wanted.until;
  for (const Point& point : points_) {
    if (point.is_breakpoint()) {
      until.breakpoints.push_back(point.address);
    } else {
      until.watchpoints.push_back(point.watchpoint());
    }
  }
  until.msrs = stop_on_.msrs();
  until.ports = stop_on_.ports();
  if (step) {
    until.step = true;
    until.step_processor = *step;
    until.vm_exit = until.vm_entry = true;
  }
  return wanted;
}

const Debugger::Point* Debugger::breakpoint_at(unsigned processor) const {
  const uint64_t linear = linear_rip(machine_.state(processor));
  const int running = machine_.level(processor);
  const auto found = std::ranges::find_if(points_, [&](const Point& point) {
    const bool elsewhere = (point.level == AddressLevel::kL1 && running != 1) ||
                           (point.level == AddressLevel::kL2 && running != 2);
    return point.is_breakpoint() && point.address == linear && !elsewhere;
  });
  return found != points_.end() ? &*found : nullptr;
}

GdbStop Debugger::stopped(unsigned processor, const std::string& text) const {
  GdbStop stop;
  stop.processor = processor;
  if (!text.empty()) stop.text = text + "\n";
  return stop;
}

std::string Debugger::after_msr(const Pause& pause) const {
  const auto index = static_cast<uint32_t>(pause.address);
  const std::string_view name = msr_name(index);
  const vmx::CpuState& state = machine_.state(pause.processor);
  const uint64_t value = state.gpr[vmx::kRdx] << 32 | static_cast<uint32_t>(state.gpr[vmx::kRax]);
  return fmt::format("after RDMSR or WRMSR of {:#x}{}: EDX:EAX = {:#x}", index,
                     name.empty() ? "" : fmt::format(" ({})", name), value);
}

std::optional<GdbStop> Debugger::judge(const Pause& pause, const Wanted& wanted) {
  const bool stepped = wanted.until.steps(pause.processor);
  switch (pause.reason) {
    case Reason::kInstructions:
      return std::nullopt;
    case Reason::kVmExit:
    case Reason::kVmEntry:
      return stepped || !wanted.until.step ? std::optional(stopped(pause.processor)) : std::nullopt;
    case Reason::kStep:
      if (stepped) return stopped(pause.processor);
      [[fallthrough]];
    case Reason::kBreakpoint: {
      const Point* const point = breakpoint_at(pause.processor);
      if (point == nullptr) return std::nullopt;
      GdbStop stop = stopped(pause.processor);
      stop.why = Why::kBreakpoint;
      stop.point = point->kind;
      return stop;
    }
    case Reason::kWatchpoint: {
      const auto point = std::ranges::find_if(points_, [&](const Point& one) {
        return !one.is_breakpoint() && one.physical.value_or(one.address) == pause.address;
      });
      GdbStop stop = stopped(pause.processor);
      if (point == points_.end()) return stop;
      stop.why = Why::kWatchpoint;
      stop.point = point->kind;
      stop.address = point->address;
      return stop;
    }
    case Reason::kMsr:
      return stopped(pause.processor, after_msr(pause));
    case Reason::kPort:
      return stopped(pause.processor, fmt::format("after an access to port {:#x}", pause.address));
    case Reason::kRequest:
      break;
  }
  if (event_) return stopped(event_->first, event_->second);
  return std::nullopt;
}

GdbStop Debugger::end_of_run(bool client_is_there) {
  GdbStop stop = stopped(0);
  const RunResult::Kind kind = result_->kind;
  const bool chosen = kind == RunResult::Kind::kDebugExit || kind == RunResult::Kind::kPowerOff ||
                      kind == RunResult::Kind::kReset || kind == RunResult::Kind::kOutputError;
  if ((chosen && !stop_on_.end()) || told_end_ || !client_is_there || history_.states() == 0) {
    stop.why = Why::kEnded;
    stop.status = world_.exit_status(*result_);
    return stop;
  }
  // The way back is what a user wants to see now.
  told_end_ = true;
  stop.signal = kSigabrt;
  stop.text = "the run is over: " + world_.describe_end(*result_) +
              "\nlook, or go back with reverse-stepi; continue ends it\n";
  return stop;
}

GdbStop Debugger::go_on(const Wanted& wanted) {
  if (result_) return end_of_run(wanted.events);
  for (;;) {
    const bool keeps_states = wanted.keeps_states && can_go_back();
    if (keeps_states) history_.keep_if_due();
    Until until = wanted.until;
    history_.limit(until, keeps_states);
    const auto pause = run(until, wanted.events);
    history_.arrive();
    if (!pause) return end_of_run(wanted.events);
    if (!history_.in_the_past()) world_.at_pause();
    if (demanded_ == World::Demand::kGone) return {.why = Why::kDisconnected};
    if (demanded_ == World::Demand::kStop) {
      GdbStop stop = stopped(world_.gate.counts().processor);
      stop.signal = kSigint;
      return stop;
    }
    if (auto stop = judge(*pause, wanted)) return *stop;
  }
}

GdbStop Debugger::run_free() {
  Wanted nothing;
  nothing.events = nothing.keeps_states = false;
  return go_on(nothing);
}

void Debugger::client_left() {
  points_.clear();
  stop_on_ = {};
  level_ = AddressLevel::kRunning;
}

GdbStop Debugger::resume(const GdbResume& how) {
  const Wanted what = wanted(how.step);
  if (how.direction == Direction::kForward) return go_on(what);
  return go_back(what, how.step.has_value());
}

// --- going back

Debugger::Search Debugger::search(const Wanted& wanted, const Position& end, const Position& now) {
  Search search;
  Until until = wanted.until;
  // What comes after the last instruction and before the next one belongs to the search.
  until.instructions = end.instructions + 1;
  for (;;) {
    const auto pause = run(until, wanted.events);
    search.demanded = demanded_ != World::Demand::kNone;
    const Position place = history_.here();
    if (!pause || search.demanded || place > now || place > end) break;
    if (pause->reason == Reason::kInstructions) break;
    // The way back leads over the access that led to where the machine is.
    const bool leads_over = pause->reason == Reason::kWatchpoint && !wanted.until.step;
    if (place == now && !leads_over) break;
    if (judge(*pause, wanted)) search.last = {place, pause->reason};
  }
  result_.reset();
  return search;
}

void Debugger::run_muted(uint64_t instructions) {
  Until until;
  until.instructions = instructions;
  while (const auto pause = run(until, false)) {
    if (pause->reason == Reason::kInstructions || demanded_ != World::Demand::kNone) break;
  }
  result_.reset();
}

std::optional<GdbStop> Debugger::stop_at(const Wanted& wanted, const Found& found) {
  const uint64_t instructions = found.at.instructions;
  if (instructions > kNear + History::kLongestBlock + history_.here().instructions)
    run_muted(instructions - kNear - History::kLongestBlock);
  while (const auto pause = run(wanted.until, wanted.events)) {
    if (demanded_ != World::Demand::kNone) return std::nullopt;
    if (history_.here() < found.at || pause->reason != found.reason) continue;
    if (auto stop = judge(*pause, wanted)) return stop;
  }
  result_.reset();
  return std::nullopt;
}

size_t Debugger::approach(size_t state, const Position& end, uint64_t distance) {
  const Position from = history_.state_at(state);
  history_.load(state);
  if (end.instructions < distance + from.instructions) return state;
  run_muted(end.instructions - distance);
  const Position place = history_.here();
  if (place < end && place > from) return history_.keep();
  history_.load(state);
  return state;
}

GdbStop Debugger::go_back(const Wanted& wanted, bool steps) {
  const Position now = history_.here();
  result_.reset();
  told_end_ = false;
  Position end = now;
  // What happens often is found near; and where each instruction is looked at, few of them are at
  // first.
  const bool slow = steps || !wanted.until.watchpoints.empty();
  uint64_t distance = slow ? kNear : kNearEvents;
  while (size_t state = history_.states_before(end)) {
    state = approach(state - 1, end, distance);
    distance = std::min<uint64_t>(distance * 16, 1ull << 50);
    const Position begin = history_.state_at(state);
    const Search found = search(wanted, end, now);
    std::optional<GdbStop> stop;
    if (!found.demanded && found.last) {
      history_.load(state);
      stop = stop_at(wanted, *found.last);
      if (stop) return stop->why == Why::kWatchpoint ? before_access(*stop) : *stop;
    }
    if (demanded_ != World::Demand::kNone) {
      GdbStop interrupted = stopped(world_.gate.counts().processor, "going back was interrupted");
      interrupted.signal = kSigint;
      if (demanded_ == World::Demand::kGone) interrupted.why = Why::kDisconnected;
      return interrupted;
    }
    end = begin;
  }
  GdbStop stop = stopped(wanted.until.step_processor.value_or(0));
  const bool moves = history_.states() != 0 && now > history_.state_at(0);
  if (moves) history_.load(0);
  // From its beginning the first step leads here.
  if (!moves || !steps) stop.why = Why::kNoHistory;
  return stop;
}

// There GDB sees the value change.
GdbStop Debugger::before_access(const GdbStop& stop) {
  Wanted step;
  step.until.step = step.until.vm_exit = step.until.vm_entry = true;
  step.until.step_processor = stop.processor;
  const GdbStop before = go_back(step, true);
  return demanded_ == World::Demand::kNone ? stop : before;
}

// --- looking and changing

void Debugger::changed() {
  history_.forget();
  result_.reset();
}

std::string Debugger::describe(unsigned processor) const {
  return describe_mode(machine_, processor);
}

std::string Debugger::target_description() const { return gdb_target_description(); }

size_t Debugger::registers() const { return gdb_registers(); }

std::vector<uint8_t> Debugger::read_register(unsigned processor, size_t number) const {
  return read_gdb_register(machine_, processor, number);
}

std::string Debugger::write_register(unsigned processor, size_t number,
                                     std::span<const uint8_t> value) {
  if (result_) return "the run has ended";
  std::string bad = write_gdb_register(machine_, processor, number, value);
  if (bad.empty()) changed();
  return bad;
}

std::optional<View> Debugger::view_of(unsigned processor) const {
  switch (level_) {
    case AddressLevel::kRunning:
      return machine_.level(processor) == 2 ? View::kL2Linear : View::kL1Linear;
    case AddressLevel::kL1:
      return View::kL1Linear;
    case AddressLevel::kL2:
      return View::kL2Linear;
    case AddressLevel::kPhysical:
      break;
  }
  return View::kL1Physical;
}

size_t Debugger::read_memory(unsigned processor, uint64_t address, std::span<uint8_t> out) const {
  return machine_.read(processor, *view_of(processor), address, out);
}

size_t Debugger::write_memory(unsigned processor, uint64_t address, std::span<const uint8_t> data) {
  if (result_) return 0;
  const size_t written = machine_.write(processor, *view_of(processor), address, data);
  if (written != 0) changed();
  return written;
}

bool Debugger::insert(unsigned processor, GdbPoint point, uint64_t address, uint64_t size) {
  Point made{point, address, std::max<uint64_t>(size, 1), level_};
  if (made.is_breakpoint()) {
    if (level_ == AddressLevel::kPhysical) return false;
  } else if (level_ == AddressLevel::kL1 || level_ == AddressLevel::kPhysical) {
    // The memory is watched, whoever uses it at whatever address.
    if (address % kPageSize + made.size > kPageSize) return false;
    made.physical = machine_.translate(processor, *view_of(processor), address);
    if (!made.physical) return false;
  }
  points_.push_back(made);
  return true;
}

bool Debugger::remove(unsigned /*processor*/, GdbPoint point, uint64_t address, uint64_t size) {
  const auto found = std::ranges::find_if(points_, [&](const Point& one) {
    return one.kind == point && one.address == address && one.size == std::max<uint64_t>(size, 1);
  });
  if (found != points_.end()) points_.erase(found);
  return true;
}

}  // namespace nestor::emu
