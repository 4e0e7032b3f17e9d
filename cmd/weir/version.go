package main

import (
	"runtime/debug"
	"time"
)

type versionCommand struct {
	printing `embed:""`
}

// buildFacts is what this program was built from.
type buildFacts struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Changed bool   `json:"changed,omitempty"` // by something that was not committed
	Built   string `json:"built,omitempty"`   // when the commit was made
	Go      string `json:"go"`
}

// Run tells which build this is.
func (v *versionCommand) Run(t *terminal) error {
	b := buildFacts{Version: "unknown"}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.Version, b.Go = info.Main.Version, info.GoVersion
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.modified":
				b.Changed = s.Value == "true"
			case "vcs.time":
				b.Built = s.Value
				if at, err := time.Parse(time.RFC3339, s.Value); err == nil {
					b.Built = local(at)
				}
			}
		}
	}
	shown := table{head: []string{t.text("Version"), t.text("Commit"), t.text("Made"), "Go"}}
	commit := b.Commit
	if b.Changed {
		commit += " +"
	}
	shown.add(b.Version, commit, b.Built, b.Go)
	return v.list(t, b, shown)
}
