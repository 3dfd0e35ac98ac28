// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/images/manifest.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <stdexcept>

namespace nestor::tests {
namespace {

namespace fs = std::filesystem;

fs::path images_folder() { return fs::path(NESTOR_SOURCE_DIR) / "guest-images"; }

}  // namespace

std::variant<Manifest, std::string> parse_manifest(std::string_view name, std::string_view text) {
  Manifest manifest;
  manifest.name = name;
  std::set<std::string> seen;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line.front() == '#') continue;
    std::istringstream words(line);
    std::string key;
    words >> key;
    const std::vector<std::string> values{std::istream_iterator<std::string>(words), {}};
    if (!seen.insert(key).second) return "twice: " + key;
    if (key == "options" && !values.empty()) {
      manifest.options = values;
    } else if (values.size() != 1) {
      return "not one value: " + line;
    } else if (key == "boot" && (values[0] == "multiboot" || values[0] == "elf64")) {
      manifest.elf64 = values[0] == "elf64";
    } else if (key == "stale-translations" && values[0] == "yes") {
      manifest.stale_translations = true;
    } else if (key == "tested-by") {
      manifest.tested_by = values[0];
    } else {
      return "not known: " + line;
    }
  }
  if (!seen.contains("boot")) return "boot is missing";
  return manifest;
}

std::vector<Manifest> image_manifests() {
  std::vector<Manifest> manifests;
  for (const auto& folder : fs::directory_iterator(images_folder())) {
    const fs::path path = folder.path() / "image.txt";
    std::ifstream file(path);
    if (!file) continue;
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    auto parsed = parse_manifest(folder.path().filename().string(), text);
    if (const auto* wrong = std::get_if<std::string>(&parsed)) {
      throw std::runtime_error(path.string() + ": " + *wrong);
    }
    manifests.push_back(std::get<Manifest>(std::move(parsed)));
  }
  std::ranges::sort(manifests, {}, &Manifest::name);
  return manifests;
}

std::vector<Manifest> images_with_expected_exits() {
  std::vector<Manifest> manifests = image_manifests();
  std::erase_if(manifests, [](const Manifest& manifest) {
    return !fs::exists(images_folder() / manifest.name / "expected-exits.txt");
  });
  return manifests;
}

}  // namespace nestor::tests
