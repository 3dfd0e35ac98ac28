// SPDX-License-Identifier: MIT
#include "ept/memory_type.h"

namespace nestor::ept {

namespace {

constexpr std::array<std::string_view, 8> kNames = {"UC", "WC", "reserved", "reserved",
                                                    "WT", "WP", "WB",       "UC-"};

constexpr auto kUc = MemoryType::kUncacheable;
constexpr auto kWc = MemoryType::kWriteCombining;
constexpr auto kWt = MemoryType::kWriteThrough;
constexpr auto kWp = MemoryType::kWriteProtected;
constexpr auto kWb = MemoryType::kWriteBack;

// Rows: the EPT (elsewhere MTRR) type; columns: the PAT type. Both by encoding; 2 and 3 are
// reserved.
using Row = std::array<MemoryType, 8>;
constexpr std::array<Row, 8> kEffective = {{
    //         UC   WC   -    -    WT   WP   WB   UC-
    /* UC  */ {kUc, kWc, kUc, kUc, kUc, kUc, kUc, kUc},
    /* WC  */ {kUc, kWc, kUc, kUc, kUc, kUc, kWc, kWc},
    /* -   */ {kUc, kUc, kUc, kUc, kUc, kUc, kUc, kUc},
    /* -   */ {kUc, kUc, kUc, kUc, kUc, kUc, kUc, kUc},
    /* WT  */ {kUc, kWc, kUc, kUc, kWt, kWp, kWt, kUc},
    /* WP  */ {kUc, kWc, kUc, kUc, kWt, kWp, kWp, kWc},
    /* WB  */ {kUc, kWc, kUc, kUc, kWt, kWp, kWb, kUc},
    /* UC- */ {kUc, kUc, kUc, kUc, kUc, kUc, kUc, kUc},
}};

constexpr unsigned encoding(MemoryType type) { return static_cast<unsigned>(type) & 7; }

static_assert(kEffective[encoding(kWb)][encoding(kWb)] == kWb);

}  // namespace

std::string_view memory_type_name(MemoryType type) { return kNames[encoding(type)]; }

MemoryType effective_memory_type(MemoryType ept, bool ignore_pat, MemoryType pat) {
  return ignore_pat ? ept : kEffective[encoding(ept)][encoding(pat)];
}

}  // namespace nestor::ept
