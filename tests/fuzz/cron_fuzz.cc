// A time and, behind a line break, a moment in milliseconds: never a crash; what is next is later
// than the moment, nothing lies between the two, and the text means the same when it is read again.
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "rules/cron.h"
#include "tests/fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace satchel;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t line = input.find('\n');
  const std::string_view text = input.substr(0, line);
  int64_t millis = 0;
  if (line != std::string_view::npos) {
    std::from_chars(input.data() + line + 1, input.data() + input.size(), millis);
  }
  // From 1970 to 2200.
  const cache::Time after = cache::TimeFromUnixMillis(
      static_cast<int64_t>(static_cast<uint64_t>(millis) % uint64_t{7'258'118'400'000}));
  const auto cron = rules::Cron::Parse(text);
  if (!cron) {
    Require(!cron.error().empty());
    return 0;
  }
  const auto next = cron->Next(after);
  Require(next && *next > after);
  Require(cron->Next(*next - cache::Millis(1)) == next);
  const auto again = rules::Cron::Parse(cron->text());
  Require(again && *again == *cron && again->Next(after) == next);
  return 0;
}
