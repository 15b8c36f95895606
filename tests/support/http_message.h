#pragma once

// A small HTTP/1 reader for the tests, written apart from the proxy's own so that one mistake
// cannot hide in both. Strict: what it cannot read is reported, never guessed.

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/net_io.h"

namespace satchel::testing {

struct Field {
  std::string name;
  std::string value;
};

bool EqualsIgnoringCase(std::string_view a, std::string_view b);

class Fields {
 public:
  Fields() = default;
  Fields(std::initializer_list<Field> list) : list_(list) {}

  void Add(std::string name, std::string value) {
    list_.push_back({std::move(name), std::move(value)});
  }
  const std::vector<Field>& list() const { return list_; }
  bool empty() const { return list_.empty(); }
  bool Has(std::string_view name) const { return Count(name) > 0; }
  size_t Count(std::string_view name) const;
  // The first line of that name, or "".
  std::string Get(std::string_view name) const;
  std::vector<std::string> All(std::string_view name) const;
  // All lines of that name, joined with ", ".
  std::string Joined(std::string_view name) const;
  std::string ToWire() const;

 private:
  std::vector<Field> list_;
};

struct Head {
  std::string raw;  // with the empty line
  std::string start_line;
  std::string part[3];  // of the start line: the third may hold spaces
  Fields fields;
  std::string error;  // why the head could not be read; "" when it could
};

// Reads up to and with the empty line. kOk also when the head is bad: see head->error.
IoStatus ReadHead(ByteReader* in, Deadline deadline, Head* head);

enum class BodyFraming { kNone, kLength, kChunked, kUntilClose };

struct Body {
  std::string data;  // at most `keep` bytes of it
  uint64_t size = 0;
  bool complete = false;
  Fields trailers;
  std::string error;
};

// Reads one body as far as asked, so that a test can look at a body that is still arriving.
class BodyReader {
 public:
  BodyReader() = default;
  BodyReader(BodyFraming framing, uint64_t length,
             size_t keep = std::numeric_limits<size_t>::max());

  // Until `size` body bytes have come or the body ended. False on a deadline or an error.
  bool ReadUntil(ByteReader* in, uint64_t size, Deadline deadline);
  bool ReadAll(ByteReader* in, Deadline deadline) {
    return ReadUntil(in, std::numeric_limits<uint64_t>::max(), deadline);
  }
  const Body& body() const { return body_; }
  Body& body() { return body_; }
  bool ended() const { return body_.complete || !body_.error.empty(); }

 private:
  bool Need(ByteReader* in, size_t bytes, Deadline deadline);
  bool ReadLine(ByteReader* in, std::string* line, Deadline deadline);
  bool NextChunk(ByteReader* in, Deadline deadline);
  void Keep(std::string_view bytes);

  BodyFraming framing_ = BodyFraming::kNone;
  uint64_t left_ = 0;  // of the body or of the present chunk
  bool in_chunk_ = false;
  size_t keep_ = 0;
  Body body_;
};

// The framing of a request, by RFC 9112 section 6.3.
BodyFraming RequestFraming(const Fields& fields, uint64_t* length);
// The framing of a response.
BodyFraming ResponseFraming(std::string_view method, int status, const Fields& fields,
                            uint64_t* length);

// "bytes=first-last" and "bytes=first-", the latter up to the end of `size` bytes; anything else
// is nothing.
struct OneRange {
  size_t first;
  size_t last;
};
std::optional<OneRange> ParseOneRange(std::string_view range, size_t size);

// "Sun, 06 Nov 1994 08:49:37 GMT", `seconds_from_now` away.
std::string HttpDate(int64_t seconds_from_now = 0);

}  // namespace satchel::testing
