// Package noise is the mathematics of the noised modes: draws that hide one unit, and what they prove.
//
// The unit of account is ρ of zero-concentrated differential privacy (zCDP): Bun & Steinke, "Concentrated
// Differential Privacy: Simplifications, Extensions, and Lower Bounds", TCC 2016. Noise is the discrete Gaussian:
// Canonne, Kamath & Steinke, "The Discrete Gaussian for Differential Privacy", NeurIPS 2020, below CKS20.
//
// All draws are on whole numbers. A figure is noised on the grid of its exact sum, and rounded only afterwards:
// the low digits of floating-point noise tell what it was added to (Mironov, CCS 2012).
//
// How long a draw takes depends on the draw, never on a figure, except where a function says more. Callers must not
// let an analyst time a single draw.
//
// The package must never answer with a value that has another distribution than its name says: if its randomness
// fails, it gives an error and no value. It imports nothing of ours, so that it can be proved and tested alone.
package noise

import (
	"crypto/rand"
	"io"
	randv2 "math/rand/v2"
)

// System is the operating system's randomness, the only one that an answer may be drawn with.
var System io.Reader = rand.Reader

// Seeded is randomness that can be had again, for tests and the lab. One goroutine at a time may read it.
func Seeded(seed [32]byte) io.Reader { return randv2.NewChaCha8(seed) }
