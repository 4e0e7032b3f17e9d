package isolate

import (
	"errors"
	"testing"
)

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
	b.Run("all, and a control group", func(b *testing.B) {
		for b.Loop() {
			group, err := NewGroup(share)
			if err != nil {
				b.Fatal(err)
			}
			cmd, err := Command(probe, Cell{Mode: Check, Limits: checkLimits}, nil)
			if err != nil {
				b.Fatal(err)
			}
			if err := Start(cmd, group); err != nil {
				b.Fatal(err)
			}
			if err := errors.Join(cmd.Wait(), group.Remove()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
