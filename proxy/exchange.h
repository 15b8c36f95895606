#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/cache_key.h"
#include "cache/fill.h"
#include "cache/http/message.h"
#include "cache/reuse.h"
#include "cache/storability.h"
#include "cache/store.h"
#include "proxy/client_connection.h"
#include "proxy/fetch.h"
#include "proxy/fill_task.h"
#include "proxy/keyed_body.h"
#include "proxy/limit_request.h"
#include "proxy/metrics.h"
#include "proxy/purge_request.h"
#include "proxy/purger.h"
#include "proxy/responder.h"
#include "proxy/snapshot.h"
#include "proxy/tunnel.h"

namespace satchel::proxy {

class Worker;

// One request and its answer, from the parsed head to the log line.
//
//   kAdmitting -> kLookingUp -> kSending                       a hit
//              -> kCollecting -> kLookingUp                    the body is part of the key
//                            -> kWaitingForFill -> kSending    somebody fetches (perhaps our task)
//                            -> kFetching -> kSending          the answer is ours alone
//                                         -> kTunnelling       after a 101
//   any -> kDone
//
// Owner thread only; held by its connection, by callbacks weakly.
class Exchange final : public FetchHandler,
                       public std::enable_shared_from_this<Exchange> {
 public:
  // Held by a shared_ptr. `rule` null: no rule matches. Takes `head`'s contents.
  Exchange(Worker& worker, std::shared_ptr<ClientConnection> client, SnapshotPtr snapshot,
           const rules::Rule* rule, cache::RequestHead&& head, const http1::Framing& framing);
  ~Exchange();

  void Start();
  // A hit is to begin a refresh: the draw has been made already. Before Start().
  void RefreshEarly() { refresh_early_ = true; }

  // --- from the connection ---
  void OnRequestData(std::string_view data);
  void OnRequestEnd(const cache::HeaderMap& trailers);
  void OnRequestBroken(const http1::ParseError& error);
  void OnClientWritable();  // everything sent has reached the socket
  void OnClientEof();       // in a tunnel
  void OnTunnelData(std::string_view data);
  void OnClientGone();
  void OnResponseSent();

  // --- from the fill task that this exchange leads ---
  void OnFillProgress();
  // The answer is not to be shared: it goes on as this exchange's own.
  void TakeOver(std::shared_ptr<Fetch> fetch, cache::ResponseHead& head,
                const http1::Framing& framing, cache::Reason not_stored, uint64_t asked_sequence);
  // What our task waited for in another instance is nobody else's: we ask for ourselves.
  void FetchAlone();
  void OnLeaderInterim(const cache::ResponseHead& head) { SendInterim(head); }

 private:
  enum class State : uint8_t {
    kNew,
    kAdmitting,
    kLookingUp,
    kCollecting,
    kWaitingForFill,
    kFetching,
    kSending,
    kTunnelling,
    kDone,
  };

  // Admission: rate limits (exchange_admission.cc).
  void Admit();
  void OnVerdicts();
  void RefuseByLimit(const LimitVerdict& verdict);
  void RefuseUnidentified(const rules::RateLimitPolicy& policy, bool unknown);
  void SettleLimits(cache::HeaderMap& answer);
  void SettleLimitsOfTask(const cache::StoredResponse& response);

  // PURGE (exchange_purge.cc).
  void Purge();
  void OnPurgeDone(const PurgeRequest& request, const PurgeAnswer& answer);

  // Lookup and roles (exchange.cc).
  void LookUp();
  void LookUpAgain();
  void CollectBody();
  void OnBodyCollected();
  void GiveUpKeying();
  void ActOn(const cache::Store::Found& found);
  void AskRemote();
  bool AskRemoteForEquivalent();
  bool ServesAtOnce(const cache::StoredResponse& response) const;
  void OnRemote(cache::Result<cache::StoredPtr> found);
  cache::PriorLookup Prior() const;
  void BeginFill();
  void LeaveEquivalent();
  std::string LeadablePart() const;
  void BeginOrFollow(cache::Store::Begun begun);
  void Follow(cache::FillReader reader);
  void Lead(cache::FillPermit permit);
  void OnFillWaitOver();
  std::shared_ptr<FillTask> MakeTask(cache::FillPermit permit, bool background, bool early = false);
  void RefreshInBackground(bool early = false);

  // Sending stored responses (exchange_send.cc) and growing ones (exchange_reader.cc).
  void SendStored(cache::StoredPtr response);
  void PumpStored();
  // Pieces of one write.
  static constexpr size_t kPieces = 32;
  // One turn's share of one client, so that a fast one does not starve the others.
  static constexpr uint64_t kPumpBytes = 1024 * 1024;
  bool BeginPart();
  void PumpReader();
  bool BeginStreaming(const cache::FillView& view);
  void SendFromReader(const cache::FillView& view);
  ReplyContext Context() const;
  void SendProblem(uint16_t status, std::string_view detail, std::string_view reason,
                   Problem problem = {});
  void SendOptions();
  void SendInterim(const cache::ResponseHead& head);
  void Finish();
  void Cut(std::string why);
  void Log();

  // The origin's answer as our own (exchange_origin.cc).
  void GoToOrigin();
  void StartPass();
  void SendPassedHead(cache::ResponseHead& head, const http1::Framing& framing);
  void FlushHead();
  // True: answered with what is stored.
  bool FallBackOnStale(bool reached, uint16_t status);
  void InvalidateThenSend(cache::ResponseHead& head, const http1::Framing& framing);
  bool StandsSince(uint64_t sequence) const;
  void OwnPurge(const PurgeAnswer& answer);
  void OnPurged(const PurgeAnswer& answer);
  void FeedTee(std::string_view data);
  void FinishTee();
  void BeginTee(const cache::ResponseHead& head, const http1::Framing& framing);
  void UpdateFromHead(const cache::ResponseHead& head);
  // `said`: the fields of the update itself.
  void Freshen(const cache::UpdateResult& update, const cache::HeaderMap& said);
  void OnInterim(cache::ResponseHead& head) override;
  void OnHead(cache::ResponseHead& head, const http1::Framing& framing) override;
  void OnData(std::string_view data) override;
  void OnEnd(cache::HeaderMap& trailers) override;
  void OnFetchError(const FetchError& error) override;
  void OnUploadDrained() override;
  void OnUpgraded(cache::ResponseHead& head, std::unique_ptr<UpstreamConnection> connection,
                  std::string_view early_bytes) override;

  bool HasBody() const;  // whether our answer to this request may carry one

  Worker& worker_;
  std::shared_ptr<ClientConnection> client_;  // null once it is gone
  SnapshotPtr snapshot_;
  const rules::Rule* rule_;
  std::shared_ptr<UpstreamPool> pool_;
  const std::shared_ptr<cache::RequestHead> shared_head_;  // with the task that we lead
  const cache::RequestHead& head_;
  http1::Framing framing_;
  ClientInfo info_;
  std::string client_ip_;  // behind trusted proxies, what they say
  State state_ = State::kNew;

  // Admission.
  LimitRequest limits_;
  size_t verdicts_seen_ = 0;
  bool at_origin_ = false;  // the policies that count origin requests are being asked
  std::function<void()> admitted_;
  int64_t limit_started_ns_ = 0;
  std::string limit_fields_;  // whole lines for the answer
  std::string_view limit_policy_;
  LimitOutcome limit_outcome_ = LimitOutcome::kNone;

  // Cache.
  cache::CacheKey key_;
  bool has_key_ = false;
  std::shared_ptr<KeyedBody> keyed_body_;  // whole once there is a key
  cache::StoredPtr stored_;                // selected by the lookup, perhaps stale
  cache::StoredPtr part_;                  // a stored 206 that does not hold what is asked for
  bool asked_remote_ = false;
  bool from_remote_ = false;
  bool other_variants_ = false;
  cache::Decision decision_;
  cache::FillReader reader_;
  std::shared_ptr<FillTask> task_;  // led by us
  bool followed_ = false;
  bool follow_equivalents_ = true;
  bool of_equivalent_ = false;  // `reader_` reads what is fetched for another URI
  bool refresh_early_ = false;
  int restarts_ = 0;
  net::Timer wait_timer_;
  std::unique_ptr<cache::RemoteStore::Pending> remote_pending_;

  // Origin.
  std::shared_ptr<Fetch> fetch_;
  bool upload_paused_ = false;
  bool upload_ended_ = false;
  std::string early_body_;  // request body received before the fetch began
  cache::HeaderMap upload_trailers_;
  cache::ResponseHead passed_head_;
  http1::Framing passed_framing_;
  cache::FillPermit tee_;                // an answer of our own that is stored on its way
  bool tee_answers_others_ = false;      // with No-Vary-Search
  std::optional<uint64_t> tee_left_;     // bytes of it still to come, if known
  std::shared_ptr<Exchange> lingering_;  // ourselves: the client left, others read the tee
  uint64_t asked_sequence_ = 0;          // the last purge known when the origin was asked
  uint64_t purging_since_ = 0;           // the last purge known before our own
  bool unpurged_ = false;                // none up to then concerns the answer
  std::unique_ptr<Tunnel> tunnel_;

  // Answer.
  cache::StoredPtr sending_;
  std::unique_ptr<Multipart> multipart_;  // of several ranges
  size_t next_part_ = 0;
  uint64_t body_at_ = 0;
  std::optional<uint64_t> body_end_;
  uint64_t to_consume_ = 0;  // from the reader, once what was sent has drained
  bool head_sent_ = false;
  bool chunked_ = false;
  bool first_chunk_ = true;
  char chunk_prefix_[24];
  std::string pending_head_;  // of a passed answer, to leave with its body's first piece
  bool pass_body_ = true;     // the passed answer carries its body to the client

  // For the log.
  cache::Time started_;
  int64_t started_ns_;
  uint16_t status_ = 0;
  uint16_t upstream_status_ = 0;
  cache::CacheStatus cache_status_;
  Outcome outcome_ = Outcome::kMiss;
  std::string_view tier_;
  int64_t age_s_ = -1;
  std::string error_;
  bool logged_ = false;
};

// The request's side of a log line. Views point into the arguments.
void FillRequestRecord(AccessRecord& record, const cache::RequestHead& head,
                       std::string_view client_ip, const rules::Listener& listener);

}  // namespace satchel::proxy
