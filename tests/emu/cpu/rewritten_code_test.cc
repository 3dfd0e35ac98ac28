// SPDX-License-Identifier: GPL-2.0-or-later
//
// Code that is written to through another mapping of its page, more than once.
#include "tests/emu/machine/machine_fixture.h"

namespace nestor::emu {
namespace {

constexpr uint64_t kAlias = 0x20000;

class RewrittenCode : public MachineTest {
 protected:
  // Calls a function that returns 5, writes elsewhere in its page and then a 7 into it, both
  // through the alias, and calls it again.
  uint32_t second_result(uint64_t alias_rights) {
    map(kAlias, kHandlers | alias_rights);
    put_code(kHandlers, {0xb8, 5, 0, 0, 0, 0xc3});                 // mov eax, 5; ret
    const Code call = {0xbb, 0x00, 0x80, 0x10, 0x00, 0xff, 0xd3};  // mov ebx, kHandlers; call rbx
    const auto write = [](uint32_t address, uint8_t value) {       // mov byte [address], value
      Code code = {0xc6, 0x04, 0x25, 0, 0, 0, 0, value};
      std::memcpy(code.data() + 3, &address, sizeof address);
      return code;
    };
    const Code first = write(kAlias + 0x800, 0x90);
    return run(first + call + first + write(kAlias + 1, 7) + call + Code{0xe7, 0xf4}).code;
  }
};

TEST_F(RewrittenCode, ThroughAnExecutableAlias) { EXPECT_EQ(second_result(kAll), status(7)); }

TEST_F(RewrittenCode, ThroughAnAliasThatMayNotBeExecuted) {
  EXPECT_EQ(second_result(kAll | kNoExecute), status(7));
}

}  // namespace
}  // namespace nestor::emu
