// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cpu/task_switch.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "emu/cpu/segment_loads.h"
#include "emu/cpu/stack.h"

namespace nestor::emu {
namespace {

using vmx::CpuState;

constexpr unsigned kSelectorCount = 6;  // ES, CS, SS, DS, FS, GS

// Offsets in a TSS: "32-Bit Task-State Segment", "16-Bit Task-State Segment".
struct TssFormat {
  unsigned minimum_limit;
  unsigned field;  // bytes of EIP, EFLAGS and the general-purpose registers
  unsigned eip;    // followed by EFLAGS and the eight general-purpose registers in encoding order
  unsigned selectors;  // ES, CS, SS, DS and, with 32 bits, FS and GS
  unsigned selector_count, selector_stride;
  unsigned ldt;
  unsigned size;
};
constexpr TssFormat kTss16{0x2b, 2, 14, 34, 4, 2, 42, 44};
constexpr TssFormat kTss32{0x67, 4, 32, 72, 6, 4, 96, 104};
constexpr unsigned kCr3Offset = 28, kTrapFlagOffset = 100;  // 32-bit TSS only

using Image = std::array<uint8_t, 104>;

uint64_t get(const Image& image, unsigned offset, unsigned size) {
  uint64_t value = 0;
  std::memcpy(&value, image.data() + offset, size);
  return value;
}
void put(Image& image, unsigned offset, unsigned size, uint64_t value) {
  std::memcpy(image.data() + offset, &value, size);
}

const TssFormat& format_of(unsigned type) { return type & 8 ? kTss32 : kTss16; }

// The new task as its TSS describes it.
struct Task {
  std::array<uint16_t, kSelectorCount> selectors{};
  uint16_t ldt = 0;
  uint64_t cr3 = 0;
  uint64_t rip = 0, rflags = 0;
  bool debug_trap = false;  // the T flag
  std::array<uint64_t, 8> gpr{};
};

Task read_task(const Image& image, const TssFormat& format, uint64_t cr3) {
  Task task;
  const bool wide = format.field == 4;
  task.cr3 = wide ? get(image, kCr3Offset, 4) : cr3;
  task.debug_trap = wide && (get(image, kTrapFlagOffset, 2) & 1) != 0;
  task.rip = get(image, format.eip, format.field);
  task.rflags = get(image, format.eip + format.field, format.field) | vmx::rflags::kFixed1;
  for (unsigned i = 0; i < task.gpr.size(); ++i) {
    task.gpr[i] = get(image, format.eip + (2 + i) * format.field, format.field);
    if (!wide) task.gpr[i] |= 0xffff0000;
  }
  for (unsigned i = 0; i < format.selector_count; ++i) {
    task.selectors[i] =
        static_cast<uint16_t>(get(image, format.selectors + i * format.selector_stride, 2));
  }
  task.ldt = static_cast<uint16_t>(get(image, format.ldt, 2));
  return task;
}

void write_task(Image& image, const TssFormat& format, const CpuState& state, uint64_t rip,
                uint64_t rflags) {
  put(image, format.eip, format.field, rip);
  put(image, format.eip + format.field, format.field, rflags);
  for (unsigned i = 0; i < 8; ++i) {
    put(image, format.eip + (2 + i) * format.field, format.field, state.gpr[i]);
  }
  for (unsigned i = 0; i < format.selector_count; ++i) {
    put(image, format.selectors + i * format.selector_stride, 2, state.segment[i].selector);
  }
}

std::optional<Fault> read_image(Core& core, const vmx::Segment& tss, const TssFormat& format,
                                Image& image) {
  return core.read(tss.base, std::span(image).first(format.size), Privilege::kSupervisor);
}

// Segment registers of the new task. All faults are #TS but for those of absent segments.
class SegmentLoader {
 public:
  SegmentLoader(Core& core, bool ext) : core_(core), state_(core.state()), ext_(ext) {}

  std::optional<Fault> load(const Task& task) {
    if (auto fault = load_ldt(task.ldt)) return fault;
    if (state_.virtual_8086()) {
      for (unsigned i = 0; i < kSelectorCount; ++i) {
        state_.segment[i] = virtual_8086_segment(task.selectors[i]);
      }
      return std::nullopt;
    }
    if (auto fault = load_code(task.selectors[vmx::kCs])) return fault;
    if (auto fault = load_stack(task.selectors[vmx::kSs])) return fault;
    for (const auto segment : {vmx::kDs, vmx::kEs, vmx::kFs, vmx::kGs}) {
      if (auto fault = load_data(segment, task.selectors[segment])) return fault;
    }
    return std::nullopt;
  }

 private:
  Fault invalid_tss(uint16_t selector) const {
    return vmx::exception(vmx::kTs, selector_error(selector, ext_));
  }

  std::optional<Fault> load_ldt(uint16_t selector) {
    state_.segment[vmx::kLdtr] = null_segment(selector);
    if (is_null(selector)) return std::nullopt;
    if (selector & 4) return invalid_tss(selector);
    const auto descriptor = read_descriptor(core_, selector, vmx::kTs, ext_);
    if (!descriptor) return descriptor.fault();
    const bool ldt = !descriptor->code_or_data() && descriptor->type() == kLdt;
    if (!ldt || !descriptor->present()) return invalid_tss(selector);
    state_.segment[vmx::kLdtr] = to_segment(selector, *descriptor);
    return std::nullopt;
  }

  std::optional<Fault> load_code(uint16_t selector) {
    if (is_null(selector)) return invalid_tss(selector);
    auto read = read_descriptor(core_, selector, vmx::kTs, ext_);
    if (!read) return read.fault();
    const unsigned rpl = selector & 3;
    const bool privilege = read->is_conforming_code() ? read->dpl() <= rpl : read->dpl() == rpl;
    if (!read->is_code() || !privilege) return invalid_tss(selector);
    if (!read->present()) return vmx::exception(vmx::kNp, selector_error(selector, ext_));
    Descriptor descriptor = *read;
    if (auto fault = mark_accessed(core_, descriptor)) return fault;
    state_.segment[vmx::kCs] = to_segment(selector, descriptor);
    return std::nullopt;
  }

  std::optional<Fault> load_stack(uint16_t selector) {
    if (is_null(selector)) return invalid_tss(selector);
    const auto found = stack_segment(core_, selector, cpl(), {vmx::kTs, ext_});
    if (!found) return found.fault();
    state_.segment[vmx::kSs] = *found;
    return std::nullopt;
  }

  std::optional<Fault> load_data(vmx::SegmentRegister segment, uint16_t selector) {
    if (is_null(selector)) return std::nullopt;
    const auto found = data_segment(core_, selector, cpl(), {vmx::kTs, ext_});
    if (!found) return found.fault();
    state_.segment[segment] = *found;
    return std::nullopt;
  }

  uint8_t cpl() const { return state_.segment[vmx::kCs].selector & 3; }

  Core& core_;
  CpuState& state_;
  bool ext_;
};

std::optional<Fault> push_error_code(Core& core, const TssFormat& format, uint32_t error_code,
                                     bool ext) {
  PushedValues stack(core, core.state(), format.field, Privilege::kCurrent, ext ? 1 : 0);
  stack.push(error_code);
  return stack.fault();
}

// "Task Switching", the checks of the selector and the descriptor of the new TSS.
Result<Descriptor> find_tss(Core& core, const TaskSwitch& request) {
  const bool iret = request.source == TaskSwitchSource::kIret;
  const vmx::Vector vector = iret ? vmx::kTs : vmx::kGp;
  const uint32_t error = selector_error(request.selector, request.ext);
  if (is_null(request.selector) || (request.selector & 4)) return vmx::exception(vector, error);
  const auto descriptor = read_descriptor(core, request.selector, vector, request.ext);
  if (!descriptor) return descriptor.fault();
  const bool busy = descriptor->type() == kTss16Busy || descriptor->type() == kTss32Busy;
  const bool available =
      descriptor->type() == kTss16Available || descriptor->type() == kTss32Available;
  if (descriptor->code_or_data() || !(iret ? busy : available)) {
    return vmx::exception(vector, error);
  }
  if (!descriptor->present()) return vmx::exception(vmx::kNp, error);
  if (descriptor->limit() < format_of(descriptor->type()).minimum_limit) {
    return vmx::exception(vmx::kTs, error);
  }
  return descriptor;
}

// A task switch once the new TSS is found and no VM exit takes its place.
class Switch {
 public:
  Switch(Core& core, const TaskSwitch& request, const Descriptor& new_descriptor)
      : core_(core),
        state_(core.state()),
        request_(request),
        new_descriptor_(new_descriptor),
        new_tss_(to_segment(request.selector, new_descriptor)) {}

  // Reads both tasks. Every access that can fault comes before the first change.
  std::optional<Fault> read_tasks();
  // Writes the old task to memory, and what the new one finds there: busy flags and the link.
  std::optional<Fault> save_old_task();
  // Commits the switch: from here on all that happens belongs to the new task.
  void load_registers();
  // Loads the segments of the new task, pushes the error code if there is one, and then has the
  // debug trap that the T flag asks for.
  std::optional<Fault> enter_new_task();

 private:
  bool iret() const { return request_.source == TaskSwitchSource::kIret; }
  bool nested() const {
    return request_.source == TaskSwitchSource::kCall ||
           request_.source == TaskSwitchSource::kGateInIdt;
  }
  // Paging is on, and not that of IA-32e mode, which has no task switches.
  bool new_cr3() const { return (state_.cr0 & vmx::cr0::kPg) && task_.cr3 != state_.cr3; }
  std::optional<Fault> write_old_image();

  Core& core_;
  CpuState& state_;
  const TaskSwitch& request_;
  Descriptor old_descriptor_, new_descriptor_;
  const vmx::Segment old_tss_ = state_.segment[vmx::kTr], new_tss_;
  const TssFormat& old_format_ = format_of(old_tss_.rights.type());
  const TssFormat& new_format_ = format_of(new_tss_.rights.type());
  Image old_image_{};
  Task task_;  // the new one
};

std::optional<Fault> Switch::read_tasks() {
  if (old_tss_.limit < old_format_.minimum_limit) {
    return vmx::exception(vmx::kTs, selector_error(old_tss_.selector, request_.ext));
  }
  Image new_image{};
  if (auto fault = read_image(core_, old_tss_, old_format_, old_image_)) return fault;
  if (auto fault = read_image(core_, new_tss_, new_format_, new_image)) return fault;
  if (auto fault = core_.probe_write(old_tss_.base, old_format_.size, Privilege::kSupervisor)) {
    return fault;
  }
  if (auto fault = core_.probe_write(new_tss_.base, 2, Privilege::kSupervisor)) return fault;
  const auto old_found = read_descriptor(core_, old_tss_.selector, vmx::kTs, request_.ext);
  if (!old_found) return old_found.fault();
  old_descriptor_ = *old_found;
  task_ = read_task(new_image, new_format_, state_.cr3);
  return std::nullopt;
}

std::optional<Fault> Switch::save_old_task() {
  if (!iret()) {
    if (auto fault = mark_busy(core_, new_descriptor_, true)) return fault;
  }
  if (!nested()) {
    if (auto fault = mark_busy(core_, old_descriptor_, false)) return fault;
  }
  if (auto fault = write_old_image()) return fault;
  if (nested()) {
    const std::span link(reinterpret_cast<const uint8_t*>(&old_tss_.selector), 2);
    if (auto fault = core_.write(new_tss_.base, link, Privilege::kSupervisor)) return fault;
  }
  if (new_cr3() && (state_.cr4 & vmx::cr4::kPae)) return core_.reload_pdptes(task_.cr3);
  return std::nullopt;
}

std::optional<Fault> Switch::write_old_image() {
  uint64_t flags = state_.rflags;
  if (iret()) flags &= ~vmx::rflags::kNt;
  flags = request_.saved_rf ? flags | vmx::rflags::kRf : flags & ~vmx::rflags::kRf;
  write_task(old_image_, old_format_, state_, next_rip(state_, request_.instruction_length), flags);
  // Only the fields that a switch saves: from EIP to the last selector.
  const unsigned first = old_format_.eip;
  const unsigned end =
      old_format_.selectors + old_format_.selector_count * old_format_.selector_stride;
  return core_.write(old_tss_.base + first,
                     std::span<const uint8_t>(old_image_).subspan(first, end - first),
                     Privilege::kSupervisor);
}

void Switch::load_registers() {
  constexpr uint64_t kLocalEnables = 0x155;  // DR7.L0 to L3 and LE
  constexpr uint32_t kBusy = 2;
  state_.segment[vmx::kTr] = new_tss_;
  state_.segment[vmx::kTr].rights.value |= kBusy;
  state_.cr0 |= vmx::cr0::kTs;
  state_.dr7 &= ~kLocalEnables;
  state_.blocking_by_sti = state_.blocking_by_mov_ss = false;
  state_.rip = task_.rip;
  state_.rflags = task_.rflags | (nested() ? vmx::rflags::kNt : 0);
  for (unsigned i = 0; i < task_.gpr.size(); ++i) state_.gpr[i] = task_.gpr[i];
  for (unsigned i = 0; i < kSelectorCount; ++i) {
    state_.segment[i] = null_segment(task_.selectors[i]);
  }
  state_.segment[vmx::kSs].rights.value |= (task_.selectors[vmx::kCs] & 3u) << 5;
  if (!new_cr3()) return;
  state_.cr3 = task_.cr3;
  vmx::Invalidation invalidation;
  invalidation.kind = vmx::Invalidation::Kind::kPcid;
  invalidation.vpid = core_.vmx().vpid();
  core_.invalidate(invalidation);
}

std::optional<Fault> Switch::enter_new_task() {
  if (auto fault = SegmentLoader(core_, request_.ext).load(task_)) return fault;
  if (request_.error_code) {
    if (auto fault = push_error_code(core_, new_format_, *request_.error_code, request_.ext)) {
      return fault;
    }
  }
  if (state_.rip > state_.segment[vmx::kCs].limit) {
    return vmx::exception(vmx::kGp, request_.ext ? 1 : 0);
  }
  if (task_.debug_trap) {
    return vmx::exception(vmx::kDb, std::nullopt, vmx::debug_cause::kTaskSwitch);
  }
  return std::nullopt;
}

}  // namespace

Outcome switch_task(Core& core, const TaskSwitch& request) {
  const auto found = find_tss(core, request);
  if (!found) return to_outcome(found.fault());
  if (core.vmx().in_non_root()) {
    vmx::InstructionContext context;
    context.length = request.instruction_length;
    if (core.vmx().task_switch_exits(request.selector, static_cast<uint8_t>(request.source),
                                     context)) {
      return vmx::Transferred{};
    }
  }
  Switch tasks(core, request, *found);
  if (const auto fault = tasks.read_tasks()) return to_outcome(*fault);
  if (const auto fault = tasks.save_old_task()) return to_outcome(*fault);
  tasks.load_registers();
  if (const auto fault = tasks.enter_new_task()) return to_outcome(*fault);
  return vmx::Transferred{};
}

}  // namespace nestor::emu
