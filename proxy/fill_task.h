#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/cache_key.h"
#include "cache/fill.h"
#include "cache/http/message.h"
#include "cache/remote_store.h"
#include "cache/storability.h"
#include "proxy/fetch.h"
#include "proxy/keyed_body.h"
#include "proxy/request_filter.h"
#include "proxy/shared_fill.h"
#include "proxy/snapshot.h"

namespace satchel::proxy {

class Exchange;
class Worker;

// The leader's work: brings one response into L1 for whoever reads it, from L2 or from the origin
// (a validation where a stored response has validators). Lives on when its client leaves. Kept by
// the worker until it is done; owner thread only.
class FillTask final : public FetchHandler,
                       public std::enable_shared_from_this<FillTask> {
 public:
  struct Job {
    SnapshotPtr snapshot;
    const rules::Rule* rule = nullptr;
    std::shared_ptr<UpstreamPool> pool;
    std::shared_ptr<const cache::RequestHead> head;
    std::string target;  // for the origin
    cache::CacheKey key;
    std::shared_ptr<const KeyedBody> body;  // of a read with a body; null else
    ClientInfo client;
    cache::StoredPtr stored;    // to validate or to fall back on; may be null
    cache::StoredPtr prefix;    // a stored 206 that may be completed, or grow; may be null
    bool other_variants = false;  // are stored, but none that `head` selects
    bool part = false;          // `head` asks for one range, and that is what is fetched
    cache::FillPermit permit;
    std::weak_ptr<Exchange> leader;  // empty for a refresh in the background
    bool background = false;
    bool early = false;  // a refresh of what is still fresh
    bool takes_turns = true;  // one instance fetches for the fleet
    bool shared_only = false;  // the shared tier alone is asked, and nobody's turn is taken
    // At its end; its worker's thread.
    std::function<void(const FillTask&)> finished{};
  };

  FillTask(Worker& worker, Job job);
  ~FillTask();

  void Start();
  // Another reader waits no longer than its own request allows; the leader has gone.
  void OnLeaderGone();

  const Job& job() const { return job_; }
  bool gave_up() const { return gave_up_; }  // another instance refreshes it
  const std::string& error() const { return error_; }  // of a fetch that failed
  // For the leader's log line and Cache-Status.
  const Fetch* fetch() const { return fetch_.get(); }
  uint16_t upstream_status() const { return upstream_status_; }
  bool from_remote() const { return from_remote_; }
  bool revalidated() const { return revalidated_; }
  bool stored_answer() const { return stored_answer_; }
  cache::Reason stale_reason() const { return stale_reason_; }
  cache::Reason verdict_reason() const { return verdict_reason_; }
  // Field lines of the origin's answer that are this request's alone and are not stored with it.
  const std::string& own_fields() const { return own_fields_; }
  // The origin's own limits, for the same client alone.
  const cache::HeaderMap& limit_fields() const { return limit_fields_; }
  // Cache-Status members of the caches between us and the origin.
  const std::string& inner_status() const { return inner_status_; }

 private:
  bool UseRemote(const cache::StoredPtr& response);
  bool UseEquivalent(const cache::RemoteStore::Equivalent& found);
  void OnTurn(SharedFill::Go go);
  void StartFetch();
  bool HasJsonTags(const cache::ResponseHead& head) const;
  cache::StoredPtr FinishTagged(std::string trailers, uint8_t fetch_time);
  void HandOver(cache::ResponseHead& head, const http1::Framing& framing, cache::Reason why);
  // True if it can still be used; what a purge made of it takes its place.
  bool CheckStored();
  void KeepOwnFields(const cache::HeaderMap& received, const cache::HeaderMap& stored);
  void OnNotModified(const cache::ResponseHead& head);
  cache::StoredPtr KeepConfirmed(const cache::StoredResponse& old,
                                 const cache::StoredResponse& updated,
                                 const cache::UpdateResult& update,
                                 const cache::StoredResponse::Update& with);
  bool SelectNamed(const cache::ResponseHead& head);
  bool CompleteFromPrefix(const cache::ResponseHead& head);
  void FetchWhole();
  void DropStored();
  [[nodiscard]] bool Publish(const cache::ResponseHead& head, const cache::StoreVerdict& verdict,
                             std::optional<uint64_t> length);
  bool FallBackOnStale(bool reached, uint16_t status);
  [[nodiscard]] bool Complete(cache::StoredPtr response, bool insert,
                cache::Reason why = cache::Reason::kNone);
  cache::RemoteStore::Stored TellWhenStored();
  void StoreRemotely(const cache::StoredPtr& response);
  void RenewRemotely(const cache::StoredPtr& old, const cache::StoredPtr& updated);
  void Tell(redis::FleetLock::News news);
  uint8_t NoteFetchTime();
  void TellLeader();
  void TellLeaderSoon();
  void Done();
  void CheckBacklog();
  cache::StoredPtr BeginningOf(const FetchError& error) const;

  void OnInterim(cache::ResponseHead& head) override;
  void OnHead(cache::ResponseHead& head, const http1::Framing& framing) override;
  void OnData(std::string_view data) override;
  void OnEnd(cache::HeaderMap& trailers) override;
  void OnFetchError(const FetchError& error) override;
  void OnUploadDrained() override {}
  void OnUpgraded(cache::ResponseHead&, std::unique_ptr<UpstreamConnection>,
                  std::string_view) override {}

  Worker& worker_;
  Job job_;
  std::unique_ptr<SharedFill> shared_;  // null: not asked
  int64_t fetch_started_ns_ = 0;
  std::shared_ptr<Fetch> fetch_;
  uint64_t asked_sequence_ = 0;  // the last purge known when the origin was asked
  std::optional<cache::TagSet> json_tags_;  // what the head gave; more come from the body
  bool conditional_ = false;
  std::vector<cache::StoredPtr> named_;  // other variants that the origin was asked for
  bool completing_ = false;  // what lies behind the prefix was asked for
  bool published_ = false;
  bool answers_others_ = false;  // with No-Vary-Search
  cache::StoredPtr head_;  // once published
  std::optional<uint64_t> length_;
  bool paused_ = false;
  bool telling_ = false;
  bool from_remote_ = false;
  bool revalidated_ = false;
  bool stored_answer_ = false;
  bool gave_up_ = false;
  std::string error_;
  uint16_t upstream_status_ = 0;
  cache::Reason stale_reason_ = cache::Reason::kNone;
  cache::Reason verdict_reason_ = cache::Reason::kNone;
  std::string inner_status_;
  std::string own_fields_;
  cache::HeaderMap limit_fields_;
};

}  // namespace satchel::proxy
