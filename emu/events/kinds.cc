// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/events/kinds.h"

#include <iterator>
#include <utility>

#include "emu/events/row.h"
#include "emu/events/vmx_rows.h"
#include "vmx/exceptions.h"
#include "vmx/vmx_aborts.h"

namespace nestor::emu {
namespace rows {
namespace {

// An exception that the delivery of another event met.
Value met(const vmx::Event& event) {
  Parts parts = {{"name", vmx::exception_info(event.vector).mnemonic}};
  if (event.error_code) parts.push_back({"error_code", Hex{*event.error_code}});
  if (event.vector == vmx::kPf) parts.push_back({"linear", Hex{event.payload}});
  return parts;
}

Value access(ept::Access::Kind kind) {
  constexpr std::array<std::string_view, 3> kNames = {"read", "write", "fetch"};
  return word(kNames[kind]);
}

Value paging(ept::PagingMode mode) {
  constexpr std::array<std::string_view, 5> kNames = {"none", "32-bit", "PAE", "4-level",
                                                      "5-level"};
  return word(kNames[static_cast<size_t>(mode)]);
}

Value outcome(WalkOutcome outcome) {
  constexpr std::array<std::string_view, 5> kNames = {"translated", "page fault", "EPT violation",
                                                      "EPT misconfiguration", "SPP-related event"};
  return word(kNames[static_cast<size_t>(outcome)]);
}

}  // namespace

template <>
struct Row<ExceptionEvent> {
  using E = ExceptionEvent;
  static constexpr std::string_view kName = "exception";
  static constexpr std::string_view kMeaning =
      "exception or software interrupt, delivered through the IDT";
  static constexpr Field<E> kFields[] = {
      {"vector", "", [](const E& e) { return number(e.vector); }},
      {"software", "of INT n, INT3, INTO and INT1: yes",
       [](const E& e) { return e.software ? flag(true) : absent(); }},
      {"name", "mnemonic of an exception",
       [](const E& e) {
         const std::string_view name = vmx::exception_info(e.vector).mnemonic;
         return e.software || name.empty() ? absent() : word(name);
       }},
      {"level", "L1 or L2", [](const E& e) { return level(e.non_root); }},
      {"rip", "of the instruction that raised it", [](const E& e) { return hex(e.rip); }},
      {"error_code", "where the exception has one",
       [](const E& e) { return e.error_code ? hex(*e.error_code) : absent(); }},
      {"cr2", "of #PF: the linear address",
       [](const E& e) { return e.vector == vmx::kPf && !e.software ? hex(e.cr2) : absent(); }},
      {"why", "its reason, where the fields before do not tell it",
       [](const E& e) { return text(e.why); }},
      {"msr", "of RDMSR and WRMSR that are refused: ECX",
       [](const E& e) { return e.msr ? hex(e.msr->index) : absent(); }},
      {"msr_value", "of WRMSR that is refused: EDX:EAX",
       [](const E& e) { return e.msr && e.msr->value ? hex(*e.msr->value) : absent(); }},
      {"met", "where the delivery of the event before failed: what it met",
       [](const E& e) { return e.met ? met(*e.met) : absent(); }},
      {"met_when", "and what that was at, or its reason",
       [](const E& e) { return e.met ? text(e.met->why) : absent(); }},
  };
};

template <>
struct Row<InterruptEvent> {
  using E = InterruptEvent;
  static constexpr std::string_view kName = "interrupt";
  static constexpr std::string_view kMeaning =
      "external interrupt or NMI, delivered through the IDT";
  static constexpr Field<E> kFields[] = {
      {"vector", "", [](const E& e) { return number(e.vector); }},
      {"nmi", "yes or no", [](const E& e) { return flag(e.nmi); }},
      {"level", "L1 or L2", [](const E& e) { return level(e.non_root); }},
      {"rip", "where the program was interrupted", [](const E& e) { return hex(e.rip); }},
  };
};

template <>
struct Row<WalkEvent> {
  using E = WalkEvent;
  static constexpr std::string_view kName = "walk";
  static constexpr std::string_view kMeaning =
      "page walk of the processor through EPT; any of its walks with `--trace-walks all`";
  static constexpr Field<E> kFields[] = {
      {"outcome",
       "translated, page fault, EPT violation, EPT misconfiguration or SPP-related event",
       [](const E& e) { return outcome(e.outcome); }},
      {"eptp", "where EPT is in use", [](const E& e) { return e.eptp ? hex(*e.eptp) : absent(); },
       kEptpFlags, kWhereEpt},
      {"linear", "the address that was to be translated; not for PDPTEs that are loaded",
       [](const E& e) { return e.linear ? hex(*e.linear) : absent(); }},
      {"guest_physical", "under EPT; not for a page fault",
       [](const E& e) {
         const bool has = e.eptp && e.outcome != WalkOutcome::kPageFault;
         return has ? hex(e.guest_physical) : absent();
       }},
      {"physical", "only if translated",
       [](const E& e) {
         const bool has = e.linear && e.outcome == WalkOutcome::kTranslated;
         return has ? hex(e.physical) : absent();
       }},
      {"paging", "the paging mode: none, 32-bit, PAE, 4-level or 5-level",
       [](const E& e) { return paging(e.paging); }},
      {"access", "read, write or fetch", [](const E& e) { return access(e.access.kind); }},
      {"implicit", "yes: to a descriptor table, TSS or the like, as CPL 0 would",
       [](const E& e) { return e.access.implicit_supervisor ? flag(true) : absent(); }},
      {"cpl", "", [](const E& e) { return number(e.cpl); }},
      {"rule", "which rule of the manual the last entry breaks",
       [](const E& e) { return text(e.rule); }},
      {"why", "what refused the access, where no rule is broken",
       [](const E& e) { return text(e.why); }},
      {"steps", "one for each memory reference; see below",
       [](const E& e) { return Value(e.steps); }},
  };
};

template <>
struct Row<StaleTranslationEvent> {
  using E = StaleTranslationEvent;
  static constexpr std::string_view kName = "stale-translation";
  static constexpr std::string_view kMeaning =
      "with `--tlb keep`: first use of a cached translation that the tables no longer hold";
  static constexpr Field<E> kFields[] = {
      {"linear", "", [](const E& e) { return hex(e.linear); }},
      {"access", "read, write or fetch", [](const E& e) { return access(e.access); }},
      {"level", "L1 or L2", [](const E& e) { return level(e.non_root); }},
      {"vpid", "", [](const E& e) { return number(e.vpid); }},
      {"pcid", "", [](const E& e) { return number(e.pcid); }},
      {"ept_root", "under EPT: bits 51:12 of the EPTP",
       [](const E& e) { return e.ept_root ? hex(*e.ept_root) : absent(); }},
      {"cached_guest_physical", "under EPT: what was used",
       [](const E& e) { return e.ept_root ? hex(e.cached_guest_physical) : absent(); }},
      {"cached_physical", "what was used", [](const E& e) { return hex(e.cached_physical); }},
      {"tables", "outcome of a walk now", [](const E& e) { return outcome(e.tables); }},
      {"tables_guest_physical", "under EPT: from this walk",
       [](const E& e) {
         const bool has = e.ept_root && e.tables != WalkOutcome::kPageFault;
         return has ? hex(e.tables_guest_physical) : absent();
       }},
      {"tables_physical", "from this walk",
       [](const E& e) {
         return e.tables == WalkOutcome::kTranslated ? hex(e.tables_physical) : absent();
       }},
      {"dirty_flag_cleared", "yes: a write relied on a dirty flag that is clear in the tables",
       [](const E& e) { return e.dirty_flag_cleared ? flag(true) : absent(); }},
      {"missing", "the instructions that would have helped",
       [](const E& e) { return word(e.missing); }},
  };
};

template <>
struct Row<UnclaimedAccess> {
  using E = UnclaimedAccess;
  static constexpr std::string_view kName = "unclaimed-access";
  static constexpr std::string_view kMeaning = "access that no device answers";
  static constexpr Field<E> kFields[] = {
      {"space", "memory or port", [](const E& e) { return word(e.memory ? "memory" : "port"); }},
      {"direction", "read or write", [](const E& e) { return word(e.write ? "write" : "read"); }},
      {"address", "", [](const E& e) { return hex(e.address); }},
      {"size", "in bytes", [](const E& e) { return number(e.size); }},
      {"value", "", [](const E& e) { return hex(e.value); }},
  };
};

template <>
struct Row<ZeroCodeEvent> {
  using E = ZeroCodeEvent;
  static constexpr std::string_view kName = "zero-code";
  static constexpr std::string_view kMeaning =
      "a page of zeros is executed, for the first time at that level on its processor";
  static constexpr Field<E> kFields[] = {
      {"linear", "of the page", [](const E& e) { return hex(e.linear); }},
      {"level", "L1 or L2", [](const E& e) { return level(e.non_root); }},
  };
};

template <>
struct Row<OutsideRamEvent> {
  using E = OutsideRamEvent;
  static constexpr std::string_view kName = "outside-ram";
  static constexpr std::string_view kMeaning =
      "stack or interrupt table used where there is no RAM, for the first time on its processor";
  static constexpr Field<E> kFields[] = {
      {"what", "stack, IVT or IDT",
       [](const E& e) {
         if (e.what == ImplicitMemory::kStack) return word("stack");
         return word(e.real_mode ? "IVT" : "IDT");
       }},
      {"linear", "", [](const E& e) { return hex(e.linear); }},
      {"level", "L1 or L2", [](const E& e) { return level(e.non_root); }},
      {"rip", "where the processor was when that was noticed",
       [](const E& e) { return hex(e.rip); }},
  };
};

template <>
struct Row<TripleFaultEvent> {
  using E = TripleFaultEvent;
  static constexpr std::string_view kName = "triple-fault", kMeaning = "triple fault";
  static constexpr Field<E> kFields[] = {
      {"level", "L1 or L2", [](const E& e) { return level(e.non_root); }},
      {"rip", "", [](const E& e) { return hex(e.rip); }},
      {"cr3", "", [](const E& e) { return hex(e.cr3); }},
      {"idtr_base", "", [](const E& e) { return hex(e.idtr_base); }},
      {"gdtr_base", "", [](const E& e) { return hex(e.gdtr_base); }},
      {"page_fault", "what refused the access of the last page fault that led here",
       [](const E& e) { return text(e.page_fault); }},
      {"met", "what the delivery of #DF met",
       [](const E& e) { return e.met ? met(*e.met) : absent(); }},
      {"met_when", "and what that was at, or its reason",
       [](const E& e) { return e.met ? text(e.met->why) : absent(); }},
  };
};

template <>
struct Row<VmxAbortEvent> {
  using E = VmxAbortEvent;
  static constexpr std::string_view kName = "vmx-abort", kMeaning = "VMX abort";
  static constexpr Field<E> kFields[] = {
      {"indicator", "VMX-abort indicator", [](const E& e) { return number(e.indicator); }},
      {"meaning", "in words", [](const E& e) { return word(vmx::vmx_abort_text(e.indicator)); }},
  };
};

template <>
struct Row<DebugExitEvent> {
  using E = DebugExitEvent;
  static constexpr std::string_view kName = "debug-exit";
  static constexpr std::string_view kMeaning = "the guest ends the run";
  static constexpr Field<E> kFields[] = {
      {"value", "as the guest wrote it to port 0xf4", [](const E& e) { return hex(e.value); }},
  };
};

template <>
struct Row<RunEndEvent> {
  using E = RunEndEvent;
  static constexpr std::string_view kName = "run-end";
  static constexpr std::string_view kMeaning = "the run ends: where each processor is";
  static constexpr Field<E> kFields[] = {
      {"by", "what ended it", [](const E& e) { return word(e.by); }},
      {"level", "L1 or L2", [](const E& e) { return level(e.non_root); }},
      {"rip", "of the next instruction", [](const E& e) { return hex(e.rip); }},
  };
};

template <>
struct Row<WorkloadEvent> {
  using E = WorkloadEvent;
  static constexpr std::string_view kName = "workload";
  static constexpr std::string_view kMeaning = "mark of an image that measures";
  static constexpr Field<E> kFields[] = {
      {"number",
       "of the workload that begins, as the guest wrote it to port 0xf8; 0: the last ends",
       [](const E& e) { return number(e.number); }},
  };
};

}  // namespace rows

namespace {

using rows::Row;

template <class E>
EventKind kind() {
  EventKind kind{Row<E>::kName, Row<E>::kMeaning, {}};
  for (const rows::Field<E>& field : Row<E>::kFields)
    kind.fields.push_back({field.name, field.meaning, field.compared, field.why});
  return kind;
}

template <size_t... I>
std::array<EventKind, kEventKindCount> kinds(std::index_sequence<I...> /*all*/) {
  return {kind<std::variant_alternative_t<I, MachineEvent>>()...};
}

}  // namespace

const std::array<EventKind, kEventKindCount>& event_kinds() {
  static const auto all = kinds(std::make_index_sequence<kEventKindCount>());
  return all;
}

std::vector<NamedValue> values_of(const MachineEvent& event) {
  return std::visit(
      []<class E>(const E& one) {
        std::vector<NamedValue> values;
        values.reserve(std::size(Row<E>::kFields));
        for (const rows::Field<E>& field : Row<E>::kFields) {
          Value value = field.value(one);
          if (!std::holds_alternative<std::monostate>(value))
            values.push_back({field.name, std::move(value)});
        }
        return values;
      },
      event);
}

}  // namespace nestor::emu
