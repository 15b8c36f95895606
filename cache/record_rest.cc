#include "cache/record_rest.h"

#include "cache/record_text.h"

namespace satchel::cache {
namespace {

std::string Authenticated(std::string_view head, std::string_view key) {
  std::string bytes(head);
  bytes += key;
  return bytes;
}

}  // namespace

std::string JoinRecord(RecordHead head, Millis clock_offset, std::string_view key,
                       const Sealing& sealing, std::string_view rest) {
  if (sealing.cipher == nullptr) {
    std::string value = PackHead(head, clock_offset);
    value += rest;
    PutSum(value);
    return value;
  }
  head.flags |= RecordHead::kEncrypted;
  std::string value = PackHead(head, clock_offset);
  const uint32_t number = sealing.cipher->key();
  const std::string sealed =
      sealing.cipher->Seal(number, sealing.salt, 0, Authenticated(value, key), rest);
  if (sealed.empty()) return {};
  TextWriter(value).U32(number);
  value += sealing.salt;
  value += sealed;
  return value;
}

const char* OpenRest(const RecordHead& head, std::string_view value, std::string_view key,
                     const RecordCipher* cipher, OpenedRest& out) {
  out.bytes = value.substr(RecordHead::kSize);
  if ((head.flags & RecordHead::kEncrypted) == 0) {
    return SumOf(value) == head.sum ? nullptr : "checksum";
  }
  TextReader reader(out.bytes);
  out.number = reader.U32();
  const std::string_view sealed = reader.rest();
  if (cipher == nullptr || out.number == 0 || sealed.size() < RecordCipher::kSaltSize) {
    return "no key";
  }
  out.salt = sealed.substr(0, RecordCipher::kSaltSize);
  if (!cipher->Open(out.number, out.salt, 0, Authenticated(value.substr(0, RecordHead::kSize), key),
                    sealed.substr(RecordCipher::kSaltSize), out.decrypted)) {
    return "not to be decrypted";
  }
  out.bytes = out.decrypted;
  return nullptr;
}

}  // namespace satchel::cache
