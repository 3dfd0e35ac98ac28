// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the machine says of its own VM entries, and what `nestor audit` says of the VMCSs that it
// writes down, are the same.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "emu/engine/unicorn/unicorn_engine.h"
#include "emu/machine/machine.h"
#include "emu/observe/audit/audit.h"
#include "emu/observe/audit/vmcs_dump.h"
#include "vmx/capabilities.h"
#include "vmx/exit_reasons.h"

namespace nestor::tests {
namespace {

using namespace emu;

// Audits every VMCS that --dump-vmcs on-exit would write down.
class Auditor final : public EventHandler<Auditor> {
 public:
  struct Judgement {
    std::vector<std::string> machine, audit;  // names of failed checks
    bool failed = false;                      // the VM entry
    size_t not_judged = 0;
  };
  std::vector<Judgement> judgements;

  void handle(const vmx::VmEntryEvent&) { failed_.clear(); }
  void handle(const vmx::CheckFailure& failure) { failed_.emplace_back(failure.id); }
  void handle(const vmx::VmExitEvent& event) {
    judge(*event.data, (event.reason & vmx::kExitReasonEntryFailure) != 0);
  }
  void handle(const vmx::VmInstructionErrorEvent& event) {
    const bool entry = event.instruction == "VMLAUNCH" || event.instruction == "VMRESUME";
    if (entry && event.data != nullptr && !failed_.empty()) judge(*event.data, true);
    failed_.clear();
  }

 private:
  void judge(const vmx::Vmcs& vmcs, bool failed) {
    const auto read = read_vmcs_documents(vmcs_json(vmcs, capabilities_, {}));
    ASSERT_TRUE(std::holds_alternative<std::vector<VmcsDocument>>(read))
        << std::get<std::string>(read);
    const Audit result = audit(std::get<std::vector<VmcsDocument>>(read).front(), {});
    EXPECT_TRUE(result.absent.empty());
    EXPECT_TRUE(result.assumed.empty());
    Judgement judgement{failed_, {}, failed, result.not_judged.size()};
    for (const Violation& violation : result.violations)
      judgement.audit.emplace_back(violation.failure.id);
    judgements.push_back(std::move(judgement));
    failed_.clear();
  }

  const vmx::Capabilities capabilities_ = vmx::nestor_capabilities();
  std::vector<std::string> failed_;
};

void run(const std::string& name, Auditor& auditor) {
  std::ifstream file(std::filesystem::path(NESTOR_GUEST_IMAGES) / name / (name + ".elf"),
                     std::ios::binary);
  ASSERT_TRUE(file);
  const ImageFile image{name, {std::istreambuf_iterator<char>(file), {}}};
  MachineOutputs outputs;
  outputs.serial = [](uint8_t) {};
  outputs.console = outputs.serial;
  outputs.events = &auditor;
  auto created = Machine::create({64 << 20, 100'000'000}, outputs, emu::create_unicorn_engine);
  ASSERT_TRUE(std::holds_alternative<std::unique_ptr<Machine>>(created));
  Machine& machine = *std::get<std::unique_ptr<Machine>>(created);
  const auto loaded = load_image(image, {}, "", machine.memory_map(), machine.firmware());
  ASSERT_TRUE(std::holds_alternative<LoadedImage>(loaded));
  machine.load(std::get<LoadedImage>(loaded));
  EXPECT_EQ(machine.run().kind, RunResult::Kind::kDebugExit);
}

TEST(DumpAndAudit, AgreeWithTheMachineOnEveryBrokenVmcs) {
  Auditor auditor;
  run("broken-vmcs", auditor);
  size_t failures = 0;
  for (const auto& judgement : auditor.judgements) {
    if (!judgement.failed) continue;
    ++failures;
    ASSERT_FALSE(judgement.machine.empty());
    // The machine stops at the first group that fails; the audit goes on.
    std::vector<std::string> same = judgement.audit;
    if (same.size() > judgement.machine.size()) same.resize(judgement.machine.size());
    if (same != judgement.machine) {
      // Only what asks for memory may be missing, and then the audit says so.
      EXPECT_GT(judgement.not_judged, 0u) << judgement.machine.front();
    }
  }
  EXPECT_GT(failures, 50u);
}

TEST(DumpAndAudit, FindNothingInWhatVmExitsLeave) {
  for (const char* name : {"hello-vmx", "ept-violation", "real-mode-guest"}) {
    Auditor auditor;
    run(name, auditor);
    EXPECT_FALSE(auditor.judgements.empty()) << name;
    for (const auto& judgement : auditor.judgements) EXPECT_TRUE(judgement.audit.empty()) << name;
  }
}

}  // namespace
}  // namespace nestor::tests
