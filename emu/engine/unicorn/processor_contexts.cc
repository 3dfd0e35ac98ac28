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
  for (size_t i = 0; i < vmx::kSegmentCount; ++i) put_segment(i, engine_segment(state, i));
  std::memcpy(&loaded_segments_, live_state_ + layout_.segments, sizeof loaded_segments_);
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

void ProcessorContexts::save(CpuState& state, bool completed) const {
  std::memcpy(state.gpr.data(), live_state_ + layout_.gpr, sizeof state.gpr);
  state.rip = rip();
  state.rflags = get<uint64_t>(layout_.rflags) | vmx::rflags::kFixed1;
  if (state.rip == loaded_rip_ && !completed) state.rflags |= loaded_rf_;
  if (std::memcmp(&loaded_segments_, live_state_ + layout_.segments, sizeof loaded_segments_) !=
      0) {
    for (size_t i = 0; i < vmx::kSegmentCount; ++i) save_segment(i, state.segment[i]);
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

// Of what the tag word says, only "empty" (3) has a meaning for the engine.
void ProcessorContexts::read_extended(unsigned processor, ExtendedState& state) const {
  if (processor == selected_) uc_context_save(uc_, contexts_[processor]);
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
  read(UC_X86_REG_FIP, &state.fip);
  read(UC_X86_REG_FCS, &state.fcs);
  read(UC_X86_REG_FDP, &state.fdp);
  read(UC_X86_REG_FDS, &state.fds);
  for (int i = 0; i < 8; ++i) read(UC_X86_REG_ST0 + i, state.st[i].data());
  read(UC_X86_REG_MXCSR, &state.mxcsr);
  for (int i = 0; i < 16; ++i) read(UC_X86_REG_XMM0 + i, state.xmm[i].data());
}

// FSW first: its TOP says which registers ST0 to ST7 are.
void ProcessorContexts::write_extended(unsigned processor, const ExtendedState& state) {
  if (processor == selected_) uc_context_save(uc_, contexts_[processor]);
  const auto write = [&](int name, const void* value) {
    uc_context_reg_write(contexts_[processor], name, value);
  };
  write(UC_X86_REG_FPSW, &state.fsw);
  write(UC_X86_REG_FPCW, &state.fcw);
  uint16_t tags = 0;
  for (unsigned i = 0; i < 8; ++i)
    if (!(state.ftw >> i & 1)) tags |= static_cast<uint16_t>(3u << (2 * i));
  write(UC_X86_REG_FPTAG, &tags);
  write(UC_X86_REG_FOP, &state.fop);
  write(UC_X86_REG_FIP, &state.fip);
  write(UC_X86_REG_FCS, &state.fcs);
  write(UC_X86_REG_FDP, &state.fdp);
  write(UC_X86_REG_FDS, &state.fds);
  for (int i = 0; i < 8; ++i) write(UC_X86_REG_ST0 + i, state.st[i].data());
  write(UC_X86_REG_MXCSR, &state.mxcsr);
  for (int i = 0; i < 16; ++i) write(UC_X86_REG_XMM0 + i, state.xmm[i].data());
  if (processor == selected_) uc_context_restore(uc_, contexts_[processor]);
}

}  // namespace nestor::emu
