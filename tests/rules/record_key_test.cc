#include "rules/record_key.h"

#include <gtest/gtest.h>

#include <string>

namespace satchel::rules {
namespace {

TEST(RecordKeyTest, HexAndBase64OfTheSameBytesAreTheSameKey) {
  const auto hex =
      ParseRecordKey("000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F");
  ASSERT_TRUE(hex);
  for (size_t i = 0; i < hex->size(); ++i) EXPECT_EQ((*hex)[i], i);
  EXPECT_EQ(ParseRecordKey("\n AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\r\n"), hex);
}

TEST(RecordKeyTest, AnythingElseIsNone) {
  for (const char* bad :
       {"", "  \n", "secret", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=",  // bits of no meaning are set
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh==",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd-h8=",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1g"}) {
    EXPECT_FALSE(ParseRecordKey(bad)) << bad;
  }
  EXPECT_FALSE(ParseRecordKey(std::string(62, '0')));
  EXPECT_FALSE(ParseRecordKey(std::string(66, '0')));
}

}  // namespace
}  // namespace satchel::rules
