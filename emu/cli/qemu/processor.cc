// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/qemu/processor.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>

#include "emu/cli/processor_choice.h"
#include "emu/cli/qemu/reasons.h"

namespace nestor::emu::qemu {
namespace {

constexpr const char *kAmd = "Nestor is a processor of Intel", *kOld = "Westmere is the oldest",
                     *kAtom = "Nestor is a server's processor, no Atom and no Xeon Phi",
                     *k32Bit = "Nestor is a 64-bit processor";

// Models of QEMU and those of Nestor; where the second is null Nestor has none, for the reason
// after it. A version of a model ("-v2") and what Nestor lacks in any case ("-noTSX") are cut off
// before.
struct Model {
  std::string_view name;
  const char* nestor;
  const char* why = "";
};
constexpr Model kModels[] = {
    {"host", "Icelake-Server"},
    {"max", "SapphireRapids"},  // all that Nestor has
    // The least that there is.
    {"qemu64", "Westmere"},
    {"kvm64", "Westmere"},
    {"base", "Westmere"},
    {"Westmere", "Westmere"},
    {"SandyBridge", "SandyBridge"},
    {"IvyBridge", "IvyBridge"},
    {"Haswell", "Haswell"},
    {"Broadwell", "Broadwell"},
    {"Skylake-Client", "Skylake-Server"},
    {"Skylake-Server", "Skylake-Server"},
    {"Cascadelake-Server", "Skylake-Server"},
    {"Cooperlake", "Skylake-Server"},
    {"Icelake-Client", "Icelake-Server"},
    {"Icelake-Server", "Icelake-Server"},
    {"SapphireRapids", "SapphireRapids"},
    {"EPYC", nullptr, kAmd},
    {"EPYC-Rome", nullptr, kAmd},
    {"EPYC-Milan", nullptr, kAmd},
    {"EPYC-Genoa", nullptr, kAmd},
    {"Dhyana", nullptr, kAmd},
    {"Opteron_G1", nullptr, kAmd},
    {"Opteron_G2", nullptr, kAmd},
    {"Opteron_G3", nullptr, kAmd},
    {"Opteron_G4", nullptr, kAmd},
    {"Opteron_G5", nullptr, kAmd},
    {"athlon", nullptr, kAmd},
    {"phenom", nullptr, kAmd},
    {"core2duo", nullptr, kOld},
    {"Conroe", nullptr, kOld},
    {"Penryn", nullptr, kOld},
    {"Nehalem", nullptr, kOld},
    {"Denverton", nullptr, kAtom},
    {"Snowridge", nullptr, kAtom},
    {"n270", nullptr, kAtom},
    {"KnightsMill", nullptr, kAtom},
    {"486", nullptr, k32Bit},
    {"pentium", nullptr, k32Bit},
    {"pentium2", nullptr, k32Bit},
    {"pentium3", nullptr, k32Bit},
    {"coreduo", nullptr, k32Bit},
    {"qemu32", nullptr, k32Bit},
    {"kvm32", nullptr, k32Bit},
};

// What a model may have after its name without being another one for Nestor.
constexpr std::string_view kVariants[] = {"-noTSX", "-IBRS"};

std::string_view cut_version(std::string_view name) {
  const size_t version = name.rfind("-v");
  const bool has_version = version != std::string_view::npos && version + 2 < name.size() &&
                           name.find_first_not_of("0123456789", version + 2) == name.npos;
  return has_version ? name.substr(0, version) : name;
}

std::string_view base_name(std::string_view name) {
  name = cut_version(name);
  // "-noTSX-IBRS" has both, in this order.
  for (const std::string_view variant : {kVariants[1], kVariants[0]})
    if (name.ends_with(variant)) name.remove_suffix(variant.size());
  return name;
}

// Properties of a processor that are no features of Nestor's.
constexpr const char* kKvmInterface = "there are no interfaces of KVM";
constexpr const char* kIdentity = "a model's numbers and names are its own";
constexpr const char* kWidth = "the width of a physical address is the model's";
constexpr std::array<Row<Wanted>, 36> kProperties = {{
    {"hv-*", "VALUE", Treatment::kMissing, kNoHyperV, "off"},
    {"kvm", "on", Treatment::kMet, "there is no leaf of CPUID that names KVM"},
    {"kvmclock", "on", Treatment::kMissing, kKvmInterface, "off"},
    {"kvm-*", "on", Treatment::kMissing, kKvmInterface, "off"},
    {"hypervisor", "on", Treatment::kIgnored, "CPUID names no hypervisor", "off"},
    {"svm", "on", Treatment::kMissing, kAmd, "off"},
    {"npt", "on", Treatment::kMissing, kAmd, "off"},
    {"skinit", "on", Treatment::kMissing, kAmd, "off"},
    {"topoext", "on", Treatment::kMissing, kAmd, "off"},
    {"vendor", "NAME", Treatment::kMissing, kAmd, "GenuineIntel"},
    {"phys-bits", "N", Treatment::kIgnored, kWidth},
    {"host-phys-bits", "on", Treatment::kMet, kWidth},
    {"host-phys-bits-limit", "N", Treatment::kIgnored, kWidth},
    {"migratable", "on", Treatment::kMet, "runs are not migrated"},
    {"check", "on", Treatment::kMet, "a feature that is not there is an error"},
    {"enforce", "on", Treatment::kMet, "a feature that is not there is an error"},
    {"force-features", "on", Treatment::kMissing, "features are those that are there"},
    {"pmu", "on", Treatment::kIgnored, "the performance counters are there in any case", "on"},
    {"lbr-fmt", "N", Treatment::kMissing, "there are no last-branch records"},
    {"tsc-frequency", "FREQUENCY", Treatment::kIgnored, "the TSC's frequency is the model's"},
    {"tsc-freq", "FREQUENCY", Treatment::kIgnored, "the TSC's frequency is the model's"},
    {"l3-cache", "on", Treatment::kMet, "a model's caches are its own"},
    {"host-cache-info", "on", Treatment::kMet, "a model's caches are its own"},
    {"legacy-cache", "on", Treatment::kMet, "a model's caches are its own"},
    {"family", "N", Treatment::kIgnored, kIdentity},
    {"model", "N", Treatment::kIgnored, kIdentity},
    {"stepping", "N", Treatment::kIgnored, kIdentity},
    {"model-id", "NAME", Treatment::kIgnored, kIdentity},
    {"level", "N", Treatment::kIgnored, kIdentity},
    {"xlevel", "N", Treatment::kIgnored, kIdentity},
    {"min-*", "N", Treatment::kIgnored, kIdentity},
    {"full-cpuid-auto-level", "on", Treatment::kMet, kIdentity},
    {"tcg-cpuid", "on", Treatment::kMet, "there is no leaf of CPUID that names TCG"},
    {"cpuid-0xb", "on", Treatment::kMet, "leaf 0BH is there in any case"},
    {"x-*", "VALUE", Treatment::kIgnored, "it is one of QEMU's own"},
    {"fill-mtrr-mask", "on", Treatment::kMet, kWidth},
}};

// Names that Nestor writes in another way.
constexpr std::pair<std::string_view, std::string_view> kNames[] = {
    {"sse4-1", "sse4.1"}, {"sse4-2", "sse4.2"}, {"lzcnt", "abm"}};

Complaint read_feature(const std::string& item, std::string& processor, Wanted& wanted) {
  const bool has_sign = item.starts_with('+') || item.starts_with('-');
  const size_t equals = item.find('=');
  std::string name = item.substr(has_sign ? 1 : 0, has_sign ? std::string::npos : equals);
  std::ranges::replace(name, '_', '-');
  std::string value = "on";
  if (has_sign && item[0] == '-') value = "off";
  if (!has_sign && equals != std::string::npos) value = item.substr(equals + 1);
  for (const Row<Wanted>& row : kProperties)
    if (row.is_named(name)) return apply(row, {"-cpu " + item, item}, value, wanted, wanted.report);
  if (!is_one_of(value, "on|off|true|false|yes|no"))
    return fmt::format("{} is neither +FEATURE, -FEATURE nor FEATURE=on|off", item);
  for (const auto& [qemu, nestor] : kNames)
    if (name == qemu) name = nestor;
  processor += is_one_of(value, "on|true|yes") ? ",+" : ",-";
  processor += name;
  return {};
}

std::string cpu_help() {
  std::string text = "Available CPUs:\n";
  for (const Model& model : kModels)
    if (model.nestor != nullptr)
      text += fmt::format("x86 {:<20}  (nestor's {})\n", model.name, model.nestor);
  return text + "\nnestor run --cpu help lists the features of each.\n";
}

}  // namespace

Complaint read_cpu(const std::string& text, Wanted& wanted) {
  if (is_one_of(text, "help|?")) return {cpu_help(), ExitStatus::kSuccess};
  size_t end = std::min(text.find(','), text.size());
  const std::string name = text.substr(0, end);
  const auto* const model = std::ranges::find(kModels, base_name(name), &Model::name);
  if (model == std::end(kModels))
    return fmt::format("there is no model '{}'; -cpu help lists them", name);
  if (model->nestor == nullptr) return missing(fmt::format("no model '{}': {}", name, model->why));
  std::string processor = model->nestor;
  while (end < text.size()) {
    const size_t next = std::min(text.find(',', end + 1), text.size());
    const std::string item = text.substr(end + 1, next - end - 1);
    end = next;
    if (item.empty()) continue;
    if (Complaint bad = read_feature(item, processor, wanted); !bad.empty()) return bad;
  }
  wanted.processor = processor;
  return {};
}

}  // namespace nestor::emu::qemu
