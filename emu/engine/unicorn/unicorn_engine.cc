// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/engine/unicorn/unicorn_engine.h"

#include <unicorn/unicorn.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "emu/engine/unicorn/calibration.h"
#include "emu/engine/unicorn/device_window.h"
#include "emu/engine/unicorn/guest_mode.h"
#include "emu/engine/unicorn/processor_contexts.h"
#include "emu/engine/unicorn/tlb_images.h"
#include "emu/engine/unicorn/translations.h"
#include "vmx/exceptions.h"

namespace nestor::emu {

namespace {

using vmx::CpuState;

constexpr unsigned kOldestVersion = 0x020104;

class UnicornEngine final : public Engine {
 public:
  explicit UnicornEngine(Prices& prices) : prices_(prices) {}
  ~UnicornEngine() override {
    contexts_.reset();
    tlbs_.reset();
    if (uc_ != nullptr) uc_close(uc_);
    std::free(scratch_);
  }
  UnicornEngine(const UnicornEngine&) = delete;
  UnicornEngine& operator=(const UnicornEngine&) = delete;

  std::optional<HostError> open(const std::vector<RamRange>& ram, unsigned processors);

  void set_client(EngineClient& client) override { client_ = &client; }
  void enter(ExecutionContext& context) override;
  Stop run(CpuState& state, const RunMode& mode) override;
  void read_extended(unsigned processor, ExtendedState& state) override {
    contexts_->read_extended(processor, state);
  }
  void write_extended(unsigned processor, const ExtendedState& state) override {
    contexts_->write_extended(processor, state);
  }
  void request_stop() override {
    stop_requested_ = true;
    effective_deadline_ = 0;
  }
  void flush_tlb() override {
    tlbs_->flush_all();
    window_.forget();
  }
  const ExecutionContext* context() const override { return current_; }
  void resume(ExecutionContext* context) override;
  void code_written(uint64_t physical, std::span<const uint8_t> data) override;
  uint64_t live_rflags() const override { return contexts_->steady_rflags(); }
  uint32_t mxcsr() const override { return contexts_->mxcsr(); }

 private:
  // Whom a page miss is for: the guest, or who drops translations, of some code or all.
  enum class Filling : uint8_t { kGuest, kDropWritten, kDropAll };

  static bool on_fill(uc_engine*, uint64_t linear, uc_mem_type type, uc_tlb_entry* entry, void*);
  static void on_interrupt(uc_engine*, uint32_t number, void*);
  static void on_block(uc_engine*, uint64_t linear, uint32_t size, void*);
  static void on_priced_block(uc_engine*, uint64_t linear, uint32_t size, void*);
  static void on_translated(uc_engine*, uc_tb* block, uc_tb*, void*);
  static uint32_t on_in(uc_engine*, uint32_t, int, void*);
  static void on_out(uc_engine*, uint32_t, int, uint32_t, void*);
  static void on_syscall(uc_engine*, void*);
  static uint64_t on_read(uc_engine*, uint64_t offset, unsigned size, void*);
  static void on_write(uc_engine*, uint64_t offset, unsigned size, uint64_t value, void*);

  // Whether a block ends inside the current one.
  bool ends_inside(uint64_t linear, uint32_t size) const {
    return linear + size - current_block_->linear - 1 < current_block_->size - 1;
  }
  bool begins_again(const Block& block, uint64_t linear, uint32_t size) const;
  void charge(Block& block) {
    current_block_ = &block;
    current_->instructions += block.instructions;
    prices_.charge_instructions(block.instructions);
  }
  void leave_block() { current_block_ = &no_block_; }
  bool is_due() const {
    return prices_.clock().cycles() >= effective_deadline_ ||
           prices_.instructions() >= mode_->instruction_deadline;
  }
  void enter_unusual_block(BlockRecord& record, uint64_t linear, uint32_t size);
  bool examine(BlockRecord& record, uint64_t linear, uint32_t size);
  bool breaks_conditions(const BlockRecord& record);
  void note_completed_block() {
    if (current_block_ == &no_block_) return;
    stop_.completed = current_block_->linear;
    stop_.completed_size = current_block_->size;
  }
  void stop_before_block(StopKind kind) {
    note_completed_block();
    leave_block();
    stopped_ = true;
    stop_.kind = kind;
    uc_emu_stop(uc_);
  }
  void stop_before_unsafe() {
    stop_before_block(StopKind::kInstruction);
    stop_.unsafe = true;
  }
  // Its record is about to say something else, or to go.
  void keep_current_block() {
    if (current_block_ == &no_block_) return;
    kept_block_ = *current_block_;
    current_block_ = &kept_block_;
  }
  [[noreturn]] void abandon_instruction();
  // Takes back what was charged for the instructions of the current block from RIP on.
  void refund_from(uint64_t linear);
  void drop_translations();
  // The block that was completed last stays that.
  void go_on() {
    goes_on_ = stopped_ = false;
    if (translations_->are_full()) return drop_translations();
    translations_->translate_again();
  }
  uint64_t window_page(uint64_t physical);

  void begin();
  void execute();
  // Accounts for where it has stopped and brings the state up to date. `within`: Unicorn has not
  // returned yet.
  void settle(bool within);

  // What on_block() looks at stands together.
  Prices& prices_;
  ExecutionContext* current_ = nullptr;
  Block* current_block_ = &no_block_;  // was charged and is not known to be complete
  uint64_t block_tag_ = 0;             // of the mode of the code, and single-stepping
  uint64_t effective_deadline_ = ~0ull;

  EngineClient* client_ = nullptr;
  uc_engine* uc_ = nullptr;
  std::unique_ptr<ProcessorContexts> contexts_;
  std::optional<Translations> translations_;
  std::optional<TlbImages> tlbs_;
  uint8_t* scratch_ = nullptr;
  size_t fault_address_at_ = 0;  // in *uc_: the linear address of a refused fill

  Block no_block_{.size = 1};  // nothing ends inside it
  Block kept_block_;
  BlockRecord stray_;             // of a block whose translation has that of another one
  uint64_t begun_again_ = ~0ull;  // when so many instructions had been charged
  EntryConditions conditions_;    // of the block that is looked at
  bool goes_on_ = false;          // with the block before which it stops, once go_on() was called
  CpuState* state_ = nullptr;     // that run() was given, and the mode
  const RunMode* mode_ = nullptr;
  uint64_t instructions_before_ = 0;
  bool stop_requested_ = false;

  Stop stop_;
  bool stopped_ = false, abandoned_ = false, fill_refused_ = false;
  bool settled_ = false;
  Filling filling_ = Filling::kGuest;
  std::array<uint64_t, 3> abandoned_registers_{};  // RAX, RCX, RDX
  FillAccess refused_access_ = FillAccess::kRead;

  DeviceWindow window_;
};

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
    if (uc_err error = uc_mem_map_ptr(uc_, range.first, range.size, UC_PROT_ALL, range.host)) {
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
      !translations_->hook_blocks(prices_.prices_blocks() ? on_priced_block : on_block, this) ||
      !hook(UC_HOOK_EDGE_GENERATED, on_translated) || !hook(UC_HOOK_INSN, on_in, UC_X86_INS_IN) ||
      !hook(UC_HOOK_INSN, on_out, UC_X86_INS_OUT) ||
      !hook(UC_HOOK_INSN, on_syscall, UC_X86_INS_SYSCALL) ||
      !hook(UC_HOOK_INSN, on_syscall, UC_X86_INS_SYSENTER)) {
    return HostError{"Unicorn refuses a hook"};
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
  entry->paddr = grant.physical;
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

// Everything that is translated comes by here before it executes, and is examined when it is
// entered.
void UnicornEngine::on_translated(uc_engine*, uc_tb* translated, uc_tb*, void* user) {
  auto& self = *static_cast<UnicornEngine*>(user);
  self.tlbs_->note_translation();
  const uint64_t linear = translated->pc;
  const uint32_t size = translated->size;
  // Unicorn counts the HLT that it has put there.
  const bool counts_more = self.translations_->ends_before(linear + size);
  const uint32_t instructions =
      counts_more ? self.client_->count_instructions(linear, size) : translated->icount;
  self.translations_->note_translated().block =
      Block{Block::translated(linear), self.block_tag_, size, instructions};
}

// The most frequent call of all: what is unusual happens elsewhere, so that this needs no stack.
[[gnu::aligned(64)]] void UnicornEngine::on_block(uc_engine*, uint64_t linear, uint32_t size,
                                                  void* user) {
  auto& record = *static_cast<BlockRecord*>(user);
  auto& self = *static_cast<UnicornEngine*>(record.user);
  Block& block = record.block;
  if (self.ends_inside(linear, size) || block.linear != linear || block.size != size ||
      block.tag != self.block_tag_ || self.prices_.clock().cycles() >= self.effective_deadline_)
      [[unlikely]] {
    self.enter_unusual_block(record, linear, size);
    return;
  }
  self.charge(block);
}

// The same where blocks are priced.
[[gnu::aligned(64)]] void UnicornEngine::on_priced_block(uc_engine*, uint64_t linear, uint32_t size,
                                                         void* user) {
  auto& record = *static_cast<BlockRecord*>(user);
  auto& self = *static_cast<UnicornEngine*>(record.user);
  Block& block = record.block;
  if (self.ends_inside(linear, size) || block.linear != linear || block.size != size ||
      block.tag != self.block_tag_ || self.is_due()) [[unlikely]] {
    self.enter_unusual_block(record, linear, size);
    return;
  }
  self.charge(block);
  self.client_->enter_block(*record.price, self.contexts_->general_registers());
}

// Whether the last instruction of the current block, which makes a block, was translated anew
// because it had written to its own bytes. So is the next iteration of one that has been.
bool UnicornEngine::begins_again(const Block& block, uint64_t linear, uint32_t size) const {
  const bool last = linear - current_block_->linear < current_block_->size &&
                    linear + size == current_block_->linear + current_block_->size;
  if (!last || block.linear != Block::translated(linear) || block.instructions != 1) return false;
  if (!client_->may_follow_itself(linear, size)) return true;
  return linear == current_block_->linear && current_->instructions != begun_again_;
}

[[gnu::noinline]] void UnicornEngine::enter_unusual_block(BlockRecord& entered, uint64_t linear,
                                                          uint32_t size) {
  translations_->note_entered(entered);
  const bool fresh = entered.block.linear == Block::kNone;
  const bool own = fresh || (entered.block.is_at(linear) && entered.block.size == size);
  if (!own) stray_ = BlockRecord{};
  BlockRecord& record = own ? entered : stray_;
  Block& block = record.block;
  // A store into its own block is begun again in a block that ends with it.
  if (ends_inside(linear, size)) {
    refund_from(linear);
    leave_block();
  } else if (begins_again(block, linear, size)) {
    begun_again_ = current_->instructions;
    refund_from(linear);
    leave_block();
  }
  if (is_due() && (stop_requested_ || client_->deadline_passed())) {
    stop_before_block(StopKind::kDeadline);
    return;
  }
  const bool known = block.size == size && block.tag == block_tag_;
  if (known && block.linear == Block::stopping(linear)) {
    if (breaks_conditions(record)) return stop_before_block(StopKind::kCondition);
    stop_before_unsafe();
    return;
  }
  const bool examined =
      known && (block.linear == linear || block.linear == Block::conditional(linear));
  if (!examined && !examine(record, linear, size)) return;
  if (block.linear == Block::conditional(linear)) {
    if (breaks_conditions(record)) return stop_before_block(StopKind::kCondition);
  }
  if (block.linear == linear && own) {
    charge(block);
  } else {
    kept_block_ = block;
    kept_block_.linear = linear;
    charge(kept_block_);
  }
  if (prices_.prices_blocks()) client_->enter_block(*record.price, contexts_->general_registers());
}

bool UnicornEngine::breaks_conditions(const BlockRecord& record) {
  if (mode_->conditions_hold || record.conditions == 0) return false;
  const EntryValues values = contexts_->entry_values();
  const auto holds = [&values](const EntryCondition& one) { return one.holds(values); };
  return !std::ranges::all_of(translations_->conditions(record), holds);
}

// Finds out what there is to know of the block. false: it cannot be entered as it is. What the
// engine must not execute is never part of a block that it does: where there is such an
// instruction, the block is translated once more, up to there.
bool UnicornEngine::examine(BlockRecord& record, uint64_t linear, uint32_t size) {
  Block& block = record.block;
  if (translations_->are_full()) {
    goes_on_ = stopped_ = true;  // and the block that was completed last is that still
    uc_emu_stop(uc_);
    return false;
  }
  conditions_.clear();
  const auto unsafe = client_->find_unsafe(linear, size, conditions_);
  if (unsafe && *unsafe != 0) {
    translations_->ask_again(linear, linear + *unsafe);
    goes_on_ = true;
    stop_before_block(StopKind::kDeadline);
    return false;
  }
  const bool counted =
      block.linear == Block::translated(linear) && block.size == size && block.tag == block_tag_;
  const uint32_t instructions =
      counted ? block.instructions : client_->count_instructions(linear, size);
  if (&block == current_block_) keep_current_block();
  block = Block{linear, block_tag_, size, instructions};
  record.conditions = 0;
  if (!conditions_.empty()) translations_->set_conditions(record, conditions_);
  if (unsafe) {
    block.linear = mode_->single_step ? Block::kNone : Block::stopping(linear);
    if (breaks_conditions(record)) {
      stop_before_block(StopKind::kCondition);
    } else {
      stop_before_unsafe();
    }
    return false;
  }
  if (!conditions_.empty()) block.linear = Block::conditional(linear);
  if (prices_.prices_blocks()) record.price = client_->price_block(linear, size, record.price);
  return true;
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

// Translated code survives uc_mem_write, and is dropped by linear address only: through linear
// addresses that no guest can use, and that show physical memory.
void UnicornEngine::code_written(uint64_t physical, std::span<const uint8_t> data) {
  if (data.empty()) return;
  uc_mem_write(uc_, physical, data.data(), data.size());
  filling_ = Filling::kDropWritten;
  const uint64_t linear = svm::kPhysicalLinear + physical;
  uc_ctl_remove_cache(uc_, linear, linear + data.size());
  filling_ = Filling::kGuest;
}

void UnicornEngine::refund_from(uint64_t linear) {
  Block& block = *current_block_;
  const uint64_t offset = linear - block.linear;
  if (offset >= block.size) return;  // the block is complete, or there is none
  if (offset != block.offset) {
    block.before =
        offset == 0 ? 0 : client_->count_instructions(block.linear, static_cast<unsigned>(offset));
    block.offset = static_cast<uint32_t>(offset);
  } else if (offset == 0) {
    block.before = 0;
  }
  // A page walk may have changed code that is a paging-structure entry as well.
  const uint64_t undone = block.instructions - std::min(block.before, block.instructions);
  current_->instructions -= undone;
  prices_.refund_instructions(undone);
  if (prices_.prices_blocks() && undone != 0) client_->leave_block(block.before);
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

Stop UnicornEngine::run(CpuState& state, const RunMode& mode) {
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
    if (goes_on_) go_on();
    translations_->begin_run();
    error = uc_emu_start(uc_, contexts_->rip(), 0, 0, 0);
  } while (goes_on_);
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

}  // namespace

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
