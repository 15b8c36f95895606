#pragma once

// TLS for the tests: certificates made on the spot, a handshake that can be looked at, and a relay
// that puts TLS before an origin or behind a client. OpenSSL directly; nothing of the proxy's.

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/child_process.h"
#include "tests/support/net_io.h"

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;
typedef struct x509_st X509;
typedef struct evp_pkey_st EVP_PKEY;

namespace satchel::testing {

struct Certificate {
  std::string cert;  // path of a PEM file
  std::string key;
};

// A certificate authority with a file of its own in `dir`.
class CertificateAuthority {
 public:
  CertificateAuthority(const TempDir& dir, const std::string& name);
  ~CertificateAuthority();
  CertificateAuthority(const CertificateAuthority&) = delete;
  CertificateAuthority& operator=(const CertificateAuthority&) = delete;

  const std::string& file() const { return file_; }
  // For `names` ("DNS:a.test", "IP:127.0.0.1"). `subject` becomes the common name, by which a test
  // knows the certificate again, and the names of the files: written anew when they exist.
  Certificate Issue(const std::string& subject, const std::vector<std::string>& names);

 private:
  const TempDir& dir_;
  std::string file_;
  EVP_PKEY* key_ = nullptr;
  X509* certificate_ = nullptr;
};

struct TlsSettings {
  // Of a client.
  std::string sni = {};
  std::vector<std::string> alpn = {};
  int max_version = 0;  // TLS1_2_VERSION, ...; 0: what OpenSSL can
  // Of a server.
  Certificate certificate = {};
  bool close_notify = true;  // false: ends the connection below TLS, as an attacker could
};

struct Handshake {
  bool done = false;
  std::string error;    // OpenSSL's reason
  std::string version;  // "TLSv1.3"
  std::string alpn;
  std::string subject;  // common name of the server's certificate
};

// Connects, shakes hands, leaves.
Handshake TryHandshake(const std::string& address, const TlsSettings& settings = {});
// The same on a connection that exists.
Handshake TryHandshake(int fd, const TlsSettings& settings = {});

// Bytes in clear on one side, TLS on the other, every end and every reset carried over.
class TlsRelay {
 public:
  enum class Role {
    kClient,  // clear connections to address() become TLS ones to `to`
    kServer,  // TLS connections to address() become clear ones to `to`
  };
  struct Session {
    bool accepted = false;  // the handshake came to an end
    std::string sni;        // what the client asked for
    bool orderly = false;   // the other TLS side ended with close_notify
  };

  TlsRelay(Role role, const std::string& to, TlsSettings settings = {});
  ~TlsRelay();
  TlsRelay(const TlsRelay&) = delete;
  TlsRelay& operator=(const TlsRelay&) = delete;

  const std::string& address() const { return address_; }
  // Sessions that have ended, in the order of their ends.
  std::vector<Session> ended() const;
  bool WaitForEnded(size_t count, std::chrono::milliseconds patience = kPatience) const;

 private:
  void AcceptLoop();
  void Serve(UniqueFd accepted);

  Role role_;
  std::string to_;
  TlsSettings settings_;
  std::string address_;
  UniqueFd listen_fd_;
  UniqueFd stop_;
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::vector<Session> ended_;
  std::vector<std::thread> threads_;
  std::thread accept_thread_;
};

}  // namespace satchel::testing
