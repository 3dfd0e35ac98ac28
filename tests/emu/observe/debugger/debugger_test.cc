// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/debugger/debugger.h"

#include <gmock/gmock.h>

#include "tests/emu/l0/nested_machine_fixture.h"

namespace nestor::emu {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Why = GdbStop::Why;

constexpr GdbResume kContinue{};
constexpr GdbResume kBack{.direction = Direction::kBackward};
constexpr GdbResume kStep{.step = 0u};
constexpr GdbResume kStepBack{.direction = Direction::kBackward, .step = 0u};

class DebuggerTest : public NestedMachineTest {
 protected:
  DebuggerTest() {
    wrap_ = [this](const MachineOutputs& outputs) { return gate_->wrap(outputs); };
  }
  // A machine that a debugger has, ready to run.
  Debugger& debug() {
    debugger_.reset();
    machine_.reset();
    gate_ = std::make_unique<ReplayGate>();
    start();
    debugger_ = std::make_unique<Debugger>(
        Debugger::World{*machine_, config_, *gate_, [this] { return demand_; }, [] {},
                        [](const RunResult& result) { return static_cast<int>(result.code); },
                        [](const RunResult&) { return std::string("it is over"); }});
    return *debugger_;
  }
  // The same run without a debugger.
  Seen plain() {
    debugger_.reset();
    machine_.reset();
    gate_ = std::make_unique<ReplayGate>();
    run();
    return seen();
  }
  Inspection& look() { return *machine_->inspection(); }
  uint64_t rip() { return look().state(0).rip; }
  void put_guest_run() {
    enable_ept();
    put_guest(ASM64("mov ecx, 5; 2: nop; dec ecx; jne 2b; cpuid"), resume_until(3));
    put_code(kCode, launch());
  }
  static constexpr uint64_t kGuestNop = kGuest + 5;

  std::unique_ptr<ReplayGate> gate_;
  std::unique_ptr<Debugger> debugger_;
  Debugger::World::Demand demand_ = Debugger::World::Demand::kNone;
};

TEST_F(DebuggerTest, ARunThatIsDebuggedIsTheSameRun) {
  put_guest_run();
  const Seen unbroken = plain();
  Debugger& debugger = debug();
  debugger.insert(0, GdbPoint::kSoftwareBreakpoint, kGuestNop, 1);
  uint64_t stops = 0;
  GdbStop stop;
  for (;;) {
    stop = debugger.resume(kContinue);
    if (stop.why == Why::kEnded) break;
    EXPECT_EQ(stop.why, Why::kBreakpoint);
    EXPECT_EQ(rip(), kGuestNop);
    EXPECT_EQ(look().level(0), 2);
    ++stops;
    debugger.resume(kStepBack);
    debugger.resume(kStepBack);
    debugger.resume(kStep);
    debugger.resume(kStep);
    EXPECT_EQ(rip(), kGuestNop);
  }
  EXPECT_GE(stops, 5u);
  EXPECT_EQ(seen(), unbroken);
}

// A state from before there were any translations, too, is loaded over them.
TEST_F(DebuggerTest, GoesBackOverTranslationsThatAreKept) {
  config_.processor.tlb = TlbModel::kKeep;
  put_guest_run();
  const Seen unbroken = plain();
  Debugger& debugger = debug();
  debugger.monitor(0, "stop-on vm-exit");
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 3; ++i) EXPECT_THAT(debugger.resume(kContinue).text, HasSubstr("CPUID"));
    for (int i = 0; i < 2; ++i) EXPECT_THAT(debugger.resume(kBack).text, HasSubstr("CPUID"));
    EXPECT_EQ(debugger.resume(kBack).why, Why::kNoHistory);
  }
  debugger.monitor(0, "stop-on off");
  EXPECT_EQ(debugger.resume(kContinue).why, Why::kEnded);
  EXPECT_EQ(seen(), unbroken);
}

TEST_F(DebuggerTest, StepsBackThroughVmExitsAndEntries) {
  put_guest_run();
  Debugger& debugger = debug();
  std::vector<std::pair<uint64_t, int>> places = {{rip(), look().level(0)}};
  while (debugger.resume(kStep).why != Why::kEnded) places.emplace_back(rip(), look().level(0));
  // Not from its very end: that comes with the end of the session.
  Debugger& again = debug();
  for (size_t i = 1; i < places.size(); ++i) again.resume(kStep);
  for (size_t i = places.size() - 1; i-- != 0;) {
    const GdbStop stop = again.resume(kStepBack);
    EXPECT_EQ(std::make_pair(rip(), look().level(0)), places[i]) << i;
    EXPECT_EQ(stop.why == Why::kNoHistory, false) << i;
  }
  EXPECT_EQ(again.resume(kStepBack).why, Why::kNoHistory);
  EXPECT_EQ(again.resume(kContinue).why, Why::kEnded);
}

TEST_F(DebuggerTest, ContinuesBackToBreakpointsAndWatchpoints) {
  put_guest_run();
  Debugger& debugger = debug();
  debugger.monitor(0, "stop-on vm-exit");
  const GdbStop exit = debugger.resume(kContinue);
  EXPECT_THAT(exit.text, HasSubstr("CPUID"));
  debugger.monitor(0, "stop-on off");
  debugger.insert(0, GdbPoint::kHardwareBreakpoint, kGuestNop, 1);
  for (uint64_t round = 1; round <= 5; ++round) {
    const GdbStop stop = debugger.resume(kBack);
    EXPECT_EQ(stop.why, Why::kBreakpoint);
    EXPECT_EQ(rip(), kGuestNop);
    EXPECT_EQ(look().state(0).gpr[vmx::kRcx], round);
  }
  EXPECT_EQ(debugger.resume(kBack).why, Why::kNoHistory);
  EXPECT_EQ(rip(), kCode);
  debugger.remove(0, GdbPoint::kHardwareBreakpoint, kGuestNop, 1);
  EXPECT_EQ(debugger.resume(kContinue).why, Why::kEnded);
}

// Where the guest ends the run, a user may want to go back.
TEST_F(DebuggerTest, StopsAtTheEndIfItIsTold) {
  put_guest_run();
  Debugger& debugger = debug();
  EXPECT_THAT(debugger.monitor(0, "stop-on end"), HasSubstr("stops on end"));
  const GdbStop end = debugger.resume(kContinue);
  EXPECT_EQ(end.why, Why::kSignal);
  EXPECT_EQ(end.signal, kSigabrt);
  EXPECT_THAT(end.text, HasSubstr("it is over"));
  debugger.monitor(0, "stop-on vm-exit");
  EXPECT_THAT(debugger.resume(kBack).text, HasSubstr("CPUID"));
  debugger.monitor(0, "stop-on off");
  EXPECT_EQ(debugger.resume(kContinue).why, Why::kEnded);
}

TEST_F(DebuggerTest, MonitorReverseGoesToThePreviousVmExit) {
  put_guest_run();
  Debugger& debugger = debug();
  debugger.monitor(0, "stop-on vm-exit");
  for (int i = 0; i < 3; ++i) debugger.resume(kContinue);
  EXPECT_EQ(look().exits(), 3u);
  EXPECT_THAT(debugger.monitor(0, "exits"), HasSubstr("3 VM exits\n         3  CPUID (10)"));
  EXPECT_THAT(debugger.monitor(0, "reverse"), HasSubstr("processor 0: L1"));
  EXPECT_EQ(look().exits(), 2u);
  EXPECT_EQ(rip(), kExitHandler);
  EXPECT_THAT(debugger.monitor(0, "exits"), HasSubstr("2 VM exits\n         2  CPUID (10)"));
  debugger.monitor(0, "reverse");
  EXPECT_THAT(debugger.monitor(0, "reverse"), HasSubstr("the history begins here"));
}

TEST_F(DebuggerTest, OutputsComeOnce) {
  // Two processors would not change it: one byte at a time goes to COM1.
  const Code program = ASM64(
                           "mov edx, 0x3f8; mov al, 'a'; out dx, al; mov al, 'b'; out dx, al; "
                           "mov al, 'c'; out dx, al") +
                       exit_with(1);
  put_code(kCode, program);
  Debugger& debugger = debug();
  for (int i = 0; i < 5; ++i) debugger.resume(kStep);
  EXPECT_EQ(serial_, "ab");
  for (int i = 0; i < 4; ++i) debugger.resume(kStepBack);
  EXPECT_EQ(serial_, "ab");
  for (int i = 0; i < 4; ++i) debugger.resume(kStep);
  EXPECT_EQ(serial_, "ab");
  EXPECT_EQ(debugger.resume(kContinue).why, Why::kEnded);
  EXPECT_EQ(serial_, "abc");
}

TEST_F(DebuggerTest, AChangeBeginsTheHistoryAnew) {
  put_code(kCode, ASM64("nop; nop; mov eax, 7; out 0xf4, eax"));
  Debugger& debugger = debug();
  debugger.resume(kStep);
  debugger.resume(kStep);
  const std::vector<uint8_t> skipped = {0xb8, 9, 0, 0, 0};  // mov eax, 9
  EXPECT_EQ(debugger.write_memory(0, kCode + 2, skipped), skipped.size());
  EXPECT_EQ(debugger.resume(kStepBack).why, Why::kNoHistory);
  EXPECT_EQ(rip(), kCode + 2);
  const GdbStop end = debugger.resume(kContinue);
  EXPECT_EQ(end.why, Why::kEnded);
  EXPECT_EQ(end.status, static_cast<int>(status(9)));
}

TEST_F(DebuggerTest, AnEndThatNobodyChoseIsAStopFirst) {
  put<uint64_t>(kIdt + 16 * vmx::kUd, 0);
  put_code(kCode, ASM64("nop; nop; ud2"));
  Debugger& debugger = debug();
  const GdbStop stop = debugger.resume(kContinue);
  EXPECT_EQ(stop.why, Why::kSignal);
  EXPECT_EQ(stop.signal, kSigabrt);
  EXPECT_THAT(stop.text, HasSubstr("it is over"));
  EXPECT_EQ(debugger.write_memory(0, kCode, std::vector<uint8_t>{0}), 0u);
  debugger.resume(kStepBack);
  EXPECT_EQ(rip(), kCode + 2);
  EXPECT_EQ(debugger.resume(kContinue).signal, kSigabrt);
  EXPECT_EQ(debugger.resume(kContinue).why, Why::kEnded);
  // Without a client nobody would go on from there.
  debugger.resume(kStepBack);
  EXPECT_EQ(debugger.run_free().why, Why::kEnded);
}

TEST_F(DebuggerTest, ADemandStopsTheMachine) {
  put_code(kCode, ASM64("2: jmp 2b"));
  config_.max_instructions = 100'000'000;
  Debugger& debugger = debug();
  demand_ = Debugger::World::Demand::kStop;
  const GdbStop stop = debugger.resume(kContinue);
  EXPECT_EQ(stop.why, Why::kSignal);
  EXPECT_EQ(stop.signal, kSigint);
  demand_ = Debugger::World::Demand::kGone;
  EXPECT_EQ(debugger.resume(kContinue).why, Why::kDisconnected);
}

TEST_F(DebuggerTest, LevelsChooseWhoseAddressesCount) {
  enable_ept();
  map_guest(kData, kScratch | kEptAll | kEptUserExecute);
  put<uint64_t>(kScratch, 0x11);
  put<uint64_t>(kData, 0x22);
  put_guest(ASM64("mov byte ptr [0x80000], 0x33; cpuid"),
            ASM64("mov byte ptr [0x20000], 0x44") + exit_with(0));
  put_code(kCode, launch());
  Debugger& debugger = debug();
  debugger.monitor(0, "stop-on vm-entry");
  debugger.resume(kContinue);
  ASSERT_EQ(look().level(0), 2);
  const auto byte = [&](uint64_t address) {
    std::array<uint8_t, 1> value{};
    return debugger.read_memory(0, address, value) == 1 ? int{value[0]} : -1;
  };
  EXPECT_EQ(byte(kData), 0x11);
  EXPECT_THAT(debugger.monitor(0, "level l1"), HasSubstr("L1"));
  EXPECT_EQ(byte(kData), 0x22);
  EXPECT_TRUE(debugger.insert(0, GdbPoint::kWriteWatchpoint, kScratch, 1));
  debugger.monitor(0, "level physical");
  EXPECT_EQ(byte(kScratch), 0x11);
  EXPECT_EQ(byte(1ull << 40), -1);
  EXPECT_FALSE(debugger.insert(0, GdbPoint::kSoftwareBreakpoint, kCode, 1));
  debugger.monitor(0, "level running");
  // L2 writes to L1's memory by another address.
  GdbStop stop = debugger.resume(kContinue);
  EXPECT_EQ(stop.why, Why::kWatchpoint);
  EXPECT_EQ(stop.address, kScratch);
  EXPECT_EQ(look().level(0), 2);
  stop = debugger.resume(kContinue);
  EXPECT_EQ(stop.why, Why::kWatchpoint);
  EXPECT_EQ(look().level(0), 1);
  EXPECT_EQ(byte(kScratch), 0x44);
  // Backward, it stops before each access.
  const uint64_t after = rip();
  EXPECT_EQ(debugger.resume(kBack).why, Why::kWatchpoint);
  EXPECT_EQ(look().level(0), 1);
  EXPECT_LT(rip(), after);
  EXPECT_EQ(byte(kScratch), 0x33);
  EXPECT_EQ(debugger.resume(kBack).why, Why::kWatchpoint);
  EXPECT_EQ(look().level(0), 2);
  debugger.monitor(0, "level physical");
  EXPECT_EQ(byte(kScratch), 0x11);
  EXPECT_EQ(debugger.resume(kBack).why, Why::kNoHistory);
}

TEST_F(DebuggerTest, ABreakpointOfOneLevelPassesTheOther) {
  enable_ept();
  // Both execute the same code.
  put_guest(ASM64("mov eax, 0x100200; call rax; cpuid"),
            ASM64("mov eax, 0x100200; call rax") + exit_with(0));
  put_code(kCode + 0x200, ASM64("nop; ret"));
  put_code(kCode, launch());
  for (const auto& [level, expected] :
       {std::pair{"level l1", 1}, {"level l2", 2}, {"level running", 2}}) {
    Debugger& debugger = debug();
    debugger.monitor(0, level);
    debugger.insert(0, GdbPoint::kSoftwareBreakpoint, kCode + 0x200, 1);
    EXPECT_EQ(debugger.resume(kContinue).why, Why::kBreakpoint) << level;
    EXPECT_EQ(look().level(0), expected) << level;
  }
}

TEST_F(DebuggerTest, MonitorCommandsExplainVmx) {
  put_guest_run();
  Debugger& debugger = debug();
  EXPECT_THAT(debugger.monitor(0, "vmcs"), HasSubstr("no current VMCS"));
  EXPECT_THAT(debugger.monitor(0, "explain"), HasSubstr("no current VMCS"));
  debugger.monitor(0, "stop-on vm-exit cpuid");
  EXPECT_THAT(debugger.resume(kContinue).text, HasSubstr("VM exit: CPUID (10) at RIP"));
  EXPECT_THAT(debugger.monitor(0, "vmcs GUEST_RIP"), HasSubstr("Guest RIP = 0x11000a"));
  EXPECT_THAT(debugger.monitor(0, "vmcs guest cr3"), HasSubstr("Guest CR3 = 0x4000"));
  EXPECT_THAT(debugger.monitor(0, "vmcs guest rpi"), HasSubstr("did you mean"));
  EXPECT_THAT(debugger.monitor(0, "vmcs"), HasSubstr("Guest CR0"));
  EXPECT_THAT(debugger.monitor(0, "explain"), HasSubstr("always causes a VM exit"));
  EXPECT_THAT(debugger.monitor(0, "audit"), HasSubstr("no violation"));
  EXPECT_THAT(debugger.monitor(0, "vmcs GUEST_CR0 0x10"), HasSubstr("Guest CR0 = 0x10"));
  EXPECT_THAT(debugger.monitor(0, "audit"), HasSubstr("Guest CR0"));
  EXPECT_THAT(debugger.monitor(0, "vmcs GUEST_CR0 much"), HasSubstr("no number"));
  EXPECT_THAT(debugger.monitor(0, "vmcs GUEST_CS_SELECTOR 0x10000"), HasSubstr("16 bits"));

  debugger.monitor(0, "vmcs GUEST_CR0 0x80010031");
  debugger.monitor(0, "level l2");
  const std::string walk = debugger.monitor(0, "walk 0x110000");
  EXPECT_THAT(walk, StartsWith("L2's linear address 0x110000\nEPT   level 4 entry at"));
  EXPECT_THAT(walk, HasSubstr("guest level 1 entry at"));
  EXPECT_THAT(walk, HasSubstr("EPT   level 1 entry at"));
  EXPECT_THAT(walk, HasSubstr("24 memory references: guest-physical address 0x110000, physical "
                              "address 0x110000"));
  EXPECT_THAT(debugger.monitor(0, "walk 0x8000000000"), HasSubstr("page fault"));
  EXPECT_THAT(debugger.monitor(0, "walk here"), HasSubstr("usage"));
  EXPECT_THAT(debugger.monitor(0, "walk $rpi"), HasSubstr("usage"));
  EXPECT_THAT(debugger.monitor(0, "walk $xmm0"), HasSubstr("usage"));
  debugger.monitor(0, "level running");
  EXPECT_THAT(debugger.monitor(0, "walk $rip"), StartsWith("L1's linear address 0x"));
  EXPECT_EQ(debugger.monitor(0, "walk $pc"), debugger.monitor(0, "walk $rip"));
  debugger.monitor(0, "level l2");
  EXPECT_THAT(debugger.monitor(0, "walk $vm_exits"), StartsWith("L2's linear address 0x1\n"));
  debugger.monitor(0, "level physical");
  EXPECT_THAT(debugger.monitor(0, "walk 0x1000"), HasSubstr("0 memory references"));
}

TEST_F(DebuggerTest, CommandsComplainOfWhatTheyDoNotKnow) {
  put_guest_run();
  Debugger& debugger = debug();
  EXPECT_THAT(debugger.monitor(0, "frobnicate"), HasSubstr("no command"));
  EXPECT_THAT(debugger.monitor(0, ""), HasSubstr("stop-on"));
  EXPECT_THAT(debugger.monitor(0, "level l9"), HasSubstr("usage"));
  EXPECT_THAT(debugger.monitor(0, "stop-on exception 99"), HasSubstr("usage"));
  EXPECT_THAT(debugger.monitor(0, "stop-on vm-exit nonsense"), HasSubstr("no exit reason"));
  EXPECT_THAT(debugger.monitor(0, "stop-on"), HasSubstr("stops on nothing"));
  EXPECT_THAT(debugger.monitor(0, "where now"), HasSubstr("takes no argument"));
  EXPECT_THAT(debugger.monitor(0, "stop-on msr 0x3a"), HasSubstr("msr 0x3a"));
  EXPECT_THAT(debugger.resume(kContinue).text,
              HasSubstr("WRMSR of 0x3a (IA32_FEATURE_CONTROL): EDX:EAX = 0x5"));
  debugger.monitor(0, "stop-on off");
  EXPECT_THAT(debugger.monitor(0, "stop-on exception 13"), Not(HasSubstr("msr")));
}

TEST_F(DebuggerTest, StopsAtAFailedCheck) {
  put_guest_run();
  vmcs_.write(vmx::Field::kGuestCr0, 0);
  put_guest_run();
  Debugger& debugger = debug();
  debugger.monitor(0, "stop-on check-failed");
  EXPECT_THAT(debugger.resume(kContinue).text, HasSubstr("check failed: Guest CR0"));
}

}  // namespace
}  // namespace nestor::emu
