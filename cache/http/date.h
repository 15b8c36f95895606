#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "cache/base/clock.h"

namespace satchel::cache {

// Parses an HTTP date (RFC 9110 5.6.7): IMF-fixdate, RFC 850 or asctime form, in any letter case,
// nothing around it. `now` settles the two-digit year of the RFC 850 form: a date more than 50
// years ahead means the past century. The weekday must be a weekday but is not checked against the
// date. nullopt for everything else. Years 0 to 9999.
std::optional<Time> ParseHttpDate(std::string_view text, Time now);

// IMF-fixdate, for example "Sun, 06 Nov 1994 08:49:37 GMT"; always 29 bytes. Parts of a second are
// cut; years outside 0 to 9999 are clamped.
std::string FormatHttpDate(Time time);
void AppendHttpDate(std::string& out, Time time);

}  // namespace satchel::cache
