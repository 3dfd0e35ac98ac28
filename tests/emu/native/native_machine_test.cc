// SPDX-License-Identifier: GPL-2.0-or-later

// The machine with the host's processor. Skipped where KVM is not usable.

#include "emu/native/native_machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "emu/loaders/initial_state.h"
#include "emu/native/device.h"

namespace nestor::emu::native {
namespace {

constexpr std::uint64_t kCode = 0x10'0000, kGdt = 0x1000, kTables = 0x2000, kStack = 0x9000;

LoadedImage image_of(const std::vector<std::uint8_t>& code) {
  LoadedImage image;
  image.format = ImageFormat::kElf64;
  const auto gdt = boot_gdt(), tables = identity_map(kTables);
  image.pieces = {
      {kGdt, gdt.size(), gdt}, {kTables, tables.size(), tables}, {kCode, code.size(), code}};
  image.cpu = long_mode_state(kCode, 0, 0, kGdt, kTables, kStack);
  return image;
}

class Events final : public EventHandler<Events> {
 public:
  std::optional<std::uint32_t> value;
  std::vector<UnclaimedAccess> unclaimed;
  void handle(const DebugExitEvent& event) { value = event.value; }
  void handle(const UnclaimedAccess& access) { unclaimed.push_back(access); }
};

struct Outcome {
  RunResult result;
  Events events;
};

/// Nothing where KVM cannot be used.
std::optional<Outcome> run(const std::vector<std::uint8_t>& code, bool step) {
  Outcome outcome;
  MachineOutputs outputs;
  outputs.events = &outcome.events;
  NativeOptions options;
  options.needs_vmx = false;
  options.max_seconds = 30;
  options.step = step;
  try {
    const auto machine =
        create_native_machine(options, {.memory_bytes = 16U << 20, .max_instructions = 0}, outputs);
    machine->load(image_of(code));
    outcome.result = machine->run();
  } catch (const Unavailable&) {
    return std::nullopt;
  }
  return outcome;
}

TEST(NativeMachine, StepsEveryInstructionEvenPastPopf) {
  const std::vector<std::uint8_t> code{
      0xb9, 0x03, 0x00, 0x00, 0x00,  // mov $3, %ecx
      0x6a, 0x02,                    // push $2
      0x9d,                          // popf, which clears TF
      0xff, 0xc9,                    // dec %ecx
      0x75, 0xfc,                    // jnz to dec
      0xb8, 0x07, 0x00, 0x00, 0x00,  // mov $7, %eax
      0xe7, 0xf4,                    // out %eax, $0xf4
  };
  const auto outcome = run(code, true);
  if (!outcome) GTEST_SKIP() << "KVM is not usable";
  EXPECT_EQ(outcome->result.kind, RunResult::Kind::kDebugExit);
  EXPECT_EQ(outcome->events.value, 7U);
  EXPECT_EQ(outcome->result.code, 15U);
  EXPECT_EQ(outcome->result.instructions, 11U);
}

TEST(NativeMachine, RunsWithoutStepsWhereNothingIsToBeSeen) {
  const auto outcome = run({0xb8, 0x01, 0x00, 0x00, 0x00, 0xe7, 0xf4}, false);
  if (!outcome) GTEST_SKIP() << "KVM is not usable";
  EXPECT_EQ(outcome->events.value, 1U);
  EXPECT_EQ(outcome->result.instructions, 0U);
}

TEST(NativeMachine, AccessesOfEverySizeReachTheBus) {
  const std::vector<std::uint8_t> code{
      0xbb, 0x00, 0x00, 0x00, 0xd0,        // mov $0xd0000000, %ebx
      0x8a, 0x03,                          // mov (%rbx), %al
      0x66, 0x8b, 0x03,                    // mov (%rbx), %ax
      0x89, 0x03,                          // mov %eax, (%rbx)
      0x48, 0x8b, 0x03,                    // mov (%rbx), %rax
      0x66, 0xba, 0x34, 0x12, 0x66, 0xed,  // mov $0x1234, %dx; in %dx, %ax
      0xe7, 0xf4,                          // out %eax, $0xf4
  };
  const auto outcome = run(code, false);
  if (!outcome) GTEST_SKIP() << "KVM is not usable";
  std::vector<std::string> seen;
  for (const UnclaimedAccess& access : outcome->events.unclaimed) {
    seen.push_back((access.memory ? "memory " : "port ") +
                   std::string(access.write ? "write " : "read ") + std::to_string(access.size));
  }
  EXPECT_THAT(seen, testing::ElementsAre("memory read 1", "memory read 2", "memory write 4",
                                         "memory read 8", "port read 2"));
}

}  // namespace
}  // namespace nestor::emu::native
