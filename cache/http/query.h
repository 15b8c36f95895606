#pragma once

#include <string>
#include <string_view>

namespace satchel::cache {

// The parameters of a query, split at '&' as forms write them. Empty ones are skipped.
class QueryReader {
 public:
  explicit QueryReader(std::string_view query) : rest_(query) {}
  // False when there are no more. `parameter` is a view of the query, as received.
  bool Next(std::string_view& parameter);

 private:
  std::string_view rest_;
};

struct QueryParameter {
  std::string_view name;
  std::string_view value;
};
// Splits at the first '='.
QueryParameter SplitParameter(std::string_view parameter);

// The bytes that form encoding means: '+' is a space, %XX a byte; other '%' stand as they are.
std::string DecodeFormText(std::string_view text);

}  // namespace satchel::cache
