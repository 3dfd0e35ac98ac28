// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/timing/tables.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>

namespace nestor::emu::timing {
namespace {

// From this key on, up to the next run's, encodings have this form.
struct Run {
  uint32_t key;
  uint16_t form;
};

#define NESTOR_RUNS(...) constexpr Run kRuns[] = __VA_ARGS__;
#define NESTOR_FORMS(...) constexpr Form kForms[] = __VA_ARGS__;
#include "emu/timing/tables/forms.inc"

#define NESTOR_PRICE_OF_FORM(...) constexpr uint16_t kPriceOfForm[] = __VA_ARGS__;
#define NESTOR_PRICES(...)                      \
  constexpr TablePrice kPrices[] = __VA_ARGS__; \
  static_assert(std::size(kPriceOfForm) == std::size(kForms));
namespace haswell {
#include "emu/timing/tables/haswell.inc"
}
namespace broadwell {
#include "emu/timing/tables/broadwell.inc"
}
namespace skylake_server {
#include "emu/timing/tables/skylake_server.inc"
}
namespace ice_lake {
#include "emu/timing/tables/ice_lake.inc"
}

struct Table {
  const uint16_t* price_of_form;
  const TablePrice* prices;
};
constexpr Table kTables[] = {
    {haswell::kPriceOfForm, haswell::kPrices},
    {broadwell::kPriceOfForm, broadwell::kPrices},
    {skylake_server::kPriceOfForm, skylake_server::kPrices},
    {ice_lake::kPriceOfForm, ice_lake::kPrices},
};

}  // namespace

uint16_t form_number(const EncodingKey& key) {
  if (!key.meaningful()) return 0;
  const Run* const after =
      std::upper_bound(std::begin(kRuns), std::end(kRuns), key.number(),
                       [](uint32_t number, const Run& run) { return number < run.key; });
  return after == std::begin(kRuns) ? uint16_t{0} : std::prev(after)->form;
}

const Form& form(uint16_t number) { return kForms[number]; }

const TablePrice* table_price(PriceTable table, uint16_t form_number) {
  const Table& of = kTables[static_cast<size_t>(table)];
  const uint16_t price = of.price_of_form[form_number];
  return price == 0 ? nullptr : &of.prices[price];
}

}  // namespace nestor::emu::timing
