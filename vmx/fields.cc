// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmx/fields.h"

namespace nestor::vmx {

std::optional<Field> find_field(std::string_view name) {
  for (const FieldInfo& info : kFields)
    if (info.name == name || info.identifier == name) return info.field;
  return std::nullopt;
}

std::string_view width_name(FieldWidth width) {
  constexpr std::string_view kNames[] = {"16-bit", "64-bit", "32-bit", "natural-width"};
  return kNames[static_cast<unsigned>(width)];
}

std::string_view type_name(FieldType type) {
  constexpr std::string_view kNames[] = {"control", "VM-exit information", "guest state",
                                         "host state"};
  return kNames[static_cast<unsigned>(type)];
}

}  // namespace nestor::vmx
