// The kernels for x86-64-v2.
#define HF_NS v2
#define WIDTH 2
#define HPO_TABLE kernels_v2
#include "hpo/kernels.inc"
