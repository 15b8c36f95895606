#pragma once

#include <string>
#include <vector>

#include "rules/config.h"
#include "rules/config_parser.h"

namespace satchel::rules {

// What a good configuration probably does not mean: rules that can never match and why, upstreams
// and plans that nothing uses, settings that can never act, doors left open. Pure.
std::vector<Diagnostic> CheckConfig(const Config& config);

// {"errors": [...], "warnings": [...]}, each with file, line, column, path and message.
std::string DiagnosticsJson(const std::vector<Diagnostic>& errors,
                            const std::vector<Diagnostic>& warnings);

// The whole configuration with every default written out, as YAML that parses to the same
// configuration (file names seen from the working folder). Secrets are shown as "***".
std::string EffectiveYaml(const Config& config);

}  // namespace satchel::rules
