#include "cache/envelope.h"

#include <zstd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "cache/base/crc32c.h"
#include "cache/http/date.h"
#include "cache/record_text.h"

namespace satchel::cache {
namespace {

constexpr int kLevel = 1;
constexpr size_t kSumSize = 4;  // of a chunk in the clear

std::unexpected<Error> Bad(const char* why) { return Fail(ErrorSource::kStore, why); }

struct FreeCompressor {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};
struct FreeDecompressor {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

// The compressed body, or empty if compressing does not pay.
std::string Compress(std::string_view body) {
  thread_local const std::unique_ptr<ZSTD_CCtx, FreeCompressor> context(ZSTD_createCCtx());
  std::string out;
  if (!context) return out;
  // A target this small makes the compressor give up by itself where it would not pay.
  out.resize(body.size() - body.size() / 5);
  const size_t size =
      ZSTD_compressCCtx(context.get(), out.data(), out.size(), body.data(), body.size(), kLevel);
  out.resize(ZSTD_isError(size) != 0 ? 0 : size);
  return out;
}

Result<Body> Decompress(std::string_view kept, size_t size) {
  if (ZSTD_getFrameContentSize(kept.data(), kept.size()) != size) return Bad("compressed size");
  thread_local const std::unique_ptr<ZSTD_DCtx, FreeDecompressor> context(ZSTD_createDCtx());
  if (!context) return Bad("no memory");
  auto bytes = std::make_shared_for_overwrite<char[]>(size);
  const size_t got =
      ZSTD_decompressDCtx(context.get(), bytes.get(), size, kept.data(), kept.size());
  if (ZSTD_isError(got) != 0 || got != size) return Bad("compressed data");
  Body body;
  body.AppendSegment(std::move(bytes), size);
  return body;
}

template <typename Function>
void ForEachPiece(const Body& body, Function function) {
  std::array<iovec, 16> pieces;
  for (uint64_t done = 0; done < body.size();) {
    const size_t count = body.Gather(done, body.size() - done, pieces);
    for (size_t i = 0; i < count; ++i) {
      function(std::string_view(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len));
      done += pieces[i].iov_len;
    }
  }
}

// All fields but Date, which a 304 renews. Lines of different names may stand in any order (RFC 9110
// 5.3), and a 304 changes it: here they are sorted, and their names in lower case.
std::string FieldsBesideDate(const HeaderMap& fields) {
  std::vector<std::pair<std::string, std::string_view>> lines;
  for (const HeaderMap::Field field : fields) {
    if (field.id == FieldId::kDate) continue;
    std::string name(field.name);
    std::transform(name.begin(), name.end(), name.begin(), ToLowerAscii);
    lines.emplace_back(std::move(name), field.value);
  }
  std::stable_sort(lines.begin(), lines.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string text;
  for (const auto& [name, value] : lines) {
    text += name;
    text += ": ";
    text += value;
    text += "\r\n";
  }
  return text;
}

// The same for the same content, in every process.
uint64_t EntryOf(const StoredResponse& response) {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  const auto add = [&state](std::string_view bytes) {
    const uint64_t size = bytes.size();
    XXH3_64bits_update(&state, &size, sizeof size);
    XXH3_64bits_update(&state, bytes.data(), bytes.size());
  };
  const uint16_t status = response.facts().status;
  XXH3_64bits_update(&state, &status, sizeof status);
  add(response.key());
  add(response.reason());
  add(FieldsBesideDate(response.Fields()));
  for (const std::string& name : response.vary().names) add(name);
  add(response.vary_values());
  for (const TagId tag : response.tags()) XXH3_64bits_update(&state, &tag, sizeof tag);
  ForEachPiece(response.body(), [&state](std::string_view piece) {
    XXH3_64bits_update(&state, piece.data(), piece.size());
  });
  return XXH3_64bits_digest(&state);
}

uint32_t ChunkSum(uint64_t entry, uint32_t number, std::string_view bytes) {
  std::string place;
  TextWriter writer(place);
  writer.U64(entry);
  writer.U32(number);
  return Crc32c(bytes, Crc32c(place));
}

uint32_t ChunksOf(uint64_t kept_size) {
  constexpr uint64_t kSize = SealOptions::kChunkSize;
  return static_cast<uint32_t>((kept_size + kSize - 1) / kSize);
}

std::string Authenticated(std::string_view key, std::string_view head) {
  std::string bytes(head);
  bytes += key;
  return bytes;
}

// What follows the head, verified, and in the clear: in `value`, or in `decrypted`.
Result<std::string_view> OpenRest(const RecordHead& head, std::string_view value,
                                  std::string_view key, const RecordCipher* cipher,
                                  std::string& decrypted) {
  std::string_view rest = value.substr(RecordHead::kSize);
  if (head.key == 0) {
    if (Crc32c(rest) != head.sum) return Bad("checksum");
    return rest;
  }
  if (cipher == nullptr || rest.size() < RecordCipher::kSaltSize) return Bad("no key");
  const std::string_view salt = rest.substr(0, RecordCipher::kSaltSize);
  rest.remove_prefix(RecordCipher::kSaltSize);
  const std::string authenticated = Authenticated(key, value.substr(0, RecordHead::kSize));
  if (!cipher->Open(head.key, salt, 0, authenticated, rest, decrypted)) {
    return Bad("not to be decrypted");
  }
  return decrypted;
}

RecordHead HeadOf(const StoredResponse& response) {
  RecordHead head;
  head.facts = response.facts();
  head.sequence = response.purge_sequence();
  head.body_size = static_cast<uint32_t>(response.body().size());
  return head;
}

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

Result<SealedRecord> SealRecord(const StoredResponse& response, const SealOptions& options) {
  if (!response.complete()) return Bad("the body is not complete");
  constexpr uint64_t kMost = UINT32_MAX;
  const Body& body = response.body();
  if (body.size() > kMost) return Bad("the body is too large");
  if (response.tags().size() > kMaxTags) return Bad("too many tags");
  if (response.vary().names.size() > kMaxNames) return Bad("Vary names too many fields");
  std::string rest = PackTexts(response);
  if (rest.size() > kMaxTexts) return Bad("the header is too large");

  RecordHead head = HeadOf(response);
  head.text_size = static_cast<uint32_t>(rest.size());
  std::string salt;
  if (options.cipher != nullptr) {
    salt = options.cipher->Salt();
    if (salt.size() != RecordCipher::kSaltSize) return Bad("no random numbers");
    head.flags |= RecordHead::kEncrypted;
    head.key = options.cipher->key();
    std::memcpy(&head.entry, salt.data(), sizeof head.entry);
  } else {
    head.entry = EntryOf(response);
  }

  std::string kept;
  if (body.size() >= std::max<size_t>(options.compress_from, 1) &&
      body.size() <= options.compress_up_to && IsCompressible(response)) {
    kept = Compress(body.ToString());
  }
  if (!kept.empty()) head.flags |= RecordHead::kZstd;
  head.kept_size = kept.empty() ? head.body_size : static_cast<uint32_t>(kept.size());
  const bool chunked = head.kept_size > options.chunk_above;
  if (chunked) head.flags |= RecordHead::kChunked;

  SealedRecord record;
  record.entry = head.entry;
  bool failed = false;
  const auto seal = [&](uint32_t value, std::string_view authenticated, std::string_view bytes) {
    std::string sealed = options.cipher->Seal(head.key, salt, value, authenticated, bytes);
    failed |= sealed.empty();
    return sealed;
  };
  std::string chunk;
  const auto end_chunk = [&] {
    const auto number = static_cast<uint32_t>(record.chunks.size());
    if (options.cipher != nullptr) {
      record.chunks.push_back(seal(number + 1, response.key(), chunk));
    } else {
      std::string value;
      value.reserve(kSumSize + chunk.size());
      TextWriter(value).U32(ChunkSum(head.entry, number, chunk));
      record.chunks.push_back(value + chunk);
    }
    chunk.clear();
  };
  const auto append = [&](std::string_view bytes) {
    if (!chunked) {
      rest.append(bytes);
      return;
    }
    while (!bytes.empty()) {
      const size_t size = std::min(bytes.size(), SealOptions::kChunkSize - chunk.size());
      chunk.append(bytes.substr(0, size));
      bytes.remove_prefix(size);
      if (chunk.size() == SealOptions::kChunkSize) end_chunk();
    }
  };
  if (!chunked) rest.reserve(rest.size() + head.kept_size);
  if (kept.empty()) {
    ForEachPiece(body, append);
  } else {
    append(kept);
  }
  if (!chunk.empty()) end_chunk();

  if (options.cipher == nullptr) {
    head.sum = Crc32c(rest);
    record.value = PackHead(head, options.clock_offset) + rest;
  } else {
    record.value = PackHead(head, options.clock_offset);
    const std::string authenticated = Authenticated(response.key(), record.value);
    record.value += salt + seal(0, authenticated, rest);
  }
  if (failed) return Bad("not encrypted");
  return record;
}

std::optional<RenewedRecord> RenewRecord(const StoredResponse& old, const StoredResponse& updated,
                                         const SealOptions& options) {
  const HeaderMap fields = updated.Fields();
  // Date is to be written as the head's time, so that is all it may be.
  const bool dated = fields.Count(FieldId::kDate) == 1 &&
                     *fields.First(FieldId::kDate) == FormatHttpDate(updated.facts().date);
  if (options.cipher != nullptr || !dated || !updated.complete() ||
      !std::ranges::equal(old.tags(), updated.tags()) ||
      FieldsBesideDate(old.Fields()) != FieldsBesideDate(fields)) {
    return std::nullopt;
  }
  RecordHead head = HeadOf(updated);
  head.entry = EntryOf(updated);
  head.date_renewed = true;
  RenewedRecord renewed;
  renewed.bytes = PackRenewed(head, options.clock_offset);
  renewed.entry = head.entry;
  const std::string whole = PackHead(head, options.clock_offset);
  renewed.first_bytes = whole.substr(0, RecordHead::kVersionAt + 1);
  renewed.entry_bytes = whole.substr(RecordHead::kEntryAt, sizeof head.entry);
  return renewed;
}

Result<RecordReader> RecordReader::Begin(std::string_view value, std::string_view expected_key,
                                         const OpenOptions& options) {
  const Result<RecordHead> opened = UnpackHead(value, options.clock_offset);
  if (!opened) return std::unexpected(opened.error());
  RecordReader reader;
  RecordHead& head = reader.head_ = *opened;
  if ((head.flags & RecordHead::kMarker) != 0) return Bad("a marker, not a response");
  if (head.body_size > options.max_body) return Bad("body too large");
  if (head.text_size > kMaxTexts) return Bad("header too large");
  const bool zstd = (head.flags & RecordHead::kZstd) != 0;
  if (zstd ? head.kept_size > head.body_size : head.kept_size != head.body_size) {
    return Bad("size");
  }
  const bool chunked = (head.flags & RecordHead::kChunked) != 0;
  std::string decrypted;
  const Result<std::string_view> found =
      OpenRest(head, value, expected_key, options.cipher, decrypted);
  if (!found) return std::unexpected(found.error());
  const std::string_view rest = *found;
  if (head.key != 0) {
    reader.salt_ = value.substr(RecordHead::kSize, RecordCipher::kSaltSize);
    reader.cipher_ = options.cipher;
    reader.key_ = expected_key;
  }
  if (uint64_t{head.text_size} + (chunked ? 0 : head.kept_size) != rest.size()) {
    return Bad("size");
  }

  reader.parts_.facts = head.facts;
  reader.parts_.purge_sequence = head.sequence;
  if (const char* why = UnpackTexts(rest.substr(0, head.text_size), expected_key, reader.parts_)) {
    return Bad(why);
  }
  // A 304 has renewed it where it stands.
  if (head.date_renewed) reader.parts_.fields.Set("Date", FormatHttpDate(head.facts.date));

  reader.kept_ = std::make_shared_for_overwrite<char[]>(head.kept_size);
  if (chunked) {
    reader.chunks_ = ChunksOf(head.kept_size);
  } else {
    std::copy_n(rest.data() + head.text_size, head.kept_size, reader.kept_.get());
    reader.kept_bytes_ = head.kept_size;
  }
  return reader;
}

const char* RecordReader::AddChunk(std::string_view value) {
  if (next_ == chunks_) return "too many chunks";
  std::string opened;
  if (cipher_ != nullptr) {
    if (!cipher_->Open(head_.key, salt_, next_ + 1, key_, value, opened)) {
      return "not to be decrypted";
    }
    value = opened;
  } else {
    if (value.size() < kSumSize) return "chunk";
    const uint32_t sum = TextReader(value.substr(0, kSumSize)).U32();
    value.remove_prefix(kSumSize);
    if (sum != ChunkSum(head_.entry, next_, value)) return "checksum of a chunk";
  }
  const size_t left = head_.kept_size - kept_bytes_;
  if (value.size() != std::min(left, SealOptions::kChunkSize)) return "size of a chunk";
  std::copy_n(value.data(), value.size(), kept_.get() + kept_bytes_);
  kept_bytes_ += value.size();
  ++next_;
  return nullptr;
}

Result<StoredPtr> RecordReader::Finish() && {
  if (kept_bytes_ != head_.kept_size) return Bad("a chunk is missing");
  if ((head_.flags & RecordHead::kZstd) != 0) {
    Result<Body> body = Decompress({kept_.get(), kept_bytes_}, head_.body_size);
    if (!body) return std::unexpected(body.error());
    parts_.body = *std::move(body);
  } else if (head_.body_size > 0) {
    parts_.body.AppendSegment(std::move(kept_), head_.body_size);
  }
  parts_.complete = true;
  return StoredResponse::Make(std::move(parts_));
}

Result<StoredPtr> OpenRecord(std::string_view bytes, std::string_view expected_key,
                             const OpenOptions& options) {
  Result<RecordReader> reader = RecordReader::Begin(bytes, expected_key, options);
  if (!reader) return std::unexpected(reader.error());
  return std::move(*reader).Finish();
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
  head.text_size = static_cast<uint32_t>(texts.size());
  head.sequence = sequence;
  if (cipher == nullptr) {
    head.sum = Crc32c(texts);
    return PackHead(head, Millis(0)) + texts;
  }
  head.flags |= RecordHead::kEncrypted;
  head.key = cipher->key();
  const std::string salt = cipher->Salt();
  if (salt.size() != RecordCipher::kSaltSize) return {};
  const std::string packed = PackHead(head, Millis(0));
  const std::string sealed = cipher->Seal(head.key, salt, 0, Authenticated(key, packed), texts);
  return sealed.empty() ? std::string() : packed + salt + sealed;
}

struct OpenedTexts {
  std::string opened;  // what was encrypted
  std::string_view texts;
  uint64_t sequence = 0;
};

// An error, or nothing.
std::optional<Error> OpenTexts(std::string_view bytes, std::string_view expected_key,
                               const RecordCipher* cipher, OpenedTexts& out) {
  const Result<RecordHead> head = UnpackHead(bytes, Millis(0));
  if (!head) return head.error();
  if ((head->flags & ~RecordHead::kEncrypted) != RecordHead::kMarker) {
    return Bad("a response, not a marker").error();
  }
  if (head->text_size > kMaxTexts) return Bad("size").error();
  const Result<std::string_view> rest = OpenRest(*head, bytes, expected_key, cipher, out.opened);
  if (!rest) return rest.error();
  if (head->kept_size != 0 || head->text_size != rest->size()) return Bad("size").error();
  out.texts = *rest;
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
  if (const char* why = UnpackMarkerTexts(found.texts, expected_key, vary)) return Bad(why);
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
  TextReader reader(found.texts);
  if (reader.Text() != expected_key) return Bad("another key");
  Note note{std::string(reader.Text()), found.sequence};
  if (!reader.done()) return Bad("texts");
  return note;
}

}  // namespace satchel::cache
