// SPDX-License-Identifier: GPL-2.0-or-later
//
// Conditions of VM exits, swept: control registers against masks and shadows, each port, each MSR,
// each VMCS field; and the arithmetic of the time-stamp counter.
#include "tests/vmx/vmx_fixture.h"

namespace nestor::vmx::test {
namespace {

class InterceptSweep : public VmxTest {
 protected:
  // Back into the guest, whatever its control registers were made.
  void go_on() {
    set(Field::kGuestCr0, cr0::kPe | cr0::kEt | cr0::kNe | cr0::kPg);
    set(Field::kGuestCr4, cr4::kPae | cr4::kVmxe);
    resume();
  }
};

// "MOV to CR0", "LMSW", "CLTS", "SMSW" in "Instructions That Cause VM Exits" and "Changes to
// Instruction Behavior in VMX Non-Root Operation", for bits 3:0 of CR0.
TEST_F(InterceptSweep, Cr0AgainstMaskAndShadow) {
  start();
  const uint64_t base = cpu.cpu.cr0 & ~uint64_t{0xf};
  for (uint64_t mask = 0; mask < 16; ++mask) {
    for (uint64_t shadow = 0; shadow < 16; ++shadow) {
      vmx.triple_fault_exits();
      set(Field::kCr0GuestHostMask, mask | 0x20);
      set(Field::kCr0ReadShadow, shadow | 0x20);
      go_on();
      for (uint64_t real = 0; real < 16; ++real) {
        const auto give = [&] { cpu.cpu.cr0 = base | real; };
        for (uint64_t source = 0; source < 16; ++source) {
          SCOPED_TRACE(::testing::Message() << std::hex << "mask " << mask << " shadow " << shadow
                                            << " CR0 " << real << " source " << source);
          // MOV: any bit of the mask that differs from the shadow.
          give();
          uint64_t value = base | 0x20 | source;
          const bool mov = ((source ^ shadow) & mask) != 0;
          ASSERT_EQ(vmx.mov_to_cr_exits(0, kR9, value, no_operand()), mov);
          if (mov) {
            EXPECT_EQ(get(Field::kExitQualification), 0x900u);
            go_on();
          } else {
            EXPECT_EQ(value, base | 0x20 | (source & ~mask) | (real & mask));
          }
          // LMSW: the same of bits 3:1; of PE, only setting it.
          give();
          value = 0;
          const uint64_t differs = (source ^ shadow) & mask;
          const bool lmsw = (differs & 0xe) != 0 || (differs & source & 1) != 0;
          ASSERT_EQ(vmx.lmsw_exits(static_cast<uint16_t>(0xa50 | source), std::nullopt, value,
                                   no_operand()),
                    lmsw);
          if (lmsw) {
            EXPECT_EQ(get(Field::kExitQualification), 0x0a500030u | source << 16);
            go_on();
          } else {
            EXPECT_EQ(value, base | (source & ~mask) | (real & mask) | (real & 1));
          }
        }
        give();
        EXPECT_EQ(vmx.visible_cr0(cpu.cpu.cr0) & 0xf, (real & ~mask) | (shadow & mask));
        // CLTS: only if mask and shadow both have TS.
        const bool clts = (mask & shadow & 8) != 0;
        EXPECT_EQ(vmx.cr0_after_clts() & 0xf, (mask & 8) != 0 ? real : real & ~8ull);
        ASSERT_EQ(vmx.clts_exits(no_operand()), clts);
        if (clts) {
          EXPECT_EQ(get(Field::kExitQualification), 0x20u);
          go_on();
        }
      }
    }
  }
}

TEST_F(InterceptSweep, EachBitOfCr4AgainstMaskAndShadow) {
  start();
  for (unsigned bit = 0; bit < 64; ++bit) {
    const uint64_t one = 1ull << bit;
    for (unsigned choice = 0; choice < 16; ++choice) {
      const bool mask = choice & 1, shadow = choice & 2, real = choice & 4, value = choice & 8;
      vmx.triple_fault_exits();
      set(Field::kCr4GuestHostMask, mask ? one : 0);
      set(Field::kCr4ReadShadow, shadow ? one : 0);
      go_on();
      cpu.cpu.cr4 = real ? ~uint64_t{0} : ~one;
      EXPECT_EQ(vmx.visible_cr4(cpu.cpu.cr4), mask ? (shadow ? ~uint64_t{0} : ~one) : cpu.cpu.cr4);
      uint64_t wanted = value ? one : 0;
      const bool exits = mask && shadow != value;
      ASSERT_EQ(vmx.mov_to_cr_exits(4, kRdx, wanted, no_operand()), exits) << bit << ' ' << choice;
      if (exits) {
        EXPECT_EQ(get(Field::kExitQualification), 0x204u);
        go_on();
      } else {
        EXPECT_EQ(wanted, (mask ? real : value) ? one : 0) << bit << ' ' << choice;
      }
    }
  }
}

TEST_F(InterceptSweep, Cr3TargetsUpToTheirCount) {
  constexpr Field kTargets[] = {Field::kCr3TargetValue0, Field::kCr3TargetValue1,
                                Field::kCr3TargetValue2, Field::kCr3TargetValue3};
  prepare();
  enable(PrimaryProcBased::kCr3LoadExiting);
  for (uint64_t i = 0; i < 4; ++i) set(kTargets[i], 0x1000 * (i + 1));
  ASSERT_EQ(vmlaunch(), "transfer");
  for (uint64_t count = 0; count <= 4; ++count) {
    vmx.triple_fault_exits();
    set(Field::kCr3TargetCount, count);
    resume();
    for (uint64_t i = 0; i < 5; ++i) {
      uint64_t value = 0x1000 * (i + 1);
      const bool exits = vmx.mov_to_cr_exits(3, kR15, value, no_operand());
      EXPECT_EQ(exits, i >= count) << count << ' ' << i;
      EXPECT_EQ(value, 0x1000 * (i + 1));
      if (!exits) continue;
      EXPECT_EQ(get(Field::kExitQualification), 0xf03u);
      resume();
    }
  }
}

// Which of CR0, CR3, CR4 and CR8 each control is about.
TEST_F(InterceptSweep, TheControlsOfControlRegisters) {
  constexpr PrimaryProcBased kControls[] = {
      PrimaryProcBased::kCr3LoadExiting, PrimaryProcBased::kCr3StoreExiting,
      PrimaryProcBased::kCr8LoadExiting, PrimaryProcBased::kCr8StoreExiting};
  start();
  for (const auto chosen : kControls) {
    vmx.triple_fault_exits();
    for (const auto control : kControls) disable(control);
    enable(chosen);
    resume();
    for (const uint8_t cr : {uint8_t{0}, uint8_t{3}, uint8_t{4}, uint8_t{8}}) {
      uint64_t value = 0;
      const bool load = (chosen == kControls[0] && cr == 3) || (chosen == kControls[2] && cr == 8);
      const bool store = (chosen == kControls[1] && cr == 3) || (chosen == kControls[3] && cr == 8);
      ASSERT_EQ(vmx.mov_to_cr_exits(cr, kRsi, value, no_operand()), load) << int{cr};
      if (load) {
        EXPECT_EQ(get(Field::kExitQualification), 0x600u | cr);
        resume();
      }
      ASSERT_EQ(vmx.mov_from_cr_exits(cr, kRdi, no_operand()), store) << int{cr};
      if (store) {
        EXPECT_EQ(get(Field::kExitQualification), 0x710u | cr);
        resume();
      }
    }
  }
}

TEST_F(InterceptSweep, EachMovDr) {
  prepare();
  enable(PrimaryProcBased::kMovDrExiting);
  ASSERT_EQ(vmlaunch(), "transfer");
  for (uint8_t dr = 0; dr < 8; ++dr)
    for (uint8_t gpr = 0; gpr < 16; ++gpr)
      for (const bool from : {false, true}) {
        ASSERT_TRUE(vmx.mov_dr_exits(dr, from, gpr, no_operand()));
        EXPECT_EQ(get(Field::kExitQualification), dr | (from ? 0x10u : 0u) | gpr * 0x100u);
        resume();
      }
}

// One port's bit at a time: the accesses that touch it exit, and no others.
TEST_F(InterceptSweep, EachPortOfTheBitmaps) {
  prepare();
  enable(PrimaryProcBased::kUseIoBitmaps);
  ASSERT_EQ(vmlaunch(), "transfer");
  for (const uint32_t port :
       {0u, 1u, 7u, 8u, 0x3f8u, 0x7ff8u, 0x7fffu, 0x8000u, 0x8001u, 0x8ff7u, 0xfff8u, 0xffffu}) {
    const uint64_t at = (port < 0x8000 ? kIoBitmapA : kIoBitmapB) + port % 0x8000 / 8;
    cpu.poke(at, static_cast<uint8_t>(1u << port % 8));
    for (const uint8_t size : {uint8_t{1}, uint8_t{2}, uint8_t{4}}) {
      for (uint32_t first = port > 12 ? port - 12 : 0; first <= 0xffff && first < port + 12;
           ++first) {
        const bool wraps = first + size > 0x10000, touches = first <= port && port < first + size;
        const IoAccess io{.port = static_cast<uint16_t>(first), .size = size, .in = true};
        ASSERT_EQ(vmx.io_exits(io, no_operand()), touches || wraps)
            << std::hex << port << ' ' << first << ' ' << int{size};
        if (!touches && !wraps) continue;
        EXPECT_EQ(get(Field::kExitQualification), first << 16 | 8u | (size - 1u));
        resume();
      }
    }
    cpu.poke(at, uint8_t{0});
  }
}

// One bit of the four bitmaps at a time, against each MSR around it, for reads and writes.
TEST_F(InterceptSweep, EachMsrBitmap) {
  prepare();
  enable(PrimaryProcBased::kUseMsrBitmaps);
  ASSERT_EQ(vmlaunch(), "transfer");
  for (unsigned bitmap = 0; bitmap < 4; ++bitmap) {
    for (const uint32_t within : {0u, 1u, 8u, 0x174u, 0x80u, 0x1000u, 0x1ff8u, 0x1fffu}) {
      const uint64_t at = kMsrBitmaps + 1024 * bitmap + within / 8;
      cpu.poke(at, static_cast<uint8_t>(1u << within % 8));
      for (const uint32_t base : {0u, 0xc0000000u}) {
        for (uint32_t other = within > 9 ? within - 9 : 0; other < within + 9; ++other) {
          const bool covered = other < 0x2000;
          const bool chosen = other == within && (base != 0) == (bitmap % 2 != 0);
          ASSERT_EQ(vmx.read_msr_exits(base + other, no_operand()),
                    !covered || (chosen && bitmap < 2));
          if (!vmx.in_non_root()) resume();
          ASSERT_EQ(vmx.write_msr_exits(base + other, no_operand()),
                    !covered || (chosen && bitmap >= 2));
          if (!vmx.in_non_root()) resume();
        }
      }
      cpu.poke(at, uint8_t{0});
    }
  }
}

// "VMfail" and "VMsucceed": six flags are written, the others stay.
TEST_F(InterceptSweep, FlagsOfVmxInstructions) {
  constexpr uint64_t kSix = 0x8d5, kOthers = 0x3f7700 & ~0x20000ull;  // no virtual-8086 mode
  enter_vmx_operation();
  const auto flags_after = [&](const auto& execute) {
    cpu.cpu.rflags = kOthers | kSix | 2;
    execute();
    return cpu.cpu.rflags;
  };
  EXPECT_EQ(flags_after([&] { vmclear(1); }), kOthers | 2 | rflags::kCf) << "VMfailInvalid";
  make_current();
  EXPECT_EQ(flags_after([&] { vmclear(1); }), kOthers | 2 | rflags::kZf) << "VMfailValid";
  EXPECT_EQ(sink.errors.back().data, &vmx.current_vmcs());
  EXPECT_EQ(sink.errors.back().vmcs, kVmcsRegion);
  EXPECT_EQ(flags_after([&] { vmclear(kOtherVmcs); }), kOthers | 2) << "VMsucceed";
}

// VMPTRLD, VMCLEAR and VMXON take an address in which only bits 39:12 may be 1.
TEST_F(InterceptSweep, EachBitOfAPointer) {
  enter_vmx_operation();
  make_current();
  for (unsigned bit = 0; bit < 64; ++bit) {
    const bool good = bit >= 12 && bit < capabilities.registers.physical_address_width;
    const uint64_t pointer = kOtherVmcs ^ 1ull << bit;
    const std::string cleared = vmclear(pointer);
    if (pointer == kVmxonRegion) {
      EXPECT_EQ(cleared, "fail 3");
      continue;
    }
    EXPECT_EQ(cleared, good ? "succeed" : "fail 2") << bit;
    if (!vmx.current_vmcs_pointer()) make_current();
    if (!good) {
      EXPECT_EQ(vmptrld(pointer), "fail 9") << bit;
    }
  }
  EXPECT_EQ(word(vmx.vmxoff(no_operand())), "succeed");
  for (unsigned bit = 0; bit < 64; ++bit) {
    if (bit >= 12 && bit < capabilities.registers.physical_address_width) continue;
    EXPECT_EQ(vmxon(kVmxonRegion ^ 1ull << bit), "fail invalid") << bit;
  }
}

// Against the product in full, bits 111:48 of it.
TEST_F(InterceptSweep, TscScalingOfManyNumbers) {
  prepare();
  enable(PrimaryProcBased::kUseTscOffsetting);
  enable(SecondaryProcBased::kUseTscScaling);
  set(Field::kTscOffset, 7);
  std::vector<uint64_t> numbers = {1, 0xffffffff, 0x1'0000'0000, ~uint64_t{0},
                                   0x8000'0001'7fff'ffff};
  for (uint64_t i = 1, number = 0x9e37'79b9'7f4a'7c15; i != 40;
       ++i, number *= 0x9e37'79b9'7f4a'7c15)
    numbers.push_back(number >> (i % 3 * 16));
  set(Field::kTscMultiplier, 1);
  ASSERT_EQ(vmlaunch(), "transfer");
  for (const uint64_t multiplier : numbers) {
    vmx.triple_fault_exits();
    set(Field::kTscMultiplier, multiplier);
    resume();
    for (const uint64_t tsc : numbers) {
      __extension__ using Product = unsigned __int128;
      const auto expected = static_cast<uint64_t>(Product{tsc} * multiplier >> 48) + 7;
      ASSERT_EQ(vmx.guest_tsc(tsc), expected) << std::hex << tsc << ' ' << multiplier;
    }
  }
}

// "XSAVES" and "XRSTORS": "the logical AND of the following three values is not 0: EDX:EAX, the
// IA32_XSS MSR and the XSS-exiting bitmap".
TEST_F(InterceptSweep, EachBitOfXssExits) {
  prepare();
  enable(SecondaryProcBased::kEnableXsavesXrstors);
  ASSERT_EQ(vmlaunch(), "transfer");
  for (unsigned bit = 0; bit < 64; ++bit) {
    const uint64_t mask = uint64_t{1} << bit;
    for (unsigned without = 0; without < 4; ++without) {
      vmx.triple_fault_exits();
      set(Field::kXssExitingBitmap, without == 0 ? ~mask : mask);
      resume();
      const uint64_t requested = without == 1 ? ~mask : mask;
      cpu.msrs[0xda0] = without == 2 ? ~mask : mask;
      // The high halves of the registers do not count.
      cpu.cpu.gpr[kRdx] = 0xffffffff'00000000 | requested >> 32;
      cpu.cpu.gpr[kRax] = 0xffffffff'00000000 | (requested & 0xffffffff);
      const ExitReason reason = bit % 2 != 0 ? ExitReason::kXsaves : ExitReason::kXrstors;
      EXPECT_EQ(vmx.instruction_exits(reason, no_operand(4)), without == 3)
          << bit << ' ' << without;
      if (without != 3) continue;
      expect_exit(reason);
      resume();
    }
  }
}

}  // namespace
}  // namespace nestor::vmx::test
