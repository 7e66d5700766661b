// The formulas of device/scalar.hpp for ordinary host code (baseline instruction set, libm): hpo::scalar::...
#pragma once

#include <cmath>

#define HF_EXP(x) std::exp(x)
#define HF_LOG(x) std::log(x)
#define HF_SQRT(x) std::sqrt(x)
#define HF_NS hpo::scalar
#include "../device/scalar.hpp"
#undef HF_EXP
#undef HF_LOG
#undef HF_SQRT
#undef HF_NS
