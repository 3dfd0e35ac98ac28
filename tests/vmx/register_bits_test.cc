// SPDX-License-Identifier: GPL-2.0-or-later
//
// The numbers of the bits in control registers, IA32_EFER and RFLAGS ("Control Registers", volume
// 3A; "EFLAGS Register", volume 1), and of exceptions ("Protected-Mode Exceptions and Interrupts").
#include <gtest/gtest.h>

#include "vmx/cpu_state.h"

namespace nestor::vmx {
namespace {

struct Bit {
  uint64_t mask;
  unsigned number;
};

TEST(RegisterBits, AreWhereTheManualPutsThem) {
  constexpr Bit kBits[] = {
      {cr0::kPe, 0},       {cr0::kMp, 1},          {cr0::kEm, 2},        {cr0::kTs, 3},
      {cr0::kEt, 4},       {cr0::kNe, 5},          {cr0::kWp, 16},       {cr0::kAm, 18},
      {cr0::kNw, 29},      {cr0::kCd, 30},         {cr0::kPg, 31},       {cr4::kVme, 0},
      {cr4::kPvi, 1},      {cr4::kTsd, 2},         {cr4::kDe, 3},        {cr4::kPse, 4},
      {cr4::kPae, 5},      {cr4::kMce, 6},         {cr4::kPge, 7},       {cr4::kPce, 8},
      {cr4::kOsfxsr, 9},   {cr4::kOsxmmexcpt, 10}, {cr4::kUmip, 11},     {cr4::kLa57, 12},
      {cr4::kVmxe, 13},    {cr4::kSmxe, 14},       {cr4::kFsgsbase, 16}, {cr4::kPcide, 17},
      {cr4::kOsxsave, 18}, {cr4::kSmep, 20},       {cr4::kSmap, 21},     {cr4::kPke, 22},
      {cr4::kCet, 23},     {efer::kSce, 0},        {efer::kLme, 8},      {efer::kLma, 10},
      {efer::kNxe, 11},    {rflags::kCf, 0},       {rflags::kFixed1, 1}, {rflags::kPf, 2},
      {rflags::kAf, 4},    {rflags::kZf, 6},       {rflags::kSf, 7},     {rflags::kTf, 8},
      {rflags::kIf, 9},    {rflags::kDf, 10},      {rflags::kOf, 11},    {rflags::kNt, 14},
      {rflags::kRf, 16},   {rflags::kVm, 17},      {rflags::kAc, 18},    {rflags::kVif, 19},
      {rflags::kVip, 20},  {rflags::kId, 21},
  };
  for (const Bit& bit : kBits) EXPECT_EQ(bit.mask, uint64_t{1} << bit.number) << bit.number;
  EXPECT_EQ(rflags::kIopl, 0x3000u);
}

TEST(RegisterBits, Vectors) {
  constexpr unsigned kVectors[][2] = {{kDe, 0},  {kDb, 1},    {kNmi, 2}, {kBp, 3},  {kOf, 4},
                                      {kBr, 5},  {kUd, 6},    {kNm, 7},  {kDf, 8},  {kTs, 10},
                                      {kNp, 11}, {kSs12, 12}, {kGp, 13}, {kPf, 14}, {kMf, 16},
                                      {kAc, 17}, {kMc, 18},   {kXm, 19}, {kVe, 20}, {kCp, 21}};
  for (const auto& [vector, number] : kVectors) EXPECT_EQ(vector, number);
}

}  // namespace
}  // namespace nestor::vmx
