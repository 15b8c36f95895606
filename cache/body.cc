#include "cache/body.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace satchel::cache {

Body::Body(Body&& other) noexcept
    : holder_(std::move(other.holder_)), size_(other.size_), kind_(other.kind_) {
  other.size_ = 0;
  other.kind_ = Kind::kBytes;
}

Body& Body::operator=(const Body& other) {
  if (this != &other) Assign(other);
  return *this;
}

Body& Body::operator=(Body&& other) noexcept {
  if (this != &other) {
    holder_ = std::move(other.holder_);
    size_ = other.size_;
    kind_ = other.kind_;
    other.size_ = 0;
    other.kind_ = Kind::kBytes;
  }
  return *this;
}

void Body::Assign(const Body& other) {
  if (other.kind_ == Kind::kEmbedded) {
    *this = Copy({other.bytes(), other.size_});
    return;
  }
  holder_ = other.holder_;
  kind_ = other.kind_;
  size_ = other.size_;
}

void Body::Embed(const char* bytes, size_t size) {
  holder_ = std::shared_ptr<const void>(std::shared_ptr<const void>(), bytes);
  size_ = size;
  kind_ = Kind::kEmbedded;
}

Body Body::Copy(std::string_view bytes) {
  Body body;
  if (bytes.empty()) return body;
  auto segment = std::make_shared_for_overwrite<char[]>(bytes.size());
  std::memcpy(segment.get(), bytes.data(), bytes.size());
  body.AppendSegment(std::move(segment), bytes.size());
  return body;
}

void Body::AppendSegment(Segment bytes, size_t size) {
  if (size == 0) return;
  if (size_ == 0) {
    const char* const data = bytes.get();
    holder_ = std::shared_ptr<const void>(std::move(bytes), data);
    size_ = size;
    kind_ = Kind::kBytes;
    return;
  }
  auto grown = std::make_shared<std::vector<Piece>>();
  if (kind_ == Kind::kPieces) {
    // Copies of this Body share the list, so that it never changes under them.
    grown->reserve(pieces().size() + 1);
    *grown = pieces();
  } else {
    const char* const data = this->bytes();
    grown->push_back({Segment(std::move(holder_), data), 0, size_});
  }
  grown->push_back({std::move(bytes), size_, size});
  holder_ = std::move(grown);
  size_ += size;
  kind_ = Kind::kPieces;
}

size_t Body::Gather(uint64_t offset, uint64_t length, std::span<iovec> out) const {
  if (offset >= size_ || length == 0 || out.empty()) return 0;
  length = std::min<uint64_t>(length, size_ - offset);
  if (kind_ != Kind::kPieces) {
    out[0] = {const_cast<char*>(bytes()) + offset, length};
    return 1;
  }
  const std::vector<Piece>& all = pieces();
  auto piece = std::upper_bound(all.begin(), all.end(), offset,
                                [](uint64_t at, const Piece& p) { return at < p.start; });
  --piece;
  size_t used = 0;
  for (; length > 0 && used < out.size() && piece != all.end(); ++piece) {
    const uint64_t skip = offset - piece->start;
    const uint64_t take = std::min(length, piece->size - skip);
    out[used++] = {const_cast<char*>(piece->bytes.get()) + skip, take};
    offset += take;
    length -= take;
  }
  return used;
}

std::string Body::ToString() const {
  if (kind_ != Kind::kPieces) return std::string(size_ == 0 ? "" : bytes(), size_);
  std::string all;
  all.reserve(size_);
  for (const Piece& piece : pieces()) all.append(piece.bytes.get(), piece.size);
  return all;
}

size_t Body::MemoryUse() const {
  // One control block for each allocation.
  constexpr size_t kControl = 24;
  if (size_ == 0 || kind_ == Kind::kEmbedded) return 0;
  if (kind_ == Kind::kBytes) return size_ + kControl;
  return size_ + pieces().size() * (sizeof(Piece) + kControl) + sizeof(std::vector<Piece>) +
         kControl;
}

}  // namespace satchel::cache
