#include "proxy/http1/framing.h"

namespace satchel::http1 {
namespace {

using cache::FieldId;
using cache::HeaderMap;

std::unexpected<ParseError> Refuse(uint16_t status, std::string_view message) {
  return std::unexpected(ParseError{status, message});
}

bool KeepAlive(uint8_t minor_version, const HeaderMap& fields) {
  if (!fields.Has(FieldId::kConnection)) return minor_version >= 1;
  if (ListHasToken(fields, FieldId::kConnection, "close")) return false;
  return minor_version >= 1 || ListHasToken(fields, FieldId::kConnection, "keep-alive");
}

bool ContainsIgnoreCase(std::string_view text, std::string_view what) {
  for (size_t i = 0; i + what.size() <= text.size(); ++i) {
    if (cache::EqualsIgnoreCase(text.substr(i, what.size()), what)) return true;
  }
  return false;
}

}  // namespace

bool ListHasToken(const HeaderMap& fields, FieldId id, std::string_view token) {
  if (!fields.Has(id)) return false;
  for (const HeaderMap::Field field : fields) {
    if (field.id != id) continue;
    std::string_view rest = field.value;
    while (!rest.empty()) {
      const size_t comma = rest.find(',');
      if (cache::EqualsIgnoreCase(cache::TrimOws(rest.substr(0, comma)), token)) return true;
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  return false;
}

std::optional<uint64_t> ParseLength(std::string_view text) {
  if (text.empty() || text.size() > 19) return std::nullopt;
  uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  if (value > INT64_MAX) return std::nullopt;
  return value;
}

std::expected<Framing, ParseError> FrameRequest(const cache::RequestHead& head) {
  const HeaderMap& fields = head.fields;
  Framing framing;
  framing.keep_alive = KeepAlive(head.minor_version, fields);
  if (fields.Has(FieldId::kTransferEncoding)) {
    if (fields.Has(FieldId::kContentLength)) {
      return Refuse(400, "Transfer-Encoding together with Content-Length");
    }
    if (head.minor_version == 0) return Refuse(400, "Transfer-Encoding in an HTTP/1.0 request");
    if (fields.Count(FieldId::kTransferEncoding) != 1) {
      return Refuse(400, "repeated Transfer-Encoding");
    }
    const std::string_view coding = *fields.First(FieldId::kTransferEncoding);
    if (!cache::EqualsIgnoreCase(coding, "chunked")) {
      // Well-formed codings that we do not have are 501, everything else is an attack.
      const size_t comma = coding.rfind(',');
      const std::string_view last =
          cache::TrimOws(comma == std::string_view::npos ? coding : coding.substr(comma + 1));
      const bool chunked_last = cache::EqualsIgnoreCase(last, "chunked");
      if (comma == std::string_view::npos && cache::IsToken(coding)) {
        return Refuse(501, "transfer coding not supported");
      }
      return Refuse(chunked_last ? 501 : 400, "transfer coding not supported");
    }
    framing.kind = BodyKind::kChunked;
    return framing;
  }
  if (fields.Has(FieldId::kContentLength)) {
    if (fields.Count(FieldId::kContentLength) != 1) return Refuse(400, "repeated Content-Length");
    const auto length = ParseLength(*fields.First(FieldId::kContentLength));
    if (!length) return Refuse(400, "invalid Content-Length");
    framing.length = *length;
    framing.kind = *length == 0 ? BodyKind::kNone : BodyKind::kLength;
  }
  return framing;
}

std::expected<Framing, ParseError> FrameResponse(std::string_view request_method,
                                                 const cache::ResponseHead& head) {
  const HeaderMap& fields = head.fields;
  Framing framing;
  framing.keep_alive = KeepAlive(head.minor_version, fields);
  const bool has_coding = fields.Has(FieldId::kTransferEncoding);
  const bool has_length = fields.Has(FieldId::kContentLength);
  std::optional<uint64_t> length;
  if (has_length) {
    if (fields.Count(FieldId::kContentLength) != 1) return Refuse(502, "repeated Content-Length");
    length = ParseLength(*fields.First(FieldId::kContentLength));
    if (!length) return Refuse(502, "invalid Content-Length");
  }
  if (request_method == "HEAD" || head.status < 200 || head.status == 204 ||
      head.status == 304) {
    // Never a body (RFC 9112 6.3 item 1). Who announces one in a 204 may send it all the same.
    if (head.status == 204 && (has_coding || length.value_or(0) > 0)) framing.keep_alive = false;
    return framing;
  }
  if (has_coding) {
    if (has_length) return Refuse(502, "Transfer-Encoding together with Content-Length");
    // HTTP/1.0 knows no transfer codings: the framing is faulty (RFC 9112 6.1).
    if (head.minor_version == 0) return Refuse(502, "Transfer-Encoding in an HTTP/1.0 response");
    const bool one_line = fields.Count(FieldId::kTransferEncoding) == 1;
    const std::string_view coding = *fields.First(FieldId::kTransferEncoding);
    if (one_line && cache::EqualsIgnoreCase(coding, "chunked")) {
      framing.kind = BodyKind::kChunked;
      return framing;
    }
    // A coding we cannot undo before or after "chunked", or something that others might take for
    // it, would leave us with bytes that mean something else than their fields say; without
    // "chunked" the end of the body is the end of the connection (RFC 9112 6.3 item 4).
    if (!one_line || coding.empty() || ContainsIgnoreCase(coding, "chunked")) {
      return Refuse(502, "transfer coding not supported");
    }
    framing.kind = BodyKind::kUntilClose;
    framing.keep_alive = false;
    return framing;
  }
  if (has_length) {
    framing.kind = *length == 0 ? BodyKind::kNone : BodyKind::kLength;
    framing.length = *length;
    return framing;
  }
  framing.kind = BodyKind::kUntilClose;
  framing.keep_alive = false;
  return framing;
}

}  // namespace satchel::http1
