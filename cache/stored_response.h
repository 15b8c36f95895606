#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cache/body.h"
#include "cache/http/message.h"
#include "cache/range.h"
#include "cache/response_facts.h"
#include "cache/tags.h"
#include "cache/vary.h"

namespace satchel::cache {

class StoredResponse;
using StoredPtr = std::shared_ptr<const StoredResponse>;

// One stored response (RFC 9111 2): immutable and shared; any thread may read it. A response whose
// body is still arriving is represented by its head alone, with an empty body.
//
// Key text, header block and a small body lie in the same allocation as the object.
class StoredResponse final : private Body {
 public:
  struct Parts {
    std::string key;  // text of the CacheKey
    VarySpec vary;
    std::string vary_values;  // VaryValues() of the request that it answered
    ResponseFacts facts;
    std::string reason;  // reason phrase
    HeaderMap fields;    // as StoredFields() left them
    Body body;
    std::vector<TagId> tags;       // as TagSet gives them
    uint64_t purge_sequence = 0;   // of the last purge known before the origin was asked
    ByteRange partial_range;       // of a stored 206
    uint64_t complete_length = 0;  // of a stored 206
    // `body` is the whole body even if it is empty. A body that is not empty is always whole.
    bool complete = false;
  };

  static StoredPtr Make(Parts parts);
  // The same response with another body (a fill that ended), or with new fields and facts (a 304,
  // with what it adds to the tags and the sequence known before it was asked for).
  // `tags`, if any, take the place of the head's. `fetch_time` as in the facts; 0 leaves the
  // head's.
  static StoredPtr WithBody(const StoredResponse& head, Body body,
                            const std::vector<TagId>* tags = nullptr, uint8_t fetch_time = 0);
  static StoredPtr WithFields(const StoredResponse& old, const HeaderMap& fields,
                              const ResponseFacts& facts);
  struct Update {
    std::span<const TagId> more_tags;
    uint64_t purge_sequence = 0;
    // In place of the old ones, if the response is stored for another request or varies on other
    // fields now.
    std::optional<VarySpec> vary = std::nullopt;
    std::string vary_values = {};
  };
  static StoredPtr WithFields(const StoredResponse& old, const HeaderMap& fields,
                              const ResponseFacts& facts, Update update);
  // The same response under other facts, and the sequence up to which they tell of purges.
  static StoredPtr WithFacts(const StoredResponse& old, const ResponseFacts& facts,
                             uint64_t purge_sequence);

  const ResponseFacts& facts() const { return facts_; }
  std::string_view key() const { return {text(), key_size_}; }
  uint64_t key_hash() const;  // computed at each call
  const VarySpec& vary() const { return extras_ ? extras_->vary : kNoVary; }
  std::string_view vary_values() const {
    return extras_ ? std::string_view(extras_->vary_values) : std::string_view();
  }
  const Body& body() const { return *this; }
  std::span<const TagId> tags() const {
    return extras_ ? std::span<const TagId>(extras_->tags) : std::span<const TagId>();
  }
  // No purge up to this one concerns it. It begins as the last one known before the origin was
  // asked, and is raised when later ones have been looked through.
  uint64_t purge_sequence() const { return sequence_.load(std::memory_order_relaxed); }
  void RaisePurgeSequence(uint64_t sequence) const;
  void LowerPurgeSequence(uint64_t sequence) const;
  const ByteRange& partial_range() const { return extras_ ? extras_->partial_range : kNoRange; }
  uint64_t complete_length() const { return extras_ ? extras_->complete_length : 0; }
  std::string_view reason() const;
  // Of a stored 206: does it hold the one range that is asked for (RFC 9111 3.3)? If-Range counts.
  bool HoldsRangeOf(const RequestHead& request) const;
  // False for a head whose body is still to come.
  bool complete() const { return complete_; }

  // The field lines as a map, built from the header block at each call: not for the hit path.
  HeaderMap Fields() const;

  // Status line and field lines as an HTTP/1.1 client gets them, each ended by CRLF, without Age,
  // Cache-Status, Connection and the final empty line. Holds Content-Length where the length is
  // known (always, once the body is complete) unless the status forbids it.
  std::string_view header_block() const { return {text() + key_size_, block_size_}; }

  // Has the processor fetch the object, its key and its header block from memory, all at once: else
  // each line is waited for when it is met.
  void Prefetch() const {
    constexpr size_t kLine = 64;
    constexpr size_t kUsual = 512;
    const char* const at = reinterpret_cast<const char*>(this);
    for (size_t line = 0; line < kUsual; line += kLine) __builtin_prefetch(at + line);
  }

  // Everything it keeps alive, in bytes: what the store charges.
  size_t charge() const;

  class Token {  // only this class makes objects
    friend class StoredResponse;
    Token() = default;
  };
  explicit StoredResponse(Token) {}
  StoredResponse(const StoredResponse&) = delete;
  StoredResponse& operator=(const StoredResponse&) = delete;

 private:
  friend class Body;

  // What few responses have.
  struct Extras {
    VarySpec vary;
    std::string vary_values;
    std::vector<TagId> tags;
    ByteRange partial_range;
    uint64_t complete_length = 0;
  };
  static const VarySpec kNoVary;
  static const ByteRange kNoRange;

  static StoredPtr Build(std::string_view key, std::string_view block, const ResponseFacts& facts,
                         const Extras* extras, Body body, bool complete, uint64_t sequence);
  const char* text() const { return reinterpret_cast<const char*>(this + 1); }
  char* text() { return reinterpret_cast<char*>(this + 1); }

  ResponseFacts facts_;
  std::unique_ptr<const Extras> extras_;
  mutable std::atomic<uint64_t> sequence_{0};
  uint32_t key_size_ = 0;
  uint32_t block_size_ : 31 = 0;
  uint32_t complete_ : 1 = 0;
};

}  // namespace satchel::cache
