// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/ata/ahci.h"

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

#include "emu/memory/little_endian.h"

namespace nestor::emu {
namespace {

// "HBA Memory Registers".
enum Register : uint64_t {
  kCapabilities = 0x00,
  kGlobalControl = 0x04,
  kInterruptStatus = 0x08,
  kPortsImplemented = 0x0c,
  kVersion = 0x10,
  kPort = 0x100,
  kPortEnd = 0x180,
};
enum PortRegister : uint64_t {
  kListBase = 0x00,
  kListBaseUpper = 0x04,
  kFisBase = 0x08,
  kFisBaseUpper = 0x0c,
  kPortInterruptStatus = 0x10,
  kPortInterruptEnable = 0x14,
  kPortCommand = 0x18,
  kTaskFileData = 0x20,
  kSignature = 0x24,
  kSataStatus = 0x28,
  kSataControl = 0x2c,
  kSataError = 0x30,
  kCommandIssue = 0x38,
};

// 32 command slots, AHCI alone, 1.5 Gbit/s, command list override, 64-bit addresses.
constexpr uint32_t kOffered = 31u << 8 | 1u << 18 | 1u << 20 | 1u << 24 | 1u << 31;
constexpr uint32_t kVersion131 = 0x00010301;
// GHC.
constexpr uint32_t kReset = 1u << 0, kInterrupts = 1u << 1, kAhci = 1u << 31;
// PxCMD.
constexpr uint32_t kStart = 1u << 0, kListOverride = 1u << 3, kReceive = 1u << 4,
                   kReceiving = 1u << 14, kRunning = 1u << 15, kSlotShift = 8;
// Start, spin-up, power, receive, ATAPI, LED, power management.
constexpr uint32_t kCommandWritable = kStart | 1u << 1 | 1u << 2 | kReceive | 7u << 24;
// PxIS.
constexpr uint32_t kRegisterFis = 1u << 0, kPioSetupFis = 1u << 1, kConnected = 1u << 6,
                   kHostBusError = 1u << 29, kTaskFileError = 1u << 30;
constexpr uint32_t kCauses = 0xfdc000ff, kCausesByOthers = kConnected;
constexpr uint32_t kExchanged = 1u << 26;  // PxSERR: the drive was found anew
constexpr uint32_t kPresent = 0x113, kDetectionBits = 0xf, kInitialize = 1;
constexpr uint32_t kPacketDevice = 0xeb140101, kNoSignature = 0xffffffff;

// Status and error of the drive.
constexpr uint8_t kError = 0x01, kReady = 0x50, kBusy = 0x80, kDataRequest = 0x08, kAborted = 0x04;
constexpr uint32_t kNothingReceived = 0x7f;

// The header of a command.
constexpr uint64_t kHeaderBytes = 32;
constexpr uint32_t kWrites = 1u << 6;
constexpr unsigned kRegionCountShift = 16;
// Its table, with the regions behind.
constexpr uint64_t kPacketOffset = 0x40, kRegionsOffset = 0x80, kRegionBytes = 16;
constexpr uint32_t kRegionSize = 0x3fffff;

constexpr uint8_t kHostToDevice = 0x27, kDeviceToHost = 0x34, kPioSetup = 0x5f;
constexpr uint8_t kIsCommand = 0x80, kSoftReset = 0x04;
constexpr uint64_t kPioSetupOffset = 0x20, kRegisterOffset = 0x40;  // among received FISes

enum AtaCommand : uint8_t {
  kDeviceReset = 0x08,
  kPacket = 0xa0,
  kIdentifyPacketDevice = 0xa1,
  kSetFeatures = 0xef,
};

}  // namespace

AhciController::AhciController(Place place, const Identity& identity,
                               std::unique_ptr<CdDrive> drive)
    : PciFunction(place.bus, identity, {{}, {}, {}, {}, {}, {Space::kMemory, kRegisterBytes}},
                  std::move(place.interrupt)),
      clock_(place.clock),
      memory_(place.memory),
      drive_(std::move(drive)),
      due_(place.bus.timers(), "AHCI", [this](uint64_t) { execute(current_slot()); }) {
  add_msi(std::move(place.message));
  reset();
}

void AhciController::reset() {
  state_ = State{};
  state_.control = kAhci;
  reset_drive();
  due_.set(EventQueue::kNever);
  update_interrupt();
}

// COMRESET, or a software reset: the drive says what it is.
void AhciController::reset_drive() {
  state_.signature = kPacketDevice;
  state_.task_file = 0x0100;  // no error found, not ready before it gets a packet
  if ((state_.command & kReceive) != 0) store_fis(kRegisterOffset, kDeviceToHost);
}

// --- registers

uint32_t AhciController::read_register(uint64_t offset) const {
  if (offset < kPort) {
    switch (offset) {
      case kCapabilities:
        return kOffered;
      case kGlobalControl:
        return state_.control;
      case kInterruptStatus:
        return state_.pending;
      case kPortsImplemented:
        return 1;
      case kVersion:
        return kVersion131;
      default:
        return 0;
    }
  }
  if (offset >= kPortEnd) return 0;
  const auto upper = [](uint64_t address) { return static_cast<uint32_t>(address >> 32); };
  switch (offset - kPort) {
    case kListBase:
      return static_cast<uint32_t>(state_.list);
    case kListBaseUpper:
      return upper(state_.list);
    case kFisBase:
      return static_cast<uint32_t>(state_.received);
    case kFisBaseUpper:
      return upper(state_.received);
    case kPortInterruptStatus:
      return port_interrupts();
    case kPortInterruptEnable:
      return state_.enabled;
    case kPortCommand:
      return state_.command | ((state_.command & kReceive) != 0 ? kReceiving : 0) |
             ((state_.command & kStart) != 0 ? kRunning : 0);
    case kTaskFileData:
      return state_.task_file;
    case kSignature:
      return state_.signature;
    case kSataStatus:
      return (state_.link_control & kDetectionBits) == 0 ? kPresent : 0;
    case kSataControl:
      return state_.link_control;
    case kSataError:
      return state_.error;
    case kCommandIssue:
      return state_.issued;
    default:
      return 0;
  }
}

uint64_t AhciController::read_memory(DeviceAddress at, unsigned size) {
  if (size == 8 && at.offset % 8 == 0)
    return read_register(at.offset) | uint64_t{read_register(at.offset + 4)} << 32;
  if (at.offset % 4 + size > 4) return 0;  // registers are read one by one
  const uint32_t value = read_register(at.offset & ~3ull) >> (8 * (at.offset % 4));
  return value & (0xffffffffu >> (32 - 8 * size));
}

// Registers are written as a whole.
void AhciController::write_memory(DeviceAddress at, unsigned size, uint64_t value) {
  if (size < 4 || at.offset % size != 0) return;
  write_register(at.offset, static_cast<uint32_t>(value));
  if (size == 8) write_register(at.offset + 4, static_cast<uint32_t>(value >> 32));
}

void AhciController::write_register(uint64_t offset, uint32_t value) {
  if (offset == kGlobalControl) {
    if ((value & kReset) != 0) return reset();
    state_.control = kAhci | (value & kInterrupts);
  } else if (offset == kInterruptStatus) {
    state_.pending &= ~value;
    raise(0);
  } else if (offset >= kPort && offset < kPortEnd) {
    return write_port_register(offset - kPort, value);
  }
  update_interrupt();
}

void AhciController::write_port_register(uint64_t offset, uint32_t value) {
  const auto set_low = [value](uint64_t& address, uint32_t reserved) {
    address = (address >> 32 << 32) | (value & ~reserved);
  };
  const auto set_high = [value](uint64_t& address) {
    address = (address & 0xffffffff) | uint64_t{value} << 32;
  };
  switch (offset) {
    case kListBase:
      return set_low(state_.list, 0x3ff);
    case kListBaseUpper:
      return set_high(state_.list);
    case kFisBase:
      return set_low(state_.received, 0xff);
    case kFisBaseUpper:
      return set_high(state_.received);
    case kPortInterruptStatus:
      state_.interrupts &= ~(value & ~kCausesByOthers);
      return update_interrupt();
    case kPortInterruptEnable:
      state_.enabled = value & kCauses;
      return raise(0);
    case kPortCommand:
      return write_port_command(value);
    case kSataControl: {
      const bool was_reset = (state_.link_control & kDetectionBits) == kInitialize;
      state_.link_control = value & 0xfff;
      if ((value & kDetectionBits) != 0) {
        state_.task_file = kNothingReceived;
        state_.signature = kNoSignature;
      } else if (was_reset) {
        reset_drive();
        state_.error |= kExchanged;
      }
      return raise(0);
    }
    case kSataError:
      state_.error &= ~value;
      return update_interrupt();
    case kCommandIssue:
      if ((state_.command & kStart) == 0) return;
      state_.issued |= value;
      return start_next();
    default:
      return;
  }
}

void AhciController::write_port_command(uint32_t value) {
  const uint32_t before = state_.command;
  state_.command = (value & kCommandWritable) | (before & 0x1fu << kSlotShift);
  if ((value & kListOverride) != 0) state_.task_file &= ~uint32_t{kBusy | kDataRequest};
  if ((~before & value & kReceive) != 0) store_fis(kRegisterOffset, kDeviceToHost);
  if ((value & kStart) != 0) return;
  // What was issued is forgotten.
  state_.issued = 0;
  state_.stopped = false;
  state_.command &= ~(0x1fu << kSlotShift);
  due_.set(EventQueue::kNever);
}

// --- commands

unsigned AhciController::current_slot() const { return state_.command >> kSlotShift & 0x1f; }

// Takes up the next command; it ends when its time has passed.
void AhciController::start_next() {
  if (state_.issued == 0 || state_.stopped || due_.deadline() != EventQueue::kNever) return;
  const auto slot = static_cast<unsigned>(std::countr_zero(state_.issued));
  state_.command = (state_.command & ~(0x1fu << kSlotShift)) | slot << kSlotShift;
  Command command;
  uint64_t blocks = 0;
  if (fetch(slot, command) && command.fis[2] == kPacket) {
    // What a read asks for; the drive may yet refuse it.
    const std::span packet = std::span(command.fis).subspan(kPacketOffset);
    if (packet[0] == 0x28) blocks = uint64_t{packet[7]} << 8 | packet[8];
    if (packet[0] == 0xa8) blocks = uint64_t{packet[8]} << 8 | packet[9];
  }
  due_.set(clock_.cycles() + kCommandCycles + blocks * kCyclesPerBlock);
}

// false: its header or its table is not in memory.
bool AhciController::fetch(unsigned slot, Command& command) {
  std::array<uint8_t, 16> header{};
  command.header = state_.list + slot * kHeaderBytes;
  if (!is_bus_master() || !memory_.read(command.header, header)) return false;
  command.flags = static_cast<uint32_t>(load_little_endian(std::span(header).first(4)));
  command.table = load_little_endian(std::span(header).subspan(8, 8)) & ~0x7full;
  return memory_.read(command.table, command.fis);
}

void AhciController::execute(unsigned slot) {
  if ((state_.issued >> slot & 1) == 0) return;
  Command command;
  if (!fetch(slot, command)) return fail_on_host_bus();
  if (command.fis[0] != kHostToDevice) return complete(slot, false, kRegisterFis);
  if ((command.fis[1] & kIsCommand) == 0) {
    // A write to the control register: the end of a software reset is the reset.
    if ((command.fis[15] & kSoftReset) == 0) reset_drive();
    state_.issued &= ~(1u << slot);
    raise((command.fis[15] & kSoftReset) == 0 ? kRegisterFis : 0);
    return start_next();
  }
  switch (command.fis[2]) {
    case kPacket: {
      if ((command.flags & kWrites) != 0) return complete(slot, false, kRegisterFis);
      const bool ok = execute_packet(command);
      if (!state_.stopped) complete(slot, ok, kRegisterFis);
      return;
    }
    case kIdentifyPacketDevice:
      if (!send(command, drive_->identity(), {})) return fail_on_host_bus();
      return complete(slot, true, kPioSetupFis);
    case kSetFeatures:
      // The transfer mode; all are the same here.
      return complete(slot, command.fis[3] == 0x03, kRegisterFis);
    case kDeviceReset:
      reset_drive();
      return complete(slot, true, kRegisterFis);
    default:
      return complete(slot, false, kRegisterFis);
  }
}

bool AhciController::execute_packet(Command& command) {
  const auto packet = std::span(command.fis).subspan<kPacketOffset, CdDrive::kPacketBytes>();
  const CdDrive::Answer answer = drive_->take(packet);
  if (!answer.ok) return false;
  if (send(command, answer.data, answer.extent)) return true;
  // Either the file could not be read, or memory not be written.
  if (drive_->sense_key() == 0) fail_on_host_bus();
  return false;
}

// Scatters what is answered over the regions of the command, as far as they go.
bool AhciController::send(Command& command, std::span<const uint8_t> data, CdDrive::Extent extent) {
  const uint64_t total = data.size() + extent.bytes;
  uint64_t sent = 0;
  std::array<uint8_t, CdDrive::kBlockBytes> block;
  for (unsigned i = 0; i < command.flags >> kRegionCountShift && sent < total; ++i) {
    std::array<uint8_t, kRegionBytes> region{};
    if (!memory_.read(command.table + kRegionsOffset + i * kRegionBytes, region)) return false;
    uint64_t address = load_little_endian(std::span(region).first(8)) & ~1ull;
    uint64_t room = (load_little_endian(std::span(region).subspan(12, 4)) & kRegionSize) + 1;
    while (room != 0 && sent < total) {
      const uint64_t size = std::min({room, total - sent, uint64_t{block.size()}});
      const std::span piece = std::span(block).first(size);
      if (extent.bytes == 0) {
        std::ranges::copy(data.subspan(sent, size), piece.begin());
      } else if (!drive_->read(extent.offset + sent, piece)) {
        return false;
      }
      if (!memory_.write(address, piece)) return false;
      address += size;
      room -= size;
      sent += size;
    }
  }
  std::array<uint8_t, 4> count{};
  store_little_endian(count, sent);
  return memory_.write(command.header + 4, count);
}

void AhciController::complete(unsigned slot, bool ok, uint32_t cause) {
  const uint32_t error = ok ? 0u : uint32_t{drive_->sense_key()} << 4 | kAborted;
  state_.task_file = error << 8 | kReady | (ok ? 0u : kError);
  if (cause == kPioSetupFis) {
    store_fis(kPioSetupOffset, kPioSetup);
  } else {
    store_fis(kRegisterOffset, kDeviceToHost);
  }
  if (ok) {
    state_.issued &= ~(1u << slot);
    raise(cause);
    return start_next();
  }
  // The port stands still until software starts it anew.
  state_.stopped = true;
  raise(cause | kTaskFileError);
}

void AhciController::fail_on_host_bus() {
  state_.stopped = true;
  raise(kHostBusError);
}

// A FIS from the drive: status, error and, where the sector count is, why it interrupts: a command
// is complete.
void AhciController::store_fis(uint64_t offset, uint8_t type) {
  if ((state_.command & kReceive) == 0 || !is_bus_master()) return;
  std::array<uint8_t, 20> fis{};
  fis[0] = type;
  fis[1] = 0x40;
  fis[2] = static_cast<uint8_t>(state_.task_file);
  fis[3] = static_cast<uint8_t>(state_.task_file >> 8);
  // Of an ATAPI device the signature, after a reset as well as later.
  fis[5] = 0x14;
  fis[6] = 0xeb;
  fis[12] = type == kPioSetup ? 1 : 3;
  if (type == kPioSetup) {
    fis[15] = fis[2];
    store_little_endian(std::span(fis).subspan(16, 2), CdDrive::kIdentityBytes);
  }
  // Where there is no memory nothing is received.
  (void)memory_.write(state_.received + offset, fis);
}

// --- interrupts

// PxIS; one bit of it shows what is in PxSERR.
uint32_t AhciController::port_interrupts() const {
  return state_.interrupts | ((state_.error & kExchanged) != 0 ? kConnected : 0);
}

void AhciController::raise(uint32_t causes) {
  state_.interrupts |= causes;
  if ((port_interrupts() & state_.enabled) != 0) state_.pending |= 1;
  update_interrupt();
}

void AhciController::update_interrupt() {
  set_interrupt((state_.control & kInterrupts) != 0 && state_.pending != 0);
}

void AhciController::serialize(Archive& archive) {
  PciFunction::serialize(archive);
  archive(state_);
  archive.require((state_.control & ~kInterrupts) == kAhci && state_.pending <= 1);
  archive.require((state_.command & ~(kCommandWritable | 0x1fu << kSlotShift)) == 0);
  drive_->serialize(archive);
}

}  // namespace nestor::emu
