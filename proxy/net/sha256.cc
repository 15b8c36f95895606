#include "proxy/net/sha256.h"

#include <openssl/evp.h>

#include <cstdlib>
#include <memory>

namespace satchel::net {
namespace {

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

// Fetched once: looking the algorithm up at each call costs more than hashing a short text.
const EVP_MD* Algorithm() {
  static const EVP_MD* const md = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return md;
}

}  // namespace

std::array<uint8_t, 32> Sha256(std::string_view bytes) {
  thread_local const std::unique_ptr<EVP_MD_CTX, FreeContext> context(EVP_MD_CTX_new());
  std::array<uint8_t, 32> digest;
  unsigned size = 0;
  if (context == nullptr || EVP_DigestInit_ex(context.get(), Algorithm(), nullptr) != 1 ||
      EVP_DigestUpdate(context.get(), bytes.data(), bytes.size()) != 1 ||
      EVP_DigestFinal_ex(context.get(), digest.data(), &size) != 1) {
    std::abort();  // OpenSSL without SHA-256: identities and keys cannot be told apart
  }
  return digest;
}

std::array<char, 22> Digest22(std::string_view bytes) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const std::array<uint8_t, 32> digest = Sha256(bytes);
  std::array<char, 22> text;
  uint32_t bits = 0;
  unsigned count = 0;
  size_t at = 0;
  for (size_t i = 0; i < 16; ++i) {
    bits = bits << 8 | digest[i];
    count += 8;
    while (count >= 6) {
      count -= 6;
      text[at++] = kAlphabet[bits >> count & 63];
    }
  }
  text[at] = kAlphabet[bits << (6 - count) & 63];
  return text;
}

}  // namespace satchel::net
