#pragma once

// An origin, Satchel before it, and what most tests ask of the two.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/support/concurrency.h"
#include "tests/support/origin.h"
#include "tests/support/satchel_process.h"

namespace satchel::testing {

// The member that Satchel itself wrote into Cache-Status (RFC 9211): the last one.
class CacheStatus {
 public:
  explicit CacheStatus(const Response& response);
  bool present() const { return present_; }
  bool hit() const { return Has("hit"); }
  std::string fwd() const { return Get("fwd"); }
  bool Has(const std::string& parameter) const { return parameters_.contains(parameter); }
  // The parameter's text, "" when absent or boolean.
  std::string Get(const std::string& parameter) const;
  // A huge number when there is none, so that no comparison passes by accident.
  long ttl() const;

 private:
  bool present_ = false;
  std::map<std::string, std::string> parameters_;
};

// The Age of a response; -1 when absent.
long Age(const Response& response);

// nlohmann::json of a problem+json body; discarded() when it is none.
nlohmann::json Problem(const Response& response);

// A storable answer: `lifetime` seconds, body as given.
Reply Fresh(const std::string& body, int lifetime = 60, Fields more = {});
// An answer that was as good as stale when it came: max-age=10 and an Age of 10 + `seconds`.
Reply StaleSince(int seconds, const std::string& body, const std::string& directives = "",
                 Fields more = {});

class ProxyTest : public ::testing::Test {
 protected:
  // A configuration with this test's origin behind it.
  SatchelConfig Config() const {
    SatchelConfig config;
    config.upstream = origin.address();
    return config;
  }
  void Start() { Start(Config()); }
  void Start(const SatchelConfig& config) { satchel = std::make_unique<SatchelProcess>(config); }

  Response Get(std::string_view target, const Fields& fields = {}) {
    return satchel->Get(target, fields);
  }
  Response Send(std::string_view method, std::string_view target, const Fields& fields = {},
                std::string_view body = {}) {
    return satchel->Send(method, target, fields, body);
  }

  Origin origin;
  std::unique_ptr<SatchelProcess> satchel;
};

}  // namespace satchel::testing
