#include "proxy/http1/parser.h"

#include <llhttp.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "cache/base/text.h"

namespace satchel::http1 {
namespace {

using cache::HeaderMap;
using cache::RequestHead;
using cache::ResponseHead;

std::unexpected<ParseError> Refuse(uint16_t status, std::string_view message) {
  return std::unexpected(ParseError{status, message});
}

// Where one run of llhttp puts the fields it finds.
struct FieldSink {
  HeaderMap* fields;
  size_t max_fields;
  std::string_view name;
  std::string_view value;
  size_t lines = 0;
  bool too_many = false;
  bool bad_name = false;
  bool bad_value = false;
  bool complete = false;
};

// All input is there at once, so llhttp hands each name and value over whole.
int OnField(llhttp_t* parser, const char* at, size_t size) {
  static_cast<FieldSink*>(parser->data)->name = {at, size};
  return 0;
}

int OnValue(llhttp_t* parser, const char* at, size_t size) {
  static_cast<FieldSink*>(parser->data)->value = {at, size};
  return 0;
}

bool HasControl(std::string_view text) {
  return cache::AnyByte(text, [](cache::ByteLanes b) {
    return ((b >= 0) & (b < 0x20) & (b != '\t')) | (b == 0x7f);
  });
}

int OnValueComplete(llhttp_t* parser) {
  auto* sink = static_cast<FieldSink*>(parser->data);
  if (++sink->lines > sink->max_fields) {
    sink->too_many = true;
    return -1;
  }
  // llhttp lets pass what other parsers read differently: white space before the colon, empty
  // names, odd characters. A name we know is a token.
  const cache::FieldId id = cache::FindFieldId(sink->name);
  if ((id == cache::FieldId::kOther && !cache::IsToken(sink->name)) ||
      sink->name.data()[sink->name.size()] != ':') {
    sink->bad_name = true;
    return -1;
  }
  if (HasControl(sink->value)) {
    sink->bad_value = true;
    return -1;
  }
  sink->fields->Add(id, sink->name, cache::TrimOws(sink->value));
  sink->name = {};
  sink->value = {};
  return 0;
}

int OnHeadersComplete(llhttp_t* parser) {
  static_cast<FieldSink*>(parser->data)->complete = true;
  return HPE_PAUSED;
}

// llhttp in the state behind a start line. Start lines are parsed here, more strictly than llhttp
// does and for any method; copying a prepared state then costs less than feeding it one.
struct Prepared {
  llhttp_settings_t settings;
  llhttp_t parser;

  Prepared() {
    llhttp_settings_init(&settings);
    settings.on_header_field = OnField;
    settings.on_header_value = OnValue;
    settings.on_header_value_complete = OnValueComplete;
    settings.on_headers_complete = OnHeadersComplete;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    // Message length is decided in framing alone, where both fields are seen together.
    llhttp_set_lenient_chunked_length(&parser, 1);
    constexpr std::string_view kStart = "GET / HTTP/1.1\r\n";
    llhttp_execute(&parser, kStart.data(), kStart.size());
  }
};

const Prepared& GetPrepared() {
  static const Prepared prepared;
  return prepared;
}

enum class LineEnds { kMore, kFound, kBare };

struct Scan {
  LineEnds ends;
  size_t size = 0;        // of the head, with its empty line
  size_t start_line = 0;  // without CRLF; npos while unknown
};

// Finds the end of the head and checks that every line end is CRLF.
Scan ScanHead(std::string_view input, size_t from) {
  Scan scan{LineEnds::kMore};
  const char* const begin = input.data();
  const char* const end = begin + input.size();
  const char* at = begin + from;
  while (at < end) {
    const char* lf = static_cast<const char*>(memchr(at, '\n', static_cast<size_t>(end - at)));
    if (lf == nullptr) return scan;
    if (lf == begin || lf[-1] != '\r') return {LineEnds::kBare};
    if (lf - begin >= 3 && lf[-2] == '\n') {
      scan.ends = LineEnds::kFound;
      scan.size = static_cast<size_t>(lf - begin) + 1;
      return scan;
    }
    at = lf + 1;
  }
  return scan;
}

ParseError FieldError(llhttp_errno_t code, const FieldSink& sink) {
  if (sink.too_many) return {431, "too many fields"};
  if (sink.bad_name) return {400, "invalid field name"};
  if (sink.bad_value) return {400, "control character in a field value"};
  switch (code) {
    case HPE_INVALID_HEADER_TOKEN:
      return {400, "invalid character in a field line"};
    case HPE_INVALID_CONTENT_LENGTH:
    case HPE_UNEXPECTED_CONTENT_LENGTH:
      return {400, "invalid or repeated Content-Length"};
    case HPE_INVALID_TRANSFER_ENCODING:
      return {400, "invalid Transfer-Encoding"};
    case HPE_CR_EXPECTED:
    case HPE_LF_EXPECTED:
      return {400, "line does not end in CRLF"};
    default:
      return {400, "malformed field line"};
  }
}

// Parses `line_count` field lines, the last of them the empty one.
std::expected<void, ParseError> ParseFields(std::string_view lines, size_t line_count,
                                            size_t max_fields, HeaderMap& fields) {
  FieldSink sink{&fields, max_fields, {}, {}};
  llhttp_t parser = GetPrepared().parser;
  parser.data = &sink;
  const llhttp_errno_t code = llhttp_execute(&parser, lines.data(), lines.size());
  if (!sink.complete) return std::unexpected(FieldError(code, sink));
  // Each line but the empty one was a field: none was skipped or joined to another.
  if (line_count != sink.lines + 1) return Refuse(400, "malformed field line");
  return {};
}

// The lines of a whole head, whose every LF has its CR already.
struct Lines {
  size_t count = 0;
  bool bare_return = false;
  bool folded = false;  // one begins with white space
};

Lines CountLines(std::string_view head) {
  Lines lines;
  const char* at = head.data();
  const char* const end = at + head.size();
  while ((at = static_cast<const char*>(memchr(at, '\r', static_cast<size_t>(end - at))))) {
    if (at + 1 == end || at[1] != '\n') {
      lines.bare_return = true;
      return lines;
    }
    ++lines.count;
    at += 2;
    if (at != end && (*at == ' ' || *at == '\t')) lines.folded = true;
  }
  return lines;
}

std::expected<void, ParseError> ParseVersion(std::string_view text, uint8_t& minor) {
  if (text == "HTTP/1.1") {
    minor = 1;
    return {};
  }
  if (text == "HTTP/1.0") {
    minor = 0;
    return {};
  }
  const bool well_formed = text.size() == 8 && text.starts_with("HTTP/") && text[6] == '.' &&
                           text[5] >= '0' && text[5] <= '9' && text[7] >= '0' && text[7] <= '9';
  if (well_formed) return Refuse(505, "HTTP version not supported");
  return Refuse(400, "malformed HTTP version");
}

std::expected<void, ParseError> ParseRequestLine(std::string_view line, RequestHead& head) {
  const size_t first = line.find(' ');
  if (first == std::string_view::npos) return Refuse(400, "malformed request line");
  const std::string_view method = line.substr(0, first);
  head.method = cache::ParseMethod(method);
  if (head.method == cache::Method::kOther && !cache::IsToken(method)) {
    return Refuse(400, "invalid method");
  }
  const size_t second = line.find(' ', first + 1);
  if (second == std::string_view::npos) return Refuse(400, "request line without HTTP version");
  const std::string_view target = line.substr(first + 1, second - first - 1);
  if (target.empty()) return Refuse(400, "malformed request line");
  if (cache::AnyByte(target, [](cache::ByteLanes b) {
        return (b <= 0x20) | (b == 0x7f) | (b == '#');
      })) {
    return Refuse(400, "invalid character in target");
  }
  if (auto version = ParseVersion(line.substr(second + 1), head.minor_version); !version) {
    return std::unexpected(version.error());
  }
  head.method_text.assign(method);
  head.target.assign(target);
  return {};
}

std::expected<void, ParseError> ParseStatusLine(std::string_view line, ResponseHead& head) {
  // "HTTP/1.1 200 OK"; the reason may be empty and its space missing.
  if (line.size() < 12 || line[8] != ' ') return Refuse(502, "malformed status line");
  if (!line.starts_with("HTTP/1.") || line[7] < '0' || line[7] > '9') {
    return Refuse(502, "not an HTTP/1 response");
  }
  head.minor_version = line[7] == '0' ? 0 : 1;
  uint16_t status = 0;
  for (size_t i = 9; i < 12; ++i) {
    if (line[i] < '0' || line[i] > '9') return Refuse(502, "malformed status code");
    status = static_cast<uint16_t>(status * 10 + (line[i] - '0'));
  }
  if (status < 100 || (line.size() > 12 && line[12] != ' ')) {
    return Refuse(502, "malformed status code");
  }
  head.status = status;
  const std::string_view reason = line.size() > 13 ? line.substr(13) : std::string_view();
  if (HasControl(reason)) return Refuse(502, "control character in reason phrase");
  head.reason.assign(reason);
  return {};
}

// Replaces each obs-fold by spaces (RFC 9112 5.2). False if one stands where it could change where
// the message ends, or where its fields begin (2.2).
bool Unfold(std::string_view head, std::string& out) {
  out.assign(head);
  for (size_t i = 0; i + 2 < out.size(); ++i) {
    if (out[i] != '\r' || out[i + 1] != '\n' || (out[i + 2] != ' ' && out[i + 2] != '\t')) continue;
    const size_t before = out.rfind('\n', i);
    if (before == std::string::npos) return false;  // the start line
    const std::string_view line = std::string_view(out).substr(before + 1);
    const std::string_view name = line.substr(0, line.find(':'));
    if (cache::EqualsIgnoreCase(name, "Content-Length") ||
        cache::EqualsIgnoreCase(name, "Transfer-Encoding")) {
      return false;
    }
    out[i] = out[i + 1] = out[i + 2] = ' ';
  }
  return true;
}

}  // namespace

HeadResult HeadParser::ParseRequest(std::string_view input, size_t& scanned,
                                    const HeadLimits& limits, RequestHead& head) {
  // At most one empty line before the request line (RFC 9112 2.2).
  const size_t skipped = input.starts_with("\r\n") ? 2 : 0;
  const std::string_view text = input.substr(skipped);
  if (!text.empty()) {
    const char c = text[0];
    if (!cache::IsTokenChar(c) && !(skipped == 0 && c == '\r')) {
      return Refuse(400, "request does not begin with a method");
    }
  }
  const Scan scan = ScanHead(text, scanned);
  if (scan.ends == LineEnds::kBare) return Refuse(400, "line does not end in CRLF");
  if (scan.ends == LineEnds::kMore) {
    const size_t line = std::min(text.find('\r'), text.size());
    if (line > limits.max_start_line) return Refuse(414, "request line too long");
    if (text.size() > limits.max_bytes) return Refuse(431, "request head too large");
    // A request line that can never become one is refused now, not when the sender gives up.
    if (line < text.size() && line + 1 < text.size() && text[line + 1] != '\n') {
      return Refuse(400, "line does not end in CRLF");
    }
    scanned = text.size() > 3 ? text.size() - 3 : 0;
    return 0;
  }
  const std::string_view whole = text.substr(0, scan.size);
  const Lines lines = CountLines(whole);
  if (lines.folded) return Refuse(400, "field line begins with white space");
  const size_t line = whole.find("\r\n");
  if (line > limits.max_start_line) return Refuse(414, "request line too long");
  if (whole.size() > limits.max_bytes) return Refuse(431, "request head too large");
  if (lines.bare_return) return Refuse(400, "bare CR in the request head");
  if (auto parsed = ParseRequestLine(whole.substr(0, line), head); !parsed) {
    return std::unexpected(parsed.error());
  }
  if (auto parsed =
          ParseFields(whole.substr(line + 2), lines.count - 1, limits.max_fields, head.fields);
      !parsed) {
    return std::unexpected(parsed.error());
  }
  scanned = 0;
  return skipped + scan.size;
}

HeadResult HeadParser::ParseResponse(std::string_view input, size_t& scanned,
                                     const HeadLimits& limits, ResponseHead& head) {
  const Scan scan = ScanHead(input, scanned);
  if (scan.ends == LineEnds::kBare) return Refuse(502, "line does not end in CRLF");
  if (scan.ends == LineEnds::kMore) {
    if (input.size() > limits.max_bytes) return Refuse(502, "response head too large");
    constexpr std::string_view kProtocol = "HTTP/1.";
    const size_t known = std::min(input.size(), kProtocol.size());
    if (input.substr(0, known) != kProtocol.substr(0, known)) {
      return Refuse(502, "not an HTTP/1 response");
    }
    scanned = input.size() > 3 ? input.size() - 3 : 0;
    return 0;
  }
  std::string_view whole = input.substr(0, scan.size);
  if (whole.size() > limits.max_bytes) return Refuse(502, "response head too large");
  Lines lines = CountLines(whole);
  if (lines.bare_return) return Refuse(502, "bare CR in the response head");
  if (lines.folded) {
    if (!Unfold(whole, unfolded_)) return Refuse(502, "folded line where it changes the framing");
    whole = unfolded_;
    lines = CountLines(whole);
  }
  const size_t line = whole.find("\r\n");
  if (auto parsed = ParseStatusLine(whole.substr(0, line), head); !parsed) {
    return std::unexpected(parsed.error());
  }
  if (auto parsed =
          ParseFields(whole.substr(line + 2), lines.count - 1, limits.max_fields, head.fields);
      !parsed) {
    return Refuse(502, parsed.error().message);
  }
  scanned = 0;
  return scan.size;
}

HeadResult ParseTrailers(std::string_view input, const HeadLimits& limits, HeaderMap& trailers) {
  if (input.starts_with("\r\n")) return 2;
  const Scan scan = ScanHead(input, 0);
  if (scan.ends == LineEnds::kBare) return Refuse(400, "line does not end in CRLF");
  if (scan.ends == LineEnds::kMore) {
    if (input.size() > limits.max_bytes) return Refuse(431, "trailer section too large");
    return 0;
  }
  const std::string_view whole = input.substr(0, scan.size);
  const Lines lines = CountLines(whole);
  if (lines.folded) return Refuse(400, "field line begins with white space");
  if (whole.size() > limits.max_bytes) return Refuse(431, "trailer section too large");
  if (lines.bare_return) return Refuse(400, "bare CR in the trailer section");
  if (auto parsed = ParseFields(whole, lines.count, limits.max_fields, trailers); !parsed) {
    return std::unexpected(parsed.error());
  }
  return scan.size;
}

}  // namespace satchel::http1
