// SPDX-License-Identifier: GPL-2.0-or-later
//
// Machines that are saved, and others that go on in their place. tests/images does the same with
// whole images, in every mode.
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

#include "emu/machine/state_file.h"
#include "tests/emu/assembled_code.h"
#include "tests/emu/l0/nested_machine_fixture.h"

NESTOR_ASSEMBLED(use_registers);
NESTOR_ASSEMBLED(sleep_and_trap);
NESTOR_ASSEMBLED(count_interrupt);
NESTOR_ASSEMBLED(return_from_trap);
NESTOR_ASSEMBLED(write_pages);
NESTOR_ASSEMBLED(resume_behind_cpuid);

namespace nestor::emu {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<uint8_t>;

class SavedMachine : public NestedMachineTest {
 protected:
  Bytes saved() {
    return saved_bytes([this](Archive& archive) { machine_->serialize(archive); });
  }
  static bool load(Machine& machine, std::span<const uint8_t> bytes) {
    return load_bytes(bytes, [&](Archive& archive) { machine.serialize(archive); });
  }
  // Wherever the run stops, another machine goes on with it, by turns one of two: neither may keep
  // anything of what it was before.
  void run_in_pieces(const Until& until) {
    start();
    pieces_ = 0;
    const Clock* clock = record_.clock;
    auto other = create();
    const Clock* other_clock = std::exchange(record_.clock, clock);
    while (machine_->run_until(until)) {
      const Bytes state = saved();
      ASSERT_TRUE(load(*other, state)) << pieces_;
      std::swap(machine_, other);
      std::swap(record_.clock, other_clock);
      ASSERT_EQ(saved(), state) << pieces_;
      ++pieces_;
    }
  }
  // The same run, without a stop and saved after each instruction, is one.
  void expect_resumable() {
    start().run();
    const Seen unbroken = seen();
    ASSERT_EQ(machine_->result().kind, RunEnd::Kind::kDebugExit);
    run_in_pieces({.step = true});
    EXPECT_EQ(seen(), unbroken);
    EXPECT_GT(pieces_, unbroken.instructions / 2);
    run_in_pieces({.vm_exit = true, .vm_entry = true});
    EXPECT_EQ(seen(), unbroken);
    EXPECT_EQ(pieces_ == 0, unbroken.exits.empty());
  }
  void put_sleeper() {
    handle(0x40, assembled::count_interrupt());
    handle(vmx::kDb, assembled::return_from_trap());
    put_code(kCode, enable_apic() + apic_write(0x3e0, 0xb) +  // divide by 1
                        apic_write(0x320, 0x20040) +          // periodic, vector 40H
                        apic_write(0x380, 997) + assembled::sleep_and_trap());
  }
  void put_hypervisor() {
    enable_ept(kEptAccessedDirty);
    vmcs_.write(vmx::Field::kVmxPreemptionTimerValue, 1000);
    enable(vmx::PinBased::kActivatePreemptionTimer);
    put_guest(assembled::write_pages(), assembled::resume_behind_cpuid());
    put_code(kCode, launch());
  }

  uint64_t pieces_ = 0;
};

TEST_F(SavedMachine, KeepsX87AndSseRegistersAndRandomNumbers) {
  put_code(kCode, assembled::use_registers());
  expect_resumable();
}

TEST_F(SavedMachine, KeepsTimersInterruptsAndTraps) {
  put_sleeper();
  expect_resumable();
}

TEST_F(SavedMachine, KeepsTheCoresOfPricedBlocks) {
  for (const TimingModel model : {TimingModel::kBlocks, TimingModel::kDetailed}) {
    config_.processor.timing = model;
    put_sleeper();
    expect_resumable();
    put_hypervisor();
    expect_resumable();
  }
}

TEST_F(SavedMachine, KeepsL2AndItsVmcs) {
  put_hypervisor();
  expect_resumable();
}

TEST_F(SavedMachine, KeepsWhatTrapsEachInstructionOfL2) {
  put_hypervisor();
  enable(vmx::PrimaryProcBased::kMonitorTrapFlag);
  put_guest(assembled::write_pages(), assembled::resume_behind_cpuid());
  expect_resumable();
}

TEST_F(SavedMachine, KeepsTranslationsThatAreKept) {
  config_.processor.tlb = TlbModel::kKeep;
  put_hypervisor();
  expect_resumable();
}

TEST_F(SavedMachine, KeepsEveryModeOfL0) {
  for (const L0ModeInfo& mode : kL0Modes) {
    if (!mode.offers_ept || !mode.has_l0) continue;
    SCOPED_TRACE(mode.name);
    config_.l0.mode = mode.mode;
    put_hypervisor();
    expect_resumable();
  }
}

// The program ends with a sum of all that it reads.
TEST_F(SavedMachine, KeepsCountersBranchRecordsAndOtherMsrs) {
  constexpr std::pair<uint32_t, uint64_t> kWritten[] = {{0x38d, 3},        {0x38f, 0x1'0000'0003},
                                                        {0x186, 0x4300c0}, {0x187, 0x43003c},
                                                        {0x1d9, 1},        {0x10, 5},
                                                        {0xe2, 7},         {0x200, 0x80000006}};
  constexpr uint32_t kRead[] = {0xc1,  0xc2, 0x309, 0x186, 0x1c9, 0x680,
                                0x6c0, 0x10, 0x3b,  0xe2,  0x200};
  Code code;
  for (const auto& [index, value] : kWritten) {
    Code write = ASM64("mov ecx, 0; mov eax, 0; mov edx, 0; wrmsr");
    std::memcpy(&write[1], &index, 4);
    std::memcpy(&write[6], &value, 4);
    write[11] = static_cast<uint8_t>(value >> 32);
    code = code + write;
  }
  code = code + ASM64("mov ebp, 40; 2: dec ebp; jne 2b; xor esi, esi");
  for (const uint32_t index : kRead) {
    Code read = ASM64("mov ecx, 0; rdmsr; rol esi, 7; add esi, eax");
    std::memcpy(&read[1], &index, 4);
    code = code + read;
  }
  put_code(kCode, code + ASM64("mov eax, esi; out 0xf4, eax"));
  start().run();
  const Seen unbroken = seen();
  ASSERT_EQ(machine_->result().kind, RunEnd::Kind::kDebugExit);
  start();
  ASSERT_TRUE(machine_->run_until({.instructions = unbroken.instructions / 2}));
  const Bytes state = saved();
  start();
  ASSERT_TRUE(load(*machine_, state));
  machine_->run();
  EXPECT_EQ(seen(), unbroken);
}

TEST_F(SavedMachine, CanBeLoadedWhereAnotherRunHasEnded) {
  put_hypervisor();
  start().run();
  const Seen unbroken = seen();
  start();
  ASSERT_TRUE(machine_->run_until({.instructions = unbroken.instructions / 2}));
  const Bytes state = saved();
  const Record record = record_;
  machine_->run();
  EXPECT_EQ(seen(), unbroken);
  for (int round = 0; round < 3; ++round) {
    const Clock* const clock = record_.clock;
    record_ = record;
    record_.clock = clock;
    ASSERT_TRUE(load(*machine_, state));
    EXPECT_EQ(saved(), state);
    machine_->run();
    EXPECT_EQ(seen(), unbroken);
  }
}

// A state that is cut off or makes no sense is refused, and one that is accepted can be run, or
// ends with a complaint.
TEST_F(SavedMachine, SurvivesAnyState) {
  std::mt19937_64 random(1);
  for (const L0ModeInfo& mode : kL0Modes) {
    SCOPED_TRACE(mode.name);
    config_.l0.mode = mode.mode;
    config_.processor.tlb = mode.has_l0 ? TlbModel::kTagged : TlbModel::kKeep;
    put_hypervisor();
    start();
    // Where EPT is not offered L2 never runs.
    ASSERT_TRUE(machine_->run_until({.instructions = mode.offers_ept ? 60 : 8}));
    const Bytes state = saved();
    for (int i = 0; i < 30; ++i) {
      const size_t size = random() % state.size();
      EXPECT_FALSE(load(*machine_, std::span(state).first(size))) << size;
    }
    Bytes longer = state;
    longer.push_back(0);
    EXPECT_FALSE(load(*machine_, longer));
    int accepted = 0;
    for (int i = 0; i < 200; ++i) {
      Bytes changed = state;
      for (uint64_t changes = 1 + random() % 3; changes != 0; --changes) {
        changed[random() % changed.size()] = static_cast<uint8_t>(random());
      }
      if (!load(*machine_, changed)) continue;
      ++accepted;
      try {
        (void)machine_->run_until({.instructions = 2000});
      } catch (const std::logic_error& complaint) {
        EXPECT_STRNE(complaint.what(), "");
      }
    }
    EXPECT_GT(accepted, 0);
  }
}

// --- files

class StateFile : public SavedMachine {
 protected:
  StateFile() {
    std::string name = (fs::temp_directory_path() / "nestor-state-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make a folder");
    folder_ = name;
    put_sleeper();
    start();
    EXPECT_TRUE(machine_->run_until({.instructions = 200}));
  }
  ~StateFile() override { fs::remove_all(folder_); }

  std::string path() const { return (folder_ / "state").string(); }
  std::string content() const {
    std::ifstream file(path(), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void write(const std::string& bytes) const { std::ofstream(path(), std::ios::binary) << bytes; }
  size_t files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), {}));
  }
  void save() {
    auto output = StateOutput::open(path());
    auto& file = std::get<std::unique_ptr<StateOutput>>(output);
    EXPECT_EQ(file->save(*machine_, config_), std::nullopt);
  }
  // What is said of the file as it is; empty: it could be loaded.
  std::string complaint() {
    auto input = StateInput::open(path());
    if (const auto* bad = std::get_if<std::string>(&input)) return *bad;
    auto next = create();
    const auto bad = std::get<std::unique_ptr<StateInput>>(input)->load(*next);
    if (!bad) loaded_ = saved_bytes([&](Archive& archive) { next->serialize(archive); });
    return bad.value_or("");
  }

  fs::path folder_;
  Bytes loaded_;  // the state of the last machine that complaint() has loaded
};

TEST_F(StateFile, HoldsTheMachineAndItsConfiguration) {
  config_.processor.random_seed = 77;
  config_.processor.type = vmx::processor_of(vmx::Generation::kWestmere);
  config_.processor.type.features.remove(vmx::Feature::kPcid);
  save();
  EXPECT_EQ(files(), 1u);
  auto input = StateInput::open(path());
  auto& state = std::get<std::unique_ptr<StateInput>>(input);
  EXPECT_EQ(state->config().memory_bytes, config_.memory_bytes);
  EXPECT_EQ(state->config().processor.random_seed, 77u);
  EXPECT_EQ(state->config().processor.type, config_.processor.type);
  EXPECT_EQ(state->config().max_instructions, 0u);
  const Bytes before = saved();
  machine_ = create();
  EXPECT_EQ(state->load(*machine_), std::nullopt);
  EXPECT_EQ(saved(), before);
}

TEST_F(StateFile, IsWrittenAsAWholeOrNotAtAll) {
  write("what was there");
  {
    const auto output = StateOutput::open(path());
    ASSERT_TRUE(std::holds_alternative<std::unique_ptr<StateOutput>>(output));
    EXPECT_EQ(content(), "what was there");
  }
  EXPECT_EQ(content(), "what was there");
  EXPECT_EQ(files(), 1u);

  auto output = StateOutput::open(path());
  fs::remove_all(folder_);
  const auto error = std::get<std::unique_ptr<StateOutput>>(output)->save(*machine_, config_);
  ASSERT_TRUE(error);
  EXPECT_THAT(*error, testing::HasSubstr("No such file"));
}

TEST_F(StateFile, SaysWhereItCannotBe) {
  const auto open = [](const fs::path& path) {
    return std::get<std::string>(StateOutput::open(path.string()));
  };
  EXPECT_THAT(open(folder_), testing::HasSubstr("no regular file"));
  EXPECT_THAT(open("/dev/null"), testing::HasSubstr("no regular file"));
  EXPECT_THAT(open(folder_ / "missing" / "state"), testing::HasSubstr("No such file"));
  EXPECT_THAT(std::get<std::string>(StateInput::open(path())), testing::HasSubstr("cannot read"));
  EXPECT_THAT(std::get<std::string>(StateInput::open(folder_.string())),
              testing::HasSubstr("no saved state"));
}

TEST_F(StateFile, ThatIsNoneOrOfAnotherVersionIsRefused) {
  write("");
  EXPECT_THAT(complaint(), testing::HasSubstr("is no saved state"));
  write("NESTOR STATE");
  EXPECT_THAT(complaint(), testing::HasSubstr("is no saved state"));
  save();
  std::string bytes = content();
  bytes[13] = 1;
  write(bytes);
  EXPECT_THAT(complaint(), testing::HasSubstr("has version 1 of the format"));
}

TEST_F(StateFile, OfAMachineThatCannotBeIsRefused) {
  for (const uint64_t rom_bytes : {uint64_t{1}, kLeastRomBytes + 1, kMostRomBytes + 0x1000}) {
    MachineConfig config = config_;
    config.rom_bytes = rom_bytes;
    const auto output = StateOutput::open(path());
    ASSERT_EQ(std::get<std::unique_ptr<StateOutput>>(output)->save(*machine_, config),
              std::nullopt);
    EXPECT_THAT(complaint(), testing::HasSubstr("damaged or incomplete")) << rom_bytes;
  }
}

TEST_F(StateFile, ThatIsDamagedIsRefused) {
  save();
  const std::string whole = content();
  EXPECT_EQ(complaint(), "");
  const Bytes state = loaded_;
  std::mt19937_64 random(2);
  for (int i = 0; i < 40; ++i) {
    std::string changed = whole;
    const size_t at = 17 + random() % (whole.size() - 17);
    changed[at] = static_cast<char>(changed[at] ^ 1 << random() % 8);
    write(changed);
    // Few bits of a compressed file mean nothing.
    if (const std::string said = complaint(); said.empty()) {
      EXPECT_EQ(loaded_, state) << at;
    } else {
      EXPECT_THAT(said, testing::HasSubstr("damaged or incomplete")) << at;
    }
    write(whole.substr(0, at));
    EXPECT_THAT(complaint(), testing::HasSubstr("damaged or incomplete")) << at;
  }
  write(whole + "\n");
  EXPECT_THAT(complaint(), testing::HasSubstr("damaged or incomplete"));
}

}  // namespace
}  // namespace nestor::emu
