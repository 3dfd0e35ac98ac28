// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/time/event_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace nestor::emu {
namespace {

using Calls = std::vector<std::string>;

class EventQueueTest : public testing::Test {
 protected:
  // A timer that notes its name and the time when it is called.
  std::unique_ptr<EventQueue::Timer> timer(const std::string& name) {
    return std::make_unique<EventQueue::Timer>(
        queue, name, [this, name](uint64_t now) { called.push_back(name + std::to_string(now)); });
  }
  Calls calls() { return std::exchange(called, {}); }

  EventQueue queue;
  Calls called;
};

TEST_F(EventQueueTest, TheEarliestDeadlineIsKept) {
  EXPECT_EQ(queue.deadline(), EventQueue::kNever);
  const auto a = timer("a"), b = timer("b");
  EXPECT_EQ(queue.deadline(), EventQueue::kNever);
  a->set(300);
  EXPECT_EQ(queue.deadline(), 300u);
  b->set(200);
  EXPECT_EQ(queue.deadline(), 200u);
  b->set(250);
  EXPECT_EQ(queue.deadline(), 250u) << "later, and still the earliest";
  b->set(400);
  EXPECT_EQ(queue.deadline(), 300u);
  a->set(EventQueue::kNever);
  EXPECT_EQ(queue.deadline(), 400u);
  EXPECT_EQ(a->deadline(), EventQueue::kNever);
}

TEST_F(EventQueueTest, ExpiresWhatIsDueByDeadlineThenByRegistration) {
  const auto a = timer("a"), b = timer("b"), c = timer("c"), d = timer("d");
  d->set(10);
  c->set(20);
  a->set(20);
  b->set(31);
  queue.expire(9);
  EXPECT_EQ(calls(), Calls{});
  queue.expire(30);
  EXPECT_EQ(calls(), (Calls{"d30", "a30", "c30"}));
  EXPECT_EQ(queue.deadline(), 31u);
  queue.expire(31);
  EXPECT_EQ(calls(), Calls{"b31"});
  EXPECT_EQ(queue.deadline(), EventQueue::kNever) << "what has expired is no longer set";
}

TEST_F(EventQueueTest, EachIsCalledOnceAtATime) {
  std::unique_ptr<EventQueue::Timer> again;
  again = std::make_unique<EventQueue::Timer>(queue, "again", [&](uint64_t now) {
    called.push_back("again" + std::to_string(now));
    again->set(now);
  });
  again->set(5);
  queue.expire(7);
  EXPECT_EQ(calls(), Calls{"again7"});
  EXPECT_EQ(queue.deadline(), 7u);
  queue.expire(7);
  EXPECT_EQ(calls(), Calls{"again7"});
}

TEST_F(EventQueueTest, OneMaySetOrStopAnother) {
  const auto a = timer("a"), b = timer("b");
  EventQueue::Timer first(queue, "first", [&](uint64_t) {
    a->set(EventQueue::kNever);
    b->set(8);
  });
  first.set(1);
  a->set(5);
  queue.expire(10);
  EXPECT_EQ(calls(), Calls{"b10"});
}

TEST_F(EventQueueTest, NamesAreUniqueAndFound) {
  auto a = timer("a");
  a->set(100);
  EXPECT_EQ(queue.find("a"), a.get());
  EXPECT_EQ(queue.find("b"), nullptr);
  EXPECT_THROW(timer("a"), std::logic_error);
  a.reset();
  EXPECT_EQ(queue.find("a"), nullptr);
  EXPECT_EQ(queue.deadline(), EventQueue::kNever);
  EXPECT_NO_THROW(timer("a"));
}

}  // namespace
}  // namespace nestor::emu
