// SPDX-License-Identifier: GPL-2.0-or-later
//
// APIC virtualization, every offset and every vector: "Virtualizing Memory-Mapped APIC Accesses",
// "Virtualizing MSR-Based APIC Accesses", "Evaluation and Delivery of Virtual Interrupts".
#include "tests/vmx/apic_fixture.h"

namespace nestor::vmx::test {
namespace {

class ApicSweep : public ApicVirtualization {
 protected:
  // Bit `vector` of a register of 256 bits: 32 of them in each 16 bytes.
  bool bit(unsigned set, unsigned vector) const {
    return page(set + vector / 32 * 16) >> vector % 32 & 1;
  }
  // No vector requested or in service.
  void set_up_nothing() {
    for (const unsigned set : {kIsr, kIrr})
      for (unsigned word = 0; word < 8; ++word) page(set + 16 * word, 0);
  }
  // The guest interrupt status, between two instructions of the guest.
  void set_status(uint64_t value) {
    vmx.edit_current_vmcs().write(Field::kGuestInterruptStatus, value);
  }
  void expect_only_bit(unsigned set, unsigned vector) {
    for (unsigned other = 0; other < 256; ++other)
      EXPECT_EQ(bit(set, other), other == vector) << std::hex << set << ' ' << other;
  }
  void expect_no_bit(unsigned set) { expect_only_bit(set, 256); }
};

struct Range {
  unsigned first, last;
};
bool entirely_within(std::initializer_list<Range> ranges, unsigned offset, unsigned size) {
  for (const Range& range : ranges)
    for (unsigned base = range.first; base <= range.last; base += 0x10)
      if (offset >= base && offset + size - 1 <= base + 3) return true;
  return false;
}

TEST_F(ApicSweep, WhichAccessesAreVirtualized) {
  for (unsigned controls = 0; controls < 8; ++controls) {
    const bool shadow = controls & 1, registers = controls & 2, delivery = controls & 4;
    if (!shadow && (registers || delivery)) continue;
    prepare_shadow();
    if (!shadow) disable(PrimaryProcBased::kUseTprShadow);
    if (registers) enable(SecondaryProcBased::kApicRegisterVirtualization);
    if (delivery) {
      enable(PinBased::kExternalInterruptExiting);
      enable(SecondaryProcBased::kVirtualInterruptDelivery);
    }
    launch();
    for (unsigned offset = 0; offset < 0x1000; ++offset) {
      for (const unsigned size : {1u, 2u, 4u, 8u, 16u}) {
        for (const bool write : {false, true}) {
          const unsigned last = offset + size - 1;
          bool virtualized = offset == 0x80;
          if (delivery) virtualized |= offset == 0xb0 || offset == 0x300;
          if (registers) {
            virtualized |= entirely_within({{0x020, 0x020},
                                            {0x080, 0x080},
                                            {0x0b0, 0x0b0},
                                            {0x0d0, 0x0f0},
                                            {0x280, 0x280},
                                            {0x300, 0x310},
                                            {0x320, 0x370},
                                            {0x380, 0x380},
                                            {0x3e0, 0x3e0}},
                                           offset, size);
            if (!write)
              virtualized |= entirely_within({{0x030, 0x030}, {0x100, 0x270}}, offset, size);
          }
          const bool low_bytes = (offset & 0xc) == 0 && (last & 0xc) == 0 && size <= 4;
          EXPECT_EQ(vmx.virtualizes_apic_access(static_cast<uint16_t>(offset), size, write),
                    shadow && low_bytes && virtualized)
              << std::hex << offset << ' ' << size << ' ' << write << ' ' << controls;
        }
      }
    }
    ASSERT_TRUE(vmx.triple_fault_exits());
    EXPECT_FALSE(vmx.virtualizes_apic_access(0x80, 4, false)) << "root operation";
    EXPECT_EQ(word(vmx.vmxoff(no_operand())), "succeed");
  }
}

TEST_F(ApicSweep, WhatFollowsAWrite) {
  for (const bool delivery : {false, true}) {
    if (delivery) {
      prepare_delivery();
    } else {
      prepare_shadow();
    }
    enable(SecondaryProcBased::kApicRegisterVirtualization);
    launch();
    for (unsigned offset = 0; offset < 0x400; ++offset) {
      page(0x80, 0x12345678);
      page(0x300, 0);
      page(0x310, 0x87654321);
      vmx.apic_written(static_cast<uint16_t>(offset));
      const bool silent = offset == 0x80 || (offset & ~3u) == 0x310 || (delivery && offset == 0xb0);
      EXPECT_EQ(page(0x80), offset == 0x80 ? 0x78u : 0x12345678u) << std::hex << offset;
      EXPECT_EQ(page(0x310), (offset & ~3u) == 0x310 ? 0x87000000u : 0x87654321u)
          << std::hex << offset;
      EXPECT_EQ(vmx.apic_exit_pending(), !silent) << std::hex << offset;
      EXPECT_EQ(vmx.apic_exits(), !silent);
      if (silent) continue;
      expect_exit(ExitReason::kApicWrite);
      EXPECT_EQ(get(Field::kExitQualification), offset);
      resume();
    }
    vmx.triple_fault_exits();
    EXPECT_EQ(word(vmx.vmxoff(no_operand())), "succeed");
  }
}

TEST_F(ApicSweep, EachBitOfTheInterruptCommand) {
  prepare_delivery();
  enable(SecondaryProcBased::kApicRegisterVirtualization);
  launch();
  // Fixed, to itself, edge-triggered, vector 41H; the destination mode and the level do not count.
  constexpr uint32_t kSelf = 0x40041, kFree = 1u << 11 | 1u << 14 | 0xffu;
  for (unsigned bit = 0; bit < 32; ++bit) {
    set_up_nothing();
    const uint32_t icr = kSelf ^ 1u << bit;
    page(0x300, icr);
    vmx.apic_written(0x300);
    const bool fixed = (1u << bit & kFree) != 0 && (icr & 0xf0) != 0;
    EXPECT_EQ(vmx.apic_exit_pending(), !fixed) << bit;
    if (fixed) {
      EXPECT_TRUE(this->bit(kIrr, icr & 0xff)) << bit;
      continue;
    }
    EXPECT_TRUE(vmx.apic_exits());
    expect_exit(ExitReason::kApicWrite);
    EXPECT_EQ(get(Field::kExitQualification), 0x300u);
    resume();
  }
}

TEST_F(ApicSweep, EachVectorIsRequestedDeliveredAndEnded) {
  prepare_delivery();
  enable(SecondaryProcBased::kVirtualizeX2apicMode);
  launch();
  constexpr Field kBitmaps[] = {Field::kEoiExitBitmap0, Field::kEoiExitBitmap1,
                                Field::kEoiExitBitmap2, Field::kEoiExitBitmap3};
  for (unsigned vector = 16; vector < 256; ++vector) {
    for (const bool exits : {false, true}) {
      SCOPED_TRACE(vector);
      vmx.triple_fault_exits();
      for (unsigned i = 0; i < 4; ++i) {
        const uint64_t own = i == vector / 64 ? 1ull << vector % 64 : 0;
        set(kBitmaps[i], exits ? own : ~own);
      }
      set(Field::kGuestInterruptStatus, 0);
      page(0x80, 0);
      resume();
      ASSERT_EQ(vmx.write_virtual_apic_msr(0x83f, vector), MsrStatus::kOk);
      expect_only_bit(kIrr, vector);
      EXPECT_EQ(get(Field::kGuestInterruptStatus), vector);
      ASSERT_TRUE(vmx.virtual_interrupt_recognized());
      // A task priority of its class holds it back, one below does not.
      ASSERT_TRUE(vmx.write_virtual_cr8(vector / 16));
      EXPECT_FALSE(vmx.virtual_interrupt_recognized());
      ASSERT_TRUE(vmx.write_virtual_cr8(vector / 16 - 1));
      ASSERT_TRUE(vmx.virtual_interrupt_recognized());

      const Event event = vmx.take_virtual_interrupt();
      EXPECT_EQ(event.vector, vector);
      EXPECT_EQ(event.type, EventType::kExternalInterrupt);
      expect_no_bit(kIrr);
      expect_only_bit(kIsr, vector);
      EXPECT_EQ(page(0xa0), vector & 0xf0) << "VPPR";
      EXPECT_EQ(get(Field::kGuestInterruptStatus), vector << 8);
      EXPECT_FALSE(vmx.virtual_interrupt_recognized());

      ASSERT_EQ(vmx.write_virtual_apic_msr(0x80b, 0), MsrStatus::kOk);
      expect_no_bit(kIsr);
      EXPECT_EQ(page(0xa0), (vector / 16 - 1) * 16) << "VPPR";
      EXPECT_EQ(vmx.apic_exits(), exits);
      if (exits) {
        expect_exit(ExitReason::kVirtualizedEoi);
        EXPECT_EQ(get(Field::kExitQualification), vector);
        EXPECT_EQ(get(Field::kGuestInterruptStatus), 0u);
        resume();
      }
    }
  }
}

// What becomes the next one, of two.
TEST_F(ApicSweep, TheHighestOfTheOthersIsNext) {
  prepare_delivery();
  enable(SecondaryProcBased::kVirtualizeX2apicMode);
  launch();
  for (unsigned low = 16; low < 250; low += 3) {
    for (unsigned high = low + 1; high < 256; high += 7) {
      SCOPED_TRACE(::testing::Message() << low << ' ' << high);
      vmx.triple_fault_exits();
      set(Field::kGuestInterruptStatus, 0);
      page(0x80, 0);
      resume();
      ASSERT_EQ(vmx.write_virtual_apic_msr(0x83f, high), MsrStatus::kOk);
      ASSERT_EQ(vmx.write_virtual_apic_msr(0x83f, low), MsrStatus::kOk);
      EXPECT_EQ(get(Field::kGuestInterruptStatus), high);
      EXPECT_EQ(vmx.take_virtual_interrupt().vector, high);
      EXPECT_EQ(get(Field::kGuestInterruptStatus), high << 8 | low);
      EXPECT_EQ(vmx.virtual_interrupt_recognized(), false);
      ASSERT_EQ(vmx.write_virtual_apic_msr(0x80b, 0), MsrStatus::kOk);
      EXPECT_EQ(get(Field::kGuestInterruptStatus), low);
      EXPECT_TRUE(vmx.virtual_interrupt_recognized());
      EXPECT_EQ(vmx.take_virtual_interrupt().vector, low);
      // Both in service now: the end of the first brings back the other.
      page(kIsr + high / 32 * 16, page(kIsr + high / 32 * 16) | 1u << high % 32);
      set_status(high << 8);
      ASSERT_EQ(vmx.write_virtual_apic_msr(0x80b, 0), MsrStatus::kOk);
      EXPECT_EQ(get(Field::kGuestInterruptStatus), low << 8);
      EXPECT_EQ(page(0xa0), low & 0xf0);
      ASSERT_EQ(vmx.write_virtual_apic_msr(0x80b, 0), MsrStatus::kOk);
      expect_no_bit(kIsr);
    }
  }
}

TEST_F(ApicSweep, EachVectorIsPosted) {
  prepare_delivery();
  enable(PinBased::kProcessPostedInterrupts);
  enable(VmExitControl::kAcknowledgeInterruptOnExit);
  set(Field::kPostedInterruptNotificationVector, 0xf2);
  set(Field::kPostedInterruptDescriptorAddress, kDescriptor);
  cpu.interrupt_vector = 0xf2;
  launch();
  for (unsigned vector = 16; vector < 256; ++vector) {
    for (const unsigned requesting : {0u, 0x7fu}) {
      SCOPED_TRACE(vector);
      set_status(requesting);
      set_up_nothing();
      // All ones behind what the processor reads: the outstanding notification and no more goes.
      for (unsigned i = 0; i < 64; ++i)
        cpu.poke<uint8_t>(kDescriptor + i, i < 32 ? uint8_t{0} : uint8_t{0xff});
      cpu.poke<uint8_t>(kDescriptor + vector / 8, static_cast<uint8_t>(1u << vector % 8));
      EXPECT_FALSE(vmx.external_interrupt_exits());
      expect_only_bit(kIrr, vector);
      EXPECT_EQ(get(Field::kGuestInterruptStatus), std::max(requesting, vector));
      EXPECT_TRUE(vmx.virtual_interrupt_recognized());
      for (unsigned i = 0; i < 64; ++i)
        EXPECT_EQ(cpu.peek<uint8_t>(kDescriptor + i), i < 32 ? 0 : i == 32 ? 0xfe : 0xff) << i;
    }
  }
}

// "Virtualizing MSR-Based APIC Accesses".
TEST_F(ApicSweep, EachMsrOfX2apicMode) {
  for (const bool registers : {false, true}) {
    for (const bool delivery : {false, true}) {
      if (delivery) {
        prepare_delivery();
      } else {
        prepare_shadow();
      }
      enable(SecondaryProcBased::kVirtualizeX2apicMode);
      if (registers) enable(SecondaryProcBased::kApicRegisterVirtualization);
      launch();
      for (uint32_t index = 0x7f0; index < 0x910; ++index) {
        const bool apic = index >= 0x800 && index <= 0x8ff;
        const unsigned offset = (index & 0xff) * 16;
        cpu.poke<uint64_t>(kVirtualApic + offset, 0x1122'3344'5566'7700 + index % 16);
        const bool reads = apic && (registers || index == 0x808);
        const auto value = vmx.read_virtual_apic_msr(index);
        ASSERT_EQ(value.has_value(), reads) << std::hex << index;
        if (reads) {
          EXPECT_EQ(*value, 0x1122'3344'5566'7700 + index % 16);
        }
        const bool writes = index == 0x808 || (delivery && (index == 0x80b || index == 0x83f));
        for (const uint64_t bad : {uint64_t{0x100}, uint64_t{1} << 63}) {
          const auto status = vmx.write_virtual_apic_msr(index, bad);
          ASSERT_EQ(status.has_value(), writes) << std::hex << index;
          if (writes) {
            EXPECT_EQ(*status, MsrStatus::kGeneralProtection);
          }
        }
        if (!writes) continue;
        const uint64_t good = index == 0x80b ? 0 : 0x5a;
        EXPECT_EQ(vmx.write_virtual_apic_msr(index, good), MsrStatus::kOk);
        EXPECT_EQ(cpu.peek<uint64_t>(kVirtualApic + offset), good) << std::hex << index;
      }
      if (delivery) {
        EXPECT_EQ(vmx.write_virtual_apic_msr(0x80b, 1), MsrStatus::kGeneralProtection);
      }
      vmx.triple_fault_exits();
      EXPECT_EQ(word(vmx.vmxoff(no_operand())), "succeed");
    }
  }
}

// "TPR Virtualization": the threshold against bits 7:4 of VTPR, and what VPPR becomes.
TEST_F(ApicSweep, PrioritiesAndTheThreshold) {
  prepare_shadow();
  launch();
  for (unsigned threshold = 0; threshold < 16; ++threshold) {
    vmx.triple_fault_exits();
    page(0x80, 0xf0);
    set(Field::kTprThreshold, threshold);
    resume();
    for (unsigned tpr = 0; tpr < 16; ++tpr) {
      ASSERT_TRUE(vmx.write_virtual_cr8(0xfff0 | tpr));
      EXPECT_EQ(page(0x80), tpr << 4);
      EXPECT_EQ(vmx.virtual_cr8(), tpr);
      EXPECT_EQ(vmx.apic_exits(), tpr < threshold) << tpr << ' ' << threshold;
      if (tpr >= threshold) continue;
      expect_exit(ExitReason::kTprBelowThreshold);
      page(0x80, 0xf0);
      resume();
    }
  }
  vmx.triple_fault_exits();
  enable(PinBased::kExternalInterruptExiting);
  enable(SecondaryProcBased::kVirtualInterruptDelivery);
  for (unsigned servicing = 0; servicing < 256; servicing += 5) {
    for (unsigned tpr = 0; tpr < 256; tpr += 3) {
      set(Field::kGuestInterruptStatus, servicing << 8);
      page(0x80, 0xabcdef00 | tpr);
      resume();
      EXPECT_EQ(page(0xa0), (tpr & 0xf0) >= (servicing & 0xf0) ? tpr : servicing & 0xf0)
          << tpr << ' ' << servicing;
      vmx.triple_fault_exits();
    }
  }
}

TEST_F(ApicSweep, TheAccessPage) {
  prepare_shadow();
  enable(SecondaryProcBased::kVirtualizeApicAccesses);
  set(Field::kApicAccessAddress, kAccessPage);
  launch();
  for (unsigned bit = 0; bit < 40; ++bit)
    EXPECT_EQ(vmx.is_apic_access_page(kAccessPage ^ 1ull << bit), bit < 12) << bit;
  vmx.triple_fault_exits();
  EXPECT_FALSE(vmx.is_apic_access_page(kAccessPage));
}

}  // namespace
}  // namespace nestor::vmx::test
