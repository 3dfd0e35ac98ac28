// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/engine/unicorn/unicorn_engine.h"

#include <unicorn/unicorn.h>

#include <cstdlib>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "emu/engine/unicorn/adapter.h"
#include "emu/engine/unicorn/calibration.h"
#include "emu/engine/unicorn/guest_mode.h"
#include "vmx/exceptions.h"

namespace nestor::emu {

namespace {

constexpr unsigned kOldestVersion = 0x020104;

}  // namespace

std::optional<HostError> UnicornEngine::open(const std::vector<RamRange>& ram,
                                             unsigned processors) {
  const unsigned version = uc_version(nullptr, nullptr) >> 8;
  if (version < kOldestVersion) {
    return HostError{"Unicorn " + unicorn_version() +
                     " is too old: 2.1.4 or newer is needed; run scripts/setup"};
  }
  if (uc_open(UC_ARCH_X86, UC_MODE_64, &uc_) != UC_ERR_OK) {
    return HostError{"Unicorn " + unicorn_version() + " was built without x86-64 support"};
  }
  translations_.emplace(uc_);
  scratch_ = static_cast<uint8_t*>(std::aligned_alloc(4096, svm::kScratchSize));
  if (scratch_ == nullptr) return HostError{"out of memory for the engine's private pages"};
  std::variant<Calibrated, std::string> calibrated = calibrate(uc_, scratch_);
  if (auto* error = std::get_if<std::string>(&calibrated)) {
    return HostError{"the internals of Unicorn " + unicorn_version() +
                     " differ from what this adapter can calibrate: " + *error};
  }
  const auto& found = std::get<Calibrated>(calibrated);
  fault_address_at_ = found.layout.fault_address;
  contexts_ = ProcessorContexts::create(uc_, found, processors);
  if (!contexts_) return HostError{"out of memory"};
  tlbs_.emplace(uc_, found.tlb);

  for (const RamRange& range : ram) {
    if (range.movable) movable_ = range;
    if (uc_err error =
            uc_mem_map_ptr(uc_, place_of(range.first), range.size, UC_PROT_ALL, range.host)) {
      return HostError{"Unicorn cannot map guest memory: " + std::string(uc_strerror(error))};
    }
  }
  if (uc_mmio_map(uc_, svm::kWindow, uint64_t{svm::kWindowPages} << 12, on_read, this, on_write,
                  this) != UC_ERR_OK) {
    return HostError{"Unicorn cannot map the device window"};
  }
  const auto hook = [this](int type, auto function, int instruction = 0) {
    uc_hook handle;
    return uc_hook_add(uc_, &handle, type, reinterpret_cast<void*>(function), this, 1, 0,
                       instruction) == UC_ERR_OK;
  };
  if (!hook(UC_HOOK_TLB_FILL, on_fill) || !hook(UC_HOOK_INTR, on_interrupt) ||
      !translations_->hook_blocks(block_hook(), this) ||
      !hook(UC_HOOK_EDGE_GENERATED, on_translated) || !hook(UC_HOOK_INSN, on_in, UC_X86_INS_IN) ||
      !hook(UC_HOOK_INSN, on_out, UC_X86_INS_OUT) ||
      !hook(UC_HOOK_INSN, on_syscall, UC_X86_INS_SYSCALL) ||
      !hook(UC_HOOK_INSN, on_syscall, UC_X86_INS_SYSENTER)) {
    return HostError{"Unicorn refuses a hook"};
  }
  if (prices_.observes_accesses() &&
      (!hook(UC_HOOK_MEM_READ, on_access) || !hook(UC_HOOK_MEM_WRITE, on_access))) {
    return HostError{"Unicorn refuses a hook of accesses"};
  }
  flush_tlb();
  uc_ctl_flush_tb(uc_);
  return std::nullopt;
}

void UnicornEngine::abandon_instruction() {
  uc_reg_read(uc_, UC_X86_REG_RAX, &abandoned_registers_[0]);
  uc_reg_read(uc_, UC_X86_REG_RCX, &abandoned_registers_[1]);
  uc_reg_read(uc_, UC_X86_REG_RDX, &abandoned_registers_[2]);
  abandoned_ = true;
  // Writing an intercepted MSR raises the intercept here and now, unwinding past the hook.
  uc_x86_msr msr{svm::kHostSaveMsr, svm::kHostSave};
  uc_reg_write(uc_, UC_X86_REG_MSR, &msr);
  std::abort();  // calibration has proved that the line above does not return
}

uint32_t UnicornEngine::on_in(uc_engine*, uint32_t, int, void* self) {
  static_cast<UnicornEngine*>(self)->abandon_instruction();
}
void UnicornEngine::on_out(uc_engine*, uint32_t, int, uint32_t, void* self) {
  static_cast<UnicornEngine*>(self)->abandon_instruction();
}
void UnicornEngine::on_syscall(uc_engine*, void* self) {
  static_cast<UnicornEngine*>(self)->abandon_instruction();
}

bool UnicornEngine::on_fill(uc_engine*, uint64_t linear, uc_mem_type type, uc_tlb_entry* entry,
                            void* user) {
  auto& self = *static_cast<UnicornEngine*>(user);
  const FillAccess access = type == UC_MEM_FETCH   ? FillAccess::kFetch
                            : type == UC_MEM_WRITE ? FillAccess::kWrite
                                                   : FillAccess::kRead;
  if (self.filling_ != Filling::kGuest) {
    entry->paddr =
        self.filling_ == Filling::kDropAll ? svm::kOpenBus : linear - svm::kPhysicalLinear;
    entry->perms = UC_PROT_EXEC;
    return true;
  }
  TlbGrant grant;
  if (!self.client_->fill(linear, access, grant)) {
    self.fill_refused_ = true;
    self.refused_access_ = access;
    return false;
  }
  entry->paddr = self.place_of(grant.physical);
  if (grant.device) {
    entry->paddr = grant.execute ? svm::kOpenBus : self.window_page(grant.physical);
  }
  entry->perms =
      static_cast<uc_prot>((grant.read ? UC_PROT_READ : 0) | (grant.write ? UC_PROT_WRITE : 0) |
                           (grant.execute ? UC_PROT_EXEC : 0));
  return true;
}

void UnicornEngine::on_interrupt(uc_engine* uc, uint32_t number, void* user) {
  auto& self = *static_cast<UnicornEngine*>(user);
  const uint32_t code = number - 0x100;
  self.stopped_ = true;
  if (code >= svm::kExitException && code < svm::kExitException + 32) {
    self.stop_.kind = StopKind::kException;
    self.stop_.vector = static_cast<uint8_t>(code - svm::kExitException);
  } else {
    self.stop_.kind = StopKind::kInstruction;
    self.stop_.unsafe = code == svm::kExitHlt;
  }
  // Unicorn stands between two blocks, with its registers in their places.
  self.settle(true);
  if (self.client_->goes_on(self.stop_)) {
    self.begin();
    self.contexts_->resume_flags();
    return;
  }
  uc_emu_stop(uc);
}

uint64_t UnicornEngine::on_read(uc_engine*, uint64_t offset, unsigned size, void* user) {
  auto& self = *static_cast<UnicornEngine*>(user);
  return self.client_->read_device(self.window_.physical(offset), size);
}

void UnicornEngine::on_write(uc_engine*, uint64_t offset, unsigned size, uint64_t value,
                             void* user) {
  auto& self = *static_cast<UnicornEngine*>(user);
  self.client_->write_device(self.window_.physical(offset), size, value);
}

// RIP and the general registers are in their places at each access, as it may fault. With the TLB
// that on_fill() fills, Unicorn says the physical address.
void UnicornEngine::on_access(uc_engine*, uc_mem_type type, uint64_t physical, int, int64_t,
                              void* user) {
  auto& self = *static_cast<UnicornEngine*>(user);
  const ProcessorContexts& contexts = *self.contexts_;
  self.client_->observe_access(contexts.rip() + contexts.code_base(), physical,
                               type == UC_MEM_WRITE, contexts.general_registers(),
                               contexts.segment_bases());
}

// Translated code survives uc_mem_write, and is dropped by linear address only: through linear
// addresses that no guest can use, and that show physical memory.
void UnicornEngine::code_written(uint64_t physical, std::span<const uint8_t> data) {
  if (data.empty()) return;
  const uint64_t place = place_of(physical);
  uc_mem_write(uc_, place, data.data(), data.size());
  filling_ = Filling::kDropWritten;
  const uint64_t linear = svm::kPhysicalLinear + place;
  uc_ctl_remove_cache(uc_, linear, linear + data.size());
  filling_ = Filling::kGuest;
}

void UnicornEngine::enter(ExecutionContext& context) {
  if (&context != current_) {
    current_ = &context;
    contexts_->select(context.processor());
    if (context.retention() == ExecutionContext::Retention::kForget) context.request_flush();
  }
  AddressSpace& space = context.space();
  if (space.tlb == 0) space.tlb = tlbs_->add();
  using Group = TlbImages::Group;
  tlbs_->select(space.tlb, space.id.tag.vpid == 0 ? Group::kPlain : Group::kMarked);
  if (!space.flush_pending) return;
  tlbs_->flush();
  context.flushed();
}

void UnicornEngine::resume(ExecutionContext* context) {
  current_ = context;
  if (context != nullptr) contexts_->select(context->processor());
  drop_translations();
}

// Nothing changes by it but how long the next blocks take.
void UnicornEngine::drop_translations() {
  keep_current_block();
  flush_tlb();
  filling_ = Filling::kDropAll;
  translations_->drop();
  filling_ = Filling::kGuest;
  if (client_ != nullptr) client_->drop_prices();
  flush_tlb();
}

Stop UnicornEngine::run(vmx::CpuState& state, const RunMode& mode) {
  state_ = &state;
  mode_ = &mode;
  begin();
  execute();
  if (!settled_) settle(false);
  return stop_;
}

// From the state as it is now.
void UnicornEngine::begin() {
  const uint32_t hidden_flags = svm::hidden_flags(*state_);
  block_tag_ = svm::code_mode(*state_, hidden_flags) ^ mode_->code_set ^
               (mode_->single_step ? 1ull << 60 : 0);
  contexts_->load(*state_, hidden_flags | tlbs_->hidden_flags(), *mode_);
  instructions_before_ = current_->instructions;
  stop_ = Stop{};
  stopped_ = abandoned_ = fill_refused_ = stop_requested_ = settled_ = false;
  leave_block();
  effective_deadline_ = mode_->deadline;
  begun_again_ = ~0ull;
  translations_->begin_run();
}

void UnicornEngine::execute() {
  uc_err error = UC_ERR_OK;
  do {
    if (translates_anew_) translate_anew();
    error = uc_emu_start(uc_, contexts_->rip(), 0, 0, 0);
  } while (translates_anew_);
  if (!stopped_ && fill_refused_) {
    stop_.kind = StopKind::kRefusedFill;
    stop_.access = refused_access_;
    std::memcpy(&stop_.linear, reinterpret_cast<const uint8_t*>(uc_) + fault_address_at_,
                sizeof stop_.linear);
  } else if (!stopped_) {
    throw std::logic_error("the engine stopped for no known reason: " +
                           std::string(uc_strerror(error)));
  }
}

void UnicornEngine::settle(bool within) {
  settled_ = true;
  if (stop_.kind == StopKind::kException) stop_.error_code = contexts_->error_code();
  // A fetch that was refused happens between blocks.
  const bool between = stop_.kind == StopKind::kRefusedFill && stop_.access == FillAccess::kFetch;
  // Blocks are known by linear address, RIP is relative to CS.
  const uint64_t here = contexts_->rip() + contexts_->code_base();
  // A branch to itself, or an iteration.
  const bool again = stop_.kind == StopKind::kException && stop_.vector == vmx::kDb &&
                     here == current_block_->linear;
  if (between || again || here - current_block_->linear >= current_block_->size) {
    note_completed_block();
  } else {
    refund_from(here);
  }
  contexts_->save(*state_, current_->instructions != instructions_before_, within);
  if (abandoned_) {
    state_->gpr[vmx::kRax] = abandoned_registers_[0];
    state_->gpr[vmx::kRcx] = abandoned_registers_[1];
    state_->gpr[vmx::kRdx] = abandoned_registers_[2];
  }
}

uint64_t UnicornEngine::window_page(uint64_t physical) {
  if (const auto page = window_.page(physical)) return *page;
  flush_tlb();
  return *window_.page(physical);
}

std::string unicorn_version() {
  const unsigned packed = uc_version(nullptr, nullptr);
  return std::to_string(packed >> 24) + "." + std::to_string((packed >> 16) & 255) + "." +
         std::to_string((packed >> 8) & 255);
}

std::variant<std::unique_ptr<Engine>, HostError> create_unicorn_engine(
    const std::vector<RamRange>& ram, Prices& prices, unsigned processors) {
  auto engine = std::make_unique<UnicornEngine>(prices);
  if (auto error = engine->open(ram, processors)) return *error;
  return engine;
}

}  // namespace nestor::emu
