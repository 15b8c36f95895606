// HTTP dates: nothing breaks the parser, and what it accepts survives being written and read.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "cache/http/date.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace satchel::cache;
  const Time now = TimeFromUnixSeconds(1767225600);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::optional<Time> time = ParseHttpDate(text, now);
  if (!time) return 0;
  const std::string written = FormatHttpDate(*time);
  // A leap second at the end of the year 9999 is the one time that can't be written.
  if (*time < TimeFromUnixSeconds(253402300800) && ParseHttpDate(written, now) != time)
    std::abort();
  return 0;
}
