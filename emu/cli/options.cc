// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/options.h"

#include <spdlog/fmt/fmt.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "emu/cli/trace_filter_options.h"
#include "emu/machine/machine.h"
#include "emu/memory/page_size.h"
#include "emu/memory/ram.h"

namespace nestor::emu {
namespace {

// What CLI11 prints between the options and the end of the help text.
std::string exit_status_help() {
  std::string text = "Exit status:\n";
  text += "  odd  (value << 1) | 1, of the value that the guest wrote to port 0xf4\n";
  for (const ExitStatusEntry& entry : kExitStatusTable) {
    text += fmt::format("  {:>3}  {}\n", static_cast<int>(entry.status), entry.meaning);
  }
  return text;
}

constexpr std::string_view kExample = "Example:\n  nestor run hypervisor.elf\n";
constexpr std::string_view kAuditExample = "Example:\n  nestor audit vmcs.json\n";

constexpr std::string_view kCompareMmuExample =
    "Example:\n  nestor compare-mmu mmu-modes.elf --memory 64M\n";

constexpr std::string_view kDiffExample =
    "Example:\n"
    "  nestor diff before.txt after.txt --only vm-entry,vm-exit\n";
constexpr unsigned kMostContext = 1000;

std::string check_memory(const std::string& text) {
  const auto bytes = parse_size(text);
  if (!bytes)
    return fmt::format("--memory: '{}' is no size; write a number with K, M or G, like 512M", text);
  if (*bytes < Ram::kMinimumSize || *bytes > Ram::kMaximumSize || *bytes % kPageSize != 0) {
    return fmt::format("--memory: {} is not possible; choose a multiple of 4K from {}M to {}G",
                       text, Ram::kMinimumSize >> 20, Ram::kMaximumSize >> 30);
  }
  return {};
}

std::optional<uint64_t> parse_count(const std::string& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string check_count(const std::string& text) {
  if (parse_count(text).value_or(0) != 0) return {};
  return fmt::format("--max-instructions: '{}' is no count; write a decimal number of at least 1",
                     text);
}

std::string check_dump(const std::vector<std::string>& dump) {
  if (dump[0] != "on-failure" && dump[0] != "on-exit")
    return fmt::format("--dump-vmcs: '{}' is neither on-failure nor on-exit", dump[0]);
  return dump[1].empty() ? "--dump-vmcs: the name of the file is empty" : "";
}

// At most one output is the standard output.
std::string check_standard_output(const RunOptions& options) {
  const bool serial = options.serial == "stdio", trace = options.trace == "-",
             dump = options.dump_vmcs == "-";
  if (serial + trace + dump < 2) return {};
  return fmt::format("{} and {} both write to the standard output; give {}",
                     trace ? "--trace -" : "--dump-vmcs -",
                     serial ? "--serial stdio" : "--dump-vmcs -",
                     serial ? "--serial FILE or none" : "one of them a file");
}

std::string check_seed(const std::string& text) {
  if (parse_count(text)) return {};
  return fmt::format("--random-seed: '{}' is no seed; write a decimal number below 2^64", text);
}

CLI::App& add_audit_command(CLI::App& app, AuditOptions& options) {
  CLI::App& audit = *app.add_subcommand("audit", "Check a VMCS that is written down as JSON");
  audit.footer(std::string(kAuditExample) + "\n" + exit_status_help());
  audit.add_option("VMCS", options.file, "The file; docs/audit.md describes it")
      ->type_name("")
      ->required();
  audit.add_flag("--json", options.json, "Print JSON");
  return audit;
}

// What the commands that run an image have in common. `Options` has image, append and modules.
template <class Options>
void add_image_options(CLI::App& command, Options& options, std::string& memory, std::string& count,
                       std::string& cpus) {
  command.add_option("IMAGE", options.image, "The image")->type_name("")->required();
  command.add_option("--append", options.append, "Command line of the image, after its name")
      ->type_name("ARGS");
  command.add_option("--memory", memory, "RAM in bytes, or with suffix K, M or G")
      ->type_name("SIZE")
      ->capture_default_str();
  command.add_option("--module", options.modules, "A boot module; may be repeated")
      ->type_name("FILE")
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command.add_option("--max-instructions", count, "Stop after so many instructions")
      ->type_name("N");
  command
      .add_option("--cpus", cpus,
                  fmt::format("Logical processors, 1 to {}", ProcessorConfig::kMaxCount))
      ->type_name("N")
      ->capture_default_str();
}

CLI::App& add_compare_mmu_command(CLI::App& app, CompareMmuOptions& options, std::string& memory,
                                  std::string& count, std::string& cpus) {
  CLI::App& compare = *app.add_subcommand(
      "compare-mmu", "Run an image in every mode of --l0 and compare results and costs");
  compare.footer(std::string(kCompareMmuExample) + "\n" + exit_status_help());
  add_image_options(compare, options, memory, count, cpus);
  compare
      .add_option("--json", options.json,
                  "Write JSON to this file; - is the standard output, without the table")
      ->type_name("FILE");
  return compare;
}

CLI::App& add_diff_command(CLI::App& app, DiffOptions& options) {
  CLI::App& diff = *app.add_subcommand("diff", "Compare two traces, event by event");
  diff.footer(std::string(kDiffExample) + "\n" + exit_status_help());
  diff.add_option("A", options.left, "A trace, as text or JSON lines")->type_name("");
  diff.add_option("B", options.right, "Another one")->type_name("");
  diff.add_option("--only", options.rules.only, "Compare events of these kinds alone")
      ->type_name("KIND,...")
      ->delimiter(',')
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  diff.add_option("--ignore", options.rules.ignore, "Ignore these fields too: rip, or vm-exit.rip")
      ->type_name("FIELD,...")
      ->delimiter(',')
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  diff.add_option("--context", options.rules.context,
                  "Events to show before and after the first difference")
      ->type_name("N")
      ->check(CLI::Range(0u, kMostContext))
      ->capture_default_str();
  diff.add_flag("--list-ignored", options.list_ignored,
                "Print which fields may differ, and why, instead");
  return diff;
}

std::string check_cpus(const std::string& text) {
  const uint64_t processors = parse_count(text).value_or(0);
  if (processors >= 1 && processors <= ProcessorConfig::kMaxCount) return {};
  return fmt::format("--cpus: '{}' is not possible; choose a number from 1 to {}", text,
                     ProcessorConfig::kMaxCount);
}

// CLI11 puts the name of the option before the message of a validator, and its own prefixes before
// its own messages; only the first line counts.
std::string first_line(std::string text) {
  text.resize(std::min(text.find('\n'), text.size()));
  return text;
}

}  // namespace

std::optional<uint64_t> parse_size(std::string_view text) {
  unsigned shift = 0;
  if (!text.empty()) {
    switch (text.back()) {
      case 'k':
      case 'K':
        shift = 10;
        break;
      case 'm':
      case 'M':
        shift = 20;
        break;
      case 'g':
      case 'G':
        shift = 30;
        break;
      default:
        break;
    }
    if (shift != 0) text.remove_suffix(1);
  }
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  if (value > std::numeric_limits<uint64_t>::max() >> shift) return std::nullopt;
  return value << shift;
}

std::variant<RunOptions, DiffOptions, AuditOptions, CompareMmuOptions, PrintAndExit>
parse_command_line(const std::vector<std::string>& arguments, const std::string& version,
                   const Program& program) {
  RunOptions options;
  DiffOptions diff_options;
  AuditOptions audit_options;
  CompareMmuOptions compare_options;
  std::string memory = "512M", count, trace, cpus = "1", dump_format = "text";
  std::vector<std::string> dump;

  CLI::App app{
      "Nestor is a software x86 processor with Intel VMX: it runs hypervisors and shows what they "
      "do.",
      program.name};
  app.set_version_flag("--version", version, "Print the versions of nestor and its libraries");
  app.footer(std::string(kExample) + "\n" + exit_status_help());
  app.require_subcommand(0, 1);

  CLI::App& run = *app.add_subcommand("run", "Run a Multiboot 1, Multiboot 2 or ELF64 image");
  run.footer("Example:\n  " + program.run_example + "\n\n" + exit_status_help());
  add_image_options(run, options, memory, count, cpus);
  run.add_option("--serial", options.serial, "Where COM1 writes: stdio, none or a file")
      ->type_name("stdio|FILE|none")
      ->capture_default_str();
  run.add_option("--trace", trace, "Write every event to this file; - is the standard output")
      ->type_name("FILE");
  std::string format = "text";
  run.add_option("--trace-format", format, "Format of the trace")
      ->type_name("text|jsonl")
      ->capture_default_str();
  TraceFilterOptions trace_filter;
  trace_filter.add_to(run);
  run.add_option(
         "--dump-vmcs", dump,
         "Write down the VMCS at each failed VM entry, or at each VM exit too, to FILE; - is "
         "the standard output")
      ->type_name("on-failure|on-exit FILE")
      ->expected(2);
  run.add_option("--dump-vmcs-format", dump_format, "Format of the dumps; nestor audit reads json")
      ->type_name("text|json")
      ->capture_default_str();
  run.add_flag("--stats", options.stats,
               "Print VM exits by reason on the standard error at the end");
  std::string tlb = "flush";
  run.add_option("--tlb", tlb,
                 "Cached translations: flush drops them generously, keep drops only what the "
                 "manual demands and reports the use of stale ones")
      ->type_name("flush|keep")
      ->capture_default_str();
  std::string seed;
  run.add_option("--random-seed", seed, "What RDRAND and RDSEED start from [1]")->type_name("N");
  std::string l0_mode = "hardware", vmcs_shadowing = "on";
  run.add_option("--l0", l0_mode,
                 "Hypervisor below L1: none (hardware), or one that virtualizes L1's memory")
      ->type_name("MODE")
      ->capture_default_str();
  run.add_option("--vmcs-shadowing", vmcs_shadowing,
                 "Whether that hypervisor lets L1 read and write its VMCS without VM exits")
      ->type_name("on|off")
      ->capture_default_str();
  run.add_option("--shadow-pages", options.machine.l0.shadow_page_limit,
                 "Pages of each processor that it may use for shadow tables; 0: as many as there "
                 "are")
      ->type_name("N")
      ->capture_default_str();
  run.add_option("--log", options.log_level,
                 "Verbosity on the standard error: trace, debug, info, warning, error or off")
      ->type_name("LEVEL")
      ->capture_default_str();

  if (program.add_run_options) program.add_run_options(run);
  for (const Program::Missing& missing : program.missing) {
    run.get_option(missing.option)->group("");  // not in the help
  }
  const CLI::App& diff = add_diff_command(app, diff_options);
  const CLI::App& audit = add_audit_command(app, audit_options);
  const CLI::App& compare = add_compare_mmu_command(app, compare_options, memory, count, cpus);

  const auto complain = [&](std::string_view message) {
    std::string_view command = "run";
    if (diff.parsed()) command = "diff";
    if (audit.parsed()) command = "audit";
    if (compare.parsed()) command = "compare-mmu";
    return PrintAndExit{
        fmt::format("{0}: {1}; see {0} {2} --help\n", program.name, message, command),
        ExitStatus::kBadUsage};
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
    return complain(first_line(error.what()));
  }

  if (diff.parsed()) {
    if (!diff_options.list_ignored && diff_options.right.empty()) {
      return complain("two traces are required: nestor diff A B");
    }
    return diff_options;
  }
  if (audit.parsed()) return audit_options;
  if (compare.parsed()) {
    if (const std::string bad = check_memory(memory); !bad.empty()) return complain(bad);
    compare_options.machine.memory_bytes = *parse_size(memory);
    if (const std::string bad = check_cpus(cpus); !bad.empty()) return complain(bad);
    compare_options.machine.processor.count = static_cast<unsigned>(*parse_count(cpus));
    if (compare.count("--max-instructions") != 0) {
      if (const std::string bad = check_count(count); !bad.empty()) return complain(bad);
      compare_options.machine.max_instructions = *parse_count(count);
    }
    if (compare_options.json == "") return complain("--json: the name of the file is empty");
    return compare_options;
  }
  if (!run.parsed()) return complain("a command is required: nestor run IMAGE");
  for (const Program::Missing& missing : program.missing) {
    if (run.count(missing.option) != 0) {
      return complain(fmt::format("{}: {}", missing.option, missing.why));
    }
  }
  if (const std::string bad = check_memory(memory); !bad.empty()) return complain(bad);
  options.machine.memory_bytes = *parse_size(memory);
  if (const std::string bad = check_cpus(cpus); !bad.empty()) return complain(bad);
  options.machine.processor.count = static_cast<unsigned>(*parse_count(cpus));
  if (run.count("--max-instructions") != 0) {
    if (const std::string bad = check_count(count); !bad.empty()) return complain(bad);
    options.machine.max_instructions = *parse_count(count);
  }
  if (run.count("--random-seed") != 0) {
    if (const std::string bad = check_seed(seed); !bad.empty()) return complain(bad);
    options.machine.processor.random_seed = *parse_count(seed);
  }
  const auto mode = find_l0_mode(l0_mode);
  if (!mode) {
    std::string names;
    for (const L0ModeInfo& info : kL0Modes) names += fmt::format(" {}", info.name);
    return complain(fmt::format("--l0: '{}' is no mode; choose one of{}", l0_mode, names));
  }
  options.machine.l0.mode = *mode;
  if (vmcs_shadowing != "on" && vmcs_shadowing != "off") {
    return complain(fmt::format("--vmcs-shadowing: '{}' is neither on nor off", vmcs_shadowing));
  }
  options.machine.l0.vmcs_shadowing = vmcs_shadowing == "on";
  for (const char* option : {"--vmcs-shadowing", "--shadow-pages"}) {
    if (run.count(option) != 0 && !info_of(*mode).has_l0)
      return complain(fmt::format("{} has no effect without --l0 MODE", option));
  }
  if (run.count("--shadow-pages") != 0 && !info_of(*mode).fills_tables) {
    return complain(fmt::format("--shadow-pages has no effect in the mode {}", l0_mode));
  }
  if (options.machine.l0.shadow_page_limit != 0 &&
      options.machine.l0.shadow_page_limit < kFewestShadowPages) {
    return complain(fmt::format("--shadow-pages: {} are too few; one path of tables takes {}",
                                options.machine.l0.shadow_page_limit, kFewestShadowPages));
  }
  if (tlb != "flush" && tlb != "keep") {
    return complain(fmt::format("--tlb: '{}' is neither flush nor keep", tlb));
  }
  options.machine.processor.keep_translations = tlb == "keep";
  if (options.machine.processor.keep_translations && info_of(*mode).has_l0) {
    return complain("--tlb keep: the hypervisor below L1 has no model of it; leave --l0 out");
  }
  if (run.count("--trace") != 0) {
    if (trace.empty()) return complain("--trace: the name of the file is empty");
    options.trace = trace;
  } else if (run.count("--trace-format") != 0) {
    return complain("--trace-format has no effect without --trace FILE");
  }
  if (const std::string bad = trace_filter.read(run, options.trace_filter); !bad.empty())
    return complain(bad);
  if (format != "text" && format != "jsonl") {
    return complain(fmt::format("--trace-format: '{}' is neither text nor jsonl", format));
  }
  options.trace_format = format == "jsonl" ? TraceFormat::kJsonLines : TraceFormat::kText;
  if (run.count("--dump-vmcs") != 0) {
    if (const std::string bad = check_dump(dump); !bad.empty()) return complain(bad);
    options.dump_vmcs = dump[1];
    options.dump_when = dump[0] == "on-exit" ? VmcsDump::When::kExit : VmcsDump::When::kFailure;
  } else if (run.count("--dump-vmcs-format") != 0) {
    return complain("--dump-vmcs-format has no effect without --dump-vmcs WHEN FILE");
  }
  if (dump_format != "text" && dump_format != "json") {
    return complain(fmt::format("--dump-vmcs-format: '{}' is neither text nor json", dump_format));
  }
  options.dump_format = dump_format == "json" ? VmcsDump::Format::kJson : VmcsDump::Format::kText;
  if (options.serial.empty()) return complain("--serial: the name of the file is empty");
  if (const std::string bad = check_standard_output(options); !bad.empty()) return complain(bad);
  constexpr std::array<std::string_view, 6> kLevels = {"trace",   "debug", "info",
                                                       "warning", "error", "off"};
  if (std::ranges::find(kLevels, options.log_level) == kLevels.end()) {
    return complain(
        fmt::format("--log: '{}' is no level; choose trace, debug, info, warning, error or off",
                    options.log_level));
  }
  return options;
}

}  // namespace nestor::emu
