// SPDX-License-Identifier: GPL-2.0-or-later
//
// State components and where they are in an XSAVE area: "Managing State Using the XSAVE Feature
// Set".
#pragma once

#include <cstddef>
#include <cstdint>

#include "vmx/processor_type.h"

namespace nestor::emu {

// The state components that XCR0 can enable; x87 always is.
inline constexpr unsigned kPkruNumber = 9;
inline constexpr uint64_t kX87Component = 1, kSseComponent = 2, kPkruComponent = 1 << kPkruNumber;

constexpr uint64_t extended_components(const vmx::ProcessorType& type) {
  return kX87Component | kSseComponent | (type.has(vmx::Feature::kPku) ? kPkruComponent : 0);
}

// In bytes: the header, the end of the legacy region and the header, and PKRU. In the standard form
// PKRU is where processors have it, behind AVX state.
inline constexpr size_t kXsaveHeader = 512, kXsaveHeaderEnd = 576;
inline constexpr uint32_t kPkruOffset = 2688, kPkruSize = 8;

// Of PKRU; in the compacted form it is the only component behind the header.
constexpr uint32_t pkru_offset(bool compacted) { return compacted ? kXsaveHeaderEnd : kPkruOffset; }
// Of an area that has these components.
constexpr uint32_t xsave_area_size(uint64_t components, bool compacted) {
  if (!(components & kPkruComponent)) return kXsaveHeaderEnd;
  return pkru_offset(compacted) + kPkruSize;
}

}  // namespace nestor::emu
