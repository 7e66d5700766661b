// The kernels for x86-64-v3.
#define HF_NS v3
#define WIDTH 4
#define HPO_TABLE kernels_v3
#include "hpo/kernels.inc"
