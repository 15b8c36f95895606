#include "proxy/config_watcher.h"

#include <errno.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>

namespace satchel::proxy {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kInterest = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE |
                               IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
constexpr int kMostLinks = 40;

fs::path NearestFolder(fs::path path) {
  std::error_code error;
  while (path.has_relative_path() && !fs::is_directory(path, error)) path = path.parent_path();
  return path;
}

}  // namespace

std::set<std::string> FoldersBehind(const std::string& path) {
  std::set<std::string> folders;
  std::error_code error;
  fs::path rest = fs::absolute(path, error);
  if (error) return folders;
  int links = 0;
  // Walks down part by part; a link sends the walk elsewhere.
  fs::path at = rest.root_path();
  std::vector<fs::path> parts;
  const auto push = [&parts](const fs::path& more) {
    const std::vector<fs::path> split(more.begin(), more.end());
    for (auto part = split.rbegin(); part != split.rend(); ++part) parts.push_back(*part);
  };
  push(rest.relative_path());
  while (!parts.empty()) {
    const fs::path part = std::move(parts.back());
    parts.pop_back();
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      at = at.parent_path();
      continue;
    }
    const fs::path next = at / part;
    if (fs::is_symlink(fs::symlink_status(next, error)) && ++links <= kMostLinks) {
      folders.insert(NearestFolder(at).string());
      const fs::path target = fs::read_symlink(next, error);
      if (target.is_absolute()) at = target.root_path();
      push(target.relative_path());
      continue;
    }
    at = next;
  }
  folders.insert(NearestFolder(at.parent_path()).string());
  return folders;
}

ConfigWatcher::ConfigWatcher(net::EventLoop& loop, std::function<void()> changed)
    : loop_(loop),
      changed_(std::move(changed)),
      inotify_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)),
      timer_([this] { Look(); }) {
  if (inotify_ >= 0) readable_.Start(loop_, inotify_, EV_READ, &ConfigWatcher::OnReadable, this);
}

ConfigWatcher::~ConfigWatcher() {
  readable_.Stop();
  if (inotify_ >= 0) ::close(inotify_);
}

void ConfigWatcher::Watch(FileFacts as_read) {
  facts_ = std::move(as_read);
  UpdateFolders();
  // What changed between the reading and the watching has made no event.
  loop_.SetTimer(timer_, 0);
}

void ConfigWatcher::UpdateFolders() {
  if (inotify_ < 0) return;
  std::set<std::string> folders;
  for (const auto& [file, hash] : facts_.files) folders.merge(FoldersBehind(file.first));
  for (const auto& [pattern, hash] : facts_.patterns) folders.merge(FoldersBehind(pattern));
  // All watches anew: a folder of the same name may be another one by now.
  for (const int watch : watches_) ::inotify_rm_watch(inotify_, watch);
  watches_.clear();
  missed_ = false;
  for (const std::string& folder : folders) {
    const int watch = ::inotify_add_watch(inotify_, folder.c_str(), kInterest);
    if (watch >= 0) {
      watches_.push_back(watch);
    } else {
      missed_ = true;
    }
  }
}

void ConfigWatcher::OnReadable(int, short, void* self) {
  static_cast<ConfigWatcher*>(self)->ReadEvents();
}

void ConfigWatcher::ReadEvents() {
  alignas(inotify_event) char buffer[4096];
  bool any = false;
  while (true) {
    const ssize_t n = ::read(inotify_, buffer, sizeof(buffer));
    if (n <= 0) break;
    for (ssize_t at = 0; at < n;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      if ((event->mask & IN_IGNORED) == 0) any = true;  // that one comes from our own removals
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
    }
  }
  if (!any) return;
  const int64_t now = net::EventLoop::ReadClockMs();
  if (first_event_ms_ < 0) first_event_ms_ = now;
  loop_.SetTimer(timer_, std::clamp<int64_t>(first_event_ms_ + kAtMostMs - now, 0, kQuietMs));
}

void ConfigWatcher::Look() {
  first_event_ms_ = -1;
  UpdateFolders();
  // Without inotify, out of watches, or a folder that went meanwhile: look now and then instead.
  if (inotify_ < 0 || missed_) loop_.SetTimer(timer_, kPollMs);
  FileFacts now = LookAgain(facts_);
  if (now == facts_) return;
  facts_ = std::move(now);
  changed_();
}

}  // namespace satchel::proxy
