#include "proxy/redis/vary_memory.h"

#include <gtest/gtest.h>

namespace satchel::redis {
namespace {

cache::VarySpec By(std::vector<std::string> names) { return {false, std::move(names)}; }

TEST(VaryMemoryTest, KnowsWhatItWasToldUntilItIsToldOtherwise) {
  VaryMemory memory(8);
  EXPECT_EQ(memory.Find(1), nullptr);
  memory.Remember(1, By({"a"}));
  ASSERT_NE(memory.Find(1), nullptr);
  EXPECT_EQ(*memory.Find(1), By({"a"}));
  memory.Remember(1, By({"b"}));
  EXPECT_EQ(*memory.Find(1), By({"b"}));
  memory.Forget(1);
  EXPECT_EQ(memory.Find(1), nullptr);
}

TEST(VaryMemoryTest, ANewerUrlTakesTheOldersPlace) {
  VaryMemory memory(8);
  memory.Remember(1, By({"a"}));
  memory.Forget(9);  // the same place, another URL
  EXPECT_NE(memory.Find(1), nullptr);
  memory.Remember(9, By({"b"}));
  EXPECT_EQ(memory.Find(1), nullptr);
  EXPECT_NE(memory.Find(9), nullptr);
}

TEST(VaryMemoryTest, RefusesWhatIsTooMuchToRemember) {
  VaryMemory memory(8);
  memory.Remember(1, By({"a"}));
  memory.Remember(1, By(std::vector<std::string>(17, "x")));
  EXPECT_EQ(memory.Find(1), nullptr);
  memory.Remember(1, By({std::string(513, 'x')}));
  EXPECT_EQ(memory.Find(1), nullptr);
  memory.Remember(1, {true, {}});
  EXPECT_EQ(memory.Find(1), nullptr);
}

}  // namespace
}  // namespace satchel::redis
