// SPDX-License-Identifier: GPL-2.0-or-later
//
// vmx_fuzz: VM entries on the boundary of validity, random EPTs and short guests, on the whole
// machine. docs/fuzzing.md tells how to use it.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "emu/observe/trace/output_file.h"
#include "emu/observe/trace/trace.h"
#include "tests/fuzz/vmx/compare.h"
#include "tests/fuzz/vmx/generator.h"
#include "tests/fuzz/vmx/outputs.h"
#include "tests/fuzz/vmx/run.h"
#include "vmx/capabilities.h"

namespace nestor::fuzz {
namespace {

using Time = std::chrono::steady_clock;

constexpr std::string_view kUsage =
    "usage: vmx_fuzz [--seeds A-B] [--shard I/N] [--minutes M] [--batch N] [--replay-every N]\n"
    "       vmx_fuzz --seed S [--verbose] [--stepped]\n"
    "       vmx_fuzz --seeds A-B --verbose [--stepped]\n"
    "       vmx_fuzz --seeds A-B --write-case FILE\n"
    "       vmx_fuzz --seeds A-B --print-output\n"
    "       vmx_fuzz --other FILE --compare OUTPUT OTHER-OUTPUT\n"
    "  --seed S       one case, as a whole and one instruction of L2 at a time\n"
    "  --verbose, --stepped: in one of these ways\n"
    "  --image FILE   vmx-case.elf\n"
    "  --other FILE   the output of vmx-case on another machine: make cases that mean the same "
    "there\n";

struct Options {
  uint64_t first = 1, last = 400;
  uint64_t shard = 0, shards = 1;
  uint64_t minutes = 0;
  uint64_t batch = 200;
  uint64_t replay_every = 10;
  bool single = false, verbose = false, stepped = false, print_output = false;
  std::string image = NESTOR_GUEST_IMAGES "/vmx-case/vmx-case.elf";
  std::string write_case, other;
  std::vector<std::string> compare;
};

[[noreturn]] void fail(const std::string& message) {
  std::fprintf(stderr, "vmx_fuzz: %s\n", message.c_str());
  std::exit(2);
}

uint64_t number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size())
    fail("'" + std::string(text) + "' is no number");
  return value;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    const auto value = [&]() -> std::string_view {
      if (i + 1 == argc) fail(std::string(name) + " needs a value");
      return argv[++i];
    };
    const auto pair = [&](char separator, uint64_t& first, uint64_t& second) {
      const std::string_view text = value();
      const size_t at = text.find(separator);
      if (at == text.npos) fail("'" + std::string(text) + "' is no pair of numbers");
      first = number(text.substr(0, at));
      second = number(text.substr(at + 1));
    };
    if (name == "--seeds") {
      pair('-', options.first, options.last);
    } else if (name == "--shard") {
      pair('/', options.shard, options.shards);
      if (options.shard >= options.shards) fail("--shard I/N: I is below N");
    } else if (name == "--minutes") {
      options.minutes = number(value());
    } else if (name == "--batch") {
      options.batch = std::max<uint64_t>(number(value()), 1);
    } else if (name == "--replay-every") {
      options.replay_every = number(value());
    } else if (name == "--seed") {
      options.first = options.last = number(value());
      options.single = true;
    } else if (name == "--verbose") {
      options.verbose = true;
    } else if (name == "--stepped") {
      options.stepped = true;
    } else if (name == "--image") {
      options.image = value();
    } else if (name == "--other") {
      options.other = value();
    } else if (name == "--write-case") {
      options.write_case = value();
    } else if (name == "--print-output") {
      options.print_output = true;
    } else if (name == "--compare") {
      options.compare.emplace_back(value());
      options.compare.emplace_back(value());
    } else {
      std::fputs(kUsage.data(), stderr);
      std::exit(name == "--help" ? 0 : 2);
    }
  }
  return options;
}

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail("cannot read " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A batch that crashes or hangs is told by its seeds.
volatile uint64_t batch_first, batch_last;
constexpr unsigned kSecondsPerBatch = 300;
// Of a run that is replayed through saved states.
constexpr uint64_t kHandOvers = 7;

void on_signal(int signal) {
  char text[128];
  const int size = std::snprintf(
      text, sizeof text, "vmx_fuzz: signal %d while seeds %llu-%llu ran\n", signal,
      static_cast<unsigned long long>(batch_first), static_cast<unsigned long long>(batch_last));
  (void)!::write(STDERR_FILENO, text, static_cast<size_t>(size));
  std::_Exit(1);
}

class Campaign {
 public:
  explicit Campaign(const Options& options)
      : options_(options),
        base_(base_case(vmx::nestor_capabilities())),
        other_(other_machine()),
        generator_(base_, vmx::nestor_capabilities(), other_) {
    const std::string bytes = contents(options.image);
    image_ = {"vmx-case", {bytes.begin(), bytes.end()}};
  }

  int write() const {
    std::vector<Case> cases;
    for (uint64_t seed = options_.first; seed <= options_.last; ++seed)
      cases.push_back(generator_.make(seed));
    std::ofstream file(options_.write_case, std::ios::binary);
    file << to_text(base_, cases) << std::flush;
    if (!file) fail("cannot write " + options_.write_case);
    return 0;
  }

  int compare() const {
    const Comparison result =
        compare_outputs(contents(options_.compare[0]), contents(options_.compare[1]), base_,
                        [this](uint64_t seed) { return generator_.make(seed); });
    std::printf("%zu cases compared, %zu differ, %zu undecided\n%s", result.compared,
                result.different, result.undecided, result.report.c_str());
    return result.undecided == 0 ? 0 : 1;
  }

  int print() const {
    const RunOutcome outcome = run_cases(image_, base_, all_cases(), false, nullptr);
    std::fputs(outcome.text.c_str(), stdout);
    return report(outcome);
  }

  int run_once() const {
    const std::vector<Case> cases = all_cases();
    std::unique_ptr<emu::OutputFile> file;
    std::optional<emu::Trace> trace;
    if (options_.verbose) {
      std::printf("%s", to_text({}, cases).c_str());
      std::fflush(stdout);
      auto opened = emu::OutputFile::open("-");
      file = std::get<std::unique_ptr<emu::OutputFile>>(std::move(opened));
      trace.emplace(*file, emu::TraceFormat::kText);
    }
    const RunOutcome outcome = run_cases(image_, base_, cases, false, trace ? &*trace : nullptr,
                                         {.stepped = options_.stepped});
    if (trace) trace->finish();
    if (file) file->flush();
    if (options_.verbose) std::printf("%s", outcome.text.c_str());
    const int status = report(outcome);
    if (options_.verbose || options_.stepped) return status;
    const RunOutcome again = run_cases(image_, base_, cases, false, nullptr, {.stepped = true});
    if (again.hash == outcome.hash) return status;
    std::fprintf(stderr, "instruction by instruction it differs, if only in time\n");
    return 1;
  }

  int run() {
    const Time::time_point start = Time::now();
    const auto seconds = [&] { return std::chrono::duration<double>(Time::now() - start).count(); };
    uint64_t seed = options_.first + options_.shard, batches = 0, complaints = 0;
    const auto more = [&] {
      return options_.minutes != 0 ? seconds() < 60.0 * static_cast<double>(options_.minutes)
                                   : seed <= options_.last;
    };
    while (more()) {
      std::vector<Case> cases;
      for (; cases.size() < options_.batch && (options_.minutes != 0 || seed <= options_.last);
           seed += options_.shards)
        cases.push_back(generator_.make(seed));
      complaints += static_cast<uint64_t>(run_batch(cases, ++batches));
    }
    const double time = seconds();
    std::printf("%llu cases in %.1f s, %.0f cases a second, %llu complaints\n",
                static_cast<unsigned long long>(cases_), time, static_cast<double>(cases_) / time,
                static_cast<unsigned long long>(complaints));
    for (const auto& [name, count] : outcomes_)
      std::printf("%10llu  %s\n", static_cast<unsigned long long>(count), name.c_str());
    return complaints == 0 ? 0 : 1;
  }

 private:
  std::vector<Case> all_cases() const {
    std::vector<Case> cases;
    for (uint64_t seed = options_.first; seed <= options_.last; ++seed)
      cases.push_back(generator_.make(seed));
    return cases;
  }
  std::optional<vmx::Capabilities> other_machine() const {
    if (options_.other.empty()) return std::nullopt;
    std::string error;
    const vmx::Capabilities other = capabilities_of_output(contents(options_.other), error);
    if (!error.empty()) fail(options_.other + ": " + error);
    return other;
  }

  static int report(const RunOutcome& outcome) {
    for (const auto& [seed, what] : outcome.complaints)
      std::fprintf(stderr, "seed %llu: %s\n", static_cast<unsigned long long>(seed), what.c_str());
    return outcome.complaints.empty() ? 0 : 1;
  }

  // Up to the first case that differs; behind it times are others. What differs in time alone is
  // counted: a CALL or a repetition that writes over itself may be two instructions to the engine.
  size_t compare_ends(const std::vector<Case>& cases, const RunOutcome& whole,
                      const RunOutcome& stepped) {
    using End = Judge::CaseEnd;
    const auto differ =
        std::ranges::mismatch(whole.ends, stepped.ends, std::equal_to(), &End::hash, &End::hash);
    if (differ.in1 == whole.ends.end() || differ.in2 == stepped.ends.end()) return 0;
    const End one = *differ.in1, other = *differ.in2;
    if (one.guest == other.guest || one.guest == 0 || other.guest == 0) {
      ++outcomes_["differs in time alone, stepped"];
      return 0;
    }
    const Case& found = cases[static_cast<size_t>(differ.in1 - whole.ends.begin())];
    std::fprintf(stderr, "seed %llu: instruction by instruction it differs\n",
                 static_cast<unsigned long long>(found.seed));
    return 1;
  }

  // A case that ends the run is left out, and the others are run.
  size_t run_batch(std::vector<Case> cases, uint64_t number_of_batch) {
    size_t complaints = 0;
    while (!cases.empty()) {
      batch_first = cases.front().seed;
      batch_last = cases.back().seed;
      ::alarm(kSecondsPerBatch);
      const RunOutcome outcome = run_cases(image_, base_, cases, true, nullptr);
      report(outcome);
      complaints += outcome.complaints.size();
      for (const auto& [name, count] : outcome.outcomes) outcomes_[name] += count;
      cases_ += outcome.finished;
      if (options_.replay_every != 0 && (number_of_batch - 1) % options_.replay_every == 0) {
        // By turns from the beginning to the end, handed over to other machines on the way, and
        // one instruction of L2 at a time.
        const uint64_t turn = (number_of_batch - 1) / options_.replay_every % 3;
        Way way;
        if (turn == 1) way.relay = outcome.instructions / kHandOvers + number_of_batch;
        way.stepped = turn == 2;
        const RunOutcome again = run_cases(image_, base_, cases, true, nullptr, way);
        if (way.stepped) {
          complaints += compare_ends(cases, outcome, again);
        } else if (again.hash != outcome.hash) {
          std::fprintf(stderr, "seeds %llu-%llu: two runs differ%s\n",
                       static_cast<unsigned long long>(batch_first),
                       static_cast<unsigned long long>(batch_last),
                       way.relay == 0 ? "" : ", the second one through saved states");
          ++complaints;
        }
      }
      if (outcome.finished >= cases.size()) break;
      const size_t done = outcome.finished + 1;
      cases.erase(cases.begin(), cases.begin() + static_cast<ptrdiff_t>(done));
    }
    ::alarm(0);
    return complaints;
  }

  const Options options_;
  const Case base_;
  const std::optional<vmx::Capabilities> other_;
  const Generator generator_;
  emu::ImageFile image_;
  uint64_t cases_ = 0;
  std::map<std::string, uint64_t> outcomes_;
};

int main_of(const Options& options) {
  for (const int signal : {SIGSEGV, SIGABRT, SIGFPE, SIGILL, SIGBUS, SIGALRM})
    std::signal(signal, on_signal);
  Campaign campaign(options);
  if (!options.compare.empty()) return campaign.compare();
  if (!options.write_case.empty()) return campaign.write();
  if (options.print_output) return campaign.print();
  return options.single || options.verbose ? campaign.run_once() : campaign.run();
}

}  // namespace
}  // namespace nestor::fuzz

int main(int argc, char** argv) { return nestor::fuzz::main_of(nestor::fuzz::parse(argc, argv)); }
