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
class StoredResponse {
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
  };

  static StoredPtr Make(Parts parts);
  // The same response with another body (a fill that ended), or with new fields and facts (a 304).
  static StoredPtr WithBody(const StoredResponse& head, Body body);
  static StoredPtr WithFields(const StoredResponse& old, HeaderMap fields, ResponseFacts facts);

  const ResponseFacts& facts() const;
  std::string_view key() const;
  uint64_t key_hash() const;
  const VarySpec& vary() const;
  std::string_view vary_values() const;
  const Body& body() const;
  const std::vector<std::string>& tags() const;
  const ByteRange& partial_range() const;
  uint64_t complete_length() const;
  std::string_view reason() const;

  // The field lines as a map, built from the header block at each call: not for the hit path.
  HeaderMap Fields() const;

  // Status line and field lines as an HTTP/1.1 client gets them, each ended by CRLF, without Age,
  // Cache-Status, Connection and the final empty line. Holds Content-Length where the length is
  // known (always, once the body is complete) unless the status forbids it.
  std::string_view header_block() const;

  // Everything it keeps alive, in bytes: what the store charges.
  size_t charge() const;
};

}  // namespace satchel::cache
