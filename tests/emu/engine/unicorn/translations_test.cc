// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the engine has translated is bounded, and nothing is seen of that.
#include "emu/engine/unicorn/translations.h"

#include <malloc.h>

#include <algorithm>

#include "tests/emu/engine/unicorn/engine_fixture.h"

namespace nestor::emu {
namespace {

// Blocks of one instruction: JMP to the next one.
Code jumps(size_t count) {
  Code code(2 * count);
  for (size_t i = 0; i < count; ++i) code[2 * i] = 0xeb;
  return code;
}

// Unicorn by itself, with a hook that counts blocks.
class UnicornTranslations : public testing::Test {
 protected:
  static constexpr uint64_t kCode = 0x10000, kSize = 0x100000;

  UnicornTranslations() {
    EXPECT_EQ(uc_open(UC_ARCH_X86, UC_MODE_64, &uc_), UC_ERR_OK);
    translations_.emplace(uc_, Translations::Limits{1 << 20, 1000});
    EXPECT_EQ(uc_mem_map(uc_, kCode, kSize, UC_PROT_ALL), UC_ERR_OK);
    uc_hook handle;
    EXPECT_EQ(uc_hook_add(uc_, &handle, UC_HOOK_EDGE_GENERATED,
                          reinterpret_cast<void*>(on_translated), this, 1, 0),
              UC_ERR_OK);
    EXPECT_TRUE(translations_->hook_blocks(on_block, this));
  }
  ~UnicornTranslations() override { uc_close(uc_); }

  static void on_block(uc_engine*, uint64_t linear, uint32_t size, void* entered) {
    const auto& record = *static_cast<BlockRecord*>(entered);
    auto& test = *static_cast<UnicornTranslations*>(record.user);
    ++test.executed_;
    test.translations_->note_entered(record);
    test.strange_ += record.block.linear != linear || record.block.size != size;
  }
  static void on_translated(uc_engine*, uc_tb* block, uc_tb*, void* self) {
    auto& test = *static_cast<UnicornTranslations*>(self);
    ++test.translated_;
    test.translations_->note_translated().block = Block{block->pc, 0, block->size, block->icount};
  }
  void run(uint64_t first, size_t count) {
    Code code = jumps(count);
    code.push_back(0xf4);  // HLT
    ASSERT_EQ(uc_mem_write(uc_, first, code.data(), code.size()), UC_ERR_OK);
    ASSERT_EQ(uc_emu_start(uc_, first, 0, 0, 0), UC_ERR_OK);
  }

  uc_engine* uc_ = nullptr;
  std::optional<Translations> translations_;
  unsigned executed_ = 0, translated_ = 0;
  unsigned strange_ = 0;  // entered with a record that says nothing, or of another block
};

TEST_F(UnicornTranslations, AreFullAtTheirLimitAndEmptyWhenDropped) {
  run(kCode, 900);
  EXPECT_FALSE(translations_->are_full());
  run(kCode + 0x1000, 200);
  EXPECT_TRUE(translations_->are_full());
  translations_->drop();
  EXPECT_FALSE(translations_->are_full());

  executed_ = translated_ = 0;
  run(kCode, 900);
  EXPECT_EQ(executed_, 901u);
  EXPECT_EQ(translated_, 901u);
  run(kCode, 900);
  EXPECT_EQ(executed_, 1802u);
  EXPECT_EQ(translated_, 901u);
}

// All but the very first, of which Unicorn says nothing.
TEST_F(UnicornTranslations, HaveARecordEach) {
  translations_->begin_run();
  run(kCode, 900);
  EXPECT_EQ(strange_, 1u);
  translations_->drop();
  strange_ = 0;
  for (unsigned i = 0; i < 3; ++i) run(kCode, 900);
  // Written over by blocks of another size, and back.
  const Code longer(1000, 0x90);
  ASSERT_EQ(uc_mem_write(uc_, kCode + 0x10, longer.data(), longer.size()), UC_ERR_OK);
  uc_ctl_remove_cache(uc_, kCode, kCode + 0x1000);
  ASSERT_EQ(uc_emu_start(uc_, kCode, 0, 0, 0), UC_ERR_OK);
  run(kCode, 900);
  EXPECT_EQ(strange_, 0u);
  EXPECT_GT(executed_, 4 * 900u);
}

// Heap that is in use, in bytes.
size_t heap() { return mallinfo2().uordblks; }

TEST_F(UnicornTranslations, LeaveNoMemoryBehind) {
  constexpr size_t kBlocks = 1000;
  const auto round = [&](unsigned which) {
    run(kCode + which * 2048, kBlocks);
    translations_->drop();
  };
  for (unsigned i = 0; i < 10; ++i) round(i);
  const size_t before = heap();
  for (unsigned i = 10; i < 210; ++i) round(i);
  // 200,000 blocks.
  EXPECT_LT(heap(), before + 200 * kBlocks);
}

// Unicorn itself begins anew when its buffer is full.
TEST_F(UnicornTranslations, OverflowTheirBuffer) {
  run(kCode, 20'000);
  EXPECT_GE(executed_, 20'001u);
}

class EngineTranslations : public EngineTest {};

TEST_F(EngineTranslations, OfCodeThatExecutesOnceAreDropped) {
  constexpr uint64_t kFirst = 0x100000, kBlocks = (1u << 18) + 1000;
  static_assert(kBlocks > Translations::Limits{}.blocks && kFirst + 2 * kBlocks < kRamSize);
  Code code = jumps(kBlocks);
  code.push_back(0xf4);
  put_code(code, kFirst);
  vmx::CpuState state = long_mode();
  state.rip = kFirst;
  const auto registers = state.gpr;
  const Stop stop = run(state);
  EXPECT_EQ(stop.kind, StopKind::kInstruction);
  EXPECT_EQ(state.rip, kFirst + 2 * kBlocks);
  EXPECT_EQ(state.gpr, registers);
  EXPECT_EQ(context_.instructions, kBlocks);
  EXPECT_EQ(clock_.cycles(), kBlocks);
  // The TLB was emptied with them.
  const auto fetches = [&](uint64_t page) {
    return std::ranges::count(fills_, Fill{page, FillAccess::kFetch});
  };
  const uint64_t last = kFirst + 2 * Translations::Limits{}.blocks;
  EXPECT_EQ(fetches(kFirst), 1);
  EXPECT_EQ(fetches(last - kPage) + fetches(last), 3);
}

// What must end early does so again, and the block before it counts as completed.
TEST_F(EngineTranslations, ThatEndEarlyDoSoAgain) {
  constexpr uint64_t kFirst = 0x100000;
  const uint64_t blocks = Translations::Limits{}.blocks;
  for (const uint64_t before : {blocks - 2, blocks - 1, blocks, blocks + 1}) {
    SCOPED_TRACE(before);
    Code code = jumps(before);
    const Code end = ASM64("nop; nop; insb; hlt");
    code.insert(code.end(), end.begin(), end.end());
    put_code(code, kFirst);
    vmx::CpuState state = long_mode();
    state.rip = kFirst;
    context_.instructions = 0;
    const Stop stop = run(state);
    EXPECT_EQ(stop.kind, StopKind::kInstruction);
    EXPECT_TRUE(stop.unsafe);
    EXPECT_EQ(state.rip, kFirst + 2 * before + 2);
    EXPECT_EQ(stop.completed, kFirst + 2 * before);
    EXPECT_EQ(stop.completed_size, 2u);
    EXPECT_EQ(context_.instructions, before + 2);
    engine_->resume(&context_);
  }
}

}  // namespace
}  // namespace nestor::emu
