// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/processor_choice.h"

#include <spdlog/fmt/fmt.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <optional>
#include <vector>

#include "emu/cli/nearest.h"

namespace nestor::emu {
namespace {

using vmx::Feature;
using vmx::ProcessorType;

// What real processors of these models have, and Nestor does not.
constexpr std::string_view kNotImplemented[] = {
    "vme",        "movbe",     "avx",          "f16c",      "fma",        "smx",      "avx2",
    "bmi1",       "bmi2",      "hle",          "rtm",       "erms",       "mpx",      "adx",
    "clflushopt", "clwb",      "intel-pt",     "sha-ni",    "avx512f",    "avx512dq", "avx512bw",
    "avx512vl",   "avx512cd",  "gfni",         "vaes",      "vpclmulqdq", "fsrm",     "spec-ctrl",
    "stibp",      "ssbd",      "sgx",          "shstk",     "ibt",        "cet-ss",   "cet-ibt",
    "waitpkg",    "serialize", "movdiri",      "movdir64b", "enqcmd",     "cldemote", "uintr",
    "lam",        "amx-tile",  "arch-lbr",     "pdcm",      "ds",         "dtes64",   "aperfmperf",
    "hwp",        "vmx-hlat",  "vmx-ipi-virt",
};

// "; did you mean 'x'?", or where to find all names.
std::string suggestion(std::string_view name, const std::vector<std::string_view>& names) {
  const std::string_view best = nearest(name, names);
  return best.empty() ? "; --cpu help lists them" : fmt::format("; did you mean '{}'?", best);
}

std::vector<std::string_view> model_names() {
  std::vector<std::string_view> names;
  names.reserve(vmx::kProcessorModels.size());
  for (const vmx::ProcessorModel& model : vmx::kProcessorModels) names.push_back(model.name);
  return names;
}

std::vector<std::string_view> feature_names() {
  std::vector<std::string_view> names;
  names.reserve(vmx::kNamedFeatures.size());
  for (const vmx::NamedFeature& feature : vmx::kNamedFeatures)
    if (!feature.name.empty()) names.push_back(feature.name);
  return names;
}

std::optional<Feature> find_feature(std::string_view name) {
  const auto found = std::ranges::find(vmx::kNamedFeatures, name, &vmx::NamedFeature::name);
  if (name.empty() || found == vmx::kNamedFeatures.end()) return std::nullopt;
  return static_cast<Feature>(found - vmx::kNamedFeatures.begin());
}

// A complaint, or the empty string.
std::string change(ProcessorType& processor, std::string_view word) {
  if (word.size() < 2 || (word[0] != '+' && word[0] != '-'))
    return fmt::format("--cpu: '{}' is neither +FEATURE nor -FEATURE", word);
  std::string name(word.substr(1));
  std::ranges::replace(name, '_', '-');
  const bool add = word[0] == '+';
  const std::optional<Feature> feature = find_feature(name);
  if (!feature && std::ranges::find(kNotImplemented, name) != std::end(kNotImplemented)) {
    // No model has it: to take it away is to leave it as it is.
    return add ? fmt::format("--cpu: '{}' cannot be added: it is not implemented", name) : "";
  }
  if (!feature)
    return fmt::format("--cpu: '{}' is no feature{}", name, suggestion(name, feature_names()));
  if (!add) {
    processor.features.remove(*feature);
    return {};
  }
  const Feature needed = vmx::named(*feature).needs;
  if (needed != Feature::kNone && !processor.has(needed)) {
    return fmt::format("--cpu: '{}' cannot be added without '{}'", name, vmx::named(needed).name);
  }
  processor.features.add(*feature);
  return {};
}

}  // namespace

std::variant<ProcessorType, std::string> parse_processor(std::string_view text) {
  const std::string_view name = text.substr(0, text.find(','));
  const auto model = std::ranges::find(vmx::kProcessorModels, name, &vmx::ProcessorModel::name);
  if (model == vmx::kProcessorModels.end())
    return fmt::format("--cpu: '{}' is no model{}", name, suggestion(name, model_names()));
  ProcessorType processor = vmx::processor_of(model->generation);
  for (std::string_view rest = text.substr(name.size()); !rest.empty();) {
    rest.remove_prefix(1);  // the comma
    const std::string_view word = rest.substr(0, rest.find(','));
    if (std::string bad = change(processor, word); !bad.empty()) return bad;
    rest.remove_prefix(word.size());
  }
  return processor;
}

void add_processor_option(CLI::App& command, std::string& value) {
  command
      .add_option("--cpu", value,
                  "The processor: a model, with features more or less; help lists both")
      ->type_name("MODEL[,+FEATURE][,-FEATURE]...")
      ->capture_default_str();
}

std::variant<ProcessorType, Complaint> read_processor(const std::string& value) {
  if (value == "help") return Complaint{processor_help(), ExitStatus::kSuccess};
  auto parsed = parse_processor(value);
  if (auto* bad = std::get_if<std::string>(&parsed))
    return Complaint{std::move(*bad), ExitStatus::kNoSuchProcessor};
  return std::get<ProcessorType>(parsed);
}

std::string default_processor_name() { return std::string(ProcessorType{}.model().name); }

std::string processor_help() {
  std::string text = "Models:\n";
  for (const vmx::ProcessorModel& model : vmx::kProcessorModels) {
    const bool is_default = model.generation == vmx::kDefaultGeneration;
    text += fmt::format("  {:<15} {}, {:02x}_{:02X}H stepping {}{}\n", model.name, model.brand,
                        model.family(), model.number(), model.stepping(),
                        is_default ? " (the default)" : "");
  }
  text += "\nFeatures, by the first model that has them:\n";
  for (const vmx::ProcessorModel& model : vmx::kProcessorModels) {
    constexpr size_t kWidth = 78;
    text += fmt::format("  {}\n", model.name);
    std::string line;
    for (const vmx::NamedFeature& feature : vmx::kNamedFeatures) {
      if (feature.since != model.generation || feature.name.empty()) continue;
      if (line.size() + 1 + feature.name.size() > kWidth) text += std::exchange(line, {}) + "\n";
      line += fmt::format("{}{}", line.empty() ? "    " : " ", feature.name);
    }
    text += line + "\n";
  }
  return text;
}

}  // namespace nestor::emu
