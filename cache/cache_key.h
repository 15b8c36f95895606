#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cache/http/message.h"

namespace satchel::cache {

// How a rule shapes the key. The default is the full URI, byte for byte (RFC 9111 2).
struct KeyRule {
  bool scheme = true;
  bool host = true;
  // Query parameters by name; globs with '*'. `allow` non-empty: only those stay.
  std::vector<std::string> query_allow;
  std::vector<std::string> query_deny;
  bool query_sort = false;
  std::vector<std::string> headers;
  std::vector<std::string> cookies;
  // POST and QUERY with a body of up to so many bytes are reads, and the body is part of their key;
  // 0: they are not cached. Says nothing about GET and HEAD.
  uint64_t body_max = 0;
  bool body_canonical_json = false;  // JSON bodies that mean the same have one key
  uint32_t version = 1;
  bool plain() const {
    return scheme && host && query_allow.empty() && query_deny.empty() && !query_sort &&
           headers.empty() && cookies.empty() && version == 1;
  }
};

// What a request body is told from others by. Forging a digest must be out of reach: SHA-256.
struct BodyIdentity {
  std::string digest;
  uint64_t length = 0;
  bool canonical = false;  // `digest` is of the canonical JSON, not of the bytes
};

// Which answer. Equality is on the text; the hash only finds the candidate. Reuse one object per
// worker: Build keeps its memory.
class CacheKey {
 public:
  CacheKey() = default;
  explicit CacheKey(std::string text);

  // The key of a request: method-independent. For a plain rule: scheme "://" authority target.
  void Build(const RequestHead& request, const KeyRule& rule);
  void BuildUri(std::string_view scheme, std::string_view authority, std::string_view target);

  // Adds method and content to the key that was built: a QUERY, or a POST that a rule takes for a
  // read, never meets the answer to another method, body or kind of body.
  void AddBody(const RequestHead& request, const BodyIdentity& body);

  std::string_view text() const { return text_; }
  uint64_t hash() const { return hash_; }  // XXH3 with a per-process seed: not for storage
  bool operator==(const CacheKey& other) const {
    return hash_ == other.hash_ && text_ == other.text_;
  }

 private:
  void Seal();
  std::string text_;
  uint64_t hash_ = 0;
};

// The seed of in-process hashes; random at start (hash tables must not be attackable).
// Fixed until SetHashSeed, which is called once, before any key is built.
uint64_t HashSeed();
void SetHashSeed(uint64_t seed);

}  // namespace satchel::cache
