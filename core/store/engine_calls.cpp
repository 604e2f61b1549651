// The calls of the engine: each becomes a job of its thread.
#include "core/store/engine.h"
#include "core/store/etcd_errors.h"

namespace tombolo {

// An answer is cleared first, because a request may be worked on twice when a commit failed.

void Engine::range(const pb::RangeRequest& request, pb::RangeResponse& response, Done done) {
  submit({false,
          [this, &request, &response] {
            response.Clear();
            return state_->range(request, response);
          },
          std::move(done)});
}

void Engine::put(const pb::PutRequest& request, pb::PutResponse& response, Done done) {
  submit({true,
          [this, &request, &response] {
            response.Clear();
            return state_->put(request, response);
          },
          std::move(done), request.ByteSizeLong()});
}

void Engine::delete_range(const pb::DeleteRangeRequest& request, pb::DeleteRangeResponse& response,
                          Done done) {
  submit({true,
          [this, &request, &response] {
            response.Clear();
            return state_->delete_range(request, response);
          },
          std::move(done)});
}

void Engine::txn(const pb::TxnRequest& request, pb::TxnResponse& response, Done done) {
  submit({!only_reads(request),
          [this, &request, &response] {
            response.Clear();
            return state_->txn(request, response);
          },
          std::move(done), request.ByteSizeLong()});
}

void Engine::compact(const pb::CompactionRequest& request, pb::CompactionResponse& response,
                     Done done) {
  auto answer = [this, &request, &response, done = std::move(done)](Result<void> result) {
    fill(*response.mutable_header());
    if (result && request.physical())
      physical_.push_back(done);
    else
      done(std::move(result));
  };
  submit({true,
          [this, &request] {
            Result<void> result = state_->compact(request.revision());
            if (result) forgetting_ = true;
            return result;
          },
          std::move(answer)});
}

void Engine::lease_grant(const pb::LeaseGrantRequest& request, pb::LeaseGrantResponse& response,
                         Done done) {
  submit({true,
          [this, &request, &response] {
            response.Clear();
            return state_->lease_grant(request, response);
          },
          std::move(done)});
}

void Engine::lease_revoke(const pb::LeaseRevokeRequest& request, pb::LeaseRevokeResponse& response,
                          Done done) {
  submit({true,
          [this, &request, &response] {
            response.Clear();
            Result<void> result = state_->lease_revoke(request.id());
            state_->fill(*response.mutable_header());
            return result;
          },
          std::move(done)});
}

void Engine::lease_keep_alive(const pb::LeaseKeepAliveRequest& request,
                              pb::LeaseKeepAliveResponse& response, Done done) {
  submit({false,
          [this, &request, &response] { return state_->lease_keep_alive(request, response); },
          std::move(done)});
}

void Engine::lease_time_to_live(const pb::LeaseTimeToLiveRequest& request,
                                pb::LeaseTimeToLiveResponse& response, Done done) {
  submit({false,
          [this, &request, &response] { return state_->lease_time_to_live(request, response); },
          std::move(done)});
}

void Engine::lease_leases(pb::LeaseLeasesResponse& response, Done done) {
  submit({false, [this, &response] { return state_->lease_leases(response); }, std::move(done)});
}

void Engine::hash_kv(const pb::HashKVRequest& request, pb::HashKVResponse& response, Done done) {
  submit({false, [this, &request, &response] { return state_->hash_kv(request, response); },
          std::move(done)});
}

void Engine::status(pb::StatusResponse& response, Done done) {
  submit({false, [this, &response] { return state_->status(response); }, std::move(done)});
}

void Engine::defragment(Done done) {
  submit({false, [this] { return state_->database().vacuum(); }, std::move(done)});
}

void Engine::lease_keys(std::int64_t lease, std::vector<std::string>& keys, Done done) {
  auto read = [this, lease, &keys]() -> Result<void> {
    if (const LeaseTable::Lease* found = state_->leases().find(lease); found != nullptr)
      keys.assign(found->keys.begin(), found->keys.end());
    return {};
  };
  submit({false, read, std::move(done)});
}

void Engine::watch_create(WatchSinkPtr sink, WatchSpec spec, Handled handled) {
  post([this, sink = std::move(sink), spec = std::move(spec), handled = std::move(handled)] {
    hub_->create(sink, spec);
    feeding_ = true;
    if (handled) handled();
  });
}

void Engine::watch_cancel(WatchSinkPtr sink, std::int64_t watch_id, Handled handled) {
  post([this, sink = std::move(sink), watch_id, handled = std::move(handled)] {
    hub_->cancel(sink, watch_id);
    if (handled) handled();
  });
}

void Engine::watch_progress(WatchSinkPtr sink, Handled handled) {
  post([this, sink = std::move(sink), handled = std::move(handled)] {
    hub_->want_progress(sink);
    if (handled) handled();
  });
}

void Engine::watch_close(WatchSinkPtr sink) {
  post([this, sink = std::move(sink)] { hub_->close(sink); });
}

void Engine::watch_resume(WatchSinkPtr sink) {
  post([this, sink = std::move(sink)] { hub_->resume(sink); });
}

}  // namespace tombolo
