// SPDX-License-Identifier: GPL-2.0-or-later
//
// guest-images/NAME/image.txt: how an image is run and tested. guest-images/README.md, "The
// manifest", describes the file; guest-images/CMakeLists.txt reads `boot` from it.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace nestor::tests {

struct Manifest {
  std::string name;                  // the folder
  bool elf64 = false;                // boot: elf64 or multiboot
  std::vector<std::string> options;  // of `nestor run`
  // With --tlb keep the image uses translations that its tables no longer hold.
  bool stale_translations = false;
  std::string tested_by;  // for an image without expected-exits.txt: the test, from the root
};

// A string says what is wrong with the text.
std::variant<Manifest, std::string> parse_manifest(std::string_view name, std::string_view text);

// The manifests of all folders of guest-images/, by name. Throws std::runtime_error with the file
// and what is wrong with it.
std::vector<Manifest> image_manifests();

// Those of the images that have an expected-exits.txt.
std::vector<Manifest> images_with_expected_exits();

}  // namespace nestor::tests
