#include "tests/worker/runtime/receiving_end.h"

#include <gtest/gtest.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/channel.h"
#include "common/clock.h"

namespace penstock {

BoundaryKey ForwardKey(uint64_t pass) { return {pass, 1, v1::DIRECTION_FORWARD, 0, "x"}; }

RankIdentity TwoRanks(int rank, const std::string& address, bool shared_memory) {
  RankIdentity identity{.job = "job-1",
                        .plan_epoch = 5,
                        .incarnation = static_cast<uint64_t>(100 + rank),
                        .rank = rank,
                        .shared_memory = shared_memory};
  for (int i = 0; i < 2; ++i) {
    v1::Neighbour neighbour;
    neighbour.set_rank(static_cast<uint32_t>(i));
    neighbour.set_worker(absl::StrCat("localhost/cpu.", i));
    neighbour.set_incarnation(static_cast<uint64_t>(100 + i));
    neighbour.set_address(address);
    identity.ranks.push_back(neighbour);
    identity.rank_of_stage.push_back(i);
  }
  return identity;
}

TensorView PatternTensor(int64_t floats, int salt, v1::DType dtype) {
  const auto data = std::make_shared<std::string>(static_cast<size_t>(4 * floats), '\0');
  for (size_t i = 0; i < data->size(); ++i) (*data)[i] = static_cast<char>(i * 7 + (i >> 20) + salt);
  return {.meta = {dtype, {floats}}, .owner = data, .data = data->data(), .bytes = data->size()};
}

ReceivingEnd::ReceivingEnd(int64_t floats, uint64_t passes, bool shared_memory) : floats_(floats) {
  grpc::ServerBuilder builder;
  int port = 0;
  PrepareServer(&builder, "127.0.0.1:0", &port);
  PrepareForTensors(&builder);
  builder.RegisterService(&service_);
  server_ = builder.BuildAndStart();
  address_ = absl::StrCat("127.0.0.1:", port);
  BoundaryBounds bounds(1);
  bounds.Allow(1, v1::DIRECTION_FORWARD, {v1::DTYPE_FLOAT32, {floats}});
  const size_t bytes = static_cast<size_t>(4 * floats);
  receiver_ = std::make_shared<Receiver>(TwoRanks(1, address_, shared_memory), bounds, 2 * bytes, Clock::Real(), stop_);
  service_.SetReceiver(receiver_);
  receiver_->BeginRange({{.key = ForwardKey(0), .bytes = bytes}}, 1, passes);
}

void ReceivingEnd::ExpectPattern(uint64_t pass, int salt) {
  const auto tensor = receiver_->Take(ForwardKey(pass), Clock::Real()->Monotonic() + absl::Seconds(30));
  ASSERT_TRUE(tensor.ok()) << tensor.status();
  const TensorView expected = PatternTensor(floats_, salt);
  ASSERT_EQ(tensor->bytes, expected.bytes);
  EXPECT_EQ(std::memcmp(tensor->data.get(), expected.data, expected.bytes), 0) << "pass " << pass;
}

void ReceivingEnd::Stop() { server_->Shutdown(absl::ToChronoTime(absl::Now())); }

}  // namespace penstock
