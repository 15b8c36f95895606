#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "proxy/snapshot.h"
#include "tests/rules/fake_loader.h"

namespace satchel::proxy {

// A configuration of one listener and one upstream, and what else is written in `rest`.
inline SnapshotPtr SnapshotOf(const std::string& rest) {
  auto parsed = rules::ParseConfig(rules::Framed(rest), "a.yaml", rules::FakeLoader());
  if (!parsed.config) {
    ADD_FAILURE() << parsed.errors.at(0).ToString();
    return nullptr;
  }
  return *BuildSnapshot(std::move(*parsed.config), 1);
}

}  // namespace satchel::proxy
