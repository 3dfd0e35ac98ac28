// SPDX-License-Identifier: GPL-2.0-or-later
//
// Sends arbitrary bytes to the debugger of a machine, as a client of GDB's protocol would, and
// checks that each answer is a whole packet. The program makes bytes by itself, most of them
// packets with a checksum that is right; a million inputs: gdb_fuzz 1000000. To search by coverage
// instead, build with -fsanitize=fuzzer and -DNESTOR_LIBFUZZER.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "emu/engine/unicorn/unicorn_engine.h"
#include "emu/loaders/image.h"
#include "emu/observe/debugger/debugger.h"
#include "emu/observe/gdb/session.h"
#include "tests/fuzz/arguments.h"

namespace nestor::emu {
namespace {

[[noreturn]] void fail(std::string_view what) {
  std::fprintf(stderr, "gdb_fuzz: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

constexpr uint64_t kCode = 0x100000;

// A loop in real-address mode's successor, 32-bit protected mode without paging, that counts and
// stores.
class Debugged {
 public:
  Debugged() {
    MachineOutputs outputs;
    auto created = Machine::create(config_, gate_.wrap(outputs), create_unicorn_engine);
    if (const auto* bad = std::get_if<HostError>(&created)) fail(bad->message);
    machine_ = std::move(std::get<std::unique_ptr<Machine>>(created));
    LoadedImage image;
    // 1: inc eax; mov [0x200000], eax; nop; jmp 1b
    const std::vector<uint8_t> code = {0x40, 0xa3, 0, 0, 0x20, 0, 0x90, 0xeb, 0xf7};
    image.pieces.push_back({kCode, code.size(), code});
    image.cpu.rip = kCode;
    image.cpu.cr0 = vmx::cr0::kPe | vmx::cr0::kEt | vmx::cr0::kNe;
    for (vmx::Segment& segment : image.cpu.segment)
      segment = {8, vmx::AccessRights{0xc093}, 0xffffffff, 0};
    image.cpu.segment[vmx::kCs].rights.value = 0xc09b;
    image.cpu.segment[vmx::kLdtr] = {0, vmx::AccessRights{0x82}, 0, 0};
    image.cpu.segment[vmx::kTr] = {0, vmx::AccessRights{0x8b}, 0x67, 0};
    machine_->load(image);
    debugger_ = std::make_unique<Debugger>(Debugger::World{
        *machine_, config_, gate_, [] { return Debugger::World::Demand::kStop; }, [] {},
        [](const RunResult&) { return 1; }, [](const RunResult&) { return std::string("over"); }});
  }
  GdbTarget& target() { return *debugger_; }

 private:
  // What does not stop ends soon.
  const MachineConfig config_{.memory_bytes = 4 << 20, .max_instructions = 1'000'000};
  ReplayGate gate_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<Debugger> debugger_;
};

// The packets that are sent are whole; what is between them acknowledges.
void check_answers(const std::string& sent) {
  PacketReader reader;
  reader.feed(sent);
  while (const auto received = reader.next()) {
    if (received->kind == Received::Kind::kDamaged) fail("an answer is damaged");
    if (received->kind == Received::Kind::kInterrupt) fail("an answer has an interrupt");
  }
}

uint64_t sessions = 0;

}  // namespace
}  // namespace nestor::emu

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nestor::emu;
  static std::unique_ptr<Debugged> debugged;
  // What the machine has become is another input for the next ones, for a while.
  if (++sessions % 1000 == 1) debugged = std::make_unique<Debugged>();
  std::string sent;
  GdbSession session(
      debugged->target(), [&](std::string_view bytes) { sent += bytes; }, GdbStop{});
  session.feed({reinterpret_cast<const char*>(data), size});
  check_answers(sent);
  return 0;
}

#ifndef NESTOR_LIBFUZZER
namespace {

constexpr std::string_view kPieces[] = {"g",
                                        "G",
                                        "p",
                                        "P",
                                        "m",
                                        "M",
                                        "X",
                                        "Z0,",
                                        "z0,",
                                        "Z2,",
                                        "z2,",
                                        "Z4,",
                                        "vCont;",
                                        "vCont;s:1",
                                        "vCont;c",
                                        "c",
                                        "s",
                                        "bs",
                                        "bc",
                                        "qRcmd,",
                                        "Hg",
                                        "Hc",
                                        "T",
                                        "?",
                                        "100000,",
                                        "200000,4",
                                        ",",
                                        "=",
                                        ":",
                                        ";",
                                        "ffffffff",
                                        "-1",
                                        "qXfer:features:read:target.xml:",
                                        "qfThreadInfo",
                                        "qSupported",
                                        "QStartNoAckMode",
                                        "D",
                                        "k",
                                        "776169742031",
                                        "7374657020",
                                        "77616c6b2030783130303030",
                                        "766d6373",
                                        "6578706c61696e",
                                        "73746f702d6f6e20657863657074696f6e203133"};

std::string random_packet(std::mt19937_64& random) {
  std::string data;
  const size_t pieces = 1 + random() % 4;
  for (size_t i = 0; i < pieces; ++i) {
    const uint64_t choice = random() % 8;
    if (choice < 5) {
      data += kPieces[random() % std::size(kPieces)];
    } else if (choice == 5) {
      data += "0123456789abcdef"[random() % 16];
    } else if (choice == 6) {
      data.append(random() % 20, '0');
    } else {
      data += static_cast<char>(random());
    }
  }
  return data;
}

}  // namespace

int main(int argc, char** argv) {
  using nestor::emu::testing::parse_number;
  uint64_t inputs = 20'000, seed = 1;
  if (argc > 3 || (argc > 1 && !parse_number(argv[1], inputs)) ||
      (argc > 2 && !parse_number(argv[2], seed))) {
    std::fputs("usage: gdb_fuzz [INPUTS [SEED]]\n", stderr);
    return 2;
  }
  std::mt19937_64 random(seed);
  for (uint64_t i = 0; i < inputs; ++i) {
    std::string bytes;
    for (size_t packets = 1 + random() % 3; packets != 0; --packets) {
      bytes += nestor::emu::framed(random_packet(random));
      // Damage.
      if (random() % 8 == 0) bytes[random() % bytes.size()] = static_cast<char>(random());
      if (random() % 16 == 0) bytes += '\x03';
    }
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  }
  std::printf("%llu inputs, no complaint\n", static_cast<unsigned long long>(inputs));
  return 0;
}
#endif
