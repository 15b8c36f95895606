#include "tests/support/tls.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace satchel::testing {
namespace {

using SessionPtr = std::unique_ptr<SSL, decltype(&SSL_free)>;

std::string Reason() {
  const unsigned long code = ERR_peek_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  ERR_clear_error();
  return reason == nullptr ? "connection ended" : reason;
}

X509* NewCertificate(const std::string& subject, EVP_PKEY* key) {
  X509* certificate = X509_new();
  X509_set_version(certificate, 2);
  uint32_t serial = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial | 1u);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 24 * 3600);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(subject.c_str()), -1, -1, 0);
  X509_set_pubkey(certificate, key);
  return certificate;
}

void AddExtension(X509* certificate, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

void WritePem(const std::string& path, X509* certificate, EVP_PKEY* key) {
  FILE* file = std::fopen(path.c_str(), "w");
  if (file == nullptr) return;
  if (certificate != nullptr) PEM_write_X509(file, certificate);
  if (key != nullptr) PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(file);
}

SSL_CTX* ClientContext(const TlsSettings& settings) {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  if (settings.max_version != 0) SSL_CTX_set_max_proto_version(context, settings.max_version);
  std::string alpn;
  for (const std::string& name : settings.alpn) {
    alpn += static_cast<char>(name.size());
    alpn += name;
  }
  SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(alpn.data()),
                          static_cast<unsigned>(alpn.size()));
  return context;
}

SSL_CTX* ServerContext(const TlsSettings& settings) {
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  if (settings.max_version != 0) SSL_CTX_set_max_proto_version(context, settings.max_version);
  SSL_CTX_use_certificate_chain_file(context, settings.certificate.cert.c_str());
  SSL_CTX_use_PrivateKey_file(context, settings.certificate.key.c_str(), SSL_FILETYPE_PEM);
  return context;
}

SessionPtr NewSession(SSL_CTX* context, int fd, bool client, const std::string& sni) {
  SessionPtr ssl(SSL_new(context), SSL_free);
  SSL_set_fd(ssl.get(), fd);
  SSL_set_mode(ssl.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (client) {
    if (!sni.empty()) {  // what the macro SSL_set_tlsext_host_name says, without its C cast
      SSL_ctrl(ssl.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
               const_cast<char*>(sni.c_str()));
    }
    SSL_set_connect_state(ssl.get());
  } else {
    SSL_set_accept_state(ssl.get());
  }
  return ssl;
}

// True when the handshake is done.
bool ShakeHands(SSL* ssl, Deadline deadline, int wake_fd = -1) {
  while (true) {
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl);
    if (result == 1) return true;
    const int error = SSL_get_error(ssl, result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return false;
    const short events = error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
    if (!WaitFor(SSL_get_fd(ssl), events, deadline, wake_fd)) return false;
  }
}

// Carries bytes between the two sides until both have ended, one broke, or wake_fd is readable.
class Pump {
 public:
  Pump(SSL* ssl, UniqueFd* tls, UniqueFd* clear, bool close_notify, int wake_fd)
      : ssl_(ssl), tls_(tls), clear_(clear), close_notify_(close_notify), wake_fd_(wake_fd) {}

  void Run() {
    while (!broken_ && !(tls_shut_ && clear_shut_)) {
      const bool moved = FromTls() | ToClear() | FromClear() | ToTls();
      if (!moved && !broken_ && !Wait()) return;
    }
    if (broken_) {
      ResetConnection(tls_);
      ResetConnection(clear_);
    }
  }
  bool orderly() const { return orderly_; }

 private:
  bool FromTls() {
    if (tls_eof_ || !to_clear_.empty()) return false;
    char buffer[16 * 1024];
    ERR_clear_error();
    const int got = SSL_read(ssl_, buffer, sizeof buffer);
    if (got > 0) {
      to_clear_.assign(buffer, static_cast<size_t>(got));
      return true;
    }
    const int error = SSL_get_error(ssl_, got);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return false;
    tls_eof_ = true;
    orderly_ = error == SSL_ERROR_ZERO_RETURN;
    broken_ = !orderly_;
    return true;
  }

  bool ToClear() {
    if (!to_clear_.empty()) {
      const ssize_t sent = ::send(clear_->get(), to_clear_.data(), to_clear_.size(),
                                  MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent <= 0) {
        broken_ = errno != EAGAIN && errno != EINTR;
        return broken_;
      }
      to_clear_.erase(0, static_cast<size_t>(sent));
      return true;
    }
    if (!tls_eof_ || clear_shut_ || broken_) return false;
    ::shutdown(clear_->get(), SHUT_WR);
    clear_shut_ = true;
    return true;
  }

  bool FromClear() {
    if (clear_eof_ || !to_tls_.empty()) return false;
    char buffer[16 * 1024];
    const ssize_t got = ::recv(clear_->get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0) {
      broken_ = broken_ || (errno != EAGAIN && errno != EINTR);
      return false;
    }
    to_tls_.assign(buffer, static_cast<size_t>(got));
    clear_eof_ = got == 0;
    return true;
  }

  bool ToTls() {
    ERR_clear_error();
    if (!to_tls_.empty()) {
      const int sent = SSL_write(ssl_, to_tls_.data(), static_cast<int>(to_tls_.size()));
      if (sent <= 0) {
        const int error = SSL_get_error(ssl_, sent);
        broken_ = broken_ || (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE);
        return false;
      }
      to_tls_.erase(0, static_cast<size_t>(sent));
      return true;
    }
    if (!clear_eof_ || tls_shut_) return false;
    if (close_notify_) SSL_shutdown(ssl_);
    ::shutdown(tls_->get(), SHUT_WR);
    tls_shut_ = true;
    return true;
  }

  bool Wait() {
    const auto events = [](bool in, bool out) {
      return static_cast<short>((in ? POLLIN : 0) | (out ? POLLOUT : 0));
    };
    const short tls = events(!tls_eof_ && to_clear_.empty(), !to_tls_.empty());
    const short clear = events(!clear_eof_ && to_tls_.empty(), !to_clear_.empty());
    // A side that is asked nothing is left out: its hang-up would be reported for ever.
    pollfd waits[3] = {{tls != 0 ? tls_->get() : -1, tls, 0},
                       {clear != 0 ? clear_->get() : -1, clear, 0},
                       {wake_fd_, POLLIN, 0}};
    return (::poll(waits, 3, -1) > 0 || errno == EINTR) && waits[2].revents == 0;
  }

  SSL* ssl_;
  UniqueFd* tls_;
  UniqueFd* clear_;
  bool close_notify_;
  int wake_fd_;
  std::string to_clear_;
  std::string to_tls_;
  bool tls_eof_ = false;
  bool clear_eof_ = false;
  bool tls_shut_ = false;
  bool clear_shut_ = false;
  bool orderly_ = false;
  bool broken_ = false;
};

}  // namespace

CertificateAuthority::CertificateAuthority(const TempDir& dir, const std::string& name)
    : dir_(dir), file_(dir.path(name + ".pem")), key_(EVP_EC_gen("P-256")) {
  certificate_ = NewCertificate(name, key_);
  X509_set_issuer_name(certificate_, X509_get_subject_name(certificate_));
  AddExtension(certificate_, NID_basic_constraints, "critical,CA:TRUE");
  X509_sign(certificate_, key_, EVP_sha256());
  WritePem(file_, certificate_, nullptr);
}

CertificateAuthority::~CertificateAuthority() {
  X509_free(certificate_);
  EVP_PKEY_free(key_);
}

Certificate CertificateAuthority::Issue(const std::string& subject,
                                        const std::vector<std::string>& names) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = NewCertificate(subject, key);
  X509_set_issuer_name(certificate, X509_get_subject_name(certificate_));
  std::string alternatives;
  for (const std::string& name : names) {
    alternatives += (alternatives.empty() ? "" : ",") + name;
  }
  if (!names.empty()) AddExtension(certificate, NID_subject_alt_name, alternatives);
  X509_sign(certificate, key_, EVP_sha256());
  Certificate files{dir_.path(subject + ".crt"), dir_.path(subject + ".key")};
  WritePem(files.cert, certificate, nullptr);
  WritePem(files.key, nullptr, key);
  X509_free(certificate);
  EVP_PKEY_free(key);
  return files;
}

Handshake TryHandshake(int fd, const TlsSettings& settings) {
  Handshake result;
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context(ClientContext(settings), SSL_CTX_free);
  SessionPtr ssl = NewSession(context.get(), fd, /*client=*/true, settings.sni);
  result.done = ShakeHands(ssl.get(), Deadline::In(kPatience));
  if (!result.done) {
    result.error = Reason();
    return result;
  }
  result.version = SSL_get_version(ssl.get());
  const unsigned char* alpn = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl.get(), &alpn, &size);
  if (size > 0) result.alpn.assign(reinterpret_cast<const char*>(alpn), size);
  char name[256] = "";
  X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(ssl.get())),
                            NID_commonName, name, sizeof name);
  result.subject = name;
  SSL_shutdown(ssl.get());
  return result;
}

Handshake TryHandshake(const std::string& address, const TlsSettings& settings) {
  UniqueFd fd = ConnectTo(address, Deadline::In(kPatience));
  if (fd) return TryHandshake(fd.get(), settings);
  Handshake result;
  result.error = "not connected";
  return result;
}

TlsRelay::TlsRelay(Role role, const std::string& to, TlsSettings settings)
    : role_(role),
      to_(to),
      settings_(std::move(settings)),
      listen_fd_(ListenOn("127.0.0.1:0")),
      stop_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      context_(role == Role::kClient ? ClientContext(settings_) : ServerContext(settings_),
               SSL_CTX_free) {
  address_ = "127.0.0.1:" + std::to_string(BoundPort(listen_fd_.get()));
  accept_thread_ = std::thread([this] { AcceptLoop(); });
}

TlsRelay::~TlsRelay() {
  const uint64_t one = 1;
  if (::write(stop_.get(), &one, sizeof one) != sizeof one) std::abort();
  accept_thread_.join();
  for (std::thread& thread : threads_) thread.join();
}

void TlsRelay::AcceptLoop() {
  while (true) {
    pollfd waits[2] = {{listen_fd_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (::poll(waits, 2, -1) < 0 && errno != EINTR) return;
    if (waits[1].revents != 0) return;
    const int fd = ::accept4(listen_fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) threads_.emplace_back([this, fd] { Serve(UniqueFd(fd)); });
  }
}

void TlsRelay::Serve(UniqueFd accepted) {
  Session session;
  UniqueFd connected;
  const bool client = role_ == Role::kClient;
  if (client) connected = ConnectTo(to_, Deadline::In(kPatience));
  UniqueFd* tls = client ? &connected : &accepted;
  UniqueFd* clear = client ? &accepted : &connected;
  SessionPtr ssl = NewSession(context_.get(), tls->get(), client, settings_.sni);
  session.accepted = *tls && ShakeHands(ssl.get(), Deadline::In(kPatience), stop_.get());
  const char* name = SSL_get_servername(ssl.get(), TLSEXT_NAMETYPE_host_name);
  if (name != nullptr) session.sni = name;
  if (session.accepted && !client) connected = ConnectTo(to_, Deadline::In(kPatience));
  if (session.accepted && *clear) {
    Pump pump(ssl.get(), tls, clear, settings_.close_notify, stop_.get());
    pump.Run();
    session.orderly = pump.orderly();
  }
  std::lock_guard lock(mutex_);
  ended_.push_back(session);
  changed_.notify_all();
}

std::vector<TlsRelay::Session> TlsRelay::ended() const {
  std::lock_guard lock(mutex_);
  return ended_;
}

bool TlsRelay::WaitForEnded(size_t count, std::chrono::milliseconds patience) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, patience, [&] { return ended_.size() >= count; });
}

}  // namespace satchel::testing
