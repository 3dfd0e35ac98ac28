// SPDX-License-Identifier: GPL-2.0-or-later
//
// Code that is written to through another mapping of its page, more than once.
#include "tests/emu/assembled_code.h"
#include "tests/emu/machine/machine_fixture.h"

NESTOR_ASSEMBLED(returns_5);
NESTOR_ASSEMBLED(rewrite_and_call);

namespace nestor::emu {
namespace {

constexpr uint64_t kAlias = 0x20000;

class RewrittenCode : public MachineTest {
 protected:
  uint32_t second_result(uint64_t alias_rights) {
    static_assert(kAlias == 0x20000 && kHandlers == 0x108000);  // rewritten_code_test.S
    map(kAlias, kHandlers | alias_rights);
    put_code(kHandlers, assembled::returns_5());
    return run(assembled::rewrite_and_call()).code;
  }
};

TEST_F(RewrittenCode, ThroughAnExecutableAlias) { EXPECT_EQ(second_result(kAll), status(7)); }

TEST_F(RewrittenCode, ThroughAnAliasThatMayNotBeExecuted) {
  EXPECT_EQ(second_result(kAll | kNoExecute), status(7));
}

}  // namespace
}  // namespace nestor::emu
