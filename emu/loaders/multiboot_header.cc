// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/loaders/multiboot_header.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <string>

namespace nestor::emu {
namespace {

using Found = std::variant<NoMultibootHeader, MultibootHeader, LoadError>;

LoadError bad_header(std::string message) { return LoadError{std::move(message)}; }

// The address fields as both versions give them. Version 2 allows kFromFileStart as load_address.
struct AddressFields {
  static constexpr uint64_t kFromFileStart = 0xffffffff;
  uint64_t header_address = 0, load_address = 0, load_end = 0, bss_end = 0;
};

std::variant<FlatLayout, LoadError> check_addresses(const AddressFields& fields,
                                                    uint64_t header_offset, uint64_t file_size) {
  if (fields.load_address > fields.header_address) {
    return bad_header(
        fmt::format("load_addr {:#x} of the Multiboot header lies above header_addr {:#x}; correct "
                    "the header",
                    fields.load_address, fields.header_address));
  }
  const uint64_t before_header = fields.header_address - fields.load_address;
  if (before_header > header_offset) {
    return bad_header(
        fmt::format("load_addr {:#x} of the Multiboot header lies before the start of the file; "
                    "correct the header",
                    fields.load_address));
  }
  FlatLayout flat;
  flat.load_address = fields.load_address;
  flat.file_offset = header_offset - before_header;
  flat.file_size = file_size - flat.file_offset;
  if (fields.load_end != 0) {
    if (fields.load_end < fields.load_address) {
      return bad_header(
          fmt::format("load_end_addr {:#x} of the Multiboot header lies below load_addr {:#x}; "
                      "correct the header",
                      fields.load_end, fields.load_address));
    }
    const uint64_t wanted = fields.load_end - fields.load_address;
    if (wanted > flat.file_size) {
      return bad_header(fmt::format(
          "the Multiboot header loads {:#x} bytes from offset {:#x}, outside the file of {} "
          "bytes; the file is truncated or its header wrong",
          wanted, flat.file_offset, file_size));
    }
    flat.file_size = wanted;
  }
  flat.memory_size = flat.file_size;
  if (fields.bss_end != 0) {
    const uint64_t load_end = fields.load_address + flat.file_size;
    if (fields.bss_end < load_end) {
      return bad_header(
          fmt::format("bss_end_addr {:#x} of the Multiboot header lies below the end of the data "
                      "{:#x}; correct the header",
                      fields.bss_end, load_end));
    }
    flat.memory_size = fields.bss_end - fields.load_address;
  }
  return flat;
}

// --- version 1

constexpr uint64_t kMagic1 = 0x1badb002, kSearch1 = 8192;
// Bits 15:0 are requirements. Modules are page-aligned (0) and memory is described (1) in any case;
// the video mode (2) is a preference, and text is what there is.
constexpr uint64_t kKnownRequirements = 0x7, kRequirements = 0xffff;
constexpr uint64_t kAddressFields = 1u << 16;

Found parse1(Bytes file, uint64_t offset, uint64_t flags) {
  if (const uint64_t unknown = flags & kRequirements & ~kKnownRequirements; unknown != 0) {
    return bad_header(fmt::format(
        "its Multiboot header requires unknown features (flags {:#x}); clear bits {:#x}", flags,
        unknown));
  }
  MultibootHeader header;
  header.version = ImageFormat::kMultiboot1;
  if (flags & kAddressFields) {
    std::array<uint64_t, 5> fields{};
    for (unsigned i = 0; i < fields.size(); ++i) {
      const auto field = read_number(file, offset + 12 + 4 * i, 4);
      if (!field)
        return bad_header("its Multiboot header is truncated; build or copy the image again");
      fields[i] = *field;
    }
    const auto flat =
        check_addresses({fields[0], fields[1], fields[2], fields[3]}, offset, file.size());
    if (const auto* bad = std::get_if<LoadError>(&flat)) return *bad;
    header.flat = std::get<FlatLayout>(flat);
    header.entry = fields[4];
  }
  return header;
}

Found find1(Bytes file) {
  const uint64_t end = std::min<uint64_t>(file.size(), kSearch1);
  for (uint64_t offset = 0; inside(offset, 12, end); offset += 4) {
    if (read_number(file, offset, 4) != kMagic1) continue;
    const uint64_t flags = *read_number(file, offset + 4, 4);
    const uint64_t checksum = *read_number(file, offset + 8, 4);
    if (static_cast<uint32_t>(kMagic1 + flags + checksum) != 0) continue;
    return parse1(file, offset, flags);
  }
  return NoMultibootHeader{};
}

// --- version 2

constexpr uint64_t kMagic2 = 0xe85250d6, kSearch2 = 32768, kHeader2Bytes = 16;
constexpr uint64_t kTagOptional = 1;

enum HeaderTag : uint64_t {
  kHeaderEndTag = 0,
  kInformationRequest = 1,
  kAddressTag = 2,
  kEntryTag = 3,
  kConsoleTag = 4,
  kFramebufferTag = 5,
  kModuleAlignmentTag = 6,
  kEfiBootServicesTag = 7,
  kEfi32EntryTag = 8,
  kEfi64EntryTag = 9,
  kRelocatableTag = 10,
};

struct TagRule {
  uint64_t type;
  uint64_t size;  // at least, in bytes, the tag's header included
  std::string_view name;
};

// What concerns EFI matters only to a loader that runs on EFI, a framebuffer is a preference, and
// an image that may be relocated may also stay where it was linked.
constexpr std::array kTagRules = {
    TagRule{kInformationRequest, 8, "information request"},
    TagRule{kAddressTag, 24, "address"},
    TagRule{kEntryTag, 12, "entry address"},
    TagRule{kConsoleTag, 12, "console flags"},
    TagRule{kFramebufferTag, 20, "framebuffer"},
    TagRule{kModuleAlignmentTag, 8, "module alignment"},
    TagRule{kEfiBootServicesTag, 8, "EFI boot services"},
    TagRule{kEfi32EntryTag, 12, "EFI i386 entry address"},
    TagRule{kEfi64EntryTag, 12, "EFI amd64 entry address"},
    TagRule{kRelocatableTag, 24, "relocatable header"},
};

// A request is for information that a loader may have, as GRUB reads it: all that the specification
// knows but SMBIOS. An image looks which tags it gets.
constexpr uint64_t kLastInformation = 21, kSmbios = 13;

// Console flags: a console is required; text is supported.
constexpr uint64_t kConsoleRequired = 1, kTextSupported = 2;

std::optional<LoadError> check_information_request(Bytes tag) {
  for (uint64_t at = 8; at + 4 <= tag.size(); at += 4) {
    const uint64_t type = *read_number(tag, at, 4);
    if (type > kLastInformation || type == kSmbios) {
      return bad_header(
          fmt::format("its Multiboot 2 header requires information of type {}, which this machine "
                      "does not have; make the request optional",
                      type));
    }
  }
  return std::nullopt;
}

Found parse2(Bytes file, uint64_t offset, uint64_t length) {
  if (length < kHeader2Bytes || !inside(offset, length, file.size())) {
    return bad_header(fmt::format(
        "its Multiboot 2 header of {} bytes at offset {:#x} lies outside the file or is too "
        "short; correct header_length",
        length, offset));
  }
  const Bytes header = file.subspan(offset, length);
  MultibootHeader result;
  result.version = ImageFormat::kMultiboot2;
  std::optional<AddressFields> addresses;
  uint64_t at = kHeader2Bytes;
  for (;;) {
    if (!inside(at, 8, length)) {
      return bad_header("its Multiboot 2 header has no end tag; add one of type 0 and size 8");
    }
    const uint64_t type = *read_number(header, at, 2);
    const uint64_t flags = *read_number(header, at + 2, 2);
    const uint64_t size = *read_number(header, at + 4, 4);
    const bool optional = flags & kTagOptional;
    if (type == kHeaderEndTag) break;
    if (size < 8 || !inside(at, size, length)) {
      return bad_header(fmt::format(
          "tag {} of its Multiboot 2 header has a size of {} bytes, which does not fit; "
          "correct the header",
          type, size));
    }
    const Bytes tag = header.subspan(at, size);
    const auto* rule = std::ranges::find(kTagRules, type, &TagRule::type);
    const bool known = rule != kTagRules.end();
    if (!known && !optional) {
      return bad_header(fmt::format(
          "its Multiboot 2 header requires tag {}, which is unknown; make the tag optional", type));
    }
    if (known && size < rule->size) {
      return bad_header(
          fmt::format("the {} tag of its Multiboot 2 header has {} bytes, {} are needed; correct "
                      "the header",
                      rule->name, size, rule->size));
    }
    if (type == kInformationRequest && !optional) {
      if (auto bad = check_information_request(tag)) return *bad;
    } else if (type == kAddressTag) {
      addresses = AddressFields{*read_number(tag, 8, 4), *read_number(tag, 12, 4),
                                *read_number(tag, 16, 4), *read_number(tag, 20, 4)};
    } else if (type == kEntryTag) {
      result.entry = *read_number(tag, 8, 4);
    } else if (type == kConsoleTag && !optional &&
               (*read_number(tag, 8, 4) & (kConsoleRequired | kTextSupported)) ==
                   kConsoleRequired) {
      return bad_header(
          "its Multiboot 2 header requires a console other than text, and the machine has no "
          "other; "
          "clear bit 0 of the console flags or set bit 1");
    }
    // Tags are 8-byte aligned; `size` is at most `length`, so this does not overflow.
    at += (size + 7) / 8 * 8;
  }
  if (addresses) {
    if (!result.entry) {
      return bad_header(
          "its Multiboot 2 header has an address tag without an entry address tag; add one");
    }
    if (addresses->load_address == AddressFields::kFromFileStart) {
      if (addresses->header_address < offset) {
        return bad_header(fmt::format(
            "header_addr {:#x} of the Multiboot 2 header leaves no room for the {:#x} bytes "
            "before it; correct the header",
            addresses->header_address, offset));
      }
      addresses->load_address = addresses->header_address - offset;
    }
    const auto flat = check_addresses(*addresses, offset, file.size());
    if (const auto* bad = std::get_if<LoadError>(&flat)) return *bad;
    result.flat = std::get<FlatLayout>(flat);
  }
  return result;
}

Found find2(Bytes file) {
  const uint64_t end = std::min<uint64_t>(file.size(), kSearch2);
  for (uint64_t offset = 0; inside(offset, kHeader2Bytes, end); offset += 8) {
    if (read_number(file, offset, 4) != kMagic2) continue;
    const uint64_t architecture = *read_number(file, offset + 4, 4);
    const uint64_t length = *read_number(file, offset + 8, 4);
    const uint64_t checksum = *read_number(file, offset + 12, 4);
    if (static_cast<uint32_t>(kMagic2 + architecture + length + checksum) != 0) continue;
    if (architecture != 0) {
      return bad_header(fmt::format(
          "its Multiboot 2 header is for architecture {}, not 0 (32-bit protected mode of "
          "i386); build the image for x86",
          architecture));
    }
    return parse2(file, offset, length);
  }
  return NoMultibootHeader{};
}

}  // namespace

Found find_multiboot_header(Bytes file) {
  Found found = find2(file);
  return std::holds_alternative<NoMultibootHeader>(found) ? find1(file) : found;
}

}  // namespace nestor::emu
