// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/native/vmx_support.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string_view>

namespace nestor::emu::native {
namespace {

const kvm_cpuid_entry2* find_leaf(const Cpuid& cpuid, std::uint32_t function) {
  const auto leaves = std::span(cpuid.entries).first(cpuid.count);
  const auto found = std::ranges::find(leaves, function, &kvm_cpuid_entry2::function);
  return found == leaves.end() ? nullptr : &*found;
}

std::string vendor(const Cpuid& cpuid) {
  const kvm_cpuid_entry2* const leaf = find_leaf(cpuid, 0);
  if (!leaf) return "unknown";
  std::array<char, 12> name{};
  for (std::size_t i = 0; const std::uint32_t part : {leaf->ebx, leaf->edx, leaf->ecx}) {
    std::memcpy(name.data() + 4 * i++, &part, sizeof part);
  }
  return {name.data(), name.size()};
}

/// The modules that make KVM work on a kind of processor, and what helps where there is no VMX.
struct Module {
  std::string_view name;
  std::string_view advice;
};
constexpr std::array kModules{
    Module{"kvm_intel",
           "allow it with: modprobe -r kvm_intel; modprobe kvm_intel nested=1 (if this host is a "
           "virtual machine itself, its own host must allow it too)"},
    Module{"kvm_amd", "its processors have SVM instead; use a host with an Intel processor"},
    Module{"kvm_pvm", "PVM has no nested virtualisation; use a host with kvm_intel"},
};

/// The first word of a file; nothing if it cannot be read.
std::optional<std::string> first_word(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  if (!(file >> word)) return std::nullopt;
  return word;
}

}  // namespace

bool has_vmx(const Cpuid& cpuid) {
  constexpr std::uint32_t kVmx = 1U << 5;
  const kvm_cpuid_entry2* const leaf = find_leaf(cpuid, 1);
  return leaf && (leaf->ecx & kVmx) != 0;
}

std::string explain_missing_vmx(const Cpuid& cpuid, const std::string& modules) {
  std::string loaded = "KVM's module is unknown";
  std::string_view advice = "use a host with kvm_intel and nested=1";
  for (const Module& module : kModules) {
    const std::string folder = fmt::format("{}/{}", modules, module.name);
    std::error_code ignored;
    if (!std::filesystem::exists(folder, ignored)) continue;
    loaded = fmt::format("module {}", module.name);
    if (const auto nested = first_word(folder + "/parameters/nested")) {
      loaded += fmt::format(", nested={}", *nested);
    }
    advice = module.advice;
    break;
  }
  return fmt::format(
      "KVM on this host offers no VMX to its virtual machines (processor {}, {}): {}; an image "
      "that needs none runs with --no-vmx",
      vendor(cpuid), loaded, advice);
}

}  // namespace nestor::emu::native
