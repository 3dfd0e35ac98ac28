// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/vmcs.h"

#include <cstring>
#include <type_traits>

namespace nestor::vmx {
namespace {

// The VMCS data area, from byte 8: launch state (4 bytes), a mark of VMCLEAR (4 bytes), then 8
// bytes for each slot of kFields. The revision identifier stands for this layout.
constexpr size_t kLaunchStateOffset = 8, kMarkOffset = 12;
constexpr uint32_t kClearedMark = 0x434d5643;
constexpr size_t kFieldsOffset = 16;
static_assert(kFieldsOffset + 8 * kFieldCount <= kVmcsRegionSize);
static_assert(std::is_trivially_copyable_v<Vmcs>);

// Little-endian, whatever the host is.
template <typename T>
void put(VmcsRegion region, size_t offset, T value) {
  for (size_t i = 0; i < sizeof(T); ++i)
    region[offset + i] = static_cast<uint8_t>(value >> (8 * i));
}
template <typename T>
T get(ConstVmcsRegion region, size_t offset) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<T>(region[offset + i]) << (8 * i);
  return value;
}

}  // namespace

std::optional<uint64_t> Vmcs::vmread(uint32_t encoding, const Capabilities& capabilities) const {
  const std::optional<FieldAccess> access = decode_field(encoding);
  if (!access || !capabilities.has_field(access->field)) return std::nullopt;
  const uint64_t value = read(access->field);
  return access->high ? value >> 32 : value;
}

Vmcs::WriteResult Vmcs::vmwrite(uint32_t encoding, uint64_t value,
                                const Capabilities& capabilities) {
  const std::optional<FieldAccess> access = decode_field(encoding);
  if (!access || !capabilities.has_field(access->field)) return WriteResult::kUnsupported;
  if (!capabilities.field_writable(access->field)) return WriteResult::kReadOnly;
  if (access->high) value = (read(access->field) & 0xffffffff) | value << 32;
  write(access->field, value);
  return WriteResult::kOk;
}

void Vmcs::store(VmcsRegion region) const {
  std::memset(region.data(), 0, region.size());
  put<uint32_t>(region, 0,
                (revision_id & ~kShadowVmcsIndicator) | (shadow ? kShadowVmcsIndicator : 0));
  put<uint32_t>(region, kVmxAbortIndicatorOffset, abort_indicator);
  put<uint32_t>(region, kLaunchStateOffset, static_cast<uint32_t>(launch_state));
  put<uint32_t>(region, kMarkOffset, cleared ? kClearedMark : 0);
  for (size_t i = 0; i < kFieldCount; ++i) put<uint64_t>(region, kFieldsOffset + 8 * i, values_[i]);
}

void Vmcs::load(ConstVmcsRegion region) {
  const uint32_t first = get<uint32_t>(region, 0);
  revision_id = first & ~kShadowVmcsIndicator;
  shadow = (first & kShadowVmcsIndicator) != 0;
  abort_indicator = get<uint32_t>(region, kVmxAbortIndicatorOffset);
  launch_state = get<uint32_t>(region, kLaunchStateOffset) == uint32_t{1} ? LaunchState::kLaunched
                                                                          : LaunchState::kClear;
  cleared = get<uint32_t>(region, kMarkOffset) == kClearedMark;
  for (size_t i = 0; i < kFieldCount; ++i)
    values_[i] = get<uint64_t>(region, kFieldsOffset + 8 * i) & value_mask(kFields[i].field);
}

}  // namespace nestor::vmx
