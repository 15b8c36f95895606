#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cache/http/headers.h"
#include "cache/http/uri.h"
#include "cache/purge_table.h"
#include "cache/vary.h"

namespace satchel::proxy {

struct PurgeOrder {
  std::vector<cache::PurgeRecord> records;
  bool wait = false;  // until every live instance has it, or purge.ack has passed
};

// What is to be fetched again once it is purged.
struct PurgeRefresh {
  std::vector<cache::HttpUri> uris;
  std::vector<cache::PurgeRecord> records;  // stored responses that these hit
  bool empty() const { return uris.empty() && records.empty(); }
};

struct RefreshTarget {
  cache::HttpUri uri;
  cache::HeaderMap fields;  // by which the origin selects
  cache::VarySpec vary;     // the same, as the origin said it
  std::string key;          // that a request for it must have; empty: whichever it has
};

struct PurgeAnswer {
  // What is not shared holds in this instance and is published as soon as that works again. Without
  // a shared store there are no other instances, and everything is shared.
  bool shared = true;
  std::string error;      // why not
  uint64_t sequence = 0;  // in this process
  uint64_t before = 0;    // the last one applied before it; UINT64_MAX: others came between
  bool waited = false;
  std::vector<std::string> confirmed;  // instances; this one included
  std::vector<std::string> silent;
};

}  // namespace satchel::proxy
