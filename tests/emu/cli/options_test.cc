// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>

#include "emu/cli/numbers.h"

namespace nestor::emu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Arguments = std::vector<std::string>;

RunOptions parse_ok(const Arguments& arguments) {
  auto result = parse_command_line(arguments, "version");
  if (auto* print = std::get_if<PrintAndExit>(&result)) {
    ADD_FAILURE() << print->text;
    return {};
  }
  return std::get<RunOptions>(std::move(result));
}

PrintAndExit parse_print(const Arguments& arguments) {
  auto result = parse_command_line(arguments, "version");
  if (auto* print = std::get_if<PrintAndExit>(&result)) return *print;
  ADD_FAILURE() << "the command line was accepted";
  return {};
}

TEST(Options, PriceTakesOneSourceOfCode) {
  const auto result = parse_command_line({"price", "--csv", "rows", "--loop"}, "version");
  const auto* price = std::get_if<PriceOptions>(&result);
  ASSERT_NE(price, nullptr);
  EXPECT_EQ(price->source, PriceOptions::Source::kCsv);
  EXPECT_EQ(price->input, "rows");
  EXPECT_EQ(price->repetition, timing::Repetition::kLooped);
  EXPECT_EQ(price->generation, vmx::Generation::kSkylake);
  EXPECT_EQ(price->pieces, 0u);
  EXPECT_THAT(parse_print({"price", "--hex", "90", "--csv", "rows"}).text, HasSubstr("one of"));
  const PrintAndExit none = parse_print({"price", "--hex", "90", "--cpu", "SapphireRapids"});
  EXPECT_EQ(none.status, ExitStatus::kNoSuchProcessor);
  EXPECT_THAT(none.text, HasSubstr("Skylake-Server"));
}

TEST(Options, DebugPortsCanBeChosen) {
  const RunOptions usual = parse_ok({"run", "image"});
  EXPECT_EQ(usual.machine.debug_exit_port, kDebugExitPort);
  EXPECT_FALSE(usual.debug_console);
  const RunOptions chosen =
      parse_ok({"run", "image", "--debug-exit", "0x501", "--debug-console", "log"});
  EXPECT_EQ(chosen.machine.debug_exit_port, 0x501);
  EXPECT_EQ(chosen.debug_console, "log");
  for (const char* bad : {"0xfffd", "-1", "f4", ""})
    EXPECT_THAT(parse_print({"run", "image", "--debug-exit", bad}).text, HasSubstr("no port"));
}

TEST(Options, ViewNamesThePageAfterTheTrace) {
  const auto out = [](const Arguments& arguments) {
    const auto result = parse_command_line(arguments, "version");
    const auto* view = std::get_if<ViewOptions>(&result);
    return view != nullptr ? view->out : "";
  };
  EXPECT_EQ(out({"view", "a.b/trace.jsonl"}), "a.b/trace.html");
  EXPECT_EQ(out({"view", "a.b/trace"}), "a.b/trace.html");
  EXPECT_EQ(out({"view", "-", "--out", "-"}), "-");
}

TEST(Options, TheTraceHasTheFormatOfItsName) {
  EXPECT_EQ(parse_ok({"run", "image", "--trace", "t.jsonl"}).trace_format, TraceFormat::kJsonLines);
  EXPECT_EQ(parse_ok({"run", "image", "--trace", "t.txt"}).trace_format, TraceFormat::kText);
  EXPECT_EQ(parse_ok({"run", "image", "--trace", "t.jsonl", "--trace-format", "text"}).trace_format,
            TraceFormat::kText);
}

TEST(Options, WalkTakesAnAddressAtAMoment) {
  const auto result = parse_command_line({"walk", "image", "0xffff800000001000", "--at", "exit:3",
                                          "--level", "l2-physical", "--access", "write", "--user"},
                                         "version");
  const auto* walk = std::get_if<WalkOptions>(&result);
  ASSERT_NE(walk, nullptr);
  EXPECT_EQ(walk->address, 0xffff800000001000u);
  EXPECT_EQ(walk->at, (Moment{Moment::Kind::kExit, 3}));
  EXPECT_EQ(walk->view, View::kL2Physical);
  EXPECT_EQ(walk->access.kind, ept::Access::kWrite);
  EXPECT_TRUE(walk->access.user);
  EXPECT_FALSE(walk->step);
}

TEST(Options, GdbTakesAnAddress) {
  const auto gdb = [](const std::string& address) {
    const RunOptions options = parse_ok({"run", "image", "--gdb", address});
    EXPECT_TRUE(options.gdb);
    return options.gdb.value_or(GdbAddress{});
  };
  EXPECT_EQ(gdb(":1234").host, "127.0.0.1");
  EXPECT_EQ(gdb(":1234").port, 1234);
  EXPECT_EQ(gdb("0.0.0.0:0").host, "0.0.0.0");
  EXPECT_EQ(gdb("[::1]:99").host, "::1");
  EXPECT_EQ(gdb("unix:socket").kind, GdbAddress::Kind::kUnix);
  EXPECT_EQ(gdb("unix:socket").path, "socket");
  EXPECT_EQ(gdb("stdio").kind, GdbAddress::Kind::kStdio);
  // The protocol has the standard output for itself.
  EXPECT_EQ(parse_ok({"run", "image", "--gdb", "stdio"}).serial, "none");
  EXPECT_EQ(parse_ok({"run", "image", "--gdb", ":1"}).serial, "stdio");
  EXPECT_FALSE(parse_ok({"run", "image"}).gdb);
  EXPECT_TRUE(parse_ok({"run", "image", "--gdb", ":1", "--stopped"}).stopped);
  const auto complaint = [](const Arguments& more) {
    Arguments arguments = {"run", "image"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return parse_print(arguments).text;
  };
  EXPECT_THAT(complaint({"--gdb", "1234"}), HasSubstr("'1234' is no address"));
  EXPECT_THAT(complaint({"--gdb", ":65536"}), HasSubstr("is no address"));
  EXPECT_THAT(complaint({"--gdb", "unix:"}), HasSubstr("is empty"));
  EXPECT_THAT(complaint({"--gdb", "unix:" + std::string(200, 'a')}), HasSubstr("at most"));
  EXPECT_THAT(complaint({"--stopped"}), HasSubstr("no effect without --gdb"));
  EXPECT_THAT(complaint({"--gdb", "stdio", "--serial", "stdio"}),
              HasSubstr("both write to the standard output"));
  EXPECT_THAT(complaint({"--gdb", ":1", "--save-state", "s", "--save-at", "1"}),
              HasSubstr("exclude each other"));
}

TEST(Options, Defaults) {
  const RunOptions options = parse_ok({"run", "image"});
  EXPECT_EQ(options.image, "image");
  EXPECT_EQ(options.append, "");
  EXPECT_EQ(options.machine.memory_bytes, 512u << 20);
  EXPECT_TRUE(options.modules.empty());
  EXPECT_EQ(options.serial, "stdio");
  EXPECT_EQ(options.trace, std::nullopt);
  EXPECT_FALSE(options.stats);
  EXPECT_EQ(options.machine.max_instructions, 0u);
  EXPECT_EQ(options.machine.processor.random_seed, 1u);
  EXPECT_EQ(options.machine.processor.tlb, TlbModel::kTagged);
  EXPECT_EQ(options.machine.processor.timing, TimingModel::kFast);
  EXPECT_EQ(options.log_level, "warning");
}

TEST(Options, ModulesMayHaveCommandLines) {
  const RunOptions options = parse_ok({"run", "image", "--module", "a", "--module", "b,",
                                       "--module", "c,d, e,,f", "--module", "g,,h,i"});
  EXPECT_THAT(options.modules, ElementsAre(ModuleFile{"a"}, ModuleFile{"b", ""},
                                           ModuleFile{"c", "d, e,,f"}, ModuleFile{"g,h", "i"}));
  EXPECT_THAT(parse_print({"run", "image", "--module", ",args"}).text,
              HasSubstr("--module: the name of the file is empty"));
}

TEST(Options, DisksAreReadOnlyUnlessTheyAreWritable) {
  const RunOptions options = parse_ok(
      {"run", "image", "--disk", "a", "--disk", "b,writable=on", "--disk", "c,,d,writable=off"});
  EXPECT_THAT(options.machine.disks,
              ElementsAre(DiskConfig{"a"}, DiskConfig{"b", true}, DiskConfig{"c,d"}));
  for (const char* bad : {"a,writable", "a,writable=yes", "a,", ",writable=on", ""}) {
    EXPECT_THAT(parse_print({"run", "image", "--disk", bad}).text, HasSubstr("--disk: ")) << bad;
  }
  std::vector<std::string> many = {"run", "image"};
  for (unsigned i = 0; i < 30; ++i) many.insert(many.end(), {"--disk", "a"});
  EXPECT_THAT(parse_print(many).text, HasSubstr("--disk: at most 27 virtio disks are possible"));
}

TEST(Options, DisksAreVirtioDisksOrBehindAhci) {
  const RunOptions options =
      parse_ok({"run", "--disk", "a,interface=ahci", "--disk", "b,interface=virtio,writable=on",
                "--disk", "c,writable=on,interface=ahci"});
  EXPECT_THAT(
      options.machine.disks,
      ElementsAre(DiskConfig{.path = "a", .ahci = true}, DiskConfig{.path = "b", .writable = true},
                  DiskConfig{.path = "c", .writable = true, .ahci = true}));
  for (const char* bad : {"a,interface", "a,interface=", "a,interface=ide", "a,interface=ahci,",
                          "a,interface=ahci,writable", "a,interface=ahci;writable=on"}) {
    EXPECT_THAT(parse_print({"run", "--disk", bad}).text, HasSubstr("--disk: ")) << bad;
  }
  std::vector<std::string> many = {"run"};
  for (unsigned i = 0; i < 27; ++i) many.insert(many.end(), {"--disk", "a"});
  for (unsigned i = 0; i < 5; ++i) many.insert(many.end(), {"--disk", "a,interface=ahci"});
  EXPECT_EQ(parse_ok(many).machine.disks.size(), 32u);
  many.insert(many.end(), {"--disk", "a,interface=ahci"});
  EXPECT_THAT(parse_print(many).text, HasSubstr("--disk: at most 5 with interface=ahci"));
}

TEST(Options, FurtherSerialPortsWriteNowhereUnlessTheyAreNamed) {
  EXPECT_THAT(parse_ok({"run", "image"}).further_serial, testing::Each("none"));
  const RunOptions options =
      parse_ok({"run", "image", "--serial", "none", "--serial2", "file", "--serial4", "stdio"});
  EXPECT_THAT(options.further_serial, ElementsAre("file", "none", "stdio"));
  EXPECT_THAT(parse_print({"run", "image", "--serial3", ""}).text, HasSubstr("--serial3: "));
  EXPECT_THAT(
      parse_print({"run", "image", "--serial2", "stdio"}).text,
      HasSubstr("--serial stdio and --serial2 stdio both write to the standard output; give "
                "--serial2 FILE or none"));
}

TEST(Options, AVirtioConsoleOnTheTerminalTakesItFromCom1) {
  const RunOptions none = parse_ok({"run", "image"});
  EXPECT_EQ(none.virtio_console, std::nullopt);
  EXPECT_FALSE(none.machine.virtio_console);
  const RunOptions terminal = parse_ok({"run", "image", "--virtio-console", "stdio"});
  EXPECT_EQ(terminal.virtio_console, "stdio");
  EXPECT_TRUE(terminal.machine.virtio_console);
  EXPECT_EQ(terminal.serial, "none");
  EXPECT_EQ(parse_ok({"run", "image", "--virtio-console", "file"}).serial, "stdio");
  EXPECT_THAT(
      parse_print({"run", "image", "--virtio-console", "stdio", "--serial", "stdio"}).text,
      HasSubstr("--serial stdio and --virtio-console stdio both write to the standard output"));
  EXPECT_THAT(parse_print({"run", "image", "--virtio-console", ""}).text,
              HasSubstr("--virtio-console: "));
}

TEST(Options, TheScreenGoesToTheStandardOutputOrAFile) {
  EXPECT_EQ(parse_ok({"run", "image"}).screen, std::nullopt);
  const RunOptions standard = parse_ok({"run", "--screen", "image"});
  EXPECT_EQ(standard.screen, "-");
  EXPECT_EQ(standard.image, "image");
  EXPECT_EQ(parse_ok({"run", "image", "--screen=file"}).screen, "file");
  EXPECT_THAT(parse_print({"run", "image", "--serial", "none", "--screen", "--trace", "-"}).text,
              HasSubstr("both write to the standard output"));
}

TEST(Options, TheDisplayIsTheStandardVgaWhereFirmwareStartsTheMachine) {
  EXPECT_FALSE(parse_ok({"run", "image"}).machine.standard_vga);
  EXPECT_TRUE(parse_ok({"run", "image", "--vga", "std"}).machine.standard_vga);
  EXPECT_TRUE(parse_ok({"run", "--disk", "d"}).machine.standard_vga);
  EXPECT_FALSE(parse_ok({"run", "--disk", "d", "--vga", "text"}).machine.standard_vga);
}

TEST(Options, AKeyboardIsThereWhereSomebodyTypes) {
  EXPECT_FALSE(parse_ok({"run", "image"}).machine.keyboard);
  EXPECT_FALSE(parse_ok({"run", "image", "--keyboard", "none"}).machine.keyboard);
  const RunOptions options = parse_ok({"run", "image", "--keyboard", "keys"});
  EXPECT_TRUE(options.machine.keyboard);
  EXPECT_EQ(options.keyboard, "keys");
  EXPECT_EQ(options.serial, "stdio");
  EXPECT_EQ(parse_ok({"run", "image", "--keyboard", "stdio"}).keyboard, "stdio");
}

TEST(Options, FeatureControl) {
  EXPECT_TRUE(parse_ok({"run", "image"}).machine.processor.lock_feature_control);
  EXPECT_FALSE(parse_ok({"run", "image", "--feature-control", "unlocked"})
                   .machine.processor.lock_feature_control);
  EXPECT_THAT(parse_print({"run", "image", "--feature-control", "open"}).text,
              HasSubstr("'open' is neither locked nor unlocked"));
}

TEST(Options, SavedStates) {
  const RunOptions saving =
      parse_ok({"run", "image", "--save-state", "file", "--save-at", "exit:7"});
  EXPECT_EQ(saving.load_state, std::nullopt);
  ASSERT_TRUE(saving.save_state);
  EXPECT_EQ(saving.save_state->file, "file");
  EXPECT_EQ(saving.save_state->at, (Moment{Moment::Kind::kExit, 7}));
  const RunOptions loading =
      parse_ok({"run", "--load-state", "file", "--max-instructions", "5", "--stats"});
  EXPECT_EQ(loading.load_state, "file");
  EXPECT_EQ(loading.save_state, std::nullopt);
  EXPECT_EQ(loading.machine.max_instructions, 5u);
  // What the state decides is not chosen again.
  for (const Arguments& option : {Arguments{"--append", "x"},
                                  {"--memory", "64M"},
                                  {"--module", "x"},
                                  {"--cpus", "2"},
                                  {"--tlb", "keep"},
                                  {"--timing", "blocks"},
                                  {"--random-seed", "2"},
                                  {"--l0", "two-level"},
                                  {"--vmcs-shadowing", "off"},
                                  {"--shadow-pages", "9"}}) {
    Arguments arguments = {"run", "--load-state", "file"};
    arguments.insert(arguments.end(), option.begin(), option.end());
    const PrintAndExit print = parse_print(arguments);
    EXPECT_EQ(print.status, ExitStatus::kBadUsage);
    EXPECT_THAT(print.text, HasSubstr(option[0] + " has no effect with --load-state"));
  }
}

TEST(Options, ComparisonOfModes) {
  const auto parse = [](const Arguments& arguments) {
    return std::get<CompareMmuOptions>(parse_command_line(arguments, "version"));
  };
  const CompareMmuOptions plain = parse({"compare-mmu", "image"});
  EXPECT_EQ(plain.image, "image");
  EXPECT_EQ(plain.machine.memory_bytes, 512u << 20);
  EXPECT_EQ(plain.machine.max_instructions, 0u);
  EXPECT_EQ(plain.machine.processor.count, 1u);
  EXPECT_EQ(plain.json, std::nullopt);
  const CompareMmuOptions all =
      parse({"compare-mmu", "--memory", "64M", "--append", "a b", "--module", "m", "--json", "-",
             "--max-instructions", "7", "--cpus", "2", "--timing", "blocks", "image"});
  EXPECT_EQ(plain.machine.processor.timing, TimingModel::kFast);
  EXPECT_EQ(all.machine.processor.timing, TimingModel::kBlocks);
  EXPECT_EQ(all.machine.processor.count, 2u);
  EXPECT_EQ(all.machine.memory_bytes, 64u << 20);
  EXPECT_EQ(all.machine.max_instructions, 7u);
  EXPECT_EQ(all.append, "a b");
  EXPECT_THAT(all.modules, ElementsAre(ModuleFile{"m"}));
  EXPECT_EQ(all.json, "-");
  EXPECT_THAT(parse_print({"compare-mmu"}).text, HasSubstr("compare-mmu --help"));
  EXPECT_THAT(parse_print({"compare-mmu", "image", "--memory", "1"}).text, HasSubstr("--memory"));
  EXPECT_THAT(parse_print({"compare-mmu", "image", "--max-instructions", "0"}).text,
              HasSubstr("--max-instructions"));
  EXPECT_THAT(parse_print({"compare-mmu", "image", "--cpus", "0"}).text, HasSubstr("--cpus: '0'"));
  EXPECT_THAT(parse_print({"compare-mmu", "image", "--timing", "x"}).text,
              HasSubstr("--timing: 'x'"));
}

TEST(Options, DumpsOfVmcss) {
  EXPECT_EQ(parse_ok({"run", "image"}).dump_vmcs, std::nullopt);
  const RunOptions text = parse_ok({"run", "image", "--dump-vmcs", "on-failure", "file"});
  EXPECT_EQ(text.dump_vmcs, "file");
  EXPECT_EQ(text.dump_when, VmcsDump::When::kFailure);
  EXPECT_EQ(text.dump_format, VmcsDump::Format::kText);
  const RunOptions json = parse_ok({"run", "--dump-vmcs", "on-exit", "-", "--dump-vmcs-format",
                                    "json", "--serial", "none", "image"});
  EXPECT_EQ(json.image, "image");
  EXPECT_EQ(json.dump_vmcs, "-");
  EXPECT_EQ(json.dump_when, VmcsDump::When::kExit);
  EXPECT_EQ(json.dump_format, VmcsDump::Format::kJson);
}

TEST(Options, CachedTranslations) {
  const auto tlb = [](const char* name) {
    return parse_ok({"run", "--tlb", name, "image"}).machine.processor.tlb;
  };
  EXPECT_EQ(tlb("flush"), TlbModel::kFlush);
  EXPECT_EQ(tlb("tagged"), TlbModel::kTagged);
  EXPECT_EQ(tlb("keep"), TlbModel::kKeep);
  EXPECT_EQ(parse_ok({"run", "--timing", "blocks", "image"}).machine.processor.timing,
            TimingModel::kBlocks);
  EXPECT_EQ(parse_ok({"run", "--timing", "detailed", "image"}).machine.processor.timing,
            TimingModel::kDetailed);
}

TEST(Options, Profiles) {
  EXPECT_EQ(parse_ok({"run", "image"}).profile, std::nullopt);
  EXPECT_EQ(parse_ok({"run", "--profile", "p", "image"}).profile_format, ProfileFormat::kCallgrind);
  const RunOptions all =
      parse_ok({"run", "--profile", "p", "--profile-format", "folded", "--symbols", "a",
                "--symbols", "b", "--l2-symbols", "c", "image"});
  EXPECT_EQ(all.profile, "p");
  EXPECT_EQ(all.profile_format, ProfileFormat::kFolded);
  EXPECT_THAT(all.symbols, ElementsAre("a", "b"));
  EXPECT_THAT(all.l2_symbols, ElementsAre("c"));
  EXPECT_EQ(all.image, "image");
}

TEST(Options, Audits) {
  const auto result = parse_command_line({"audit", "--json", "file"}, "version");
  const auto* audit = std::get_if<AuditOptions>(&result);
  ASSERT_NE(audit, nullptr);
  EXPECT_EQ(audit->file, "file");
  EXPECT_TRUE(audit->json);
}

TEST(Options, All) {
  const RunOptions options = parse_ok({"run",
                                       "--append",
                                       "a b=c -x",
                                       "--memory",
                                       "2G",
                                       "--module",
                                       "m1",
                                       "--module",
                                       "m2",
                                       "--serial",
                                       "none",
                                       "--trace",
                                       "-",
                                       "--trace-format",
                                       "jsonl",
                                       "--stats",
                                       "--max-instructions",
                                       "1000",
                                       "--cpus",
                                       "8",
                                       "--random-seed",
                                       "0",
                                       "--log",
                                       "info",
                                       "image"});
  EXPECT_EQ(options.image, "image");
  EXPECT_EQ(options.append, "a b=c -x");
  EXPECT_EQ(options.machine.memory_bytes, 2ull << 30);
  EXPECT_THAT(options.modules, ElementsAre(ModuleFile{"m1"}, ModuleFile{"m2"}));
  EXPECT_EQ(options.serial, "none");
  EXPECT_EQ(options.trace, "-");
  EXPECT_EQ(options.trace_format, TraceFormat::kJsonLines);
  EXPECT_TRUE(options.stats);
  EXPECT_EQ(options.machine.max_instructions, 1000u);
  EXPECT_EQ(options.machine.processor.count, 8u);
  EXPECT_EQ(options.machine.processor.random_seed, 0u);
  EXPECT_EQ(options.log_level, "info");
}

TEST(Options, WhatOfTheEventsIsTraced) {
  const EventFilter all = parse_ok({"run", "image", "--trace", "t"}).trace_filter;
  EXPECT_TRUE(all.kinds.all());
  EXPECT_FALSE(all.level || all.from);
  const EventFilter some =
      parse_ok({"run", "image", "--trace", "t", "--trace-events", "-walk,-vm-exit", "--trace-level",
                "L2", "--trace-from", "exit:5"})
          .trace_filter;
  EXPECT_EQ(some.kinds.count(), kEventKindCount - 2);
  EXPECT_EQ(some.level, 2);
  EXPECT_EQ(some.from, (Moment{Moment::Kind::kExit, 5}));
}

TEST(Options, AModuleTakesOneFile) {
  const RunOptions options = parse_ok({"run", "--module", "m1", "image"});
  EXPECT_THAT(options.modules, ElementsAre(ModuleFile{"m1"}));
  EXPECT_EQ(options.image, "image");
}

TEST(Options, EmptyAppendIsAllowed) {
  EXPECT_EQ(parse_ok({"run", "image", "--append", ""}).append, "");
}

TEST(Options, AppendMayLookLikeAnOption) {
  EXPECT_EQ(parse_ok({"run", "image", "--append=-test vmx"}).append, "-test vmx");
}

TEST(Options, Diff) {
  const auto parsed = parse_command_line(
      {"diff", "--only", "vm-entry,vm-exit", "a", "b", "--ignore", "rip", "--context", "7"}, "");
  const auto* options = std::get_if<DiffOptions>(&parsed);
  ASSERT_NE(options, nullptr);
  EXPECT_EQ(options->left, "a");
  EXPECT_EQ(options->right, "b");
  EXPECT_THAT(options->rules.only, ElementsAre("vm-entry", "vm-exit"));
  EXPECT_THAT(options->rules.ignore, ElementsAre("rip"));
  EXPECT_EQ(options->rules.context, 7u);
  EXPECT_FALSE(options->list_ignored);
}

TEST(Options, HelpAndVersionSucceed) {
  for (const Arguments& arguments : {Arguments{"--help"}, Arguments{"run", "--help"}}) {
    const PrintAndExit print = parse_print(arguments);
    EXPECT_EQ(print.status, ExitStatus::kSuccess);
    EXPECT_THAT(print.text, HasSubstr("Example:\n  nestor run "));
    for (const ExitStatusEntry& entry : kExitStatusTable) {
      EXPECT_THAT(print.text, HasSubstr(std::string(entry.meaning)));
    }
  }
  EXPECT_EQ(parse_print({"--version"}).text, "version\n");
}

struct BadUsage {
  Arguments arguments;
  const char* message;
};

void PrintTo(const BadUsage& bad, std::ostream* out) { *out << bad.message; }

const BadUsage kBadUsages[] = {
    {{}, "a command is required"},
    {{"walk"}, "walk"},
    {{"run"},
     "IMAGE is required, or a --disk, --cdrom or --efi-application to start from, or "
     "--firmware, or --load-state FILE"},
    {{"run", "image", "--firmware", "ovmf"}, "IMAGE and --firmware exclude each other"},
    {{"run", "image", "--cdrom", ""}, "--cdrom: the name of the file is empty"},
    {{"run", "image", "--firmware-vars", "v"}, "IMAGE and --firmware-vars exclude each other"},
    {{"run", "--firmware-vars", ""}, "--firmware-vars: the name of the file is empty"},
    {{"run", "--firmware-vars", "v,rw"}, "'rw' is neither writable=on nor writable=off"},
    {{"run", "--firmware", "seabios", "--firmware-vars", "v"}, "SeaBIOS has no variables"},
    {{"run", "--firmware", ""}, "--firmware: the name of the file is empty"},
    {{"run", "--disk", "d", "--append", "quiet"}, "--append has no effect without IMAGE"},
    {{"run", "--disk", "d", "--initrd", "i"}, "--initrd has no effect without IMAGE"},
    {{"run", "--disk", "d", "--module", "m"}, "--module has no effect without IMAGE"},
    {{"run", "--disk", "d", "--l0", "nested-ept"}, "--l0: L0 has no memory for firmware"},
    {{"run", "--load-state", "s", "--firmware", "f"}, "--firmware has no effect with --load-state"},
    {{"run", "image", "--keyboard", ""}, "--keyboard: the name of the file is empty"},
    {{"run", "image", "--keyboard", "stdio", "--virtio-console", "stdio"},
     "--keyboard stdio and --virtio-console stdio both read the terminal"},
    {{"run", "image", "--keyboard", "stdio", "--gdb", "stdio"},
     "--keyboard stdio and --gdb stdio both read the terminal"},
    {{"run", "image", "--vga", "cirrus"}, "--vga: 'cirrus' is neither std nor text"},
    {{"run", "image", "--vga", "std", "--l0", "nested-ept"},
     "--l0: L0 has no memory for --vga std"},
    {{"run", "--load-state", "s", "--vga", "std"}, "--vga has no effect with --load-state"},
    {{"run", "image", "--firmware-log", "l"}, "--firmware-log has no effect without firmware"},
    {{"run", "--disk", "d", "--firmware-log", ""}, "--firmware-log: the name of the file is empty"},
    {{"run", "image", "--bogus"}, "--bogus"},
    {{"run", "image", "other"}, "other"},
    {{"run", "image", "--memory"}, "--memory"},
    {{"run", "image", "--tlb", "stress"}, "--tlb: 'stress' is none of flush, tagged and keep"},
    {{"run", "image", "--timing", "exact"},
     "--timing: 'exact' is none of fast, blocks, detailed and reference"},
    {{"run", "image", "--memory", ""}, "--memory"},
    {{"run", "image", "--memory", "lots"}, "--memory: 'lots' is no size"},
    {{"run", "image", "--memory", "1T"}, "--memory: '1T' is no size"},
    {{"run", "image", "--memory", "-1M"}, "--memory"},
    {{"run", "image", "--memory", "99999999999G"}, "is no size"},
    {{"run", "image", "--memory", "0"},
     "--memory: 0 is not possible; choose a multiple of 4K from 1M to 64G"},
    {{"run", "image", "--memory", "65G"}, "--memory: 65G is not possible"},
    {{"run", "image", "--memory", "2097153"}, "--memory: 2097153 is not possible"},
    {{"run", "image", "--cpus", "0"}, "--cpus: '0' is not possible; choose a number from 1 to 8"},
    {{"run", "image", "--cpus", "9"}, "--cpus: '9' is not possible"},
    {{"run", "image", "--cpus", "2x"}, "--cpus: '2x' is not possible"},
    {{"run", "image", "--cpus", ""}, "--cpus: '' is not possible"},
    {{"run", "image", "--max-instructions", "many"}, "--max-instructions: 'many' is no count"},
    {{"run", "image", "--max-instructions", "0"}, "--max-instructions: '0' is no count"},
    {{"run", "image", "--max-instructions", "18446744073709551616"}, "is no count"},
    {{"run", "image", "--random-seed", "dice"}, "--random-seed: 'dice' is no seed"},
    {{"run", "image", "--random-seed", "18446744073709551616"}, "is no seed"},
    {{"run", "image", "--trace", "t", "--trace-format", "xml"}, "--trace-format: 'xml' is none of"},
    {{"run", "image", "--trace-vmcs"}, "--trace-vmcs has no effect without --trace FILE"},
    {{"stats"}, "TRACE is required"},
    {{"view", "-"}, "--out FILE is required"},
    {{"view", "t", "--out", ""}, "--out: the name of the file is empty"},
    {{"view", "t", "--max-events", "0"}, "--max-events"},
    {{"walk", "image", "0x1"}, "--at is required"},
    {{"walk", "image", "0x1g", "--at", "1"}, "ADDRESS: '0x1g' is no address"},
    {{"walk", "image", "0x10000000000000000", "--at", "1"}, "is no address"},
    {{"walk", "image", "1", "--at", "later"}, "--at: 'later' is no moment"},
    {{"walk", "image", "1", "--at", "1", "--level", "l0"}, "--level: 'l0' is none of"},
    {{"walk", "image", "1", "--at", "1", "--access", "jump"}, "--access: 'jump' is none of"},
    {{"run", "image", "--trace-format", "text"}, "no effect without --trace"},
    {{"run", "image", "--trace", "t", "--trace-events", "vm-exut"},
     "--trace-events: 'vm-exut' is no kind of event; choose from all, none, vm-entry, vm-exit,"},
    {{"run", "image", "--trace", "t", "--trace-level", "L0"},
     "--trace-level: 'L0' is neither L1 nor L2"},
    {{"run", "image", "--trace", "t", "--trace-from", "soon"},
     "--trace-from: 'soon' is no moment; write"},
    {{"run", "image", "--trace-events", "walk"}, "--trace-events has no effect without --trace"},
    {{"run", "image", "--trace-level", "L1"}, "--trace-level has no effect without --trace"},
    {{"run", "image", "--trace-from", "1"}, "--trace-from has no effect without --trace"},
    {{"run", "image", "--trace", "-"}, "both write to the standard output"},
    {{"run", "image", "--trace="}, "--trace"},
    {{"diff"}, "two traces are required: nestor diff A B; see nestor diff --help"},
    {{"diff", "a"}, "two traces are required"},
    {{"diff", "a", "b", "c"}, "c"},
    {{"diff", "a", "b", "--context", "-1"}, "--context"},
    {{"run", "image", "--log", "loud"}, "--log: 'loud' is no level"},
};

class OptionsRefuse : public ::testing::TestWithParam<BadUsage> {};

TEST_P(OptionsRefuse, WithOneLine) {
  const PrintAndExit print = parse_print(GetParam().arguments);
  EXPECT_EQ(print.status, ExitStatus::kBadUsage);
  EXPECT_THAT(print.text, HasSubstr(GetParam().message));
  EXPECT_THAT(print.text, ::testing::StartsWith("nestor: "));
  EXPECT_EQ(std::ranges::count(print.text, '\n'), 1);
}

INSTANTIATE_TEST_SUITE_P(All, OptionsRefuse, ::testing::ValuesIn(kBadUsages));

TEST(ParseSize, KnowsItsSuffixes) {
  EXPECT_EQ(parse_size("4096"), 4096u);
  EXPECT_EQ(parse_size("4k"), 4096u);
  EXPECT_EQ(parse_size("3M"), 3u << 20);
  EXPECT_EQ(parse_size("2G"), 2ull << 30);
  EXPECT_EQ(parse_size("17179869183G"), 17179869183ull << 30);
  for (const char* bad : {"", "M", "1 M", " 1", "+1", "0x10", "1.5G", "1MB", "17179869184G"}) {
    EXPECT_EQ(parse_size(bad), std::nullopt) << bad;
  }
}

}  // namespace
}  // namespace nestor::emu
