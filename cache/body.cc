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

void Body::Append(const Body& other, uint64_t offset, uint64_t length) {
  constexpr size_t kSmall = size_t{64} << 10;
  length = std::min(length, other.size_ - std::min<uint64_t>(offset, other.size_));
  std::vector<Piece> all;
  const auto take_all = [&all](const Body& body) {
    const Body copy = body;  // never embedded, so that what it points to lives on its own
    if (copy.kind_ == Kind::kPieces) {
      all = copy.pieces();
    } else if (copy.size_ > 0) {
      all.push_back({Segment(copy.holder_, copy.bytes()), 0, copy.size_});
    }
  };
  take_all(other);
  const std::vector<Piece> source = std::move(all);
  all.clear();
  take_all(*this);
  uint64_t end = size_;
  for (const Piece& piece : source) {
    const uint64_t from = std::max(piece.start, offset);
    const uint64_t to = std::min(piece.start + piece.size, offset + length);
    if (from >= to) continue;
    const uint64_t size = to - from;
    const char* const bytes = piece.bytes.get() + (from - piece.start);
    const bool join = !all.empty() && all.back().size + size <= 2 * kSmall;
    if (!join && size == piece.size && size > kSmall) {
      all.push_back({piece.bytes, end, size});
    } else {
      const uint64_t kept = join ? all.back().size : 0;
      auto segment = std::make_shared_for_overwrite<char[]>(kept + size);
      if (join) std::memcpy(segment.get(), all.back().bytes.get(), kept);
      std::memcpy(segment.get() + kept, bytes, size);
      if (join) all.pop_back();
      all.push_back({std::move(segment), end - kept, kept + size});
    }
    end += size;
  }
  size_ = end;
  kind_ = all.size() > 1 ? Kind::kPieces : Kind::kBytes;
  if (all.empty()) {
    holder_.reset();
  } else if (all.size() == 1) {
    const char* const data = all[0].bytes.get();
    holder_ = std::shared_ptr<const void>(std::move(all[0].bytes), data);
  } else {
    holder_ = std::make_shared<const std::vector<Piece>>(std::move(all));
  }
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

Body Body::InFile(const BodyFile::Limits& limits) const {
  std::vector<iovec> all(kind_ == Kind::kPieces ? pieces().size() : 1);
  all.resize(Gather(0, size_, all));
  std::shared_ptr<const BodyFile> file = BodyFile::Make(all, limits);
  if (file == nullptr) return *this;
  Body body;
  body.holder_ = std::move(file);
  body.size_ = size_;
  body.kind_ = Kind::kFile;
  return body;
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
  if (kind_ == Kind::kFile) return body_file().MemoryUse() + sizeof(BodyFile) + kControl;
  return size_ + pieces().size() * (sizeof(Piece) + kControl) + sizeof(std::vector<Piece>) +
         kControl;
}

}  // namespace satchel::cache
