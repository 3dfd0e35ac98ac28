// SPDX-License-Identifier: GPL-2.0-or-later
//
// What tests ask of documents and audits.
#pragma once

#include <gtest/gtest.h>

#include "emu/observe/audit/audit.h"

namespace nestor::emu {

// The documents of a text that can be read.
inline std::vector<VmcsDocument> read_all(std::string_view text) {
  auto result = read_vmcs_documents(text);
  if (const auto* error = std::get_if<std::string>(&result)) {
    ADD_FAILURE() << *error;
    return std::vector<VmcsDocument>(1);
  }
  return std::get<std::vector<VmcsDocument>>(std::move(result));
}
// Why a text cannot be read.
inline std::string error_of(std::string_view text) {
  const auto result = read_vmcs_documents(text);
  const auto* error = std::get_if<std::string>(&result);
  EXPECT_NE(error, nullptr) << text;
  return error != nullptr ? *error : "";
}
inline std::vector<std::string_view> failing(const Audit& audit) {
  std::vector<std::string_view> ids;
  for (const Violation& violation : audit.violations) ids.push_back(violation.failure.id);
  return ids;
}

}  // namespace nestor::emu
