// SPDX-License-Identifier: GPL-2.0-or-later
//
// Calls that do not return as they were made.
#include "emu/profile/call_stack.h"

#include <gtest/gtest.h>

#include <string>

namespace nestor::emu::profile {
namespace {

class CallStackTest : public testing::Test {
 protected:
  static constexpr uint64_t kTop = 0x10000;

  CallStackTest() {
    const FunctionId level = tree_.pseudo_function(1, 0, "L1");
    stack_.root = tree_.child(CallTree::kRoot, level);
    stack_.frames = {{~0ull, stack_.root, false}};
    stacks_.jump(stack_, function("main"));
  }
  FunctionId function(const std::string& name) {
    return tree_.function_at(1, std::hash<std::string>()(name) >> 20, name);
  }
  void call(uint64_t pointer, const std::string& name) {
    stacks_.call(stack_, pointer, function(name));
  }
  // RET leads from where `pointer` was the stack pointer after the call.
  void return_from(uint64_t pointer) { stacks_.return_to(stack_, pointer + 8); }
  // Without the level.
  std::string path() const { return path_of(stack_.node()); }
  std::string path_of(NodeId node) const {
    if (node == stack_.root) return "";
    const std::string outer = path_of(tree_.node(node).parent);
    return (outer.empty() ? "" : outer + " ") + tree_.functions()[tree_.node(node).function].name;
  }

  CallTree tree_;
  CallStacks stacks_{tree_};
  CallStack stack_;
};

TEST_F(CallStackTest, CallsAndReturns) {
  call(kTop - 8, "f");
  call(kTop - 24, "g");
  EXPECT_EQ(path(), "main f g");
  return_from(kTop - 24);
  EXPECT_EQ(path(), "main f");
  call(kTop - 32, "g");
  EXPECT_EQ(path(), "main f g");
  EXPECT_EQ(tree_.node(stack_.node()).calls, 2u);
  return_from(kTop - 32);
  return_from(kTop - 8);
  EXPECT_EQ(path(), "main");
}

TEST_F(CallStackTest, AFunctionThatIsJumpedToTakesThePlaceOfTheOther) {
  call(kTop - 8, "f");
  stacks_.jump(stack_, function("g"));
  EXPECT_EQ(path(), "main g");
  stacks_.jump(stack_, function("g"));
  EXPECT_EQ(path(), "main g");
  return_from(kTop - 8);
  EXPECT_EQ(path(), "main");
}

TEST_F(CallStackTest, WhatIsJumpedOverIsOver) {
  for (const uint64_t depth : {8, 24, 40, 56}) call(kTop - depth, "f");
  // longjmp() to main, which calls again.
  stacks_.jump(stack_, function("f"));
  call(kTop - 8, "g");
  EXPECT_EQ(path(), "main g");
  // And a return past two calls.
  call(kTop - 24, "h");
  call(kTop - 40, "i");
  stacks_.return_to(stack_, kTop - 16);
  EXPECT_EQ(path(), "main g");
}

TEST_F(CallStackTest, AnInterruptReturnsToWhatItInterrupted) {
  call(kTop - 8, "f");
  stacks_.interrupt(stack_, kTop - 48, tree_.pseudo_function(1, 1, "[interrupt]"));
  call(0x80000, "handler");
  call(0x80000 - 8, "g");
  EXPECT_EQ(path(), "main f [interrupt] handler g");
  stacks_.resume(stack_, kTop - 48);
  EXPECT_EQ(path(), "main f");
  // A handler that goes on elsewhere, as for a signal.
  stacks_.interrupt(stack_, kTop - 48, std::nullopt);
  call(0x80000, "entry");
  EXPECT_EQ(path(), "main f entry");
  // IRET to the next instruction.
  stacks_.resume(stack_, 0x80000 - 16);
  EXPECT_EQ(path(), "main f entry");
  // And out of a handler that was called.
  call(0x80000 - 64, "handler");
  stacks_.resume(stack_, 0x80000 - 24);
  EXPECT_EQ(path(), "main f entry");
  stacks_.resume(stack_, kTop - 200);
  EXPECT_EQ(path(), "main f");
}

TEST_F(CallStackTest, AStackThatWasLeftIsFoundAgain) {
  constexpr uint64_t kOther = 0x90000;
  call(kTop - 8, "f");
  call(kTop - 24, "switch");
  // The first time the other thread begins at its first function.
  stacks_.return_to(stack_, kOther);
  stacks_.jump(stack_, function("thread"));
  EXPECT_EQ(path(), "thread");
  call(kOther - 8, "g");
  call(kOther - 24, "switch");
  return_from(kTop - 24);
  EXPECT_EQ(path(), "main f");
  call(kTop - 24, "switch");
  // Some calls on the new stack are there only to be foreseen.
  for (uint64_t i = 1; i <= 32; ++i) call(kOther - 24 - 8 * i, "switch");
  return_from(kOther - 24);
  EXPECT_EQ(path(), "thread g");
  call(kOther - 40, "switch");
  return_from(kTop - 24);
  EXPECT_EQ(path(), "main f");
}

TEST_F(CallStackTest, OfOtherSpacesItIsNot) {
  call(kTop - 8, "f");
  stacks_.return_to(stack_, 0x90000);
  stack_.space = 1;
  call(0x90000 - 8, "g");
  return_from(kTop - 8);
  stacks_.jump(stack_, function("h"));
  EXPECT_EQ(path(), "h");
}

TEST_F(CallStackTest, TheDepthIsBounded) {
  uint64_t pointer = uint64_t{1} << 40;
  for (unsigned i = 0; i < 10'000; ++i) call(pointer -= 64, "f");
  EXPECT_LE(stack_.frames.size(), CallStacks::kDeepest);
  EXPECT_LE(tree_.nodes().size(), 2 * CallStacks::kDeepest + 2);
}

TEST(CallTreeTest, WhatIsTooMuchCountsForItsCaller) {
  CallTree tree(Limits{.functions = 3, .nodes = 4, .lines = 2});
  const FunctionId f = tree.function_at(1, 0x1000, "f"), g = tree.function_at(1, 0x2000, "g");
  EXPECT_EQ(tree.function_at(1, 0x3000, "h"), 0u);
  EXPECT_FALSE(tree.is_complete());
  const NodeId outer = tree.child(CallTree::kRoot, f), inner = tree.child(outer, g),
               last = tree.child(inner, f);
  EXPECT_EQ(tree.child(last, g), last);
  EXPECT_EQ(tree.line(f, 0x1000), tree.line(f, 0x1000));
  EXPECT_EQ(tree.line(f, 0x1010), tree.line(f, 0));
}

}  // namespace
}  // namespace nestor::emu::profile
