#include "coordinator/records/cost_store.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/common/scratch_dir.h"

namespace penstock {
namespace {

// A model of five layers, three of them equal.
const CostKeys kKeys{4, {"layer a", "layer b", "layer b", "layer b", "layer c"}, "update adamw", "link"};
const std::vector<std::string> kNames = {"in", "h.0", "h.1", "h.2", "out"};

v1::MeasuredCosts Measured(const std::string& device, const std::vector<double>& forward_us) {
  v1::MeasuredCosts costs;
  costs.set_device(device);
  for (const double us : forward_us) {
    v1::MeasuredLayer* layer = costs.add_layers();
    layer->set_layer("measured");
    layer->set_forward_us(us);
    layer->set_activation_bytes(100);
  }
  return costs;
}

class CostStoreTest : public ::testing::Test {
 protected:
  CostStoreTest() { Reopen(); }

  void Reopen() {
    store_.reset();
    absl::StatusOr<std::unique_ptr<CostStore>> store = CostStore::Open(dir_.path());
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  void Put(const std::vector<std::string>& layers, const v1::MeasuredCosts& costs, int64_t second = 1) {
    CostKeys keys = kKeys;
    keys.layers = layers;
    const absl::Status status = store_->Put(keys, costs, absl::FromUnixSeconds(second));
    ASSERT_TRUE(status.ok()) << status;
  }
  std::optional<v1::MeasuredCosts> Find(const std::string& device) {
    const absl::StatusOr<std::optional<v1::MeasuredCosts>> found = store_->Find(device, kKeys, kNames);
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() ? *found : std::nullopt;
  }

  ScratchDir dir_;
  std::unique_ptr<CostStore> store_;
};

TEST_F(CostStoreTest, GivesNothingUntilEveryLayerIsKnown) {
  Put({"layer a", "layer b"}, Measured("cpu", {1, 2}));
  EXPECT_FALSE(Find("cpu").has_value());
  EXPECT_EQ(*store_->Known("cpu", kKeys), (std::vector<bool>{true, true, true, true, false}));
  Put({"layer c"}, Measured("cpu", {3}));
  EXPECT_TRUE(Find("cpu").has_value());
}

TEST_F(CostStoreTest, GivesALayersCostToEveryEqualLayerUnderItsOwnName) {
  Put({"layer a", "layer b", "layer c"}, Measured("cpu", {1, 2, 3}), /*second=*/7);
  const std::optional<v1::MeasuredCosts> found = Find("cpu");
  ASSERT_TRUE(found.has_value());
  std::string text;
  for (const v1::MeasuredLayer& layer : found->layers()) {
    text += layer.layer() + " " + std::to_string(static_cast<int>(layer.forward_us())) + "\n";
    EXPECT_EQ(layer.activation_bytes(), 100u);
    EXPECT_EQ(layer.unix_ms(), 7000);
  }
  EXPECT_EQ(text, "in 1\nh.0 2\nh.1 2\nh.2 2\nout 3\n");
  EXPECT_EQ(found->device(), "cpu");
}

TEST_F(CostStoreTest, KeepsDevicesApart) {
  Put({"layer a", "layer b"}, Measured("cpu", {1, 2}));
  Put({"layer c"}, Measured("cuda", {3}));
  EXPECT_FALSE(Find("cpu").has_value());
  EXPECT_FALSE(Find("cuda").has_value());
}

TEST_F(CostStoreTest, KeepsWhatItHasOverAReopening) {
  Put({"layer a", "layer b", "layer c"}, Measured("cpu", {1, 2, 3}));
  Reopen();
  EXPECT_TRUE(Find("cpu").has_value());
}

TEST_F(CostStoreTest, TakesTheLatestMeasurement) {
  Put({"layer a", "layer b", "layer c"}, Measured("cpu", {1, 2, 3}));
  Put({"layer b"}, Measured("cpu", {20}));
  EXPECT_EQ(Find("cpu")->layers(3).forward_us(), 20);
  EXPECT_EQ(Find("cpu")->layers(4).forward_us(), 3);
}

TEST_F(CostStoreTest, KeepsRatesThatALaterMeasurementDoesNotHave) {
  v1::MeasuredCosts costs = Measured("cpu", {1, 2, 3});
  costs.set_update_bytes_per_us(5000);
  costs.set_link_latency_us(60);
  costs.set_link_bytes_per_us(2200);
  Put({"layer a", "layer b", "layer c"}, costs);
  Put({"layer a"}, Measured("cpu", {1}));
  EXPECT_EQ(Find("cpu")->update_bytes_per_us(), 5000);
  EXPECT_EQ(Find("cpu")->link_latency_us(), 60);
  EXPECT_EQ(store_->Rates("cpu", kKeys)->link_bytes_per_us(), 2200);
  EXPECT_EQ(store_->Rates("cuda", kKeys)->link_bytes_per_us(), 0);
}

TEST_F(CostStoreTest, NamesTheDeviceThatWasMeasuredLastFirst) {
  Put({"layer a"}, Measured("old", {1}), 1);
  Put({"layer a"}, Measured("new", {1}), 3);
  Put({"layer a"}, Measured("middle", {1}), 2);
  EXPECT_EQ(*store_->Devices(), (std::vector<std::string>{"new", "middle", "old"}));
}

TEST_F(CostStoreTest, IsOpenInTwoPlacesAtOnce) {
  const absl::StatusOr<std::unique_ptr<CostStore>> other = CostStore::OpenExisting(dir_.path());
  ASSERT_TRUE(other.ok()) << other.status();
  Put({"layer a", "layer b", "layer c"}, Measured("cpu", {1, 2, 3}));
  EXPECT_TRUE((*other)->Find("cpu", kKeys, kNames)->has_value());
}

TEST(CostStoreFileTest, OpenExistingCreatesNothing) {
  const ScratchDir dir;
  const absl::StatusOr<std::unique_ptr<CostStore>> store = CostStore::OpenExisting(dir.path());
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ(*store, nullptr);
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(CostStoreFileTest, SaysThatAFileIsNoStore) {
  const ScratchDir dir;
  std::ofstream(dir / "costs.db") << std::string(4096, 'x');
  const absl::StatusOr<std::unique_ptr<CostStore>> store = CostStore::Open(dir.path());
  ASSERT_FALSE(store.ok());
  EXPECT_EQ(store.status().code(), absl::StatusCode::kDataLoss) << store.status();
  EXPECT_NE(store.status().message().find("costs.db"), std::string::npos) << store.status();
}

TEST_F(CostStoreTest, KeepsNothingOfAMeasurementThatCannotBe) {
  Put({"layer a", "layer b", "layer c"}, Measured("cpu", {1, 2, 3}));
  for (const double us : {std::nan(""), -1.0, 1e12, HUGE_VAL}) {
    const absl::Status refused = store_->Put(kKeys, Measured("cpu", {7, 7, 7, 7, us}), absl::FromUnixSeconds(2));
    EXPECT_EQ(refused.code(), absl::StatusCode::kInternal) << us;
    EXPECT_NE(refused.message().find("layer measured: its forward pass"), std::string::npos) << refused;
  }
  v1::MeasuredCosts rates = Measured("cpu", {7, 7, 7, 7, 7});
  rates.set_link_bytes_per_us(std::nan(""));
  EXPECT_FALSE(store_->Put(kKeys, rates, absl::FromUnixSeconds(2)).ok());
  EXPECT_EQ(Find("cpu")->layers(0).forward_us(), 1);
}

TEST_F(CostStoreTest, RefusesAsManyCostsAsItHasNoKeysFor) {
  EXPECT_FALSE(store_->Put(kKeys, Measured("cpu", {1}), absl::FromUnixSeconds(1)).ok());
}

}  // namespace
}  // namespace penstock
