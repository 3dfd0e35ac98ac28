// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/profile/call_stack.h"

#include <algorithm>
#include <utility>

namespace nestor::emu::profile {

void CallStacks::push(CallStack& stack, const Frame& frame) {
  if (stack.frames.size() >= kDeepest) stack.frames.assign(1, {~0ull, stack.root, false});
  stack.frames.push_back(frame);
}

void CallStacks::call(CallStack& stack, uint64_t pointer, FunctionId function) {
  // Those below the new one have been given up, by longjmp() or a stack that begins anew.
  while (stack.frames.size() > 1 && !stack.top().event && stack.top().pointer <= pointer &&
         pointer - stack.top().pointer < kReach)
    stack.frames.pop_back();
  const NodeId caller = stack.frames.size() >= kDeepest ? stack.root : stack.node();
  const NodeId node = tree_.child(caller, function);
  tree_.count_call(node);
  push(stack, {pointer, node, false});
}

void CallStacks::jump(CallStack& stack, FunctionId function) {
  Frame& top = stack.frames.back();
  if (tree_.node(top.node).function == function && top.node != stack.root) return;
  if (top.event) return call(stack, top.pointer, function);
  const bool first = stack.frames.size() == 1;
  top.node = tree_.child(first ? stack.root : tree_.node(top.node).parent, function);
}

void CallStacks::return_to(CallStack& stack, uint64_t pointer) {
  const auto pops = [&](const Frame& frame) {
    return !frame.event && frame.pointer < pointer && pointer - frame.pointer <= kReach;
  };
  const bool has_call = stack.frames.size() > 1;
  // The usual case, in any mode, and with operands to pop that are few.
  if (has_call && pops(stack.top()) && pointer - stack.top().pointer <= sizeof(uint64_t)) {
    stack.frames.pop_back();
    return;
  }
  // Returns that were only foreseen.
  const auto stuffed = [&](const Frame& frame) {
    return pops(frame) && pointer - frame.pointer <= kStuffing;
  };
  size_t left = stack.frames.size();
  while (left > 1 && stuffed(stack.frames[left - 1])) --left;
  if (take_kept(stack, pointer - sizeof(uint64_t), left)) return;
  stack.frames.resize(left);
  while (stack.frames.size() > 1 && pops(stack.top())) stack.frames.pop_back();
  const Frame& top = stack.top();
  if (stack.frames.size() == 1 || top.event || top.pointer - pointer <= kReach) return;
  keep(stack);
  stack.frames.assign(1, {~0ull, stack.root, false});
}

void CallStacks::interrupt(CallStack& stack, uint64_t pointer, std::optional<FunctionId> function) {
  if (stack.frames.size() >= kDeepest) stack.frames.assign(1, {~0ull, stack.root, false});
  NodeId node = stack.node();
  if (function) {
    node = tree_.child(node, *function);
    tree_.count_call(node);
  }
  push(stack, {pointer, node, true});
}

void CallStacks::resume(CallStack& stack, uint64_t pointer) {
  std::vector<Frame>& frames = stack.frames;
  const auto find = [&](auto&& is_it) {
    const auto found = std::find_if(frames.rbegin(), frames.rend(), is_it);
    return found == frames.rend() ? frames.end() : std::prev(found.base());
  };
  auto event = find([&](const Frame& one) { return one.event && one.pointer == pointer; });
  // There was none: the processor is only to be serialized, or a handler was called as a function.
  const auto is_near = [&](const Frame& one) {
    return !one.event && (one.pointer - pointer <= kReach || pointer - one.pointer <= kReach);
  };
  if (event == frames.end() && frames.size() > 1 && is_near(stack.top())) {
    while (frames.size() > 1 && !stack.top().event && stack.top().pointer < pointer)
      frames.pop_back();
    return;
  }
  // It goes on elsewhere: a signal handler, say.
  if (event == frames.end()) event = find([](const Frame& one) { return one.event; });
  if (event == frames.end()) {
    frames.assign(1, {~0ull, stack.root, false});
  } else {
    frames.erase(event, frames.end());
    // An event whose delivery met another one.
    while (frames.back().event && frames.back().pointer == pointer) frames.pop_back();
  }
}

void CallStacks::keep(const CallStack& stack) {
  const Key key{level(stack), stack.space, stack.top().pointer};
  kept_[key] = {stack, ++number_};
  order_.emplace_back(key, number_);
  while (kept_.size() > kKept || order_.size() > 2 * kKept) {
    const auto oldest = kept_.find(order_.front().first);
    if (oldest != kept_.end() && oldest->second.number == order_.front().second)
      kept_.erase(oldest);
    order_.pop_front();
  }
}

bool CallStacks::take_kept(CallStack& stack, uint64_t pointer, size_t left) {
  const auto found = kept_.find({level(stack), stack.space, pointer});
  if (found == kept_.end()) return false;
  CallStack next = std::move(found->second.stack);
  kept_.erase(found);
  stack.frames.resize(left);
  if (left > 1) keep(stack);
  if (next.root != stack.root) {
    for (Frame& frame : next.frames) frame.node = moved(frame.node, next.root, stack.root);
  }
  next.root = stack.root;
  next.frames.pop_back();  // the call that the RET has ended
  stack = std::move(next);
  return true;
}

NodeId CallStacks::moved(NodeId node, NodeId from, NodeId to) {
  std::vector<FunctionId> path;
  for (; node != from && node != CallTree::kRoot; node = tree_.node(node).parent)
    path.push_back(tree_.node(node).function);
  for (; !path.empty(); path.pop_back()) to = tree_.child(to, path.back());
  return to;
}

}  // namespace nestor::emu::profile
