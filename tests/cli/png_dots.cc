// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is in a picture, for the tests that are scripts:
//
//   png_dots FILE                                     its width and its height
//   png_dots FILE X Y WIDTH HEIGHT                    how many dots of this part are not black
//   png_dots FILE X Y                                 the colour of a dot, as RRGGBB
#include <png.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

int main(int argc, char** argv) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  if ((argc != 2 && argc != 4 && argc != 6) ||
      png_image_begin_read_from_file(&image, argv[1]) == 0) {
    std::fprintf(stderr, "png_dots: %s\n", argc > 1 ? image.message : "name a file");
    return 1;
  }
  image.format = PNG_FORMAT_RGB;
  std::vector<unsigned char> dots(PNG_IMAGE_SIZE(image));
  if (png_image_finish_read(&image, nullptr, dots.data(), 0, nullptr) == 0) {
    std::fprintf(stderr, "png_dots: %s\n", image.message);
    return 1;
  }
  if (argc == 2) {
    std::printf("%u %u\n", image.width, image.height);
    return 0;
  }
  const auto number = [argv](int i) {
    return static_cast<unsigned>(std::strtoul(argv[i], nullptr, 10));
  };
  const unsigned x = number(2), y = number(3);
  const auto dot = [&](unsigned column, unsigned row) {
    const size_t at = 3 * (size_t{row} * image.width + column);
    return unsigned{dots.at(at)} << 16 | unsigned{dots.at(at + 1)} << 8 | dots.at(at + 2);
  };
  if (argc == 4) {
    std::printf("%06x\n", dot(x, y));
    return 0;
  }
  unsigned count = 0;
  for (unsigned row = y; row < y + number(5); ++row) {
    for (unsigned column = x; column < x + number(4); ++column) count += dot(column, row) != 0;
  }
  std::printf("%u\n", count);
  return 0;
}
