#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace satchel::proxy {

// A text that two JSON texts share exactly when they mean the same to every reader: white space,
// the order of members and the spelling of strings do not count, the spelling of numbers with a
// fraction or exponent does (and -0 is 0). Not JSON itself, and only fit to be compared.
//
// nullopt for what is no JSON, nests deeper than 64, begins with a byte order mark, or names a
// member twice (readers disagree which one counts).
std::optional<std::string> CanonicalJson(std::string_view text);

}  // namespace satchel::proxy
