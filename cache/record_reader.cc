#include "cache/record_reader.h"

#include <algorithm>
#include <utility>

#include "cache/http/date.h"
#include "cache/record_chunk.h"
#include "cache/record_frames.h"
#include "cache/record_rest.h"
#include "cache/record_text.h"

namespace satchel::cache {
namespace {

constexpr size_t kUnpackSlice = size_t{256} << 10;

std::unexpected<Error> Bad(const char* why) { return Fail(ErrorSource::kStore, why); }

}  // namespace

Result<RecordReader> RecordReader::Begin(std::string_view value, std::string_view expected_key,
                                         const OpenOptions& options) {
  const Result<RecordHead> opened = UnpackHead(value, options.clock_offset);
  if (!opened) return std::unexpected(opened.error());
  RecordReader reader;
  RecordHead& head = reader.head_ = *opened;
  OpenedRest rest;
  if (const char* why = OpenRest(head, value, expected_key, options.cipher, rest)) return Bad(why);
  if ((head.flags & RecordHead::kMarker) != 0) return Bad("a marker, not a response");
  if (head.body_size > options.max_body) return Bad("body too large");
  reader.number_ = rest.number;
  if (rest.number != 0) {
    reader.salt_ = rest.salt;
    reader.cipher_ = options.cipher;
    reader.key_ = expected_key;
  }

  TextReader sizes(rest.bytes);
  const bool zstd = (head.flags & RecordHead::kZstd) != 0;
  reader.kept_size_ = zstd ? sizes.U32() : head.body_size;
  const std::string_view bytes = sizes.rest();
  const bool chunked = (head.flags & RecordHead::kChunked) != 0;
  const size_t here = chunked ? 0 : reader.kept_size_;
  if (!sizes.ok() || reader.kept_size_ > head.body_size || here > bytes.size()) return Bad("size");
  const std::string_view texts = bytes.substr(0, bytes.size() - here);
  if (texts.size() > kMaxTexts) return Bad("header too large");

  reader.parts_.facts = head.facts;
  reader.parts_.purge_sequence = head.sequence;
  if (const char* why = UnpackTexts(texts, expected_key, reader.parts_)) return Bad(why);
  // A 304 has renewed it where it stands.
  if (head.date_renewed) reader.parts_.fields.Set("Date", FormatHttpDate(head.facts.date));

  reader.kept_ = std::make_shared_for_overwrite<char[]>(reader.kept_size_);
  if (chunked) {
    reader.chunks_ = ChunksOf(reader.kept_size_);
  } else {
    std::copy_n(bytes.data() + texts.size(), here, reader.kept_.get());
    reader.kept_bytes_ = here;
  }
  if (zstd) reader.body_ = std::make_shared_for_overwrite<char[]>(head.body_size);
  return reader;
}

const char* RecordReader::AddChunk(std::string_view value) {
  if (next_ == chunks_) return "too many chunks";
  std::string opened;
  if (cipher_ != nullptr) {
    if (!cipher_->Open(number_, salt_, next_ + 1, key_, value, opened)) {
      return "not to be decrypted";
    }
    value = opened;
  } else if (const char* why = OpenChunk(head_.entry, next_, value)) {
    return why;
  }
  if (value.size() != std::min(kept_size_ - kept_bytes_, kChunkSize)) return "size of a chunk";
  std::copy_n(value.data(), value.size(), kept_.get() + kept_bytes_);
  kept_bytes_ += value.size();
  ++next_;
  return nullptr;
}

bool RecordReader::Unpack() {
  if (!body_ || broken_ != nullptr) return false;
  for (size_t done = 0; done < kUnpackSlice && body_bytes_ < head_.body_size;) {
    const auto frame = FirstFrame({kept_.get() + undone_, kept_bytes_ - undone_});
    if (!frame || frame->content > head_.body_size - body_bytes_) {
      broken_ = "compressed size";
      return false;
    }
    if (!DecompressFrame(*frame, body_.get() + body_bytes_)) {
      broken_ = "compressed data";
      return false;
    }
    undone_ += frame->bytes.size();
    body_bytes_ += frame->content;
    done += frame->content;
  }
  return body_bytes_ < head_.body_size;
}

Result<StoredPtr> RecordReader::Finish() && {
  if (kept_bytes_ != kept_size_) return Bad("a chunk is missing");
  while (Unpack()) {
  }
  if (broken_ != nullptr) return Bad(broken_);
  if (body_ && undone_ != kept_bytes_) return Bad("compressed size");
  if (head_.body_size > 0) {
    parts_.body.AppendSegment(body_ ? std::move(body_) : std::move(kept_), head_.body_size);
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

}  // namespace satchel::cache
