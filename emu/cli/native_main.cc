// SPDX-License-Identifier: GPL-2.0-or-later
#include <spdlog/fmt/fmt.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "emu/cli/complain.h"
#include "emu/cli/native_run_command.h"
#include "emu/native/campaign.h"
#include "emu/native/ept_campaign.h"
#include "emu/native/recorder.h"
#include "vmx/capabilities.h"

namespace nestor::emu::native {
namespace {

/// Exit statuses; docs/native.md lists them.
enum Status : int { kAgreed = 0, kMismatch = 1, kUsage = 2, kFailed = 4, kSkipped = 77 };

/// Far more than can be asked, and printed exactly in an error.
constexpr std::uint64_t kLargestNumber = 1'000'000'000'000;

constexpr unsigned kMostRecorded = 100'000;

struct Mode {
  const char* name;
  ept::PagingMode mode;
};
constexpr Mode kModes[] = {
    {"32", ept::PagingMode::k32Bit},
    {"pae", ept::PagingMode::kPae},
    {"4level", ept::PagingMode::k4Level},
    {"5level", ept::PagingMode::k5Level},
};

void print_line(const std::string& line) {
  std::fputs((line + "\n").c_str(), stdout);
  std::fflush(stdout);
}

void print_figures(const char* mode, const char* kind, const Figures& figures, double seconds) {
  if (figures.asked == 0) return;
  print_line(fmt::format(
      "{:<6} {}: {} asked ({} implicit) of {} sets of tables in {:.1f} s, {} mismatches: {} small "
      "pages, {} "
      "large pages ({} of both outside memory), {} not present, {} reserved bits, {} denied, {} "
      "protection key, {} not canonical, {} tables outside memory; {} set accessed or dirty "
      "flags; {} left out",
      mode, kind, figures.asked, figures.implicit, figures.tables, seconds, figures.mismatches,
      figures.small_pages, figures.large_pages, figures.outside, figures.not_present,
      figures.reserved, figures.denied, figures.protection_key, figures.non_canonical,
      figures.unreachable, figures.flags_set, figures.not_asked));
  for (std::size_t i = 1; i != kDivergences; ++i) {
    if (figures.divergences[i] == 0) continue;
    print_line(fmt::format("{:<6} {}: known divergence, {} times: {}", mode, kind,
                           figures.divergences[i], describe(static_cast<Divergence>(i))));
  }
}

void print_missing(const CampaignResult& result) {
  const Features& features = result.features;
  const std::pair<const char*, bool> wanted[] = {{"NX", features.nx},
                                                 {"PSE-36", features.pse36},
                                                 {"1-GByte pages", features.page1gb},
                                                 {"SMEP", features.smep},
                                                 {"SMAP", features.smap},
                                                 {"protection keys", features.pku},
                                                 {"supervisor protection keys", features.pks},
                                                 {"LA57", features.la57}};
  for (const auto& [name, offered] : wanted) {
    if (!offered) print_line(fmt::format("skipped: {}: KVM on this host does not offer it", name));
  }
  if (result.implicit_accesses == false) {
    print_line(
        "skipped: implicit supervisor accesses: the processor of this KVM does not read the "
        "machine's LDT");
  }
}

void print_figures(const char* kind, const EptFigures& figures, double seconds) {
  if (figures.asked == 0) return;
  print_line(fmt::format(
      "ept    {}: {} asked ({} of 5-level EPT, {} with accessed and dirty flags; {} EPT walks) of "
      "{} sets of tables in {:.1f} s, {} mismatches: {} translated ({} outside memory), {} EPT "
      "violations, {} EPT misconfigurations, {} page faults; {} set accessed or dirty flags of "
      "EPT; {} left out",
      kind, figures.asked, figures.five_level, figures.with_flags, figures.ept_walks,
      figures.tables, seconds, figures.mismatches, figures.translated, figures.outside,
      figures.violations, figures.misconfigurations, figures.page_faults, figures.flags_set,
      figures.not_asked));
  for (std::size_t i = 1; i != kEptDivergences; ++i) {
    if (figures.divergences[i] == 0) continue;
    print_line(fmt::format("ept    {}: known divergence, {} times: {}", kind,
                           figures.divergences[i], describe(static_cast<EptDivergence>(i))));
  }
}

int conclude(std::uint64_t mismatches) {
  print_line(mismatches == 0 ? "the walker and KVM agree"
                             : fmt::format("the walker and KVM differ {} times", mismatches));
  return mismatches == 0 ? kAgreed : kMismatch;
}

int check_ept(const CampaignOptions& options) {
  print_line(fmt::format("seed {}", options.seed));
  const EptCampaignResult result = run_ept_campaign(options);
  namespace cap = vmx::ept_vpid_cap;
  const std::pair<const char*, std::uint64_t> wanted[] = {
      {"5-level EPT", cap::kWalkLength5},
      {"accessed and dirty flags for EPT", cap::kAccessedDirty},
      {"execute-only translations", cap::kExecuteOnly},
      {"1-GByte pages of EPT", cap::kPages1G}};
  for (const auto& [name, bit] : wanted) {
    if ((result.capabilities & bit) != 0) continue;
    print_line(fmt::format("skipped: {}: KVM on this host does not offer it", name));
  }
  print_figures("KVM_TRANSLATE", result.translations, result.translation_seconds);
  print_figures("accesses", result.accesses, result.access_seconds);
  for (const std::string& mismatch : result.mismatches) print_line(mismatch);
  return conclude(result.translations.mismatches + result.accesses.mismatches);
}

int check(CampaignOptions options, const std::string& wanted) {
  const std::uint64_t walks = options.walks;
  const std::uint64_t accesses = options.accesses;
  std::vector<Mode> modes;
  for (const Mode& mode : kModes) {
    if (wanted == mode.name || (wanted == "all" && mode.mode != ept::PagingMode::k5Level)) {
      modes.push_back(mode);
    }
  }
  print_line(fmt::format("seed {}", options.seed));
  std::uint64_t mismatches = 0;
  std::size_t skipped = 0;
  bool said = false;
  for (std::size_t i = 0; i != modes.size(); ++i) {
    // The first modes take what does not divide evenly.
    options.walks = walks / modes.size() + (i < walks % modes.size());
    options.accesses = accesses / modes.size() + (i < accesses % modes.size());
    CampaignResult result;
    try {
      result = run_campaign(options, modes[i].mode);
    } catch (const NoKvm&) {
      throw;
    } catch (const Unavailable& error) {
      if (modes.size() == 1) throw;
      print_line(fmt::format("skipped: {}: {}", modes[i].name, error.what()));
      ++skipped;
      continue;
    }
    if (!std::exchange(said, true)) print_missing(result);
    print_figures(modes[i].name, "KVM_TRANSLATE", result.translations, result.translation_seconds);
    print_figures(modes[i].name, "accesses", result.accesses, result.access_seconds);
    for (const std::string& mismatch : result.mismatches) print_line(mismatch);
    mismatches += result.translations.mismatches + result.accesses.mismatches;
  }
  if (skipped == modes.size()) return kSkipped;
  return conclude(mismatches);
}

int run(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "run") return run_natively({argv + 1, argv + argc});
  CLI::App app{"Compares Nestor with KVM: its page walker, and what images do"};
  app.set_version_flag("--version", "nestor-kvm " NESTOR_VERSION, "Print the version");
  app.name("nestor-kvm");
  app.require_subcommand(1);
  CampaignOptions options;
  options.walks = 1'000'000;
  options.accesses = 30'000;
  std::string mode = "all";
  CLI::App* const command =
      app.add_subcommand("check", "Compares walks and accesses on random page tables");
  command->add_option("--walks", options.walks, "Translations to compare with KVM_TRANSLATE")
      ->check(CLI::Range(std::uint64_t{0}, kLargestNumber))
      ->capture_default_str();
  command->add_option("--accesses", options.accesses, "Accesses to execute in the machine")
      ->check(CLI::Range(std::uint64_t{0}, kLargestNumber))
      ->capture_default_str();
  command->add_option("--seed", options.seed, "Seed of the tables")
      ->check(CLI::Range(std::uint64_t{0}, kLargestNumber))
      ->capture_default_str();
  command->add_option("--mode", mode, "Paging mode; all: 32, pae and 4level; ept: KVM's nested EPT")
      ->check(CLI::IsMember({"32", "pae", "4level", "5level", "ept", "all"}))
      ->capture_default_str();
  command->add_option("--device", options.device, "KVM's device")->capture_default_str();
  RecorderOptions recorder;
  std::string recorded_mode = "4level";
  CLI::App* const record = app.add_subcommand(
      "record", "Writes walks that KVM does to the standard output, for tests without KVM");
  record->add_option("--walks", recorder.walks, "The most to record")
      ->check(CLI::Range(1U, kMostRecorded))
      ->capture_default_str();
  record->add_option("--seed", recorder.seed, "Seed of the tables")
      ->check(CLI::Range(std::uint64_t{0}, kLargestNumber))
      ->capture_default_str();
  record->add_option("--mode", recorded_mode, "Paging mode")
      ->check(CLI::IsMember({"32", "pae", "4level", "5level"}))
      ->capture_default_str();
  record->add_option("--device", recorder.device, "KVM's device")->capture_default_str();
  app.add_subcommand("run", "Runs an image on the host's processor, as nestor run does on ours");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "nestor-kvm: %s; see nestor-kvm %s --help\n", error.what(),
                 record->parsed() ? "record" : "check");
    return kUsage;
  }
  if (record->parsed()) {
    for (const Mode& each : kModes) {
      if (recorded_mode == each.name) recorder.mode = each.mode;
    }
    const std::string text = record_walks(recorder);
    if (std::fputs(text.c_str(), stdout) == EOF || std::fflush(stdout) != 0) {
      throw Failure("cannot write the standard output");
    }
    return kAgreed;
  }
  return mode == "ept" ? check_ept(options) : check(options, mode);
}

}  // namespace
}  // namespace nestor::emu::native

int main(int argc, char** argv) {
  using namespace nestor::emu::native;
  nestor::emu::keep_standard_descriptors();
  try {
    return run(argc, argv);
  } catch (const Unavailable& error) {
    std::fprintf(stderr, "skipped: %s\n", error.what());
    return kSkipped;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "nestor-kvm: %s\n", error.what());
  }
  return kFailed;
}
