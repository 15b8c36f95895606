#include "cache/envelope.h"

#include <optional>
#include <utility>

#include "cache/record_rest.h"
#include "cache/record_text.h"

namespace satchel::cache {
namespace {

std::unexpected<Error> Bad(const char* why) { return Fail(ErrorSource::kStore, why); }

}  // namespace

RecordKind KindOf(std::string_view bytes) {
  const Result<RecordHead> head = UnpackHead(bytes, Millis(0));
  if (!head) return RecordKind::kUnknown;
  return (head->flags & RecordHead::kMarker) != 0 ? RecordKind::kVaryMarker : RecordKind::kResponse;
}

bool IsEncrypted(std::string_view bytes) {
  const Result<RecordHead> head = UnpackHead(bytes, Millis(0));
  return head && (head->flags & RecordHead::kEncrypted) != 0;
}

BadRecord CauseOf(std::string_view message) {
  static constexpr std::pair<std::string_view, BadRecord> kCauses[] = {
      {"shorter than a head", BadRecord::kVersion},
      {"not a record", BadRecord::kVersion},
      {"another version", BadRecord::kVersion},
      {"checksum of the head", BadRecord::kChecksum},
      {"checksum", BadRecord::kChecksum},
      {"another key", BadRecord::kKey},
      {"no key", BadRecord::kCipher},
      {"not to be decrypted", BadRecord::kCipher},
      {"a chunk is missing", BadRecord::kChunk},
      {"checksum of a chunk", BadRecord::kChunk},
      {"size of a chunk", BadRecord::kChunk},
      {"chunk", BadRecord::kChunk},
  };
  for (const auto& [text, cause] : kCauses) {
    if (message == text) return cause;
  }
  return BadRecord::kForm;
}

namespace {

std::string SealTexts(std::string_view key, const std::string& texts, uint64_t sequence,
                      const RecordCipher* cipher) {
  RecordHead head;
  head.flags = RecordHead::kMarker;
  head.sequence = sequence;
  Sealing sealing{.cipher = cipher, .salt = {}};
  if (cipher != nullptr) {
    sealing.salt = cipher->Salt();
    if (sealing.salt.size() != RecordCipher::kSaltSize) return {};
  }
  return JoinRecord(head, Millis(0), key, sealing, texts);
}

struct OpenedTexts {
  OpenedRest rest;
  uint64_t sequence = 0;
};

// An error, or nothing.
std::optional<Error> OpenTexts(std::string_view bytes, std::string_view expected_key,
                               const RecordCipher* cipher, OpenedTexts& out) {
  const Result<RecordHead> head = UnpackHead(bytes, Millis(0));
  if (!head) return head.error();
  if (const char* why = OpenRest(*head, bytes, expected_key, cipher, out.rest)) {
    return Bad(why).error();
  }
  if ((head->flags & ~RecordHead::kEncrypted) != RecordHead::kMarker) {
    return Bad("a response, not a marker").error();
  }
  if (head->body_size != 0 || out.rest.bytes.size() > kMaxTexts) return Bad("size").error();
  out.sequence = head->sequence;
  return std::nullopt;
}

}  // namespace

std::string SealVaryMarker(std::string_view key, const VarySpec& vary, const RecordCipher* cipher) {
  return SealTexts(key, PackMarkerTexts(key, vary), 0, cipher);
}

Result<VarySpec> OpenVaryMarker(std::string_view bytes, std::string_view expected_key,
                                const RecordCipher* cipher) {
  OpenedTexts found;
  if (auto error = OpenTexts(bytes, expected_key, cipher, found)) return std::unexpected(*error);
  VarySpec vary;
  if (const char* why = UnpackMarkerTexts(found.rest.bytes, expected_key, vary)) return Bad(why);
  return vary;
}

std::string SealNote(std::string_view key, const Note& note, const RecordCipher* cipher) {
  std::string texts;
  TextWriter writer(texts);
  writer.Text(key);
  writer.Text(note.text);
  return SealTexts(key, texts, note.sequence, cipher);
}

Result<Note> OpenNote(std::string_view bytes, std::string_view expected_key,
                      const RecordCipher* cipher) {
  OpenedTexts found;
  if (auto error = OpenTexts(bytes, expected_key, cipher, found)) return std::unexpected(*error);
  TextReader reader(found.rest.bytes);
  if (reader.Text() != expected_key) return Bad("another key");
  Note note{std::string(reader.Text()), found.sequence};
  if (!reader.done()) return Bad("texts");
  return note;
}

}  // namespace satchel::cache
