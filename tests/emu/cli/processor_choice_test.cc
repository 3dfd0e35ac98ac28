// SPDX-License-Identifier: GPL-2.0-or-later
#include "emu/cli/processor_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nestor::emu {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using vmx::Feature;

vmx::ProcessorType parsed(std::string_view text) {
  auto result = parse_processor(text);
  if (const auto* bad = std::get_if<std::string>(&result)) {
    ADD_FAILURE() << *bad;
    return {};
  }
  return std::get<vmx::ProcessorType>(result);
}
std::string complaint(std::string_view text) {
  auto result = parse_processor(text);
  const auto* bad = std::get_if<std::string>(&result);
  return bad != nullptr ? *bad : "";
}

TEST(ProcessorChoice, AModelHasItsFeatures) {
  for (const vmx::ProcessorModel& model : vmx::kProcessorModels)
    EXPECT_EQ(parsed(model.name), vmx::processor_of(model.generation));
  EXPECT_EQ(default_processor_name(), "Icelake-Server");
}

TEST(ProcessorChoice, FeaturesComeAndGo) {
  EXPECT_FALSE(parsed("Icelake-Server,-invpcid").has(Feature::kInvpcid));
  EXPECT_FALSE(parsed("Icelake-Server,-invpcid").has(Feature::kVmxInvpcid));
  EXPECT_TRUE(parsed("Westmere,+smep").has(Feature::kSmep));
  EXPECT_TRUE(parsed("Westmere,+vmx-eptad,+vmx-pml").has(Feature::kVmxPml));
  EXPECT_FALSE(parsed("Icelake-Server,-umip,+smep,-pku").has(Feature::kUmip));
  EXPECT_TRUE(parsed("Icelake-Server,-umip,+umip").has(Feature::kUmip)) << "the last word counts";
  EXPECT_TRUE(parsed("Westmere,+tsc_adjust").has(Feature::kTscAdjust));
  EXPECT_EQ(parsed("Icelake-Server,-avx"), vmx::ProcessorType{}) << "there was none";
}

TEST(ProcessorChoice, ComplaintsSayWhatIsMeant) {
  EXPECT_THAT(complaint("Icelake"), HasSubstr("did you mean 'Icelake-Server'?"));
  EXPECT_THAT(complaint("westmere"), HasSubstr("did you mean 'Westmere'?"));
  EXPECT_THAT(complaint("Pentium"), AllOf(HasSubstr("'Pentium' is no model"), HasSubstr("help")));
  EXPECT_THAT(complaint(""), HasSubstr("is no model"));
  EXPECT_THAT(complaint("Westmere,-invcpid"), HasSubstr("did you mean 'invpcid'?"));
  EXPECT_THAT(complaint("Westmere,+quantum"), HasSubstr("'quantum' is no feature"));
  EXPECT_THAT(complaint("Icelake-Server,+avx"), HasSubstr("'avx' cannot be added: it is not impl"));
  EXPECT_THAT(complaint("Icelake-Server,+shstk"), HasSubstr("not implemented"));
  EXPECT_THAT(complaint("Westmere,+vmx-pml"), HasSubstr("cannot be added without 'vmx-eptad'"));
  EXPECT_THAT(complaint("Westmere,smep"), HasSubstr("neither +FEATURE nor -FEATURE"));
  EXPECT_THAT(complaint("Westmere,"), HasSubstr("neither"));
  EXPECT_THAT(complaint("Westmere,-"), HasSubstr("neither"));
  EXPECT_THAT(complaint("Icelake-Server,-fpu"), HasSubstr("'fpu' is no feature"));
}

TEST(ProcessorChoice, HelpListsAll) {
  const std::string help = processor_help();
  for (const vmx::ProcessorModel& model : vmx::kProcessorModels)
    EXPECT_THAT(help, HasSubstr(std::string(model.brand)));
  for (const vmx::NamedFeature& feature : vmx::kNamedFeatures)
    EXPECT_THAT(help, HasSubstr(std::string(feature.name)));
  EXPECT_THAT(help, HasSubstr("06_6AH stepping 6 (the default)"));
  EXPECT_THAT(help, Not(HasSubstr("avx")));
}

}  // namespace
}  // namespace nestor::emu
