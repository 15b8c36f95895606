#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/result.h"

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;

namespace satchel::net {

struct TlsContextDeleter {
  void operator()(SSL_CTX* context) const;
};
using TlsContext = std::unique_ptr<SSL_CTX, TlsContextDeleter>;

// TLS 1.2 and 1.3 towards clients: certificates picked by SNI, ALPN http/1.1. Immutable once
// loaded, shared by all threads.
class ServerTls : public std::enable_shared_from_this<ServerTls> {
 public:
  struct CertificateFiles {
    std::string cert;  // PEM chain
    std::string key;   // PEM
  };
  // The first certificate answers where no name matches. Errors name the file and the reason.
  static cache::Result<std::shared_ptr<ServerTls>> Load(const std::vector<CertificateFiles>& files,
                                                        bool require_tls13);
  // A server session on a connected descriptor; null when out of memory. It keeps this alive, so
  // that a handshake under way outlives a reload.
  SSL* NewSession(int fd) const;

 private:
  static int OnServerName(SSL* ssl, int* alert, void*);

  struct Named {
    std::vector<std::string> names;  // lower case, "*.example.com" allowed
    TlsContext context;
  };
  std::vector<Named> contexts_;
};

// TLS towards a server: verified against a CA file or the system's, by host name. With a
// certificate of our own if `cert_file` and `key_file` (PEM) are given.
class ClientTls {
 public:
  static cache::Result<std::shared_ptr<ClientTls>> Load(const std::string& ca_file, std::string sni,
                                                        bool verify,
                                                        const std::string& cert_file = {},
                                                        const std::string& key_file = {});
  // A client session for `host` (the configured name leads). Give it the descriptor with
  // SSL_set_fd. Null when out of memory.
  SSL* NewSession(std::string_view host) const;

 private:
  TlsContext context_;
  std::string sni_;
  bool verify_ = true;
};

}  // namespace satchel::net
