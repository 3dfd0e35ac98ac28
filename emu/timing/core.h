// SPDX-License-Identifier: GPL-2.0-or-later
//
// The core of a processor as a run takes its time: blocks of code that are entered one after the
// other, and what comes between them.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "emu/decode/instruction.h"
#include "emu/timing/access_slices.h"
#include "emu/timing/accumulator.h"
#include "emu/timing/branches.h"
#include "emu/timing/caches.h"
#include "emu/timing/core_events.h"
#include "emu/timing/memory_timing.h"
#include "emu/timing/memory_view.h"
#include "emu/timing/processor.h"
#include "emu/timing/system_prices.h"
#include "emu/timing/translation_costs.h"

namespace nestor::emu::timing {

// A block of code that a run has entered, or is about to.
struct PricedBlock {
  uint64_t linear = 0;
  CodeMode mode = CodeMode::k64;
  std::vector<uint8_t> code, lengths;  // of its instructions
  Piece piece;
  bool cacheable = true;        // in the decoded ICache
  uint32_t default_priced = 0;  // instructions
  BranchKind ends_in = BranchKind::kNone;
  Values branch_waits = 0;  // for these,
  Ticks branch_takes = 0;   // and then so long
  uint32_t profiled = 0;    // its number in a profile, if there is one
  AccessSlices slices{};    // where accesses are followed
  // The same as `piece`, once a load was slow; a function of the code alone.
  mutable std::vector<DependencyStep> steps{};
};

// The blocks of a machine, and what they cost. Their places stay until clear().
class BlockPrices {
 public:
  // `follows_accesses`: blocks are entered with a MemoryView.
  // `observes_accesses`, too: what they access is reported while they execute.
  explicit BlockPrices(const Processor& processor, bool follows_accesses = false,
                       bool observes_accesses = false)
      : processor_(processor),
        follows_accesses_(follows_accesses),
        observes_accesses_(observes_accesses) {}

  const Processor& processor() const { return processor_; }
  bool follows_accesses() const { return follows_accesses_; }
  bool observes_accesses() const { return observes_accesses_; }
  void price(PricedBlock& block) const;
  // What it costs to execute no more than the first instructions.
  Piece part_of(const PricedBlock& block, size_t instructions) const;
  void find_steps(const PricedBlock& block) const;

  PricedBlock& add() { return blocks_.emplace_back(); }
  void clear() { blocks_.clear(); }

 private:
  const Processor& processor_;
  const bool follows_accesses_, observes_accesses_;
  std::deque<PricedBlock> blocks_;
};

// Which code the decoded ICache holds: 32 sets of 8 lines, each of 32 bytes of code. That a line
// holds 6 micro-operations, and 32 bytes take up to 3 lines, is left out.
class DecodedCache {
 public:
  // Whether all of the code is there; it is from now on.
  bool hold(uint64_t first, uint64_t last) {
    bool held = true;
    for (uint64_t line = first / kLine; line <= last / kLine; ++line) held &= hold_line(line);
    return held;
  }
  template <typename Archive>
  void serialize(Archive& archive) {
    archive(lines_, next_);
    if (archive.loads()) last_ = {};
    for (const uint8_t next : next_) archive.require(next < kWays);
  }

 private:
  static constexpr size_t kLine = 32, kSets = 32, kWays = 8;

  bool hold_line(uint64_t line) {
    const size_t set = line % kSets;
    uint64_t& last = last_[set];
    if (last == line) return true;
    last = line;
    for (const uint64_t held : lines_[set])
      if (held == line) return true;
    lines_[set][next_[set]] = line;
    next_[set] = static_cast<uint8_t>((next_[set] + 1) % kWays);
    return false;
  }

  std::array<std::array<uint64_t, kWays>, kSets> lines_{};  // 0: none, as no code is there
  std::array<uint8_t, kSets> next_{};                       // that makes room
  std::array<uint64_t, kSets> last_{};  // of each set, that was asked for last: it is there
};

class Core {
 public:
  // `blocks` outlives it.
  explicit Core(BlockPrices& blocks)
      : blocks_(blocks),
        accumulator_(blocks.processor()),
        caches_(blocks.processor().memory),
        translations_(blocks.processor(), caches_),
        memory_(blocks.processor().memory) {
    set_level(false);
  }
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // The price of the block, in the place of another one, if that is not null.
  PricedBlock& price(std::span<const uint8_t> code, std::vector<uint8_t> lengths, uint64_t linear,
                     CodeMode mode, PricedBlock* place);
  // All prices go.
  void drop_prices();

  // The block is executed, with these 16 general registers. Cycles that pass.
  uint64_t enter(const PricedBlock& block, const uint64_t* registers);
  // The same, and its accesses go through TLBs and caches.
  uint64_t enter(const PricedBlock& block, const EntryState& entry, MemoryView& view);
  bool follows_accesses() const { return blocks_.follows_accesses(); }

  // --- accesses that are reported, while the block that was entered last executes
  // Its price is that without them until it is complete: when the next one is entered, or
  // complete() is called, they go through TLBs and caches, in their order.
  bool observes() const { return observing_ != nullptr; }
  struct Observed {
    uint64_t instruction = 0, linear = 0;  // linear addresses
    uint64_t physical = 0;                 // what `linear` led to
    bool writes = false;
  };
  void observe(const Observed& access);
  // Where it was, or for what, is not known.
  void observe_unexplained() { ++counts_->unknown_accesses; }
  // Cycles that pass because of the accesses.
  int64_t complete();

  // From now on addresses are translated by these translations.
  void use_translations(const ept::MappingTag& tag) { translations_.select(tag); }
  // WBINVD, INVD.
  void empty_caches() { caches_.clear(); }
  // Of code that is not kept: its price, to be entered at once.
  const PricedBlock& price(std::span<const uint8_t> code, std::vector<uint8_t> lengths,
                           uint64_t linear, CodeMode mode) {
    return price(code, std::move(lengths), linear, mode, &kept_);
  }
  // Of the block that was entered last only so many instructions were executed. Cycles that pass
  // because of that; less than 0.
  int64_t leave(size_t instructions);
  // The same, all but the last one.
  int64_t leave_last() { return leave(last_ != nullptr ? last_->lengths.size() - 1 : 0); }
  // What was entered last is left no more.
  void settle() {
    observing_ = nullptr;
    last_ = nullptr;
  }
  uint64_t price(SystemCost cost) const { return system_price(blocks_.processor(), cost); }
  const Processor& processor() const { return blocks_.processor(); }
  // Everything has retired before what follows begins.
  void serialize_execution() {
    accumulator_.start_anew();
    branch_ = {};
  }

  // What was counted of the code that was entered.
  struct Counts {
    uint64_t default_priced = 0;  // instructions that the tables lack
    // Direct jumps are none of these, nor is what was interrupted before its target.
    uint64_t branches = 0, mispredicted = 0;
    uint64_t executed_branches = 0;  // all of them
    // Where accesses are followed: lines of code from below the first level, stores whose line was
    // not there, accesses that were not followed, and where loads came from.
    uint64_t code_misses = 0, store_misses = 0, stores = 0, unknown_accesses = 0;
    uint64_t data_fills = 0;  // lines that came into the first-level data cache
    std::array<uint64_t, static_cast<size_t>(LoadedFrom::kCount)> loads{};
    void operator+=(const Counts& other) {
      code_misses += other.code_misses;
      store_misses += other.store_misses;
      data_fills += other.data_fills;
      stores += other.stores;
      unknown_accesses += other.unknown_accesses;
      for (size_t i = 0; i < loads.size(); ++i) loads[i] += other.loads[i];
      default_priced += other.default_priced;
      branches += other.branches;
      mispredicted += other.mispredicted;
      executed_branches += other.executed_branches;
    }
  };
  // Whose code it is that is entered from now on: that of L1 or, if so, of L2.
  void set_level(bool in_l2) {
    counts_ = &levels_[in_l2].code;
    translations_.count_in(levels_[in_l2].translations);
    caches_.count_in(levels_[in_l2].caches);
  }
  struct LevelCounts {
    Counts code;
    TranslationCosts::Counts translations;
    Caches::Counts caches;
    void operator+=(const LevelCounts& other) {
      code += other.code;
      translations += other.translations;
      caches += other.caches;
    }
  };
  // Of L1 and L2; since the last load, if there was one.
  using LevelsCounts = std::array<LevelCounts, 2>;
  const LevelsCounts& counts() const { return levels_; }
  // Since power-up.
  CoreEvents events() const;
  TranslationCosts& translations() { return translations_; }
  const TranslationCosts& translations() const { return translations_; }

  template <typename Archive>
  void serialize(Archive& archive) {
    accumulator_.serialize(archive);
    decoded_.serialize(archive);
    branches_.serialize(archive);
    caches_.serialize(archive);
    translations_.serialize(archive);
    memory_.serialize(archive);
    archive.sequence(delays_, kMaxAccesses);
    archive(branch_, last_front_end_);
    CoreEvents until_now = events();
    archive(until_now);
    if (archive.loads()) {
      levels_ = {};
      events_before_ = until_now;
    }
    archive.require(last_front_end_ <= FrontEnd::kDsb && branch_.kind <= BranchKind::kJump);
    bool keeps = last_ == &kept_;
    archive(keeps);
    if (!keeps) {
      if (archive.loads()) last_ = nullptr;
      return;
    }
    constexpr size_t kMostBytes = 1 << 13;
    archive(kept_.linear, kept_.mode);
    archive.sequence(kept_.code, kMostBytes);
    archive.sequence(kept_.lengths, kMostBytes);
    if (archive.loads()) resume_kept(archive.ok());
    archive.require(kept_.mode <= CodeMode::k64 && last_ == &kept_);
  }

 private:
  // The branch at the end of the block that was entered last.
  struct Branch {
    BranchKind kind = BranchKind::kNone;
    uint64_t end = 0;
    Values waits = 0;
    Ticks takes = 0;
    template <typename Archive>
    void fields(Archive& archive) {
      archive(kind, end, waits, takes);
    }
  };
  // It has led to `target`.
  void resolve_branch(uint64_t target);

  static uint64_t cycles(Ticks ticks) { return ticks / kTicksPerCycle; }
  // What entering a block begins with.
  void begin(const PricedBlock& block);
  // --- accesses
  static constexpr size_t kMaxAccesses = 1 << 14;
  // Whether one of them is slow, or may have to wait.
  bool find_accesses(const PricedBlock& block, const EntryState& entry, MemoryView& view);
  // One step of the slices. false: what follows cannot be followed.
  bool follow(const AccessSlices::Step& step, const EntryState& entry, MemoryView& view);
  bool use(AccessKind kind, uint64_t linear, MemoryView& view);
  struct Located {
    uint64_t physical = kOutsideRam;
    uint32_t cycles = 0;
    bool walks = false;
  };
  Located locate(uint64_t linear, TranslationFor reason, MemoryView& view);
  void fetch_lines(const PricedBlock& block, MemoryView& view);
  void add_slowly(const PricedBlock& block, const uint64_t* registers);
  uint64_t enter_observed(const PricedBlock& block, const EntryState& entry, MemoryView& view);
  // The observed accesses of the block that was entered last, of which only so many instructions
  // were executed.
  void add_observed(size_t instructions);
  bool use_observed();
  // By instruction of the block that was entered last.
  Ticks delay(const PricedBlock& block, size_t instruction, Ticks ready, Ticks& stored);
  // The block that was entered last is about to go, or to become another one.
  void keep_last();
  void resume_kept(bool makes_sense);

  BlockPrices& blocks_;
  Accumulator accumulator_;
  DecodedCache decoded_;
  const PricedBlock* last_ = nullptr;  // entered, and may be left early
  FrontEnd last_front_end_ = FrontEnd::kLegacy;
  PricedBlock kept_;
  BranchPredictor branches_;
  Branch branch_;
  Caches caches_;
  TranslationCosts translations_;
  MemoryTiming memory_;
  std::vector<MemoryAccess> accesses_;  // of the block that is being entered
  std::vector<uint64_t> values_;        // of its slices
  // By instruction of the block that was entered last: by how much its load was late. Empty: by
  // nothing.
  std::vector<Ticks> delays_;
  MemoryView* observing_ = nullptr;  // through this, what comes of the block that was entered last
  bool observed_waits_ = false;      // it may have to wait for what was missed before
  std::vector<Observed> observed_;
  std::vector<AccessSlices::OfInstruction> observed_of_;  // by instruction, into accesses_
  LevelsCounts levels_;
  CoreEvents events_before_;  // before levels_ began
  Counts* counts_ = &levels_[0].code;
};

}  // namespace nestor::emu::timing
