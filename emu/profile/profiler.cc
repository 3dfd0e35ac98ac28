// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/profile/profiler.h"

#include <cinttypes>
#include <cstdio>

namespace nestor::emu::profile {
namespace {

constexpr size_t kMostPlaces = 1u << 20;
constexpr size_t kMostSpaces = 1024;

std::string hexadecimal(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "%#" PRIx64, value);
  return text;
}

std::string name_of(const Profiler::Event& event) {
  if (!event.mnemonic.empty()) return "[" + std::string(event.mnemonic) + "]";
  return (event.exception ? "[exception " : "[interrupt ") + hexadecimal(event.vector) + "]";
}

}  // namespace

Profiler::Profiler(SymbolTable l1, SymbolTable l2, const Limits& limits)
    : symbols_{std::move(l1), std::move(l2)}, tree_(limits) {
  places_.emplace_back();  // of what comes beyond kMostPlaces
}

void Profiler::attach(const Clock& clock, const uint64_t& instructions, unsigned processors) {
  clock_ = &clock;
  instructions_ = &instructions;
  processors_.assign(processors, {});
  restart();
}

void Profiler::restart() {
  settled_ = {clock_->cycles(), *instructions_};
  for (auto& level : running_) level.clear();
  blocks_.clear();
  waiting_ = false;
  processors_.assign(processors_.size(), {});
  for (turn_ = 0; turn_ < processors_.size(); ++turn_) {
    current().running = &running(1, 0);
    be_at(level_node(1));
  }
  turn_ = 0;
}

NodeId Profiler::level_node(unsigned level) {
  std::string name = "L" + std::to_string(level);
  if (processors_.size() > 1) name += " processor " + std::to_string(turn_);
  return tree_.child(CallTree::kRoot, tree_.pseudo_function(level, kLevel + turn_, name));
}

Profiler::Running& Profiler::running(unsigned level, uint64_t space) {
  if (running_[level].size() >= kMostSpaces) space = 0;
  const auto [found, fresh] = running_[level].try_emplace({turn_, space});
  Running& running = found->second;
  if (fresh) {
    const NodeId root = level_node(level);
    running.stack = {root, space, {Frame{~0ull, root, false}}};
  }
  return running;
}

void Profiler::turn_to(unsigned processor) {
  settle();
  waiting_ = false;
  turn_ = processor;
}

void Profiler::all_wait() {
  settle();
  waiting_ = true;
}

void Profiler::settle() {
  const Cost now{clock_->cycles(), *instructions_};
  const Cost passed{now.cycles - settled_.cycles, now.instructions - settled_.instructions};
  settled_ = now;
  if (!waiting_) return tree_.charge(current().node, current().line, passed);
  const FunctionId function = tree_.pseudo_function(CallTree::kNoLevel, 0, "[waiting]");
  tree_.charge(tree_.child(CallTree::kRoot, function), tree_.line(function, 0), passed);
}

void Profiler::run_level(unsigned level, uint64_t space) {
  Processor& processor = current();
  if (processor.level == level && processor.space == space) return;
  processor.level = level;
  processor.space = space;
  processor.running = &running(level, space);
}

Profiler::Place Profiler::look_up(uint64_t linear) {
  Place place{linear, {kNoFunction, kNoFunction}, {}};
  for (unsigned i = 0; i < 2; ++i) {
    const Symbol* symbol = symbols_[i].find(linear);
    if (symbol != nullptr)
      place.function[i] = tree_.function_at(i + 1, symbol->first, symbol->name);
  }
  return place;
}

uint32_t Profiler::number_of(uint64_t linear) {
  const auto next = static_cast<uint32_t>(places_.size());
  const auto [found, fresh] = numbers_.try_emplace(linear, next);
  if (!fresh) return found->second;
  if (next >= kMostPlaces) {
    numbers_.erase(found);
    return 0;
  }
  places_.push_back(look_up(linear));
  return next;
}

FunctionId Profiler::unnamed(uint64_t linear) {
  return tree_.function_at(index() + 1, linear, hexadecimal(linear), true);
}

void Profiler::arrive(const Place& place, uint64_t pointer) {
  Running& running = *current().running;
  CallStack& stack = running.stack;
  const FunctionId named = place.function[index()];
  const auto function = [&] { return named != kNoFunction ? named : unnamed(place.linear); };
  switch (running.ends_in) {
    case BranchKind::kCall:
    case BranchKind::kIndirectCall:
      return stacks_.call(stack, pointer, function());
    case BranchKind::kReturn:
      stacks_.return_to(stack, pointer);
      break;
    default:
      break;
  }
  // Where code without a name ends is not known: what it leads to is part of it.
  const CallTree::Function& here = tree_.functions()[tree_.node(stack.node()).function];
  if (named != kNoFunction || !here.unnamed) stacks_.jump(stack, function());
}

void Profiler::enter(uint32_t number, uint64_t linear, uint64_t pointer, BranchKind ends_in) {
  settle();
  if (number == 0) places_.front() = look_up(linear);
  Place& place = places_[number];
  arrive(place, pointer);
  this->ends_in() = ends_in;
  const NodeId node = current().running->stack.node();
  const FunctionId function = tree_.node(node).function;
  auto& [last, line] = place.last[index()];
  if (last != function) {
    last = function;
    line = tree_.line(function, number == 0 ? 0 : linear);
  }
  be_at(node, line);
}

void Profiler::deliver(const Event& event, uint64_t linear, uint64_t pointer) {
  settle();
  Running& running = *current().running;
  // It has come between a branch and its target.
  if (running.ends_in != BranchKind::kNone && running.ends_in != BranchKind::kConditional)
    arrive(look_up(linear), pointer);
  const uint32_t number = kDelivery + event.vector + (event.exception ? 0 : 0x100);
  stacks_.interrupt(running.stack, pointer,
                    tree_.pseudo_function(index() + 1, number, name_of(event)));
  running.ends_in = BranchKind::kCall;  // of the handler
  be_at(running.stack.node());
}

void Profiler::call_system(uint64_t pointer) {
  stacks_.interrupt(current().running->stack, pointer, std::nullopt);
  ends_in() = BranchKind::kCall;
}

void Profiler::resume(uint64_t pointer) {
  stacks_.resume(current().running->stack, pointer);
  ends_in() = BranchKind::kNone;
}

void Profiler::transition(unsigned level, uint32_t number, std::string_view name) {
  settle();
  const FunctionId function =
      tree_.pseudo_function(level, kTransition + number, "[" + std::string(name) + "]");
  const NodeId node = tree_.child(running(level, 0).stack.node(), function);
  tree_.count_call(node);
  be_at(node);
}

}  // namespace nestor::emu::profile
