// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a profile consists of: functions, the stacks of calls in which they were executed, as one
// tree, and the cost of each. What is written to files is made from it.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace nestor::emu::profile {

struct Cost {
  uint64_t cycles = 0, instructions = 0;
  void operator+=(const Cost& other) {
    cycles += other.cycles;
    instructions += other.instructions;
  }
  bool operator==(const Cost&) const = default;
};

// How much is remembered. What comes beyond that counts for its caller, or for its function as a
// whole.
struct Limits {
  uint32_t functions = 1u << 18;
  uint32_t nodes = 1u << 20;
  uint32_t lines = 1u << 20;
};

using FunctionId = uint32_t;
using NodeId = uint32_t;
using LineId = uint32_t;

class CallTree {
 public:
  // One level's code of one name; or something else that takes time, with a name in brackets.
  struct Function {
    unsigned level = 0;    // 0: L0; 3: none of them
    uint64_t address = 0;  // of its first instruction, linear; 0 if it is no code
    std::string name;
    bool unnamed = false;  // the name is its address
  };
  // A function as it was called from `parent`.
  struct Node {
    NodeId parent = 0;
    FunctionId function = 0;
    uint64_t calls = 0;
    Cost self;  // without what it calls
  };
  // A block of code in a function, or what the function costs that is no code.
  struct Line {
    FunctionId function = 0;
    uint64_t address = 0;  // linear
    Cost self;
  };

  static constexpr unsigned kNoLevel = 3;
  static constexpr NodeId kRoot = 0;  // of all, and what was left out

  CallTree() : CallTree(Limits{}) {}
  explicit CallTree(const Limits& limits) : limits_(limits) {
    functions_.push_back({kNoLevel, 0, "[others]"});
    nodes_.push_back({});
    (void)line(0, 0);
  }

  // The function that begins there; `name` is its name if it is new.
  FunctionId function_at(unsigned level, uint64_t address, const std::string& name,
                         bool unnamed = false) {
    return function(key(level, address), {level, address, name, unnamed});
  }
  // What is no code, by a number of its kind.
  FunctionId pseudo_function(unsigned level, uint32_t number, const std::string& name) {
    return function(key(level, number) ^ kPseudo, {level, 0, name});
  }
  // `function` as called from `parent`; where there is no room for it, `parent` itself.
  NodeId child(NodeId parent, FunctionId function) {
    const auto next = static_cast<NodeId>(nodes_.size());
    const auto [found, fresh] = children_.try_emplace(uint64_t{parent} << 32 | function, next);
    if (!fresh) return found->second;
    if (next >= limits_.nodes) {
      children_.erase(found);
      complete_ = false;
      return parent;
    }
    nodes_.push_back({parent, function, 0, {}});
    return next;
  }
  LineId line(FunctionId function, uint64_t address) {
    const auto next = static_cast<LineId>(lines_.size());
    auto& of_function = line_numbers_[function];
    const auto found = of_function.find(address);
    if (found != of_function.end()) return found->second;
    if (next >= limits_.lines && address != 0) {
      complete_ = false;
      return line(function, 0);
    }
    lines_.push_back({function, address, {}});
    of_function.emplace(address, next);
    return next;
  }
  void charge(NodeId node, LineId line, const Cost& cost) {
    nodes_[node].self += cost;
    lines_[line].self += cost;
  }
  void count_call(NodeId node) { ++nodes_[node].calls; }

  const Node& node(NodeId id) const { return nodes_[id]; }
  // A node comes after its parent. The first one is kRoot.
  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<Function>& functions() const { return functions_; }
  const std::vector<Line>& lines() const { return lines_; }
  // Nothing was left out because of the limits.
  bool is_complete() const { return complete_; }

 private:
  // Linear addresses are canonical, so two bits of them say nothing new.
  static constexpr uint64_t kPseudo = 1ull << 60;
  static uint64_t key(unsigned level, uint64_t address) {
    return (address & ~(7ull << 60)) | uint64_t{level} << 61;
  }
  FunctionId function(uint64_t key, Function described) {
    const auto next = static_cast<FunctionId>(functions_.size());
    const auto [found, fresh] = numbers_.try_emplace(key, next);
    if (!fresh) return found->second;
    if (next >= limits_.functions) {
      numbers_.erase(found);
      complete_ = false;
      return 0;
    }
    functions_.push_back(std::move(described));
    return next;
  }

  Limits limits_;
  bool complete_ = true;
  std::vector<Function> functions_;
  std::vector<Node> nodes_;
  std::vector<Line> lines_;
  std::unordered_map<uint64_t, FunctionId> numbers_;
  std::unordered_map<uint64_t, NodeId> children_;
  std::unordered_map<FunctionId, std::unordered_map<uint64_t, LineId>> line_numbers_;
};

}  // namespace nestor::emu::profile
