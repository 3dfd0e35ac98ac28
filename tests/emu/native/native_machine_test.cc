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
#include "tests/emu/assembled_code.h"

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
  // POPF clears TF.
  const std::vector<std::uint8_t> code =
      ASM64("mov ecx, 3; push 2; popfq; 2: dec ecx; jne 2b; mov eax, 7; out 0xf4, eax");
  const auto outcome = run(code, true);
  if (!outcome) GTEST_SKIP() << "KVM is not usable";
  EXPECT_EQ(outcome->result.kind, RunResult::Kind::kDebugExit);
  EXPECT_EQ(outcome->events.value, 7U);
  EXPECT_EQ(outcome->result.code, 15U);
  EXPECT_EQ(outcome->result.instructions, 11U);
}

TEST(NativeMachine, RunsWithoutStepsWhereNothingIsToBeSeen) {
  const auto outcome = run(ASM64("mov eax, 1; out 0xf4, eax"), false);
  if (!outcome) GTEST_SKIP() << "KVM is not usable";
  EXPECT_EQ(outcome->events.value, 1U);
  EXPECT_EQ(outcome->result.instructions, 0U);
}

TEST(NativeMachine, AccessesOfEverySizeReachTheBus) {
  const std::vector<std::uint8_t> code = ASM64(
      "mov ebx, 0xd0000000; mov al, [rbx]; mov ax, [rbx]; mov [rbx], eax; "
      "mov rax, [rbx]; mov dx, 0x1234; in ax, dx; out 0xf4, eax");
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
