#include "cache/record_sealer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>

#include "cache/base/xxh3.h"
#include "cache/http/date.h"
#include "cache/record_chunk.h"
#include "cache/record_frames.h"
#include "cache/record_text.h"

namespace satchel::cache {
namespace {

constexpr uint64_t kCopySlice = size_t{256} << 10;
constexpr size_t kChunksAtOnce = 2;
constexpr size_t kFrameRoom = kFrameContent + 1024;  // whatever it holds

std::unexpected<Error> Bad(const char* why) { return Fail(ErrorSource::kStore, why); }

template <typename Function>
void ForEachPiece(const Body& body, uint64_t from, uint64_t to, Function function) {
  std::array<iovec, 16> pieces;
  while (from < to) {
    const size_t count = body.Gather(from, to - from, pieces);
    for (size_t i = 0; i < count; ++i) {
      function(std::string_view(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len));
      from += pieces[i].iov_len;
    }
  }
}

// All fields but Date, which a 304 renews. Lines of different names may stand in any order (RFC
// 9110 5.3), and a 304 changes it: here they are sorted, and their names in lower case.
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

RecordHead HeadOf(const StoredResponse& response, uint64_t entry) {
  RecordHead head;
  head.facts = response.facts();
  head.sequence = response.purge_sequence();
  head.body_size = static_cast<uint32_t>(response.body().size());
  head.entry = entry;
  return head;
}

}  // namespace

// The same for the same content, in every process: the body is to be added to the rest.
class RecordSealer::EntryHash {
 public:
  explicit EntryHash(const StoredResponse& response) {
    XXH3_64bits_reset(&state_);
    const uint16_t status = response.facts().status;
    XXH3_64bits_update(&state_, &status, sizeof status);
    AddText(response.key());
    AddText(response.reason());
    AddText(FieldsBesideDate(response.Fields()));
    for (const std::string& name : response.vary().names) AddText(name);
    AddText(response.vary_values());
    for (const TagId tag : response.tags()) XXH3_64bits_update(&state_, &tag, sizeof tag);
  }
  void AddBody(const Body& body, uint64_t from, uint64_t to) {
    ForEachPiece(body, from, to, [this](std::string_view piece) {
      XXH3_64bits_update(&state_, piece.data(), piece.size());
    });
  }
  uint64_t Digest() const { return XXH3_64bits_digest(&state_); }

 private:
  void AddText(std::string_view bytes) {
    const uint64_t size = bytes.size();
    XXH3_64bits_update(&state_, &size, sizeof size);
    XXH3_64bits_update(&state_, bytes.data(), bytes.size());
  }
  XXH3_state_t state_;
};

RecordSealer::RecordSealer(StoredPtr response, const SealOptions& options)
    : response_(std::move(response)), options_(options) {}
RecordSealer::RecordSealer(RecordSealer&&) noexcept = default;
RecordSealer& RecordSealer::operator=(RecordSealer&&) noexcept = default;
RecordSealer::~RecordSealer() = default;

Result<RecordSealer> RecordSealer::Begin(StoredPtr response, const SealOptions& options) {
  if (!response->complete()) return Bad("the body is not complete");
  const uint64_t size = response->body().size();
  if (size > std::numeric_limits<uint32_t>::max()) return Bad("the body is too large");
  if (response->tags().size() > kMaxTags) return Bad("too many tags");
  if (response->vary().names.size() > kMaxNames) return Bad("Vary names too many fields");
  RecordSealer sealer(std::move(response), options);
  sealer.texts_ = PackTexts(*sealer.response_);
  if (sealer.texts_.size() > kMaxTexts) return Bad("the header is too large");
  if (options.cipher != nullptr) {
    sealer.sealing_ = {.cipher = options.cipher, .salt = options.cipher->Salt()};
    const std::string& salt = sealer.sealing_.salt;
    if (salt.size() != RecordCipher::kSaltSize) return Bad("no random numbers");
    std::memcpy(&sealer.entry_, salt.data(), sizeof sealer.entry_);
  } else {
    sealer.hash_ = std::make_unique<EntryHash>(*sealer.response_);
  }
  sealer.compressing_ =
      size >= std::max<size_t>(options.compress_from, 1) && IsCompressible(*sealer.response_);
  return sealer;
}

bool RecordSealer::Step() {
  const uint64_t size = response_->body().size();
  if (taken_ < size) {
    TakeSlice();
    return true;
  }
  if (hash_) {
    entry_ = hash_->Digest();
    hash_.reset();
  }
  if (!chunked()) return false;
  for (size_t i = 0; i < kChunksAtOnce && chunks_.size() < pieces_.size(); ++i) {
    const std::string piece = std::move(pieces_[chunks_.size()]);
    const auto number = static_cast<uint32_t>(chunks_.size());
    if (sealing_.cipher == nullptr) {
      chunks_.push_back(SealChunk(entry_, number, piece));
    } else {
      chunks_.push_back(sealing_.cipher->Seal(sealing_.cipher->key(), sealing_.salt, number + 1,
                                              response_->key(), piece));
      failed_ |= chunks_.back().empty();
    }
  }
  return chunks_.size() < pieces_.size();
}

void RecordSealer::TakeSlice() {
  const Body& body = response_->body();
  const uint64_t slice = compressing_ ? kFrameContent : kCopySlice;
  const uint64_t end = std::min(body.size(), taken_ + slice);
  if (hash_ && hashed_ < end) {
    hash_->AddBody(body, hashed_, end);
    hashed_ = end;
  }
  if (!compressing_) {
    ForEachPiece(body, taken_, end, [this](std::string_view piece) { Keep(piece); });
    taken_ = end;
    return;
  }
  std::array<iovec, 2> parts;
  if (body.Gather(taken_, end - taken_, parts) == 1) {
    Compress({static_cast<const char*>(parts[0].iov_base), parts[0].iov_len});
  } else {
    std::string content;
    content.reserve(end - taken_);
    ForEachPiece(body, taken_, end, [&](std::string_view piece) { content += piece; });
    Compress(content);
  }
}

void RecordSealer::Compress(std::string_view content) {
  const uint64_t size = response_->body().size();
  const uint64_t room = size - size / 5 - kept_size_;
  if (const auto frame = CompressFrame(content, std::min<uint64_t>(room, kFrameRoom))) {
    Keep(*frame);
    taken_ += content.size();
    return;
  }
  // It does not pay: as it is, from the beginning.
  compressing_ = false;
  pieces_.clear();
  kept_size_ = taken_ = 0;
}

void RecordSealer::Keep(std::string_view bytes) {
  kept_size_ += bytes.size();
  while (!bytes.empty()) {
    if (pieces_.empty() || pieces_.back().size() == kChunkSize) {
      pieces_.emplace_back();
      if (!compressing_) {
        pieces_.back().reserve(
            std::min<uint64_t>(kChunkSize, response_->body().size() - (kept_size_ - bytes.size())));
      }
    }
    const size_t size = std::min(bytes.size(), kChunkSize - pieces_.back().size());
    pieces_.back().append(bytes.substr(0, size));
    bytes.remove_prefix(size);
  }
}

Result<SealedRecord> RecordSealer::Finish() && {
  while (Step()) {
  }
  RecordHead head = HeadOf(*response_, entry_);
  std::string rest;
  if (compressing_) {
    head.flags |= RecordHead::kZstd;
    TextWriter(rest).U32(static_cast<uint32_t>(kept_size_));
  }
  if (chunked()) {
    head.flags |= RecordHead::kChunked;
    rest += texts_;
  } else {
    rest.reserve(rest.size() + texts_.size() + kept_size_);
    rest += texts_;
    for (const std::string& piece : pieces_) rest += piece;
  }
  SealedRecord record;
  record.value = JoinRecord(head, options_.clock_offset, response_->key(), sealing_, rest);
  if (failed_ || record.value.empty()) return Bad("not encrypted");
  record.chunks = std::move(chunks_);
  record.entry = entry_;
  return record;
}

Result<SealedRecord> SealRecord(StoredPtr response, const SealOptions& options) {
  Result<RecordSealer> sealer = RecordSealer::Begin(std::move(response), options);
  if (!sealer) return std::unexpected(sealer.error());
  return std::move(*sealer).Finish();
}

std::optional<RenewedRecord> RenewedRecord::From(const StoredResponse& old,
                                                 const StoredResponse& updated,
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
  RecordSealer::EntryHash hash(updated);
  hash.AddBody(updated.body(), 0, updated.body().size());
  RecordHead head = HeadOf(updated, hash.Digest());
  head.date_renewed = true;
  RenewedRecord renewed;
  renewed.bytes = PackRenewed(head, options.clock_offset);
  renewed.entry = head.entry;
  const std::string whole = PackHead(head, options.clock_offset);
  renewed.first_bytes = whole.substr(0, RecordHead::kVersionAt + 1);
  renewed.entry_bytes = whole.substr(RecordHead::kEntryAt, sizeof head.entry);
  return renewed;
}

}  // namespace satchel::cache
