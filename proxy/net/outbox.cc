#include "proxy/net/outbox.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace satchel::net {

void Outbox::Keep(Piece piece) {
  if (!pieces_) pieces_ = std::make_unique<Pieces>();
  size_ += piece.size;
  pieces_->all.push_back(std::move(piece));
}

IoStatus Outbox::Send(Stream& stream, std::span<const iovec> pieces,
                      std::shared_ptr<const void> hold, FilePlace file) {
  size_t written = 0;
  if (size_ == 0) {
    const IoResult result = stream.Write(pieces, /*last=*/false, file);
    if (result.status == IoStatus::kError) return IoStatus::kError;
    written = result.bytes;
  }
  size_t left = 0;
  for (const iovec& piece : pieces) left += piece.iov_len;
  left -= written;
  if (left == 0) return IoStatus::kOk;
  if (!hold) {
    // One copy of everything that is left.
    std::shared_ptr<char[]> copy(new char[left]);
    size_t at = 0;
    for (const iovec& piece : pieces) {
      const size_t skip = std::min(written, piece.iov_len);
      written -= skip;
      if (piece.iov_len == skip) continue;  // a base that may be null
      memcpy(copy.get() + at, static_cast<const char*>(piece.iov_base) + skip,
             piece.iov_len - skip);
      at += piece.iov_len - skip;
    }
    const char* data = copy.get();
    Keep({std::move(copy), data, left, {}});
  } else {
    for (const iovec& piece : pieces) {
      const size_t skip = std::min(written, piece.iov_len);
      written -= skip;
      if (piece.iov_len == skip) continue;
      Keep({hold, static_cast<const char*>(piece.iov_base) + skip, piece.iov_len - skip,
            &piece == &pieces.back() ? file.Behind(skip) : FilePlace()});
    }
  }
  return IoStatus::kAgain;
}

void Outbox::Queue(const iovec& piece, std::shared_ptr<const void> hold, FilePlace file) {
  const char* data = static_cast<const char*>(piece.iov_base);
  if (!hold) {
    std::shared_ptr<char[]> copy(new char[piece.iov_len]);
    memcpy(copy.get(), data, piece.iov_len);
    data = copy.get();
    hold = std::move(copy);
    file = {};
  }
  Keep({std::move(hold), data, piece.iov_len, file});
}

IoStatus Outbox::Flush(Stream& stream) {
  while (size_ > 0) {
    iovec batch[64];
    size_t count = 0;
    FilePlace file;  // ends the batch
    const std::vector<Piece>& all = pieces_->all;
    for (size_t i = pieces_->first; i < all.size() && count < std::size(batch) && file.fd < 0;
         ++i) {
      batch[count++] = {const_cast<char*>(all[i].data), all[i].size};
      file = all[i].file;
    }
    const IoResult result = stream.Write({batch, count}, /*last=*/false, file);
    if (result.status != IoStatus::kOk) return result.status;
    size_ -= result.bytes;
    for (size_t left = result.bytes; left > 0;) {
      Piece& first = pieces_->all[pieces_->first];
      const size_t n = std::min(first.size, left);
      first.data += n;
      first.size -= n;
      first.file = first.file.Behind(n);
      left -= n;
      if (first.size == 0) {
        first.hold.reset();
        ++pieces_->first;
      }
    }
    if (result.bytes == 0) return IoStatus::kAgain;
  }
  Clear();
  return IoStatus::kOk;
}

void Outbox::Clear() {
  pieces_.reset();
  size_ = 0;
}

}  // namespace satchel::net
