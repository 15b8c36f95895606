#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace satchel::rules {

// Fields that a request which nobody makes may carry: those by which answers are selected. Says what is
// wrong with any other, and what to write instead: what carries credentials, speaks of the connection, of
// content, conditions, ranges, or of who asks. Letter case does not matter. Pure.
std::optional<std::string> WarmFieldMistake(std::string_view name);

}  // namespace satchel::rules
