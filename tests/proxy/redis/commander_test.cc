#include "proxy/redis/commander.h"

#include <gtest/gtest.h>

namespace satchel::redis {
namespace {

TEST(HashTagTest, IsWhatStandsInTheFirstBraces) {
  EXPECT_EQ(HashTag("satchel:1:{abc}:v"), "abc");
  EXPECT_EQ(HashTag("{abc}"), "abc");
  EXPECT_EQ(HashTag("foo{{bar}}zap"), "{bar");
  EXPECT_EQ(HashTag("foo{bar}{zap}"), "bar");
}

TEST(HashTagTest, IsTheWholeKeyWithoutAProperPair) {
  for (const char* key : {"", "abc", "a{}b", "a{b", "a}b{", "{}{abc}"}) {
    EXPECT_EQ(HashTag(key), key);
  }
}

TEST(ScriptArgumentsTest, KnowTheirFirstKey) {
  ScriptArguments arguments;
  EXPECT_EQ(arguments.first_key(), "");
  arguments.Key("one").Key("three").Arg(int64_t{3});
  EXPECT_EQ(arguments.first_key(), "one");
}

}  // namespace
}  // namespace satchel::redis
