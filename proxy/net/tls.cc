#include "proxy/net/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cctype>
#include <system_error>
#include <utility>

namespace satchel::net {
namespace {

using cache::ErrorSource;

std::string OpenSslReason() {
  // The first error is the cause; those after it say only which layer it passed through.
  const unsigned long code = ERR_peek_error();
  ERR_clear_error();
  if (ERR_SYSTEM_ERROR(code)) return std::generic_category().message(ERR_GET_REASON(code));
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "unknown reason" : reason;
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

int ChooseHttp11(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
                 unsigned int in_size, void*) {
  static constexpr unsigned char kHttp11[] = "\x08http/1.1";
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, kHttp11, sizeof kHttp11 - 1, in, in_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

// The names a certificate stands for, from its subject alternative names.
std::vector<std::string> NamesOf(SSL_CTX* context) {
  std::vector<std::string> names;
  X509* const certificate = SSL_CTX_get0_certificate(context);
  auto* alternatives = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(alternatives); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(alternatives, i);
    if (name->type != GEN_DNS) continue;
    const auto* text = reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName));
    names.push_back(Lower({text, static_cast<size_t>(ASN1_STRING_length(name->d.dNSName))}));
  }
  GENERAL_NAMES_free(alternatives);
  return names;
}

bool NameMatches(std::string_view pattern, std::string_view name) {
  if (pattern == name) return true;
  if (!pattern.starts_with("*.")) return false;
  const size_t dot = name.find('.');
  return dot != std::string_view::npos && dot > 0 && name.substr(dot) == pattern.substr(1);
}

using SessionOwner = std::shared_ptr<const ServerTls>;

// Where a session keeps its SessionOwner.
int SessionOwnerIndex() {
  static const int index =
      CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL, 0, nullptr, nullptr, nullptr,
                              [](void*, void* owner, CRYPTO_EX_DATA*, int, long, void*) {
                                delete static_cast<SessionOwner*>(owner);
                              });
  return index;
}

void SetCommon(SSL_CTX* context) {
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
}

cache::Result<void> UseCertificate(SSL_CTX* context, const std::string& cert,
                                   const std::string& key) {
  ERR_clear_error();
  if (SSL_CTX_use_certificate_chain_file(context, cert.c_str()) != 1) {
    return cache::Fail(ErrorSource::kInternal,
                       "cannot use certificate " + cert + ": " + OpenSslReason());
  }
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return cache::Fail(
        ErrorSource::kInternal,
        "cannot use private key " + key + " for certificate " + cert + ": " + OpenSslReason());
  }
  if (SSL_CTX_check_private_key(context) != 1) {
    return cache::Fail(ErrorSource::kInternal,
                       "private key " + key + " does not belong to " + cert);
  }
  return {};
}

}  // namespace

void TlsContextDeleter::operator()(SSL_CTX* context) const { SSL_CTX_free(context); }

cache::Result<std::shared_ptr<ServerTls>> ServerTls::Load(
    const std::vector<CertificateFiles>& files, bool require_tls13) {
  auto server = std::make_shared<ServerTls>();
  for (const CertificateFiles& file : files) {
    TlsContext context(SSL_CTX_new(TLS_server_method()));
    if (!context) return cache::Fail(ErrorSource::kInternal, "cannot create a TLS context");
    SetCommon(context.get());
    SSL_CTX_set_min_proto_version(context.get(), require_tls13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_alpn_select_cb(context.get(), ChooseHttp11, nullptr);
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);  // tickets suffice
    if (auto used = UseCertificate(context.get(), file.cert, file.key); !used) {
      return std::unexpected(std::move(used.error()));
    }
    server->contexts_.push_back({NamesOf(context.get()), std::move(context)});
  }
  if (server->contexts_.empty()) {
    return cache::Fail(ErrorSource::kInternal, "a TLS listener needs a certificate");
  }
  SSL_CTX* first = server->contexts_.front().context.get();
  // The macros of these two calls cast in the old style.
  SSL_CTX_callback_ctrl(first, SSL_CTRL_SET_TLSEXT_SERVERNAME_CB,
                        reinterpret_cast<void (*)()>(&ServerTls::OnServerName));
  return server;
}

int ServerTls::OnServerName(SSL* ssl, int*, void*) {
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (name == nullptr) return SSL_TLSEXT_ERR_OK;
  const std::string wanted = Lower(name);
  const auto* owner = static_cast<const SessionOwner*>(SSL_get_ex_data(ssl, SessionOwnerIndex()));
  for (const Named& candidate : (*owner)->contexts_) {
    for (const std::string& pattern : candidate.names) {
      if (!NameMatches(pattern, wanted)) continue;
      SSL_set_SSL_CTX(ssl, candidate.context.get());
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_OK;
}

SSL* ServerTls::NewSession(int fd) const {
  SSL* ssl = SSL_new(contexts_.front().context.get());
  if (ssl == nullptr) return nullptr;
  auto owner = std::make_unique<SessionOwner>(shared_from_this());
  if (SSL_set_ex_data(ssl, SessionOwnerIndex(), owner.get()) != 1) {
    SSL_free(ssl);
    return nullptr;
  }
  static_cast<void>(owner.release());  // freed with the session
  if (SSL_set_fd(ssl, fd) != 1) {
    SSL_free(ssl);
    return nullptr;
  }
  SSL_set_accept_state(ssl);
  return ssl;
}

cache::Result<std::shared_ptr<ClientTls>> ClientTls::Load(const std::string& ca_file,
                                                          std::string sni, bool verify,
                                                          const std::string& cert_file,
                                                          const std::string& key_file) {
  auto client = std::make_shared<ClientTls>();
  client->context_.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* context = client->context_.get();
  if (context == nullptr) return cache::Fail(ErrorSource::kInternal, "cannot create a TLS context");
  SetCommon(context);
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  if (verify) {
    ERR_clear_error();
    const bool loaded = ca_file.empty()
                            ? SSL_CTX_set_default_verify_paths(context) == 1
                            : SSL_CTX_load_verify_locations(context, ca_file.c_str(), nullptr) == 1;
    if (!loaded) {
      return cache::Fail(ErrorSource::kInternal,
                         "cannot use CA file " + ca_file + ": " + OpenSslReason());
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  }
  if (!cert_file.empty()) {
    if (auto used = UseCertificate(context, cert_file, key_file); !used) {
      return std::unexpected(std::move(used.error()));
    }
  }
  client->sni_ = std::move(sni);
  client->verify_ = verify;
  return client;
}

SSL* ClientTls::NewSession(std::string_view host) const {
  SSL* ssl = SSL_new(context_.get());
  if (ssl == nullptr) return nullptr;
  const std::string name = sni_.empty() ? std::string(host) : sni_;
  in6_addr ip;
  const bool is_ip =
      inet_pton(AF_INET, name.c_str(), &ip) == 1 || inet_pton(AF_INET6, name.c_str(), &ip) == 1;
  bool ok = true;
  if (is_ip) {
    if (verify_) ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name.c_str()) == 1;
  } else if (!name.empty()) {
    ok = SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                  const_cast<char*>(name.c_str())) == 1;
    if (verify_) ok = ok && SSL_set1_host(ssl, name.c_str()) == 1;
  }
  if (!ok) {
    SSL_free(ssl);
    return nullptr;
  }
  SSL_set_connect_state(ssl);
  return ssl;
}

}  // namespace satchel::net
