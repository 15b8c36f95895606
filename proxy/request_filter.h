#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "cache/http/message.h"
#include "proxy/http1/framing.h"
#include "proxy/http1/parser.h"
#include "proxy/net/address.h"
#include "rules/config.h"
#include "rules/rule.h"

namespace satchel::proxy {

// What the connection knows about who asks.
struct ClientInfo {
  std::string peer_ip;        // of the socket; "unix" for a unix socket
  bool peer_trusted = false;  // may set X-Forwarded-* and Forwarded
  bool tls = false;
};

// Finishes a parsed request head: target form, Host, scheme, authority (RFC 9112 3.2, 3.3), and
// refuses what must not reach an origin (TRACE, CONNECT, bad Expect, bodies with Upgrade).
// `authority_cache` remembers the last Host text and what it became. Pure but for that.
struct AuthorityCache {
  std::string raw;
  std::string scheme;
  std::string normalised;
};
std::expected<void, http1::ParseError> FilterRequest(cache::RequestHead& head,
                                                     const http1::Framing& framing, bool tls,
                                                     AuthorityCache& authority_cache);

// The client's address: the right-most X-Forwarded-For member that is not a trusted proxy.
std::string EffectiveClient(const cache::RequestHead& head, const std::string& peer_ip,
                            const rules::Listener& listener);

// The request as the origin gets it, in wire form without the final empty line: request line with
// `target`, Host, the client's end-to-end fields, Via, X-Forwarded-*, Forwarded, framing, and the
// rule's edits. Fields that strangers use to fool origins do not pass (SECURITY of the README).
std::string BuildUpstreamHead(const cache::RequestHead& head, std::string_view target,
                              const rules::Rule& rule, const ClientInfo& client,
                              const http1::Framing& framing, bool upgrade);

// How many proxies may yet pass an OPTIONS request on; 0: whoever has it answers (RFC 9110 7.6.2).
// nullopt: nobody said, or it is no OPTIONS.
std::optional<uint64_t> MaxForwards(const cache::RequestHead& head);

// The protocol asked for by Upgrade, if Connection names it too; empty if none.
std::string_view RequestedUpgrade(const cache::RequestHead& head);

}  // namespace satchel::proxy
