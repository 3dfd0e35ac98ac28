// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/profile/profile_file.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace nestor::emu {
namespace {

using profile::CallTree;
using profile::Cost;
using profile::FunctionId;
using profile::NodeId;

Cost total_of(const CallTree& tree) {
  Cost total;
  for (const CallTree::Node& node : tree.nodes()) total += node.self;
  return total;
}

// --- folded

void write_folded(const CallTree& tree, OutputFile& file) {
  const auto frame = [&](NodeId node) {
    std::string name = tree.functions()[tree.node(node).function].name;
    std::ranges::replace(name, ';', ':');
    std::ranges::replace(name, '\n', ' ');
    return name;
  };
  std::map<std::string, uint64_t> stacks;
  for (NodeId id = 0; id < tree.nodes().size(); ++id) {
    const CallTree::Node& node = tree.node(id);
    if (node.self.cycles == 0) continue;
    std::vector<NodeId> path = {id};
    while (path.back() != CallTree::kRoot && tree.node(path.back()).parent != CallTree::kRoot)
      path.push_back(tree.node(path.back()).parent);
    std::string stack = frame(path.back());
    for (size_t i = path.size() - 1; i-- > 0;) stack += ';' + frame(path[i]);
    stacks[stack] += node.self.cycles;
  }
  for (const auto& [stack, cycles] : stacks) file.write(fmt::format("{} {}\n", stack, cycles));
}

// --- callgrind

struct Call {
  uint64_t calls = 0;
  Cost inclusive;
};
using Calls = std::map<std::pair<FunctionId, FunctionId>, Call>;

// Who called whom, and what that cost. Of a call within the same one what it costs is part of the
// latter.
Calls calls_of(const CallTree& tree) {
  std::vector<Cost> inclusive(tree.nodes().size());
  for (size_t i = inclusive.size(); i-- > 1;) {
    inclusive[i] += tree.nodes()[i].self;
    inclusive[tree.nodes()[i].parent] += inclusive[i];
  }
  const auto called = [&](NodeId id) {
    const CallTree::Node& node = tree.node(id);
    return std::pair(tree.node(node.parent).function, node.function);
  };
  Calls calls;
  for (NodeId id = 1; id < inclusive.size(); ++id) {
    if (tree.node(id).parent == CallTree::kRoot) continue;
    Call& call = calls[called(id)];
    call.calls += std::max<uint64_t>(tree.node(id).calls, 1);
    NodeId outer = tree.node(id).parent;
    while (outer != CallTree::kRoot && called(outer) != called(id)) outer = tree.node(outer).parent;
    if (outer == CallTree::kRoot) call.inclusive += inclusive[id];
  }
  return calls;
}

class CallgrindWriter {
 public:
  CallgrindWriter(const CallTree& tree, OutputFile& file)
      : tree_(tree), file_(file), named_(tree.functions().size()) {}

  void write(std::string_view command) {
    const Cost total = total_of(tree_);
    file_.write(
        fmt::format("# callgrind format\nversion: 1\ncreator: nestor\ncmd: {}\npositions: instr\n"
                    "events: Cycles Instructions\nsummary: {} {}\n",
                    command, total.cycles, total.instructions));
    std::vector<FunctionId> order(tree_.functions().size());
    std::iota(order.begin(), order.end(), FunctionId{0});
    std::ranges::sort(order, {}, [&](FunctionId id) {
      const CallTree::Function& function = tree_.functions()[id];
      return std::tuple(function.level, function.address, function.name, id);
    });
    std::vector<std::map<uint64_t, Cost>> lines(order.size());
    for (const CallTree::Line& line : tree_.lines()) {
      if (line.self != Cost{}) lines[line.function][line.address] += line.self;
    }
    const Calls calls = calls_of(tree_);
    for (const FunctionId id : order) {
      const auto first = calls.lower_bound({id, 0});
      const bool calls_any = first != calls.end() && first->first.first == id;
      if (lines[id].empty() && !calls_any) continue;
      const uint64_t address = tree_.functions()[id].address;
      file_.write(fmt::format("\nfl={}\nfn={}\n", level(id), name(id)));
      for (const auto& [at, cost] : lines[id]) write_cost(at != 0 ? at : address, cost);
      for (auto call = first; call != calls.end() && call->first.first == id; ++call)
        write_call(address, call->first.second, call->second);
    }
  }

 private:
  std::string level(FunctionId id) const {
    const unsigned level = tree_.functions()[id].level;
    return level == CallTree::kNoLevel ? "???" : fmt::format("L{}", level);
  }
  // Its name stands where it is met first.
  std::string name(FunctionId id) {
    if (std::exchange(named_[id], uint8_t{1}) != 0) return fmt::format("({})", id + 1);
    return fmt::format("({}) {}", id + 1, tree_.functions()[id].name);
  }
  void write_cost(uint64_t address, const Cost& cost) {
    file_.write(fmt::format("{:#x} {} {}\n", address, cost.cycles, cost.instructions));
  }
  void write_call(uint64_t from, FunctionId to, const Call& call) {
    file_.write(fmt::format("cfl={}\ncfn={}\ncalls={} {:#x}\n", level(to), name(to), call.calls,
                            tree_.functions()[to].address));
    write_cost(from, call.inclusive);
  }

  const CallTree& tree_;
  OutputFile& file_;
  std::vector<uint8_t> named_;
};

// --- JSON

std::string json_text(std::string_view text) {
  using Json = nlohmann::ordered_json;
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

// The elements of an array, a line each.
template <class Elements, class Text>
void write_array(OutputFile& file, std::string_view name, const Elements& elements, Text text) {
  file.write(fmt::format(",\n\"{}\": [", name));
  std::string_view separator = "\n";
  for (const auto& element : elements) {
    file.write(fmt::format("{}{}", separator, text(element)));
    separator = ",\n";
  }
  file.write("]");
}

void write_json(const CallTree& tree, std::string_view command, OutputFile& file) {
  const auto cost = [](const Cost& one) {
    return fmt::format("\"cycles\": {}, \"instructions\": {}", one.cycles, one.instructions);
  };
  file.write(fmt::format("{{\"profile\": 1, \"command\": {}, \"complete\": {}, {}",
                         json_text(command), tree.is_complete(), cost(total_of(tree))));
  write_array(file, "functions", tree.functions(), [](const CallTree::Function& function) {
    const std::string level =
        function.level == CallTree::kNoLevel ? "null" : fmt::format("{}", function.level);
    const std::string address =
        function.address == 0 ? "null" : fmt::format("\"{:#x}\"", function.address);
    return fmt::format("{{\"level\": {}, \"name\": {}, \"address\": {}}}", level,
                       json_text(function.name), address);
  });
  write_array(file, "stacks", tree.nodes(), [&](const CallTree::Node& node) {
    return fmt::format("{{\"parent\": {}, \"function\": {}, \"calls\": {}, {}}}", node.parent,
                       node.function, node.calls, cost(node.self));
  });
  write_array(file, "blocks", tree.lines(), [&](const CallTree::Line& line) {
    return fmt::format("{{\"function\": {}, \"address\": \"{:#x}\", {}}}", line.function,
                       line.address, cost(line.self));
  });
  file.write("}\n");
}

}  // namespace

void write_profile(const CallTree& tree, ProfileFormat format, std::string_view command,
                   OutputFile& file) {
  switch (format) {
    case ProfileFormat::kCallgrind:
      return CallgrindWriter(tree, file).write(command);
    case ProfileFormat::kFolded:
      return write_folded(tree, file);
    case ProfileFormat::kJson:
      return write_json(tree, command, file);
  }
}

}  // namespace nestor::emu
