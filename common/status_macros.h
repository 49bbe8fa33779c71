// PENSTOCK_RETURN_IF_ERROR and PENSTOCK_ASSIGN_OR_RETURN: early return of an absl::Status.
#ifndef PENSTOCK_COMMON_STATUS_MACROS_H_
#define PENSTOCK_COMMON_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace penstock {

// Puts `context` and ": " before the message of a failed status; keeps its code. OK stays OK.
inline absl::Status Annotate(const absl::Status& status, absl::string_view context) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(context, ": ", status.message()));
}

}  // namespace penstock

#define PENSTOCK_RETURN_IF_ERROR(expr)                       \
  do {                                                       \
    absl::Status penstock_status_ = (expr);                  \
    if (!penstock_status_.ok()) return penstock_status_;     \
  } while (false)

#define PENSTOCK_CONCAT_INNER_(a, b) a##b
#define PENSTOCK_CONCAT_(a, b) PENSTOCK_CONCAT_INNER_(a, b)
#define PENSTOCK_ASSIGN_OR_RETURN(lhs, expr) \
  PENSTOCK_ASSIGN_OR_RETURN_IMPL_(PENSTOCK_CONCAT_(penstock_or_, __LINE__), lhs, expr)
#define PENSTOCK_ASSIGN_OR_RETURN_IMPL_(var, lhs, expr) \
  auto var = (expr);                                    \
  if (!var.ok()) return var.status();                   \
  lhs = std::move(var).value()

#endif  // PENSTOCK_COMMON_STATUS_MACROS_H_
