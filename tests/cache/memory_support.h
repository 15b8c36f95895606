#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "cache/fill.h"
#include "cache/store.h"

// What the tests of the store and its fills share: requests, heads and bodies in one line.
namespace satchel::cache::testing {

inline Time At(int64_t seconds) { return TimeFromUnixSeconds(1'800'000'000 + seconds); }

inline RequestHead Get(std::string_view target = "/") {
  RequestHead request;
  request.method = Method::kGet;
  request.method_text = "GET";
  request.scheme = "http";
  request.authority = "origin.test";
  request.target = target;
  return request;
}

inline RequestHead GetWith(std::string_view name, std::string_view value) {
  RequestHead request = Get();
  request.fields.Add(name, value);
  return request;
}

inline CacheKey Key(std::string_view text = "http://origin.test/") {
  return CacheKey(std::string(text));
}

struct HeadOptions {
  std::string key = "http://origin.test/";
  int64_t date = 0;
  int64_t lifetime = 60;
  VarySpec vary = {};
  std::string vary_values = {};
  std::string body = {};
};

inline StoredResponse::Parts PartsOf(const HeadOptions& o) {
  StoredResponse::Parts parts;
  parts.key = o.key;
  parts.vary = o.vary;
  parts.vary_values = o.vary_values;
  parts.facts.status = 200;
  parts.facts.received = At(o.date);
  parts.facts.date = At(o.date);
  parts.facts.lifetime = std::chrono::seconds(o.lifetime);
  parts.reason = "OK";
  parts.fields.Add("Content-Type", "text/plain");
  parts.body = Body::Copy(o.body);
  return parts;
}

inline StoredPtr Response(const HeadOptions& options) {
  return StoredResponse::Make(PartsOf(options));
}
inline StoredPtr Head(std::string_view key = "http://origin.test/") {
  return Response({.key = std::string(key)});
}

// Bytes that differ at every offset by more than a period of segment sizes.
inline std::string Pattern(size_t size, unsigned seed = 1) {
  std::string bytes(size, '\0');
  uint32_t state = seed * 2654435761u + 1;
  for (char& c : bytes) {
    state = state * 1664525u + 1013904223u;
    c = static_cast<char>(state >> 24);
  }
  return bytes;
}

// Everything the reader can see now, consumed.
inline std::string Drain(FillReader& reader) {
  std::string all;
  iovec pieces[4];
  while (const size_t count = reader.Gather(pieces)) {
    size_t bytes = 0;
    for (size_t i = 0; i < count; ++i) {
      all.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
      bytes += pieces[i].iov_len;
    }
    reader.Consume(bytes);
  }
  return all;
}

// Puts a response into the store as a fetch would.
inline bool Put(Store& store, StoredPtr response, const RequestHead& request = Get()) {
  const CacheKey key{std::string(response->key())};
  FillPermit permit = store.TryLead(key, request, Overrides());
  if (!permit) return false;
  permit.CompleteWith(std::move(response), true);
  return true;
}

}  // namespace satchel::cache::testing
