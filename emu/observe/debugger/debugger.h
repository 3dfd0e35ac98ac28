// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a user does with a machine that stops: run on, step, go back, look and change.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "emu/machine/inspection.h"
#include "emu/machine/machine.h"
#include "emu/observe/debugger/history.h"
#include "emu/observe/debugger/replay_gate.h"
#include "emu/observe/debugger/stop_on.h"
#include "emu/observe/gdb/target.h"

namespace nestor::emu {

// Whose addresses the user's are.
enum class AddressLevel : uint8_t {
  kRunning,   // linear, of whoever runs
  kL1,        // linear, L1's
  kL2,        // linear, L2's
  kPhysical,  // L1's physical memory
};

class Debugger final : public GdbTarget {
 public:
  struct World {
    Machine& machine;  // it has inspection()
    const MachineConfig& config;
    ReplayGate& gate;  // the machine's
    // Called now and then while the machine runs: what the client asks for.
    enum class Demand : uint8_t { kNone, kStop, kGone };
    std::function<Demand()> demand;
    // Called when the machine stands still in the present.
    std::function<void()> at_pause;
    // Of a run that is over.
    std::function<int(const RunResult&)> exit_status;
    std::function<std::string(const RunResult&)> describe_end;
  };

  explicit Debugger(World world);
  ~Debugger() override;
  Debugger(const Debugger&) = delete;
  Debugger& operator=(const Debugger&) = delete;

  // Lets the machine run, without a client, until one demands that it stops (kSignal), or to its
  // end (kEnded).
  GdbStop run_free();
  // What the client has set is gone with it.
  void client_left();
  // Once the run is over.
  const std::optional<RunResult>& result() const { return result_; }

  // --- GdbTarget
  unsigned processors() const override { return machine_.processors(); }
  std::string describe(unsigned processor) const override;
  bool can_go_back() const override { return why_no_history().empty(); }
  std::string target_description() const override;
  size_t registers() const override;
  std::vector<uint8_t> read_register(unsigned processor, size_t number) const override;
  std::string write_register(unsigned processor, size_t number,
                             std::span<const uint8_t> value) override;
  size_t read_memory(unsigned processor, uint64_t address, std::span<uint8_t> out) const override;
  size_t write_memory(unsigned processor, uint64_t address, std::span<const uint8_t> data) override;
  bool insert(unsigned processor, GdbPoint point, uint64_t address, uint64_t size) override;
  bool remove(unsigned processor, GdbPoint point, uint64_t address, uint64_t size) override;
  GdbStop resume(const GdbResume& how) override;
  std::string monitor(unsigned processor, std::string_view command) override;

 private:
  struct Point {
    GdbPoint kind{};
    uint64_t address = 0, size = 1;  // as the user has them
    AddressLevel level{};
    std::optional<uint64_t> physical{};  // of a watchpoint: the machine's address
    bool is_breakpoint() const { return kind <= GdbPoint::kHardwareBreakpoint; }
    Watchpoint watchpoint() const;
  };
  // What a run is to stop for.
  struct Wanted {
    Until until{};
    bool events = true;  // those of stop_on_, and the client's demands
    bool keeps_states = true;
  };

  // Where states cannot be kept, or do not have all: one line. Empty: they do.
  std::string_view why_no_history() const;
  Wanted wanted(const std::optional<unsigned>& step) const;
  GdbStop go_on(const Wanted& wanted);
  GdbStop go_back(const Wanted& wanted, bool steps);
  // To before the instruction that caused `stop`, a watchpoint's.
  GdbStop before_access(const GdbStop& stop);
  // From where the machine is: the stops up to `end` that come before `now`.
  struct Found {
    Position at{};
    Pause::Reason reason{};
  };
  struct Search {
    std::optional<Found> last{};  // of them
    bool demanded = false;        // the client demands something else
  };
  Search search(const Wanted& wanted, const Position& end, const Position& now);
  // The same again, up to that stop. std::nullopt: the client demands something else.
  std::optional<GdbStop> stop_at(const Wanted& wanted, const Found& found);
  // Without a stop, up to so many instructions, and maybe a block more.
  void run_muted(uint64_t instructions);
  // Goes to a state near `end`, so that fewer instructions are stepped through. Returns the state,
  // which may be the one to begin with.
  size_t approach(size_t state, const Position& end, uint64_t distance);
  std::optional<Pause> run(const Until& until, bool events);
  void poll();
  void watch(const MachineEvent& event);
  // What a pause means; std::nullopt: nothing to the user.
  std::optional<GdbStop> judge(const Pause& pause, const Wanted& wanted);
  const Point* breakpoint_at(unsigned processor) const;
  GdbStop end_of_run(bool client_is_there);
  std::string after_msr(const Pause& pause) const;
  GdbStop stopped(unsigned processor, const std::string& text = {}) const;
  std::optional<View> view_of(unsigned processor) const;
  std::optional<uint64_t> parse_address(unsigned processor, std::string_view text) const;
  void changed();

  // --- monitor commands; debugger_monitor.cc
  using Words = std::vector<std::string_view>;
  struct Command {
    std::string_view name, arguments, meaning;
    std::string (Debugger::*run)(unsigned processor, const Words& arguments);
  };
  static std::span<const Command> commands();
  std::string help(unsigned processor, const Words& arguments);
  std::string where(unsigned processor, const Words& arguments);
  std::string choose_level(unsigned processor, const Words& arguments);
  std::string vmcs(unsigned processor, const Words& arguments);
  std::string walk(unsigned processor, const Words& arguments);
  std::string exits(unsigned processor, const Words& arguments);
  std::string stop_on(unsigned processor, const Words& arguments);
  std::string explain(unsigned processor, const Words& arguments);
  std::string audit(unsigned processor, const Words& arguments);
  std::string reverse(unsigned processor, const Words& arguments);

  const World world_;
  Inspection& machine_;
  History history_;
  StopOn stop_on_;
  std::vector<Point> points_;
  AddressLevel level_ = AddressLevel::kRunning;
  std::optional<RunResult> result_;
  bool told_end_ = false;

  // Of the run that is under way.
  World::Demand demanded_ = World::Demand::kNone;
  bool hears_events_ = false;
  std::optional<std::pair<unsigned, std::string>> event_;  // the processor, and what to say
};

}  // namespace nestor::emu
