// Metrics of what instances share: Redis servers, purges, limits.

#include <algorithm>
#include <map>
#include <string>

#include "proxy/metric_writer.h"
#include "proxy/shared_limits.h"

namespace satchel::proxy {
namespace {

using prometheus::MetricType;

constexpr uint64_t RedisNodeStatus::*kRedisSums[] = {
    &RedisNodeStatus::connected,       &RedisNodeStatus::breaker_open,
    &RedisNodeStatus::calls,           &RedisNodeStatus::errors,
    &RedisNodeStatus::deadline_misses, &RedisNodeStatus::rejected,
    &RedisNodeStatus::dropped,         &RedisNodeStatus::redirects,
    &RedisNodeStatus::disconnects,     &RedisNodeStatus::failed_connects,
    &RedisNodeStatus::breaker_opened,  &RedisNodeStatus::bytes_in,
    &RedisNodeStatus::bytes_out};

std::map<std::string, RedisNodeStatus> RedisNodes(
    const std::vector<const WorkerMetrics*>& workers) {
  std::map<std::string, RedisNodeStatus> nodes;
  for (const WorkerMetrics* worker : workers) {
    const std::lock_guard lock(worker->redis_nodes_mutex);
    for (const RedisNodeStatus& one : worker->redis_nodes) {
      RedisNodeStatus& sum = nodes[one.server];
      for (const auto field : kRedisSums) sum.*field += one.*field;
      sum.latency_us = std::max(sum.latency_us, one.latency_us);
    }
  }
  return nodes;
}

}  // namespace

void WriteRedisNodes(MetricWriter& out, const std::vector<const WorkerMetrics*>& workers) {
  const auto nodes = RedisNodes(workers);
  if (nodes.empty()) return;
  const auto family = [&](MetricType type, const char* name, const char* help, auto value) {
    out.Family(type, name, help);
    for (const auto& [server, node] : nodes) out.Series(value(node), {{"server", server}});
  };
  const auto plain = [&](MetricType type, const char* name, const char* help,
                         uint64_t RedisNodeStatus::*field) {
    family(type, name, help,
           [field](const RedisNodeStatus& node) { return static_cast<double>(node.*field); });
  };
  using S = RedisNodeStatus;
  constexpr MetricType kCounter = MetricType::Counter;
  plain(MetricType::Gauge, "satchel_redis_node_connected",
        "Workers whose connection to this Redis server works.", &S::connected);
  plain(MetricType::Gauge, "satchel_redis_node_breaker_open",
        "Workers that do not ask this Redis server at the moment.", &S::breaker_open);
  family(MetricType::Gauge, "satchel_redis_node_latency_seconds",
         "Moving average of the time of a small call, of the slowest worker.",
         [](const S& node) { return static_cast<double>(node.latency_us) / 1e6; });
  plain(kCounter, "satchel_redis_calls_total", "Calls to Redis.", &S::calls);
  plain(kCounter, "satchel_redis_errors_total",
        "Calls that were answered with an error, late, or not at all.", &S::errors);
  plain(kCounter, "satchel_redis_deadline_misses_total", "Of these, those that came too late.",
        &S::deadline_misses);
  plain(kCounter, "satchel_redis_rejected_total",
        "Calls not sent: no connection, breaker open, queue full.", &S::rejected);
  plain(kCounter, "satchel_redis_queue_drops_total",
        "Stores dropped from a full queue to make room.", &S::dropped);
  plain(kCounter, "satchel_redis_redirects_total", "MOVED, ASK and TRYAGAIN of a cluster.",
        &S::redirects);
  plain(kCounter, "satchel_redis_disconnects_total", "Connections lost.", &S::disconnects);
  plain(kCounter, "satchel_redis_failed_connects_total", "Attempts to connect that failed.",
        &S::failed_connects);
  plain(kCounter, "satchel_redis_breaker_opened_total", "Times a breaker opened.",
        &S::breaker_opened);
  plain(kCounter, "satchel_redis_received_bytes_total", "Bytes received from Redis.", &S::bytes_in);
  plain(kCounter, "satchel_redis_sent_bytes_total", "Bytes sent to Redis.", &S::bytes_out);
}
void WritePurges(MetricWriter& out, const PurgeStatus& purges) {
  const auto number = [](uint64_t value) { return static_cast<double>(value); };
  out.Family(MetricType::Counter, "satchel_purges_total",
             "Purges that took effect here, whoever asked for them.");
  for (size_t kind = 0; kind < cache::kPurgeKinds; ++kind) {
    const std::string word(cache::PurgeKindWord(static_cast<cache::PurgeKind>(kind)));
    out.Series(number(purges.table.applied[kind][0]), {{"kind", word}, {"mode", "hard"}});
    out.Series(number(purges.table.applied[kind][1]), {{"kind", word}, {"mode", "soft"}});
  }
  out.Gauge("satchel_purge_table_records", "Names in the purge table.",
            number(purges.table.records));
  out.Family(MetricType::Counter, "satchel_purged_responses_total",
             "Stored responses met after a purge: gone, stale, or doubtful (to be validated).");
  out.Series(number(purges.table.gone), {{"fate", "gone"}});
  out.Series(number(purges.table.softened), {{"fate", "stale"}});
  out.Series(number(purges.table.doubtful), {{"fate", "doubtful"}});
  out.Gauge("satchel_purge_refreshes_waiting", "URLs to be fetched again after a purge.",
            number(purges.refreshes_waiting));
  out.Gauge("satchel_purge_refreshes_searching",
            "Purges with refresh whose responses are still looked for.",
            number(purges.refreshes_searching));
  out.Counted("satchel_purge_refreshes_total", "Fetches begun after purges with refresh.",
              number(purges.refreshes_begun));
  out.Counted("satchel_purge_refreshes_dropped_total",
              "Left to the next request, because too many waited.",
              number(purges.refreshes_dropped));
  if (!purges.shared) return;
  out.Gauge("satchel_purge_coherent", "1 while purges of other instances are known in time.",
            purges.coherent ? 1 : 0);
  out.Gauge("satchel_purge_channel_up", "1 while the subscribed connection stands.",
            purges.channel_up ? 1 : 0);
  out.Counted("satchel_purge_channel_disconnects_total", "Times that connection was lost.",
              number(purges.channel_disconnects));
  out.Family(MetricType::Counter, "satchel_purge_batches_total",
             "Batches of purges: published, applied here alone for now, received of others.");
  out.Series(number(purges.published), {{"way", "published"}});
  out.Series(number(purges.unpublished), {{"way", "alone"}});
  out.Series(number(purges.received), {{"way", "received"}});
  out.Counted("satchel_purge_gaps_total", "Messages that did not follow on the last one known.",
              number(purges.gaps));
  out.Counted("satchel_purge_repaired_total", "Batches learned from the log after such a gap.",
              number(purges.repaired));
  out.Counted("satchel_purge_log_losses_total",
              "Times the log was found lost and begun anew: everything stored became doubtful.",
              number(purges.epoch_losses));
  out.Counted("satchel_purge_log_failed_reads_total", "Readings of the log without an answer.",
              number(purges.failed_reads));
  out.Counted("satchel_purge_doubts_total",
              "Times everything stored became doubtful because nothing could be heard.",
              number(purges.doubted));
  out.Gauge("satchel_purge_lag_seconds",
            "Of the last message: from the purge by Redis' clock to its effect here.",
            number(purges.lag_us) / 1e6);
  out.Family(
      MetricType::Counter, "satchel_purge_events_total",
      "Messages of applications: heard, of these not understood, of these forgotten before the "
      "instance that acts for all was known to be another.");
  out.Series(number(purges.events.messages), {{"result", "heard"}});
  out.Series(number(purges.events.refused), {{"result", "refused"}});
  out.Series(number(purges.events.dropped), {{"result", "dropped"}});
  out.Gauge("satchel_instances_live", "Instances that share the Redis, this one included.",
            number(purges.live_instances));
}
void WriteSchedule(MetricWriter& out, const ScheduleStatus& schedule) {
  out.Family(MetricType::Counter, "satchel_purge_schedule_runs_total",
             "Moments of purge.schedule: purged here for all, by another instance, here alone for "
             "want of Redis, or lost with the instance that had taken it.");
  for (const auto& [result, count] :
       {std::pair("here", schedule.ran), std::pair("elsewhere", schedule.elsewhere),
        std::pair("alone", schedule.alone), std::pair("lost", schedule.lost)}) {
    out.Series(static_cast<double>(count), {{"result", result}});
  }
  if (schedule.next.empty()) return;
  out.Family(MetricType::Gauge, "satchel_purge_schedule_next_timestamp_seconds",
             "When an entry of purge.schedule is due next, in seconds since the epoch.");
  for (const auto& [name, millis] : schedule.next) {
    out.Series(static_cast<double>(millis) / 1000, {{"name", name}});
  }
}
void WriteLimits(MetricWriter& out, const SharedLimits& limits) {
  using Series = LimitStats::Series;
  const std::vector<const Series*> all = limits.stats.All();
  const auto write = [&](const char* name, const char* help,
                         std::atomic<uint64_t> Series::*counter) {
    if (all.empty()) return;
    out.Family(MetricType::Counter, name, help);
    for (const Series* series : all) {
      out.Series(static_cast<double>((series->*counter).load(std::memory_order_relaxed)),
                 {{"policy", series->policy}, {"plan", series->plan}});
    }
  };
  write("satchel_rate_limit_allowed_total", "Admissions, by policy and plan.", &Series::allowed);
  write("satchel_rate_limit_refused_total", "Refusals, by policy and plan.", &Series::refused);
  write("satchel_rate_limit_shadow_refused_total",
        "What a policy in shadow mode would have refused.", &Series::shadow);
  write("satchel_rate_limit_near_total", "Admissions with less than a fifth of a limit left.",
        &Series::near_limit);
  write("satchel_rate_limit_units_total", "Units charged before the answer.", &Series::units);
  out.Gauge("satchel_rate_limit_identities", "Identities counted in this process.",
            static_cast<double>(limits.local.identities()));
  out.Counted("satchel_rate_limit_evictions_total",
              "Identities forgotten because the table in this process was full.",
              static_cast<double>(limits.local.evictions()));
  out.Gauge("satchel_rate_limit_instances", "Live instances that share the limits' Redis.",
            static_cast<double>(limits.instances.load(std::memory_order_relaxed)));
  out.Gauge("satchel_rate_limit_switched_off",
            "Policies that the kill switch has turned off; all of them count as one.",
            static_cast<double>(limits.kill_switch.off().size()));
  out.Gauge("satchel_rate_limit_debts",
            "Identities with admissions that Redis is still to be told of.",
            static_cast<double>(limits.debts.size()));
  out.Counted("satchel_rate_limit_debts_lost_total",
              "Identities whose admissions found no room to be written down.",
              static_cast<double>(limits.debts.lost()));
}

}  // namespace satchel::proxy
