// SPDX-License-Identifier: GPL-2.0-or-later

// What a user is told where KVM offers no VMX. Without KVM.

#include "emu/native/vmx_support.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

namespace nestor::emu::native {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

std::unique_ptr<Cpuid> cpuid_of(bool intel, bool vmx) {
  auto cpuid = std::make_unique<Cpuid>();
  cpuid->count = 2;
  cpuid->entries[0].function = 0;
  cpuid->entries[0].ebx = intel ? 0x756e'6547 : 0x6874'7541;
  cpuid->entries[0].edx = intel ? 0x4965'6e69 : 0x6974'6e65;
  cpuid->entries[0].ecx = intel ? 0x6c65'746e : 0x444d'4163;
  cpuid->entries[1].function = 1;
  cpuid->entries[1].ecx = vmx ? 0x20 : ~0x20U;
  return cpuid;
}

/// A folder as /sys/module, which goes away with the test.
class VmxSupport : public testing::Test {
 protected:
  VmxSupport() {
    std::string name = testing::TempDir() + "nestor-modules-XXXXXX";
    folder_ = mkdtemp(name.data());
  }
  ~VmxSupport() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  void load(const std::string& module, const std::string& nested) {
    fs::create_directories(folder_ + "/" + module + "/parameters");
    if (!nested.empty()) {
      std::ofstream(folder_ + "/" + module + "/parameters/nested") << nested << "\n";
    }
  }
  std::string explain(bool intel) { return explain_missing_vmx(*cpuid_of(intel, false), folder_); }

 private:
  std::string folder_;
};

TEST_F(VmxSupport, IsABitOfLeaf1) {
  EXPECT_TRUE(has_vmx(*cpuid_of(true, true)));
  EXPECT_FALSE(has_vmx(*cpuid_of(true, false)));
  EXPECT_FALSE(has_vmx(Cpuid{.count = 0}));
}

TEST_F(VmxSupport, NestingThatIsOffCanBeTurnedOn) {
  load("kvm", "");
  load("kvm_intel", "N");
  EXPECT_THAT(explain(true), HasSubstr("(processor GenuineIntel, module kvm_intel, nested=N): "
                                       "allow it with: modprobe -r kvm_intel"));
}

TEST_F(VmxSupport, ProcessorsOfAmdHaveNone) {
  load("kvm_amd", "1");
  EXPECT_THAT(explain(false), HasSubstr("(processor AuthenticAMD, module kvm_amd, nested=1): its "
                                        "processors have SVM"));
}

TEST_F(VmxSupport, NeitherHasPvm) {
  load("kvm_pvm", "");
  EXPECT_THAT(explain(true), HasSubstr("(processor GenuineIntel, module kvm_pvm): PVM has no"));
}

TEST_F(VmxSupport, AnUnknownModuleIsSaidToBeUnknown) {
  const std::string text = explain(true);
  EXPECT_THAT(text, HasSubstr("KVM's module is unknown): use a host with kvm_intel"));
  EXPECT_THAT(text, testing::Not(HasSubstr("\n")));
}

}  // namespace
}  // namespace nestor::emu::native
