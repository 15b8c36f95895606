#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <utility>

namespace satchel::cache {

// Who caused an error. It decides the status sent to the client, the level of the log line and
// whether another attempt makes sense.
enum class ErrorSource : uint8_t { kClient, kUpstream, kStore, kInternal };

struct Error {
  ErrorSource source = ErrorSource::kInternal;
  std::string message;  // for people; never holds a secret
  int status = 0;       // the HTTP status it deserves, where one is known
};

template <typename T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> Fail(ErrorSource source, std::string message) {
  return std::unexpected(Error{source, std::move(message), 0});
}

}  // namespace satchel::cache
