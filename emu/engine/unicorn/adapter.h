// SPDX-License-Identifier: GPL-2.0-or-later
//
// What Unicorn is made into: unicorn_engine.cc starts and stops it, block_hooks.cc is what happens
// at the start of each block.
#pragma once

#include <unicorn/unicorn.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "emu/engine/engine.h"
#include "emu/engine/unicorn/device_window.h"
#include "emu/engine/unicorn/processor_contexts.h"
#include "emu/engine/unicorn/tlb_images.h"
#include "emu/engine/unicorn/translations.h"

namespace nestor::emu {

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
  Stop run(vmx::CpuState& state, const RunMode& mode) override;
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
  void move_ram(uint64_t physical) override { movable_.first = physical; }
  void code_written(uint64_t physical, std::span<const uint8_t> data) override;
  uint64_t live_rflags() const override { return contexts_->steady_rflags(); }
  uint32_t mxcsr() const override { return contexts_->mxcsr(); }

 private:
  // Whom a page miss is for: the guest, or who drops translations, of some code or all.
  enum class Filling : uint8_t { kGuest, kDropWritten, kDropAll };

  static bool on_fill(uc_engine*, uint64_t linear, uc_mem_type type, uc_tlb_entry* entry, void*);
  static void on_interrupt(uc_engine*, uint32_t number, void*);
  static void on_block(uc_engine*, uint64_t linear, uint32_t size, void*);
  // What is reported of a block that is entered, beside what it is.
  enum class Report : uint8_t { kPrice, kAccesses, kProfile, kProfileAndAccesses };
  template <Report kReport>
  static void on_reported_block(uc_engine*, uint64_t linear, uint32_t size, void*);
  using BlockHook = void(uc_engine*, uint64_t linear, uint32_t size, void*);
  BlockHook* block_hook() const;
  static void on_translated(uc_engine*, uc_tb* block, uc_tb*, void*);
  static uint32_t on_in(uc_engine*, uint32_t, int, void*);
  static void on_out(uc_engine*, uint32_t, int, uint32_t, void*);
  static void on_syscall(uc_engine*, void*);
  static uint64_t on_read(uc_engine*, uint64_t offset, unsigned size, void*);
  static void on_access(uc_engine*, uc_mem_type type, uint64_t physical, int size, int64_t value,
                        void*);
  static void on_write(uc_engine*, uint64_t offset, unsigned size, uint64_t value, void*);

  // Whether a block ends inside the current one.
  bool ends_inside(uint64_t linear, uint32_t size) const {
    return linear + size - current_block_->linear - 1 < current_block_->size - 1;
  }
  // The client is to charge it.
  void report(const BlockRecord& record) {
    const uint64_t* const registers = contexts_->general_registers();
    if (prices_.follows_accesses()) {
      client_->follow_block(*record.price, registers, contexts_->segment_bases());
    } else if (prices_.prices_blocks()) {
      client_->enter_block(*record.price, registers);
    }
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
  // The block before which it has stopped, or all of them. The block that was completed last stays
  // that.
  void translate_anew() {
    translates_anew_ = stopped_ = false;
    if (translations_->are_full()) {
      drop_translations();
    } else {
      translations_->translate_again();
    }
    translations_->begin_run();
  }
  uint64_t window_page(uint64_t physical);
  // Where Unicorn has RAM.
  uint64_t place_of(uint64_t physical) const {
    const uint64_t offset = physical - movable_.first;
    return offset < movable_.size ? svm::kMovable + offset : physical;
  }

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
  BlockRecord stray_;               // of a block whose translation has that of another one
  uint64_t begun_again_ = ~0ull;    // when so many instructions had been charged
  EntryConditions conditions_;      // of the block that is looked at
  bool translates_anew_ = false;    // translate_anew() must follow
  vmx::CpuState* state_ = nullptr;  // that run() was given, and the mode
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
  RamRange movable_{};  // where it is for the guest; empty: there is none
};

}  // namespace nestor::emu
