#pragma once

// An origin that answers ranges of twenty bytes, and what tests of ranges ask of it.

#include <optional>
#include <string>
#include <utility>

#include "tests/support/proxy_fixture.h"

namespace satchel::testing {

inline constexpr const char* kWhole = "0123456789abcdefghij";  // 20 bytes

// An origin that answers one range, "a-b", "a-" or "-n", of kWhole under the given entity tag.
inline void AnswerRanges(OriginExchange& exchange, const std::string& etag,
                         const std::string& control = "max-age=60") {
  const std::string whole = kWhole;
  const Fields& fields = exchange.request().fields;
  const std::optional<OneRange> range = ParseOneRange(fields.Get("Range"), whole.size());
  if (!range || (fields.Has("If-Range") && fields.Get("If-Range") != etag)) {
    exchange.Respond({.fields = {{"ETag", etag}, {"Cache-Control", control}, {"X-From", "whole"}},
                      .body = whole});
    return;
  }
  const auto [first, last] = *range;
  exchange.Respond({.status = 206,
                    .fields = {{"ETag", etag},
                               {"Cache-Control", control},
                               {"Content-Range", "bytes " + std::to_string(first) + "-" +
                                                     std::to_string(last) + "/20"},
                               {"X-From", "part"}},
                    .body = whole.substr(first, last - first + 1)});
}

class PartialTest : public ProxyTest {
 protected:
  void ServeRanges(const std::string& etag = "\"v1\"") {
    origin.On("/", [etag](OriginExchange& exchange) { AnswerRanges(exchange, etag); });
  }
  Response GetRange(const std::string& range, Fields more = {}) {
    more.Add("Range", "bytes=" + range);
    return Get("/", more);
  }
};

}  // namespace satchel::testing
