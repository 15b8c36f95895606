#include "tests/support/http_message.h"

#include <charconv>
#include <ctime>

namespace satchel::testing {
namespace {

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

std::string Trimmed(std::string_view text) {
  size_t from = text.find_first_not_of(" \t");
  if (from == std::string_view::npos) return "";
  return std::string(text.substr(from, text.find_last_not_of(" \t") - from + 1));
}

bool ParseFieldLine(std::string_view line, Fields* fields) {
  size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  std::string_view name = line.substr(0, colon);
  if (name.find_first_of(" \t") != std::string_view::npos) return false;
  fields->Add(std::string(name), Trimmed(line.substr(colon + 1)));
  return true;
}

bool ParseNumber(std::string_view text, int base, uint64_t* value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value, base);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

}  // namespace

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (Lower(a[i]) != Lower(b[i])) return false;
  }
  return true;
}

size_t Fields::Count(std::string_view name) const { return All(name).size(); }

std::string Fields::Get(std::string_view name) const {
  for (const Field& field : list_) {
    if (EqualsIgnoringCase(field.name, name)) return field.value;
  }
  return "";
}

std::vector<std::string> Fields::All(std::string_view name) const {
  std::vector<std::string> values;
  for (const Field& field : list_) {
    if (EqualsIgnoringCase(field.name, name)) values.push_back(field.value);
  }
  return values;
}

std::string Fields::Joined(std::string_view name) const {
  std::string joined;
  for (const std::string& value : All(name)) {
    if (!joined.empty()) joined += ", ";
    joined += value;
  }
  return joined;
}

std::string Fields::ToWire() const {
  std::string wire;
  for (const Field& field : list_) wire += field.name + ": " + field.value + "\r\n";
  return wire;
}

IoStatus ReadHead(ByteReader* in, Deadline deadline, Head* head) {
  *head = Head();
  size_t end;
  while ((end = in->buffered().find("\r\n\r\n")) == std::string_view::npos) {
    if (in->buffered().size() > 1024 * 1024) {
      head->error = "a head of more than 1 MiB";
      return IoStatus::kOk;
    }
    IoStatus status = in->Fill(deadline);
    if (status != IoStatus::kOk) {
      if (!in->buffered().empty()) {
        head->raw = in->buffered();
        head->error = "the head was cut: " + std::string(Name(status));
      }
      return status;
    }
  }
  head->raw = in->Take(end + 4);
  std::string_view rest(head->raw.data(), end + 2);
  bool first = true;
  while (!rest.empty()) {
    size_t crlf = rest.find("\r\n");
    std::string_view line = rest.substr(0, crlf);
    rest.remove_prefix(crlf + 2);
    if (line.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
      head->error = "a bare CR, LF or NUL in the head";
    } else if (first) {
      head->start_line = line;
      size_t a = line.find(' ');
      size_t b = a == std::string_view::npos ? a : line.find(' ', a + 1);
      if (a == std::string_view::npos) {
        head->error = "a start line without parts";
      } else {
        head->part[0] = line.substr(0, a);
        head->part[1] = line.substr(a + 1, b == std::string_view::npos ? b : b - a - 1);
        if (b != std::string_view::npos) head->part[2] = line.substr(b + 1);
      }
    } else if (!ParseFieldLine(line, &head->fields)) {
      head->error = "a bad field line: " + std::string(line);
    }
    first = false;
  }
  return IoStatus::kOk;
}

BodyReader::BodyReader(BodyFraming framing, uint64_t length, size_t keep)
    : framing_(framing), left_(framing == BodyFraming::kLength ? length : 0), keep_(keep) {
  body_.complete =
      framing == BodyFraming::kNone || (framing == BodyFraming::kLength && length == 0);
}

void BodyReader::Keep(std::string_view bytes) {
  body_.size += bytes.size();
  if (body_.data.size() < keep_) body_.data += bytes.substr(0, keep_ - body_.data.size());
}

bool BodyReader::Need(ByteReader* in, size_t bytes, Deadline deadline) {
  while (in->buffered().size() < bytes) {
    IoStatus status = in->Fill(deadline);
    if (status == IoStatus::kOk) continue;
    if (status == IoStatus::kEof && framing_ == BodyFraming::kUntilClose) {
      body_.complete = true;
    } else if (status != IoStatus::kTimeout) {
      body_.error = "the body was cut: " + std::string(Name(status));
    }
    return false;
  }
  return true;
}

bool BodyReader::ReadLine(ByteReader* in, std::string* line, Deadline deadline) {
  size_t end;
  while ((end = in->buffered().find("\r\n")) == std::string_view::npos) {
    if (!Need(in, in->buffered().size() + 1, deadline)) return false;
  }
  *line = in->Take(end);
  in->Consume(2);
  return true;
}

bool BodyReader::NextChunk(ByteReader* in, Deadline deadline) {
  std::string line;
  if (in_chunk_) {  // the CRLF after the chunk just read
    if (!Need(in, 2, deadline)) return false;
    if (in->Take(2) != "\r\n") {
      body_.error = "no CRLF after a chunk";
      return false;
    }
    in_chunk_ = false;
  }
  if (!ReadLine(in, &line, deadline)) return false;
  uint64_t size = 0;
  if (!ParseNumber(line.substr(0, line.find(';')), 16, &size)) {
    body_.error = "a bad chunk size: " + line;
    return false;
  }
  if (size > 0) {
    left_ = size;
    in_chunk_ = true;
    return true;
  }
  while (true) {
    if (!ReadLine(in, &line, deadline)) {
      if (body_.error.empty()) body_.error = "the trailers were cut";
      return false;
    }
    if (line.empty()) break;
    if (!ParseFieldLine(line, &body_.trailers)) body_.error = "a bad trailer line: " + line;
  }
  body_.complete = body_.error.empty();
  return body_.complete;
}

bool BodyReader::ReadUntil(ByteReader* in, uint64_t size, Deadline deadline) {
  while (!ended() && body_.size < size) {
    if (framing_ == BodyFraming::kChunked && left_ == 0) {
      if (!NextChunk(in, deadline)) return body_.complete;
      continue;
    }
    if (in->buffered().empty() && !Need(in, 1, deadline)) return body_.complete;
    std::string_view bytes = in->buffered();
    if (framing_ != BodyFraming::kUntilClose && bytes.size() > left_)
      bytes = bytes.substr(0, left_);
    Keep(bytes);
    if (framing_ != BodyFraming::kUntilClose) left_ -= bytes.size();
    in->Consume(bytes.size());
    if (framing_ == BodyFraming::kLength && left_ == 0) body_.complete = true;
  }
  return body_.error.empty();
}

BodyFraming RequestFraming(const Fields& fields, uint64_t* length) {
  if (EqualsIgnoringCase(fields.Joined("Transfer-Encoding"), "chunked")) {
    return BodyFraming::kChunked;
  }
  if (ParseNumber(fields.Get("Content-Length"), 10, length)) return BodyFraming::kLength;
  return BodyFraming::kNone;
}

BodyFraming ResponseFraming(std::string_view method, int status, const Fields& fields,
                            uint64_t* length) {
  if (method == "HEAD" || status / 100 == 1 || status == 204 || status == 304) {
    return BodyFraming::kNone;
  }
  BodyFraming framing = RequestFraming(fields, length);
  return framing == BodyFraming::kNone ? BodyFraming::kUntilClose : framing;
}

std::optional<OneRange> ParseOneRange(std::string_view range, size_t size) {
  constexpr std::string_view kUnit = "bytes=";
  const size_t dash = range.find('-');
  if (!range.starts_with(kUnit) || dash == std::string_view::npos) return std::nullopt;
  uint64_t first = 0;
  uint64_t last = size - 1;
  if (!ParseNumber(range.substr(kUnit.size(), dash - kUnit.size()), 10, &first)) return std::nullopt;
  const std::string_view end = range.substr(dash + 1);
  if (!end.empty() && !ParseNumber(end, 10, &last)) return std::nullopt;
  return OneRange{first, last};
}

std::string HttpDate(int64_t seconds_from_now) {
  time_t when = std::time(nullptr) + static_cast<time_t>(seconds_from_now);
  tm parts{};
  gmtime_r(&when, &parts);
  char text[64];
  size_t size = std::strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return std::string(text, size);
}

}  // namespace satchel::testing
