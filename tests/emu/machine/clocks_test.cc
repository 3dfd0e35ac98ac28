// SPDX-License-Identifier: GPL-2.0-or-later
//
// All that keeps time in a machine agrees over hours of virtual time: each is as far from the
// others after five hours as after ten seconds.
#include <cmath>
#include <cstring>

#include "emu/devices/acpi/power_management.h"
#include "emu/devices/legacy/pit.h"
#include "tests/emu/machine/machine_fixture.h"

NESTOR_ASSEMBLED(compare_clocks);
NESTOR_ASSEMBLED(count_8254);
NESTOR_ASSEMBLED(count_apic_timer);
NESTOR_ASSEMBLED(count_hpet);
NESTOR_ASSEMBLED(count_rtc);
NESTOR_ASSEMBLED(count_pm_timer);

namespace nestor::emu {
namespace {

// What the guest writes each time: counters, and how many interrupts there were.
struct Sample {
  uint64_t tsc, hpet, pm_timer, apic_timer, pit;
  std::array<uint8_t, 8> rtc;  // seconds, minutes, hours, day: decimal digits
  uint64_t pits, apics, hpets, rtcs, carries;
};
static_assert(sizeof(Sample) == 88);

constexpr double kFrequency = 2e9;
constexpr uint64_t kTscFrequency = 2'000'000'000;

class ClocksTest : public MachineTest {
 protected:
  static constexpr uint64_t kSamplesAnHour = 2;
  static constexpr uint64_t kPitPeriod = 65536, kApicPeriod = 156'250'000, kCarry = 1u << 23;

  ClocksTest() {
    handle(0x20, assembled::count_8254());
    handle(0x28, assembled::count_rtc());
    handle(0x40, assembled::count_apic_timer());
    handle(0x41, assembled::count_hpet());
    handle(0x42, assembled::count_pm_timer());
    put_code(kCode, assembled::compare_clocks());
    cpu_.gpr[8] = 1;
    cpu_.gpr[9] = 360 / kSamplesAnHour;  // interrupts of the APIC timer, each 10 seconds
    config_.max_instructions = 0;
  }

  // What the guest has written in a run that another machine goes on with `pieces` - 1 times.
  std::string run_in(unsigned pieces, uint64_t instructions) {
    console_.clear();
    start();
    for (unsigned i = 1; i < pieces; ++i) {
      EXPECT_TRUE(machine_->run_until({.instructions = instructions * i / pieces}));
      const auto state = saved_bytes([this](Archive& archive) { machine_->serialize(archive); });
      machine_ = create();
      EXPECT_TRUE(load_bytes(state, [this](Archive& archive) { machine_->serialize(archive); }));
    }
    const RunResult result = machine_->run();
    EXPECT_EQ(result.kind, RunEnd::Kind::kDebugExit);
    instructions_ = result.instructions;
    return console_;
  }
  std::vector<Sample> samples() const {
    std::vector<Sample> found(console_.size() / sizeof(Sample));
    std::memcpy(found.data(), console_.data(), found.size() * sizeof(Sample));
    EXPECT_EQ(console_.size() % sizeof(Sample), 0u);
    return found;
  }
  void run_for(uint64_t hours) {
    cpu_.gpr[10] = hours * kSamplesAnHour + 1;
    const std::string whole = run_in(1, 0);
    expect_agreement(hours);
    EXPECT_EQ(run_in(3, instructions_), whole) << "saved and loaded twice";
  }
  void expect_agreement(uint64_t hours);

  uint64_t instructions_ = 0;
};

unsigned decimal(uint8_t digits) { return digits / 16 * 10u + digits % 16; }

// The guest reads one after the other, with some 20 accesses to ports in between.
constexpr double kSlack = 100e-6 * kFrequency;

// `periods` of so many counts, and what the counter has of the one that it is in. An interrupt may
// be pending, whose period is not counted yet.
double counts(uint64_t periods, uint64_t period, uint64_t counted, double expected) {
  const auto all = static_cast<double>(periods * period + counted);
  return expected - all > static_cast<double>(period) / 2 ? all + static_cast<double>(period) : all;
}

void ClocksTest::expect_agreement(uint64_t hours) {
  const std::vector<Sample> all = samples();
  ASSERT_EQ(all.size(), hours * kSamplesAnHour + 1);
  // When each began to count, by the TSC, as the first sample has it.
  std::optional<double> hpet_start, apic_start, pit_start;
  for (const Sample& now : all) {
    SCOPED_TRACE(now.tsc);
    const auto tsc = static_cast<double>(now.tsc);
    const auto since = [tsc](std::optional<double>& start, double cycles) {
      if (!start) start = tsc - cycles;
      return tsc - *start - cycles;
    };
    EXPECT_NEAR(since(hpet_start, static_cast<double>(now.hpet) * 20), 0, kSlack) << "HPET";
    EXPECT_NEAR(static_cast<double>(now.hpets), std::floor(static_cast<double>(now.hpet) / 1e8), 1);

    constexpr double kPmCycles = kFrequency / PowerManagement::kFrequency;
    const double pm = counts(now.carries, kCarry, now.pm_timer % kCarry, tsc / kPmCycles);
    EXPECT_NEAR(pm * kPmCycles, tsc, kSlack) << "PM timer: it runs from reset on";
    EXPECT_EQ(now.pm_timer >> 24, 0u);

    const double apic_expected = apic_start ? (tsc - *apic_start) / 128 : 0;
    const double apic = counts(now.apics, kApicPeriod, kApicPeriod - now.apic_timer, apic_expected);
    EXPECT_NEAR(since(apic_start, apic * 128), 0, kSlack) << "APIC timer";

    constexpr double kPitCycles = kFrequency / Pit::kFrequency;
    const uint64_t pit_left = now.pit == 0 ? kPitPeriod : now.pit;
    const double pit_expected = pit_start ? (tsc - *pit_start) / kPitCycles : 0;
    const double pit = counts(now.pits, kPitPeriod, kPitPeriod - pit_left, pit_expected);
    EXPECT_NEAR(since(pit_start, pit * kPitCycles), 0, kSlack) << "8254";

    const auto& rtc = now.rtc;
    const unsigned seconds = decimal(rtc[0]) + 60 * decimal(rtc[1]) + 3600 * decimal(rtc[2]) +
                             86'400 * (decimal(rtc[3]) - 1);
    EXPECT_EQ(seconds, now.tsc / kTscFrequency) << "RTC: it runs from reset on";
    EXPECT_NEAR(static_cast<double>(now.rtcs), tsc / kFrequency * 2, 1) << "2 Hz";
  }
  EXPECT_GT(all.back().tsc, hours * 3600 * kTscFrequency);
}

TEST_F(ClocksTest, AgreeForHours) { run_for(5); }

TEST_F(ClocksTest, AgreeWithTheClockOfAModel) {
  config_.processor.timing = TimingModel::kDetailed;
  run_for(1);
}

}  // namespace
}  // namespace nestor::emu
