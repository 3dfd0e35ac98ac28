// SPDX-License-Identifier: GPL-2.0-or-later
//
// A value, or the fault that came instead of it.
#pragma once

#include <utility>
#include <variant>

#include "emu/cpu/memory_fault.h"

namespace nestor::emu {

template <class T>
class Result {
 public:
  Result(T value) : content_(std::move(value)) {}
  Result(const vmx::Event& event) : content_(Fault(event)) {}
  Result(const Fault& fault) : content_(fault) {}

  explicit operator bool() const { return std::holds_alternative<T>(content_); }
  const T& operator*() const { return std::get<T>(content_); }
  const T* operator->() const { return &std::get<T>(content_); }
  const Fault& fault() const { return std::get<Fault>(content_); }

 private:
  std::variant<T, Fault> content_;
};

}  // namespace nestor::emu
