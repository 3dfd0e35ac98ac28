// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/observe/view/facts.h"

#include <nlohmann/json.hpp>

#include "emu/events/kinds.h"
#include "emu/observe/stopped/entry_bits.h"
#include "emu/time/clock.h"
#include "vmx/exceptions.h"
#include "vmx/exit_reasons.h"
#include "vmx/fields.h"

namespace nestor::emu {
namespace {

using Json = nlohmann::ordered_json;

Json parts_of(const vmx::QualificationParts& parts) {
  Json all = Json::array();
  for (const vmx::QualificationPart* part : parts) {
    Json one = {{"low", part->low}, {"width", part->width}, {"key", part->key}};
    for (const std::string_view name : part->names) one["names"].push_back(name);
    all.push_back(std::move(one));
  }
  return all;
}

// By basic exit reason: the parts of its qualification, each list for those with a value under a
// mask, or for a vector in the interruption information. The page takes the first that fits.
Json qualifications() {
  Json all = Json::object();
  for (const vmx::ExitReasonInfo& info : vmx::exit_reasons()) {
    const auto reason = static_cast<uint32_t>(info.reason);
    Json& lists = all[std::to_string(reason)];
    lists = Json::array();
    switch (info.qualification) {
      case vmx::QualificationFormat::kNone:
        break;
      case vmx::QualificationFormat::kDebugOrPageFault:
        for (const uint8_t vector : {vmx::kDb, vmx::kPf}) {
          lists.push_back({{"vector", vector},
                           {"parts", parts_of(vmx::QualificationParts(reason, 0, vector))}});
        }
        break;
      case vmx::QualificationFormat::kControlRegister:
        for (const uint64_t access : {0x00u, 0x10u, 0x20u, 0x30u}) {
          lists.push_back({{"mask", 0x30},
                           {"value", access},
                           {"parts", parts_of(vmx::QualificationParts(reason, access))}});
        }
        break;
      default:
        lists.push_back({{"parts", parts_of(vmx::QualificationParts(reason, 0))}});
    }
  }
  return all;
}

Json bits_of(ept::Dimension dimension) {
  Json bits = Json::array();
  for (const EntryBit& bit : entry_bits(dimension)) {
    bits.push_back({{"bit", bit.bit}, {"name", bit.name}});
    if (bit.only_of_pages) bits.back()["page"] = true;
  }
  return bits;
}

Json meanings() {
  Json all = Json::object();
  for (const EventKind& kind : event_kinds()) {
    Json& one = all[std::string(kind.name)];
    one["meaning"] = kind.meaning;
    one["fields"] = Json::object();
    for (const EventField& field : kind.fields)
      if (!field.meaning.empty()) one["fields"][std::string(field.name)] = field.meaning;
  }
  return all;
}

Json field_names() {
  Json all = Json::object();
  for (const vmx::FieldInfo& info : vmx::kFields) all[std::string(info.identifier)] = info.name;
  return all;
}

}  // namespace

std::string page_facts() {
  const Json facts = {{"frequency", Clock::kFrequency},
                      {"kinds", meanings()},
                      {"qualifications", qualifications()},
                      {"vmcsFields", field_names()},
                      {"guestBits", bits_of(ept::Dimension::kGuest)},
                      {"eptBits", bits_of(ept::Dimension::kEpt)},
                      {"memoryTypes", memory_type_names()}};
  return facts.dump();
}

}  // namespace nestor::emu
