// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/native_run_command.h"

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>

#include "emu/cli/complain.h"
#include "emu/cli/options.h"
#include "emu/cli/run_command.h"
#include "emu/native/native_machine.h"
#include "emu/native/vmx_support.h"

namespace nestor::emu::native {
namespace {

constexpr unsigned kMostSeconds = 1'000'000;

}  // namespace

int run_natively(const std::vector<std::string>& arguments) {
  complain_as("nestor-kvm");
  NativeOptions native;
  bool no_vmx = false;
  Program program;
  program.name = "nestor-kvm";
  program.run_example = "nestor-kvm run hypervisor.elf --trace native.txt";
  program.missing = {
      {"--cpu", "the processor is the host's"},
      {"--cpus", "the machine has one processor"},
      {"--max-instructions", "KVM does not count instructions; use --max-seconds"},
      {"--feature-control", "KVM locks it, as firmware does"},
      {"--firmware", "KVM has no memory for it"},
      {"--firmware-vars", "KVM has no memory for firmware"},
      {"--efi-application", "KVM has no memory for firmware"},
      {"--keyboard", "there is no keyboard"},
      {"--vga", "there is a text screen"},
      {"--firmware-log", "there is no firmware"},
      {"--realtime", "the clock is the host's"},
      {"--random-seed", "the random numbers are the host processor's"},
      {"--l0", "the hypervisor below L1 is KVM"},
      {"--vmcs-shadowing", "the hypervisor below L1 is KVM"},
      {"--shadow-pages", "the hypervisor below L1 is KVM"},
      {"--timing", "the time is the host processor's"},
      {"--profile", "KVM does not show what code is executed; use perf kvm"},
      {"--tlb", "the TLBs are the host processor's"},
      {"--save-state", "the processor and its state are the host's"},
      {"--save-at", "the processor and its state are the host's"},
      {"--save-and-stop", "the processor and its state are the host's"},
      {"--load-state", "the processor and its state are the host's"},
      {"--net", "the machine has no network"},
      {"--trace-vmcs", "the VMCS is KVM's between a VM exit and the next"},
      {"--gdb", "the processor and its state are the host's"},
      {"--stopped", "the processor and its state are the host's"},
  };
  program.add_run_options = [&](CLI::App& run) {
    run.add_option("--device", native.device, "KVM's device")
        ->type_name("FILE")
        ->capture_default_str();
    run.add_flag("--no-vmx", no_vmx, "Run the image on a host that offers no VMX, too");
    run.add_option("--max-seconds", native.max_seconds, "Stop after so many seconds")
        ->type_name("N")
        ->check(CLI::Range(1U, kMostSeconds));
  };
  const auto parsed = parse_command_line(arguments, "nestor-kvm", program);
  if (const auto* print = std::get_if<PrintAndExit>(&parsed)) {
    return print_and_exit(*print);
  }
  const RunOptions& options = std::get<RunOptions>(parsed);
  native.needs_vmx = !no_vmx;
  // Not for the warnings alone: a hypervisor would not get on.
  native.step = native.needs_vmx && (options.trace || options.dump_vmcs || options.stats);
  const auto& from = options.trace_filter.from;
  if (from && from->kind == Moment::Kind::kInstructions) {
    return complain(ExitStatus::kBadUsage,
                    "--trace-from N: KVM does not count instructions; use exit:N or mark:TEXT");
  }
  if (options.trace_filter.all_walks)
    return complain(ExitStatus::kBadUsage, "--trace-walks all: KVM shows no page walks");
  log_by_telling(options.log_level);
  // A reader that goes away is a write error like any other.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // and so is a file that may not grow
  try {
    return final_status(run_command(options,
                                    [&](const MachineConfig& config, const MachineOutputs& outputs)
                                        -> std::variant<std::unique_ptr<Machine>, HostError> {
                                      return create_native_machine(native, config, outputs);
                                    }));
  } catch (const NoVmx& error) {
    return complain(ExitStatus::kNoVmx, error.what());
  } catch (const Unavailable& error) {
    return complain(ExitStatus::kNoKvm, error.what());
  } catch (const Failure& error) {
    return complain(ExitStatus::kKvmFailed, error.what());
  }
}

}  // namespace nestor::emu::native
