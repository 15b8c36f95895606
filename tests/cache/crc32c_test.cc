#include "cache/base/crc32c.h"

#include <gtest/gtest.h>

#include "tests/cache/memory_support.h"

namespace satchel::cache {
namespace {

TEST(Crc32cTest, GivesTheValuesOfRfc3720) {
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(Crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(Crc32c(""), 0u);
}

TEST(Crc32cTest, TableAndInstructionAgreeAtEveryLengthAndOffset) {
  const std::string bytes = testing::Pattern(100);
  for (size_t from = 0; from < 9; ++from) {
    for (size_t size = 0; size + from <= bytes.size(); ++size) {
      const std::string_view piece = std::string_view(bytes).substr(from, size);
      EXPECT_EQ(Crc32c(piece), Crc32cPortable(piece)) << from << " " << size;
    }
  }
}

TEST(Crc32cTest, CanBeContinued) {
  const std::string bytes = testing::Pattern(1000);
  const std::string_view view = bytes;
  for (const size_t cut : {0u, 1u, 7u, 8u, 500u, 1000u}) {
    EXPECT_EQ(Crc32c(view.substr(cut), Crc32c(view.substr(0, cut))), Crc32c(view));
    EXPECT_EQ(Crc32cPortable(view.substr(cut), Crc32cPortable(view.substr(0, cut))), Crc32c(view));
  }
}

}  // namespace
}  // namespace satchel::cache
