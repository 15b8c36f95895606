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

std::string_view ConnectionLine(const ReplyContext& context) {
  if (!context.keep_alive) return "Connection: close\r\n";
  return context.client_minor_version == 0 ? "Connection: keep-alive\r\n" : "";
}

void AppendCacheStatusField(std::string& out, const ReplyContext& context) {
  cache::AppendAll(out, {"Cache-Status: ", context.inner_status,
                         context.inner_status.empty() ? "" : ", "});
  cache::AppendCacheStatus(out, context.cache_status);
  out.append("\r\n");
}

uint64_t AgeSeconds(const cache::ResponseFacts& facts, cache::Time now) {
  const auto age = std::chrono::floor<std::chrono::seconds>(facts.AgeAt(now)).count();
  return static_cast<uint64_t>(age);
}

void AppendAge(std::string& out, const cache::ResponseFacts& facts, cache::Time now) {
  http1::AppendField(out, "Age", AgeSeconds(facts, now));
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
  cache::AppendAll(reply.head, {ConnectionLine(context), "\r\n"});
}

// Ends a head that speaks of a part of the body, or of none of it.
void FinishPart(std::string_view content_range, uint64_t content_length, HeaderMap& fields,
                const cache::ResponseFacts& facts, const ReplyContext& context, Reply& reply) {
  http1::AppendStatusLine(reply.head, reply.status, cache::ReasonPhrase(reply.status));
  http1::AppendFields(reply.head, fields);
  if (!content_range.empty()) http1::AppendField(reply.head, "Content-Range", content_range);
  http1::AppendField(reply.head, "Content-Length", content_length);
  AppendAge(reply.head, facts, context.now);
  FinishHead(reply, false, context);
}

// From a stored part, which holds the range asked for.
void AnswerFromPart(const RequestHead& request, const StoredResponse& stored, HeaderMap& fields,
                    const ReplyContext& context, Reply& reply) {
  const cache::ByteRange& have = stored.partial_range();
  const uint64_t length = stored.complete_length();
  const cache::RangeVerdict verdict =
      cache::EvaluateStoredPart(request, stored.Fields(), have, length);
  const cache::ByteRange range =
      verdict.kind == cache::RangeVerdict::Kind::kPartial ? verdict.ranges.front() : have;
  reply.status = 206;
  reply.body_first = range.first - have.first;
  reply.body_length = range.size();
  fields.Remove(FieldId::kContentRange);
  FinishPart(cache::FormatContentRange(range, length), range.size(), fields, stored.facts(),
             context, reply);
}

constexpr cache::FieldSet kOfTheWhole{
    FieldId::kCacheControl, FieldId::kCdnCacheControl, FieldId::kSatchelCacheControl,
    FieldId::kExpires,      FieldId::kContentType,     FieldId::kContentEncoding};

// 206 or 416. False: the whole is the answer.
bool AnswerRange(const RequestHead& request, const StoredResponse& stored, uint64_t length,
                 HeaderMap& fields, const ReplyContext& context, Reply& reply) {
  const cache::RangeVerdict verdict = cache::EvaluateRange(request, stored.Fields(), length);
  if (verdict.kind == cache::RangeVerdict::Kind::kWhole) return false;
  if (verdict.kind == cache::RangeVerdict::Kind::kUnsatisfiable) {
    reply.status = 416;
    reply.body_length = 0;
    // An error of this request: what was said of the stored response would let others keep it.
    fields.RemoveIf([](const HeaderMap::Field& field) { return kOfTheWhole.Contains(field.id); });
    FinishPart("bytes */" + std::to_string(length), 0, fields, stored.facts(), context, reply);
    return true;
  }
  if (verdict.ranges.size() == 1) {
    const cache::ByteRange& range = verdict.ranges.front();
    reply.status = 206;
    reply.body_first = range.first;
    reply.body_length = range.size();
    FinishPart(cache::FormatContentRange(range, length), range.size(), fields, stored.facts(),
               context, reply);
    return true;
  }
  if (!stored.complete()) return false;
  reply.multipart = Multipart::Make(verdict.ranges, length,
                                    fields.First(FieldId::kContentType).value_or(""),
                                    context.random);
  if (!reply.multipart) return false;
  reply.status = 206;
  // The type stands in each part (RFC 9110 15.3.7.2).
  fields.Set(FieldId::kContentType, reply.multipart->content_type());
  FinishPart({}, reply.multipart->content_length(), fields, stored.facts(), context, reply);
  return true;
}

}  // namespace

void AppendHitTail(std::string& out, const cache::ResponseFacts& facts,
                   const ReplyContext& context) {
  constexpr size_t kNames = 96;  // of the fields, with the age and Connection
  const size_t most = kNames + cache::MostCacheStatusBytes(context.cache_status) +
                      context.extra_fields.size();
  cache::AppendWritten(out, most, [&](char* at) {
    cache::CharWriter writer(at);
    writer.Text("Age: ");
    writer.Number(AgeSeconds(facts, context.now));
    writer.Text("\r\nCache-Status: ");
    writer.MoveTo(cache::WriteCacheStatus(writer.at(), context.cache_status));
    writer.Text("\r\n");
    writer.Text(context.extra_fields);
    writer.Text(ConnectionLine(context));
    writer.Text("\r\n");
    return writer.at();
  });
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
  if (facts.partial) {
    AnswerFromPart(request, stored, fields, context, reply);
    return reply;
  }
  if (length && facts.status == 200 && request.method == Method::kGet &&
      AnswerRange(request, stored, *length, fields, context, reply)) {
    return reply;
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
  http1::AppendField(out, "Content-Type", problem.media_type);
  http1::AppendField(out, "Content-Length", static_cast<uint64_t>(body.size()));
  http1::AppendField(out, "Cache-Control", "no-store");
  if (context.cache_status.reason != cache::Reason::kNone ||
      context.cache_status.forward != cache::CacheStatus::Forward::kNone) {
    AppendCacheStatusField(out, context);
  }
  out.append(problem.fields);
  out.append(context.extra_fields);
  cache::AppendAll(out, {ConnectionLine(context), "\r\n"});
  if (!head_only) out.append(body);
  return out;
}

}  // namespace satchel::proxy
