// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/engine/unicorn/calibration.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "emu/engine/unicorn/experiment.h"
#include "vmx/msr_index.h"

namespace nestor::emu {

namespace {

using vmx::AccessRights;
using vmx::CpuState;
using vmx::Segment;

// How far into the engine object the fault address and the CPU object are looked for, and how far
// into the CPU object its registers.
constexpr size_t kEngineObject = 4096, kCpuObject = 1280;
// The registers lie at most so many bytes behind the beginning of the CPU object, in the same one.
constexpr uint64_t kRegistersAt = 0x10000;

constexpr AccessRights kCode64{0xa09b}, kCode32{0xc09b}, kCode16{0x9b}, kData32{0xc093},
    kData16{0x93}, kUserCode64{0xa0fb}, kUserData{0xc0f3}, kRealMode{0x93};

Segment flat(uint16_t selector, AccessRights rights) { return {selector, rights, 0xffffffff, 0}; }

CpuState state_of(Segment cs, Segment data, uint64_t cr0, uint64_t efer) {
  CpuState state;
  for (auto which : {vmx::kEs, vmx::kSs, vmx::kDs}) state.segment[which] = data;
  state.segment[vmx::kCs] = cs;
  state.cr0 = cr0;
  state.cr4 = vmx::cr4::kOsfxsr;
  state.efer = efer;
  return state;
}

}  // namespace

CpuState long_mode() {
  return state_of(flat(8, kCode64), flat(0x10, kData32), 0x33, vmx::efer::kLme | vmx::efer::kLma);
}

bool copy_if_mapped(uint8_t* from, std::span<uint8_t> to) {
  const iovec local{to.data(), to.size()};
  const iovec there{from, to.size()};
  return process_vm_readv(getpid(), &local, 1, &there, 1, 0) == static_cast<ssize_t>(to.size());
}

bool Experiment::open() {
  // This CPU model has SVM, and lacks RDRAND and others, which then reach us as #UD.
  uc_ctl_set_cpu_model(uc_, UC_CPU_X86_OPTERON_G5);
  uc_ctl_tlb_mode(uc_, UC_TLB_VIRTUAL);
  // An empty set of end addresses: after a run, a single one would be looked up in the TLB.
  uc_ctl_exits_enable(uc_);
  std::memset(scratch_, 0, svm::kScratchSize);
  const auto page = [this](uint64_t physical) { return scratch_ + (physical - svm::kScratch); };
  std::memcpy(page(svm::kStub), "\x0f\x01\xd8", 3);  // VMRUN
  std::memset(page(svm::kOpenBus), 0xff, 0x1000);
  std::memset(page(svm::kMsrBitmap), 0xff, 0x4000);
  std::memset(page(svm::kIoBitmap), 0xff, 0x4000);
  if (uc_mem_map_ptr(uc_, svm::kScratch, svm::kScratchSize, UC_PROT_ALL, scratch_) != UC_ERR_OK) {
    return false;
  }
  uc_x86_msr efer{vmx::kIa32Efer, 0};
  uc_reg_read(uc_, UC_X86_REG_MSR, &efer);
  write_msr(vmx::kIa32Efer, efer.value | svm::kEferSvme);
  write_msr(svm::kHostSaveMsr, svm::kHostSave);
  return uc_context_alloc(uc_, &context_) == UC_ERR_OK &&
         uc_context_alloc(uc_, &outside_) == UC_ERR_OK;
}

// Enters guest mode with `state` and runs `code` at RIP 0x40 of `code_linear`'s page until it
// traps.
void Experiment::enter(const CpuState& state, std::initializer_list<uint8_t> code,
                       uint64_t code_linear) {
  uint8_t* where = scratch_ + (kCode - svm::kScratch) + (code_linear & 0xfff);
  for (uint8_t byte : code) *where++ = byte;
  uc_ctl_flush_tb(uc_);
  uc_ctl_flush_tlb(uc_);
  uc_context_restore(uc_, outside_);
  svm::write_vmcb(scratch_ + (svm::kVmcb - svm::kScratch), state);
  code_linear_ = code_linear & ~0xfffull;
  trap_ = 0;
  refused_ = false;
  uint64_t rax = svm::kVmcb;
  uc_reg_write(uc_, UC_X86_REG_RAX, &rax);
  uc_emu_start(uc_, svm::kStubLinear, 0, 0, 0);
  save();
}

std::optional<std::string> Experiment::find_registers() {
  constexpr uint64_t kMagic = 0x1122'3344'5500'0000;
  constexpr uint64_t kFlags = 0x240ed5;  // all status flags, DF, IF, ID, AC
  const int names[] = {UC_X86_REG_RAX, UC_X86_REG_RCX, UC_X86_REG_RDX, UC_X86_REG_RBX,
                       UC_X86_REG_RSP, UC_X86_REG_RBP, UC_X86_REG_RSI, UC_X86_REG_RDI,
                       UC_X86_REG_R8,  UC_X86_REG_R9,  UC_X86_REG_R10, UC_X86_REG_R11,
                       UC_X86_REG_R12, UC_X86_REG_R13, UC_X86_REG_R14, UC_X86_REG_R15};
  for (size_t i = 0; i < 16; ++i) {
    uint64_t value = kMagic + i;
    uc_reg_write(uc_, names[i], &value);
  }
  uint64_t rip = kMagic + 16, flags = kFlags;
  uc_reg_write(uc_, UC_X86_REG_RIP, &rip);
  uc_reg_write(uc_, UC_X86_REG_EFLAGS, &flags);
  save();
  const auto first = find<uint64_t>(kMagic);
  if (!first) return "the general registers";
  for (size_t i = 1; i <= 16; ++i) {
    if (at<uint64_t>(*first + 8 * i) != kMagic + i) return "the order of the general registers";
  }
  layout_.gpr = *first;
  layout_.rip = *first + 8 * 16;
  layout_.rflags = layout_.rip + 8;
  // RFLAGS, three condition-code operands, their operation, the direction, and then the hidden
  // flags.
  layout_.hflags = layout_.rflags + 8 * 4 + 2 * 4;
  layout_.segments = layout_.hflags + 8;
  if (at<uint64_t>(layout_.rflags) != (flags | 2)) return "RFLAGS";
  flags = 2;
  uc_reg_write(uc_, UC_X86_REG_EFLAGS, &flags);
  return std::nullopt;
}

std::optional<std::string> Experiment::find_hidden_state() {
  constexpr uint64_t kKernelGs = 0x7766'5544'3322;
  write_msr(vmx::kIa32KernelGsBase, kKernelGs);
  uc_context_save(uc_, outside_);
  CpuState state = long_mode();
  state.efer |= vmx::efer::kNxe;
  state.segment[vmx::kDs] = {0x1238, kData32, 0x33333333, 0x2222'0000};
  state.gdtr = {0x4444'0000, 0x4321};
  state.idtr = {0x5555'0000, 0x8765};
  state.rip = kCode + 0x40;
  enter(state, {0xf4}, kCode + 0x40);
  if (trap_ != 0x178) return "the interception of HLT";
  const auto segment = [this](size_t index) {
    return layout_.segments + index * Layout::kSegmentSize;
  };
  const auto word_is = [this](size_t offset, uint64_t value) {
    return at<uint64_t>(offset) == value;
  };
  if (at<uint32_t>(segment(vmx::kDs)) != 0x1238 ||
      !word_is(segment(vmx::kDs) + Layout::kBaseAt, 0x2222'0000) ||
      at<uint32_t>(segment(vmx::kDs) + Layout::kLimitAt) != 0x33333333 ||
      at<uint32_t>(segment(vmx::kDs) + Layout::kFlagsAt) != svm::descriptor_flags(kData32) ||
      at<uint32_t>(segment(vmx::kCs)) != 8) {
    return "the hidden parts of segment registers";
  }
  if (!word_is(segment(8) + Layout::kBaseAt, state.gdtr.base) ||
      at<uint32_t>(segment(8) + Layout::kLimitAt) != state.gdtr.limit ||
      !word_is(segment(9) + Layout::kBaseAt, state.idtr.base) ||
      at<uint32_t>(segment(9) + Layout::kLimitAt) != state.idtr.limit) {
    return "GDTR and IDTR";
  }
  layout_.cr = segment(10);
  if (!word_is(layout_.cr, svm::engine_cr0(state)) ||
      !word_is(layout_.cr + 8 * 4, svm::engine_cr4(state))) {
    return "the control registers";
  }
  const auto efer = find<uint64_t>(svm::engine_efer(state), layout_.cr);
  const auto kernel_gs = find<uint64_t>(kKernelGs);
  const auto intercepts = find<uint64_t>(svm::kIntercepts, layout_.cr);
  if (!efer) return "IA32_EFER";
  if (!kernel_gs) return "IA32_KERNEL_GS_BASE";
  if (!intercepts) return "the intercepts";
  layout_.efer = *efer;
  layout_.kernel_gs_base = *kernel_gs;
  layout_.intercepts = *intercepts;
  return std::nullopt;
}

// x87 registers end with FOP, FCS, FDS, FIP and FDP; then come the status of x87 arithmetic, a
// register, the status of 3DNow!, that of SSE, and MXCSR.
std::optional<std::string> Experiment::find_floating_point() {
  constexpr uint64_t kFip = 0x0a0b'0c0d'0e0f'0102;
  constexpr uint16_t kFcw = 0x1b7f, kFop = 0x2d3;
  constexpr uint32_t kMxcsr = 0x5a5a'1f80;
  uc_reg_write(uc_, UC_X86_REG_FIP, &kFip);
  uc_reg_write(uc_, UC_X86_REG_FPCW, &kFcw);
  uc_reg_write(uc_, UC_X86_REG_FOP, &kFop);
  uc_reg_write(uc_, UC_X86_REG_MXCSR, &kMxcsr);
  save();
  constexpr size_t kRegisters = 8 * 16, kTags = 8, kMostPadding = 8;
  const auto fip = find<uint64_t>(kFip);
  if (!fip) return "the x87 instruction pointer";
  layout_.fop = *fip - 8;
  for (size_t padding = 0; padding <= kMostPadding; padding += 4) {
    const size_t fcw = layout_.fop - kRegisters - padding - kTags - sizeof kFcw;
    if (at<uint16_t>(fcw) == kFcw) layout_.fcw = fcw;
  }
  layout_.fsw = layout_.fcw - sizeof kFcw;
  layout_.x87_status = *fip + 16;
  layout_.sse_status = layout_.x87_status + 32;
  layout_.mxcsr = layout_.sse_status + 8;
  if (layout_.fcw == 0 || at<uint16_t>(layout_.fop) != kFop) return "the x87 control word";
  if (at<uint32_t>(layout_.mxcsr) != kMxcsr) return "MXCSR";

  CpuState state = long_mode();
  state.cr4 |= vmx::cr4::kOsfxsr;
  state.rip = kCode + 0x40;
  // fninit; fldz; fdiv st, st; xorps xmm0, xmm0; divss xmm0, xmm0; hlt
  enter(state, {0xdb, 0xe3, 0xd9, 0xee, 0xd8, 0xf0, 0x0f, 0x57, 0xc0, 0xf3, 0x0f, 0x5e, 0xc0, 0xf4},
        kCode + 0x40);
  constexpr uint8_t kInvalid = 1;
  if (trap_ != 0x178 || at<uint8_t>(layout_.x87_status + Layout::kExceptionsAt) != kInvalid ||
      at<uint8_t>(layout_.sse_status + Layout::kExceptionsAt) != kInvalid) {
    return "the exceptions of floating-point arithmetic";
  }
  return std::nullopt;
}

std::optional<std::string> Experiment::find_error_code() {
  CpuState state = long_mode();
  state.rip = kCode + 0x40;
  state.gdtr = {kCode, 0x17};
  enter(state, {0x66, 0xb8, 0x38, 0x12, 0x8e, 0xd8}, kCode + 0x40);  // mov ds, 0x1238
  const auto first = trap_ == 0x14d ? find<uint32_t>(0x1238, layout_.cr) : std::nullopt;
  if (!first) return "the error code of an exception";
  layout_.error_code = *first;
  return std::nullopt;
}

// The engine object also keeps registers of the host, which may hold what this function works with.
// So the address itself stands nowhere: the code makes it out of its inverse.
std::optional<std::string> Experiment::find_fault_address() {
  std::vector<size_t> candidates;
  for (uint64_t inverse : {~0x0123'4567'89abull, ~0x0765'4321'0fedull}) {
    CpuState state = long_mode();
    state.rip = kCode + 0x40;
    state.gpr[vmx::kRax] = inverse;
    enter(state, {0x48, 0xf7, 0xd0, 0x8a, 0x00}, kCode + 0x40);  // not rax; mov al, [rax]
    if (!refused_ || at<uint64_t>(layout_.rip) != kCode + 0x43) {
      return "a restartable state after a refused translation";
    }
    std::vector<size_t> hits;
    for (size_t i = 0; i < kEngineObject; i += 8) {
      if (~engine_word(i) == inverse) hits.push_back(i);
    }
    if (candidates.empty()) {
      candidates = hits;
    } else {
      std::erase_if(candidates, [&hits](size_t c) {
        return std::find(hits.begin(), hits.end(), c) == hits.end();
      });
    }
  }
  if (candidates.size() != 1) return "the address of a refused translation";
  layout_.fault_address = candidates.front();
  return std::nullopt;
}

// The engine object points to the CPU object, which points to its registers.
std::optional<std::string> Experiment::find_live_state() {
  uint64_t rbx = 0x8877'6655'4433'2211;
  uc_reg_write(uc_, UC_X86_REG_RBX, &rbx);
  save();
  const std::span saved(reinterpret_cast<const uint8_t*>(context_) + layout_.gpr,
                        layout_.cr + 5 * sizeof(uint64_t) - layout_.gpr);
  std::vector<uint8_t> there(saved.size());
  const auto pointer_at = [](const uint8_t* at) {
    uint8_t* pointer;
    std::memcpy(&pointer, at, sizeof pointer);
    return pointer;
  };
  // Copies are told from the registers themselves by writing there.
  const auto is_live = [this, rbx](uint8_t* registers) {
    uint8_t* const place = registers + 8 * vmx::kRbx;
    const uint64_t changed = ~rbx;
    uint64_t read = 0;
    std::memcpy(place, &changed, sizeof changed);
    uc_reg_read(uc_, UC_X86_REG_RBX, &read);
    std::memcpy(place, &rbx, sizeof rbx);
    return read == changed;
  };
  uint8_t object[kCpuObject];
  uint8_t* found = nullptr;
  for (size_t i = 0; i < kEngineObject; i += 8) {
    uint8_t* const cpu = pointer_at(reinterpret_cast<const uint8_t*>(uc_) + i);
    if (!copy_if_mapped(cpu, object)) continue;
    for (size_t k = 0; k < kCpuObject; k += 8) {
      uint8_t* const registers = pointer_at(object + k);
      const auto distance =
          reinterpret_cast<uintptr_t>(registers) - reinterpret_cast<uintptr_t>(cpu);
      if (distance >= kRegistersAt || registers == found) continue;
      if (!copy_if_mapped(registers, there) || !std::ranges::equal(there, saved)) continue;
      if (found == nullptr || is_live(registers)) found = registers;
    }
  }
  if (found == nullptr) return "the registers themselves";
  live_state_ = found - layout_.gpr;
  rbx = ~rbx;
  std::memcpy(live_state_ + layout_.gpr + 8 * vmx::kRbx, &rbx, sizeof rbx);
  uint64_t read = 0;
  uc_reg_read(uc_, UC_X86_REG_RBX, &read);
  if (read != rbx) return "how to write the registers";
  return std::nullopt;
}

// svm::hidden_flags must say what VMRUN makes of each mode.
std::optional<std::string> Experiment::prove_hidden_flags() {
  const uint64_t lma = vmx::efer::kLme | vmx::efer::kLma;
  CpuState based = state_of(flat(8, kCode32), flat(0x10, kData32), 0x33, 0);
  based.segment[vmx::kDs].base = 0x1000;
  CpuState real = state_of({0x100, kRealMode, 0xffff, 0x1000}, {0, kRealMode, 0xffff, 0}, 0x30, 0);
  CpuState fpu = long_mode();
  fpu.cr0 |= vmx::cr0::kTs | vmx::cr0::kEm | vmx::cr0::kMp;
  fpu.cr4 = 0;
  struct Mode {
    const char* name;
    CpuState state;
  };
  const Mode modes[] = {
      {"64-bit mode", long_mode()},
      {"64-bit user mode", state_of(flat(0x23, kUserCode64), flat(0x1b, kUserData), 0x33, lma)},
      {"compatibility mode", state_of(flat(8, kCode32), flat(0x10, kData32), 0x33, lma)},
      {"32-bit protected mode", state_of(flat(8, kCode32), flat(0x10, kData32), 0x33, 0)},
      {"32-bit protected mode with a segment base", based},
      {"16-bit protected mode", state_of(flat(8, kCode16), flat(0x10, kData16), 0x33, 0)},
      {"real mode", real},
      {"64-bit mode without FPU and SSE", fpu},
  };
  bool first = true;
  for (const Mode& mode : modes) {
    CpuState state = mode.state;
    state.rip = 0x40;
    enter(state, {0x0f, 0xa2}, state.segment[vmx::kCs].base + 0x40);  // CPUID
    if (trap_ != 0x172) return std::string("the interception of CPUID in ") + mode.name;
    const uint32_t rest = at<uint32_t>(layout_.hflags) ^ svm::hidden_flags(state);
    if (first) hidden_rest_ = rest;
    if (rest != hidden_rest_ || (rest & svm::hidden_flags(state)) != 0) {
      return std::string("the hidden flags of ") + mode.name;
    }
    first = false;
  }
  return std::nullopt;
}

std::optional<std::string> Experiment::prove_abandoning() {
  CpuState state = long_mode();
  state.rip = kCode + 0x40;
  enter(state, {0x90, 0xe4, 0x80, 0xf4}, kCode + 0x40);  // nop; in al, 0x80; hlt
  if (trap_ != 0x17c || at<uint64_t>(layout_.rip) != kCode + 0x41) {
    return "how to stop before an I/O instruction";
  }
  return std::nullopt;
}

std::variant<Calibrated, std::string> Experiment::run() {
  if (!open()) return "the private pages";
  layout_.size = uc_context_size(uc_);
  uc_hook hooks[3];
  if (uc_hook_add(uc_, &hooks[0], UC_HOOK_TLB_FILL, reinterpret_cast<void*>(on_fill), this, 1, 0) ||
      uc_hook_add(uc_, &hooks[1], UC_HOOK_INTR, reinterpret_cast<void*>(on_interrupt), this, 1,
                  0) ||
      uc_hook_add(uc_, &hooks[2], UC_HOOK_INSN, reinterpret_cast<void*>(on_in), this, 1, 0,
                  UC_X86_INS_IN)) {
    return "a hook";
  }
  std::optional<std::string> missing = find_registers();
  if (!missing) missing = find_hidden_state();
  if (!missing) missing = find_floating_point();
  if (!missing) missing = find_error_code();
  if (!missing) missing = find_fault_address();
  if (!missing) missing = prove_abandoning();
  if (!missing) missing = prove_hidden_flags();
  if (!missing) missing = find_live_state();
  if (!missing) missing = find_tlb();
  if (!missing) missing = prove_tlb();
  uc_context_free(outside_);
  if (missing) {
    uc_context_free(context_);
    return *missing;
  }
  for (uc_hook hook : hooks) uc_hook_del(uc_, hook);
  return Calibrated{layout_, context_, live_state_, hidden_rest_, tlb_};
}

std::variant<Calibrated, std::string> calibrate(uc_engine* uc, uint8_t* scratch) {
  return Experiment(uc, scratch).run();
}

}  // namespace nestor::emu
