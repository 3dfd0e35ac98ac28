// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/engine/execution_context.h"

#include <gtest/gtest.h>

#include <vector>

namespace nestor::emu {
namespace {

using ept::Invalidation;
using Kind = Invalidation::Kind;
using Retention = ExecutionContext::Retention;

constexpr uint64_t kKey = FillCache::key(0x1000, FillAccess::kRead, false, false);

AddressSpaceId linear(uint16_t vpid, uint16_t pcid) {
  AddressSpaceId id;
  id.tag.vpid = vpid;
  id.tag.pcid = pcid;
  return id;
}

AddressSpaceId combined(uint16_t vpid, uint16_t pcid, uint64_t root) {
  AddressSpaceId id = linear(vpid, pcid);
  id.tag.kind = ept::MappingKind::kCombined;
  id.tag.ept_root = root;
  return id;
}

// As the engine would, when something executes there.
void execute_in(ExecutionContext& context, const AddressSpaceId& id) {
  context.select(id);
  if (context.flush_pending()) context.flushed();
  if (context.space().fills.find(kKey) == nullptr) context.grant(kKey, {.read = true});
}

bool keeps(ExecutionContext& context, const AddressSpaceId& id) {
  context.select(id);
  FillCache* const fills = context.fills_of(id);
  return fills != nullptr && fills->find(kKey) != nullptr;
}

TEST(ExecutionContext, KeepsAnAddressSpaceWhileAnotherExecutes) {
  ExecutionContext context(0);
  execute_in(context, linear(0, 0));
  execute_in(context, combined(1, 0, 0x5000));
  EXPECT_EQ(context.fills_of(linear(0, 0)), nullptr) << "it is not selected";
  EXPECT_TRUE(keeps(context, linear(0, 0)));
  EXPECT_TRUE(keeps(context, combined(1, 0, 0x5000)));
  EXPECT_FALSE(keeps(context, combined(1, 0, 0x6000)));
}

TEST(ExecutionContext, ForgetsAnAddressSpaceWhoseRulesHaveChanged) {
  ExecutionContext context(0);
  const AddressSpaceId before = linear(0, 0);
  AddressSpaceId after = before;
  after.rules[1] = 1;
  execute_in(context, before);
  EXPECT_FALSE(keeps(context, after));
  execute_in(context, after);
  EXPECT_TRUE(keeps(context, after));
  EXPECT_FALSE(keeps(context, before)) << "there is one for its tag";
}

TEST(ExecutionContext, ForgetsWhateverWasNotSelectedLastWhereItIsToForget) {
  ExecutionContext context(0, Retention::kForget);
  execute_in(context, linear(0, 0));
  EXPECT_TRUE(keeps(context, linear(0, 0)));
  execute_in(context, linear(1, 0));
  EXPECT_FALSE(keeps(context, linear(0, 0)));
}

TEST(ExecutionContext, GivesUpTheOneThatWasSelectedLongestAgo) {
  ExecutionContext context(0);
  for (uint16_t pcid = 0; pcid != ExecutionContext::kMostSpaces; ++pcid) {
    execute_in(context, linear(0, pcid));
  }
  EXPECT_TRUE(keeps(context, linear(0, 0)));
  execute_in(context, linear(1, 0));
  EXPECT_TRUE(keeps(context, linear(0, 0)));
  EXPECT_TRUE(keeps(context, linear(0, 2)));
  EXPECT_FALSE(keeps(context, linear(0, 1)));
}

// By kind: which of the spaces below lose what they have.
TEST(ExecutionContext, DropsWhatAnOperationMustInvalidate) {
  const std::vector<AddressSpaceId> spaces = {linear(0, 0),           linear(0, 1),
                                              linear(1, 0),           combined(1, 0, 0x5000),
                                              combined(2, 1, 0x5000), combined(1, 0, 0x6000)};
  struct Case {
    Invalidation what;
    std::vector<bool> dropped;
  };
  const Case cases[] = {
      {{.kind = Kind::kLinearAddress, .vpid = 0}, {true, true, false, false, false, false}},
      {{.kind = Kind::kPcid, .vpid = 0, .pcid = 1}, {false, true, false, false, false, false}},
      {{.kind = Kind::kPcidAndGlobals, .vpid = 0}, {true, true, false, false, false, false}},
      {{.kind = Kind::kPcid, .vpid = 1}, {false, false, true, true, false, true}},
      {{.kind = Kind::kLinearVpid, .vpid = 1}, {false, false, true, true, false, true}},
      {{.kind = Kind::kAllVpids}, {false, false, true, true, true, true}},
      {{.kind = Kind::kGuestPhysicalEptp, .eptp = 0x501e},
       {false, false, false, true, true, false}},
      {{.kind = Kind::kAllEptps}, {false, false, false, true, true, true}},
      {{.kind = Kind::kAll}, {true, true, true, true, true, true}},
      {{.kind = Kind::kAccessRights}, {false, false, false, false, false, false}},
      // Whoever meets the fault drops what it concerns.
      {{.kind = Kind::kPageFault}, {false, false, false, false, false, false}},
      {{.kind = Kind::kEptViolation, .vpid = 1, .eptp = 0x5000, .linear_translated = true},
       {false, false, false, false, false, false}},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(static_cast<int>(one.what.kind));
    ExecutionContext context(0);
    for (const AddressSpaceId& id : spaces) execute_in(context, id);
    context.invalidate(one.what);
    for (size_t i = 0; i != spaces.size(); ++i) {
      EXPECT_EQ(keeps(context, spaces[i]), !one.dropped[i]) << "space " << i;
    }
  }
}

TEST(ExecutionContext, FlushesTheAddressSpaceThatIsNamed) {
  ExecutionContext context(0);
  execute_in(context, linear(0, 0));
  execute_in(context, linear(1, 0));
  execute_in(context, linear(2, 0));
  context.request_flush_of(linear(1, 0).tag);
  EXPECT_TRUE(keeps(context, linear(0, 0)));
  EXPECT_FALSE(keeps(context, linear(1, 0)));
  EXPECT_TRUE(keeps(context, linear(2, 0)));
}

TEST(ExecutionContext, IsSavedWithAllItsAddressSpaces) {
  ExecutionContext context(0), loaded(0);
  execute_in(context, linear(0, 0));
  execute_in(context, linear(1, 0));
  execute_in(context, linear(2, 0));
  context.select(linear(1, 0));
  context.request_flush_here();
  context.instructions = 7;
  const auto state = saved_bytes([&](Archive& archive) { context.serialize(archive); });
  ASSERT_TRUE(load_bytes(state, [&](Archive& archive) { loaded.serialize(archive); }));
  EXPECT_EQ(loaded.instructions, 7u);
  EXPECT_EQ(loaded.space().id, linear(1, 0));
  EXPECT_TRUE(loaded.flush_pending());
  EXPECT_TRUE(keeps(loaded, linear(0, 0)));
  EXPECT_TRUE(keeps(loaded, linear(2, 0)));
}

}  // namespace
}  // namespace nestor::emu
