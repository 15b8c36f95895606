#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/http/message.h"

namespace satchel::cache {

struct ByteRange {
  uint64_t first = 0;
  uint64_t last = 0;  // inclusive
  uint64_t size() const { return last - first + 1; }
};

struct RangeVerdict {
  enum class Kind : uint8_t {
    kWhole,          // no usable Range: the complete response with its own status
    kPartial,        // 206 with ranges.size() parts
    kUnsatisfiable,  // 416 with Content-Range: bytes */length
  };
  Kind kind = Kind::kWhole;
  std::vector<ByteRange> ranges;  // in the order asked for, coalesced (RFC 9110 15.3.7.2)
};

// Applies Range and If-Range (RFC 9110 13.1.5, 14.2) to a complete stored 200 of `length` bytes.
// More than 16 ranges, or many small overlapping ones, are ignored (14.2, 17.15). GET only.
RangeVerdict EvaluateRange(const RequestHead& request, const HeaderMap& stored_fields,
                           uint64_t length);

// The value of a Range field alone, for a representation of `length` bytes (RFC 9110 14.1.2).
RangeVerdict EvaluateByteRanges(std::string_view range_field, uint64_t length);

// The same for a stored 206 that holds `have` of `length` bytes (9111 3.3): kPartial if it holds
// the one range that is asked for, kWhole if it can't answer.
RangeVerdict EvaluateStoredPart(const RequestHead& request, const HeaderMap& stored_fields,
                                const ByteRange& have, uint64_t length);

// "bytes 0-4/10"
std::string FormatContentRange(const ByteRange& range, uint64_t length);

struct ContentRange {
  ByteRange range;
  std::optional<uint64_t> complete_length;
};
// Parses a Content-Range field of a 206 (14.4). nullopt if malformed or not bytes.
std::optional<ContentRange> ParseContentRange(std::string_view value);

// Turns a request into the one that asks for what is missing behind a stored prefix (RFC 9111 3.3,
// 3.4; 9110 14.2): Range from there on, If-Range with the stored strong entity tag, all other
// conditions gone. False, and unchanged, if there is no such tag or `have` is no prefix.
bool MakeCompletion(RequestHead& request, const HeaderMap& stored_fields, const ByteRange& have);

// The head of the whole response that a stored prefix and the answer that CompletesPrefix make
// together: a 200 with the stored fields updated by the answer's (9111 3.4).
ResponseHead CompletedHead(const HeaderMap& stored_fields, uint64_t complete_length,
                           const ResponseHead& answer);

// Is this answer the missing rest of the stored prefix, to be put behind it (9110 15.3.7.3)? A 206
// with the same strong entity tag that begins where the prefix ends and reaches the end.
bool CompletesPrefix(const HeaderMap& stored_fields, const ByteRange& have,
                     uint64_t complete_length, const ResponseHead& answer);

}  // namespace satchel::cache
