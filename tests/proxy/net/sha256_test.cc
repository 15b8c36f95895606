#include "proxy/net/sha256.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace satchel::net {
namespace {

std::string Hex(const std::array<uint8_t, 32>& digest) {
  std::string text;
  for (const uint8_t byte : digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

std::string Text(const std::array<char, 22>& digest) { return {digest.data(), digest.size()}; }

TEST(Sha256Test, AgreesWithTheStandardsExamples) {
  EXPECT_EQ(Hex(Sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Hex(Sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Sha256Test, TheShortFormIsBase64UrlOfTheFirstHalf) {
  // python3: base64.urlsafe_b64encode(hashlib.sha256(b"abc").digest()[:16])
  EXPECT_EQ(Text(Digest22("abc")), "ungWv48Bz-pBQUDeXa4iIw");
  EXPECT_EQ(Text(Digest22("")), "47DEQpj8HBSa-_TImW-5JA");
}

TEST(Sha256Test, ThreadsDoNotDisturbEachOther) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int k = 0; k < 500; ++k) EXPECT_EQ(Text(Digest22("abc")), "ungWv48Bz-pBQUDeXa4iIw");
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace satchel::net
