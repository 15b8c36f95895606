#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace satchel::rules {

// Rules are matched on the normalised path, so that no spelling walks around one: percent escapes
// are decoded once, runs of '/' count as one, "." and ".." segments are resolved (RFC 3986 5.2.4).
// What the origin is asked stays byte for byte what the client sent.

// False: the path is its own normal form. "*" (OPTIONS) is.
bool NeedsNormalising(std::string_view path);

// Nothing if an escape is invalid.
std::optional<std::string> NormalisePath(std::string_view path);

// Decodes percent escapes once; '+' stays. Nothing if an escape is invalid.
std::optional<std::string> PercentDecode(std::string_view text);

// Appends `text` with everything escaped that can't stand in a path: all but unreserved
// characters, sub-delims, ':', '@' and '/' (RFC 3986 3.3).
void AppendPathEscaped(std::string_view text, std::string* to);

}  // namespace satchel::rules
