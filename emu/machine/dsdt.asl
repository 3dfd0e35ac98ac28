// SPDX-License-Identifier: GPL-2.0-or-later
//
// What ACPI tells of the board beyond its tables of numbers. The places are those of the rows in
// board.cc; SLP_TYP of S5 is that of emu/devices/acpi/power_management.h.
DefinitionBlock ("dsdt.aml", "DSDT", 2, "NESTOR", "NESTORPC", 1)
{
    Name (\_S5, Package () { 0, 0, 0, 0 })

    // What the operating system uses: 0 the 8259s, 1 the I/O APIC.
    Name (PICM, 0)
    Method (\_PIC, 1) { PICM = Arg0 }

    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A03"))
            Name (_BBN, 0)
            Name (_UID, 0)
            // Where memory may be assigned from: acpi_tables.cc writes it.
            Name (MEMB, 0xC0000000)
            Name (RSRC, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
                    0, 0, 0, 0, 1)
                IO (Decode16, 0x0CF8, 0x0CF8, 0x01, 0x08)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0, 0x0000, 0x0CF7, 0, 0x0CF8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0, 0x0D00, 0xFFFF, 0, 0xF300)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0, 0x000A0000, 0x000BFFFF, 0, 0x00020000)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                    0, 0xC0000000, 0xFEBFFFFF, 0, 0x3EC00000,
                    ,, MEMW)
            })
            Method (_CRS, 0, Serialized)
            {
                CreateDWordField (RSRC, \_SB.PCI0.MEMW._MIN, FRST)
                CreateDWordField (RSRC, \_SB.PCI0.MEMW._LEN, SIZE)
                FRST = MEMB
                SIZE = 0xFEC00000 - MEMB
                Return (RSRC)
            }

            // Pin P of slot S is PIRQA# and (S + P) mod 4. It leads to line 16 and that of the I/O
            // APIC, and to the line of the 8259s to which the ISA bridge routes it.
            Method (_PRT, 0, Serialized)
            {
                Local0 = Package (128) {}
                Local1 = 0
                While (Local1 < 128)
                {
                    Local3 = Local1 >> 2
                    Local4 = (Local3 + Local1) & 3
                    Local2 = Package (4) { 0, 0, 0, 0 }
                    If (PICM == 0)
                    {
                        If (Local4 == 0) { Local2 = Package (4) { 0, 0, LNKA, 0 } }
                        If (Local4 == 1) { Local2 = Package (4) { 0, 0, LNKB, 0 } }
                        If (Local4 == 2) { Local2 = Package (4) { 0, 0, LNKC, 0 } }
                        If (Local4 == 3) { Local2 = Package (4) { 0, 0, LNKD, 0 } }
                    }
                    Else
                    {
                        Local2[3] = 16 + Local4
                    }
                    Local2[0] = (Local3 << 16) | 0xFFFF
                    Local2[1] = Local1 & 3
                    Local0[Local1] = Local2
                    Local1++
                }
                Return (Local0)
            }

            Device (ISA)
            {
                Name (_ADR, 0x00010000)
                OperationRegion (PIRQ, PCI_Config, 0x60, 4)
                Field (PIRQ, ByteAcc, NoLock, Preserve)
                {
                    PRQA, 8, PRQB, 8, PRQC, 8, PRQD, 8
                }
                // Of a route control register: whether the link is there and enabled, the resource
                // that it has, and the register for a resource.
                Method (STAT, 1)
                {
                    If (Arg0 & 0x80) { Return (0x09) }
                    Return (0x0B)
                }
                Method (IRQS, 1, Serialized)
                {
                    Name (NONE, ResourceTemplate () { IRQ (Level, ActiveLow, Shared) {} })
                    Name (SOME, ResourceTemplate () { IRQ (Level, ActiveLow, Shared, L) { 5 } })
                    CreateWordField (SOME, L._INT, MASK)
                    If (Arg0 & 0x80) { Return (NONE) }
                    MASK = 1 << (Arg0 & 0x0F)
                    Return (SOME)
                }
                Method (ROUT, 1)
                {
                    CreateWordField (Arg0, 1, MASK)
                    FindSetRightBit (MASK, Local0)
                    If (Local0 == 0) { Return (0x80) }
                    Return (Local0 - 1)
                }
            }
        }

        Device (LNKA)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 1)
            Name (_PRS, ResourceTemplate () { IRQ (Level, ActiveLow, Shared) { 5, 10, 11 } })
            Method (_STA) { Return (\_SB.PCI0.ISA.STAT (\_SB.PCI0.ISA.PRQA)) }
            Method (_DIS) { \_SB.PCI0.ISA.PRQA |= 0x80 }
            Method (_CRS) { Return (\_SB.PCI0.ISA.IRQS (\_SB.PCI0.ISA.PRQA)) }
            Method (_SRS, 1) { \_SB.PCI0.ISA.PRQA = \_SB.PCI0.ISA.ROUT (Arg0) }
        }
        Device (LNKB)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 2)
            Name (_PRS, ResourceTemplate () { IRQ (Level, ActiveLow, Shared) { 5, 10, 11 } })
            Method (_STA) { Return (\_SB.PCI0.ISA.STAT (\_SB.PCI0.ISA.PRQB)) }
            Method (_DIS) { \_SB.PCI0.ISA.PRQB |= 0x80 }
            Method (_CRS) { Return (\_SB.PCI0.ISA.IRQS (\_SB.PCI0.ISA.PRQB)) }
            Method (_SRS, 1) { \_SB.PCI0.ISA.PRQB = \_SB.PCI0.ISA.ROUT (Arg0) }
        }
        Device (LNKC)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 3)
            Name (_PRS, ResourceTemplate () { IRQ (Level, ActiveLow, Shared) { 5, 10, 11 } })
            Method (_STA) { Return (\_SB.PCI0.ISA.STAT (\_SB.PCI0.ISA.PRQC)) }
            Method (_DIS) { \_SB.PCI0.ISA.PRQC |= 0x80 }
            Method (_CRS) { Return (\_SB.PCI0.ISA.IRQS (\_SB.PCI0.ISA.PRQC)) }
            Method (_SRS, 1) { \_SB.PCI0.ISA.PRQC = \_SB.PCI0.ISA.ROUT (Arg0) }
        }
        Device (LNKD)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 4)
            Name (_PRS, ResourceTemplate () { IRQ (Level, ActiveLow, Shared) { 5, 10, 11 } })
            Method (_STA) { Return (\_SB.PCI0.ISA.STAT (\_SB.PCI0.ISA.PRQD)) }
            Method (_DIS) { \_SB.PCI0.ISA.PRQD |= 0x80 }
            Method (_CRS) { Return (\_SB.PCI0.ISA.IRQS (\_SB.PCI0.ISA.PRQD)) }
            Method (_SRS, 1) { \_SB.PCI0.ISA.PRQD = \_SB.PCI0.ISA.ROUT (Arg0) }
        }

        // The places of the fixed hardware, and of what is only there in Nestor.
        Device (MBRD)
        {
            // But for those of ACPI, which the function 00:01.3 has.
            Name (_HID, EisaId ("PNP0C02"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0020, 0x0020, 0x01, 0x02)
                IO (Decode16, 0x00A0, 0x00A0, 0x01, 0x02)
                IO (Decode16, 0x0061, 0x0061, 0x01, 0x01)
                IO (Decode16, 0x0092, 0x0092, 0x01, 0x01)
                IO (Decode16, 0x04D0, 0x04D0, 0x01, 0x02)
                IO (Decode16, 0x0510, 0x0510, 0x01, 0x0C)
                Memory32Fixed (ReadWrite, 0xFEF00000, 0x00100000)
            })
        }
        Device (TIMR)
        {
            Name (_HID, EisaId ("PNP0100"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0040, 0x0040, 0x01, 0x04)
                IRQNoFlags () { 0 }
            })
        }
        Device (HPET)
        {
            Name (_HID, EisaId ("PNP0103"))
            Name (_CRS, ResourceTemplate ()
            {
                Memory32Fixed (ReadWrite, 0xFED00000, 0x00000400)
            })
        }
        Device (RTC)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0070, 0x0070, 0x01, 0x02)
                IRQNoFlags () { 8 }
            })
        }
        Device (PS2K)
        {
            Name (_HID, EisaId ("PNP0303"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0060, 0x0060, 0x01, 0x01)
                IO (Decode16, 0x0064, 0x0064, 0x01, 0x01)
                IRQNoFlags () { 1 }
            })
        }
        Device (PS2M)
        {
            Name (_HID, EisaId ("PNP0F13"))
            Name (_CRS, ResourceTemplate ()
            {
                IRQNoFlags () { 12 }
            })
        }
        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 1)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03F8, 0x03F8, 0x01, 0x08)
                IRQNoFlags () { 4 }
            })
        }
        Device (COM2)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 2)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x02F8, 0x02F8, 0x01, 0x08)
                IRQNoFlags () { 3 }
            })
        }
        Device (COM3)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 3)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03E8, 0x03E8, 0x01, 0x08)
                IRQNoFlags () { 4 }
            })
        }
        Device (COM4)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 4)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x02E8, 0x02E8, 0x01, 0x08)
                IRQNoFlags () { 3 }
            })
        }
    }
}
