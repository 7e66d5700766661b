// The kernels for a machine that is no x86-64: two doubles a register, as NEON has.
#define HF_NS base
#define WIDTH 2
#define HPO_TABLE kernels_base
#include "hpo/kernels.inc"
