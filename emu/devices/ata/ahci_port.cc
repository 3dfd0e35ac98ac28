// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/devices/ata/ahci_port.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "emu/devices/ata/ahci_regions.h"
#include "emu/memory/little_endian.h"

namespace nestor::emu {
namespace {

// "Port Registers".
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
  kSataActive = 0x34,
  kCommandIssue = 0x38,
};

// PxCMD.
constexpr uint32_t kStart = 1u << 0, kListOverride = 1u << 3, kReceive = 1u << 4,
                   kReceiving = 1u << 14, kRunning = 1u << 15, kSlotShift = 8,
                   kSlotBits = 0x1fu << kSlotShift;
// Start, spin-up, power, receive, ATAPI, LED, power management.
constexpr uint32_t kCommandWritable = kStart | 1u << 1 | 1u << 2 | kReceive | 7u << 24;
// PxIS.
constexpr uint32_t kRegisterFis = 1u << 0, kPioSetupFis = 1u << 1, kSetBitsFis = 1u << 3,
                   kRegionDone = 1u << 5, kConnected = 1u << 6, kOverflow = 1u << 24,
                   kHostBusError = 1u << 29, kTaskFileError = 1u << 30;
constexpr uint32_t kCauses = 0xfdc000ff, kCausesByOthers = kConnected;
constexpr uint32_t kExchanged = 1u << 26;  // PxSERR: the drive was found anew
constexpr uint32_t kPresent = 0x113, kDetectionBits = 0xf, kInitialize = 1;
constexpr uint32_t kNoSignature = 0xffffffff;

// Status of the drive, in PxTFD.
constexpr uint32_t kBusy = 0x80, kDataRequest = 0x08, kNothingReceived = 0x7f;

// The header of a command.
constexpr uint64_t kHeaderBytes = 32;
constexpr uint32_t kWrites = 1u << 6;
constexpr unsigned kRegionCountShift = 16;
// Its table, with the regions behind.
constexpr uint64_t kPacketOffset = 0x40, kRegionsOffset = 0x80;

// "FIS Types", and where they are among received ones.
constexpr uint8_t kHostToDevice = 0x27, kDeviceToHost = 0x34, kPioSetup = 0x5f, kSetBits = 0xa1;
constexpr uint64_t kPioSetupOffset = 0x20, kRegisterOffset = 0x40, kSetBitsOffset = 0x58;
constexpr uint8_t kIsCommand = 0x80, kSoftReset = 0x04, kInterrupts = 0x40;
constexpr size_t kRegisterFisBytes = 20;

using RegisterFis = std::array<uint8_t, kRegisterFisBytes>;

RegisterFis register_fis(uint8_t type, const AtaRegisters& registers) {
  RegisterFis fis{};
  fis[0] = type;
  fis[1] = kInterrupts;
  fis[2] = registers.status;
  fis[3] = registers.error;
  store_little_endian(std::span(fis).subspan(4, 3), registers.lba & 0xffffff);
  fis[7] = registers.device;
  store_little_endian(std::span(fis).subspan(8, 3), registers.lba >> 24);
  store_little_endian(std::span(fis).subspan(12, 2), registers.count);
  return fis;
}

}  // namespace

AhciPort::AhciPort(Place place, std::string name, std::unique_ptr<AtaDrive> drive)
    : place_(std::move(place)),
      drive_(std::move(drive)),
      due_(place_.timers, std::move(name), [this](uint64_t) { execute(current_slot()); }) {
  reset();
}

void AhciPort::reset() {
  state_ = State{};
  reset_drive();
  due_.set(EventQueue::kNever);
}

// COMRESET, or a software reset: the drive says what it is.
void AhciPort::reset_drive() {
  drive_->reset();
  const AtaRegisters registers = drive_->registers_after_reset();
  state_.signature = drive_->signature();
  state_.task_file = uint32_t{registers.error} << 8 | registers.status;
  receive(kRegisterOffset, register_fis(kDeviceToHost, registers));
}

// --- registers

uint32_t AhciPort::read(uint64_t offset) const {
  const auto upper = [](uint64_t address) { return static_cast<uint32_t>(address >> 32); };
  switch (offset) {
    case kListBase:
      return static_cast<uint32_t>(state_.list);
    case kListBaseUpper:
      return upper(state_.list);
    case kFisBase:
      return static_cast<uint32_t>(state_.received);
    case kFisBaseUpper:
      return upper(state_.received);
    case kPortInterruptStatus:
      return causes();
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
      return has_link() ? kPresent : 0;
    case kSataControl:
      return state_.link_control;
    case kSataError:
      return state_.error;
    case kSataActive:
      return state_.active;
    case kCommandIssue:
      return state_.issued;
    default:
      return 0;
  }
}

void AhciPort::write(uint64_t offset, uint32_t value) {
  const auto set_low = [value](uint64_t& address, uint32_t reserved) {
    address = (address >> 32 << 32) | (value & ~reserved);
  };
  const auto set_high = [value](uint64_t& address) {
    address = (address & 0xffffffff) | uint64_t{value} << 32;
  };
  const bool runs = (state_.command & kStart) != 0;
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
      return;
    case kPortInterruptEnable:
      state_.enabled = value & kCauses;
      return raise(0);
    case kPortCommand:
      return write_command(value);
    case kSataControl:
      return write_link_control(value);
    case kSataError:
      state_.error &= ~value;
      return;
    case kSataActive:
      if (runs && has_queue()) state_.active |= value;
      return;
    case kCommandIssue:
      if (!runs) return;
      state_.issued |= value;
      return start_next();
    default:
      return;
  }
}

void AhciPort::write_command(uint32_t value) {
  const uint32_t before = state_.command;
  state_.command = (value & kCommandWritable) | (before & kSlotBits);
  if ((value & kListOverride) != 0) state_.task_file &= ~(kBusy | kDataRequest);
  if ((~before & value & kReceive) != 0) {
    AtaRegisters registers = drive_->registers_after_reset();
    registers.status = static_cast<uint8_t>(state_.task_file);
    registers.error = static_cast<uint8_t>(state_.task_file >> 8);
    receive(kRegisterOffset, register_fis(kDeviceToHost, registers));
  }
  if ((value & kStart) != 0) return;
  // What was issued is forgotten.
  state_.issued = state_.active = 0;
  state_.last_slot = kLastSlot;
  state_.stopped = false;
  state_.command &= ~kSlotBits;
  due_.set(EventQueue::kNever);
}

bool AhciPort::has_link() const { return (state_.link_control & kDetectionBits) == 0; }

void AhciPort::write_link_control(uint32_t value) {
  const bool was_reset = (state_.link_control & kDetectionBits) == kInitialize;
  state_.link_control = value & 0xfff;
  if (!has_link()) {
    state_.task_file = kNothingReceived;
    state_.signature = kNoSignature;
    due_.set(EventQueue::kNever);
  } else if (was_reset) {
    reset_drive();
    state_.error |= kExchanged;
  }
  raise(0);
  start_next();
}

// --- commands

unsigned AhciPort::current_slot() const { return state_.command >> kSlotShift & 0x1f; }

// Takes up the next command, of all slots in turn; it ends when its time has passed.
void AhciPort::start_next() {
  if (state_.issued == 0 || state_.stopped || !has_link() || due_.deadline() != EventQueue::kNever)
    return;
  const uint32_t first = (state_.last_slot + 1) % 32;
  const auto behind = std::countr_zero(std::rotr(state_.issued, static_cast<int>(first)));
  state_.last_slot = (first + static_cast<uint32_t>(behind)) % 32;
  state_.command = (state_.command & ~kSlotBits) | state_.last_slot << kSlotShift;
  Command command;
  const bool fetched = fetch(current_slot(), command);
  const AtaCommand decoded = command.decoded();
  if (fetched && (command.fis[1] & kIsCommand) != 0 && !(has_queue() && decoded.is_queued()))
    state_.task_file |= kBusy;
  due_.set(place_.clock.cycles() + drive_->cycles(decoded));
}

// false: its header or its table is not in memory.
bool AhciPort::fetch(unsigned slot, Command& command) {
  std::array<uint8_t, 16> header{};
  command.header = state_.list + slot * kHeaderBytes;
  if (!place_.is_bus_master() || !place_.memory.read(command.header, header)) return false;
  command.flags = static_cast<uint32_t>(load_little_endian(std::span(header).first(4)));
  command.table = load_little_endian(std::span(header).subspan(8, 8)) & ~0x7full;
  return place_.memory.read(command.table, command.fis);
}

AtaCommand AhciPort::Command::decoded() const {
  const std::span bytes = fis;
  const auto number = [bytes](size_t at, size_t size) {
    return load_little_endian(bytes.subspan(at, size));
  };
  AtaCommand command{.code = fis[2],
                     .device = fis[7],
                     .features = static_cast<uint16_t>(fis[3] | fis[11] << 8),
                     .count = static_cast<uint16_t>(number(12, 2)),
                     .lba = number(4, 3) | number(8, 3) << 24,
                     .to_drive = (flags & kWrites) != 0};
  std::ranges::copy(bytes.subspan<kPacketOffset, AtaCommand::kPacketBytes>(),
                    command.packet.begin());
  return command;
}

void AhciPort::execute(unsigned slot) {
  if ((state_.issued >> slot & 1) == 0) return;
  Command command;
  if (!fetch(slot, command)) return fail_on_host_bus();
  AtaCommand decoded;  // which no drive has
  if (command.fis[0] == kHostToDevice) {
    if ((command.fis[1] & kIsCommand) == 0) return write_control(slot, command);
    decoded = command.decoded();
  }
  const AtaAnswer answer = drive_->take(decoded);
  if (answer.registers.failed()) return complete(slot, decoded, answer.registers, answer, 0);
  const Transfer transfer = move(command, answer);
  if (!transfer.has_memory) return fail_on_host_bus();
  complete(slot, decoded,
           answer.size() == 0 ? answer.registers
                              : drive_->finish(decoded, transfer.moved, transfer.bytes),
           answer, transfer.causes);
}

// A write to the control register: the end of a software reset is the reset.
void AhciPort::write_control(unsigned slot, const Command& command) {
  const bool ends = (command.fis[15] & kSoftReset) == 0;
  if (ends) reset_drive();
  state_.issued &= ~(1u << slot);
  raise(ends ? kRegisterFis : 0);
  start_next();
}

// As far as the regions of the command go.
AhciPort::Transfer AhciPort::move(const Command& command, const AtaAnswer& answer) {
  using Moved = AtaDrive::Moved;
  AhciRegions regions(place_.memory, command.table + kRegionsOffset,
                      command.flags >> kRegionCountShift);
  Transfer transfer;
  std::array<uint8_t, 4096> block;
  while (transfer.moved == Moved::kAll && transfer.bytes < answer.size()) {
    const uint64_t at = answer.offset + transfer.bytes;
    const std::span piece =
        std::span(block).first(std::min<uint64_t>(block.size(), answer.size() - transfer.bytes));
    std::optional<size_t> done;
    if (answer.to_drive) {
      done = regions.gather(piece);
      if (done && !drive_->write(at, piece.first(*done))) transfer.moved = Moved::kMediumFailed;
    } else if (answer.bytes == 0) {
      done = regions.scatter(std::span(answer.data).subspan(transfer.bytes, piece.size()));
    } else if (drive_->read(at, piece)) {
      done = regions.scatter(piece);
    } else {
      transfer.moved = Moved::kMediumFailed;
    }
    if (transfer.moved == Moved::kMediumFailed) break;
    if (!done) {
      transfer.has_memory = false;
      return transfer;
    }
    transfer.bytes += *done;
    if (*done < piece.size()) transfer.moved = Moved::kTooLittle;
  }
  if (regions.asked_for_interrupt()) transfer.causes |= kRegionDone;
  if (transfer.moved == Moved::kTooLittle && !answer.to_drive) transfer.causes |= kOverflow;
  std::array<uint8_t, 4> count{};
  store_little_endian(count, transfer.bytes);
  transfer.has_memory = place_.memory.write(command.header + 4, count);
  return transfer;
}

void AhciPort::complete(unsigned slot, const AtaCommand& command, const AtaRegisters& registers,
                        const AtaAnswer& answer, uint32_t causes) {
  const bool ok = !registers.failed();
  state_.task_file = uint32_t{registers.error} << 8 | registers.status;
  if (answer.end == AtaAnswer::End::kQueue) {
    causes |= receive_bits(registers, command.tag());
  } else {
    if (answer.end == AtaAnswer::End::kPio) causes |= receive_pio_setup(registers, answer);
    if (answer.end != AtaAnswer::End::kPio || answer.to_drive || !ok)
      causes |= receive_registers(registers);
  }
  if (ok) {
    state_.issued &= ~(1u << slot);
    raise(causes);
    return start_next();
  }
  // The port stands still until software starts it anew.
  state_.stopped = true;
  raise(causes | kTaskFileError);
}

void AhciPort::fail_on_host_bus() {
  state_.stopped = true;
  raise(kHostBusError);
}

// --- what the drive sends. They return what that is a cause of.

uint32_t AhciPort::receive_pio_setup(const AtaRegisters& registers, const AtaAnswer& answer) {
  RegisterFis fis = register_fis(kPioSetup, registers);
  const uint64_t bytes = std::min<uint64_t>(answer.size(), answer.block_bytes);
  // Before the first piece that is written there is no interrupt.
  if (answer.to_drive) fis[1] = 0;
  fis[12] = answer.to_drive ? 0 : 1;
  fis[15] = fis[2];
  store_little_endian(std::span(fis).subspan(16, 2), bytes);
  receive(kPioSetupOffset, fis);
  return answer.to_drive ? 0 : kPioSetupFis;
}

// Of queued commands that have ended.
uint32_t AhciPort::receive_bits(const AtaRegisters& registers, unsigned tag) {
  const uint32_t ended = registers.failed() ? 0 : 1u << tag;
  std::array<uint8_t, 8> fis = {kSetBits, kInterrupts, registers.status, registers.error};
  store_little_endian(std::span(fis).subspan(4, 4), ended);
  receive(kSetBitsOffset, fis);
  state_.active &= ~ended;
  return kSetBitsFis;
}

uint32_t AhciPort::receive_registers(const AtaRegisters& registers) {
  receive(kRegisterOffset, register_fis(kDeviceToHost, registers));
  return kRegisterFis;
}

void AhciPort::receive(uint64_t offset, std::span<const uint8_t> fis) {
  if ((state_.command & kReceive) == 0 || !place_.is_bus_master()) return;
  // Where there is no memory nothing is received.
  (void)place_.memory.write(state_.received + offset, fis);
}

// --- interrupts

// PxIS; one bit of it shows what is in PxSERR.
uint32_t AhciPort::causes() const {
  return state_.interrupts | ((state_.error & kExchanged) != 0 ? kConnected : 0);
}

void AhciPort::raise(uint32_t causes) {
  state_.interrupts |= causes;
  place_.raised();
}

void AhciPort::serialize(Archive& archive) {
  archive(state_);
  archive.require((state_.command & ~(kCommandWritable | kSlotBits)) == 0);
  archive.require(state_.last_slot <= kLastSlot);
  drive_->serialize(archive);
}

}  // namespace nestor::emu
