// SPDX-License-Identifier: GPL-2.0-or-later
//
// Builds images byte by byte, valid ones and any deviation from them.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "emu/loaders/byte_view.h"

namespace nestor::emu::testing {

using ByteVector = std::vector<uint8_t>;

inline void put(ByteVector& out, size_t offset, uint64_t value, unsigned width) {
  if (out.size() < offset + width) out.resize(offset + width);
  store_number(out, offset, value, width);
}

struct SegmentSpec {
  uint64_t offset = 0x1000, vaddr = 0x100000, paddr = 0x100000, filesz = 0x20, memsz = 0x40;
  uint64_t type = 1;
};

struct ElfSpec {
  bool is_64bit = false;
  uint64_t entry = 0x100010;
  uint64_t machine = 3, type = 2, data = 1;
  uint64_t table = 0x40;
  uint64_t entry_size = 0, entry_count = 0;  // 0: what the class and the segments give
  std::vector<SegmentSpec> segments = std::vector<SegmentSpec>(1);
  uint64_t file_size = 0x2000;
};

// Every byte that no field covers is 0x90 from 0x1000 on, and 0 before it.
inline ByteVector build_elf(const ElfSpec& spec) {
  ByteVector out(spec.file_size);
  for (size_t i = 0x1000; i < out.size(); ++i) out[i] = 0x90;
  put(out, 0, 0x464c457f, 4);
  put(out, 4, spec.is_64bit ? 2 : 1, 1);
  put(out, 5, spec.data, 1);
  put(out, 6, 1, 1);
  put(out, 16, spec.type, 2);
  put(out, 18, spec.machine, 2);
  const unsigned word = spec.is_64bit ? 8 : 4;
  put(out, 24, spec.entry, word);
  put(out, spec.is_64bit ? 32 : 28, spec.table, word);
  const uint64_t size = spec.entry_size != 0 ? spec.entry_size : spec.is_64bit ? 56 : 32;
  put(out, spec.is_64bit ? 54 : 42, size, 2);
  put(out, spec.is_64bit ? 56 : 44, spec.entry_count != 0 ? spec.entry_count : spec.segments.size(),
      2);
  for (size_t i = 0; i < spec.segments.size(); ++i) {
    const SegmentSpec& segment = spec.segments[i];
    const size_t base = 0x40 + i * (spec.is_64bit ? 56 : 32);
    put(out, base, segment.type, 4);
    const size_t first = base + word;  // the 64-bit class has p_flags after p_type
    put(out, first, segment.offset, word);
    put(out, first + word, segment.vaddr, word);
    put(out, first + 2 * word, segment.paddr, word);
    put(out, first + 3 * word, segment.filesz, word);
    put(out, first + 4 * word, segment.memsz, word);
  }
  return out;
}

inline ElfSpec elf64_spec() {
  ElfSpec spec;
  spec.is_64bit = true;
  spec.machine = 62;
  return spec;
}

// A note of Xen's at kNoteOffset, in a segment of its own: the entry point of PVH.
inline constexpr size_t kNoteOffset = 0x200;
struct NoteSpec {
  uint64_t name_bytes = 4, bytes = 4, type = 18, value = 0x100010;
  uint64_t segment_offset = kNoteOffset, segment_bytes = 0;  // 0: what the note takes
};

inline ByteVector build_pvh(const NoteSpec& note = {}, ElfSpec spec = elf64_spec()) {
  const uint64_t size = note.segment_bytes != 0 ? note.segment_bytes : 16 + note.bytes;
  spec.segments.push_back({.offset = note.segment_offset,
                           .vaddr = 0,
                           .paddr = 0,
                           .filesz = size,
                           .memsz = size,
                           .type = 4});
  ByteVector out = build_elf(spec);
  put(out, kNoteOffset, note.name_bytes, 4);
  put(out, kNoteOffset + 4, note.bytes, 4);
  put(out, kNoteOffset + 8, note.type, 4);
  put(out, kNoteOffset + 12, 0x006e6558, 4);
  put(out, kNoteOffset + 16, note.value, 8);
  return out;
}

// A Multiboot 1 header with its address fields, if there are any, at `offset`.
inline void put_multiboot1(ByteVector& out, size_t offset, uint32_t flags,
                           const std::vector<uint32_t>& fields = {}) {
  put(out, offset, 0x1badb002, 4);
  put(out, offset + 4, flags, 4);
  put(out, offset + 8, static_cast<uint32_t>(-(0x1badb002 + flags)), 4);
  for (size_t i = 0; i < fields.size(); ++i) put(out, offset + 12 + 4 * i, fields[i], 4);
}

struct TagSpec {
  uint32_t type = 0;
  std::vector<uint32_t> words = {};
  bool optional = false;
  uint32_t size = 0;  // 0: what the words give
};

// A Multiboot 2 header; the end tag is among `tags` where there is to be one.
inline void put_multiboot2(ByteVector& out, size_t offset, const std::vector<TagSpec>& tags,
                           uint32_t architecture = 0, uint32_t length = 0) {
  ByteVector body;
  for (const TagSpec& tag : tags) {
    append_number(body, tag.type, 2);
    append_number(body, tag.optional ? 1 : 0, 2);
    append_number(body, tag.size != 0 ? tag.size : 8 + 4 * tag.words.size(), 4);
    for (const uint32_t word : tag.words) append_number(body, word, 4);
    body.resize((body.size() + 7) / 8 * 8);
  }
  if (length == 0) length = static_cast<uint32_t>(16 + body.size());
  put(out, offset, 0xe85250d6, 4);
  put(out, offset + 4, architecture, 4);
  put(out, offset + 8, length, 4);
  put(out, offset + 12, static_cast<uint32_t>(-(0xe85250d6 + architecture + length)), 4);
  for (size_t i = 0; i < body.size(); ++i) put(out, offset + 16 + i, body[i], 1);
}

inline constexpr size_t kHeaderOffset = 0x400;

// An ELF32 file with a Multiboot 1 header.
inline ByteVector multiboot1_elf32(const ElfSpec& spec = {}, uint32_t flags = 0) {
  ByteVector out = build_elf(spec);
  put_multiboot1(out, kHeaderOffset, flags);
  return out;
}

// A file without any format but its address fields: loaded at 1 MiB from `kHeaderOffset` - 0x100
// on, entered 0x20 above.
inline ByteVector multiboot1_flat() {
  ByteVector out(0x1000, 0x90);
  put_multiboot1(out, kHeaderOffset, 1u << 16, {0x100100, 0x100000, 0x100200, 0x100300, 0x100020});
  return out;
}

inline ByteVector multiboot2_elf64(const std::vector<TagSpec>& tags = {{}}) {
  ByteVector out = build_elf(elf64_spec());
  put_multiboot2(out, kHeaderOffset, tags);
  return out;
}

inline ByteVector multiboot2_flat() {
  ByteVector out(0x1000, 0x90);
  put_multiboot2(out, kHeaderOffset,
                 {{2, {0x100100, 0x100000, 0x100200, 0x100300}}, {3, {0x100020}}, {}});
  return out;
}

// The header of a Linux kernel, and what the loader has to make of it.
struct LinuxSpec {
  uint64_t version = 0x020f, xloadflags = 1, loadflags = 1;
  uint64_t setup_sectors = 2, paragraphs = 0x40;
  uint64_t preferred = 0x200000, init_bytes = 0x10000;
  uint64_t highest_initrd = 0x7fffffff, command_line_bytes = 255;
  uint64_t header_bytes = 0x6a;  // beyond 0x202
};

inline constexpr uint64_t kLinuxSetupBytes = 3 * 512, kLinuxCodeBytes = 0x400;

inline ByteVector build_linux(const LinuxSpec& spec = {}) {
  ByteVector out(kLinuxSetupBytes, 0);
  out.resize(kLinuxSetupBytes + kLinuxCodeBytes, 0x90);
  put(out, 0x1f1, spec.setup_sectors, 1);
  put(out, 0x1f4, spec.paragraphs, 4);
  put(out, 0x1fe, 0xaa55, 2);
  put(out, 0x201, spec.header_bytes, 1);
  put(out, 0x202, 0x53726448, 4);
  put(out, 0x206, spec.version, 2);
  put(out, 0x211, spec.loadflags, 1);
  put(out, 0x22c, spec.highest_initrd, 4);
  put(out, 0x236, spec.xloadflags, 2);
  put(out, 0x238, spec.command_line_bytes, 4);
  put(out, 0x258, spec.preferred, 8);
  put(out, 0x260, spec.init_bytes, 4);
  return out;
}

}  // namespace nestor::emu::testing
