// SPDX-License-Identifier: GPL-2.0-or-later
//
// Who called whom, followed from block to block: which calls are open, by the stack pointer with
// which each was made. Programs do not always return as they have called. What was called from
// above the stack pointer is over; a return to a place far from the stack goes on with another
// stack, one that was left there or a new one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include "emu/profile/call_tree.h"

namespace nestor::emu::profile {

// An open call, or an event whose handler runs.
struct Frame {
  uint64_t pointer = 0;  // the stack pointer: after the call, or of the program that is interrupted
  NodeId node = 0;
  bool event = false;
};

// What one processor executes on one level. The first frame was not called by anybody.
struct CallStack {
  NodeId root = 0;     // in which all of it was called
  uint64_t space = 0;  // a stack pointer means another stack in another space
  std::vector<Frame> frames;

  const Frame& top() const { return frames.back(); }
  NodeId node() const { return frames.back().node; }
};

// Moves stacks on, and keeps those that were left.
class CallStacks {
 public:
  static constexpr size_t kDeepest = 512, kKept = 1024;
  // Stacks lie further apart.
  static constexpr uint64_t kReach = 16 << 10;
  // Who goes to another stack may make so many bytes of calls there that never return, against
  // speculation.
  static constexpr uint64_t kStuffing = 1 << 10;

  explicit CallStacks(CallTree& tree) : tree_(tree) {}

  // A function begins, called with `pointer` as the stack pointer, which shows the return address.
  // Beyond kDeepest all callers are forgotten.
  void call(CallStack& stack, uint64_t pointer, FunctionId function);
  // A RET has led to where the stack pointer is `pointer`.
  void return_to(CallStack& stack, uint64_t pointer);
  // The code at the place is `function`, without a call: it was jumped to, or always was.
  void jump(CallStack& stack, FunctionId function);
  // An event, or SYSCALL and its kin, interrupts the program at `pointer`; `function`: what takes
  // its time, if that is somebody else.
  void interrupt(CallStack& stack, uint64_t pointer, std::optional<FunctionId> function);
  // IRET, SYSRET and their kin have led back to where the stack pointer is `pointer`.
  void resume(CallStack& stack, uint64_t pointer);

 private:
  // Of a kept stack: its level and space, and its stack pointer.
  using Key = std::tuple<unsigned, uint64_t, uint64_t>;
  unsigned level(const CallStack& stack) const {
    return tree_.functions()[tree_.node(stack.root).function].level;
  }
  void keep(const CallStack& stack);
  // Goes on with the stack that was left with that stack pointer, if there is one. The first
  // `left` frames of `stack` are kept in its place.
  bool take_kept(CallStack& stack, uint64_t pointer, size_t left);
  // The same calls below another root: the stack was left on another processor.
  NodeId moved(NodeId node, NodeId from, NodeId to);
  void push(CallStack& stack, const Frame& frame);

  struct Kept {
    CallStack stack;
    uint64_t number = 0;
  };
  CallTree& tree_;
  std::map<Key, Kept> kept_;
  std::deque<std::pair<Key, uint64_t>> order_;  // in which they were kept
  uint64_t number_ = 0;
};

}  // namespace nestor::emu::profile
