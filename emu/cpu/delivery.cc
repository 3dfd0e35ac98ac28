// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/delivery.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <string_view>

#include "emu/cpu/segment_loads.h"
#include "emu/cpu/stack.h"
#include "emu/cpu/task_switch.h"
#include "emu/cpu/virtual_interrupts.h"
#include "vmx/exceptions.h"
#include "vmx/guest_state_formats.h"
#include "vmx/injection.h"

namespace nestor::emu {
namespace {

using vmx::CpuState;
using vmx::Event;
using vmx::EventType;

// Event::why of what meets a delivery.
constexpr std::string_view kBeyondIdt = "the IDT limit is below its gate",
                           kReadingGate = "its gate in the IDT was read",
                           kReadingDescriptor = "the descriptor of its code segment was accessed",
                           kReadingStack = "its stack was read from the TSS",
                           kPushing = "its stack frame was pushed",
                           kReadingRedirection = "the redirection bitmap in the TSS was read",
                           kUnreachable = "the address of its handler cannot be reached";

// kPushing on the stack of IST1 to IST7.
constexpr std::array<std::string_view, 7> kPushingToIst = {
    "its stack frame was pushed to the stack of IST1 in the TSS",
    "its stack frame was pushed to the stack of IST2 in the TSS",
    "its stack frame was pushed to the stack of IST3 in the TSS",
    "its stack frame was pushed to the stack of IST4 in the TSS",
    "its stack frame was pushed to the stack of IST5 in the TSS",
    "its stack frame was pushed to the stack of IST6 in the TSS",
    "its stack frame was pushed to the stack of IST7 in the TSS",
};
constexpr std::string_view kPushingInner =
    "its stack frame was pushed to the stack that the TSS names for its CPL";

constexpr uint32_t kIdtFlag = 2;  // "Error Code": the index refers to a gate in the IDT

// One attempt: everything is prepared in `next`, which replaces the state when nothing can fail any
// more.
struct Attempt {
  Attempt(Core& the_core, const Event& the_event, EventOrigin the_origin)
      : core(the_core), old(the_core.state()), next(old), event(the_event), origin(the_origin) {
    const bool software = vmx::is_software(event.type);
    ext =
        event.type != EventType::kSoftwareInterrupt && event.type != EventType::kSoftwareException;
    return_rip = software ? next_rip(old, event.instruction_length) : old.rip;
    flags_image = old.rflags;
    if (origin == EventOrigin::kProcessor) {
      if (vmx::is_fault(event)) flags_image |= vmx::rflags::kRf;
      // A software interrupt is a completed instruction, and completion clears RF.
      if (software) flags_image &= ~vmx::rflags::kRf;
    }
  }

  Event selector_fault(vmx::Vector vector, uint16_t selector, std::string_view why) const {
    return vmx::because(why, vmx::exception(vector, selector_error(selector, ext)));
  }
  Event gate_fault(vmx::Vector vector, std::string_view why) const {
    return vmx::because(why,
                        vmx::exception(vector, event.vector * 8u | kIdtFlag | (ext ? 1u : 0u)));
  }
  // INT n, INT3 and INTO check the DPL of the gate.
  bool checks_gate_dpl() const { return !ext; }

  Core& core;
  const CpuState& old;
  CpuState next;
  const Event& event;
  EventOrigin origin;
  bool ext = false;
  uint64_t return_rip = 0;
  uint64_t flags_image = 0;
};

// `why`: what the delivery was at, unless the fault tells more.
Fault met(std::string_view why, Fault fault) {
  auto* event = std::get_if<Event>(&fault);
  if (event != nullptr && event->why.empty()) event->why = why;
  return fault;
}

Delivery to_delivery(const Fault& fault) {
  if (const auto* event = std::get_if<Event>(&fault)) return *event;
  return std::get<EptExit>(fault);
}

// An event behind MOV to SS: the single-step trap of that instruction is lost, and so are its data
// breakpoints but where the event is INT n, INT3 or INTO ("Masking Exceptions and Interrupts When
// Switching Stacks"). VM entry has decided on its own events.
void drop_held_back(CpuState& state, const Event& event) {
  if (!state.blocking_by_mov_ss) return;
  const bool keeps =
      event.type == EventType::kSoftwareInterrupt || event.type == EventType::kSoftwareException;
  state.pending_debug_exceptions &= keeps ? ~uint64_t{vmx::pending_debug::kSingleStep} : 0;
}

// The event has been recognized: nothing that meets its delivery undoes this.
void begin_delivery(Core& core, const Event& event) {
  CpuState& state = core.state();
  state.activity = vmx::ActivityState::kActive;
  state.blocking_by_sti = state.blocking_by_mov_ss = false;
  state.monitor_armed = false;  // the handler may write to the line
  // With virtual NMIs an injected NMI blocks virtual NMIs, which is VMX's matter, and no others.
  const bool virtual_nmis = core.vmx().pin(vmx::PinBased::kVirtualNmis);
  if (event.type == EventType::kNmi && !virtual_nmis) state.blocking_by_nmi = true;
}

Delivery commit(Attempt& attempt) {
  attempt.core.state() = attempt.next;
  return Delivered{};
}

// Eight bytes or four of the interrupt table.
template <class Entry>
Result<Entry> read_interrupt_table(Core& core, uint64_t address) {
  const uint64_t before = core.device_accesses();
  auto entry = read_value<Entry>(core, address);
  if (core.device_accesses() != before)
    core.note_outside_ram(ImplicitMemory::kInterruptTable, address);
  return entry;
}

// "Interrupt and Exception Handling in Real-Address Mode".
Delivery deliver_real(Attempt& attempt) {
  const CpuState& old = attempt.old;
  CpuState& next = attempt.next;
  const uint32_t offset = attempt.event.vector * 4u;
  if (offset + 3 > old.idtr.limit) return attempt.gate_fault(vmx::kGp, kBeyondIdt);
  const auto entry = read_interrupt_table<uint32_t>(attempt.core, old.idtr.base + offset);
  if (!entry) return to_delivery(met(kReadingGate, entry.fault()));
  const uint16_t ip = *entry & 0xffff;
  const auto selector = static_cast<uint16_t>(*entry >> 16);
  if (ip > old.segment[vmx::kCs].limit)
    return vmx::because(kUnreachable, vmx::exception(vmx::kGp, 0));

  PushedValues stack(attempt.core, next, 2, Privilege::kCurrent);
  stack.push(attempt.flags_image);
  stack.push(old.segment[vmx::kCs].selector);
  stack.push(attempt.return_rip);
  if (stack.fault()) return to_delivery(met(kPushing, *stack.fault()));

  next.segment[vmx::kCs].selector = selector;
  next.segment[vmx::kCs].base = static_cast<uint32_t>(selector) << 4;
  next.rip = ip;
  next.rflags &= ~(vmx::rflags::kIf | vmx::rflags::kTf | vmx::rflags::kAc | vmx::rflags::kRf);
  return commit(attempt);
}

// "Software Interrupt Handling Methods": to the handler of the task in virtual-8086 mode itself,
// methods 5 and 6.
Delivery deliver_8086(Attempt& attempt) {
  const CpuState& old = attempt.old;
  CpuState& next = attempt.next;
  const auto entry = read_interrupt_table<uint32_t>(attempt.core, attempt.event.vector * 4u);
  if (!entry) return to_delivery(met(kReadingGate, entry.fault()));
  const bool virtual_flag = (old.rflags & vmx::rflags::kIopl) != vmx::rflags::kIopl;

  PushedValues stack(attempt.core, next, 2, Privilege::kCurrent);
  stack.push(virtual_flag ? flags_of_virtual_program(attempt.flags_image) : attempt.flags_image);
  stack.push(old.segment[vmx::kCs].selector);
  stack.push(attempt.return_rip);
  if (stack.fault()) return to_delivery(met(kPushing, *stack.fault()));

  const auto selector = static_cast<uint16_t>(*entry >> 16);
  next.segment[vmx::kCs].selector = selector;
  next.segment[vmx::kCs].base = static_cast<uint32_t>(selector) << 4;
  next.rip = *entry & 0xffff;
  next.rflags &= ~uint64_t{vmx::rflags::kTf | vmx::rflags::kRf |
                           (virtual_flag ? vmx::rflags::kVif : vmx::rflags::kIf)};
  return commit(attempt);
}

struct Gate {
  uint8_t type = 0;  // SystemType
  uint8_t ist = 0;
  uint16_t selector = 0;
  uint64_t offset = 0;
  unsigned width() const { return type < kInterruptGate32 ? 2 : 4; }
  bool interrupt() const { return type == kInterruptGate16 || type == kInterruptGate32; }
};

bool gate_type_allowed(unsigned type, bool long_mode) {
  constexpr unsigned kLegacy[] = {kTaskGate, kInterruptGate16, kTrapGate16, kInterruptGate32,
                                  kTrapGate32};
  constexpr unsigned kLong[] = {kInterruptGate32, kTrapGate32};
  return long_mode ? std::ranges::find(kLong, type) != std::end(kLong)
                   : std::ranges::find(kLegacy, type) != std::end(kLegacy);
}

Result<Gate> read_gate(Attempt& attempt) {
  const CpuState& old = attempt.old;
  const bool long_mode = old.long_mode_active();
  const unsigned size = long_mode ? 16 : 8;
  const uint32_t offset = attempt.event.vector * size;
  if (offset + size - 1 > old.idtr.limit) return attempt.gate_fault(vmx::kGp, kBeyondIdt);
  uint64_t address = old.idtr.base + offset;
  if (!long_mode) address &= 0xffffffff;
  const auto low = read_interrupt_table<uint64_t>(attempt.core, address);
  if (!low) return met(kReadingGate, low.fault());

  const unsigned type = *low >> 40 & 0x1f;  // with the S flag, which is 0 in gates
  if (!gate_type_allowed(type, long_mode))
    return attempt.gate_fault(vmx::kGp, "the type of its gate in the IDT is not that of a gate");
  const unsigned dpl = *low >> 45 & 3;
  if (attempt.checks_gate_dpl() && dpl < old.cpl())
    return attempt.gate_fault(vmx::kGp, "the DPL of its gate is below the CPL");
  const bool present = *low >> 47 & 1;
  if (!present) return attempt.gate_fault(vmx::kNp, "its gate in the IDT is not present");

  Gate gate;
  gate.type = static_cast<uint8_t>(type);
  gate.selector = static_cast<uint16_t>(*low >> 16);
  gate.offset = *low & 0xffff;
  if (gate.width() == 4) gate.offset |= *low >> 32 & 0xffff0000;
  if (long_mode) {
    const auto high = read_value<uint64_t>(attempt.core, address + 8);
    if (!high) return met(kReadingGate, high.fault());
    gate.offset |= *high << 32;
    gate.ist = *low >> 32 & 7;
  }
  return gate;
}

// The stack of the handler, which runs at `cpl`: outside IA-32e mode, and in it ("64-Bit Mode Stack
// Frame", "Interrupt Stack Table").
std::optional<Fault> switch_stack(Attempt& attempt, uint8_t cpl) {
  const auto stack = inner_stack(attempt.core, cpl, attempt.ext);
  if (!stack) return met(kReadingStack, stack.fault());
  attempt.next.segment[vmx::kSs] = stack->ss;
  attempt.next.gpr[vmx::kRsp] = stack->rsp;
  return std::nullopt;
}

std::optional<Fault> switch_stack_64(Attempt& attempt, uint8_t cpl, unsigned ist) {
  CpuState& next = attempt.next;
  const bool inner = cpl != attempt.old.cpl();
  if (ist != 0 || inner) {
    const auto rsp = ist != 0 ? interrupt_stack_pointer(attempt.core, ist, attempt.ext)
                              : inner_stack_pointer(attempt.core, cpl, attempt.ext);
    if (!rsp) return met(kReadingStack, rsp.fault());
    next.gpr[vmx::kRsp] = *rsp;
  }
  if (inner) next.segment[vmx::kSs] = null_stack_segment(cpl, cpl);
  next.gpr[vmx::kRsp] &= ~0xfull;
  return std::nullopt;
}

Delivery deliver_by_task_gate(Attempt& attempt, uint16_t selector) {
  const bool non_root = attempt.core.vmx().in_non_root();
  TaskSwitch request;
  request.selector = selector;
  request.source = TaskSwitchSource::kGateInIdt;
  if (vmx::is_software(attempt.event.type)) {
    request.instruction_length = attempt.event.instruction_length;
  }
  request.ext = attempt.ext;
  request.error_code = attempt.event.error_code;
  request.saved_rf = (attempt.flags_image & vmx::rflags::kRf) != 0;
  const Outcome outcome = switch_task(attempt.core, request);
  if (const auto* event = std::get_if<Event>(&outcome)) return *event;
  if (const auto* exit = std::get_if<EptExit>(&outcome)) return *exit;
  return Delivered{.vm_exit = non_root && !attempt.core.vmx().in_non_root()};
}

// The segment that the gate leads to, checked and ready to be loaded.
struct Handler {
  Descriptor code;
  uint8_t cpl = 0;
};

Result<Handler> find_handler(Attempt& attempt, const Gate& gate) {
  const CpuState& old = attempt.old;
  if (is_null(gate.selector))
    return vmx::because("the selector in its gate is null",
                        vmx::exception(vmx::kGp, attempt.ext ? 1 : 0));
  const auto read = read_descriptor(attempt.core, gate.selector, vmx::kGp, attempt.ext);
  if (!read) return met(kReadingDescriptor, read.fault());
  Handler handler{*read, old.cpl()};
  Descriptor& code = handler.code;
  if (!code.is_code() || code.dpl() > old.cpl()) {
    return attempt.selector_fault(vmx::kGp, gate.selector,
                                  "its gate names no code segment that the CPL may enter");
  }
  if (old.long_mode_active() && (!code.long_mode() || code.default_big())) {
    return attempt.selector_fault(vmx::kGp, gate.selector,
                                  "its gate names no code segment for 64-bit mode");
  }
  if (!code.present())
    return attempt.selector_fault(vmx::kNp, gate.selector,
                                  "the code segment of its gate is not present");
  if (!code.is_conforming_code()) handler.cpl = code.dpl();
  if (old.virtual_8086() && handler.cpl != 0) {
    return attempt.selector_fault(vmx::kGp, gate.selector,
                                  "its gate leads from virtual-8086 mode to another level than 0");
  }
  const bool reachable =
      old.long_mode_active() ? is_canonical(gate.offset, old) : gate.offset <= code.limit();
  if (!reachable) return vmx::because(kUnreachable, vmx::exception(vmx::kGp, attempt.ext ? 1 : 0));
  if (auto fault = mark_accessed(attempt.core, code)) return met(kReadingDescriptor, *fault);
  return handler;
}

std::string_view pushing(unsigned ist, bool inner) {
  if (ist != 0) return kPushingToIst[ist - 1];
  return inner ? kPushingInner : kPushing;
}

constexpr vmx::SegmentRegister kDataSegments[] = {vmx::kGs, vmx::kFs, vmx::kDs, vmx::kEs};

// INT n/INTO/INT3/INT1 in the instruction set reference, PROTECTED-MODE and IA-32e-MODE.
Delivery deliver_protected(Attempt& attempt) {
  const CpuState& old = attempt.old;
  CpuState& next = attempt.next;
  const auto gate = read_gate(attempt);
  if (!gate) return to_delivery(gate.fault());
  if (gate->type == kTaskGate) return deliver_by_task_gate(attempt, gate->selector);
  const auto handler = find_handler(attempt, *gate);
  if (!handler) return to_delivery(handler.fault());

  const bool long_mode = old.long_mode_active();
  const bool from_v86 = old.virtual_8086();
  const bool inner = handler->cpl != old.cpl();
  uint32_t stack_error = attempt.ext ? 1 : 0;
  if (long_mode) {
    if (auto fault = switch_stack_64(attempt, handler->cpl, gate->ist)) return to_delivery(*fault);
  } else if (inner) {
    if (auto fault = switch_stack(attempt, handler->cpl)) return to_delivery(*fault);
    stack_error = selector_error(next.segment[vmx::kSs].selector, attempt.ext);
  }
  next.segment[vmx::kCs] =
      to_segment(static_cast<uint16_t>((gate->selector & ~3u) | handler->cpl), handler->code);
  next.rip = gate->offset;
  next.rflags &= ~(vmx::rflags::kTf | vmx::rflags::kVm | vmx::rflags::kRf | vmx::rflags::kNt);
  if (gate->interrupt()) next.rflags &= ~vmx::rflags::kIf;

  PushedValues stack(attempt.core, next, long_mode ? 8 : gate->width(),
                     inner ? Privilege::kSupervisor : Privilege::kCurrent, stack_error);
  if (from_v86) {
    for (const auto segment : kDataSegments) stack.push(old.segment[segment].selector);
  }
  if (inner || long_mode) {
    stack.push(old.segment[vmx::kSs].selector);
    stack.push(old.gpr[vmx::kRsp]);
  }
  stack.push(attempt.flags_image);
  stack.push(old.segment[vmx::kCs].selector);
  stack.push(attempt.return_rip);
  if (attempt.event.error_code) stack.push(*attempt.event.error_code);
  if (stack.fault()) return to_delivery(met(pushing(gate->ist, inner), *stack.fault()));

  if (from_v86) {
    for (const auto segment : kDataSegments) next.segment[segment] = null_segment();
  }
  return commit(attempt);
}

vmx::ExceptionClass exception_class(const Event& event) {
  if (event.type != EventType::kHardwareException) return vmx::ExceptionClass::kBenign;
  return vmx::exception_info(event.vector).exception_class;
}

enum class Combination : uint8_t { kSecond, kDoubleFault, kShutdown };

// Rows: the first exception; columns: the second. Shutdown follows only the failed delivery of #DF.
constexpr Combination kCombinations[4][4] = {
    {Combination::kSecond, Combination::kSecond, Combination::kSecond, Combination::kSecond},
    {Combination::kSecond, Combination::kDoubleFault, Combination::kSecond, Combination::kSecond},
    {Combination::kSecond, Combination::kDoubleFault, Combination::kDoubleFault,
     Combination::kSecond},
    {Combination::kSecond, Combination::kShutdown, Combination::kShutdown, Combination::kShutdown},
};

}  // namespace

void update_event_registers(CpuState& state, const Event& event) {
  constexpr uint64_t kBreakpoints = 0xf, kReported = 0xe00f;  // B3 to B0; and BD, BS, BT
  constexpr uint64_t kGeneralDetectEnable = 1 << 13;
  const bool exception = event.type == EventType::kHardwareException;
  const bool int1 = event.type == EventType::kPrivilegedSoftwareException;
  if (exception && event.vector == vmx::kPf) state.cr2 = event.payload;
  if (exception && event.vector == vmx::kDb) {
    state.dr6 = (state.dr6 & ~kBreakpoints) | (event.payload & kReported);
  }
  if (int1 || (exception && event.vector == vmx::kDb)) {
    state.dr7 &= ~kGeneralDetectEnable;
    state.debugctl &= ~(vmx::debugctl::kLbr | vmx::debugctl::kBtf);
  }
}

Delivery deliver_once(Core& core, const Event& event, EventOrigin origin) {
  // At once: a VM exit on the way through the IDT finds all this updated (SDM, "Architectural State
  // Before A VM Exit").
  if (origin == EventOrigin::kProcessor) drop_held_back(core.state(), event);
  begin_delivery(core, event);
  if (origin == EventOrigin::kProcessor) update_event_registers(core.state(), event);
  Attempt attempt(core, event, origin);
  if (!attempt.old.protected_mode()) return deliver_real(attempt);
  if (event.type == EventType::kSoftwareInterrupt) {
    const auto redirected = redirects_interrupt(core, event.vector);
    if (!redirected) return to_delivery(met(kReadingRedirection, redirected.fault()));
    if (*redirected) return deliver_8086(attempt);
  }
  return deliver_protected(attempt);
}

std::variant<Event, Shutdown> combine(const Event& first, const Event& second) {
  const auto row = static_cast<unsigned>(exception_class(first));
  const auto column = static_cast<unsigned>(exception_class(second));
  switch (kCombinations[row][column]) {
    case Combination::kSecond:
      return second;
    case Combination::kDoubleFault:
      return vmx::exception(vmx::kDf, 0);
    case Combination::kShutdown:
      return Shutdown{};
  }
  return Shutdown{};
}

}  // namespace nestor::emu
