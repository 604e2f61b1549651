// For tests of what holds leases: a folder, a real lease file whose commits fail on request, and
// the loop of one life of an agent. One thread, beside the workers of what is tested.
#pragma once

#include <unistd.h>

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/task_group.h"
#include "ipamd/allocator/lease_store.h"

namespace tombolo {

class Folder {
 public:
  Folder() { REQUIRE(::mkdtemp(path_.data()) != nullptr); }
  ~Folder() {
    std::error_code ignored;  // a folder that is gone already is as good
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string file(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_ = "/tmp/tombolo-leases-XXXXXX";
};

// Passes on to a real file, or refuses.
class Store final : public LeaseStore {
 public:
  explicit Store(const std::string& path) : inner_(open_sqlite_lease_store(path).value()) {}
  bool refuse = false;                              // everything
  std::function<bool(const LeaseChange&)> refuses;  // a commit with such a change
  std::atomic<bool> slow = false;                   // commits wait until it is false again
  std::size_t commits = 0;
  Result<StoredLeases> load() override { return inner_->load(); }
  Result<void> commit(const std::vector<LeaseChange>& changes) override {
    ++commits;
    slow.wait(true);
    bool refused = refuse;
    for (const auto& change : changes) refused = refused || (refuses && refuses(change));
    if (refused) return fail(Code::kResourceExhausted, "disk full");
    return inner_->commit(changes);
  }

 private:
  std::unique_ptr<LeaseStore> inner_;
};

// Declared before what runs on it, ended before that is destroyed.
class TestLoop {
 public:
  TestLoop() : tasks_(context_.get_executor()), clock_(make_system_clock()) {}
  // Cancels all tasks and waits for them.
  void end() {
    tasks_.cancel();
    while (tasks_.size() > 0) context_.run_one();
  }
  // Drives the loop until `task` has ended.
  template <class T>
  T run(asio::awaitable<T> task) {
    std::optional<T> result;
    auto body = [](asio::awaitable<T> inner, std::optional<T>& out) -> asio::awaitable<void> {
      out.emplace(co_await std::move(inner));
    };
    asio::co_spawn(context_, body(std::move(task), result), asio::detached);
    while (!result) context_.run_one();
    return std::move(*result);
  }
  // Drives the loop until the condition holds; false when it does not in time.
  template <class Condition>
  bool reaches(Condition condition, std::chrono::milliseconds within = std::chrono::seconds(5)) {
    auto end = std::chrono::steady_clock::now() + within;
    while (!condition() && std::chrono::steady_clock::now() < end)
      context_.run_one_for(std::chrono::milliseconds(20));
    return condition();
  }
  TaskGroup& tasks() { return tasks_; }
  Clock& clock() { return *clock_; }

 private:
  asio::io_context context_;
  TaskGroup tasks_;
  std::unique_ptr<Clock> clock_;
};

}  // namespace tombolo
