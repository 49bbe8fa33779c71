// What workers have measured, in STATE_DIR/costs.db: SQLite, beside the jobs and apart from them, so that the command
// can read it while no coordinator runs, and deleting it costs nothing but a measurement. Thread-safe; calls block for
// the disk, so never make them under another lock.
// Source: docs/schedules.md, "Measured costs".
#ifndef PENSTOCK_COORDINATOR_RECORDS_COST_STORE_H_
#define PENSTOCK_COORDINATOR_RECORDS_COST_STORE_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/sqlite.h"
#include "model/cost_keys.h"
#include "proto/plan.pb.h"

namespace penstock {

// Whether figures can be those of a worker's measurement, so that nothing is planned with others.
// Errors: Internal: the first that is not a number, is negative, or larger than anything that was ever measured.
absl::Status CheckMeasured(const v1::MeasuredCosts& costs);

class CostStore {
 public:
  // Creates the store where it is missing. Several processes may have it open.
  // Errors: FailedPrecondition: a newer version wrote it. DataLoss: it is damaged. Unavailable: the file system's.
  static absl::StatusOr<std::unique_ptr<CostStore>> Open(const std::string& state_dir);
  // As Open, but creates nothing: null where there is no store.
  static absl::StatusOr<std::unique_ptr<CostStore>> OpenExisting(const std::string& state_dir);

  // Keeps what `costs` holds under the keys of its layers; figures that are 0 were not measured.
  // Args:   costs.layers: those of keys.layers, one each, in their order.
  // Errors: Internal: as CheckMeasured; nothing is kept.
  absl::Status Put(const CostKeys& keys, const v1::MeasuredCosts& costs, absl::Time now);

  // The costs of all the layers on this device; nullopt unless every one is known. Rates are 0 where they are not.
  // Args: names: of the layers, in model order.
  absl::StatusOr<std::optional<v1::MeasuredCosts>> Find(const std::string& device, const CostKeys& keys,
                                                        const std::vector<std::string>& names);
  // Which layers are known for the device: one a layer.
  absl::StatusOr<std::vector<bool>> Known(const std::string& device, const CostKeys& keys);

  // The update and the link alone; 0 where they are not known.
  absl::StatusOr<v1::MeasuredCosts> Rates(const std::string& device, const CostKeys& keys);

  // Devices that anything is known of, the one that was measured last first.
  absl::StatusOr<std::vector<std::string>> Devices();

 private:
  explicit CostStore(SqliteDatabase database) : database_(std::move(database)) {}
  absl::Status Prepare();
  absl::Status PutOne(const std::string& device, const std::string& key, const v1::MeasuredCosts& value, absl::Time now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status AddRates(const std::string& device, const CostKeys& keys, v1::MeasuredCosts* costs)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<std::optional<v1::MeasuredCosts>> FindOne(const std::string& device, const std::string& key)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  absl::Mutex mu_;
  SqliteDatabase database_ ABSL_GUARDED_BY(mu_);
};

}  // namespace penstock

#endif  // PENSTOCK_COORDINATOR_RECORDS_COST_STORE_H_
