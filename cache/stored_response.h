#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cache/body.h"
#include "cache/http/message.h"
#include "cache/range.h"
#include "cache/response_facts.h"
#include "cache/vary.h"

namespace satchel::cache {

class StoredResponse;
using StoredPtr = std::shared_ptr<const StoredResponse>;

// One stored response (RFC 9111 2): immutable and shared; any thread may read it. A response whose
// body is still arriving is represented by its head alone, with an empty body.
//
// Key text, header block and a small body lie in the same allocation as the object.
class StoredResponse final : public std::enable_shared_from_this<StoredResponse>, private Body {
 public:
  struct Parts {
    std::string key;  // text of the CacheKey
    VarySpec vary;
    std::string vary_values;  // VaryValues() of the request that it answered
    ResponseFacts facts;
    std::string reason;  // reason phrase
    HeaderMap fields;    // as StoredFields() left them
    Body body;
    std::vector<std::string> tags;
    ByteRange partial_range;       // of a stored 206
    uint64_t complete_length = 0;  // of a stored 206
    // `body` is the whole body even if it is empty. A body that is not empty is always whole.
    bool complete = false;
  };

  static StoredPtr Make(Parts parts);
  // The same response with another body (a fill that ended), or with new fields and facts (a 304).
  static StoredPtr WithBody(const StoredResponse& head, Body body);
  static StoredPtr WithFields(const StoredResponse& old, const HeaderMap& fields,
                              const ResponseFacts& facts);

  const ResponseFacts& facts() const { return facts_; }
  std::string_view key() const { return {text(), key_size_}; }
  uint64_t key_hash() const;  // computed at each call
  const VarySpec& vary() const { return extras_ ? extras_->vary : kNoVary; }
  std::string_view vary_values() const {
    return extras_ ? std::string_view(extras_->vary_values) : std::string_view();
  }
  const Body& body() const { return *this; }
  const std::vector<std::string>& tags() const { return extras_ ? extras_->tags : kNoTags; }
  const ByteRange& partial_range() const { return extras_ ? extras_->partial_range : kNoRange; }
  uint64_t complete_length() const { return extras_ ? extras_->complete_length : 0; }
  std::string_view reason() const;
  // False for a head whose body is still to come.
  bool complete() const { return complete_; }

  // The field lines as a map, built from the header block at each call: not for the hit path.
  HeaderMap Fields() const;

  // Status line and field lines as an HTTP/1.1 client gets them, each ended by CRLF, without Age,
  // Cache-Status, Connection and the final empty line. Holds Content-Length where the length is
  // known (always, once the body is complete) unless the status forbids it.
  std::string_view header_block() const { return {text() + key_size_, block_size_}; }

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
    std::vector<std::string> tags;
    ByteRange partial_range;
    uint64_t complete_length = 0;
  };
  static const VarySpec kNoVary;
  static const std::vector<std::string> kNoTags;
  static const ByteRange kNoRange;

  static StoredPtr Build(std::string_view key, std::string_view block, const ResponseFacts& facts,
                         const Extras* extras, Body body, bool complete);
  const char* text() const { return reinterpret_cast<const char*>(this + 1); }
  char* text() { return reinterpret_cast<char*>(this + 1); }

  ResponseFacts facts_;
  std::unique_ptr<const Extras> extras_;
  uint32_t key_size_ = 0;
  uint32_t block_size_ : 31 = 0;
  uint32_t complete_ : 1 = 0;
};

}  // namespace satchel::cache
