#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "proxy/net/stream.h"

namespace satchel::net {

// Output that the socket has not taken yet. Empty on the fast path: bytes go straight to the
// socket, and only what it refuses is kept, by reference where the caller can keep it alive.
// Bounded by its callers: they stop producing while size() is not 0.
class Outbox {
 public:
  // Writes what it can at once if nothing is queued, and queues the rest. `hold` keeps the bytes
  // alive; without it the rest is copied. kOk: all written; kAgain: some is queued; kError: gone.
  // `file`: of the last piece; kept open by `hold`.
  IoStatus Send(Stream& stream, std::span<const iovec> pieces, std::shared_ptr<const void> hold,
                FilePlace file = {});

  // Queues without trying to write; copied if there is no `hold`.
  void Queue(const iovec& piece, std::shared_ptr<const void> hold, FilePlace file = {});

  IoStatus Flush(Stream& stream);

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  void Clear();

 private:
  struct Piece {
    std::shared_ptr<const void> hold;
    const char* data;
    size_t size;
    FilePlace file;
  };
  struct Pieces {
    std::vector<Piece> all;
    size_t first = 0;  // not yet written
  };
  void Keep(Piece piece);

  std::unique_ptr<Pieces> pieces_;  // null when empty: most connections are idle
  size_t size_ = 0;
};

inline iovec Slice(std::string_view text) {
  return {const_cast<char*>(text.data()), text.size()};
}

}  // namespace satchel::net
