#include "proxy/redis/record_keys.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>
#include <memory>
#include <optional>

#include "proxy/net/sha256.h"

namespace satchel::redis {
namespace {

constexpr size_t kNonceSize = 12;
constexpr std::string_view kPurpose = "satchel record 2";

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};

const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

// The record's own key.
std::optional<rules::RecordKey> Derive(const rules::RecordKey& master, std::string_view salt) {
  std::string text(kPurpose);
  text += salt;
  rules::RecordKey key;
  unsigned size = 0;
  if (HMAC(EVP_sha256(), master.data(), static_cast<int>(master.size()), Bytes(text), text.size(),
           key.data(), &size) == nullptr ||
      size != key.size()) {
    return std::nullopt;
  }
  return key;
}

std::array<unsigned char, kNonceSize> NonceOf(uint32_t value) {
  std::array<unsigned char, kNonceSize> nonce{};
  for (size_t i = 0; i < 4; ++i) nonce[i] = static_cast<unsigned char>(value >> (8 * i));
  return nonce;
}

EVP_CIPHER_CTX* Context() {
  thread_local const std::unique_ptr<EVP_CIPHER_CTX, FreeContext> context(EVP_CIPHER_CTX_new());
  return context.get();
}

bool FitsInt(std::string_view bytes) { return bytes.size() < (size_t{1} << 30); }

}  // namespace

RecordKeys::RecordKeys(const std::vector<rules::RecordKey>& keys) {
  for (const rules::RecordKey& key : keys) {
    const auto digest = net::Sha256({reinterpret_cast<const char*>(key.data()), key.size()});
    uint32_t number = 0;
    for (size_t i = 0; i < 4; ++i) number |= uint32_t{digest[i]} << (8 * i);
    if (number == 0) number = 1;
    if (Find(number) == nullptr) keys_.push_back({number, key});
  }
}

const RecordKeys::Numbered* RecordKeys::Find(uint32_t number) const {
  for (const Numbered& key : keys_) {
    if (key.number == number) return &key;
  }
  return nullptr;
}

std::string RecordKeys::Salt() const {
  std::string salt(kSaltSize, '\0');
  if (RAND_bytes(Bytes(salt), static_cast<int>(salt.size())) != 1) salt.clear();
  return salt;
}

std::string RecordKeys::Seal(uint32_t number, std::string_view salt, uint32_t value,
                             std::string_view authenticated, std::string_view bytes) const {
  const Numbered* const master = Find(number);
  EVP_CIPHER_CTX* const context = Context();
  if (master == nullptr || context == nullptr || !FitsInt(bytes) || !FitsInt(authenticated)) {
    return {};
  }
  const auto key = Derive(master->key, salt);
  const auto nonce = NonceOf(value);
  std::string sealed(bytes.size() + kTagSize, '\0');
  int size = 0;
  int last = 0;
  if (!key ||
      EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), nullptr, key->data(), nonce.data()) != 1 ||
      EVP_EncryptUpdate(context, nullptr, &size, Bytes(authenticated),
                        static_cast<int>(authenticated.size())) != 1 ||
      EVP_EncryptUpdate(context, Bytes(sealed), &size, Bytes(bytes),
                        static_cast<int>(bytes.size())) != 1 ||
      EVP_EncryptFinal_ex(context, Bytes(sealed) + size, &last) != 1 ||
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, static_cast<int>(kTagSize),
                          Bytes(sealed) + bytes.size()) != 1) {
    return {};
  }
  return sealed;
}

bool RecordKeys::Open(uint32_t number, std::string_view salt, uint32_t value,
                      std::string_view authenticated, std::string_view sealed,
                      std::string& bytes) const {
  const Numbered* const master = Find(number);
  EVP_CIPHER_CTX* const context = Context();
  if (master == nullptr || context == nullptr || sealed.size() < kTagSize || !FitsInt(sealed) ||
      !FitsInt(authenticated)) {
    return false;
  }
  const auto key = Derive(master->key, salt);
  const auto nonce = NonceOf(value);
  const std::string_view text = sealed.substr(0, sealed.size() - kTagSize);
  std::string tag(sealed.substr(text.size()));
  bytes.resize(text.size());
  int size = 0;
  int last = 0;
  return key &&
         EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), nullptr, key->data(), nonce.data()) == 1 &&
         EVP_DecryptUpdate(context, nullptr, &size, Bytes(authenticated),
                           static_cast<int>(authenticated.size())) == 1 &&
         EVP_DecryptUpdate(context, Bytes(bytes), &size, Bytes(text),
                           static_cast<int>(text.size())) == 1 &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, static_cast<int>(kTagSize),
                             Bytes(tag)) == 1 &&
         EVP_DecryptFinal_ex(context, Bytes(bytes) + size, &last) == 1;
}

}  // namespace satchel::redis
