// SPDX-License-Identifier: GPL-2.0-or-later
//
// Saved state. A component keeps what it remembers in a plain struct State, and has one function,
//
//   void serialize(Archive& archive) { archive(state_); }
//
// which both saves and loads it. State visits its fields, in an order that belongs to the format:
//
//   void fields(Archive& archive) { archive(index, memory); }
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace nestor::emu {

class Archive {
 public:
  virtual ~Archive() = default;

  // Fields are being set. Else they are only read.
  virtual bool loads() const = 0;
  // false: what was loaded so far makes no sense. Fields that follow are zeros then.
  bool ok() const { return ok_; }
  // What a component needs to hold of a field that it has just visited, so that no file can lead it
  // astray.
  void require(bool holds) { ok_ = ok_ && holds; }

  // The name of what follows; a load fails if it is another one.
  void section(std::string_view name);

  template <typename... Fields>
  void operator()(Fields&... fields) {
    (visit(fields), ...);
  }

  // As they are.
  virtual void bytes(std::span<uint8_t> data) = 0;

  // A container with push_back of at most `max` elements.
  template <typename Sequence>
  void sequence(Sequence& elements, size_t max) {
    uint64_t count = elements.size();
    visit(count);
    require(count <= max);
    if (loads()) elements.clear();
    for (uint64_t i = 0; i < count && ok_; ++i) {
      if (!loads()) {
        visit(elements[i]);
        continue;
      }
      typename Sequence::value_type element{};
      visit(element);
      elements.push_back(element);
    }
  }

 protected:
  // `size` is 1 to 8 bytes, little-endian.
  virtual void integer(uint64_t& value, unsigned size) = 0;

 private:
  template <typename T>
  void visit(T& field) {
    if constexpr (std::same_as<T, bool>) {
      uint64_t value = field;
      integer(value, 1);
      require(value <= 1);
      if (loads()) field = value != 0;
    } else if constexpr (std::is_enum_v<T>) {
      auto value = static_cast<std::underlying_type_t<T>>(field);
      visit(value);
      if (loads()) field = static_cast<T>(value);
    } else if constexpr (std::integral<T>) {
      auto value = static_cast<uint64_t>(static_cast<std::make_unsigned_t<T>>(field));
      integer(value, sizeof field);
      if (loads()) field = static_cast<T>(value);
    } else {
      field.fields(*this);
    }
  }
  template <typename T, size_t kSize>
  void visit(std::array<T, kSize>& elements) {
    for (T& element : elements) visit(element);
  }
  template <typename T>
  void visit(std::optional<T>& field) {
    bool present = field.has_value();
    visit(present);
    T value = field.value_or(T{});
    visit(value);
    if (loads()) field = present ? std::optional(value) : std::nullopt;
  }

  bool ok_ = true;
};

// Collects bytes, and hands them on a chunk at a time, in order.
class StateWriter final : public Archive {
 public:
  using Consumer = std::function<void(std::span<const uint8_t>)>;

  explicit StateWriter(Consumer consumer) : consumer_(std::move(consumer)) {}

  bool loads() const override { return false; }
  void bytes(std::span<uint8_t> data) override;
  // What is left. To be called at the end.
  void flush();

 private:
  void integer(uint64_t& value, unsigned size) override;

  const Consumer consumer_;
  std::vector<uint8_t> chunk_;
};

// Takes the bytes from a source. Not ok() once they end too early.
class StateReader final : public Archive {
 public:
  // The next bytes, valid until the next call; none: there are no more.
  using Source = std::function<std::span<const uint8_t>()>;

  explicit StateReader(Source source) : source_(std::move(source)) {}

  bool loads() const override { return true; }
  void bytes(std::span<uint8_t> data) override;
  // All has been read.
  bool at_end();

 private:
  void integer(uint64_t& value, unsigned size) override;

  const Source source_;
  std::span<const uint8_t> rest_;
};

// The whole of something that saves itself, in memory.
template <typename T>
std::vector<uint8_t> saved_bytes(T&& serialize) {
  std::vector<uint8_t> all;
  StateWriter writer([&all](std::span<const uint8_t> chunk) {
    all.insert(all.end(), chunk.begin(), chunk.end());
  });
  serialize(writer);
  writer.flush();
  return all;
}

// Loads from bytes in memory. false: they make no sense, or some are left over.
template <typename T>
bool load_bytes(std::span<const uint8_t> all, T&& serialize) {
  StateReader reader([&all] { return std::exchange(all, {}); });
  serialize(reader);
  return reader.ok() && reader.at_end();
}

}  // namespace nestor::emu
