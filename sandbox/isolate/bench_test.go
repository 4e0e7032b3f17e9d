package isolate

import "testing"

// BenchmarkStart is what it takes to start a program that confines itself and ends: without a layer, with each alone
// (and those that it cannot be had without), and with all.
func BenchmarkStart(b *testing.B) {
	start := func(name string, layers Layers) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := try(probe, layers); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	start("none", 0)
	for _, l := range AllLayers() {
		start(l.String(), Alone(l))
	}
	start("all", Whole)
}
