#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cache/base/clock.h"
#include "cache/cache_status.h"
#include "cache/http/message.h"
#include "cache/stored_response.h"
#include "proxy/multipart.h"
#include "rules/rule.h"

namespace satchel::proxy {

// What a reply needs to know besides the response itself.
struct ReplyContext {
  cache::Time now;
  cache::CacheStatus cache_status;
  bool keep_alive = true;
  uint8_t client_minor_version = 1;
  const rules::Rule* rule = nullptr;   // its edits of the response; may be null
  std::string_view inner_status;       // Cache-Status members of inner caches, theirs first
  std::string_view own_fields;         // lines that came for this request alone
  std::string_view extra_fields;       // whole lines with CRLF, for example of rate limits
  double random = 0;                   // [0, 1), for the boundary of a multipart body
};

// A head in wire form, its final empty line included, and which part of the body goes with it.
struct Reply {
  uint16_t status = 0;
  std::string head;
  bool chunked = false;
  uint64_t body_first = 0;
  std::optional<uint64_t> body_length;  // absent: all there will be
  std::unique_ptr<Multipart> multipart;  // the body has several ranges; the two above do not count
};

// Answers a request from a stored or growing response: 304, 206, 416 or the response itself
// (RFC 9110 13.2.2, 14.2; RFC 9111 4.3.2). `length` is that of the whole body, if known; only where
// the body is complete are several ranges answered as such. A stored part (206) answers the range
// that it holds; the caller has made sure of that.
Reply BuildStoredReply(const cache::RequestHead& request, const cache::StoredResponse& stored,
                       std::optional<uint64_t> length, const ReplyContext& context);

// The fields that change from hit to hit and the empty line: Age, Cache-Status, Connection. For
// the shortest path: the caller sends the stored header block, this, and the body.
void AppendHitTail(std::string& out, const cache::ResponseFacts& facts,
                   const ReplyContext& context);

// The head of an answer that is passed on as it comes (RFC 9110 7.6). `length`: of the body, if
// the origin told it; `has_body` is false for HEAD, 204 and 304.
Reply BuildPassedReply(const cache::ResponseHead& response, bool has_body,
                       std::optional<uint64_t> length, const ReplyContext& context);

// An answer of our own: application/problem+json (RFC 9457), never cached.
struct Problem {
  uint16_t status = 500;
  std::string_view detail;      // for people; no secrets
  std::string_view reason;      // a short hyphenated word for programs
  std::string_view type;        // empty: about:blank
  std::string body;             // replaces the generated one
  std::string_view media_type = "application/problem+json";
  std::string fields;           // more lines with CRLF
};
std::string BuildProblem(const Problem& problem, const ReplyContext& context, bool head_only);

}  // namespace satchel::proxy
