// SPDX-License-Identifier: GPL-2.0-or-later
//
// Feeds arbitrary bytes to the image loaders and checks what every result must satisfy. The program
// mutates valid images by itself; a million inputs: loader_fuzz 1000000. To search by coverage
// instead:
//
//   clang++ -std=c++20 -g -fsanitize=fuzzer,address,undefined -DNESTOR_LIBFUZZER -I.
//     tests/fuzz/loader_fuzz.cc emu/loaders/*.cc -lfmt -o loader_libfuzzer
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "emu/loaders/byte_view.h"
#include "emu/loaders/image.h"
#include "tests/fuzz/mutating_driver.h"

namespace nestor::emu {
namespace {

[[noreturn]] void fail(std::string_view what) {
  std::fprintf(stderr, "loader_fuzz: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

void check_error(const LoadError& error) {
  if (error.message.empty()) fail("an error without a message");
  if (std::ranges::any_of(error.message, [](char c) { return c < 0x20 || c > 0x7e; })) {
    fail("an error message that is not one printable line");
  }
}

void check_image(const LoadedImage& image, const MemoryMap& memory) {
  std::vector<const Piece*> pieces;
  for (const Piece& piece : image.pieces) {
    if (piece.size == 0 || piece.bytes.size() > piece.size) fail("a piece whose sizes disagree");
    if (std::ranges::none_of(memory, [&](const MemoryRange& range) {
          return piece.address >= range.first &&
                 inside(piece.address - range.first, piece.size, range.size);
        })) {
      fail("a piece outside RAM");
    }
    pieces.push_back(&piece);
  }
  std::ranges::sort(pieces, {}, [](const Piece* piece) { return piece->address; });
  for (size_t i = 1; i < pieces.size(); ++i) {
    if (pieces[i - 1]->address + pieces[i - 1]->size > pieces[i]->address)
      fail("pieces that overlap");
  }
  if (std::ranges::none_of(pieces, [&](const Piece* piece) {
        return image.cpu.rip - piece->address < piece->size;
      })) {
    fail("an entry point outside what is loaded");
  }
}

}  // namespace
}  // namespace nestor::emu

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nestor::emu;
  static const MemoryMap memory = {{0, 0xa0000}, {0x100000, 0xf00000}, {0x100000000, 0x100000}};
  static const Module module{"module", {1, 2, 3}}, initrd{"initrd", {1, 2, 3}, std::nullopt, true};
  const ImageFile image{"image", {data, data + size}};
  for (const Module& one : {module, initrd}) {
    const auto result = load_image(image, {one}, "arguments", memory);
    if (const auto* error = std::get_if<LoadError>(&result)) {
      check_error(*error);
    } else {
      check_image(std::get<LoadedImage>(result), memory);
    }
  }
  return 0;
}

#ifndef NESTOR_LIBFUZZER
int main(int argc, char** argv) { return nestor::emu::testing::drive_loader_fuzz(argc, argv); }
#endif
