// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/options.h"

#include <spdlog/fmt/fmt.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <string_view>

#include "emu/cli/complaint.h"
#include "emu/cli/numbers.h"
#include "emu/cli/output_options.h"
#include "emu/cli/processor_choice.h"
#include "emu/cli/processor_options.h"
#include "emu/cli/usage_error.h"
#include "emu/l0/vmcs_build.h"
#include "emu/timing/processor.h"

namespace nestor::emu {
namespace {

constexpr std::string_view kExample = "Example:\n  nestor run hypervisor.elf\n";
constexpr std::string_view kAuditExample =
    "Examples:\n"
    "  nestor audit vmcs.json\n"
    "  journalctl --dmesg | nestor audit -\n";

constexpr std::string_view kCompareMmuExample =
    "Example:\n  nestor compare-mmu mmu-modes.elf --memory 64M\n";

constexpr std::string_view kDiffExample =
    "Example:\n"
    "  nestor diff before.txt after.txt --only vm-entry,vm-exit\n";
constexpr std::string_view kPriceExamples =
    "Examples:\n"
    "  nestor price --hex 4801d8480fafc3\n"
    "  nestor price --file loop.bin --loop --cpu Haswell\n";
constexpr std::string_view kStatsExample =
    "Example:\n"
    "  nestor stats trace.jsonl\n";
constexpr std::string_view kViewExample =
    "Example:\n"
    "  nestor run hypervisor.elf --trace trace.jsonl --trace-format jsonl\n"
    "  nestor view trace.jsonl --out trace.html\n";
constexpr std::string_view kWalkExample =
    "Example:\n"
    "  nestor walk hypervisor.elf 0x401000 --at exit:3 --step\n";
constexpr unsigned kMostContext = 1000;

// What CLI11 prints between the options and the end of the help text.
std::string footer(std::string_view example) {
  return std::string(example) + "\n" + exit_status_help();
}

// Each command adds itself and its options to the program; it outlives the parsing. After the
// parsing, if the command line names it, read() returns a complaint, or the empty string and what
// is to be done.
class Command {
 public:
  bool parsed() const { return app_.parsed(); }

 protected:
  Command(CLI::App& program, const char* name, const char* description, std::string_view example)
      : app_(*program.add_subcommand(name, description)) {
    app_.footer(footer(example));
  }
  CLI::App& app_;
};

class RunCommand : public Command {
 public:
  RunCommand(CLI::App& app, const Program& program)
      : Command(app, "run",
                "Run a Multiboot 1, Multiboot 2 or ELF64 image, a Linux kernel, or what firmware "
                "finds on a disk or CD",
                "Example:\n  " + program.run_example + "\n"),
        program_(program) {
    image_.add_to(app_);
    image_.add_firmware_to(app_);
    outputs_.add_to(app_);
    network_.add_to(app_);
    profile_.add_to(app_);
    state_.add_to(app_);
    debug_.add_to(app_);
    processor_.add_to(app_);
    app_.add_option("--log", log_level_,
                    "What is said on the standard error beside the end of the run")
        ->type_name("info|warning|off")
        ->capture_default_str();
    app_.add_flag("--quiet", quiet_, "The same as --log off");
    if (program.add_run_options) program.add_run_options(app_);
    for (const Program::Missing& missing : program.missing) {
      app_.get_option(missing.option)->group("");  // not in the help
    }
  }

  Complaint read(RunOptions& options) const {
    for (const Program::Missing& missing : program_.missing) {
      if (app_.count(missing.option) != 0)
        return fmt::format("{}: {}", missing.option, missing.why);
    }
    if (Complaint bad = image_.read(app_, options); !bad.empty()) return bad;
    if (std::string bad = state_.read(app_, options); !bad.empty()) return bad;
    if (!options.load_state) {
      if (Complaint bad = image_.read_firmware(app_, options); !bad.empty()) return bad;
      if (Complaint bad = image_.read_vga(app_, options); !bad.empty()) return bad;
    }
    if (std::string bad = processor_.read(app_, options.machine); !bad.empty()) return bad;
    if (options.firmware && info_of(options.machine.l0.mode).has_l0)
      return "--l0: L0 has no memory for firmware; give an IMAGE, or leave --l0 out";
    if (options.machine.standard_vga && info_of(options.machine.l0.mode).has_l0)
      return "--l0: L0 has no memory for --vga std; leave one of them out";
    if (Complaint bad = debug_.read(app_, options); !bad.empty()) return bad;
    if (std::string bad = profile_.read(app_, options); !bad.empty()) return bad;
    if (std::string bad = outputs_.read(app_, options); !bad.empty()) return bad;
    if (Complaint bad = network_.read(app_, options); !bad.empty()) return bad;
    constexpr std::array<std::string_view, 3> kLevels = {"info", "warning", "off"};
    if (std::ranges::find(kLevels, log_level_) == kLevels.end()) {
      return fmt::format("--log: '{}' is no level; choose info, warning or off", log_level_);
    }
    options.log_level = quiet_ ? "off" : log_level_;
    return {};
  }

 private:
  const Program& program_;
  ImageOptions image_;
  OutputOptions outputs_;
  NetworkOptions network_;
  ProfileOptions profile_;
  StateOptions state_;
  DebugOptions debug_;
  ProcessorOptions processor_;
  std::string log_level_ = "warning";
  bool quiet_ = false;
};

class DiffCommand : public Command {
 public:
  explicit DiffCommand(CLI::App& app)
      : Command(app, "diff", "Compare two traces, event by event", kDiffExample) {
    app_.add_option("A", options_.left, "A trace, as text or JSON lines; - is the standard input")
        ->type_name("");
    app_.add_option("B", options_.right, "Another one")->type_name("");
    app_.add_option("--only", options_.rules.only, "Compare events of these kinds alone")
        ->type_name("KIND,...")
        ->delimiter(',')
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    app_.add_option("--ignore", options_.rules.ignore,
                    "Ignore these fields too: rip, or vm-exit.rip")
        ->type_name("FIELD,...")
        ->delimiter(',')
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    app_.add_option("--context", options_.rules.context,
                    "Events to show before and after the first difference")
        ->type_name("N")
        ->check(CLI::Range(0u, kMostContext))
        ->capture_default_str();
    app_.add_flag("--list-ignored", options_.list_ignored,
                  "Print which fields may differ, and why, instead");
  }

  Complaint read(DiffOptions& options) const {
    options = options_;
    const bool complete = options.list_ignored || !options.right.empty();
    return complete ? Complaint() : Complaint("two traces are required: nestor diff A B");
  }

 private:
  DiffOptions options_;
};

class StatsCommand : public Command {
 public:
  explicit StatsCommand(CLI::App& app)
      : Command(app, "stats", "Print VM exits by reason, from a trace", kStatsExample) {
    app_.add_option("TRACE", options_.trace,
                    "A trace, as text or JSON lines; - is the standard input")
        ->type_name("")
        ->required();
  }

  Complaint read(StatsOptions& options) const {
    options = options_;
    return {};
  }

 private:
  StatsOptions options_;
};

class ViewCommand : public Command {
 public:
  explicit ViewCommand(CLI::App& app)
      : Command(app, "view", "Write a page for a browser from a JSON trace", kViewExample) {
    app_.add_option("TRACE", options_.trace, "A trace in JSON lines; - is the standard input")
        ->type_name("")
        ->required();
    app_.add_option("--out", options_.out,
                    "The page [TRACE with the ending .html]; - is the standard output")
        ->type_name("FILE");
    app_.add_option("--max-events", options_.limits.events, "The page has the first N events")
        ->type_name("N")
        ->check(CLI::Range(uint64_t{1}, kMostEvents))
        ->capture_default_str();
  }

  Complaint read(ViewOptions& options) const {
    options = options_;
    if (app_.count("--out") != 0)
      return options.out.empty() ? "--out: the name of the file is empty" : Complaint();
    if (options.trace == "-") return "--out FILE is required for a trace from the standard input";
    options.out = std::filesystem::path(options.trace).replace_extension(".html").string();
    return {};
  }

 private:
  // What browsers have room for.
  static constexpr uint64_t kMostEvents = 10'000'000;

  ViewOptions options_;
};

class AuditCommand : public Command {
 public:
  explicit AuditCommand(CLI::App& app)
      : Command(app, "audit", "Say which checks of VM entry a VMCS violates", kAuditExample) {
    app_.add_option("VMCS", options_.file,
                    "A file or - (standard input): a dump that KVM, Xen or HAXM logged, lines of "
                    "NAME = VALUE, or JSON; docs/audit.md describes them")
        ->type_name("")
        ->required();
    app_.add_flag("--json", options_.json, "Print JSON");
    app_.add_flag("--only-stated", options_.only_stated,
                  "Judge by the fields that JSON states; absent ones are unknown, not 0");
    add_processor_option(app_, cpu_);
    app_.get_option("--cpu")->default_str("any");
  }

  Complaint read(AuditOptions& options) const {
    options = options_;
    auto processor = read_processor(cpu_);
    if (auto* bad = std::get_if<Complaint>(&processor)) return std::move(*bad);
    if (app_.count("--cpu") != 0) options.processor = std::get<vmx::ProcessorType>(processor);
    return {};
  }

 private:
  AuditOptions options_;
  std::string cpu_ = default_processor_name();
};

class CompareMmuCommand : public Command {
 public:
  explicit CompareMmuCommand(CLI::App& app)
      : Command(app, "compare-mmu",
                "Run an image in every mode of --l0 and compare results and costs",
                kCompareMmuExample) {
    image_.add_to(app_);
    app_.get_option("IMAGE")->required();
    timing_.add_to(app_);
    app_.add_option("--json", json_,
                    "Write JSON to this file; - is the standard output, without the table")
        ->type_name("FILE");
  }

  Complaint read(CompareMmuOptions& options) const {
    if (Complaint bad = image_.read(app_, options); !bad.empty()) return bad;
    if (Complaint bad = timing_.read(options.machine.processor); !bad.empty()) return bad;
    if (json_ == "") return "--json: the name of the file is empty";
    options.json = json_;
    const vmx::ProcessorType& processor = options.machine.processor.type;
    for (const L0ModeInfo& mode : kL0Modes) {
      std::optional<std::string_view> missing = l0_misses(processor, mode.mode);
      if (!missing && !processor.has(vmx::Feature::kVmxShadowing))
        missing = vmx::named(vmx::Feature::kVmxShadowing).name;
      if (missing)
        return fmt::format("compare-mmu needs {}, which this --cpu does not have", *missing);
    }
    return {};
  }

 private:
  ImageOptions image_;
  TimingOption timing_;
  std::optional<std::string> json_;
};

class WalkCommand : public Command {
 public:
  explicit WalkCommand(CLI::App& app)
      : Command(app, "walk", "Run an image up to a moment and show the page walk of an address",
                kWalkExample) {
    image_.add_to(app_);
    app_.get_option("IMAGE")->required();
    app_.add_option("ADDRESS", address_, "What is translated: decimal, or hexadecimal after 0x")
        ->type_name("")
        ->required();
    app_.add_option("--at", at_,
                    "When: after N instructions, at the N-th VM exit, or at TEXT in what the guest "
                    "writes")
        ->type_name("N|exit:N|mark:TEXT")
        ->required();
    app_.add_option("--level", level_,
                    "Whose linear address it is, or L2's guest-physical one [l2, or l1 while L1 "
                    "has no current VMCS]")
        ->type_name("l1|l2|l2-physical");
    app_.add_option("--access", access_, "What for")
        ->type_name("read|write|fetch")
        ->capture_default_str();
    app_.add_flag("--user", user_, "An access in user mode");
    app_.add_flag("--step", step_, "Wait for Enter before each memory reference");
  }

  Complaint read(WalkOptions& options) const {
    if (Complaint bad = image_.read(app_, options); !bad.empty()) return bad;
    auto at = parse_moment(at_);
    if (const auto* bad = std::get_if<std::string>(&at)) return "--at: " + *bad;
    options.at = std::get<Moment>(std::move(at));
    const auto address = parse_address(address_);
    if (!address) return fmt::format("ADDRESS: '{}' is no address; write 0x and digits", address_);
    options.address = *address;
    static constexpr std::pair<std::string_view, View> kLevels[] = {
        {"l1", View::kL1Linear}, {"l2", View::kL2Linear}, {"l2-physical", View::kL2Physical}};
    for (const auto& [name, view] : kLevels)
      if (level_ == name) options.view = view;
    if (app_.count("--level") != 0 && !options.view)
      return fmt::format("--level: '{}' is none of l1, l2 and l2-physical", level_);
    constexpr std::array<std::string_view, 3> kAccesses = {"read", "write", "fetch"};
    const auto access = std::ranges::find(kAccesses, access_);
    if (access == kAccesses.end())
      return fmt::format("--access: '{}' is none of read, write and fetch", access_);
    options.access.kind = static_cast<ept::Access::Kind>(access - kAccesses.begin());
    options.access.user = user_;
    options.step = step_;
    return {};
  }

 private:
  ImageOptions image_;
  std::string address_, at_, level_, access_ = "read";
  bool user_ = false, step_ = false;
};

class PriceCommand : public Command {
 public:
  explicit PriceCommand(CLI::App& app)
      : Command(app, "price",
                "Price a basic block of 64-bit code: its cycles, and what bounds them",
                kPriceExamples) {
    app_.add_option("--hex", hex_, "The code in hexadecimal")->type_name("HEX");
    app_.add_option("--file", file_, "A file with the code; - is the standard input")
        ->type_name("FILE");
    app_.add_option("--csv", csv_,
                    "A file of lines ROW,HEX,...: print ROW,CYCLES for each; - is the standard "
                    "input")
        ->type_name("FILE");
    app_.add_flag("--loop", loop_,
                  "The code is a loop; else it is unrolled: copies follow each other");
    app_.add_option("--pieces", pieces_,
                    "Price pieces of so many instructions and put them together, as a run does")
        ->type_name("N")
        ->check(CLI::Range(1u, kMostPieces));
    add_processor_option(app_, cpu_);
  }

  Complaint read(PriceOptions& options) const {
    const size_t given = app_.count("--hex") + app_.count("--file") + app_.count("--csv");
    const auto processor = read_processor(cpu_);
    if (const auto* bad = std::get_if<Complaint>(&processor)) return *bad;
    options.generation = std::get<vmx::ProcessorType>(processor).generation;
    if (timing::find_processor(options.generation) == nullptr) return no_prices();
    if (given != 1) return "one of --hex, --file and --csv is required";
    using Source = PriceOptions::Source;
    options.source = app_.count("--hex") != 0    ? Source::kHex
                     : app_.count("--file") != 0 ? Source::kFile
                                                 : Source::kCsv;
    options.input = options.source == Source::kHex    ? hex_
                    : options.source == Source::kFile ? file_
                                                      : csv_;
    options.repetition = loop_ ? timing::Repetition::kLooped : timing::Repetition::kUnrolled;
    options.pieces = pieces_;
    return {};
  }

 private:
  static constexpr unsigned kMostPieces = 1000;

  Complaint no_prices() const {
    std::string names;
    for (const timing::Processor& processor : timing::processors()) {
      names += names.empty() ? "" : ", ";
      names += vmx::kProcessorModels[static_cast<size_t>(processor.generation)].name;
    }
    return {fmt::format("--cpu: '{}' has no prices; choose one of {}", cpu_, names),
            ExitStatus::kNoSuchProcessor};
  }

  std::string hex_, file_, csv_;
  bool loop_ = false;
  unsigned pieces_ = 0;
  std::string cpu_ = "Skylake-Server";
};

}  // namespace

CommandLine parse_command_line(const std::vector<std::string>& arguments,
                               const std::string& version, const Program& program) {
  CLI::App app{
      "Nestor is a software x86 processor with Intel VMX: it runs hypervisors and shows what they "
      "do.",
      program.name};
  app.set_version_flag("--version", version, "Print the versions of nestor and its libraries");
  app.footer(footer(kExample));
  app.require_subcommand(0, 1);
  RunCommand run(app, program);
  DiffCommand diff(app);
  StatsCommand stats(app);
  ViewCommand view(app);
  AuditCommand audit(app);
  CompareMmuCommand compare(app);
  WalkCommand walk(app);
  PriceCommand price(app);

  const auto complain = [&](std::string_view message, ExitStatus status = ExitStatus::kBadUsage) {
    const auto named = app.get_subcommands();
    const std::string help = fmt::format("see {} {} --help", program.name,
                                         named.empty() ? "run" : named.front()->get_name());
    return PrintAndExit{fmt::format("{}: {}; {}\n", program.name, message,
                                    program.help.empty() ? help : program.help),
                        status};
  };
  // CLI11 takes the arguments last first, without the program's name.
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  try {
    app.parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    return PrintAndExit{app.help()};
  } catch (const CLI::CallForVersion& call) {
    return PrintAndExit{std::string(call.what()) + "\n"};
  } catch (const CLI::ParseError& error) {
    return complain(usage_error(app, error, arguments));
  }

  const auto finish = [&](const auto& command, auto options) -> CommandLine {
    const Complaint bad = command.read(options);
    if (bad.empty()) return options;
    if (bad.status == ExitStatus::kSuccess) return PrintAndExit{bad.text};
    return complain(bad.text, bad.status);
  };
  if (run.parsed()) return finish(run, RunOptions{});
  if (diff.parsed()) return finish(diff, DiffOptions{});
  if (stats.parsed()) return finish(stats, StatsOptions{});
  if (view.parsed()) return finish(view, ViewOptions{});
  if (audit.parsed()) return finish(audit, AuditOptions{});
  if (compare.parsed()) return finish(compare, CompareMmuOptions{});
  if (walk.parsed()) return finish(walk, WalkOptions{});
  if (price.parsed()) return finish(price, PriceOptions{});
  return complain("a command is required: nestor run IMAGE");
}

int print_and_exit(const PrintAndExit& print) {
  const bool complaint = print.status != ExitStatus::kSuccess;  // the status says it, too
  std::FILE* const out = complaint ? stderr : stdout;
  const bool failed = std::fputs(print.text.c_str(), out) == EOF || std::fflush(out) != 0;
  if (failed && !complaint)
    return complain(ExitStatus::kOutputError, "cannot write the standard output");
  return static_cast<int>(print.status);
}

}  // namespace nestor::emu
