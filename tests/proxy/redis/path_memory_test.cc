#include "proxy/redis/path_memory.h"

#include <gtest/gtest.h>

namespace satchel::redis {
namespace {

TEST(PathMemoryTest, APathIsRememberedForAWhile) {
  PathMemory memory;
  EXPECT_FALSE(memory.Contains(7, 0));
  memory.Remember(7, 1000);
  EXPECT_TRUE(memory.Contains(7, 1000 + PathMemory::kFor - 1));
  EXPECT_FALSE(memory.Contains(7, 1000 + PathMemory::kFor));
  memory.Remember(7, 1000);
  memory.Forget(7);
  EXPECT_FALSE(memory.Contains(7, 1001));
}

TEST(PathMemoryTest, ANewerPathTakesTheOldersPlaceAndIsNotTakenForIt) {
  PathMemory memory(4);
  memory.Remember(1, 0);
  memory.Remember(5, 0);
  EXPECT_FALSE(memory.Contains(1, 1));
  EXPECT_TRUE(memory.Contains(5, 1));
  memory.Forget(1);
  EXPECT_TRUE(memory.Contains(5, 1));
}

}  // namespace
}  // namespace satchel::redis
