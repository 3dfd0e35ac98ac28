// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where the time of a run goes: each cycle that the clock moves on counts for the block of code, or
// for the event, that a processor has come to last, in the calls that led there.
//
// Calls are followed from the branches at the end of blocks and from the events between them
// (call_stack.h); nothing is read from the guest's memory. A level has a stack of its own on each
// processor, L2 one for each VMCS.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "emu/profile/call_stack.h"
#include "emu/profile/call_tree.h"
#include "emu/profile/symbols.h"
#include "emu/time/clock.h"
#include "emu/timing/core.h"

namespace nestor::emu::profile {

class Profiler {
 public:
  // The functions of L1 and those of L2.
  Profiler(SymbolTable l1, SymbolTable l2) : Profiler(std::move(l1), std::move(l2), Limits{}) {}
  Profiler(SymbolTable l1, SymbolTable l2, const Limits& limits);
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;

  // Before a run, which begins now. Both references outlive the run.
  void attach(const Clock& clock, const uint64_t& instructions, unsigned processors);
  // The machine has become another one: all begins anew, but for what was counted.
  void restart();

  // What follows happens on this processor, and is not waiting.
  void turn_to(unsigned processor);
  // Until then, all of them wait.
  void all_wait();
  // What is executed from now on is L1's (1) or L2's (2) code. `space`: which L2.
  void run_level(unsigned level, uint64_t space);

  // Where blocks have no price: what the engine is to know one by; `place` is used anew if it is
  // not null.
  timing::PricedBlock& add_block(timing::PricedBlock* place) {
    return place != nullptr ? *place : blocks_.emplace_back();
  }
  void drop_blocks() { blocks_.clear(); }
  // Finds out where the block is. Its address and how it ends are known.
  void examine(timing::PricedBlock& block) { block.profiled = number_of(block.linear); }

  // The block is entered, or an instruction that makes no block executed; nothing was charged for
  // it yet. `pointer`: the stack pointer.
  void enter(const timing::PricedBlock& block, uint64_t pointer) {
    enter(block.profiled, block.linear, pointer, block.ends_in);
  }
  void enter(uint64_t linear, uint64_t pointer) {
    enter(number_of(linear), linear, pointer, timing::BranchKind::kNone);
  }
  // What was entered last was left before its end.
  void leave() { ends_in() = timing::BranchKind::kNone; }

  // An event is delivered through the IDT, where the program stands at `linear`.
  struct Event {
    uint8_t vector = 0;
    bool exception = false;     // of the processor; or an interrupt, or INT n
    std::string_view mnemonic;  // may be empty
  };
  void deliver(const Event& event, uint64_t linear, uint64_t pointer);
  // SYSCALL or SYSENTER was executed, with that stack pointer; IRET and what else goes back has
  // loaded that one.
  void call_system(uint64_t pointer);
  void resume(uint64_t pointer);
  // A VM entry or a VM exit begins, which takes time of the level: L0 or L1. `number` is one of its
  // name.
  void transition(unsigned level, uint32_t number, std::string_view name);

  // With all that has passed until now.
  const CallTree& tree() {
    settle();
    return tree_;
  }

 private:
  using BranchKind = timing::BranchKind;
  // Numbers of pseudo functions of a level.
  static constexpr uint32_t kDelivery = 1u << 16, kTransition = 2u << 16, kLevel = 3u << 16;
  static constexpr FunctionId kNoFunction = ~0u;

  // A block's address, and what is known of it on either level.
  struct Place {
    uint64_t linear = 0;
    std::array<FunctionId, 2> function{kNoFunction, kNoFunction};  // that has a name
    // The function that was last executed there, and its line.
    std::array<std::pair<FunctionId, LineId>, 2> last{};
  };
  struct Running {
    CallStack stack;
    BranchKind ends_in = BranchKind::kNone;  // how what was entered last ends
  };
  struct Processor {
    unsigned level = 1;
    uint64_t space = 0;
    Running* running = nullptr;
    NodeId node = 0;
    LineId line = 0;
  };

  void enter(uint32_t number, uint64_t linear, uint64_t pointer, BranchKind ends_in);
  // Follows the branch that led to `place`.
  void arrive(const Place& place, uint64_t pointer);
  FunctionId unnamed(uint64_t linear);
  uint32_t number_of(uint64_t linear);
  Place look_up(uint64_t linear);
  // What has passed since the last call counts for where the processor is.
  void settle();
  void be_at(NodeId node, LineId line) {
    current().node = node;
    current().line = line;
  }
  void be_at(NodeId node) { be_at(node, tree_.line(tree_.node(node).function, 0)); }
  Running& running(unsigned level, uint64_t space);
  NodeId level_node(unsigned level);
  BranchKind& ends_in() { return current().running->ends_in; }
  Processor& current() { return processors_[turn_]; }
  // Of the level, in arrays of L1 and L2.
  unsigned index() const { return processors_[turn_].level - 1; }

  const SymbolTable symbols_[2];
  CallTree tree_;
  CallStacks stacks_{tree_};
  const Clock* clock_ = nullptr;
  const uint64_t* instructions_ = nullptr;
  Cost settled_;  // the clock and the instructions
  std::vector<Processor> processors_;
  unsigned turn_ = 0;
  bool waiting_ = false;
  std::map<std::pair<unsigned, uint64_t>, Running> running_[3];  // by processor and space
  std::deque<Place> places_;
  std::unordered_map<uint64_t, uint32_t> numbers_;  // of places, by address
  std::deque<timing::PricedBlock> blocks_;
};

}  // namespace nestor::emu::profile
