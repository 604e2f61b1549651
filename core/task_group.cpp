// co_spawn with a cancellation signal per task.
#include "core/task_group.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <exception>

namespace tombolo {
namespace {

void expect_only_cancellation(const std::string& name, const std::exception_ptr& exception) {
  if (!exception) return;
  try {
    std::rethrow_exception(exception);
  } catch (const boost::system::system_error& error) {
    ENSURE(error.code() == asio::error::operation_aborted, "task {}: {}", name, error.what());
  } catch (const std::exception& error) {
    ENSURE(false, "task {}: {}", name, error.what());
  }
}

// A cancel that comes before the first step of a task is not signalled: Boost.Asio 1.83 lets its
// exception out of the event loop when a coroutine ends so without having waited. The task looks
// itself.
asio::awaitable<void> unless_cancelled(const TaskGroup& group, bool& started,
                                       asio::awaitable<void> task) {
  if (group.cancelled()) co_return;
  started = true;
  co_await std::move(task);
}

}  // namespace

Signal::Signal(const asio::any_io_executor& executor) : timer_(executor) {
  timer_.expires_at(asio::steady_timer::time_point::max());
}

void Signal::notify_all() {
  ++generation_;
  timer_.cancel();
}

asio::awaitable<Result<void>> Signal::wait() {
  std::uint64_t seen = generation_;
  // The timer reports a notify and a cancelled task alike; only a notify moves the generation.
  co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
  if (generation_ == seen) co_return fail(Code::kCancelled, "wait was cancelled");
  co_return Result<void>{};
}

TaskGroup::TaskGroup(asio::any_io_executor executor)
    : executor_(std::move(executor)), ended_(executor_) {}

TaskGroup::TaskGroup(TaskGroup& parent)
    : executor_(parent.executor_),
      parent_(&parent),
      ended_(executor_),
      cancelled_(parent.cancelled_) {
  parent.children_.push_back(this);
}

TaskGroup::~TaskGroup() {
  ENSURE(children_.empty(), "a group outlives its parent");
  if (parent_ != nullptr) parent_->children_.remove(this);
  ENSURE(tasks_.empty(), "task '{}' outlives its group", tasks_.front()->name);
}

void TaskGroup::spawn(std::string name, asio::awaitable<void> task) {
  if (cancelled_) return;
  tasks_.push_back(std::make_unique<Task>());
  auto place = std::prev(tasks_.end());
  (*place)->name = std::move(name);
  asio::co_spawn(executor_, unless_cancelled(*this, (*place)->started, std::move(task)),
                 asio::bind_cancellation_slot((*place)->cancel.slot(),
                                              [this, place](std::exception_ptr error) {
                                                expect_only_cancellation((*place)->name, error);
                                                tasks_.erase(place);
                                                note_end();
                                              }));
}

// Whoever waits for an ancestor may be waiting for this task.
void TaskGroup::note_end() {
  for (TaskGroup* group = this; group != nullptr; group = group->parent_)
    group->ended_.notify_all();
}

std::size_t TaskGroup::size() const {
  std::size_t count = tasks_.size();
  for (const TaskGroup* child : children_) count += child->size();
  return count;
}

void TaskGroup::cancel() {
  cancelled_ = true;
  // A cancelled task may destroy a group that it owns, so walk those that were there.
  std::list<TaskGroup*> children = children_;
  for (TaskGroup* child : children)
    if (std::ranges::find(children_, child) != children_.end()) child->cancel();
  // A cancelled task may end at once and leave the list, so walk a copy of the pointers that still
  // exist.
  for (auto place = tasks_.begin(); place != tasks_.end();) {
    auto next = std::next(place);
    if ((*place)->started) (*place)->cancel.emit(asio::cancellation_type::all);
    place = next;
  }
}

asio::awaitable<void> TaskGroup::join() {
  while (size() > 0)
    if (auto woken = co_await ended_.wait(); !woken) co_return;
}

}  // namespace tombolo
