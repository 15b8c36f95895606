#include "cache/record_text.h"

#include <algorithm>
#include <charconv>
#include <vector>

namespace satchel::cache {
namespace {

constexpr size_t kMaxFields = 1024;
constexpr size_t kMaxName = 1024;  // bytes of a field name

void PackVary(TextWriter& writer, const VarySpec& vary) {
  writer.U8(vary.star ? 1 : 0);
  writer.U16(static_cast<uint16_t>(vary.names.size()));
  for (const std::string& name : vary.names) writer.Text(name);
}

bool UnpackVary(TextReader& reader, VarySpec& vary) {
  const uint8_t star = reader.U8();
  const size_t count = reader.U16();
  if (!reader.ok() || star > 1 || count > kMaxNames) return false;
  vary.star = star == 1;
  for (size_t i = 0; i < count; ++i) {
    const std::string_view name = reader.Text();
    if (!reader.ok() || !IsToken(name) || name.size() > kMaxName) return false;
    // Lower case, sorted and unique, as VarySpec promises.
    if (std::any_of(name.begin(), name.end(), [](char c) { return c != ToLowerAscii(c); }) ||
        (i > 0 && vary.names.back() >= name)) {
      return false;
    }
    vary.names.emplace_back(name);
  }
  return true;
}

// RFC 9110 5.5: visible characters, white space and obs-text.
bool IsFieldText(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const auto u = static_cast<unsigned char>(c);
    return u == '\t' || (u >= 0x20 && u != 0x7F);
  });
}

// Takes a line that ends with CRLF off the front.
bool TakeLine(std::string_view& rest, std::string_view& line) {
  const size_t end = rest.find("\r\n");
  if (end == std::string_view::npos) return false;
  line = rest.substr(0, end);
  rest.remove_prefix(end + 2);
  return IsFieldText(line);
}

bool ParseBlock(std::string_view block, StoredResponse::Parts& parts) {
  std::string_view line;
  if (!TakeLine(block, line)) return false;
  constexpr std::string_view kVersion = "HTTP/1.1 ";
  if (!line.starts_with(kVersion) || line.size() < kVersion.size() + 4 ||
      line[kVersion.size() + 3] != ' ') {
    return false;
  }
  uint16_t status = 0;
  const char* const digits = line.data() + kVersion.size();
  const auto parsed = std::from_chars(digits, digits + 3, status);
  if (parsed.ec != std::errc() || parsed.ptr != digits + 3) return false;
  if (status != parts.facts.status) return false;
  parts.reason = line.substr(kVersion.size() + 4);
  size_t count = 0;
  while (!block.empty()) {
    if (++count > kMaxFields || !TakeLine(block, line)) return false;
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || colon > kMaxName) return false;
    const std::string_view name = line.substr(0, colon);
    if (!IsToken(name)) return false;
    parts.fields.Add(name, TrimOws(line.substr(colon + 1)));
  }
  return true;
}

}  // namespace

void TextWriter::Text(std::string_view text) {
  U32(static_cast<uint32_t>(text.size()));
  out_.append(text);
}

uint64_t TextReader::Number(size_t bytes) {
  if (!ok_ || rest_.size() < bytes) {
    ok_ = false;
    return 0;
  }
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) {
    value |= uint64_t{static_cast<unsigned char>(rest_[i])} << (8 * i);
  }
  rest_.remove_prefix(bytes);
  return value;
}

int64_t TextReader::Signed(size_t bytes) {
  const size_t spare = 64 - 8 * bytes;
  return static_cast<int64_t>(Number(bytes) << spare) >> spare;
}

std::string_view TextReader::Text() {
  const size_t size = U32();
  if (!ok_ || rest_.size() < size) {
    ok_ = false;
    return {};
  }
  const std::string_view text = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return text;
}

std::string PackTexts(const StoredResponse& response) {
  std::string texts;
  TextWriter writer(texts);
  writer.Text(response.key());
  writer.Text(response.header_block());
  PackVary(writer, response.vary());
  writer.Text(response.vary_values());
  writer.U16(static_cast<uint16_t>(response.tags().size()));
  for (const TagId tag : response.tags()) writer.U64(tag);
  if (response.facts().partial) {
    writer.U64(response.partial_range().first);
    writer.U64(response.partial_range().last);
    writer.U64(response.complete_length());
  }
  return texts;
}

const char* UnpackTexts(std::string_view texts, std::string_view expected_key,
                        StoredResponse::Parts& parts) {
  TextReader reader(texts);
  const std::string_view key = reader.Text();
  if (!reader.ok()) return "texts";
  if (key != expected_key) return "another key";
  parts.key = key;
  const std::string_view block = reader.Text();
  if (!reader.ok() || !ParseBlock(block, parts)) return "header block";
  if (!UnpackVary(reader, parts.vary)) return "vary";
  parts.vary_values = reader.Text();
  const size_t tags = reader.U16();
  if (!reader.ok() || tags > kMaxTags) return "tags";
  for (size_t i = 0; i < tags; ++i) {
    const TagId tag = reader.U64();
    if (!reader.ok() || (i > 0 && parts.tags.back() >= tag)) return "tags";
    parts.tags.push_back(tag);
  }
  if (parts.facts.partial) {
    parts.partial_range.first = reader.U64();
    parts.partial_range.last = reader.U64();
    parts.complete_length = reader.U64();
    const bool ordered = parts.partial_range.first <= parts.partial_range.last;
    if (!ordered || parts.partial_range.last == UINT64_MAX) return "part";
  }
  return reader.done() ? nullptr : "texts";
}

std::string PackMarkerTexts(std::string_view key, const VarySpec& vary) {
  std::string texts;
  TextWriter writer(texts);
  writer.Text(key);
  PackVary(writer, vary);
  return texts;
}

const char* UnpackMarkerTexts(std::string_view texts, std::string_view expected_key,
                              VarySpec& vary) {
  TextReader reader(texts);
  const std::string_view key = reader.Text();
  if (!reader.ok()) return "texts";
  if (key != expected_key) return "another key";
  if (!UnpackVary(reader, vary)) return "vary";
  return reader.done() ? nullptr : "texts";
}

bool IsCompressible(const StoredResponse& response) {
  const HeaderMap fields = response.Fields();
  if (fields.Has(FieldId::kContentEncoding)) return false;
  const std::optional<std::string_view> field = fields.First(FieldId::kContentType);
  if (!field) return false;
  std::string type(TrimOws(field->substr(0, field->find(';'))));
  std::transform(type.begin(), type.end(), type.begin(), ToLowerAscii);
  if (type.starts_with("text/") || type.ends_with("+json") || type.ends_with("+xml")) return true;
  static constexpr std::string_view kTypes[] = {"application/json",
                                                "application/xml",
                                                "application/javascript",
                                                "application/ecmascript",
                                                "application/manifest+json",
                                                "application/x-ndjson",
                                                "application/wasm",
                                                "application/x-javascript",
                                                "application/graphql",
                                                "application/yaml",
                                                "image/bmp",
                                                "font/ttf"};
  return std::find(std::begin(kTypes), std::end(kTypes), type) != std::end(kTypes);
}

}  // namespace satchel::cache
