#include "proxy/responder.h"

#include <algorithm>
#include <chrono>

#include "cache/base/append.h"
#include "cache/http/date.h"
#include "cache/range.h"
#include "cache/storability.h"
#include "cache/validation.h"
#include "proxy/http1/serializer.h"
#include "proxy/json_escape.h"

namespace satchel::proxy {
namespace {

using cache::FieldId;
using cache::HeaderMap;
using cache::Method;
using cache::RequestHead;
using cache::StoredResponse;

// A head of ordinary length; what is larger costs the allocator a longer way.
constexpr size_t kUsualHead = 1000;

void AppendJsonString(std::string& out, std::string_view text) {
  out.push_back('"');
  AppendEscaped(out, text);
  out.push_back('"');
}

void AppendConnection(std::string& out, const ReplyContext& context) {
  if (!context.keep_alive) {
    out.append("Connection: close\r\n");
  } else if (context.client_minor_version == 0) {
    out.append("Connection: keep-alive\r\n");
  }
}

void AppendCacheStatusField(std::string& out, const ReplyContext& context) {
  cache::AppendAll(out, {"Cache-Status: ", context.inner_status,
                         context.inner_status.empty() ? "" : ", "});
  cache::AppendCacheStatus(out, context.cache_status);
  out.append("\r\n");
}

void AppendAge(std::string& out, const cache::ResponseFacts& facts, cache::Time now) {
  const auto age = std::chrono::floor<std::chrono::seconds>(facts.AgeAt(now)).count();
  http1::AppendField(out, "Age", static_cast<uint64_t>(age));
}

bool HasEdits(const rules::Rule* rule) {
  return rule != nullptr && (!rule->response_headers.empty() || rule->client_cache_control);
}

void ApplyEdits(HeaderMap& fields, const rules::Rule* rule, bool cacheable) {
  if (rule == nullptr) return;
  if (rule->client_cache_control && cacheable) {
    fields.Set(FieldId::kCacheControl, *rule->client_cache_control);
  }
  for (const std::string& name : rule->response_headers.remove) fields.Remove(name);
  for (const auto& [name, value] : rule->response_headers.set) fields.Set(name, value);
}

// The last lines of a head: framing for a body of unknown length, ours, and the empty line.
void FinishHead(Reply& reply, bool unknown_length, const ReplyContext& context) {
  if (unknown_length && context.client_minor_version >= 1) {
    reply.chunked = true;
    reply.head.append("Transfer-Encoding: chunked\r\n");
  }
  AppendCacheStatusField(reply.head, context);
  reply.head.append(context.own_fields);
  reply.head.append(context.extra_fields);
  AppendConnection(reply.head, context);
  reply.head.append("\r\n");
}

}  // namespace

void AppendHitTail(std::string& out, const cache::ResponseFacts& facts,
                   const ReplyContext& context) {
  AppendAge(out, facts, context.now);
  AppendCacheStatusField(out, context);
  out.append(context.extra_fields);
  AppendConnection(out, context);
  out.append("\r\n");
}

Reply BuildStoredReply(const RequestHead& request, const StoredResponse& stored,
                       std::optional<uint64_t> length, const ReplyContext& context) {
  static const cache::FieldSet kShaping(FieldId::kIfNoneMatch, FieldId::kIfModifiedSince,
                                        FieldId::kRange);
  const cache::ResponseFacts& facts = stored.facts();
  Reply reply;
  reply.status = facts.status;
  const bool head_only = request.method == Method::kHead;
  const bool no_content = facts.status == 204 || facts.status == 304;
  if (!request.fields.HasAny(kShaping) && !HasEdits(context.rule)) {
    reply.head.reserve(stored.header_block().size() + 256);
    reply.head.assign(stored.header_block());
    AppendAge(reply.head, facts, context.now);
    FinishHead(reply, !length && !no_content, context);
    if (head_only || no_content) reply.body_length = 0;
    return reply;
  }

  HeaderMap fields = stored.Fields();
  fields.Remove(FieldId::kContentLength);
  const auto condition =
      cache::EvaluatePreconditions(request, fields, facts.status, facts.received);
  if (condition == cache::Precondition::kNotModified) {
    reply.status = 304;
    reply.body_length = 0;
    fields.RemoveIf([](const HeaderMap::Field& field) {
      return !cache::BelongsInNotModified(field.id);
    });
    ApplyEdits(fields, context.rule, true);
    http1::AppendStatusLine(reply.head, 304, cache::ReasonPhrase(304));
    http1::AppendFields(reply.head, fields);
    AppendAge(reply.head, facts, context.now);
    FinishHead(reply, false, context);
    return reply;
  }
  ApplyEdits(fields, context.rule, true);
  if (length && facts.status == 200 && request.method == Method::kGet) {
    const cache::RangeVerdict verdict = cache::EvaluateRange(request, stored.Fields(), *length);
    if (verdict.kind == cache::RangeVerdict::Kind::kUnsatisfiable) {
      reply.status = 416;
      reply.body_length = 0;
      http1::AppendStatusLine(reply.head, 416, cache::ReasonPhrase(416));
      http1::AppendFields(reply.head, fields);
      http1::AppendField(reply.head, "Content-Range", "bytes */" + std::to_string(*length));
      http1::AppendField(reply.head, "Content-Length", uint64_t{0});
      AppendAge(reply.head, facts, context.now);
      FinishHead(reply, false, context);
      return reply;
    }
    if (verdict.kind == cache::RangeVerdict::Kind::kPartial && verdict.ranges.size() == 1) {
      const cache::ByteRange& range = verdict.ranges.front();
      reply.status = 206;
      reply.body_first = range.first;
      reply.body_length = range.size();
      http1::AppendStatusLine(reply.head, 206, cache::ReasonPhrase(206));
      http1::AppendFields(reply.head, fields);
      http1::AppendField(reply.head, "Content-Range", cache::FormatContentRange(range, *length));
      http1::AppendField(reply.head, "Content-Length", range.size());
      AppendAge(reply.head, facts, context.now);
      FinishHead(reply, false, context);
      return reply;
    }
  }
  http1::AppendStatusLine(reply.head, facts.status, stored.reason());
  http1::AppendFields(reply.head, fields);
  if (length && !no_content) http1::AppendField(reply.head, "Content-Length", *length);
  AppendAge(reply.head, facts, context.now);
  FinishHead(reply, !length && !no_content, context);
  if (head_only || no_content) reply.body_length = 0;
  return reply;
}

Reply BuildPassedReply(const cache::ResponseHead& response, bool has_body,
                       std::optional<uint64_t> length, const ReplyContext& context) {
  Reply reply;
  reply.status = response.status;
  HeaderMap fields = response.fields;
  cache::RemoveHopByHop(fields);
  // For HEAD and 304 the origin's Content-Length describes what it did not send: it stays.
  if (has_body) fields.Remove(FieldId::kContentLength);
  if (response.status == 204) fields.Remove(FieldId::kContentLength);
  if (!fields.Has(FieldId::kDate)) fields.Set(FieldId::kDate, cache::FormatHttpDate(context.now));
  ApplyEdits(fields, context.rule, false);
  reply.head.reserve(kUsualHead);
  http1::AppendStatusLine(reply.head, response.status, response.reason);
  http1::AppendFields(reply.head, fields);
  if (has_body && length) http1::AppendField(reply.head, "Content-Length", *length);
  if (!has_body) reply.body_length = 0;
  FinishHead(reply, has_body && !length, context);
  return reply;
}

std::string BuildProblem(const Problem& problem, const ReplyContext& context, bool head_only) {
  std::string body = problem.body;
  if (body.empty()) {
    body.append("{\"type\":");
    AppendJsonString(body, problem.type.empty() ? "about:blank" : problem.type);
    body.append(",\"title\":");
    AppendJsonString(body, cache::ReasonPhrase(problem.status));
    body.append(",\"status\":").append(std::to_string(problem.status)).append(",\"detail\":");
    AppendJsonString(body, problem.detail);
    if (!problem.reason.empty()) {
      body.append(",\"reason\":");
      AppendJsonString(body, problem.reason);
    }
    body.append("}\n");
  }
  std::string out;
  http1::AppendStatusLine(out, problem.status, cache::ReasonPhrase(problem.status));
  http1::AppendField(out, "Date", cache::FormatHttpDate(context.now));
  http1::AppendField(out, "Content-Type", "application/problem+json");
  http1::AppendField(out, "Content-Length", static_cast<uint64_t>(body.size()));
  http1::AppendField(out, "Cache-Control", "no-store");
  if (context.cache_status.reason != cache::Reason::kNone ||
      context.cache_status.forward != cache::CacheStatus::Forward::kNone) {
    AppendCacheStatusField(out, context);
  }
  out.append(problem.fields);
  out.append(context.extra_fields);
  AppendConnection(out, context);
  out.append("\r\n");
  if (!head_only) out.append(body);
  return out;
}

}  // namespace satchel::proxy
