// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/engine/unicorn/processor_contexts.h"

#include "emu/engine/unicorn/guest_mode.h"

namespace nestor::emu {

namespace {

using vmx::CpuState;

// The engine adds the base of CS in every mode, and those of DS, ES and SS after a prefix; in
// 64-bit mode they must be 0. Of other segments than CS it heeds the L bit, which means nothing
// there.
vmx::Segment engine_segment(const CpuState& state, size_t index) {
  constexpr uint32_t kLong = 1 << 13;
  vmx::Segment segment = state.segment[index];
  if (index <= vmx::kDs && state.code_64bit()) segment.base = 0;
  if (index != vmx::kCs) segment.rights.value &= ~kLong;
  return segment;
}

}  // namespace

std::unique_ptr<ProcessorContexts> ProcessorContexts::create(uc_engine* uc,
                                                             const Calibrated& calibrated,
                                                             unsigned processors) {
  std::unique_ptr<ProcessorContexts> made(new ProcessorContexts(uc, calibrated));
  while (made->contexts_.size() < processors) {
    uc_context* context = nullptr;
    if (uc_context_alloc(uc, &context) != UC_ERR_OK) return nullptr;
    made->contexts_.push_back(context);
    uc_context_save(uc, context);
  }
  made->x87_rest_.resize(processors);
  for (unsigned i = 0; i != processors; ++i) {
    made->write_extended(i, ExtendedState{});  // the engine begins with MXCSR = 0
  }
  return made;
}

ProcessorContexts::~ProcessorContexts() {
  for (uc_context* context : contexts_) uc_context_free(context);
}

void ProcessorContexts::put_segment(size_t index, const vmx::Segment& segment) {
  const size_t at = layout_.segments + index * Layout::kSegmentSize;
  put<uint32_t>(at, segment.selector);
  put<uint64_t>(at + Layout::kBaseAt, segment.base);
  put<uint32_t>(at + Layout::kLimitAt, segment.limit);
  put<uint32_t>(at + Layout::kFlagsAt, svm::descriptor_flags(segment.rights));
}

vmx::Segment ProcessorContexts::segment(size_t index) const {
  const size_t at = layout_.segments + index * Layout::kSegmentSize;
  return {selector(index), svm::access_rights(get<uint32_t>(at + Layout::kFlagsAt)),
          get<uint32_t>(at + Layout::kLimitAt), get<uint64_t>(at + Layout::kBaseAt)};
}

// A segment that the guest did not load keeps what the engine cannot express.
void ProcessorContexts::save_segment(size_t index, vmx::Segment& segment) const {
  const EngineSegment& loaded = loaded_segments_[index];
  const size_t at = layout_.segments + index * Layout::kSegmentSize;
  if (std::memcmp(live_state_ + at, loaded.data(), loaded.size()) == 0) return;
  const vmx::AccessRights rights = segment.rights;
  segment = this->segment(index);
  // Real-address mode loads a selector and a base only.
  if (std::memcmp(live_state_ + at + Layout::kFlagsAt, &loaded[Layout::kFlagsAt],
                  sizeof(uint32_t)) == 0) {
    segment.rights = rights;
  }
}

void ProcessorContexts::load_segments(const CpuState& state) {
  const bool code_64bit = state.code_64bit();
  // As bytes: where padding alone differs, the same is loaded once more.
  const auto* const segments = reinterpret_cast<const uint8_t*>(state.segment.data());
  const auto* const held = reinterpret_cast<const uint8_t*>(held_segments_.segment.data());
  if (held_segments_.valid && held_segments_.code_64bit == code_64bit &&
      std::memcmp(held, segments, sizeof state.segment) == 0)
    return;
  held_segments_ = {state.segment, code_64bit, true};
  for (size_t i = 0; i < vmx::kSegmentCount; ++i) put_segment(i, engine_segment(state, i));
  std::memcpy(&loaded_segments_, live_state_ + layout_.segments, sizeof loaded_segments_);
}

void ProcessorContexts::load(const CpuState& state, uint32_t hidden_flags, const RunMode& mode) {
  loaded_rip_ = state.rip;
  loaded_rf_ = state.rflags & vmx::rflags::kRf;
  std::memcpy(live_state_ + layout_.gpr, state.gpr.data(), sizeof state.gpr);
  put(layout_.rip, state.rip);
  // The engine would keep RF for a whole block, and PUSHF would push it. It serves breakpoints
  // only, which the engine has not got.
  put(layout_.rflags, (state.rflags & ~uint64_t{vmx::rflags::kRf}) | vmx::rflags::kFixed1);
  hidden_flags |= hidden_flags_rest_;
  if (mode.single_step) hidden_flags |= svm::kTrap;
  put(layout_.hflags, hidden_flags);
  load_segments(state);
  const auto put_table = [this](size_t index, const vmx::DescriptorTable& table) {
    const size_t at = layout_.segments + index * Layout::kSegmentSize;
    put<uint64_t>(at + Layout::kBaseAt, table.base);
    put<uint32_t>(at + Layout::kLimitAt, table.limit);
  };
  put_table(vmx::kSegmentCount, state.gdtr);
  put_table(vmx::kSegmentCount + 1, state.idtr);
  put(layout_.cr, svm::engine_cr0(state));
  put(layout_.cr + 8 * 4, svm::engine_cr4(state));
  put(layout_.efer, svm::engine_efer(state));
  put(layout_.kernel_gs_base, state.kernel_gs_base);
  put(layout_.intercepts, svm::kIntercepts | svm::intercept(svm::kExitVmrun) |
                              (mode.intercept_popf ? svm::intercept(svm::kExitPopf) : 0));
}

void ProcessorContexts::resume_flags() {
  const auto rflags = get<uint64_t>(layout_.rflags);
  uc_reg_write(uc_, UC_X86_REG_RFLAGS, &rflags);
  put(layout_.rflags, rflags & ~kUnsteadyFlags);
}

void ProcessorContexts::save(CpuState& state, bool completed, bool within) {
  std::memcpy(state.gpr.data(), live_state_ + layout_.gpr, sizeof state.gpr);
  state.rip = rip();
  state.rflags = get<uint64_t>(layout_.rflags);
  if (within) uc_reg_read(uc_, UC_X86_REG_RFLAGS, &state.rflags);
  state.rflags |= vmx::rflags::kFixed1;
  if (state.rip == loaded_rip_ && !completed) state.rflags |= loaded_rf_;
  if (std::memcmp(&loaded_segments_, live_state_ + layout_.segments, sizeof loaded_segments_) !=
      0) {
    for (size_t i = 0; i < vmx::kSegmentCount; ++i) save_segment(i, state.segment[i]);
    held_segments_.valid = false;
  }
  // Code that runs over the end of 4 GBytes goes on counting.
  if (!state.code_64bit()) state.rip &= 0xffffffff;
  state.kernel_gs_base = get<uint64_t>(layout_.kernel_gs_base);
  const bool inhibited = (get<uint32_t>(layout_.hflags) & svm::kInhibitIrq) != 0;
  const bool kept = inhibited && state.rip == loaded_rip_;
  if (!kept) {
    state.blocking_by_mov_ss = false;
    state.blocking_by_sti = inhibited;
  }
}

namespace {

// Of float_status.
enum SoftFloat : uint8_t {
  kInvalid = 1,
  kDivideByZero = 4,
  kOverflow = 8,
  kUnderflow = 16,
  kInexact = 32,
  kOutputDenormal = 128,  // and flushed to zero
};

// As FSW and MXCSR have them.
uint8_t exceptions_of(uint8_t soft_float) {
  constexpr uint8_t kSame = kInvalid | kDivideByZero | kOverflow | kUnderflow | kInexact;
  const bool flushed = (soft_float & kOutputDenormal) != 0;
  return static_cast<uint8_t>((soft_float & kSame) | (flushed ? kUnderflow | kInexact : 0));
}

uint16_t with_error_summary(uint16_t fsw, uint16_t fcw) {
  constexpr uint16_t kSummaryAndBusy = 0x8080;
  const bool unmasked = (fsw & ~fcw & kFloatingPointExceptions) != 0;
  return static_cast<uint16_t>((fsw & ~kSummaryAndBusy) | (unmasked ? kSummaryAndBusy : 0));
}

template <class T>
T& at(uint8_t* state, size_t offset) {
  return *reinterpret_cast<T*>(state + offset);
}

}  // namespace

// The engine sets ZE by itself, but for each divisor of 0. FNCLEX and FNINIT clear FSW alone, which
// shows in what was folded in before.
void ProcessorContexts::fold_x87_exceptions(uint8_t* state, unsigned processor) {
  auto& flags = at<uint8_t>(state, layout_.x87_status + Layout::kExceptionsAt);
  auto& fsw = at<uint16_t>(state, layout_.fsw);
  uint8_t& exceptions = x87_rest_[processor].exceptions;
  exceptions = static_cast<uint8_t>((exceptions & fsw) | exceptions_of(flags));
  flags = 0;
  const auto folded = static_cast<uint16_t>((fsw & ~kFloatingPointExceptions) | exceptions);
  fsw = with_error_summary(folded, at<uint16_t>(state, layout_.fcw));
}

// Of what the tag word says, only "empty" (3) has a meaning for the engine.
void ProcessorContexts::read_extended(unsigned processor, ExtendedState& state) {
  if (processor == selected_) {
    fold_x87_exceptions(live_state_, processor);
    uc_context_save(uc_, contexts_[processor]);
  } else {
    fold_x87_exceptions(saved_state(processor), processor);
  }
  const auto read = [&](int name, void* value) {
    uc_context_reg_read(contexts_[processor], name, value);
  };
  uint16_t tags = 0;
  read(UC_X86_REG_FPCW, &state.fcw);
  read(UC_X86_REG_FPSW, &state.fsw);
  read(UC_X86_REG_FPTAG, &tags);
  state.ftw = 0;
  for (unsigned i = 0; i < 8; ++i)
    if ((tags >> (2 * i) & 3) != 3) state.ftw |= static_cast<uint8_t>(1u << i);
  read(UC_X86_REG_FOP, &state.fop);
  state.exception_fdp = state.fop != 0 ? x87_rest_[processor].exception_fdp : 0;
  state.fop &= ExtendedState::kFopMask;
  read(UC_X86_REG_FIP, &state.fip);
  read(UC_X86_REG_FCS, &state.fcs);
  read(UC_X86_REG_FDP, &state.fdp);
  read(UC_X86_REG_FDS, &state.fds);
  for (int i = 0; i < 8; ++i) read(UC_X86_REG_ST0 + i, state.st[i].data());
  read(UC_X86_REG_MXCSR, &state.mxcsr);
  state.mxcsr |= exceptions_of(
      at<uint8_t>(saved_state(processor), layout_.sse_status + Layout::kExceptionsAt));
  for (int i = 0; i < 16; ++i) read(UC_X86_REG_XMM0 + i, state.xmm[i].data());
}

// The engine heeds MXCSR.FZ in x87 arithmetic and not in that of SSE. Its fast path is for those
// who have met an inexact result already.
void ProcessorContexts::put_arithmetic(uint8_t* state, uint32_t mxcsr) const {
  constexpr uint32_t kFlushToZero = 1 << 15, kUnderflowMask = 1 << 11;
  const bool flush = (mxcsr & kFlushToZero) != 0 && (mxcsr & kUnderflowMask) != 0;
  at<uint8_t>(state, layout_.x87_status + Layout::kFlushToZeroAt) = 0;
  at<uint8_t>(state, layout_.sse_status + Layout::kFlushToZeroAt) = flush;
  at<uint8_t>(state, layout_.x87_status + Layout::kExceptionsAt) = 0;
  at<uint8_t>(state, layout_.sse_status + Layout::kExceptionsAt) = mxcsr & kInexact;
}

// FSW first: its TOP says which registers ST0 to ST7 are.
void ProcessorContexts::write_extended(unsigned processor, const ExtendedState& state) {
  if (processor == selected_) uc_context_save(uc_, contexts_[processor]);
  const auto write = [&](int name, const void* value) {
    uc_context_reg_write(contexts_[processor], name, value);
  };
  const uint16_t fsw = with_error_summary(state.fsw, state.fcw);
  write(UC_X86_REG_FPSW, &fsw);
  write(UC_X86_REG_FPCW, &state.fcw);
  uint16_t tags = 0;
  for (unsigned i = 0; i < 8; ++i)
    if (!(state.ftw >> i & 1)) tags |= static_cast<uint16_t>(3u << (2 * i));
  write(UC_X86_REG_FPTAG, &tags);
  // Not 0 where there is anything that FNINIT has to clear.
  constexpr uint16_t kRecorded = 0x8000;
  const bool recorded = state.fop != 0 || state.exception_fdp != 0;
  const auto fop = static_cast<uint16_t>(recorded ? state.fop | kRecorded : 0);
  write(UC_X86_REG_FOP, &fop);
  x87_rest_[processor] = {static_cast<uint8_t>(state.fsw & kFloatingPointExceptions),
                          state.exception_fdp};
  write(UC_X86_REG_FIP, &state.fip);
  write(UC_X86_REG_FCS, &state.fcs);
  write(UC_X86_REG_FDP, &state.fdp);
  write(UC_X86_REG_FDS, &state.fds);
  for (int i = 0; i < 8; ++i) write(UC_X86_REG_ST0 + i, state.st[i].data());
  write(UC_X86_REG_MXCSR, &state.mxcsr);
  put_arithmetic(saved_state(processor), state.mxcsr);
  for (int i = 0; i < 16; ++i) write(UC_X86_REG_XMM0 + i, state.xmm[i].data());
  if (processor == selected_) uc_context_restore(uc_, contexts_[processor]);
}

}  // namespace nestor::emu
